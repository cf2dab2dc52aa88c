"""Which modules are called inside a forward that trains, and whether gradients were off there."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

IMAGE_AXES = 4
"""Samples, channels, height, width."""
CHANNELS = frozenset({1, 3})
"""Of grey images, and of coloured ones."""


@dataclass
class _Visit:
    module: weakref.ref[nn.Module]
    calls: int = 0
    without_gradients: int = 0
    images: tuple[int, ...] = ()
    """The shape of images that it was called on as they are."""


class Visits:
    """The calls of all modules, as long as all are heard."""

    def __init__(self) -> None:
        self._seen: dict[int, _Visit] = {}
        self._trains = False

    def begins(self, *, with_gradients: bool) -> None:
        """A forward begins; only those with gradients train."""
        self._trains = with_gradients

    def add(self, module: nn.Module, arguments: tuple[Any, ...] = ()) -> None:
        """A module is called."""
        if not self._trains:
            return
        visit = self._seen.get(id(module))
        if visit is None or visit.module() is not module:
            visit = self._seen[id(module)] = _Visit(weakref.ref(module))
        visit.calls += 1
        visit.without_gradients += not torch.is_grad_enabled()
        if isinstance(module, nn.Linear) and arguments:
            visit.images = _images(arguments[0]) or visit.images

    def is_before(self, one: nn.Module, other: nn.Module) -> bool:
        """Whether the first call of a part of one came before that of the other's."""
        order = {key: place for place, key in enumerate(self._seen)}
        first, second = (
            [order[id(m)] for m in model.modules() if id(m) in order] for model in (one, other)
        )
        return bool(first) and bool(second) and min(first) < min(second)

    def unflattened(self, model: nn.Module) -> str:
        """The first linear layer that was called on images, in words; empty where there is none."""
        for name, module in model.named_modules():
            visit = self._seen.get(id(module))
            if visit is not None and visit.module() is module and visit.images:
                return f"{name or 'the model'} is called on images {list(visit.images)}"
        return ""

    def of(self, module: nn.Module) -> tuple[int, int]:
        """How often it was called, and how often of these without gradients."""
        visit = self._seen.get(id(module))
        if visit is None or visit.module() is not module:
            return 0, 0
        return visit.calls, visit.without_gradients


def _images(batch: object) -> tuple[int, ...]:
    """The shape of a batch that nothing trainable has come before, where it is one of square images."""
    if not isinstance(batch, Tensor) or batch.requires_grad or batch.dim() != IMAGE_AXES:
        return ()
    _, channels, height, width = batch.shape
    return tuple(batch.shape) if channels in CHANNELS and height == width > 1 else ()
