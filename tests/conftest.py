"""Fixtures of all folders: generated projects, the engine, one built image, one server."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.project import Project, free_port, is_root, missing


@pytest.fixture(scope="session")
def bake(cookies_session):
    """Return a function that generates a project from answers, and fails when that fails."""

    def _bake(**answers: str) -> Project:
        result = cookies_session.bake(extra_context=answers)
        assert result.exception is None, result.exception
        return Project(Path(result.project_path))

    return _bake


@pytest.fixture(scope="session")
def default_project(bake) -> Project:
    """The project of the default answers. Not to be changed by a test."""
    return bake()


@pytest.fixture(scope="session")
def engine():
    """A Docker engine that answers."""
    if not shutil.which("docker"):
        missing("engine", "there is no docker command")
    done = subprocess.run(["docker", "info"], capture_output=True, text=True)
    if done.returncode:
        missing("engine", "no Docker engine answers: " + done.stderr.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def bridge(engine) -> str:
    """The address of this machine as containers see it."""
    form = "--format={{(index .IPAM.Config 0).Gateway}}"
    command = ["docker", "network", "inspect", "bridge", form]
    address = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    with socket.socket() as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            missing("bridge", "the engine's machine is another one, which sees no servers here")
    return address


@pytest.fixture(scope="session")
def new_project(engine, bake):
    """Return a function that generates a project for the engine; all is removed at the end."""
    projects = []

    def _new(**answers: str) -> Project:
        project = bake(project_slug=f"ml-docker-test-{os.getpid()}-{len(projects)}", **answers)
        project.env["JUPYTER_PORT"] = str(free_port())
        projects.append(project)
        return project

    yield _new
    for project in projects:
        project.remove()


@pytest.fixture(scope="session")
def built(new_project) -> Project:
    """A project with its image built. Not to be changed by a test."""
    project = new_project()
    project.compose("build", "notebook")
    return project


def clones(built):
    """Return a function that clones a built project into a folder of another name, with its image.

    The clone belongs to `uid` and, if given, `gid`; all of it is removed afterwards.
    """
    made = {}

    def _clone(
        source: Project = built,
        uid: int | None = None,
        gid: int | None = None,
        mode: int = 0o755,
        **settings: str,
    ) -> Project:
        if uid is not None and not is_root():
            missing("root", "only root can give a folder to another user")
        place = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
        place.chmod(0o755)
        path = place / f"{source.slug}-{os.urandom(3).hex()}"
        copy = Project(path, {**source.env, "JUPYTER_PORT": str(free_port()), **settings})
        shutil.copytree(source.path, path)
        if uid is not None:
            for each in [path, *path.rglob("*")]:
                os.chown(each, uid, uid if gid is None else gid)
        copy.data.chmod(mode)
        copy.run("docker", "tag", source.slug, copy.slug)
        made[place] = copy
        return copy

    yield _clone
    for place, copy in made.items():
        copy.remove()
        shutil.rmtree(place)


clone = pytest.fixture(clones, name="clone")  # for one test
module_clone = pytest.fixture(clones, name="module_clone", scope="module")  # for a file's tests


@pytest.fixture(scope="session")
def running(built) -> Project:
    """A project whose server runs, started as a user starts it. Not to be stopped by a test."""
    built.compose("up", "--detach", "--wait", "notebook")
    built.printed_url()
    built.start_log = built.logs()
    return built
