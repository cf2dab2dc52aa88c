"""Batches that are cut by hand, always the same, as advice. Thresholds included."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.trace import Row

MANY = 4
"""Batches (count) that what is never used would make: of a part that is held out there are fewer."""


def told(rows: Iterable[Row], steps: int, enough: int) -> list[str]:
    """Advice on each that is one."""
    return [_advice(row) for row in rows if _is_one(row, steps, enough)]


def _is_one(row: Row, steps: int, enough: int) -> bool:
    """Whether steps enough for a whole pass all cut the same few rows of many, the rest unused."""
    unused = row.integer("of") - row.integer("rows") - row.integer("asked")
    many = row.integer("rows") > 0 and unused >= MANY * row.integer("rows")
    return many and row.integer("looked") >= enough and steps >= row.integer("of") / row.integer("rows")


def _advice(row: Row) -> str:
    """What may be meant, and mostly is not."""
    rows, whole = row.integer("rows"), row.integer("of")
    return (
        f"every step trains on the same batch, {rows} of {whole} rows cut by hand, one batch for ever: "
        "does the index move on? Unless a batch is to be learned by heart"
    )
