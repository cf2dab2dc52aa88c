"""For how long a loop stays with a batch, by the fingerprints of its steps."""

from __future__ import annotations

from itertools import pairwise
from statistics import median_low

from pytest_dlcheck.trace import Series


def in_a_row(prints: Series) -> int:
    """For how many steps in a row a batch is used, as a rule; the first and last rows may be cut."""
    rows = [1]
    for (step, one), (following, other) in pairwise(zip(prints.steps, prints.values, strict=True)):
        if following != step + 1:
            break
        rows = [*rows[:-1], rows[-1] + 1] if one == other else [*rows, 1]
    return int(median_low(rows[1:-1] or rows))
