"""Linters, on the template's own files and on what it generates. Both pass as they are written."""

import itertools
import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from support.answers import CHOICES
from support.git import git
from support.project import ROOT, TEMPLATE, Project

PAIRS = [("interface", "python_version"), ("cluster", "accelerator")]
PYTHON = "*.py *.ipynb docker/*:python"
WORKFLOWS = ".github/workflows/*.yml"
SCHEMA = "check-jsonschema --builtin-schema vendor."
# Linter: its files. `*:sh` is what starts with a line such as #!/bin/bash.
OWN = {
    "ruff check": ".",
    "ruff format --check": ".",
    "shellcheck": "*:sh",
    "actionlint": WORKFLOWS,
    "zizmor --offline --quiet": WORKFLOWS,
    f"{SCHEMA}github-workflows": WORKFLOWS,
}
GENERATED = {
    "ruff check --isolated --line-length=100 --select=E,F,I,B,UP,SIM,RUF100"
    " --ignore=B905,SIM117": PYTHON,
    "ruff format --isolated --line-length=100 --check": PYTHON,
    "shellcheck": "docker/*:sh",
    # `cd` within one step, words on purpose; in each pipe the command that can fail is the last
    # one, and Podman's format knows no SHELL; packages come in Debian's versions.
    "hadolint --ignore=DL3003 --ignore=DL3008 --ignore=DL4006 --ignore=SC2046"
    " --ignore=SC2086": "Dockerfile",
    "actionlint": WORKFLOWS,
    "zizmor --offline --quiet --persona=pedantic": f"{WORKFLOWS} .github/dependabot.yml",
    f"{SCHEMA}compose-spec": "docker-compose*.yml .devcontainer/*.yml swarm.yml",
    f"{SCHEMA}github-workflows": WORKFLOWS,
    f"{SCHEMA}dependabot": ".github/dependabot.yml",
}


def of_kind(files: dict[str, list[Path]], patterns: str) -> list[Path]:
    """Return the files that match one of the patterns; each must find some."""
    paths = []
    for pattern in patterns.split():
        name, _, language = pattern.partition(":")
        found = [path for each in files if fnmatch(each, name) for path in files[each]]
        if language:
            heads = {path: path.read_bytes().partition(b"\n")[0] for path in found}
            found = [p for p, h in heads.items() if h[:2] == b"#!" and language.encode() in h]
        assert found, pattern
        paths += found
    return paths


def passes(command: str, *files: str | Path) -> None:
    env = {**os.environ, "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]}
    command = [*command.split(), *files]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("linter", OWN)
def test_lint_of_the_template(linter):
    paths = [ROOT / name for name in git(ROOT, "ls-files", "-z").split("\0") if name]
    own = [path for path in paths if path.is_file() and TEMPLATE not in path.parents]
    files = {path.relative_to(ROOT).as_posix(): [path] for path in own}
    passes(linter, *(["."] if OWN[linter] == "." else of_kind(files, OWN[linter])))


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


@pytest.mark.parametrize("linter", GENERATED)
def test_lint_as_generated(every_file, linter):
    passes(linter, *of_kind(every_file, GENERATED[linter]))


def test_lint_settings_as_generated(every_file):
    for path in of_kind(every_file, "*.yml *.yaml"):
        list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for path in of_kind(every_file, "*.json *.ipynb"):
        json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.engine
@pytest.mark.parametrize("choices", [{}, {"cluster": "dask", "accelerator": "nvidia"}])
def test_compose_accepts_its_files_in_every_combination(engine, bake, choices):
    project = bake(port="9000", **choices)
    assert 'published: "9000"' in project.compose("config").stdout
    assert "lock" not in project.compose("config", "--services").stdout.split()
    for name, service in project.services().items():
        assert service["pull_policy"] == "never" and service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert name not in ("notebook", "lock") or service["build"], name
        assert "/home" in [mount["target"] for mount in service["volumes"]], name
    more = ["docker-compose.nvidia.yml", ".devcontainer/docker-compose.yml"]
    more = [name for name in more if (project.path / name).exists()]
    assert len(more) == len(choices) / 2 + 1
    for count in range(len(more) + 1):
        for names in itertools.combinations(more, count):
            files = [f"--file={name}" for name in ("docker-compose.yml", *names)]
            done = project.compose(*files, "--profile", "*", "config", "--quiet")
            assert done.stderr == "", names


@pytest.mark.engine
def test_swarm_file_is_accepted_and_says_what_it_needs(engine, every_file):
    for path in of_kind(every_file, "swarm.yml"):
        env = {"IMAGE": "x", "MEMORY_LIMIT": "8g"}
        done = Project(path.parent, env).run("docker", "stack", "config", "--compose-file", path)
        assert done.stderr == "", path.read_text()
        assert "--nworkers=-1" in done.stdout  # one for each core
        assert done.stdout.count("retries: 20") == 2
        for needed in env:
            project = Project(path.parent, env | {needed: ""})
            done = project.run("docker", "stack", "config", "--compose-file", path, check=False)
            assert f"required variable {needed} is missing" in done.stderr
