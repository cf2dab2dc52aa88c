"""Histories drawn as one SVG file, without a browser or a library. It takes values; nothing is asked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from pytest_dlcheck.reports.files import write_text
from pytest_dlcheck.reports.html.history import History, HistoryPoint

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 900, 260, 90, 40, 30, 20
_REFUSED = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = """\
text { font: 13px sans-serif; fill: #222; } .small { font-size: 11px; fill: #666; }
.value { fill: #1f77b4; } .range { stroke: #1f77b4; opacity: .4; }
.level { stroke: #222; stroke-width: 2; }
.limit { stroke: #c33; stroke-dasharray: 5 4; } .change { stroke: #c33; opacity: .5; }
.axis { stroke: #bbb; } .page { fill: #fff; }
@media (prefers-color-scheme: dark) {
  .page { fill: #161616; } text { fill: #ddd; } .small { fill: #999; } .level { stroke: #ddd; }
  .axis { stroke: #555; }
}"""


def write_svg(path: Path, histories: Sequence[History]) -> None:
    """Draw each history below the other.

    Args:
        path: the file; its folder is made if it is not there.
        histories: what is drawn.

    Raises:
        ReportError: it cannot be written.
    """
    height = _HEIGHT * len(histories)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
        f'<style>{_STYLE}</style><rect class="page" width="{_WIDTH}" height="{height}"/>',
    ]
    for number, history in enumerate(histories):
        parts.append(f'<g transform="translate(0 {number * _HEIGHT})">')
        parts += [*_panel(history), "</g>"]
    write_text(path, "\n".join([*parts, "</svg>\n"]))


@dataclass(frozen=True)
class _Scale:
    """Where values stand in a panel.

    Attributes:
        count: how many there are, side by side.
        low, high: the values at its lower and upper edge.
    """

    count: int
    low: float
    high: float

    @classmethod
    def of(cls, count: int, finite: Sequence[float]) -> _Scale:
        low, high = min(finite), max(finite)
        room = (high - low) * 0.08 or abs(high) * 0.01 or 1.0
        return cls(count, low - room, high + room)

    def x(self, index: float) -> float:
        return _LEFT + (index + 0.5) / self.count * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)


def _panel(history: History) -> Iterator[str]:
    unit = "" if history.unit in {"", "ratio", "count"} else f", {history.unit}"
    yield _text(_LEFT, 22, f"{history.recipe} · {history.measure}{unit}")
    values = [point.value for point in history.points]
    bounds = (bound for point in history.points for bound in (point.low, point.high))
    known = (v for v in (*values, *bounds, history.limit) if v is not None)
    finite = [value for value in known if math.isfinite(value)]
    if not finite:
        yield _text(_LEFT, 60, "no number of it is finite", small=True)
        return
    scale = _Scale.of(len(values), finite)
    yield from _grid(scale, history.limit)
    yield from _levels(scale, history, values)
    for index, point in enumerate(history.points):
        if math.isfinite(point.value):
            yield from _mark(scale, index, point)


def _grid(scale: _Scale, limit: float | None) -> Iterator[str]:
    for value in (scale.low, (scale.low + scale.high) / 2, scale.high):
        yield _line(_LEFT, scale.y(value), _WIDTH - _RIGHT, scale.y(value), "axis")
        yield _text(_LEFT - 8, scale.y(value) + 4, f"{value:,.5g}", small=True, end=True)
    if limit is not None and math.isfinite(limit):
        yield _line(_LEFT, scale.y(limit), _WIDTH - _RIGHT, scale.y(limit), "limit")


def _levels(scale: _Scale, history: History, values: Sequence[float]) -> Iterator[str]:
    for index in history.changes:
        x = scale.x(index - 0.5)
        yield _line(x, _TOP, x, _HEIGHT - _BOTTOM, "change")
        yield _text(scale.x(index), _HEIGHT - 12, history.points[index].label, small=True)
    for start, end in pairwise([0, *history.changes, len(values)] if history.changes else []):
        level = [v for v in values[start:end] if math.isfinite(v)]
        if level:
            y = scale.y(median(level))
            yield _line(scale.x(start - 0.4), y, scale.x(end - 0.6), y, "level")


def _mark(scale: _Scale, index: int, point: HistoryPoint) -> Iterator[str]:
    x = scale.x(index)
    if point.low is not None and point.high is not None:
        yield _line(x, scale.y(point.low), x, scale.y(point.high), "range")
    told = _plain(f"{point.when} {point.label}: {point.value:,.5g}")
    yield f'<circle class="value" cx="{x:.1f}" cy="{scale.y(point.value):.1f}" r="3">'
    yield f"<title>{told}</title></circle>"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, *, small: bool = False, end: bool = False) -> str:
    look = (' class="small"' if small else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{look}>{_plain(text)}</text>'


def _plain(text: str) -> str:
    """Text as XML takes it: what it has no room for is left out."""
    return escape(_REFUSED.sub("", text))
