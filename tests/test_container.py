"""The running container, looked at from inside (testinfra) and from the engine."""

import json
import re
import subprocess
import urllib.error
import urllib.request

import pytest
import testinfra
from conftest import inspect
from packaging.requirements import Requirement

pytestmark = pytest.mark.engine

LIBRARIES = ["matplotlib", "notebook", "numpy", "pandas", "requests", "scipy", "sklearn"]


@pytest.fixture(scope="session")
def host(running):
    """The inside of the running container; commands there run as root without rights."""
    return testinfra.get_host(f"docker://{running.container()}")


def status(host, pid: int) -> dict[str, str]:
    """Return /proc/<pid>/status as a dictionary."""
    text = host.file(f"/proc/{pid}/status").content_string
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def pids(host) -> dict[int, str]:
    """Return the command line of each process by its id."""
    script = (
        'for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr "\\0" " " <$p/cmdline)"; done 2>/dev/null'
    )
    lines = host.check_output("bash -c '{}'".format(script.replace("'", "'\\''"))).splitlines()
    return {int(line.split()[0]): line.partition(" ")[2] for line in lines}


def server(host) -> int:
    """Return the process id of the Jupyter server."""
    return next(
        pid for pid, line in pids(host).items() if "python" in line and "jupyter-lab" in line
    )


def test_tini_stands_above_the_server(host):
    assert pids(host)[1].startswith(
        "tini -s -- /usr/local/bin/entrypoint.sh --as-owner jupyter lab"
    )
    assert status(host, server(host))["PPid"] == "1"


def test_the_server_is_the_owner_of_the_folder_and_has_no_rights(host, running):
    stat = running.data.stat()
    for pid in (1, server(host)):
        state = status(host, pid)
        assert set(state["Uid"].split()) == {str(stat.st_uid)}
        assert set(state["Gid"].split()) == {str(stat.st_gid)}
        assert state["Groups"].strip() == ""
        assert {state[cap] for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
            "0" * 16
        }
        assert state["NoNewPrivs"] == "1"


def test_packages_are_those_of_the_lock(host, running):
    script = (
        "import json, importlib.metadata as m, packaging.markers as k;"
        "print(json.dumps([{d.metadata['Name']: d.version for d in m.distributions()}, k.default_environment()]))"
    )
    installed, environment = json.loads(host.check_output(f'python -c "{script}"'))
    lock = (running.path / "requirements.lock").read_text()
    locked = {}
    for line in re.findall(r"^([a-z0-9].*) \\$", lock, re.MULTILINE):
        requirement = Requirement(line)
        if not requirement.marker or requirement.marker.evaluate(environment):
            locked[requirement.name] = str(requirement.specifier)[2:]
    canonical = {
        re.sub(r"[-_.]+", "-", name).lower(): version for name, version in installed.items()
    }
    assert canonical == locked


def test_python_is_the_one_that_was_chosen(host):
    assert host.check_output("python -c 'import sys; print(*sys.version_info[:2])'") == "3 13"


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_library_can_be_imported(host, library):
    done = host.run(f"python -W error -c 'import {library}'")
    assert done.rc == 0 and done.stderr == "", done.stderr


@pytest.mark.parametrize("tool", ["gcc", "cc", "g++", "make", "uv", "git", "curl", "wget"])
def test_no_compiler_and_no_installer_is_in_the_image(host, tool):
    assert not host.exists(tool)


def test_only_three_folders_can_be_written_to(host, running):
    for folder in ("/data/notebook", "/tmp", "/home/notebook"):
        assert host.run(f"entrypoint.sh touch {folder}/probe").rc == 0, folder
    (running.data / "probe").unlink()
    done = host.run("find / -xdev -type d -writable -print")
    for folder in ("/", "/opt/venv", "/etc", "/usr/local/bin", "/data", "/root"):
        assert host.run(f"touch {folder}/probe").rc != 0, folder
    assert "/opt" not in done.stdout


def test_volume_port_and_working_folder_are_declared(running):
    image = inspect(running.slug)["Config"]
    assert image["Volumes"] == {"/data/notebook": {}}
    assert list(image["ExposedPorts"]) == ["8888/tcp"]
    assert image["WorkingDir"] == "/data/notebook"


def test_the_port_is_published_on_the_loopback_address_only(running):
    ports = inspect(running.container())["NetworkSettings"]["Ports"]
    assert ports == {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": running.env["JUPYTER_PORT"]}]}


def test_the_container_is_healthy_and_says_why_not(running):
    state = inspect(running.container())["State"]["Health"]
    assert state["Status"] == "healthy"


def test_one_address_is_printed_and_opens_the_lab(running):
    url = running.printed_url()
    assert url.startswith(f"http://127.0.0.1:{running.env['JUPYTER_PORT']}/?token=")
    with urllib.request.urlopen(url) as page:
        assert page.status == 200
        assert page.url.split("?")[0].endswith("/lab")
        assert "JupyterLab" in page.read().decode()


def test_without_the_token_nothing_is_shown(running):
    url = f"http://127.0.0.1:{running.env['JUPYTER_PORT']}"
    with urllib.request.urlopen(url + "/files/cars_sampled.csv") as page:
        assert page.url.startswith(url + "/login")
    for path in ("/api/contents", "/api/kernels"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(url + path)
        assert error.value.code == 403


def test_a_healthy_start_prints_one_line(running):
    line = r"(\x1b\[2K)?Open http://127\.0\.0\.1:\d+/\?token=\w{48} in your browser\. .*\n"
    assert re.fullmatch(line, running.start_log)


def test_the_healthcheck_is_deaf_to_proxies(host):
    command = inspect(host.backend.name)["Config"]["Healthcheck"]["Test"]
    assert command[0] == "CMD"
    done = subprocess.run(
        [
            "docker",
            "exec",
            "--env=http_proxy=http://127.0.0.1:9",
            "--env=HTTP_PROXY=http://127.0.0.1:9",
        ]
        + [host.backend.name, *command[1:]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
