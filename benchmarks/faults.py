"""Break a running project again and again, and count what is lost.

    uv run python benchmarks/faults.py --rounds 100

Each round writes a new notebook through Jupyter's own HTTP interface, runs it headless, then does one of the
faults in turn and starts the server again. Afterwards every file that was saved must be whole, every finished
output must be there, and nothing may belong to another user than the folder does.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import ROOT, Project, free_port

UID = 20345
CODE = "from pathlib import Path; Path('result-{n}.txt').write_text('{n} ' * 1000)"


def notebook(number: int) -> dict:
    """Return a notebook of one cell that writes `result-<number>.txt`."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None}
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [cell | {"source": CODE.format(n=number)}]
    return {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}


def save(project: Project, name: str, content: dict) -> None:
    """Save a notebook as the page does: PUT to the contents interface."""
    url = project.printed_url()
    base, _, token = url.partition("/?token=")
    request = urllib.request.Request(
        f"{base}/api/contents/{name}",
        json.dumps({"type": "notebook", "content": content}).encode(),
        {"Authorization": f"token {token}"},
        method="PUT",
    )
    urllib.request.urlopen(request, timeout=30)


def inside(project: Project, script: str) -> None:
    """Run a script in the container as the owner; the fault may take the shell with it."""
    project.compose("exec", "-T", "notebook", "entrypoint.sh", "bash", "-c", script, check=False)


def kill_kernel(project: Project, container: str) -> None:
    inside(project, "python -m ipykernel_launcher & sleep 2; kill -9 $!")


def kill_server(project: Project, container: str) -> None:
    inside(project, "kill -9 $(grep -l bin/jupyter-lab /proc/[0-9]*/cmdline | cut -d/ -f3)")


def docker_kill(project: Project, container: str) -> None:
    project.run("docker", "kill", container)


def stop(project: Project, container: str) -> None:
    project.run("docker", "kill", "--signal=TERM", container)


def restart(project: Project, container: str) -> None:
    project.run("docker", "restart", "--time=5", container)


def memory(project: Project, container: str) -> None:
    inside(project, "python -c 'bytearray(900 << 20)'")


def disk_full(project: Project, container: str) -> None:
    inside(project, "head -c 64M /dev/zero >filler; rm -f filler")


def engine_kill(project: Project, container: str) -> None:
    """Only with --engine: kills the engine itself with SIGKILL and starts it again."""
    subprocess.run(["pkill", "-9", "-x", "dockerd"], check=True)
    time.sleep(1)
    subprocess.run([ROOT / ".ci/docker-engine"], check=True, capture_output=True)


FAULTS = [kill_server, kill_kernel, docker_kill, stop, restart, memory, disk_full]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument(
        "--engine", action="store_true", help="kill the engine too: stops all its containers"
    )
    options = parser.parse_args()
    faults = [*FAULTS, engine_kill] if options.engine else FAULTS

    folder = Path(tempfile.mkdtemp())
    subprocess.run(
        ["cookiecutter", "--no-input", "-o", folder, ROOT, "project_slug=faults"], check=True
    )
    project = Project(folder / "faults", {"MEMORY_LIMIT": "700m", "JUPYTER_PORT": str(free_port())})
    small = project.data
    saved_files = {p.name: p.read_bytes() for p in small.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", small], check=True)
    for name, data in saved_files.items():
        (small / name).write_bytes(data)
    for path in [small, *small.rglob("*")]:
        os.chown(path, UID, UID)

    expected: dict[str, str] = {}
    rounds, losses = Counter(), []
    for number in range(options.rounds):
        fault = faults[number % len(faults)]
        project.compose("up", "--detach", "--wait", "--build", "notebook")
        name = f"work-{number}.ipynb"
        save(project, name, notebook(number))
        expected[name] = hashlib.sha256((small / name).read_bytes()).hexdigest()
        project.compose(
            "exec",
            "-T",
            "notebook",
            "entrypoint.sh",
            "papermill",
            "--no-progress-bar",
            name,
            f"out-{number}.ipynb",
        )
        for made in (f"out-{number}.ipynb", f"result-{number}.txt"):
            expected[made] = hashlib.sha256((small / made).read_bytes()).hexdigest()
        fault(project, project.container())
        rounds[fault.__name__] += 1
        project.compose("down", "--timeout", "3")
        for made, digest in expected.items():
            path = small / made
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                losses.append((number, fault.__name__, made))
        losses += [
            (number, fault.__name__, f"owner of {path.name}")
            for path in small.rglob("*")
            if path.lstat().st_uid != UID
        ]
        print(
            f"{number + 1:>4} {fault.__name__:<12} {len(expected)} files, {len(losses)} losses",
            flush=True,
        )
    subprocess.run(["umount", small], check=True)
    print(json.dumps({"rounds": sum(rounds.values()), "by fault": rounds, "losses": losses}))


if __name__ == "__main__":
    main()
