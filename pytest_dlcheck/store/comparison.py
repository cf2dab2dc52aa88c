"""Two sets of runs side by side, measure by measure: a ratio or a difference, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from pytest_dlcheck.statistics import CONFIDENCE
from pytest_dlcheck.store.records import Point, Series

_NO_DIMENSION = frozenset({"", "ratio", "count"})


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure, before and after.

    Attributes:
        series: what was measured, and where.
        before, after: the means, in its unit; geometric ones where ``is_ratio``.
        is_ratio: whether ``estimate`` is after / before, not after - before.
        estimate: how they compare; NaN where that cannot be said.
        low, high: the limits of its interval; NaN where there are too few measurements for one.
        basis: what the interval stands on, in words.
    """

    series: Series
    before: float
    after: float
    is_ratio: bool
    estimate: float
    low: float
    high: float
    basis: str


def compared(
    before: Mapping[Series, Sequence[Point]], after: Mapping[Series, Sequence[Point]]
) -> tuple[tuple[Compared, ...], tuple[str, ...]]:
    """Compare what was measured on both sides.

    Args:
        before: the points of the earlier runs.
        after: those of the later ones.

    Returns:
        The comparisons, and what could not be compared, a line each.
    """
    places = {_key(series): series for series in before}
    pairs, left_out = [], []
    for series, points in after.items():
        known = next(
            (one for one in before if _key(one) == _key(series) and _same_machine(one, series)), None
        )
        name = f"{series.short} {series.measure}"
        if known is not None:
            pairs.append(_pair(series, before[known], points))
        elif _key(series) in places:
            other = places[_key(series)].machine.differs(series.machine)
            left_out.append(f"{name}: measured on machines of different kinds ({other})")
        else:
            left_out.append(f"{name}: measured on the second side only")
    ours = {_key(series) for series in after}
    left_out += [
        f"{one.short} {one.measure}: measured on the first side only"
        for one in before
        if _key(one) not in ours
    ]
    return tuple(pairs), tuple(left_out)


def _key(series: Series) -> tuple[str, str, str, str]:
    return series.recipe, series.check, series.measure, series.unit


def _same_machine(one: Series, other: Series) -> bool:
    return one.machine.key == other.machine.key


def _pair(series: Series, before: Sequence[Point], after: Sequence[Point]) -> Compared:
    a, b, basis = _units(before, after)
    is_ratio = series.unit not in _NO_DIMENSION and all(value > 0 for value in (*a, *b))
    if is_ratio:
        a, b = [math.log(value) for value in a], [math.log(value) for value in b]
    estimate, low, high = _welch(a, b)
    back = math.exp if is_ratio else float
    means = (back(fmean(a)), back(fmean(b)))
    return Compared(series, *means, is_ratio, back(estimate), back(low), back(high), basis)


def _units(before: Sequence[Point], after: Sequence[Point]) -> tuple[list[float], list[float], str]:
    """What counts as one measurement: a run where there are several on both sides, else its samples."""
    a, b = ([point.measure.value for point in points] for points in (before, after))
    if min(len(a), len(b)) > 1:
        return a, b, f"{len(a)} and {len(b)} runs"
    inner = [
        [sample for point in points for sample in point.measure.samples] for points in (before, after)
    ]
    if min(map(len, inner)) > 1:
        return *inner, f"{len(inner[0])} and {len(inner[1])} samples of single runs"  # type: ignore[return-value]
    return a, b, "single measurements: no interval"


def _welch(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """The difference of two means with its interval, the variances being unlike.

    Source: Welch, "The generalization of Student's problem when several different population variances
    are involved", Biometrika 34, 1947.
    """
    difference = fmean(b) - fmean(a)
    if min(len(a), len(b)) < 2 or not math.isfinite(difference):  # noqa: PLR2004
        return difference, math.nan, math.nan
    parts = [variance(side) / len(side) for side in (a, b)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return difference, difference, difference
    from scipy import stats

    weights = [part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True)]
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, error**4 / sum(weights))) * error
    return difference, difference - reach, difference + reach
