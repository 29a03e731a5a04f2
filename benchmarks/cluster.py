"""Measure step 1 of the Dask notebook beside three other ways, and kill workers while it runs.

    uv run python benchmarks/cluster.py --gb 1 5 --rounds 30

Prints one line of figures for each measurement and writes them to benchmarks/cluster.csv. All runs
in the containers that a user gets, on a file that repeats the rows of the sample. Needs three times
the largest size on disk.
"""

import argparse
import csv
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from conftest import ROOT, Project, free_port, wait_until

# Drops the first column of a file in one of the ways, in the notebook's container; prints seconds,
# MB, and a hash.
WAYS = """
import contextlib, csv, hashlib, json, os, resource, sys, time
way, source, blocksize = sys.argv[1:]
start, names = time.monotonic(), {"__name__": "__main__", "source": source, "output": "out.csv"}
names |= {"encoding": "utf-8", "decimal": None, "blocksize": blocksize}
if way == "csv loop":
    with open(source, newline="") as old, open("out.csv", "w", newline="") as new:
        csv.writer(new, lineterminator="\\n").writerows(row[1:] for row in csv.reader(old))
elif way == "pandas chunks":
    import pandas as pd
    parts = pd.read_csv(source, dtype=str, na_filter=False, chunksize=100_000)
    for number, part in enumerate(parts):
        mode = "a" if number else "w"
        part.iloc[:, 1:].to_csv("out.csv", mode=mode, header=not number, index=False)
else:
    name, steps = "process_cars.ipynb", "first-rows separator tools drop"
    if "Dask" in way:
        name, steps = "process_cars_dask.ipynb", "connect helpers start look write join"
    cells = json.load(open(name))["cells"]
    with contextlib.redirect_stdout(sys.stderr):
        for cell in cells:
            if cell["id"] in steps.split():
                exec("".join(cell["source"]), names)
took, memory = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([took, memory, hashlib.file_digest(open("out.csv", "rb"), "sha256").hexdigest()]))
os.remove("out.csv")
"""
# What a task costs the scheduler, for a graph of two tasks a block as in step 1.
RATE = """
import time
from distributed import Client, wait
client, tasks = Client(), 20_000
start = time.monotonic()
wait(client.map(abs, client.map(abs, range(tasks // 2), pure=False), pure=False))
print((time.monotonic() - start) / tasks)
"""


class Bench:
    """One project with a cluster, and the figures: one row for each measurement."""

    def __init__(self, folder: Path) -> None:
        command = ["cookiecutter", "--no-input", "-o", folder, ROOT, "cluster=dask"]
        subprocess.run([*command, "project_slug=bench-cluster"], check=True, capture_output=True)
        ports = {name: str(free_port()) for name in ("JUPYTER_PORT", "DASHBOARD_PORT")}
        self.project = Project(folder / "bench-cluster", ports)
        self.project.compose("build", "notebook")
        self.figures = []

    def add(self, what: str, size: float, value: float, unit: str) -> None:
        self.figures.append((what, size, round(value, 6), unit))
        print(f"{what:32} {size:5} GB {value:12.4f} {unit}", flush=True)

    def inside(self, script: str, *args: str) -> str:
        run = ("exec", "-T", "notebook", "entrypoint.sh", "python", "-c", script, *args)
        return self.project.compose(*run).stdout.splitlines()[-1]

    def large(self, gigabytes: float) -> None:
        """Write large.csv: the rows of the sample again and again."""
        header, rows = (self.project.data / "cars_sampled.csv").read_bytes().split(b"\n", 1)
        with (self.project.data / "large.csv").open("wb") as file:
            file.write(header + b"\n")
            while file.tell() < gigabytes * 1e9:
                file.write(rows)

    def cluster_memory(self) -> float:
        """Return the most memory that scheduler and workers have had, in MB."""
        peaks = 0
        for name in self.project.compose("ps", "--quiet", "scheduler", "worker").stdout.split():
            top = ["docker", "top", name, "-eo", "pid"]
            for pid in subprocess.run(top, capture_output=True, text=True).stdout.split()[1:]:
                peaks += int(
                    re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]
                )
        return peaks / 1024

    def start(self, workers: int) -> None:
        """Start everything anew, so that memory is counted from nothing."""
        up = ("up", "--detach", "--wait", "--force-recreate")
        self.project.compose(*up, WORKERS=str(workers))

    def compare(self, size: float) -> None:
        """All ways on one file; what they write must be the same."""
        hashes = set()
        for way in (
            "csv loop",
            "pandas chunks",
            "process_cars",
            "Dask, 1 worker",
            "Dask, 2 workers",
        ):
            self.start(1 if "1" in way else 2)
            seconds, memory, found = json.loads(self.inside(WAYS, way, "large.csv", "16 MiB"))
            self.add(way, size, seconds, "s")
            self.add(way, size, memory + (self.cluster_memory() if "Dask" in way else 0), "MB")
            hashes.add(found)
        self.add("same result", size, len(hashes) == 1, "yes=1")

    def kill_workers(self, rounds: int, size: float) -> None:
        """Kill a worker's process at a random moment of each round."""
        script = ("-c", WAYS, "Dask", "large.csv", "4 MiB")
        usual = [json.loads(self.inside(*script[1:])) for _ in range(3)]
        seconds, lost, right = median(took for took, _, _ in usual), [], 0
        for _ in range(rounds):
            command = ["docker", "compose", "exec", "-T", "notebook", "entrypoint.sh", "python"]
            job = subprocess.Popen(
                [*command, *script], cwd=self.project.path, stdout=-1, stderr=-1, text=True
            )
            wait_until(lambda: [*self.project.data.glob(".parts-*")], 60, "the first part")
            time.sleep(random.uniform(0, seconds * 0.7))
            name = random.choice(self.project.compose("ps", "--quiet", "worker").stdout.split())
            kill = "kill -9 $(grep -l '[s]pawn_main' /proc/[0-9]*/cmdline | cut -d/ -f3)"
            subprocess.run(["docker", "exec", name, "entrypoint.sh", "bash", "-c", kill])
            took, _, found = json.loads(job.communicate()[0].splitlines()[-1])
            right += found == usual[0][2]
            lost.append(took - seconds)
        self.add("undisturbed", size, seconds, "s")
        self.add("right with a worker killed", size, right, f"of {rounds}")
        self.add("time lost, median", size, median(lost), "s")
        self.add("time lost, most", size, max(lost), "s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the Dask notebook beside other ways.")
    parser.add_argument("--gb", type=float, nargs="+", default=[1, 5])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            bench.start(2)
            bench.add("scheduler, per task", 0, float(bench.inside(RATE)), "s")
            for size in options.gb:
                bench.large(size)
                bench.compare(size)
            bench.large(0.2)
            bench.start(2)
            bench.kill_workers(options.rounds, 0.2)
        finally:
            with (HERE / "cluster.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("what", "GB", "value", "unit"), *bench.figures])
            bench.project.remove()


if __name__ == "__main__":
    main()
