"""Settings: of the shell, of `.env`, of docker/; and what a wrong one is told."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.jupyter import Kernel
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
        (project.path / ".env").write_text("".join(lines))
    project.up()
    config = inspect(project.container())
    (published,) = config["NetworkSettings"]["Ports"]["8888/tcp"]
    port = published["HostPort"]
    assert published["HostIp"] == "127.0.0.2"
    assert project.printed_url() == f"http://127.0.0.2:{port}/team/?token=easy"
    limits = [config["HostConfig"][name] for name in ("Memory", "ShmSize")]
    assert limits == [700 << 20, 64 << 20]
    shown = project.shell(
        "touch made; date +%Z; printenv JUPYTER_PASSWORD; df --output=size /tmp"
    ).stdout.split()
    assert shown == ["JST", SETTINGS["JUPYTER_PASSWORD"], "1K-blocks", "32768"]
    assert (project.path / "other/made").stat().st_mode & 0o777 == 0o640


# As .env has it, and what it means: that of any other program that reads such files.
OWN = {
    "HF_TOKEN=hf_abc": "hf_abc",
    "WANDB_API_KEY='pa$$word \"x\" # y'": 'pa$$word "x" # y',
    'OPENAI_API_KEY="two words"': "two words",
    "GREETING=two words # said": "two words",
    "HTTP_PROXY=http://127.0.0.1:9": "http://127.0.0.1:9",  # of no matter to the health check
    "http_proxy=http://127.0.0.1:9": "http://127.0.0.1:9",
    "TZ=": "",
}


@pytest.fixture(scope="module")
def with_own(module_clone):
    """A server whose `.env` has variables of its owner's, with the line ends of Windows."""
    project = module_clone(JUPYTER_TOKEN="open-sesame")
    (project.path / ".env").write_text("\r\n".join(OWN) + "\r\n", newline="")
    project.up()
    return Kernel(project)


@pytest.mark.parametrize("line", OWN)
def test_env_file_variable_reaches_the_notebook_as_it_is(with_own, line):
    name = line.partition("=")[0]
    assert with_own.run(f"import os; print(repr(os.environ['{name}']))").stdout == (
        f"{OWN[line]!r}\n"
    )


def test_time_zone_and_letters_of_the_world(clone):
    project = clone(TZ="Asia/Tokyo")
    code = "import locale, time; print(time.tzname[0], locale.getpreferredencoding(), 'ö日')"
    assert project.inside("python", "-c", code).stdout == "JST UTF-8 ö日\n"


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


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("JUPYTER_PORT", "lots", "lots"),
        ("JUPYTER_BIND", "everywhere", "everywhere"),
        ("MEMORY_LIMIT", "lots", "lots"),
        ("SHM_SIZE", "lots", "lots"),
        ("DATA", "/no/such/folder", "bind source path does not exist: /no/such/folder"),
        ("UMASK", "mine", "umask: `m': invalid"),
    ],
)
def test_setting_that_cannot_be_is_quoted_in_the_message(clone, setting, value, said):
    project = clone(**{setting: value})
    done = project.compose("up", "--detach", "--no-build", "notebook", check=False)

    def printed() -> str:
        return done.stderr + project.compose("logs", check=False).stdout

    wait_until(lambda: said in printed(), 20, f"{said!r} in {printed()!r}")
    assert not Path("/no/such").exists()
