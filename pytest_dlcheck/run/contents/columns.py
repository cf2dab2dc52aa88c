"""What the columns of a table look like, each by itself and all together. Nothing is judged."""

from __future__ import annotations

from statistics import median

import torch
from torch import Tensor

LOPSIDED = 0.5
"""Skewness from which on a feature is neither normal nor uniform (0 each, give or take 0.2)."""
FLAT = 2.2
"""Kurtosis below which numbers may be uniform (1.8; 3 of normal ones)."""
REPEATED = 0.9
"""Share of distinct values below which numbers were rounded, as measurements are."""
FEWEST, DISTINCT = 4, 16
"""Columns, and distinct values of each, from which on it is no chance that all rise together, as the
steps of an ordinal code do."""
SMOOTH = 0.7
"""Correlation of one slope with the next from which on a column is a function of another, as powers
are (0.99); of columns that were sorted each by itself, slopes are ratios of chance gaps (0.0 to 0.4)."""


def measured(inputs: Tensor) -> float:
    """The share of features that no usual generator of random numbers gives: lopsided, or rounded.

    Args:
        inputs: shape ``[n, f]``; constant features do not count.
    """
    alive = inputs[:, inputs.std(0) > 0].double()
    if not alive.size(1):
        return 0.0
    scaled = (alive - alive.mean(0)) / alive.std(0)
    lopsided = scaled.pow(3).mean(0).abs() > LOPSIDED
    rounded = (_distinct(alive) < REPEATED * len(alive)) & (scaled.pow(4).mean(0) > FLAT)
    return float((lopsided | rounded).double().mean())


def rising(inputs: Tensor) -> int:
    """How many columns there are, if all rise together from sample to sample in some order; else 0.

    Also 0 where they are functions of one of them.

    Args:
        inputs: shape ``[n, f]``; columns of few values do not count.
    """
    columns = inputs[:, _distinct(inputs) >= DISTINCT]
    if columns.size(1) < FEWEST:
        return 0
    lines = columns.T.contiguous()
    below = torch.searchsorted(lines.sort(1)[0], lines)  # ties have one rank
    ordered = columns[below.sum(0).argsort()]
    steps = ordered[1:] - ordered[:-1]
    if not bool((steps >= 0).all()):
        return 0
    smooth = [_smoothness(steps[:, 0], steps[:, i]) for i in range(1, columns.size(1))]
    return 0 if median(smooth) >= SMOOTH else columns.size(1)


def _smoothness(mine: Tensor, other: Tensor) -> float:
    """How much one slope tells of the next; 0 where there are too few."""
    moved = (mine > 0) & (other > 0)
    slopes = (other[moved].double() / mine[moved].double()).log()
    if len(slopes) < DISTINCT:
        return 0.0
    return float(torch.corrcoef(torch.stack([slopes[:-1], slopes[1:]]))[0, 1].nan_to_num())


def _distinct(columns: Tensor) -> Tensor:
    ordered = columns.sort(0)[0]
    return 1 + (ordered[1:] != ordered[:-1]).sum(0)
