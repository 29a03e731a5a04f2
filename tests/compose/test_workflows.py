"""The generated workflows: their `run:` steps, one by one, in the engine.

Actions cannot run here. The build action is replaced by the command that it stands for, with the
same inputs less the cache of GitHub. Not shown here: the push, the second architecture, the list of
contents, the pull request.
"""

import os
import re

import pytest
import yaml
from support.git import commit, git
from support.project import QUICK, Project

GITHUB = {"github.actor": "someone", "github.token": "secret-token", "github.ref_type": "tag"}


def workflow(project: Project, name: str) -> dict:
    return yaml.safe_load((project.path / ".github/workflows" / name).read_text(encoding="utf-8"))


def filled(text: str) -> str:
    """Return a value with GitHub's expressions replaced by what they stand for."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: GITHUB[found[1]], text)


def run_step(project: Project, job: dict, step: dict, **env: str):
    """Run one `run:` step in the shell that GitHub uses."""
    settings = {k: filled(v) for k, v in {**job.get("env", {}), **step.get("env", {})}.items()}
    return project.run("bash", "-e", "-c", step["run"], **{**settings, **env})


def build_step(job: dict) -> dict:
    """Return the inputs of the job's build action."""
    (step,) = [s for s in job["steps"] if s.get("uses", "").startswith("docker/bake-action@")]
    return step["with"]


def test_workflow_of_a_tag_publishes_both_architectures_with_sbom_and_provenance(default_project):
    whole = workflow(default_project, "notebook.yml")
    job = whole["jobs"]["publish"]
    assert whole[True]["push"] == {"branches": ["main"], "tags": ["v*"]}  # YAML reads "on" as True
    assert job["permissions"] == {"contents": "read", "packages": "write"}
    inputs = build_step(job)
    assert (inputs["push"], inputs["sbom"], inputs["provenance"]) == (True, True, "mode=max")
    assert "notebook.platform=linux/amd64,linux/arm64" in inputs["set"].split("\n")
    assert job["if"] == "${{ github.ref_type == 'tag' }}" and job["needs"] == "run"


@pytest.mark.engine
def test_workflow_of_each_push_runs_all_notebooks_and_keeps_their_pages(new_project):
    project = new_project()
    (project.data / "process_cars.ipynb").unlink()
    project.notebook("mine.ipynb", QUICK, "print(6 * 7)")
    project.notebook("deep/mine.ipynb", "open('made.txt', 'w').close()")
    job = workflow(project, "notebook.yml")["jobs"]["run"]
    inputs = build_step(job)
    assert inputs["load"] is True
    assert f"notebook.tags={job['env']['COMPOSE_PROJECT_NAME']}" in inputs["set"].split()
    bake = ("docker", "buildx", "bake", "--file", inputs["files"], "--load")
    project.run(*bake, "--set", f"notebook.tags={project.slug}", inputs["targets"])
    (step,) = [step for step in job["steps"] if "run" in step]
    done = run_step(project, job, step, COMPOSE_PROJECT_NAME=project.slug)
    assert "exporting" not in done.stderr  # what was built is what runs
    (upload,) = [s["with"] for s in job["steps"] if "upload-artifact" in s.get("uses", "")]
    pages = list(project.path.glob(upload["path"]))
    assert {page.relative_to(project.data).as_posix() for page in pages} == {
        "_pages/mine.html",
        "_pages/deep/mine.html",
    }
    page = (project.data / "_pages/mine.html").read_text("utf-8")
    assert "data:image/png" in page and "42" in page
    assert (project.data / "deep/made.txt").exists()


@pytest.mark.engine  # for its bash: that of macOS is older than GitHub's
def test_workflow_names_the_image_after_the_repository(engine, default_project, tmp_path):
    job = workflow(default_project, "notebook.yml")["jobs"]["publish"]
    name, login = [step for step in job["steps"] if "run" in step]
    output = tmp_path / "output"
    env = {"GITHUB_REPOSITORY": "Some-Org/Cars", "GITHUB_OUTPUT": str(output)}
    run_step(default_project, job, name, **env)
    key, value = output.read_text().strip().split("=")
    assert value.endswith("/some-org/cars")
    assert f"${{{{ steps.{name['id']}.outputs.{key} }}}}:" in build_step(job)["set"]

    docker = tmp_path / "docker"  # in the place of the real one, which would need a registry
    docker.write_text("#!/bin/sh\necho $*; cat\n")
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    printed = run_step(default_project, job, login, PATH=path).stdout
    host = value.split("/")[0]
    assert printed == f"login {host} --username someone --password-stdin\nsecret-token\n"


@pytest.mark.engine
def test_workflow_tries_and_proposes_newer_libraries(new_project, tmp_path):
    """When there are any; a second run, which finds none, proposes nothing."""
    project = new_project()
    (project.data / "process_cars.ipynb").unlink()
    project.notebook("mine.ipynb", "import idna", "assert idna.__version__ != '3.6'")
    # Little more than what runs a notebook.
    (project.path / "requirements.txt").write_text("idna\n")
    (project.path / "docker/requirements.txt").write_text("ipykernel\nnbconvert\npapermill\nuv\n")
    lock = project.path / "requirements.lock"
    uv = re.search(r"^uv==.*\n(    .*\n)+", lock.read_text(), re.MULTILINE)[0]
    lock.write_text(f"idna==3.6\n{uv}")
    commit(project.path, "start")
    git(project.path, "init", "--quiet", "--bare", tmp_path / "origin")
    git(project.path, "remote", "add", "origin", tmp_path / "origin")
    gh = tmp_path / "gh"  # in the place of the real one
    gh.write_text(f"#!/bin/sh\necho $* >>{tmp_path}/said\n")
    gh.chmod(0o755)

    job = workflow(project, "libraries.yml")["jobs"]["propose"]
    assert job["permissions"] == {"contents": "write", "pull-requests": "write"}
    for _ in range(2):
        for step in job["steps"]:
            if "run" in step:
                run_step(project, job, step, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert re.search(r"^idna==(?!3\.6 )", lock.read_text(), re.MULTILINE)
    changed = git(project.path, "diff", "--name-only", "main", "origin/libraries")
    assert changed == "requirements.lock\n"
    said = (tmp_path / "said").read_text().splitlines()
    assert said == ["auth setup-git", "pr create --fill --head libraries"]
