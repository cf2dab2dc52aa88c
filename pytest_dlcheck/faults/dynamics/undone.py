"""Steps that move the parameters and are undone, told by norms that never differ."""

from __future__ import annotations

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

_FEWEST = 3
"""Recorded steps (count) from which on a norm that never differs in its last bit is no accident."""


def moves(trace: Trace, name: str) -> bool:
    """Whether steps moved it, as far as they were recorded."""
    updates = trace.matrix("update_norm")
    return name in updates.sites and any(updates.column(name))


def is_put_back(trace: Trace, name: str) -> bool:
    """Whether each step moves it and begins where the first one did."""
    norms, updates = trace.matrix("parameter_norm"), trace.matrix("update_norm")
    if name not in norms.sites or name not in updates.sites:
        return False
    known = [norm for norm in norms.column(name) if norm is not None]
    moved = [size for size in updates.column(name) if size is not None]
    return len(known) >= _FEWEST and len(set(known)) == 1 and all(moved)


def each_step(trace: Trace, reached: list[Row], undone: list[Row]) -> Fault:
    """What every step changes is put back before the next.

    Args:
        trace: of the training.
        reached: parameters with gradients.
        undone: those of them that are put back.
    """
    loop, cause = trace.row("loop"), "what each step changes is put back before the next"
    remedy = "look for what writes to the parameters between the steps"
    whole, left = len(reached), len(reached) - len(undone)
    if 2 * loop.integer("loads") >= loop.integer("steps") > 0:
        cause = f"{cause}: load_state_dict was called {loop.integer('loads')} times"
        remedy = "load the first weights once, before the loop"
    finding = "moved by each step that was recorded, and put back before the next"
    return Fault(
        f"{left} of {whole} parameters with gradients are changed in the end (all expected): the others "
        "are moved by each step, and put back",
        measures=(Measure("parameters changed", left, "count", whole, ">="),),
        suspects=[Suspect(row.text("name"), finding) for row in undone],
        cause=cause,
        remedy=remedy,
    )
