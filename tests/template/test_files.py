"""What cookiecutter writes, as text: no engine needed."""

import json
import re
import shlex
import shutil

import pytest
from support.answers import CHOICES, QUESTIONS, read
from support.git import commit, git
from support.project import ROOT, TEMPLATE

FILES = {  # of the default answers
    ".devcontainer/devcontainer.json", ".devcontainer/docker-compose.yml", ".dockerignore",
    ".env.example", ".gitattributes", ".github/dependabot.yml", ".github/workflows/libraries.yml",
    ".github/workflows/notebook.yml", ".gitignore", "Dockerfile", "LICENSE", "README.md",
    "apt.txt", "data/input/.gitignore", "data/input/cars_sampled.csv",
    "data/input/process_cars.ipynb", "docker-compose.yml", "docker/entrypoint", "docker/healthy",
    "docker/ipython_kernel_config.py", "docker/jupyter_server_config.py", "docker/lock",
    "docker/project.pth", "docker/requirements.txt", "docker/run-notebooks", "docker/start",
    "requirements.lock", "requirements.txt",
}  # fmt: skip
MORE = {  # files that a choice brings
    "nvidia": {"GPU.md", "docker-compose.nvidia.yml", "data/input/train_network.ipynb"},
    "dask": {
        *("CLUSTER.md", "dask.yaml", "kubernetes.yml", "swarm.yml"),
        "data/input/process_cars_dask.ipynb",
    },
}


@pytest.mark.parametrize(
    ("question", "choice"), [(key, each) for key, values in CHOICES.items() for each in values]
)
def test_files_follow_from_each_choice(bake, default_project, question, choice):
    project = bake(**{question: choice})
    assert project.slug == "my-ml-project"
    less = {"LICENSE"} if (question, choice) == ("license", "none") else set()
    assert set(read(project.path)) == FILES - less | MORE.get(choice, set())
    is_default = QUESTIONS[question][0] == choice
    assert (read(project.path) == read(default_project.path)) == is_default
    if question == "license" and choice != "none":
        text = (project.path / "LICENSE").read_text(encoding="utf-8")
        assert choice.split("-")[0] in text.partition("\n\n")[0]


def test_files_without_cluster_and_card_have_no_line_of_them(default_project):
    for name, text in read(default_project.path).items():
        assert not re.search(r"\bdask|distributed|nvidia|cuda|scheduler", text.lower()), name


@pytest.mark.parametrize("answers", [{}, {"cluster": "dask", "accelerator": "nvidia"}])
def test_files_hold_nothing_of_the_template(bake, answers):
    project = bake(**answers)
    for name, text in read(project.path).items():
        assert "\r" not in text, f"{name}: Windows line ends"
        if name.endswith((".csv", ".ipynb", ".lock")):
            continue
        assert not re.search(r"(?<!\$)\{\{(?!\.Node)|\{%|%\}|cookiecutter\.", text), name
        blank = r"\n{4}" if "python" in text[:30] or name.endswith(".py") else r"\n{3}"
        litter = re.search(rf"\A\n|{blank}|[ \t]+$", text, re.MULTILINE)
        assert not litter, f"{name}: blank litter"
        assert text.endswith("\n") and not text.endswith("\n\n"), f"{name}: its last line"


def test_files_of_data_come_out_byte_for_byte(bake):
    """They are rendered like everything else, and hold nothing that Jinja takes for its own."""
    project = bake(cluster="dask", accelerator="nvidia")
    stored = {re.sub(r"\{%.*?%\}", "", path.name): path for path in TEMPLATE.glob("data/input/*")}
    assert len(stored) >= 4
    for name, path in stored.items():
        assert (project.data / name).read_bytes() == path.read_bytes(), name


def test_files_of_the_template_have_names_that_windows_can_hold():
    """A path may have 259 characters there, some 55 of them down to cruft's own folder."""
    for name in git(ROOT, "ls-files").splitlines():
        assert not re.search(r'["|<>:?*\\]', name) and len(name) <= 204, name


KEPT = [
    *("helpers.py", "config.yaml", "config.json", "plan.txt", "_draft.ipynb"),
    *("deep/mine.ipynb", "deep/helpers.py", "deep/scheme.png"),
]
LEFT_OUT = [
    *("data.csv", "deep/data.tsv", "table.parquet", "table.xlsx", "array.npy", "many.zip"),
    *("model.pkl", "model.pt", "weights.safetensors", "base.sqlite", "out.ipynb", "page.html"),
    *("_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb", "__pycache__/helpers.pyc"),
]


def test_git_takes_everything_but_data_and_secrets(default_project, tmp_path):
    """Also with core.autocrlf, the default on Windows: no script may get CRLF lines."""
    source, clone = tmp_path / "source", tmp_path / "clone"
    shutil.copytree(default_project.path, source)
    kept = {f"data/input/{name}" for name in KEPT}
    left = [*(f"data/input/{name}" for name in LEFT_OUT), ".env", "certificate.pem"]
    for name in [*kept, *left, ".ipynb_checkpoints/a.ipynb"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    (source / "data/input/process_cars.ipynb").unlink()
    git(source, "init", "--quiet")
    git(source, "config", "core.autocrlf", "true")
    commit(source, "all")
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", source, clone)
    files = {name: text for name, text in read(clone).items() if not name.startswith(".git/")}
    assert set(files) == FILES - {"data/input/process_cars.ipynb"} | kept
    assert [name for name in files if "\r" in files[name]] == []


def test_git_takes_notebooks_without_outputs_when_told_as_the_readme_says(
    default_project, tmp_path
):
    project = tmp_path / "p"
    shutil.copytree(default_project.path, project)
    readme = (project / "README.md").read_text(encoding="utf-8")
    (told,) = re.findall("(?:`|^)(git config filter.+?)(?:`|$)", readme, re.MULTILINE)

    git(project, "init", "--quiet")
    git(project, *shlex.split(told)[1:])
    git(project, "add", "--all")
    notebook = project / "data/input/process_cars.ipynb"
    stored = notebook.read_text(encoding="utf-8")
    assert git(project, "show", ":data/input/process_cars.ipynb") == stored
    content = json.loads(stored)
    cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
    cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["run"]}]
    cell["execution_count"] = 1
    notebook.write_text(json.dumps(content), encoding="utf-8")
    git(project, "add", "--all")
    assert git(project, "show", ":data/input/process_cars.ipynb") == stored
    assert '"run"' in notebook.read_text(encoding="utf-8")
