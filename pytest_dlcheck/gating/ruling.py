"""What came of holding one metric against one thing: a value that a check makes its verdict of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_dlcheck.verdict import Measure

State = Literal["holds", "fails", "open", "unknown"]
"""``open`` where more seeds may decide it; ``unknown`` where nothing will."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """One metric, held against one thing.

    Attributes:
        metric: its name.
        state: what came of it.
        because: why, in one line with the number and its bound.
        measure: the number.
        remedy: what to do about it, where it does not hold.
    """

    metric: str
    state: State
    because: str
    measure: Measure
    remedy: str = ""
