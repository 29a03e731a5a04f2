"""What people do from habit in any notebook, and expect to work here."""

import pytest
from support.jupyter import Kernel, typed_in_terminal

pytestmark = pytest.mark.engine
LIBRARIES = {"matplotlib", "numpy", "pandas", "requests", "scikit-learn", "scipy", "tqdm"}


@pytest.fixture(scope="module")
def kernel(lab) -> Kernel:
    return Kernel(lab)


def test_pip_install_brings_a_library_at_once_and_an_extension_after_a_restart(clone, lab):
    """The same kernel imports it; so do the next ones, in this container and in a new one."""
    project = clone(lab)
    project.up()
    kernel = Kernel(project)
    kernel.run("%pip install jupyter-resource-usage")
    kernel.run("import jupyter_resource_usage")
    project.compose("restart", "notebook")
    project.up()
    assert project.api("GET", "api/metrics/v1")["rss"] > 0
    page = project.shell("jupyter labextension list 2>&1").stdout
    assert "@jupyter-server/resource-usage" in page
    project.compose("down")
    project.inside("python", "-c", "import jupyter_resource_usage")


def test_pip_install_works_where_no_server_ever_ran(clone):
    project = clone()
    project.notebook("mine.ipynb", "%pip install tabulate", "import tabulate")
    project.inside("papermill", "mine.ipynb", "-")


def test_pip_shows_the_libraries_of_the_image(kernel):
    listed = kernel.run("%pip list").stdout.split()
    frozen = kernel.run("!pip freeze").stdout.split()
    assert set(listed) >= LIBRARIES
    assert {line.partition("==")[0] for line in frozen} >= LIBRARIES


@pytest.mark.parametrize("command", ["install tqdm==4.66.0", "uninstall --yes tqdm"])
def test_pip_refuses_to_replace_what_the_image_has(kernel, command):
    version = "import tqdm; print(tqdm.__version__)"
    before = kernel.run(version).stdout
    done = kernel.run(f"!pip {command}")
    assert "ERROR: " in done.stdout and "/opt/venv" in done.stdout, done.stdout
    assert Kernel(kernel.project).run(version).stdout == before


def test_terminal_is_bash_with_the_notebooks_python_and_a_plain_prompt(lab, kernel):
    command = "import sys; print(sys.executable)"
    here = kernel.run(command).stdout.strip()
    line = f'echo "$BASH_VERSION" $((6 * 7)); python -c "{command}"; echo e""nd'
    shown = typed_in_terminal(lab, line, "end")
    assert " 42" in shown and here in shown
    assert "/data/notebook$ " in shown and "I have no name!" not in shown


def test_user_has_a_name_and_a_home_whatever_the_number_is(kernel):
    code = "import getpass, pathlib; print(getpass.getuser(), pathlib.Path.home())"
    assert kernel.run(code).stdout == "notebook /home/notebook\n"


SEARCH = """
import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV
table = np.ones((80_000, 50))  # 32 MB
search = GridSearchCV(DummyRegressor(), {"quantile": [0.2, 0.8]}, n_jobs=2, cv=2)
print(search.fit(table, table[:, 0]).best_score_)
"""


def test_parallel_workers_share_tables_larger_than_shm_and_tmp(clone, lab):
    project = clone(lab, SHM_SIZE="16m", TMP_SIZE="16m")
    project.up()
    assert Kernel(project).run(SEARCH).stdout == "1.0\n"


def test_progress_bars_and_widgets_reach_the_notebook(kernel):
    """tests/compose/test_browser.py looks at them."""
    done = kernel.run("from tqdm.notebook import tqdm\nfor _ in tqdm(range(3)): pass")
    assert "Warning" not in done.stdout + done.stderr
    assert kernel.run("import ipywidgets\nipywidgets.IntSlider(7)").stdout.startswith("IntSlider")
