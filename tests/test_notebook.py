"""The sample data and the sample notebook, run without Docker from the project's own lock."""

import json
import os
import random
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import make_cars
import pytest
from notebooks import Run, environment, papermill
from support.project import ROOT, TEMPLATE

NOTEBOOK = TEMPLATE / "data/input/process_cars.ipynb"
SAMPLE = TEMPLATE / "data/input/cars_sampled.csv"
STEP_1 = ("parameters", "first-rows", "separator", "tools", "drop")
CLEAN = (*STEP_1, "table", "numbers", "clean")
# Runs cells of the notebook for each case of standard input, then the code of the case.
# Answers with one JSON line: per case the error ("" if none), what was printed, and `answer`.
HARNESS = """
import contextlib, io, json, os, resource, sys, warnings

warnings.simplefilter("error")
cells, cases = json.load(sys.stdin)
cells = {name: compile(code, name, "exec") for name, code in cells.items()}
answers = []
for case in cases:
    os.chdir(case["folder"])
    names, printed, error = {"told": None}, io.StringIO(), ""
    limit = case.get("file_size_limit", resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    with contextlib.redirect_stdout(printed):
        try:
            for name in case["cells"]:
                exec(cells[name], names)
                if "matplotlib.pyplot" in sys.modules:  # each cell has its own, as in Jupyter
                    sys.modules["matplotlib.pyplot"].close("all")
                if name == "parameters":
                    names |= case["parameters"]
            exec(case.get("then", ""), names)
        except BaseException as problem:
            error = f"{type(problem).__name__}: {problem}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    answers.append([error, printed.getvalue(), names["told"]])
print(json.dumps(answers))
"""


@pytest.fixture(scope="session")
def python(default_project) -> Path:
    """The Python of the default project; one thread: two on a busy machine wait for each other."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return environment(default_project)


def cells() -> dict[str, str]:
    """Return the code cells by id."""
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in found if cell["cell_type"] == "code"}


@pytest.fixture(scope="session")
def run(python):
    """A function that runs many cases in one process: `[case] -> [[error, printed, answer]]`."""

    def _run(cases: list[dict]) -> list[list]:
        done = subprocess.run(
            [python, "-c", HARNESS],
            input=json.dumps([cells(), cases]),
            env=os.environ | {"NO_PROXY": "127.0.0.1", "MPLBACKEND": "agg"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return _run


def case(folder: Path, cells: tuple[str, ...] = STEP_1, then: str = "", **parameters: str) -> dict:
    """Return a case for `run`."""
    return {"folder": str(folder), "cells": cells, "then": then, "parameters": parameters}


def read(data: bytes) -> list[tuple[list[bytes], bytes]]:
    """Read CSV byte by byte: values and line end of each record. A blank line has no values."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    records, values, value, inside, bare, place = [], [], bytearray(), False, True, 0
    while place < len(data):
        byte = data[place : place + 1]
        place += 1
        if inside:
            inside = byte != b'"' or data[place : place + 1] == b'"'
            if inside:
                value += byte
                place += byte == b'"'
        elif byte == b'"' and not value and bare:
            inside, bare = True, False
        elif byte in b",\r\n":
            values.append(bytes(value))
            value, alone = bytearray(), bare and len(values) == 1 and not values[0]
            bare = True
            if byte != b",":
                end = b"\r\n" if data[place - 1 : place + 1] == b"\r\n" else byte
                place += len(end) - 1
                records.append(([] if alone else values, end))
                values = []
        else:
            value += byte
    if values or value or not bare:
        records.append(([*values, bytes(value)], b""))
    return records


# --- the notebook as a file --------------------------------------------------------------------


def test_notebook_is_stored_clean():
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert notebook["nbformat"] == 4 and notebook["nbformat_minor"] == 5
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all((cell["outputs"], cell["execution_count"]) == ([], None) for cell in code)
    tags = {cell["id"]: cell["metadata"]["tags"] for cell in code if cell["metadata"]}
    assert tags == {"parameters": ["parameters"]}
    assert not re.search(r"\{[{%#]", text)  # cookiecutter would take it for its own
    assert "\r" not in text


def test_notebook_is_short():
    lines = [
        sum(bool(re.match(r"\s*[^\s#]", line)) for line in code.splitlines())
        for code in cells().values()
    ]
    assert sum(lines) <= 160
    assert sorted(lines)[-2] <= 15 and max(lines) <= 25
    assert lines[0] + lines[1] <= 15  # then the first rows are on the screen


# --- step 1: the column is dropped and nothing else changes ------------------------------------

LETTERS = {"utf-8": "ü€价", "utf-8-sig": "ü€价", "utf-16": "ü€价", "utf-16-be": "ü€价"}
LETTERS |= {"latin-1": "üß\x85", "cp1250": "šž", "cp1251": "Цёя", "cp1252": "ü€…", "koi8-r": "Цёя"}
LETTERS |= {
    "mac_roman": "üß√",
    "shift_jis": "表ソ能",
    "big5": "功許蓋",
    "gbk": "价丂乗",
    "euc_jp": "値段",
}
# Quotes, line ends and NUL in values, blank, short and long rows, names that are empty or twice.
ODD = 'ä,b,,b,"c\r"\r\n1,"x, ""ä""\ny",17" ä,"",z\r\n"2\r\n",ä\0,"a\rb"\n\n3\n4,,ä, ä ,6\r5,"\n"'
VALUES = ["", '""', "a", '"b"', '"c,\n"', '"d""\r"', " e", "\0", 'f"']


@pytest.mark.notebook
def test_each_value_keeps_its_bytes(run, tmp_path):
    sample = "".join(SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)[:1_000])
    sources, rng = {"whole sample": SAMPLE.read_bytes()}, random.Random(0)
    for encoding, letters in LETTERS.items():
        for name, text in {"sample": sample, "odd": ODD}.items():
            text = re.sub(r"[^\0-\x7f]", lambda _, each=letters: rng.choice(each), text)
            mark = "\ufeff" if encoding == "utf-16-be" else ""
            sources[f"{name} {encoding}"] = (mark + text).encode(encoding)
    for end in ("\r\n", "\r"):
        sources[f"sample {end!r}"] = sample.replace("\n", end).encode()
    for number in range(150):
        rows = [",".join(rng.choices(VALUES, k=3)) + rng.choice(["\n", "\r\n"]) for _ in range(6)]
        sources[f"random {number}"] = ("a,b,c\n" + "".join(rows)).encode()
    for name, data in sources.items():
        (tmp_path / name).write_bytes(data)
    answers = run([case(tmp_path, source=name, output=f"{name} out") for name in sources])
    for (name, data), (error, *_) in zip(sources.items(), answers, strict=True):
        assert error == "", name
        output = (tmp_path / f"{name} out").read_bytes()
        assert output.startswith(b"\xef\xbb\xbf") == ("utf-8-sig" in name)
        if "utf-16" in name:
            data, output = (each.decode("utf-16").encode() for each in (data, output))
        assert read(output) == [(values[1:], end) for values, end in read(data)], name


@pytest.mark.notebook
def test_tables_of_other_kinds_are_processed_rightly(run, tmp_path):
    wide = b",".join(b"column %d" % number for number in range(6_000)) + b"\n"
    tables = {
        b"a,b\n1,2\n": b"b\n2\n",
        b"sep=;\na;b\n1,5;2,5\n": b"sep=;\nb\n2,5\n",
        b"\xef\xbb\xbfsep=;\r\n\"a;b\";c\r\n1;2\r\n": b"\xef\xbb\xbfsep=;\r\nc\r\n2\r\n",
        b"a;b\n1,5;2,5\n3,5;4,5\n": b"b\n2,5\n4,5\n",
        b"a, b;c\n1;2\n": b"c\n2\n",
        b"a\tb\n1,2\t3\n": b"b\n3\n",
        b"a|b\n1,2|3\n": b"b\n3\n",
        b"\r\n\na,b\n1,2\n": b"\r\n\nb\n2\n",
        b"a,a,,a\n1,2,3,4\n": b"a,,a\n2,3,4\n",
        b"<DATE>,<OPEN>\n1,2\n": b"<OPEN>\n2\n",
        b"PK,b\n1,2\n": b"b\n2\n",
        b"[id],[b]\n1,2\n": b"[b]\n2\n",
        b"a,b\n" + b"1,2\n\n" * 9: b"b\n" + b"2\n\n" * 9,
        b"a,b\n" + b",\n" * 9: b"b\n" + b'""\n' * 9,
        b"a,b\n1,2\n3,4": b"b\n2\n4",
        b'a,b\n1,"' + b"x" * 3_000_000 + b'"\n': b"b\n" + b"x" * 3_000_000 + b"\n",
        wide * 3: wide.partition(b",")[2] * 3,
    }  # fmt: skip
    assert len(wide) > 1 << 16
    for number, table in enumerate(tables):
        (tmp_path / f"{number}.csv").write_bytes(table)
    names = range(len(tables))
    answers = run([case(tmp_path, source=f"{each}.csv", output=f"{each}.out") for each in names])
    for number, (expected, (error, *_)) in enumerate(zip(tables.values(), answers, strict=True)):
        assert error == "", list(tables)[number][:80]
        assert (tmp_path / f"{number}.out").read_bytes() == expected


# Files that are no tables, and what the error says beside that. The names are those of the files.
NO_TABLE = {
    "excel.xlsx": (b"PK\x03\x04\x14\0\x06\0,\x08\0,", "PK: Excel, zip"),
    "old.xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1,\n", r"b'\\xd0\\xcf"),
    "packed.csv.gz": (b"\x1f\x8b\x08\0,\n,", r"\\x1f\\x8b: gzip"),
    "page.html": (b"\n<!DOCTYPE html>\n<title>a, b</title>", "<!DOCTYPE html"),
    "page2.html": (b"<html>\n<title>a, b</title>", "<html>"),
    "pointer.csv": (b"version https://git-lfs.github.com/spec/v1\noid 1,2\n", "version https"),
    "data.json": (b'[{"a": 1, "b": 2}]', "{"),
    "lines.json": (b'{"a": 1, "b": 2}\n{"a": 1, "b": 2}\n', "{"),
    "picture.png": (b"\x89PNG\r\n\x1a\n\0\0\0,IHDR,\0\0", "PNG"),
    "no-mark.csv": ("a,b\n1,2\n".encode("utf-16-le"), r"a\\x00"),
    "utf-32.csv": ("a,b\n1,2\n".encode("utf-32"), r"\\x00\\x00"),
    "empty.csv": (b"", "b''"),
    "blank.csv": (b"\n\n", r"\\n"),
}
# Tables with a fault, and what the error says.
FAULTS = {
    "one-column.csv": (b"a\n1\n2\n", "first row has 1 values, most rows have 1"),
    "title.csv": (b"Cars of 2016\n\na,b\n1,2\n3,4\n", "first row has 1 values, most rows have 2"),
    "title2.csv": (b"Cars, 2016\na,b,c\n1,2,3\n4,5,6\n", "has 2 values, most rows have 3"),
    "row-names.csv": (b"a,b\n1,x,y\n2,x,y\n", "has 2 values, most rows have 3"),
    "mostly.csv": (b"a,b\n" + b"1,2\n" * 20_000 + b"1;2\n" * 30_000, "most rows have 1"),
    "open.csv": (b'a,b\n1,2\n3,"4\n5,6\n', "row 3: quotes are not closed"),
    "text.csv": (b'a,b\n1,2\n3,"4"5\n', "row 3: quotes are not closed"),
}


@pytest.mark.notebook
def test_what_goes_wrong_is_named_and_changes_nothing(run, tmp_path):
    files = NO_TABLE | FAULTS | {"good.csv": (b"a,b\n1,2\n", ""), "old.csv": (b"as it was", "")}
    for name, (content, _) in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "symbolic.csv").symlink_to("good.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "good.csv")
    itself = "is the source itself"
    expected = [
        *((name, "old.csv", f"no CSV table.*{what}") for name, (_, what) in NO_TABLE.items()),
        *((name, "old.csv", what) for name, (_, what) in FAULTS.items()),
        *(("good.csv", f"{name}.csv", itself) for name in ("good", "./good", "symbolic", "hard")),
        ("symbolic.csv", "good.csv", itself),
        ("nowhere.csv", "old.csv", "FileNotFoundError: .*nowhere.csv"),
        ("good.csv", "nowhere/out.csv", "FileNotFoundError: .*nowhere"),
        ("http://127.0.0.1:1/x.csv", "old.csv", "ConnectionError: .*127.0.0.1"),
        (str(SAMPLE), "old.csv", "File too large"),
    ]
    cases = [case(tmp_path, source=source, output=output) for source, output, _ in expected]
    cases[-1]["file_size_limit"] = 100_000  # the disk is full
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for (source, output, what), (error, *_) in zip(expected, run(cases), strict=True):
        assert re.search(what, error), (source, output, error)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


class Pages(BaseHTTPRequestHandler):
    """Answers with a table, an error, or a table that breaks off."""

    def do_GET(self) -> None:
        """Serve one page."""
        self.send_response(404 if self.path == "/none.csv" else 200)
        self.send_header("Content-Length", "100" if self.path == "/broken.csv" else "8")
        self.end_headers()
        self.wfile.write(b"a,b\n1,2\n")

    def log_message(self, *_) -> None:
        """Keep quiet."""


@pytest.mark.notebook
def test_addresses(run, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = f"http://127.0.0.1:{server.server_port}"
        names = ("good", "none", "broken")
        good, none, broken = run(
            [case(tmp_path, source=f"{source}/{name}.csv", output=f"{name}.out") for name in names]
        )
        server.shutdown()
    assert good[0] == "" and (tmp_path / "good.out").read_bytes() == b"b\n2\n"
    assert "404" in none[0] and "IncompleteRead" in broken[0]
    assert not (tmp_path / "none.out").exists() and not (tmp_path / "broken.out").exists()


@pytest.mark.notebook
def test_memory_does_not_grow_with_the_file(run, tmp_path):
    header, *rows = SAMPLE.read_bytes().splitlines(keepends=True)
    (tmp_path / "long.csv").write_bytes(header + b"".join(rows) * 60)
    (tmp_path / "deep.csv").write_bytes(b"a,b\n" + (b"1," + b"x" * 3_000_000 + b"\n") * 30)
    (tmp_path / "wide.csv").write_bytes((b"1," * 6_000 + b"1\n") * 6_000)
    then = "import resource; told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    for name in ("long", "deep", "wide"):
        small, big = (
            case(tmp_path, then=then, source=source, output="out")
            for source in (str(SAMPLE), f"{name}.csv")
        )
        (*_, before), (error, _, after) = run([small, big])
        assert error == "" and after - before < 64 * 1024, name


# --- letters, numbers, the sample in memory ----------------------------------------------------


@pytest.mark.notebook
def test_letters(run, tmp_path):
    text = SAMPLE.read_text(encoding="utf-8")
    foreign = next(line for line in text.splitlines() if not line.isascii()).split(",")[1]
    sources = {
        "utf-8": text.encode(),
        "utf-8 with a bad byte": text.encode().replace(b"Clio", b"Clio\xff", 1),
        "cp1252": text.encode("cp1252"),
        "mac_roman": text.encode("mac_roman"),
        "utf-16": text.encode("utf-16"),
    }
    cases = []
    for name, data in sources.items():
        (tmp_path / name).write_bytes(data)
        then = f"told = bool((cars['name'] == {foreign!r}).any())"
        cases.append(case(tmp_path, (*STEP_1, "table"), then, source=name, output="out"))
    cases.append(cases[3] | {"parameters": cases[3]["parameters"] | {"encoding": "mac_roman"}})
    *answers, told = run(cases)
    for name, (error, printed, found) in zip(sources, answers, strict=True):
        assert error == "" and (found or name == "mac_roman"), name
        assert ("set encoding at the top" in printed) == (name in ("cp1252", "mac_roman"))
    assert told[2]


@pytest.mark.notebook
def test_numbers(run, tmp_path):
    columns = [
        (
            ["985 000 ₽", "985\u00a0000 ₽", "985\u202f000 ₽", "12'500", "7"],
            [985_000] * 3 + [12_500, 7],
        ),
        (["1.234,50 €", "5.000,-", "12"], [1234.5, 5000, 12]),
        (["$5,000", "$1,234,567", "800"], [5000, 1_234_567, 800]),
        (["150,000km", "5,000 km", ""], [150_000, 5_000, None]),
        (["2.5", "1.125", "1e+05", "-3"], [2.5, 1.125, 100_000, -3]),
        (["$1,234.50", "2,000", "VB"], [1234.5, 2000, None]),
        (["1.500", "12.000", "1.500 EUR"], [1500, 12_000, 1500]),
    ]  # fmt: skip
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    then = (
        "numbers = [to_number(pd.Series(each, dtype='str')).astype(object) for each in {}]\n"
        "told = [each.where(each.notna(), None).tolist() for each in numbers]"
    )
    ((error, printed, answer),) = run(
        [case(tmp_path, CLEAN, then.format([texts for texts, _ in columns]), source="a.csv")]
    )
    assert error == ""
    assert answer == [numbers for _, numbers in columns]
    assert printed.count("set decimal at the top") == 6  # all but the first


@pytest.fixture(scope="session")
def truths(run, tmp_path_factory) -> dict[str, list]:
    """Of tables whose truth is known: median price, rows, part if damaged, its interval."""
    folder = tmp_path_factory.mktemp("truths")
    header, *rows = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = sorted(rows * 30, key=lambda row: int(re.search(r",(?:Angebot|Gesuch),(\d+)", row)[1]))
    (folder / "sorted").write_text(header + "".join(rows), encoding="utf-8")
    (folder / "sample").write_bytes(SAMPLE.read_bytes())
    make = [sys.executable, ROOT / "tests/make_cars.py", folder / "harmless", "--damage=1"]
    subprocess.run(make, check=True)
    tell = "told = [float(sound['price'].median()), len(cars), parts.median(), *span]"
    names = ("sample", "sorted", "harmless")
    answers = run(
        [case(folder, (*CLEAN, "learners", "damage"), tell, source=name) for name in names]
    )
    assert [error for error, *_ in answers] == ["", "", ""]
    return {name: told for name, (*_, told) in zip(names, answers, strict=True)}


@pytest.mark.notebook
def test_damage_that_halves_the_price_and_damage_that_costs_nothing(truths):
    *_, part, low, high = truths["sample"]
    assert 0.45 < part < 0.52 and low < 0.47 < high and high - low < 0.12
    *_, low, high = truths["harmless"]
    assert low < 1 < high


@pytest.mark.notebook
def test_a_table_sorted_by_price_gives_the_same_answers(truths):
    median, _, _, low, high = truths["sample"]
    sorted_median, rows, part, *_ = truths["sorted"]
    assert abs(sorted_median / median - 1) < 0.03 and low < part < high and rows <= 100_000


# --- the sample data ---------------------------------------------------------------------------


def test_sample_is_what_the_generator_writes(tmp_path):
    make = [sys.executable, ROOT / "tests/make_cars.py", tmp_path / "made.csv"]
    subprocess.run(make, check=True)
    assert (tmp_path / "made.csv").read_bytes() == SAMPLE.read_bytes()
    assert SAMPLE.stat().st_size < 820_000
    subprocess.run([*make, "--seed=1"], check=True)
    assert (tmp_path / "made.csv").read_bytes() != SAMPLE.read_bytes()


# Told of the raw table and of the cleaned one, in the order of REAL.
STATISTICS = """
raw = pd.read_csv(source, dtype=str)
price, year, power = (raw[name].astype(int) for name in ("price", "yearOfRegistration", "powerPS"))
median = cars.groupby("yearOfRegistration")["price"].median()
old = cars.loc[cars["yearOfRegistration"].between(1960, 1979), "price"].median()
gaps = ["vehicleType", "model", "fuelType", "gearbox", "notRepairedDamage"]
wrong = [price < 100, ~year.between(1950, 2016), ~power.between(10, 1000)]
kilometer, brand = (cars[name].value_counts(normalize=True) for name in ("kilometer", "brand"))
told = {
    "brands, models": [raw["brand"].nunique(), raw["model"].nunique()],
    "brand": [brand[name] for name in ("volkswagen", "bmw", "opel", "mercedes_benz", "audi")],
    "price": cars["price"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).tolist(),
    "year": cars["yearOfRegistration"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).sub(1950).tolist(),
    "price by year": [old, *(median[each] for each in (1990, 1995, 2000, 2005, 2010, 2015, 2016))],
    "kilometer": [kilometer[150_000], kilometer[125_000], kilometer[100_000]],
    "gap": raw[gaps].isna().mean().tolist(),
    "wrong": [each.mean() for each in wrong],
    "damaged": [(raw["notRepairedDamage"] == "ja").mean()],
    "kept": [int(cars["yearOfRegistration"].max()), int(cars["powerPS"].isna().sum()), len(cars)],
}
"""
# Measured on 18,705 advertisements of the real data.
REAL = {
    "brands, models": [40, 239],
    "brand": [0.21, 0.11, 0.11, 0.1, 0.09],
    "price": [390, 1_250, 3_200, 7_654, 19_979],
    "year": [43, 49, 53, 58, 63],
    "price by year": [6_999, 1_387, 750, 1_350, 4_200, 10_799, 24_650, 1_174],
    "kilometer": [0.65, 0.1, 0.05],
    "gap": [0.103, 0.055, 0.088, 0.054, 0.197],
    "wrong": [0.037, 0.038, 0.11],
    "damaged": [0.096],
}
TWENTY = """
from sklearn.model_selection import ShuffleSplit, cross_val_score
twenty = ShuffleSplit(20, test_size=0.2, random_state=1)
log = {"func": np.log, "inverse_func": np.exp}
models = [compose.TransformedTargetRegressor(each, **log) for each in (ridge, trees)]
mean_error = {"cv": twenty, "scoring": "neg_mean_absolute_error"}
told = [(-cross_val_score(each, X, y, **mean_error)).tolist() for each in models]
"""


@pytest.mark.notebook
def test_sample_is_like_the_real_data(run, tmp_path):
    (tmp_path / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    ((error, _, told),) = run([case(tmp_path, CLEAN, STATISTICS)])
    assert error == ""
    newest, powerless, rows = told.pop("kept")
    assert newest == 2016 and powerless > 400 and rows > 4_500  # whatever the date of today
    assert told == {name: pytest.approx(numbers, rel=0.26) for name, numbers in REAL.items()}


@pytest.mark.notebook
def test_trees_beat_ridge_regression_as_on_the_real_data(run, tmp_path):
    (tmp_path / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    ((error, _, (ridge, trees)),) = run([case(tmp_path, (*CLEAN, "learners"), TWENTY)])
    assert error == ""
    assert all(tree < line for line, tree in zip(ridge, trees, strict=True))
    assert 1.55 < sum(ridge) / sum(trees) < 1.85  # 2,472 : 1,474 on the real data


# --- the whole notebook, headless --------------------------------------------------------------


@pytest.fixture(scope="session")
def headless(python, tmp_path_factory) -> Run:
    """The notebook as papermill runs it on the sample, with a number for a file name."""
    folder = tmp_path_factory.mktemp("run")
    (folder / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    return papermill(python, NOTEBOOK, folder, output="2017")


@pytest.mark.notebook
def test_headless_run_ends_well_without_warnings(headless):
    assert headless.code == 0, headless.stderr
    outputs = [output for cell in headless.cells for output in cell.get("outputs", [])]
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert "warning" not in json.dumps(outputs).lower()
    assert (headless.folder / "2017").read_bytes().startswith(b"name,seller,offerType,price,")
    left = {path.name for path in headless.folder.iterdir()}
    assert left == {NOTEBOOK.name, SAMPLE.name, "out.ipynb", "2017"}
    silent = {
        cell["id"] for cell in headless.cells if cell["cell_type"] == "code" and not cell["outputs"]
    }
    assert silent & set(cells()) == {"parameters", "exercise-1", "exercise-2", "exercise-3"}
    assert headless.text().count(": not yet") == 3


@pytest.mark.notebook
def test_headless_numbers(headless):
    text = headless.text()
    scores = re.findall(r"(\w+): +([\d,]+) ± +(\d+) EUR \(training +([\d,]+) EUR\)", text)
    error = {name: [int(number.replace(",", "")) for number in rest] for name, *rest in scores}
    assert list(error) == ["median", "ridge", "trees"]
    assert error["trees"][0] < 0.7 * error["ridge"][0] < 0.7 * 0.7 * error["median"][0]
    assert error["trees"][2] < 0.8 * error["trees"][0]
    assert all(20 < spread < 300 for _, spread, _ in error.values())
    order = re.findall(r"'(\w+)': [\d.]+", re.search(r"Worse by \(EUR\): {.*}", text)[0])
    assert order[:2] == ["yearOfRegistration", "powerPS"]
    assert set(order[2:5]) == {"kilometer", "model", "brand"}
    assert set(order[-2:]) == {"fuelType", "gearbox"}
    quarters = re.findall(r"\] +([\d.]+) +([\d.]+)\n", text)
    euros, parts = ([float(each) for each in column] for column in zip(*quarters, strict=True))
    assert euros == sorted(euros) and parts == sorted(parts, reverse=True) and len(parts) == 4


@pytest.mark.notebook
def test_headless_text_at_the_end_is_true(headless):
    """What the last cell says, beside what the notebook shows and the generator knows."""
    text = "".join(headless.cells[-1]["source"]).partition("On 18,705")[0]
    said = [int(number.replace(",", "")) for number in re.findall(r"\d,\d+", text)]
    shown = re.findall(r"\w+: +([\d,]+) ±", headless.text())
    rows = [row for row in make_cars.make_rows(5_000, 2016, 0.47) if 100 <= row["price"] <= 150_000]
    chance = sum(abs(row["price"] - row["usual"]) for row in rows) / len(rows)
    truth = [chance, *(int(number.replace(",", "")) for number in reversed(shown))]
    assert said == pytest.approx(truth, rel=0.02)


# --- other tables ------------------------------------------------------------------------------


@pytest.mark.notebook
def test_a_table_of_ones_own_ends_well(run, tmp_path):
    header = b"id,price,yearOfRegistration,powerPS,kilometer,brand,model,vehicleType,gearbox\n"
    tables = {
        "no rows": b"a,b,c\n",
        "three rows": b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n",
        "two columns": b"a,b\n" + b"1,2\n" * 100,
        "text": b"a,b,c\n" + b"x,y,z\nk,l,m\n" * 100,
        "empty rows": header + b"1,2000,2001,90,1000,x,y,z,k\n" + b",,,,,,,,\n" * 50_000,
        "long rows": b"id,price,colour\n" + b"1,500,red,long\n2,700,blue\n3,900,red\n" * 50,
        "one price": header + b"".join(b"%d,2000,2000,50,%d,x,y,z,a\n" % (i, i) for i in range(80)),
        "price and year": b"id,price,yearOfRegistration\n"
        + b"".join(b"%d,%d,%d\n" % (i, 1000 + i, 1990 + i % 20) for i in range(300)),
        "many words": header
        + b"".join(b"%d,%d,%d,,5,b%d,m%d,z,k\n" % (i, 1000 + i, 1990 + i % 9, i % 400, i)
                   for i in range(999)),
    }  # fmt: skip
    cases = []
    for name, table in tables.items():
        (tmp_path / name).write_bytes(table)
        cases.append(case(tmp_path, tuple(cells()), source=name))
    for name, (error, printed, _) in zip(tables, run(cases), strict=True):
        assert error == "", name
        long = name in ("one price", "price and year", "many words")
        assert ("Fewer than 50 rows left" in printed) != long
        assert printed.count(": not yet") == 3


@pytest.mark.notebook
def test_solutions_are_right(run, tmp_path):
    (tmp_path / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    text = NOTEBOOK.read_text(encoding="utf-8")
    texts = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
    solutions = re.findall(r"```python\n(.*?)```", "".join(texts), re.DOTALL)
    checks = [cells()[f"check-{number}"] for number in (1, 2, 3)]
    then = "\n".join(line for pair in zip(solutions, checks, strict=True) for line in pair)
    needed = (*CLEAN, "learners", "scores", "damage")
    ((error, printed, _),) = run([case(tmp_path, needed, then)])
    assert error == ""
    assert re.findall(r"Exercise \d: (.*)", printed) == ["done"] * 3
