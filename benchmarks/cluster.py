"""Measure the Dask notebook beside the pandas notebook, and calculate how far a cluster can grow.

    uv run --with matplotlib python benchmarks/cluster.py --gb 1 5 20

Writes benchmarks/cluster.csv and docs/cluster.svg. Both notebooks run in the containers that a user gets, on a file
that repeats the rows of the sample. Needs twice the largest size on disk, and nothing else to run on the machine.
"""

import argparse
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from conftest import ROOT, Project, free_port

PANDAS, DASK = "process_cars.ipynb", "process_cars_dask.ipynb"
# Runs cells of a notebook in a container, as the kernel would: step 1, then for Dask step 2 without the plot.
STEPS = """
import contextlib, json, resource, sys, time
notebook, source, output = sys.argv[1:]
cells = {c["id"]: "".join(c["source"]) for c in json.load(open(notebook))["cells"]}
display, found, silent = print, {}, contextlib.redirect_stdout(sys.stderr)
with silent:
    for name in ("connect", "helpers", "core"):
        exec(cells.get(name, ""))
    start = time.monotonic()
    exec(cells["run-step1"])
    found["step 1"] = time.monotonic() - start
    found["notebook's memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if "connect" in cells:
        from distributed import get_task_stream
        with get_task_stream(client) as stream:
            start = time.monotonic()
            exec(cells["load"])
            found["step 2"] = time.monotonic() - start
        found["tasks of step 2, per block"] = len(stream.data) / len(records)
print(json.dumps(found))
"""
# What a task costs the scheduler when it gets a whole graph, as in step 2.
GRAPH = """
import json, time
from distributed import Client, wait
client, tasks = Client(), 20_000
start = time.monotonic()
wait(client.map(abs, client.map(abs, range(tasks // 2), pure=False), pure=False))
print(json.dumps({"tasks": tasks, "seconds": time.monotonic() - start}))
"""
# What a task costs when the notebook hands it out and takes its result, as in step 1, and how fast it writes results.
RATES = """
import contextlib, json, sys, time
cells = {c["id"]: "".join(c["source"]) for c in json.load(open(sys.argv[1]))["cells"]}
with contextlib.redirect_stdout(sys.stderr):
    for name in ("connect", "helpers", "core"):
        exec(cells[name])
    found, number = {"tasks": 5_000}, 40
    before = time.process_time()
    for _ in in_order("Tasks", abs, [(i,) for i in range(found["tasks"])]):
        pass
    found["client"] = (time.process_time() - before) / found["tasks"]
    start = time.monotonic()
    with open("written", "wb") as file:
        for _, result in in_order("Writing", bytes, [(BLOCK,)] * number):
            file.write(result)
    found["writing"] = number * BLOCK / 1e6 / (time.monotonic() - start)
print(json.dumps(found))
"""
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7"]  # Okabe and Ito


def pids(container: str, words: str) -> list[int]:
    """Return the processes of a container whose command line holds these words."""
    top = ["docker", "top", container, "-eo", "pid,args"]
    lines = subprocess.run(top, capture_output=True, text=True, check=True).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if words in line and "tini" not in line]


def peak_memory(project: Project) -> float:
    """Return the most memory that a worker process has had, in MB."""
    workers = project.compose("ps", "--quiet", "worker").stdout.split()
    files = [f"/proc/{pid}/status" for worker in workers for pid in pids(worker, "spawn_main")]
    peaks = [re.search(r"VmHWM:\s+(\d+)", Path(file).read_text())[1] for file in files]
    return max(int(peak) / 1024 for peak in peaks)


def processor_time(pid: int) -> float:
    """Return the seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class Bench:
    """One project with a cluster, and the figures: one row for each measurement."""

    def __init__(self, folder: Path) -> None:
        command = ["cookiecutter", "--no-input", "-o", folder, ROOT, "cluster=dask"]
        subprocess.run([*command, "project_slug=bench-cluster"], check=True, capture_output=True)
        ports = {name: str(free_port()) for name in ("JUPYTER_PORT", "DASHBOARD_PORT")}
        self.project = Project(folder / "bench-cluster", ports)
        self.project.compose("build", "notebook")
        self.figures = []

    def add(self, what: str, size: float, workers: int, value: float, unit: str) -> None:
        self.figures.append((what, size, workers, round(value, 6), unit))
        print(f"{what:28} {size:6} GB {workers:3} workers {value:12.4f} {unit}", flush=True)

    def start(self, workers: int) -> None:
        """Start everything anew, so that memory is counted from nothing."""
        up = ("up", "--detach", "--wait", "--force-recreate")
        self.project.compose(*up, WORKERS=str(workers))

    def inside(self, script: str, *args: str) -> dict:
        run = ("exec", "-T", "notebook", "entrypoint.sh", "python", "-c", script, *args)
        return json.loads(self.project.compose(*run).stdout.splitlines()[-1])

    def large(self, gigabytes: float) -> None:
        """Write large.csv: the rows of the sample again and again."""
        header, rows = (self.project.data / "cars_sampled.csv").read_bytes().split(b"\n", 1)
        with (self.project.data / "large.csv").open("wb") as file:
            file.write(header + b"\n")
            while file.tell() < gigabytes * 1e9:
                file.write(rows)

    def compare(self, size: float, source: str) -> None:
        """Both notebooks on one file; their results must be the same."""
        hashes = set()
        for notebook, workers in ((PANDAS, 0), (DASK, 1), (DASK, 2)):
            self.start(workers or 1)
            for what, value in self.inside(STEPS, notebook, source, "out.csv").items():
                unit = "MB" if "memory" in what else "1" if "tasks" in what else "s"
                self.add(what, size, workers, value, unit)
            if workers:
                self.add("worker's memory", size, workers, peak_memory(self.project), "MB")
            hashes.add(digest(self.project.data / "out.csv"))
            (self.project.data / "out.csv").unlink()
        self.add("same result", size, 0, len(hashes) == 1, "yes=1")

    def rates(self) -> None:
        """What a task costs, and how fast one notebook writes."""
        self.start(2)
        (scheduler,) = pids(self.project.container("scheduler"), "dask scheduler")
        for what, script in (("graph", GRAPH), ("one by one", RATES)):
            before = processor_time(scheduler)
            found = self.inside(script, DASK)
            spent = (processor_time(scheduler) - before) / found["tasks"]
            self.add(f"scheduler, per task, {what}", 0, 2, spent, "s")
            if what == "graph":
                self.add("tasks, with workers", 0, 2, found["tasks"] / found["seconds"], "1/s")
        (self.project.data / "written").unlink()
        self.add("client, per task", 0, 2, found["client"], "s")
        self.add("writing", 0, 2, found["writing"], "MB/s")

    def whole_notebooks(self) -> None:
        """The whole of both notebooks on the small sample, as a user runs them."""
        for notebook, workers in ((PANDAS, 0), (DASK, 2)):
            self.start(workers or 1)
            script = (
                "import json, subprocess, sys, time; start = time.monotonic();"
                "subprocess.run(['papermill', sys.argv[1], 'out.ipynb'], check=True, capture_output=True);"
                "print(json.dumps(time.monotonic() - start))"
            )
            self.add("whole notebook", 0.0008, workers, self.inside(script, notebook), "s")

    def save(self) -> None:
        with (HERE / "cluster.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("what", "GB", "workers", "value", "unit"), *self.figures])


def plot() -> None:
    """Draw what was measured, and what follows from it for many workers."""
    with (HERE / "cluster.csv").open() as file:
        rows = [row | {"value": float(row["value"])} for row in csv.DictReader(file)]
    seconds = {
        (float(row["GB"]), int(row["workers"])): row["value"]
        for row in rows
        if row["what"] == "step 1"
    }
    sizes = sorted({size for size, _ in seconds})
    cost = {row["what"]: row["value"] for row in rows if row["GB"] == "0"}
    of_step_2 = {row["what"]: row["value"] for row in rows if row["workers"] == "1"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    names = {0: "pandas notebook", 1: "Dask, 1 worker", 2: "Dask, 2 workers"}
    for place, (workers, name) in enumerate(names.items()):
        speed = [size * 1000 / seconds[size, workers] for size in sizes]
        bars = left.bar([i + (place - 1) * 0.27 for i in range(len(sizes))], speed, 0.25)
        for bar in bars:
            bar.set_color(COLOURS[place])
        bars.set_label(name)
        left.bar_label(bars, fmt="%.0f", fontsize=9)
    left.set_xticks(range(len(sizes)), [f"{size:g} GB" for size in sizes])
    left.set(title="Step 1, measured on two cores", xlabel="size of the file", ylabel="MB/s")
    left.legend(frameon=False)

    each = sizes[-1] * 1000 / of_step_2["step 2"]  # MB/s of one worker, alone
    task = of_step_2["tasks of step 2, per block"] * cost["scheduler, per task, graph"]
    workers = [2**i for i in range(11)]
    for block, colour in zip((1, 8, 32, 256), COLOURS, strict=True):
        handed_out = block * 1.048576 / task
        speed = [min(n * each, handed_out) / 1000 for n in workers]
        right.plot(workers, speed, color=colour, marker="o", label=f"blocks of {block} MiB")
    right.axhline(
        cost["writing"] / 1000,
        color="black",
        linestyle="--",
        label="limit of step 1: one notebook writes",
    )
    right.set(
        xscale="log",
        yscale="log",
        xlabel="workers",
        ylabel="GB/s",
        title="Step 2, calculated for many workers",
    )
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    plt.rcParams["svg.hashsalt"] = "ml-docker"
    figure.savefig(HERE.parent / "docs/cluster.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the Dask notebook beside the pandas one.")
    parser.add_argument("--gb", type=float, nargs="+", default=[1, 5, 20])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            bench.whole_notebooks()
            bench.compare(0.0008, "cars_sampled.csv")
            bench.rates()
            for size in options.gb:
                bench.large(size)
                bench.compare(size, "large.csv")
        finally:
            bench.save()
            bench.project.compose("down", "--volumes", "--rmi", "local", "--timeout", "1")
            subprocess.run(["docker", "rmi", "--force", "bench-cluster"], capture_output=True)
    plot()


if __name__ == "__main__":
    main()
