"""How long something takes, told by a clock: warm-up, blocks, and when it is enough. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle as endlessly
from statistics import median, quantiles
from typing import Protocol

from pytest_dlcheck.run.bench.turns import Turns

SETTLED = 0.1
"""Interquartile range over median below which the last steps count as settled (ratio)."""
WINDOW = 10
"""Measurements that must be settled."""
_FEWEST = 3
"""Measurements that tell a spread, where there is no time for more."""
_FIRST = 2
"""Measurements that are not looked at: they build, compile and allocate."""
_WARMING = 8
"""A turn begins with this part of a block, which is not counted (one in so many), or with one call."""
_TURNS = 10
"""Turns at least that the fewest blocks are spread over."""
_NOTCH = 1.57
"""Half-width of a median's interval over IQR/sqrt(n): McGill, Tukey & Larsen (1978)."""

Step = Callable[[], object]


class Clock(Protocol):
    """Takes the time of some steps."""

    def __call__(self, step: Step, count: int) -> float:
        """Seconds from before the first of ``count`` steps until all their work is done."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long measuring may take.

    Attributes:
        warm_up: seconds after which steps that have not settled are given up.
        seconds: of timing, after which no further block is begun.
        block: seconds that a block lasts at least, so that reading the clock costs nothing.
        fewest: blocks that are taken however long they are.
        most: blocks that are taken however short they are.
        precise: half-width of the median's interval over the median at which it is enough (ratio).
    """

    warm_up: float = 5.0
    seconds: float = 3.0
    block: float = 0.02
    fewest: int = 5
    most: int = 200
    precise: float = 0.005


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What the first steps were like.

    Attributes:
        steps: how many there were.
        seconds: one of the last ones took.
        spread: interquartile range over median of the last measurements (ratio).
        drifts: whether the later measurements differ from the earlier ones by more than their noise.
    """

    steps: int
    seconds: float
    spread: float
    drifts: bool

    @property
    def settled(self) -> bool:
        """Whether the last steps took about the same time, or varied about the same one."""
        return self.spread < SETTLED or not self.drifts


def warm_up(step: Step, clock: Clock, limits: Limits, cycle: int = 1) -> WarmUp:
    """Take steps until they settle, or for as long as that may take.

    Args:
        step: what is timed.
        clock: that takes its time.
        limits: how long it may take.
        cycle: steps that belong together because they differ from each other.
    """
    unit, steps, passed, taken = cycle, 0, 0.0, list[float]()
    while True:
        seconds = clock(step, unit)
        steps += unit
        taken.append(seconds / unit)
        warm = taken[_FIRST:]
        passed += seconds if warm else 0.0
        spread = relative_spread(warm[-WINDOW:])
        enough = len(warm) >= WINDOW and spread < SETTLED
        late = passed > limits.warm_up and len(warm) >= _FEWEST
        if enough or late:
            return WarmUp(steps, median(warm[-WINDOW:]), spread, drifts=_drifts(warm[-2 * WINDOW :]))
        unit = whole_cycles(limits.block / 10, seconds / unit, cycle)


def _drifts(values: Sequence[float]) -> bool:
    half = len(values) // 2
    early, late = median(values[:half]), median(values[half:])
    noise = _NOTCH * relative_spread(values) / math.sqrt(max(1, half))
    return abs(early - late) > max(SETTLED, noise) * late


def measure(
    steps: Sequence[Step], clock: Clock, limits: Limits, count: int, turns: Turns
) -> list[float]:
    """Seconds per step, block by block, until their median is known well enough.

    Args:
        steps: what is timed, warm: one step, or the same one of several copies, which it goes round.
        clock: that takes its time.
        limits: how long it may take, and how precise it must be.
        count: steps of a block.
        turns: in which it is done; it ends soon after the other process has had enough, and not before.
    """
    blocks: list[float] = []
    copies = endlessly(steps)
    while not _is_enough(blocks, limits, count):
        with turns:
            if turns.partner_is_done and len(blocks) >= limits.fewest:
                break
            step = next(copies)
            cold = turns.are_shared or len(steps) > 1
            if cold and (spare := count // _WARMING if limits.block else 1):
                clock(step, spare)  # what others have driven out of the caches comes back
            blocks.extend(clock(step, count) / count for _ in range(_many(turns, limits)))
    turns.end()
    while turns.are_shared and not turns.partner_is_done:
        with turns:  # so that whatever comes after it does not disturb the other one
            pass
    return blocks


def _many(turns: Turns, limits: Limits) -> int:
    """Blocks of a turn: as many for the other one, so that the same numbers stand side by side."""
    return math.ceil(limits.fewest / _TURNS) if turns.are_shared else 1


def _is_enough(blocks: Sequence[float], limits: Limits, count: int) -> bool:
    if len(blocks) < limits.fewest:
        return False
    if len(blocks) >= limits.most or sum(blocks) * count >= limits.seconds:
        return True
    notch = _NOTCH * relative_spread(blocks) / math.sqrt(len(blocks))
    return len(blocks) >= WINDOW and notch < limits.precise


def whole_cycles(wanted: float, seconds: float, cycle: int) -> int:
    """How many steps last as long as is wanted, in whole cycles; at least one.

    Args:
        wanted: seconds.
        seconds: one step takes.
        cycle: steps that belong together.
    """
    steps = wanted / seconds if seconds > 0 else 1.0
    return cycle * max(1, math.ceil(steps / cycle))


def relative_spread(values: Sequence[float]) -> float:
    """Interquartile range over median; infinite where there are too few values to tell."""
    if len(values) < _FEWEST:
        return math.inf
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return (high - low) / middle if middle > 0 else 0.0
