"""Data sets of which only one batch is ever read, as their loader is begun anew each time. No judgement.

Told of each data set by itself: beside one that is begun anew, others may be read to their ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from pytest_dlcheck.run.tensors.rows_within import is_array
from pytest_dlcheck.run.tensors.tree import first_tensor, tensors
from pytest_dlcheck.run.watch.batches.few import Few
from pytest_dlcheck.run.watch.batches.loading import Loading, shuffles
from pytest_dlcheck.run.watch.taps.once import Once
from pytest_dlcheck.trace import Row

COMPARED = 24
"""First batches of a data set that are held against its first, and followed."""
SOURCES = 16
"""Data sets that are told apart."""
TENSORS = 4
"""Tensors of a batch that are compared."""
NUMBERS = 256
"""Numbers of a batch by which it is known again."""


@dataclass
class _Source:
    """One data set.

    Attributes:
        length: batches that its loader has, 0 where that is not known.
        first: numbers of the batch that was read first, of each of its tensors.
        begun: iterators that gave a batch.
        alike: first batches that were as the first, of those that were compared.
        trained: those through which a model's parameters were given gradients.
        goes_on: whether another batch than a first was read, or there is none.
        keys: the parameters of the models through which it did.
    """

    length: int
    first: tuple[Few, ...]
    begun: int = 1
    compared: int = 0
    alike: int = 0
    trained: int = 0
    goes_on: bool = False
    keys: set[int] = field(default_factory=set)

    @property
    def is_open(self) -> bool:
        """Whether it still seems to be read so."""
        return not self.goes_on and self.alike == self.compared and self.length != 1


class Restarts:
    """All data sets that loaders read.

    Args:
        guard: stands before what models call.
        loading: counts what is read, also what is not heard here: more batches of a pass.
    """

    def __init__(
        self, guard: Callable[[Callable[..., None]], Callable[..., None]], loading: Loading
    ) -> None:
        self._guard, self._loading = guard, loading
        self._sources: dict[int, _Source] = {}
        self._last: _Source | None = None
        self._begun = self._batches = 0
        self._waits: tuple[_Source, Few] | None = None
        """A batch of a data set that was begun anew, until a model is given it."""

    def read(self, iterator: object, batch: object) -> None:
        """A loader's iterator has given a batch, which is counted already."""
        self._catch_up(heard=1)
        is_first, self._begun = self._loading.begun > self._begun, self._loading.begun
        key = id(getattr(iterator, "_dataset", None))
        source = self._sources.get(key)
        if source is not None and source.is_open and is_first:
            self._begins_anew(source, iterator, batch)
        elif source is not None:
            source.goes_on |= not is_first
        elif len(self._sources) < SOURCES and (first := _numbers(batch)):
            source = _Source(self._loading.length, first, goes_on=not is_first or shuffles(iterator))
            self._sources[key] = source
        self._last = source

    def ends(self, iterator: object) -> None:
        """A loader's iterator has no more batches: of a data set of unknown length, it has one."""
        source = self._sources.get(id(getattr(iterator, "_dataset", None)))
        if source is not None and not source.length:
            source.goes_on = True

    def is_called(self, module: nn.Module, arguments: Any) -> None:
        """A model is called in order to train."""
        given = None if self._waits is None else first_tensor(arguments)
        if self._waits is None or given is None:
            return
        source, batch = self._waits
        if _is_among(batch, given):
            self._waits = None

            def gives(output: object) -> None:
                self._follow(source, module, output)

            Once(module, self._guard(gives))

    def rows(self, keys: set[int], steps: int) -> tuple[Row, ...]:
        """Of those that a model with some of these parameters was trained on.

        Args:
            keys: the parameters, by their identity.
            steps: of their optimizer.
        """
        self._catch_up(heard=0)
        return tuple(
            Row(
                begun=source.begun,
                length=source.length,
                compared=source.compared,
                trained=source.trained,
                others=len(self._sources) - 1,
                steps=steps,
            )
            for source in self._sources.values()
            if source.is_open and source.keys & keys
        )

    def _catch_up(self, *, heard: int) -> None:
        """Were more batches of the last pass read, but for those that are heard now?"""
        passed, self._batches = self._loading.batches - self._batches, self._loading.batches
        if self._last is not None and passed > heard:
            self._last.goes_on = True

    def _begins_anew(self, source: _Source, iterator: object, batch: object) -> None:
        source.begun += 1
        source.goes_on |= shuffles(iterator)
        self._waits = None
        if source.compared < COMPARED:
            source.compared += 1
            found, first = _numbers(batch), source.first
            if len(found) == len(first) and all(map(_is_as, found, first)):
                source.alike += 1
                self._waits = source, found[0]

    def _follow(self, source: _Source, module: nn.Module, output: object) -> None:
        trains = [p for p in module.parameters() if p.requires_grad]

        def comes_back(_: Tensor) -> None:
            before = [_state(p) for p in trains]

            def is_over() -> None:
                if before != [_state(p) for p in trains]:
                    source.trained += 1
                    source.keys |= set(map(id, trains))

            Variable._execution_engine.queue_callback(self._guard(is_over))  # noqa: SLF001  public only by name

        for each in tensors(output)[:1]:
            if each.requires_grad:
                each.register_hook(self._guard(comes_back))  # type: ignore[no-untyped-call]


def _state(parameter: Tensor) -> tuple[int, int]:
    """By which it is told whether a gradient is written: ``autograd.grad`` writes none."""
    gradient = parameter.grad
    return (0, 0) if gradient is None else (id(gradient), gradient._version)  # noqa: SLF001  as torch's note names it


def _numbers(batch: object) -> tuple[Few, ...]:
    """Of each tensor: one alone, as a grid or a mask, may be the same in all batches."""
    return tuple(few for each in tensors(batch)[:TENSORS] if (few := _few(each)) is not None)


def _is_as(one: Few, other: Few) -> bool:
    return one.shape == other.shape and one.is_as(other)


def _few(found: Tensor | None) -> Few | None:
    if found is None or not is_array(found) or not found.numel():
        return None
    flat = found.detach().reshape(-1)
    return Few(found.shape, flat[:: max(1, len(flat) // NUMBERS) | 1].clone())


def _is_among(batch: Few, given: Tensor) -> bool:
    """Whether a model is called on a batch, in another shape perhaps, or with rows of others beside."""
    shape = batch.shape
    parts = [given] if given.numel() == shape.numel() else []
    if not parts and given.dim() and len(shape) and given.shape[1:] == shape[1:]:
        parts = [given[: shape[0]], given[-shape[0] :]]
    wanted = batch.values.cpu().double()
    found = (few.values.cpu().double() for part in parts if (few := _few(part)) is not None)
    return any(torch.equal(values, wanted) for values in found)
