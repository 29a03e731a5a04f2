"""Measure step 1 of the Dask notebook beside two other ways, and kill workers in all of its steps.

    uv run python benchmarks/cluster.py --mb 1000 --rounds 30

Prints one line of figures for each measurement and writes them to benchmarks/cluster.csv. All runs
on this machine, without Docker, on a file that repeats the rows of the sample. Linux; needs three
times the largest size on disk.
"""

import argparse
import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from support.notebooks import environment
from support.project import ROOT, TEMPLATE, Project, wait_until

INPUT = TEMPLATE / "data/input"
(NOTEBOOK,) = INPUT.glob("*process_cars_dask.ipynb*")
# Drops the first column of large.csv; prints seconds, MB of this process, and a hash of the values.
WAYS = """
import contextlib, csv, hashlib, json, resource, sys, time
way, notebook, steps = sys.argv[1:]
names = {"__name__": "__main__", "source": "large.csv", "output": "out.csv"}
names |= {"separator": ",", "encoding": "utf-8", "blocksize": "16 MiB", "progress": len}
if "Dask" in way:
    from distributed import Client
    names["client"] = Client()
start = time.monotonic()
if way == "pandas chunks":
    import pandas as pd
    parts = pd.read_csv("large.csv", dtype=str, na_filter=False, chunksize=100_000)
    for number, part in enumerate(parts):
        mode = "a" if number else "w"
        part.iloc[:, 1:].to_csv("out.csv", mode=mode, header=not number, index=False)
else:
    cells = {cell["id"]: "".join(cell["source"]) for cell in json.load(open(notebook))["cells"]}
    with contextlib.redirect_stdout(sys.stderr):
        for step in steps.split():
            exec(cells[step], names)
took, memory = time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
values = hashlib.sha256()
with open("out.csv", newline="") as file:
    for row in csv.reader(file):
        values.update(repr(row).encode())
print(json.dumps([took, memory, values.hexdigest()]))
"""
STEPS = {
    "process_cars": "opinion first-row drop write",
    "pandas chunks": "",
    "Dask, 1 worker": "look first-row target rows write start results join",
    "Dask, 2 workers": "look first-row target rows write start results join",
}
WORK = ["results", "brands", "search"]  # the cells that wait for the workers


class Bench:
    """A folder with a large file, and the figures: one row for each measurement."""

    def __init__(self, folder: Path) -> None:
        command = ["cookiecutter", "--no-input", "-o", folder, ROOT, "cluster=dask"]
        subprocess.run([*command, "project_slug=bench"], check=True, capture_output=True)
        self.python = environment(Project(folder / "bench"))
        self.folder = folder / "bench/data/input"
        self.figures = []

    def add(self, what: str, size: float, value: float, unit: str) -> None:
        self.figures.append((what, size, round(value, 3), unit))
        print(f"{what:32} {size:5} MB {value:12.3f} {unit}", flush=True)

    def large(self, megabytes: float) -> None:
        """Write large.csv: the rows of the sample again and again."""
        header, rows = (self.folder / "cars_sampled.csv").read_bytes().split(b"\n", 1)
        with (self.folder / "large.csv").open("wb") as file:
            file.write(header + b"\n")
            while file.tell() < megabytes * 1e6:
                file.write(rows)

    @contextlib.contextmanager
    def cluster(self, workers: int):
        """Start workers, which are started anew when they die; yield a function of their ids."""
        script = HERE.parent / "tests/cluster/local_cluster.py"
        command = [self.python, script, "--workers", str(workers)]
        with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-3, text=True) as cluster:
            os.environ["DASK_SCHEDULER_ADDRESS"] = cluster.stdout.readline().strip()
            children = Path(f"/proc/{cluster.pid}/task").glob
            try:
                yield lambda: [
                    int(pid)
                    for each in children("*/children")
                    for pid in each.read_text().split()
                    if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
                ]
            finally:
                del os.environ["DASK_SCHEDULER_ADDRESS"]
                cluster.communicate()

    def compare(self, size: float) -> None:
        """All ways on one file; what they write must hold the same values."""
        hashes = set()
        for way, steps in STEPS.items():
            notebook = NOTEBOOK if "Dask" in way else INPUT / "process_cars.ipynb"
            command = [self.python, "-W", "ignore", "-c", WAYS, way, notebook, steps]
            count = int("Dask" in way) + ("2" in way)
            with self.cluster(count) if count else contextlib.nullcontext(list) as workers:
                printed = subprocess.check_output(command, cwd=self.folder, stderr=-3, text=True)
                seconds, memory, found = json.loads(printed.splitlines()[-1])
                for pid in workers():
                    status = Path(f"/proc/{pid}/status").read_text()
                    memory += int(status.partition("VmHWM:")[2].split()[0]) / 1024
            self.add(way, size, seconds, "s")
            self.add(way, size, memory, "MB")
            hashes.add(found)
        self.add("same values", size, len(hashes) == 1, "yes=1")

    def run(self, workers, step: str = "", seconds: float = 0) -> tuple[dict, list]:
        """Run the whole notebook; kill a worker so many seconds after a cell has started.

        Returns the seconds of each cell, and the results.
        """
        out, processed = self.folder / "out.ipynb", self.folder / "processed.csv"
        for path in (out, processed):
            path.unlink(missing_ok=True)
        (self.folder / "nb.ipynb").write_bytes(NOTEBOOK.read_bytes())
        command = [self.python, "-m", "papermill", "--no-progress-bar", "nb.ipynb", "out.ipynb",
                   "-p", "source", "large.csv", "-p", "blocksize", "4 MiB"]  # fmt: skip
        job = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)

        def started() -> bool:
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # not yet, or half
                cells = json.loads(out.read_text())["cells"]
                return any(
                    cell["id"] == step and cell["metadata"]["papermill"]["start_time"]
                    for cell in cells
                )

        if step:
            wait_until(started, 120, f"the start of {step}")
            time.sleep(seconds)
            os.kill(random.choice(workers()), signal.SIGKILL)
        _, error = job.communicate()
        if job.returncode:
            print(error[-3000:])
        cells = [cell for cell in json.loads(out.read_text())["cells"] if cell["id"] in WORK]
        took = {cell["id"]: cell["metadata"]["papermill"]["duration"] for cell in cells}
        texts = [
            output.get("text") or output["data"].get("text/plain")
            for cell in cells
            for output in cell["outputs"]
            if output.get("name") != "stderr"  # Dask may warn of what it does again
        ]
        return took, [job.returncode, processed.read_bytes(), texts]

    def kill_workers(self, rounds: int, size: float) -> None:
        """Kill a worker in each round, at a random moment of the three steps in turn."""
        with self.cluster(2) as workers:
            usual, results = self.run(workers)
            assert results[0] == 0
            seconds, lost, right = sum(usual.values()), [], 0
            for number in range(rounds):
                step = WORK[number % len(WORK)]
                took, found = self.run(workers, step, random.uniform(0, usual[step]))
                lost.append(sum(took.values()) - seconds)
                right += found == results
                same = "equal" if found == results else "WRONG"
                print(f"killed in {step}: {same}, {lost[-1]:.1f} s lost", flush=True)
        self.add("undisturbed", size, seconds, "s")
        self.add("equal with a worker killed", size, right, f"of {rounds}")
        self.add("time lost, median", size, median(lost), "s")
        self.add("time lost, most", size, max(lost), "s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the Dask notebook beside other ways.")
    parser.add_argument("--mb", type=float, nargs="*", default=[1000])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            for size in options.mb:
                bench.large(size)
                bench.compare(size)
            if options.rounds:
                bench.large(150)
                bench.kill_workers(options.rounds, 150)
        finally:
            with (HERE / "cluster.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("what", "MB", "value", "unit"), *bench.figures])


if __name__ == "__main__":
    main()
