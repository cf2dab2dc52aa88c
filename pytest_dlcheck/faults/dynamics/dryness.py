"""Gradients that have become exactly zero although the loss has not, told as a fault."""

from __future__ import annotations

import math

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

SEVERAL = 8
"""Recorded steps (count) without any gradient below which it may be a pause; chosen."""
SHARE = 0.9
"""Share of the recorded steps (ratio) without any gradient from which on nothing trains; chosen."""
LEAST_LOSS = 1e-3
"""Loss over its largest (ratio) below which a margin, or a hinge, may simply be reached; chosen."""


def dries_up(trace: Trace) -> Fault | None:
    """No parameter has a gradient in nearly all steps, and yet there is a loss to lower.

    A loss that several optimizers lower in parts may owe its rest to another one.
    """
    loops = trace.rows("loop")
    if loops and loops[0].integer("strands") != 1:
        return None
    gradients, losses = trace.matrix("gradient_norm"), trace.series("loss")
    loss_at = dict(zip(losses.steps, losses.values, strict=True))
    rows = dict(
        zip(gradients.steps, zip(*(v for _, v in gradients.columns()), strict=True), strict=False)
    )
    dry = [step for step, row in rows.items() if set(row) - {None} == {0.0}]
    if len(dry) < max(SEVERAL, SHARE * len(rows)):
        return None
    still = [loss_at[step] for step in dry if step in loss_at]
    largest = max((abs(loss) for loss in losses.values if math.isfinite(loss)), default=0.0)
    if len(still) < SEVERAL or not min(map(abs, still)) > LEAST_LOSS * largest:
        return None
    return Fault(
        f"every gradient is exactly 0 in {len(dry)} of {len(rows)} recorded steps (at most "
        f"{SHARE:.0%}), and the loss is {still[-1]:.4g}: no step lowers it",
        measures=(Measure("recorded steps without any gradient", len(dry) / len(rows), "ratio", SHARE),),
        suspects=(Suspect("loss", f"does not depend on any parameter from step {dry[0]} on"),),
        cause="the loss has become a constant: all of it is clamped, thresholded, masked, or saturated",
        remedy="look at what bounds it: max, relu, clamp, a mask, or a margin that is in another unit",
    )
