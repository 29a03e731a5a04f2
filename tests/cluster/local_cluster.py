"""A cluster of two workers on this machine, which kills one in each step that it is told to.

Prints the scheduler's address, and each kill. For every word of the command line, in order: as soon
as a worker has a task with that word in its name, and so many have ended, its process is killed.
Ends with standard input.
"""

import os
import signal
import sys
import threading
import time

from distributed import LocalCluster


def kill(cluster: LocalCluster, word: str) -> None:
    """Kill the worker that has the first task of this name, once it has it."""
    while True:
        for task in list(cluster.scheduler.tasks.values()):
            if word in str(task.key) and task.processing_on:
                address = task.processing_on.address
                (nanny,) = [n for n in cluster.workers.values() if n.worker_address == address]
                os.kill(nanny.pid, signal.SIGKILL)
                print("killed", word, flush=True)
                return
        time.sleep(0.01)


def kill_all(cluster, words):
    for word in words:
        kill(cluster, word)


if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    print(cluster.scheduler_address, flush=True)
    threading.Thread(target=kill_all, args=(cluster, sys.argv[1:]), daemon=True).start()
    sys.stdin.read()
    os._exit(0)
