"""Optimizers that are there and never step, while backward fills their parameters' gradients."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.scene import parameters_of


@dataclass
class _Bystander:
    optimizer: weakref.ref[torch.optim.Optimizer]
    name: str
    keys: set[int]
    looks: int = 0
    """How often its parameters had gradients that were not there when it was looked at before."""
    reached: int = 0
    """How many of the losses looked at reached them."""
    seen: tuple[weakref.ref[Tensor], int] | None = None


OFTEN = 3
"""Looks, at doubling numbers of steps, after which an optimizer that has not stepped never will."""
TWICE = 2
"""Losses, of the few that are looked at, that have reached its parameters."""


class Bystanders:
    """All optimizers that live, whether they ever step or not."""

    def __init__(self) -> None:
        self._known: dict[int, _Bystander] = {}

    def note(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """These are there."""
        for optimizer in optimizers:
            known = self._known.get(id(optimizer))
            if known is None or known.optimizer() is not optimizer:
                keys = {id(p) for p in parameters_of(optimizer)}
                name = type(optimizer).__name__
                self._known[id(optimizer)] = _Bystander(weakref.ref(optimizer), name, keys)

    def are_reached(self, leaves: set[int]) -> None:
        """A backward leaves gradients in these parameters, by identity; they may be reset at once."""
        for bystander in self._known.values():
            bystander.reached += bool(bystander.keys & leaves)

    def look(self) -> None:
        """Look whose parameters have gradients."""
        for bystander in self._known.values():
            optimizer = bystander.optimizer()
            found = (p.grad for p in parameters_of(optimizer) if p.grad is not None) if optimizer else ()
            gradient = next(iter(found), None)
            if gradient is None or gradient.is_inference():
                continue
            version = gradient._version  # noqa: SLF001  torch's autograd note names it
            old, bystander.seen = bystander.seen, (weakref.ref(gradient), version)
            bystander.looks += old is None or old[0]() is not gradient or old[1] != version

    def idle(self, stepped: set[int]) -> list[str]:
        """The names of those whose parameters had gradients, and that nothing ever stepped."""
        often = (b for b in self._known.values() if b.looks >= OFTEN or b.reached >= TWICE)
        return [b.name for b in often if not b.keys & stepped]
