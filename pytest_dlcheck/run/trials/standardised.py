"""The ``standardised`` trial: batches whose large inputs are brought to unit scale."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.crossing import Crossing
from pytest_dlcheck.run.tensors.tree import map_tensors

LARGE = 10.0
"""RMS from which on an input is brought to unit scale; sixteen grey levels have 8."""
_BATCHES = 8
"""Batches that means and deviations are taken from."""
_TABLE = 2
"""Axes of a table, each of whose columns is a feature of its own."""
_LEAST = 1e-6
"""Standard deviation, relative to the rms, below which a feature is constant."""


class Standardised:
    """The rig's batches, with every large input less its mean, over its standard deviation.

    Args:
        rig: the recipe, before its first step.

    Raises:
        NotApplicableError: no input is large, or inputs and targets cannot be told apart.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._crossing = Crossing(rig.recipe, rig.batch)
        parts = [self._crossing.split(batch)[0] for batch in rig.look_ahead(_BATCHES)]
        alike = [inputs for inputs in parts if len(inputs) == len(parts[0])]
        self._scales = [_scale([x for x in one if _fits(x, one[0])]) for one in zip(*alike, strict=True)]
        if not any(self._scales):
            raise NotApplicableError("no input is so large that it has to be scaled")

    def __call__(self) -> Any:
        """The next batch."""
        batch = self._rig.next_batch()
        inputs, _ = self._crossing.split(batch)
        scaled = {
            id(x): (x - scale[0]) / scale[1]
            for x, scale in zip(inputs, self._scales, strict=False)
            if scale is not None and x.is_floating_point()
        }
        return map_tensors(batch, lambda tensor: scaled.get(id(tensor), tensor))


def _fits(one: Tensor, other: Tensor) -> bool:
    return one.shape[1:] == other.shape[1:] and one.dtype == other.dtype


def _scale(parts: list[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation: of each feature of a table, of all of anything else."""
    first = parts[0]
    if not first.is_floating_point() or first.layout != torch.strided or not first.numel():
        return None
    together = torch.cat(parts) if first.dim() else torch.stack(parts)
    rms = together.float().square().mean().sqrt()
    if not rms >= LARGE:
        return None
    if together.dim() == _TABLE:
        mean, deviation = together.mean(0), together.std(0)
    else:
        mean, deviation = together.mean(), together.std()
    return mean, torch.where(deviation > _LEAST * rms, deviation, torch.ones_like(deviation))
