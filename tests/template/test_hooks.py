"""The hook that refuses, as a module, and `cookiecutter` with answers typed into it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.answers import ASKED, CHOICES, DEFAULTS, QUESTIONS, ROUTES, read
from support.project import ROOT

# The hook as it is stored: its Jinja is valid Python, and runs as a script only.
spec = importlib.util.spec_from_file_location("pre_gen", ROOT / "hooks" / "pre_gen_project.py")
pre_gen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pre_gen)


def told(key, answer):
    """Return what the hook says of the default answers with one other."""
    return pre_gen.refusal({**DEFAULTS, key: answer, "_template": "here"}, {})


def test_answers_that_are_refused_follow_the_questions():
    assert list(pre_gen.RULES) == ASKED
    for key, choices in CHOICES.items():
        assert [told(key, choice) for choice in choices] == [[]] * len(choices)
    is_port, _ = pre_gen.RULES["port"]
    assert [n for n in range(70_000) if is_port(str(n))] == list(range(1024, 65536))


BAD = {
    "project_name": ["", "x" * 101, "a\nb", " a", "a\u00a0", None, "\u202ea", "{{ 1+1 }}", "{#"],
    "description": ["x" * 201, "a\tb", "{%", ["a"]],
    "author_name": ["\0", "\ud800", "a\u2028b", "a\u200bb", "a\n"],
    "project_slug": [
        *("", "x" * 61, "My Bad/Slug!", "a--b", "-a", "a_b", "a\n", "é", "١", "..", None, 5),
    ],
    "python_version": ["2.7", "3x13", 3.13],
    "accelerator": ["gpu", ""],
    "cluster": ["Dask", None],
    "interface": ["Lab", "lab\n"],
    "license": ["GPL", True],
    "port": ["notaport", 8888, "٨٨٨٨", " 8888", "08888"],
}
GOOD = {
    "project_name": ["x" * 100, "机器学习 👩‍👩‍👧‍👦", "}}"],
    "description": ["x" * 200, """it's "$HOME" \\ `id` # {'a': 1}"""],
    "author_name": ["שלום", "می‌خواهم"],
    "project_slug": ["x" * 58, "1", "con-air"],
}


@pytest.mark.parametrize("key", BAD)
def test_answers_that_are_bad_give_one_line(key):
    for answer in BAD[key]:
        (line,) = told(key, answer) or [f"{answer!r} is taken"]
        assert line.startswith(f"{key}: not ") and " Type " in line
        assert line.isascii() and line.isprintable() and len(line) < 220


@pytest.mark.parametrize("key", GOOD)
def test_answers_that_are_good_give_none(key):
    assert [told(key, answer) for answer in GOOD[key]] == [[]] * len(GOOD[key])


@pytest.mark.parametrize("old", ["1.7.3", "2.5.0"])
def test_cookiecutter_that_is_too_old_is_refused(tmp_path, old):
    command = ["uvx", "--quiet", f"cookiecutter=={old}", "--no-input", ROOT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode
    assert "uvx cookiecutter@latest" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_prompts_answered_with_enter_give_the_default_project(commands, default_project):
    done = commands(str(ROOT), typed="\n" * len(ASKED))
    assert done.exit_code == 0, done.output
    for label in ("Name of the project, as people read it", "JupyterLab: files, tabs, terminal"):
        assert label in done.stdout
    last = len(ASKED)
    assert f"[{last}/{last}]" in done.stdout and f"[{last + 1}/" not in done.stdout
    message = done.stdout.partition("The project is in the folder")[2]
    assert message.isascii() and "    cd my-ml-project\n    docker compose up\n" in message
    assert "127.0.0.1:8888" in message and "before" not in message
    assert read(commands.folder / "my-ml-project") == read(default_project.path)


def test_prompts_ask_again_for_a_choice_and_take_free_text_as_typed(commands):
    typed = (
        """it's "Größe" \\ $HOME [bold] 🚗\n\nWhat: {it} # is\n\n7\nthree\n3\n2\n9000\n\n\n4\n"""
    )
    done = commands(str(ROOT), typed=typed + "\n" * len(ASKED))
    assert done.exit_code == 0, done.output
    assert done.stdout.count("Please select one of the available options") == 2
    assert commands.made() == ["it-s-grosse-home-bold"]
    project = commands.folder / "it-s-grosse-home-bold"
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("""# it's "Größe" \\ $HOME [bold] 🚗\n""")
    assert "What: {it} # is\n" in readme and "127.0.0.1:9000" in done.stdout
    assert "python:3.12-slim" in (project / "Dockerfile").read_text(encoding="utf-8")
    assert not (project / "LICENSE").exists()


def test_prompts_say_all_faults_at_once_and_keep_the_answers(commands):
    typed = "Mine 🚗\n\n{{ 1+1 }}\n\n\n\n80\n" + "\n" * len(ASKED)
    done = commands(str(ROOT), typed=typed)
    assert done.exit_code == 1 and commands.made() == []
    lines = done.stderr.splitlines()
    assert lines[0].startswith("description: not '{{ 1+1 }}'. Type ")
    assert lines[1] == "port: not '80'. Type a number from 1024 to 65535."
    command, option, file, template = lines[3].split(" ")
    assert (command, option, template) == ("cookiecutter", "--replay-file", f'"{ROOT}"')
    replay = ("--replay-file", file.strip('"'), str(ROOT))

    again = commands(*replay)  # nothing corrected: the same refusal
    assert again.stderr.splitlines()[:4] == lines[:4] and commands.made() == []

    saved = json.loads(Path(file.strip('"')).read_text())
    saved["cookiecutter"] |= {"project_slug": "good", "description": "Well", "port": "8080"}
    Path(file.strip('"')).write_text(json.dumps(saved))
    again = commands(*replay)
    assert again.exit_code == 0, again.output
    assert commands.made() == ["good"]
    readme = (commands.folder / "good" / "README.md").read_text(encoding="utf-8")
    assert "# Mine 🚗\n" in readme


def test_console_of_old_windows_can_print_a_refusal(tmp_path):
    """What a console for ASCII alone can print every other can."""
    env = os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input"]
    options = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
    done = subprocess.run([*command, "project_name=🚗\t", "port=1"], **options)
    assert done.returncode == 1 and r"project_name: not '\U0001f697\t'." in done.stderr
    assert "UnicodeEncodeError" not in done.stderr + done.stdout
    done = subprocess.run([*command, "project_name=Größe 🚗"], **options)
    assert done.returncode == 0 and [path.name for path in tmp_path.iterdir()] == ["grosse"]


@pytest.mark.parametrize("route", ROUTES[1:])
def test_jinja_in_a_text_is_refused_wherever_it_comes_from(commands, route):
    done = commands.answer(DEFAULTS | {"project_name": "{{ 1+1 }}"}, route)
    assert done.stderr.startswith("project_name: not '{{ 1+1 }}'. Type"), done.stderr
    assert commands.made() == []


def test_folder_that_exists_is_left_as_it_is(commands):
    mine = commands.folder / "my-ml-project" / "README.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = commands(str(ROOT), "--no-input")
    assert done.exit_code == 1 and "already exists" in done.stdout
    assert isinstance(done.exception, SystemExit)
    assert [path.name for path in mine.parent.iterdir()] == ["README.md"]
    assert mine.read_text() == "mine"
    refused = commands(str(ROOT), "--no-input", "-f", "port=1")
    assert refused.exit_code == 1 and [p.name for p in mine.parent.iterdir()] == ["README.md"]


def test_folder_that_exists_keeps_every_file_with_f_and_s(commands):
    """Whatever kind of file it is; with -f alone the message says what happened."""
    assert commands(str(ROOT), "--no-input").exit_code == 0
    project = commands.folder / "my-ml-project"
    (project / ".git").mkdir()
    files = [path for path in project.rglob("*") if path.is_file()]
    for path in files:
        path.write_text("mine")
    done = commands(str(ROOT), "--no-input", "-f", "-s")
    assert done.exit_code == 0
    assert {path.name for path in files if path.read_text() != "mine"} == set()
    done = commands(str(ROOT), "--no-input", "-f", "license=none")
    assert "Files of former answers stay" in done.stdout and (project / "LICENSE").exists()
    assert [path.name for path in files if path.read_bytes() == b"mine"] == ["LICENSE"]


def test_questions_are_few_labelled_and_documented():
    """Saved answers and `key=value` know them by these names."""
    assert ASKED == [
        "project_name", "project_slug", "description", "author_name",
        "python_version", "interface", "port", "accelerator", "cluster", "license",
    ]  # fmt: skip
    labels = QUESTIONS["__prompts__"]
    assert set(labels) == set(ASKED)
    for key, label in labels.items():
        assert isinstance(label, str) or set(label) == {"__prompt__", *CHOICES[key]}, key
    page = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8").partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    assert list(rows) == ASKED
    for key, choices in CHOICES.items():
        assert re.split(", | or ", rows[key].replace("`", "")) == choices, key
