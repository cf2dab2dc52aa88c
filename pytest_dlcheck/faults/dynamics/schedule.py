"""Schedules that take the learning rate away, or never let it arrive. Thresholds: written beside."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_dlcheck.faults.dynamics.stepping import epochs_as_batches, swinging
from pytest_dlcheck.faults.dynamics.steps import progress
from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Trace
from pytest_dlcheck.verdict import Measure, Suspect

GONE = 1e-8
"""Rate over its peak from which on a step changes no float32 weight any more (ratio)."""
FAINT = 1e-3
"""Rate over its peak below which little happens: three of the usual tenfold drops (ratio)."""
_SPENT = 0.2
"""Share of the steps at such rates from which on it is told (ratio); a schedule's last steps are not."""
_NEARLY_ALL = 0.9
_NOTHING = 0.05
"""Share of the steps at a rate of 0, and of the loss that is covered meanwhile, that fail (ratio)."""
_EPOCHWISE = (
    'a schedule of epochs is stepped once a step: scheduler_interval="epoch", or a longer schedule'
)


def misfits(trace: Trace) -> Fault | None:
    """A recipe's schedule of epochs is stepped per batch, or a schedule takes the rate away."""
    return (None if trace.rows("loop") else epochs_as_batches(trace)) or vanishes(trace)


def vanishes(trace: Trace) -> Fault | None:
    """The rate falls below what float32 can hold.

    A rate of 0 is where schedules end, and a trial may be longer than they are: there, nearly all
    steps must be lost, and the loss with them.
    """
    share, last, covered = _share_below(trace, GONE), _last(trace), progress(trace)
    learned_nothing = share >= _NEARLY_ALL and covered is not None and abs(covered) < _NOTHING
    peak = max(trace.series("learning_rate").values, default=0.0)
    if share < _SPENT or not (0 < last < GONE * peak or learned_nothing):
        return None
    return Fault(
        f"the learning rate falls to {last / peak:.0e} of its peak; {share:.0%} of the steps are made "
        f"at less than {GONE:.0e} of it (at most {_SPENT:.0%})",
        measures=(Measure("steps at a vanished learning rate", share, "ratio", _SPENT),),
        suspects=[Suspect("learning_rate", f"from {peak:.1e} down to {last:.0e}", _EPOCHWISE)],
        cause=f"the schedule takes the learning rate away within {len(trace.series('loss'))} steps",
        remedy=_EPOCHWISE,
    )


def fades(trace: Trace) -> Iterable[str]:
    """Advice where a good part of the training is made at next to no rate."""
    share = _share_below(trace, FAINT)
    if share >= _SPENT:
        yield (
            f"{share:.0%} of the steps are made at less than {FAINT:g} of the peak learning rate: is "
            "the schedule made for fewer steps, or for epochs?"
        )
    if not trace.rows("loop"):
        yield from swinging(trace)


def pace(trace: Trace) -> str:
    """How long a warm-up takes to reach the rate that was set, at the pace so far; empty if unknown."""
    rates = trace.series("learning_rate").values
    goals = [row.number("initial_lr") for row in trace.rows("optimizer_groups") if "initial_lr" in row]
    if not goals or not rates or not 0 < rates[-1] < max(goals):
        return ""
    steps = len(rates) * max(goals) / rates[-1]
    return f"; at this pace it takes {steps:,.0f} steps to {max(goals):.1e}"


def _share_below(trace: Trace, share: float) -> float:
    rates = trace.series("learning_rate").values
    peak = max(rates, default=0.0)
    if peak <= 0 or min(rates) >= share * peak:
        return 0.0
    return sum(rate < share * peak for rate in rates) / len(rates)


def _last(trace: Trace) -> float:
    rates = trace.series("learning_rate").values
    return rates[-1] if rates else 0.0
