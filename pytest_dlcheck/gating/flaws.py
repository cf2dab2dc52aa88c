"""What spoils a process's numbers, and what is to be known beside them. Nothing is held against them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_dlcheck.baseline import Baseline
from pytest_dlcheck.gating.pace import FEWEST_RUNS
from pytest_dlcheck.trace import Trace

BUSY_GPU = 0.1
"""Share of time in which a GPU works for others, from which on it cannot be timed (ratio): its driver
reports 0 for one that waits."""
BUSY_MACHINE = 0.25
"""Share of the processors that other processes keep busy, from which on that is told (ratio): a training
that uses all of four cores surely feels that one is gone."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a process does not count.

    Attributes:
        words: with the number and its bound.
        lasting: whether every other process would have it too.
    """

    words: str
    lasting: bool = False


def timing_flaw(trace: Trace) -> Flaw | None:
    """What makes a process's times worthless."""
    timing, around = trace.row("timing"), trace.row("surroundings")
    if graphs := around.integer("compilations"):
        words = f"torch.compile made {graphs} new graphs while steps were timed (must be 0)"
        return Flaw(f"{words}: their shapes change from step to step", lasting=True)
    busy = around.number("gpu_busy")
    if busy >= BUSY_GPU:
        return Flaw(f"the GPU worked for others {busy:.0%} of the time (from {BUSY_GPU:.0%} on)")
    if throttled := around.text("throttled"):
        return Flaw(f"the GPU had lowered its clocks: {throttled}")
    if timing and not timing.flag("settled"):
        spread = timing.number("spread")
        steps = timing.integer("warm_up_steps")
        return Flaw(f"times still changed after {steps} steps (IQR/median {spread:.2g}, must be < 0.1)")
    return None


def asides(baseline: Baseline, measure: str, traces: Sequence[Trace]) -> Iterator[str]:
    """What is no failure, and is to be known.

    Args:
        baseline: that was to be held against.
        measure: by which name it is recorded there.
        traces: of the processes.
    """
    runs = len(baseline.of(measure))
    if baseline.notice:
        yield f"not held against {baseline.name}: {baseline.notice}"
    elif baseline.name and runs < FEWEST_RUNS:
        yield (
            f"not held against {baseline.name} yet: {runs} earlier runs of {measure} on this "
            f"machine ({FEWEST_RUNS} are needed)"
        )
    rows = [trace.row("surroundings") for trace in traces]
    known = [row.number("elsewhere") for row in rows if not math.isnan(row.number("elsewhere"))]
    processors = max((row.integer("processors") for row in rows), default=0)
    if known and processors and fmean(known) >= BUSY_MACHINE * processors:
        yield (
            f"other processes kept {fmean(known):.2g} of {processors} processors busy while it was "
            "timed: a quiet machine tells more"
        )
