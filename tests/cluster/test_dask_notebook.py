"""process_cars_dask.ipynb, without Docker: every value as it was, or one clear error.

ML_DOCKER_EXAMPLES=5000 tries so many random files instead of 150; a failure names its seed.
"""

import re
import subprocess
from pathlib import Path

import pytest
from support.bucket import bucket
from support.cases import (
    CASES,
    EXAMPLES,
    RIGHT,
    SEPARATOR,
    SHOWN,
    WIDTH,
    is_fair,
    is_right,
    random_table,
    rows,
)
from support.notebooks import SAMPLE, Run, case, environment, papermill, run_cells
from support.project import TEMPLATE
from support.servers import files, serving

(NOTEBOOK,) = (TEMPLATE / "data/input").glob("*process_cars_dask.ipynb*")
pytestmark = pytest.mark.notebook

# Workers in this process, instead of a cell that looks for others.
CONNECT = """
from dask.distributed import Client
client = Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None)
progress = len
"""
# One of these words is in each error on tables that the other notebook refuses as well.
REASONS = [SEPARATOR, WIDTH, "unexpected end of data", "',' expected after", "field larger than"]
REASONS += ["can't decode", "1-character", "unknown encoding", "BOM"]
CUT = "unexpected end of data. If a value holds a line end, set blocksize=None."
# Faults in some block: the table, its settings, and the error.
FAULTS = {
    "line ends in quotes, cut": (b"a,b,c\n" + b'1,"x\ny\n\nz",3\n' * 20, {}, CUT),
    "line ends in the first column, cut": (b"a,b\n" + b'"x\n\n\n\n\ny",2\n' * 20, {}, CUT),
    "quotes open": (b'a,b\n1,2\n3,"4\n5,6\n', {}, "up to row 1. unexpected end"),
    "text after quotes": (b'a,b\n1,2\n3,"4"5\n', {}, "up to row 1. ',' expected after"),
    "a short row late": (b"a,b,c\n" + b"1,2,3\n" * 30 + b"1,2\n" * 9, {}, "up to row 30. The next"),
    "a long row first in a block": (b"a,b\n" + (b"1,2\n" * 11 + b"1,2,3,4\n") * 20, {},
                                    "up to row 11. The next row has 4 values instead of 2"),
    "a value over the csv module's limit": (b"a,b\n1,2\n1," + b"x" * 200_000,
                                            {"blocksize": "64 kB"}, "up to row 1. field larger"),
    "the source itself": (b"a,b\n1,2\n", {"output": "the source itself.csv"}, "is the source"),
}  # fmt: skip
FAULTS = {name: (table, {"blocksize": 40} | how, end) for name, (table, how, end) in FAULTS.items()}
TABLES = CASES | FAULTS


@pytest.fixture(scope="session")
def python(bake) -> Path:
    """The Python of a project with a cluster."""
    return environment(bake(cluster="dask"))


@pytest.fixture(scope="session")
def step_1(python):
    """Return a function that runs step 1 on many tables, and returns the error of each, or ""."""

    def run(folder: Path, settings: list[dict], **env: str) -> list[str]:
        usual = {"output": "out.csv", "blocksize": 40}
        cases = [case(folder, "join", **usual | each) for each in settings]
        env = {"NO_PROXY": "127.0.0.1"} | env
        answers = run_cells(python, NOTEBOOK, cases, CONNECT, without="connect", **env)
        return [error for error, *_ in answers]

    return run


def in_blocks(content: bytes, settings: dict, end: str) -> dict:
    """Add a size that makes many blocks; none if a value holds a line end, as the notebook says."""
    good = rows(content, settings) if end in (RIGHT, SHOWN) else []
    whole = any("\n" in value for row in good for value in row)
    return {"blocksize": None if whole else max(6, len(content) // 20)} | settings


@pytest.fixture(scope="module")
def tried(step_1, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """All tables, tried: their folder, with an older output for each, and the error of each."""
    folder, cases = tmp_path_factory.mktemp("tables"), []
    for name, table in TABLES.items():
        (folder / f"{name}.out").write_bytes(b"as it was")
        (folder / f"{name}.csv").write_bytes(table[0])
        cases.append({"source": f"{name}.csv", "output": f"{name}.out"} | in_blocks(*table))
    return folder, dict(zip(TABLES, step_1(folder, cases), strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_dask_table_comes_out_as_it_was_or_is_refused_in_a_sentence(tried, name):
    folder, faults = tried
    content, settings, end = TABLES[name]
    output, fault = (folder / f"{name}.out").read_bytes(), faults[name]
    if end in (RIGHT, SHOWN):
        assert fault == "" and is_right(output, content, settings)
    else:
        assert any(words in fault for words in ([end] if name in FAULTS else REASONS)), fault
        assert len(fault.splitlines()) == 1 and output == b"as it was"


def test_dask_many_files_become_one_or_are_refused(step_1, tmp_path):
    files = {
        "cars-1.csv": '\ufeffa,ä,c\n1,"x;y",é\n2,3,4',  # the last line does not end
        "cars-2.csv": "a,ä,c\n5,6,€\n" * 10,
        "cars-3.csv": "a,ä,c\n",
        "other-1.csv": "a,b,c\n1,2,3\n",
        "other-2.csv": "a,c,b\n1,2,3\n",
        "open-1.csv": 'a,b\n1,"2\n',
        "open-2.csv": 'a,b\n1,2"\n',
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "old.csv").write_bytes(b"as it was")
    sentences = {
        "other-*.csv": "other-2.csv is good up to row 0. The columns are not those of the first",
        "open-*.csv": "open-1.csv is good up to row 0. unexpected end of data",
        "nothing-*.csv": "resolved to no files",
    }
    cases = [{"source": pattern, "output": "old.csv"} for pattern in sentences]
    cases.append({"source": "cars-*.csv", "output": "cars-1.csv"})
    good, *bad = step_1(tmp_path, [{"source": "cars-*.csv"}, *cases])
    assert good == ""
    tables = [rows(files[f"cars-{number}.csv"].encode(), {}) for number in (1, 2, 3)]
    expected = [row[1:] for table in tables for row in table[1:]]
    assert rows((tmp_path / "out.csv").read_bytes(), {}) == [["ä", "c"], *expected]
    for fault, sentence in zip(bad, [*sentences.values(), "the source"], strict=True):
        assert sentence in fault and len(fault.splitlines()) == 1
    assert (tmp_path / "old.csv").read_bytes() == b"as it was"
    assert {path.name for path in tmp_path.glob("[!.]*")} == {*files, "old.csv", "out.csv"}


def test_dask_address_is_read_in_blocks_or_as_a_whole_and_one_of_s3_is_written(step_1, tmp_path):
    """From a web server that gives parts of a file, from one that does not, and from S3 to S3."""
    table = b"a,b\n" + b'1,"2;3"\n' * 100
    (tmp_path / "cars.csv").write_bytes(table)
    with bucket() as s3, serving(files(tmp_path)) as whole:
        for number in (1, 2):
            s3.put(f"cars-{number}.csv", table)
        parts = s3.settings["AWS_ENDPOINT_URL"] + "/cars/cars-1.csv"
        whole = {"source": f"{whole}/cars.csv", "output": "whole"}
        copy = {"source": "s3://cars/cars-*.csv", "output": "s3://cars/less", "blocksize": 400}
        cases = [{"source": parts, "output": "parts"}, whole, whole | {"blocksize": None}]
        faults = step_1(tmp_path, [*cases, copy, copy], **s3.settings)
        written = [rows(part, {}) for part in s3.read("less")]
    assert (faults[0], faults[2], faults[3]) == ("", "", "")
    assert "range requests" in faults[1] and "choose another" in faults[4]
    for name in ("parts", "whole"):
        assert is_right((tmp_path / name).read_bytes(), table, {})
    assert len(written) > 2
    assert {part[0][0] for part in written} == {"b"}  # each is a table
    assert [row for part in written for row in part[1:]] == [["2;3"]] * 200


def test_dask_random_tables_come_out_right_or_are_refused(step_1, tmp_path):
    cases, tables = [], [random_table(seed) for seed in range(EXAMPLES)]
    for seed, content in enumerate(tables):
        (tmp_path / f"{seed}.csv").write_bytes(content)
        size = "64 kB" if len(content) > 100_000 else 5 + 7 * seed % 55
        for blocksize in (size, None):
            (tmp_path / f"{seed}.{blocksize}").write_bytes(b"")
            names = {"source": f"{seed}.csv", "output": f"{seed}.{blocksize}"}
            cases.append(names | {"blocksize": blocksize})
    faults = step_1(tmp_path, cases)
    for number, (each, fault) in enumerate(zip(cases, faults, strict=True)):
        output = (tmp_path / each["output"]).read_bytes()
        fair = is_fair(fault, output, tables[number // 2])
        assert fair or fault and each["blocksize"], f"{each}: {fault}"
    assert faults.count("") > EXAMPLES / 2, "too few are tried"


def test_dask_table_without_a_column_ends_after_step_1(python, tmp_path):
    table = SAMPLE.read_bytes().replace(b"kilometer", b"odometer", 1)
    (tmp_path / "cars.csv").write_bytes(table)
    cases = [case(tmp_path, "columns", source="cars.csv", output="less.csv")]
    ((error, printed, _),) = run_cells(python, NOTEBOOK, cases, CONNECT, without="connect")
    assert error.startswith("SystemExit")
    assert "missing for steps 2 and 3: ['kilometer']" in printed
    assert is_right((tmp_path / "less.csv").read_bytes(), table, {})


def run_all(python: Path, folder: Path) -> Run:
    """Run the whole notebook on the sample in a folder."""
    (folder / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    run = papermill(python, NOTEBOOK, folder, blocksize="100 kB")
    assert run.code == 0, run.stderr
    return run


@pytest.fixture(scope="module")
def alone(python, tmp_path_factory) -> Run:
    """A run without dask.yaml, for which workers start on this computer."""
    return run_all(python, tmp_path_factory.mktemp("alone"))


def test_dask_headless_run_shows_what_the_table_holds(alone):
    header, *cars = rows(SAMPLE.read_bytes(), {})
    assert is_right((alone.folder / "processed.csv").read_bytes(), SAMPLE.read_bytes(), {})
    price = header.index("price")
    right = sum(100 <= int(car[price]) <= 150_000 for car in cars)
    assert f"{right:,} of {len(cars):,} cars" in alone.text()
    errors = [float(line.split()[1]) for line in alone.shown()["search"].splitlines()[:-1]]
    assert len(errors) == 6 and min(errors) < 0.9 * errors[0]
    assert any("image/png" in output.get("data", {}) for output in alone.output_of("brands"))
    names = {"cars_sampled.csv", "processed.csv", "out.ipynb", "process_cars_dask.ipynb"}
    assert {path.name for path in alone.folder.iterdir()} == names


def test_worker_killed_in_each_step_changes_nothing(alone, python, tmp_path, monkeypatch):
    """Two workers; one is killed while it works on step 1, one on step 2, one on the models."""
    tasks = ["write_part", "csv", "error_of"]
    command = [python, Path(__file__).with_name("local_cluster.py"), *tasks]
    with subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-3, text=True) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.stdout.readline().strip())
        run = run_all(python, tmp_path)
        assert cluster.communicate()[0].split() == tasks
    for cell in ("results", "brands", "search"):
        assert run.shown()[cell] == alone.shown()[cell]
    processed = "processed.csv"
    assert (tmp_path / processed).read_bytes() == (alone.folder / processed).read_bytes()


def test_dask_own_workers_of_a_tutorial_are_refused_and_the_page_says_what_to_type(bake, python):
    """What `Client(n_workers=2)` does beside dask.yaml, and what CLUSTER.md gives instead."""
    project = bake(cluster="dask")
    page = (project.path / "CLUSTER.md").read_text(encoding="utf-8")
    (own,) = re.findall(r"`(with Client\(LocalCluster\(.*?)`", page)
    said = "Unexpected keyword arguments: ['n_workers']"
    assert said in page and said in NOTEBOOK.read_text(encoding="utf-8")
    script = f"""
from dask.distributed import Client, LocalCluster
if __name__ == "__main__":
    try:
        Client(n_workers=2)
    except ValueError as error:
        print(error)
    {own}
        print(client.submit(sum, [1, 2]).result(), len(client.scheduler_info()["workers"]))
"""
    (project.path / "own.py").write_text(script)
    settings = {"DASK_CONFIG": str(project.path / "dask.yaml"), "DASHBOARD_PORT": "8787"}
    settings |= {"DASK_TEMPORARY_DIRECTORY": str(project.path)}
    done = project.run(str(python), "own.py", **settings)
    assert done.stdout.splitlines() == [said, "3 2"]
