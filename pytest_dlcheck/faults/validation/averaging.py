"""Averages that are updated and stay where they are, told as a fault. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_dlcheck.faults.dynamics.exchanged_weights import turned_updates
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = (
    "make the average of the model that is trained, after it has its place, and update it from that"
)


FACTOR = 2.0
"""How many times larger or smaller than all it averages (ratio) an average is by no accident; chosen.
Weights of 0.1 and 0.1 make it a ninth, and of 0.9 and 0.9 nine times as large."""


def averaged_wrongly(copies: Sequence[Row], apart: int) -> Fault | None:
    """An average that is none: updated in vain, or by weights that do not sum to 1, or are exchanged.

    Args:
        copies: models of the trained one's shapes that no optimizer steps.
        apart: steps in which an average has begun to follow.
    """
    return updated_in_vain(copies, apart) or _weighed_wrongly(copies) or turned_updates(copies)


def _weighed_wrongly(copies: Sequence[Row]) -> Fault | None:
    for copy in copies:
        size = copy.number("size")
        if not (0 < size < 1 / FACTOR or size > FACTOR):
            continue
        below = size < 1
        bound, sense = (1 / FACTOR, ">=") if below else (FACTOR, "<=")
        told = f"{size:.3g} times the {'least' if below else 'largest'} that the trained weights were"
        return Fault(
            because=(
                f"the average that is evaluated points where the trained weights do, and is {told} "
                f"({1 / FACTOR:g} to {FACTOR:g} times)"
            ),
            measures=(Measure("size of the average", size, "ratio", bound, sense),),
            suspects=(Suspect(copy.text("model"), f"its weights are {told}"),),
            cause="a moving average whose weights do not sum to 1: each update shrinks or swells it",
            remedy="decay * average + (1 - decay) * weights, as average.lerp_(weights, 1 - decay) is",
        )
    return None


def updated_in_vain(copies: Sequence[Row], apart: int) -> Fault | None:
    """A copy is written to again and again, which changes it by rounding alone; None where none is.

    A reference that stays as it is is not written to, or with its own numbers.

    Args:
        copies: models of the trained one's shapes that no optimizer steps.
        apart: steps in which an average has begun to follow.
    """
    found = [c for c in copies if c.flag("is_restless") and c.integer("steps_between") >= apart]
    for copy in found:
        kind, steps = copy.text("model"), copy.integer("steps_between")
        return Fault(
            because=(
                f"{len(found)} of {len(copies)} copies of the model are updated again and again "
                f"({copy.integer('writes')} times), and change by rounding alone in {steps} steps (0 do)"
            ),
            measures=(Measure("averages that stand still", len(found), "count", 0),),
            suspects=(
                Suspect(kind, "a moving average, most likely, of weights that no longer train", _REMEDY),
            ),
            cause=(
                "the moving average (EMA) follows an old or another model, a copy of the weights, or "
                "itself: not the weights in training"
            ),
            remedy=_REMEDY,
        )
    return None
