"""Step 1 of the sample notebook: every value as it was, or one sentence and nothing changed."""

import csv
import io
import random

import pytest

from notebooks.cases import CASES, RIGHT, SHOWN
from notebooks.conftest import SAMPLE, case, code_cells

pytestmark = pytest.mark.notebook


def rows(content: bytes, settings: dict[str, str]) -> list[list[str]]:
    """Return the rows of a table."""
    text = io.StringIO(content.decode(settings.get("encoding", "utf-8")), newline="")
    return list(csv.reader(text, delimiter=settings.get("separator", ","), strict=True))


def is_right(output: bytes, source: bytes, settings: dict[str, str]) -> bool:
    """Tell whether `output` is `source` without its first column."""
    return rows(output, settings) == [row[1:] for row in rows(source, settings)]


@pytest.fixture(scope="module")
def tried(run, tmp_path_factory):
    """The folder of each case of the table, its error, and what was printed."""
    tried = {}
    for name, (content, _, _) in CASES.items():
        folder = tmp_path_factory.mktemp("case")
        (folder / "in.csv").write_bytes(content)
        (folder / "out.csv").write_bytes(b"as it was")
        tried[name] = folder
    files = {"source": "in.csv", "output": "out.csv"}
    answers = run([case(tried[name], **files, **CASES[name][1]) for name in CASES])
    return {name: (tried[name], *answer) for name, answer in zip(CASES, answers, strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_file_is_processed_rightly_or_refused_in_one_sentence(tried, name):
    folder, error, printed, _ = tried[name]
    content, settings, end = CASES[name]
    output = (folder / "out.csv").read_bytes()
    if end in (RIGHT, SHOWN):
        assert error == ""
        assert is_right(output, content, settings)
        shown = content[:600].decode(settings.get("encoding", "utf-8"))
        assert io.StringIO(shown, newline=None).read() in printed
    else:
        assert end in error and len(error.splitlines()) == 1 and len(error) < 400
        assert output == b"as it was"
    left = {path.name for path in folder.iterdir()} - {"out.csv.part"}
    assert left == {"in.csv", "out.csv"}


def test_file_table_of_cases_has_at_most_two_that_are_only_shown():
    ends = [end for *_, end in CASES.values()]
    assert len(ends) >= 42 and ends.count(SHOWN) <= 2


def test_file_sample_is_processed(run, tmp_path):
    ((error, printed, _),) = run([case(tmp_path, source=str(SAMPLE))])
    assert error == "" and "5,000 rows of 18 columns written to processed.csv." in printed
    assert is_right((tmp_path / "processed.csv").read_bytes(), SAMPLE.read_bytes(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["processed.csv"]


def test_file_of_random_values_is_processed_rightly(run, tmp_path):
    values = ["", '""', "a", '"b"', '"c,\n"', '"d""\r"', '"\r\n"', " e", "\0", 'f"', "ä", '"\n\r"']
    choose, sources = random.Random(0), {}
    for number in range(150):
        ends = choose.choice(["\n", "\r\n", "\r"])
        lines = [",".join(choose.choices(values, k=3)) + ends for _ in range(6)]
        sources[f"{number}.csv"] = ("a,b,c" + ends + "".join(lines)).encode()
        (tmp_path / f"{number}.csv").write_bytes(sources[f"{number}.csv"])
    answers = run([case(tmp_path, source=name, output=f"{name}.out") for name in sources])
    for (name, content), (error, *_) in zip(sources.items(), answers, strict=True):
        assert error == "", name
        assert is_right((tmp_path / f"{name}.out").read_bytes(), content, {}), name


def test_file_output_that_is_the_source_and_other_places(run, tmp_path):
    (tmp_path / "good.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "old.csv").write_bytes(b"as it was")
    (tmp_path / "new.csv.part").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "symbolic.csv").symlink_to("good.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "good.csv")
    places = [
        *(("good.csv", f"{name}.csv", "the source itself") for name in ("good", "./good", "hard")),
        ("good.csv", "symbolic.csv", "the source itself"),
        ("symbolic.csv", "good.csv", "the source itself"),
        ("new.csv.part", "new.csv", "the source itself"),
        ("nowhere.csv", "old.csv", "No such file or directory: 'nowhere.csv'"),
        ("good.csv", "nowhere/out.csv", "No such file or directory: 'nowhere/out.csv.part'"),
        ("good.csv", "folder", "Is a directory"),
        ("good.csv", "/proc/out.csv", "/proc/out.csv.part"),  # where nobody may write
        (str(SAMPLE), "old.csv", "File too large"),  # as a full disk
    ]
    cases = [case(tmp_path, source=source, output=output) for source, output, _ in places]
    cases[-1]["settings"]["limit"] = 100_000
    before = {path: path.read_bytes() for path in tmp_path.glob("*.csv*")}
    for (source, output, words), (error, *_) in zip(places, run(cases), strict=True):
        assert words in error and len(error.splitlines()) == 1, (source, output)
    kept = {path: content for path, content in before.items() if path.exists()}
    assert {path: path.read_bytes() for path in kept} == before


def test_file_memory_does_not_grow_with_the_file(run, tmp_path):
    header, *lines = SAMPLE.read_bytes().splitlines(keepends=True)
    (tmp_path / "long.csv").write_bytes(header + b"".join(lines) * 60)
    (tmp_path / "wide.csv").write_bytes((b"1," * 6_000 + b"1\n") * 6_000)
    (tmp_path / "open.csv").write_bytes(
        header + lines[0] + b'"' + b"".join(lines).replace(b'"', b"") * 60
    )
    then = "import resource; told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    use = code_cells()["write"].replace("\n", "\n    ")
    for name in ("long", "wide", "open"):
        small = case(tmp_path, then=then, source=str(SAMPLE), output="out")
        big = case(tmp_path, "drop", f"try:\n    {use}\nexcept ValueError:\n    pass\n{then}",
                   source=f"{name}.csv", output="out")  # fmt: skip
        (*_, before), (error, _, after) = run([small, big])
        assert error == "" and after - before < 32 * 1024, name
