"""Every command of both READMEs, typed as written."""

import json
import os
import re
import urllib.request

import pytest
from support.project import ROOT, Project, free_port, is_processed
from support.terminal import CTRL_C, Terminal

README = ROOT / "README.md"
URL = r"http://(?:127\.0\.0\.1|localhost):\d+/\S*token=\w+"


def blocks(text: str) -> list[str]:
    """Return the shell blocks of a Markdown text, in order."""
    return re.findall(r"^ *```bash\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return each line of the shell blocks, then what stands in a sentence and starts something."""
    lines = [line.strip() for block in blocks(text) for line in block.splitlines()]
    return lines + re.findall(r"`(docker build [^`]+|docker run [^`]+|uvx --from [^`]+)`", text)


def opens_a_page(command: str, project: Project) -> None:
    """Type a command that starts a server; its address must answer until Ctrl-C ends it."""
    with Terminal(command, project.path, project.env) as terminal:
        if "uv run" in command:
            terminal.wait_for("Or copy and paste one of these URLs")
        url = terminal.wait_for(URL + r"(?=\s)").group()
        with urllib.request.urlopen(url) as page:
            assert page.status == 200
        assert "uv run" in command or "arning" not in terminal.text, terminal.text
        terminal.press(CTRL_C)
        if "uv run" in command:
            terminal.wait_for(r"Shut down this Jupyter server \(y/\[n\]\)\?")
            terminal.press(b"y\r")
        assert terminal.exit_code(30) in (0, 130), terminal.text


def succeeds(command: str, project: Project) -> None:
    with Terminal(command, project.path, project.env) as terminal:
        assert terminal.exit_code() == 0, terminal.text


@pytest.mark.engine
def test_the_generated_readme(new_project, tmp_path):
    """All in one project, from the first line to the last."""
    project = new_project()
    # The machine of the tests may use port 8888, and root needs leave to start a server of its own.
    port = project.env["JUPYTER_PORT"]
    (tmp_path / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"allow_root": True, "open_browser": False, "port": free_port()}})
    )
    project.env["JUPYTER_CONFIG_PATH"] = str(tmp_path)
    base = os.environ.get("BASE_IMAGE", "official")
    (project.path / ".env").write_text(f"BASE_IMAGE={base}\n")

    typed = commands((project.path / "README.md").read_text(encoding="utf-8"))
    for command in typed:
        command = command.replace("127.0.0.1:8888:", f"127.0.0.1:{port}:")
        command = command.replace("run --rm -it -v", f"run --rm -it -e JUPYTER_PORT={port} -v")
        command = command.replace("docker build", f"docker build --build-arg BASE_IMAGE={base}")
        serves = ("uv run", "docker run", "docker compose up")
        if command.startswith(serves):
            opens_a_page(command, project)
        else:
            succeeds(command, project)
    assert len(typed) == 9
    assert is_processed(project.data)
    sbom = json.loads((project.path / "sbom.json").read_text(encoding="utf-8"))
    lock = (project.path / "requirements.lock").read_text(encoding="utf-8")
    locked = re.findall(r"^(\S+)==(\S+)(?: ;.*)? \\$", lock, re.MULTILINE)
    assert len(locked) > 100
    assert sorted((part["name"], part["version"]) for part in sbom["components"]) == sorted(locked)


@pytest.mark.engine
def test_the_readme_of_the_template(engine, tmp_path):
    """From nothing to the page; `make test` is what runs this."""
    first, start, make = blocks(README.read_text(encoding="utf-8"))
    assert first == "uvx cookiecutter gh:org/ml-docker\n"
    assert start == "cd my-ml-project\ndocker compose up\n"
    assert make == "make demo\nmake test\n"

    env = {"JUPYTER_PORT": str(free_port()), "COMPOSE_PROJECT_NAME": f"readme-{os.getpid()}"}
    place = Project(tmp_path, env)
    with Terminal(first.replace("gh:org/ml-docker", str(ROOT)), tmp_path) as terminal:
        for _ in range(10):
            terminal.press(b"\r")
        assert terminal.exit_code() == 0, terminal.text
    opens_a_page(start, place)
    project = Project(tmp_path / "my-ml-project", env)
    project.compose("down", "--volumes")
    project.run("docker", "rmi", "--force", env["COMPOSE_PROJECT_NAME"])


@pytest.mark.engine
@pytest.mark.parametrize("docker", ["with", "without"])
def test_make_demo(engine, docker):
    env = {} if docker == "with" else {"DOCKER_HOST": "unix:///nonexistent"}
    done = Project(ROOT, env).run("make", "demo")
    assert ("so the notebook runs in Docker" in done.stdout) == (docker == "with")
    assert (ROOT / ".demo/my-ml-project/data/input/out.ipynb").exists()
    assert "name,seller,offerType,price" in done.stdout
