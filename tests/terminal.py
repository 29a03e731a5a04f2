"""A terminal to type a command into, as a person does."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

CTRL_C = b"\x03"


class Terminal:
    """A shell command in a terminal of its own. Ends it, with all its children, on leaving the block."""

    def __init__(self, command: str, cwd: Path, env: dict[str, str] | None = None):
        self.command = command
        self.text = ""
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "bash", "-euc", command],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        os.close(self.master)

    def _read(self) -> bool:
        """Add what came within 0.2 s to `text`; return False at the end of the output."""
        if select.select([self.master], [], [], 0.2)[0]:
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # Linux says so when the last process has closed the terminal
                return False
        return True

    def wait_for(self, pattern: str, seconds: float = 300) -> re.Match:
        """Return the first match in what was printed; fail with all of it when there is none in time."""
        end = time.monotonic() + seconds
        more = True
        while more and time.monotonic() < end:
            more = self._read()
            if found := re.search(pattern, self.text):
                return found
        raise AssertionError(f"{self.command}: no {pattern!r} in\n{self.text}")

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def exit_code(self, seconds: float = 300) -> int:
        """Wait for the end and return the exit code."""
        end = time.monotonic() + seconds
        while self._read() and self.process.poll() is None:
            assert time.monotonic() < end, f"{self.command}: does not end\n{self.text}"
        return self.process.wait(10)
