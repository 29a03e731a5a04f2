"""A Docker engine of one's own, beside the machine's."""

import json
import os
import signal
import subprocess
from pathlib import Path

from support.project import missing, wait_until


class Engine:
    """An empty engine on this machine, which nothing reaches but its socket. For root."""

    def __init__(self, folder: Path, **settings):
        """Keep all that it needs in `folder`, whose path must be short, as sockets need one."""
        # Never the settings of the first one.
        (folder / "daemon.json").write_text(json.dumps(settings))
        self.host = f"unix://{folder}/docker.sock"
        self.folder = folder
        number = os.getpid() % 250
        # A bridge of its own: with `none`, dockerd removes docker0, which is the first engine's.
        self.bridge = (f"ml-docker-{number}", f"172.31.{number}.1/24")

    def __enter__(self):
        name, address = self.bridge
        subprocess.run(["ip", "link", "add", "name", name, "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        # An engine that was killed leaves this behind.
        subprocess.run(["umount", "--quiet", self.folder / "data"])
        subprocess.run(["ip", "link", "delete", self.bridge[0]], check=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                ["dockerd", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec",
                 f"--pidfile={self.folder}/pid", f"--config-file={self.folder}/daemon.json",
                 f"--host={self.host}", f"--bridge={self.bridge[0]}",
                 "--iptables=false", "--ip6tables=false"],
                stdout=log, stderr=log,
            )  # fmt: skip

        def answers() -> bool:
            if self.process.poll() is not None:
                missing("second-engine", (self.folder / "log").read_text()[-500:])
            info = ["docker", "--host", self.host, "info"]
            return subprocess.run(info, capture_output=True).returncode == 0

        wait_until(answers, 60, "an answer of the second engine")

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the engine alone, as a system does, or with SIGKILL."""
        self.process.send_signal(how)
        self.process.wait(60)
