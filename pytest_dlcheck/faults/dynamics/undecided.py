"""What to do where it cannot be told whether a loss falls: take other steps, or more of them."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.data.scaling import at_the_entry
from pytest_dlcheck.faults.dynamics.steps import warms_up
from pytest_dlcheck.faults.readings import update_ratio
from pytest_dlcheck.trace import Trace

SMALL = 3e-4
"""Update per weight and step (ratio) below which larger steps are advised; usual is 1e-3; chosen."""
LARGE = 0.1
"""The same above which smaller ones are: ten of them replace the weights."""


def advice(trace: Trace) -> Iterator[str]:
    """What comes first: inputs that are too large, then the size of the steps, then their number.

    A watched loop has its own number of steps, and its rate is told of elsewhere.
    """
    if entry := at_the_entry(trace):
        yield f"{entry.cause}: {entry.remedy}"
    elif trace.trial.kind != "watch":
        yield _on_steps(trace)


def _on_steps(trace: Trace) -> str:
    early, typical = update_ratio(trace), update_ratio(trace, len(trace.matrix("update_norm")))
    usual = "of their size, and 1e-3 is usual"
    if early > LARGE:
        return f"lower the learning rate: the first steps move the weights by {early:.1g} {usual}"
    if typical < SMALL and not warms_up(trace):
        return f"raise the learning rate, or steps: one moves the weights by {typical:.1e} {usual}"
    return "raise steps"
