"""Channels of a trace made small enough to draw: what stands out is kept. No colours, no layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pytest_dlcheck.reports.html import embed
from pytest_dlcheck.trace import Matrix, Series

_NOTHING = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a recipe is drawn.

    Attributes:
        points: of a curve, at most.
        sites: rows of a heat map, at most.
        steps: columns of a heat map, at most.
        trials: that get heat maps, at most.
        rows: of a table, at most.
    """

    points: int
    sites: int
    steps: int
    trials: int
    rows: int


def curve(series: Series, points: int) -> dict[str, Any]:
    """A series with its lowest and highest numbers and whatever is not finite, in about ``points``."""
    chosen = _standing_out(series.values, points)
    return {
        "x": [series.steps[i] for i in chosen],
        "y": [embed.rough(series.values[i]) for i in chosen],
    }


def heat(matrix: Matrix, budget: Budget) -> dict[str, Any]:
    """A matrix, a row per site: hundredths of log10; None where nothing was there, ``"0"`` for zero.

    Where there are too many sites, those with missing, zero or non-finite numbers come first, then
    others, evenly spread.
    """
    sites, steps = _sites(matrix, budget.sites), _steps(matrix, budget.steps)
    return {
        "steps": [matrix.steps[i] for i in steps],
        "sites": [embed.name(matrix.sites[i]) for i in sites],
        "z": [[_cell(matrix.values[step][site]) for step in steps] for site in sites],
        "of": len(matrix.sites),
    }


def shares(matrix: Matrix, budget: Budget) -> dict[str, Any]:
    """The same for shares (ratio), in thousandths."""
    drawn = heat(matrix, budget)
    at = {step: i for i, step in enumerate(matrix.steps)}
    columns = dict(matrix.columns())
    names = {embed.name(site): site for site in matrix.sites}
    rows = [[columns[names[site]][at[step]] for step in drawn["steps"]] for site in drawn["sites"]]
    return {**drawn, "z": [[_thousandths(v) for v in row] for row in rows]}


def ratio(one: Matrix, other: Matrix) -> Matrix:
    """One matrix over another; None where either has nothing, or the other is zero."""
    if (one.steps, one.sites) != (other.steps, other.sites):
        return Matrix()
    rows = (
        tuple(None if a is None or not b else a / b for a, b in zip(above, below, strict=True))
        for above, below in zip(one.values, other.values, strict=True)
    )
    return Matrix(one.steps, one.sites, tuple(rows))


def _cell(value: float | None) -> Any:
    if value is None or not math.isfinite(value):
        return embed.exact(value)
    return round(100 * math.log10(value)) if value > _NOTHING else "0"


def _thousandths(value: float | None) -> Any:
    return embed.exact(value) if value is None or not math.isfinite(value) else round(1000 * value)


def _standing_out(values: Sequence[float], points: int) -> list[int]:
    size = len(values)
    if size <= points:
        return list(range(size))
    buckets = max(1, points // 2)
    chosen = {0, size - 1}
    for bucket in range(buckets):
        inside = range(bucket * size // buckets, (bucket + 1) * size // buckets)
        finite = [i for i in inside if math.isfinite(values[i])]
        if finite:
            chosen.update((min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)))
        chosen.update([i for i in inside if not math.isfinite(values[i])][:1])
    return sorted(chosen)


def _steps(matrix: Matrix, most: int) -> list[int]:
    size = len(matrix.steps)
    broken = (i for i, row in enumerate(matrix.values) if not _sound(row))
    return sorted({*_even(range(size), most), *islice(broken, 1)})


def _sites(matrix: Matrix, most: int) -> list[int]:
    everywhere = range(len(matrix.sites))
    if len(everywhere) <= most:
        return list(everywhere)
    rows = (row for row in matrix.values if not (all(row) and _sound(row)))
    odd = _even(sorted({i for row in rows for i, value in enumerate(row) if _odd(value)}), most)
    known = set(odd)
    return sorted([*odd, *_even([i for i in everywhere if i not in known], most - len(odd))])


def _sound(row: Sequence[float | None]) -> bool:
    return all(map(math.isfinite, filter(None, row)))


def _odd(value: float | None) -> bool:
    return not value or not math.isfinite(value)


def _even(indices: Sequence[int], most: int) -> list[int]:
    size = len(indices)
    if size <= most:
        return list(indices)
    return sorted({indices[round(i * (size - 1) / max(1, most - 1))] for i in range(most)})
