"""Whether what a function gives was rounded: few values for many, or values on a grid."""

from __future__ import annotations

import torch
from torch import Tensor

FEWEST = 16
"""Different numbers given below which nothing is told."""
FEW = 0.5
"""Different values made, over the elements beside the most frequent one, that are few (ratio): what is
not rounded has as many of them as elements."""
LEVELS = 1 << 16
"""Steps of a grid from the least value to the greatest, at most: quantisers have 16 bits or fewer."""
EXACT = 1e-9
"""Distance from a grid (ratio to the range) that rounding in double precision explains."""


def quantises(given: Tensor, made: Tensor) -> bool:
    """Whether a function rounds.

    What is zero at half of its inputs, as after a ReLU, is not rounded: the other half tells. Nor is
    what gives its inputs back several times, as an upsampling does.

    Args:
        given: what it was called on, any shape, in double precision.
        made: what it gave.
    """
    known, found = torch.unique(given), torch.unique(made)
    copies = bool(torch.isin(found, known).all())
    return len(known) >= FEWEST and not copies and _is_rounded(made) and not _is_rounded(given)


def _is_rounded(tensor: Tensor) -> bool:
    values, counts = torch.unique(tensor.detach().double(), return_counts=True)
    if len(values) < 2 or not bool(values.isfinite().all()):  # noqa: PLR2004  a constant
        return False
    others = int(counts.sum() - counts.max())
    return len(values) - 1 <= FEW * others or _is_on_a_grid(values)


def _is_on_a_grid(values: Tensor) -> bool:
    """Whether all gaps are multiples of one, found as by Euclid.

    Args:
        values: different ones, in order.
    """
    range_ = float(values[-1] - values[0])
    step, least = range_, range_ / LEVELS
    for gap in torch.diff(values).tolist():
        one, other = gap, step
        while other > EXACT * range_ and one > EXACT * range_:
            one, other = other, one % other
        step = max(one, other)
        if step < least:
            return False
    return True
