"""A place to work in for months: what people hit in the first weeks, each kind once."""

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import Project, inspect, wait_until

engine = pytest.mark.engine
TOKEN = "open-sesame"


def inside(project: Project, *command: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run a command in a new container of the project."""
    return project.compose("run", "--rm", "-T", "notebook", *command, check=check)


def python(project: Project, code: str) -> str:
    """Run Python code in the project's running container; return what it printed."""
    return project.compose("exec", "-T", "notebook", "entrypoint.sh", "python", "-c", code).stdout


def start(project: Project) -> None:
    project.compose("up", "--detach", "--wait", "notebook")


def api(project: Project, method: str, path: str, content: object = None):
    """Ask the server, as its page does; return its answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{project.env['JUPYTER_PORT']}/{path}",
        method=method,
        headers={"Authorization": f"token {TOKEN}"},
        data=None if content is None else json.dumps(content).encode(),
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or "null")


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook with these cells of code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "cells": [{**code, "id": f"cell-{i}", "source": cell} for i, cell in enumerate(cells)],
    }
    path.write_text(json.dumps(content))


# Loss and takeover


@engine
def test_somebody_else_with_the_same_name_is_refused_and_sees_nothing(clone):
    first = clone(uid=20345)
    inside(first, "bash", "-c", "echo secret >~/secret")
    assert inside(first, "stat", "-c", "%a %u", "/home/notebook").stdout.split() == ["700", "20345"]
    second = clone(uid=20346, COMPOSE_PROJECT_NAME=first.slug)
    done = inside(second, "cat", "/home/notebook/secret", check=False)
    assert done.returncode != 0 and "secret" not in done.stdout
    assert f"COMPOSE_PROJECT_NAME: '{first.slug}' belongs to user 20345" in done.stderr
    del second.env["COMPOSE_PROJECT_NAME"]  # a folder of another name shares nothing
    assert inside(second, "ls", "-A", "/home/notebook").stdout == ""
    assert inside(first, "cat", "/home/notebook/secret").stdout == "secret\n"


KEPT = [
    *("cars_sampled.csv", "helpers.py", "config.yaml", "config.json", "plan.txt"),
    *("_draft.ipynb", "deep/mine.ipynb", "deep/helpers.py", "deep/scheme.png"),
]
LEFT_OUT = [
    *("data.csv", "deep/data.tsv", "table.parquet", "table.xlsx", "array.npy", "many.zip"),
    *("model.pkl", "model.pt", "weights.safetensors", "base.sqlite", "out.ipynb", "page.html"),
    *("_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb", "__pycache__/helpers.pyc"),
]


def test_git_keeps_code_in_folders_too_and_leaves_data(default_project, tmp_path):
    project = Project(shutil.copytree(default_project.path, tmp_path / "project"))
    project.run("git", "init", "-q")
    for name in KEPT + LEFT_OUT:
        (project.data / name).parent.mkdir(parents=True, exist_ok=True)
        (project.data / name).write_text("x")
    (project.path / ".env").write_text("JUPYTER_TOKEN=secret\n")
    (project.data / "process_cars.ipynb").unlink()
    project.run("git", "add", "-A")
    files = project.run("git", "ls-files").stdout.split()
    kept = {name[11:] for name in files if name.startswith("data/input/")}
    assert kept == {*KEPT, ".gitignore"}
    assert ".env" not in files


@engine
def test_the_image_runs_what_the_repository_holds_and_carries_no_data(clone):
    project = clone()
    code = ["deep/mine.ipynb", "deep/helpers.py", "config.yaml"]
    formats = (".csv", ".parquet", ".json", ".txt", ".npy", ".jpg", ".xyz", "")
    data = [f"deep/large{each}" for each in formats]
    data += ["_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb"]
    for name in code + data:
        (project.data / name).parent.mkdir(parents=True, exist_ok=True)
        with (project.data / name).open("w") as file:
            file.truncate(0 if name in code else 10**9)
    (project.path / ".env").write_text("JUPYTER_TOKEN=secret\n")
    project.compose("build", "notebook")
    find = ["find", "/data/notebook", "/project", "-type", "f", "-printf", "%P\n"]
    files = project.run("docker", "run", "--rm", project.slug, *find).stdout.split()
    assert set(code) <= set(files) and not set(data) & set(files) and ".env" not in files


@engine
def test_a_project_without_its_samples_or_with_its_data_elsewhere_builds(clone, tmp_path):
    project = clone()
    shutil.rmtree(project.data)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "mine.csv").write_text("x")
    project.data.symlink_to(tmp_path / "disk")
    project.compose("build", "notebook")
    assert inside(project, "ls").stdout == "mine.csv\n"
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    project.env["DATA"] = str(tmp_path / "link")
    assert inside(project, "ls").stdout == "mine.csv\n"
    assert inside(project, "run-notebooks").returncode == 0


@engine
def test_every_notebook_runs_in_its_own_folder_and_one_that_fails_is_kept(clone):
    project = clone()
    (project.data / "process_cars.ipynb").unlink()
    (project.data / "helpers.py").write_text("word = 'made'\n")
    write_notebook(
        project.data / "part/two words.ipynb",
        "from pathlib import Path",
        "from helpers import word",
        "Path(word).write_text('')",
    )
    for name in ("_slow.ipynb", "_drafts/no.ipynb"):
        write_notebook(project.data / name, "1 / 0")
    inside(project, "run-notebooks")
    assert (project.data / "part/made").exists()
    write_notebook(project.data / "bad.ipynb", "print('be' + 'fore')", "1 / 0")
    assert inside(project, "run-notebooks", check=False).returncode == 1
    pages = {str(page.relative_to(project.data)) for page in project.data.rglob("*.html")}
    assert pages == {"_pages/part/two words.html", "_pages/bad.html"}
    page = (project.data / "_pages/bad.html").read_text()
    assert "before" in page and "ZeroDivisionError" in page


FILL = """
for path in ("/home/notebook/large", "/tmp/large"):
    try:
        with open(path, "wb") as file:
            for _ in range(1300):
                file.write(bytes(2**20))
        print("written")
    except OSError as error:
        print(error)
"""
MANY = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
code = '''
import subprocess
code = "import time; x = bytearray(60 * 2**20); time.sleep(60)"
many = [subprocess.Popen(["python", "-c", code]) for _ in range(25)]
many[-1].wait()
'''
try:
    client.execute_interactive(code, timeout=20)
except TimeoutError:
    print("kernel lives:", manager.is_alive())
"""


@engine
def test_more_than_the_memory_never_costs_the_server(clone):
    project = clone(MEMORY_LIMIT="1g", JUPYTER_TOKEN=TOKEN)
    start(project)
    started = inspect(project.container())["State"]["StartedAt"]
    assert python(project, FILL).split("\n")[:2] == [
        "written",
        "[Errno 28] No space left on device",
    ]
    python(project, MANY)  # small processes, of which none alone is larger than the server
    wait_until(lambda: "more memory than MEMORY_LIMIT" in project.logs(), 20, "a message")
    assert inspect(project.container())["State"]["StartedAt"] == started
    assert api(project, "GET", "api/status")["started"]


THEME = "lab/api/settings/@jupyterlab/apputils-extension:themes"
HISTORY = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
client.execute_interactive("remembered = 1")
manager.shutdown_kernel()
"""
RECALL = """
from IPython.core.history import HistoryAccessor
print(any("remembered" in line for _, _, line in HistoryAccessor().get_tail(20, include_latest=True)))
"""


@engine
def test_what_a_person_set_up_survives_until_it_is_to_be_forgotten(clone):
    project = clone(JUPYTER_TOKEN=TOKEN)
    start(project)
    api(project, "PUT", THEME, {"raw": '{"theme": "JupyterLab Dark"}'})
    tabs = {"data": {"tab": {"path": "mine"}}, "metadata": {"id": "default"}}
    api(project, "PUT", "lab/api/workspaces/default", tabs)
    python(project, HISTORY)
    write_notebook(project.data / "mine.ipynb", "1")
    trust = ("jupyter", "trust", "mine.ipynb")
    project.compose("exec", "-T", "notebook", "entrypoint.sh", *trust)
    for command in (["restart", "notebook"], ["down"]):
        project.compose(*command)
        start(project)
        assert "Dark" in api(project, "GET", THEME)["raw"]
        assert api(project, "GET", "lab/api/workspaces/default")["data"] == tabs["data"]
        assert python(project, RECALL) == "True\n"
        (cell,) = api(project, "GET", "api/contents/mine.ipynb")["content"]["cells"]
        assert cell["metadata"]["trusted"]

    api(project, "DELETE", "api/contents/mine.ipynb")
    find = ["find", "/home", "/data", "-name", "*mine*"]
    assert project.compose("exec", "-T", "notebook", "entrypoint.sh", *find).stdout == ""
    project.compose("down", "--volumes")
    start(project)
    assert "Dark" not in api(project, "GET", THEME)["raw"]
