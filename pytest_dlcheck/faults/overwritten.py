"""Samples that were all overwritten by the last one, told in words."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = "keep copies: memory.append(state.clone()), or state.copy() of an array"


def one_sample(row: Row, bound: float) -> Fault:
    """Every sample of a batch is the same, while their targets differ.

    Args:
        row: what losses compare.
        bound: losses that may be so (count).
    """
    count, looked, shape = (
        row.integer("one_sample"),
        row.integer("looked"),
        row.text("one_sample_shapes"),
    )
    return Fault(
        because=(
            f"in {count} of {looked} losses (fewer than {bound:g} may) all samples of {shape} that the "
            "model is called on are one and the same, while their targets differ"
        ),
        measures=(Measure("losses on one sample with many targets", count, "count", bound, "<"),),
        suspects=(Suspect("data", f"all rows of {shape} are equal", _REMEDY),),
        cause="samples were kept by reference: one tensor, or array, is written to again",
        remedy=_REMEDY,
    )
