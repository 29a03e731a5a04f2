"""Fixtures of the tests of the image."""

import re
import subprocess

import pytest
from support.project import Project, missing


@pytest.fixture
def small(new_project) -> Project:
    """A project with one small library: enough to see where a build gets things from."""
    project = new_project()
    (project.path / "requirements.txt").write_text("requests\n")
    (project.path / "docker/requirements.txt").write_text("pip\nuv\n")
    lock = project.path / "requirements.lock"
    names = "requests|certifi|charset-normalizer|idna|urllib3|pip|uv"
    entries = re.findall(rf"^(?:{names})==.*\n(?:    .*\n)+", lock.read_text(), re.MULTILINE)
    assert len(entries) == 7
    lock.write_text("".join(entries))
    return project


@pytest.fixture
def debian_base(engine):
    """Return a function that names a base image of Debian's packages, with that Python."""

    def _base(python: str) -> str:
        name = f"ml-docker-base:{python}"
        done = subprocess.run(["docker", "image", "inspect", name], capture_output=True)
        if done.returncode:
            missing("debian-base", f"{name} is not here: .ci/base-image debian-{python} makes it")
        return name

    return _base
