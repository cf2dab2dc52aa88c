"""Steps that all draw the same random numbers, told in words. Thresholds: written beside."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

MOST = 0.5
"""Share of steps that draw after the same seed (ratio) from which on the training is made of them."""
_REMEDY = "seed once, before the loop, or with a number that changes from step to step"


def worst(rows: Iterable[Row], enough: int) -> Row | None:
    """The generator that is seeded alike in most steps, in so many in a row; None where none is."""
    found = [
        row
        for row in rows
        if row.integer("in_a_row") >= enough and row.integer("alike") >= MOST * row.integer("steps")
    ]
    return max(found, key=lambda row: row.integer("alike"), default=None)


def fault(row: Row, enough: int) -> Fault:
    """What every step draws is what the last one drew, although its data are others."""
    alike, steps = row.integer("alike"), row.integer("steps")
    return Fault(
        f"{alike} of {steps} steps draw from a generator that was set to the same state before, "
        f"{row.integer('in_a_row')} in a row (fewer than {enough} may)",
        (Measure("steps in a row that draw alike", row.integer("in_a_row"), "count", enough, "<"),),
        [Suspect(row.text("line"), f"{_called(row)} in every step", _REMEDY)],
        cause=f"{_called(row)} is called again in each step: all steps draw the same random numbers, be "
        "it noise, dropout or augmentation",
        remedy=_REMEDY,
    )


def advice(row: Row | None) -> str:
    """With one batch for ever, or within a model, it may be meant; empty where there is no such row."""
    if row is None:
        return ""
    return (
        f"{_called(row)} is called again in each step, all draw the same random numbers: is that meant?"
    )


def _called(row: Row) -> str:
    return f"{row.text('call')} ({row.text('line')})" if row.text("line") else row.text("call")
