"""Company and classroom networks: mirrors, a proxy that opens TLS, no network, a second engine.

All servers stand on this machine, on the address at which containers reach it.
"""

import base64
import http.server
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import (
    QUICK,
    RUN_QUICK,
    Engine,
    Project,
    free_port,
    inspect,
    is_root,
    missing,
    wait_until,
)

pytestmark = pytest.mark.engine
PASSWORD = "pass-8c1f27"


@pytest.fixture(scope="session")
def bridge(engine) -> str:
    """The address of this machine as containers see it."""
    form = "{{(index .IPAM.Config 0).Gateway}}"
    command = ["docker", "network", "inspect", "bridge", "--format", form]
    address = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        http.server.HTTPServer((address, 0), http.server.BaseHTTPRequestHandler).server_close()
    except OSError:
        missing(
            "bridge", "the engine runs in a machine of its own, which does not see servers here"
        )
    return address


@pytest.fixture
def small(new_project) -> Project:
    """A project with one small library: enough to see where a build gets things from."""
    project = new_project()
    (project.path / "requirements.txt").write_text("requests\n")
    lock = project.path / "requirements.lock"
    names = "requests|certifi|charset-normalizer|idna|urllib3"
    entries = re.findall(rf"^(?:{names})==.*\n(?:    .*\n)+", lock.read_text(), re.MULTILINE)
    assert len(entries) == 5
    lock.write_text("".join(entries))
    return project


def upstream(base: str) -> dict[str, str]:
    """Return the addresses that the mirror copies: of the package index and of Debian."""
    index = subprocess.run(
        ["uv", "pip", "compile", "--quiet", "--no-header", "--emit-index-url", "-"],
        input="idna\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    sources = "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null"
    debian = subprocess.run(
        ["docker", "run", "--rm", base, "sh", "-c", sources], capture_output=True, text=True
    )
    return {
        "simple": re.search(r"^--index-url (\S+)", index.stdout, re.MULTILINE)[1].rstrip("/"),
        "debian": re.search(r"https?://\S+/debian\b", debian.stdout)[0],
    }


class Mirror(http.server.BaseHTTPRequestHandler):
    """A company's copy of the package index, behind a password, and of Debian."""

    upstream: dict[str, str]
    asked: list[str]

    def do_GET(self) -> None:
        """Pass on what the real one says, with links that lead back here."""
        kind, _, rest = self.path[1:].partition("/")
        self.asked.append(self.path)
        secret = base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
        if kind != "debian" and self.headers["Authorization"] != f"Basic {secret}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="mirror"')
            self.end_headers()
            return
        address = f"https://{rest}" if kind == "files" else f"{self.upstream[kind]}/{rest}"
        request = urllib.request.Request(address, headers={"Accept": "text/html, */*"})
        try:
            with urllib.request.urlopen(request) as page:
                body, content = page.read(), page.headers["Content-Type"] or "text/plain"
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        if kind == "simple":
            body = body.replace(b'href="https://', b'href="/files/')
        self.send_response(200)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(bridge):
    """A running mirror; `asked` lists what was asked of it."""
    Mirror.upstream = upstream(os.environ.get("BASE_IMAGE", "python:3.13-slim-trixie"))
    Mirror.asked = []
    with http.server.ThreadingHTTPServer((bridge, 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.address = f"{bridge}:{server.server_port}"
        yield server
        server.shutdown()


def holds(archive: Path, text: str) -> list[str]:
    """Return the members of a saved image, and of the layers in it, that hold a text."""
    found = []
    with tarfile.open(archive) as image:
        for member in image:
            if not member.isfile():
                continue
            content = image.extractfile(member)
            try:
                with tarfile.open(fileobj=content) as layer:
                    files = ((f.name, layer.extractfile(f).read()) for f in layer if f.isfile())
                    found += [f"{member.name}: {name}" for name, b in files if text.encode() in b]
            except tarfile.ReadError:
                content.seek(0)
                if text.encode() in content.read():
                    found.append(member.name)
    return found


def test_mirrors_of_the_index_the_base_image_and_debian(small, mirror, tmp_path):
    """All three at once; the password of the index stays out of image, log and lock."""
    base = "mirror.example/python:company"
    real = os.environ.get("BASE_IMAGE", "python:3.13-slim-trixie")
    small.run("docker", "tag", real, base)
    small.env |= {
        "BASE_IMAGE": base,
        "UV_DEFAULT_INDEX": f"http://reader:{PASSWORD}@{mirror.address}/simple",
        "DEBIAN_MIRROR": f"http://{mirror.address}/debian",
    }
    done = small.compose("build", "--no-cache", "notebook")
    small.run("docker", "rmi", base)
    assert {path.split("/")[1] for path in Mirror.asked} == {"simple", "files", "debian"}
    assert {"/simple/uv/", "/simple/requests/"} <= set(Mirror.asked)
    assert any("/tini_" in path for path in Mirror.asked)

    assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD not in small.run("docker", "history", "--no-trunc", small.slug).stdout
    assert PASSWORD not in json.dumps(inspect(small.slug))
    small.run("docker", "save", "--output", str(tmp_path / "image.tar"), small.slug)
    assert holds(tmp_path / "image.tar", "Apache Software License"), "the search finds nothing"
    assert holds(tmp_path / "image.tar", PASSWORD) == []

    small.env["BASE_IMAGE"] = real
    small.compose("run", "--rm", "--build", "lock", "--upgrade")
    lock = (small.path / "requirements.lock").read_text()
    assert "requests==" in lock and PASSWORD not in lock and mirror.address not in lock
    small.run("docker", "save", "--output", str(tmp_path / "lock.tar"), f"{small.slug}-lock")
    assert holds(tmp_path / "lock.tar", PASSWORD) == []


def test_a_wrong_password_stops_the_build(small, mirror):
    small.env["UV_DEFAULT_INDEX"] = f"http://reader:wrong@{mirror.address}/simple"
    done = small.compose("build", "--no-cache", "notebook", check=False)
    assert done.returncode != 0


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
    address = f"http://{bridge}:{port}"
    config = {"proxies": {"default": {"httpProxy": address, "httpsProxy": address}}}
    (folder / "config.json").write_text(json.dumps(config))
    yield {"DOCKER_CONFIG": str(folder)}, certificate, log
    process.terminate()
    process.wait(30)


def test_a_proxy_that_opens_tls(small, proxy):
    """Docker's own proxy setting, and CA_BUNDLE: at build time and in the running notebook."""
    settings, certificate, log = proxy
    small.env |= settings
    base = os.environ.get("BASE_IMAGE", "official")
    build = ("docker", "build", "--no-cache", "--progress=plain", f"--build-arg=BASE_IMAGE={base}")
    done = small.run(*build, "--target=uv", ".", check=False)
    assert done.returncode != 0
    assert "certificate" in done.stderr.lower()

    small.env["CA_BUNDLE"] = str(certificate)
    secret = f"--secret=id=ca_bundle,src={certificate}"
    empty = "--build-arg=UV_CACHE_DIR=/tmp/empty"  # or uv would not have to ask
    small.run(*build, secret, empty, "-t", small.slug, ".")
    passed = log.read_text()
    for asked in ("/tini_", "/simple/uv/", "/simple/requests/"):
        assert asked in passed
    page = re.search(r"https://\S+/simple/uv/", passed)[0]
    get = ("python", "-c", f"import requests; print(requests.get({page!r}).status_code)")
    run = ("run", "--rm", "--no-deps", "notebook")
    assert small.compose(*run, *get).stdout == "200\n"
    assert log.read_text().count(page) == passed.count(page) + 1
    without = small.compose(*run, *get, check=False, CA_BUNDLE="")
    assert without.returncode != 0 and "CERTIFICATE_VERIFY_FAILED" in without.stderr


def test_without_any_network_everything_works(clone):
    """A run and a healthy server, by `docker run` and by Compose, where no road leads out."""
    project = clone()
    mount = ("-v", f"{project.data}:/data/notebook")
    alone = ("docker", "run", "--rm", "--network", "none", *mount)
    project.notebook("quick.ipynb", QUICK)
    project.run(*alone, project.slug, *RUN_QUICK)
    assert (project.data / "made.txt").exists()
    name = project.run(*alone, "--detach", project.slug).stdout.strip()
    try:
        wait_until(lambda: inspect(name)["State"]["Health"]["Status"] == "healthy", 60, "healthy")
    finally:
        project.run("docker", "rm", "--force", name)

    (project.path / "docker-compose.override.yml").write_text(
        "networks: {default: {internal: true}}\n"
    )
    project.compose("up", "--detach", "--wait", "--no-build", "notebook")
    get = "import requests; requests.get('http://192.0.2.1')"
    done = project.compose("exec", "notebook", "python", "-c", get, check=False)
    assert "Network is unreachable" in done.stderr


def test_on_a_usb_stick_to_an_engine_that_has_never_seen_the_base_image(built, tmp_path):
    if not shutil.which("dockerd") or not is_root():
        missing("second-engine", "only root with a dockerd can start a second engine")
    built.run("docker", "save", "--output", str(tmp_path / "stick.tar"), built.slug)
    shutil.copytree(built.path, tmp_path / built.slug)
    with tempfile.TemporaryDirectory() as folder, Engine(Path(folder)) as second:
        env = {"DOCKER_HOST": second.host, "JUPYTER_PORT": str(free_port())}
        project = Project(tmp_path / built.slug, env)
        assert project.run("docker", "images", "--all", "--quiet").stdout == ""
        project.run("docker", "load", "--input", str(tmp_path / "stick.tar"))
        try:
            project.compose("up", "--detach", "--wait", "--no-build", "notebook")
            with urllib.request.urlopen(project.printed_url()) as page:
                assert page.status == 200
            project.notebook("quick.ipynb", QUICK)
            project.compose("run", "--rm", "notebook", *RUN_QUICK)
            names = "{{.Repository}}:{{.Tag}}"
            images = project.run("docker", "images", "--all", "--format", names).stdout
            assert images == f"{project.slug}:latest\n"
        finally:
            project.compose("down", "--volumes", check=False)
    assert (project.data / "made.txt").exists()
