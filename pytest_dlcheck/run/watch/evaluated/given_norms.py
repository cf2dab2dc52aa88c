"""What a normalisation is evaluated on, beside its statistics of before and of now. No judgement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

SAMPLES, NUMBERS = 256, 1 << 18
"""Samples, and about as many numbers of them, whose statistics are taken where they are evaluated."""
_AXES = 2
"""Samples and channels."""
_LEAST = 1e-5
"""Added to variances, as torch's normalisations do."""
Statistics = tuple[Tensor, Tensor]
"""Means and variances of channels."""


@dataclass(frozen=True)
class Given:
    """What a normalisation, by its identity, is evaluated on: how many samples, and their statistics."""

    norm: int
    samples: int
    statistics: Statistics

    @classmethod
    def of(cls, norm: nn.Module, arguments: Any) -> Given | None:
        """Those of some of them; None where there is no such batch."""
        batch = arguments[0] if arguments and isinstance(arguments[0], Tensor) else None
        if batch is None or batch.dim() < _AXES or not batch.numel() or batch.is_complex():
            return None
        some = batch.detach()[:SAMPLES]
        if (places := some.dim() - _AXES) and some.numel() > NUMBERS:
            stride = math.ceil((some.numel() / NUMBERS) ** (1 / places))
            some = some[(slice(None), slice(None), *[slice(None, None, stride)] * places)]
        axes = [axis for axis in range(some.dim()) if axis != 1]
        variance, mean = torch.var_mean(some.float(), axes, correction=0)
        return cls(id(norm), len(batch), (mean, variance))

    def against(self, before: Statistics, now: Statistics) -> Tensor | None:
        """How far the statistics of before, and those of now, are from these: shape ``[2]``."""
        every = (*before, *now, *self.statistics)
        if any(each.shape != every[0].shape or each.device != every[0].device for each in every):
            return None
        return torch.stack([_apart(each, self.statistics) for each in (before, now)])


def averaged(norm: _BatchNorm, steps: int) -> float:
    """How many equally weighed batches its running statistics are worth, so many steps later.

    Args:
        norm: which.
        steps: batches that it has counted, at least: without a momentum it weighs all of them alike.
    """
    if norm.momentum is None:
        return max(1, steps)
    return (2 - norm.momentum) / norm.momentum if norm.momentum > 0 else math.inf


def statistics_of(norm: _BatchNorm) -> Statistics:
    """Copies of its running ones."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.detach().float().clone(), norm.running_var.detach().float().clone()


def _apart(one: Statistics, other: Statistics) -> Tensor:
    """How far two are apart, the median channel's: means in standard deviations, and log of these."""
    (mean, variance), (mean_2, variance_2) = one, other
    spread = ((variance + variance_2) / 2 + _LEAST).sqrt()
    ratio = ((variance + _LEAST) / (variance_2 + _LEAST)).log() / 2
    return (((mean - mean_2) / spread).square() + ratio.square()).sqrt().median()
