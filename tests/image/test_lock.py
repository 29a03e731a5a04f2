"""docker compose run --rm lock: requirements.lock."""

import os
import re
import shutil
import subprocess

import pytest
from support.packages import write_wheel
from support.project import Project, is_root, missing, owners
from support.servers import files, serving

pytestmark = pytest.mark.engine


def renew(project: Project, *options: str, check: bool = True, **env: str):
    return project.compose("run", "--rm", "lock", *options, check=check, **env)


def lock(project: Project) -> str:
    return (project.path / "requirements.lock").read_text()


def version(project: Project, name: str) -> str:
    return re.search(rf"^{name}==(\S+)", lock(project), re.MULTILINE)[1]


def test_lock_is_its_owners_and_stays_when_nothing_changed(clone):
    """The first run leaves out what is for other Pythons; the second changes nothing."""
    project = clone(uid=20345)
    before = set(re.findall(r"^\S+==\S+", lock(project), re.MULTILINE))
    os.chown(project.data, 20346, 20346)  # the data is another's, and so the home folder
    project.inside("true")
    renew(project)
    os.chown(project.data, 20345, 20345)
    assert owners(project.path) == {(20345, 20345)}
    first = lock(project)
    assert "sys_platform == 'win32'" in first
    assert set(re.findall(r"^\S+==\S+", first, re.MULTILINE)) <= before
    renew(project)
    assert lock(project) == first


def test_lock_pins_new_lines_and_keeps_versions_until_upgrade_renews_them(clone):
    """That of uv too."""
    project = clone()
    path = project.path / "requirements.lock"
    old = {"uv": "0.9.0", "tqdm": "4.66.5"}
    for name, number in old.items():
        path.write_text(re.sub(rf"(?m)^{name}==\S+", f"{name}=={number}", lock(project)))
    with (project.path / "requirements.txt").open("a") as file:
        file.write("Toolz\n")
    renew(project)
    assert {name: version(project, name) for name in old} == old
    assert re.search(r"^toolz==\S+ \\\n    --hash=sha256:", lock(project), re.MULTILINE)
    renew(project, "--upgrade")
    for name, number in old.items():
        assert version(project, name) != number


def test_lock_holds_no_address_of_this_machine(clone, bridge, tmp_path):
    """And no password of an index, wherever uv has it from."""
    for name in ("in-setting", "in-base-image"):
        write_wheel(tmp_path / name / "simple" / name, name, "1.0")
    project = clone()
    (project.path / "requirements.txt").write_text("in-setting\nin-base-image\n")
    (project.path / "requirements.lock").unlink()  # somebody threw it away
    with serving(files(tmp_path), bridge) as address:
        address = address.replace("//", "//reader:pass-8c1f27@")
        (project.path / ".env").write_text(f"UV_INDEX={address}/in-setting/simple\n")
        (project.path / "uv.toml").write_text(
            f'[[index]]\nurl = "{address}/in-base-image/simple"\n'
        )
        mount = "services: {lock: {volumes: ['./uv.toml:/etc/uv/uv.toml:ro']}}\n"
        (project.path / "docker-compose.override.yml").write_text(mount)
        renew(project)
    assert version(project, "in-setting") == version(project, "in-base-image") == "1.0"
    assert "pass-8c1f27" not in lock(project)
    assert bridge not in lock(project)


def test_lock_is_as_it_was_after_a_failure(clone):
    project = clone()
    before = lock(project)
    with (project.path / "requirements.txt").open("a") as file:
        file.write("pandas<3\npandas>=3\n")
    done = renew(project, check=False)
    assert done.returncode != 0
    assert "pandas<3" in done.stderr
    assert "requirements.lock is as it was" in done.stderr
    assert lock(project) == before


@pytest.fixture
def full_disk(clone):
    """A project with a short lock, on a disk with less room than a whole one needs."""
    if not is_root():
        missing("root", "only root can mount a small disk")
    project = clone()
    content = shutil.copytree(project.path, f"{project.path}-content")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", project.path], check=True)
    shutil.copytree(content, project.path, dirs_exist_ok=True)
    (project.path / "requirements.lock").write_text("# short\n")
    filler = project.path / "filler"
    project.run("bash", "-c", "cat /dev/zero >filler", check=False)
    os.truncate(filler, filler.stat().st_size - 2**16)
    yield project
    subprocess.run(["umount", project.path], check=True)


def test_lock_is_never_half_written(full_disk):
    done = renew(full_disk, check=False)
    assert done.returncode != 0
    assert "No space left" in done.stderr
    assert lock(full_disk) == "# short\n"
