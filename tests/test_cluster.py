"""A Dask cluster on one machine: how it starts, who can reach it, and what is lost when a part of it dies."""

import csv
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections import defaultdict

import pytest
from conftest import Project, free_port, inspect

pytestmark = pytest.mark.engine

NOTEBOOK = "process_cars_dask.ipynb"
OWNER = 20345 if os.name == "posix" and os.geteuid() == 0 else None
ASK = """
import json
from dask.distributed import Client
client = Client(timeout=10)
workers = client.scheduler_info(n_workers=-1)["workers"].values()
for worker in workers:
    del worker["metrics"]  # JSON does not know their keys
print(json.dumps([client.scheduler.address, list(workers), client.submit(sum, [1, 2]).result()]))
"""


@pytest.fixture(scope="module")
def cluster(new_project) -> Project:
    """A project whose notebook, scheduler and two workers run, started as a user starts them."""
    project = new_project(cluster="dask")
    project.env["DASHBOARD_PORT"] = str(free_port())
    if OWNER:
        for path in [project.path, *project.path.rglob("*")]:
            os.chown(path, OWNER, OWNER)
    project.compose("build", "notebook")
    project.compose("up", "--detach", "--wait")
    return project


@pytest.fixture(scope="module")
def expected(cluster) -> dict[str, bytes]:
    """What process_cars.ipynb writes, for the sample and for one of many megabytes, by the name of the file."""
    header, rows = (cluster.data / "cars_sampled.csv").read_bytes().split(b"\n", 1)
    (cluster.data / "large.csv").write_bytes(header + b"\n" + rows * 40)
    found = {}
    script = (
        "import json; names = {}\n"
        "for cell in json.load(open('process_cars.ipynb'))['cells']:\n"
        "    if cell['id'] in ('helpers', 'core'): exec(''.join(cell['source']), names)\n"
        "for name in ('cars_sampled.csv', 'large.csv'):\n"
        "    names['drop_first_column'](name, 'expected-' + name)"
    )
    cluster.compose("exec", "notebook", "entrypoint.sh", "python", "-c", script)
    for name in ("cars_sampled.csv", "large.csv"):
        found[name] = (cluster.data / f"expected-{name}").read_bytes()
    return found


@pytest.fixture
def healthy(cluster):
    """The cluster as it is at the start, whatever the test before has done to it."""
    cluster.compose("up", "--detach", "--wait")
    (cluster.data / "processed.csv").unlink(missing_ok=True)
    return cluster


def containers(project, *services: str) -> list[str]:
    return project.compose("ps", "--quiet", *services).stdout.split()


def papermill(project, notebook: str = NOTEBOOK, *options: str) -> tuple[int, list[dict]]:
    """Run a notebook headless; return the exit code and its cells."""
    command = ("run", "--rm", *options, "notebook", "papermill", notebook, "out.ipynb")
    done = project.compose(*command, check=False)
    cells = json.loads((project.data / "out.ipynb").read_text(encoding="utf-8"))["cells"]
    return done.returncode, cells


def said(cells) -> str:
    """All that a notebook printed, and its error."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join("".join(output.get("text", output.get("traceback", ""))) for output in outputs)


def up_to_step_1(project, block: int) -> str:
    """Write a notebook that ends with step 1 and works on blocks of that many bytes; return its name."""
    notebook = json.loads((project.data / NOTEBOOK).read_text(encoding="utf-8"))
    last = next(i for i, cell in enumerate(notebook["cells"]) if cell["id"] == "run-step1")
    notebook["cells"] = notebook["cells"][: last + 1]
    text = json.dumps(notebook)
    assert "BLOCK = 1 << 25" in text
    (project.data / "step1.ipynb").write_text(text.replace("BLOCK = 1 << 25", f"BLOCK = {block}"))
    return "step1.ipynb"


def start_step_1(project, *options: str) -> subprocess.Popen:
    """Start step 1 on the large file, in small blocks, and return once some of them are written."""
    name = up_to_step_1(project, 1 << 16)
    job = subprocess.Popen(
        ["docker", "compose", "exec", "-T", *options, "notebook", "entrypoint.sh", "papermill",
         name, "out.ipynb", "-p", "source", "large.csv"],
        cwd=project.path, env={**os.environ, **project.env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while job.poll() is None:
        if any(part.stat().st_size for part in project.data.glob(".processed.csv.*.part")):
            return job
        time.sleep(0.02)
    pytest.fail(job.communicate()[0])


def kill_process(container: str, words: str) -> None:
    """Kill the process of a container whose command line holds these words."""
    table = subprocess.run(
        ["docker", "top", container, "-eo", "pid,args"], capture_output=True, text=True, check=True
    ).stdout
    (line,) = [line for line in table.splitlines() if words in line and "tini" not in line]
    os.kill(int(line.split()[0]), signal.SIGKILL)


def ask(project, **env: str) -> tuple[str, list[dict]]:
    """Return the address that `Client()` finds without being told, and what it knows of the workers."""
    done = project.compose("exec", "-T", "notebook", "entrypoint.sh", "python", "-c", ASK, **env)
    address, workers, three = json.loads(done.stdout)
    assert three == 3
    return address, workers


def test_everything_is_healthy_and_the_dashboard_answers_where_the_log_says(cluster):
    for service, number in {"notebook": 1, "scheduler": 1, "worker": 2}.items():
        states = [
            inspect(name)["State"]["Health"]["Status"] for name in containers(cluster, service)
        ]
        assert states == ["healthy"] * number, service
    (url,) = re.findall(r"https?://\S+", cluster.compose("logs", "scheduler", "worker").stdout)
    assert url == f"http://127.0.0.1:{cluster.env['DASHBOARD_PORT']}/status"
    with urllib.request.urlopen(url) as page:
        assert "Dask" in page.read().decode()
    assert "token=" in cluster.printed_url()


def test_nothing_but_jupyter_and_the_dashboard_is_published_and_only_to_this_machine(cluster):
    published = set()
    for name in containers(cluster):
        for port, hosts in inspect(name)["NetworkSettings"]["Ports"].items():
            published |= {(port, host["HostIp"], host["HostPort"]) for host in hosts or []}
    assert published == {
        ("8888/tcp", "127.0.0.1", cluster.env["JUPYTER_PORT"]),
        ("8787/tcp", "127.0.0.1", cluster.env["DASHBOARD_PORT"]),
    }


def test_scheduler_and_workers_are_the_owner_of_the_folder_and_have_no_rights(cluster):
    owner = str(cluster.data.stat().st_uid)
    show = "grep -hE '^(Uid|Cap|NoNewPrivs)' /proc/[0-9]*/status"
    for name in containers(cluster, "scheduler", "worker"):
        # As the owner, like the others; the shell that asks is among the processes.
        done = cluster.run("docker", "exec", name, "entrypoint.sh", "bash", "-c", show)
        lines = {tuple(line.split()) for line in done.stdout.splitlines()}
        caps = {(f"Cap{kind}:", "0" * 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
        assert lines == {("Uid:", *[owner] * 4), ("NoNewPrivs:", "1"), *caps}


def test_scheduler_and_workers_are_as_hardened_as_the_notebook(cluster):
    keys = [
        "CapAdd",
        "CapDrop",
        "SecurityOpt",
        "ReadonlyRootfs",
        "Memory",
        "PidsLimit",
        "ShmSize",
        "Privileged",
        "Tmpfs",
    ]
    notebook = inspect(cluster.container())["HostConfig"]
    assert notebook["ReadonlyRootfs"] and notebook["CapDrop"] == ["ALL"]
    for name in containers(cluster, "scheduler", "worker"):
        config = inspect(name)["HostConfig"]
        assert {key: config[key] for key in keys} == {key: notebook[key] for key in keys}
        assert inspect(name)["Image"] == inspect(cluster.container())["Image"]


def test_workers_know_their_memory_and_spill_to_a_disk(cluster):
    address, workers = ask(cluster)
    assert address.startswith("tcp://") and len(workers) == 2
    for worker in workers:
        assert worker["nthreads"] == 1 and worker["memory_limit"] == 4 * 1024**3
        assert worker["local_directory"].startswith("/var/tmp/")
    kind = cluster.compose(
        "exec", "worker", "stat", "--file-system", "--format=%T", "/var/tmp"
    ).stdout
    assert kind.strip() != "tmpfs"


def test_the_notebook_uses_the_cluster_and_writes_what_process_cars_writes(healthy, expected):
    healthy.compose(
        "stop", "scheduler", "worker"
    )  # `docker compose run` starts them with the notebook
    code, cells = papermill(healthy)
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    text = said(cells)
    assert code == 0, text
    assert (healthy.data / "processed.csv").read_bytes() == expected["cars_sampled.csv"]
    assert (healthy.data / "processed.csv").stat().st_uid == healthy.data.stat().st_uid
    assert re.search("Workers that are ready: [12]\n", text), text
    assert "cores of this computer" not in text
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert "warning" not in json.dumps(outputs).lower()
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 1

    prices = defaultdict(list)  # the same in plain Python
    with open(healthy.data / "processed.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            price, year, power, kilometres = (
                int(row[name]) for name in ("price", "yearOfRegistration", "powerPS", "kilometer")
            )
            good = 100 <= price <= 150_000 and 1950 <= year <= time.localtime().tm_year
            if good and 10 <= power <= 1_000 and 0 <= kilometres <= 1_000_000:
                prices[row["brand"]].append(price)
    (table,) = next(cell for cell in cells if cell["id"] == "load")["outputs"][-1:]
    shown = re.findall(
        r"^(\w+) +(\d+) +([\d.]+)$", "".join(table["data"]["text/plain"]), re.MULTILINE
    )
    assert len(shown) == 5
    for brand, count, mean in shown:
        assert int(count) == len(prices[brand])
        assert abs(float(mean) - sum(prices[brand]) / len(prices[brand])) <= 0.5
    assert f"{sum(map(len, prices.values())):,} cars of {len(prices)} brands." in text

    median, best = re.search(
        r"is ([\d,]+) EUR off on average, the best settings ([\d,]+) EUR", text
    ).groups()
    assert int(best.replace(",", "")) < 0.35 * int(median.replace(",", ""))


@pytest.mark.parametrize("how", ["process", "container"])
def test_a_worker_that_dies_changes_nothing(healthy, expected, how):
    job = start_step_1(healthy)
    worker = containers(healthy, "worker")[0]
    if how == "process":
        kill_process(worker, "spawn_main")
    else:
        healthy.run("docker", "kill", worker)
    printed, _ = job.communicate()
    assert job.returncode == 0, printed
    assert (healthy.data / "processed.csv").read_bytes() == expected["large.csv"]


def test_a_scheduler_that_dies_is_started_anew_and_the_job_ends_well(healthy, expected):
    (scheduler,) = containers(healthy, "scheduler")
    starts = inspect(scheduler)["RestartCount"]
    job = start_step_1(healthy)
    kill_process(scheduler, "dask scheduler")
    printed, _ = job.communicate()
    assert job.returncode == 0, printed
    assert (healthy.data / "processed.csv").read_bytes() == expected["large.csv"]
    assert inspect(scheduler)["RestartCount"] == starts + 1
    end = time.monotonic() + 60
    while len(ask(healthy)[1]) < 2:  # each worker finds the new scheduler in its own time
        assert time.monotonic() < end


# Only one that is killed is missed at once. How long Dask looks for it, 30 s if not set: shorter and longer than
# the notebook waits for a block. Docker itself starts neither anew.
@pytest.mark.parametrize("how, seconds", [("kill", 8), ("stop", 15)])
def test_a_scheduler_that_stays_away_ends_the_job_with_a_sentence(healthy, expected, how, seconds):
    old = healthy.data / "processed.csv"
    old.write_bytes(b"as it was")
    job = start_step_1(healthy, "--env", f"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT={seconds}s")
    healthy.run("docker", how, *containers(healthy, "scheduler"))
    printed, _ = job.communicate()
    assert job.returncode != 0
    (sentence,) = set(re.findall(r"^Problem: .*", printed, re.MULTILINE))
    assert "the scheduler was lost" in sentence and sentence.endswith("Nothing was overwritten.")
    assert old.read_bytes() == b"as it was" and not list(healthy.data.glob(".processed*"))
    healthy.compose("up", "--detach", "--wait")


def test_a_worker_without_a_scheduler_is_not_healthy(healthy):
    healthy.compose("stop", "scheduler", "worker")
    healthy.compose("up", "--detach", "--no-deps", "worker")
    checks = []
    while len(checks) < 3:
        time.sleep(0.2)
        checks = inspect(containers(healthy, "worker")[0])["State"]["Health"]["Log"]
    assert all(check["ExitCode"] for check in checks), checks


def test_without_a_cluster_the_notebook_works_on_the_cores_of_one_computer(healthy, expected):
    healthy.compose("stop", "scheduler", "worker")
    code, cells = papermill(healthy, up_to_step_1(healthy, 100_000), "--no-deps")
    assert code == 0, said(cells)
    assert "It does not answer, so the cores of this computer do the work.\n" in said(cells)
    assert (healthy.data / "processed.csv").read_bytes() == expected["cars_sampled.csv"]
    names = {o.get("name", "stdout") for cell in cells for o in cell.get("outputs", [])}
    assert names == {"stdout"}, said(cells)


def test_more_workers_and_encryption_are_a_setting_each(healthy):
    setting = {"WORKERS": "3", "CLUSTER_TLS": "on"}
    healthy.compose("up", "--detach", "--wait", **setting)
    address, workers = ask(healthy, **setting)
    assert address.startswith("tls://") and len(workers) == 3
    # Somebody in the same network, with another certificate or with none.
    script = (
        "from dask.distributed import Client, Security\n"
        "own = dict.fromkeys(('tls_ca_file', 'tls_client_cert'), '/tmp/own.pem')\n"
        "for scheme, keys in ('tcp', {}), ('tls', own):\n"
        "    try: Client(f'{scheme}://scheduler:8786', timeout=3, security=Security(False, **keys))\n"
        "    except OSError: print('refused')"
    )
    certificate = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=x"
    certificate += " -keyout /tmp/own.pem -out /tmp/own.pem 2>/dev/null"
    done = healthy.run("docker", "exec", "-e", "DASK_DISTRIBUTED__COMM__TLS__CA_FILE=",
                       healthy.container(), "entrypoint.sh", "bash", "-c",
                       f'{certificate} && python -c "$0"', script)  # fmt: skip
    assert done.stdout.split() == ["refused", "refused"]
    mode = healthy.compose("exec", "scheduler", "stat", "--format=%a %u", "/var/tmp/tls.pem").stdout
    assert mode.split() == ["600", str(healthy.data.stat().st_uid)]
