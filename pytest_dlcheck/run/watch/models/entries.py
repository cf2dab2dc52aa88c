"""How large the data are where they meet a model's first weights, and how many samples its norms mix.

Heard while all modules are, of the first calls that train. It judges nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.modules.entries import Entry, entry_of, entry_row
from pytest_dlcheck.run.modules.running import samples_of
from pytest_dlcheck.trace import Row

FIRST = 2
"""Layers with weights that are heard of a call: the first, and what may mend its outputs."""


@dataclass
class _Norm:
    calls: int = 0
    most: int = 0


@dataclass
class _Call:
    """The first call of a model that trains."""

    model: weakref.ref[nn.Module]
    row: Row | None = None
    heard: list[Entry] = field(default_factory=list)


class Entries:
    """The calls of layers with weights, and of those that normalise by the batch."""

    def __init__(self) -> None:
        self._calls: MutableMapping[nn.Module, _Call] = WeakIdKeyDictionary()
        self._open: _Call | None = None
        self._norms: MutableMapping[nn.Module, _Norm] = WeakIdKeyDictionary()

    def is_called(self, module: nn.Module, *, outermost: bool) -> None:
        """Any module is called, from outside of any or within one."""
        if not outermost:
            return
        self.forget_open_calls()
        if torch.is_grad_enabled() and module not in self._calls:
            self._open = self._calls[module] = _Call(weakref.ref(module))

    def returns(self, module: nn.Module, arguments: tuple[Any, ...], output: object) -> None:
        """Any module has returned."""
        if isinstance(module, _BatchNorm) and module.training and torch.is_grad_enabled():
            self._count(module, arguments)
        call = self._open
        if call is None:
            return
        entry = entry_of("", module, arguments, output) if call.row is None else None
        if entry is not None and _can_be_read(entry):
            call.heard.append(entry)
            if len(call.heard) == FIRST:
                _tell(call)
        if call.model() is module:
            _tell(call)
            self._open = None

    def forget_open_calls(self) -> None:
        """Calls that raised are over."""
        if self._open is not None:
            self._open.heard = []
        self._open = None

    def scale(self, model: nn.Module) -> tuple[Row, ...]:
        """How large the data are that come first to a model, or to a part of it that is called alone."""
        parts = set(map(id, model.modules()))
        for root, call in self._calls.items():
            if call.row is None:
                continue
            if id(root) in parts or any(part is model for part in root.modules()):
                return (call.row,)
        return ()

    def norms(self, model: nn.Module) -> tuple[Row, ...]:
        """A row per layer that normalises by the batch: the most samples that it was given at once."""
        return tuple(
            Row(
                name=name or "model",
                type=type(module).__name__,
                calls=norm.calls,
                samples=norm.most,
                tracks=module.track_running_stats,
                frozen=module.affine and not module.weight.requires_grad,
            )
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm)
            and not isinstance(module, nn.SyncBatchNorm)
            and (norm := self._norms.get(module)) is not None
        )

    def _count(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        norm = self._norms.get(module)
        if norm is None:
            norm = self._norms[module] = _Norm()
        norm.calls += 1
        norm.most = max(norm.most, samples_of(arguments))


def _can_be_read(entry: Entry) -> bool:
    """Whether its tensors hold numbers here: no shares of others, and nothing that is only recorded."""
    tensors = entry.given, entry.made
    plain = all(type(t) in {Tensor, nn.Parameter} and not t.is_meta for t in tensors)
    return plain and not (entry.given.is_cuda and torch.cuda.is_current_stream_capturing())


def _tell(call: _Call) -> None:
    """Put what was heard into numbers, and let the tensors go."""
    heard, call.heard = call.heard, []
    if heard and (root := call.model()) is not None:
        names = {id(module): name for name, module in root.named_modules()}
        for entry in heard:
            entry.site = names.get(id(entry.module), "")
        with torch.no_grad():
            call.row = entry_row(heard, 0)
