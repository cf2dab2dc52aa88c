"""Targets that are one number a sample: classes or quantities. Others are left alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_MATRIX = 2
_FEW = 20
"""Distinct numbers up to which floats can be classes, and"""
_OFTEN = 5
"""how often each must come on average."""


@dataclass(frozen=True)
class Labels:
    """One number per sample.

    Attributes:
        kind: ``classes`` or ``quantities``.
        values: shape ``[n]``: int64 for classes, float64 for quantities.
    """

    kind: Literal["classes", "quantities"]
    values: Tensor

    def counts(self) -> Counter[int]:
        """How many samples each class has."""
        return Counter(self.values.tolist())


def labels_of(values: Tensor) -> Labels | None:
    """The targets as classes or quantities; None where they are not one number per sample.

    Args:
        values: shape ``[n]``, ``[n, 1]``, or ``[n, classes]`` one-hot.
    """
    if values.is_complex() or values.dim() == 0 or not len(values):
        return None
    if _is_one_hot(values):
        return Labels("classes", values.argmax(1))
    if values.numel() != len(values) or not values.isfinite().all():
        return None
    flat = values.reshape(-1)
    if not flat.is_floating_point():
        return Labels("classes", flat.long())
    flat = flat.double()
    distinct = torch.unique(flat)
    few = 1 < len(distinct) <= min(_FEW, len(flat) / _OFTEN)
    if few and bool((distinct == distinct.round()).all()):
        return Labels("classes", flat.long())
    return Labels("quantities", flat)


def _is_one_hot(values: Tensor) -> bool:
    if values.dim() != _MATRIX or values.size(1) < _MATRIX or values.is_complex():
        return False
    hot = (values == 0) | (values == 1)
    return bool(hot.all()) and bool((values.sum(1) == 1).all())
