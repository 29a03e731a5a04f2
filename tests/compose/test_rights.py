"""What the container may do, and what reaches it from outside."""

import re

import pytest
import testinfra
from support.project import inspect

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def host(running) -> testinfra.host.Host:
    """The inside of the running container, as `docker exec` enters it: as the engine's root."""
    return testinfra.get_host(f"docker://{running.container()}")


def test_rights_of_the_engines_own_root_are_three_and_it_gains_none(host):
    """What entrypoint needs to become the owner: SETGID, SETUID and SETPCAP, bits 6 to 8."""
    shown = host.check_output("grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status")
    three = f"{0b111 << 6:016x}"
    assert shown.split()[1::2] == [three, three, "1"]


def test_rights_to_write_end_at_data_home_and_tmp(host):
    for folder in ("/data/notebook", "/tmp", "/home/notebook"):
        host.check_output(f"entrypoint bash -c 'touch {folder}/probe && rm {folder}/probe'")
    for folder in ("/", "/opt/venv", "/etc", "/usr/local/bin", "/data", "/root", "/project"):
        assert host.run(f"touch {folder}/probe").rc, folder
    assert host.file("/project/requirements.txt").is_file


def test_tmp_runs_programs_that_were_built_there(host):
    """As torch.compile and pip do."""
    host.check_output("entrypoint bash -c 'cp /bin/true /tmp/built && /tmp/built && rm /tmp/built'")


def test_rights_to_connect_are_this_machines(running):
    ports = inspect(running.container())["NetworkSettings"]["Ports"]
    assert ports == {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": running.env["JUPYTER_PORT"]}]}


def test_image_declares_volume_port_and_working_folder(running):
    image = inspect(running.slug)["Config"]
    assert image["Volumes"] == {"/data/notebook": {}}
    assert list(image["ExposedPorts"]) == ["8888/tcp"]
    assert image["WorkingDir"] == "/data/notebook"


def test_image_holds_no_compiler_and_nothing_that_the_build_left(host):
    tools = ("gcc", "cc", "g++", "make", "git", "curl", "wget")
    assert [tool for tool in tools if host.exists(tool)] == []
    folders = "/root /tmp /opt /run/secrets /var/lib/apt/lists /var/cache/apt"
    left = host.run(f"ls -A {folders}").stdout
    assert not re.search(r"\b(cache|uv|pip|index|requirements|archives|pkgcache.bin)\b", left), left
