"""An ordinary user with an engine of their own: rootless Docker and rootless Podman."""

import os
import pwd
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from support.project import (
    BASE,
    NO_RIGHTS,
    QUICK,
    RUN_QUICK,
    SHOW_RIGHTS,
    Project,
    free_port,
    is_root,
    missing,
    owners,
    wait_until,
)

pytestmark = [pytest.mark.engine, pytest.mark.rootless, pytest.mark.nightly]
DEBIAN = "/usr/share/docker.io/contrib"
ENGINES = {
    "docker": ["dockerd-rootless.sh", "--host={}"],
    "podman": ["podman", "system", "service", "--time=0", "{}"],
}


def become(name: str) -> tuple[str, ...]:
    """Return what makes a command that of a user."""
    return ("setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups")


class TheirProject(Project):
    """A project of another user's, who types the commands."""

    def run(self, *command: str, **options) -> subprocess.CompletedProcess:
        return super().run(*become(self.env["USER"]), *command, **options)


@pytest.fixture(scope="module")
def user(engine):
    """A new user with sub-ids, as `useradd` makes them; removed afterwards, processes too."""
    if not is_root():
        missing("rootless", "only root can make a user")
    for tool in ("setpriv", "rootlesskit", "slirp4netns", "newuidmap", "podman"):
        if not shutil.which(tool):
            missing("rootless", f"there is no {tool}")
    if Path("/dev/net/tun").stat().st_mode & 0o006 != 0o006:
        missing("rootless", "/dev/net/tun is closed to users")
    name = f"ml-docker-{os.getpid()}"
    subprocess.run(["useradd", "--create-home", "--shell=/bin/bash", name], check=True)
    yield pwd.getpwnam(name)
    subprocess.run(["pkill", "--signal=KILL", "--uid", name])
    wait_until(lambda: subprocess.run(["pgrep", "--uid", name]).returncode, 30, "their end")
    subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


@pytest.fixture(scope="module", params=ENGINES)
def theirs(request, user, built) -> TheirProject:
    """The project in the user's home, and its image in the user's engine, which runs.

    Podman builds it from the base image; Docker, whose builder is the same with root, is given it.
    """
    home = Path(user.pw_dir)
    runtime = home / request.param
    project = TheirProject(home / f"project-{request.param}")
    shutil.copytree(built.path, project.path)
    project.notebook("quick.ipynb", QUICK)
    runtime.mkdir()
    builds = request.param == "podman"
    image = BASE if builds else built.slug
    subprocess.run(["docker", "save", "--output", runtime / "image.tar", image], check=True)
    for path in [runtime, *runtime.rglob("*"), project.path, *project.path.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid)
    project.data.chmod(0o700)

    socket = f"unix://{runtime}/docker.sock"
    project.env = {
        "USER": user.pw_name, "HOME": user.pw_dir, "XDG_RUNTIME_DIR": str(runtime),
        "DOCKER_HOST": socket,
        "PATH": f"{os.environ['PATH']}:/usr/sbin:{DEBIAN}", "JUPYTER_PORT": str(free_port()),
        "TMPDIR": str(runtime),  # of all users at once otherwise: the cache of builds
        "STORAGE_DRIVER": "overlay",  # old Podman would copy the whole image for each container
    }  # fmt: skip
    log = runtime / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*become(user.pw_name), *(word.format(socket) for word in ENGINES[request.param])],
            cwd=home, env={**os.environ, **project.env}, stdout=file, stderr=file,
        )  # fmt: skip
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            return project.run("docker", "info", check=False).returncode == 0

        wait_until(answers, 60, f"an answer of {request.param}")
        project.run("docker", "load", "--input", str(runtime / "image.tar"))
        if builds:
            # What Podman's own format leaves out is the health check.
            project.run("podman", "build", "--format=docker", "-t", project.slug, ".")
        else:
            project.run("docker", "tag", built.slug, project.slug)
        yield project
        project.compose("down", "--volumes", "--timeout", "1")
    finally:
        process.terminate()
        process.wait(60)


def test_rootless_files_are_the_users_and_the_server_has_no_rights(theirs, user):
    with urllib.request.urlopen(theirs.start()) as page:
        assert page.status == 200
    # Podman asks for health by timers of systemd, which not every machine has.
    if "podman" not in theirs.env["DOCKER_HOST"]:
        theirs.compose("up", "--detach", "--wait", "--no-build", "notebook")
    rights = theirs.shell(f"touch mine\n{SHOW_RIGHTS}").stdout.splitlines()
    assert {tuple(line.split()) for line in rights} == NO_RIGHTS | {("Uid:", *["0"] * 4)}
    assert len(rights) >= 14  # tini and the server
    theirs.compose("run", "--rm", "notebook", *RUN_QUICK)
    assert (theirs.data / "made.txt").exists()
    assert owners(theirs.data) == {(user.pw_uid, user.pw_gid)}
    assert theirs.data.stat().st_mode & 0o777 == 0o700


def test_rootless_plain_run(theirs, user):
    """`podman run`, and `docker run` in the rootless engine."""
    tool = "podman" if "podman" in theirs.env["DOCKER_HOST"] else "docker"
    mount = f"{theirs.data}:/data/notebook"
    script = "touch plain; grep Cap /proc/self/status"
    done = theirs.run(tool, "run", "--rm", "-v", mount, theirs.slug, "bash", "-c", script)
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"0" * 16}
    made = (theirs.data / "plain").stat()
    assert (made.st_uid, made.st_gid) == (user.pw_uid, user.pw_gid)
