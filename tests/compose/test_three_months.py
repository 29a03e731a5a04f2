"""Three months of work in one script: from the second edition to today's, a colleague, CI."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from support.git import commit, git, identity
from support.project import ROOT, Project, free_port, is_processed, is_root, missing

pytestmark = pytest.mark.engine
SECOND = "b65b3f4"  # the second edition
COLLEAGUE = 20345


def cruft(folder: Path, *command: str | Path) -> None:
    """Type a command of cruft, as somebody whose home is the folder above."""
    tools = {"PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]}
    env = identity(folder.parent) | tools
    done = subprocess.run(["cruft", *command], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def folder():
    """A folder that other users may enter."""
    if not is_root():
        missing("root", "only root can become another user")
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def template(folder) -> Path:
    """The template with its history, and the files of today as its newest commit."""
    path = folder / "template"
    git(folder, "clone", "--quiet", ROOT, path)
    if subprocess.run(["git", "cat-file", "-e", SECOND], cwd=path).returncode:
        missing("history", f"the commit {SECOND} is not in this clone")
    git(path, "rm", "-rq", ".")
    for name in git(ROOT, "ls-files", "-z").split("\0"):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    git(path, "add", "--all", "--force")
    git(path, "commit", "--quiet", "--allow-empty", "--message", "today")
    return path


@pytest.fixture
def project(engine, folder, template):
    """A project that was made with cruft from the second edition."""
    slug = f"ml-docker-months-{os.getpid()}"
    answers = json.dumps({"project_slug": slug})
    create = ("create", "-y", "--checkout", SECOND, "--output-dir", folder)
    cruft(template, *create, "--extra-context", answers, template)
    settings = {"JUPYTER_PORT": str(free_port()), "JUPYTER_TOKEN": "open-sesame"}
    project = Project(folder / slug, settings)
    commit(project.path, "start")
    yield project
    project.remove()


@pytest.fixture
def colleague(engine, folder):
    """Where another user will clone the project to, on the same engine."""
    settings = {"JUPYTER_PORT": str(free_port()), "JUPYTER_TOKEN": "open-sesame"}
    (folder / "theirs").mkdir()
    os.chown(folder / "theirs", COLLEAGUE, COLLEAGUE)
    project = Project(folder / "theirs" / f"ml-docker-colleague-{os.getpid()}", settings)
    yield project
    project.remove()


def test_three_months_of_work_from_the_second_edition(project, colleague, folder):
    path = project.path
    # A module, a notebook in a folder, two libraries and a pin.
    (project.data / "helpers.py").write_text("word = 'made'\n")
    project.notebook(
        "deep/mine.ipynb",
        "import tabulate, toolz\nfrom helpers import word",
        "assert toolz.__version__ == '0.12.0'\nopen(word, 'w').close()",
    )
    with (path / "requirements.txt").open("a") as file:
        file.write("tabulate\nPyYAML\ntoolz==0.12.0\n")
    git(path, "add", "--force", "data/input/helpers.py", "data/input/deep")
    commit(path, "weeks of work")

    # The template moved on; where both changed the same lines, both are kept.
    cruft(path, "update", "-y")
    asked = (path / "requirements.txt").read_text().splitlines(keepends=True)
    kept = [line for line in asked if not line.startswith(("<<<<<<<", "=======", ">>>>>>>"))]
    (path / "requirements.txt").write_text("".join(kept))
    assert {"tabulate\n", "PyYAML\n", "toolz==0.12.0\n"} <= set(kept)
    project.compose("build", "notebook")
    project.compose("run", "--rm", "lock")
    assert "\ntoolz==0.12.0" in (path / "requirements.lock").read_text()
    commit(path, "today's template")
    files = set(git(path, "ls-files").split())
    assert files >= {"data/input/helpers.py", "data/input/deep/mine.ipynb", "docker/start"}
    assert not files & {"entrypoint.sh", "uv.txt"}
    project.compose("up", "--detach", "--wait", "--build", "notebook")

    # A colleague's clone, both up at once.
    git(path, "bundle", "create", "--quiet", folder / "bundle", "HEAD")
    clone = ("clone", "--quiet", folder / "bundle", colleague.path)
    git(folder / "theirs", *clone, user=COLLEAGUE, group=COLLEAGUE)
    colleague.compose("build", "notebook")
    colleague.up()
    for each in (project, colleague):
        assert each.api("GET", "api/status")["kernels"] == 0

    # What CI types.
    workflow = yaml.safe_load((colleague.path / ".github/workflows/notebook.yml").read_text())
    for step in workflow["jobs"]["run"]["steps"]:
        if "run" in step:
            colleague.run("bash", "-e", "-c", step["run"])
    assert is_processed(colleague.data)
    assert (colleague.data / "deep/made").stat().st_uid == COLLEAGUE
    assert (colleague.data / "_pages/deep/mine.html").exists()
    assert git(path, "status", "--porcelain") == ""
