"""Whether the rows of images hold their channels one after the other, as the bytes of a file do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

AXES, COLOURS = 4, 3
_FEWEST, _WIDTH = 16, 12
"""Images, and pixels of a row, at least: noise then gives 0.02."""
_NUMBERS = 1 << 19
"""Numbers that are enough to tell, if they are of so many images."""
_LAGS = 2 * COLOURS


def interleaved(images: Tensor) -> float:
    """How much more alike values are that lie a pixel's three colours apart than those between.

    Args:
        images: shape ``[n, 3, h, w]``.

    Returns:
        The least correlation along a row at distances of 3 and 6, less the most at 1, 2, 4 and 5: below
        zero in images, whose places are the less alike the farther apart they lie; NaN for others.
    """
    if images.dim() != AXES or images.size(1) != COLOURS or images.size(-1) < _WIDTH:
        return math.nan
    if len(images) < _FEWEST:
        return math.nan
    some = max(_FEWEST, _NUMBERS // images[0].numel())
    rows = images[:: max(1, len(images) // some)][:some].float()
    rows = rows - rows.mean((-2, -1), keepdim=True)
    if not bool(rows.isfinite().all()) or not bool(rows.any()):
        return math.nan
    found = [_alike(rows[..., :-lag], rows[..., lag:]) for lag in range(1, _LAGS + 1)]
    near = [value for lag, value in enumerate(found, 1) if lag % COLOURS == 0]
    between = [value for lag, value in enumerate(found, 1) if lag % COLOURS]
    return min(near) - max(between)


def _alike(one: Tensor, other: Tensor) -> float:
    size = (one.square().sum() * other.square().sum()).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    return float((one * other).sum() / size)
