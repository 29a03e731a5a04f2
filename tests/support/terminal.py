"""A terminal to type a command into, as a person does."""

import os
import re
import select
import signal
import subprocess
from pathlib import Path

from support.project import wait_until

CTRL_C = b"\x03"


class Terminal:
    """A shell command in a terminal of its own. Leaving the block ends it and its children."""

    def __init__(self, command: str, cwd: Path, env: dict[str, str] | None = None):
        import pty  # Windows has none, and imports this file all the same

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

    def __exit__(self, error, *_):
        if error:
            print(self.text)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        os.close(self.master)

    def _read(self) -> bool:
        """Add what has come to `text`; return False at the end of the output."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:  # Linux says so when the last process has closed the terminal
                return False
        return True

    def wait_for(self, pattern: str, seconds: float = 300) -> re.Match:
        """Return the first match in what was printed; fail with all of it if none comes in time."""

        def found() -> re.Match | bool:
            more = self._read()
            return re.search(pattern, self.text) or not more

        match = wait_until(found, seconds, f"{pattern!r} from {self.command}")
        assert match is not True, f"{self.command} ended without {pattern!r}"
        return match

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def exit_code(self, seconds: float = 300) -> int:
        """Wait for the end and return the exit code."""

        def ended() -> bool:
            return not self._read() or self.process.poll() is not None

        wait_until(ended, seconds, f"the end of {self.command}")
        return self.process.wait(10)
