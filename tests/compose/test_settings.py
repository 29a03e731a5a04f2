"""Settings: of the shell, of `.env`, of docker/; and what a wrong one is told."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.project import inspect, wait_until

pytestmark = pytest.mark.engine
SETTINGS = {
    "JUPYTER_BIND": "127.0.0.2",
    "JUPYTER_TOKEN": "easy",
    "JUPYTER_PASSWORD": "argon2:$argon2id$v=19$m=10240,t=10,p=8$cGxhaW4",
    "BASE_URL": "/team/",
    "TZ": "Asia/Tokyo",
    "UMASK": "0027",
    "DATA": "./other",
    "MEMORY_LIMIT": "700m",
    "SHM_SIZE": "64m",
    "TMP_SIZE": "32m",
}


@pytest.mark.parametrize("place", ["shell", ".env"])
def test_setting_of_each_name_is_taken_from(clone, place):
    project = clone()
    (project.path / "other").mkdir()
    if place == "shell":
        project.env |= SETTINGS
        (project.path / ".env").write_text("JUPYTER_TOKEN=of-the-file\nTZ=Europe/Vienna\n")
    else:
        lines = [f"{name}='{value}'\n" for name, value in SETTINGS.items()]
        lines.append(f"JUPYTER_PORT={project.env.pop('JUPYTER_PORT')}\n")
        # Of no matter to the health check.
        lines += ["HTTP_PROXY=http://127.0.0.1:9\n", "http_proxy=http://127.0.0.1:9\n"]
        (project.path / ".env").write_text("".join(lines))
    project.up()
    config = inspect(project.container())
    (published,) = config["NetworkSettings"]["Ports"]["8888/tcp"]
    port = published["HostPort"]
    assert published["HostIp"] == "127.0.0.2"
    assert project.printed_url() == f"http://127.0.0.2:{port}/team/?token=easy"
    limits = [config["HostConfig"][name] for name in ("Memory", "ShmSize")]
    assert limits == [700 << 20, 64 << 20]
    zone = "python -c 'import time; print(time.tzname[0])'"
    script = f"touch made; {zone}; printenv JUPYTER_PASSWORD; df --output=size /tmp"
    shown = project.shell(script).stdout.split()
    assert shown == ["JST", SETTINGS["JUPYTER_PASSWORD"], "1K-blocks", "32768"]
    assert (project.path / "other/made").stat().st_mode & 0o777 == 0o640


def test_option_of_the_server_needs_a_restart_and_no_build(clone):
    project = clone(JUPYTER_TOKEN="open-sesame")
    project.up()
    with (project.path / "docker/jupyter_server_config.py").open("a") as file:
        file.write('c.ServerApp.base_url = "/edited/"\n')
    project.compose("restart", "notebook")

    def answers() -> bool:
        try:
            return "started" in project.api("GET", "edited/api/status")
        except (urllib.error.URLError, ConnectionError):
            return False

    wait_until(answers, 60, "an answer at the edited address")


WRONG = {
    ("JUPYTER_PORT", "lots"): "lots",
    ("JUPYTER_BIND", "everywhere"): "everywhere",
    ("MEMORY_LIMIT", "lots"): "lots",
    ("SHM_SIZE", "lots"): "lots",
    ("DATA", "/no/such/folder"): "bind source path does not exist: /no/such/folder",
    ("UMASK", "mine"): "umask: `m': invalid",
}


def test_setting_that_cannot_be_is_quoted_in_the_message(clone):
    project = clone()
    for (setting, value), said in WRONG.items():
        done = project.compose("run", "--rm", "notebook", "true", check=False, **{setting: value})
        assert done.returncode != 0, setting
        assert said in done.stderr, setting
    assert not Path("/no/such").exists()
