"""Evaluations that leave out the rest of a shuffled loader, told as a fault. Thresholds included."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

SHARE = 0.01
"""Samples (ratio) that are left out at most: scores are told to a hundredth, and what is left out could
move them by as much."""
PASSES = 2
"""Whole evaluations (count) from which on each leaves out others: of one, nobody compares the scores."""
IN_A_ROW = 2
"""Passes (count) at one state of the model from which on they may be averaged: each sample then counts
as often as any other, but for chance."""
MOSTLY = 0.5
"""Losses looked at (ratio) that compare what a loader gave for each sample, and nothing else: the first
one after a rest of the watch cannot be told."""


def advice_on_leaving(row: Row) -> Iterator[str]:
    """A shuffled held-out loader that is left before its end, as where a few batches are enough.

    Args:
        row: of the exposure.
    """
    times = row.integer("broken_off")
    if times >= PASSES:
        name, read = row.text("broken_off_name"), row.integer("broken_off_read")
        of = row.integer("broken_off_of")
        yield (
            f"`{name}` is shuffled, and {times} evaluations leave it after {read} of {of} batches: each "
            "scores other samples, so that what differs between two of them may be the samples alone; "
            "with shuffle=False they are the same ones"
        )


def leaves_out_others(trace: Trace) -> Fault | None:
    """Another few of the held-out samples each time; None where a sample may need the others.

    Args:
        trace: of a watched loop.
    """
    row = trace.row("exposure")
    left, of, passes, times = (row.integer(f"cut_short{k}") for k in ("_left", "_of", "", "_times"))
    if (
        times < PASSES
        or passes >= IN_A_ROW * times
        or left <= SHARE * of
        or not _are_scored_alone(trace, row)
    ):
        return None
    name, share = row.text("cut_short_name"), left / of
    return Fault(
        because=(
            f"{left} of the {of} samples of `{name}` are left out of each of {passes} evaluations, "
            f"{share:.1%} (at most {SHARE:.0%}): drop_last=True, and as it is shuffled, others each time"
        ),
        measures=(Measure("samples left out of an evaluation", share, "ratio", SHARE),),
        suspects=(Suspect("data", f"`{name}` is shuffled and truncated: shuffle=True, drop_last=True"),),
        cause=(
            "the loader of the evaluation has the options of one for training: each score is one on "
            "another part of the held-out data, and two of them cannot be compared"
        ),
        remedy="build the loader of the evaluation with shuffle=False, drop_last=False",
    )


def _are_scored_alone(trace: Trace, row: Row) -> bool:
    """Whether each sample has a target of its own, and batches may have any size."""
    losses, tried = trace.row("comparisons"), trace.rows("meetings")
    if losses.integer("each") < max(1, MOSTLY * losses.integer("looked")):
        return False
    if not all(met.number("change") <= met.number("bound") for met in tried):
        return False
    return bool(tried) or row.integer("sizes") > 1
