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
assert Path(packaged.__file__).with_name("templates").joinpath("module.py").exists()
