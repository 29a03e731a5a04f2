"""What a person does on JupyterLab's page, by the same server: runs cells, types in a terminal."""

import subprocess

from support.project import Project

RUN_CELL = """
import sys
from jupyter_client import BlockingKernelClient, find_connection_file
client = BlockingKernelClient(connection_file=find_connection_file(f"kernel-{sys.argv[1]}.json"))
client.load_connection_file()
client.start_channels()
answer = client.execute_interactive(sys.argv[2], allow_stdin=False, timeout=int(sys.argv[3]))["content"]
sys.exit(answer["status"] != "ok")
"""
TYPE_LINE = """
import json, sys, websocket
address, line, end = sys.argv[1:]
terminal = websocket.create_connection(address, timeout=30)
terminal.send(json.dumps(["stdin", line + "\\r"]))
shown = ""
while end not in shown:
    kind, text = json.loads(terminal.recv())[:2]
    shown += text if kind == "stdout" else ""
print(shown)
"""


class Kernel:
    """A kernel of the running server, as an open notebook has one. JUPYTER_TOKEN must be set."""

    def __init__(self, project: Project):
        self.project = project
        self.id = project.api("POST", "api/kernels")["id"]

    def run(
        self, cell: str, check: bool = True, seconds: int = 100
    ) -> subprocess.CompletedProcess:
        """Run a cell; `stdout` of the result is what it shows below itself."""
        command = ("entrypoint", "python", "-c", RUN_CELL, self.id, cell, str(seconds))
        return self.project.compose("exec", "-T", "notebook", *command, check=check)


def typed_in_terminal(project: Project, line: str, end: str) -> str:
    """Open a terminal, type a line, and return what the screen shows up to the word `end`."""
    name = project.api("POST", "api/terminals")["name"]
    token = project.env["JUPYTER_TOKEN"]
    address = f"ws://127.0.0.1:8888/terminals/websocket/{name}?token={token}"
    command = ("entrypoint", "python", "-c", TYPE_LINE, address, line, end)
    return project.compose("exec", "-T", "notebook", *command).stdout
