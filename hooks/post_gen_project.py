"""Says what to type next; does nothing else, so it may run any number of times."""

import json
from pathlib import Path

answers = json.loads({{cookiecutter | jsonify | jsonify}})  # noqa: F821
print(f"""
The project is in the folder {answers["project_slug"]}. Start it:

    cd {answers["project_slug"]}
    docker compose up

and open the address that it prints: http://127.0.0.1:{answers["port"]}/...
README.md says more, also how to work without Docker.""")
if Path(".git").exists():
    print("The folder was there before: see `git status`. Files of former answers stay.")
