"""`.devcontainer`, opened by the command-line tool that VS Code and Codespaces share.

The editor is not run. That it can install its server is shown by a program that runs in the home folder.
"""

import json
import os
import shutil
import tempfile
import urllib.request
from pathlib import Path

import pytest
from conftest import inspect, missing
from test_compose import is_root, less_first_column, owners, rows

INSIDE = """
id -u; id -un; pwd; command -v python; echo new >mine.txt
printf '#!/bin/sh\\necho ran' >~/program; chmod +x ~/program; ~/program
papermill process_cars.ipynb out.ipynb >/dev/null 2>&1; echo $?
"""


def test_it_names_what_the_compose_file_and_the_image_have(default_project):
    content = json.loads((default_project.path / ".devcontainer/devcontainer.json").read_text())
    assert content["name"] == default_project.slug
    assert (default_project.path / ".devcontainer" / content["dockerComposeFile"]).is_file()
    assert content["customizations"]["vscode"]["settings"] == {
        "python.defaultInterpreterPath": "/opt/venv/bin/python"
    }


@pytest.mark.engine
def test_it_opens_with_the_same_image_kernel_and_owner(built):
    tool = shutil.which("devcontainer")
    if not tool:
        missing("devcontainer", "there is no devcontainer: npm install --global @devcontainers/cli")
    if not is_root():
        missing("root", "only root can give a folder to another user")
    uid = 20345
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o777)
        project = built.copy(folder, uid)
        # The tool asks for the name of its user, and that number has none on this machine.
        (folder / "id").write_text("#!/bin/sh\necho student\n")
        (folder / "id").chmod(0o755)
        project.env |= {"PATH": f"{name}:{os.environ['PATH']}", "HOME": str(project.path)}
        group = os.stat("/var/run/docker.sock").st_gid
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={group}", tool]
        where = ("--workspace-folder", str(project.path))

        done = project.run(*user, "up", *where)
        container = json.loads(done.stdout.splitlines()[-1])["containerId"]
        try:
            done = project.run(*user, "exec", *where, "bash", "-c", INSIDE)
            assert done.stdout.split() == [
                str(uid), "notebook", "/data/notebook", "/opt/venv/bin/python", "ran", "0",
            ]  # fmt: skip
            assert rows(project.data / "processed.csv") == less_first_column(
                project.data / "cars_sampled.csv"
            )
            assert (project.data / "mine.txt").read_text() == "new\n"
            assert owners(project.data) == {(uid, uid)}

            config = inspect(container)["HostConfig"]
            assert config["ReadonlyRootfs"] and config["CapDrop"] == ["ALL"]
            base, opened = inspect(built.slug), inspect(inspect(container)["Image"])
            layers = base["RootFS"]["Layers"]
            assert opened["RootFS"]["Layers"][: len(layers)] == layers
            with urllib.request.urlopen(project.printed_url()) as page:
                assert page.status == 200
        finally:
            image = inspect(container)["Config"]["Image"]
            project.compose("down")
            project.run("docker", "rmi", "--force", image)
