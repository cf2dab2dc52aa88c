"""Weights that were kept by reference, told as a fault."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def restored_by_reference(row: Row) -> Fault:
    """What is loaded is the model itself, as it is now."""
    count, steps, line = row.integer("parameters"), row.integer("steps"), row.text("line")
    where = f" ({line})" if line else ""
    finding = f"keeps its last weights, not those of {steps} steps ago"
    remedy = "keep a copy: copy.deepcopy(model.state_dict()), or each tensor's clone()"
    return Fault(
        because=(
            f"{count} of {count} parameters were loaded from their own memory{where}, "
            f"{steps} steps after these weights were kept: nothing is restored (0 should)"
        ),
        measures=(Measure("parameters loaded from their own memory", count, "count", 0),),
        suspects=(Suspect(row.text("model"), finding, remedy),),
        cause="state_dict() gives references to the model's tensors, no copy: training changes them too",
        remedy=remedy,
    )
