"""What trainings at other learning rates came to, and what follows for the recipe's own rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.statistics import Interval, mean_interval
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

_BROKEN = Interval(-math.inf, -math.inf, -math.inf)


@dataclass(frozen=True, slots=True)
class Run:
    """One short training.

    Attributes:
        scale: its learning rate over the recipe's (ratio).
        rate: its learning rate, the largest over steps and parameter groups.
        drop: how far the loss on fixed batches fell (ratio of the loss before); -inf where it
            stopped being finite.
        drops: the same, batch by batch.
        steps: how many steps it made.
    """

    scale: float
    rate: float
    drop: Interval
    drops: tuple[float, ...]
    steps: int

    @classmethod
    def of(cls, trace: Trace) -> Run | None:
        """What the trace shows; None where it does not show it."""
        losses, rates = trace.series("loss").values, trace.series("learning_rate").values
        scale = trace.trial.learning_rate_scale
        rate = max(rates, default=math.nan) * scale
        before, after = ([v for v in row if v is not None] for row in _ends(trace))
        if not all(map(math.isfinite, before)):
            return None
        broken = not all(map(math.isfinite, (*losses, *after)))
        if broken and trace.ending.kind in {"diverged", "completed"}:
            return cls(scale, rate, _BROKEN, (-math.inf,) * len(before), len(losses))
        if trace.ending.kind != "completed" or not before or len(before) != len(after):
            return None
        unit = median(before) if min(*before, *after, *losses) >= 0 else max(map(abs, before + after))
        if not unit > 0:
            return None
        drops = tuple((a - b) / unit for a, b in zip(before, after, strict=True))
        alone = Interval(drops[0], drops[0], drops[0])
        return cls(scale, rate, mean_interval(drops) if len(drops) > 1 else alone, drops, len(losses))

    def falls(self, least: float) -> bool:
        """Whether its loss surely falls, by at least that much (ratio)."""
        return self.drop.estimate >= least and self.drop.low > 0

    def is_behind(self, other: Run) -> bool:
        """Whether the other falls further on every batch."""
        return all(theirs > mine for theirs, mine in zip(other.drops, self.drops, strict=False))


def _ends(trace: Trace) -> tuple[Iterable[float | None], Iterable[float | None]]:
    rows = trace.matrix("fixed_loss").values
    return (rows[0], rows[-1]) if len(rows) > 1 else ((), ())


def too_high(own: Run, best: Run, tried: int, least: float) -> Fault:
    """The recipe's training breaks, rises or stands still; at a lower rate the loss falls."""
    drop = own.drop.estimate
    what = f"rises by {-drop:.1%}" if drop < 0 else f"falls by {drop:.1%}"
    what = "stops being finite" if math.isinf(drop) else what
    return Fault(
        f"at lr={own.rate:.1e} the loss {what} in {own.steps} steps (at least {least:.1%}); at "
        f"{best.rate:.1e}, the best of {tried} tried, it falls by {best.drop.estimate:.0%}",
        measures=_measures(own, best, least),
        suspects=[Suspect("optimizer", f"lr={own.rate:.1e}", f"try lr={best.rate:.1e}")],
        cause=f"the learning rate ({own.rate:.1e}) is about {1 / best.scale:,.0f} times too high",
        remedy=f"use a learning rate of about {best.rate:.1e}",
    )


def too_low(own: Run, best: Run, tried: int, least: float) -> Fault:
    """The recipe's training makes no progress; at a far higher rate it does."""
    return Fault(
        f"at lr={own.rate:.1e} the loss falls by {own.drop.estimate:.2%} in {own.steps} steps (at least "
        f"{least:.1%}); at {best.rate:.1e}, the best of {tried} tried, by {best.drop.estimate:.0%}",
        measures=_measures(own, best, least),
        suspects=[Suspect("optimizer", f"lr={own.rate:.1e}", f"try lr={best.rate:.1e}")],
        cause=f"the learning rate ({own.rate:.1e}) is about {best.scale:,.0f} times too low",
        remedy=f"use a learning rate of about {best.rate:.1e}",
    )


def _measures(own: Run, best: Run, least: float) -> tuple[Measure, ...]:
    dropped = () if math.isinf(own.drop.estimate) else (own.drop.estimate,)
    return (
        *(Measure("fall of the loss", drop, "ratio", least, ">=") for drop in dropped),
        Measure("fall of the loss at the best rate", best.drop.estimate, "ratio", least, ">="),
        Measure("best learning rate", best.rate, ""),
    )


def runs_of(traces: Iterable[Trace]) -> list[Run]:
    """The runs that show something, by their learning rates."""
    found = map(Run.of, traces)
    return sorted((run for run in found if run is not None), key=lambda run: run.scale)


def next_scales(runs: list[Run], tried: tuple[float, ...]) -> tuple[float, ...]:
    """Where to look next: beside the best, or beyond the range where the best lies at its rim."""
    if not runs:
        return ()
    best = max(runs, key=lambda run: run.drop.estimate)
    if best.scale == tried[0] or best.drop.estimate <= 0:
        return tried[0] / 10, tried[0] / 100
    if best.scale == tried[-1]:
        return tried[-1] * 10, tried[-1] * 100
    return best.scale / math.sqrt(10), best.scale * math.sqrt(10)


def told(own: Run, best: Run, tried: int, clear: float) -> tuple[str, tuple[Measure, ...]]:
    """What the recipe's rate and the best one came to, and its numbers."""
    story = (
        f"at lr={own.rate:.1e} the loss falls by {own.drop.estimate:.0%} in {own.steps} steps, at the "
        f"best of {tried} tried, {best.rate:.1e}, by {best.drop.estimate:.0%} (at least {clear:.0%})"
    )
    return story, (
        Measure("fall of the loss", own.drop.estimate, "ratio"),
        Measure("fall of the loss at the best rate", best.drop.estimate, "ratio", clear, ">="),
        Measure("best learning rate", best.rate, ""),
    )


def better(own: Run, best: Run, runs: list[Run], behind: float) -> Iterable[str]:
    """Advice where the recipe's rate reaches less than that share (ratio) of what the best does."""
    good = [run.rate for run in runs if run.drop.estimate >= best.drop.estimate / 2]
    if own.drop.estimate < behind * best.drop.estimate:
        yield (
            f"lr={own.rate:.1e} is behind: from {min(good):.1e} to {max(good):.1e} the loss falls by "
            f"{best.drop.estimate / 2:.0%} or more in as many steps"
        )
