"""A schedule of batches that is stepped per epoch, told as a fault. Thresholds: written beside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row, Trace
from pytest_dlcheck.verdict import Measure, Suspect

PER_BATCH = frozenset({"OneCycleLR"})
"""Schedulers that the documentation steps after every batch."""
_RARE = 4
"""Steps of the optimizer per step of the scheduler (ratio) from which on that comes once per epoch, and
times that its schedule must be longer than what it was stepped."""
_CLOSE = 1
"""Steps (count) by which the length of a schedule may miss the number of batches: off by one."""
_SEVERAL = 2
"""Epochs (count) from which on a length that equals the number of batches is no chance."""
_GONE = 1e-4
"""Share of the rate that was set (ratio) at which nothing is learned."""
_FAR = 0.1
"""Share of the rate that was set (ratio) below which a warm-up has hardly begun."""
_FACTOR = 0.5
"""Initial rate from which on its square is no rate that nobody wants."""
_EPOCHS = 2
"""Times that all of the largest loader was trained on (count): what comes once per epoch has come."""
_SAME = 1e-9
"""How far a float's square may be off (ratio)."""
_REMEDY = "call scheduler.step() after each optimizer.step(), or give it the number of epochs"


def batches_as_epochs(trace: Trace) -> Fault | None:
    """Its length is the number of batches, and it takes a step per epoch."""
    if not _is_made_for_batches(trace) or _may_be_chance(trace):
        return None
    schedule, steps = trace.row("schedule"), trace.row("loop").integer("steps")
    name, count, horizon = schedule.text("name"), schedule.integer("steps"), schedule.integer("horizon")
    return Fault(
        because=(
            f"{name} took {count} of the {horizon} steps that it is made for, while the optimizer took "
            f"{steps} (about as many are expected)"
        ),
        measures=(Measure("steps of the scheduler", count, "count", horizon / _RARE, ">="),),
        suspects=(Suspect("scheduler", f"stepped once in {steps / count:.0f} steps of the optimizer"),),
        cause="a schedule made for batches is stepped per epoch: the learning rate stays where it began",
        remedy=_REMEDY,
    )


def rates_as_factors(trace: Trace) -> Fault | None:
    """What LambdaLR's function returns is multiplied by the rate: its square is then the largest one."""
    rates, groups = trace.series("learning_rate").values, trace.rows("optimizer_groups")
    initial = max((row.number("initial_lr") for row in groups if "initial_lr" in row), default=0.0)
    peak = max(rates)
    squared = 0 < initial < _FACTOR and abs(peak - initial**2) <= _SAME * initial**2
    schedule = trace.row("schedule")
    since = schedule.integer("steps") * (1 - rates.index(peak) / len(rates))  # a warm-up goes on
    if schedule.text("name") != "LambdaLR" or not squared or since < _SEVERAL + 1:
        return None
    return Fault(
        because=(
            f"the largest learning rate of {len(rates)} steps is {peak:.3g}, exactly the square of the "
            f"{initial:.3g} that the optimizer was given"
        ),
        measures=(Measure("largest learning rate over the one given", peak / initial, "ratio", 1.0),),
        suspects=(Suspect("LambdaLR", f"multiplies {initial:.3g} by {peak / initial:.3g}"),),
        cause="the function of LambdaLR returns a learning rate where a factor of it is expected",
        remedy="divide by the initial rate, or build the optimizer with lr=1.0",
    )


def of_another_optimizer(trace: Trace, several: int) -> Fault | None:
    """The scheduler sets the rate of an optimizer that steps no more."""
    loop = trace.row("loop")
    count = loop.integer("misdirected_schedule_steps")
    if count < several:
        return None
    return Fault(
        because=(
            f"a scheduler took {count} steps for an optimizer that does not step, while another one "
            f"steps the same parameters (fewer than {several} are tolerated)"
        ),
        measures=(Measure("steps for another optimizer", count, "count", several, "<"),),
        suspects=(Suspect("scheduler", "holds another optimizer than the one that steps"),),
        cause="the optimizer was built anew and the scheduler was not: the rate that steps is never set",
        remedy="build the optimizer once, or a new scheduler with each new optimizer",
    )


def begins_with_nothing(trace: Trace, share: float) -> Fault | None:
    """The first epochs, more than this share of the steps, are made at no rate at all."""
    rates, goal = trace.series("learning_rate").values, _goal(trace)
    count = len(list(takewhile(lambda rate: rate <= _GONE * goal, rates)))
    if not _is_stepped_rarely(trace) or goal <= 0 or count <= share * len(rates):
        return None
    part = count / len(rates)
    return Fault(
        because=(
            f"the first {count} of {len(rates)} steps ({part:.0%}, at most {share:.0%}) ran below "
            f"{_GONE:g} of the learning rate {goal:.3g}"
        ),
        measures=(Measure("steps before the warm-up has begun", part, "ratio", share),),
        suspects=(Suspect("scheduler", f"at {max(rates[:count]):.2g} for whole epochs"),),
        cause="the warm-up begins at 0 and is stepped per epoch: whole epochs change nothing",
        remedy=_REMEDY,
    )


def pacing_advice(trace: Trace) -> Iterator[str]:
    """What may be a training that is cut short, or a schedule made for something else."""
    schedule, loop = trace.row("schedule"), trace.row("loop")
    name, horizon = schedule.text("name"), schedule.integer("horizon")
    count, rates, goal = schedule.integer("steps"), trace.series("learning_rate").values, _goal(trace)
    idle, steps, length = schedule.text("unstepped"), len(rates), loop.integer("loader_length")
    if idle and length and steps >= _EPOCHS * length and len(set(rates)) == 1:
        yield (
            f"{idle} was built for the optimizer and never stepped, in {steps // length} epochs: call "
            "scheduler.step(), or leave it out"
        )
    if _is_made_for_batches(trace):
        yield (
            f"{name} is made for {horizon} steps, as many as there are batches, and took {count}: is it "
            "to be stepped per batch?"
        )
    elif _is_stepped_rarely(trace) and rates and rates[0] < rates[-1] == max(rates) < _FAR * goal:
        yield (
            f"after {count} epochs and {loop.integer('steps')} steps the warm-up has come to "
            f"{rates[-1] / goal:.2g} of the learning rate: is it to be stepped per batch?"
        )


def _is_made_for_batches(trace: Trace) -> bool:
    schedule, loop = trace.row("schedule"), trace.row("loop")
    horizon, count = schedule.integer("horizon"), schedule.integer("steps")
    length = loop.integer("loader_length")
    if not _is_stepped_rarely(trace) or horizon < _RARE * count:
        return False
    run = {loop.integer("steps"), count * length}
    planned = schedule.text("name") in PER_BATCH and length >= _RARE and horizon % length == 0
    return planned or any(abs(horizon - batches) <= _CLOSE for batches in run)


def _may_be_chance(trace: Trace) -> bool:
    """Whether the loop was ended early, after some number of steps, or is a single epoch."""
    schedule, loop = trace.row("schedule"), trace.row("loop")
    horizon, count = schedule.integer("horizon"), schedule.integer("steps")
    run = {loop.integer("steps"), count * loop.integer("loader_length")}
    if loop.flag("was_ended") or trace.row("recipe").flag("own_loop"):
        return True
    fits = any(abs(horizon - batches) <= _CLOSE for batches in run)
    return not fits or (count < _SEVERAL and schedule.text("name") not in PER_BATCH)


def _is_stepped_rarely(trace: Trace) -> bool:
    """Whether it is stepped about once per pass over the data."""
    schedule, loop = trace.row("schedule"), trace.row("loop")
    count, passes = schedule.integer("steps"), loop.integer("loader_passes")
    seldom = 0 < _RARE * count <= loop.integer("steps")
    return seldom and (not passes or count <= passes)


def _goal(trace: Trace) -> float:
    """The largest rate that the optimizer's groups are set to."""
    rows: tuple[Row, ...] = tuple(trace.rows("optimizer_groups"))
    found = [row.number(key) for row in rows for key in ("initial_lr", "max_lr") if key in row]
    return max(found, default=0.0)
