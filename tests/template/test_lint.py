"""Linters, on the template's own files and on what it generates. Both pass as they are written."""

import itertools
import json
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
from support.project import ROOT, TEMPLATE, Project

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
PAIRS = [("interface", "python_version"), ("cluster", "accelerator")]
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
    passes("shellcheck", *scripts, TEMPLATE / "entrypoint")


def test_workflows_of_the_template():
    assert WORKFLOWS
    passes("actionlint", *WORKFLOWS)
    passes("zizmor", "--offline", "--quiet", *WORKFLOWS)
    passes("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


@pytest.fixture(scope="session")
def every_file(bake) -> dict[str, list[Path]]:
    """The files of every combination of each pair, by name: of files with the same content one."""
    more, fewer = (itertools.product(*map(QUESTIONS.get, pair)) for pair in PAIRS)
    found = {}
    for first, second in zip(more, itertools.cycle(fewer), strict=False):
        values = zip(itertools.chain(*PAIRS), first + second, strict=True)
        project = bake(**dict(values)).path
        for path in project.rglob("*"):
            if path.is_file():
                same = found.setdefault(path.relative_to(project).as_posix(), {})
                same.setdefault(path.read_bytes(), path)
    return {name: list(same.values()) for name, same in found.items()}


def of_kind(every_file: dict[str, list[Path]], pattern: str) -> list[Path]:
    """Return the files whose name matches a pattern; there must be some."""
    paths = [path for name, same in every_file.items() if fnmatch(name, pattern) for path in same]
    assert paths, pattern
    return paths


def test_notebooks_and_scripts_of_every_combination(every_file):
    notebooks = of_kind(every_file, "*.ipynb")
    ruff = ("--isolated", "--line-length=100")
    passes("ruff", "check", *ruff, "--select=E,F,I,B,UP,SIM", *notebooks)
    passes("ruff", "format", *ruff, "--check", *notebooks)
    passes("shellcheck", *of_kind(every_file, "*.sh"))


def test_dockerfiles_of_every_combination(every_file):
    dockerfiles = of_kind(every_file, "Dockerfile")
    assert len(dockerfiles) >= len(QUESTIONS["interface"]) * len(QUESTIONS["python_version"])
    # `cd` within one step, words on purpose, a mount that cannot be missing; in each pipe the
    # command that can fail is the last one, and Podman's format knows no SHELL.
    ignored = [f"--ignore={rule}" for rule in ("DL3003", "DL4006", "SC2046", "SC2155")]
    passes("hadolint", *ignored, *dockerfiles)


def test_workflows_and_schemas_of_every_combination(every_file):
    workflows = of_kind(every_file, ".github/workflows/*.yml")
    passes("actionlint", *workflows)
    for folder in {path.parents[1] for path in workflows}:
        passes("zizmor", "--offline", "--quiet", "--persona=pedantic", folder)
    for schema, files in {
        "compose-spec": of_kind(every_file, "docker-compose*.yml")
        + of_kind(every_file, "swarm.yml"),
        "github-workflows": workflows,
        "dependabot": of_kind(every_file, ".github/dependabot.yml"),
    }.items():
        passes("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


@pytest.mark.engine
def test_compose_accepts_every_combination(engine, every_file):
    for path in of_kind(every_file, "docker-compose.yml"):
        done = Project(path.parent).compose("--profile", "*", "config", "--quiet")
        assert done.stderr == "", path.read_text()


@pytest.mark.engine
def test_docker_stack_accepts_every_combination(engine, every_file):
    for path in of_kind(every_file, "swarm.yml"):
        env = {"IMAGE": "x", "MEMORY_LIMIT": "8g"}
        done = Project(path.parent, env).run("docker", "stack", "config", "--compose-file", path)
        assert done.stderr == "", path.read_text()
        for needed in env:
            project = Project(path.parent, env | {needed: ""})
            done = project.run("docker", "stack", "config", "--compose-file", path, check=False)
            assert f"required variable {needed} is missing" in done.stderr


@pytest.mark.engine
def test_compose_publishes_the_port_that_was_answered(engine, bake):
    done = bake(port="9000").compose("config")
    assert 'published: "9000"' in done.stdout
