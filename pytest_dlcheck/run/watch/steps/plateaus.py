"""What schedulers that wait for a plateau are told, beside what was evaluated. No judgement."""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pytest_dlcheck.trace import Row

MOST = 512
"""Numbers that are kept: the first ones."""
EXACT = 1.2e-7
"""How far a share that was computed in float32 is off."""
SAMPLES = range(16, 100_000)
"""Samples among which a share can be told from any number."""


class Judged:
    """How many samples were evaluated since the last step of an optimizer."""

    def __init__(self) -> None:
        self._at, self._sizes = -1, dict[tuple[int, int], int]()

    def called(self, module: object, arguments: tuple[Any, ...], source: int, steps: int) -> None:
        """A model is called without gradients, on a batch of this data set, after so many steps."""
        if steps != self._at:
            self._at = steps
            self._sizes.clear()
        first = arguments[0] if arguments else None
        if isinstance(first, Tensor) and first.dim():
            key = id(module), source
            self._sizes[key] = self._sizes.get(key, 0) + len(first)

    def sizes(self, steps: int) -> Sequence[int]:
        """Per model and data set; none where a step came after them."""
        return list(self._sizes.values()) if steps == self._at else []


class Plateaus:
    """What the schedulers of one optimizer are told."""

    def __init__(self) -> None:
        self._rates: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()
        self._rows: list[tuple[int, Row]] = []

    def steps(self, scheduler: Any, number: float, step: int, samples: Sequence[int]) -> None:
        """A scheduler was told a number, after so many steps of its optimizer."""
        rate = sum(float(group["lr"]) for group in scheduler.optimizer.param_groups)
        before = self._rates.get(scheduler, rate)
        self._rates[scheduler] = rate
        if len(self._rows) < MOST:
            row = Row(
                mode=str(scheduler.mode),
                number=number,
                step=step,
                cut=rate < before,
                of=next((n for n in samples if _is_share(number, n)), 0),
                of_percent=next((n for n in samples if _is_share(number / 100, n)), 0),
            )
            self._rows.append((id(scheduler), row))

    def rows(self) -> tuple[Row, ...]:
        """One per number, of the scheduler that was told most of them."""
        told = Counter(scheduler for scheduler, _ in self._rows)
        most = max(told, key=told.__getitem__, default=0)
        return tuple(row for scheduler, row in self._rows if scheduler == most)


def _is_share(number: float, samples: int) -> bool:
    if samples not in SAMPLES or not math.isfinite(number):
        return False
    count = number * samples
    return 0 <= count <= samples and abs(count - round(count)) <= samples * EXACT
