"""Reading that changes what is stored, in a watched loop, told as a fault. Thresholds included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

FEWEST = 32
"""Rows (count) from which on noise of one draw a row is told apart, mostly: cosines are known to 0.2."""
DRIFTS = -0.2
"""Cosine between two changes of the same rows from which on the second begins where the first has ended:
0 where noise is added up. Where each draw replaces the one before it is -0.5, and -1 where a flip is
undone,"""
ALIKE = 1.5
"""unless the first change is larger than the second by such a factor: an empty array was filled."""
SAME = 0.9
"""The cosine where all is scaled or moved again in the same way is 1."""
LARGE = 0.01
"""Size of a change over that of what is stored (ratio), below which it may be rounding to 16 bits."""
_REMEDY = "copy before editing: x = x + noise, or x = x.clone(), not x += noise"


def edited_again(rows: Iterable[Row]) -> Iterator[Fault]:
    """Stored samples that change whenever they are read, each time from where they were left."""
    for row in rows:
        surely = row.flag("given") and not row.flag("counts") and row.integer("rows") >= FEWEST
        if surely and _adds_up(row) and row.number("size") >= LARGE:
            yield _fault(row)


def _adds_up(row: Row) -> bool:
    drift = row.number("drift")
    return drift >= SAME or (drift >= DRIFTS and row.number("first") <= ALIKE)


def _fault(row: Row) -> Fault:
    where, count, size = row.text("name"), row.integer("rows"), row.number("size")
    return Fault(
        f"{count} stored samples changed while they were read, in two passes over the data, the second "
        f"time by {size:.0%} of their size (fewer than {FEWEST} may)",
        (Measure("stored samples that reading changes again", count, "count", FEWEST, "<"),),
        [Suspect("data", f"reading a sample edits {where} in place", _REMEDY)],
        cause=f"reading a sample edits {where} in place: changes add up, and each epoch sees other data "
        "than the last",
        remedy=_REMEDY,
    )
