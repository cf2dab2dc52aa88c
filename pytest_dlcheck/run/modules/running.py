"""Modules with running statistics: what they hold, and what one batch would have them hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy

from pytest_dlcheck.run.modules.direct import direct
from pytest_dlcheck.run.tensors.tree import tensors

_MEAN = re.compile(r"(running|moving)_?(mean|avg|mu)$")
_SPREAD = re.compile(r"(running|moving)_?(variance|var|std|sigma)$")
_EPS = 1e-5
_DIFFERENT = 0.1
"""Relative distance from which on a direction towards something can be told."""


@dataclass(frozen=True)
class Statistics:
    """A mean and a variance per channel, float64 of shape ``[channels]`` on the CPU."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def average(cls, several: list[Statistics]) -> Statistics:
        """The mean of means and of variances: what a running average settles at."""
        means = torch.stack([one.mean for one in several]).mean(0)
        return cls(means, torch.stack([one.variance for one in several]).mean(0))

    def divergence(self, other: Statistics, eps: float = _EPS) -> float:
        """Kullback-Leibler divergence of normal distributions, self from other: the median channel's.

        In nats. 0.1 is a standard deviation off by a quarter, or a mean by 0.45 standard deviations.
        """
        ratio = (self.variance + eps) / (other.variance + eps)
        shift = (self.mean - other.mean) ** 2 / (other.variance + eps)
        return float((0.5 * (ratio - 1 - ratio.log() + shift)).median())

    def is_initial(self) -> bool:
        """Whether it is what every layer begins with: means of 0, variances of 1."""
        return not bool(self.mean.any()) and bool((self.variance == 1).all())


def travelled(start: Statistics, end: Statistics, goal: Statistics, eps: float = _EPS) -> float:
    """How far statistics went, whatever the direction, over the way to the goal (ratio)."""
    unit = (goal.variance + eps).sqrt()

    def way(one: Statistics) -> Tensor:
        spread = ((one.variance + eps) / (start.variance + eps)).log() / 2
        return torch.cat([(one.mean - start.mean) / unit, spread])

    whole = float(way(goal).norm())
    return float(way(end).norm()) / whole if whole > 0 else 1.0


class Running:
    """A module that keeps running statistics of its input, torch's own or one of the user's.

    Args:
        site: its dotted name.
        module: the module.
        mean, spread: the names of its buffers.
    """

    def __init__(self, site: str, module: nn.Module, mean: str, spread: str) -> None:
        self.site, self.module = site, module
        self._mean, self._spread = mean, spread
        self.own = isinstance(module, _NormBase)
        """Whether torch's own code moves the statistics."""

    @classmethod
    def of(cls, site: str, module: nn.Module) -> Running | None:
        """The module as one with running statistics; None where it has none."""
        if isinstance(module, torch.jit.ScriptModule):
            return None
        found = {name: b for name, b in module.named_buffers(recurse=False) if not is_lazy(b)}
        mean = next((name for name in found if _MEAN.search(name)), None)
        spread = next((name for name in found if _SPREAD.search(name)), None)
        if mean is None or spread is None or found[mean].numel() != found[spread].numel():
            return None
        return cls(site, module, mean, spread)

    @property
    def momentum(self) -> float | None:
        """The share of a new batch as declared; None for a plain average, or where none is declared."""
        declared = getattr(self.module, "momentum", None)
        return float(declared) if self.own and isinstance(declared, (int, float)) else None

    @property
    def is_frozen(self) -> bool:
        """Whether it has parameters, and none of them trains."""
        mine = direct(self.module)
        return bool(mine) and not any(p.requires_grad for p in mine)

    def held(self) -> Statistics:
        """What it holds now."""
        buffers = dict(self.module.named_buffers(recurse=False))
        mean, spread = (
            buffers[n].detach().to("cpu").double().flatten() for n in (self._mean, self._spread)
        )
        return Statistics(mean.clone(), spread**2 if "var" not in self._spread else spread.clone())

    def of_batch(self, given: Any) -> Statistics | None:
        """The statistics of one input, as this kind of module takes them."""
        found = [t for t in tensors(given) if t.is_floating_point()]
        channels = dict(self.module.named_buffers(recurse=False))[self._mean].numel()
        if not found or (axis := _axis(found[0], channels)) is None:
            return None
        x = found[0].detach().float()
        if axis == 1 and x.is_cpu and not isinstance(self.module, _InstanceNorm):
            variance, mean = _of_channels(x)
            return Statistics(mean.double(), variance.double())
        x = x.movedim(axis, 0)
        if isinstance(self.module, _InstanceNorm) and x.dim() > 1:
            each = x.flatten(2) if x.dim() > 2 else x.unsqueeze(-1)  # noqa: PLR2004  channel, sample, place
            variance, mean = (part.mean(1) for part in _variance_and_mean(each))
        else:
            variance, mean = _variance_and_mean(x.reshape(channels, -1))
        return Statistics(mean.to("cpu").double(), variance.to("cpu").double())

    def mixes(self, given: Any) -> bool:
        """Whether its output for a sample depends on the others: torch's own does, in train mode."""
        if self.own:
            return isinstance(self.module, _BatchNorm) and self.module.training
        x = next(t for t in tensors(given) if t.is_floating_point())
        half = x[: len(x) // 2]
        if not len(half):
            return False
        whole, part = tensors(self.module(x))[0][: len(half)], tensors(self.module(half))[0]
        return bool((whole - part).norm() > 1e-3 * part.norm())

    def one_more(self, given: Any, goal: Statistics) -> tuple[float | None, float | None]:
        """Where one more call moves the statistics.

        Returns:
            The cosine with the way to the goal: 1 for a running average, whatever its momentum; the
            lesser of mean and variance. And how far it goes over that way: its momentum. None where
            they are as good as there, or stand still.
        """
        before = self.held()
        self.module(next(t for t in tensors(given) if t.is_floating_point()))
        after = self.held()
        pairs = ((before.mean, after.mean, goal.mean), (before.variance, after.variance, goal.variance))
        moves = [
            (new - old, aim - old)
            for old, new, aim in pairs
            if (aim - old).norm() > _DIFFERENT * aim.norm() and not torch.equal(new, old)
        ]
        cosines = [float(nn.functional.cosine_similarity(a, b, dim=0)) for a, b in moves]
        shares = [float(move.norm() / way.norm()) for move, way in moves]
        return min(cosines, default=None), min(shares, default=None)


def samples_of(given: Any) -> int:
    """The size of the batch that a module is given; 0 where it is given none."""
    found = [t for t in tensors(given) if t.is_floating_point() and t.dim()]
    return found[0].size(0) if found else 0


def _axis(x: Tensor, channels: int) -> int | None:
    if x.dim() > 1 and x.size(1) == channels:
        return 1
    return x.dim() - 1 if x.dim() and x.size(-1) == channels else None


def _of_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`_variance_and_mean`, by what batch normalisation asks itself: it copies nothing."""
    mean, variance = x.new_zeros(x.size(1)), x.new_zeros(x.size(1))
    if x.numel() > x.size(1):
        torch.batch_norm_update_stats(x, mean, variance, 1.0)
        return variance, mean
    return variance, x.reshape(-1)


def _variance_and_mean(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Over the last axis, unbiased as running variances are; 0 where there is one value."""
    return torch.var_mean(rows, -1, correction=1 if rows.size(-1) > 1 else 0)
