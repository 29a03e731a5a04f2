"""docs/company.md, typed: mirrors, a password, a proxy that opens TLS. All servers stand here."""

import base64
import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

import pytest
from support.image import build
from support.project import BASE, ROOT, Project, free_port, missing, wait_until
from support.servers import Relay, serving

pytestmark = pytest.mark.engine
PASSWORD = "pass-8c1f27"
# The page's copy of the official image, with the address of Debian's packages in that one's place,
# and with a user 1000, as Ubuntu's image has one.
COPY = f"""
FROM {BASE}
RUN rm -f /etc/apt/sources.list && useradd --uid=1000 other
COPY debian.sources /etc/apt/sources.list.d/
"""
SOURCES = """
Types: deb
URIs: {debian}/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp
"""


@functools.cache
def debian() -> str:
    """Return scheme and host of the Debian packages that the base image asks for."""
    find = ["grep", "-rhoE", "https?://[^/ ]+", "/etc/apt"]
    done = subprocess.run(["docker", "run", "--rm", BASE, *find], stdout=-1, text=True)
    return done.stdout.split()[0]


@functools.cache
def index() -> str:
    """Return the address of the package index that uv asks, less `/simple`."""
    command = ["uv", "pip", "compile", "--quiet", "--emit-index-url", "-"]
    done = subprocess.run(command, input="six", stdout=-1, text=True)
    return re.search(r"--index-url (\S+)/simple", done.stdout)[1]


def real() -> tuple[tuple[str, str], ...]:
    """Return what stands behind the page's names for whoever has a proxy and no mirrors."""
    return (("https://mirror.example.com/pypi", index()), ("https://mirror.example.com", debian()))


def page(language: str, *names: tuple[str, str]) -> list[str]:
    """Return the page's blocks in a language, with names replaced."""
    text = (ROOT / "docs/company.md").read_text(encoding="utf-8")
    for name, own in names:
        assert name in text
        text = text.replace(name, own)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def base(engine, tmp_path):
    """Return a function that builds the page's base image."""
    made = []

    def _base(certificate: Path | None, *names: tuple[str, str], more: str = "") -> str:
        (dockerfile,) = page("dockerfile", (f"FROM registry.example.com/{BASE}", COPY), *names)
        if certificate:
            shutil.copy(certificate, tmp_path / "company.crt")
        else:
            dockerfile, left_out = re.subn(r".*(company\.crt|update-ca).*\n", "", dockerfile)
            assert left_out == 2
        name = f"registry.example.com/ml-base:{os.urandom(4).hex()}"
        # New each time, and without a cache of packages: both would answer for the network.
        dockerfile += f"ENV UV_NO_CACHE=1 {more}\nLABEL name={name}\n"
        (tmp_path / "Dockerfile").write_text(dockerfile)
        (tmp_path / "debian.sources").write_text(SOURCES.format(debian=debian()))
        subprocess.run(["docker", "build", "--quiet", "--tag", name, tmp_path], check=True)
        made.append(name)
        return name

    yield _base
    for name in made:
        subprocess.run(["docker", "rmi", "--force", name], check=True)


class Mirror(Relay):
    """A company's copy of the package index, behind a password, and of Debian."""

    asked: ClassVar = []

    def address(self) -> str | None:
        """Return the real address, unless the password is wanting."""
        self.asked.append(self.path)
        kind, _, rest = self.path[1:].partition("/")
        if kind == "debian":
            return debian() + self.path
        secret = base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] != f"Basic {secret}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="mirror"')
            self.end_headers()
            return None
        return f"https://{rest}" if kind == "files" else f"{index()}/{rest}"

    def changed(self, body: bytes) -> bytes:
        """Return a list of files with links that lead back here."""
        if not self.path.startswith("/pypi/"):
            return body
        return body.replace(b'"https://', b'"/files/')


def with_password(project: Project, host: str, password: str) -> None:
    """Do what the page says on an index with a password."""
    (netrc,) = page("text", ("mirror.example.com", host), ("the-password", password))
    (project.path.parent / ".netrc").write_text(netrc)
    project.env["HOME"] = str(project.path.parent)
    (override,) = page("yaml")
    (project.path / "docker-compose.override.yml").write_text(override)


def holding(folder: Path, text: str) -> bytes:
    """Return the files of a saved image that hold a text, compressed or not, layers among them."""
    search = ["sh", "-c", 'zcat -f "$0" | grep -aqF "$1"', "{}", text, ";"]
    return subprocess.check_output(["find", folder, "-type", "f", "-exec", *search, "-print"])


def test_company_mirrors_serve_all_and_the_password_stays_out(small, base, bridge, tmp_path):
    """Base image, Debian and index at once; the password is in no layer, log or lock."""
    with serving(Mirror, bridge) as mirror:
        trusted = f"PIP_TRUSTED_HOST={bridge}"  # as the page says for an index without https
        small.env["BASE_IMAGE"] = base(None, ("https://mirror.example.com", mirror), more=trusted)
        with_password(small, bridge, "wrong")
        (lend,) = [block for block in page("bash") if block.startswith("sed ")]
        small.run("bash", "-euc", lend)
        assert "401" in build(small, check=False)
        with_password(small, bridge, PASSWORD)
        log = build(small)
        small.compose("run", "--rm", "lock", "--upgrade")
    assert {path.split("/")[1] for path in Mirror.asked} == {"pypi", "files", "debian"}
    assert {"/pypi/simple/uv/", "/pypi/simple/requests/"} <= set(Mirror.asked)
    assert any("/tini_" in path for path in Mirror.asked)

    lock = (small.path / "requirements.lock").read_text()
    assert "\nrequests==" in lock and mirror.removeprefix("http://") not in lock
    history = small.run("docker", "history", "--no-trunc", small.slug).stdout
    assert PASSWORD not in lock + log + history
    small.run("bash", "-euc", f"docker save {small.slug} | tar -x -C {tmp_path}")
    assert holding(tmp_path, "Apache Software License"), "the search finds nothing"
    assert holding(tmp_path, PASSWORD) == b""


@pytest.fixture
def proxy(bridge, tmp_path):
    """A proxy that opens TLS with a certificate of its own: its settings, certificate and log."""
    port, folder = free_port(), tmp_path / "proxy"
    folder.mkdir()
    log, certificate = folder / "log", folder / "mitmproxy-ca-cert.pem"
    machine = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    tool = ["uvx", "--quiet", "--from", "mitmproxy", "mitmdump"]
    if subprocess.run([*tool, "--version"], capture_output=True).returncode:
        missing("mitmproxy", "mitmproxy cannot be installed from the package index")
    with log.open("w") as file:
        process = subprocess.Popen(
            [*tool, "--listen-host", bridge, "--listen-port", str(port),
             "--set", f"confdir={folder}",
             "--set", f"ssl_verify_upstream_trusted_ca={machine}", "--set", "flow_detail=1",
             "--set", "stream_large_bodies=1m"],
            stdout=file, stderr=file,
        )  # fmt: skip
    wait_until(lambda: "listening" in log.read_text(), 60, "mitmproxy")
    (config,) = page("json", ("http://proxy.example.com:3128", f"http://{bridge}:{port}"))
    (folder / "config.json").write_text(config)
    yield {"DOCKER_CONFIG": str(folder)}, certificate, log
    process.terminate()
    process.wait(30)


def test_company_proxy_that_opens_tls(small, base, proxy):
    """With its certificate in the base image: at build time and in the running notebook."""
    settings, certificate, log = proxy
    small.env |= settings
    small.env["BASE_IMAGE"] = base(None, *real())
    assert "certificate" in build(small, check=False).lower()

    small.env["BASE_IMAGE"] = base(certificate, *real())
    build(small)
    passed = log.read_text()
    for asked in ("/tini_", "/simple/uv/", "/simple/requests/"):
        assert asked in passed
    get = f"import requests; print(requests.get('{index()}/simple/uv/').status_code)"
    done = small.compose("run", "--rm", "notebook", "python", "-c", get)
    assert done.stdout == "200\n"
    asked = f"{index()}/simple/uv/"
    assert log.read_text().count(asked) > passed.count(asked)


@pytest.mark.parametrize("unreachable", ["Debian", "index", "base image"])
def test_company_address_that_cannot_be_reached_is_named(small, base, unreachable):
    nowhere = "http://127.0.0.1:9"
    if unreachable == "base image":
        nowhere = small.env["BASE_IMAGE"] = "mirror.invalid/python:3.13"
    else:
        own = {"Debian": debian(), "index": index()}[unreachable]
        changed = [(name, nowhere if address == own else address) for name, address in real()]
        small.env["BASE_IMAGE"] = base(None, *changed)
    log = build(small, check=False)
    assert "failed to solve" in log
    assert nowhere.removeprefix("http://") in log


def test_company_list_of_what_is_in_the_image(default_project, tmp_path):
    shutil.copy(default_project.path / "requirements.lock", tmp_path)
    (command,) = [block for block in page("bash") if "cyclonedx" in block]
    subprocess.run(["bash", "-euc", command], cwd=tmp_path, check=True)
    parts = json.loads((tmp_path / "sbom.json").read_text())["components"]
    assert {"numpy", "uv", "tornado"} <= {part["name"] for part in parts}
