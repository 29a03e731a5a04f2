"""Small web servers of the tests' own, on this machine, or where containers reach it."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextlib.contextmanager
def serving(handler, host: str = "127.0.0.1") -> Iterator[str]:
    """Run a handler on a free port of an address of this machine; yields `http://host:port`."""
    with ThreadingHTTPServer((host, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()


def files(folder: Path):
    """Return a handler that serves the files of a folder, and lists them."""
    return partial(SimpleHTTPRequestHandler, directory=folder)


class Relay(BaseHTTPRequestHandler):
    """Passes on what another server says. A subclass tells which address a path stands for."""

    def address(self) -> str | None:
        """Return the address to ask instead of this one, None if it has answered already."""
        raise NotImplementedError

    def changed(self, body: bytes) -> bytes:
        """Return what to pass on instead."""
        return body

    def do_GET(self) -> None:
        """Ask, and answer."""
        if not (address := self.address()):
            return
        request = urllib.request.Request(
            address, headers={"Accept": self.headers["Accept"] or "*/*"}
        )
        try:
            with urllib.request.urlopen(request) as page:
                body, kind = page.read(), page.headers["Content-Type"] or "text/plain"
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        body = self.changed(body)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET
