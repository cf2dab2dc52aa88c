"""The limits of a metric's mean over seeds, with both of its noises: of seeds, and of examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, variance

from pytest_dlcheck.statistics import Interval

Distances = Callable[[float, float], tuple[float, float]]
"""``(estimate, level)`` to how far below and above it the true value may lie, one-sided, by examples."""


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """What is taken for the noise between seeds until enough of them were measured.

    Attributes:
        deviation: standard deviation, in the metric's unit.
        weight: degrees of freedom that it counts as, beside those of the seeds.
    """

    deviation: float
    weight: int

    def error(self, values: Sequence[float]) -> tuple[float, int]:
        """The standard error of the mean of measured values, and its degrees of freedom.

        The variance is the mean of the assumed and the measured one, weighted by their degrees of
        freedom (a moderated t, Smyth 2004): one seed alone can be judged, and many speak for
        themselves.
        """
        measured = len(values) - 1
        total = self.weight * self.deviation**2
        total += measured * (variance(values) if measured else 0.0)
        freedom = self.weight + measured
        return math.sqrt(total / freedom / len(values)) if freedom else math.inf, freedom


def limits(values: Sequence[float], level: float, seeds: SeedNoise, examples: Distances) -> Interval:
    """The mean over seeds, with one-sided limits that each err with probability ``level``.

    All seeds are measured on the same examples, so that averaging seeds leaves the noise of examples as
    it is: the two distances, of seeds and of examples, are added as squares (Zou and Donner 2008).

    Args:
        values: one per seed.
        level: the error of each limit.
        seeds: what is taken for the noise between seeds at first.
        examples: how far the noise of examples reaches.
    """
    mean = fmean(values)
    error, freedom = seeds.error(values)
    half = t_quantile(level, freedom) * error
    below, above = examples(mean, level)
    return Interval(mean, mean - math.hypot(half, below), mean + math.hypot(half, above))


def answers(effective: float) -> Distances:
    """The noise of a share of so many independent answers, by the limits of Wilson (1927)."""

    def distances(estimate: float, level: float) -> tuple[float, float]:
        if not effective > 0 or math.isnan(estimate):
            return math.inf, math.inf
        share, z = min(1.0, max(0.0, estimate)), t_quantile(level, 0)
        shrink = 1 + z * z / effective
        middle = (share + z * z / (2 * effective)) / shrink
        half = z / shrink * math.sqrt(share * (1 - share) / effective + (z / (2 * effective)) ** 2)
        return max(0.0, share - middle + half), max(0.0, middle + half - share)

    return distances


def batches(error: float, points: int) -> Distances:
    """The noise of a mean over batches; none where its standard error is not known."""

    def distances(estimate: float, level: float) -> tuple[float, float]:
        del estimate
        if math.isnan(error) or points < 2:  # noqa: PLR2004  one batch tells nothing about noise
            return 0.0, 0.0
        half = t_quantile(level, points - 1) * error
        return half, half

    return distances


def nothing(estimate: float, level: float) -> tuple[float, float]:
    """No noise of examples: the claim is about these very ones."""
    del estimate, level
    return 0.0, 0.0


@cache
def t_quantile(level: float, freedom: int) -> float:
    """The upper quantile of Student's t; of the normal distribution where ``freedom`` is 0."""
    if freedom <= 0:
        from scipy.special import ndtri

        return float(ndtri(1 - level))
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - level))


def sign_test(worse: int, better: int) -> float:
    """How likely so many examples, or more, get worse and not better by chance: exactly, one-sided.

    For one pair of models this is McNemar's exact test on the examples that they do not agree in.
    """
    from scipy.special import bdtr

    return float(bdtr(better, worse + better, 0.5)) if worse + better else 1.0
