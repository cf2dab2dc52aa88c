"""Outputs of different samples that become alike, told as a fault and as advice. The check decides."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def has_collapsed(row: Row, left: float) -> bool:
    """Whether all that a loss does is to draw outputs together, and they have come together."""
    return _only_attracts(row) and row.number("left") <= left


def undetached(row: Row, left: float) -> Fault:
    """Nothing keeps the outputs of different samples apart, and nothing on one side stands still."""
    before, now, share = row.number("apart_before"), row.number("apart"), row.number("left")
    seen = f"in {row.integer('attracting')} of {row.integer('looked')} losses it is made of distances"
    return Fault(
        because=(
            f"the outputs of different samples collapse: {share:.0%} is left of what tells them apart "
            f"(more than {left:.0%} should be); 1 minus their mean cosine went from {before:.2g} to "
            f"{now:.2g}, and the size of their differences to {row.number('size_left'):.2g} of the first"
        ),
        measures=(Measure("what is left of samples' differences", share, "ratio", left, ">"),),
        suspects=(
            Suspect("loss", f"{seen} between outputs of the model, with gradients on both sides"),
        ),
        cause="the targets are not detached: one constant output for all samples minimises this loss",
        remedy="detach() the side that is the target (stop-gradient), or add what keeps samples apart",
    )


def advice(row: Row, left: float) -> str:
    """The same where it need not come true; empty where nothing is to be said."""
    if _only_attracts(row):
        return (
            "the loss is made of distances between outputs of the model, with gradients on both sides: "
            "one constant output for all samples minimises it; detach() the targets, unless something "
            "in the model keeps samples apart"
        )
    compares = row.integer("comparing") == row.integer("looked")
    if compares and row.number("left") <= left:
        return (
            "outputs that the loss holds against each other become alike for all samples: "
            f"{row.number('left'):.0%} is left of what tells them apart: is there enough in the loss "
            "that keeps samples apart?"
        )
    return ""


def advice_at_first_sight(row: Row) -> Iterator[str]:
    """What is said of a recipe's loss before any training, by what it is made of."""
    if row.flag("attracts"):
        yield advice(Row(looked=1, attracting=1), 0.0)
    if row.flag("shrinks"):
        yield (
            "the loss is made of nothing but the size of the model's outputs: zeros for all samples "
            "minimise it; is a term missing, such as targets, negatives or a log-determinant?"
        )


def _only_attracts(row: Row) -> bool:
    return row.integer("attracting") == row.integer("looked")
