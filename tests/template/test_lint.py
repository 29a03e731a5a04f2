"""Linters, on the template's own files and on what it generates. Both pass as they are written."""

import itertools
import json
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from support.answers import CHOICES
from support.git import git
from support.project import ROOT, TEMPLATE, Project

PAIRS = [("interface", "python_version"), ("cluster", "accelerator")]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
RUFF = ("--isolated", "--line-length=100")


def passes(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a linter; it must end with 0."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def scripts(paths: list[Path], language: str) -> list[Path]:
    """Return the files that start with a line such as `#!/bin/bash`, of this language."""
    heads = {path: path.read_bytes().partition(b"\n")[0] for path in paths}
    found = [p for p, head in heads.items() if head[:2] == b"#!" and language.encode() in head]
    assert found, language
    return found


def test_lint_python_of_the_template():
    passes("ruff", "check", ".")
    passes("ruff", "format", "--check", ".")


def test_lint_scripts_of_the_template():
    files = [ROOT / name for name in git(ROOT, "ls-files", "-z").split("\0") if name]
    own = [path for path in files if path.is_file() and TEMPLATE not in path.parents]
    passes("shellcheck", *scripts(own, "sh"))


def test_lint_workflows_of_the_template():
    assert WORKFLOWS
    passes("actionlint", *WORKFLOWS)
    passes("zizmor", "--offline", "--quiet", *WORKFLOWS)
    passes("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


@pytest.fixture(scope="session")
def every_file(bake) -> dict[str, list[Path]]:
    """The files of every combination of each pair, by name: of files with the same content one."""
    more, fewer = (itertools.product(*map(CHOICES.get, pair)) for pair in PAIRS)
    found = {}
    for first, second in zip(more, itertools.cycle(fewer), strict=False):
        values = zip(itertools.chain(*PAIRS), first + second, strict=True)
        project = bake(**dict(values)).path
        for path in project.rglob("*"):
            if path.is_file():
                same = found.setdefault(path.relative_to(project).as_posix(), {})
                same.setdefault(path.read_bytes(), path)
    return {name: list(same.values()) for name, same in found.items()}


def of_kind(every_file: dict[str, list[Path]], *patterns: str) -> list[Path]:
    """Return the files whose name matches one of the patterns; each must find some."""
    paths = []
    for pattern in patterns:
        found = [path for name in every_file if fnmatch(name, pattern) for path in every_file[name]]
        assert found, pattern
        paths += found
    return paths


def test_lint_python_and_notebooks_as_generated(every_file):
    python = of_kind(every_file, "*.py", "*.ipynb")
    python += scripts(of_kind(every_file, "docker/*"), "python")
    passes(
        "ruff", "check", *RUFF, "--select=E,F,I,B,UP,SIM,RUF100", "--ignore=B905,SIM117", *python
    )
    passes("ruff", "format", *RUFF, "--check", *python)


def test_lint_scripts_as_generated(every_file):
    passes("shellcheck", *scripts(of_kind(every_file, "docker/*"), "sh"))


def test_lint_dockerfiles_as_generated(every_file):
    dockerfiles = of_kind(every_file, "Dockerfile")
    assert len(dockerfiles) >= len(CHOICES["interface"]) * len(CHOICES["python_version"])
    # `cd` within one step, words on purpose; in each pipe the command that can fail is the last
    # one, and Podman's format knows no SHELL; packages come in Debian's versions.
    rules = ("DL3003", "DL3008", "DL4006", "SC2046", "SC2086")
    passes("hadolint", *(f"--ignore={rule}" for rule in rules), *dockerfiles)


def test_lint_workflows_as_generated(every_file):
    workflows = of_kind(every_file, ".github/workflows/*.yml")
    passes("actionlint", *workflows)
    for folder in {path.parents[1] for path in workflows}:
        passes("zizmor", "--offline", "--quiet", "--persona=pedantic", folder)


def test_lint_settings_as_generated(every_file):
    for schema, patterns in {
        "compose-spec": ["docker-compose*.yml", ".devcontainer/*.yml", "swarm.yml"],
        "github-workflows": [".github/workflows/*.yml"],
        "dependabot": [".github/dependabot.yml"],
    }.items():
        files = of_kind(every_file, *patterns)
        passes("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    for path in of_kind(every_file, "*.yml", "*.yaml"):
        list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for path in of_kind(every_file, "*.json", "*.ipynb"):
        json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.engine
@pytest.mark.parametrize("choices", [{}, {"cluster": "dask", "accelerator": "nvidia"}])
def test_compose_accepts_its_files_in_every_combination(engine, bake, choices):
    project = bake(**choices)
    more = ["docker-compose.nvidia.yml", ".devcontainer/docker-compose.yml"]
    more = [name for name in more if (project.path / name).exists()]
    assert len(more) == len(choices) / 2 + 1
    for count in range(len(more) + 1):
        for names in itertools.combinations(more, count):
            files = [f"--file={name}" for name in ("docker-compose.yml", *names)]
            done = project.compose(*files, "--profile", "*", "config", "--quiet")
            assert done.stderr == "", names


@pytest.mark.engine
def test_compose_publishes_the_port_that_was_answered(engine, bake):
    done = bake(port="9000").compose("config")
    assert 'published: "9000"' in done.stdout


@pytest.mark.engine
def test_swarm_file_is_accepted_and_says_what_it_needs(engine, every_file):
    for path in of_kind(every_file, "swarm.yml"):
        env = {"IMAGE": "x", "MEMORY_LIMIT": "8g"}
        done = Project(path.parent, env).run("docker", "stack", "config", "--compose-file", path)
        assert done.stderr == "", path.read_text()
        for needed in env:
            project = Project(path.parent, env | {needed: ""})
            done = project.run("docker", "stack", "config", "--compose-file", path, check=False)
            assert f"required variable {needed} is missing" in done.stderr
