"""What a user types, from a generated folder to processed.csv and back to an empty engine."""

import csv
import os
import re
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import pytest
from conftest import Project, base_of, inspect, is_root, missing

pytestmark = pytest.mark.engine
PAPERMILL = ("papermill", "process_cars.ipynb", "out.ipynb")


def less_first_column(path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return [row[1:] for row in csv.reader(file)]


def rows(path) -> list[list[str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def owners(folder) -> set[tuple[int, int]]:
    """Return user and group of the folder and of all that is in it."""
    return {(p.lstat().st_uid, p.lstat().st_gid) for p in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize(("uid", "mode"), [(1000, 0o755), (20345, 0o700), (0, 0o755)])
def test_files_belong_to_whoever_owns_the_folder(built, tmp_path, uid, mode):
    if not is_root():
        missing("root", "only root can give a folder to another user")
    project = built.copy(tmp_path, uid, mode)
    project.compose("run", "--rm", "notebook", *PAPERMILL)
    project.compose("down")
    assert rows(project.data / "processed.csv") == less_first_column(
        project.data / "cars_sampled.csv"
    )
    assert (project.data / "out.ipynb").stat().st_size > 10_000
    assert owners(project.data) == {(uid, uid)}
    assert project.data.stat().st_mode & 0o777 == mode


def test_plain_docker_as_in_the_seed(built, tmp_path):
    """`docker build` and `docker run` with the folder mounted, without Compose."""
    uid = 20345 if is_root() else os.getuid()
    project = built.copy(tmp_path, uid)
    base = (
        ["--build-arg", f"BASE_IMAGE={os.environ['BASE_IMAGE']}"]
        if os.environ.get("BASE_IMAGE")
        else []
    )
    project.run("docker", "build", "--quiet", *base, "-t", f"{built.slug}-first", ".")
    try:
        mount = ("-v", f"{project.data}:/data/notebook")
        project.run("docker", "run", "--rm", *mount, f"{built.slug}-first", *PAPERMILL)
        assert rows(project.data / "processed.csv") == less_first_column(
            project.data / "cars_sampled.csv"
        )
        assert owners(project.data) == {(uid, uid)}
    finally:
        project.run("docker", "rmi", "--force", f"{built.slug}-first")


def test_with_nothing_mounted_the_sample_is_there(built):
    done = built.run(
        "docker", "run", "--rm", built.slug, "bash", "-c", "ls; id -u; stat -c %u .; touch new"
    )
    assert done.stdout.split() == ["cars_sampled.csv", "process_cars.ipynb", "1000", "1000"]


def test_two_containers_at_once_on_two_ports(running, tmp_path):
    second = running.copy(tmp_path)
    try:
        second.compose("up", "--detach", "--wait", "notebook")
        first_url, second_url = running.printed_url(), second.printed_url()
        assert first_url != second_url
        for url in (first_url, second_url):
            assert urllib.request.urlopen(url).status == 200
    finally:
        second.compose("down")


def test_stopping_is_quick_and_clean(built, tmp_path):
    project = built.copy(tmp_path)
    project.compose("up", "--detach", "--wait", "notebook")
    name = project.container()
    project.compose("stop", "--timeout", "9")
    state = inspect(name)["State"]
    project.compose("down")
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]


def test_notebook_7_opens_where_it_was_chosen(notebook_7):
    with urllib.request.urlopen(notebook_7.printed_url()) as page:
        assert page.url.split("?")[0].endswith("/tree")


def test_the_token_and_the_port_can_be_set(built, tmp_path):
    project = built.copy(tmp_path)
    (project.path / ".env").write_text("JUPYTER_TOKEN=open-sesame\n")
    project.compose("up", "--detach", "--wait", "notebook")
    assert (
        project.printed_url()
        == f"http://127.0.0.1:{project.env['JUPYTER_PORT']}/?token=open-sesame"
    )
    assert urllib.request.urlopen(project.printed_url()).status == 200
    project.compose("down")


def test_the_lock_is_written_by_its_owner_and_stays_when_nothing_changed(built, tmp_path):
    uid = 20345 if is_root() else os.getuid()
    project = built.copy(tmp_path, uid)
    lock = project.path / "requirements.lock"
    before = lock.read_text()
    project.compose("run", "--rm", "lock")
    assert lock.read_text() == before
    assert owners(project.path) == {(uid, uid)}

    with (project.path / "requirements.txt").open("a") as file:
        file.write("tabulate\n")
    done = project.compose("run", "--rm", "lock")
    assert re.search(r"^Resolved \d+ packages", done.stderr, re.MULTILINE)
    assert "warning" not in done.stderr and "--hash" not in done.stdout
    added = set(lock.read_text().splitlines()) - set(before.splitlines())
    assert next(line for line in added if re.match(r"[a-z]", line)).startswith("tabulate==")
    assert lock.stat().st_uid == uid


def test_a_library_is_one_line_and_a_rebuild_away_also_without_a_new_lock(new_project):
    project = new_project()
    with (project.path / "requirements.txt").open("a") as file:
        file.write("tabulate\n")
    done = project.compose("run", "--rm", "--build", "notebook", "python", "-c", "import tabulate")
    assert done.returncode == 0


def test_a_changed_hash_stops_the_build(new_project):
    project = new_project()
    lock = project.path / "requirements.lock"
    head, tqdm, tail = re.split(
        r"^(tqdm==.*(?:\n    --hash.*)+)", lock.read_text(), flags=re.MULTILINE
    )
    lock.write_text(head + re.sub(r"sha256:\w{8}", "sha256:00000000", tqdm) + tail)
    done = project.compose("build", "notebook", check=False)
    assert done.returncode != 0
    assert re.search(r"hash mismatch for `tqdm", done.stdout, re.IGNORECASE), done.stdout


def test_it_builds_when_the_sample_is_gone_and_data_stays_outside(new_project):
    project = new_project()
    for path in project.data.iterdir():
        path.unlink()
    (project.data / "mine.csv").write_text("x")
    project.compose("build", "notebook")
    assert project.run("docker", "run", "--rm", project.slug, "ls", "-A").stdout == ""


@pytest.mark.parametrize("python", ["3.11", "3.14"])
def test_other_pythons_build_and_run_the_notebook(new_project, python):
    project = new_project(python_version=python)
    project.env.update(base_of(python))
    project.compose("run", "--rm", "--build", "notebook", *PAPERMILL)
    assert rows(project.data / "processed.csv") == less_first_column(
        project.data / "cars_sampled.csv"
    )
    done = project.compose("run", "--rm", "notebook", "python", "--version")
    assert done.stdout.startswith(f"Python {python}.")


def test_a_fresh_clone_by_another_user_works(built):
    """What git keeps is enough: commit, clone as somebody else, run."""
    if not is_root():
        missing("root", "only root can become another user")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o777)
        project = built.copy(folder, 0)
        for command in (
            ["init", "-q", "-b", "main"],
            ["add", "-A"],
            ["commit", "-qm", "x"],
            ["bundle", "create", "-q", folder / "bundle", "main"],
        ):
            subprocess.run([*git, *command], cwd=project.path, check=True)
        clone = Project(
            folder / "clone", {**project.env, "COMPOSE_PROJECT_NAME": f"{built.slug}-c"}
        )
        subprocess.run(
            ["setpriv", "--reuid=20345", "--regid=20345", "--clear-groups", "git",
             "clone", "-q", "-b", "main", folder / "bundle", clone.path],
            check=True, env={**os.environ, "HOME": name},
        )  # fmt: skip
        clone.compose("run", "--rm", "notebook", *PAPERMILL)
        clone.compose("down")
        source, output = clone.data / "cars_sampled.csv", clone.data / "processed.csv"
        assert rows(output) == less_first_column(source)
        assert owners(clone.data) == {(20345, 20345)}
