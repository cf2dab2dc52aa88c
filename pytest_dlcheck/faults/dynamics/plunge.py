"""A loss that falls below any floor until numbers stop being finite: that is told of the fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from statistics import median

from pytest_dlcheck.trace import Trace

_PART = 0.2
"""Share of the losses before the break (ratio) that a median is taken of."""
_LAST = 4
"""Losses before the break that fall ever faster where the fall is too steep for a median to see it."""
_STEEPER = 10.0
"""Depth at the end over that halfway (ratio), of what has no floor: the likelihood of large counts, far
below zero, too, has 1 to 2 where it nears its own."""
_FEWEST = 6
"""Losses (count) before the break below which nothing is concluded."""


@dataclass(frozen=True, slots=True)
class Plunge:
    """How losses fell until numbers broke.

    Attributes:
        first: the loss at the start, in its own unit, as all here.
        middle: half of the way to the end.
        last: at the end: the median of the last part, or the last one where it fell ever faster.
        steps: how many steps there were.
        lasting: whether that is the median.
    """

    first: float
    middle: float
    last: float
    steps: int
    lasting: bool

    @classmethod
    def of(cls, trace: Trace, broken: int | None) -> Plunge | None:
        """Of the losses before the break; None where nothing broke, or nothing was seen to fall.

        Args:
            trace: of a training.
            broken: the first step at which the loss or a gradient was not finite.
        """
        if broken is None:
            return None
        series = trace.series("loss")
        before = [v for s, v in zip(series.steps, series.values, strict=True) if s < broken]
        before = before if all(map(isfinite, before)) else []
        if len(before) < _FEWEST:
            return None
        part = before[-max(3, int(_PART * len(before))) :]
        middle = before[len(before) // 2]
        if falls_faster(before[-_LAST:]):
            return cls(before[0], middle, before[-1], len(before), lasting=False)
        if max(part) >= 0:
            return None
        return cls(before[0], middle, median(part), len(before), lasting=True)

    def is_endless(self, floor: float, deepest: float) -> bool:
        """Whether there is no floor: below one ever faster, or for long where none can be.

        Args:
            floor: below which nothing ends that falls ever faster, and
            deepest: nothing at all, in the loss's unit.
        """
        if not self.lasting:
            return self.last < floor
        return self.last < min(deepest, _STEEPER * self.middle)


def falls_faster(losses: Sequence[float]) -> bool:
    """Whether each lies below zero, and farther below the one before it than that below its own."""
    steps = [one - other for one, other in pairwise(losses)]
    falls = all(step > 0 for step in steps) and max(losses) < 0
    return falls and all(later > earlier for earlier, later in pairwise(steps))
