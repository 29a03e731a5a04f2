"""The image: what is in it, what a change costs, and what stops a build."""

import json
import os
import re

import pytest
from packaging.requirements import Requirement
from support.project import PAPERMILL, Project, base_of, inspect, is_processed

pytestmark = pytest.mark.engine

# What needs files that look like tests to whoever trims an image, and the check that was taken out.
USE = """
import io, jsonschema, jupyter_events, matplotlib.pyplot as plt, nbconvert
import numpy.testing, pandas as pd, scipy.stats, sklearn.datasets, sklearn.utils.estimator_checks
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

table = pd.DataFrame({"a": [1, 2, 2], "b": ["x", "y", None]})
pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(table.to_csv(index=False))), table)
numpy.testing.assert_allclose(scipy.stats.ttest_ind([1, 2, 3], [7, 8, 9]).pvalue, 0.0018, atol=1e-4)
x, y = sklearn.datasets.load_iris(return_X_y=True)
assert HistGradientBoostingClassifier().fit(x, y).score(x, y) > 0.9
sklearn.utils.estimator_checks.check_estimators_dtypes("line", LogisticRegression())
plt.title(r"$\\alpha$ Größe")
for kind in ("png", "svg", "pdf"):
    plt.savefig(f"/tmp/plot.{kind}")
jsonschema.validate("a:b", {"format": "uri"}, format_checker=jsonschema.FormatChecker())
"""

# What a kernel has imported after its first cell, and a server at its start, without bytecode.
UNCOMPILED = """
import importlib.util, json, os, pathlib, struct
from jupyter_client.manager import start_new_kernel
cell = '''
import json, sys, pandas, matplotlib.pyplot, scipy.stats, sklearn.ensemble, requests
import jupyterlab.labapp, notebook.app
print(json.dumps([getattr(module, "__file__", None) for module in sys.modules.values()]))
'''
manager, client = start_new_kernel()
said = []
client.execute_interactive("1 / 0")  # a traceback is coloured
hear = lambda message: said.append(message["content"].get("text", ""))
client.execute_interactive(cell, output_hook=hear)
manager.shutdown_kernel()
files = [file for file in json.loads("".join(said)) if file and file.endswith(".py")]
files = [file for file in files if "/site-packages/" in file]
assert any("/debugpy/" in file for file in files)

def compiled(file):
    cache, source = pathlib.Path(importlib.util.cache_from_source(file)), os.stat(file)
    size_time = struct.pack("<LL", int(source.st_mtime), source.st_size)
    return cache.exists() and cache.read_bytes()[8:16] == size_time

print(json.dumps([file for file in files if not compiled(file)]))
"""

INSTALLED = """
import importlib.metadata as metadata, json
from packaging.markers import default_environment
needs = {library.name: library.requires or [] for library in metadata.distributions()}
versions = {library.name: library.version for library in metadata.distributions()}
print(json.dumps([versions, needs, default_environment()]))
"""


def in_image(project: Project, script: str) -> str:
    """Run Python code in the image and return what it printed."""
    command = ("docker", "run", "--rm", "--tmpfs=/tmp", project.slug, "python", "-c", script)
    return project.run(*command).stdout


def installed(project: Project) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """Return version by package, each requirement not met, and what markers are compared with."""
    versions, needs, environment = json.loads(in_image(project, INSTALLED))
    versions = {re.sub(r"[-_.]+", "-", name).lower(): v for name, v in versions.items()}
    unmet = []
    for name, texts in needs.items():
        for need in map(Requirement, texts):
            if need.marker and not need.marker.evaluate(environment | {"extra": ""}):
                continue
            version = versions.get(re.sub(r"[-_.]+", "-", need.name).lower())
            if not version or not need.specifier.contains(version, prereleases=True):
                unmet.append(f"{name}: {need}")
    return versions, unmet, environment


def layers(project: Project) -> list[str]:
    return inspect(project.slug)["RootFS"]["Layers"]


def large_layers(project: Project) -> int:
    """Return how many layers are larger than 5 MB."""
    history = ("docker", "history", "--human=false", "--format={{.Size}}", project.slug)
    return sum(int(size) > 5e6 for size in project.run(*history).stdout.split())


def build(project: Project) -> str:
    """Build the image and return the log."""
    done = project.compose("--progress=plain", "build", "notebook")
    return done.stdout + done.stderr


def test_each_library_works_although_something_was_left_out(built):
    in_image(built, USE)


def test_no_kernel_or_server_compiles_anything_at_its_start(built):
    assert json.loads(in_image(built, UNCOMPILED)) == []


def test_packages_are_those_of_the_lock_and_fit_together(built):
    versions, unmet, environment = installed(built)
    lock = (built.path / "requirements.lock").read_text(encoding="utf-8")
    locked = {}
    for line in re.findall(r"^([a-z0-9].*) \\$", lock, re.MULTILINE):
        requirement = Requirement(line)
        if not requirement.marker or requirement.marker.evaluate(environment):
            locked[requirement.name] = str(requirement.specifier)[2:]
    assert versions == locked
    assert unmet == []


@pytest.fixture
def rebuilt(new_project, built) -> Project:
    """A project of its own whose image was just built, from the cache, and may be built again."""
    project = new_project()
    build(project)
    return project


def test_data_costs_nothing_and_a_notebook_next_to_nothing(rebuilt):
    before = layers(rebuilt)
    (rebuilt.data / "folder").mkdir()
    for name in ("large.csv", "folder/large.parquet", "large.h5", "model.pt", "archive.zip", "any"):
        with (rebuilt.data / name).open("wb") as file:
            file.truncate(5 * 1024**3)
    log = build(rebuilt)
    unit = {"B": 1, "kB": 1e3, "MB": 1e6}
    sent = re.findall(r"transferring context: ([\d.]+)(\w+)", log)
    assert sent
    assert sum(float(size) * unit[name] for size, name in sent) < 2e6
    assert layers(rebuilt) == before

    with (rebuilt.data / "process_cars.ipynb").open("a") as file:
        file.write("\n")
    log = build(rebuilt)
    assert layers(rebuilt)[:3] == before[:3]
    assert "Prepared" not in log  # uv's word for a download


def test_a_library_that_is_not_in_the_lock_is_one_line_away(rebuilt):
    """In a small layer beside the large one, whole, with bytecode."""
    before, large = layers(rebuilt), large_layers(rebuilt)
    with (rebuilt.path / "requirements.txt").open("a") as file:
        file.write("seaborn\n")
    build(rebuilt)
    assert layers(rebuilt)[:3] == before[:3]
    assert large_layers(rebuilt) == large  # no second pandas
    script = "import seaborn, os; print(os.path.exists(seaborn.__cached__))"
    assert in_image(rebuilt, script) == "True\n"
    assert installed(rebuilt)[1] == []


def test_a_changed_hash_stops_the_build(new_project):
    project = new_project()
    lock = project.path / "requirements.lock"
    head, tqdm, tail = re.split(
        r"^(tqdm==.*(?:\n    --hash.*)+)", lock.read_text(), flags=re.MULTILINE
    )
    lock.write_text(head + re.sub(r"sha256:\w{8}", "sha256:00000000", tqdm) + tail)
    done = project.compose("build", "notebook", check=False)
    assert done.returncode != 0
    assert re.search(r"hash mismatch for `tqdm", done.stdout, re.IGNORECASE), done.stdout


def test_files_with_the_line_ends_of_windows_do(rebuilt):
    with (rebuilt.path / "apt.txt").open("a") as file:
        file.write("tree\n")  # no comment, with which the line end would go too
    for name in ("entrypoint", "apt.txt", "uv.txt", "requirements.txt", "requirements.lock"):
        path = rebuilt.path / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    rebuilt.compose("up", "--detach", "--wait", "--build", "notebook")
    assert rebuilt.printed_url()


@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_other_pythons_build_and_run_the_notebook(new_project, python):
    project = new_project(python_version=python)
    project.env.update(base_of(python))
    project.compose("run", "--rm", "--build", "notebook", *PAPERMILL)
    assert is_processed(project.data)
    done = project.compose("run", "--rm", "notebook", "python", "--version")
    assert done.stdout.startswith(f"Python {python}.")


def test_with_nothing_mounted_the_sample_is_there(built):
    script = "ls; id -u; stat -c %u .; touch new"
    done = built.run("docker", "run", "--rm", built.slug, "bash", "-c", script)
    assert done.stdout.split() == ["cars_sampled.csv", "process_cars.ipynb", "1000", "1000"]


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("BASE_IMAGE", "mirror.invalid/python:3.13"),
        ("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple"),
        ("DEBIAN_MIRROR", "http://127.0.0.1:9/debian"),
    ],
)
def test_what_cannot_be_reached_is_named(new_project, setting, address):
    project = new_project()
    for name in ("apt.txt", "requirements.lock"):  # so that nothing is in the build cache
        with (project.path / name).open("a") as file:
            file.write(f"# {os.urandom(8).hex()}\n")
    done = project.compose("build", "notebook", check=False, **{setting: address})
    assert done.returncode != 0
    assert address.removesuffix("/simple") in done.stdout + done.stderr
