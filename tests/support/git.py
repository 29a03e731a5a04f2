"""Git, and tools that call it, as somebody who has a name and no settings.

`git(folder, "init")` runs git; `commit(folder, "message")` commits all that a folder holds.
For another tool (cruft, a script) `identity(home)` is the environment.
"""

import os
import subprocess
from pathlib import Path


def identity(home: Path) -> dict[str, str]:
    """Return the environment of somebody whose home is this folder, with a name for commits."""
    names = [f"GIT_{role}_{part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")]
    return {
        **os.environ,
        **dict.fromkeys(["HOME", "USERPROFILE"], str(home)),
        **dict.fromkeys(names, "x@example.org"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def git(folder: Path, *arguments: str | Path, **options) -> str:
    """Run git in a folder, which must succeed, and return what it printed.

    `options`: those of `subprocess.run`, such as `user` and `group`.
    """
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=identity(folder),
        capture_output=True,
        encoding="utf-8",
        **options,
    )
    assert done.returncode == 0, f"git {arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


def commit(folder: Path, message: str, **options) -> None:
    """Commit all that git does not ignore; a folder that is no repository becomes one."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main", **options)
    git(folder, "add", "--all", **options)
    git(folder, "commit", "--quiet", "--allow-empty", f"--message={message}", **options)
