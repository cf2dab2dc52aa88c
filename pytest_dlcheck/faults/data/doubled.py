"""Pairs whose two sides are one and the same sample, told as advice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.faults.data.contents import looked_at
from pytest_dlcheck.trace import Row


def on_doubled(rows: Iterable[Row]) -> Iterator[str]:
    """Inputs that equal another one in every sample.

    Args:
        rows: of the inputs and targets.
    """
    for row in rows:
        if other := row.text("same_as"):
            yield (
                f"{row.text('place')} equals {other} in {looked_at(row)}: a pair of twice the same "
                "sample shows nothing (an anchor that is its own positive)"
            )
