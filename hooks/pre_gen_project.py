"""Refuses answers that cannot become a correct project: all faults at once, one line each."""

import json
import re
import shutil
import sys

# Nothing that cookiecutter evaluates, no blank at either end, nothing that ends or turns the line.
BAD = r"\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
LINE = r"(?!.*\{[%#{])(?!\s)[^" + BAD + r"]+(?<!\s)"
SAFE = "characters in one line, no control characters, no { before {, % or #"
PORT = r"10(2[4-9]|[3-9]\d)|1[1-9]\d\d|[2-9]\d{3}|[1-5]\d{4}|6[0-4]\d{3}|65([0-4]\d\d|5[0-2]\d|53[0-5])"
RULES = {  # question: what its answer must match, and that in words
    "project_name": ("(?=.{1,100}$)" + LINE, f"1 to 100 {SAFE}"),
    "project_slug": (
        "(?!(con|prn|aux|nul|(com|lpt)[0-9])$)(?=.{1,50}$)[a-z0-9]+(-[a-z0-9]+)*",  # for Windows
        "at most 50 of a-z, 0-9 and single hyphens, no reserved name, such as my-ml-project",
    ),
    "description": ("(?=.{1,200}$)" + LINE, f"1 to 200 {SAFE}"),
    "author_name": ("(?=.{1,100}$)" + LINE, f"1 to 100 {SAFE}"),
    "python_version": (r"3\.1[1-4]", "3.13, 3.14, 3.12 or 3.11"),
    "interface": ("lab|notebook", "lab or notebook"),
    "port": (f"(?a:{PORT})", "a whole number from 1024 to 65535, such as 8888"),
    "accelerator": ("cpu|nvidia", "cpu or nvidia"),
    "cluster": ("none|dask", "none or dask"),
    "license": (r"MIT|BSD-3-Clause|Apache-2\.0|none", "MIT, BSD-3-Clause, Apache-2.0 or none"),
}


def refusal(answers, raw, old):
    """The lines to print. `raw`: the answers before rendering; `old`: cookiecutter is too old."""
    lines = ["cookiecutter: older than 2.6. Type uvx cookiecutter@latest."] if old else []
    for key, (pattern, words) in RULES.items():
        evaluated = re.search(r"(?s)^(?!.*slugify).*\{[%#{]", str(raw.get(key)))
        answer = raw[key] if evaluated else answers[key]
        if not isinstance(answer, str) or not re.fullmatch(pattern, answer):
            lines.append(f"{key}: not {ascii(answer)[:70]}. Type {words}.")
    if shutil.disk_usage(".").free < 20_000_000:
        lines.append("disk: under 20 MB are free here. Make room, or go to another folder.")
    if lines:
        from pathlib import Path  # only here: these take longer than all the rest

        from cookiecutter import config

        saved = Path(config.get_user_config()["replay_dir"]).glob("*.json")
        newest = max(saved, key=lambda file: file.stat().st_mtime, default=None)
        if newest and json.loads(newest.read_text("utf-8")).get("cookiecutter") == answers:
            lines.append("Nothing was made. Correct the answers where they are saved, then type")
            lines.append(f'cookiecutter --replay-file "{newest}" "{answers["_template"]}"')
    return lines


if __name__ == "__main__":
    answers = json.loads({{cookiecutter | jsonify | jsonify}})  # noqa: F821
    raw = json.loads({{_cookiecutter | default({}) | jsonify | jsonify}})  # noqa: F821
    # Before 2.6 cookiecutter leaves this line break: _jinja2_env_vars do not reach hooks.
    old = """{% if true %}
{% endif %}"""
    sys.exit("\n".join(refusal(answers, raw, old)) or 0)
