"""Inputs that come with others' targets, told in words. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = "shuffle both by one order: order = torch.randperm(len(x)); x, y = x[order], y[order]"
_SHUFFLED = (
    "inputs are shuffled without their targets: each gets another's",
    "inputs change their order now and then, and their targets do not: the pairs are lost",
    _REMEDY,
)
_DRAWN = (
    "an input that comes again has the label of another, as if drawn by lot",
    "the pairs are lost: labels of another batch, as of the previous batch, or shuffled without inputs",
    "take inputs and labels by one order, at one place: x, y = x[order], y[order]",
)


def exchanged(row: Row, several: float, some: float) -> Fault | None:
    """Targets that stay where they are while inputs change places; None where they do not.

    Args:
        row: of comparisons.
        several: losses that are no accident.
        some: share of the losses that can be told.
    """
    count, told = row.integer("swapped"), row.integer("swappable")
    bound = max(several, some * told)
    if count < bound:
        return None
    finding, cause, remedy = _DRAWN if 2 * row.integer("by_lot") > count else _SHUFFLED
    return Fault(
        because=(
            f"{count} of {told} losses compare inputs that were seen before with targets that belonged "
            f"to other inputs (fewer than {bound:g} may)"
        ),
        measures=(Measure("losses whose inputs have others' targets", count, "count", bound, "<"),),
        suspects=(Suspect("data", finding, remedy),),
        cause=cause,
        remedy=remedy,
    )
