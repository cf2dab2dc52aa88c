"""How far rows of classes are from probabilities, and from logarithms of such. Judges nothing."""

from __future__ import annotations

import torch
from torch import Tensor

SHARP = 10.0
"""Logit of a sure answer: its cross-entropy is below 1e-3 for up to ten classes."""
FAR = 1e9
"""Distance from 1 of what is no distribution at all."""


def distances(rows: Tensor) -> dict[str, float]:
    """How far the sums of rows and columns, and of their exponentials, are from 1.

    Args:
        rows: scores, ``[rows, classes]``.

    Returns:
        The largest distance of each (ratio); ``FAR`` where a score cannot be a probability.
    """
    inside = bool((rows >= 0).all() and (rows <= 1 + 1e-4).all())
    logs = rows.clamp(max=SHARP).exp()
    return {
        "rows_off": _off(rows, 1) if inside else FAR,
        "columns_off": _off(rows, 0) if inside else FAR,
        "log_rows_off": _off(logs, 1),
        "log_columns_off": _off(logs, 0),
    }


def _off(values: Tensor, axis: int) -> float:
    sums = values.sum(axis)
    return float((sums - torch.ones_like(sums)).abs().max().clamp(max=FAR).nan_to_num(FAR))
