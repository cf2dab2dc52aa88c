"""What docs/measured.md says of the sets of strangers is what their lists say, which tests keep."""

from __future__ import annotations

from pathlib import Path

from . import test_sealed as first
from . import test_sealed_sets as others

PAGE = Path(__file__).resolve().parents[2] / "docs" / "measured.md"


def published():
    """Of each set: its size, and how many of it fail by name today or are advice."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("## Loops written by strangers")
    rows = [
        line.split("|")[1:-1] for line in rest.partition("\nWhat could")[0].splitlines() if "|" in line
    ]
    return [(int(row[0].split()[0].rstrip(",")), int(row[-2]), int(row[-1])) for row in rows[2:]]


def counted(loops, advised, unfound):
    return len(loops), len(loops) - len(advised) - len(unfound), len(advised)


def test_each_set_is_told_of_as_it_is():
    found = [counted(first.SEALED, first.ADVISED, first.UNFOUND)]
    for name in others.SETS:
        expected = others.of(name, "expected")
        found.append(counted(others.of(name, "faults").FAULTS, expected.ADVISED, expected.UNFOUND))
    assert published() == found


def test_no_list_names_a_loop_that_is_none():
    for name in others.SETS:
        expected, loops = others.of(name, "expected"), others.of(name, "faults").FAULTS
        known = {loop.__name__ for loop, *_ in loops}
        assert known >= expected.ADVISED | expected.UNFOUND
        assert not expected.ADVISED & expected.UNFOUND
