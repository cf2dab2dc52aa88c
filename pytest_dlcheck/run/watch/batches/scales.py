"""Whether inputs that are evaluated are scaled as those that are trained on. No judgement.

Other rows are compared, so by what a transform leaves on all of them: columns that are standardised, or
between fixed bounds; and, of images, how far apart the levels of a byte are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.trace import Scalar

ROWS = 24
"""Samples of either kind (count) from which on columns are compared."""
COLUMNS = 4
"""Columns that vary (count) from which on they are: fewer may well be drawn from another range."""
MOST = 0.9
"""Columns (ratio) that are scaled alike, where a transform has scaled them; and"""
FEWER = 0.5
"""up to which they are not."""
SPREAD = 0.5, 1.5
"""Standard deviations of standardised columns, of some dozen rows and more; chosen, as are"""
CENTRE = 0.5
"""the distance of their means from 0, and"""
FILLED = 0.5
"""the least range of a column whose bounds were made 0 and 1, or -1 and 1."""
TENTH, NINE_TENTHS = 0.1, 0.9
LEVELS = 9, 257
"""Different numbers of what a byte has stored, at least and at most."""
REPEATS = 4
"""Times (count) that each is there, on average."""
DENSE = 0.5
"""Share of the levels between the least and the largest (ratio) that are there."""
INEXACT = 0.02
"""By how much of a level (ratio) single precision moves it, at most."""
AS_MANY = 1.5
"""Times as many levels (ratio) as the others have, up to which both are the same levels."""
BY_DROPOUT = 3.0
"""Factor (ratio) by which dropout may raise what it leaves, where zero stays zero: 0.6 of all by 2.5."""
CHANNELS = 3
"""Groups of columns that may each have a scale of their own."""
NONE: dict[str, Scalar] = {
    "scale_columns": 0,
    "scale_trained": "",
    "scale_evaluated": "",
    "scale_least": 1.0,
    "scale_median": 1.0,
    "scale_most": 1.0,
    "scale_one_sided": 0.0,
    "level_trained": 0.0,
    "level_evaluated": 0.0,
}
"""What is told where nothing can be."""


def scales(trained: Sequence[Tensor], evaluated: Sequence[Tensor]) -> dict[str, Scalar]:
    """How both are scaled: the columns of tables, or the levels of images.

    Args:
        trained: some numbers of a few batches, each ``[samples, numbers]``.
        evaluated: the same of others.
    """
    ours, theirs = _together(trained), _together(evaluated)
    if ours is None or theirs is None or ours.shape[1] != theirs.shape[1]:
        return NONE
    return {**NONE, **_columns(ours, theirs), **_levels(ours, theirs)}


def _together(batches: Sequence[Tensor]) -> Tensor | None:
    """All rows as wide as those of the first batch; None where they are few."""
    found = [each.cpu().double() for each in batches if each.shape[1:] == batches[0].shape[1:]]
    rows = torch.cat(found) if found else torch.zeros(0, 1)
    return rows if len(rows) >= ROWS and bool(torch.isfinite(rows).all()) else None


def _columns(ours: Tensor, theirs: Tensor) -> dict[str, Scalar]:
    """In what all columns are alike, and how many times as far apart others' numbers are (ratios).

    And how many of what is not scaled are one-sided, as measured quantities are: none of the others is.
    """
    varies = (ours.std(0) > 0) & (theirs.std(0) > 0)
    count = int(varies.sum())
    if count < COLUMNS:
        return {}
    ours, theirs = ours[:, varies], theirs[:, varies]
    apart = theirs.std(0) / ours.std(0)
    scaled = _scaled(ours)
    other = theirs if scaled else ours
    one_sided = (other >= 0).all(0) | (other <= 0).all(0)
    return {
        "scale_columns": count,
        "scale_trained": scaled,
        "scale_evaluated": _scaled(theirs),
        "scale_least": float(apart.quantile(TENTH)),
        "scale_median": float(apart.median()),
        "scale_most": float(apart.quantile(NINE_TENTHS)),
        "scale_one_sided": float(one_sided.double().mean()),
    }


def _scaled(rows: Tensor) -> str:
    """What most columns are; empty where they are nothing, and a question mark where some are."""
    spread, centre = rows.std(0), rows.mean(0)
    least, most = rows.amin(0), rows.amax(0)
    within = (least >= -1 - INEXACT) & (most <= 1 + INEXACT) & (most - least >= FILLED)
    standard = (spread >= SPREAD[0]) & (spread <= SPREAD[1]) & (centre.abs() <= CENTRE)
    shares = {
        "standardised": float(standard.double().mean()),
        "between fixed bounds": float(within.double().mean()),
    }
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= MOST:
        return best
    return "" if shares[best] <= FEWER else "?"


def _levels(ours: Tensor, theirs: Tensor) -> dict[str, Scalar]:
    """How far apart neighbouring levels are, where both have as many; of a first channel at least."""
    for channels in (1, CHANNELS):
        width = ours.shape[1] // channels
        mine, other = (_level(rows[:, : max(1, width - (channels > 1))]) for rows in (ours, theirs))
        if mine is None or other is None:
            continue
        count = [each[1] for each in (mine, other)]
        if max(count) > AS_MANY * min(count):
            return {}
        least = [float(rows[:, : max(1, width)].min()) for rows in (ours, theirs)]
        if least[0] == least[1] == 0 and 1 / BY_DROPOUT < other[0] / mine[0] < BY_DROPOUT:
            return {}
        return {"level_trained": mine[0], "level_evaluated": other[0]}
    return {}


def _level(rows: Tensor) -> tuple[float, float] | None:
    """How far apart the levels are, and how many there may be; None where there are none."""
    numbers = rows.flatten()
    found = torch.unique(numbers)
    if not LEVELS[0] <= len(found) <= LEVELS[1] or len(numbers) < REPEATS * len(found):
        return None
    gaps = found.diff()
    level = float(gaps.min())
    steps = gaps / level
    span = float(found[-1] - found[0]) / level
    is_even = bool(((steps - steps.round()).abs() <= INEXACT * steps).all())
    is_dense = len(found) >= DENSE * (span + 1)
    # a mean of all gaps is less hurt by rounding than the least of them
    return (float(found[-1] - found[0]) / round(span), span) if is_even and is_dense else None
