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


def test_features_that_we_have_name_their_tests():
    tests = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        tests |= set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    head, _, *features = ROWS
    assert head[OURS : SHOWN_BY + 1] == ["ml-docker", "shown by"]
    assert len(features) > 30
    named = {row[0]: set(re.findall(r"`(\w+)`", row[SHOWN_BY])) for row in features}
    for row in features:
        assert bool(named[row[0]]) == (row[OURS] == "yes"), row[0]
        verdicts = [row[OURS], *row[SHOWN_BY + 1 :]]
        assert len(row) == len(head) and set(verdicts) <= {"yes", "no", "part"}, row[0]
    gone = {feature: names - tests for feature, names in named.items() if names - tests}
    assert gone == {}
