"""A schedule of epochs that is stepped per batch, told as a fault. Thresholds: written beside."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

FALLING = frozenset({"StepLR", "MultiStepLR", "ExponentialLR", "LinearLR", "PolynomialLR"})
"""Schedulers that the documentation steps per epoch."""
_PER_BATCH = 0.9
"""Scheduler steps per step (ratio) from which on it is stepped per batch."""
_WAVES = 3
"""Halves of a cosine (count): one half is what it is made for, two may be a restart."""
_SPENT = 0.011
"""Rate after the first pass over its peak (ratio): two tenfold drops, where training goes on for"""
_MORE = 1.5
"""times the first pass (ratio) or longer."""


def epochs_as_batches(trace: Trace) -> Fault | None:
    """It falls within one pass over the data, or swings up and down."""
    schedule, loop = trace.row("schedule"), trace.row("loop")
    steps, length = loop.integer("steps"), loop.integer("loader_length")
    if schedule.integer("schedulers") != 1 or schedule.integer("steps") < _PER_BATCH * steps:
        return None
    name, horizon = schedule.text("name"), schedule.integer("horizon")
    if name == "CosineAnnealingLR" and not schedule.integer("named"):
        waves = steps / horizon if horizon else 0
        if not 0 < horizon < length or waves < _WAVES:
            return None
        return _fault(
            f"the learning rate falls and rises again {waves:.1f} times in {steps} steps (fewer than "
            f"{_WAVES} may): T_max={horizon} is shorter than a pass over {length} batches",
            Measure("halves of the cosine", waves, "count", _WAVES, "<"),
            f"{name}(T_max={horizon}) is stepped per batch, though it counts epochs",
        )
    rates = trace.series("learning_rate").values
    if name not in FALLING or not 1 < _MORE * length <= len(rates):
        return None
    left = rates[length - 1] / max(*rates[:length], 1e-30)
    if left > _SPENT:
        return None
    return _fault(
        f"the learning rate is at {left:.2g} of its peak after the first pass over {length} batches "
        f"(more than {_SPENT:g} should be left), of {len(rates)} steps",
        Measure("rate left after the first pass", left, "ratio", _SPENT, ">"),
        f"{name} is stepped per batch, though it counts epochs",
    )


def _fault(story: str, measure: Measure, cause: str) -> Fault:
    return Fault(
        because=story,
        measures=(measure,),
        suspects=(Suspect("scheduler", "is through its schedule within one epoch"),),
        cause=cause,
        remedy="call scheduler.step() once per epoch, or give it the number of batches",
    )
