"""A loop whose steps are out of order, told in words. Thresholds are the check's."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

SITE = "optimizer"


def never_reset(row: Row, count: int, bound: float) -> Fault:
    """Gradients that a step has applied are applied again by the next."""
    return _fault(
        row,
        count,
        bound,
        "kept_gradients",
        "apply gradients that the step before had applied already",
        "zero_grad is missing: nothing resets the gradients between one step and the next backward",
        "call optimizer.zero_grad() once per step, before backward",
    )


def reset_too_early(row: Row, count: int, bound: float) -> Fault:
    """Gradients are reset between backward and step."""
    return _fault(
        row,
        count,
        bound,
        "without_gradients",
        "find no gradient although backward had left one, or every gradient zero",
        "zero_grad is called between backward and step: the optimizer steps on nothing",
        "move zero_grad() before backward, or after step",
    )


def stepped_twice(row: Row, count: int, bound: float) -> Fault:
    """A step without a backward since the last."""
    return _fault(
        row,
        count,
        bound,
        "repeated",
        "apply the very gradients of the step before, without a backward in between",
        "the optimizer steps twice on the same gradients",
        "step once per backward",
    )


def one_never_steps(row: Row) -> Fault:
    """One of several optimizers is forgotten."""
    name, steps = row.text("never_stepped"), row.integer("steps")
    return Fault(
        because=f"{name} never stepped (0 steps, 1 or more should be) while another took {steps} steps",
        measures=(Measure("steps of the other optimizer", 0, "count", 1, ">="),),
        suspects=(Suspect(SITE, f"{name}: its parameters have gradients and it never steps"),),
        cause=f"{name} is never stepped: its parameters stay as they were made",
        remedy="call its step() after its backward, or do not build it",
    )


def never_stepped(row: Row, backwards: int) -> Fault:
    """Backward without any step."""
    idle = row.text("never_stepped")
    which = f" ({idle} is there and never steps)" if idle else ""
    return Fault(
        because=f"backward ran {backwards} times, and 0 optimizers stepped (1 or more should){which}",
        measures=(Measure("steps", 0, "count", 1, ">="),),
        suspects=(Suspect(SITE, "never steps, and no parameter changes"),),
        cause="optimizer.step() is missing, or is never reached",
        remedy="call optimizer.step() after backward",
    )


def _fault(row: Row, count: int, bound: float, key: str, what: str, cause: str, remedy: str) -> Fault:
    first, steps = row.integer(f"{key}_first"), row.integer("looked")
    return Fault(
        because=f"{count} of {steps} steps {what} (fewer than {bound:g} are tolerated)",
        measures=(Measure("steps out of order", count, "count", bound, "<"),),
        suspects=(Suspect(SITE, f"{what}, first at step {first}"),),
        cause=cause,
        remedy=remedy,
    )
