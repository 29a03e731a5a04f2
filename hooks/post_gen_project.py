"""Says what was made and what to type next; does nothing else, so it may run any number of times."""

import json
import shutil


def message(answers, docker):
    """The text to print. `docker`: whether this machine has the command."""
    without = (
        'uv run --no-project --isolated --python ">=3.11" --with-requirements requirements.lock '
        f"jupyter {answers['interface']} data/input"
    )
    return f"""
The project is in the folder {answers["project_slug"]}. Start it{"" if docker else " without Docker"}:

    cd {answers["project_slug"]}
    {"docker compose up" if docker else without}

and open the address that it prints: http://127.0.0.1:{answers["port"] if docker else 8888}/...
README.md says more{"" if docker else ", also how to start it with Docker, which was not found"}.
"""


if __name__ == "__main__":
    print(message(json.loads({{cookiecutter | jsonify | jsonify}}), shutil.which("docker")))  # noqa: F821
