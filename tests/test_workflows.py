"""The generated workflows: their `run:` steps, one by one, in the engine.

Actions cannot run here. The build action is replaced by the command that it stands for, with the same inputs less
the cache of GitHub. Not shown here: the push, the second architecture, the list of contents, the pull request.
"""

import os
import re
import subprocess

import pytest
import yaml
from conftest import Project

GITHUB = {"github.actor": "someone", "github.token": "secret-token", "github.ref_type": "tag"}
GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]


def workflow(project: Project, name: str) -> dict:
    return yaml.safe_load((project.path / ".github/workflows" / name).read_text(encoding="utf-8"))


def filled(text: str) -> str:
    """Return a value with GitHub's expressions replaced by what they stand for."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: GITHUB[found[1]], text)


def run_step(project: Project, job: dict, step: dict, **env: str) -> str:
    """Run one `run:` step in the shell that GitHub uses; return what it printed."""
    settings = {k: filled(v) for k, v in {**job.get("env", {}), **step.get("env", {})}.items()}
    return project.run("bash", "-e", "-c", step["run"], **settings, **env).stdout


def build_step(job: dict) -> dict:
    """Return the inputs of the job's build action."""
    (step,) = [s for s in job["steps"] if s.get("uses", "").startswith("docker/bake-action@")]
    return step["with"]


@pytest.fixture
def on_github(default_project):
    return workflow(default_project, "notebook.yml")["jobs"]


def test_every_action_is_pinned_and_the_template_uses_the_same(default_project):
    pins = {}
    for file in (default_project.path / ".github/workflows").iterdir():
        for line in re.findall(r"uses: (.+)", file.read_text(encoding="utf-8")):
            action, commit, version = re.fullmatch(r"(\S+)@(\w{40}) # (v[\d.]+)", line).groups()
            assert pins.setdefault(action, (commit, version)) == (commit, version)
    assert len(pins) == 5


def test_only_the_jobs_that_write_may_write(default_project):
    rights = {}
    for name in ("notebook.yml", "libraries.yml"):
        content = workflow(default_project, name)
        assert content["permissions"] == {}
        rights |= {job: content["jobs"][job]["permissions"] for job in content["jobs"]}
    assert rights == {
        "run": {"contents": "read"},
        "publish": {"contents": "read", "packages": "write"},
        "propose": {"contents": "write", "pull-requests": "write"},
    }


def test_a_tag_publishes_both_architectures_with_sbom_and_provenance(on_github):
    job = on_github["publish"]
    inputs = build_step(job)
    assert (inputs["push"], inputs["sbom"], inputs["provenance"]) == (True, True, "mode=max")
    assert "notebook.platform=linux/amd64,linux/arm64" in inputs["set"].split("\n")
    assert job["if"] == "${{ github.ref_type == 'tag' }}" and job["needs"] == "run"


@pytest.mark.engine
def test_on_each_push_the_notebook_runs_and_becomes_a_page(new_project):
    project = new_project()
    job = workflow(project, "notebook.yml")["jobs"]["run"]
    inputs = build_step(job)
    settings = [line for line in inputs["set"].split() if "type=gha" not in line]
    assert inputs["load"] is True and settings == []
    project.run("docker", "buildx", "bake", "--file", inputs["files"], "--load", inputs["targets"])

    for step in job["steps"]:
        if "run" in step:
            run_step(project, job, step)
    (upload,) = [s["with"] for s in job["steps"] if "upload-artifact" in s.get("uses", "")]
    page = project.path / upload["path"]
    assert page.stat().st_uid == project.data.stat().st_uid
    assert page.read_text(encoding="utf-8").count("data:image/png") >= 2
    assert (project.data / "processed.csv").exists()


@pytest.mark.engine
def test_a_notebook_that_fails_stops_the_job_and_is_kept(built, tmp_path):
    job = workflow(built, "notebook.yml")["jobs"]["run"]
    run, page = [step for step in job["steps"] if "run" in step]
    done = built.run("bash", "-e", "-c", run["run"] + " -p source nowhere.csv", check=False)
    assert done.returncode != 0
    assert page["if"] == "${{ !cancelled() }}"
    run_step(built, job, page)
    assert "nowhere.csv does not exist" in (built.data / "out.html").read_text(encoding="utf-8")


@pytest.mark.engine  # for its bash: that of macOS is older than GitHub's
def test_the_image_is_named_after_the_repository(engine, bake, tmp_path):
    project = bake()
    job = workflow(project, "notebook.yml")["jobs"]["publish"]
    name, login = [step for step in job["steps"] if "run" in step]
    output = tmp_path / "output"
    run_step(project, job, name, GITHUB_REPOSITORY="Some-Org/Cars", GITHUB_OUTPUT=str(output))
    key, value = output.read_text().strip().split("=")
    assert value.endswith("/some-org/cars")
    assert f"${{{{ steps.{name['id']}.outputs.{key} }}}}:" in build_step(job)["set"]

    docker = tmp_path / "docker"  # in the place of the real one, which would need a registry
    docker.write_text("#!/bin/sh\necho $*; cat\n")
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    printed = run_step(project, job, login, PATH=path)
    host = value.split("/")[0]
    assert printed == f"login {host} --username someone --password-stdin\nsecret-token\n"


@pytest.mark.engine
@pytest.mark.parametrize("new", [True, False])
def test_newer_libraries_are_tried_and_proposed(new_project, tmp_path, new):
    project = new_project()
    project.compose("run", "--rm", "--build", "lock", "--upgrade")
    lock = project.path / "requirements.lock"
    newest = lock.read_text()
    if new:
        old = re.sub(r"^tqdm==.*\n(    .*\n)*", "", newest, flags=re.MULTILINE)
        assert old != newest
        lock.write_text(old)
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-qm", "x"],
        ["init", "-q", "--bare", str(tmp_path / "origin")],
        ["remote", "add", "origin", str(tmp_path / "origin")],
    ):
        subprocess.run([*GIT, *command], cwd=project.path, check=True)
    gh = tmp_path / "gh"  # in the place of the real one
    gh.write_text(f"#!/bin/sh\necho $* >>{tmp_path}/said\n")
    gh.chmod(0o755)
    (tmp_path / "said").write_text("")

    job = workflow(project, "libraries.yml")["jobs"]["propose"]
    for step in job["steps"]:
        if "run" in step:
            run_step(project, job, step, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert lock.read_text() == newest
    pushed = subprocess.run(
        ["git", "diff", "--name-only", "main", "origin/libraries"],
        cwd=project.path, capture_output=True, text=True,
    )  # fmt: skip
    said = (tmp_path / "said").read_text().splitlines()
    if new:
        assert pushed.stdout.split() == ["requirements.lock"]
        assert said == ["auth setup-git", "pr create --fill --head libraries"]
    else:
        assert pushed.returncode != 0 and said == []
