"""What the tests of the notebooks share: an environment from a lock, and headless runs."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from support.project import Project


class Run(NamedTuple):
    """A headless run: papermill's exit code and standard error, the cells, the folder."""

    code: int
    stderr: str
    cells: list[dict]
    folder: Path

    def text(self) -> str:
        """Return all that the notebook printed."""
        outputs = [output for cell in self.cells for output in cell.get("outputs", [])]
        return "".join("".join(output.get("text", "")) for output in outputs)

    def output_of(self, cell_id: str) -> list[dict]:
        """Return the outputs of one cell."""
        return next(cell["outputs"] for cell in self.cells if cell["id"] == cell_id)


def environment(project: "Project") -> Path:
    """Return the Python of an environment made from the project's lock; kept between test runs."""
    names = ("requirements.txt", "docker/requirements.txt", "requirements.lock")
    asked, tools, lock = (project.path / name for name in names)
    content = b"".join(path.read_bytes() for path in (asked, tools, lock))
    key = hashlib.sha256(content + sys.version.encode())
    folder = Path(tempfile.gettempdir(), f"ml-docker-notebook-{os.getuid()}-{key.hexdigest()[:12]}")
    interpreter = folder / "bin/python"
    if not interpreter.exists():
        new = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
        call = functools.partial(subprocess.run, check=True)
        call(["uv", "venv", "-q", "--clear", "--relocatable", "--python", sys.executable, new])
        install = ["uv", "pip", "install", "-q", "--compile-bytecode", "--python", new]
        call([*install, "-r", asked, "-r", tools, "-c", lock])
        try:
            new.rename(folder)
        except OSError:  # someone else was faster
            shutil.rmtree(new)
    return interpreter


def papermill(python: Path, notebook: Path, folder: Path, **parameters: str) -> Run:
    """Copy a notebook into `folder` and run it there headless, as a user would."""
    name = re.sub("{%.*?%}", "", notebook.name)  # papermill would fill the braces in
    shutil.copy(notebook, folder / name)
    options = [word for name, value in parameters.items() for word in ("-p", name, value)]
    done = subprocess.run(
        [python, "-m", "papermill", name, "out.ipynb", *options],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    cells = json.loads((folder / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    return Run(done.returncode, done.stderr, cells, folder)
