"""Measure this project beside two baselines, in one run, in turns: `ROUNDS=3 make bench`.

The baselines: `seed/`, as in the document that the project was created from, and `common/`, as uv's
Docker guide advises today. All three get the same base image, index, requirements.txt and versions;
ours installs docker/requirements.txt too.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

HERE = Path(__file__).parent
BASE = os.environ.get("BASE_IMAGE") or "python:3.13-slim-trixie"
ROUNDS = int(os.environ.get("ROUNDS") or 3)
# What a cold build does again. The guide copies uv from its own image: that stage is there already.
COLD = {"ours": "--no-cache", "common": "--no-cache-filter=builder,final", "seed": "--no-cache"}
PORT, TOKEN = "18899", "bench"
CELL = "import pandas, sklearn.ensemble, matplotlib.pyplot"
CSV_GB = 1
PANDAS = """
import pandas
chunks = pandas.read_csv("big.csv", dtype=str, keep_default_na=False, chunksize=100_000)
for number, chunk in enumerate(chunks):
    chunk.iloc[:, 1:].to_csv("big_out.csv", mode="a", header=number == 0, index=False)
"""
MEMORY = "\nimport resource\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"

figures: list[tuple[str, str, float]] = []


def add(what: str, variant: str, value: float) -> None:
    """Keep one figure and show it."""
    figures.append((what, variant, round(value, 3)))
    print(f"{what:36} {variant:8} {value:10.2f}", flush=True)


def run(*command: object, cwd: Path | None = None, stdin: str = "") -> str:
    """Run a command and return its output; stop all with what it printed if it fails."""
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for_server() -> None:
    """Return when the server answers."""
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api", timeout=5)
            return
        except OSError:
            time.sleep(0.01)


def run_first_cell() -> None:
    """Run CELL in a new kernel through the server, as a browser does, and wait for its end."""
    kernels, login = f"127.0.0.1:{PORT}/api/kernels", {"Authorization": f"token {TOKEN}"}
    request = urllib.request.Request(f"http://{kernels}", b"{}", login, method="POST")
    kernel = json.load(urllib.request.urlopen(request))["id"]
    channels = websocket.create_connection(f"ws://{kernels}/{kernel}/channels", header=login)
    header = {"msg_id": "1", "msg_type": "execute_request", "session": "1", "username": ""}
    request = {"header": header, "content": {"code": CELL, "silent": False}, "channel": "shell"}
    channels.send(json.dumps(request | {"parent_header": {}, "metadata": {}}))
    answer = {"msg_type": ""}
    while answer["msg_type"] != "execute_reply":
        answer = json.loads(channels.recv())
    assert answer["content"]["status"] == "ok", answer


class Round:
    """Three new projects, each in a folder `bench-<variant>`, which is its image's name too."""

    def __init__(self, folder: Path, number: int) -> None:
        self.paths = {variant: folder / f"bench-{variant}" for variant in COLD}
        self.data = self.paths["ours"] / "data/input"
        # Layers and caches of other rounds and runs are still there: nothing may equal theirs.
        self.tag = f"bench-{os.getpid()}-{number}"
        run("cookiecutter", "--no-input", "-o", folder, HERE.parent, "project_slug=bench-ours")
        for variant in ("common", "seed"):
            shutil.copytree(self.paths["ours"], self.paths[variant])
            shutil.copy(HERE / variant / "Dockerfile", self.paths[variant])
            (self.paths[variant] / ".dockerignore").unlink()
        # The same versions: uv's own lock, and for pip, which wants all hashes or none, none.
        add_all = ("--no-sync", "-r=requirements.txt", "-c=requirements.lock")
        run("uv", "init", "--bare", "--no-workspace", cwd=self.paths["common"])
        run("uv", "add", *add_all, cwd=self.paths["common"])
        no_hashes = ("--no-header", "--no-annotate", "-c=requirements.lock", "-o=constraints.txt")
        run("uv", "pip", "compile", *no_hashes, "requirements.txt", cwd=self.paths["seed"])
        self.build("common", "--target=uv")

    def build(self, variant: str, *options: str) -> float:
        """Build an image; return the seconds that it took."""
        os.sync()  # or this build also writes to disk what the last one left in memory
        start = time.monotonic()
        args = (f"--build-arg=BASE_IMAGE={BASE}", f"--build-arg=BUILDKIT_CACHE_MOUNT_NS={self.tag}")
        path = self.paths[variant]
        run("docker", "buildx", "build", *args, *options, f"--tag={path.name}", path)
        return time.monotonic() - start

    def edit_notebook(self, variant: str) -> None:
        """Add a cell to the notebook."""
        path = self.paths[variant] / "data/input/process_cars.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        notebook["cells"].append(
            {"cell_type": "raw", "metadata": {}, "id": "x", "source": self.tag}
        )
        path.write_text(json.dumps(notebook))

    def add_library(self, variant: str) -> None:
        """Ask for one more library, as a user of each would; the guide's way renews a lock."""
        if variant == "common":
            run("uv", "add", "--no-sync", "tabulate", cwd=self.paths[variant])
        with (self.paths[variant] / "requirements.txt").open("a") as file:
            file.write(f"tabulate  # {self.tag}\n")

    def start(self, variant: str, *up: str, what: str = "start") -> float:
        """Start the server; record the time to an answer of /api, and return when it began."""
        begin = time.monotonic()
        run(*up, cwd=self.paths[variant])
        wait_for_server()
        add(f"{what} to /api, s", variant, time.monotonic() - begin)
        return begin

    def first_cell(self, variant: str) -> None:
        """Start the server with `docker run`, and run a first cell."""
        name = self.paths[variant].name
        publish, volume = f"127.0.0.1:{PORT}:8888", "./data/input:/data/notebook"
        options = ("-d", "--name", name, "-p", publish, "-v", volume, "-e", "JUPYTER_TOKEN")
        begin = self.start(variant, "docker", "run", *options, name)
        run_first_cell()
        add("start to first cell, s", variant, time.monotonic() - begin)
        run("docker", "rm", "--force", "--volumes", name)

    def first_imports(self, variant: str) -> None:
        """Import the usual libraries in a new container."""
        name = self.paths[variant].name
        begin = time.monotonic()
        run("docker", "run", "--rm", "--network=none", name, "python", "-c", CELL)
        add("first imports in a new container, s", variant, time.monotonic() - begin)

    def compose_up(self) -> None:
        """Start the server with Compose."""
        self.start("ours", "docker", "compose", "up", "--detach", what="compose up")
        run("docker", "compose", "down", "--volumes", "--timeout=1", cwd=self.paths["ours"])

    def sizes(self, variant: str) -> None:
        """Record the size of an image."""
        name = self.paths[variant].name
        size = run("docker", "image", "inspect", "--format={{.Size}}", name)
        add("image, MB", variant, int(size) / 1e6)
        packed = run("sh", "-c", f"docker save {name} | gzip | wc -c")
        add("image, gzip, MB", variant, int(packed) / 1e6)

    def large_data(self) -> None:
        """Build again, without and with a large (sparse) file beside the sample."""
        for gigabytes in (0, 5):
            with (self.data / "large.csv").open("wb") as large:
                large.truncate(gigabytes * 10**9)
            add(f"build, {gigabytes} GB in data/input, s", "ours", self.build("ours"))
        (self.data / "large.csv").unlink()

    def csv_step(self) -> None:
        """Drop the first column as the notebook does, and as people do with pandas."""
        header, rows = (self.data / "cars_sampled.csv").read_bytes().split(b"\n", 1)
        with (self.data / "big.csv").open("wb") as file:
            file.write(header + b"\n")
            while file.tell() < CSV_GB * 10**9:
                file.write(rows)
        cells = json.loads((self.data / "process_cars.ipynb").read_text(encoding="utf-8"))["cells"]
        code = {c["id"]: "".join(c["source"]) for c in cells if c["cell_type"] == "code"}
        code["parameters"] += '\nsource, output = "big.csv", "big_out.csv"'
        step = list(code)[: list(code).index("write") + 1]
        notebook = "\n".join(code[name] for name in step)
        options = ("--rm", "-i", "-v", "./data/input:/data/notebook")
        python = ("docker", "run", *options, "bench-ours", "python", "-")
        for how, script in (("notebook", notebook), ("pandas", PANDAS)):
            start = time.monotonic()
            memory = run(*python, cwd=self.paths["ours"], stdin=script + MEMORY).split()[-1]
            add(f"CSV step, {how}, MB/s", "ours", CSV_GB * 1000 / (time.monotonic() - start))
            add(f"CSV step, {how}, memory, MB", "ours", float(memory))
            (self.data / "big_out.csv").unlink()

    def measure(self) -> None:
        """Measure what varies."""
        for variant, cold in COLD.items():
            add("cold build, s", variant, self.build(variant, cold))
        for variant in COLD:
            self.edit_notebook(variant)
            add("rebuild, notebook edited, s", variant, self.build(variant))
        for variant in COLD:
            self.first_cell(variant)
            self.first_imports(variant)
        self.compose_up()
        for variant in COLD:
            self.add_library(variant)
            add("rebuild, library added, s", variant, self.build(variant))

    def measure_once(self) -> None:
        """Measure what is the same in each round, or takes long."""
        for variant in COLD:
            self.sizes(variant)
        self.large_data()
        self.csv_step()


def main() -> None:
    os.environ |= {"JUPYTER_PORT": PORT, "JUPYTER_TOKEN": TOKEN, "UV_PYTHON": sys.executable}
    try:
        for number in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                this = Round(Path(folder), number)
                this.measure()
                if number == ROUNDS - 1:
                    this.measure_once()
    finally:
        images = [f"bench-{variant}" for variant in COLD]
        run("docker", "rm", "--force", *images)
        run("docker", "rmi", "--force", *images)
    with (HERE / "results.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("what", "variant", "value"), *figures])
    run(sys.executable, HERE / "report.py")


if __name__ == "__main__":
    main()
