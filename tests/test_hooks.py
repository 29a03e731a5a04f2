"""The hooks as modules, and the `cookiecutter` command with answers typed into it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
GOOD = {
    "project_name": "My ML Project",
    "project_slug": "my-ml-project",
    "description": "A project.",
    "author_name": "Your Name",
    "python_version": "3.13",
    "interface": "lab",
    "port": "8888",
    "accelerator": "cpu",
    "cluster": "none",
    "license": "MIT",
    "_template": "here",
}


def load(name):
    """Import a hook as it is stored: its Jinja is valid Python, and runs as a script only."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pre_gen, post_gen = load("pre_gen_project"), load("post_gen_project")


@pytest.fixture
def cookiecutter(tmp_path, monkeypatch):
    """Return a function that runs the command in an empty folder, with an empty home."""
    (tmp_path / "here").mkdir()
    (tmp_path / "config.yml").write_text(f"replay_dir: '{tmp_path / 'replay'}'\n")
    monkeypatch.setenv("COOKIECUTTER_CONFIG", str(tmp_path / "config.yml"))

    def run(*arguments, typed=None, **env):
        return subprocess.run(
            [sys.executable, "-m", "cookiecutter", *arguments],
            input=typed,
            capture_output=True,
            encoding="utf-8",
            cwd=tmp_path / "here",
            env={**os.environ, "PYTHONUTF8": "1", **env},
        )

    run.folder = tmp_path / "here"
    return run


def made(cookiecutter):
    return sorted(path.name for path in cookiecutter.folder.iterdir())


# The hook that refuses


def test_the_rules_are_for_the_questions_and_their_choices():
    assert list(pre_gen.RULES) == [key for key in QUESTIONS if not key.startswith("_")]
    for key, choices in QUESTIONS.items():
        if isinstance(choices, list) and not key.startswith("_"):
            words = pre_gen.RULES[key][1].replace(" or", ",").split(", ")
            assert words == choices
            for choice in choices:
                assert pre_gen.refusal({**GOOD, key: choice}, {}, old=False) == []


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("project_name", ""), ("project_name", "x" * 101), ("project_name", "a\nb"),
        ("project_name", " a"), ("project_name", "a\u00a0"), ("project_name", None),
        ("project_name", "\u202ea"), ("project_name", "{{ 1+1 }}"), ("project_name", "{#"),
        ("description", "x" * 201), ("description", "a\tb"), ("description", "{%"),
        ("description", ["a"]), ("author_name", "\0"), ("author_name", "\ud800"),
        ("author_name", "a\u2028b"), ("author_name", "\uffff"), ("author_name", "a\n"),
        ("project_slug", ""), ("project_slug", "x" * 51), ("project_slug", "My Bad/Slug!"),
        ("project_slug", "a--b"), ("project_slug", "-a"), ("project_slug", "a_b"),
        ("project_slug", "con"), ("project_slug", "com1"), ("project_slug", "lpt9"),
        ("project_slug", "a\n"), ("project_slug", "é"), ("project_slug", "١"),
        ("python_version", "2.7"), ("python_version", "3x13"), ("python_version", 3.13),
        ("accelerator", "gpu"), ("accelerator", ""), ("cluster", "Dask"), ("cluster", None),
        ("interface", "Lab"), ("interface", "lab\n"), ("license", "GPL"), ("license", True),
        ("port", "notaport"), ("port", 8888), ("port", "٨٨٨٨"), ("port", " 8888"), ("port", "8_888"),
    ],
)  # fmt: skip
def test_a_bad_answer_gives_one_line(key, answer):
    (line,) = pre_gen.refusal({**GOOD, key: answer}, {}, old=False)
    assert line.startswith(f"{key}: not ") and " Type " in line
    assert line.isascii() and line.isprintable() and len(line) < 220


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("project_name", "x" * 100), ("project_name", "机器学习 👩‍👩‍👧‍👦"), ("project_name", "}}"),
        ("description", "x" * 200), ("description", """it's "$HOME" \\ `id` # {'a': 1}"""),
        ("author_name", "שלום"), ("project_slug", "x" * 50), ("project_slug", "1"),
        ("project_slug", "con-air"), ("project_slug", "com10"), ("project_slug", "null"),
    ],
)  # fmt: skip
def test_a_good_answer_gives_none(key, answer):
    assert pre_gen.refusal({**GOOD, key: answer}, {}, old=False) == []


def test_every_port_from_1024_to_65535_and_no_other():
    pattern = re.compile(pre_gen.RULES["port"][0])
    assert [n for n in range(70_000) if pattern.fullmatch(str(n))] == list(range(1024, 65536))


def test_an_answer_that_cookiecutter_evaluated_is_refused():
    (line,) = pre_gen.refusal(
        {**GOOD, "project_name": "2"}, {"project_name": "{{ 1+1 }}"}, old=False
    )
    assert "'{{ 1+1 }}'" in line
    (line,) = pre_gen.refusal(
        {**GOOD, "project_slug": "2"}, {"project_slug": "{{ 1+1 }}"}, old=False
    )
    assert "'{{ 1+1 }}'" in line
    assert pre_gen.refusal(GOOD, QUESTIONS, old=False) == []


def test_an_old_cookiecutter_is_refused(tmp_path):
    old = ["uvx", "--quiet", "cookiecutter==2.5.0", "--no-input", ROOT]
    done = subprocess.run(old, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode
    assert "uvx cookiecutter@latest" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_refused(monkeypatch):
    monkeypatch.setattr(pre_gen.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert [line.split(":")[0] for line in pre_gen.refusal(GOOD, {}, old=False)] == ["disk"]


# The hook that says what is next


def test_the_message_is_plain_and_names_the_next_command(default_project):
    readme = (default_project.path / "README.md").read_text(encoding="utf-8")
    for docker, command in [(True, "docker compose up"), (False, "uv run --no-project --isolated")]:
        text = post_gen.message(GOOD, docker)
        assert text.isascii() and "127.0.0.1:8888" in text and "    cd my-ml-project\n" in text
        (line,) = [line.strip() for line in text.splitlines() if command in line]
        assert f"\n{line}\n" in readme
    assert "127.0.0.1:9000" in post_gen.message({**GOOD, "port": "9000"}, True)


def test_the_hooks_stay_small():
    for hook in (ROOT / "hooks").glob("*.py"):
        assert len(hook.read_text().splitlines()) < 60, hook.name


# The default of the slug


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My ML Project", "my-ml-project"), ("Größe & Übung", "grosse-ubung"),
        ("机器学习 项目", "ji-qi-xue-xi-xiang-mu"), ("🚗🚗", "my-ml-project"), ("!!!", "my-ml-project"),
        ("x" * 300, "x" * 40), ("x" * 39 + " y", "x" * 39), ("con", "con-project"),
        ("LPT1", "lpt1-project"), ("comb", "comb"), ("com", "com"), ("AUX!", "aux-project"), ("../..", "my-ml-project"),
    ],
)  # fmt: skip
def test_the_slug_follows_from_any_name(name, slug):
    context = generate_context(
        str(ROOT / "cookiecutter.json"), extra_context={"project_name": name}
    )
    assert prompt_for_config(context, no_input=True)["project_slug"] == slug
    assert pre_gen.refusal({**GOOD, "project_slug": slug}, {}, old=False) == []


# The command


def test_enter_ten_times_gives_the_default_project(cookiecutter, default_project):
    done = cookiecutter(str(ROOT), typed="\n" * 10)
    assert done.returncode == 0, done.stdout + done.stderr
    for label in ("Name of the project, as people read it", "JupyterLab: files, tabs, terminal"):
        assert label in done.stdout
    assert "[10/10]" in done.stdout and "[11/" not in done.stdout
    assert "The project is in the folder my-ml-project." in done.stdout
    for path in default_project.path.rglob("*"):
        if path.is_file():
            copy = cookiecutter.folder / "my-ml-project" / path.relative_to(default_project.path)
            assert copy.read_bytes() == path.read_bytes()


def test_a_menu_asks_again_and_free_text_is_taken_as_typed(cookiecutter):
    typed = (
        """it's "Größe" \\ $HOME [bold] 🚗\n\nWhat: {it} # is\n\n7\nthree\n3\n2\n9000\n\n\n4\n"""
    )
    done = cookiecutter(str(ROOT), typed=typed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Please select one of the available options") == 2
    assert made(cookiecutter) == ["it-s-grosse-home-bold"]
    project = cookiecutter.folder / "it-s-grosse-home-bold"
    readme = (project / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("""# it's "Größe" \\ $HOME [bold] 🚗\n""")
    assert "What: {it} # is\n" in readme and "127.0.0.1:9000" in readme
    assert "python:3.12-slim" in (project / "Dockerfile").read_text(encoding="utf-8")
    assert not (project / "LICENSE").exists()


def test_all_faults_are_told_at_once_and_the_answers_can_be_corrected(cookiecutter):
    done = cookiecutter(str(ROOT), typed="Mine 🚗\nBad/Slug!\n{{ 1+1 }}\n\n\n\n80\n\n\n\n")
    assert done.returncode == 1 and made(cookiecutter) == []
    lines = done.stderr.splitlines()
    assert lines[0].startswith("project_slug: not 'Bad/Slug!'. Type at most 50 of a-z")
    assert lines[1].startswith("description: not '{{ 1+1 }}'. Type ")
    assert lines[2] == "port: not '80'. Type a whole number from 1024 to 65535, such as 8888."
    command, option, file, template = lines[4].split(" ")
    assert (command, option, template) == ("cookiecutter", "--replay-file", f'"{ROOT}"')
    saved = json.loads(Path(file.strip('"')).read_text())
    saved["cookiecutter"] |= {"project_slug": "good", "description": "Well", "port": "8080"}
    Path(file.strip('"')).write_text(json.dumps(saved))
    again = cookiecutter("--replay-file", file.strip('"'), str(ROOT))
    assert again.returncode == 0, again.stdout + again.stderr
    assert made(cookiecutter) == ["good"]
    assert "# Mine 🚗\n" in (cookiecutter.folder / "good" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "slug", ["a/b", "../up", "/", ".", "..", " ", "\\", "x" * 300, "a\0b", "con"]
)
def test_a_slug_is_refused_before_a_folder_of_its_name_is_made(cookiecutter, slug):
    done = cookiecutter(str(ROOT), typed=f"\n{slug}\n" + "\n" * 8)
    assert done.returncode == 1 and done.stderr.startswith("project_slug: not '")
    assert made(cookiecutter) == []
    assert sorted(p.name for p in cookiecutter.folder.parent.iterdir()) == [
        "config.yml",
        "here",
        "replay",
    ]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_the_refusal_can_be_printed_on_an_old_console(cookiecutter, encoding):
    env = {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    done = cookiecutter(str(ROOT), "--no-input", "project_name=🚗\t", "port=1", **env)
    assert done.returncode == 1 and r"project_name: not '\U0001f697\t'." in done.stderr
    assert "UnicodeEncodeError" not in done.stderr + done.stdout
    done = cookiecutter(str(ROOT), "--no-input", "project_name=Größe 🚗", **env)
    assert done.returncode == 0 and made(cookiecutter) == ["grosse"]


def test_jinja_is_refused_wherever_it_comes_from(cookiecutter, tmp_path):
    lines = []
    lines += cookiecutter(str(ROOT), typed="{{ 1+1 }}\n" + "\n" * 9).stderr.splitlines()
    lines += cookiecutter(str(ROOT), "--no-input", "project_name={{ 1+1 }}").stderr.splitlines()
    replay = tmp_path / "saved.json"
    replay.write_text(json.dumps({"cookiecutter": {**GOOD, "project_name": "{{ 1+1 }}"}}))
    lines += cookiecutter("--replay-file", str(replay), str(ROOT)).stderr.splitlines()
    with (tmp_path / "config.yml").open("a") as config:
        config.write("default_context:\n  project_name: '{{ 1+1 }}'\n")
    lines += cookiecutter(str(ROOT), "--no-input").stderr.splitlines()
    assert [line[:31] for line in lines if "Type" in line] == [
        "project_name: not '{{ 1+1 }}'. T"[:31]
    ] * 4
    assert made(cookiecutter) == []


def test_an_existing_folder_is_left_as_it_is(cookiecutter):
    mine = cookiecutter.folder / "my-ml-project" / "README.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = cookiecutter(str(ROOT), "--no-input")
    assert (
        done.returncode == 1 and "already exists" in done.stdout and "Traceback" not in done.stdout
    )
    assert [path.name for path in mine.parent.iterdir()] == ["README.md"]
    assert mine.read_text() == "mine"


def test_what_cookiecutter_itself_refuses_leaves_nothing(cookiecutter):
    done = cookiecutter(str(ROOT), "--no-input", "license=GPL")
    assert done.returncode and made(cookiecutter) == []
    assert done.stderr.splitlines()[-1].startswith(
        "ValueError: GPL provided for choice variable license"
    )
