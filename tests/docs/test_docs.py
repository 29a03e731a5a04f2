"""Every command of both READMEs, typed as written."""

import json
import os
import re
import sys
import urllib.request
from pathlib import Path

import pytest
from support.answers import ASKED
from support.project import ROOT, TEMPLATE, Project, free_port
from support.terminal import CTRL_C, Terminal

URL = r"http://(?:127\.0\.0\.1|localhost):\d+/\S*token=\w+"
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)")
SERVERS = ("uv run", "docker run", "docker compose up")  # they run until Ctrl-C
LEFT_OUT = (  # of the commands in sentences
    "docker compose down",  # after Ctrl-C there is nothing to stop,
    "docker compose logs",  # to read,
    "docker compose exec",  # or to enter
    "docker system",  # is for one's own machine
)


def blocks(text: str) -> list[str]:
    """Return the shell blocks of a Markdown text, in order."""
    return re.findall(r"^ *```bash\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return each line of the shell blocks, then each whole command in a sentence, in order."""
    lines = [line.strip() for block in blocks(text) for line in block.splitlines()]
    said = re.findall(r"`((?:docker compose run|docker build|docker run|cp|uvx) [^`]+)`", text)
    others = re.findall(r"`((?:docker|cp|uvx) [^`]+)`", text)
    unknown = [each for each in set(others) - {*lines, *said} if not each.startswith(LEFT_OUT)]
    assert unknown == [], "neither typed nor left out"
    return lines + said


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
def test_readme_of_a_project_holds_commands_that_work(new_project):
    """All in one project, from the first line to the last; its notebook is a small one."""
    project = new_project()
    project.notebook(
        "process_cars.ipynb", "open(globals().get('source', '') + '.seen', 'w').close()"
    )
    port = project.env["JUPYTER_PORT"]  # the machine of the tests may use port 8888
    base = os.environ.get("BASE_IMAGE", "")
    replaced = {
        "127.0.0.1:8888:": f"127.0.0.1:{port}:",
        "docker run --rm -it": f"docker run --rm -it -e JUPYTER_PORT={port}",
        "docker build": f"docker build --build-arg BASE_IMAGE={base}" if base else "docker build",
    }
    typed = commands((project.path / "README.md").read_text(encoding="utf-8"))
    for command in typed:
        if command.startswith("uv run"):
            continue  # below
        for old, new in replaced.items():
            command = command.replace(old, new)
        (opens_a_page if command.startswith(SERVERS) else succeeds)(command, project)
    assert len(typed) >= 8
    assert (project.data / "cars_sampled.csv.seen").exists()
    assert list((project.data / "_pages").glob("*.html"))
    lock = (project.path / "requirements.lock").read_text(encoding="utf-8")
    assert len(re.findall(r"^\S+==\S+", lock, re.MULTILINE)) > 100


@pytest.mark.notebook
def test_readme_of_a_project_starts_jupyter_without_docker(bake, tmp_path):
    project = bake(project_slug="without-docker")
    # Root needs leave to start a server of its own.
    (tmp_path / "jupyter_server_config.json").write_text(
        json.dumps({"ServerApp": {"allow_root": True, "open_browser": False, "port": free_port()}})
    )
    project.env["JUPYTER_CONFIG_PATH"] = str(tmp_path)
    text = (project.path / "README.md").read_text(encoding="utf-8")
    (command,) = [line for line in commands(text) if line.startswith("uv run")]
    # Where this machine lacks the Python that is named, uv would take it from the web.
    opens_a_page(re.sub(r"--python \S+", f"--python {sys.executable}", command), project)


@pytest.mark.engine
def test_readme_of_the_template_leads_to_the_page(engine, tmp_path):
    """From nothing to the page; `make test` is what runs this."""
    first, start, make = blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    assert make == "make demo\nmake test\n"
    env = {"JUPYTER_PORT": str(free_port()), "COMPOSE_PROJECT_NAME": f"readme-{os.getpid()}"}
    place = Project(tmp_path, env)
    with Terminal(first.replace("gh:org/ml-docker", str(ROOT)), tmp_path) as terminal:
        for _ in ASKED:
            terminal.press(b"\r")
        assert terminal.exit_code() == 0, terminal.text
    folder = re.search(r"cd (\S+)", start)[1]
    try:
        opens_a_page(start, place)
    finally:
        Project(tmp_path / folder, env).remove()
        place.run("docker", "rmi", "--force", env["COMPOSE_PROJECT_NAME"], check=False)


@pytest.mark.engine
@pytest.mark.parametrize("docker", ["with", "without"])
def test_demo_runs_the_notebook(engine, docker):
    env = {} if docker == "with" else {"DOCKER_HOST": "unix:///nonexistent"}
    done = Project(ROOT, env).run("make", "demo")
    assert ("so the notebook runs in Docker" in done.stdout) == (docker == "with")
    assert (ROOT / ".demo/my-ml-project/data/input/out.ipynb").exists()
    assert "name,seller,offerType,price" in done.stdout


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of the headings of a page, and an empty one for its start."""
    headings = re.findall("^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {""} | {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_links_between_pages_lead_somewhere():
    """Every relative link of the template's own pages, and each link of a project to them."""
    links = []
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for link, part in LINK.findall(page.read_text(encoding="utf-8")):
            links.append((page.parent / link if link else page, part))
    for page in TEMPLATE.rglob("*.md"):
        said = re.findall(r"org/ml-docker/blob/main/([^)#]+)", page.read_text(encoding="utf-8"))
        links += [(ROOT / link, "") for link in said]
    assert len(links) > 20
    assert [str(link) for link, _ in links if not link.exists()] == []
    pages = [(link, part) for link, part in links if link.suffix == ".md"]
    assert [(str(link), part) for link, part in pages if part not in anchors(link)] == []
