"""What the tests of the sample notebook share: its environment, and its cells run one by one."""

import os
from functools import partial
from pathlib import Path

import pytest
from support.notebooks import environment, run_cells
from support.project import TEMPLATE


@pytest.fixture(scope="session")
def python(default_project) -> Path:
    """The Python of the default project; one thread: two on a busy machine wait for each other."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return environment(default_project)


@pytest.fixture(scope="session")
def run(python):
    """A function that runs many cases in one process: `[case] -> [[error, printed, told]]`."""
    notebook = TEMPLATE / "data/input/process_cars.ipynb"
    return partial(
        run_cells, python, notebook, first="import warnings; warnings.simplefilter('error')"
    )
