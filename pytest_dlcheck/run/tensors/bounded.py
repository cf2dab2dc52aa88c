"""A number per step in bounded room, however many steps there are. No tensors, no judgement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_dlcheck.trace import Series

HEAD = 1024
"""Steps at the beginning that are all kept."""
RECENT = 1024
"""Steps at the end that are all kept: so nothing is left out of up to 2,048 steps."""
SPANS = 512
"""Spans that the steps between are cut into at most: first step and extremes of each are kept."""
SLACK = 256
"""Steps between that are sorted into spans at once."""
MOST = HEAD + RECENT + SLACK


@dataclass(slots=True)
class _Entry:
    """What was told at one step."""

    step: int
    value: float


@dataclass(slots=True)
class _Span:
    """Some steps in a row: the first of them, and their extremes; what is no number is the greatest."""

    first: _Entry
    least: _Entry
    greatest: _Entry
    steps: int = 1

    def joined(self, other: _Span) -> _Span:
        return _Span(
            self.first,
            min(self.least, other.least, key=_size),
            max(self.greatest, other.greatest, key=_size),
            self.steps + other.steps,
        )

    def entries(self) -> list[_Entry]:
        """All three in order, each once."""
        three = {entry.step: entry for entry in (self.first, self.least, self.greatest)}
        return [three[step] for step in sorted(three)]


class Bounded:
    """A number per step: all of the first and the last ones, fewer and fewer of those between.

    Steps come in order. What is told several times of one step is averaged (micro-batches).
    """

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._values: list[float] = []
        """The first and the last ones, and up to ``SLACK`` that are not sorted into spans yet."""
        self._spans: list[_Span] = []
        self._width = 1
        self._total, self._count = 0.0, 0
        """Of the last step."""

    def __len__(self) -> int:
        self._settle()
        return len(self._steps) + sum(len(span.entries()) for span in self._spans)

    def add(self, step: int, value: float) -> None:
        """A number at a step."""
        if self._steps and self._steps[-1] == step:
            self._total += value
            self._count += 1
            self._values[-1] = self._total / self._count
        else:
            self._begin(step, value)

    def extend(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """A number at each of several steps."""
        is_new = not self._steps or not steps or steps[0] > self._steps[-1]
        if not is_new or len(steps) > SLACK or len(set(steps)) != len(steps):
            for step, value in zip(steps, values, strict=True):
                self.add(step, value)
        elif steps:
            self._steps += steps
            self._values += values
            self._total, self._count = values[-1], 1
            if len(self._steps) > MOST:
                self._settle()

    def lift(self, step: int, value: float) -> None:
        """The greatest of several numbers at a step."""
        if self._steps and self._steps[-1] == step:
            self._values[-1] = max(self._values[-1], value)
        else:
            self._begin(step, value)

    def recent(self, count: int) -> list[float]:
        """The last numbers, at most so many."""
        return self._values[max(0, len(self._values) - count) :]

    def series(self) -> Series:
        """What is kept."""
        self._settle()
        spans = [(span, span.entries()) for span in self._spans]
        kept = [entry for _, few in spans for entry in few]
        extremes = tuple(entry.step for span, few in spans for entry in few if entry is not span.first)
        return Series(
            (*self._steps[:HEAD], *(entry.step for entry in kept), *self._steps[HEAD:]),
            (*self._values[:HEAD], *(entry.value for entry in kept), *self._values[HEAD:]),
            thinned=self._width > 1,
            extremes=extremes,
        )

    def _begin(self, step: int, value: float) -> None:
        self._steps.append(step)
        self._values.append(value)
        self._total, self._count = value, 1
        if len(self._steps) > MOST:
            self._settle()

    def _settle(self) -> None:
        """Sort what is neither among the first nor among the last ones into spans."""
        between = slice(HEAD, max(HEAD, len(self._steps) - RECENT))
        for step, value in zip(self._steps[between], self._values[between], strict=True):
            self._thin(_Entry(step, value))
        del self._steps[between], self._values[between]

    def _thin(self, entry: _Entry) -> None:
        alone = _Span(entry, entry, entry)
        if self._spans and self._spans[-1].steps < self._width:
            self._spans[-1] = self._spans[-1].joined(alone)
            return
        if len(self._spans) == SPANS:
            evens, odds = self._spans[::2], self._spans[1::2]
            self._spans = [one.joined(other) for one, other in zip(evens, odds, strict=True)]
            self._width *= 2
        self._spans.append(alone)


def _size(entry: _Entry) -> float:
    return math.inf if math.isnan(entry.value) else entry.value
