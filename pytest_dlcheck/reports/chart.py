"""A history drawn with characters, for a terminal. It takes values; nothing is asked or judged here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from pytest_dlcheck.reports.html.history import History

HEIGHT = 9
"""Lines of the drawing, its axis not counted."""
_LABELS = 11
_POINT, _RANGE, _LEVEL, _LIMIT, _CHANGE, _LOST, _SIDE = "●│─┄▲×┤"
_PLAIN = str.maketrans("●│─┄▲×┤└", "o|-.^x|+")


def chart(history: History, *, width: int, plain: bool = False) -> str:
    """The values over time, oldest first, with the levels that they kept and where a new one begins.

    Args:
        history: what is drawn; several measurements share a column where there are too many.
        width: columns that there are.
        plain: whether to draw with ASCII alone.
    """
    values = [point.value for point in history.points]
    if not any(map(math.isfinite, values)):
        return "no number of it is finite"
    text = "\n".join(_Canvas.of(history, values, max(10, width - _LABELS - 2)).lines())
    return text.translate(_PLAIN) if plain else text


@dataclass(frozen=True)
class _Canvas:
    """The cells of a drawing.

    Attributes:
        groups: the points of each column.
        low, high: the values at the lower and the upper edge.
        cells: a list per line, the upper one first.
        changed: the columns at which a new level begins.
    """

    groups: Sequence[range]
    low: float
    high: float
    cells: list[list[str]]
    changed: frozenset[int]

    @classmethod
    def of(cls, history: History, values: Sequence[float], columns: int) -> _Canvas:
        groups = _groups(len(values), columns)
        low, high = _edges([v for v in (*values, *_known(history.limit)) if math.isfinite(v)])
        changed = frozenset(i for i, group in enumerate(groups) if set(group) & set(history.changes))
        cells = [[" "] * len(groups) for _ in range(HEIGHT)]
        canvas = cls(groups, low, high, cells, changed)
        for limit in _known(history.limit):
            canvas.across(0, len(values), limit, _LIMIT)
        for start, end in pairwise([0, *history.changes, len(values)]):
            level = [v for v in values[start:end] if math.isfinite(v)]
            if level and history.changes:
                canvas.across(start, end, median(level), _LEVEL)
        for column, group in enumerate(groups):
            canvas.put(column, [values[i] for i in group])
        return canvas

    def row(self, value: float) -> int:
        share = (self.high - value) / (self.high - self.low)
        return min(HEIGHT - 1, max(0, round(share * (HEIGHT - 1))))

    def across(self, start: int, end: int, value: float, mark: str) -> None:
        for column, group in enumerate(self.groups):
            if start <= group[0] and group[-1] < end:
                self.cells[self.row(value)][column] = mark

    def put(self, column: int, values: Sequence[float]) -> None:
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            self.cells[HEIGHT - 1][column] = _LOST
            return
        for line in range(self.row(max(finite)), self.row(min(finite)) + 1):
            self.cells[line][column] = _RANGE
        self.cells[self.row(median(finite))][column] = _POINT

    def lines(self) -> Iterator[str]:
        labels = {0: self.high, HEIGHT // 2: (self.low + self.high) / 2, HEIGHT - 1: self.low}
        for number, line in enumerate(self.cells):
            label = f"{labels[number]:>{_LABELS},.5g}" if number in labels else " " * _LABELS
            yield f"{label} {_SIDE}{''.join(line)}".rstrip()
        marks = "".join(_CHANGE if i in self.changed else _LEVEL for i in range(len(self.groups)))
        yield f"{'':>{_LABELS}} └{marks}"


def _groups(count: int, columns: int) -> list[range]:
    """The points of each column: one each where there is room, else as evenly as can be."""
    used = min(count, columns)
    edges = [round(i * count / used) for i in range(used + 1)]
    return [range(a, b) for a, b in pairwise(edges)]


def _edges(finite: Sequence[float]) -> tuple[float, float]:
    low, high = min(finite), max(finite)
    room = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    return low - room, high + room


def _known(limit: float | None) -> tuple[float, ...]:
    return () if limit is None or not math.isfinite(limit) else (limit,)
