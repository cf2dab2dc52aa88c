"""Micro-batches whose gradients add up to one step, as far as a watched loop shows them."""

from __future__ import annotations

from pytest_dlcheck.faults.dynamics.steps import SCALE_FREE
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Suspect


def accumulates(row: Row) -> bool:
    """Where another network's optimizer is idle, its backward passes leave gradients here as well.

    Args:
        row: of the loop.
    """
    alone = row.integer("strands") == 1 and not row.text("never_stepped")
    return alone and row.integer("micro_batches") > 1


def undivided(trace: Trace) -> int:
    """How many micro-batches add up without their loss being divided, and make steps larger; or 0."""
    row, comparisons = trace.row("loop"), trace.row("comparisons")
    adds = 2 * comparisons.integer("undivided") > comparisons.integer("looked") > 0
    is_free = any(part in trace.row("recipe").text("optimizer") for part in SCALE_FREE)
    return row.integer("micro_batches") if accumulates(row) and adds and not is_free else 0


def added_up(trace: Trace) -> tuple[Suspect, str, str] | None:
    """Suspect, cause and remedy of steps that are too large, where micro-batches add up undivided."""
    count = undivided(trace)
    if not count:
        return None
    cause = f"{count} micro-batches add up undivided: each step is {count} times that of their mean"
    suspect = Suspect("optimizer", f"each step is made of {count} micro-batches")
    return suspect, cause, f"divide the loss by {count}, or lower the learning rate as much"
