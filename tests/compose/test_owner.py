"""The container runs as the owner of the folder, and what it writes belongs to that person."""

import pytest
from support.project import NO_RIGHTS, SHOW_RIGHTS, owners

pytestmark = pytest.mark.engine
IDS = "grep -h -E '^(Uid|Gid|Groups):' /proc/1/status | tr '\\n' '\\t'"


@pytest.mark.parametrize("way", ["compose", "plain"])
def test_owner_runs_the_server_without_any_right(clone, way):
    """Also where nobody else may enter; and what `docker run` gives is given up too."""
    project = clone(uid=20345, gid=20777, mode=0o700)
    if way == "compose":
        project.up()
        container = project.container()
    else:
        mount = ("-v", f"{project.data}:/data/notebook")
        command = ("docker", "run", "--rm", "--detach", *mount, project.slug)
        container = project.run(*command).stdout.strip()
    try:
        shell = ("docker", "exec", container, "entrypoint", "bash", "-c")
        project.run(*shell, "until healthy; do sleep 0.2; done 2>/dev/null")
        rights = project.run(*shell, SHOW_RIGHTS).stdout.splitlines()
        assert {tuple(line.split()) for line in rights} == NO_RIGHTS | {("Uid:", *["20345"] * 4)}
        assert len(rights) >= 14  # tini and the server
        ids = project.run(*shell, IDS).stdout.split()
        assert ids == ["Uid:", *["20345"] * 4, "Gid:", *["20777"] * 4, "Groups:"]
        # README's shell is the owner's, too.
        done = project.run(*shell, "touch mine; grep Cap /proc/self/status")
        assert set(done.stdout.split()[1::2]) == {"0" * 16} and done.stderr == ""
        made = (project.data / "mine").stat()
        assert (made.st_uid, made.st_gid) == (20345, 20777)
    finally:
        project.run("docker", "rm", "--force", "--volumes", container)


@pytest.mark.parametrize(("uid", "mode"), [(1000, 0o755), (20345, 0o700), (0, 0o755)])
def test_owner_of_the_folder_gets_the_files(clone, uid, mode):
    project = clone(uid=uid, mode=mode)
    project.inside("bash", "-c", "mkdir folder && echo x | tee file folder/file")
    assert (project.data / "folder/file").exists()
    assert owners(project.data) == {(uid, uid)}
    assert project.data.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("uid", [20345, 0])
def test_owner_and_a_writing_group_both_keep_their_rights(clone, uid):
    project = clone(uid=uid, gid=3000, mode=0o2775, UMASK="0002")
    project.inside("bash", "-c", "touch file && mkdir folder && touch folder/file")
    for name, mode in (("file", 0o664), ("folder", 0o2775), ("folder/file", 0o664)):
        made = (project.data / name).stat()
        assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (uid, 3000, mode), name


def test_owner_of_another_folder_of_the_same_name_is_refused_and_sees_nothing(clone):
    first = clone(uid=20345)
    first.inside("bash", "-c", "echo secret >~/secret")
    mode = first.inside("stat", "-c", "%a %u", "/home/notebook").stdout.split()
    assert mode == ["700", "20345"]
    second = clone(uid=20346, COMPOSE_PROJECT_NAME=first.slug)
    done = second.inside("cat", "/home/notebook/secret", check=False)
    assert done.returncode != 0 and "secret" not in done.stdout
    assert "Write COMPOSE_PROJECT_NAME=another-name into .env." in done.stderr
    del second.env["COMPOSE_PROJECT_NAME"]  # a folder of another name shares nothing
    assert second.inside("ls", "-A", "/home/notebook").stdout == ""
    assert first.inside("cat", "/home/notebook/secret").stdout == "secret\n"


def test_owner_of_the_repository_gets_the_lock(clone):
    project = clone(uid=20345)
    lock = project.path / "requirements.lock"
    before = lock.stat().st_mtime_ns
    project.compose("run", "--rm", "lock")
    assert lock.stat().st_mtime_ns > before
    assert owners(project.path) == {(20345, 20345)}
