"""The `cookiecutter` command, and the template in git, with its earlier editions."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.git import commit, git
from support.project import ROOT, TEMPLATE

OLD = {"0.1.0": "e8d4716", "second": "b65b3f4"}  # earlier editions, by tag


class Command:
    """The `cookiecutter` command in an empty folder, with settings of its own."""

    def __init__(self, around: Path):
        self.folder = around / "deep/er/here"
        self.folder.mkdir(parents=True)
        self.around = around
        self.config = around / "config.yml"
        self.settings()

    def settings(self, **more) -> None:
        """Write the configuration file."""
        self.config.write_text(json.dumps({"replay_dir": str(self.around / "replay"), **more}))

    def save(self, answers: dict) -> tuple[str, str, str]:
        """Save answers, and return the arguments that take them."""
        file = self.around / "saved.json"
        file.write_text(json.dumps({"cookiecutter": answers}))
        return "--replay-file", str(file), str(ROOT)

    def __call__(self, *arguments: str, typed: str | None = None, **env: str):
        """Run it; `typed` is what is typed at its prompts."""
        return subprocess.run(
            [sys.executable, "-m", "cookiecutter", *arguments],
            input=typed,
            capture_output=True,
            encoding="utf-8",
            cwd=self.folder,
            env={**os.environ, "COOKIECUTTER_CONFIG": str(self.config), "PYTHONUTF8": "1", **env},
        )

    def made(self) -> list[str]:
        """Return the names of what lies in the folder; around it nothing may be new."""
        around = {path.name for path in self.around.iterdir()}
        assert around <= {"config.yml", "deep", "replay", "saved.json"}
        for parent in self.folder.parents[:2]:
            assert len(list(parent.iterdir())) == 1
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def cookiecutter(tmp_path) -> Command:
    """The command, in a folder of its own."""
    return Command(tmp_path)


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
