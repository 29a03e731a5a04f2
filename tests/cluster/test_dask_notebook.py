"""process_cars_dask.ipynb, without Docker: every value as it was, or one clear error.

ML_DOCKER_EXAMPLES=5000 tries so many random files instead of 150; a failure names its seed.
"""

import csv
import http.server
import io
import os
import random
import re
import socket
import subprocess
import threading
from pathlib import Path

import boto3
import pytest
from support.notebooks import Run, papermill
from support.project import TEMPLATE, free_port, wait_until

(NOTEBOOK,) = (TEMPLATE / "data/input").glob("*process_cars_dask.ipynb*")
SAMPLE = TEMPLATE / "data/input/cars_sampled.csv"
EXAMPLES = int(os.environ.get("ML_DOCKER_EXAMPLES", "150"))
pytestmark = pytest.mark.notebook


def rows(content: bytes, encoding: str = "utf-8", separator: str = ",") -> list[list[str]]:
    """Return the rows as the csv module reads them; raise `csv.Error` for open quotes."""
    csv.field_size_limit(2**31 - 1)
    text = io.StringIO(content.decode(encoding), newline="")
    return list(csv.reader(text, delimiter=separator, strict=True))


# A table, its settings, and the error; "" where every value has to come out as it was.
CUT = "unexpected end of data. If a value holds a line end, set blocksize=None."
TABLES = {
    "names twice or empty": (b"a,b,b,,\n" + b"1,2,3,4,5\n" * 20, {}, ""),
    "rows that equal the names": (b"a,b\n" * 40, {}, ""),
    "blank lines": (b"a,b\n" + b"1,2\n\n\n" * 20 + b"\n\n", {}, ""),
    "quotes in quotes": (b"a,b\n" + b'1,"x ""y"" z"\n' * 20, {}, ""),
    "inch marks without quotes": (b"a,b\n" + b'1,17" rims\n2,x\n' * 21, {}, ""),
    "a carriage return in quotes": (b"a,b,c\n" + b'1,"x\ry",3\n' * 20, {}, ""),
    "carriage returns alone": (b"a,b\r" + b"1,2\r" * 20, {}, ""),
    "carriage return and line feed": (b"a,b\r\n" + b'1,"2"\r\n' * 20, {}, ""),
    "UTF-8 with its mark": ("\ufeffa,ä\n".encode() + "1,ü\n".encode() * 20, {}, ""),
    "quotes after the mark": (
        '\ufeff"a,ä",b\n'.encode() + "1,ü\n".encode() * 20, {"encoding": "utf-8-sig"}, ""),
    "cp1252": ("a,€\n".encode("cp1252") + b"1,\xfc\n" * 20, {"encoding": "cp1252"}, ""),
    "Shift-JIS": (b"a,b\n" + "1,表示ソ\n".encode("shift-jis") * 20,
                  {"encoding": "shift-jis"}, ""),
    "UTF-16": ('a,ä\n1,"ü\n上"\n2,上\n'.encode("utf-16"), {"encoding": "utf-16"}, ""),
    "UTF-16 without its mark": ("a,ä\n1,上\n".encode("utf-16-be") * 20,
                                {"encoding": "utf-16-be"}, ""),
    "semicolons": (b'a;b;c\n"1;2";"3,4";6\n' * 20, {"separator": ";"}, ""),
    "tabs": (b'a\tb\n1\t"2\t3"\n' * 20, {"separator": "\t"}, ""),
    "NUL": (b"a,b\n" + b"1,\x002\n" * 20, {}, ""),
    "one row, not ended": (b"a,b\n1,2", {}, ""),
    "no row": (b"a,b\n", {}, ""),
    "spaces and other line ends": ("a,b\n1, 2 \x0b\x0c\u2028\n".encode() * 5, {}, ""),
    "a long value": (b"a,b\n1," + b"x" * 2_000 + b"\n2,3\n", {}, ""),
    "line ends in quotes, not cut": (b"a,b,c\n" + b'"0\n1","x\ny\n\nz",3\n' * 20,
                                     {"blocksize": None}, ""),
    "line ends in quotes, cut": (b"a,b,c\n" + b'1,"x\ny\n\nz",3\n' * 20, {}, CUT),
    "line ends in the first column, cut": (b"a,b\n" + b'"x\n\n\n\n\ny",2\n' * 20, {}, CUT),
    "quotes never closed": (b'a,b\n1,2\n3,"4\n5,6\n', {}, "up to row 1. unexpected end"),
    "text after quotes": (b'a,b\n1,2\n3,"4"5\n', {}, "up to row 1. ',' expected after"),
    "a short row": (b"a,b,c\n" + b"1,2,3\n" * 30 + b"1,2\n" * 9, {}, "up to row 30. The next row"),
    "a long row first in a block": (b"a,b\n" + (b"1,2\n" * 11 + b"1,2,3,4\n") * 20, {},
                                    "up to row 11. The next row has 4 values instead of 2"),
    "a value over the csv module's limit": (b"a,b\n1,2\n1," + b"x" * 200_000,
                                            {"blocksize": "64 kB"}, "up to row 1. field larger"),
    "another encoding": (b"a,b\n" + b"1,2\n" * 20 + b"1,\xfc\n", {}, "'utf-8' codec can't decode"),
    "another separator": (b"a;b\n1;2\n", {}, "Are separator and encoding right?"),
    "another separator, and commas": (b"a,b;c\n1,2;3\n", {}, "Are separator and encoding right?"),
    "one column": (b"a\n1\n2\n", {}, "Are separator and encoding right?"),
    "a title": (b"Cars of 2016\n\na,b\n1,2\n", {}, "Are separator and encoding right?"),
    "empty": (b"", {}, "Are separator and encoding right?"),
    "gzip": (b"\x1f\x8b\x08\0,\n,", {}, "Are separator and encoding right?"),
    "a web page": (b"<!DOCTYPE html>\n<p>a, b</p>", {}, "Are separator and encoding right?"),
    "UTF-16, not said": ("a,b\n1,2\n".encode("utf-16"), {}, "Are separator and encoding right?"),
    "the source itself": (b"a,b\n1,2\n", {"output": "the source itself.csv"}, "is the source"),
}  # fmt: skip


@pytest.fixture(scope="module")
def tried(step_1, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """All tables, tried: their folder, with an older output for each, and the error of each."""
    folder, cases = tmp_path_factory.mktemp("tables"), []
    for name, (content, settings, _) in TABLES.items():
        (folder / f"{name}.out").write_bytes(b"as it was")
        (folder / f"{name}.csv").write_bytes(content)
        cases.append({"source": f"{name}.csv", "output": f"{name}.out"} | settings)
    return folder, dict(zip(TABLES, step_1(folder, cases), strict=True))


@pytest.mark.parametrize("name", TABLES)
def test_table_comes_out_as_it_was_or_is_refused_in_a_sentence(tried, name):
    folder, faults = tried
    content, settings, sentence = TABLES[name]
    output = (folder / f"{name}.out").read_bytes()
    if sentence:
        assert sentence in faults[name] and len(faults[name].splitlines()) == 1
        assert output == b"as it was"
    else:
        assert faults[name] == ""
        how = settings.get("encoding", "utf-8"), settings.get("separator", ",")
        assert rows(output, *how) == [row[1:] for row in rows(content, *how)]


def test_many_files_become_one_or_are_refused(step_1, tmp_path):
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
    tables = [rows(files[f"cars-{number}.csv"].encode()) for number in (1, 2, 3)]
    expected = [row[1:] for table in tables for row in table[1:]]
    assert rows((tmp_path / "out.csv").read_bytes()) == [["ä", "c"], *expected]
    for fault, sentence in zip(bad, [*sentences.values(), "the source"], strict=True):
        assert sentence in fault and len(fault.splitlines()) == 1
    assert (tmp_path / "old.csv").read_bytes() == b"as it was"
    assert {path.name for path in tmp_path.glob("[!.]*")} == {*files, "old.csv", "out.csv"}


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves a table, below /ranges/ also parts of it."""

    table = b"a,b\n" + b'1,"2;3"\n' * 100

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


def test_https_address_is_read_in_blocks_or_as_a_whole(step_1, tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ranges, whole = [
            {"source": f"http://127.0.0.1:{server.server_port}/{folder}/cars.csv", "output": folder}
            for folder in ("ranges", "whole")
        ]
        cases = [ranges, whole, whole | {"blocksize": None}]
        good, refused, good_as_a_whole = step_1(tmp_path, cases)
        server.shutdown()
    assert (good, good_as_a_whole) == ("", "")
    assert "range requests" in refused
    for name in ("ranges", "whole"):
        assert rows((tmp_path / name).read_bytes()) == [["b"]] + [["2;3"]] * 100


def test_s3_output_is_a_new_folder_of_parts(step_1, tmp_path):
    """On moto's S3 server."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    session = boto3.client("s3", "us-east-1", endpoint_url=address, aws_access_key_id="a",
                           aws_secret_access_key="b")  # fmt: skip
    command = ["moto_server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 60, "moto")
        session.create_bucket(Bucket="cars")
        for number in (1, 2):
            session.put_object(Bucket="cars", Key=f"cars-{number}.csv", Body=Pages.table)
        case = {"source": "s3://cars/cars-*.csv", "output": "s3://cars/less", "blocksize": 400}
        first, again = step_1(tmp_path, [case, case], **env)
        found = session.list_objects_v2(Bucket="cars", Prefix="less/")["Contents"]
        read = session.get_object
        parts = [rows(read(Bucket="cars", Key=each["Key"])["Body"].read()) for each in found]
    finally:
        server.terminate()
        server.wait()
    assert first == ""
    assert "choose another" in again
    assert len(parts) > 2
    assert {part[0][0] for part in parts} == {"b"}  # each is a table
    assert [row for part in parts for row in part[1:]] == [["2;3"]] * 200


def random_table(seed: int) -> bytes:
    """Return a table with everything that is hard about CSV."""
    choose = random.Random(seed)
    line_end = choose.choice(["\n", "\r\n", "\r"])
    long = choose.random() < 0.02  # several blocks of 64 kB
    number = choose.randrange(20_000, 60_000) if long else choose.randrange(60)
    if choose.random() < 0.6:  # well formed, but for rows with more or fewer values
        letters = ["a", "é", " ", '"', ",", "1", "ß", '""', ";", "\r"]
        letters += ["\n", "\r\n"] * (choose.random() < 0.4)
        text = io.StringIO(newline="")
        quoting = choose.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
        writer = csv.writer(text, quoting=quoting)
        widths = [4] * 9 + [0, 5] * (choose.random() < 0.3)
        writer.writerow(["k", "é", "é", ""])
        for _ in range(number // 3):
            values = ["".join(choose.choices(letters, k=choose.randrange(5))) for _ in range(5)]
            writer.writerow(values[: choose.choice(widths)])
        return text.getvalue().encode()
    pieces = [",", ",", '"', '"', '""', "a", "é", " ", "\n", line_end, "\r", 'x",\n"y', "\0"]
    return ("k,é" + line_end + "".join(choose.choices(pieces, k=number))).encode()


def test_random_tables_come_out_right_or_are_refused(step_1, tmp_path):
    cases, tables = [], [random_table(seed) for seed in range(EXAMPLES)]
    for seed, content in enumerate(tables):
        (tmp_path / f"{seed}.csv").write_bytes(content)
        size = "64 kB" if len(content) > 100_000 else random.Random(seed).randrange(5, 60)
        case = {"source": f"{seed}.csv", "output": f"{seed}.out", "blocksize": size}
        cases += [case, case | {"output": f"{seed}.whole", "blocksize": None}]
    faults = step_1(tmp_path, cases)
    right = 0
    for case, fault in zip(cases, faults, strict=True):
        try:
            table = rows((tmp_path / case["source"]).read_bytes())
            expected = [row[1:] for row in table]
        except csv.Error:
            table = None
        if not fault:
            assert table, f"{case}: quotes that are not closed came through"
            assert rows((tmp_path / case["output"]).read_bytes()) == expected, case
            right += 1
        elif case["blocksize"] is None and table and len(table[0]) > 1:
            assert any(row and len(row) != len(table[0]) for row in table), f"{case}: {fault}"
    assert right > EXAMPLES / 2, "too few are tried"


def outputs(run: Run) -> list[str]:
    """Return what the cells that wait for workers print and show. (Dask warns on stderr.)"""
    shown = [output for name in ("results", "brands", "search") for output in run.output_of(name)]
    texts = [each.get("text") or each["data"].get("text/plain") for each in shown
             if each.get("name") != "stderr"]  # fmt: skip
    return ["".join(text) for text in texts]


def run_all(python: Path, folder: Path, table: bytes = SAMPLE.read_bytes()) -> Run:
    """Run the whole notebook on a table in a folder."""
    (folder / SAMPLE.name).write_bytes(table)
    return papermill(python, NOTEBOOK, folder, blocksize="100 kB")


@pytest.fixture(scope="module")
def alone(python, tmp_path_factory) -> Run:
    """A run without dask.yaml, for which workers start on this computer."""
    return run_all(python, tmp_path_factory.mktemp("alone"))


def test_headless_run_shows_what_the_table_holds(alone):
    assert alone.code == 0, alone.stderr
    header, *cars = rows(SAMPLE.read_bytes())
    output = rows((alone.folder / "processed.csv").read_bytes())
    assert output == [header[1:], *(car[1:] for car in cars)]
    price = header.index("price")
    right = sum(100 <= int(car[price]) <= 150_000 for car in cars)
    assert f"{right:,} of {len(cars):,} cars" in alone.text()
    errors = [float(line.split()[1]) for line in outputs(alone)[-1].splitlines()[:-1]]
    assert len(errors) == 6 and min(errors) < 0.9 * errors[0]
    assert any("image/png" in output.get("data", {}) for output in alone.output_of("brands"))
    names = {"cars_sampled.csv", "processed.csv", "out.ipynb", "process_cars_dask.ipynb"}
    assert {path.name for path in alone.folder.iterdir()} == names


def test_worker_killed_in_each_step_changes_nothing(alone, python, tmp_path, killing_cluster):
    """Three are killed while they work on step 1, on step 2 and on the models."""
    with killing_cluster("write_part", "csv", "error_of") as killed:
        run = run_all(python, tmp_path)
        assert run.code == 0, run.stderr
        assert killed() == ["write_part", "csv", "error_of"]
    assert outputs(run) == outputs(alone)
    processed = "processed.csv"
    assert (tmp_path / processed).read_bytes() == (alone.folder / processed).read_bytes()


def test_table_without_a_column_ends_after_step_1(python, tmp_path, killing_cluster):
    table = SAMPLE.read_bytes().replace(b"kilometer", b"odometer", 1)
    with killing_cluster():
        run = run_all(python, tmp_path, table)
    assert run.code == 0, run.stderr
    assert "missing for steps 2 and 3: ['kilometer']" in run.text()
    assert rows((tmp_path / "processed.csv").read_bytes()) == [row[1:] for row in rows(table)]
    assert not [*tmp_path.glob(".parts-*")]


def test_own_workers_of_a_tutorial_are_refused_and_the_page_says_what_to_type(bake, python):
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
    done = project.run(python, "own.py", **settings)
    assert done.stdout.splitlines() == [said, "3 2"]
