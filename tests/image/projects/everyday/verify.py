import shutil
import warnings
from importlib.metadata import PackageNotFoundError, version

import ipywidgets
import matplotlib.pyplot as plt
import polars

assert version("pandas").startswith("2.")
assert version("toolz") == "0.12.0"
assert version("tabulate") == "0.9.0"
assert polars.DataFrame({"a": [1, 2]})["a"].sum() == 3
for name in ("docopt", "PySocks", "typing-extensions", "zope.interface"):
    version(name)
try:
    version("colorama")
except PackageNotFoundError:
    pass
else:
    raise AssertionError("colorama is for Windows alone")

ipywidgets.IntSlider(7)  # which the image brings, whatever requirements.txt names
assert shutil.which("tree")
warnings.simplefilter("error")
plt.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK JP"]
plt.title("日本語 한국어 中文 Größe")
plt.savefig("/tmp/title.png")
