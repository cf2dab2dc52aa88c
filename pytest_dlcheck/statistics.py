"""Intervals and trends of noisy numbers, on scipy, which is loaded when first needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
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


def interval_of(mean: float, error: float, count: int, confidence: float = CONFIDENCE) -> Interval:
    """Student's t limits of a mean whose standard error is known; unlimited for fewer than two values.

    Args:
        mean: of the values.
        error: the standard error of that mean.
        count: how many values it is the mean of.
        confidence: of the limits, two-sided.
    """
    if count <= 1 or not math.isfinite(error):
        return Interval(mean, -math.inf, math.inf)
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    return Interval(mean, mean - half, mean + half)


def surely_positive(values: Sequence[float], risk: float) -> bool:
    """Whether values lie above zero more than below, by Wilcoxon's signed ranks, exactly.

    Args:
        values: independent of each other; a few dozen.
        risk: how often it may say so of values that are symmetric about zero.
    """
    ordered = sorted((v for v in values if v != 0), key=abs)
    reached = sum(rank for rank, value in enumerate(ordered, 1) if value > 0)
    return _rank_sum_tail(len(ordered), reached) < risk


@cache
def _rank_sum_tail(count: int, reached: int) -> float:
    """How likely signs drawn at random let the ranks 1 to ``count`` sum up to ``reached`` or more."""
    ways: list[int] = [1]
    for rank in range(1, count + 1):
        padded = [*ways, *[0] * rank]
        ways = [a + b for a, b in zip(padded, [*[0] * rank, *ways], strict=True)]
    return float(sum(ways[reached:]) / 2**count)


def share_interval(hits: int, count: int, confidence: float = CONFIDENCE) -> Interval:
    """A share with its limits after Wilson; from 0 to 1 where nothing was counted."""
    if count <= 0:
        return Interval(math.nan, 0.0, 1.0)
    from scipy.stats import binomtest

    limits = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    return Interval(hits / count, float(limits.low), float(limits.high))


def best_renaming(pairs: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """Which predicted class each true class would best be called, one to one.

    Args:
        pairs: how often each ``(true, predicted)`` was counted.

    Returns:
        For every true class the predicted class that it is matched to.
    """
    from scipy.optimize import linear_sum_assignment

    if not pairs:
        return {}
    names = sorted({name for pair in pairs for name in pair})
    counts = [[pairs.get((true, predicted), 0) for predicted in names] for true in names]
    rows, columns = linear_sum_assignment(counts, maximize=True)
    present = {true for true, _ in pairs}
    return {names[r]: names[c] for r, c in zip(rows, columns, strict=True) if names[r] in present}


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
