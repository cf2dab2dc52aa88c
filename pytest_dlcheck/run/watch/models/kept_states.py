"""States that recurrent layers of a model are given by the call on the batch before. No judgement.

A model that keeps its hidden state in an attribute is called on its inputs alone: only within it can
be heard what its layers are given. Samples in random order have nothing to do with those before.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from pytest_dlcheck.run.modules.arguments import argument
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.watch.batches.loading import shuffles
from pytest_dlcheck.run.watch.batches.predecessors import predecessors
from pytest_dlcheck.run.watch.batches.seen import Seen
from pytest_dlcheck.trace import Row

LARGEST = 1 << 22
"""Bytes of a state up to which it is kept until the next call."""


@dataclass
class _Layer:
    """What is known of one.

    Attributes:
        state: the last one that it gave.
        batch: the number of the batch on which it gave that.
        calls: first calls on a further batch, and
        kept: those of them that were given that state.
        by_hand: whether no loader had given anything by then.
        stepwise: whether its model was then called several times before a backward.
    """

    state: Tensor | None = None
    batch: int = 0
    calls: int = 0
    kept: int = 0
    by_hand: bool = False
    stepwise: bool = False

    def was_called(self, given: Tensor | None, batch: int) -> None:
        """It was given a state, or none, while this batch is the last that was read."""
        if self.state is None or batch == self.batch:
            return
        self.calls += 1
        if given is not None and given.device == self.state.device and bool(given.any()):
            self.kept += torch.equal(given, self.state)


class KeptStates:
    """Hears recurrent layers while all calls are heard, on the batches of one loader that shuffles.

    A model is on such a batch where it is called on as many samples and numbers, and it was the last one
    read: a stream in its own order may be read beside it. Where no loader was read, each backward ends a
    batch; whether one goes on where another ended is told by the order that samples come in.
    """

    def __init__(self) -> None:
        self._layers: MutableMapping[nn.Module, _Layer] = WeakIdKeyDictionary()
        self._reading: weakref.ref[object] | None = None
        self._batch = 0
        self._size: tuple[int, int] | None = None
        """Samples and numbers of the last batch, where its loader shuffles."""
        self._is_on_it = False
        self._callees: set[int] = set()
        """What was called since the last backward, by identity, where no loader was read, and"""
        self._is_again = False
        """whether what is called now was among them."""

    def batch_is_read(self, reading: object, batch: object) -> None:
        """A loader's iterator has given a batch."""
        if self._reading is None or self._reading() is not reading:
            self._reading = weakref.ref(reading)
            self.forget()
        given = tensors(batch)[:1] if shuffles(reading) else []
        plain = next((each for each in given if not each.is_nested and each.dim()), None)
        self._size = None if plain is None else (len(plain), plain.numel())
        self._batch += 1

    def is_called(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """A module is called from outside of any."""
        if self._reading is None:
            self._is_on_it, self._is_again = True, id(module) in self._callees
            self._callees |= {id(module)} if torch.is_grad_enabled() else set()
            return
        first = next((each for each in tensors(arguments)[:1] if not each.is_nested), None)
        self._is_on_it = first is not None and any(
            (samples, first.numel()) == self._size for samples in first.shape[:2]
        )

    def backward_begins(self) -> None:
        """What is called from here on is on another batch, where no loader says so."""
        if self._reading is None:
            self._batch += 1
            self._callees = set()

    def returns(
        self, module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any], output: object
    ) -> None:
        """Any module has returned; what it was given by name is known only now."""
        if not self._hears(module):
            return
        layer = self._layers.setdefault(module, _Layer())
        layer.by_hand |= self._reading is None
        layer.stepwise |= self._reading is None and self._is_again
        state = argument(arguments, named, 1, "hx")
        layer.was_called(next(iter(tensors(state)), None), self._batch)
        outputs = output if isinstance(output, tuple) else (output,)
        given = tensors(outputs if isinstance(module, nn.RNNCellBase) else outputs[1:])
        is_plain = bool(given) and given[0].layout == torch.strided and not given[0].is_nested
        is_small = is_plain and given[0].nbytes <= LARGEST
        layer.state = given[0].detach().clone() if is_small else None
        layer.batch = self._batch

    def forget(self) -> None:
        """Not all calls are heard any more."""
        for layer in self._layers.values():
            layer.state = None

    def are_kept_by_hand(self) -> bool:
        """Whether it is to be asked in which order samples come, as no loader tells."""
        return any(
            layer.by_hand and not layer.stepwise and layer.kept == layer.calls > 0
            for layer in self._layers.values()
        )

    def rows(self, model: nn.Module, trained: Sequence[Seen]) -> tuple[Row, ...]:
        """A row per recurrent layer of a model that was called on several batches.

        Args:
            model: which.
            trained: batches that it was trained on, which tell in which order samples come.
        """
        order = Row()
        if self.are_kept_by_hand():
            Seen.read(trained)
            order = predecessors(trained)
        return tuple(
            Row(
                kind="state",
                site=name or type(module).__name__,
                type=type(module).__name__,
                calls=layer.calls,
                turned=layer.kept,
                by_hand=layer.by_hand,
                **(order if layer.by_hand else {}),
            )
            for name, module in model.named_modules()
            if (layer := self._layers.get(module)) is not None and layer.calls and not layer.stepwise
        )

    def _hears(self, module: nn.Module) -> bool:
        trains = self._is_on_it and torch.is_grad_enabled()
        return trains and isinstance(module, nn.RNNBase | nn.RNNCellBase)
