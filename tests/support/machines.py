"""Several machines on one: a Docker engine in a network of its own for each, and a registry."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import boto3

from support.engines import Engine
from support.project import Project, free_port, missing, wait_until

# By process, so that two may run side by side. The range is for tests. This machine is number 1.
NAME = f"mld{os.getpid() % 256}"
SUBNET = f"198.18.{os.getpid() % 256}"


def run(*command: str | Path, **options) -> str:
    """Run a command, which must succeed, and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


class Machine(Engine):
    """An engine in namespaces of its own: to kill its first process is to pull the plug."""

    need = "swarm"

    def __init__(self, number: int, folder: Path, settings: dict):
        self.name = f"{NAME}-{number}"
        self.address = f"{SUBNET}.{10 + number}"
        (folder / str(number)).mkdir()
        super().__init__(folder / str(number), **settings)
        # No engine outlives this process, whatever ends it.
        self.before = (
            *("setpriv", "--pdeathsig=KILL", "nsenter", f"--net=/run/netns/{self.name}"),
            *("unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("bash", "-c", f'hostname {self.name}; exec "$@"', "-"),
        )
        self.options = [
            f"--containerd-namespace={self.name}",
            f"--containerd-plugins-namespace={self.name}-plugins",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent=/{self.name}",
        ]
        run("ip", "netns", "add", self.name)
        run("ip", "-n", f"{NAME}-switch", "link", "add", self.name, "type", "veth",
            "peer", "name", "eth0", "netns", self.name)  # fmt: skip
        run("ip", "-n", f"{NAME}-switch", "link", "set", self.name, "master", "switch")
        run("ip", "-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run("ip", "-n", self.name, "link", "set", device, "up")

    def start(self) -> None:
        """Switch it on."""
        run("ip", "-n", f"{NAME}-switch", "link", "set", self.name, "up")
        super().start()

    def docker(self, *args: str | Path, **options) -> str:
        """Type a docker command on this machine."""
        return run("docker", "-H", self.host, *args, **options)

    def pull_the_plug(self) -> None:
        """No more packets, and all its processes gone, without a word to anybody."""
        run("ip", "-n", f"{NAME}-switch", "link", "set", self.name, "down")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for name in ("pid", "exec/containerd/containerd.pid", "docker.sock"):
            (self.folder / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing of it."""
        self.pull_the_plug()
        run("ip", "netns", "delete", self.name)
        for top in Path("/sys/fs/cgroup").glob(f"**/{self.name}"):
            command = ["find", top, "-depth", "-type", "d", "-delete"]
            wait_until(
                lambda c=command: not subprocess.run(c, capture_output=True).returncode, 30, "empty"
            )


@contextlib.contextmanager
def machines(count: int):
    """Machines that form a swarm, the first one its manager, and a registry: `(machines, push)`."""
    if not all(shutil.which(tool) for tool in ("dockerd", "docker-registry", "ip")) or os.geteuid():
        missing("swarm", "only root with dockerd and docker-registry can start machines")
    port = free_port()
    # Three times the image is written: faster in memory.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with contextlib.ExitStack() as tidy, tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        folder.chmod(0o711)
        # The switch stands in a namespace too: the first engine's firewall never meets its packets.
        run("ip", "netns", "add", f"{NAME}-switch")
        tidy.callback(run, "ip", "netns", "delete", f"{NAME}-switch")
        run("ip", "-n", f"{NAME}-switch", "link", "add", "switch", "type", "bridge")
        run("ip", "-n", f"{NAME}-switch", "link", "set", "switch", "up")
        run("ip", "link", "add", f"{NAME}-here", "type", "veth",
            "peer", "name", "here", "netns", f"{NAME}-switch")  # fmt: skip
        tidy.callback(run, "ip", "link", "delete", f"{NAME}-here")
        run("ip", "-n", f"{NAME}-switch", "link", "set", "here", "master", "switch", "up")
        run("ip", "address", "add", f"{SUBNET}.1/24", "dev", f"{NAME}-here")
        run("ip", "link", "set", f"{NAME}-here", "up")

        # One registry with two doors: this machine's engine pushes to its own loopback address.
        (folder / "registry.yml").write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        )
        for address in ("127.0.0.1", f"{SUBNET}.1"):
            registry = subprocess.Popen(
                ["docker-registry", "serve", folder / "registry.yml"],
                env={**os.environ, "REGISTRY_HTTP_ADDR": f"{address}:{port}"},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            tidy.callback(registry.wait)
            tidy.callback(registry.kill)

        made = []
        for number in range(1, count + 1):
            machine = Machine(number, folder, {"insecure-registries": [f"{SUBNET}.1:{port}"]})
            machine.start()
            tidy.callback(machine.remove)
            made.append(machine)
        for machine in made:
            machine.wait()
        manager, *others = made
        manager.docker("swarm", "init", f"--advertise-addr={manager.address}")
        token = manager.docker("swarm", "join-token", "--quiet", "worker")
        for machine in others:
            machine.docker("swarm", "join", f"--token={token}", f"{manager.address}:2377")
        yield made, port


@contextlib.contextmanager
def bucket(content: bytes, copies: int):
    """Start an S3 server (moto) that all machines reach, with `s3://cars/cars-*.csv`.

    Yields the settings that lead there, and a client of it.
    """
    port, keys = free_port(), ("key-4411", "secret-4411")
    server = subprocess.Popen(
        ["moto_server", "--host", f"{SUBNET}.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = f"http://{SUBNET}.1:{port}"
        wait_until(lambda: answers(f"{SUBNET}.1", port), 60, "the S3 server")
        client = boto3.client(
            "s3", "us-east-1", None, endpoint_url=address,
            aws_access_key_id=keys[0], aws_secret_access_key=keys[1],
        )  # fmt: skip
        client.create_bucket(Bucket="cars")
        for number in range(copies):
            client.put_object(Bucket="cars", Key=f"cars-{number:03}.csv", Body=content)
        settings = {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1"}
        yield (
            settings | {"AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1]},
            client,
        )
    finally:
        server.terminate()
        server.wait()


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as sock:
        return sock.connect_ex((host, port)) == 0


class Swarm:
    """A project on several machines, the first one their manager."""

    def __init__(self, project: Project, nodes: list, client):
        self.project = project
        self.nodes = nodes
        self.manager = nodes[0]
        self.client = client

    def container(self, service: str, node: int = 0) -> str:
        """Return the running container of a service on a machine, "" if there is none."""
        name = f"label=com.docker.swarm.service.name={self.project.slug}_{service}"
        return self.nodes[node].docker("ps", "--quiet", "--filter", name)

    def inside(self, *command: str, **options) -> str:
        """Run a command in the notebook's container, as its owner."""
        notebook = self.container("notebook")
        return self.manager.docker("exec", notebook, "entrypoint", *command, **options)

    def workers(self) -> list[str]:
        """Return the addresses of the workers that `Client()` finds without being told where.

        No address if it is cut off, as while a machine comes back and the network is built anew.
        """
        script = (
            "from distributed import Client; import json; c = Client(timeout=60)\n"
            "print(json.dumps([c.scheduler.addr, *c.scheduler_info(n_workers=-1)['workers']]))"
        )
        try:
            scheduler, *workers = json.loads(self.inside("python", "-c", script))
        except AssertionError as error:
            if "CommClosedError" not in str(error):
                raise
            return []
        assert scheduler == "tls://scheduler:8786"
        assert all(address.startswith("tls://") for address in workers)
        return workers

    def parts(self, folder: str) -> list[str]:
        """Return the names of the parts that a job has written to S3."""
        found = self.client.list_objects_v2(Bucket="cars", Prefix=f"{folder}/")
        return sorted(each["Key"] for each in found.get("Contents", []))

    def start_job(self, folder: str) -> subprocess.Popen:
        """Start the notebook on the files on S3; return once it has written a part there."""
        job = subprocess.Popen(
            ["docker", "-H", self.manager.host, "exec", self.container("notebook"),
             "entrypoint", "papermill", "--no-progress-bar",
             "process_cars_dask.ipynb", "out.ipynb",
             "-p", "source", "s3://cars/cars-*.csv", "-p", "output", f"s3://cars/{folder}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        wait_until(lambda: job.poll() is not None or self.parts(folder), 180, "the first part")
        assert job.poll() is None, job.communicate()[0]
        return job

    def result(self, folder: str) -> list[bytes]:
        """Return what the job wrote, one item for each part."""
        read = self.client.get_object
        return [read(Bucket="cars", Key=key)["Body"].read() for key in self.parts(folder)]


def typed(project: Project) -> list[str]:
    """Return the shell blocks of the part of CLUSTER.md on many machines."""
    text = (project.path / "CLUSTER.md").read_text(encoding="utf-8")
    part = text.partition("## Many machines")[2].partition("\n## ")[0]
    return re.findall(r"^```bash\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def deploy(project: Project, nodes: list[Machine], port: int, settings: dict, client) -> Swarm:
    """Type what CLUSTER.md says, and wait for a worker on each machine."""
    publish, init, secret, start = typed(project)
    assert init.split() == ["docker", "swarm", "init"]  # as in `machines`
    shell = {"cwd": project.path, "shell": True, "check": True}
    # This machine's engine trusts a registry without a certificate on its own address only.
    here, there = f"127.0.0.1:{port}", f"{SUBNET}.1:{port}"
    command = "set -e\n" + publish.replace("registry.example.com", here)
    subprocess.run(command, env={**os.environ, **project.env}, **shell)
    project.run("docker", "rmi", f"{here}/{project.slug}")
    env = {**os.environ, **settings, "DOCKER_HOST": nodes[0].host}
    for block in (secret, start.partition("docker service logs")[0]):
        command = block.replace("registry.example.com", there)
        subprocess.run(command, env=env, **shell)
    swarm = Swarm(project, nodes, client)
    wait_until(lambda: swarm.container("notebook"), 180, "the notebook's container")
    wait_until(lambda: len(swarm.workers()) == len(nodes), 180, "a worker on each machine")
    return swarm
