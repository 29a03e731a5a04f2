from importlib.metadata import version
from pathlib import Path

import compiled.fast
import edited
import own
import packaged

assert Path(own.__file__).is_relative_to("/project/src")
assert Path(edited.__file__).is_relative_to("/project/editable")
assert compiled.fast.__name__ == "compiled.fast"
assert packaged.word == "first"
assert version("from-wheels") == "2.0"
assert version("from-file") == "3.0"
assert version("from-folder") == "1.0"
assert version("tabulate") == "0.9.0+cpu"  # of two indexes the one with the best version
assert version("toolz") == "1.0.0"
for name in ("only-there", "only-newer", "in-a-list", "at-an-address", "from-git"):
    assert version(name) == "1.0"
assert Path(packaged.__file__).with_name("templates").joinpath("module.py").exists()
