"""What the tests share: generated projects, the engine, one built image and one running notebook."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a test with an engine a second chance: what it waits for may be late on a busy machine."""
    for item in items:
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.flaky(reruns=1))


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
        """Run a command in the project's folder; on failure with `check` show all that it printed."""
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

    def copy(self, folder: Path, uid: int | None = None, mode: int = 0o755) -> "Project":
        """Return a copy as another user would have cloned it. It shares the built image, not the port."""
        place = Path(tempfile.mkdtemp(dir=folder))
        place.chmod(0o755)
        copy = Project(place / self.slug, {**self.env, "JUPYTER_PORT": str(free_port())})
        copy.env["COMPOSE_PROJECT_NAME"] = f"{self.slug}-{place.name.strip('_')}"
        shutil.copytree(self.path, copy.path)
        if uid is not None:
            for path in [copy.path, *copy.path.rglob("*")]:
                os.chown(path, uid, uid)
        copy.data.chmod(mode)
        return copy

    def container(self, service: str = "notebook") -> str:
        """Return the id of the running container of a service."""
        return self.compose("ps", "--quiet", service).stdout.strip()

    def printed_url(self, seconds: float = 60, starts: int = 1) -> str:
        """Return the address that the last of so many starts printed; each prints exactly one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            logs = self.compose("logs", "--no-log-prefix", "notebook").stdout
            urls = re.findall(r"https?://\S+", logs)
            if len(urls) >= starts:
                assert len(urls) == starts, logs
                return urls[-1]
            time.sleep(0.2)
        pytest.fail(f"no new address within {seconds} s\n{logs}")


def base_of(python: str) -> dict[str, str]:
    """Return the setting of the base image for another Python, where BASE_IMAGE names one for 3.13."""
    base = os.environ.get("BASE_IMAGE", "")
    return {"BASE_IMAGE": base.replace("3.13", python)} if "3.13" in base else {}


class Engine:
    """An empty engine of its own on this machine, which nothing reaches but its socket. For root."""

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
        end = time.monotonic() + 60
        while subprocess.run(
            ["docker", "--host", self.host, "info"], capture_output=True
        ).returncode:
            if self.process.poll() is not None or time.monotonic() > end:
                missing("second-engine", (self.folder / "log").read_text()[-500:])
            time.sleep(0.5)

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
    """Return a function that generates a project for the engine; all that it made is removed at the end."""
    projects = []

    def _new(**answers: str) -> Project:
        project = bake(project_slug=f"ml-docker-test-{os.getpid()}-{len(projects)}", **answers)
        project.env["JUPYTER_PORT"] = str(free_port())
        projects.append(project)
        return project

    yield _new
    for project in projects:
        project.compose("--profile", "*", "down", "--volumes", "--rmi", "local", "--timeout", "1")
        project.run("docker", "rmi", "--force", project.slug, f"{project.slug}-lock", check=False)


@pytest.fixture(scope="session")
def built(new_project) -> Project:
    """A project with its image built."""
    project = new_project()
    project.compose("build", "notebook")
    return project


@pytest.fixture(scope="session")
def running(built) -> Project:
    """A project whose notebook server runs, started as a user starts it. Not to be stopped by a test."""
    built.compose("up", "--detach", "--wait", "notebook")
    built.printed_url()
    built.start_log = built.compose("logs", "--no-log-prefix", "notebook").stdout
    return built


@pytest.fixture(scope="session")
def notebook_7(new_project) -> Project:
    """The same for a project whose interface is Notebook 7."""
    project = new_project(interface="notebook")
    project.compose("up", "--detach", "--wait", "--build", "notebook")
    return project
