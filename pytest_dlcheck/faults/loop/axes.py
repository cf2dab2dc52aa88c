"""What is done along the samples of a batch, told as a fault."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_ENDED = "the hidden state is carried into the next batch: each sample begins where another ended"


_ONCE = 0.05
"""Samples that come again before all have come, over those that come again later (ratio), up to which
they come in passes: drawn anew each time they would come again as often, in a stream of few kinds far
more often. Duplicates among real data are fewer."""
_FOLLOWED = 32
"""Samples that came again behind another (count) which are no accident."""
_UNLIKE = 0.9
"""Share of these (ratio) that came behind another sample than before, in random order; in recordings cut
into n parts it is 1/n, as the first parts alone follow something else."""


def is_told(row: Row) -> bool:
    """Whether a row tells something: of a state on batches that are cut by hand, by their order.

    It does where samples come in passes, and each time behind others.
    """
    if not row.flag("by_hand"):
        return True
    samples, returned = row.integer("samples"), row.integer("returned")
    in_passes = row.integer("repeated") <= _ONCE * min(samples, returned)
    followed = row.integer("followed")
    return in_passes and followed >= _FOLLOWED and row.integer("unlike") >= _UNLIKE * followed


def along_the_samples(row: Row) -> Fault:
    """A layer takes samples for the steps of a sequence."""
    site, kind, count = row.text("site"), row.text("type"), row.integer("turned")
    wanted = "[samples, steps, features]" if row.flag("samples_first") else "[steps, samples, features]"
    remedy = (
        "give it [samples, steps, features], as batch_first=True says"
        if row.flag("samples_first")
        else "set batch_first=True, or transpose(0, 1) what it is given and what it gives"
    )
    return Fault(
        because=(
            f"in {count} of {count} calls (0 may) `{site}` is given {row.text('shape')} of a batch of "
            f"{row.text('batch')}, and takes it as {wanted}: it runs along the batch"
        ),
        measures=(Measure("calls along the samples", count, "count", 0),),
        suspects=(Suspect(site, f"{kind} takes samples for steps, and mixes them", remedy),),
        cause=f"{kind} has its axes turned (batch_first): samples of a batch are steps of one sequence",
        remedy=remedy,
    )


def carried_over(row: Row, bound: float) -> Fault:
    """A state of the batch before enters the next, which holds other samples."""
    count, looked, shape = row.integer("carried"), row.integer("looked"), row.text("carried_shapes")
    remedy = "begin each batch with a fresh state: pass None, or zeros"
    return Fault(
        because=(
            f"in {count} of {looked} losses (fewer than {bound:g} may) the model is given the state "
            f"{shape} that it gave for the batch before, while the loader shuffles"
        ),
        measures=(Measure("losses with a state of the batch before", count, "count", bound, "<"),),
        suspects=(Suspect("model", f"its state {shape} is carried from batch to batch", remedy),),
        cause=_ENDED,
        remedy=remedy,
    )


def kept_within(row: Row) -> Fault:
    """A layer goes on from where it ended on the batch before, which held other samples."""
    site, kind, count = row.text("site"), row.text("type"), row.integer("turned")
    remedy = "begin each batch with a fresh state: set the one that is kept to None before it"
    order = "samples come in random order" if row.flag("by_hand") else "the loader shuffles"
    return Fault(
        because=(
            f"in {count} of {count} further batches (0 may) `{site}` is given the hidden state that it "
            f"gave for the batch before, while {order}"
        ),
        measures=(Measure("batches with a state of the one before", count, "count", 0),),
        suspects=(Suspect(site, f"{kind} is given a hidden state that the model has kept", remedy),),
        cause=_ENDED,
        remedy=remedy,
    )


def over_the_samples(row: Row) -> Fault:
    """A softmax shares one among the samples of a batch."""
    count, shape = row.integer("turned"), row.text("shape")
    remedy = "name the axis: softmax(scores, dim=1), or dim=-1"
    return Fault(
        because=(
            f"in {count} of {count} losses (0 may) a softmax that gives {shape} is over its first axis, "
            "that of the samples, so that each sample's share depends on the others of its batch"
        ),
        measures=(Measure("losses with a softmax over the samples", count, "count", 0),),
        suspects=(Suspect("attention", f"softmax over the batch, of {shape}", remedy),),
        cause="a softmax over the batch axis (dim=0): attention among samples, not within one",
        remedy=remedy,
    )


def viewed(row: Row) -> Fault:
    """A view exchanges the sizes of axes, and leaves the numbers where they lie."""
    site, kind, count = row.text("site"), row.text("type"), row.integer("turned")
    before, after = row.text("batch"), row.text("shape")
    remedy = "use permute(...) or transpose(...), which move the numbers with their axes"
    return Fault(
        because=(
            f"in {count} of {count} calls (0 may) `{site}` is given {after}, which is a view of "
            f"{before}: the same numbers in the same order, under axes in another"
        ),
        measures=(Measure("calls on axes that a view exchanged", count, "count", 0),),
        suspects=(Suspect(site, f"{kind} is given {before} viewed as {after}", remedy),),
        cause=f"view or reshape in the place of permute: {before} becomes {after}, scrambled",
        remedy=remedy,
    )
