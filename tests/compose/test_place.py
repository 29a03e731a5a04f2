"""A place to work in for months: what people hit in the first weeks, each kind once."""

import http.server
import json
import os
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
import zipfile
from functools import partial
from pathlib import Path

import pytest
from support.project import Project, inspect, wait_until
from test_network import bridge  # noqa: F401

engine = pytest.mark.engine
TOKEN = "open-sesame"


def inside(project: Project, *command: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run a command in a new container of the project."""
    return project.compose("run", "--rm", "-T", "notebook", *command, check=check)


def python(project: Project, code: str) -> str:
    """Run Python code in the project's running container; return what it printed."""
    return project.compose("exec", "-T", "notebook", "entrypoint", "python", "-c", code).stdout


def start(project: Project) -> None:
    project.compose("up", "--detach", "--wait", "notebook")


def api(project: Project, method: str, path: str, content: object = None):
    """Ask the server, as its page does; return its answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{project.env['JUPYTER_PORT']}/{path}",
        method=method,
        headers={"Authorization": f"token {TOKEN}"},
        data=None if content is None else json.dumps(content).encode(),
    )
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or "null")


# Loss and takeover


@engine
def test_somebody_else_with_the_same_name_is_refused_and_sees_nothing(clone):
    first = clone(uid=20345)
    inside(first, "bash", "-c", "echo secret >~/secret")
    assert inside(first, "stat", "-c", "%a %u", "/home/notebook").stdout.split() == ["700", "20345"]
    second = clone(uid=20346, COMPOSE_PROJECT_NAME=first.slug)
    done = inside(second, "cat", "/home/notebook/secret", check=False)
    assert done.returncode != 0 and "secret" not in done.stdout
    assert f"COMPOSE_PROJECT_NAME: '{first.slug}' belongs to user 20345" in done.stderr
    del second.env["COMPOSE_PROJECT_NAME"]  # a folder of another name shares nothing
    assert inside(second, "ls", "-A", "/home/notebook").stdout == ""
    assert inside(first, "cat", "/home/notebook/secret").stdout == "secret\n"


@engine
def test_the_image_runs_what_the_repository_holds_and_carries_no_data(clone):
    project = clone()
    code = ["deep/mine.ipynb", "deep/helpers.py", "config.yaml"]
    formats = (".csv", ".parquet", ".json", ".txt", ".npy", ".jpg", ".xyz", "")
    data = [f"deep/large{each}" for each in formats]
    data += ["_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb"]
    for name in code + data:
        (project.data / name).parent.mkdir(parents=True, exist_ok=True)
        with (project.data / name).open("w") as file:
            file.truncate(0 if name in code else 10**9)
    (project.path / ".env").write_text("JUPYTER_TOKEN=secret\n")
    project.compose("build", "notebook")
    find = ["find", "/data/notebook", "/project", "-type", "f", "-printf", "%P\n"]
    files = project.run("docker", "run", "--rm", project.slug, *find).stdout.split()
    assert set(code) <= set(files) and not set(data) & set(files) and ".env" not in files


@engine
def test_a_project_without_its_samples_or_with_its_data_elsewhere_builds(clone, tmp_path):
    project = clone()
    shutil.rmtree(project.data)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "mine.csv").write_text("x")
    project.data.symlink_to(tmp_path / "disk")
    project.compose("build", "notebook")
    assert inside(project, "ls").stdout == "mine.csv\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "theirs.csv").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    project.env["DATA"] = str(tmp_path / "link")
    assert inside(project, "ls").stdout == "theirs.csv\n"
    assert inside(project, "run-notebooks").returncode == 0


@engine
def test_every_notebook_runs_in_its_own_folder_and_one_that_fails_is_kept(clone):
    project = clone()
    (project.data / "process_cars.ipynb").unlink()
    (project.data / "helpers.py").write_text("word = 'made'\n")
    project.notebook(
        "part/two words.ipynb",
        "from pathlib import Path",
        "from helpers import word",
        "Path(word).write_text('')",
    )
    for name in ("_slow.ipynb", "_drafts/no.ipynb"):
        project.notebook(name, "1 / 0")
    inside(project, "run-notebooks")
    assert (project.data / "part/made").exists()
    project.notebook("bad.ipynb", "print('be' + 'fore')", "1 / 0")
    assert inside(project, "run-notebooks", check=False).returncode == 1
    pages = {str(page.relative_to(project.data)) for page in project.data.rglob("*.html")}
    assert pages == {"_pages/part/two words.html", "_pages/bad.html"}
    page = (project.data / "_pages/bad.html").read_text()
    assert "before" in page and "ZeroDivisionError" in page


FILL = """
for path in ("/home/notebook/large", "/tmp/large"):
    try:
        with open(path, "wb") as file:
            for _ in range(1300):
                file.write(bytes(2**20))
        print("written")
    except OSError as error:
        print(error)
"""
MANY = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
code = '''
import subprocess
code = "import time; x = bytearray(60 * 2**20); time.sleep(60)"
many = [subprocess.Popen(["python", "-c", code]) for _ in range(25)]
many[-1].wait()
'''
try:
    client.execute_interactive(code, timeout=20)
except TimeoutError:
    print("kernel lives:", manager.is_alive())
"""


@engine
def test_more_than_the_memory_never_costs_the_server(clone):
    project = clone(MEMORY_LIMIT="1g", JUPYTER_TOKEN=TOKEN)
    start(project)
    started = inspect(project.container())["State"]["StartedAt"]
    assert python(project, FILL).split("\n")[:2] == [
        "written",
        "[Errno 28] No space left on device",
    ]
    python(project, MANY)  # small processes, of which none alone is larger than the server
    wait_until(lambda: "more memory than MEMORY_LIMIT" in project.logs(), 20, "a message")
    assert inspect(project.container())["State"]["StartedAt"] == started
    assert api(project, "GET", "api/status")["started"]


THEME = "lab/api/settings/@jupyterlab/apputils-extension:themes"
HISTORY = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel()
client.execute_interactive("remembered = 1")
manager.shutdown_kernel()
"""
RECALL = """
from IPython.core.history import HistoryAccessor
lines = HistoryAccessor().get_tail(20, include_latest=True)
print(any("remembered" in line for _, _, line in lines))
"""


@engine
def test_what_a_person_set_up_survives_until_it_is_to_be_forgotten(clone):
    project = clone(JUPYTER_TOKEN=TOKEN)
    start(project)
    api(project, "PUT", THEME, {"raw": '{"theme": "JupyterLab Dark"}'})
    tabs = {"data": {"tab": {"path": "mine"}}, "metadata": {"id": "default"}}
    api(project, "PUT", "lab/api/workspaces/default", tabs)
    python(project, HISTORY)
    project.notebook("mine.ipynb", "1")
    trust = ("jupyter", "trust", "mine.ipynb")
    project.compose("exec", "-T", "notebook", "entrypoint", *trust)
    for command in (["restart", "notebook"], ["down"]):
        project.compose(*command)
        start(project)
        assert "Dark" in api(project, "GET", THEME)["raw"]
        assert api(project, "GET", "lab/api/workspaces/default")["data"] == tabs["data"]
        assert python(project, RECALL) == "True\n"
        (cell,) = api(project, "GET", "api/contents/mine.ipynb")["content"]["cells"]
        assert cell["metadata"]["trusted"]

    api(project, "DELETE", "api/contents/mine.ipynb")
    find = ["find", "/home", "/data", "-name", "*mine*"]
    assert project.compose("exec", "-T", "notebook", "entrypoint", *find).stdout == ""
    project.compose("down", "--volumes")
    start(project)
    assert "Dark" not in api(project, "GET", THEME)["raw"]


# Everyday lines


def write_wheel(folder: Path, name: str, version: str, needs: str = "") -> None:
    """Write a package with one empty module; `needs` are more lines of its METADATA."""
    module = name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}.py", "")
        wheel.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")


def write_package(folder: Path, name: str, source: str = ".", compiled: bool = False) -> None:
    """Write a package in the form that setuptools builds, with a compiled module if asked for."""
    (folder / source / name).mkdir(parents=True)
    (folder / source / name / "__init__.py").write_text("word = 'first'\n")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[tool.setuptools.packages.find]\nwhere = ["{source}"]\n'
    )
    if compiled:
        (folder / "setup.py").write_text(
            "from setuptools import Extension, setup\n"
            f"setup(ext_modules=[Extension('{name}.fast', ['fast.c'])])\n"
        )
        (folder / "fast.c").write_text(
            "#include <Python.h>\nPyObject *PyInit_fast(void) {return 0;}\n"
        )


@pytest.fixture(scope="module")
def index(engine, bridge, tmp_path_factory):  # noqa: F811
    """The address of a second package index, which also has a package that the main one has."""
    folder = tmp_path_factory.mktemp("index")
    write_wheel(folder / "simple/only-there", "only-there", "1.0")
    write_wheel(folder / "simple/only-newer", "only-newer", "1.0", "Requires-Python: >=3.12\n")
    write_wheel(folder / "simple/tabulate", "tabulate", "0.9.0+cpu")
    write_package(folder / "repository", "from_git")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"], ["update-server-info"]):
        subprocess.run([*git, *command], cwd=folder / "repository", check=True)
    handler = partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer((bridge, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{bridge}:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_: object) -> None:
        pass


KINDS = {  # a line of requirements.txt: what it brings, in which version
    "--extra-index-url {index}/simple": ("only-there", "1.0"),
    "only-there": ("only-there", "1.0"),
    "tabulate==0.9.0": ("tabulate", "0.9.0+cpu"),
    "only-newer": ("only-newer", "1.0"),
    "--find-links wheels": ("from-wheels", "2.0"),
    "from-wheels": ("from-wheels", "2.0"),
    "./vendor/from_file-3.0-py3-none-any.whl": ("from-file", "3.0"),
    "{index}/simple/only-there/only_there-1.0-py3-none-any.whl": ("only-there", "1.0"),
    "pandas<3": ("pandas", "2."),
    "requests[socks]": ("PySocks", "1."),
    "colorama ; sys_platform == 'win32'": ("colorama", "none"),
    "-r more/other.txt": ("toolz", "0.12.0"),
    "-c constraints.txt": ("toolz", "0.12.0"),
    "--no-binary docopt": ("docopt", "0."),
    "docopt": ("docopt", "0."),
    "--pre": ("docopt", "0."),
    "./package": ("packaged", "1.0"),
    "-e ./editable": ("edited", "1.0"),
    "-e .": ("own", "1.0"),
    "./compiled": ("compiled", "1.0"),
    "git+{index}/repository/.git": ("from_git", "1.0"),
    "git+file:///project/repository": ("from_folder", "1.0"),
    "pip": ("pip", "2"),
}
VERSIONS = """
import json, importlib.metadata, compiled, edited, from_folder, from_git, own, packaged
print(json.dumps({each.name: each.version for each in importlib.metadata.distributions()}))
"""


@pytest.fixture(scope="module")
def grown(new_project, index):
    """A project after all these lines; and what was there after the build, and after a new lock."""
    project = new_project()
    path = project.path
    write_wheel(path / "wheels", "from-wheels", "2.0")
    write_wheel(path / "vendor", "from-file", "3.0")
    write_package(path / "package", "packaged")
    write_package(path / "editable", "edited")
    write_package(path, "own", source="src")
    write_package(path / "compiled", "compiled", compiled=True)
    write_package(path / "repository", "from_folder")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", "repository"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        project.run(*git, *command)
    (path / "more").mkdir()
    (path / "more/other.txt").write_text("toolz\n")
    (path / "constraints.txt").write_text("toolz<0.12.1\n")
    lines = "\r\n".join(KINDS).format(index=index)  # the line ends of Windows, and none at the end
    with (path / "requirements.txt").open("a", newline="") as file:
        file.write(f"# of our own\r\n\r\n{lines}")
    with (path / "apt.txt").open("a", newline="") as file:
        file.write("git\r\ngcc  # for C\r\nlibc6-dev\r\npython3-dev\r\n\r\nfonts-noto-cjk")
    project.compose("build", "notebook")
    asked = json.loads(inside(project, "python", "-c", VERSIONS).stdout)
    project.compose("run", "--rm", "--build", "lock")
    project.compose("build", "notebook")
    locked = json.loads(inside(project, "python", "-c", VERSIONS).stdout)
    return project, asked, locked


@engine
@pytest.mark.parametrize("line", KINDS)
def test_a_line_means_what_it_means_to_pip_before_and_after_a_new_lock(grown, line):
    name, version = KINDS[line]
    for versions in grown[1:]:
        assert versions.get(name, "none").startswith(version)


@engine
def test_a_build_leaves_nothing_of_root_in_the_home_folder(grown):
    look = ("docker", "run", "--rm", "--entrypoint", "ls", grown[0].slug, "-A", "/home")
    assert grown[0].run(*look).stdout == ""


@engine
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("no-such-library-8c1f27", "no-such-library-8c1f27 was not found"),
        ("pandas=2", "pandas=2"),
        ("--config-settings=x=y", "requirements.txt:"),
        ("git+http://127.0.0.1/repository", "Git executable not found"),
        ("./compiled", "gcc"),
        ("pandas<3\npandas>=3", "pandas<3"),
    ],
)
def test_what_cannot_be_is_refused_by_name(clone, line, words):
    project = clone()
    write_package(project.path / "compiled", "compiled", compiled=True)
    with (project.path / "requirements.txt").open("a") as file:
        file.write(line)
    done = project.compose("--progress=plain", "build", "notebook", check=False)
    said, dump, _ = (done.stdout + done.stderr).partition("ERROR: process")
    assert done.returncode and dump and words in said.split("error: ", 1)[1]


@engine
def test_a_password_of_the_index_stays_out_of_the_lock(clone, index):
    project = clone()
    (project.path / "requirements.txt").write_text("only-there\n")
    secret = index.replace("http://", "http://user:pass-8c1f27@")
    project.env["UV_DEFAULT_INDEX"] = f"{secret}/simple"
    project.compose("run", "--rm", "--build", "lock")
    lock = (project.path / "requirements.lock").read_text()
    assert "only-there==1.0" in lock and "pass-8c1f27" not in lock


TITLE = """
import matplotlib.pyplot as plt, warnings
warnings.simplefilter("error")
plt.title("日本語 한국어 中文 Größe")
plt.savefig("/tmp/title.png")
"""


@engine
def test_a_title_in_japanese_needs_one_line(grown, built):
    assert "missing from" in inside(built, "python", "-c", TITLE, check=False).stderr
    assert inside(grown[0], "python", "-c", TITLE).stderr.count("Glyph") == 0


@engine
def test_an_extension_of_pip_install_is_there_after_a_restart(grown):
    project = grown[0]
    project.env["JUPYTER_TOKEN"] = TOKEN
    start(project)
    install = ("python", "-m", "pip", "install", "jupyter-resource-usage")
    project.compose("exec", "-T", "notebook", "entrypoint", *install)
    project.compose("restart", "notebook")
    start(project)
    assert api(project, "GET", "api/metrics/v1")["rss"] > 0
    listed = ("entrypoint", "jupyter", "labextension", "list")
    done = project.compose("exec", "-T", "notebook", *listed)
    assert "@jupyter-server/resource-usage" in done.stderr + done.stdout
    project.compose("down")


@engine
@pytest.mark.parametrize("file", ["editable/edited", "src/own"])
def test_an_edit_of_an_own_package_needs_no_build(grown, file):
    project = grown[0]
    (project.path / file / "__init__.py").write_text("word = 'second'\n")
    code = f"import {Path(file).name} as own; print(own.word)"
    assert inside(project, "bash", "-c", f'mkdir -p deep; cd deep; python -c "{code}"').stdout == (
        "second\n"
    )


KERNEL = """
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(cwd="/data/notebook/deep")
client.execute_interactive("import helpers, numpy, random; print(helpers.word, numpy.pi)")
"""


@engine
def test_a_module_with_the_name_of_a_library_stops_neither_server_nor_kernel(clone):
    project = clone()
    for name in ("random", "numpy", "code", "token", "jupyter_server", "tornado"):
        (project.data / f"{name}.py").write_text("raise SystemExit('taken')\n")
    (project.data / "helpers.py").write_text("word = 'found'\n")
    (project.data / "deep").mkdir()
    start(project)
    code = ["bash", "-c", f"cd /tmp; python -c '{KERNEL}'"]
    done = project.compose("exec", "-T", "notebook", "entrypoint", *code)
    assert "found 3.14" in done.stdout


# Teams, settings, messages


@engine
def test_files_of_a_team_stay_with_the_team(clone):
    project = clone(uid=20345, gid=3000, mode=0o2775, UMASK="0002")
    override = "services: {notebook: {group_add: ['4000']}}\n"
    (project.path / "docker-compose.override.yml").write_text(override)
    shared = project.data / "shared"
    shared.mkdir()
    os.chown(shared, 0, 4000)
    shared.chmod(0o2775)
    inside(project, "bash", "-c", "touch file shared/file && mkdir folder && touch folder/file")
    for name, mode, group in (
        ("file", 0o664, 3000),
        ("folder", 0o2775, 3000),
        ("folder/file", 0o664, 3000),
        ("shared/file", 0o664, 4000),
    ):
        made = (project.data / name).stat()
        assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (20345, group, mode), name


@engine
def test_a_folder_of_root_with_a_writing_group_keeps_both(clone):
    project = clone(uid=0, gid=3000, mode=0o2775, UMASK="0002")
    inside(project, "touch", "file")
    made = (project.data / "file").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (0, 3000, 0o664)


@engine
def test_the_time_zone_and_letters_of_the_world(clone):
    project = clone(TZ="Asia/Tokyo")
    code = "import locale, time; print(time.tzname[0], locale.getpreferredencoding(), 'ö日')"
    assert inside(project, "python", "-c", code).stdout == "JST UTF-8 ö日\n"


@engine
def test_a_path_with_blanks_and_colons(clone):
    project = clone()
    odd = project.path.parent / "a folder: mine" / project.slug
    odd.parent.mkdir()
    shutil.move(project.path, odd)
    moved = Project(odd, project.env)
    assert "process_cars.ipynb" in inside(moved, "ls").stdout
    moved.compose("run", "--rm", "--build", "lock")
    shutil.move(odd, project.path)


class Proxy(http.server.BaseHTTPRequestHandler):
    """A reverse proxy as teams have it: all that starts with /team/ goes to the notebook."""

    def do_GET(self) -> None:
        """Pass on what the notebook says."""
        if not self.path.startswith("/team/"):
            self.send_error(404)
            return
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}{self.path}")
        request.add_header("Host", self.headers["Host"])
        with urllib.request.urlopen(request) as page:
            body = page.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@engine
@pytest.mark.parametrize("base", ["/team/", "team"])
def test_behind_a_reverse_proxy(clone, base):
    project = clone(BASE_URL=base, JUPYTER_TOKEN=TOKEN)
    start(project)
    port = project.env["JUPYTER_PORT"]
    assert project.printed_url() == f"http://127.0.0.1:{port}/team/?token={TOKEN}"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        proxy.port = port
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_port}/team"
        with urllib.request.urlopen(f"{address}/lab?token={TOKEN}") as page:
            text = page.read().decode()
        proxy.shutdown()
    assert '"baseUrl": "/team/"' in text


@engine
def test_a_server_for_the_neighbours_prints_an_address_for_them(clone, bridge):  # noqa: F811
    project = clone(JUPYTER_BIND="0.0.0.0")
    start(project)
    assert "On other computers" in project.logs()
    address = project.printed_url().replace("127.0.0.1", bridge)
    assert urllib.request.urlopen(address).status == 200
    project.env["JUPYTER_BIND"] = bridge
    start(project)
    assert f"http://{bridge}:" in project.printed_url()


@engine
def test_what_is_wrong_in_the_folder_is_said_at_the_start(clone):
    project = clone(uid=20345)
    (project.data / "large").symlink_to("/mnt/large")
    (project.data / "of_root.csv").write_text("x")
    start(project)
    said = project.logs()
    assert "./large is a link to /mnt/large" in said and "DATA in .env" in said
    assert "./of_root.csv cannot be written to" in said
    assert "sudo chown -R 20345 data/input" in said
