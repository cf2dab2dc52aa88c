"""Which modules are called inside a forward that trains, and whether gradients were off there."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.code.lines import line_of_the_loop

IMAGE_AXES = 4
"""Samples, channels, height, width."""
CHANNELS = frozenset({1, 3})
"""Of grey images, and of coloured ones."""


@dataclass
class _Visit:
    calls: int = 0
    without_gradients: int = 0
    line: str = ""
    """Where it was last called without gradients."""
    images: tuple[int, ...] = ()
    """The shape of images that it was called on as they are."""
    within: weakref.ref[nn.Module] | None = None
    """The module called from outside of any other, inside of whose forward it was called last."""
    gives_a_loss: bool = False
    """Whether a scalar with a graph is among its results."""


class Visits:
    """The calls of all modules, as long as all are heard."""

    def __init__(self) -> None:
        self._seen: MutableMapping[nn.Module, _Visit] = WeakIdKeyDictionary()
        self._aside: MutableMapping[nn.Module, bool] = WeakIdKeyDictionary()
        """Modules that were called so, a set."""
        self._trains = False
        self._outermost: weakref.ref[nn.Module] | None = None

    def begins(self, *, with_gradients: bool) -> None:
        """A forward begins; only those with gradients train."""
        self._trains = with_gradients

    def add(
        self, module: nn.Module, arguments: tuple[Any, ...] = (), *, outermost: bool = False
    ) -> None:
        """A module is called, from outside of any module or within one."""
        if outermost:
            self._outermost = weakref.ref(module)
        if not self._trains:
            self._aside[module] = True
            return
        visit = self._seen.get(module)
        if visit is None:
            visit = self._seen[module] = _Visit()
        visit.calls += 1
        visit.within = None if outermost else self._outermost
        if not torch.is_grad_enabled():
            visit.without_gradients += 1
            visit.line = line_of_the_loop()
        if isinstance(module, nn.Linear) and arguments:
            visit.images = _images(arguments[0]) or visit.images

    def is_before(self, one: nn.Module, other: nn.Module) -> bool:
        """Whether the first call of a part of one came before that of the other's."""
        order = {id(seen): place for place, seen in enumerate(self._seen)}
        first, second = (
            [order[id(m)] for m in model.modules() if id(m) in order] for model in (one, other)
        )
        return bool(first) and bool(second) and min(first) < min(second)

    def returns(self, module: nn.Module, output: object) -> None:
        """A module has returned that was called from outside of any."""
        if (visit := self._seen.get(module)) is not None and self._trains:
            visit.gives_a_loss |= _holds_a_loss(output)

    def gives_a_loss(self, module: nn.Module) -> bool:
        """Whether it computes a loss within its forward."""
        visit = self._seen.get(module)
        return visit is not None and visit.gives_a_loss

    def host_of(self, module: nn.Module) -> nn.Module | None:
        """Inside of whose forward it, or a module that it holds, was called; not one that it holds."""
        parts = list(module.modules())
        visits = [visit for part in parts if (visit := self._seen.get(part)) is not None]
        hosts = [host for visit in visits if visit.within is not None and (host := visit.within())]
        return next((host for host in hosts if all(host is not part for part in parts)), None)

    def unflattened(self, model: nn.Module) -> str:
        """The first linear layer that was called on images, in words; empty where there is none."""
        for name, module in model.named_modules():
            visit = self._seen.get(module)
            if visit is not None and visit.images:
                return f"{name or 'the model'} is called on images {list(visit.images)}"
        return ""

    def are_aside(self, module: nn.Module) -> bool:
        """Whether a module, or one that it holds, was called where gradients were off from outside."""
        return any(part in self._aside for part in module.modules())

    def line_of(self, module: nn.Module) -> str:
        """``file.py:42``: where a module, or one that it holds, was called without gradients."""
        found = (self._seen.get(part) for part in module.modules())
        return next((visit.line for visit in found if visit is not None and visit.line), "")

    def of(self, module: nn.Module) -> tuple[int, int]:
        """How often it was called, and how often of these without gradients."""
        visit = self._seen.get(module)
        return (0, 0) if visit is None else (visit.calls, visit.without_gradients)


def _holds_a_loss(output: object) -> bool:
    if isinstance(output, Mapping):
        output = list(output.values())
    results = output if isinstance(output, list | tuple) else [output]
    return any(isinstance(one, Tensor) and not one.dim() and one.requires_grad for one in results)


def _images(batch: object) -> tuple[int, ...]:
    """The shape of a batch that nothing trainable has come before, where it is one of square images."""
    if not isinstance(batch, Tensor) or batch.requires_grad or batch.dim() != IMAGE_AXES:
        return ()
    _, channels, height, width = batch.shape
    return tuple(batch.shape) if channels in CHANNELS and height == width > 1 else ()
