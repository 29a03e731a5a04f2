"""Whatever is answered ends in one of two ways: a refusal in plain lines, or a correct project.

ML_DOCKER_EXAMPLES=10000 uv run pytest -k answers_of_any_kind --hypothesis-show-statistics
ML_DOCKER_HOSTILE=all uv run pytest -k answers_of_the_hostile -s  # the table in docs/decisions.md
"""

import functools
import json
import os
import re
import tempfile
import unicodedata
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support.answers import ASKED, CHOICES, DEFAULTS, ROUTES, Commands, read
from support.project import ROOT

HOSTILE = json.loads((ROOT / "tests/template/hostile.json").read_text(encoding="ascii"))
TEXTS = {"project_name": 100, "description": 200, "author_name": 100}
TOKENS = {  # harmless answers, to be found again in the files
    "project_name": "ZNAMEZ",
    "project_slug": "zslugz",
    "description": "ZWHATZ",
    "author_name": "ZWHOZ",
    "port": "54321",
}
DEVICES = {"con", "prn", "aux", "nul"}  # Windows has them, so no folder can have their names
DEVICES |= {name + str(number) for name in ("com", "lpt") for number in range(10)}


def is_slug(text):
    """Whether a folder, a Compose project and an image can have this name."""
    return bool(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", text)) and len(text) <= 60


def acceptable(key, answer):
    """The rules once more, said in another way than in the hook."""
    if key in CHOICES:
        return answer in CHOICES[key]
    if not isinstance(answer, str):
        return False
    if key == "port":
        return answer in {str(number) for number in range(1024, 65536)}
    unseen = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return (
        not unseen & {unicodedata.category(char) for char in re.sub("[\u200c\u200d]", "", answer)}
        and not re.search(r"\{[{%#]", answer)
        and answer == answer.strip()
        and 0 < len(answer) <= TEXTS[key]
    )


def outline(markdown):
    """The blocks of a Markdown document, whatever stands in them."""
    return [token.type for token in MarkdownIt("commonmark").enable("table").parse(markdown)]


@functools.cache
def harmless(**choices):
    """The files of a project with harmless answers."""
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder))
        done = commands.answer({**TOKENS, **choices}, "saved answers")
        assert done.exit_code == 0, done.output
        return read(commands.folder / TOKENS["project_slug"])


def check(project, answers):
    """Each answer stands verbatim where it belongs, and nothing else in the files depends on it."""
    expected = dict(harmless(**{key: answers[key] for key in CHOICES}))
    files = read(project)
    assert outline(files["README.md"]) == outline(expected["README.md"])
    for name, token in TOKENS.items():
        for file, text in expected.items():
            answer = answers[name].replace("<", "&lt;") if file == "README.md" else answers[name]
            expected[file] = text.replace(token, answer)
    assert files == expected


def ends_well(answers, route):
    """Generate, check what came of it, and say which of the two ends it was."""
    with tempfile.TemporaryDirectory() as name:
        commands, folder = Commands(Path(name)), Path(name)
        done = commands.answer(answers, route)
        found = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
        assert found <= {"deep", "replay", "saved.json", "config.yml"}
        assert not list(folder.rglob("PWNED")) and not Path("PWNED").exists()
        texts = {key: answers[key] for key in answers if key != "project_slug"}
        faults = [key for key in ASKED if key in texts and not acceptable(key, texts[key])]
        if done.exit_code == 0:
            (made,) = commands.folder.iterdir()
            assert faults == [] and is_slug(made.name)
            assert made.name not in DEVICES or route == "saved answers"
            assert f"in the folder {made.name}." in done.stdout
            assert f"cd {made.name}\n" in done.stdout
            typed = answers.get("project_slug", "")
            if is_slug(typed) and len(typed) <= 50 and typed[:3] not in ("com", "lpt", *DEVICES):
                assert made.name == typed
            check(made, {**answers, "project_slug": made.name})
            return "a project"
        # Written by hand, a path leaves empty folders.
        around = (commands.folder, *commands.folder.parents)
        left = [path for path in folder.glob("deep/**/*") if path not in around]
        slug = answers.get("project_slug")
        by_hand = route == "saved answers" and not (isinstance(slug, str) and is_slug(slug))
        assert not any(path.is_file() for path in left) and (by_hand or not left)
        if not isinstance(done.exception.__context__, FailedHookException):
            evaluated = re.search(r"\{[{%#]", "".join(map(str, answers.values())))
            if not by_hand:
                assert route in ("command line", "configuration file"), done.exception
                assert evaluated or "\\ud" in ascii(answers), done.exception
            return "cookiecutter stopped"
        assert done.stderr.isascii()
        lines = [line for line in done.stderr.splitlines() if " not " in line and " Type " in line]
        told = [re.match(r"(\w+): not (.*)\. Type .+\.$", line)[1] for line in lines]
        assert [key for key in told if not (by_hand and key == "project_slug")] == faults
        assert told
        assert re.search('^cookiecutter --replay-file ".*', done.stderr, re.MULTILINE)
        return "refused"


def mostly(good):
    """Seven of eight of `good`, so that one question's bad answer seldom hides another's."""
    return st.integers(0, 7).flatmap(lambda dice: good if dice else anything)


hostile = st.sampled_from(HOSTILE)
signs = "'\"\\$`{}%#<>&!|:;=-[]()+*_~@ abénИ🚗机"
anything = st.one_of(
    hostile,
    st.text(max_size=120),
    st.text(signs + "\n\t\0\u202e\u2028", max_size=30),
    st.tuples(hostile, hostile).map("".join),
)
daring = st.one_of(
    st.sampled_from([text for text in HOSTILE if acceptable("author_name", text)]),
    st.text(signs, min_size=1, max_size=30).map(str.strip).filter(len),
)
sets_of_answers = st.fixed_dictionaries(
    {
        **dict.fromkeys(TEXTS, mostly(daring)),
        "port": mostly(st.integers(1024, 65535).map(str)),
        **{key: mostly(st.sampled_from(values)) for key, values in CHOICES.items()},
    },
    optional={"project_slug": anything},
)


@settings(
    max_examples=int(os.environ.get("ML_DOCKER_EXAMPLES", "16")),
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(sets_of_answers, st.sampled_from(ROUTES))
def test_answers_of_any_kind_end_in_a_refusal_or_in_a_correct_project(answers, route):
    if route == "saved answers":
        answers.setdefault("project_slug", "my-ml-project")
    else:  # a prompt offers the choices only; the others are in test_hooks.py
        answers |= {key: v[-1] for key, v in CHOICES.items() if answers[key] not in v}
    if route not in ("prompts", "saved answers") and "{{ cycler" in "".join(answers.values()):
        return  # cookiecutter runs this before it knows the template: docs/prompts.md
    event(f"{route}: {ends_well(answers, route)}")


PLACES = [
    (["project_name"], "prompts"),
    (["description", "author_name"], "prompts"),
    *((["project_slug"], route) for route in ROUTES),
]


@pytest.mark.parametrize(("place", "route"), PLACES)
def test_answers_of_the_hostile_list(place, route):
    strings = (
        HOSTILE if os.environ.get("ML_DOCKER_HOSTILE") else ["../../x", "<!--", *HOSTILE[::20]]
    )
    others = DEFAULTS | TOKENS
    if place == ["project_name"]:
        del others["project_slug"]
    if route not in ("prompts", "saved answers"):
        strings = [text for text in strings if "{{ cycler" not in text]
    ends = [ends_well({**others, **dict.fromkeys(place, text)}, route) for text in strings]
    print(place, route, {end: ends.count(end) for end in set(ends)})
    if place == ["project_slug"] and route == "prompts":
        assert set(ends) == {"a project"}
    if route == "saved answers":
        assert ends.count("a project") == len([text for text in strings if is_slug(text)])
