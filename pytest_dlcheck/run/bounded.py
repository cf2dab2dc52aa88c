"""A number per step in bounded room, however many steps there are. No tensors, no judgement."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from pytest_dlcheck.trace import Series

HEAD = 1024
"""Steps at the beginning that are all kept."""
RECENT = 1024
"""Steps at the end that are all kept: so nothing is left out of up to 2,048 steps."""
SPANS = 512
"""Spans that the steps between are cut into at most: first step and extremes of each are kept."""


@dataclass(slots=True)
class _Entry:
    """What was told at one step: a total and how often."""

    step: int
    total: float
    count: int = 1

    @property
    def value(self) -> float:
        return self.total / self.count


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


@dataclass
class Bounded:
    """A number per step: all of the first and the last ones, fewer and fewer of those between.

    Steps come in order. What is told several times of one step is averaged (micro-batches).
    """

    _head: list[_Entry] = field(default_factory=list)
    _spans: list[_Span] = field(default_factory=list)
    _recent: deque[_Entry] = field(default_factory=deque)
    _width: int = 1

    def __len__(self) -> int:
        return len(self._head) + len(self._recent) + sum(len(span.entries()) for span in self._spans)

    def add(self, step: int, value: float) -> None:
        """A number at a step."""
        last = self._recent[-1] if self._recent else None
        if last is not None and last.step == step:
            last.total += value
            last.count += 1
        else:
            self._begin(_Entry(step, value))

    def lift(self, step: int, value: float) -> None:
        """The greatest of several numbers at a step."""
        last = self._recent[-1] if self._recent else None
        if last is None or last.step != step:
            self._begin(_Entry(step, value))
        else:
            last.total = max(last.total, value)

    def recent(self, count: int) -> list[float]:
        """The last numbers, at most so many."""
        start = max(0, len(self._recent) - count)
        return [entry.value for entry in islice(self._recent, start, None)]

    def series(self) -> Series:
        """What is kept."""
        spans = [(span, span.entries()) for span in self._spans]
        kept = [*self._head, *(entry for _, few in spans for entry in few), *self._recent]
        extremes = tuple(entry.step for span, few in spans for entry in few if entry is not span.first)
        return Series(
            tuple(entry.step for entry in kept),
            tuple(entry.value for entry in kept),
            thinned=self._width > 1,
            extremes=extremes,
        )

    def _begin(self, entry: _Entry) -> None:
        self._recent.append(entry)
        if len(self._recent) <= RECENT:
            return
        oldest = self._recent.popleft()
        if len(self._head) < HEAD:
            self._head.append(oldest)
        else:
            self._thin(oldest)

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
