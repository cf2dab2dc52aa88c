"""A model that took the place of the one that its optimizer steps, told as a fault. No judgement."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_REMEDY = (
    "load the weights into the model that is there (model.load_state_dict(best.state_dict())), or build "
    "the optimizer anew over the new one"
)


def left_behind(rows: Sequence[Row]) -> Fault | None:
    """The optimizer steps a model that no loss reaches any more; None where there is none such."""
    heirs = [row for row in rows if row.text("succeeds")]
    if not heirs:
        return None
    kind, count, left = heirs[0].text("succeeds"), len(heirs), heirs[0].integer("left")
    return Fault(
        f"{count} parameters that get a gradient are in no optimizer (bound 0): they belong to another "
        f"{kind} than that which the optimizer steps, whose {left} parameters no loss reaches any more",
        measures=(
            Measure("parameters that get a gradient in no optimizer", count, "count", 0),
            Measure("stale parameters in optimizers", left, "count", 0),
        ),
        suspects=(
            Suspect(kind, "was put in the place of the model that the optimizer steps", _REMEDY),
            Suspect("optimizer", "stale: steps the old parameters, which nothing uses", _REMEDY),
        ),
        cause=f"{kind} was replaced by another object, a copy or a new one, under the old optimizer",
        remedy=_REMEDY,
    )
