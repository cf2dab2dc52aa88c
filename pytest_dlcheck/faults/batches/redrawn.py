"""What is drawn alike in every step, told as a fault. Thresholds are the check's and the watch's."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.batches import reseeding
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_SEVERAL = 2
"""Batches (count) of a loader, or of a validation, that are more than the one of a sanity check."""
_READS = 4
"""Steps for each batch that is read (count), from which on steps do without; chosen."""
_KNOWN = 0.5
"""Share of what is evaluated (ratio) from which on it is that batch itself; chosen."""
_VALIDATED = 3
"""Validations (count), each after other steps, that nobody makes of a sanity check; chosen."""


def drawn_alike(
    trace: Trace, again: Row | None, *, seen: int, distinct: int, enough: int
) -> Fault | None:
    """Random numbers that are the same in every step; None where that is not certain, or may be meant.

    Args:
        trace: of a watched loop.
        again: the generator that is seeded in every step, if there is one.
        seen: recorded steps.
        distinct: batches in them that differ.
        enough: steps that are no accident.
    """
    row = _alike(trace, enough) if distinct == 1 else None
    if distinct == 1 and (fault := _validated_on_others(trace, seen)):
        return fault
    if row is not None and row.flag("anew") and row.integer("others") >= row.integer("rows"):
        return _one_batch(row, seen)
    if again is None or again.flag("within"):
        return None
    if distinct > 1:
        return reseeding.fault(again, enough)
    return None if row is None else _one_batch(row, seen)


def _validated_on_others(trace: Trace, seen: int) -> Fault | None:
    """One batch of a loader's several, while others, or more rows, are validated on again and again.

    Whoever only asks whether a model can learn one batch by heart has no use for that, and may train
    another one after it.
    """
    loop, seen_else = trace.row("loop"), trace.row("exposure")
    phases = [p for p in trace.rows("phases") if p.flag("inside") and not p.flag("with_gradients")]
    is_whole = seen_else.integer("evaluated_distinct", 0) >= _SEVERAL * seen_else.integer("trained", 0)
    others = is_whole and seen_else.number("cleanest") < _KNOWN
    whole = [p for p in phases if p.integer("from_loader") >= _SEVERAL or others]
    times = len({p.integer("steps") for p in whole})
    length = loop.integer("loader_length")
    is_validated = seen_else.integer("evaluated", 0) > 0
    if length < _SEVERAL or not (is_read_once(loop) and is_validated) or times < _VALIDATED:
        return None
    return Fault(
        because=(
            f"1 distinct batch in {seen} recorded steps, of {length} that the loader has (2 or more "
            f"should be), while the model is validated {times} times, on more than such a batch each"
        ),
        measures=(Measure("distinct batches", 1, "count", 2, ">="),),
        suspects=[Suspect("data", "one batch is read once, and trained on in every step")],
        cause="every step trains on the same batch: it is read once, before the loop over the steps",
        remedy="iterate over the loader: for inputs, targets in loader",
    )


def is_read_once(loop: Row) -> bool:
    """Whether few steps have read a batch of their own: others may call for parts of one input by it."""
    return 0 < _READS * loop.integer("fresh_batches") <= loop.integer("steps")


def advice(trace: Trace, enough: int) -> str:
    """The same where no seed was heard: the rows may be kept in another form, or be chosen by a rule.

    Args:
        trace: of a watched loop.
        enough: steps that are no accident.
    """
    row = _alike(trace, enough)
    if row is None:
        return ""
    return (
        f"every step sees the same {row.integer('rows')} rows in the same random order, put together "
        f"anew, of data for {row.integer('of')} such batches: unless these few are meant, the generator "
        "that draws them is made anew in every step, and repeats its first draw: make it once"
    )


def advice_on_one(trace: Trace, by_hand: Iterable[str], enough: int) -> list[str]:
    """What is said of one batch for ever: how it is cut, or drawn, or else that others are asked about.

    Args:
        trace: of a watched loop.
        by_hand: what is known of how it is cut; may be empty.
        enough: steps, or batches, that are no accident.
    """
    found = list(filter(None, [*by_hand, advice(trace, enough)]))
    return found or [never_drawn_again(trace, enough)]


def never_drawn_again(trace: Trace, enough: int) -> str:
    """One batch that no loader gave, beside others of its size that the model is asked about.

    Args:
        trace: of a watched loop.
        enough: batches that are no accident.
    """
    count = trace.row("exposure").integer("evaluated_alike")
    if count < enough or trace.row("loop").integer("fresh_batches"):
        return ""
    return (
        f"every step sees the same batch, while the model is asked, without gradients, about {count} "
        "others of its size: unless one is meant to be learned by heart, draw a new one in each step"
    )


def _alike(trace: Trace, enough: int) -> Row | None:
    rows = (row for row in trace.rows("redrawn") if row.integer("alike") >= enough)
    return None if trace.row("loop").integer("fresh_batches") else next(rows, None)


def _one_batch(row: Row, seen: int) -> Fault:
    """All steps see the same rows, drawn by lot."""
    size, batches = row.integer("rows"), row.integer("of")
    return Fault(
        because=(
            f"1 distinct batch in {seen} recorded steps (2 or more should be): the same {size} rows in "
            f"the same random order, put together anew in each step, of data for {batches} such batches"
        ),
        measures=(Measure("distinct batches", 1, "count", 2, ">="),),
        suspects=(
            Suspect("data", "the same batch again and again: its rows are drawn anew, and are the same"),
        ),
        cause=(
            "the random generator that draws the batch is made or seeded anew in every step: it "
            "repeats its first draw, the same batch again and again"
        ),
        remedy=(
            "make the generator once, before the loop, and draw on from it; or cut the batch once, if "
            "it is to be learned by heart"
        ),
    )
