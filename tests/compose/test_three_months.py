"""Three months of work in one script: from the first release to today's, a colleague, CI."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from support.project import ROOT, Project, free_port, is_processed, is_root, missing
from test_place import TOKEN, api, inside, start

pytestmark = pytest.mark.engine
FIRST = "e8d4716"  # the first release
COLLEAGUE = 20345


def run(folder: Path, *command: str | Path, user: int = 0) -> str:
    """Run a command as somebody whose home is the folder above; return what it printed."""
    env = {
        **os.environ, "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@example.org",
        "GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@example.org",
        "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env=env, user=user, group=user, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


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
    run(folder, "git", "clone", "--quiet", ROOT, path)
    if subprocess.run(["git", "cat-file", "-e", FIRST], cwd=path).returncode:
        missing("history", f"the commit {FIRST} is not in this clone")
    run(path, "git", "rm", "-rq", ".")
    for name in run(ROOT, "git", "ls-files", "-z").split("\0"):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    run(path, "git", "add", "--all", "--force")
    run(path, "git", "commit", "--quiet", "--allow-empty", "--message", "today")
    return path


@pytest.fixture
def project(engine, folder, template):
    """A project that was made with cruft from the first release."""
    slug = f"ml-docker-months-{os.getpid()}"
    answers = json.dumps({"project_slug": slug})
    create = ("cruft", "create", "-y", "--checkout", FIRST, "--output-dir", folder)
    run(template, *create, "--extra-context", answers, template)
    settings = {"JUPYTER_PORT": str(free_port()), "JUPYTER_TOKEN": TOKEN}
    project = Project(folder / slug, settings)
    run(project.path, "git", "init", "--quiet")
    commit(project.path, "start")
    yield project
    project.remove()


@pytest.fixture
def colleague(engine, folder):
    """Where another user will clone the project to, on the same engine."""
    settings = {"JUPYTER_PORT": str(free_port()), "JUPYTER_TOKEN": TOKEN}
    (folder / "theirs").mkdir()
    os.chown(folder / "theirs", COLLEAGUE, COLLEAGUE)
    project = Project(folder / "theirs" / f"ml-docker-colleague-{os.getpid()}", settings)
    yield project
    project.remove()


def test_three_months_of_work(project, colleague, folder):
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
    run(path, "git", "add", "--force", "data/input/helpers.py", "data/input/deep")
    commit(path, "weeks of work")
    before = set(run(path, "git", "ls-files").split())

    # The template moved on; where both changed the same lines, both are kept.
    run(path, "cruft", "update", "-y")
    asked = (path / "requirements.txt").read_text().splitlines(keepends=True)
    kept = [line for line in asked if not line.startswith(("<<<<<<<", "=======", ">>>>>>>"))]
    (path / "requirements.txt").write_text("".join(kept))
    assert {"tabulate\n", "PyYAML\n", "toolz==0.12.0\n"} <= set(kept)
    with (path / "apt.txt").open("a") as file:
        file.write("tree\n")
    project.compose("run", "--rm", "--build", "lock")
    assert "\ntoolz==0.12.0" in (path / "requirements.lock").read_text()
    commit(path, "today's template")
    assert before <= set(run(path, "git", "ls-files").split())
    project.compose("up", "--detach", "--wait", "--build", "notebook")

    # A colleague's clone, both up at once.
    run(path, "git", "bundle", "create", "--quiet", folder / "bundle", "HEAD")
    clone = ("git", "clone", "--quiet", folder / "bundle", colleague.path)
    run(folder / "theirs", *clone, user=COLLEAGUE)
    colleague.compose("build", "notebook")
    start(colleague)
    for each in (project, colleague):
        assert api(each, "GET", "api/status")["kernels"] == 0
    assert "tree v" in inside(colleague, "tree", "--version").stdout

    # What CI types.
    workflow = yaml.safe_load((colleague.path / ".github/workflows/notebook.yml").read_text())
    for step in workflow["jobs"]["run"]["steps"]:
        if "run" in step:
            colleague.run("bash", "-e", "-c", step["run"])
    assert is_processed(colleague.data)
    assert (colleague.data / "deep/made").stat().st_uid == COLLEAGUE
    assert (colleague.data / "_pages/deep/mine.html").exists()
    assert run(path, "git", "status", "--porcelain") == ""
