"""Memory, /dev/shm, /tmp: what happens at their ends. A kernel may end there, the server not."""

import pytest
from support.jupyter import Kernel
from support.project import Project, inspect

pytestmark = pytest.mark.engine
MANY = """
import subprocess, time
code = "import time; x = bytearray(60 * 2**20); time.sleep(60)"
many = [subprocess.Popen(["python", "-c", code]) for _ in range(25)]
while all(each.poll() is None for each in many):
    time.sleep(0.1)
for each in many:
    each.kill()
print("killed:", -9 in [each.wait() for each in many])
"""
SHARE = """
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=32 * 2**20)
memory.buf[:] = bytes(32 * 2**20)
print("shared")
"""
FILL = """
import os
for path in ("/tmp/large", os.path.expanduser("~/large")):
    try:
        with open(path, "wb") as file:
            file.write(bytes(64 * 2**20))
        print("written")
    except OSError as error:
        print(error.strerror)
"""
SEARCH = """
import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV
table = np.ones((100_000, 50))  # 40 MB
search = GridSearchCV(DummyRegressor(), {"quantile": [0.2, 0.8]}, n_jobs=2, cv=2)
print(search.fit(table, table[:, 0]).best_score_)
"""


@pytest.fixture(scope="module")
def tight(module_clone) -> Project:
    """A server with little of everything."""
    limits = {"MEMORY_LIMIT": "1g", "SHM_SIZE": "16m", "TMP_SIZE": "32m"}
    project = module_clone(JUPYTER_TOKEN="open-sesame", **limits)
    project.up()
    return project


def started(project: Project) -> str:
    return inspect(project.container())["State"]["StartedAt"]


def test_limits_are_set_and_can_be_changed(running, tight):
    def limits(project: Project) -> list[int]:
        config = inspect(project.container())["HostConfig"]
        return [config[name] for name in ("Memory", "ShmSize", "PidsLimit")]

    assert limits(running) == [4 << 30, 1 << 30, 1024]
    assert limits(tight) == [1 << 30, 16 << 20, 1024]


def test_parallel_workers_share_tables_larger_than_shm_and_tmp(tight):
    assert Kernel(tight).run(SEARCH).stdout == "1.0\n"


def test_tmp_full_is_said_and_the_home_folder_is_on_disk(tight):
    assert tight.inside("python", "-c", FILL).stdout == "No space left on device\nwritten\n"


def test_shm_full_ends_the_kernel_and_not_the_server(tight):
    before, kernel = started(tight), Kernel(tight)
    kernel.run("state = 1")
    assert "shared" not in kernel.run(SHARE, check=False, seconds=5).stdout
    assert kernel.run("print('state' in globals())").stdout == "False\n"  # started anew
    assert started(tight) == before


def test_memory_full_ends_a_kernel_or_its_children_and_not_the_server(tight):
    """Small processes, of which none alone is larger than the server."""
    before = started(tight)
    done = Kernel(tight).run(MANY, check=False, seconds=30)
    assert done.returncode or done.stdout == "killed: True\n"
    assert started(tight) == before
    assert tight.api("GET", "api/status")["started"]
