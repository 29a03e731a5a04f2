"""A Dask cluster on one machine: its start, who can reach it, what is lost when a part dies."""

import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest
from support.project import NO_RIGHTS, SHOW_RIGHTS, Project, free_port, inspect, is_root, wait_until

pytestmark = pytest.mark.engine

NOTEBOOK = "process_cars_dask.ipynb"
# What `Client()` finds without being told where; whether the workers know a module after an edit.
ASK = """
import json, pathlib
from dask.distributed import Client
client = Client(timeout=60)
client.wait_for_workers(2, timeout=60)
workers = client.scheduler_info(n_workers=-1)["workers"].values()
place = lambda worker: worker["local_directory"].split("/dask")[0]
found = [[each["nthreads"], each["memory_limit"], place(each)] for each in workers]

def ask():
    import edited
    return edited.VALUE

values = []
for value in (1, 2):
    pathlib.Path("edited.py").write_text(f"VALUE = {value}")
    client.upload_file("edited.py")
    values += client.run(ask).values()
print(json.dumps([client.dashboard_link, found, values]))
"""


@pytest.fixture(scope="module")
def cluster(new_project) -> Project:
    """A project whose notebook, scheduler and two workers run, started as a user starts them."""
    project = new_project(cluster="dask")
    project.env["DASHBOARD_PORT"] = str(free_port())
    header, rows = (project.data / "cars_sampled.csv").read_bytes().split(b"\n", 1)
    (project.data / "large.csv").write_bytes(header + b"\n" + rows * 10)
    if is_root():
        for path in [project.path, *project.path.rglob("*")]:
            os.chown(path, 20345, 20345)
    project.compose("up", "--detach", "--wait")
    return project


@pytest.fixture
def healthy(cluster) -> Project:
    """The cluster as it is at the start, whatever the test before has done to it."""
    cluster.compose("up", "--detach", "--wait")
    (cluster.data / "processed.csv").unlink(missing_ok=True)
    return cluster


def containers(project: Project, *services: str) -> list[str]:
    return project.compose("ps", "--quiet", *services).stdout.split()


def ask(project: Project) -> tuple[str, list, list]:
    """Return the dashboard's address, what the workers say of themselves and what they imported."""
    command = ("exec", "-T", "notebook", "entrypoint", "python", "-c", ASK)
    return json.loads(project.compose(*command).stdout)


def expected(project: Project) -> bytes:
    """Return what has to be written for large.csv, which has no quoted line ends."""
    lines = (project.data / "large.csv").read_bytes().splitlines()
    return b"".join(line.split(b",", 1)[1] + b"\r\n" for line in lines)


def start_job(project: Project) -> subprocess.Popen:
    """Start the notebook on the large file, in small blocks; return once some parts are written."""
    job = subprocess.Popen(
        ["docker", "compose", "exec", "-T", "notebook", "entrypoint", "papermill", NOTEBOOK,
         "out.ipynb", "-p", "source", "large.csv", "-p", "blocksize", "32 kB"],
        cwd=project.path, env={**os.environ, **project.env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    started = lambda: job.poll() is not None or [*project.data.glob(".parts-*/part-0000?.csv")]
    wait_until(started, 120, "the first part")
    assert job.poll() is None, job.communicate()[0]
    return job


def kill_process(container: str, words: str) -> None:
    """Kill the process of a container whose command line holds these words."""
    top = ["docker", "top", container, "-eo", "pid,args"]
    table = subprocess.run(top, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in table.splitlines() if words in line and "tini" not in line]
    os.kill(int(line.split()[0]), signal.SIGKILL)


def test_cluster_ports_are_jupyter_and_the_dashboard_on_this_machine_only(cluster):
    published = set()
    for name in containers(cluster):
        assert inspect(name)["State"]["Health"]["Status"] == "healthy"
        for port, hosts in inspect(name)["NetworkSettings"]["Ports"].items():
            published |= {(port, host["HostIp"], host["HostPort"]) for host in hosts or []}
    assert published == {
        ("8888/tcp", "127.0.0.1", cluster.env["JUPYTER_PORT"]),
        ("8787/tcp", "127.0.0.1", cluster.env["DASHBOARD_PORT"]),
    }


def test_cluster_rights_owner_and_folders_are_the_notebooks(cluster):
    """That is, none: as closed as the notebook, and the processes without a single capability."""
    keys = ["CapAdd", "CapDrop", "SecurityOpt", "ReadonlyRootfs", "Memory", "PidsLimit", "ShmSize",
            "Privileged", "Tmpfs"]  # fmt: skip
    notebook = inspect(cluster.container())
    assert notebook["HostConfig"]["ReadonlyRootfs"]
    owner = str(cluster.data.stat().st_uid)
    wanted = NO_RIGHTS | {("Uid:", *[owner] * 4)}
    for name in containers(cluster, "scheduler", "worker"):
        found = inspect(name)
        for key in keys:
            assert found["HostConfig"][key] == notebook["HostConfig"][key], key
        mounts = [{m["Destination"]: m["Source"] for m in c["Mounts"]} for c in (found, notebook)]
        assert mounts[0].items() <= mounts[1].items()
        assert found["Image"] == notebook["Image"]
        # As the owner, like the others.
        done = cluster.run("docker", "exec", name, "entrypoint", "bash", "-c", SHOW_RIGHTS)
        assert {tuple(line.split()) for line in done.stdout.splitlines()} == wanted


def test_cluster_client_finds_workers_that_know_their_memory_and_edited_modules(healthy):
    dashboard, workers, values = ask(healthy)
    assert dashboard == f"http://127.0.0.1:{healthy.env['DASHBOARD_PORT']}/status"
    with urllib.request.urlopen(dashboard) as page:
        assert "Dask" in page.read().decode()
    # What memory cannot hold goes to the home folder, which is on disk.
    assert workers == [[1, 4 << 30, "/home/notebook/.cache"]] * 2
    assert values == [1, 1, 2, 2]


def test_cluster_starts_with_papermill_and_has_as_many_workers_as_are_set(healthy):
    healthy.compose("down")
    page = (healthy.path / "CLUSTER.md").read_text(encoding="utf-8")
    (command,) = re.findall("^docker compose run .* papermill .*$", page, re.MULTILINE)
    healthy.run(*command.replace("cars_sampled.csv", "large.csv").split(), WORKERS="3")
    assert len(containers(healthy, "worker")) == 3
    output = healthy.data / "processed.csv"
    assert output.read_bytes() == expected(healthy)
    assert output.stat().st_uid == healthy.data.stat().st_uid
    said = (healthy.data / "out.ipynb").read_text(encoding="utf-8")
    assert "Direct" in said and "LocalCluster" not in said


def test_cluster_worker_that_dies_changes_nothing(healthy):
    """A process of one, which is started anew, and the other with its container."""
    job = start_job(healthy)
    first, second = containers(healthy, "worker")
    kill_process(first, "spawn_main")
    healthy.run("docker", "kill", second)
    printed, _ = job.communicate()
    assert job.returncode == 0, printed
    assert (healthy.data / "processed.csv").read_bytes() == expected(healthy)


def test_cluster_scheduler_that_dies_is_said_and_the_next_run_works(healthy):
    old = healthy.data / "processed.csv"
    old.write_bytes(b"as it was")
    job = start_job(healthy)
    kill_process(*containers(healthy, "scheduler"), "dask scheduler")
    printed, _ = job.communicate()
    assert job.returncode != 0
    assert "scheduler-connection-lost" in printed
    assert old.read_bytes() == b"as it was"
    _, workers, _ = ask(healthy)  # they come back by themselves
    assert len(workers) == 2
    printed, _ = start_job(healthy).communicate()
    assert old.read_bytes() == expected(healthy), printed
    assert not [*healthy.data.glob(".parts-*")]


def test_cluster_health_of_a_worker_without_a_scheduler(healthy):
    healthy.compose("stop", "scheduler", "worker")
    healthy.compose("up", "--detach", "--no-deps", "--force-recreate", "worker")
    worker = containers(healthy, "worker")[0]
    log = lambda: inspect(worker)["State"]["Health"]["Log"]
    checks = wait_until(lambda: len(log()) >= 3 and log(), 60, "three checks of a worker")
    assert all(check["ExitCode"] for check in checks), checks
