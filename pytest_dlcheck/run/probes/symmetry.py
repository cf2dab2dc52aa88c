"""What became of units that started as copies of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from pytest_dlcheck.run.modules.alike import (
    ALIKE,
    LEAST_UNITS,
    AlikeLayer,
    blocks_of,
    may_be_alike,
    units_axis,
)
from pytest_dlcheck.run.probe import Probe
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.trace import Row
from pytest_dlcheck.trial import Trial

_STILL = 0.01
"""Largest difference between units that are still alike after a training (ratio)."""
_FEWEST = 8
"""Units of a layer, and weights of each, below which there are few directions to differ in."""


class SymmetryProbe(Probe[Rig]):
    """Fills ``symmetry``: a row per layer whose units held the same weights at the start.

    ``still`` tells whether they do at the end. ``together`` is the share of their differences that
    lies along one direction then; None for zeros, which have learned what they hold, and for layers
    with few directions to differ in.
    """

    channels = frozenset({"symmetry"})

    def begin(self, rig: Rig, trial: Trial) -> None:
        """Look for such layers."""
        del trial
        self._layers = {
            name: found
            for name, weight in rig.model.named_parameters()
            if weight.dim() > 1 and weight.requires_grad and weight.is_floating_point()
            if may_be_alike(weight.detach())
            if (found := _layers(rig.model.get_submodule(name.rpartition(".")[0]), name, weight))
        }
        self._many = {name for name, found in self._layers.items() if _has_directions(rig, found[0])}

    def filled(self) -> Mapping[str, Sequence[Row]]:
        """The rows."""
        return {
            "symmetry": tuple(
                Row(
                    site=name.removesuffix(".weight"),
                    still=any(layer.are_alike(layer.weight, _STILL) for layer in found),
                    together=found[0].together() if name in self._many else None,
                )
                for name, found in self._layers.items()
            )
        }


def _layers(module: nn.Module, name: str, weight: nn.Parameter) -> list[AlikeLayer]:
    """The parameter, by each axis along which its units are alike; the likeliest axis first."""
    blocks, axes = blocks_of(module, weight), (units_axis(module, weight), 0, weight.dim() - 1)
    layers = (AlikeLayer(name, weight, axis, blocks if axis == 0 else 1) for axis in dict.fromkeys(axes))
    several = (layer for layer in layers if weight.size(layer.axis) // layer.blocks >= LEAST_UNITS)
    return [layer for layer in several if layer.are_alike(weight, ALIKE)]


def _has_directions(rig: Rig, layer: AlikeLayer) -> bool:
    module = rig.model.get_submodule(layer.name.rpartition(".")[0])
    units, weight = layer.weight.size(layer.axis) // layer.blocks, layer.weight.detach()
    few = min(units, weight.numel() // weight.size(layer.axis)) < _FEWEST
    return not few and getattr(module, "groups", 1) == 1 and bool(weight.any())
