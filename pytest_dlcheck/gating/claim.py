"""One metric with all that its rulings need to know: values, noises, margin, words. Nothing is ruled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_dlcheck.gating.noise import Distances, SeedNoise, answers, batches, limits
from pytest_dlcheck.gating.readings import Reading
from pytest_dlcheck.gating.spending import Look
from pytest_dlcheck.statistics import Interval

_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is taken for the noise between seeds before there are many.

    Attributes:
        samples: for a share, as much as so many examples drawn anew would make.
        ratio: for any other metric, this part of its value.
        weight: degrees of freedom that it counts as.
    """

    samples: int
    ratio: float
    weight: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One metric, measured with some seeds.

    Attributes:
        metric: its name.
        is_share: whether it is a share of right answers.
        readings: one per seed, of the code at hand.
        margin: how much worse does not matter, in the metric's unit.
        sense: ``">="`` where more is better, ``"<="`` where less is.
        look: which look this is.
        assumed: the noise between seeds at first.
    """

    metric: str
    is_share: bool
    readings: Sequence[Reading]
    margin: float
    sense: str
    look: Look
    assumed: Assumed

    @property
    def values(self) -> tuple[float, ...]:
        """One per seed, in the metric's unit."""
        return tuple(reading.value for reading in self.readings)

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)

    @property
    def unit(self) -> str:
        """Of values and margin, as measures tell it; a metric's own is not known."""
        return "ratio" if self.is_share else ""

    @property
    def sign(self) -> int:
        """1 where more is better."""
        return 1 if self.sense == ">=" else -1

    def examples(self, times: float = 1.0) -> Distances:
        """The noise of the examples, or of so many times as many."""
        reading = self.readings[0]
        if self.is_share:
            return answers(times * min(one.effective for one in self.readings))
        return batches(reading.error / math.sqrt(times), max(2, round(times * reading.points)))

    def seeds(self) -> SeedNoise:
        """The noise between seeds."""
        if self.is_share:
            count = self.assumed.samples
            share = (self.mean * count + 1) / (count + 2)  # all right in so many says not all in all
            return SeedNoise(math.sqrt(max(0.0, share * (1 - share)) / count), self.assumed.weight)
        return SeedNoise(self.assumed.ratio * abs(self.mean), self.assumed.weight)

    def interval(self, level: float) -> Interval:
        """The mean with limits that each err with probability ``level``."""
        found = limits(self.values, level, self.seeds(), self.examples())
        if not self.is_share:
            return found
        return Interval(found.estimate, max(0.0, found.low), min(1.0, found.high))

    def amount(self, number: float) -> str:
        """A difference in words."""
        if not self.is_share:
            return f"{number:.3g}"
        points = f"{_PERCENT * number:.3g}"
        return f"{points} point{'' if points == '1' else 's'}"

    def measured(self, interval: Interval) -> str:
        """What was measured, in words: ``accuracy 0.9722 [0.951, 0.985] (1 seed, 360 samples)``."""
        count = len(self.readings)
        seeds = f"{count} seed{'s' if count > 1 else ''}"
        samples = f"{self.readings[0].samples:,} samples"
        limits = f"[{interval.low:.4g}, {interval.high:.4g}]"
        return f"{self.metric} {interval.estimate:.4g} {limits} ({seeds}, {samples})"
