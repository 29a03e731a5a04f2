"""Step 1 of the sample notebook: every value as it was, or one sentence and nothing changed."""

import io

import pytest
from support import notebooks
from support.cases import CASES, EXAMPLES, RIGHT, SHOWN, is_fair, is_right, random_table
from support.notebooks import SAMPLE

pytestmark = pytest.mark.notebook


def case(folder, last="write", then="", **settings):
    """A case that ends with step 1."""
    return notebooks.case(folder, last, then, **settings)


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
def test_csv_is_processed_rightly_or_refused_in_one_sentence(tried, name):
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


def test_csv_cases_that_are_only_shown_are_two_at_most():
    ends = [end for *_, end in CASES.values()]
    assert len(ends) >= 42 and ends.count(SHOWN) <= 2


def test_csv_sample_is_processed(run, tmp_path):
    ((error, printed, _),) = run([case(tmp_path, source=str(SAMPLE))])
    assert error == "" and "5,000 rows of 18 columns written to processed.csv." in printed
    assert is_right((tmp_path / "processed.csv").read_bytes(), SAMPLE.read_bytes(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["processed.csv"]


def test_csv_of_random_values_is_processed_rightly(run, tmp_path):
    tables = [random_table(seed) for seed in range(EXAMPLES)]
    for seed, content in enumerate(tables):
        (tmp_path / f"{seed}.csv").write_bytes(content)
        (tmp_path / f"{seed}.out").write_bytes(b"")
    names = [(f"{seed}.csv", f"{seed}.out") for seed in range(EXAMPLES)]
    faults = [error for error, *_ in run([case(tmp_path, source=s, output=o) for s, o in names])]
    for (_, output), content, fault in zip(names, tables, faults, strict=True):
        assert is_fair(fault, (tmp_path / output).read_bytes(), content), f"{output}: {fault}"
    assert faults.count("") > EXAMPLES / 3, "too few are tried"


def test_csv_output_that_is_the_source_and_other_places(run, tmp_path):
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
        (str(SAMPLE), "old.csv", "No space left on device"),
    ]
    cases = [case(tmp_path, source=source, output=output) for source, output, _ in places]
    before = {path: path.read_bytes() for path in tmp_path.glob("*.csv*")}
    (tmp_path / "old.csv.part").symlink_to("/dev/full")
    for (source, output, words), (error, *_) in zip(places, run(cases), strict=True):
        assert words in error and len(error.splitlines()) == 1, (source, output)
    assert {path: path.read_bytes() for path in before} == before


def test_csv_memory_does_not_grow_with_the_file(run, tmp_path):
    header, *lines = SAMPLE.read_bytes().splitlines(keepends=True)
    unquoted = b"".join(lines).replace(b'"', b"")
    (tmp_path / "long.csv").write_bytes(header + b"".join(lines) * 60)
    (tmp_path / "wide.csv").write_bytes((b"1," * 6_000 + b"1\n") * 4_000)
    (tmp_path / "open.csv").write_bytes(header + lines[0] + b'"' + unquoted * 60)
    tell = "import resource; told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    for name, fault in (("long", ""), ("wide", ""), ("open", "field larger than field limit")):
        small = case(tmp_path, then=tell, source=str(SAMPLE), output="out")
        large = case(tmp_path, source=f"{name}.csv", output="out")
        answers = run([small, large, case(tmp_path, "parameters", tell)])
        (*_, before), (error, *_), (*_, after) = answers
        assert fault in error and bool(fault) == bool(error)
        assert after - before < 32 * 1024, name
