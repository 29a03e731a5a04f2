"""`.devcontainer`, opened by the command-line tool that VS Code and Codespaces share.

The editor is not run. That it can install its server is shown by a program in the home folder.
"""

import json
import os
import shutil

import pytest
from support.project import QUICK, inspect, missing, owners

INSIDE = """
id -u; id -un; pwd; command -v python
git init -q . && git add -A && git status --short | grep -c '^A'
echo '# mine' | tee -a Dockerfile README.md >data/input/mine.txt
printf '#!/bin/sh\\necho ran' >~/program; chmod +x ~/program; ~/program
cd data/input && papermill quick.ipynb out.ipynb >/dev/null 2>&1; echo $?
"""


@pytest.mark.engine
@pytest.mark.devcontainer
def test_devcontainer_opens_the_repository_with_git_the_kernel_and_the_owner(clone):
    tool = shutil.which("devcontainer")
    if not tool:
        missing("devcontainer", "there is no devcontainer: npm install --global @devcontainers/cli")
    uid = 20345
    project = clone(uid=uid)
    folder = project.path.parent
    project.notebook("quick.ipynb", QUICK)
    os.chown(project.data / "quick.ipynb", uid, uid)
    # The tool asks for the name of its user, and that number has none on this machine.
    (folder / "id").write_text("#!/bin/sh\necho student\n")
    (folder / "id").chmod(0o755)
    project.env |= {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}
    os.chown(folder, uid, uid)
    group = os.stat("/var/run/docker.sock").st_gid
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={group}", tool]
    where = ("--workspace-folder", str(project.path))

    plain = inspect(project.slug)["Id"]
    done = project.run(*user, "up", *where)
    container = json.loads(done.stdout.splitlines()[-1])["containerId"]
    try:
        done = project.run(*user, "exec", *where, "bash", "-c", INSIDE)
        number, name, place, python, added, ran, code = done.stdout.split()
        assert (number, name, place) == (str(uid), "notebook", "/project")
        assert (python, ran, code) == ("/opt/venv/bin/python", "ran", "0")
        assert int(added) >= 15
        for written in ("Dockerfile", "README.md", "data/input/mine.txt"):
            assert (project.path / written).read_text(encoding="utf-8").endswith("# mine\n")
        assert (project.data / "made.txt").exists()
        assert owners(project.path) == {(uid, uid)}
        assert inspect(project.slug)["Id"] == plain  # the one with git is another
        config = inspect(container)["HostConfig"]
        assert config["ReadonlyRootfs"] and config["CapDrop"] == ["ALL"]
    finally:
        image = inspect(container)["Config"]["Image"]
        project.run("docker", "rm", "--force", container)
        project.run("docker", "rmi", "--force", image, f"{project.slug}-dev")
