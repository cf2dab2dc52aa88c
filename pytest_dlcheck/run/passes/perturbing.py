"""Parameters that are moved for one pass of a batch, and whether its losses feel it. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.passes.passage import Passage, follow
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.norms import norms

EXACT, NOISY = 1e-6, 1e-3
"""Relative differences that count as one: on the CPU, and where kernels may add in any order."""
MOST = 24
"""Parameters of zeros that are perturbed one by one at most: those of a few blocks."""


class Zeros:
    """Parameters of nothing but zeros, among those without gradient.

    Args:
        rig: the recipe.
        parameters: with a gradient of exactly zero on the first batch.
    """

    def __init__(self, rig: Rig, parameters: Iterable[nn.Parameter]) -> None:
        self._rig = rig
        asked = {id(p) for p in parameters if p.numel() and not bool(p.any())}
        named = [(name, p) for name, p in rig.parameters.items() if id(p) in asked]
        self._zeros = dict(named[:MOST])
        self._factors = [name for name in self._zeros if name.rpartition(".")[2] != "bias"]
        self._felt: dict[tuple[str, ...], bool] = {}

    def product(self, own: Iterable[nn.Parameter], base: Passage) -> str:
        """Two of them, by name, of which the losses feel both together and neither alone.

        Args:
            own: one of these is among the two.
            base: the batch's passage without any change.
        """
        mine = {id(p) for p in own}
        pairs = (
            (one, other) if self._factors.index(one) < self._factors.index(other) else (other, one)
            for one in self._factors
            if id(self._zeros[one]) in mine
            for other in self._factors
            if one != other
        )
        found = next((pair for pair in pairs if self._is_product(pair, base)), ())
        return " and ".join(found)

    def _is_product(self, pair: tuple[str, str], base: Passage) -> bool:
        if not self._is_felt(tuple(self._zeros), base):
            return False
        if any(self._is_felt((name,), base) for name in pair):  # asked once of each, not of each pair
            return False
        return self._is_felt(pair, base)

    def _is_felt(self, names: tuple[str, ...], base: Passage) -> bool:
        if names not in self._felt:
            with perturbed(self._zeros[name] for name in names):
                moved = follow(self._rig)
            tolerance = EXACT if self._rig.device.type == "cpu" else NOISY
            pairs = zip(base.losses, moved.losses, strict=False)
            self._felt[names] = any(
                not are_close(one, other, tolerance) for (_, one), (_, other) in pairs
            )
        return self._felt[names]


def are_close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether a loss is what it was."""
    if one.isnan() and other.isnan():
        return True
    return bool((one - other).abs() <= tolerance * one.abs())


@contextmanager
def perturbed(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Noise as large as the parameter itself, or of 0.05 where it is smaller."""
    kept = [(p, p.detach().clone()) for p in parameters]
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter, old in kept:
            rms = float(norms([old])[0]) / max(1, old.numel()) ** 0.5
            noise = torch.randn(old.shape, generator=draws) * max(rms, 0.05)
            parameter.add_(noise.to(old.device, old.dtype))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, old in kept:
                parameter.copy_(old)
