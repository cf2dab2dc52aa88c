"""A loss curve as small as a word, as the points of an SVG line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 96, 22
"""In pixels."""
_DECADES = 2.0
"""From which span on the curve is logarithmic: otherwise all but its peak would be flat."""


@dataclass(frozen=True, slots=True)
class Spark:
    """A small curve.

    Attributes:
        lines: the points of each stretch that is not interrupted.
        breaks: where it is interrupted by a number that is not finite, across.
    """

    lines: tuple[str, ...]
    breaks: tuple[float, ...]


def spark(values: Sequence[float]) -> Spark | None:
    """The curve of at least two numbers; None of fewer."""
    if len(values) < 2:  # noqa: PLR2004  a line has two ends
        return None
    across = WIDTH / (len(values) - 1)
    heights = _heights(values)
    stretches: list[list[str]] = [[]]
    breaks = []
    for i, height in enumerate(heights):
        if height is None:
            breaks.append(round(i * across, 1))
            stretches.append([])
        else:
            stretches[-1].append(f"{i * across:.1f},{height:.1f}")
    return Spark(tuple(" ".join(s) for s in stretches if len(s) > 1), tuple(breaks[:1]))


def _heights(values: Sequence[float]) -> list[float | None]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return [None] * len(values)
    low, high = min(finite), max(finite)
    scale = math.log10 if low > 0 and math.log10(high) - math.log10(low) > _DECADES else float
    low, span = scale(low), (scale(high) - scale(low)) or 1.0
    return [HEIGHT * (1 - (scale(v) - low) / span) if math.isfinite(v) else None for v in values]
