"""A project follows the template with cruft, and its owner's changes stay."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, TEMPLATE

HOSTILE = """it's "Größe" \\ $HOME `id` # 🚗"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that runs a command in a folder, as somebody whose home is empty."""
    home = tmp_path_factory.mktemp("home")
    env = {
        **os.environ, "HOME": str(home), "USERPROFILE": str(home), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@example.org",
        "GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@example.org",
        "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
    }  # fmt: skip

    def _run(folder, *command, status=0, typed=None):
        done = subprocess.run(
            command, cwd=folder, env=env, input=typed, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    return _run


@pytest.fixture(scope="module")
def start(run, tmp_path_factory):
    """A folder with a git copy of the template, v1.0.0, and a project made of it with cruft."""
    folder = tmp_path_factory.mktemp("start")
    copy = folder / "template"
    copy.mkdir()
    shutil.copy(ROOT / "cookiecutter.json", copy)
    shutil.copytree(ROOT / "hooks", copy / "hooks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "templates", copy / "templates")
    shutil.copytree(TEMPLATE, copy / TEMPLATE.name)
    run(copy, "git", "init", "-q")
    run(copy, "git", "add", "--force", ".")  # .gitignore is that of the projects
    release(run, copy, "v1.0.0")
    texts = [f"{key}={HOSTILE}" for key in ("project_name", "description", "author_name")]
    answers = json.dumps(dict(text.split("=", 1) for text in texts) | {"project_slug": "mine"})
    run(folder, "cruft", "create", "-y", "--extra-context", answers, str(copy))
    run(folder / "mine", "git", "init", "-q")
    release(run, folder / "mine", "start")
    run(folder / "mine", "cruft", "check")
    return folder


@pytest.fixture
def template(start, tmp_path):
    """The template with the version that users have, v1.0.0."""
    return shutil.copytree(start / "template", tmp_path / "template")


def release(run, folder, tag):
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", tag)
    run(folder, "git", "tag", tag)


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text, file
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_notebook(file, cell, line):
    notebook = json.loads(file.read_text(encoding="utf-8"))
    notebook["cells"][cell]["source"].append(f"\n{line}")
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


NOTEBOOK = "data/input/process_cars.ipynb"


def newer(template, run):
    """Release a version with another Dockerfile, lock and notebook, and a file that is new."""
    inside = template / TEMPLATE.name
    edit(inside / "Dockerfile", "\nEXPOSE 8888\n", "\nEXPOSE 8888\nSTOPSIGNAL SIGINT\n")
    edit(template / "templates" / "cpu-none.lock", "\nnumpy==", "\nzipp-newer==1.0\nnumpy==")
    edit_notebook(inside / NOTEBOOK, -1, "From the template.")
    (inside / "new.md").write_text("{{ cookiecutter.description }}\n", encoding="utf-8")
    release(run, template, "v1.1.0")


@pytest.fixture
def project(run, start, template, tmp_path):
    """A project made with cruft and then changed by its owner."""
    mine = shutil.copytree(start / "mine", tmp_path / "mine")
    edit(mine / ".cruft.json", json.dumps(str(start / "template")), json.dumps(str(template)))
    edit(mine / "README.md", "\n## Stop\n", "\nMy own words.\n\n## Stop\n")
    with (mine / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write("polars\n")
    edit_notebook(mine / NOTEBOOK, 0, "My own words.")
    shutil.copy(mine / NOTEBOOK, mine / "data" / "input" / "mine.ipynb")
    release(run, mine, "changed")
    return mine


def words(project):
    """What stands where: the owner's changes and the template's."""
    text = {
        name: (project / name).read_text(encoding="utf-8")
        for name in ("README.md", "requirements.txt", NOTEBOOK, "Dockerfile", "requirements.lock")
    }
    mine = [
        "\nMy own words.\n" in text["README.md"],
        text["requirements.txt"].endswith("\npolars\n"),
        "My own words." in text[NOTEBOOK],
        (project / "data" / "input" / "mine.ipynb").exists(),
    ]
    theirs = [
        "STOPSIGNAL" in text["Dockerfile"],
        "zipp-newer" in text["requirements.lock"],
        "From the template." in text[NOTEBOOK],
    ]
    return mine, theirs


def test_an_update_brings_the_new_and_keeps_what_the_owner_changed(run, template, project):
    newer(template, run)
    run(project, "cruft", "check", status=1)
    run(project, "cruft", "update", "-y")
    run(project, "cruft", "check")
    assert words(project) == ([True] * 4, [True] * 3)
    assert (project / "new.md").read_text(encoding="utf-8") == HOSTILE + "\n"
    json.loads((project / NOTEBOOK).read_text(encoding="utf-8"))
    assert not list(project.rglob("*.rej"))
    changed = run(project, "git", "-c", "core.quotepath=off", "status", "--porcelain").split("\n")
    names = {line[3:] for line in changed if line}
    assert names == {".cruft.json", "Dockerfile", "requirements.lock", "new.md", NOTEBOOK}


def test_where_both_changed_the_same_line_both_stay(run, template, project):
    """As after `docker compose run --rm lock`: the owner decides, or writes a new lock."""
    edit(project / "requirements.lock", "\nnumpy==", "\nzipp-mine==2.0\nnumpy==")
    edit_notebook(project / NOTEBOOK, -1, "Mine at the same place.")
    release(run, project, "more")
    newer(template, run)
    run(project, "cruft", "update", "-y")
    assert words(project) == ([True] * 4, [True] * 3)
    lock = (project / "requirements.lock").read_text(encoding="utf-8")
    assert "zipp-mine==2.0" in lock and "<<<<<<<" in lock
    assert "Mine at the same place." in (project / NOTEBOOK).read_text(encoding="utf-8")


def test_uncommitted_changes_stop_an_update(run, template, project):
    newer(template, run)
    (project / "README.md").write_text("not committed", encoding="utf-8")
    assert "unclean git project" in run(project, "cruft", "update", "-y", status=1)
    assert (project / "README.md").read_text(encoding="utf-8") == "not committed"


def test_a_release_can_be_chosen_by_its_tag(run, template, project):
    newer(template, run)
    edit(template / TEMPLATE.name / "Dockerfile", "SIGINT", "SIGQUIT")
    release(run, template, "v1.2.0")
    run(project, "cruft", "update", "-y", "--checkout", "v1.1.0")
    assert "STOPSIGNAL SIGINT\n" in (project / "Dockerfile").read_text(encoding="utf-8")


def test_a_project_made_without_cruft_can_be_linked_later(run, template, tmp_path):
    run(tmp_path, "cookiecutter", "--no-input", str(template), "project_name=Mine")
    mine = tmp_path / "mine"
    run(mine, "git", "init", "-q")
    release(run, mine, "start")
    newer(template, run)
    link = ("cruft", "link", "--checkout", "v1.0.0", str(template))
    run(mine, *link, typed="Mine\n" + "\n" * 10)
    release(run, mine, "link")
    run(mine, "cruft", "update", "-y")
    assert "STOPSIGNAL" in (mine / "Dockerfile").read_text(encoding="utf-8")
    assert (mine / "README.md").read_text(encoding="utf-8").startswith("# Mine\n")


def test_a_cluster_can_be_added_later(run, template, project):
    """The same template with another answer: the owner's changes stay, the cluster comes."""
    newer(template, run)
    run(project, "cruft", "update", "-y", "--variables-to-update", '{"cluster": "dask"}')
    assert words(project)[0] == [True] * 4
    assert not list(project.rglob("*.rej"))
    compose = (project / "docker-compose.yml").read_text(encoding="utf-8")
    assert "\n  scheduler:\n" in compose and "<<<<<<<" not in compose
    asked = (project / "requirements.txt").read_text(encoding="utf-8")
    assert "\ndask[dataframe,distributed]\n" in asked and asked.endswith("\npolars\n")
    assert (project / "data" / "input" / "process_cars_dask.ipynb").exists()
    lock = (project / "requirements.lock").read_text(encoding="utf-8")
    assert "\ndistributed==" in lock and "<<<<<<<" not in lock
