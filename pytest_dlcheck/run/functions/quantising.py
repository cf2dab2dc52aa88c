"""Whether what a function gives is what it was given, rounded: to few values, or to a grid."""

from __future__ import annotations

import torch
from torch import Tensor

FEWEST = 16
"""Different numbers given below which nothing is told."""
FEW = 0.5
"""Different values made, over the elements beside the two most frequent ones, that are few (ratio): what
is not rounded has as many of them as elements; a clamp has two ends."""
NEAR = 0.7
"""Distance from what was given (ratio to it) of what is rounded: the signs of normal numbers, times
their mean size, are 0.6 away."""
LEVELS = 1 << 16
"""Steps of a grid from the least value to the greatest, at most: quantisers have 16 bits or fewer."""
EXACT = 1e-9
"""Distance from a grid (ratio to the range) that rounding in double precision explains."""


def quantises(given: Tensor, made: Tensor) -> bool:
    """Whether a function rounds: each number to one near it.

    What is zero at half of its inputs, as after a ReLU, is not rounded: the other half tells. Nor is
    what has few values for another reason: a mean, an upsampling, a clamp that cuts most off.

    Args:
        given: what it was called on, any shape, in double precision.
        made: what it gave.
    """
    if made.shape != given.shape or not bool((made.isfinite() & given.isfinite()).all()):
        return False
    is_near = float((made - given).norm()) <= NEAR * float(given.norm())
    return (
        is_near and len(torch.unique(given)) >= FEWEST and _is_rounded(made) and not _is_rounded(given)
    )


def _is_rounded(tensor: Tensor) -> bool:
    values, counts = torch.unique(tensor.detach().double(), return_counts=True)
    if len(values) < 2 or not bool(values.isfinite().all()):  # noqa: PLR2004  a constant
        return False
    others = int(counts.sum() - counts.topk(2).values.sum())
    return len(values) - 2 <= FEW * others or _is_on_a_grid(values)


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
