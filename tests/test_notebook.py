"""The sample data and the sample notebooks, run without Docker from the project's own lock.

What is said of Step 1 is said of both: process_cars.ipynb and, for `cluster: dask`, process_cars_dask.ipynb.
"""

import ast
import codecs
import csv
import functools
import http.server
import io
import json
import os
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT, TEMPLATE
from hypothesis import given, settings
from hypothesis import strategies as st
from notebooks import Run, environment, papermill

NOTEBOOK = TEMPLATE / "data/input/process_cars.ipynb"
(DASK_NOTEBOOK,) = (TEMPLATE / "data/input").glob("*process_cars_dask.ipynb*")
SAMPLE = TEMPLATE / "data/input/cars_sampled.csv"
# Runs the cells of step 1 in the project's environment, then each case read from standard input.
# Answers with one JSON line: per case what went wrong ("" if nothing) and what was printed.
# The cluster is this process, which does a task when its result is wanted, on blocks of very few lines.
HARNESS = """
import contextlib, functools, io, json, os, resource, sys

class Here:
    def submit(self, task, *args, pure, priority=0):
        future = type("Future", (), {})()
        future.result = functools.partial(task, *args)
        return future

    def nthreads(self):
        return {"here": 1}

cells, cases = json.load(sys.stdin)
names = {"client": Here()}
for cell in cells:
    exec(compile(cell, "cell", "exec"), names)
names["wait"] = lambda future, timeout: None
answers = []
for case in cases:
    os.chdir(case["folder"])
    if "Block" in names:
        size = os.path.getsize(case["source"]) if os.path.isfile(case["source"]) else 0
        names["BLOCK"] = case.get("block", max(24, size // 40))
    printed = io.StringIO()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limit = case.get("file_size_limit", resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with contextlib.redirect_stdout(printed):
            names["drop_first_column"](case["source"], case["output"])
        fault = ""
    except names["Problem"] as problem:
        fault = "\\n".join(problem._render_traceback_())
    except BaseException as error:
        fault = f"CRASH {error!r}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    answers.append([fault, printed.getvalue(), grown])
print(json.dumps(answers))
"""


class Answer(NamedTuple):
    """What `drop_first_column` did: the sentence on a fault, the text printed, memory grown."""

    fault: str
    printed: str
    grown_kib: int


def code_of(*ids: str, notebook: Path = NOTEBOOK) -> list[str]:
    """Return the code of the notebook's cells with these ids."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["id"] in ids]


@pytest.fixture(scope="session")
def python(default_project) -> Path:
    """The Python of the default project."""
    return environment(default_project)


@pytest.fixture(scope="session")
def dask_python(bake) -> Path:
    """The Python of a project with a cluster."""
    return environment(bake(cluster="dask"))


def steps(python: Path, notebook: Path, cases: list[dict]) -> list[Answer]:
    """Run step 1 of a notebook on many cases in one process."""
    done = subprocess.run(
        [python, "-c", HARNESS],
        input=json.dumps([code_of("helpers", "core", notebook=notebook), cases]),
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [Answer(*answer) for answer in json.loads(done.stdout)]


@pytest.fixture(scope="session", params=["pandas", "dask"])
def step1(request) -> Callable[[list[dict]], list[Answer]]:
    """A function that runs step 1 on many cases: `step1([case, …]) -> [Answer, …]`."""
    if request.param == "dask":
        return functools.partial(steps, request.getfixturevalue("dask_python"), DASK_NOTEBOOK)
    return functools.partial(steps, request.getfixturevalue("python"), NOTEBOOK)


def american(text: str) -> str:
    """Return the sample with prices such as "$5,000" and kilometres such as "150,000km"."""
    table = list(csv.reader(io.StringIO(text, "")))
    for row in table[1:]:
        row[4], row[11] = f"${int(row[4]):,}", f"{int(row[11]):,}km"
    file = io.StringIO()
    csv.writer(file).writerows(table)
    return file.getvalue()


@pytest.fixture(scope="session")
def runs(python, tmp_path_factory) -> dict[str, Run]:
    """All headless runs, two at a time."""
    sample = SAMPLE.read_text(encoding="utf-8")
    lines = sample.splitlines(keepends=True)
    inputs = {
        "sample": (SAMPLE.read_bytes(), {}),
        "latin-1": (american(sample).encode("latin-1"), {"output": "result.csv"}),
        "empty rows": ("".join([*lines[:101], *["," * 18 + "\n"] * 49_900]).encode(), {}),
        "columns": (b"id,price,colour\n" + b"1,500,red,long,row\n2,700,blue\n3,900,red\n" * 50, {}),
        "missing": (b"", {"source": "nowhere.csv"}),
        "itself": (SAMPLE.read_bytes(), {"output": "./cars_sampled.csv"}),
    }
    with ThreadPoolExecutor(2) as pool:
        waiting = {}
        for name, (content, parameters) in inputs.items():
            folder = tmp_path_factory.mktemp("run")
            (folder / SAMPLE.name).write_bytes(content)
            waiting[name] = pool.submit(papermill, python, NOTEBOOK, folder, **parameters)
        return {name: run.result() for name, run in waiting.items()}


def records(text: str, separator: str = ",") -> list[list[str]]:
    """Return the records of a CSV text, as Python's own csv module reads them."""
    return list(csv.reader(io.StringIO(text, ""), delimiter=separator))


def assert_less_first_column(
    source: Path, encoding: str, output: Path, separator: str = ","
) -> int:
    """Check every value of `output` against `source`; return the number of records."""
    with (
        source.open(encoding=encoding, newline="") as old,
        output.open(encoding="utf-8", newline="") as new,
    ):
        count = 0
        pairs = csv.reader(old, delimiter=separator), csv.reader(new, delimiter=separator)
        for count, (before, after) in enumerate(zip(*pairs, strict=True), 1):
            assert after == before[1:], f"record {count}"
    return count


# --- the sample data ---------------------------------------------------------------------------


def test_sample_is_what_the_generator_writes(tmp_path):
    made = tmp_path / "made.csv"
    subprocess.run([sys.executable, ROOT / "tests/make_cars.py", made], check=True)
    assert made.read_bytes() == SAMPLE.read_bytes()
    subprocess.run([sys.executable, ROOT / "tests/make_cars.py", made, "--seed", "1"], check=True)
    assert made.read_bytes() != SAMPLE.read_bytes()


def test_sample_has_the_columns_formats_and_dirt_of_the_real_data():
    content = SAMPLE.read_bytes()
    assert b"\r" not in content
    header, *rows = records(content.decode("utf-8"))
    assert ",".join(header) == (
        "dateCrawled,name,seller,offerType,price,abtest,vehicleType,yearOfRegistration,gearbox,"
        "powerPS,model,kilometer,monthOfRegistration,fuelType,brand,notRepairedDamage,dateCreated,"
        "postalCode,lastSeen"
    )
    assert len(rows) == 5_000
    column = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    gaps = {name for name, values in column.items() if "" in values}
    assert gaps == {"notRepairedDamage", "vehicleType", "model", "fuelType", "gearbox"}
    assert all(re.fullmatch(r"\d\d-\d\d-2016 \d\d:\d\d", value) for value in column["dateCrawled"])
    assert any(value.startswith("Volvo_XC90_2.4D_Summum") for value in column["name"])
    for part in ("ü", ",", '"'):
        assert any(part in value for value in column["name"]), part
    prices = [int(value) for value in column["price"]]
    assert 0 in prices and max(prices) > 10_000_000
    assert {"1111", "9999"} <= set(column["yearOfRegistration"])
    assert {"0", "20000"} <= set(column["powerPS"])
    assert "0" in column["monthOfRegistration"]
    assert len({tuple(row[1:]) for row in rows}) < len(rows) - 50
    assert {"benzin", "diesel"} <= set(column["fuelType"])
    assert {"ja", "nein"} <= set(column["notRepairedDamage"])


# --- the notebook as a file --------------------------------------------------------------------


@pytest.mark.parametrize("path", [NOTEBOOK, DASK_NOTEBOOK], ids=["pandas", "dask"])
def test_notebook_is_stored_clean(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    assert notebook["nbformat"] == 4 and notebook["nbformat_minor"] == 5
    assert notebook["metadata"] == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    for cell in cells:
        assert re.fullmatch(r"[a-z0-9-]+", cell["id"])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert [cell["id"] for cell in cells if "parameters" in cell["metadata"].get("tags", [])] == [
        "parameters"
    ]
    assert code_of("parameters", notebook=path) == [
        'source = "cars_sampled.csv"\noutput = "processed.csv"'
    ]
    assert "synthetic" in "".join(cells[0]["source"])
    assert b"\r" not in path.read_bytes()
    assert not re.search(r"\{[{%#]", path.read_text(encoding="utf-8"))


# --- step 1: the column is dropped and nothing else changes ------------------------------------


class Problem(Exception):
    """Stands in for the notebook's own class."""


@functools.cache
def notebook_function() -> Callable[[Iterable[str], str], Iterator[str]]:
    """Return `without_first_field`, cut out of its cell."""
    (source,) = code_of("core")
    function = next(
        node
        for node in ast.parse(source).body
        if getattr(node, "name", "") == "without_first_field"
    )
    names = {"re": re, "Iterable": Iterable, "Iterator": Iterator, "Problem": Problem}
    exec(compile(ast.unparse(function), "cell", "exec"), names)  # noqa: S102
    return names["without_first_field"]


def without_first_field(text: str, separator: str = ",") -> str:
    """Apply the notebook's function to a whole text."""
    return "".join(notebook_function()(io.StringIO(text, ""), separator))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a,b,c\n1,2,3\n", "b,c\n2,3\n"),
        ("a,b\r\n1,2\r\n", "b\r\n2\r\n"),
        ("a,b\r1,2\r", "b\r2\r"),
        ("a,b\n1,2", "b\n2"),
        ('a,b\n"1,5","2,""x"""\n', 'b\n"2,""x"""\n'),
        ('a,b,c\n1,"x\ny","z\r\n"\n2,3,4\n', 'b,c\n"x\ny","z\r\n"\n3,4\n'),
        ('a,b\n"x\ny, ""z""\n",2\n3,4\n', "b\n2\n4\n"),
        ('a,b\n1,17" rims\n2,3\n', 'b\n17" rims\n3\n'),
        ('a,b\n17" rims,1\n2,3\n', "b\n1\n3\n"),
        ('a,b\n1, "x,y"\n', 'b\n "x,y"\n'),
        ('a,b\n"x"y"z,1\n', "b\n1\n"),
        ("a,b\n,2\n", "b\n2\n"),
        ("a,b,c\n,,\n,,\n", "b,c\n,\n,\n"),
        ("a,b\n1,\n2,3\n", 'b\n""\n3\n'),
        ("a,b\n1\n2,3\n\n", "b\n\n3\n\n"),
        ("a,b\n1,  2 ,x\n", "b\n  2 ,x\n"),
        ("a,b\n1,\x0b\x0c\x1c\u2028\n", "b\n\x0b\x0c\x1c\u2028\n"),
    ],
)
def test_first_field_is_dropped_to_the_letter(before, after):
    assert without_first_field(before) == after


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(separator):
    before = 'a,b;c\n"1;\n2";"3;4",5\n'.replace(";", separator)
    assert without_first_field(before, separator) == 'c\n"3;4",5\n'.replace(";", separator)


def test_quotes_that_never_close_are_refused_with_their_line():
    with pytest.raises(Problem, match="line 3 opens quotes"):
        without_first_field('a,b\n1,2\n"3,4\n5,6\n')


@settings(max_examples=1_500, deadline=None, database=None)
@given(
    pieces=st.lists(st.sampled_from([",", ",", '"', '"', '""', "a", "é", " ", "\n"]), max_size=25),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from([",", ";", "\t"]),
)
def test_agrees_with_the_csv_module_on_any_text(pieces, line_end, separator):
    text = "".join(pieces).replace("\n", line_end).replace(",", separator)
    expected = [row[1:] for row in records(text, separator)]
    try:
        got = records(without_first_field(text, separator), separator)
    except Problem:
        # The csv module reads such a text to its end: one more closing quote changes nothing.
        assert records(text, separator) == records(text + '"', separator)
        return
    for table in (expected, got):  # an empty record at the very end cannot always be written
        while table and table[-1] == []:
            table.pop()
    assert got == expected


@settings(max_examples=300, deadline=None, database=None)
@given(
    table=st.lists(st.lists(st.text('a,;"\n ', max_size=4), min_size=2, max_size=4), min_size=1),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_agrees_with_the_csv_module_on_written_tables(table, quoting, line_end):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting, lineterminator=line_end).writerows(table)
    assert records(without_first_field(file.getvalue())) == [row[1:] for row in table]


def encoding_of(name: str) -> str:
    """Return the encoding that a test case is named after."""
    return re.match("utf-8-sig|utf-8|utf-16|latin-1|cp1252|mac_roman", name).group()


@pytest.mark.notebook
def test_encodings_and_separators(step1, tmp_path):
    text = "Größe,Name,Preis\r\n" + 'ä,Citroën für "Öl" 5\xdf,1\r\nb,"ü, é",2\r\n' * 50
    late = "a,b\n" + "1,2\n" * 700_000
    cases = {
        "utf-8": text,
        "utf-8-sig": text,
        "utf-16": text,
        "latin-1": text,
        "cp1252": text + 'c,"5 €” – it’s",3\r\n',
        "mac_roman": text,
        "cp1252-late": late + "x,Jürgen\n",
        "mac_roman-late": late + "x,Jürgen\n",
        "cp1252-euro": "a,b\n1,€500\n",
        "latin-1-undefined": "a,b\n1,für\x81\n",
        "utf-8-euro-at-block-end": "a,b\n" + "1,2\n" * ((1 << 18) - 2) + "1,2€\n" + late,
    }
    todo = []
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content.encode(encoding_of(name)))
        todo.append({"folder": str(tmp_path), "source": name, "output": f"{name}.out"})
    for separator in ";\t":
        name = f"separator{ord(separator)}"
        (tmp_path / name).write_text(f'"a, b"{separator}c\n1,5{separator}2,5\n', encoding="utf-8")
        todo.append({"folder": str(tmp_path), "source": name, "output": f"{name}.out"})
    for case, answer in zip(todo, step1(todo), strict=True):
        name = case["source"]
        assert answer.fault == "", name
        separator = chr(int(name[9:])) if name.startswith("separator") else ","
        encoding = "utf-8" if name.startswith("separator") else encoding_of(name)
        output = tmp_path / case["output"]
        assert assert_less_first_column(tmp_path / name, encoding, output, separator) > 1
        assert not output.read_bytes().startswith(codecs.BOM_UTF8)
        dropped = {"a": "'a'", "G": "'Größe'", '"': "'a, b'"}
        first = (tmp_path / name).read_text(encoding=encoding).lstrip("\ufeff")[0]
        assert f"dropped the column {dropped[first]}" in answer.printed
    assert not list(tmp_path.glob(".*"))


@pytest.mark.notebook
def test_any_size_in_little_memory(step1, tmp_path):
    header, *rows = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    big = tmp_path / "big.csv"
    with big.open("w", encoding="utf-8", newline="") as file:
        file.write(header)
        for _ in range(80):
            file.writelines(rows)
    case = {"folder": str(tmp_path), "source": "big.csv", "output": "out.csv"}
    small, answer = step1([case | {"source": str(SAMPLE)}, case])
    assert small.fault == answer.fault == ""
    assert answer.grown_kib < 20 * 1024, "memory grows with the file"
    assert "100%" in answer.printed
    assert assert_less_first_column(big, "utf-8", tmp_path / "out.csv") == 400_001


@pytest.mark.notebook
def test_faults_are_one_sentence_and_change_nothing(step1, tmp_path):
    table = b"a,b\n1,2\n"
    (tmp_path / "good.csv").write_bytes(table)
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "blank.csv").write_bytes(b"\n\n")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0,IHDR,\0\0")
    (tmp_path / "excel.csv").write_bytes(b"PK\x03\x04,\x14\0\x06\0,\x08\0")
    (tmp_path / "late.csv").write_bytes(b"a,b\n1,\0\n")
    (tmp_path / "column.csv").write_bytes(b"a\n1\n2\n")
    (tmp_path / "page.csv").write_bytes(b"<!doctype html><title>a, b</title>")
    (tmp_path / "data.json").write_bytes(b'[{"a": 1, "b": 2}]')
    (tmp_path / "odd.csv").write_bytes("a,b\n".encode("utf-16") + b"1")
    (tmp_path / "open.csv").write_bytes(b'a,b\n1,2\n3,"4\n')
    (tmp_path / "large.csv").write_bytes(table * 10_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "symbolic.csv").symlink_to("good.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "good.csv")
    (tmp_path / "old.csv").write_bytes(b"as it was")
    cases = [
        ({"source": "nowhere.csv"}, "source nowhere.csv does not exist"),
        ({"source": ""}, "is not a file"),
        ({"source": "folder"}, "source folder is not a file"),
        ({"source": "empty.csv"}, "source empty.csv is empty"),
        ({"source": "blank.csv"}, "source blank.csv is not a CSV table"),
        ({"source": "picture.csv"}, "source picture.csv is not a CSV table"),
        ({"source": "excel.csv"}, "source excel.csv is not a CSV table"),
        ({"source": "late.csv"}, "source late.csv is not a CSV table"),
        ({"source": "column.csv"}, "source column.csv is not a CSV table"),
        ({"source": "page.csv"}, "source page.csv is not a CSV table"),
        ({"source": "data.json"}, "source data.json is not a CSV table"),
        ({"source": "odd.csv"}, "source odd.csv cannot be read"),
        ({"source": "open.csv"}, "line 3 opens quotes"),
        ({"output": "good.csv"}, "output good.csv is the same file as the source"),
        ({"output": "./folder/../good.csv"}, "is the same file as the source"),
        ({"output": "symbolic.csv"}, "output symbolic.csv is the same file as the source"),
        ({"output": "hard.csv"}, "output hard.csv is the same file as the source"),
        ({"source": "symbolic.csv", "output": "good.csv"}, "is the same file as the source"),
        ({"output": "folder"}, "output folder must be the name of a file"),
        ({"output": "nowhere/out.csv"}, "output nowhere/out.csv must be the name of a file"),
        ({"output": "/proc/out.csv"}, "output /proc/out.csv cannot be written"),
        ({"source": "large.csv", "file_size_limit": 5_000}, "output old.csv cannot be written"),
    ]
    standard = {"folder": str(tmp_path), "source": "good.csv", "output": "old.csv"}
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    answers = step1([standard | change for change, _ in cases])
    for (change, expected), answer in zip(cases, answers, strict=True):
        assert expected in answer.fault, change
        assert answer.fault.startswith("Problem: ") and "\n" not in answer.fault, change
        assert "Saved" not in answer.printed, change
    after = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before  # nothing changed, nothing left behind


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers with a table, an error, or a table that breaks off."""

    def do_GET(self) -> None:
        """Serve one page."""
        self.send_response(404 if self.path == "/none.csv" else 200)
        self.send_header("Content-Length", "100" if self.path == "/broken.csv" else "8")
        self.end_headers()
        self.wfile.write(b"a,b\n1,2\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """The address of a web server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.notebook
def test_source_may_be_a_url(step1, tmp_path, pages):
    case = {"folder": str(tmp_path), "output": "out.csv"}
    addresses = [f"{pages}/{name}.csv" for name in ("good", "none", "broken")]
    addresses += ["http://127.0.0.1:1/a.csv", "http://"]
    answers = step1([case | {"source": address} for address in addresses])
    assert answers[0].fault == ""
    assert (tmp_path / "out.csv").read_bytes() == b"b\n2\n"
    for address, answer in zip(addresses[1:], answers[1:], strict=True):
        assert answer.fault.startswith(f"Problem: source {address} ") and "\n" not in answer.fault
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.notebook
def test_why_a_url_cannot_be_read_is_said(python, tmp_path, pages):
    case = {"folder": str(tmp_path), "output": "out.csv"}
    reasons = {
        f"{pages}/none.csv": "the server answered 404",
        f"{pages}/broken.csv": "ChunkedEncodingError",
        "http://127.0.0.1:1/a.csv": "ConnectionError",
        "http://": "InvalidURL",
    }
    answers = steps(python, NOTEBOOK, [case | {"source": address} for address in reasons])
    for (address, reason), answer in zip(reasons.items(), answers, strict=True):
        assert f"source {address} could not be downloaded ({reason})" in answer.fault


@pytest.mark.notebook
def test_a_link_as_output_stays_a_link(step1, tmp_path):
    (tmp_path / "link.csv").symlink_to("real.csv")
    case = {"folder": str(tmp_path), "source": str(SAMPLE), "output": "link.csv"}
    assert step1([case])[0].fault == ""
    assert (tmp_path / "link.csv").is_symlink()
    assert assert_less_first_column(SAMPLE, "utf-8", tmp_path / "real.csv") == 5_001


# --- step 1 on many workers --------------------------------------------------------------------


@pytest.mark.notebook
def test_blocks_of_any_size_give_what_one_worker_gives(python, dask_python, tmp_path):
    """Also where a block starts inside quotes, and where a letter of two bytes lies in two blocks."""
    choose = random.Random(0)
    parts = [",", ",", '"', '"', '""', "a", "é", "€", " ", "\n", "\n", "\r\n", "\r", 'x",\n"y']
    cases, endings = [], {"utf-8": "é", "utf-8-sig": "é", "cp1252": "für", "utf-16": "é"}
    for number in range(400):
        text = "".join(choose.choices(parts, k=choose.randrange(120)))
        encoding = choose.choice(list(endings))
        path = tmp_path / f"{number}.csv"
        path.write_bytes(f"k,{endings[encoding]}\n{text}".encode(encoding))
        names = {"folder": str(tmp_path), "source": path.name, "block": choose.randrange(4, 40)}
        cases.append(names)
    one = steps(python, NOTEBOOK, [case | {"output": f"{case['source']}.one"} for case in cases])
    many = steps(
        dask_python, DASK_NOTEBOOK, [case | {"output": f"{case['source']}.many"} for case in cases]
    )
    for case, before, after in zip(cases, one, many, strict=True):
        path = tmp_path / case["source"]
        number = re.compile(r"line \d+ opens")
        assert number.findall(before.fault) == number.findall(after.fault), path.read_bytes()
        if not before.fault:
            results = [path.with_name(path.name + end).read_bytes() for end in (".one", ".many")]
            assert results[0] == results[1], path.read_bytes()
    assert 50 < sum(bool(answer.fault) for answer in one) < 350


@pytest.mark.notebook
def test_many_files_become_one(dask_python, tmp_path):
    header = "a,für,c\n"
    contents = {
        "cars-1.csv": (header + '1,"x\ny",é\n2,3,4').encode(),  # the last line does not end
        "cars-2.csv": ("\n" + header + "5,6,€\r\n").encode("cp1252"),
        "cars-3.csv": header.encode("utf-16"),
        "cars-4.csv": ("\ufeff" + header + "7,8,9\n").encode(),
        "other-1.csv": b"a,b\n1,2\n",
        "other-2.csv": b"a;b\n1;2\n",
        "quotes-1.csv": b'a,b\n1,"2\n',
        "quotes-2.csv": b'a,b\n1,2"\n',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    case = {"folder": str(tmp_path), "output": "out.csv"}
    patterns = ["cars-?.csv", "other-*.csv", "quotes-*.csv", "*.csv", "nothing-*.csv"]
    good, other, quotes, itself, nothing = steps(
        dask_python, DASK_NOTEBOOK, [case | {"source": pattern} for pattern in patterns]
    )
    assert good.fault == ""
    assert (
        "Read cars-?.csv (4 files, cp1252, utf-16, utf-8), dropped the column 'a'." in good.printed
    )
    expected = 'für,c\n"x\ny",é\n3,4\n6,€\r\n8,9\n'
    assert (tmp_path / "out.csv").read_bytes().decode() == expected
    assert "other-2.csv has other columns than file://" in other.fault
    assert "quotes-1.csv: line 2 opens quotes" in quotes.fault
    assert "output out.csv is the same file as the source" in itself.fault
    assert "source nothing-*.csv does not exist" in nothing.fault


# --- the whole notebook, headless --------------------------------------------------------------


@pytest.mark.notebook
@pytest.mark.parametrize("name", ["sample", "latin-1", "empty rows", "columns"])
def test_headless_run_ends_well_without_warnings(runs, name):
    run = runs[name]
    assert run.code == 0, run.stderr
    outputs = [output for cell in run.cells for output in cell.get("outputs", [])]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert "warning" not in json.dumps(outputs).lower()
    encoding = "latin-1" if name == "latin-1" else "utf-8"
    output = run.folder / ("result.csv" if name == "latin-1" else "processed.csv")
    count = {"sample": 5_001, "latin-1": 5_001, "empty rows": 50_001, "columns": 151}[name]
    assert assert_less_first_column(run.folder / SAMPLE.name, encoding, output) == count
    left = {path.name for path in run.folder.iterdir()}
    assert left == {NOTEBOOK.name, SAMPLE.name, "out.ipynb", output.name}


@pytest.mark.notebook
@pytest.mark.parametrize("name", ["sample", "latin-1"])
def test_headless_numbers(runs, name):
    """The same cars, plainly written or the American way, give the same numbers."""
    text = runs[name].text()
    assert "dropped the column 'dateCrawled'" in text
    assert "  5,000 rows loaded\n" in text
    for reason in ("the same advertisement again", "price not", "yearOfRegistration", "powerPS"):
        assert int(re.search(rf"([\d,]+) rows dropped: {reason}", text)[1].replace(",", "")) > 20
    left = int(re.search(r"([\d,]+) rows left", text)[1].replace(",", ""))
    assert 4_300 < left < 4_600
    sizes = re.search(r"Learned from ([\d,]+) cars, tested on ([\d,]+) others", text).groups()
    assert sum(int(size.replace(",", "")) for size in sizes) == left
    scores = re.findall(r"mean error +([\d,]+) EUR, R² +(-?[\d.]+)", text)
    (baseline, baseline_r2), (model, model_r2) = [
        (int(error.replace(",", "")), float(r2)) for error, r2 in scores
    ]
    assert model < 0.35 * baseline
    assert baseline_r2 < 0.1 and model_r2 > 0.85
    gain = int(re.search(r"model is ([\d,]+) EUR closer than", text)[1].replace(",", ""))
    assert abs(gain - (baseline - model)) <= 1
    cheaper = int(re.search(r"the cheaper one in (\d+)% of all pairs", text)[1])
    assert 70 < cheaper < 90
    assert "p is less than 0.001: the difference can hardly be chance." in text


@pytest.mark.notebook
def test_headless_sample_shows_two_plots(runs):
    for cell in ("plot-year", "plot-damage"):
        (output,) = runs["sample"].output_of(cell)
        assert len(output["data"]["image/png"]) > 20_000


@pytest.mark.notebook
def test_headless_empty_rows_are_kept_in_the_file_and_dropped_for_the_plots(runs):
    text = runs["empty rows"].text()
    assert " 50,000 rows loaded\n 49,900 rows dropped: empty\n" in text
    assert re.search(r"Learned from \d\d cars, tested on \d\d others", text)


@pytest.mark.notebook
def test_headless_other_columns_are_said_in_a_sentence(runs):
    text = runs["columns"].text()
    for missing in (
        "yearOfRegistration, kilometer",
        "yearOfRegistration, notRepairedDamage",
        "yearOfRegistration, powerPS, kilometer, brand, model",
        "notRepairedDamage",
    ):
        assert f"Skipped, because processed.csv has no values in: {missing}" in text


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", "Problem: source nowhere.csv does not exist: name a CSV file, seen from "),
        ("itself", "Problem: output ./cars_sampled.csv is the same file as the source."),
    ],
)
def test_headless_fault(runs, name, sentence):
    run = runs[name]
    assert run.code != 0
    assert run.stderr.strip().splitlines()[-1].startswith(sentence)
    (error,) = [output for output in run.output_of("run-step1") if "traceback" in output]
    assert len(error["traceback"]) == 1 and error["traceback"][0].startswith(sentence)
    assert not (run.folder / "processed.csv").exists()
    assert (run.folder / SAMPLE.name).read_bytes() == (
        b"" if name == "missing" else SAMPLE.read_bytes()
    )
