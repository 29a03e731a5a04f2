"""A cluster on this machine. Kills the first worker that has a task of some name.

Prints the scheduler's address. The command line gives parts of names, one after the other; each is
printed when a worker is dead. Ends with standard input. Dead workers are started anew.
"""

import argparse
import os
import signal
import sys
import threading
import time

from distributed import LocalCluster


def kill(cluster: LocalCluster, names: list[str]) -> None:
    """Kill a worker for each name."""
    while names:
        time.sleep(0.01)
        for task in list(cluster.scheduler.tasks.values()):
            if names[0] in str(task.key) and task.processing_on:
                address = task.processing_on.address
                (nanny,) = [n for n in cluster.workers.values() if n.worker_address == address]
                os.kill(nanny.pid, signal.SIGKILL)
                print(names.pop(0), flush=True)
                break


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    cluster = LocalCluster(options.workers, threads_per_worker=1, dashboard_address=":0")
    print(cluster.scheduler_address, flush=True)
    threading.Thread(target=kill, args=(cluster, options.names), daemon=True).start()
    sys.stdin.read()
    cluster.close()
