"""How much error each look at growing evidence may spend. Exact numbers, no evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

_GRID = 801
_REACH = 8.0
"""Standard deviations that the grid spans."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look of several, each after one more seed.

    Attributes:
        number: seeds that have been measured.
        first: seeds at the first look.
        last: seeds at the last look.
        risk: how often, at most, all looks together may err to one side.
    """

    number: int
    first: int
    last: int
    risk: float

    @property
    def level(self) -> float:
        """The one-sided error of this look by itself."""
        return self.at(self.number)

    def at(self, number: int, among: int = 1) -> float:
        """The same of another look, where so many hypotheses share the risk."""
        levels = nominal_levels(self.first, self.last, self.risk / among)
        return levels[max(0, min(number, self.last) - self.first)]


@cache
def nominal_levels(first: int, last: int, risk: float) -> tuple[float, ...]:
    """The one-sided level of each look, so that all of them err with ``risk`` together.

    After ``n`` of ``last`` seeds, a share ``n / last`` of the risk has been spent (the power family of
    Kim and DeMets 1987, as Lan and DeMets 1983 spend). Looks see the sum of all seeds so far, which ties
    them together: that is reckoned with, by the recursion of Armitage, McPherson and Rowe (1969). The
    levels hold for normal noise of known size; for t statistics they are used as they are (Jennison and
    Turnbull 2000, section 4.4). That a look may also decide the other way is not counted on.

    Args:
        first: seeds at the first look, 1 or more.
        last: seeds at the last look.
        risk: to be spent in all.
    """
    if first >= last:
        return (risk,)
    import numpy as np
    from scipy.optimize import brentq
    from scipy.stats import norm

    levels = []
    grid = np.linspace(-_REACH, _REACH, _GRID) * math.sqrt(last)
    width = grid[1] - grid[0]
    density = norm.pdf(grid, scale=math.sqrt(first))
    step = norm.pdf(grid[:, None] - grid[None, :])
    for number in range(first, last + 1):
        spent = risk * (first if number == first else 1) / last
        scale = math.sqrt(number)
        bound = brentq(_excess, -_REACH, _REACH, args=(_tail(density, grid, width), scale, spent))
        levels.append(float(norm.sf(bound)))
        kept = np.where(grid < bound * scale, density, 0.0)
        density = (step @ kept) * width
    return tuple(levels)


def _excess(z: float, above: Callable[[float], float], scale: float, spent: float) -> float:
    return above(z * scale) - spent


def _tail(density: Any, grid: Any, width: float) -> Callable[[float], float]:
    """How much of a density on a grid lies above a point."""
    import numpy as np

    above = np.concatenate([np.cumsum(density[::-1])[::-1] * width, [0.0]])
    edges = np.concatenate([grid - width / 2, [grid[-1] + width / 2]])
    return lambda point: float(np.interp(point, edges, above))
