"""What a person does on JupyterLab's page, by the same server: runs cells."""

import subprocess

from support.project import Project

RUN_CELL = """
import sys
from jupyter_client import BlockingKernelClient, find_connection_file
client = BlockingKernelClient(connection_file=find_connection_file(f"kernel-{sys.argv[1]}.json"))
client.load_connection_file()
client.start_channels()
seconds = int(sys.argv[3])
answer = client.execute_interactive(sys.argv[2], allow_stdin=False, timeout=seconds)
sys.exit(answer["content"]["status"] != "ok")
"""


class Kernel:
    """A kernel of the running server, as an open notebook has one. JUPYTER_TOKEN must be set."""

    def __init__(self, project: Project):
        self.project = project
        self.id = project.api("POST", "api/kernels")["id"]

    def run(self, cell: str, check: bool = True, seconds: int = 100) -> subprocess.CompletedProcess:
        """Run a cell; `stdout` of the result is what it shows below itself."""
        command = ("entrypoint", "python", "-c", RUN_CELL, self.id, cell, str(seconds))
        return self.project.compose("exec", "-T", "notebook", *command, check=check)
