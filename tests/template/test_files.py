"""What cookiecutter writes, as text: no engine needed."""

import hashlib
import json
import posixpath
import re
import shlex
import shutil

import pytest
import yaml
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


# How often a file shows an answer that nothing else in it looks like.
SHOWN = {
    "ZNAMEZ": {"README.md": 1},
    "ZWHATZ": {"README.md": 1},
    "ZWHOZ": {"LICENSE": 1},
    "54321": {".env.example": 1, "README.md": 1, "docker-compose.yml": 2},
    "3.12": {".env.example": 1, "Dockerfile": 1, "README.md": 2, "docker-compose.yml": 1},
    "Jupyter Notebook": {"README.md": 1},
    "jupyter-notebook": {"Dockerfile": 1},
}
# The SHA-256 of each text with the author ZWHOZ, after it was compared with those of packages.
LICENSES = {
    "MIT": "24c5c3af4b73e7726e2d7e08d0631f776d8d1e5b8b31eaf8dd9a33b141423205",
    "BSD-3-Clause": "1018c33ca6a2a4ab3ce620f4555ffa5f0d7a7188c10e67aa322aa45e941a94e8",
    "Apache-2.0": "69f7691e20e3fe97a6b61b8f5c5399817bdf410f4727a86bc8710ece48d989c0",
}


@pytest.mark.parametrize("license", LICENSES)
def test_files_hold_each_answer_where_it_belongs(bake, license):
    project = bake(
        project_name="ZNAMEZ", description="ZWHATZ", author_name="ZWHOZ", port="54321",
        python_version="3.12", interface="notebook", license=license,
    )  # fmt: skip
    texts = read(project.path)
    texts = {name: text for name, text in texts.items() if not name.endswith((".lock", ".csv"))}
    for answer, places in SHOWN.items():
        found = {name: text.count(answer) for name, text in texts.items() if answer in text}
        assert found == places, answer
    assert hashlib.sha256(texts["LICENSE"].encode()).hexdigest() == LICENSES[license]


@pytest.mark.parametrize("cluster", CHOICES["cluster"])
def test_env_example_names_the_settings_and_their_defaults(bake, cluster):
    project = bake(cluster=cluster)
    compose = (project.path / "docker-compose.yml").read_text(encoding="utf-8")
    example = (project.path / ".env.example").read_text(encoding="utf-8")
    defaults = dict(re.findall("^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    lines = re.sub("^#.*", "", compose, flags=re.MULTILINE)
    settings = dict(re.findall(r"\$\{([A-Z_]+):-(.*?)\}", lines))
    assert settings == {name: defaults.get(name) for name in settings}
    passed = yaml.safe_load(compose)["services"]["notebook"]["environment"]
    others = {name for name in defaults if not name.startswith(("COMPOSE_", "AWS_"))}
    assert others == {*settings, *passed}


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
    *("helpers.py", "config.yaml", "config.json", "plan.txt", "_draft.ipynb", "notes.md"),
    *("deep/mine.ipynb", "deep/helpers.py", "deep/scheme.png", "../../src/mine/steps.py"),
]
LEFT_OUT = [
    *("data.csv", "deep/data.tsv", "table.parquet", "table.feather", "table.xlsx", "array.npy"),
    *("cube.h5", "model.pkl", "model.pt", "weights.safetensors", "base.sqlite", "many.zip"),
    *("out.ipynb", "page.html", "../../src/mine/__pycache__/steps.pyc", "../../.venv/lib.py"),
    *("_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb", "__pycache__/helpers.pyc"),
]


def test_git_takes_everything_but_data_and_secrets(default_project, tmp_path):
    """Also with core.autocrlf, the default on Windows: no script gets CRLF, data keeps its own."""
    source, clone = tmp_path / "source", tmp_path / "clone"
    shutil.copytree(default_project.path, source)
    kept = {posixpath.normpath(f"data/input/{name}") for name in KEPT}
    left = [*(f"data/input/{name}" for name in LEFT_OUT), ".env", "certificate.pem"]
    for name in [*kept, *left, ".ipynb_checkpoints/a.ipynb"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    (source / "data/input/process_cars.ipynb").unlink()
    git(source, "init", "--quiet")
    git(source, "config", "core.autocrlf", "true")
    (source / "data/input/windows.csv").write_bytes(b"a,b\r\n")
    git(source, "add", "--force", "data/input/windows.csv")
    commit(source, "all")
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", source, clone)
    files = {name: text for name, text in read(clone).items() if not name.startswith(".git/")}
    assert files.pop("data/input/windows.csv") == "a,b\r\n"
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
