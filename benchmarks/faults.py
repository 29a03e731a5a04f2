"""Break a running project again and again, and count what is lost.

    uv run python benchmarks/faults.py --rounds 100

As root. In an engine of its own, each round saves a notebook through Jupyter's own HTTP interface, runs it headless,
then does one of the eight faults in turn. Afterwards every file that was saved must be whole, every finished output
must be there, and nothing may belong to another user than the folder does; then the server is started again.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import ROOT, Engine, Project, free_port

UID = 20345
CODE = "from pathlib import Path; Path('result-{n}.txt').write_text('{n} ' * 1000)"


def notebook(number: int) -> dict:
    """Return a notebook of one cell that writes `result-<number>.txt`."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None}
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [cell | {"source": CODE.format(n=number)}]
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def ask(project: Project, method: str, path: str, body: dict) -> None:
    """Ask the server as the page does."""
    base, _, token = project.printed_url().partition("/?token=")
    request = urllib.request.Request(
        f"{base}/api/{path}",
        json.dumps(body).encode(),
        {"Authorization": f"token {token}"},
        method=method,
    )
    urllib.request.urlopen(request, timeout=30)


def save(project: Project, name: str, content: dict) -> None:
    """Save a notebook."""
    ask(project, "PUT", f"contents/{name}", {"type": "notebook", "content": content})


def inside(project: Project, script: str, check: bool = False) -> None:
    """Run a script in the container as the owner; the fault may take the shell with it."""
    command = ("exec", "-T", "notebook", "entrypoint.sh", "bash", "-c", script)
    project.compose(*command, check=check)


def kill_server(project: Project, engine: Engine) -> None:
    inside(project, "kill -9 $(grep -l bin/jupyter-lab /proc/[0-9]*/cmdline | cut -d/ -f3)")


def kill_kernel(project: Project, engine: Engine) -> None:
    ask(project, "POST", "kernels", {"name": "python3"})
    inside(project, "kill -9 $(grep -l ipykernel_launcher /proc/[0-9]*/cmdline | cut -d/ -f3)")


def docker_kill(project: Project, engine: Engine) -> None:
    project.run("docker", "kill", project.container())


def sigterm(project: Project, engine: Engine) -> None:
    project.run("docker", "kill", "--signal=TERM", project.container())


def engine_restart(project: Project, engine: Engine) -> None:
    engine.stop()
    engine.start()


def engine_kill(project: Project, engine: Engine) -> None:
    engine.stop(signal.SIGKILL)
    engine.start()


def memory_limit(project: Project, engine: Engine) -> None:
    inside(project, "python -c 'bytearray(900 << 20)'")


def disk_full(project: Project, engine: Engine) -> None:
    """Fill the disk, and save the last notebook again, which cannot work."""
    name = max(project.data.glob("work-*.ipynb"), key=lambda path: path.stat().st_mtime).name
    inside(project, "cat /dev/zero >filler")
    try:
        save(project, name, notebook(10**4000))
    except urllib.error.HTTPError:
        inside(project, "rm filler", check=True)
    else:
        raise AssertionError("the disk was not full")


FAULTS = [
    kill_server, kill_kernel, docker_kill, engine_restart,
    engine_kill, disk_full, memory_limit, sigterm,
]  # fmt: skip


def digest(path: Path) -> str:
    """Return what a file holds, in short."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def break_and_count(project: Project, engine: Engine, total: int) -> None:
    """Do the rounds and print what was lost."""
    small = project.data
    expected: dict[str, str] = {}
    rounds, losses = Counter(), []
    for number in range(total):
        fault = FAULTS[number % len(FAULTS)]
        project.compose("up", "--detach", "--wait", "--no-build", "notebook")
        name, out, result = f"work-{number}.ipynb", f"out-{number}.ipynb", f"result-{number}.txt"
        save(project, name, notebook(number))
        inside(project, f"papermill --no-progress-bar {name} {out}", check=True)
        expected |= {made: digest(small / made) for made in (name, out, result)}
        fault(project, engine)
        rounds[fault.__name__] += 1
        project.compose("down", "--timeout", "3")
        losses += [
            (number, fault.__name__, made)
            for made, before in expected.items()
            if not (small / made).exists() or digest(small / made) != before
        ]
        losses += [
            (number, fault.__name__, f"owner of {path.name}")
            for path in small.rglob("*")
            if path.lstat().st_uid != UID
        ]
        print(f"{number + 1:>4} {fault.__name__:<14} {len(expected)} files, {len(losses)} losses", flush=True)  # fmt: skip
    print(json.dumps({"rounds": sum(rounds.values()), "by fault": rounds, "losses": losses}))


def main() -> None:
    """Make a project of another user's on a small disk, and break it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    total = parser.parse_args().rounds

    with tempfile.TemporaryDirectory() as name, Engine(Path(name)) as engine:
        folder = Path(name)
        command = ["cookiecutter", "--no-input", "-o", folder, ROOT, "project_slug=faults"]
        subprocess.run(command, check=True)
        project = Project(folder / "faults")
        project.compose("build", "notebook")
        project.run("docker", "save", "--output", str(folder / "image.tar"), "faults")
        project.run("docker", "rmi", "faults")
        project.env |= {"DOCKER_HOST": engine.host, "MEMORY_LIMIT": "700m", "JUPYTER_PORT": str(free_port())}  # fmt: skip
        project.run("docker", "load", "--input", str(folder / "image.tar"))

        content = {path.name: path.read_bytes() for path in project.data.iterdir()}
        mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", project.data]
        subprocess.run(mount, check=True)
        try:
            for file, data in content.items():
                (project.data / file).write_bytes(data)
            for path in [project.data, *project.data.rglob("*")]:
                os.chown(path, UID, UID)
            break_and_count(project, engine, total)
        finally:
            project.compose("down", "--timeout", "3", check=False)
            subprocess.run(["umount", project.data], check=True)


if __name__ == "__main__":
    main()
