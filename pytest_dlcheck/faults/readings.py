"""Quantities that several checks read off a trace. No judgement: thresholds are the checks' own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from pytest_dlcheck.statistics import Interval, blocks, mean_interval, trend
from pytest_dlcheck.trace import Trace

FEWEST = 10
"""Losses below which no trend is read."""
EARLY = 8
"""Recorded steps that tell how large the steps are."""
RECENT = 5
"""Losses that the end of a training is averaged over."""
TENFOLD = math.log(10)
"""A rise that no falling stream makes up for, in logarithms."""
TELLING = 0.01
"""Share of the way from the first loss to the floor below which one output serves all samples."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How far an ``overfit`` trial came.

    Attributes:
        first: the first loss, in the loss's unit, as all losses here.
        recent: the loss at the end, averaged over a few steps.
        start: where progress is counted from: the loss of one output for all samples, where known.
        floor: the least loss that outputs could reach.
        progress: the share of the way from ``start`` to ``floor`` that was covered (ratio).
        gained: the progress made over the second half of the steps (ratio).
        noise: the noise of the objective at fixed weights (ratio of the way).
        tells: whether the batch holds anything that inputs could tell apart.
        from_guessing: whether ``start`` is what one output for all samples costs; else it is where a
            model happened to begin, which may be far above.
    """

    first: float
    recent: float
    start: float
    floor: float
    progress: float
    gained: Interval
    noise: float
    tells: bool
    from_guessing: bool

    def why_not_by_heart(self, enough: float, training: Trace) -> str:
        """Why the batch was not learned, or only what any sample is like; empty where it was.

        Args:
            enough: share of the way that is asked (ratio).
            training: one on the whole data, which learned that much, of the same loss.
        """
        if not self.tells:
            return "one output serves the samples of a small batch as well as any"
        if not self.progress >= enough:
            covered = f"{max(self.progress, 0.0):.2g} of its way, {enough:g} is asked"
            return f"a small batch is not learned by heart either ({covered})"
        everywhere = fmean(training.series("loss").values[-RECENT:])
        if self.from_guessing or not self.recent - self.floor > (1 - enough) * (everywhere - self.floor):
            return ""
        return (
            f"a small batch is hardly learned better than all the data: its loss ends with "
            f"{self.recent:.3g}, that of the training with {everywhere:.3g}"
        )

    def learns(self, enough: float, asked: float) -> bool:
        """Whether it has covered ``enough`` of its way, or surely gained ``asked`` of it lately."""
        falls = self.gained.low > 0 and self.gained.estimate >= asked
        return self.tells and (self.progress >= enough or falls)

    @property
    def rises(self) -> bool:
        """Whether the loss ended clearly above where it began."""
        return self.recent > self.first + 0.1 * abs(self.first)

    @classmethod
    def of(cls, trace: Trace) -> Fit | None:
        """What the trace shows; None where it has too few losses, or some that are not finite."""
        losses, steps = trace.series("loss").values, trace.row("steps")
        floor, uninformed = steps.number("loss_floor"), steps.number("uninformed_loss")
        if len(losses) < RECENT or not all(map(math.isfinite, losses)):
            return None
        recent = fmean(losses[-RECENT:])
        tells = uninformed - floor > TELLING * (losses[0] - floor)
        start = uninformed if tells else losses[0]
        # A loss below its supposed floor has none (a log density): it is measured by itself.
        way = start - floor if start > floor else max(abs(start), 1e-12)
        return cls(
            first=losses[0],
            recent=recent,
            start=start,
            floor=floor,
            progress=(start - recent) / way,
            gained=-trend(losses[len(losses) // 2 :]) / way,
            noise=steps.number("loss_noise") / way,
            tells=tells or math.isnan(uninformed),
            from_guessing=tells,
        )


def update_ratio(trace: Trace, first: int = EARLY) -> float:
    """How far a step moves the weights, relative to their size: the median over early steps.

    All parameters are taken together, so that those that start at zero do not count. Later steps
    would hide a learning rate that has blown the weights up.

    Args:
        trace: what was recorded.
        first: how many recorded steps.

    Returns:
        The ratio; NaN where it was not recorded.
    """
    updates, weights = trace.matrix("update_norm"), trace.matrix("parameter_norm")
    ratios = []
    for moves, sizes in zip(updates.values, weights.values, strict=False):
        size = math.hypot(*(w for w in sizes if w is not None))
        if size > 0:
            ratios.append(math.hypot(*(u for u in moves if u is not None)) / size)
    finite = [ratio for ratio in ratios if math.isfinite(ratio)]
    return median(finite[:first]) if finite else math.nan


def heaviest_decay(trace: Trace) -> float:
    """The largest weight decay of any parameter; 0 where none is known."""
    decays = (row.number("weight_decay") for row in trace.rows("parameters"))
    return max((decay for decay in decays if math.isfinite(decay)), default=0.0)


ENDS = 8
"""Losses at each end of a stream that stand for fixed batches where there are none."""


@dataclass(frozen=True, slots=True)
class Fall:
    """How far the loss fell over a ``train`` trial.

    Attributes:
        before: the mean loss on the fixed batches before the first step, in the loss's unit.
        after: the same after the last step.
        what: on what: fixed batches, or the ends of the stream.
        drop: from before to after, paired by batch (ratio of the loss before, or of the largest
            loss where any is below zero); exact where there is one batch only.
        surge: how far it rose, in logarithms, paired by batch; unknown where any is below zero.
        stream: the drop that the trend of the stream of losses shows (ratio of the same).
        noisy: whether the loss has no known floor and noise, so that standing still proves nothing.
        endless: whether it falls below zero, ever faster.
    """

    before: float
    after: float
    what: str
    drop: Interval
    surge: Interval
    stream: Interval
    noisy: bool
    endless: bool

    def why_hidden(self, asked: float, rise: float) -> str:
        """How a drop as large as asked may be hidden; empty where the loss surely rose or stood."""
        # Losses that fall from a peak of their own making may still be far above where they began.
        rises = self.surge.low > (TENFOLD if self.stream.low > 0 else rise)
        if not rises and self.drop.high >= asked:
            return "noise hides the rest"
        if rises or not self.stream.low > 0:
            return ""
        return "it falls since it had risen" if self.drop.high < 0 else "step by step it falls somewhat"

    @classmethod
    def of(cls, trace: Trace) -> Fall | None:
        """What the trace shows; None where it has too few losses, or some that are not finite."""
        fixed, losses = trace.matrix("fixed_loss"), trace.series("loss").values
        before, after = ([v for v in row if v is not None] for row in fixed.values or ((), ()))
        if trace.trial.kind == "watch":  # the loop is not ours: nothing was evaluated beside it
            few = min(ENDS, len(losses) // 4)
            before, after = list(losses[:few]), list(losses[len(losses) - few :])
        every = (*before, *after, *losses)
        if len(before) != len(after) or not before or not all(map(math.isfinite, every)):
            return None
        unit = median(before) if min(every) >= 0 else max(map(abs, every))
        if len(losses) < FEWEST or not unit > 0:
            return None
        drops = [(a - b) / unit for a, b in zip(before, after, strict=True)]
        drop = mean_interval(drops)
        early, middle, late = blocks(losses, 3)
        return cls(
            before=fmean(before),
            after=fmean(after),
            what=f"{len(drops)} fixed batches"
            if len(fixed)
            else f"the {len(drops)} first and last steps",
            drop=drop if len(drops) > 1 else Interval(drops[0], drops[0], drops[0]),
            surge=_log_rise(before, after),
            stream=-trend(losses) / unit,
            noisy=min(every) < 0 and drop.low != drop.high,
            endless=late < 0 and middle - late > 1.5 * abs(early - middle),
        )


def _log_rise(before: Sequence[float], after: Sequence[float]) -> Interval:
    """How far losses rose from before to after, in logarithms: a few that explode hide no others."""
    if len(before) <= 1 or min(*before, *after) <= 0:
        return Interval(math.nan, -math.inf, math.inf)
    return mean_interval([math.log(b / a) for a, b in zip(before, after, strict=True)])
