"""Intervals and trends of noisy numbers, on scipy, which is loaded when first needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, stdev

CONFIDENCE = 0.95
"""Confidence of every interval here, where no other is asked for."""
BLOCKS = 20
"""Points that a trend is fitted to: neighbouring losses are averaged, which also tames the
correlation between them."""
_FEWEST_POINTS = 4
_NORMAL_MAD = 1.4826  # standard deviation over median absolute deviation, of a normal distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its confidence limits, all in the unit of what was measured."""

    estimate: float
    low: float
    high: float

    def __neg__(self) -> Interval:
        return Interval(-self.estimate, -self.high, -self.low)

    def __truediv__(self, unit: float) -> Interval:
        """The same in other units; ``unit`` must be positive."""
        return Interval(self.estimate / unit, self.low / unit, self.high / unit)


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean with Student's t limits; unlimited where fewer than two values were measured."""
    if not values:
        return Interval(math.nan, -math.inf, math.inf)
    mean = fmean(values)
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf)
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values)
    half /= math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def trend(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """How much a series changes from its beginning to its end, robustly.

    The slope of Theil and Sen through the means of up to 20 blocks, times the length, with the limits
    of Sen (1968). Up to 29 % of the blocks may be outliers.

    Args:
        values: equally spaced in time.
        confidence: of the limits.

    Returns:
        The change in the unit of the values; unlimited where there are fewer than four values.
    """
    if len(values) < _FEWEST_POINTS:
        return Interval(math.nan, -math.inf, math.inf)
    from scipy.stats import theilslopes

    points = blocks(values, BLOCKS)
    slope, _, low, high = theilslopes(points, alpha=confidence)
    span = len(points) - 1
    return Interval(float(slope) * span, float(low) * span, float(high) * span)


def blocks(values: Sequence[float], count: int) -> list[float]:
    """The means of up to ``count`` neighbouring blocks of nearly equal length."""
    count = min(count, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    return [fmean(values[a:b]) for a, b in pairwise(edges)]


def jitter(values: Sequence[float]) -> float:
    """The standard deviation of the noise on a series, from its first differences, robustly.

    Zero where there are fewer than three values: no noise can be told from so few.
    """
    steps = [b - a for a, b in pairwise(values)]
    if len(steps) <= 1:
        return 0.0
    middle = median(steps)
    spread = median(abs(step - middle) for step in steps)
    return _NORMAL_MAD * spread / math.sqrt(2)
