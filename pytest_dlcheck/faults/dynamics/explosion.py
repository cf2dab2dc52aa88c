"""How far a loss rises above its beginning, and what makes that an explosion. Bounds are others'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from pytest_dlcheck.faults.dynamics.breakage import LARGE_UPDATE, rise_of, rises
from pytest_dlcheck.faults.readings import update_ratio
from pytest_dlcheck.statistics import running_medians
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure


@dataclass(frozen=True)
class Rise:
    """The rise of finite losses.

    Attributes:
        count: of the losses.
        first: the first of them.
        end: the median of the last fifth.
        peak: the largest, but for single ones.
        growth: the peak against the first (ratio), or against what is usual.
        unit: which of the two, in words.
        slack: how far above the first, which may be near zero by chance, it may end.
        updates: update per weight and step.
        bound: the growth that is called an explosion (ratio).
        steep: whether it is one that a lower learning rate would help.
    """

    count: int
    first: float
    end: float
    peak: float
    growth: float
    unit: str
    slack: float
    updates: float
    bound: float
    steep: bool

    @classmethod
    def of(cls, trace: Trace, bound: float) -> Rise:
        """What the trace shows, which has losses, all of them finite."""
        losses = trace.series("loss").values
        smooth = running_medians(losses, 3)
        return cls(
            count=len(losses),
            first=losses[0],
            end=median(losses[-len(losses) // 5 :]),
            peak=(peak := max(smooth)),
            growth=(rise := rise_of(losses, peak))[0],
            unit=rise[1],
            slack=rise[2],
            updates=update_ratio(trace),
            bound=bound,
            steep=rises(trace, smooth, bound),
        )

    @property
    def lasts(self) -> bool:
        """Whether it ends no lower than it began, or had risen that far twice over.

        Where losses reach zero, it must end above that by what is usual: an objective of both signs, as
        a critic's, begins near zero by chance.
        """
        return self.end >= self.first + self.slack or self.growth >= self.bound**2

    @property
    def is_explosion(self) -> bool:
        """Whether it is as far, stays, and comes of steps as large as the weights."""
        return self.growth >= self.bound and self.lasts and self.updates >= LARGE_UPDATE

    @property
    def is_undecided(self) -> bool:
        """Whether it is as far, and stays, and how large the steps were was not recorded."""
        return self.growth >= self.bound and self.lasts and math.isnan(self.updates)

    @property
    def excuse(self) -> str:
        """Why a rise as far as the bound is no explosion; empty where it is, or is none so far."""
        if self.is_explosion or not self.growth >= self.bound:
            return ""
        if not self.lasts:
            return "the loss ends near its first" if self.slack else "the loss ends below its first"
        if math.isnan(self.updates):
            return "how large the updates are is not known"
        return f"a step moves the weights by {self.updates:.2g}, {LARGE_UPDATE:g} or more would be large"

    @property
    def story(self) -> str:
        """How the losses went, and what was asked of them."""
        asked = f"at most {self.bound:g} while updates are large"
        return (
            f"{self.count} finite losses, from {self.first:.4g} over at most {self.peak:.4g} to "
            f"{self.end:.4g}: {self.growth:.3g} times {self.unit} ({self.excuse or asked})"
        )

    @property
    def measure(self) -> Measure:
        """What decides: the growth, or what excuses it."""
        if not self.excuse:
            return Measure("growth of the loss", self.growth, "ratio", self.bound)
        if not self.lasts:
            return Measure("loss at the end", self.end, "", self.first + self.slack)
        return Measure("update over weight", self.updates, "ratio", LARGE_UPDATE)
