"""A project follows the template, by git alone or with cruft, and its owner's changes stay."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from support.project import ROOT, TEMPLATE

HOSTILE = """it's "Größe" \\ $HOME `id` # 🚗"""
ANSWERS = dict.fromkeys(["project_name", "description", "author_name"], HOSTILE)
ANSWERS["project_slug"] = "mine"
NOTEBOOK = "data/input/process_cars.ipynb"
FIRST = "e8d4716"  # the first release, whose folder had another name
MINE = {  # file: what the owner wrote into it
    "README.md": "My own words.",
    "Dockerfile": "ENV MINE=1",
    "requirements.txt": "polars",
    NOTEBOOK: "My own cell.",
}
THEIRS = {  # file: what a newer template writes into it
    "Dockerfile": "ENV THEIRS=1",
    "new.md": HOSTILE,
    NOTEBOOK: "A cell of theirs.",
}


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

    def _run(folder, *command, fails=False, typed=None):
        done = subprocess.run(
            command, cwd=folder, env=env, input=typed, capture_output=True, encoding="utf-8"
        )
        assert fails or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return _run


def commit(run, folder, tag):
    """Commit all that is in the folder, and give it a tag."""
    if not (folder / ".git").exists():
        run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", tag)
    run(folder, "git", "tag", tag)


def write_cell(file, place, text):
    notebook = json.loads(file.read_text(encoding="utf-8"))
    notebook["cells"][place]["source"].append(f"\n{text}")
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def template(run, tmp_path_factory):
    """The template in git: the first release (if the history is here), today's, a newer one."""
    folder = tmp_path_factory.mktemp("template")
    if not subprocess.run(["git", "cat-file", "-e", FIRST], cwd=ROOT).returncode:
        archive = folder.parent / "first.tar"
        run(ROOT, "git", "archive", f"--output={archive}", FIRST, "--", ":!docs", ":!tests")
        run(folder, "tar", "-xf", str(archive))
        (folder / ".gitignore").unlink()
        commit(run, folder, "first")
        run(folder, "git", "rm", "-rq", ".")
    shutil.copy(ROOT / "cookiecutter.json", folder)
    for part in ("hooks", "templates", TEMPLATE.name):
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "add", "--force", ".")  # the project's .gitignore is not for us
    commit(run, folder, "now")
    inside = folder / TEMPLATE.name
    with (inside / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("ENV THEIRS=1\n")
    (inside / "new.md").write_text("{{ cookiecutter.description }}\n", encoding="utf-8")
    (inside / ".gitattributes").unlink()
    write_cell(inside / NOTEBOOK, -1, THEIRS[NOTEBOOK])
    commit(run, folder, "newer")
    return folder


def generate(run, template, folder, version, way="git", **more):
    """Make a project of a version of the template."""
    if way == "cruft":
        texts = json.dumps({**ANSWERS, **more})
        run(folder, "cruft", "create", "-y", "--extra-context", texts, "-c", version, str(template))
    else:
        texts = [f"{key}={text}" for key, text in {**ANSWERS, **more}.items()]
        made = [
            "cookiecutter",
            "--no-input",
            "--checkout",
            version,
            f"git+{template.as_uri()}",
            *texts,
        ]
        run(folder, *made)
    return folder / "mine"


def change(run, project):
    """What an owner does in the first weeks."""
    write_cell(project / NOTEBOOK, 0, MINE[NOTEBOOK])
    for name in ("README.md", "Dockerfile"):
        head, line, rest = (project / name).read_text(encoding="utf-8").partition("\n\n")
        (project / name).write_text(f"{head}\n{MINE[name]}{line}{rest}", encoding="utf-8")
    with (project / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write("polars\n")
    shutil.copy(project / NOTEBOOK, project / "data/input/mine.ipynb")
    (project / "data/input/big.csv").write_text("not in git")
    commit(run, project, "changed")


def update(run, template, project, way, **more):
    """Type what the README says; a conflict is no failure."""
    if way == "cruft":
        more = ["--variables-to-update", json.dumps(more)] if more else []
        run(project, "cruft", "update", "-y", *more)
        return
    readme = (TEMPLATE / "README.md").read_text(encoding="utf-8").partition("## Update")[2]
    block = re.search(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[1]
    block = block.replace("{{ cookiecutter.project_slug }}", "mine").replace("COMMIT", "start")
    for line in block.splitlines():
        command = shlex.split(line.replace("gh:org/ml-docker", f"git+{template.as_uri()}"))
        if command[0] == "uvx":
            texts = [f"{key}={text}" for key, text in {**ANSWERS, **more}.items()]
            command = [*command[1:], "--no-input", *texts]
        run(project, *command, fails=command[1] == "merge")


def files(project):
    """Return the bytes of each file that git has or would take, by name."""
    listed = run_git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return {name: (project / name).read_bytes() for name in listed.split("\0") if name}


def run_git(folder, *command):
    done = subprocess.run(["git", *command], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize("way", ["git", "cruft"])
@pytest.mark.parametrize("version", ["first", "now"])
def test_an_update_brings_the_new_and_keeps_what_the_owner_changed(
    run, template, tmp_path, version, way
):
    if version not in run(template, "git", "tag").split():
        pytest.skip(f"{FIRST} is not in this clone")
    project = generate(run, template, tmp_path, version, way)
    commit(run, project, "start")
    before = set(files(project))
    change(run, project)
    update(run, template, project, way)
    (tmp_path / "fresh").mkdir()
    fresh = generate(run, template, tmp_path / "fresh", "newer")
    run(fresh, "git", "init", "-q")

    after, new = files(project), files(fresh)
    assert {name for name in new if name not in MINE and after.get(name) != new[name]} == set()
    for name, text in MINE.items():
        assert text in after[name].decode(), name
    if version == "now":  # the same places in different files, or different places in one
        for name, text in THEIRS.items():
            assert text in after[name].decode(), name
        assert not [name for name in MINE if b"\n<<<<<<< " in after[name]]
        json.loads(after[NOTEBOOK])
    assert "data/input/mine.ipynb" in after
    assert (project / "data/input/big.csv").read_text() == "not in git"
    gone = before - set(new) - {".cruft.json"}
    assert ".gitattributes" in gone and not gone & set(after)
    assert not list(project.rglob("*.rej"))


@pytest.mark.parametrize("way", ["git", "cruft"])
def test_where_both_changed_the_same_line_both_stay(run, template, tmp_path, way):
    """The owner decides."""
    project = generate(run, template, tmp_path, "now", way)
    commit(run, project, "start")
    with (project / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("ENV MINE=1\n")
    commit(run, project, "changed")
    update(run, template, project, way)
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    assert "ENV MINE=1" in text and "ENV THEIRS=1" in text and "<<<<<<<" in text


@pytest.mark.parametrize("way", ["git", "cruft"])
def test_a_cluster_can_be_added_later(run, template, tmp_path, way):
    """The same template with another answer: the owner's changes stay, the cluster comes."""
    project = generate(run, template, tmp_path, "now", way)
    commit(run, project, "start")
    change(run, project)
    update(run, template, project, way, cluster="dask")
    (tmp_path / "fresh").mkdir()
    fresh = generate(run, template, tmp_path / "fresh", "newer", cluster="dask")
    run(fresh, "git", "init", "-q")
    after, new = files(project), files(fresh)
    assert set(new) <= set(after)
    assert after["requirements.lock"] == new["requirements.lock"]
    for name, text in MINE.items():
        assert text in after[name].decode() and "\n<<<<<<< " not in after[name].decode(), name


def test_a_project_made_without_cruft_can_be_linked_later(run, template, tmp_path):
    project = generate(run, template, tmp_path, "now")
    commit(run, project, "start")
    run(project, "cruft", "link", "--checkout", "now", str(template), typed="Mine\n" + "\n" * 10)
    commit(run, project, "link")
    run(project, "cruft", "update", "-y")
    assert "ENV THEIRS=1" in (project / "Dockerfile").read_text(encoding="utf-8")
