"""Intervals and trends of noisy numbers, on scipy, which is loaded when first needed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from statistics import NormalDist, fmean, median

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

    @property
    def percent(self) -> str:
        """Its limits in percent, in words, also where too few values give none."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return "too few values for limits"
        return f"{100 * self.low:.3g} to {100 * self.high:.3g} %"


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """The mean with Student's t limits; unlimited where fewer than two values were measured."""
    if not values:
        return Interval(math.nan, -math.inf, math.inf)
    mean = fmean(values)
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf)
    half = _students_t(confidence, len(values)) * standard_error(values)
    return Interval(mean, mean - half, mean + half)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of at least two values; exactly zero where all are the same.

    In floats, because the fractions of the standard library take twenty times as long.
    """
    if min(values) == max(values):
        return 0.0
    mean = fmean(values)
    return math.sqrt(sum((v - mean) * (v - mean) for v in values) / (len(values) - 1) / len(values))


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
    half = _students_t(confidence, count) * error
    return Interval(mean, mean - half, mean + half)


def _students_t(confidence: float, count: int) -> float:
    """Standard errors on each side of a mean of so many values."""
    from scipy.special import stdtrit  # scipy.stats takes half a second to load

    return float(stdtrit(count - 1, (1 + confidence) / 2))


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
    share, z = hits / count, NormalDist().inv_cdf((1 + confidence) / 2)
    whole = 2 * (count + z**2)
    middle = (2 * hits + z**2) / whole
    half = z * math.sqrt(4 * count * share * (1 - share) + z**2) / whole
    low, high = 0.0 if hits == 0 else middle - half, 1.0 if hits == count else middle + half
    return Interval(share, low, high)


def best_renaming(pairs: Mapping[tuple[int, int], int]) -> dict[int, int]:
    """Which predicted class each true class would best be called, one to one.

    Args:
        pairs: how often each ``(true, predicted)`` was counted.

    Returns:
        For every true class the predicted class that it is matched to.
    """
    if not pairs:
        return {}
    favourites = _favourites(pairs)
    if favourites is not None and len(set(favourites.values())) == len(favourites):
        return favourites  # nothing to share out: there is no better way
    from scipy.optimize import linear_sum_assignment

    names = sorted({name for pair in pairs for name in pair})
    counts = [[pairs.get((true, predicted), 0) for predicted in names] for true in names]
    rows, columns = linear_sum_assignment(counts, maximize=True)
    present = {true for true, _ in pairs}
    return {names[r]: names[c] for r, c in zip(rows, columns, strict=True) if names[r] in present}


def _favourites(pairs: Mapping[tuple[int, int], int]) -> dict[int, int] | None:
    """What each true class is called most often; None where one has two such names."""
    found: dict[int, int] = {}
    for true in sorted({true for true, _ in pairs}):
        counts = {name: count for (other, name), count in pairs.items() if other == true}
        most = max(counts.values())
        names = [name for name, count in counts.items() if count == most]
        if len(names) > 1:
            return None
        found[true] = names[0]
    return found


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
    points = blocks(values, BLOCKS)
    span, slopes = len(points) - 1, _slopes(points)
    if any(map(math.isnan, slopes)):
        return Interval(math.nan, math.nan, math.nan)
    ties = sum(map(_rank_spread, Counter(points).values()))
    spread = math.sqrt((_rank_spread(len(points)) - ties) / 18)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * spread
    low = slopes[max(round((len(slopes) - reach) / 2) - 1, 0)]
    high = slopes[min(round((len(slopes) + reach) / 2), len(slopes) - 1)]
    return Interval(median(slopes) * span, low * span, high * span)


def _slopes(points: Sequence[float]) -> list[float]:
    """Between every two points, in order."""
    return sorted((b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(points), 2))


def _rank_spread(count: int) -> int:
    """18 times the variance of Kendall's score of so many values, or what so many equal ones take."""
    return count * (count - 1) * (2 * count + 5)


def running_medians(values: Sequence[float], width: int) -> list[float]:
    """The median of every so many numbers in a row; an odd number of them."""
    return [sorted(values[i : i + width])[width // 2] for i in range(len(values) - width + 1)]


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
