"""Layers whose units hold the same weights: found, and measured. Nothing is run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

ALIKE = 1e-6
"""Largest difference between units that hold the same weights (ratio of the largest value)."""
_GATES = {nn.LSTM: 4, nn.LSTMCell: 4, nn.GRU: 3, nn.GRUCell: 3, nn.MultiheadAttention: 3}
"""Blocks of units with a role of their own, stacked in one parameter."""
LEAST_UNITS = 2
_MOST = 512
"""Units, and weights of each, that are enough to see the directions in which they differ."""


@dataclass(frozen=True)
class AlikeLayer:
    """Weights whose units start alike: slices along ``axis``, within each of ``blocks``."""

    name: str
    weight: nn.Parameter
    axis: int
    blocks: int = 1

    def are_alike(self, tensor: Tensor, tolerance: float) -> bool:
        """Whether no unit differs from the first of its block."""
        units = tensor.detach().movedim(self.axis, 0)
        units = units.reshape(self.blocks, units.size(0) // self.blocks, -1)
        gap = (units - units[:, :1]).abs().max()
        return bool(gap <= tolerance * units.abs().max())

    def together(self) -> float:
        """The share of the differences between units that lies along one direction (ratio).

        Random weights have many directions; units that began as one and were told apart by one
        number each (the weight of the layer behind) have one.
        """
        units = self.weight.detach().movedim(self.axis, 0)
        units = units.reshape(self.blocks, units.size(0) // self.blocks, -1)[:, :_MOST, :_MOST]
        apart = (units - units.mean(1, keepdim=True)).to("cpu", torch.float64)
        energies = torch.linalg.svdvals(apart).square()
        return float((energies[:, 0] / energies.sum(1).clamp(min=1e-300)).max())


def may_be_alike(weight: Tensor) -> bool:
    """Whether two units hold the same weights, whichever axis counts units."""
    return any(
        weight.size(axis) >= LEAST_UNITS
        and bool((weight.select(axis, 0) == weight.select(axis, 1)).all())
        for axis in (0, 1, weight.dim() - 1)
    )


def blocks_of(module: nn.Module, weight: Tensor) -> int:
    """How many blocks of units with a role of their own a parameter of the module stacks."""
    blocks = next((count for kind, count in _GATES.items() if isinstance(module, kind)), 1)
    square = weight.dim() > 1 and weight.size(0) == weight.size(1)
    return 1 if square or weight.size(0) % blocks else blocks


def units_axis(module: nn.Module, weight: Tensor) -> int:
    """Which axis of a parameter counts units, by its module: the last one in a matrix of one's own."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):  # noqa: SLF001
        return 1
    known = (nn.Linear, nn.modules.conv._ConvNd, *_GATES)  # noqa: SLF001
    return 0 if isinstance(module, known) else weight.dim() - 1
