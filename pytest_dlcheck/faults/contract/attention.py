"""Attention that is sure of one place before it has learned anything, told as advice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.trace import Row

_HALF = 0.5
"""Share of rows with more than 0.99 of their weight in one place (ratio) from which on it is told;
chosen: scores that are divided by the root of their width leave none in the zoo at the start."""
_SHOWN = 3


def advice_on_attention(rows: Iterable[Row]) -> Iterator[str]:
    """One line for all attention that is saturated at the start.

    Args:
        rows: of the signal before any training.
    """
    sure = [row for row in rows if row.number("sure") >= _HALF]
    if sure:
        names = ", ".join(row.text("site") for row in sure[:_SHOWN])
        more = f" and {len(sure) - _SHOWN} more" if len(sure) > _SHOWN else ""
        yield (
            f"the attention of {names}{more} is saturated before any training: "
            f"{sure[0].number('sure'):.0%} of its rows give more than 99% to one place, which leaves no "
            "slope: are scores divided by the square root of their width?"
        )
