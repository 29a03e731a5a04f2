"""A cluster on three machines: what CLUSTER.md has people type, what is closed, what is lost when a machine dies."""

import json
import os
import re
import subprocess

import pytest
from machines import bucket, deploy, machines, wait_until, without_first_column

pytestmark = pytest.mark.engine
OWNER = 20345
FILES = 40  # copies of the sample, so as many tasks


@pytest.fixture(scope="module")
def nodes(engine):
    """Three machines that form a swarm, and the port of their registry."""
    with machines(3) as made:
        yield made


@pytest.fixture(scope="module")
def swarm(nodes, new_project):
    """The cluster as CLUSTER.md has people start it, with copies of the sample on S3."""
    project, (engines, port) = new_project(cluster="dask"), nodes
    for path in [project.path, *project.path.rglob("*")]:
        os.chown(path, OWNER, OWNER)
    with bucket((project.data / "cars_sampled.csv").read_bytes(), FILES) as s3:
        yield deploy(project, engines, port, {**s3, "WORKERS": "1"})


@pytest.fixture(scope="module")
def expected(swarm) -> str:
    """The hash of what the job has to write."""
    return without_first_column((swarm.project.data / "cars_sampled.csv"), FILES)


def test_every_machine_works_and_only_ssh_leads_in(swarm):
    slug, manager = swarm.project.slug, swarm.manager
    for number in range(3):
        assert swarm.container("worker", number)
    for service in ("notebook", "scheduler", "worker"):
        form = "{{json .Endpoint.Ports}} {{json .Spec.EndpointSpec}}"
        ports = manager.docker("service", "inspect", "--format", form, f"{slug}_{service}")
        assert ports == 'null {"Mode":"dnsrr"}'
        assert not manager.docker("port", swarm.container(service))
    listening = subprocess.run(
        ["nsenter", f"--net=/run/netns/{manager.name}", "ss", "-Htln"],
        capture_output=True,
        text=True,
    ).stdout
    assert set(re.findall(r":(\d+) ", listening)) <= {"2377", "7946"}  # the swarm's own

    logs = manager.docker("service", "logs", "--raw", f"{slug}_notebook")
    command, url = re.fullmatch(r"On your own machine: (.*)\nOpen (\S+) in .*", logs).groups()
    tunnel, machine = re.fullmatch(r"ssh -L 8888:(\S+) (\S+)", command).groups()
    assert machine == manager.name
    token = swarm.inside("cat", "/run/secrets/token")
    assert len(token) == 48 and url == f"http://127.0.0.1:8888/?token={token}"
    page = url.replace("127.0.0.1:8888", tunnel)  # what ssh does on that machine
    for node, found in ((manager, True), (swarm.nodes[1], False)):
        curl = ("curl", "--silent", "--fail", "--location", "--max-time", "3", "--cookie", "", page)
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{node.name}", *curl], capture_output=True, text=True
        )
        assert ("<title>JupyterLab</title>" in done.stdout) == found, node.name
    logs = manager.docker("service", "logs", "--raw", f"{slug}_scheduler")
    assert re.search(rf"ssh -L 8787:172\S+:8787 {manager.name}\n.*127.0.0.1:8787/status", logs)


def test_containers_on_a_swarm_are_the_owner_of_the_folder_and_have_no_rights(swarm):
    show = "grep -hE '^(Uid|Cap|NoNewPrivs)' /proc/[0-9]*/status"
    for number, service in ((0, "notebook"), (0, "scheduler"), (1, "worker")):
        node, name = swarm.nodes[number], swarm.container(service, number)
        lines = node.docker("exec", name, "entrypoint.sh", "bash", "-c", show).splitlines()
        caps = {(f"Cap{kind}:", "0" * 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
        wanted = {("Uid:", *[str(OWNER)] * 4), ("NoNewPrivs:", "1"), *caps}
        assert {tuple(line.split()) for line in lines} == wanted
        config = json.loads(node.docker("inspect", name))[0]["HostConfig"]
        assert config["ReadonlyRootfs"] and config["CapDrop"] == ["ALL"]
        assert config["Memory"] == 8 << 30 and config["PidsLimit"] == 1024


def test_who_has_no_certificate_is_refused(swarm):
    """Neither without encryption nor with a certificate of one's own, even from within the network."""
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


def test_the_settings_of_s3_reach_notebook_and_workers_where_they_are_set(swarm):
    """On one machine too; what is not set is not there, as an empty address is a wrong one."""
    setting = {"AWS_ENDPOINT_URL": "http://s3.example", "AWS_ACCESS_KEY_ID": "k"}
    for service in ("notebook", "worker"):
        for env in ({}, setting):
            shown = swarm.project.compose("run", "--rm", "--no-deps", service, "env", **env).stdout
            assert set(re.findall(r"^AWS_.*", shown, re.MULTILINE)) == {
                f"{name}={value}" for name, value in env.items()
            }


def test_a_machine_dies_in_the_middle_and_the_job_ends_well(swarm, expected):
    """The table comes from S3, so workers on other machines need no shared folder."""
    job = swarm.start_job(swarm.step_1())
    swarm.first_part(job)
    swarm.nodes[2].pull_the_plug()
    said, _ = job.communicate()
    assert job.returncode == 0, said
    assert swarm.result() == expected
    assert len(swarm.workers()) == 2
    swarm.nodes[2].start()
    wait_until(lambda: len(swarm.workers()) == 3, 90, "the third worker is back")
    old = (swarm.project.data / "processed.csv").stat()
    assert old.st_uid == OWNER


def test_a_scheduler_that_dies_on_a_swarm_comes_back_and_so_do_the_workers(swarm, expected):
    job = swarm.start_job(swarm.step_1())
    swarm.first_part(job)
    swarm.manager.docker("kill", swarm.container("scheduler"))
    said, _ = job.communicate()
    assert job.returncode == 0, said
    assert swarm.result() == expected
    wait_until(lambda: len(swarm.workers()) == 3, 90, "its workers are back")
