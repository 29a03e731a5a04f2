"""cookiecutter within the tests' process, and the template in git, with its earlier editions."""

import functools
import logging
import shutil
import subprocess
from pathlib import Path

import cookiecutter.hooks
import pytest
from cookiecutter.environment import StrictEnvironment
from jinja2 import FileSystemBytecodeCache
from support.answers import Commands, run_hook_here
from support.git import commit, git
from support.project import ROOT, TEMPLATE

OLD = {"0.1.0": "e8d4716", "second": "b65b3f4"}  # earlier editions, by tag


@pytest.fixture(scope="session", autouse=True)
def quick(tmp_path_factory):
    """Run hooks in this process, and keep what Jinja makes of a file: a fifth of the time."""
    compiled = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("compiled")))
    init = functools.partialmethod(StrictEnvironment.__init__, bytecode_cache=compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cookiecutter.hooks, "run_script", run_hook_here)
        patch.setattr(StrictEnvironment, "__init__", init)
        # What is typed may be no valid Unicode, which pytest-xdist cannot pass on.
        patch.setattr(logging.getLogger("cookiecutter"), "propagate", False)
        yield


@pytest.fixture(scope="session")
def bake(bake):
    """The function of all tests, which makes each project once: none is changed here."""
    return functools.cache(bake)


@pytest.fixture
def commands(tmp_path) -> Commands:
    """`cookiecutter` and `cruft`, in a folder of their own."""
    return Commands(tmp_path)


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """The template in git: earlier editions (if the history is here) as tags, and `now`."""
    folder = tmp_path_factory.mktemp("template")
    git(folder, "init", "--quiet", "--initial-branch=main")
    for tag, there in OLD.items():
        if subprocess.run(["git", "cat-file", "-e", there], cwd=ROOT).returncode:
            continue
        archive = folder.parent / f"{tag}.tar"
        git(ROOT, "archive", f"--output={archive}", there, "--", ":!docs", ":!tests")
        shutil.unpack_archive(archive, folder)
        (folder / ".gitignore").unlink()
        commit(folder, tag)
        git(folder, "tag", tag)
        git(folder, "rm", "-rq", ".")
    shutil.copy(ROOT / "cookiecutter.json", folder)
    for part in ("hooks", "templates", TEMPLATE.name):
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    git(folder, "add", "--force", ".")  # the project's .gitignore is not for us
    commit(folder, "now")
    git(folder, "tag", "now")
    return folder
