"""Lines of requirements.txt, as people write them: each folder in `projects` is a case.

A case is copied over a new project. `prepare.py`, if there is one, adds there what git cannot keep;
`verify.py` runs in the container, before and after a new lock; `{index}` is a second package index.
"""

import shutil
import sys
from pathlib import Path

import pytest
from support.image import beyond_the_lock
from support.packages import write_repository, write_wheel
from support.project import Project
from support.servers import files, serving

pytestmark = pytest.mark.engine
PROJECTS = Path(__file__).parent / "projects"
CASES = sorted(path.name for path in PROJECTS.iterdir())
# The packages that stand in the repository of `sources`: no lock can pin them.
OF_THE_REPOSITORY = {
    *("own", "edited", "packaged", "compiled"),
    *("from-wheels", "from-file", "from-folder"),
}


@pytest.fixture(scope="module")
def index(bridge, tmp_path_factory) -> str:
    """The address of a second package index, which also has packages that the main one has."""
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder / "simple/only-there", "only-there", "1.0")
    write_wheel(folder / "simple/only-newer", "only-newer", "1.0", "Requires-Python: >=3.12\n")
    write_wheel(folder / "simple/tabulate", "tabulate", "0.9.0+cpu")
    write_wheel(folder / "simple/toolz", "toolz", "0.1")
    for name in ("in-a-list", "at-an-address"):
        write_wheel(folder / "wheels", name, "1.0")
    write_repository(folder / "repository", "from_git")
    with serving(files(folder), bridge) as address:
        yield address


def starts_and_holds(project: Project) -> None:
    """Start Jupyter, and run verify.py beside it."""
    project.compose("build", "notebook")
    project.up()
    verify = ("entrypoint", "python", "/project/verify.py")
    project.compose("exec", "-T", "notebook", *verify)
    project.compose("down")


@pytest.mark.parametrize("case", CASES)
def test_requirements_hold_before_and_after_a_new_lock(case, new_project, index):
    project = new_project()
    shutil.copytree(PROJECTS / case, project.path, dirs_exist_ok=True)
    for path in project.path.rglob("*.txt"):
        path.write_text(path.read_text().replace("{index}", index))
    if (project.path / "prepare.py").exists():
        env = {"PYTHONPATH": str(Path(__file__).parents[1])}
        project.run(sys.executable, "prepare.py", **env)
    starts_and_holds(project)
    project.compose("run", "--rm", "lock")
    starts_and_holds(project)

    assert beyond_the_lock(project) == (OF_THE_REPOSITORY if case == "sources" else set())
