"""The container runs as the owner of the folder, and what it writes belongs to that person."""

import pytest
from support.project import NO_RIGHTS, SHOW_RIGHTS

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
        assert project.data.stat().st_mode & 0o777 == 0o700
    finally:
        project.run("docker", "rm", "--force", "--volumes", container)


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "settings"),
    [
        (1000, 1000, 0o755, {}),
        (20345, 3000, 0o2775, {"UMASK": "0002"}),  # a group that writes
        (0, 3000, 0o2775, {"UMASK": "0002"}),
    ],
)
def test_owner_of_the_folder_gets_the_files(clone, uid, gid, mode, settings):
    project = clone(uid=uid, gid=gid, mode=mode, **settings)
    project.inside("bash", "-c", "touch file && mkdir folder && touch folder/file")
    modes = {".": mode, "folder": mode, "file": mode & 0o666, "folder/file": mode & 0o666}
    for name, expected in modes.items():
        made = (project.data / name).stat()
        assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (uid, gid, expected), name


def test_owner_of_another_folder_of_the_same_name_is_refused_and_sees_nothing(clone):
    first = clone(uid=20345)
    script = "echo secret >~/secret; stat -c '%a %u' ~"
    assert first.inside("bash", "-c", script).stdout == "700 20345\n"
    second = clone(uid=20346, COMPOSE_PROJECT_NAME=first.slug)
    done = second.inside("cat", "/home/notebook/secret", check=False)
    assert done.returncode == 2 and done.stdout == ""  # 2: nothing was started
    assert "Write COMPOSE_PROJECT_NAME=another-name into .env." in done.stderr
    del second.env["COMPOSE_PROJECT_NAME"]  # a folder of another name shares nothing
    assert second.inside("ls", "-A", "/home/notebook").stdout == ""
    assert first.inside("cat", "/home/notebook/secret").stdout == "secret\n"
