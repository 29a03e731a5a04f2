"""A room without a network, and a stick to carry the image there: docs/company.md."""

import re
import shutil
import tempfile
import urllib.request
from pathlib import Path

import pytest
from support.engines import Engine
from support.project import (
    QUICK,
    ROOT,
    RUN_QUICK,
    Project,
    free_port,
    inspect,
    is_root,
    missing,
    wait_until,
)

pytestmark = pytest.mark.engine


def test_offline_a_notebook_runs_and_the_server_is_healthy(clone):
    """By `docker run` and by Compose, where no road leads out."""
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


@pytest.mark.nightly
def test_offline_an_engine_that_never_saw_the_base_image_runs_what_was_saved(built, tmp_path):
    if not shutil.which("dockerd") or not is_root():
        missing("second-engine", "only root with a dockerd can start a second engine")
    text = (ROOT / "docs/company.md").read_text(encoding="utf-8")
    own = text.replace("my-ml-project", built.slug).replace("image.tar", f"{tmp_path}/image.tar")
    own = own.replace("--no-build", "--no-build --detach --wait")
    save, load = re.findall(r"```bash\n(docker (?:save|load).*?)```", own, re.DOTALL)
    built.run("bash", "-euc", save)
    shutil.copytree(built.path, tmp_path / built.slug)
    with tempfile.TemporaryDirectory() as folder, Engine(Path(folder)) as second:
        env = {"DOCKER_HOST": second.host, "JUPYTER_PORT": str(free_port())}
        project = Project(tmp_path / built.slug, env)
        assert project.run("docker", "images", "--all", "--quiet").stdout == ""
        try:
            project.run("bash", "-euc", load)
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
