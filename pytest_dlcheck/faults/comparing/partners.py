"""Inputs that come with others' targets, told in words. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.statistics import share_interval
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = "shuffle both by one order: order = torch.randperm(len(x)); x, y = x[order], y[order]"
_AHEAD = 0.15
"""Share (ratio) beyond guessing that is no small matter; chosen."""
_CERTAIN = 1 - 1e-6
"""Confidence with which labels of the next step are told, and"""
_LIKELY = 0.998
"""with which a step's own ones are not."""
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
        return _late(row)
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


def _late(row: Row) -> Fault | None:
    """Labels that the inputs of the step before tell, and a step's own ones do not."""
    if "late_of" not in row or not row.integer("late_of"):
        return None
    count, own, following = (row.integer(f"late_{each}") for each in ("of", "own", "next"))
    guess = row.integer("late_guess") / count
    told = share_interval(following, count, _CERTAIN).low
    if told < guess + _AHEAD or share_interval(own, count, _LIKELY).low > guess:
        return None
    return Fault(
        because=(
            f"a linear rule tells {own / count:.0%} of the labels that a loss is given with its inputs, "
            f"and {following / count:.0%} of those of the step after it ({guess:.0%} by guessing)"
        ),
        measures=(
            Measure(
                "labels of the next step that are told", following / count, "ratio", guess + _AHEAD, "<"
            ),
        ),
        suspects=(Suspect("data", "the labels are 1 batch older than the inputs"),),
        cause="the labels are those of the previous batch: a variable is kept from the batch before",
        remedy="take inputs and targets from one batch: for inputs, targets in batches",
    )
