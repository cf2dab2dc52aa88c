"""Rows of the one input, such as nodes of a graph, that are held out by name, and trained on."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

ENOUGH = 3
"""Losses (count) of those that are looked at, and more than half of these: one is a last step on all."""


def trains_on_held_out_rows(trace: Trace) -> Fault | None:
    """The loss compares all rows, by the labels that held-out ones are scored by; None where not."""
    losses = trace.row("comparisons")
    count, looked = losses.integer("held_rows"), losses.integer("looked")
    if count < ENOUGH or 2 * count <= looked:
        return None
    rows = losses.text("held_rows_shapes")
    return Fault(
        because=(
            f"the loss compares the labels of all rows, {rows} among them, in {count} of {looked} steps "
            f"that were looked at (fewer than {ENOUGH} may), and the loop scores by the same labels"
        ),
        measures=(Measure("losses over held-out rows", count, "count", ENOUGH, "<"),),
        suspects=(Suspect("data", f"held-out rows are trained on, with their labels: {rows}"),),
        cause=(
            "the loss covers the held-out rows too, validation or test: it is not restricted to those "
            "that are for training"
        ),
        remedy="index scores and labels by the training mask in the loss, as `loss(out[mask], y[mask])`",
    )
