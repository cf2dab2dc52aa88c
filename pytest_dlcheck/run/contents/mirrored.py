"""Whether one set of samples is another with light and dark exchanged, by their means. No judgement."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEWEST, FEATURES = 64, 16
"""Samples of each, and numbers of a sample, from which on means have a shape of their own."""
_MOST = 4_096
_RELIEF = 0.25
"""Spread of the features' means, over that of the numbers, below which they have none: of samples that
were standardised it is one over the root of their count, and opposite in two parts of one whole."""


def likeness(ours: Tensor, theirs: Tensor) -> float:
    """The correlation of the features' means in two sets of samples: about 1 where they are alike.

    Args:
        ours: shape ``[n, ...]``, floating.
        theirs: shape ``[m, ...]``.

    Returns:
        From -1, where they are exchanged, to 1; NaN where the means tell nothing.
    """
    if ours.shape[1:] != theirs.shape[1:] or ours[0].numel() < FEATURES:
        return math.nan
    if min(len(ours), len(theirs)) < FEWEST:
        return math.nan
    ours, theirs = _few(ours), _few(theirs)
    means = torch.stack([ours.mean(0), theirs.mean(0)])
    spreads, sizes = means.std(1), torch.stack([ours.std(), theirs.std()])
    if not bool((spreads > _RELIEF * sizes).all()) or not means.isfinite().all():
        return math.nan
    return float(torch.corrcoef(means)[0, 1])


def _few(values: Tensor) -> Tensor:
    some = values[:: max(1, len(values) // 512)]
    flat = some.reshape(len(some), -1)
    return flat[:, :: max(1, flat.size(1) // _MOST)].double()
