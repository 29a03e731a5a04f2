"""A cluster on two machines, as CLUSTER.md says: what is closed, what a dead machine costs."""

import json
import os
import re
import subprocess

import pytest
from support.bucket import bucket
from support.machines import SUBNET, deploy, machines
from support.project import NO_RIGHTS, SHOW_RIGHTS, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.nightly]
OWNER = 20345
FILES = 40  # copies of the sample, so as many tasks


@pytest.fixture(scope="module")
def swarm(engine, new_project):
    """The cluster as CLUSTER.md has people start it, with copies of the sample on S3."""
    project = new_project(cluster="dask")
    for path in [project.path, *project.path.rglob("*")]:
        os.chown(path, OWNER, OWNER)
    sample = (project.data / "cars_sampled.csv").read_bytes()
    with machines(2) as (nodes, port), bucket(f"{SUBNET}.1") as s3:
        for number in range(FILES):
            s3.put(f"cars-{number:03}.csv", sample)
        yield deploy(project, nodes, port, s3)


@pytest.fixture(scope="module")
def expected(swarm) -> list[bytes]:
    """What the job has to write: a part for each file."""
    sample = (swarm.project.data / "cars_sampled.csv").read_bytes()
    lines = [line.split(b",", 1)[1] + b"\r\n" for line in sample.splitlines()]
    return [b"".join(lines)] * FILES


def test_swarm_works_on_every_machine_and_only_ssh_leads_in(swarm):
    slug, manager = swarm.project.slug, swarm.manager
    for number in range(2):
        assert swarm.container("worker", number)
    for service in ("notebook", "scheduler", "worker"):
        form = "{{json .Endpoint.Ports}} {{json .Spec.EndpointSpec}}"
        ports = manager.docker("service", "inspect", "--format", form, f"{slug}_{service}")
        assert ports == 'null {"Mode":"dnsrr"}'
    listening = ["nsenter", f"--net=/run/netns/{manager.name}", "ss", "-Htln"]
    done = subprocess.run(listening, capture_output=True, text=True)
    assert set(re.findall(r":(\d+) ", done.stdout)) <= {"2377", "7946"}  # the swarm's own

    logs = lambda: manager.docker("service", "logs", "--raw", f"{slug}_notebook")
    (url,) = wait_until(lambda: re.findall(r"Open (\S+) in", logs()), 120, "the printed address")
    address = swarm.inside("hostname", "-I").split()[1]  # as CLUSTER.md says
    page = url.replace("127.0.0.1:8888", f"{address}:8888")  # what ssh does on the manager
    for node, found in ((manager, True), (swarm.nodes[1], False)):
        curl = ("curl", "--silent", "--fail", "--location", "--max-time", "3", "--cookie", "", page)
        enter = ["nsenter", f"--net=/run/netns/{node.name}", *curl]
        done = subprocess.run(enter, capture_output=True, text=True)
        assert ("<title>JupyterLab</title>" in done.stdout) == found, node.name


def test_swarm_rights_are_none_and_the_owner_is_the_folders(swarm):
    wanted = NO_RIGHTS | {("Uid:", *[str(OWNER)] * 4)}
    for number, service in ((0, "notebook"), (0, "scheduler"), (1, "worker")):
        node, name = swarm.nodes[number], swarm.container(service, number)
        lines = node.docker("exec", name, "entrypoint", "bash", "-c", SHOW_RIGHTS).splitlines()
        assert {tuple(line.split()) for line in lines} == wanted
        config = json.loads(node.docker("inspect", name))[0]["HostConfig"]
        assert config["ReadonlyRootfs"] and config["CapDrop"] == ["ALL"]
        assert config["Memory"] == 8 << 30 and config["PidsLimit"] == 1024


def test_swarm_asks_who_joins_for_a_certificate(swarm):
    """Without encryption or with a certificate of one's own, even from within the network."""
    swarm.inside(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
        "-subj", "/CN=cluster", "-keyout", "/tmp/other.pem", "-out", "/tmp/other.pem",
    )  # fmt: skip
    script = """
from distributed import Client, Security
other = Security(tls_ca_file="/run/secrets/tls", tls_client_cert="/tmp/other.pem")
none = Security(require_encryption=False)
for scheme, security in (("tcp", none), ("tls", other), ("tls", Security())):
    try:
        print(Client(f"{scheme}://scheduler:8786", timeout=3, security=security))
    except OSError:
        print("refused")
"""
    assert swarm.inside("python", "-c", script).split()[:3] == ["refused", "refused", "<Client:"]


def test_swarm_machine_that_dies_in_the_middle_changes_nothing(swarm, expected):
    """From S3 to S3, so workers on other machines need no shared folder."""
    job = swarm.start_job("first")
    swarm.nodes[1].pull_the_plug()
    said, _ = job.communicate()
    assert job.returncode == 0, said
    assert swarm.s3.read("first") == expected
    swarm.nodes[1].start()
    wait_until(lambda: len(swarm.workers()) == 2, 180, "the second worker is back")


def test_swarm_scheduler_that_dies_comes_back_and_so_do_the_workers(swarm, expected):
    job = swarm.start_job("second")
    swarm.manager.docker("kill", swarm.container("scheduler"))
    said, _ = job.communicate()
    assert job.returncode != 0 and "scheduler-connection-lost" in said
    wait_until(lambda: len(swarm.workers()) == 2, 180, "its workers are back")
    said, _ = swarm.start_job("third").communicate()
    assert swarm.s3.read("third") == expected, said
