"""A generated project, the commands that a user types in it, and how to wait for what they do."""

import csv
import json
import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PAPERMILL = ("papermill", "process_cars.ipynb", "out.ipynb")
# A notebook of a second's work, for tests in which the sample's models have no part.
QUICK = "import pandas, matplotlib.pyplot as plt; plt.plot([1]); open('made.txt', 'w').close()"
RUN_QUICK = ("papermill", "quick.ipynb", "-")
# The rights of process 1 of a container and of all that it has started; not those of the engine's
# own commands, the health check among them, which begin as root.
SHOW_RIGHTS = """
show() {
    grep -E '^(Uid|Cap|NoNewPrivs)' /proc/$1/status
    for child in $(cat /proc/$1/task/*/children); do show $child; done
}
show 1 2>/dev/null; true
"""
# What it prints of processes without any, but for the user.
NO_RIGHTS = {
    *((f"Cap{kind}:", "0" * 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")),
    ("NoNewPrivs:", "1"),
}
BASE = "python:3.13-slim-trixie"  # of the default answers
ROOT = Path(__file__).parents[2]
(TEMPLATE,) = ROOT.glob("*{{cookiecutter.project_slug}}*")


def missing(what: str, reason: str) -> None:
    """Skip the test for want of `what`, or fail it where ML_DOCKER_REQUIRE lists `what`."""
    if what in os.environ.get("ML_DOCKER_REQUIRE", "").split(","):
        pytest.fail(f"{what} is required here: {reason}")
    pytest.skip(reason)


def is_root() -> bool:
    """Tell whether the tests run as root of a machine that has one."""
    return os.name == "posix" and os.geteuid() == 0


def wait_until(true: Callable, seconds: float, what: str):
    """Return what `true()` returns as soon as that is something; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.3)
    return found


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@dataclass
class Project:
    """A generated project and the commands that a user would type in its folder."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    start_log: str = ""

    @property
    def slug(self) -> str:
        return self.path.name

    @property
    def data(self) -> Path:
        return self.path / "data" / "input"

    def run(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        """Run a command in the project's folder; on failure with `check` show what it printed."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env={**os.environ, **self.env, **env},
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            typed = " ".join(map(str, command))
            pytest.fail(f"{typed} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def compose(self, *args: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        return self.run("docker", "compose", *args, check=check, **env)

    def inside(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a command in a new container."""
        return self.compose("run", "--rm", "-T", "notebook", *command, check=check)

    def shell(self, script: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a script in the running container, in the shell that README.md names."""
        command = ("exec", "-T", "notebook", "entrypoint", "bash", "-c", script)
        return self.compose(*command, check=check)

    def up(self) -> None:
        """Start the notebook of a built project and wait until its server answers.

        (`up --wait` would wait for the next turn of the health check.)
        """
        self.compose("up", "--detach", "--no-build", "notebook")
        self.shell("until healthy; do sleep 0.2; done 2>/dev/null")

    def api(self, method: str, path: str, content: object = None):
        """Ask the server, as its page does; return its answer. JUPYTER_TOKEN must be set."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.env['JUPYTER_PORT']}/{path}",
            method=method,
            headers={"Authorization": f"token {self.env['JUPYTER_TOKEN']}"},
            data=None if content is None else json.dumps(content).encode(),
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or "null")

    def notebook(self, name: str, *cells: str) -> None:
        """Write a notebook with these code cells into data/input."""
        form = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {
            "cells": [form | {"id": f"c{n}", "source": text} for n, text in enumerate(cells)],
            "metadata": {"kernelspec": spec},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    def services(self) -> dict[str, dict]:
        """Return all services, those of profiles too, as Compose understands them."""
        done = self.compose("--profile", "*", "config", "--format", "json")
        return json.loads(done.stdout)["services"]

    def container(self, service: str = "notebook") -> str:
        """Return the id of the container of a service, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.strip()

    def logs(self) -> str:
        """Return what the notebook's container printed."""
        return self.compose("logs", "--no-log-prefix", "notebook").stdout

    def printed_url(self, starts: int = 1) -> str:
        """Return the address that the last of so many starts printed."""

        def urls() -> list[str]:
            found = re.findall(r"Open (\S+)", self.logs())
            return found if len(found) == starts else []

        return wait_until(urls, 60, f"{starts} printed addresses of {self.slug}")[-1]

    def start(self) -> str:
        """Start the notebook of a built project and return the address that it prints."""
        self.compose("up", "--detach", "--no-build", "notebook")
        return self.printed_url()

    def remove(self) -> None:
        """Remove containers, networks, volumes and images of the project."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "1", check=False)
        self.run("docker", "rmi", "--force", self.slug, f"{self.slug}-lock", check=False)


def is_processed(data: Path) -> bool:
    """Tell whether processed.csv is the sample less its first column."""
    with (
        open(data / "cars_sampled.csv", encoding="utf-8", newline="") as source,
        open(data / "processed.csv", encoding="utf-8", newline="") as output,
    ):
        return [row[1:] for row in csv.reader(source)] == list(csv.reader(output))


def owners(folder: Path) -> set[tuple[int, int]]:
    """Return user and group of the folder and of all that is in it."""
    return {(p.lstat().st_uid, p.lstat().st_gid) for p in [folder, *folder.rglob("*")]}


def inspect(name: str) -> dict:
    """Return what the engine knows of a container or an image."""
    done = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]
