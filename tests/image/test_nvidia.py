"""`accelerator: nvidia`: all runs without a card, and Compose is told the right thing for one.

The notebook runs with PyTorch for processors, 200 MB and not 3 GB;
the image itself is built by `pytest -m nvidia` only.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.notebooks import Run, environment, papermill
from support.project import Project, missing

TORCH = "torch==2.13.0+cpu"
NOTEBOOK = "train_network.ipynb"
CARDS = {"driver": "nvidia", "count": -1, "capabilities": ["gpu"]}

# Asks the first cell for its reason, as if PyTorch had CUDA: (error, was a card given?).
REASONS = """
import json, sys, torch
cell, cases = json.load(sys.stdin)
names = {}
exec(compile(cell, "cell", "exec"), names)
torch.backends.cuda.is_built, torch.version.cuda = lambda: True, "13.2"
print(json.dumps([names["why_none"](*case) for case in cases]))
"""

# Batches of 100 MB, more than the usual 64 MB of shared memory, from two processes.
LOADER = """
import torch
from torch.utils.data import DataLoader, TensorDataset
data = TensorDataset(torch.ones(8, 25, 1024, 1024))
print(sum(batch.sum().item() for (batch,) in DataLoader(data, num_workers=2)) / 2**20)
"""


def switch_on(project: Project) -> None:
    """Do what GPU.md says."""
    text = (project.path / "GPU.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^COMPOSE_FILE=.*\n", text, re.MULTILINE)
    (project.path / ".env").write_text(line)


def has_card(project: Project) -> bool:
    """Tell whether the engine can give a card to a container."""
    return "nvidia" in project.run("docker", "info", "--format={{json .Runtimes}}").stdout


@pytest.mark.engine
@pytest.mark.parametrize(
    ("cluster", "computing"), [("none", {"notebook"}), ("dask", {"notebook", "worker"})]
)
def test_nvidia_setting_gives_the_cards_to_what_computes_and_changes_nothing_else(
    engine, bake, cluster, computing
):
    project = bake(accelerator="nvidia", cluster=cluster)
    before = project.services()
    switch_on(project)
    after = project.services()
    assert set(after) == set(before)
    for name, service in after.items():
        cards = {"reservations": {"devices": [CARDS]}} if name in computing else {}
        deploy, deploy_before = service.pop("deploy", {}), before[name].pop("deploy", {})
        assert deploy.pop("resources", {}) == cards
        assert deploy_before.pop("resources", {}) == {}  # so all starts without a card
        assert deploy.get("replicas") == deploy_before.get("replicas")
        service["environment"].pop("COMPOSE_FILE", None)  # all of .env is there
        assert service == before[name]


@pytest.mark.engine
def test_nvidia_card_that_is_missing_is_named(built, new_project):
    """The small image of the default project stands in for the large one."""
    project = new_project(accelerator="nvidia")
    project.run("docker", "tag", built.slug, project.slug)
    switch_on(project)
    done = project.compose("run", "--rm", "notebook", "nvidia-smi", check=False)
    if has_card(project):
        assert done.returncode == 0, done.stderr
        return
    (error,) = re.findall(r"could not select device driver .*", done.stderr)
    assert f"`{error}`" in (project.path / "GPU.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def torch_python(default_project, tmp_path_factory) -> Path:
    """The Python of an environment from the lock, with PyTorch for processors if pip finds it."""
    folder = tmp_path_factory.mktemp("torch")
    done = subprocess.run(
        ["uv", "run", "-q", "--no-project", "--python", sys.executable, "--with", "pip",
         "python", "-m", "pip", "download", "-q", "--no-deps", "--retries=0",
         f"--dest={folder}", TORCH],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        missing("torch", f"{TORCH} cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    project = Project(folder / "project")
    shutil.copytree(default_project.path, project.path)
    with (project.path / "requirements.txt").open("a") as file:
        file.write(f"{TORCH}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", str(folder))
        return environment(project)


@pytest.fixture(scope="session")
def data(bake) -> Path:
    return bake(accelerator="nvidia").data


@pytest.fixture(scope="session")
def trained(torch_python, data, tmp_path_factory) -> Run:
    """A run on the sample."""
    folder = tmp_path_factory.mktemp("train")
    shutil.copy(data / "cars_sampled.csv", folder)
    return papermill(torch_python, data / NOTEBOOK, folder)


def errors(run: Run) -> list[int]:
    """Return the mean errors: of the median, of the line, of the network."""
    found = re.findall(r"mean error +([\d,]+) EUR", run.text())
    return [int(error.replace(",", "")) for error in found]


@pytest.mark.notebook
def test_nvidia_network_trains_on_the_processor_and_beats_the_median(trained):
    assert trained.code == 0, trained.stderr
    outputs = [output for cell in trained.cells for output in cell.get("outputs", [])]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert (
        f"{TORCH.replace('torch==', 'PyTorch ')} computes on the processor, "
        "because this PyTorch was built without CUDA, NVIDIA's library.\n"
    ) in trained.text()
    median, line, network = errors(trained)
    assert network < 0.4 * median
    assert line - network == pytest.approx(1_000, rel=0.1)  # as the notebook says
    for cell in ("plot-training", "plot-guesses"):
        (plot,) = trained.output_of(cell)
        assert len(plot["data"]["image/png"]) > 20_000


@pytest.mark.notebook
def test_nvidia_last_task_brings_the_line_close_to_the_network(torch_python, data, tmp_path):
    task = tmp_path / "task.ipynb"
    text = (data / NOTEBOOK).read_text(encoding="utf-8")
    (added,) = re.findall(r"`(\(SplineTransformer.+\),)`", text)
    text = text.replace("import OneHotEncoder", "import SplineTransformer, OneHotEncoder")
    task.write_text(text.replace("    (OneHot", f"    {added} (OneHot"), encoding="utf-8")
    (tmp_path / "run").mkdir()
    shutil.copy(data / "cars_sampled.csv", tmp_path / "run")
    _, line, network = errors(papermill(torch_python, task, tmp_path / "run"))
    assert 0 < line - network < 250


@pytest.mark.notebook
def test_nvidia_reasons_for_the_processor_are_said_in_words(torch_python, trained, data):
    """Each has its row in GPU.md."""
    first = next(cell for cell in trained.cells if cell["cell_type"] == "code")
    cases = {
        ("Found no NVIDIA driver on your system. Please …", False):
            "given no graphics card (GPU.md",
        ("The NVIDIA driver on your system is too old (found version 12040).", True):
            "the NVIDIA driver is too old for CUDA 13.2: install a newer one",
        ("CUDA error: no kernel image is available for execution on the device\nCUDA …", True):
            "the graphics card is too old for CUDA 13.2",
        ("CUDA error: out of memory\nCUDA kernel errors might be …", True):
            "the graphics card cannot be used: CUDA error: out of memory",
        ("No CUDA GPUs are available", True):
            "the graphics card cannot be used: No CUDA GPUs are available",
    }  # fmt: skip
    done = subprocess.run(
        [torch_python, "-c", REASONS],
        input=json.dumps(["".join(first["source"]), list(cases)]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reasons = json.loads(done.stdout.splitlines()[-1])
    page = (data.parents[1] / "GPU.md").read_text(encoding="utf-8")
    rows = re.findall("`([^`]+)`", page.split("## When something fails")[1])
    for reason, expected in zip(reasons, cases.values(), strict=True):
        assert expected in reason and "\n" not in reason
        assert any(row in reason for row in rows), reason


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", "source mine.csv cannot be read: No columns to parse from file."),
        ("a,price\n1,2\n", "source mine.csv has no column yearOfRegistration, powerPS, kilometer"),
    ],
)
def test_nvidia_notebook_refuses_a_wrong_table_in_one_sentence(
    torch_python, data, tmp_path, table, sentence
):
    (tmp_path / "mine.csv").write_text(table)
    run = papermill(torch_python, data / NOTEBOOK, tmp_path, source="mine.csv")
    assert run.code != 0
    assert run.stderr.strip().splitlines()[-1].startswith(f"Problem: {sentence}")


@pytest.mark.engine
@pytest.mark.nvidia
def test_nvidia_image_with_cuda(new_project):
    """Built for real: complete, the reason said, the notebook runs, data loads in parallel."""
    project = new_project(accelerator="nvidia")
    project.compose("build", "notebook")
    project.inside("uv", "pip", "check")
    card = has_card(project)
    if card:
        switch_on(project)
    page = (project.path / "GPU.md").read_text(encoding="utf-8")
    (command,) = re.findall("^docker compose run .* papermill .*$", page, re.MULTILINE)
    project.run(*command.split())
    page = (project.data / "out.ipynb").read_text(encoding="utf-8")
    expected = "the graphics card " if card else "the processor, because it was given no graphics"
    assert re.search(rf"PyTorch [\d.]+\+cu\d+ computes on {expected}", page), page
    assert project.inside("python", "-W", "error", "-c", LOADER).stdout == "200.0\n"
