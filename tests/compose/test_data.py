"""Data: where it lies, what of it enters the image, which notebooks are run without a browser."""

import shutil

import pytest

pytestmark = pytest.mark.engine


def test_data_stays_out_of_the_image_and_code_is_in(clone):
    project = clone()
    code = ["deep/mine.ipynb", "deep/helpers.py", "config.yaml"]
    formats = (".csv", ".parquet", ".json", ".txt", ".npy", ".jpg", ".xyz", "")
    data = [f"deep/large{each}" for each in formats]
    data += ["_pages/mine.ipynb", "deep/.ipynb_checkpoints/mine.ipynb"]
    for name in code + data:
        (project.data / name).parent.mkdir(parents=True, exist_ok=True)
        with (project.data / name).open("w") as file:
            file.truncate(0 if name in code else 10**9)
    (project.path / ".env").write_text("JUPYTER_TOKEN=secret\n")
    project.compose("build", "notebook")
    find = ["find", "/data/notebook", "/project", "-type", "f", "-printf", "%P\n"]
    files = project.run("docker", "run", "--rm", project.slug, *find).stdout.split()
    assert set(code) <= set(files) and not set(data) & set(files) and ".env" not in files


def test_data_elsewhere_or_without_the_samples_builds_and_runs(clone, tmp_path):
    project = clone()
    shutil.rmtree(project.data)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "mine.csv").write_text("x")
    project.data.symlink_to(tmp_path / "disk")
    project.compose("build", "notebook")
    assert project.inside("ls").stdout == "mine.csv\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "theirs.csv").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    project.env["DATA"] = str(tmp_path / "link")
    assert project.inside("ls").stdout == "theirs.csv\n"
    project.inside("run-notebooks")


def test_run_notebooks_runs_each_in_its_own_folder_and_keeps_one_that_fails(clone):
    project = clone()
    (project.data / "process_cars.ipynb").unlink()
    (project.data / "helpers.py").write_text("word = 'made'\n")
    project.notebook(
        "part/two words.ipynb",
        "from pathlib import Path",
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
