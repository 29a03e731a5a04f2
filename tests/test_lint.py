"""Linters, on the template's own files and on what it generates. Both pass as they are written."""

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, TEMPLATE

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def passes(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a linter; it must end with 0."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_ruff_on_the_template():
    passes("ruff", "check", ".")
    passes("ruff", "format", "--check", ".")


def test_shellcheck_on_the_template():
    scripts = [p for p in (ROOT / ".ci").iterdir() if p.read_text().startswith("#!/bin/")]
    passes("shellcheck", *scripts, TEMPLATE / "entrypoint.sh")


def test_workflows_of_the_template():
    assert WORKFLOWS
    passes("actionlint", *WORKFLOWS)
    passes("zizmor", "--offline", "--quiet", *WORKFLOWS)
    passes("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


@pytest.mark.parametrize("interface", ["lab", "notebook"])
def test_generated_project(bake, interface):
    project = bake(interface=interface).path
    passes(
        "ruff",
        "check",
        "--isolated",
        "--select=E,F,I,B,UP,SIM",
        "--line-length=100",
        ".",
        cwd=project,
    )
    passes("ruff", "format", "--isolated", "--line-length=100", "--check", ".", cwd=project)
    passes("hadolint", "Dockerfile", cwd=project)
    passes("shellcheck", "entrypoint.sh", cwd=project)
    workflows = sorted((project / ".github/workflows").iterdir())
    passes("actionlint", *workflows)
    passes("zizmor", "--offline", "--quiet", "--persona=pedantic", ".github", cwd=project)
    for schema, files in {
        "compose-spec": ["docker-compose.yml"],
        "github-workflows": workflows,
        "dependabot": [".github/dependabot.yml"],
    }.items():
        passes("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files, cwd=project)


@pytest.mark.engine
def test_compose_accepts_the_file(engine, bake):
    for port in ("8888", "9000"):
        project = bake(port=port)
        done = project.compose("--profile", "*", "config")
        assert f'published: "{port}"' in done.stdout
        assert done.stderr == ""
