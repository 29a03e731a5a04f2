"""Refuses answers that cannot become a correct project: all faults at once, one line each."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from unicodedata import category

from cookiecutter.config import get_user_config
from slugify import slugify

LINE = "characters in one line, nothing invisible, no { before {, % or #"
JINJA = ["{" + mark for mark in "#%{"]  # in pieces, because this file is rendered too
UNSEEN = "Cc Cf Cs Zl Zp"  # Unicode's categories of controls, formats, surrogates, ends of line


def is_line(text, longest):
    fits = 0 < len(text) <= longest and text == text.strip()
    seen = all(category(char) not in UNSEEN or char in "\u200c\u200d" for char in text)  # joiners
    return fits and seen and not any(mark in text for mark in JINJA)


RULES = {  # question: its choices; or what a good answer is, and what to type instead
    "project_name": (lambda text: is_line(text, 100), f"1 to 100 {LINE}"),
    # Always good, unless somebody wrote it into saved answers by hand.
    "project_slug": (lambda text: "" != text == slugify(text, max_length=60), "a-z, 0-9, hyphens"),
    "description": (lambda text: is_line(text, 200), f"1 to 200 {LINE}"),
    "author_name": (lambda text: is_line(text, 100), f"1 to 100 {LINE}"),
    "python_version": ["3.13", "3.14", "3.12", "3.11"],
    "interface": ["lab", "notebook"],
    "port": (set(map(str, range(1024, 65536))).__contains__, "a number from 1024 to 65535"),
    "accelerator": ["cpu", "nvidia"],
    "cluster": ["none", "dask"],
    "license": ["MIT", "BSD-3-Clause", "Apache-2.0", "none"],
}


def refusal(answers, raw):
    """The lines to print. `raw`: the answers before cookiecutter evaluated Jinja in them."""
    old = tuple(map(int, version("cookiecutter").split(".")[:2])) < (2, 6)
    lines = ["cookiecutter: older than 2.6. Type uvx cookiecutter@latest."] if old else []
    for key, rule in RULES.items():
        is_good, words = rule if isinstance(rule, tuple) else (rule.__contains__, " or ".join(rule))
        typed = raw.get(key) if key != "project_slug" else None
        answer = typed if any(mark in str(typed) for mark in JINJA) else answers[key]
        if not isinstance(answer, str) or not is_good(answer):
            lines.append(f"{key}: not {ascii(answer)[:70]}. Type {words}.")
    saved = sorted(Path(get_user_config()["replay_dir"]).glob("*.json"), key=os.path.getmtime)
    if lines and saved and json.loads(saved[-1].read_text("utf-8")).get("cookiecutter") == answers:
        lines.append("Nothing was made. Correct the answers where they are saved, then type")
        lines.append(f'cookiecutter --replay-file "{saved[-1]}" "{answers["_template"]}"')
    return lines


if __name__ == "__main__":
    answers = json.loads({{cookiecutter | jsonify | jsonify}})  # noqa: F821
    raw = json.loads({{_cookiecutter | default({}) | jsonify | jsonify}})  # noqa: F821
    sys.exit("\n".join(refusal(answers, raw)) or None)
