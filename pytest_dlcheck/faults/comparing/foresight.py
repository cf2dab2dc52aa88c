"""Places of a sequence that see the next ones, which they are to tell, in a watched loop: as a fault."""

from __future__ import annotations

from pytest_dlcheck.faults.contract import causal
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace


def seen_ahead(trace: Trace) -> Fault | None:
    """A model whose targets are the next steps, and whose outputs change with these, place by place.

    Nothing where other terms are added to the loss, where the model draws numbers, as a latent model
    does, or where less than an input comes through, as by a code.
    """
    compared = trace.rows("comparisons")
    if any(row.integer("joined") for row in compared if row.get("joined") is not None):
        return None
    for row in trace.rows("foresight"):
        if row.get("draws") is True or row.get("narrow") is True:
            continue
        if _leaks(row) and row.flag("in_place") and row.integer("leaking") == row.integer("positions"):
            return causal.leak(row)
    return None


def not_shifted(trace: Trace, several: int) -> Fault | None:
    """A model of sequences whose targets are what it is called on, of which each place sees its own.

    It sees its past, too, and nothing later: so it is to tell what comes next. What sees no past tells
    words one by one, and what sees the whole is to give it again.

    Args:
        trace: the watch's.
        several: losses that are no accident.
    """
    losses = trace.row("comparisons")
    copied, looked = losses.integer("copied"), losses.integer("looked")
    tried = trace.rows("copying")
    of_time = [row for row in tried if row.get("sees_past") is True]
    sees = bool(of_time) and all(row.get("sees_now") is True for row in of_time)
    if sees and not any(map(_leaks, tried)) and copied == looked >= several:
        return causal.copied(copied, looked, several)
    return None


def as_meant(trace: Trace, row: Row) -> Row:
    """How losses compare, less what the loop means: its own sequence as a target, or an ascent.

    Args:
        trace: of a watched loop.
        row: how its losses compare.
    """
    meant = {"foreseen": 0} if _shows_no_target(trace) else {}
    meant |= (
        {"punished": 0, "optimistic": 0, "certain": 0} if trace.row("recipe").flag("maximize") else {}
    )
    return Row(row, **meant)


def _shows_no_target(trace: Trace) -> bool:
    """Whether a copy of the model was tried, and nothing shows a place of its outputs its own target.

    Either no output changes with later steps, or all do by one thing that is made of the whole sequence.
    """
    rows = trace.rows("foresight")
    return bool(rows) and all(not _leaks(row) or row.get("in_place") is False for row in rows)


def _leaks(row: Row) -> bool:
    return row.number("change") > row.number("bound")
