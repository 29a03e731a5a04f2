"""What the tests of the notebooks share: an environment, headless runs, cells one by one."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from support.project import TEMPLATE, Project

SAMPLE = TEMPLATE / "data/input/cars_sampled.csv"
# Runs cells for each case of standard input, then the code of the case. Answers with one JSON line:
# for each case the error ("" if none), what was printed, and `told`.
HARNESS = """
import contextlib, io, json, os, sys

first, cells, cases = json.load(sys.stdin)
cells = {name: compile(code, name, "exec") for name, code in cells.items()}
given = {"__name__": "__main__", "told": None}
exec(first, given)
answers = []
for case in cases:
    os.chdir(case["folder"])
    names, printed, error = given.copy(), io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            for name in case["cells"]:
                exec(cells[name], names)
                if "matplotlib.pyplot" in sys.modules:  # each cell has its own, as in Jupyter
                    sys.modules["matplotlib.pyplot"].close("all")
                if name == "parameters":
                    names |= case["settings"]
            exec(case["then"], names)
        except BaseException as problem:
            error = f"{type(problem).__name__}: {problem}"
    answers.append([error, printed.getvalue(), names["told"]])
    names.clear()
print(json.dumps(answers))
"""


class Run(NamedTuple):
    """A headless run: papermill's exit code and standard error, the cells, the folder."""

    code: int
    stderr: str
    cells: list[dict]
    folder: Path

    def text(self) -> str:
        """Return all that the notebook printed."""
        outputs = [output for cell in self.cells for output in cell.get("outputs", [])]
        return "".join("".join(output.get("text", "")) for output in outputs)

    def shown(self) -> dict[str, str]:
        """Return what each cell shows as text, by the cell's id. (Dask warns on stderr.)"""
        return {
            cell["id"]: "".join(
                "".join(each.get("text") or each.get("data", {}).get("text/plain", ""))
                for each in cell.get("outputs", [])
                if each.get("name") != "stderr"
            )
            for cell in self.cells
        }

    def output_of(self, cell_id: str) -> list[dict]:
        """Return the outputs of one cell."""
        return next(cell["outputs"] for cell in self.cells if cell["id"] == cell_id)


def environment(project: Project) -> Path:
    """Return the Python of an environment made from the project's lock; kept between test runs."""
    lock = project.path / "requirements.lock"
    files = [project.path / "requirements.txt", project.path / "docker/requirements.txt"]
    content = b"".join(file.read_bytes() for file in [*files, lock])
    key = hashlib.sha256(content + sys.version.encode())
    folder = Path(tempfile.gettempdir(), f"ml-docker-notebook-{os.getuid()}-{key.hexdigest()[:12]}")
    interpreter = folder / "bin/python"
    if not interpreter.exists():
        new = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
        call = functools.partial(subprocess.run, check=True)
        call(["uv", "venv", "-q", "--clear", "--relocatable", "--python", sys.executable, new])
        install = ["uv", "pip", "install", "-q", "--compile-bytecode", "--python", new]
        call([*install, "-r", files[0], "-r", files[1], "-c", lock])
        try:
            new.rename(folder)
        except OSError:  # someone else was faster
            shutil.rmtree(new)
    return interpreter


def papermill(python: Path, notebook: Path, folder: Path, **parameters: str) -> Run:
    """Copy a notebook into `folder` and run it there headless, as a user would."""
    name = re.sub("{%.*?%}", "", notebook.name)  # papermill would fill the braces in
    shutil.copy(notebook, folder / name)
    options = [word for name, value in parameters.items() for word in ("-p", name, value)]
    done = subprocess.run(
        [python, "-m", "papermill", name, "out.ipynb", *options],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    cells = json.loads((folder / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    return Run(done.returncode, done.stderr, cells, folder)


def code_cells(notebook: Path) -> dict[str, str]:
    """Return the code cells by id."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in found if cell["cell_type"] == "code"}


def case(folder: Path, last: str, then: str = "", **settings: object) -> dict:
    """Return a case for `run_cells`: settings, the last cell to run, and the code after it."""
    return {"folder": str(folder), "last": last, "then": then, "settings": settings}


def run_cells(
    python: Path, notebook: Path, cases: list[dict], first: str = "", without: str = "", **env: str
) -> list[list]:
    """Run many cases in one process, after `first`: `[error, printed, told]` of each."""
    cells = code_cells(notebook)
    names = [name for name in cells if name != without]
    cases = [each | {"cells": names[: names.index(each["last"]) + 1]} for each in cases]
    done = subprocess.run(
        [python, "-c", HARNESS],
        input=json.dumps([first, cells, cases]),
        env=os.environ | {"MPLBACKEND": "agg"} | env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
