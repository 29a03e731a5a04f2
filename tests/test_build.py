"""The image: complete in spite of what was dropped, the same after a broken build, and no larger with the data."""

import json
import os
import re
import subprocess
import time

import pytest
from conftest import Project, base_of

pytestmark = pytest.mark.engine

USE = """
import io, jsonschema, matplotlib.pyplot as plt, nbconvert, numpy as np, numpy.testing, pandas as pd, requests, scipy
import pandas.testing, sklearn.datasets, sklearn.utils.estimator_checks
from matplotlib import font_manager
from scipy import fft, integrate, linalg, optimize, signal, sparse, spatial, special, stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

np.testing.assert_allclose(np.linalg.solve(np.eye(2) * 2, [2, 4]), [1, 2])
table = pd.DataFrame({"a": [1, 2, 2], "b": ["x", "y", None]})
pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(table.to_csv(index=False))), table)
assert table.groupby("a").size().loc[2] == 2
assert abs(integrate.quad(np.sin, 0, np.pi)[0] - 2) < 1e-9
assert optimize.minimize(lambda x: (x[0] - 3) ** 2, [0]).success
assert stats.ttest_ind([1, 2, 3], [7, 8, 9]).pvalue < 0.01
assert sparse.eye(3).sum() == 3 and special.gamma(5) == 24 and len(fft.fft([1, 2])) == 2
x, y = sklearn.datasets.load_iris(return_X_y=True)
assert LogisticRegression(max_iter=500).fit(x, y).score(x, y) > 0.9
assert HistGradientBoostingRegressor().fit(x, y).score(x, y) > 0.9
sklearn.utils.estimator_checks.check_estimator(LogisticRegression())
plt.plot([1, 2]); plt.title(r"$\\alpha$ Größe"); plt.savefig("/tmp/plot.png"); plt.savefig("/tmp/plot.svg"); plt.savefig("/tmp/plot.pdf")
assert "DejaVu" in font_manager.findfont("DejaVu Sans", fallback_to_default=False)
jsonschema.validate({"a": 1}, {"type": "object"}, format_checker=jsonschema.FormatChecker())
"""

# What a kernel has imported after its first cell, and a server at its start, without bytecode.
UNCOMPILED = """
import importlib.util, json, os, sys
from jupyter_client.manager import start_new_kernel
cell = '''
import json, sys, pandas, matplotlib.pyplot, scipy.stats, sklearn.ensemble, requests, jupyterlab.labapp, notebook.app
print(json.dumps([getattr(module, "__file__", None) for module in sys.modules.values()]))
'''
manager, client = start_new_kernel()
said = []
client.execute_interactive("1 / 0")  # a traceback is coloured
client.execute_interactive(cell, output_hook=lambda message: said.append(message["content"].get("text", "")))
manager.shutdown_kernel()
files = [file for file in json.loads("".join(said)) if file and "/site-packages/" in file and file.endswith(".py")]
assert any("/debugpy/" in file for file in files)
print(json.dumps([file for file in files if not os.path.exists(importlib.util.cache_from_source(file))]))
"""

# Each compiled module can still be loaded after its symbols for debuggers were stripped.
LOADS = """
import ctypes, os, scipy.linalg
from pathlib import Path
modules = list(Path("/opt/venv").rglob("*.so"))
for module in modules:
    ctypes.CDLL(module)
print(len(modules), flush=True)
os._exit(0)  # some of them do not expect to be loaded like this, and crash at the end
"""

# Every library is whole: what it needs is there in the right version, and so is each file that it lists.
WHOLE = """
import importlib.metadata as metadata, json
from packaging.requirements import Requirement
problems = []
for library in metadata.distributions():
    problems += [str(file) for file in library.files if not file.locate().exists()]
    for need in map(Requirement, library.requires or []):
        if not need.marker or need.marker.evaluate({"extra": ""}):
            if not need.specifier.contains(metadata.version(need.name), prereleases=True):
                problems.append(f"{library.name}: {need}")
print(json.dumps(problems))
"""

# Every file with its hash. Of bytecode, whose header holds a time, that it belongs to the source as it is now.
CONTENT = """
import hashlib, importlib.util, json, os, struct
from pathlib import Path
content = {}
for path in sorted(Path("/opt/venv").rglob("*")):
    if path.suffix == ".pyc":
        source = Path(importlib.util.source_from_cache(str(path))).stat()
        size_time = struct.pack("<LL", int(source.st_mtime), source.st_size)
        content[str(path)] = path.read_bytes()[8:16] == size_time
    elif path.is_symlink():
        content[str(path)] = os.readlink(path)
    elif path.is_file():
        content[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
print(json.dumps(content))
"""


def in_image(project, script: str) -> str:
    return project.run(
        "docker", "run", "--rm", "--tmpfs=/tmp", project.slug, "python", "-c", script
    ).stdout


def content(project) -> dict[str, str | bool]:
    """Return the hash of each installed file."""
    return json.loads(in_image(project, CONTENT))


def layers(project) -> list[str]:
    done = project.run("docker", "inspect", "--format={{json .RootFS.Layers}}", project.slug)
    return json.loads(done.stdout)


def build(project, *args: str) -> str:
    """Build the image and return the log."""
    done = project.compose("--progress=plain", "build", *args, "notebook")
    return done.stdout + done.stderr


def step(log: str, command: str) -> str:
    """Return how the step of the build went that has this in its command."""
    (number,) = re.findall(rf"^#(\d+) .*{re.escape(command)}", log, re.MULTILINE)[:1]
    return re.findall(rf"^#{number} (CACHED|DONE)", log, re.MULTILINE)[0]


def test_each_library_works(built):
    in_image(built, USE)


def test_each_compiled_module_loads_without_its_symbols(built):
    assert int(in_image(built, LOADS)) > 250
    symbols = "grep -rlF --include=*.so .symtab /opt/venv || :"
    assert built.run("docker", "run", "--rm", built.slug, "sh", "-c", symbols).stdout == ""


def test_nothing_is_missing_and_all_fits_together(built):
    assert json.loads(in_image(built, WHOLE)) == []


def test_bytecode_is_complete_and_up_to_date(built):
    files = content(built)
    compiled = {name: good for name, good in files.items() if name.endswith(".pyc")}
    assert all(compiled.values())
    left_out = r"/site-packages/(?!prompt_toolkit/|pygments/lexers/[^_p]|wcwidth/).*\.py$"
    sources = [name for name in files if re.search(left_out, name)]
    assert len(sources) > 3000
    assert len(compiled) > 0.99 * len(sources)


def test_no_kernel_or_server_compiles_anything_at_its_start(built):
    assert json.loads(in_image(built, UNCOMPILED)) == []


@pytest.fixture
def rebuilt(new_project, built) -> Project:
    """A project of its own whose image has just been built, from the cache, and may be built again."""
    project = new_project()
    build(project)
    return project


def test_a_change_of_notebook_and_data_builds_no_library(rebuilt):
    before = layers(rebuilt)
    with (rebuilt.data / "process_cars.ipynb").open("a") as file:
        file.write("\n")
    (rebuilt.data / "cars_sampled.csv").write_text("a,b\n1,2\n")
    log = build(rebuilt)
    assert layers(rebuilt)[:-1] == before[:-1]
    for command in ("-m pip install", "large.txt", "added.lock", "install /tmp/large.lock"):
        assert step(log, command) == "CACHED"


def test_data_costs_nothing(rebuilt):
    before = layers(rebuilt)
    with (rebuilt.data / "large.csv").open("wb") as file:
        file.truncate(5 * 1024**3)
    log = build(rebuilt)
    unit = {"B": 1, "kB": 1e3, "MB": 1e6}
    sent = re.findall(r"transferring context: ([\d.]+)(\w+)", log)
    assert sent
    assert sum(float(size) * unit[name] for size, name in sent) < 1e6
    assert layers(rebuilt) == before


def test_a_small_library_leaves_the_large_layer_as_it_is(rebuilt):
    """Also one that builds on the large libraries."""
    before = layers(rebuilt)
    with (rebuilt.path / "requirements.txt").open("a") as file:
        file.write("seaborn\n")
    rebuilt.compose("run", "--rm", "--build", "lock")
    assert step(build(rebuilt), "install /tmp/large.lock") == "CACHED"
    assert len(set(layers(rebuilt)) - set(before)) <= 4
    sizes = rebuilt.run(
        "docker", "history", "--human=false", "--format={{.Size}} {{.CreatedBy}}", rebuilt.slug
    )
    (size,) = re.findall(r"^(\d+) COPY /opt/venv", sizes.stdout, re.MULTILINE)
    assert int(size) < 5e6  # seaborn, and no second pandas
    assert in_image(rebuilt, "import seaborn; print(seaborn.__version__)")
    assert json.loads(in_image(rebuilt, WHOLE)) == []
    compiled = {name: good for name, good in content(rebuilt).items() if name.endswith(".pyc")}
    assert any("/seaborn/" in name for name in compiled)
    assert all(compiled.values())


def test_a_small_library_that_does_not_fit_is_named(rebuilt):
    with (rebuilt.path / "requirements.txt").open("a") as file:
        file.write("requests==2.20.0\n")
    done = rebuilt.compose("--progress=plain", "build", "notebook", check=False)
    assert done.returncode
    assert "you require requests==2.20.0" in done.stderr + done.stdout


def test_what_was_built_before_leaves_no_trace(new_project, built):
    """After a build that was killed half-way, beside one of another Python: the same as one from nothing."""
    project, other = new_project(), new_project(python_version="3.11")
    other.env.update(base_of("3.11"))
    for each in (project, other):
        asked = each.path / "requirements.txt"
        asked.write_text(asked.read_text().replace("\n\n", "\ntoolz\n\n", 1))

    def start(which: Project) -> subprocess.Popen:
        return subprocess.Popen(
            ["docker", "compose", "--progress=plain", "build", "notebook"],
            cwd=which.path,
            env={**os.environ, **which.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    with start(project) as killed:
        for line in killed.stdout:
            if "Prepared" in line or "Installed" in line:
                break
        time.sleep(0.5)
        killed.kill()
    with start(other) as beside:
        build(project)
        beside.communicate()
    assert any("/python3.11/site-packages/toolz/" in name for name in content(other))
    afterwards = content(project)
    assert any("/python3.13/site-packages/toolz/" in name for name in afterwards)
    build(project, "--no-cache")
    assert afterwards == content(project)
