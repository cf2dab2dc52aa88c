"""Held-out windows that stand, shifted, in what was trained on: told as a fault, or as advice."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

FEW = 64
"""Windows (count) below which nothing is told."""
SHARE = 0.2
"""Share of the windows (ratio) that repeats in a text do not explain. Measured on the source of three
of Python's modules, in windows of 32, 64 and 128 characters and of 16 words: up to 0.10 where the text
was cut in two, 0.31 and more where 3,000 windows of all of it were trained on."""
CLEANEST = 0.1
"""The same of every batch: 0.0, and 0.16 and more, there. Where windows that are trained on are scored
too, other batches have none."""
GOES_ON = 0.5
"""Share of the places where half a trained window stands (ratio) from which on it goes on to the edge:
up to 0.3 there where a text repeats itself in more than a few windows; 0.41 and more where it is one."""


def overlapping(row: Row) -> Fault | None:
    """What the loop calls held out was trained on, cut elsewhere; None where that is not known."""
    if not _overlap(row) or not (name := row.text("windows_part")):
        return None
    return Fault(
        because=f"{_story(row)}, and the loop calls them {name!r} (less than {SHARE:.0%} may)",
        measures=(Measure("held-out windows trained on before", _share(row), "ratio", SHARE, "<"),),
        suspects=(Suspect("data", f"windows of {name!r} overlap those that are trained on"),),
        cause=(
            "data leakage: training and held-out windows are cut from the same stretch of a text or "
            "series, as the split is drawn among windows that overlap, the training holds all of it, or "
            "it repeats itself"
        ),
        remedy="cut the text or series in two first, then each part into windows; split by time",
    )


def advice_on_windows(row: Row) -> Iterator[str]:
    """The same where no name tells whether these are held out."""
    if _overlap(row) and not row.text("windows_part"):
        yield (
            f"{_story(row)}: if these are held out, the split is drawn among windows that overlap, or "
            "the training holds the whole series; cut it in two first, then each part into windows"
        )


def _overlap(row: Row) -> bool:
    if "windows" not in row or row.integer("windows") < FEW:
        return False
    is_clean = row.number("windows_cleanest") < CLEANEST or row.number("windows_continued") < GOES_ON
    return not is_clean and _share(row) >= SHARE


def _share(row: Row) -> float:
    return row.integer("windows_shared") / row.integer("windows")


def _story(row: Row) -> str:
    count, steps = row.integer("windows"), row.integer("windows_steps")
    return (
        f"{row.integer('windows_shared')} of {count} evaluated windows of {steps} steps overlap windows "
        "that begin later in the same series and had been trained on"
    )
