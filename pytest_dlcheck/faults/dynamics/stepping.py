"""A schedule of epochs that is stepped per batch, told as a fault. Thresholds: written beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

FALLING = frozenset({"StepLR", "MultiStepLR", "ExponentialLR", "LinearLR", "PolynomialLR"})
"""Schedulers that the documentation steps per epoch."""
_RESTARTING = "CosineAnnealingWarmRestarts"
_ENDING = frozenset({"LinearLR", "PolynomialLR"})
"""Those of them that are told how long they last."""
_PER_BATCH = 0.9
"""Scheduler steps per step (ratio) from which on it is stepped per batch."""
_WAVES = 3
"""Halves of a cosine (count): one half is what it is made for, two may be a restart."""
_SPENT = 0.011
"""Rate after the first pass over its peak (ratio): two tenfold drops, where training goes on for"""
_MORE = 1.5
"""times the first pass (ratio) or longer."""
_FAST = 0.2
"""The same where a step of the schedule is a small part of a pass, so that there are"""
_DROPS = 3
"""drops in one pass (count) or more; chosen. Where so many steps are no epochs that there are, the"""
_GONE = 1e-3
"""rate over its peak (ratio) ends as low: decays of batches end at a hundredth or so; chosen."""
_ROUND, _SLOW = 100, 0.97
"""A factor that is so many hundredths, and no more than this, is one of an epoch: in batches, it is a
tenth after 75 of them."""
_NEARLY_ALL = 0.9
"""Share of the steps (ratio) after the last milestone from which on it has come at the very beginning;
chosen: drops are made for the second half of a training."""
_LATE = 0.5
"""Share of the epochs (ratio) from which on the last of their milestones comes, for the same reason."""


@dataclass(frozen=True)
class _Stepped:
    """A scheduler alone, stepped per batch.

    Attributes:
        name: of its kind.
        horizon: how many steps it is made for; 0 where it does not say.
        steps: of the optimizer.
        length: of them in one pass over the data; 0 where it is not known.
        epochs: passes that the whole training has; None where it was cut short, as a recipe's is.
        factor: by which it falls, or its cycles grow; 0 where it does not say.
        falling: the schedulers that are told to fall too fast.
        remedy: what to do.
    """

    name: str
    horizon: int
    steps: int
    length: int
    epochs: int | None
    factor: float
    falling: frozenset[str]
    remedy: str

    @property
    def waves(self) -> float:
        """Halves of a cosine, or cosines after which it begins anew."""
        returns = self.name == _RESTARTING and self.factor == 1
        swings = (self.name == "CosineAnnealingLR" or returns) and self.horizon > 0
        return self.steps / self.horizon if swings else 0.0

    @property
    def told(self) -> str:
        """What it was told of its length."""
        return f"{'T_0' if self.name == _RESTARTING else 'T_max'}={self.horizon}"

    @property
    def is_short(self) -> bool:
        """Whether several of its steps are made for a pass, or its factor is one of an epoch."""
        if self.name == "StepLR":
            return 0 < _DROPS * self.horizon <= self.length
        is_round = abs(_ROUND * self.factor - round(_ROUND * self.factor)) < 1e-9  # noqa: PLR2004  a float
        return self.name == "ExponentialLR" and is_round and 0 < self.factor <= _SLOW

    @property
    def counts_epochs(self) -> bool:
        """Whether no length in batches is meant: a part of an epoch, or just as many as there were.

        Whole passes may be the cycles of a cosine that is meant to rise again, however many there are.
        """
        is_whole = self.length > 0 and self.horizon % self.length == 0
        if self.name == _RESTARTING:  # it may well restart within a pass, though not after so few steps
            return _DROPS * self.horizon <= self.length and self.horizon <= (self.epochs or 0)
        return self.horizon < self.length or (self.horizon == self.epochs and not is_whole)


def epochs_as_batches(trace: Trace) -> Fault | None:
    """It falls within one pass over the data, or swings up and down."""
    seen = _seen(trace)
    if seen is not None and seen.waves:
        return _swings(seen) if seen.waves >= _WAVES and seen.counts_epochs else None
    return None if seen is None else _falls(seen, trace.series("learning_rate").values)


def _falls(seen: _Stepped, rates: Sequence[float]) -> Fault | None:
    """It falls by much within one pass over the data, and far more is to come."""
    if seen.name not in seen.falling or not 1 < _MORE * seen.length <= len(rates):
        return None
    if seen.falling == _ENDING and not seen.counts_epochs:  # one pass may be all that is planned
        return None
    left = rates[seen.length - 1] / max(*rates[: seen.length], 1e-30)
    spent = _SPENT if 0 < seen.horizon <= (seen.epochs or 0) else _GONE
    is_fast = seen.is_short and left <= _FAST and rates[-1] <= spent * max(rates)
    if left > _SPENT and not is_fast:
        return _spent_at_once(seen, rates)
    least = _SPENT if left <= _SPENT else _FAST
    return _fault(
        f"the learning rate is at {left:.2g} of its peak after the first pass over {seen.length} "
        f"batches (more than {least:g} should be left), and at {rates[-1] / max(rates):.2g} after "
        f"{len(rates)} steps",
        Measure("rate left after the first pass", left, "ratio", least, ">"),
        f"{seen.name} is stepped per batch, though it counts epochs",
        seen.remedy,
    )


def milestones_of_epochs(trace: Trace) -> Iterator[str]:
    """Advice where the last milestone is one of the epochs, and comes among the first batches."""
    seen = _seen(trace)
    if seen is None or seen.name != "MultiStepLR" or not _is_passed_early(seen):
        return
    rates = trace.series("learning_rate").values
    if rates[seen.horizon] < max(rates[: seen.horizon]):
        yield (
            f"the last milestone, {seen.horizon}, comes in the first {seen.horizon / seen.steps:.0%} of "
            f"{seen.steps} steps: do milestones count the {seen.epochs} epochs, and it is stepped per "
            "batch?"
        )


def _spent_at_once(seen: _Stepped, rates: Sequence[float]) -> Fault | None:
    """Drops that count epochs, and are over soon after the first pass."""
    if not _is_passed_early(seen):
        return None
    left = rates[seen.horizon] / max(*rates[: seen.horizon], 1e-30)
    if left > _SPENT:
        return None
    return _fault(
        f"the learning rate is at {left:.2g} of its peak after {seen.horizon} of {len(rates)} steps "
        f"(more than {_SPENT:g} should be left), no more steps than the {seen.epochs} epochs",
        Measure("rate left after the last milestone", left, "ratio", _SPENT, ">"),
        f"{seen.name} is stepped per batch, though it counts epochs",
        seen.remedy,
    )


def _is_passed_early(seen: _Stepped) -> bool:
    """Whether the horizon lies late among the epochs, were it one of them, and nearly all steps follow.

    A pass of one batch is a step, and counts the same.
    """
    epochs = seen.epochs or 0
    counts_epochs = seen.length > 1 and seen.horizon > 0 and _LATE * epochs <= seen.horizon <= epochs
    return counts_epochs and seen.horizon <= (1 - _NEARLY_ALL) * seen.steps


def swinging(trace: Trace) -> Iterator[str]:
    """Advice where a cosine is passed several times, and no epochs explain its length."""
    seen = _seen(trace)
    if seen is None or seen.name == _RESTARTING:  # that one is meant to rise again
        return
    if seen.waves >= _WAVES and not seen.counts_epochs:
        yield (
            f"the learning rate falls and rises again {seen.waves:.1f} times in {seen.steps} steps: "
            f"does T_max={seen.horizon} of CosineAnnealingLR count epochs, and it is stepped per batch?"
        )


def _seen(trace: Trace) -> _Stepped | None:
    return _of_loop(trace) if trace.rows("loop") else _of_recipe(trace)


def _of_loop(trace: Trace) -> _Stepped | None:
    schedule, loop = trace.row("schedule"), trace.row("loop")
    steps, micro_batches = loop.integer("steps"), max(1, loop.integer("micro_batches"))
    length = loop.integer("loader_length") // micro_batches
    name, count = schedule.text("name"), schedule.integer("steps")
    if schedule.integer("schedulers") != 1 or count < _PER_BATCH * steps:
        return None
    if name in {"CosineAnnealingLR", _RESTARTING} and schedule.integer("named"):
        return None
    whole = length > 0 and steps % length == 0 and not loop.flag("was_ended")
    return _Stepped(
        name,
        schedule.integer("horizon"),
        steps,
        length,
        steps // length if whole else None,
        schedule.number("factor") if "factor" in schedule else 0.0,
        FALLING,
        "call scheduler.step() once per epoch, or give it the number of batches",
    )


def _of_recipe(trace: Trace) -> _Stepped | None:
    recipe, taken = trace.row("recipe"), trace.series("learning_rate").steps
    if not recipe.text("schedule") or not recipe.flag("scheduled_per_batch") or not taken:
        return None
    return _Stepped(
        recipe.text("schedule"),
        recipe.integer("schedule_horizon"),
        taken[-1] + 1,
        recipe.integer("batches_per_epoch") // max(1, recipe.integer("accumulate", 1)),
        None,
        0.0,
        _ENDING,
        'set scheduler_interval="epoch", or give the scheduler the number of batches',
    )


def _swings(seen: _Stepped) -> Fault:
    of_epochs = (
        f"is as many as there are epochs of {seen.length} batches"
        if seen.horizon == seen.epochs
        else f"is shorter than a pass over {seen.length} batches"
    )
    return _fault(
        f"the learning rate falls and rises again {seen.waves:.1f} times in {seen.steps} steps (fewer "
        f"than {_WAVES} may): {seen.told} {of_epochs}",
        Measure("halves of the cosine", seen.waves, "count", _WAVES, "<"),
        f"{seen.name}({seen.told}) is stepped per batch, though it counts epochs",
        seen.remedy,
    )


def _fault(story: str, measure: Measure, cause: str, remedy: str) -> Fault:
    return Fault(
        because=story,
        measures=(measure,),
        suspects=(Suspect("scheduler", "is through its schedule within one epoch"),),
        cause=cause,
        remedy=remedy,
    )
