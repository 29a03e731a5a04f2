"""What a user types and sets, from the first start to the last stop, and what goes wrong."""

import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from support.project import Project, inspect, is_root, missing, owners, wait_until
from support.terminal import CTRL_C, Terminal

pytestmark = pytest.mark.engine


def shell(project: Project, script: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run a script in the running container, as README.md says."""
    command = ("exec", "-T", "notebook", "entrypoint", "bash", "-c", script)
    return project.compose(*command, check=check)


def state(project: Project) -> dict:
    return inspect(project.container())["State"]


@pytest.mark.parametrize(("uid", "mode"), [(1000, 0o755), (20345, 0o700), (0, 0o755)])
def test_files_belong_to_whoever_owns_the_folder(clone, uid, mode):
    project = clone(uid=uid, mode=mode)
    make = "mkdir folder && echo x | tee file folder/file"
    project.compose("run", "--rm", "notebook", "bash", "-c", make)
    assert (project.data / "folder/file").exists()
    assert owners(project.data) == {(uid, uid)}
    assert project.data.stat().st_mode & 0o777 == mode


def test_two_clones_run_side_by_side(running, clone):
    second = clone()
    urls = {running.printed_url(), second.start()}
    assert len(urls) == 2
    for url in urls:
        assert urllib.request.urlopen(url).status == 200


def test_stopping_is_quick_and_clean(clone):
    project = clone()
    project.start()
    project.compose("stop", "--timeout", "9")
    assert state(project)["ExitCode"] == 0


def test_ctrl_c_ends_a_plain_docker_run(built):
    with Terminal(f"docker run --rm -it {built.slug}", built.path) as terminal:
        terminal.wait_for("Open http")
        terminal.press(CTRL_C)
        begin = time.monotonic()
        assert terminal.exit_code(10) == 0
        assert time.monotonic() - begin < 5


def test_the_token_is_new_with_each_container_unless_it_is_set(clone):
    project = clone()
    first = project.start()
    project.compose("down")
    second = project.start()
    assert first != second and first.split("token")[0] == second.split("token")[0]
    (project.path / ".env").write_text("JUPYTER_TOKEN=open-sesame\n")
    project.compose("down")
    url = project.start()
    assert url == f"http://127.0.0.1:{project.env['JUPYTER_PORT']}/?token=open-sesame"
    assert urllib.request.urlopen(url).status == 200


def test_others_connect_with_a_password_over_tls_behind_a_path(clone):
    """Settings alone, found in .env.example; healthy, and quiet, with all of them."""
    project = clone(BASE_URL="/team/")
    key = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost")
    project.run(*key, "-keyout", "server.pem", "-out", "certificate.pem")
    certificate = project.path / "certificate.pem"
    with (project.path / "server.pem").open("a") as file:
        file.write(certificate.read_text())
    project.run("git", "init", "-q")
    assert project.run("git", "check-ignore", "server.pem", ".env").stdout == "server.pem\n.env\n"

    settings = (project.path / ".env.example").read_text(encoding="utf-8")
    (command,) = re.findall(
        r"^# (docker compose run .* python .*passwd.*)$", settings, re.MULTILINE
    )
    with Terminal(command, project.path, project.env) as terminal:
        for prompt in ("Enter password:", "Verify password:"):
            terminal.wait_for(prompt)
            terminal.press(b"open sesame\r")
        hashed = terminal.wait_for(r"argon2:\S+").group()
    (project.path / ".env").write_text(
        f"JUPYTER_BIND=0.0.0.0\nCERTIFICATE=server.pem\nJUPYTER_PASSWORD='{hashed}'\n"
    )
    project.compose("up", "--detach", "--wait", "--no-build", "notebook")
    port = project.env["JUPYTER_PORT"]
    assert project.printed_url().startswith(f"https://127.0.0.1:{port}/team/")
    (published,) = inspect(project.container())["NetworkSettings"]["Ports"]["8888/tcp"]
    assert published["HostIp"] == "0.0.0.0"
    secure = ssl.create_default_context(cafile=certificate)
    for password, shown in [("wrong", "/team/login"), ("open sesame", "/team/lab")]:
        browser = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=secure), urllib.request.HTTPCookieProcessor()
        )
        login = f"https://localhost:{port}/team/login?next=%2Fteam%2Flab"
        page = browser.open(login).read().decode()
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page)[1]
        form = urllib.parse.urlencode({"_xsrf": xsrf, "password": password}).encode()
        try:
            assert urllib.parse.urlsplit(browser.open(login, form).url).path == shown
        except urllib.error.HTTPError as error:
            assert (password, error.code) == ("wrong", 401)
    assert project.logs().count("\n") == 2, project.logs()


def test_the_lock_is_written_by_its_owner_and_stays_when_nothing_changed(clone):
    project = clone(uid=20345)
    lock = project.path / "requirements.lock"
    before = lock.read_text()
    project.compose("run", "--rm", "--build", "lock")
    assert lock.read_text() == before
    assert owners(project.path) == {(20345, 20345)}

    with (project.path / "requirements.txt").open("a") as file:
        file.write("tabulate\n")
    done = project.compose("run", "--rm", "lock")
    assert re.search(r"^Resolved \d+ packages", done.stderr, re.MULTILINE)
    assert "warning" not in done.stderr and "--hash" not in done.stdout
    added = set(lock.read_text().splitlines()) - set(before.splitlines())
    assert next(line for line in added if re.match(r"[a-z]", line)).startswith("tabulate==")
    assert lock.stat().st_uid == 20345


def test_a_taken_port_is_named(clone):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        project = clone(JUPYTER_PORT=port)
        done = project.compose("up", "--detach", "notebook", check=False)
    assert done.returncode != 0
    assert port in done.stderr and "address already in use" in done.stderr
    assert "address already in use" in (project.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("JUPYTER_PORT", "lots", "lots"),
        ("JUPYTER_BIND", "everywhere", "everywhere"),
        ("MEMORY_LIMIT", "lots", "lots"),
        ("SHM_SIZE", "lots", "lots"),
        ("CA_BUNDLE", "/no/such/file.pem", "/no/such/file.pem"),
        ("CERTIFICATE", "/no/such/file.pem", "/no/such/file.pem"),
        ("DATA", "/no/such/folder", "bind source path does not exist: /no/such/folder"),
        ("TZ", "Europe/Wien", "TZ: not 'Europe/Wien'. Type a name such as Europe/Berlin."),
        ("UMASK", "mine", "UMASK: not 'mine'. Type digits from 0 to 7, such as 0002."),
        ("JUPYTER_TOKEN", "open sesame&", "JUPYTER_TOKEN: it becomes part of an address. Type"),
    ],
)
def test_a_bad_setting_is_quoted_in_the_message(clone, setting, value, said):
    project = clone(**{setting: value})
    done = project.compose("up", "--detach", "--no-build", "notebook", check=False)

    def printed() -> str:
        return done.stderr + project.compose("logs", check=False).stdout

    def running() -> str:
        return project.compose("ps", "--quiet", "--status=running", check=False).stdout

    wait_until(lambda: said in printed(), 20, f"{said!r} in {printed()!r}")
    wait_until(lambda: not running(), 20, "the end of what cannot be")
    assert not Path("/no/such").exists()


def test_a_folder_that_cannot_be_written_to_is_said(clone):
    project = clone()
    (project.path / "docker-compose.override.yml").write_text(
        "services: {notebook: {volumes: ['./data/input:/data/notebook:ro']}}\n"
    )
    project.start()
    assert "data/input cannot be written to: what you change will not be saved." in project.logs()


def test_a_full_disk_is_said_and_loses_nothing(clone):
    if not is_root():
        missing("root", "only root can mount a small file system")
    project = clone(DATA="./small")
    small = project.path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        (small / "work.ipynb").write_text("what I wrote")
        with open(small / "filler", "wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)
        project.start()
        said = "is full: what you change will not be saved."
        assert said in project.logs()
        assert (small / "work.ipynb").read_text() == "what I wrote"
        project.compose("down", "--timeout", "1")
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_memory_limit_is_named_when_it_kills(clone):
    project = clone(MEMORY_LIMIT="400m")
    project.start()
    done = shell(project, "python -c 'b = bytearray(900 << 20)'", check=False)
    assert done.returncode == 137
    said = "A kernel needed more memory than MEMORY_LIMIT allows and was stopped."
    wait_until(lambda: said in project.logs(), 10, said)
    assert state(project)["Running"]


def test_a_server_that_hangs_becomes_unhealthy(clone):
    project = clone()
    project.compose("up", "--detach", "--wait", "--no-build", "notebook")
    shell(project, "kill -STOP $(grep -l '[b]in/jupyter-lab' /proc/[0-9]*/cmdline | cut -d/ -f3)")
    wait_until(lambda: state(project)["Health"]["Status"] == "unhealthy", 120, "unhealthy")
    project.run("docker", "kill", project.container())


def test_a_run_without_a_server_is_not_called_unhealthy(built):
    name = f"{built.slug}-run"
    built.run("docker", "run", "--detach", "--name", name, built.slug, "sleep", "60")
    try:
        wait_until(lambda: inspect(name)["State"]["Health"]["Status"] == "healthy", 60, "healthy")
    finally:
        built.run("docker", "rm", "--force", "--volumes", name)
