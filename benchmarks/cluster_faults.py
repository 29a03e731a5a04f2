"""Kill workers and machines at random moments of a job, and see whether it ends well and how much later.

    uv run python benchmarks/cluster_faults.py --rounds 30 >cluster_faults.json

Three machines with a worker each, as in tests/test_swarm.py, run step 1 of process_cars_dask.ipynb on 120 files on S3.
Each round does one of the faults in turn, at a moment that is chosen at random, and compares what the job has written
with what it has to write. Time lost: how much longer it took than the median of five undisturbed jobs.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from conftest import ROOT, Project
from machines import Swarm, bucket, deploy, machines, wait_until, without_first_column

FILES = 120
FAULTS = ("process", "container", "machine")


def do(fault: str, swarm: Swarm) -> int:
    """Kill a worker's process, its container, or its machine; return the number of the machine."""
    # Scheduler and notebook run on the first one.
    number = random.randrange(1 if fault == "machine" else 0, len(swarm.nodes))
    node = swarm.nodes[number]
    if fault == "machine":
        node.pull_the_plug()
    elif worker := swarm.container("worker", number):
        kill = "kill -9 $(grep -l '[s]pawn_main' /proc/[0-9]*/cmdline | cut -d/ -f3)"
        if fault == "process":
            node.docker("exec", worker, "entrypoint.sh", "bash", "-c", kill)
        else:
            node.docker("kill", worker)
    return number


def job(swarm: Swarm, fault: str = "", at: float = 0) -> dict:
    """Run the job once, with a fault so many seconds after its start."""
    number, start = 0, time.monotonic()
    process = swarm.start_job(swarm.step_1())
    if fault:
        time.sleep(at)
        number = do(fault, swarm)
    said, _ = process.communicate()
    took = time.monotonic() - start
    right = process.returncode == 0 and swarm.result() == swarm.expected
    if not right:
        print(said[-2000:], file=sys.stderr)
    if fault == "machine":
        swarm.nodes[number].start()
    wait_until(lambda: len(swarm.workers()) == len(swarm.nodes), 180, "all workers are back")
    return {"fault": fault, "at": round(at, 1), "took": round(took, 1), "right": right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    answers = ["project_slug=cluster-faults", "cluster=dask"]
    subprocess.run(
        ["cookiecutter", "--no-input", "-o", folder, ROOT, *answers],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    project = Project(folder / "cluster-faults")
    sample = project.data / "cars_sampled.csv"
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, 1000, 1000)
    with machines(3) as (nodes, port), bucket(sample.read_bytes(), FILES) as s3:
        swarm = deploy(project, nodes, port, {**s3, "WORKERS": "1"})
        swarm.expected = without_first_column(sample, FILES)
        usual = median(job(swarm)["took"] for _ in range(5))
        print(f"undisturbed: {usual:.1f} s", file=sys.stderr, flush=True)
        rounds = []
        for number in range(options.rounds):
            fault = FAULTS[number % len(FAULTS)]
            done = job(swarm, fault, random.uniform(0, usual))
            done["lost"] = round(done["took"] - usual, 1)
            rounds.append(done)
            print(number + 1, done, file=sys.stderr, flush=True)
    summary = {"undisturbed": usual, "wrong": sum(not done["right"] for done in rounds)}
    for fault in FAULTS:
        lost = [done["lost"] for done in rounds if done["fault"] == fault]
        summary[fault] = {"rounds": len(lost), "lost": median(lost), "most": max(lost)}
    print(json.dumps({**summary, "each": rounds}, indent=1))


if __name__ == "__main__":
    main()
