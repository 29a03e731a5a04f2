"""A project follows the template, by git alone or with cruft, and its owner's changes stay.

What is typed stands in docs/updating.md.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from support.answers import ASKED
from support.git import commit, git, identity
from support.project import ROOT, TEMPLATE, Project, free_port, is_root, missing

HOSTILE = """it's "Größe" \\ $HOME `id` # 🚗"""
ANSWERS = dict.fromkeys(["project_name", "description", "author_name"], HOSTILE)
ANSWERS["project_slug"] = "mine"
COLLEAGUE = 20345
NOTEBOOK = "data/input/process_cars.ipynb"
MINE = {  # file: what the owner wrote into it
    "README.md": "My own words.",
    "Dockerfile": "ENV MINE=1",
    "requirements.txt": "toolz==1.0.0",
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


def run(commands, folder, command, fails=False, typed=""):
    """Run a command, which must succeed unless it `fails`."""
    if command[0] == "git":
        options = {"env": commands.env, "capture_output": True, "text": True}
        done = subprocess.run(command, cwd=folder, **options)
        assert fails or done.returncode == 0, done.stdout + done.stderr
    else:
        command = command[1:] if command[0] == "cookiecutter" else command
        done = commands(*command, typed=typed, cwd=folder)
        assert done.exit_code == 0, done.output


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


def generate(commands, template, version, way="git", **more):
    """Make a project of a version of the template, and commit it."""
    if version not in git(template, "tag").split():
        missing("history", f"the commit of {version} is not in this clone")
    answers = {**ANSWERS, **more}
    options = ["--checkout", version, "--output-dir", str(commands.around / version)]
    if way == "cruft":
        command = ["cruft", "create", "-y", "--extra-context", json.dumps(answers)]
        run(commands, commands.around, [*command, *options, str(template)])
    else:
        texts = [f"{key}={text}" for key, text in answers.items()]
        command = ["cookiecutter", "--no-input", *options, f"git+{template.as_uri()}"]
        run(commands, commands.around, [*command, *texts])
    project = commands.around / version / "mine"
    commit(project, "start")
    git(project, "tag", "start")
    return project


def change(project):
    """What an owner does in the first weeks."""
    write_cell(project / NOTEBOOK, 0, MINE[NOTEBOOK])
    for name in ("README.md", "Dockerfile"):
        head, line, rest = (project / name).read_text(encoding="utf-8").partition("\n\n")
        (project / name).write_text(f"{head}\n{MINE[name]}{line}{rest}", encoding="utf-8")
    for name in ("requirements.txt", "apt.txt"):  # version 0.1.0 had no apt.txt
        with (project / name).open("a", encoding="utf-8") as file:
            file.write(MINE[name] + "\n")
    for name, text in KEPT.items():
        (project / name).write_text(text)
    commit(project, "changed")


def update(commands, template, project, way, **more):
    """Type what the page says; a conflict is no failure."""
    if way == "cruft":
        more = ["--variables-to-update", json.dumps(more)] if more else []
        (line,) = blocks("With cruft")[1]
        run(commands, project, [*shlex.split(line)[1:], "-y", *more])
        return
    (lines,) = blocks("With git alone")
    for line in lines:
        line = line.replace("my-ml-project", "mine").replace("COMMIT", "start")
        command = shlex.split(line.replace("gh:org/ml-docker", f"git+{template.as_uri()}"))
        if command[0] == "uvx":
            texts = [f"{key}={text}" for key, text in {**ANSWERS, **more}.items()]
            command = [*command[1:], "--no-input", *texts]
        run(commands, project, command, fails=command[1] == "merge")


def files(project):
    """Return the bytes of each file that git has or would take, by name."""
    listed = git(project, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return {name: (project / name).read_bytes() for name in listed.split("\0") if name}


WAYS = ["git", "cruft"]
VERSIONS = [("0.1.0", "git"), *((version, way) for version in ("second", "now") for way in WAYS)]


@pytest.mark.parametrize(("version", "way"), VERSIONS)
def test_update_brings_the_new_and_keeps_what_the_owner_changed(newer, commands, version, way):
    """From the version before also with another answer: a cluster is added."""
    more = {"cluster": "dask"} if version == "now" else {}
    project = generate(commands, newer, version, way)
    before = set(files(project))
    change(project)
    update(commands, newer, project, way, **more)

    after, new = files(project), files(generate(commands, newer, "newer", **more))
    assert {name for name in new if name not in MINE and after.get(name) != new[name]} == set()
    for name, text in MINE.items():
        assert text in after[name].decode(), name
    if version == "now":  # the same places in different files, or different places in one
        for name, text in THEIRS.items():
            assert text in after[name].decode(), name
        assert not [name for name in MINE if b"\n<<<<<<< " in after[name]]
        json.loads(after[NOTEBOOK])
        assert "CLUSTER.md" in after
    for name, text in KEPT.items():
        assert (project / name).read_text() == text
    gone = before - set(new) - {".cruft.json"}
    assert ".gitattributes" in gone and not gone & set(after)
    assert version != "second" or {"entrypoint.sh", "uv.txt"} <= gone
    assert not list(project.rglob("*.rej"))


@pytest.mark.parametrize("way", WAYS)
def test_update_leaves_both_where_both_changed_the_same_line(newer, commands, way):
    project = generate(commands, newer, "now", way)
    with (project / "Dockerfile").open("a", encoding="utf-8") as file:
        file.write("ENV MINE=1\n")
    commit(project, "changed")
    update(commands, newer, project, way)
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    assert "ENV MINE=1" in text and "ENV THEIRS=1" in text and "<<<<<<<" in text


def test_update_with_cruft_of_a_project_that_was_made_without(newer, commands):
    project = generate(commands, newer, "now")
    link, *rest = map(shlex.split, blocks("With cruft")[0])
    said = {"https://github.com/org/ml-docker": str(newer), "VERSION": "now"}
    link = [said.get(word, word) for word in link[1:]]
    run(commands, project, link, typed="Mine\n" + "\n" * len(ASKED))
    for command in rest:
        run(commands, project, command)
    update(commands, newer, project, "cruft")
    assert "ENV THEIRS=1" in (project / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture
def owner_and_colleague(engine):
    """Where the owner and somebody else will have the project, in a folder open to both."""
    around = Path(tempfile.mkdtemp())
    around.chmod(0o755)
    env = identity(around) | {"JUPYTER_TOKEN": "open-sesame"}
    names = [f"ml-docker-{who}-{os.getpid()}" for who in ("owner", "colleague")]
    both = [Project(around / name, env | {"JUPYTER_PORT": str(free_port())}) for name in names]
    for project in both:
        project.path.mkdir()
    yield both
    for project in both:
        project.remove()
    shutil.rmtree(around)


@pytest.mark.engine
def test_update_after_three_months_builds_and_runs_for_the_owner_a_colleague_and_ci(
    template, commands, owner_and_colleague
):
    """All of the page by git, from the second edition."""
    project, colleague = owner_and_colleague
    path = generate(commands, template, "second").rename(project.path)
    # A module, a notebook in a folder, a library and a pin, a lock of the owner's.
    (project.data / "helpers.py").write_text("word = 'made'\n")
    project.notebook(
        "deep/mine.ipynb",
        "import tabulate, toolz\nfrom helpers import word",
        "assert toolz.__version__ == '0.12.0'\nopen(word, 'w').close()",
    )
    mine = "tabulate\ntoolz==0.12.0\n"
    with (path / "requirements.txt").open("a") as file:
        file.write(mine)
    (path / "requirements.lock").write_text("# of mine\n")
    git(path, "add", "--force", "data/input/helpers.py", "data/input/deep")
    commit(path, "weeks of work")

    git(template, "checkout", "--quiet", "now")
    update(commands, template, path, "git")
    assert mine in (path / "requirements.txt").read_text()
    (path / "requirements.txt").write_text(mine)  # keep what you want: not the sample's
    (path / NOTEBOOK).unlink()
    (lines,) = blocks("Afterwards")
    for line in lines[:-1]:
        project.run(*shlex.split(line))
    assert "\ntoolz==0.12.0 " in (path / "requirements.lock").read_text()
    assert git(path, "status", "--porcelain") == ""
    assert lines[-1] == "docker compose up --build"
    project.compose("up", "--detach", "--wait", "--build", "notebook")

    # A colleague's clone, both up at once.
    user = COLLEAGUE if is_root() else os.getuid()
    git(path, "bundle", "create", "--quiet", path.parent / "bundle", "HEAD")
    os.chown(colleague.path, user, -1)
    options = {"user": user, "group": user} if is_root() else {}
    git(colleague.path, "clone", "--quiet", path.parent / "bundle", ".", **options)
    colleague.compose("build", "notebook")
    colleague.up()
    for each in (project, colleague):
        assert each.api("GET", "api/status")["kernels"] == 0

    # What CI types.
    workflow = yaml.safe_load((colleague.path / ".github/workflows/notebook.yml").read_text())
    for step in workflow["jobs"]["run"]["steps"]:
        if "run" in step:
            colleague.run("bash", "-e", "-c", step["run"])
    assert (colleague.data / "deep/made").stat().st_uid == user
    assert (colleague.data / "_pages/deep/mine.html").exists()
