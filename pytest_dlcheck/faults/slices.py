"""Batches that are cut by hand, always the same, in words. Thresholds included."""

from __future__ import annotations

import math

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

MANY = 4
"""Batches (count) that what is never used would make: of a part that is held out there are fewer."""
OFTEN = 2
"""Validations (count), each after one pass, that are no accident."""


def is_one(row: Row, steps: int, enough: int) -> bool:
    """Whether steps enough for a whole pass all cut the same few rows of many, the rest unused."""
    unused = row.integer("of") - row.integer("rows") - row.integer("asked")
    many = row.integer("rows") > 0 and unused >= MANY * row.integer("rows")
    return many and row.integer("looked") >= enough and steps >= row.integer("of") / row.integer("rows")


def same_rows(row: Row, steps: int) -> Fault | None:
    """The loop counts the batches of a pass between two validations: its index was meant to move."""
    rows, whole, stop = (row.integer(name) for name in ("rows", "of", "stop"))
    passes = (whole / rows, (whole - row.integer("asked")) / rows)
    counted = {rounded for each in passes for rounded in (math.floor(each), math.ceil(each))}
    if row.integer("stops") < OFTEN or stop < MANY or stop not in counted:
        return None
    return Fault(
        because=(
            f"all {row.integer('looked')} steps that were looked at, of {steps}, cut the same {rows} of "
            f"{whole} rows (2 or more batches should differ); {stop} steps, one pass over all of them, "
            f"lie between two of {row.integer('stops')} validations"
        ),
        measures=(Measure("distinct batches", 1, "count", 2, ">="),),
        suspects=(
            Suspect("data", f"rows are cut anew at every step, {rows} of {whole}, always the same"),
        ),
        cause="the same batch is cut from the data at every step: the index does not move on",
        remedy="cut the batch by the loop's index: data[i : i + size]",
    )


def advice(row: Row) -> str:
    """The same where it may be meant."""
    rows, whole = row.integer("rows"), row.integer("of")
    return (
        f"every step cuts the same {rows} of {whole} rows by hand, one batch for ever: does the index "
        "move on? Unless a batch is to be learned by heart"
    )
