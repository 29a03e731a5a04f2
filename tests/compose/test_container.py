"""The running container, seen from inside (testinfra), from the engine and from a browser."""

import http.client
import re
import subprocess
import urllib.request

import pytest
import testinfra
from support.project import NO_RIGHTS, inspect

pytestmark = pytest.mark.engine

NONE = "0" * 16
# What entrypoint needs to become the owner: SETGID, SETUID and SETPCAP, bits 6 to 8.
THREE = f"{0b111 << 6:016x}"


def inside(container: str) -> testinfra.host.Host:
    """Return the inside of a container; commands run there as with `docker exec`, as root."""
    return testinfra.get_host(f"docker://{container}")


@pytest.fixture(scope="session")
def host(running):
    return inside(running.container())


def status(host, process: int | str) -> dict[str, str]:
    """Return /proc/<process>/status as a dictionary."""
    text = host.check_output(f"cat /proc/{process}/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def server(host) -> int:
    """Return the process id of the Jupyter server."""
    script = "grep -l '[b]in/jupyter-lab' /proc/[0-9]*/cmdline | cut -d/ -f3 | head -1"
    return int(host.check_output(script))


@pytest.mark.parametrize("way", ["compose", "plain"])
def test_whoever_owns_the_folder_runs_the_server_without_any_right(clone, way):
    """Also where nobody else may enter; and what `docker run` gives is given up too."""
    project = clone(uid=20345, gid=20777, mode=0o700)
    if way == "compose":
        project.start()
        container = project.container()
    else:
        mount = ("-v", f"{project.data}:/data/notebook")
        command = ("docker", "run", "--rm", "--detach", *mount, project.slug)
        container = project.run(*command).stdout.strip()
    try:
        host = inside(container)
        if way == "plain":
            host.check_output("bash -c 'until entrypoint healthy; do sleep 0.2; done 2>&1'")
        for process in (1, server(host)):
            state = status(host, process)
            assert set(state["Uid"].split()) == {"20345"}
            assert set(state["Gid"].split()) == {"20777"}
            assert state["Groups"].strip() == ""
            assert {(f"{name}:", value) for name, value in state.items()} >= NO_RIGHTS
        # The README's shell is the owner's, too.
        shell = ["exec", "-T", "notebook", "entrypoint", "bash", "-c"]
        if way == "compose":
            done = project.compose(*shell, "touch mine; id -u; id -g; grep Cap /proc/self/status")
            assert set(done.stdout.split()[3::2]) == {NONE} and done.stderr == ""
            made = (project.data / "mine").stat()
            assert (made.st_uid, made.st_gid) == (20345, 20777)
    finally:
        project.run("docker", "rm", "--force", container)


def test_the_engines_own_root_keeps_three_rights_and_gains_none(host):
    state = status(host, "self")
    assert {state["CapEff"], state["CapBnd"]} == {THREE}
    assert state["NoNewPrivs"] == "1"


def test_only_data_home_and_tmp_can_be_written_to(host, running):
    for folder in ("/data/notebook", "/tmp", "/home/notebook"):
        assert host.run(f"entrypoint touch {folder}/probe").rc == 0, folder
    (running.data / "probe").unlink()
    for folder in ("/", "/opt/venv", "/etc", "/usr/local/bin", "/data", "/root", "/project"):
        assert host.run(f"touch {folder}/probe").rc != 0, folder
    assert host.file("/project/requirements.txt").exists


def test_limits_are_set_and_can_be_changed(running, clone):
    limits = ("Memory", "ShmSize", "PidsLimit")
    now = inspect(running.container())["HostConfig"]
    assert [now[name] for name in limits] == [4 << 30, 1 << 30, 1024]
    changed = clone(MEMORY_LIMIT="700m", SHM_SIZE="64m")
    changed.compose("create", "--no-build", "notebook")
    now = inspect(changed.container())["HostConfig"]
    assert [now[name] for name in limits] == [700 << 20, 64 << 20, 1024]


def test_no_tool_and_no_secret_of_the_build_is_left(host):
    for tool in ("gcc", "cc", "g++", "make", "uv", "pip", "git", "curl", "wget"):
        assert not host.exists(tool), tool
    script = "ls -A /root /tmp /opt /run/secrets /var/lib/apt/lists /var/cache/apt"
    left = host.check_output(f"{script} 2>/dev/null || true")
    assert not re.search(r"\b(cache|uv|pip|index|requirements|archives|pkgcache.bin)\b", left), left


def test_volume_port_and_working_folder_are_declared(running):
    image = inspect(running.slug)["Config"]
    assert image["Volumes"] == {"/data/notebook": {}}
    assert list(image["ExposedPorts"]) == ["8888/tcp"]
    assert image["WorkingDir"] == "/data/notebook"


def test_only_this_machine_can_connect(running):
    ports = inspect(running.container())["NetworkSettings"]["Ports"]
    assert ports == {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": running.env["JUPYTER_PORT"]}]}


def test_a_start_prints_one_line_whose_address_opens_the_lab(running):
    line = r"(\x1b\[2K)?Open http://127\.0\.0\.1:\d+/\?token=\w{48} in your browser\. .*\n"
    assert re.fullmatch(line, running.start_log), running.start_log
    url = running.printed_url()
    assert url.startswith(f"http://127.0.0.1:{running.env['JUPYTER_PORT']}/")
    with urllib.request.urlopen(url) as page:
        assert page.url.split("?")[0].endswith("/lab")
        assert "JupyterLab" in page.read().decode()


def test_notebook_7_opens_where_it_was_chosen(notebook_7):
    with urllib.request.urlopen(notebook_7.printed_url()) as page:
        assert page.url.split("?")[0].endswith("/tree")


def test_the_health_check_is_deaf_to_proxies(host):
    command = inspect(host.backend.name)["Config"]["Healthcheck"]["Test"]
    proxies = [f"--env={name}=http://127.0.0.1:9" for name in ("http_proxy", "HTTP_PROXY")]
    done = subprocess.run(["docker", "exec", *proxies, host.backend.name, *command[1:]])
    assert done.returncode == 0


def test_orphans_are_reaped(host):
    script = "for i in {1..1000}; do (sleep 0.1 & ) ; done; sleep 2"
    host.check_output(f"bash -c '{script}'")
    assert host.run("grep -l '^State:.Z' /proc/[0-9]*/status").stdout == ""


@pytest.mark.parametrize("token", ["", "wrong"])
def test_nothing_answers_without_the_token(running, token):
    headers = {"Authorization": f"token {token}"} if token else {}
    upgrade = headers | {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    requests = [
        ("GET", "/api/contents/cars_sampled.csv", headers),
        ("PUT", "/api/contents/mine.txt", headers),
        ("GET", "/files/cars_sampled.csv", headers),
        ("POST", "/api/kernels", headers),
        ("POST", "/api/terminals", headers),
        ("POST", "/api/shutdown", headers),
        ("GET", "/lab", headers),
        ("GET", "/terminals/websocket/1", upgrade),
        ("GET", "/api/kernels/00000000-0000-0000-0000-000000000000/channels", upgrade),
    ]
    for method, path, with_headers in requests:
        connection = http.client.HTTPConnection("127.0.0.1", int(running.env["JUPYTER_PORT"]))
        connection.request(method, path, headers=with_headers)
        answer = connection.getresponse()
        refused = answer.status in (401, 403) or "/login" in answer.headers.get("Location", "")
        assert refused, (method, path, answer.status)
        connection.close()
