"""The questions, and `cookiecutter` and `cruft` typed along every route, without a process."""

import contextlib
import json
import os
import runpy
import sys
from pathlib import Path

import click.testing
import cookiecutter.cli
import cookiecutter.prompt
import cruft._cli
import pytest
import typer.testing
import yaml
from cookiecutter.exceptions import FailedHookException

from support.git import identity
from support.project import ROOT

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
ASKED = [key for key in QUESTIONS if key[0] != "_"]
CHOICES = {key: QUESTIONS[key] for key in ASKED if isinstance(QUESTIONS[key], list)}
ROUTES = ["prompts", "command line", "configuration file", "saved answers"]
DEFAULTS = {key: CHOICES.get(key, [QUESTIONS[key]])[0] for key in ASKED}
DEFAULTS["project_slug"] = "my-ml-project"


def read(project: Path) -> dict[str, str]:
    """Return the files of a project as text, by name with `/` between folders."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes().decode(errors="surrogateescape")
        for path in project.rglob("*")
        if path.is_file()
    }


def run_hook_here(path: str, cwd: str) -> None:
    """Run a rendered hook in this process: ten times as fast as cookiecutter's own way."""
    try:
        with contextlib.chdir(cwd):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            print(stop.code, file=sys.stderr)
            raise FailedHookException(stop.code) from stop
    finally:
        os.unlink(path)


class Commands:
    """`cookiecutter` and `cruft` in an empty folder, with settings of their own."""

    def __init__(self, around: Path):
        self.folder = around / "deep/er/here"
        self.folder.mkdir(parents=True)
        self.around = around
        self.env = identity(around) | {"COOKIECUTTER_CONFIG": str(around / "config.yml")}
        self.settings()

    def settings(self, **more) -> None:
        """Write the configuration file."""
        config = {"replay_dir": str(self.around / "replay")}
        config["cookiecutters_dir"] = str(self.around / "cookiecutters")
        Path(self.env["COOKIECUTTER_CONFIG"]).write_text(yaml.safe_dump(config | more))

    def save(self, answers: dict) -> tuple[str, str, str]:
        """Save answers, and return the arguments that take them."""
        file = self.around / "saved.json"
        file.write_text(json.dumps({"cookiecutter": answers}))
        return "--replay-file", str(file), str(ROOT)

    def __call__(self, *arguments: str, typed: str = "", cwd: Path | None = None):
        """Run cookiecutter, with what is typed at its prompts, or `cruft` if that stands first.

        Return click's result: `exit_code`, `stdout`, `stderr`.
        """
        runner, program = click.testing.CliRunner(), cookiecutter.cli.main
        if arguments[0] == "cruft":
            arguments = arguments[1:]
            runner, program = typer.testing.CliRunner(), cruft._cli.app
        with contextlib.chdir(cwd or self.folder):
            return runner.invoke(program, list(arguments), input=typed, env=self.env)

    def answer(self, answers: dict, route: str):
        """Run cookiecutter with answers that reach it along a route."""
        template = str(ROOT)
        if route == "saved answers":
            return self(*self.save(answers))
        if route == "command line":
            texts = [f"{key}={text}" for key, text in answers.items()]
            return self("--no-input", template, "--", *texts)
        if route == "configuration file":
            self.settings(default_context=answers)
            return self("--no-input", template)
        with pytest.MonkeyPatch.context() as patch:
            ask = lambda key, default, *_: answers.get(key, default)
            patch.setattr(cookiecutter.prompt, "read_user_variable", ask)
            patch.setattr(cookiecutter.prompt, "read_user_choice", lambda key, *_: answers[key])
            return self(template)

    def made(self) -> list[str]:
        """Return the names of what lies in the folder; around it nothing may be new."""
        around = {path.name for path in self.around.iterdir()}
        assert around <= {"config.yml", "deep", "replay", "saved.json"}
        for parent in self.folder.parents[:2]:
            assert len(list(parent.iterdir())) == 1
        return sorted(path.name for path in self.folder.iterdir())
