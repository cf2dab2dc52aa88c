"""Held-out windows that stand, shifted, in what was trained on: told as a fault, or as advice."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

FEW = 64
"""Windows (count) below which nothing is told."""
SHARE = 0.75
"""Share of the windows (ratio) that repeats in a text do not explain; chosen between what was measured.
Of windows of 16 to 128 characters that were drawn of torch's docstrings, which repeat each other, and of
Python's own modules, up to 0.35; of windows of such, or of a series, that were split at random after
they were cut, 0.87 to 1."""
CLEANEST = 0.5
"""The same of every batch: up to 0.16, and 0.75 and more, there. Where windows that are trained on are
scored too, other batches have none."""
GOES_ON = 0.7
"""Share of the places where half a trained window stands (ratio) from which on it goes on to the edge:
up to 0.3 there where a text repeats itself in few windows; 0.8 and more where they were split so."""
COVERAGE = 0.6
"""Share of the trained windows (ratio) that was kept, down to which the bounds above shrink with it, as
the overlap that is seen does: so they stay above what repeats make in all windows."""
CERTAIN = 8
"""Trained windows (count) that stand in the held-out text alone, and are no accident; and"""
PART = 0.01
"""of all that were looked up (ratio); chosen. None does where the text was cut in two; those that begin
in one part and end in the other stand in neither."""


def told(row: Row) -> Fault | None:
    """What the loop calls held out was trained on, cut elsewhere; None where that is not known."""
    return _of_the_text(row) or _overlapping(row)


def _of_the_text(row: Row) -> Fault | None:
    if "text_only" not in row:
        return None
    only, count = row.integer("text_only"), row.integer("text_windows")
    if only < max(CERTAIN, PART * count):
        return None
    name, bound = row.text("text"), max(CERTAIN, PART * count)
    return Fault(
        because=(
            f"{only} of {count} windows that are trained on stand in {name!r} alone, which is "
            f"evaluated, and nowhere else in the text (fewer than {bound:.3g} may)"
        ),
        measures=(Measure("trained windows of the held-out text", only, "count", bound, "<"),),
        suspects=(Suspect("data", f"{name!r} is trained on: training windows are cut from it as well"),),
        cause=(
            "data leakage: the held-out part of the text overlaps what is trained on, as windows are "
            "drawn from the whole of it"
        ),
        remedy="cut the text in two first, and draw training windows from the first part alone",
    )


def _overlapping(row: Row) -> Fault | None:
    if not _overlap(row) or not (name := row.text("windows_part")):
        return None
    return Fault(
        because=f"{_story(row)}, and the loop calls them {name!r} (less than {_bound(row):.0%} may)",
        measures=(
            Measure("held-out windows trained on before", _share(row), "ratio", _bound(row), "<"),
        ),
        suspects=(Suspect("data", f"windows of {name!r} overlap those that are trained on"),),
        cause=(
            "data leakage: training and held-out windows are cut from the same stretch of a text or "
            "series, as the split is drawn among windows that overlap, or the training holds all of it"
        ),
        remedy="cut the text or series in two first, then each part into windows; split by time",
    )


def advice(row: Row) -> Iterator[str]:
    """The same where no name tells whether these are held out."""
    if _overlap(row) and not row.text("windows_part"):
        yield (
            f"{_story(row)}: if these are held out, the split is drawn among windows that overlap, or "
            "the training holds the whole series; cut it in two first, then each part into windows"
        )


def _overlap(row: Row) -> bool:
    if "windows" not in row or row.integer("windows") < FEW:
        return False
    kept = _kept(row)
    is_clean = row.number("windows_cleanest") < CLEANEST * kept
    is_clean = is_clean or row.number("windows_continued") < GOES_ON * kept
    return not is_clean and _share(row) >= _bound(row)


def _kept(row: Row) -> float:
    """The share of trained windows by which bounds shrink; below that, they do not."""
    kept = row.number("windows_coverage") if "windows_coverage" in row else 1.0
    return kept if kept >= COVERAGE else 1.0


def _bound(row: Row) -> float:
    """Where a part of the trained windows was kept, as small a part of the overlap is seen."""
    return SHARE * _kept(row)


def _share(row: Row) -> float:
    return row.integer("windows_shared") / row.integer("windows")


def _story(row: Row) -> str:
    count, steps = row.integer("windows"), row.integer("windows_steps")
    return (
        f"{row.integer('windows_shared')} of {count} evaluated windows of {steps} steps overlap windows "
        "that begin later in the same series and had been trained on"
    )
