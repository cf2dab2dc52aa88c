"""Which modules are called inside a forward that trains, and whether gradients were off there."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class _Visit:
    module: weakref.ref[nn.Module]
    calls: int = 0
    without_gradients: int = 0


class Visits:
    """The calls of all modules, as long as all are heard."""

    def __init__(self) -> None:
        self._seen: dict[int, _Visit] = {}
        self._trains = False

    def begins(self, *, with_gradients: bool) -> None:
        """A forward begins; only those with gradients train."""
        self._trains = with_gradients

    def add(self, module: nn.Module) -> None:
        """A module is called."""
        if not self._trains:
            return
        visit = self._seen.get(id(module))
        if visit is None or visit.module() is not module:
            visit = self._seen[id(module)] = _Visit(weakref.ref(module))
        visit.calls += 1
        visit.without_gradients += not torch.is_grad_enabled()

    def of(self, module: nn.Module) -> tuple[int, int]:
        """How often it was called, and how often of these without gradients."""
        visit = self._seen.get(id(module))
        if visit is None or visit.module() is not module:
            return 0, 0
        return visit.calls, visit.without_gradients
