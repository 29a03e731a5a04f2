"""Docker engines of one's own beside the machine's, for root."""

import json
import os
import signal
import subprocess
from pathlib import Path

from support.project import missing, wait_until


class Engine:
    """An empty engine. Leaving the block ends it.

    On this machine nothing but its socket reaches it; `support.machines` gives others a network.
    """

    need = "second-engine"  # for `missing`, where it does not start
    before: tuple[str, ...] = ()  # what starts dockerd

    def __init__(self, folder: Path, **settings):
        """Keep all that it needs in `folder`, whose path must be short, as sockets need one."""
        # Never the settings of the first one.
        (folder / "daemon.json").write_text(json.dumps(settings))
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        # A bridge of its own: with `none`, dockerd removes docker0, which is the first engine's.
        self.bridge = f"ml-docker-{os.getpid() % 250}"
        self.options = [f"--bridge={self.bridge}", "--iptables=false", "--ip6tables=false"]

    def __enter__(self):
        address = f"172.31.{os.getpid() % 250}.1/24"
        subprocess.run(["ip", "link", "add", "name", self.bridge, "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", address, "dev", self.bridge], check=True)
        try:
            self.start()
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        # An engine that was killed leaves this behind.
        subprocess.run(["umount", "--quiet", self.folder / "data"])
        subprocess.run(["ip", "link", "delete", self.bridge], check=True)

    def start(self) -> None:
        """Start it."""
        own = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec"]
        own += [f"--pidfile={self.folder}/pid", f"--config-file={self.folder}/daemon.json"]
        command = [*self.before, "dockerd", f"--host={self.host}", *own, *self.options]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self) -> None:
        """Return when it answers."""
        info = ["docker", "--host", self.host, "info"]

        def answers() -> bool:
            if self.process.poll() is not None:
                missing(self.need, (self.folder / "log").read_text()[-500:])
            return subprocess.run(info, capture_output=True).returncode == 0

        wait_until(answers, 60, f"an answer of the engine in {self.folder}")

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the engine alone, as a system does, or with SIGKILL."""
        self.process.send_signal(how)
        self.process.wait(60)
