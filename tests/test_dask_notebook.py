"""process_cars_dask.ipynb, without Docker: every value as it was, or one clear error.

ML_DOCKER_EXAMPLES=5000 tries so many random files instead of 150; a failure names its seed.
"""

import csv
import http.server
import io
import json
import os
import random
import re
import socket
import subprocess
import threading
from collections import defaultdict
from pathlib import Path

import boto3
import pytest
from conftest import TEMPLATE, free_port, wait_until
from support.notebooks import environment, papermill

(NOTEBOOK,) = (TEMPLATE / "data/input").glob("*process_cars_dask.ipynb*")
PLAIN = TEMPLATE / "data/input/process_cars.ipynb"
SAMPLE = TEMPLATE / "data/input/cars_sampled.csv"
STEP_1 = {NOTEBOOK: "helpers start look write join", PLAIN: "first-rows separator tools drop"}
EXAMPLES = int(os.environ.get("ML_DOCKER_EXAMPLES", "150"))
pytestmark = pytest.mark.notebook

# Runs step 1 on each case of standard input, on workers in this process; prints the faults.
HARNESS = """
import contextlib, json, os, sys
from dask.distributed import Client

no_progress = lambda *_, **__: None  # the bar takes half a second each time

cells, cases = json.load(sys.stdin)
cells = [compile(cell, "cell", "exec") for cell in cells]
client = Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None)
faults = []
for case in cases:
    os.chdir(case["folder"])
    names = {"__name__": "__main__", "client": client, "progress": no_progress, **case}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            for cell in cells:
                exec(cell, names)
        faults.append("")
    except Exception as error:
        faults.append(f"{type(error).__name__}: {error}")
client.close()
print(json.dumps(faults))
"""


@pytest.fixture(scope="session")
def python(bake) -> Path:
    """The Python of a project with a cluster."""
    return environment(bake(cluster="dask"))


def step_1(python: Path, folder: Path, cases: list[dict], notebook=NOTEBOOK, **env) -> list[str]:
    """Run step 1 of a notebook on many cases in one process; return the error of each, or ""."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    wanted = STEP_1[notebook].split()
    cells = ["".join(cell["source"]) for cell in cells if cell["id"] in wanted]
    usual = {"folder": str(folder), "output": "out.csv", "blocksize": 40, "encoding": None}
    done = subprocess.run(
        [python, "-W", "ignore", "-c", HARNESS],
        input=json.dumps([cells, [usual | case for case in cases]]),
        env=os.environ | {"NO_PROXY": "127.0.0.1"} | env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def rows(content: bytes, encoding: str = "latin-1", separator: str = ",") -> list[list[str]]:
    """Return the rows as the csv module reads them; raise `csv.Error` for open quotes."""
    csv.field_size_limit(2**31 - 1)
    text = io.StringIO(content.decode(encoding), newline="")
    return list(csv.reader(text, delimiter=separator, strict=True))


LONG = "1,2,3\n" * 30
CASES = {
    "names twice or empty": b"a,b,b,,\n" + b"1,2,3,4,5\n" * 20,
    "rows that equal the header": b"a,b\n" * 40,
    "short rows": b"a,b,c\n" + b"1,2,3\n1,2\n1\n" * 20,
    "a long row first in a block": b"a,b\n" + (b"1,2\n" * 11 + b"1,2,3,4,5,6,7,8,9,10\n") * 20,
    "blank lines": b"a,b\n" + b"1,2\n\n\n" * 20 + b"\n\n",
    "quoted line ends": b"a,b,c\n" + b'1,"x\ny\n\nz",3\n' * 20,
    "a quoted line end in the first column": b"a,b\n" + b'"x\ny",2\n' * 20,
    "quotes in quotes": b"a,b\n" + b'1,"x ""y"" z"\n' * 20,
    "inch marks without quotes": b"a,b\n" + b'1,17" rims\n2,x\n' * 21,
    "a lone carriage return in quotes": b"a,b,c\n" + b'1,"x\ry",3\n' * 20,
    "carriage returns alone": b"a,b\r" + b"1,2\r" * 20,
    "carriage return and line feed": b"a,b\r\n" + b'1,"2\r\n3"\r\n' * 20,
    "UTF-8 with its mark": "\ufeffä,b\n".encode() + "1,ü\n".encode() * 20,
    "a quoted first name after the mark": '\ufeff"a,ä",b\n'.encode() + "1,ü\n".encode() * 20,
    "Shift-JIS": b"a,b\n" + "1,表示ソ\n".encode("shift-jis") * 20,
    "NUL": b"a,b\n" + b"1,\x002\n" * 20,
    "one row": b"a,b\n1,2",
    "no row": b"a,b\n",
    "spaces and other line ends": "a,b\n1, 2 \x0b\x0c\u2028\n".encode() * 5,
    "a long value": b"a,b\n1," + b"x" * 20_000 + b"\n2,3\n",
}


@pytest.fixture(scope="module")
def tried(python, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """All cases of the table, tried: their folder, and the error of each."""
    folder = tmp_path_factory.mktemp("cases")
    for name, content in CASES.items():
        (folder / f"{name}.csv").write_bytes(content)
    cases = [{"source": f"{name}.csv", "output": f"{name}.out"} for name in CASES]
    plain = [{"source": f"{name}.csv", "output": f"{name}.plain"} for name in CASES]
    assert {*step_1(python, folder, plain, notebook=PLAIN)} == {""}
    return folder, dict(zip(CASES, step_1(python, folder, cases), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_every_value_is_as_it_was(tried, name):
    folder, faults = tried
    assert faults[name] == ""
    output = (folder / f"{name}.out").read_bytes()
    mark = "\ufeff".encode() if CASES[name].startswith("\ufeff".encode()) else b""
    assert output.startswith(mark)
    source = CASES[name].removeprefix(mark)
    assert rows(output.removeprefix(mark)) == [row[1:] for row in rows(source)]
    # The other notebook writes the same, but for the end of a last line that had none.
    assert output.rstrip(b"\r\n") == (folder / f"{name}.plain").read_bytes().rstrip(b"\r\n")


FAULTS = {
    "excel.xlsx": (b"PK\x03\x04\x14\0\x06\0,\x08\0,", "not with the columns of a CSV table"),
    "packed.csv.gz": (b"\x1f\x8b\x08\0,\n,", "not with the columns of a CSV table"),
    "page.html": (b"\n<!DOCTYPE html>\n<title>a, b</title>", "not with the columns of a CSV table"),
    "pointer.csv": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1,2\n",
        "not with the columns of a CSV table",
    ),
    "data.json": (b'[{"a": 1, "b": 2}]', "not with the columns of a CSV table"),
    "no-mark.csv": ("a,b\n1,2\n".encode("utf-16-le"), "not with the columns of a CSV table"),
    "empty.csv": (b"", "not with the columns of a CSV table"),
    "one-column.csv": (b"a\n1\n2\n", "not with the columns"),
    "title.csv": (b"Cars of 2016\n\na,b\n1,2\n3,4\n", "not with the columns"),
    "mostly.csv": (b"a,b\n" + b"1,2\n" * 20_000 + b"1;2\n" * 30_000, "most rows have one value"),
    "open.csv": (b'a,b\n1,2\n3,"4\n5,6\n', "opens quotes and never closes them"),
    "text.csv": (b'a,b\n1,2\n3,"4"5\n', "expected after"),
}  # fmt: skip


def test_what_is_no_table_is_named_and_nothing_changes(python, tmp_path):
    for name, (content, _) in FAULTS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "old.csv").write_bytes(b"as it was")
    cases = [{"source": name, "output": "old.csv", "blocksize": "64 kB"} for name in FAULTS]
    faults = step_1(python, tmp_path, cases)
    for fault, (name, (_, sentence)) in zip(faults, FAULTS.items(), strict=True):
        assert sentence in fault and name in fault and len(fault.splitlines()) == 1, name
    assert (tmp_path / "old.csv").read_bytes() == b"as it was"
    assert {path.name for path in tmp_path.iterdir()} == {*FAULTS, "old.csv"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16_stays_utf_16(python, tmp_path, encoding):
    text = "\ufeff" * (encoding != "utf-16") + "a,ä\n" + '1,"ü\n上"\n' * 20
    (tmp_path / "in.csv").write_bytes(text.encode(encoding))
    assert step_1(python, tmp_path, [{"source": "in.csv"}]) == [""]
    written = rows((tmp_path / "out.csv").read_bytes(), "utf-16")
    assert written == [row[1:] for row in rows((tmp_path / "in.csv").read_bytes(), "utf-16")]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators(python, tmp_path, separator):
    text = ('a,b,c\n"1;2","3,4\n5",6\n' * 20).replace(",", separator)
    (tmp_path / "in.csv").write_text(text)
    assert step_1(python, tmp_path, [{"source": "in.csv"}]) == [""]
    written = rows((tmp_path / "out.csv").read_bytes(), separator=separator)
    assert written == [row[1:] for row in rows(text.encode(), separator=separator)]


def test_many_files_become_one_or_are_refused(python, tmp_path):
    files = {
        "cars-1.csv": '\ufeffa,ä,c\n1,"x\ny",é\n2,3,4',  # the last line does not end
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
    patterns = ["cars-*.csv", "other-*.csv", "open-*.csv", "nothing-*.csv", "cars-1.csv"]
    cases = [{"source": pattern, "output": "old.csv"} for pattern in patterns[1:4]]
    cases.append({"source": "cars-*.csv", "output": "cars-1.csv"})
    good, *bad = step_1(python, tmp_path, [{"source": "cars-*.csv"}, *cases])
    assert good == ""
    texts = [files[f"cars-{number}.csv"].removeprefix("\ufeff") for number in (1, 2, 3)]
    tables = [rows(text.encode("utf-8"), "utf-8") for text in texts]
    expected = [row[1:] for table in tables for row in table[1:]]
    written = (tmp_path / "out.csv").read_bytes()
    assert rows(written, "utf-8-sig") == [["ä", "c"], *expected]
    assert written.count("\ufeff".encode()) == 1
    sentences = ["other-2.csv has other columns", "open-1.csv opens quotes", "no files", "a source"]
    for fault, sentence in zip(bad, sentences, strict=True):
        assert sentence in fault and len(fault.splitlines()) == 1
    assert (tmp_path / "old.csv").read_bytes() == b"as it was"
    assert {path.name for path in tmp_path.iterdir()} == {*files, "old.csv", "out.csv"}


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves a table, below /ranges/ also parts of it."""

    table = b"a,b\n" + b'1,"2\n3"\n' * 100

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        content = self.table
        if asked and self.path.startswith("/ranges/"):
            content = content[int(asked[1]) : int(asked[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {asked[1]}-{asked[2]}/{len(self.table)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_address_is_read_in_blocks_or_as_a_whole(python, tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ranges, whole = [
            {"source": f"http://127.0.0.1:{server.server_port}/{folder}/cars.csv", "output": folder}
            for folder in ("ranges", "whole")
        ]
        cases = [ranges, whole, whole | {"blocksize": None}]
        good, refused, good_as_a_whole = step_1(python, tmp_path, cases)
        server.shutdown()
    assert (good, good_as_a_whole) == ("", "")
    assert "range requests" in refused
    for name in ("ranges", "whole"):
        assert (tmp_path / name).read_bytes() == b"b\n" + b'"2\n3"\n' * 100


def test_from_s3_to_a_new_folder_of_parts(python, tmp_path):
    """On moto's S3 server."""
    address = f"http://127.0.0.1:{free_port()}"
    env = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    session = boto3.client("s3", "us-east-1", endpoint_url=address, aws_access_key_id="a",
                           aws_secret_access_key="b")  # fmt: skip
    command = ["moto_server", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = int(command[-1])
        wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 60, "moto")
        session.create_bucket(Bucket="cars")
        for number in (1, 2):
            session.put_object(Bucket="cars", Key=f"cars-{number}.csv", Body=Pages.table)
        case = {"source": "s3://cars/cars-*.csv", "output": "s3://cars/less", "blocksize": 400}
        first, again = step_1(python, tmp_path, [case, case], **env)
        found = session.list_objects_v2(Bucket="cars", Prefix="less/")["Contents"]
        read = session.get_object
        parts = [read(Bucket="cars", Key=each["Key"])["Body"].read() for each in found]
    finally:
        server.terminate()
        server.wait()
    assert first == ""
    assert "Choose another" in again
    assert len(parts) > 2
    assert b"".join(part.removeprefix(b"b\n") for part in parts) == b'"2\n3"\n' * 200


def random_table(seed: int) -> tuple[bytes, bool]:
    """Return a table with everything that is hard about CSV, and whether it is well formed."""
    choose = random.Random(seed)
    encoding = choose.choice(["utf-8", "latin-1", "utf-8-sig", "utf-16"])
    line_end = choose.choice(["\n", "\r\n", "\r"])
    long = choose.random() < 0.02  # several blocks of 64 kB
    number = choose.randrange(20_000, 60_000) if long else choose.randrange(60)
    if well_formed := choose.random() < 0.6:
        letters = ["a", "é", " ", '"', ",", "\n", "\r", "\r\n", "1", "ß", '""', ";"]
        text = io.StringIO(newline="")
        quoting = choose.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
        writer = csv.writer(text, lineterminator=line_end, quoting=quoting)
        writer.writerow(["k", "é", "é", ""])
        for _ in range(number // 3):
            values = [
                "".join(choose.choices(letters, k=choose.randrange(5)))
                for _ in range(choose.choice([0, 1, 2, 3, 4, 4, 4, 4, 4, 5]))
            ]
            # Before Python 3.13 the writer forgets quotes that these need.
            writer.writerow(
                [value.replace("\r", "\n") if line_end == "\n" else value for value in values]
            )
        table = text.getvalue()
    else:
        pieces = [",", ",", '"', '"', '""', "a", "é", " ", "\n", line_end, "\r", 'x",\n"y', "\0"]
        table = "k,é" + line_end + "".join(choose.choices(pieces, k=number))
    return table.encode(encoding), well_formed


def test_random_tables_come_out_right_or_are_refused(python, tmp_path):
    cases, tables = [], [random_table(seed) for seed in range(EXAMPLES)]
    for seed, (content, _) in enumerate(tables):
        (tmp_path / f"{seed}.csv").write_bytes(content)
        size = "64 kB" if len(content) > 100_000 else random.Random(seed).randrange(5, 60)
        cases.append({"source": f"{seed}.csv", "output": f"{seed}.out", "blocksize": size})
    wrong, refused = {}, 0
    for seed, fault in enumerate(step_1(python, tmp_path, cases)):
        content, well_formed = tables[seed]
        encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
        content = content.removeprefix("\ufeff".encode())
        if fault:
            refused += 1
            # What has one value in most rows, or more than in the first row, is no table.
            wrong |= {seed: fault} if well_formed and "not with the columns" not in fault else {}
            continue
        try:
            expected = [row[1:] for row in rows(content, encoding)]
        except csv.Error as error:
            expected = error
        output = (tmp_path / f"{seed}.out").read_bytes().removeprefix("\ufeff".encode())
        got = rows(output, encoding)
        wrong |= {seed: "other values"} if got != expected else {}
    assert not wrong
    assert refused < EXAMPLES / 2, "too few are tried"


def outputs(run) -> list[dict]:
    """Return all that the cells of a headless run put out."""
    return [output for cell in run.cells for output in cell.get("outputs", [])]


def test_headless_run_counts_every_car_and_fits_models(python, tmp_path):
    header, *cars = rows(SAMPLE.read_bytes())
    prices, price, brand = defaultdict(list), header.index("price"), header.index("brand")
    for number, car in enumerate(cars):
        if number % 7 == 0:
            car[price] = ""
        elif 100 <= int(car[price]) <= 150_000:
            prices[car[brand]].append(int(car[price]))
            car[price] = [car[price], f"${int(car[price]):,}", f"{car[price]},50 EUR"][number % 3]
    with (tmp_path / SAMPLE.name).open("w", encoding="latin-1", newline="") as file:
        csv.writer(file).writerows([header, *cars])
    run = papermill(python, NOTEBOOK, tmp_path, blocksize="64 kB")
    assert run.code == 0, run.stderr
    assert f"{sum(map(len, prices.values())):,} cars with a price" in run.text()
    shown = re.findall(r"^(\w+) +(\d+) +([\d.]+)$", run.text(), re.MULTILINE)
    assert len(shown) == 5
    for name, count, mean in shown:
        assert int(count) == len(prices[name])
        assert abs(float(mean) - sum(prices[name]) / len(prices[name])) <= 1
    assert int(re.search(r"are ([\d,]+) EUR off", run.text())[1].replace(",", "")) < 4_000
    assert [output for output in outputs(run) if "image/png" in output.get("data", {})]
    # Dask itself may say that a machine is busy, or that another cluster has its port.
    assert "Warning" not in run.text() or "Port 8787" in run.text()
    names = {"cars_sampled.csv", "processed.csv", "out.ipynb", "process_cars_dask.ipynb"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_headless_run_of_another_table_ends_well(python, tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"a;\xfc\n" + b"1;caf\xe9\n" * 100)
    run = papermill(python, NOTEBOOK, tmp_path, source="mine.csv", output="less.csv")
    assert run.code == 0, run.stderr
    assert (tmp_path / "less.csv").read_bytes() == b"\xfc\n" + b"caf\xe9\n" * 100
    assert "\n0 cars with a price" in run.text().replace("\r", "\n")
