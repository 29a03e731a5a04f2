"""Builds: what a change costs, what stops one, and what an image is built from."""

import re
import shutil
from pathlib import Path

import pytest
from support.image import build, in_image
from support.project import PAPERMILL, Project, inspect, is_processed

pytestmark = pytest.mark.engine
COMPILED = Path(__file__).parent / "projects/sources/compiled"
REFUSED = {
    "no-such-library-8c1f27": "no-such-library-8c1f27 was not found",
    "pandas=2": "pandas=2",
    "git+http://127.0.0.1/repository": "Git executable not found",
    "./compiled": "gcc",
    "pandas<3\npandas>=3": "pandas<3",
    "six @ file:///C:/ci/six_1644875935023/work": "file:///C:/ci/six_1644875935023/work",
    "-r more.txt": "more.txt",
}


def packages_installed(log: str) -> int:
    """Return how many packages a build installed, as uv says it."""
    return sum(map(int, re.findall(r"Installed (\d+) package", log)))


def bytes_of_new_layers(project: Project, before: list[str]) -> int:
    """Return what a push of the image would send to somebody who has these layers."""
    history = ("docker", "history", "--human=false", "--format={{.Size}}", project.slug)
    sizes = [size for size in map(int, project.run(*history).stdout.split()) if size]
    layers = inspect(project.slug)["RootFS"]["Layers"]
    empty = len(layers) - len(sizes)  # the newest
    return sum(sizes[: len(set(layers) - set(before)) - empty])


def test_build_of_one_more_library_installs_that_one_and_of_a_notebook_none(clone):
    project = clone()
    before = inspect(project.slug)["RootFS"]["Layers"]
    project.notebook("new.ipynb", "1")
    for script in (project.path / "docker").iterdir():
        script.chmod(0o644)  # as Windows has them
    assert packages_installed(build(project)) == 0
    assert bytes_of_new_layers(project, before) < 5e6

    with (project.path / "requirements.txt").open("a") as file:
        file.write("Seaborn\n")
    assert packages_installed(build(project)) == 1
    assert bytes_of_new_layers(project, before) < 5e6
    script = "import seaborn, os; print(os.path.exists(seaborn.__cached__))"
    assert in_image(project, script) == "True\n"
    project.inside("uv", "pip", "check")


@pytest.mark.parametrize(
    ("name", "said"), [("idna", "hash mismatch for `idna"), ("uv", "do not match the hashes")]
)
def test_build_stops_at_a_changed_hash(small, name, said):
    lock = small.path / "requirements.lock"
    head, entry, tail = re.split(
        rf"^({name}==.*(?:\n    --hash.*)+)", lock.read_text(), flags=re.MULTILINE
    )
    lock.write_text(head + re.sub(r"sha256:\w{8}", "sha256:00000000", entry) + tail)
    log = build(small, check=False)
    assert said in log.lower(), log


def test_build_refuses_by_name_what_cannot_be(clone):
    project = clone()
    shutil.copytree(COMPILED, project.path / "compiled")
    requirements = project.path / "requirements.txt"
    libraries = requirements.read_text()
    for line, words in REFUSED.items():
        requirements.write_text(libraries + line)
        log = build(project, check=False)
        assert "failed to solve" in log, line
        assert words in log.split("error: ", 1)[1], line


def test_build_with_nothing_mounted_runs_the_sample(built):
    """By plain Docker: the sample's files are there, and belong to the one who runs."""
    script = "ls; id -u; stat -c %u .; touch new"
    done = built.run("docker", "run", "--rm", built.slug, "bash", "-c", script)
    assert done.stdout.split() == ["cars_sampled.csv", "process_cars.ipynb", "1000", "1000"]
    built.run("docker", "build", "--quiet", "--tag", f"{built.slug}-lock", ".")


@pytest.mark.nightly
@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_python_of_debian_builds_and_runs_the_notebook(new_project, debian_base, python):
    """A base image of Debian's packages, which has neither `python` nor `pip`."""
    project = new_project(python_version=python)
    project.env["BASE_IMAGE"] = debian_base(python)
    project.compose("run", "--rm", "--build", "notebook", *PAPERMILL)
    assert is_processed(project.data)
    done = project.compose("run", "--rm", "notebook", "python", "--version")
    assert done.stdout.startswith(f"Python {python}.")


def test_python_of_the_base_image_may_be_another_than_the_answer(small, debian_base):
    """After what docs/company.md says; own modules and packages in `src` are found."""
    small.compose("build", "notebook")
    small.compose("run", "--rm", "lock", "--python-version", "3.11")
    small.env["BASE_IMAGE"] = debian_base("3.11")
    (small.path / "src/mine").mkdir(parents=True)
    (small.path / "src/mine/__init__.py").touch()
    (small.data / "helpers.py").touch()
    small.compose("build", "notebook")
    code = "import helpers, mine, requests, sys; print(sys.version)"
    done = small.compose("run", "--rm", "notebook", "bash", "-c", f"cd /tmp; python -c '{code}'")
    assert done.stdout.startswith("3.11.")
