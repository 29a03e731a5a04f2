"""What the tests of the Dask notebook share: its environment, and step 1 on many small tables."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from support.notebooks import environment
from support.project import TEMPLATE

(NOTEBOOK,) = (TEMPLATE / "data/input").glob("*process_cars_dask.ipynb*")
STEP_1 = ["look", "first-row", "target", "rows", "write", "start", "results", "join"]

# Runs step 1 on each case of standard input, on workers in this process; prints the faults.
HARNESS = """
import contextlib, json, os, sys
from dask.distributed import Client

cells, cases = json.load(sys.stdin)
cells = [compile(cell, "cell", "exec") for cell in cells]
client = Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None)
faults = []
for case in cases:
    os.chdir(case["folder"])
    names = {"__name__": "__main__", "client": client, "progress": len, **case}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            for cell in cells:
                exec(cell, names)
        faults.append("")
    except Exception as error:
        faults.append(f"{type(error).__name__}: {error}")
    names.clear()
client.close()
print(json.dumps(faults))
"""


@pytest.fixture(scope="session")
def python(bake) -> Path:
    """The Python of a project with a cluster."""
    return environment(bake(cluster="dask"))


@pytest.fixture(scope="session")
def step_1(python):
    """Return a function that runs step 1 on many cases, and returns the error of each, or ""."""
    cells = {
        cell["id"]: "".join(cell["source"])
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    }
    usual = {"output": "out.csv", "separator": ",", "encoding": "utf-8", "blocksize": 40}

    def run(folder: Path, cases: list[dict], **env: str) -> list[str]:
        cases = [usual | {"folder": str(folder)} | case for case in cases]
        done = subprocess.run(
            [python, "-W", "ignore", "-c", HARNESS],
            input=json.dumps([[cells[name] for name in STEP_1], cases]),
            env=os.environ | {"NO_PROXY": "127.0.0.1"} | env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture
def killing_cluster(python, monkeypatch):
    """Return a context with two workers for `Client()`, which are killed while they work.

    Each word is a part of the name of a task: the first worker that has such a task is killed.
    The context is a function that returns the words so far.
    """

    @contextlib.contextmanager
    def start(*words: str):
        command = [python, Path(__file__).with_name("local_cluster.py"), *words]
        with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-3, text=True) as cluster:
            monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.stdout.readline().strip())
            try:
                yield lambda: cluster.communicate()[0].splitlines()
            finally:
                cluster.communicate()

    return start
