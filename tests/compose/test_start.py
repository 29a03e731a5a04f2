"""From `docker compose up` to the end: the printed address, the token, health, stopping."""

import http.client
import re
import socket
import time
import urllib.request

import pytest
from support.project import Project, inspect, wait_until
from support.servers import Relay, serving
from support.terminal import CTRL_C, Terminal

pytestmark = pytest.mark.engine
LINE = r"(\x1b\[2K)?Open http://127\.0\.0\.1:\d+/\?token=\w{48} in your browser\. .*\n"


def state(project: Project) -> dict:
    return inspect(project.container())["State"]


def test_start_prints_one_line_whose_address_opens_the_lab(running):
    assert re.fullmatch(LINE, running.start_log), running.start_log
    url = running.printed_url()
    assert url.startswith(f"http://127.0.0.1:{running.env['JUPYTER_PORT']}/")
    with urllib.request.urlopen(url) as page:
        assert page.url.split("?")[0].endswith("/lab")
        assert "JupyterLab" in page.read().decode()


def test_start_in_a_path_with_blanks_and_quotes(clone):
    project = clone()
    odd = project.path.parent / "a folder, 'mine'"
    odd.mkdir()
    project.path = project.path.rename(odd / project.slug)
    assert "process_cars.ipynb" in project.inside("ls").stdout
    project.compose("run", "--rm", "lock", "--help")


def test_start_on_a_taken_port_names_it(clone):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        project = clone(JUPYTER_PORT=port)
        done = project.compose("up", "--detach", "notebook", check=False)
    assert done.returncode != 0
    assert port in done.stderr and "address already in use" in done.stderr
    assert "address already in use" in (project.path / "README.md").read_text(encoding="utf-8")


def test_start_says_what_cannot_be_written_to(clone):
    project = clone(uid=20345)
    (project.data / "large").symlink_to("/mnt/large")  # the engine's affair, said by nobody
    (project.data / "of_root.csv").write_text("x")
    project.start()
    said = "of_root.csv cannot be written to. If that is wrong: sudo chown -R 20345 data/input\n"
    assert said in project.logs() and "large" not in project.logs()
    (project.path / "docker-compose.override.yml").write_text(
        "services: {notebook: {volumes: ['./data/input:/data/notebook:ro']}}\n"
    )
    project.start()
    assert "/data/notebook cannot be written to." in project.logs()


def test_start_behind_a_reverse_proxy(clone):
    project = clone(BASE_URL="team")
    project.up()
    port = project.env["JUPYTER_PORT"]
    address, token = project.printed_url().split("?")
    assert address == f"http://127.0.0.1:{port}/team/"

    class Proxy(Relay):
        def address(self) -> str | None:
            if self.path.startswith("/team/"):
                return f"http://127.0.0.1:{port}{self.path}"
            return self.send_error(404)

    with serving(Proxy) as proxy, urllib.request.urlopen(f"{proxy}/team/lab?{token}") as page:
        assert '"baseUrl": "/team/"' in page.read().decode()


def test_token_is_new_with_each_container_and_a_stop_is_clean(clone):
    project = clone()
    first = project.start()
    project.compose("stop", "--timeout", "9")
    assert state(project)["ExitCode"] == 0
    project.compose("down")
    second = project.start()
    assert first != second and first.split("token")[0] == second.split("token")[0]


@pytest.mark.parametrize("token", [{}, {"Authorization": "token wrong"}])
def test_token_is_asked_for_by_everything(running, token):
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    requests = [
        ("GET", "/api/contents/cars_sampled.csv", {}),
        ("PUT", "/api/contents/mine.txt", {}),
        ("GET", "/files/cars_sampled.csv", {}),
        ("POST", "/api/kernels", {}),
        ("POST", "/api/terminals", {}),
        ("POST", "/api/shutdown", {}),
        ("GET", "/lab", {}),
        ("GET", "/terminals/websocket/1", upgrade),
        ("GET", "/api/kernels/00000000-0000-0000-0000-000000000000/channels", upgrade),
    ]
    for method, path, headers in requests:
        connection = http.client.HTTPConnection("127.0.0.1", int(running.env["JUPYTER_PORT"]))
        connection.request(method, path, headers=headers | token)
        answer = connection.getresponse()
        refused = answer.status in (401, 403) or "/login" in answer.headers.get("Location", "")
        assert refused, (method, path, answer.status)
        connection.close()


def test_health_is_that_of_the_server_from_the_start_to_a_hang(clone):
    """And that of a run without a server is good."""
    project = clone()
    with (project.path / "docker/jupyter_server_config.py").open("a") as file:
        file.write("import time\ntime.sleep(7)\n")  # the first check comes after 5 s
    (project.path / "docker-compose.override.yml").write_text(
        "services: {notebook: {healthcheck: {retries: 1}}}\n"
    )
    sleep = ("docker", "run", "--rm", "--detach", project.slug, "sleep", "99")
    other = project.run(*sleep).stdout.strip()
    project.compose("up", "--detach", "--wait", "--no-build", "notebook")
    wait_until(lambda: inspect(other)["State"]["Health"]["Status"] == "healthy", 30, "healthy")
    project.run("docker", "rm", "--force", "--volumes", other)
    assert urllib.request.urlopen(project.printed_url()).status == 200
    project.shell("kill -STOP $(grep -l '[b]in/jupyter-lab' /proc/[0-9]*/cmdline | cut -d/ -f3)")
    wait_until(lambda: state(project)["Health"]["Status"] == "unhealthy", 60, "unhealthy")
    project.run("docker", "kill", project.container())


def test_stop_by_ctrl_c_of_a_plain_docker_run(built):
    with Terminal(f"docker run --rm -it {built.slug}", built.path) as terminal:
        terminal.wait_for("Open http://127.0.0.1:8888/")
        terminal.press(CTRL_C)
        begin = time.monotonic()
        assert terminal.exit_code(10) == 0
        assert time.monotonic() - begin < 5


def test_stop_of_processes_without_a_parent(running):
    running.shell("for i in {1..300}; do (sleep 0.1 &); done")
    dead = "cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z'; true"
    sleeping = "grep -c sleep /proc/[0-9]*/comm 2>/dev/null | grep -c :1; true"
    wait_until(lambda: running.shell(sleeping).stdout == "0\n", 20, "the end of their sleep")
    assert running.shell(dead).stdout == "0\n"
