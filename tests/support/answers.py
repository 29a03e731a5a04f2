"""The questions, and how to answer them along every route without starting a process."""

import contextlib
import io
import json
import os
import runpy
from pathlib import Path

import cookiecutter.hooks
import cookiecutter.main
import cookiecutter.prompt
import pytest
import yaml
from cookiecutter.exceptions import CookiecutterException, FailedHookException
from jinja2 import TemplateError

from support.project import ROOT

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
ASKED = [key for key in QUESTIONS if key[0] != "_"]
CHOICES = {key: QUESTIONS[key] for key in ASKED if isinstance(QUESTIONS[key], list)}
ROUTES = ["prompts", "command line", "configuration file", "saved answers"]
DEFAULTS = {
    "project_name": "My ML Project",
    "project_slug": "my-ml-project",
    "description": "A project.",
    "author_name": "Your Name",
    "port": "8888",
    **{key: values[0] for key, values in CHOICES.items()},
}


def run_hook_here(path: str, cwd: str) -> None:
    """Run a rendered hook in this process: ten times as fast as cookiecutter's own way."""
    try:
        with contextlib.chdir(cwd):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            print(stop.code)
            raise FailedHookException(stop.code) from stop
    finally:
        os.unlink(path)


def generate(answers: dict, route: str, folder: Path) -> tuple[str, Exception | None]:
    """Answer along a route, into `folder/a/b/out`; return what was printed and the exception."""
    out = folder / "a/b/out"
    out.mkdir(parents=True)
    config = {"replay_dir": str(folder / "replay"), "cookiecutters_dir": str(folder / "x")}
    more = {"no_input": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cookiecutter.hooks, "run_script", run_hook_here)
        if route == "prompts":
            ask = lambda key, default, *_: answers.get(key, default)
            patch.setattr(cookiecutter.prompt, "read_user_variable", ask)
            patch.setattr(cookiecutter.prompt, "read_user_choice", lambda key, *_: answers[key])
            more = {}
        elif route == "command line":
            more["extra_context"] = answers
        elif route == "configuration file":
            config["default_context"] = answers
        else:
            (folder / "saved.json").write_text(json.dumps({"cookiecutter": dict(answers)}))
            more = {"replay": str(folder / "saved.json")}
        (folder / "config.yml").write_text(yaml.safe_dump(config))
        patch.setenv("COOKIECUTTER_CONFIG", str(folder / "config.yml"))
        error, printed = None, io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            try:
                cookiecutter.main.cookiecutter(str(ROOT), output_dir=str(out), **more)
            except (CookiecutterException, TemplateError, ValueError, OSError) as stop:
                error = stop
    return printed.getvalue(), error
