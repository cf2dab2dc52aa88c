"""Models in the wrong mode, told as faults. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def validated_in_train_mode(wrong: Sequence[Row], count: int) -> Fault:
    """All validations on batches of a loader run in train mode."""
    calls = sum(phase.integer("calls") for phase in wrong)
    return Fault(
        because=(
            f"{len(wrong)} of {count} validations ran in train mode (0 should), over {calls} batches"
        ),
        measures=(Measure("validations in train mode", len(wrong), "count", 0),),
        suspects=(Suspect("", f"in train mode, first after step {wrong[0].integer('steps')}"),),
        cause="model.eval() is missing before the validation",
        remedy="call model.eval() before it and model.train() after it",
    )
