"""Ids that are cut to the few rows of an embedding, told as advice. Thresholds included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.trace import Row

_TELLING = 0.25
"""Share of the different ids, and of all lookups (ratios), from which on it is worth a word that they
share one row; chosen. A number that is capped on purpose, such as a distance, looks the same."""
_SEVERAL = 16
"""Different ids in one row (count) below which a number may well be capped; chosen."""
_TABLE = 8
"""Rows of a table (count) below which few kinds are meant, as "3 and more" is; chosen."""


def advice(rows: Sequence[Row]) -> Iterator[str]:
    """Many ids share one row, which may be meant."""
    for row in rows:
        if _shared(row) > _TELLING:
            site, rows_of = row.text("site") or "model", row.integer("rows")
            yield (
                f"{_what(row)}, cut at {_place(row)}: if these are ids, and no number that is capped on "
                f"purpose, the {rows_of} rows of `{site}` are too few, and most ids cannot be told apart"
            )


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
