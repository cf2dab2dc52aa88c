"""The loss curves of a recipe as one SVG picture: small, without scripts, readable on light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

from pytest_dlcheck.reports.text import one_line
from pytest_dlcheck.trace import Trace

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 44, 64
_POINTS = 400
"""Points of a curve; more cannot be told apart at this width."""
_MOST = 6
"""Curves; as many as there are colours that colour-blind readers tell apart."""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito, Color Universal Design (2008)."""
_TICKS = 5
_WIDE = 100.0
"""Highest over lowest loss (ratio) above which a straight axis would show only one of them."""
Curve = tuple[str, tuple[int, ...], tuple[float, ...]]


def loss_plot(recipe: str, traces: Iterable[Trace]) -> str:
    """The losses of a recipe's trials over their steps; empty where none was recorded.

    Args:
        recipe: its name, the picture's title.
        traces: what happened.
    """
    courses = ((str(trace.trial), trace.series("loss")) for trace in traces)
    curves: list[Curve] = [(name, s.steps, s.values) for name, s in courses if len(s)][:_MOST]
    heights = [y for _, _, values in curves for y in values if math.isfinite(y)]
    if not heights:
        return ""
    frame = _Frame(max(steps[-1] for _, steps, _ in curves), min(heights), max(heights))
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    font = 'font-family="system-ui, sans-serif" font-size="11" fill="#24292f"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {font}>',
        f"<title>{_safe(recipe)}: loss</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="20" font-size="14" font-weight="600">{_safe(recipe)}: loss</text>',
        *frame.grid(),
        *(line for index, curve in enumerate(curves) for line in _drawn(curve, index, frame)),
        "</svg>",
    ]
    return "\n".join(parts)


class _Frame:
    """Where numbers lie in the picture; losses over more than two decades on a logarithmic axis."""

    def __init__(self, last: int, low: float, high: float) -> None:
        self.is_log = low > 0 and high / low > _WIDE
        self._last = max(last, 1)
        self._low, self._high = self._scaled(low), self._scaled(high)
        if self._high - self._low < 1e-12 * max(abs(self._high), 1.0):
            self._low, self._high = self._low - 0.5, self._high + 0.5

    def x(self, step: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / self._last

    def y(self, value: float) -> float:
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    def grid(self) -> Iterable[str]:
        for index in range(_TICKS):
            share = index / (_TICKS - 1)
            at = self._low + share * (self._high - self._low)
            y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share
            step = round(share * self._last)
            yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#d0d7de"/>'
            value = 10**at if self.is_log else at
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
            place = f'x="{self.x(step):.1f}" y="{_HEIGHT - _BOTTOM + 16}"'
            yield f'<text {place} text-anchor="middle">{step}</text>'

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def _drawn(curve: Curve, index: int, frame: _Frame) -> Iterable[str]:
    """A curve, broken where it is not finite, and its place in the legend."""
    name, steps, values = curve
    colour = _COLOURS[index]
    moves, pen = [], "M"
    for i in _chosen(len(values)):
        if math.isfinite(values[i]):
            moves.append(f"{pen}{frame.x(steps[i]):.1f} {frame.y(values[i]):.1f}")
            pen = "L"
        else:
            pen = "M"
    told = name if all(map(math.isfinite, values)) else f"{name}, not finite at last"
    column, row = index % 2, index // 2
    x, y = _LEFT + column * 280, _HEIGHT - 32 + row * 14
    yield f'<path d="{"".join(moves)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    yield f'<path d="M{x} {y - 4}h16" stroke="{colour}" stroke-width="3"/>'
    yield f'<text x="{x + 22}" y="{y}">{_safe(told[:44])}</text>'


def _chosen(count: int) -> Iterable[int]:
    if count <= _POINTS:
        return range(count)
    return (round(i * (count - 1) / (_POINTS - 1)) for i in range(_POINTS))


def _safe(text: str) -> str:
    return escape(one_line(text))[:200]
