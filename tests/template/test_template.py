"""What cookiecutter writes, as text: no engine needed."""

import itertools
import json
import re
import shlex
import shutil
import subprocess

import pytest
from support.project import ROOT, TEMPLATE

QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = [
    (key, choice)
    for key, value in QUESTIONS.items()
    if isinstance(value, list) and key[0] != "_"
    for choice in value
]
LOCKS = ["cpu-none", "cpu-dask", "nvidia-none", "nvidia-dask"]  # accelerator-cluster
FILES = {  # of the default answers
    ".devcontainer/devcontainer.json", ".devcontainer/docker-compose.yml", ".dockerignore",
    ".env.example", ".gitattributes", ".github/dependabot.yml", ".github/workflows/libraries.yml",
    ".gitignore", ".github/workflows/notebook.yml", "Dockerfile", "LICENSE", "README.md",
    "apt.txt", "data/input/.gitignore", "data/input/cars_sampled.csv",
    "data/input/process_cars.ipynb", "docker-compose.yml", "entrypoint",
    "jupyter_server_config.py", "requirements.lock", "requirements.txt", "uv.txt",
}  # fmt: skip
MORE = {  # files that a choice brings
    "nvidia": {"GPU.md", "docker-compose.nvidia.yml", "data/input/train_network.ipynb"},
    "dask": {
        "CLUSTER.md",
        "dask.yaml",
        "data/input/process_cars_dask.ipynb",
        "kubernetes.yml",
        "swarm.yml",
    },
}


def files(project) -> set[str]:
    """Return the names of all files of a project, with `/` between folders."""
    return {p.relative_to(project.path).as_posix() for p in project.path.rglob("*") if p.is_file()}


def contents(project) -> dict[str, bytes]:
    """Return the bytes of each file."""
    return {name: (project.path / name).read_bytes() for name in files(project)}


def test_questions_are_few_labelled_and_named_as_designed():
    asked = [key for key in QUESTIONS if key[0] != "_"]
    assert asked == [
        "project_name", "project_slug", "description", "author_name",
        "python_version", "interface", "port", "accelerator", "cluster", "license",
    ]  # fmt: skip
    assert set(QUESTIONS["__prompts__"]) == set(asked)
    documented = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE) == asked


@pytest.mark.parametrize(("question", "choice"), CHOICES)
def test_each_choice_writes_its_project(bake, default_project, question, choice):
    project = bake(**{question: choice})
    assert project.slug == "my-ml-project"
    less = {"LICENSE"} if (question, choice) == ("license", "none") else set()
    assert files(project) == FILES - less | MORE.get(choice, set())
    is_default = QUESTIONS[question][0] == choice
    assert (contents(project) == contents(default_project)) == is_default
    if question == "license" and choice != "none":
        text = (project.path / "LICENSE").read_text(encoding="utf-8")
        assert choice.split("-")[0] in text.partition("\n\n")[0]


def test_who_wants_neither_cluster_nor_graphics_card_has_no_line_of_them(default_project):
    for name in FILES:
        text = (default_project.path / name).read_text(encoding="utf-8").lower()
        assert not re.search(r"\bdask|distributed|nvidia|cuda|scheduler", text), name


@pytest.mark.parametrize("answers", [{}, {"cluster": "dask", "accelerator": "nvidia"}])
def test_nothing_of_the_template_is_left(bake, answers):
    project = bake(**answers)
    for name, content in contents(project).items():
        text = content.decode()
        assert "\r" not in text, f"{name}: Windows line ends"
        if name.endswith((".csv", ".ipynb", ".lock")):
            continue
        assert not re.search(r"(?<!\$)\{\{(?!\.Node)|\{%|%\}|cookiecutter\.", text), name
        blank = r"\n{4}" if name.endswith(".py") else r"\n{3}"  # as ruff format wants it
        litter = re.search(rf"\A\n|{blank}|[ \t]+$", text, re.MULTILINE)
        assert not litter, f"{name}: blank litter"
        assert text.endswith("\n") and not text.endswith("\n\n"), f"{name}: its last line"


def test_notebooks_and_data_come_out_byte_for_byte(bake):
    """They are rendered like everything else, and hold nothing that Jinja takes for its own."""
    project = bake(cluster="dask", accelerator="nvidia")
    stored = {re.sub(r"\{%.*?%\}", "", path.name): path for path in TEMPLATE.glob("data/input/*")}
    assert len(stored) >= 4
    for name, path in stored.items():
        assert (project.data / name).read_bytes() == path.read_bytes(), name


def test_a_second_generation_is_the_same_to_the_byte(bake, default_project):
    assert contents(bake()) == contents(default_project)


def asked(project) -> set[str]:
    """Return the libraries that requirements.txt names."""
    lines = (project.path / "requirements.txt").read_text().splitlines()
    return {line.partition("[")[0] for line in lines if line and line[0] != "#"}


def locked(name: str) -> dict[str, set[str]]:
    """Return the packages of a lock, each with its versions; none may be without a hash."""
    lock = (ROOT / "templates" / f"{name}.lock").read_text()
    assert all(entry.count("--hash=sha256:") for entry in re.split(r"\n(?=[a-z0-9-]+==)", lock)[1:])
    packages = {}
    for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)(?: ;.*)? \\$", lock, re.MULTILINE):
        packages.setdefault(package, set()).add(version)
    return packages


@pytest.mark.parametrize("name", LOCKS)
def test_each_lock_holds_what_is_asked_for_with_hashes(bake, name):
    accelerator, cluster = name.split("-")
    project = bake(accelerator=accelerator, cluster=cluster)
    expected = {
        "matplotlib", "notebook", "numpy", "pandas", "papermill", "requests", "scikit-learn",
        "scipy",
    }  # fmt: skip
    expected |= {"torch"} if accelerator == "nvidia" else set()
    expected |= {"bokeh", "dask", "s3fs"} if cluster == "dask" else set()
    assert asked(project) == expected
    versions = locked(name)
    assert expected <= set(versions)
    assert (project.path / "requirements.lock").read_bytes() == (
        ROOT / "templates" / f"{name}.lock"
    ).read_bytes()
    # Versions below these have known holes, mended in them.
    floors = {"jupyter-server": (2, 21), "jupyterlab": (4, 6, 2), "nbconvert": (7, 17, 1)}
    for package, floor in floors.items():
        (version,) = versions[package]
        assert tuple(int(number) for number in version.split(".")) >= floor, package


def test_the_locks_agree_wherever_they_can():
    """`.ci/lock` starts the others from the plain one; botocore wants an older python-dateutil."""
    plain = locked("cpu-none")
    differ = {
        package
        for name in LOCKS[1:]
        for package, versions in locked(name).items()
        if package in plain and versions != plain[package]
    }
    assert differ <= {"python-dateutil"}


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_resolves_to_wheels(tmp_path, name):
    """Every package has a wheel for each Python and both architectures, so nothing is compiled."""
    for python, machine in itertools.product(QUESTIONS["python_version"], ["x86_64", "aarch64"]):
        done = subprocess.run(
            ["uv", "pip", "sync", "--dry-run", f"--python-version={python}", f"--target={tmp_path}",
             f"--python-platform={machine}-manylinux_2_28", "--only-binary=:all:",
             ROOT / f"templates/{name}.lock"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        packages = set(re.findall(r"^ \+ (\S+)==", done.stderr, re.MULTILINE))
        assert len(packages) > 90
        # PyTorch's wheels on the package index bring CUDA along, on both architectures.
        assert ("nvidia-cublas" in packages) == name.startswith("nvidia")
        assert ("distributed" in packages) == name.endswith("dask")


KEPT = [
    *("helpers.py", "config.yaml", "config.json", "plan.txt", "_draft.ipynb"),
    *("deep/mine.ipynb", "deep/helpers.py", "deep/scheme.png"),
]
LEFT_OUT = [
    *("data.csv", "deep/data.tsv", "table.parquet", "table.xlsx", "array.npy", "many.zip"),
    *("model.pkl", "model.pt", "weights.safetensors", "base.sqlite", "out.ipynb", "page.html"),
    *("_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb", "__pycache__/helpers.pyc"),
]


def test_a_clone_has_everything_but_data_and_secrets(default_project, tmp_path):
    """Also with core.autocrlf, the default on Windows: the entrypoint must not get CRLF lines."""
    source, clone = tmp_path / "source", tmp_path / "clone"
    shutil.copytree(default_project.path, source)
    kept = {f"data/input/{name}" for name in KEPT}
    left = [*(f"data/input/{name}" for name in LEFT_OUT), ".env", "key.pem"]
    for name in [*kept, *left, ".ipynb_checkpoints/a.ipynb"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    (source / "data/input/process_cars.ipynb").unlink()
    git = ["git", "-c", "core.autocrlf=true", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-qm", "x"],
        ["clone", "-q", ".", clone],
    ):
        subprocess.run([*git, *command], cwd=source, check=True, capture_output=True)
    names = {path.relative_to(clone).as_posix() for path in clone.rglob("*") if path.is_file()}
    expected = FILES - {"data/input/process_cars.ipynb"} | kept
    assert {name for name in names if not name.startswith(".git/")} == expected
    assert [name for name in expected if b"\r" in (clone / name).read_bytes()] == []


def test_git_takes_notebooks_without_outputs_when_told_as_the_readme_says(
    default_project, tmp_path
):
    project = tmp_path / "p"
    shutil.copytree(default_project.path, project)
    readme = (project / "README.md").read_text(encoding="utf-8")
    (told,) = re.findall("`(git config .+)`", readme)

    def git(*arguments):
        command = ["git", *arguments]
        return subprocess.run(command, cwd=project, capture_output=True, check=True).stdout

    git("init", "-q")
    git(*shlex.split(told)[1:])
    git("add", "-A")
    notebook = project / "data/input/process_cars.ipynb"
    stored = notebook.read_bytes()
    assert git("show", ":data/input/process_cars.ipynb") == stored
    content = json.loads(stored)
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["run"]}]
    cell["execution_count"] = 1
    notebook.write_text(json.dumps(content), encoding="utf-8")
    git("add", "-A")
    assert git("show", ":data/input/process_cars.ipynb") == stored
    assert '"run"' in notebook.read_text(encoding="utf-8")


def test_the_template_itself_has_no_name_that_windows_cannot_hold():
    """A path may have 259 characters there, some 55 of them down to cruft's own folder."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        assert not re.search(r'["|<>:?*\\]', name) and len(name) <= 204, name
