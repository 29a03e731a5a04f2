"""What the tests share: generated projects, the engine, one built image, one running notebook."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAPERMILL = ("papermill", "process_cars.ipynb", "out.ipynb")
# A notebook of a second's work, for tests in which the sample's models have no part.
QUICK = "import pandas, matplotlib.pyplot as plt; plt.plot([1]); open('made.txt', 'w').close()"
RUN_QUICK = ("papermill", "quick.ipynb", "-")
# The rights of all processes of a container but the health check, which the engine starts as root.
SHOW_RIGHTS = (
    "for process in /proc/[0-9]*; do grep -qsE 'healthy|qzxE' $process/cmdline"
    " || grep -hsE '^(Uid|Cap|NoNewPrivs)' $process/status; done; true"
)
# What it prints of processes without any, but for the user.
NO_RIGHTS = {
    *((f"Cap{kind}:", "0" * 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")),
    ("NoNewPrivs:", "1"),
}
ROOT = Path(__file__).parents[1]
(TEMPLATE,) = ROOT.glob("*{{cookiecutter.project_slug}}*")


def missing(what: str, reason: str) -> None:
    """Skip the test for want of `what`, or fail it where ML_DOCKER_REQUIRE lists `what`."""
    if what in os.environ.get("ML_DOCKER_REQUIRE", "").split(","):
        pytest.fail(f"{what} is required here: {reason}")
    pytest.skip(reason)


def is_root() -> bool:
    """Tell whether the tests run as root of a machine that has one."""
    return os.name == "posix" and os.geteuid() == 0


def wait_until(true: Callable, seconds: float, what: str):
    """Return what `true()` returns as soon as that is something; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.3)
    return found


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@dataclass
class Project:
    """A generated project and the commands that a user would type in its folder."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    start_log: str = ""

    @property
    def slug(self) -> str:
        return self.path.name

    @property
    def data(self) -> Path:
        return self.path / "data" / "input"

    def run(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        """Run a command in the project's folder; on failure with `check` show what it printed."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            pytest.fail(
                f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def compose(self, *args: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        return self.run("docker", "compose", *args, check=check, **env)

    def notebook(self, name: str, *cells: str) -> None:
        """Write a notebook with these code cells into data/input."""
        form = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {
            "cells": [form | {"id": f"c{n}", "source": text} for n, text in enumerate(cells)],
            "metadata": {"kernelspec": spec},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def container(self, service: str = "notebook") -> str:
        """Return the id of the container of a service, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.strip()

    def logs(self) -> str:
        """Return what the notebook's container printed."""
        return self.compose("logs", "--no-log-prefix", "notebook").stdout

    def printed_url(self, starts: int = 1) -> str:
        """Return the address that the last of so many starts printed."""

        def urls() -> list[str]:
            found = re.findall(r"Open (\S+)", self.logs())
            return found if len(found) == starts else []

        return wait_until(urls, 60, f"{starts} printed addresses of {self.slug}")[-1]

    def start(self) -> str:
        """Start the notebook of a built project and return the address that it prints."""
        self.compose("up", "--detach", "--no-build", "notebook")
        return self.printed_url()

    def remove(self) -> None:
        """Remove containers, networks, volumes and images of the project."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "1", check=False)
        self.run("docker", "rmi", "--force", self.slug, f"{self.slug}-lock", check=False)


def is_processed(data: Path) -> bool:
    """Tell whether processed.csv is the sample less its first column."""
    with (
        open(data / "cars_sampled.csv", encoding="utf-8", newline="") as source,
        open(data / "processed.csv", encoding="utf-8", newline="") as output,
    ):
        return [row[1:] for row in csv.reader(source)] == list(csv.reader(output))


def owners(folder: Path) -> set[tuple[int, int]]:
    """Return user and group of the folder and of all that is in it."""
    return {(p.lstat().st_uid, p.lstat().st_gid) for p in [folder, *folder.rglob("*")]}


def base_of(python: str) -> dict[str, str]:
    """Return the base image for another Python, where BASE_IMAGE names one for 3.13."""
    base = os.environ.get("BASE_IMAGE", "")
    return {"BASE_IMAGE": base.replace("3.13", python)} if "3.13" in base else {}


class Engine:
    """An empty engine on this machine, which nothing reaches but its socket. For root."""

    def __init__(self, folder: Path, **settings):
        """Keep all that it needs in `folder`, whose path must be short, as sockets need one."""
        # Never the settings of the first one.
        (folder / "daemon.json").write_text(json.dumps(settings))
        self.host = f"unix://{folder}/docker.sock"
        self.folder = folder
        number = os.getpid() % 250
        # A bridge of its own: with `none`, dockerd removes docker0, which is the first engine's.
        self.bridge = (f"ml-docker-{number}", f"172.31.{number}.1/24")

    def __enter__(self):
        name, address = self.bridge
        subprocess.run(["ip", "link", "add", "name", name, "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        # An engine that was killed leaves this behind.
        subprocess.run(["umount", "--quiet", self.folder / "data"])
        subprocess.run(["ip", "link", "delete", self.bridge[0]], check=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                ["dockerd", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec",
                 f"--pidfile={self.folder}/pid", f"--config-file={self.folder}/daemon.json",
                 f"--host={self.host}", f"--bridge={self.bridge[0]}",
                 "--iptables=false", "--ip6tables=false"],
                stdout=log, stderr=log,
            )  # fmt: skip

        def answers() -> bool:
            if self.process.poll() is not None:
                missing("second-engine", (self.folder / "log").read_text()[-500:])
            info = ["docker", "--host", self.host, "info"]
            return subprocess.run(info, capture_output=True).returncode == 0

        wait_until(answers, 60, "an answer of the second engine")

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the engine alone, as a system does, or with SIGKILL."""
        self.process.send_signal(how)
        self.process.wait(60)


def inspect(name: str) -> dict:
    """Return what the engine knows of a container or an image."""
    done = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]


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


@pytest.fixture
def clone(built):
    """Return a function that clones a built project into a folder of another name, with its image.

    The clone belongs to `uid` and, if given, `gid`; all of it is removed after the test.
    """
    clones = []

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
        env = {**source.env, "JUPYTER_PORT": str(free_port()), **settings}
        copy = Project(path, env)
        shutil.copytree(source.path, path)
        if uid is not None:
            for each in [path, *path.rglob("*")]:
                os.chown(each, uid, uid if gid is None else gid)
        copy.data.chmod(mode)
        copy.run("docker", "tag", source.slug, copy.slug)
        clones.append(copy)
        return copy

    yield _clone
    for copy in clones:
        copy.remove()
        shutil.rmtree(copy.path.parent)


@pytest.fixture(scope="session")
def running(built) -> Project:
    """A project whose server runs, started as a user starts it. Not to be stopped by a test."""
    built.compose("up", "--detach", "--wait", "notebook")
    built.printed_url()
    built.start_log = built.logs()
    return built


@pytest.fixture(scope="session")
def notebook_7(new_project) -> Project:
    """The same for a project whose interface is Notebook 7."""
    project = new_project(interface="notebook")
    project.compose("up", "--detach", "--wait", "--build", "notebook")
    return project
