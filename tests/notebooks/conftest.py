"""What the tests of the sample notebook share: its environment, and its cells run one by one."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.notebooks import environment

NOTEBOOK = next(Path(__file__).parents[2].glob("*slug*/data/input/process_cars.ipynb"))
SAMPLE = NOTEBOOK.with_name("cars_sampled.csv")
# Runs cells for each case of standard input, then the code of the case. Answers with one JSON line:
# for each case the error ("" if none), what was printed, and `told`.
HARNESS = """
import contextlib, io, json, os, resource, sys, warnings

warnings.simplefilter("error")
cells, cases = json.load(sys.stdin)
cells = {name: compile(code, name, "exec") for name, code in cells.items()}
answers = []
for case in cases:
    os.chdir(case["folder"])
    names, printed, error = {"told": None}, io.StringIO(), ""
    limit = case["settings"].pop("limit", resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
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
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    answers.append([error, printed.getvalue(), names["told"]])
print(json.dumps(answers))
"""


def code_cells() -> dict[str, str]:
    """Return the code cells by id."""
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in found if cell["cell_type"] == "code"}


def case(folder: Path, last: str = "write", then: str = "", **settings: object) -> dict:
    """Return a case for `run`: the settings, the last cell to run, and the code after it."""
    names = list(code_cells())
    cells = names[: names.index(last) + 1]
    return {"folder": str(folder), "cells": cells, "then": then, "settings": settings}


@pytest.fixture(scope="session")
def python(default_project) -> Path:
    """The Python of the default project; one thread: two on a busy machine wait for each other."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return environment(default_project)


@pytest.fixture(scope="session")
def run(python) -> Callable[[list[dict]], list[list]]:
    """A function that runs many cases in one process: `[case] -> [[error, printed, told]]`."""

    def _run(cases: list[dict]) -> list[list]:
        done = subprocess.run(
            [python, "-c", HARNESS],
            input=json.dumps([code_cells(), cases]),
            env=os.environ | {"MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return _run
