"""Several machines on one: a Docker engine in a network of its own for each, and a registry."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from support.bucket import Bucket
from support.engines import Engine
from support.project import Project, free_port, missing, wait_until

# By process, so that two may run side by side. The range is for tests. This machine is number 1.
NAME = f"mld{os.getpid() % 256}"
SUBNET = f"198.18.{os.getpid() % 256}"
SWITCH = f"{NAME}-switch"


def run(*command: str | Path, **options) -> str:
    """Run a command, which must succeed, and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def ip(lines: str) -> None:
    """Run each line as a command of `ip`."""
    for line in lines.strip().splitlines():
        run("ip", *line.split())


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
        ip(f"""
            netns add {self.name}
            -n {SWITCH} link add {self.name} type veth peer name eth0 netns {self.name}
            -n {SWITCH} link set {self.name} master switch
            -n {self.name} address add {self.address}/24 dev eth0
            -n {self.name} link set lo up
            -n {self.name} link set eth0 up
        """)

    def start(self) -> None:
        """Switch it on."""
        ip(f"-n {SWITCH} link set {self.name} up")
        super().start()

    def docker(self, *args: str | Path, **options) -> str:
        """Type a docker command on this machine."""
        return run("docker", "-H", self.host, *args, **options)

    def pull_the_plug(self) -> None:
        """No more packets, and all its processes gone, without a word to anybody."""
        ip(f"-n {SWITCH} link set {self.name} down")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for name in ("pid", "exec/containerd/containerd.pid", "docker.sock"):
            (self.folder / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing of it."""
        self.pull_the_plug()
        ip(f"netns delete {self.name}")
        for top in Path("/sys/fs/cgroup").glob(f"**/{self.name}"):
            empty = partial(
                subprocess.run, ["find", top, "-depth", "-type", "d", "-delete"], stderr=-3
            )
            wait_until(lambda done=empty: done().returncode == 0, 30, "empty")


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
        ip(f"netns add {SWITCH}")
        tidy.callback(ip, f"netns delete {SWITCH}")
        ip(f"""
            -n {SWITCH} link add switch type bridge
            -n {SWITCH} link set switch up
            link add {NAME}-here type veth peer name here netns {SWITCH}
        """)
        tidy.callback(ip, f"link delete {NAME}-here")
        ip(f"""
            -n {SWITCH} link set here master switch up
            address add {SUBNET}.1/24 dev {NAME}-here
            link set {NAME}-here up
        """)

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


class Swarm:
    """A project on several machines, the first one their manager."""

    def __init__(self, project: Project, nodes: list[Machine], s3: Bucket):
        self.project = project
        self.nodes = nodes
        self.manager = nodes[0]
        self.s3 = s3

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

    def start_job(self, folder: str) -> subprocess.Popen:
        """Start the notebook on the files on S3; return once it has written a part there."""
        job = subprocess.Popen(
            ["docker", "-H", self.manager.host, "exec", self.container("notebook"),
             "entrypoint", "papermill", "--no-progress-bar",
             "process_cars_dask.ipynb", "out.ipynb",
             "-p", "source", "s3://cars/cars-*.csv", "-p", "output", f"s3://cars/{folder}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        wait_until(lambda: job.poll() is not None or self.s3.parts(folder), 180, "the first part")
        assert job.poll() is None, job.communicate()[0]
        return job


def deploy(project: Project, nodes: list[Machine], port: int, s3: Bucket) -> Swarm:
    """Type what CLUSTER.md says, and wait for a worker on each machine."""
    text = (project.path / "CLUSTER.md").read_text(encoding="utf-8")
    part = text.partition("## Many machines")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```bash\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    publish, init, secret, start = blocks
    assert init.split() == ["docker", "swarm", "init"]  # as in `machines`
    shell = {"cwd": project.path, "shell": True, "check": True}
    # This machine's engine trusts a registry without a certificate on its own address only.
    here, there = f"127.0.0.1:{port}", f"{SUBNET}.1:{port}"
    command = "set -e\n" + publish.replace("registry.example.com", here)
    subprocess.run(command, env={**os.environ, **project.env}, **shell)
    project.run("docker", "rmi", f"{here}/{project.slug}")
    env = {**os.environ, **s3.settings, "WORKERS": "1", "DOCKER_HOST": nodes[0].host}
    for block in (secret, start.partition("docker service logs")[0]):
        command = block.replace("registry.example.com", there)
        subprocess.run(command, env=env, **shell)
    swarm = Swarm(project, nodes, s3)
    wait_until(lambda: swarm.container("notebook"), 180, "the notebook's container")
    wait_until(lambda: len(swarm.workers()) == len(nodes), 180, "a worker on each machine")
    return swarm
