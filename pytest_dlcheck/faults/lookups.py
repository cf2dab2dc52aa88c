"""Ids that are cut to the few rows of an embedding, told in words. Thresholds included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect

_MOST = 0.5
"""Share of the different ids, and of all lookups (ratios), from which on most share one row."""
_TELLING = 0.25
"""The same from which on it is worth a word: rare words and long texts are less."""
_SEVERAL = 16
"""Different ids in one row (count) below which a number may well be capped; chosen."""
_TABLE = 8
"""Rows of a table (count) below which few kinds are meant, as "3 and more" is; chosen."""


def shared(rows: Sequence[Row]) -> Fault | None:
    """Most ids of a table look up one and the same row; None where they do not."""
    wrong = [row for row in rows if _shared(row) > _MOST]
    if not wrong:
        return None
    row = max(wrong, key=_shared)
    site = row.text("site") or "model"
    measure = Measure("ids that share one row", _shared(row), "ratio", _MOST)
    return Fault(
        f"{_what(row)} (bound {_MOST:.0%})",
        measures=(measure,),
        suspects=[Suspect(r.text("site") or "model", f"ids are cut at {_place(r)}") for r in wrong],
        cause=f"{_place(row)} cuts the ids to what the {row.integer('rows')} rows of `{site}` allow: "
        "most ids share one row, and cannot be told apart",
        remedy=f"give `{site}` a row for each id, the largest is {row.integer('largest')}; do without "
        "the cut, so that an id too large is an error",
    )


def advice(rows: Sequence[Row]) -> Iterator[str]:
    """Many ids share one row, which may be meant."""
    for row in rows:
        if _MOST >= _shared(row) > _TELLING:
            yield f"{_what(row)}, cut at {_place(row)}: is the table too small?"


def _shared(row: Row) -> float:
    if row.integer("merged") < _SEVERAL or row.integer("rows") < _TABLE:
        return 0.0
    return min(row.integer("merged") / row.integer("values"), row.number("share"))


def _what(row: Row) -> str:
    ids = f"{row.integer('merged')} of {row.integer('values')} different ids"
    site, rows = row.text("site") or "model", row.integer("rows")
    return (
        f"{ids}, in {row.number('share'):.0%} of all lookups, share row {row.integer('row')} "
        f"of `{site}`, which has {rows} rows"
    )


def _place(row: Row) -> str:
    line = row.text("line")
    return f"`{row.text('operation')}` ({line})" if line else f"`{row.text('operation')}`"
