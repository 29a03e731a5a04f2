"""Data: where it lies, what of it enters the image, which notebooks are run without a browser."""

import re
import shutil

import pytest
from support.git import git
from support.image import build

pytestmark = pytest.mark.engine


def test_data_and_secrets_stay_out_of_the_image_and_code_is_in(clone):
    project = clone()
    code = ["deep/mine.ipynb", "deep/helpers.py", "deep/run.sh", "deep/notes.md"]
    code += ["config.yaml", "config.yml", "config.toml"]
    formats = (".csv", ".parquet", ".json", ".txt", ".npy", ".jpg", ".h5", ".pt", ".zip", "")
    data = [f"deep/large{each}" for each in formats]
    data += ["_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb", "deep/out.ipynb"]
    data += [f"../../{name}" for name in (".git/pack", ".venv/lib.py", "__pycache__/mine.pyc")]
    for name in code + data:
        (project.data / name).parent.mkdir(parents=True, exist_ok=True)
        with (project.data / name).open("w") as file:
            file.truncate(0 if name in code else 20 * 2**20)
    secrets = {".env", "certificate.pem"}
    for name in [*secrets, "table.csv"]:  # which is not in `data`
        (project.path / name).touch()

    sent = re.findall(r"transferring context: ([\d.]+)(\w+)", build(project))
    unit = {"B": 1, "kB": 1e3, "MB": 1e6}
    assert sent and sum(float(size) * unit[name] for size, name in sent) < 4e6
    find = ["find", "/data/notebook", "/project", "-type", "f", "-printf", "%P\n"]
    files = set(project.run("docker", "run", "--rm", project.slug, *find).stdout.split())
    assert {*code, "table.csv"} <= files
    assert not files & {*(name.removeprefix("../../") for name in data), *secrets}

    git(project.path, "init", "--quiet")
    changed = git(project.path, "status", "--porcelain", "-uall").split()
    assert "README.md" in changed and not secrets & set(changed)


def test_data_elsewhere_or_without_the_samples_builds_and_runs(clone, tmp_path):
    project = clone()
    shutil.rmtree(project.data)
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.csv").touch()
    project.data.symlink_to(tmp_path / "mine")
    project.compose("build", "notebook")
    assert project.inside("ls").stdout == "mine.csv\n"
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    project.env["DATA"] = str(tmp_path / "link")
    assert project.inside("bash", "-c", "ls; run-notebooks").stdout == "theirs.csv\n"


def test_run_notebooks_runs_each_in_its_own_folder_and_keeps_one_that_fails(clone):
    project = clone()
    (project.data / "process_cars.ipynb").unlink()
    (project.data / "helpers.py").write_text("word = 'made'\n")
    project.notebook(
        "part/two words.ipynb",
        "%pip install tabulate",  # where no server ever ran
        "import shutil, tabulate\nfrom pathlib import Path\nassert shutil.which('tabulate')",
        "from helpers import word",
        "Path(word).write_text('')",
    )
    for name in ("_slow.ipynb", "_drafts/no.ipynb"):
        project.notebook(name, "1 / 0")
    project.inside("run-notebooks")
    assert (project.data / "part/made").exists()
    project.notebook("bad.ipynb", "print('be' + 'fore')", "1 / 0")
    assert project.inside("run-notebooks", check=False).returncode == 1
    pages = {str(page.relative_to(project.data)) for page in project.data.rglob("*.html")}
    assert pages == {"_pages/part/two words.html", "_pages/bad.html"}
    page = (project.data / "_pages/bad.html").read_text()
    assert "before" in page and "ZeroDivisionError" in page
