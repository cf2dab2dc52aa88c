"""Models that teach another one and stand still, told in words. Thresholds: written beside."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_TWICE = 2
"""Steps at which a model must have been heard (count): the first ones, in which all calls are heard."""
_HABIT = 8
"""Steps (count) in which an average would have moved."""
_NEVER = 500
"""Steps (count) from which on a target network would have been synchronised. Mnih et al. (2015) do so
every 10,000 steps, tutorials every 100 to 1,000; chosen."""
_NEVER_AT_ALL = 200
"""The same where the loop has ended by itself and the copy is untrained, which no reference is: targets
of its own noise. Soft updates come every step, CleanRL's hard ones every 50 to 250; chosen."""


def drifting_teachers(trace: Trace) -> Iterator[str]:
    """Advice where what gives targets has dropout on, or normalises by each batch."""
    for row in trace.rows("teachers"):
        count, steps = row.integer("in_train_mode"), row.integer("stands_still")
        if count == row.integer("steps") >= _TWICE and steps >= _HABIT:
            yield (
                f"{row.text('model')} is called without gradients and in train mode at all {count} "
                f"steps that were looked at, and is the same after {steps}: if it teaches or is frozen, "
                "call eval() on it"
            )


def stepped_in_eval(row: Row, bound: int) -> Fault:
    """One of the models that an optimizer steps is in eval mode."""
    steps, count = row.integer("steps"), row.integer("in_eval")
    since = row.integer("in_eval_first")
    return Fault(
        because=(
            f"{count} of {steps} steps were taken in eval mode, from step {since} on, by an optimizer "
            f"that steps another model besides (fewer than {bound} are tolerated)"
        ),
        measures=(Measure("steps in eval mode", count, "count", bound, "<"),),
        suspects=(Suspect("", f"in eval mode from step {since} on, and stepped all the same"),),
        cause="a teacher is in its student's optimizer, or no model.train() comes after model.eval()",
        remedy=(
            "leave a teacher out of the optimizer, and call it under no_grad(); call train() on a model "
            "that is to learn"
        ),
    )


def still_targets(trace: Trace) -> Iterator[str]:
    """Advice where a copy of the trained model never follows it."""
    for row in trace.rows("teachers"):
        steps, copied = row.integer("stands_still"), row.flag("was_copy")
        useless = row.flag("was_fresh") and not trace.row("loop").flag("was_cut_short")
        never = _NEVER_AT_ALL if useless else _NEVER
        if copied and row.integer("steps") >= _TWICE and steps >= never:
            unless = "that is due later" if useless else "it is a frozen reference"
            state = ", untrained," if useless else ""
            loads = trace.row("loop").integer("loads")
            turned = f" (load_state_dict was called {loads} times, on the model that trains)"
            yield (
                f"{row.text('model')} was a copy of the model{state} when the training began, is called "
                f"beside it, and is the same after {steps} steps: a target network is to be "
                f"synchronised{turned if loads >= _TWICE else ''}, unless {unless}"
            )
