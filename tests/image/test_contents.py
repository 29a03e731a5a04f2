"""What is in the image, and what is not."""

import json

import pytest
from support.image import beyond_the_lock, in_image

pytestmark = pytest.mark.engine

# What needs files that look like tests to whoever trims an image, and the check that was taken out.
USE = """
import importlib.util, io, jsonschema, jupyter_events, matplotlib.pyplot as plt, nbconvert
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
for left_out in ("rfc3987_syntax", "pandas.tests", "sklearn.tests", "matplotlib.tests"):
    assert not importlib.util.find_spec(left_out), left_out
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
for part in ("/debugpy/", json.__file__):
    assert any(part in file for file in files)

def compiled(file):
    cache, source = pathlib.Path(importlib.util.cache_from_source(file)), os.stat(file)
    size_time = struct.pack("<LL", int(source.st_mtime), source.st_size)
    return cache.exists() and cache.read_bytes()[8:16] == size_time

files = [file for file in files if not file.startswith("/etc/")]
print(json.dumps([file for file in files if not compiled(file)]))
"""


def test_image_has_libraries_that_work_although_something_was_left_out(built):
    in_image(built, USE)


def test_image_compiles_nothing_at_the_start_of_a_kernel_or_server(built):
    """Neither the libraries nor Python's own modules."""
    assert json.loads(in_image(built, UNCOMPILED)) == []


def test_image_has_the_packages_of_the_lock_and_they_fit_together(built):
    assert beyond_the_lock(built) == set()


def test_image_has_nothing_of_root_in_the_home_folder(built):
    look = ("docker", "run", "--rm", "--entrypoint", "ls", built.slug, "-A", "/home")
    assert built.run(*look).stdout == ""
