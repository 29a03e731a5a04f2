"""docs/features.md: each "yes" of ours names a test that there is."""

import re

from support.project import ROOT

TEXT = (ROOT / "docs/features.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|")
]
OURS, SHOWN_BY = 1, 2


def test_each_yes_of_ours_names_its_test():
    tests = set()
    for file in (ROOT / "tests").glob("test_*.py"):
        tests |= set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    head, _, *features = ROWS
    assert head[OURS : SHOWN_BY + 1] == ["ml-docker", "shown by"]
    assert len(features) > 30
    for row in features:
        named = re.findall(r"`(\w+)`", row[SHOWN_BY])
        assert bool(named) == (row[OURS] == "yes"), row[0]
        assert set(named) <= tests, row[0]
        verdicts = [row[OURS], *row[SHOWN_BY + 1 :]]
        assert len(row) == len(head) and set(verdicts) <= {"yes", "no", "part"}, row[0]
