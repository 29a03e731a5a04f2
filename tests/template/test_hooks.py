"""The hook that refuses, as a module, and the `cookiecutter` command with answers typed into it."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from support.project import ROOT

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

# The hook as it is stored: its Jinja is valid Python, and runs as a script only.
spec = importlib.util.spec_from_file_location("pre_gen", ROOT / "hooks" / "pre_gen_project.py")
pre_gen = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pre_gen)


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
    """Return the names of what lies in the folder of the command; around it nothing may be new."""
    around = {path.name for path in cookiecutter.folder.parent.iterdir()}
    assert around <= {"config.yml", "here", "replay", "saved.json"}
    return sorted(path.name for path in cookiecutter.folder.iterdir())


def test_the_hook_knows_the_questions_their_choices_and_the_ports():
    assert list(pre_gen.RULES) == [key for key in QUESTIONS if not key.startswith("_")]
    for key, choices in QUESTIONS.items():
        assert not isinstance(choices, list) or pre_gen.RULES[key] == choices
    is_port, _ = pre_gen.RULES["port"]
    assert [n for n in range(70_000) if is_port(str(n))] == list(range(1024, 65536))


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("project_name", ""), ("project_name", "x" * 101), ("project_name", "a\nb"),
        ("project_name", " a"), ("project_name", "a\u00a0"), ("project_name", None),
        ("project_name", "\u202ea"), ("project_name", "{{ 1+1 }}"), ("project_name", "{#"),
        ("description", "x" * 201), ("description", "a\tb"), ("description", "{%"),
        ("description", ["a"]), ("author_name", "\0"), ("author_name", "\ud800"),
        ("author_name", "a\u2028b"), ("author_name", "a\u200bb"), ("author_name", "a\n"),
        ("project_slug", ""), ("project_slug", "x" * 51), ("project_slug", "My Bad/Slug!"),
        ("project_slug", "a--b"), ("project_slug", "-a"), ("project_slug", "a_b"),
        ("project_slug", "con"), ("project_slug", "com1"), ("project_slug", "lpt9"),
        ("project_slug", "a\n"), ("project_slug", "é"), ("project_slug", "١"),
        ("python_version", "2.7"), ("python_version", "3x13"), ("python_version", 3.13),
        ("accelerator", "gpu"), ("accelerator", ""), ("cluster", "Dask"), ("cluster", None),
        ("interface", "Lab"), ("interface", "lab\n"), ("license", "GPL"), ("license", True),
        ("port", "notaport"), ("port", 8888), ("port", "٨٨٨٨"), ("port", " 8888"),
        ("port", "08888"),
    ],
)  # fmt: skip
def test_a_bad_answer_gives_one_line(key, answer):
    (line,) = pre_gen.refusal({**GOOD, key: answer}, {})
    assert line.startswith(f"{key}: not ") and " Type " in line
    assert line.isascii() and line.isprintable() and len(line) < 220


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("project_name", "x" * 100), ("project_name", "机器学习 👩‍👩‍👧‍👦"), ("project_name", "}}"),
        ("description", "x" * 200), ("description", """it's "$HOME" \\ `id` # {'a': 1}"""),
        ("author_name", "שלום"), ("author_name", "می‌خواهم"), ("project_slug", "x" * 50),
        ("project_slug", "1"), ("project_slug", "con-air"), ("project_slug", "com10"),
    ],
)  # fmt: skip
def test_a_good_answer_gives_none(key, answer):
    assert pre_gen.refusal({**GOOD, key: answer}, QUESTIONS) == []


@pytest.mark.parametrize("old", ["1.7.3", "2.5.0"])
def test_an_old_cookiecutter_is_refused(tmp_path, old):
    command = ["uvx", "--quiet", f"cookiecutter=={old}", "--no-input", ROOT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode
    assert "uvx cookiecutter@latest" in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My ML Project", "my-ml-project"), ("Größe & Übung", "grosse-ubung"),
        ("!!!", "my-ml-project"), ("🚗🚗", "my-ml-project"), ("../..", "my-ml-project"),
        ("机器学习 项目", "ji-qi-xue-xi-xiang-mu"),
        ("x" * 300, "x" * 40), ("x" * 39 + " y", "x" * 39),
    ],
)  # fmt: skip
def test_the_slug_follows_from_any_name(name, slug):
    context = generate_context(
        str(ROOT / "cookiecutter.json"), extra_context={"project_name": name}
    )
    assert prompt_for_config(context, no_input=True)["project_slug"] == slug
    assert pre_gen.refusal({**GOOD, "project_slug": slug}, {}) == []


def test_enter_ten_times_gives_the_default_project(cookiecutter, default_project):
    done = cookiecutter(str(ROOT), typed="\n" * 10)
    assert done.returncode == 0, done.stdout + done.stderr
    for label in ("Name of the project, as people read it", "JupyterLab: files, tabs, terminal"):
        assert label in done.stdout
    assert "[10/10]" in done.stdout and "[11/" not in done.stdout
    message = done.stdout.partition("The project is in the folder")[2]
    assert message.isascii() and "    cd my-ml-project\n    docker compose up\n" in message
    assert "127.0.0.1:8888" in message and "before" not in message
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
    assert "What: {it} # is\n" in readme and "127.0.0.1:9000" in done.stdout
    assert "python:3.12-slim" in (project / "Dockerfile").read_text(encoding="utf-8")
    assert not (project / "LICENSE").exists()


def test_all_faults_are_told_at_once_and_the_answers_can_be_corrected(cookiecutter):
    done = cookiecutter(str(ROOT), typed="Mine 🚗\nBad/Slug!\n{{ 1+1 }}\n\n\n\n80\n\n\n\n")
    assert done.returncode == 1 and made(cookiecutter) == []
    lines = done.stderr.splitlines()
    assert lines[0].startswith("project_slug: not 'Bad/Slug!'. Type at most 50 of a-z")
    assert lines[1].startswith("description: not '{{ 1+1 }}'. Type ")
    assert lines[2] == "port: not '80'. Type a number from 1024 to 65535."
    command, option, file, template = lines[4].split(" ")
    assert (command, option, template) == ("cookiecutter", "--replay-file", f'"{ROOT}"')
    replay = ("--replay-file", file.strip('"'), str(ROOT))

    again = cookiecutter(*replay)  # nothing corrected: the same refusal
    assert again.stderr.splitlines()[:5] == lines[:5] and made(cookiecutter) == []

    saved = json.loads(Path(file.strip('"')).read_text())
    saved["cookiecutter"] |= {"project_slug": "good", "description": "Well", "port": "8080"}
    Path(file.strip('"')).write_text(json.dumps(saved))
    again = cookiecutter(*replay)
    assert again.returncode == 0, again.stdout + again.stderr
    assert made(cookiecutter) == ["good"]
    readme = (cookiecutter.folder / "good" / "README.md").read_text(encoding="utf-8")
    assert "# Mine 🚗\n" in readme


NOWHERE = Path(tempfile.gettempdir(), "ml-docker-test-nowhere")
SLUGS = ["a/b", f"{NOWHERE}/x", "..", "x" * 300, "{{ cookiecutter.__class__ }}", ".", "con"]


@pytest.mark.parametrize(
    ("route", "slug"),
    [
        *[("prompt", slug) for slug in [*SLUGS, "../up", "/", " ", "\\", "a\0b", "_"]],
        *[("command line", slug) for slug in ["a/b", SLUGS[1], "..", "x" * 300, ""]],
        *[("configuration file", slug) for slug in ["a/b", SLUGS[1], SLUGS[4], "", "a\0b"]],
    ],
)
def test_a_slug_is_refused_before_a_folder_of_its_name_is_made(cookiecutter, route, slug):
    if route == "prompt":
        done = cookiecutter(str(ROOT), typed=f"\n{slug}\n" + "\n" * 8)
    elif route == "command line":
        done = cookiecutter(str(ROOT), "--no-input", f"project_slug={slug}")
    else:
        with (cookiecutter.folder.parent / "config.yml").open("a") as config:
            config.write("default_context: " + json.dumps({"project_slug": slug}))
        done = cookiecutter(str(ROOT), "--no-input")
    assert done.returncode == 1 and done.stderr.startswith("project_slug: not '"), done.stderr
    assert made(cookiecutter) == [] and not NOWHERE.exists()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_the_refusal_can_be_printed_on_an_old_console(cookiecutter, encoding):
    env = {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    done = cookiecutter(str(ROOT), "--no-input", "project_name=🚗\t", "port=1", **env)
    assert done.returncode == 1 and r"project_name: not '\U0001f697\t'." in done.stderr
    assert "UnicodeEncodeError" not in done.stderr + done.stdout
    done = cookiecutter(str(ROOT), "--no-input", "project_name=Größe 🚗", **env)
    assert done.returncode == 0 and made(cookiecutter) == ["grosse"]


@pytest.mark.parametrize("key", ["project_name", "project_slug"])
def test_jinja_is_refused_wherever_it_comes_from(cookiecutter, key):
    config, saved = (cookiecutter.folder.parent / name for name in ("config.yml", "saved.json"))
    lines = []
    lines += cookiecutter(str(ROOT), "--no-input", f"{key}={{{{ 1+1 }}}}").stderr.splitlines()
    saved.write_text(json.dumps({"cookiecutter": {**GOOD, key: "{{ 1+1 }}"}}))
    lines += cookiecutter("--replay-file", str(saved), str(ROOT)).stderr.splitlines()
    with config.open("a") as file:
        file.write("default_context: " + json.dumps({key: "{{ 1+1 }}"}))
    lines += cookiecutter(str(ROOT), "--no-input").stderr.splitlines()
    assert (
        len([line for line in lines if line.startswith(f"{key}: not '{{{{ 1+1 }}}}'. Type")]) == 3
    )
    assert made(cookiecutter) == []


def test_an_existing_folder_is_left_as_it_is(cookiecutter):
    mine = cookiecutter.folder / "my-ml-project" / "README.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = cookiecutter(str(ROOT), "--no-input")
    assert done.returncode == 1 and "already exists" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert [path.name for path in mine.parent.iterdir()] == ["README.md"]
    assert mine.read_text() == "mine"
    refused = cookiecutter(str(ROOT), "--no-input", "-f", "port=1")
    assert refused.returncode == 1 and [p.name for p in mine.parent.iterdir()] == ["README.md"]


def test_with_f_and_s_every_file_of_the_user_stays(cookiecutter):
    """Whatever kind of file it is; with -f alone the message says what happened."""
    assert cookiecutter(str(ROOT), "--no-input").returncode == 0
    project = cookiecutter.folder / "my-ml-project"
    (project / ".git").mkdir()
    files = [path for path in project.rglob("*") if path.is_file()]
    for path in files:
        path.write_text("mine")
    done = cookiecutter(str(ROOT), "--no-input", "-f", "-s")
    assert done.returncode == 0
    assert {path.name for path in files if path.read_text() != "mine"} == set()
    done = cookiecutter(str(ROOT), "--no-input", "-f", "license=none")
    assert "Files of former answers stay" in done.stdout and (project / "LICENSE").exists()
    assert [path.name for path in files if path.read_bytes() == b"mine"] == ["LICENSE"]


def test_answers_saved_by_the_first_release_are_taken(cookiecutter):
    saved = cookiecutter.folder.parent / "saved.json"
    old = {"_copy_without_render": ["*.ipynb", "*.csv", ".github"]}
    saved.write_text(json.dumps({"cookiecutter": GOOD | old}))
    assert cookiecutter("--replay-file", str(saved), str(ROOT)).returncode == 0
    for file in (cookiecutter.folder / "my-ml-project" / ".github").rglob("*.yml"):
        assert "raw" not in file.read_text(encoding="utf-8"), file
