"""What the container may do, and what reaches it from outside."""

import re

import pytest
from support.project import inspect

pytestmark = pytest.mark.engine


def test_rights_of_the_engines_own_root_are_three_and_it_gains_none(running):
    """What entrypoint needs to become the owner: SETGID, SETUID and SETPCAP, bits 6 to 8."""
    show = ("grep", "-E", "^(CapEff|CapBnd|NoNewPrivs)", "/proc/self/status")
    done = running.compose("exec", "-T", "notebook", *show)
    three = f"{0b111 << 6:016x}"
    assert done.stdout.split()[1::2] == [three, three, "1"]


def test_rights_to_write_end_at_data_home_and_tmp(running):
    for folder in ("/data/notebook", "/tmp", "/home/notebook"):
        running.shell(f"touch {folder}/probe && rm {folder}/probe")
    for folder in ("/", "/opt/venv", "/etc", "/usr/local/bin", "/data", "/root", "/project"):
        touch = ("exec", "-T", "notebook", "touch", f"{folder}/probe")
        assert running.compose(*touch, check=False).returncode, folder
    running.shell("test -f /project/requirements.txt")


def test_rights_to_connect_are_this_machines(running):
    ports = inspect(running.container())["NetworkSettings"]["Ports"]
    assert ports == {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": running.env["JUPYTER_PORT"]}]}


def test_image_declares_volume_port_and_working_folder(running):
    image = inspect(running.slug)["Config"]
    assert image["Volumes"] == {"/data/notebook": {}}
    assert list(image["ExposedPorts"]) == ["8888/tcp"]
    assert image["WorkingDir"] == "/data/notebook"


def test_image_holds_no_compiler_and_nothing_that_the_build_left(running):
    assert running.shell("command -v gcc cc g++ make git curl wget", check=False).stdout == ""
    folders = "/root /tmp /opt /run/secrets /var/lib/apt/lists /var/cache/apt"
    left = running.compose("exec", "-T", "notebook", "bash", "-c", f"ls -A {folders}; true").stdout
    assert not re.search(r"\b(cache|uv|pip|index|requirements|archives|pkgcache.bin)\b", left), left
