"""Weights that were to be restored and are not, told as faults."""

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


def nothing_loaded(row: Row) -> Fault:
    """Of what was to be loaded, the model has none by that name."""
    count, line = row.integer("parameters"), row.text("line")
    where = f" ({line})" if line else ""
    given, asked = row.text("given"), row.text("asked")
    remedy = "strip the prefix, or take the inner dictionary; load with strict=True"
    return Fault(
        because=(
            f"{count} of {count} parameters are not among the weights that are loaded{where} (1 or "
            f"more should be): these are called like `{given}`, the model's like `{asked}`"
        ),
        measures=(Measure("parameters that were not loaded", count, "count", count, "<"),),
        suspects=(Suspect(row.text("model"), "keeps the weights it had: nothing is loaded", remedy),),
        cause="load_state_dict(strict=False) loads nothing: no name in the checkpoint is the model's",
        remedy=remedy,
    )


def initial_statistics(twin: Row) -> Fault:
    """What is validated normalises with statistics that nothing was ever recorded in."""
    count, name = twin.integer("unset_statistics"), twin.text("model")
    remedy = (
        "copy the buffers along, as torch's AveragedModel does, or call update_bn() before validating"
    )
    return Fault(
        because=(
            f"{count} of {count} batch norms of {name}, a copy that is validated in eval mode, have "
            "mean 0 and variance 1, as at first, while the trained model's have moved (0 should)"
        ),
        measures=(Measure("batch norms with initial statistics", count, "count", 0),),
        suspects=(
            Suspect(name, "its parameters follow the trained model's, its buffers do not", remedy),
        ),
        cause="an average of parameters alone: its batch norms validate with their initial statistics",
        remedy=remedy,
    )
