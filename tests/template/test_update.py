"""A project follows the template, by git alone or with cruft, and its owner's changes stay.

What is typed stands in docs/updating.md.
"""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from support.git import commit, git, identity
from support.project import ROOT, TEMPLATE, Project, is_processed, missing

HOSTILE = """it's "Größe" \\ $HOME `id` # 🚗"""
ANSWERS = dict.fromkeys(["project_name", "description", "author_name"], HOSTILE)
ANSWERS["project_slug"] = "mine"
NOTEBOOK = "data/input/process_cars.ipynb"
MINE = {  # file: what the owner wrote into it
    "README.md": "My own words.",
    "Dockerfile": "ENV MINE=1",
    "requirements.txt": "polars==1.35.0",
    "apt.txt": "git  # mine",
    NOTEBOOK: "My own cell.",
}
THEIRS = {  # file: what a newer template writes into it
    "Dockerfile": "ENV THEIRS=1",
    "new.md": HOSTILE,
    NOTEBOOK: "A cell of theirs.",
}
KEPT = {  # files of the owner's own
    "data/input/helpers.py": "x = 1\n",
    "data/input/big.csv": "not in git",
    ".env": "JUPYTER_PORT=8899\n",
}


def run(folder, command, fails=False, typed=None):
    """Run a command as somebody whose home is empty, with the tools of these tests."""
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    tools = os.path.dirname(sys.executable)
    env = identity(home) | {"PATH": tools + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=folder, env=env, input=typed, capture_output=True, encoding="utf-8"
    )
    assert fails or done.returncode == 0, done.stdout + done.stderr


def blocks(part):
    """Return the shell blocks of a part of docs/updating.md, each as its lines."""
    page = (ROOT / "docs/updating.md").read_text(encoding="utf-8")
    text = page.partition(f"\n## {part}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, part
    return [block.splitlines() for block in found]


def write_cell(file, place, text):
    notebook = json.loads(file.read_text(encoding="utf-8"))
    notebook["cells"][place]["source"].append(f"\n{text}")
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def newer(template):
    """The template with one commit more, of the tag `newer`."""
    inside = template / TEMPLATE.name
    with (inside / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("ENV THEIRS=1\n")
    (inside / "new.md").write_text("{{ cookiecutter.description }}\n", encoding="utf-8")
    (inside / ".gitattributes").unlink()
    write_cell(inside / NOTEBOOK, -1, THEIRS[NOTEBOOK])
    commit(template, "newer")
    git(template, "tag", "newer")
    return template


def generate(template, folder, version, way="git", **more):
    """Make a project of a version of the template, which is no repository yet."""
    if version not in git(template, "tag").split():
        missing("history", f"the commit of {version} is not in this clone")
    folder.mkdir(exist_ok=True)
    answers = {**ANSWERS, **more}
    if way == "cruft":
        command = ["cruft", "create", "-y", "--extra-context", json.dumps(answers), "-c", version]
        run(folder, [*command, str(template)])
    else:
        texts = [f"{key}={text}" for key, text in answers.items()]
        command = ["cookiecutter", "--no-input", "--checkout", version]
        run(folder, [*command, f"git+{template.as_uri()}", *texts])
    return folder / "mine"


def change(project):
    """What an owner does in the first weeks."""
    write_cell(project / NOTEBOOK, 0, MINE[NOTEBOOK])
    for name in ("README.md", "Dockerfile"):
        head, line, rest = (project / name).read_text(encoding="utf-8").partition("\n\n")
        (project / name).write_text(f"{head}\n{MINE[name]}{line}{rest}", encoding="utf-8")
    for name in ("requirements.txt", "apt.txt"):
        with (project / name).open("a", encoding="utf-8") as file:
            file.write(MINE[name] + "\n")
    for name, text in KEPT.items():
        (project / name).write_text(text)
    commit(project, "changed")


def update(template, project, way, **more):
    """Type what the page says; a conflict is no failure."""
    if way == "cruft":
        more = ["--variables-to-update", json.dumps(more)] if more else []
        (line,) = blocks("With cruft")[1]
        run(project, [*shlex.split(line)[1:], "-y", *more])
        return
    (lines,) = blocks("With git alone")
    for line in lines:
        line = line.replace("my-ml-project", "mine").replace("COMMIT", "start")
        command = shlex.split(line.replace("gh:org/ml-docker", f"git+{template.as_uri()}"))
        if command[0] == "uvx":
            texts = [f"{key}={text}" for key, text in {**ANSWERS, **more}.items()]
            command = [*command[1:], "--no-input", *texts]
        run(project, command, fails=command[1] == "merge")


def files(project):
    """Return the bytes of each file that git has or would take, by name."""
    listed = git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return {name: (project / name).read_bytes() for name in listed.split("\0") if name}


WAYS = ["git", "cruft"]
VERSIONS = [("0.1.0", "git"), *((version, way) for version in ("second", "now") for way in WAYS)]


@pytest.mark.parametrize(("version", "way"), VERSIONS)
def test_update_brings_the_new_and_keeps_what_the_owner_changed(newer, tmp_path, version, way):
    project = generate(newer, tmp_path / "a", version, way)
    if not (project / "apt.txt").exists():
        (project / "apt.txt").touch()  # version 0.1.0 had none
    commit(project, "start")
    git(project, "tag", "start")
    before = set(files(project))
    change(project)
    update(newer, project, way)
    fresh = generate(newer, tmp_path / "fresh", "newer")
    git(fresh, "init", "--quiet")

    after, new = files(project), files(fresh)
    assert {name for name in new if name not in MINE and after.get(name) != new[name]} == set()
    for name, text in MINE.items():
        assert text in after[name].decode(), name
    if version == "now":  # the same places in different files, or different places in one
        for name, text in THEIRS.items():
            assert text in after[name].decode(), name
        assert not [name for name in MINE if b"\n<<<<<<< " in after[name]]
        json.loads(after[NOTEBOOK])
    for name, text in KEPT.items():
        assert (project / name).read_text() == text
    gone = before - set(new) - {".cruft.json"}
    assert ".gitattributes" in gone and not gone & set(after)
    assert version != "second" or {"entrypoint.sh", "uv.txt"} <= gone
    assert not list(project.rglob("*.rej"))


@pytest.mark.parametrize("way", WAYS)
def test_update_leaves_both_where_both_changed_the_same_line(newer, tmp_path, way):
    """The owner decides."""
    project = generate(newer, tmp_path / "a", "now", way)
    commit(project, "start")
    git(project, "tag", "start")
    with (project / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("ENV MINE=1\n")
    commit(project, "changed")
    update(newer, project, way)
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    assert "ENV MINE=1" in text and "ENV THEIRS=1" in text and "<<<<<<<" in text


@pytest.mark.parametrize("way", WAYS)
def test_update_with_another_answer_adds_a_cluster(newer, tmp_path, way):
    """The owner's changes stay, the cluster comes."""
    project = generate(newer, tmp_path / "a", "now", way)
    commit(project, "start")
    git(project, "tag", "start")
    change(project)
    update(newer, project, way, cluster="dask")
    fresh = generate(newer, tmp_path / "fresh", "newer", cluster="dask")
    git(fresh, "init", "--quiet")
    after, new = files(project), files(fresh)
    assert set(new) <= set(after)
    assert after["requirements.lock"] == new["requirements.lock"]
    for name, text in MINE.items():
        assert text in after[name].decode() and "\n<<<<<<< " not in after[name].decode(), name


def test_update_with_cruft_of_a_project_that_was_made_without(newer, tmp_path):
    project = generate(newer, tmp_path / "a", "now")
    commit(project, "start")
    link, *rest = map(shlex.split, blocks("With cruft")[0])
    link = [str(newer) if word.startswith("https:") else word for word in link[1:]]
    link[link.index("VERSION")] = "now"
    run(project, link, typed="Mine\n" + "\n" * 10)
    for command in rest:
        run(project, command)
    update(newer, project, "cruft")
    assert "ENV THEIRS=1" in (project / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.engine
def test_update_of_the_second_edition_builds_and_runs(engine, template, tmp_path):
    """All of the page by git, with a library, a Debian package and a lock of the owner's."""
    path = generate(template, tmp_path / "a", "second").rename(
        tmp_path / "a" / f"updated-{os.getpid()}"
    )
    commit(path, "start")
    git(path, "tag", "start")
    change(path)
    (path / "Dockerfile").write_bytes(
        (path / "Dockerfile").read_bytes().replace(b"ENV MINE=1\n", b"")
    )
    (path / "requirements.lock").write_text("# of mine\n")
    commit(path, "mine")
    git(template, "checkout", "--quiet", "now")
    update(template, path, "git")
    for name in ("requirements.txt", "apt.txt"):
        text = (path / name).read_text(encoding="utf-8")
        (path / name).write_text(re.sub(r"^(<{7}|={7}|>{7}).*\n", "", text, flags=re.MULTILINE))
    for name in (NOTEBOOK, "README.md"):
        git(path, "checkout", "template", name)
    (lines,) = blocks("Afterwards")
    project = Project(path, identity(tmp_path))
    try:
        for line in lines[:-1]:
            project.run(*shlex.split(line))
        assert "\npolars==1.35.0 " in (path / "requirements.lock").read_text()
        assert lines[-1] == "docker compose up --build"
        command = ("papermill", "process_cars.ipynb", "out.ipynb")
        project.compose("run", "--rm", "--build", "notebook", *command)
        assert is_processed(project.data)
    finally:
        project.remove()
