"""Frozen normalisations in train mode, and what an earlier training left that is evaluated behind them.

No judgement. What the present training calls is never told: such modules are let go at their first call.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.batchnorm import _BatchNorm

from pytest_dlcheck.run.modules.direct import direct
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.watch.evaluated.given_norms import Given, averaged, statistics_of
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.taps.overheard import Overheard
from pytest_dlcheck.trace import Row

STEPS = 16
"""Steps (count) of the present training after which what it has not called is no part of it, though
layers may be left out at random; as many move statistics 80% of their way at torch's momentum of 0.1."""
MANY = 1e6
"""Batches (count) from which on statistics do not move by themselves."""
RESULTS = 8
"""Results (count) of what holds such a normalisation that are remembered: those of one call."""
DISTANCES = ("from_before", "from_now", "best_from_before", "best_from_now")
"""Of what a head is evaluated on most, and of what fits the statistics of now best."""

_Result = tuple[weakref.ref[nn.Module], StorageWeakRef, Given | None]
"""Who has given it, in which memory, and of what."""


class Drift:
    """One training over parts that stand still but for their statistics.

    Args:
        strand: what trains.
        held: the parameters that it steps, by identity.
        norms: frozen, in train mode, trained before; and their names.
        heads: what was trained before and is not stepped now, and their names.
        guard: stands before what modules call.
    """

    def __init__(
        self,
        strand: Strand,
        held: set[int],
        norms: Sequence[tuple[_BatchNorm, str]],
        heads: Sequence[tuple[nn.Module, str]],
        guard: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self.strand, self.held = strand, held
        self._guard, self._began = guard, strand.step
        self._norms = {id(norm): name for norm, name in norms}
        self._before = {id(norm): (weakref.ref(norm), *statistics_of(norm)) for norm, _ in norms}
        self._names = {id(head): _title(head, name) for head, name in heads}
        told = guard(self._head_returns)
        self._heads = {id(head): Overheard(head, told) for head, _ in heads}
        self._armed: list[Overheard] = []
        self._results: deque[_Result] = deque(maxlen=RESULTS)
        self._waiting: list[weakref.ref[nn.Module]] | None = None
        """Heads that were called since the normalisation was; None before it is."""
        self._given: Given | None = None
        """What the normalisation was called on last."""
        self._found: dict[int, _Found] = {}
        self._was_thawed = False
        self._samples = 0
        """In the smallest batch on which what trains was heard; none before it was."""

    # -- between two evaluations ---------------------------------------------------------------

    def is_set_aside(self, module: nn.Module) -> None:
        """Some module is put in eval mode: what holds a normalisation is heard until it trains again."""
        if self._armed or not self._heads or self.strand.step - self._began < STEPS:
            return
        named = dict(module.named_modules())
        norms = set(map(id, self._alive()))
        path = next((name for name, part in named.items() if id(part) in norms), None)
        if path is None:
            return
        parts = path.split(".") if path else []
        holding = [named[".".join(parts[:depth])] for depth in range(len(parts), -1, -1)]
        told = self._guard(self._norm_returns), self._guard(self._holder_returns)
        self._armed = [Overheard(each, told[each is not holding[0]]) for each in holding]

    def _rest(self) -> None:
        for each in self._armed:
            each.cancel()
        self._armed, self._waiting, self._given = [], None, None
        self._results.clear()

    # -- calls ---------------------------------------------------------------------------------

    def _norm_returns(self, norm: nn.Module, arguments: Any, _: Any) -> None:
        if _trains(norm):
            self._rest()
        else:
            self._waiting, self._given = [], Given.of(norm, arguments)

    def _holder_returns(self, holder: nn.Module, _: Any, output: Any) -> None:
        if _trains(holder):
            self._rest()
            return
        if self._waiting is None:
            return
        inside = {id(part) for part in holder.modules()}
        for head in filter(None, (reference() for reference in self._waiting)):
            if id(head) in inside:
                self._stands_on(head, holder, self._given)
        who = weakref.ref(holder)
        self._results.extend((who, memory, self._given) for memory in _memories(output))

    def _head_returns(self, head: nn.Module, arguments: Any, _: Any) -> None:
        if torch.is_grad_enabled() or any(norm.training for norm in self._alive()):
            batch = arguments[0] if arguments and isinstance(arguments[0], Tensor) else None
            if batch is not None and batch.dim():
                self._samples = min(self._samples or len(batch), len(batch))
            self._let_go(head)
            return
        if self._waiting is None:
            return
        given = {memory.cdata for memory in _memories(arguments)}
        for who, memory, source in self._results:
            if memory.cdata in given and (holder := who()) is not None:
                self._stands_on(head, holder, source)
        self._waiting.append(weakref.ref(head))

    def _let_go(self, head: nn.Module) -> None:
        """It is trained, or a part of what is."""
        if (ear := self._heads.pop(id(head), None)) is not None:
            ear.cancel()
        self._found.pop(id(head), None)

    def _stands_on(self, head: nn.Module, holder: nn.Module, given: Given | None) -> None:
        """A head is evaluated on what a normalisation has gone into, with nothing there that trains."""
        if any(p.requires_grad and id(p) in self.held for p in holder.parameters()):
            return
        known = self._found.get(id(head))
        if given is None:
            return
        reference, mean, variance = self._before[given.norm]
        norm = reference()
        if norm is None:
            return
        steps, names = self.strand.step - self._began, (self._names[id(head)], self._norms[given.norm])
        if (told := given.against((mean, variance), statistics_of(norm))) is not None:
            best = told if known is None else _better(told, known.best)
            if known is None or known.samples <= given.samples:
                known = _Found(*names, steps, averaged(norm, steps), given.samples, told, best)
            self._found[id(head)] = replace(known, best=best)

    def _alive(self) -> Iterator[_BatchNorm]:
        """The normalisations that the loop has not dropped."""
        return (norm for reference, *_ in self._before.values() if (norm := reference()) is not None)

    # -- the end -------------------------------------------------------------------------------

    def look(self, held: Iterable[int] = ()) -> None:
        """What is thawed, or stepped by another optimizer, was not frozen for good.

        Args:
            held: the parameters that this one steps, by identity.
        """
        kept, taken = [p for norm in self._alive() for p in direct(norm)], set(held)
        self._was_thawed |= any(p.requires_grad or id(p) in taken for p in kept)

    def close(self, held: Iterable[int] = ()) -> None:
        """Hear nothing more.

        Args:
            held: the parameters that another optimizer steps, by identity.
        """
        self.look(held)
        self._rest()
        for ear in self._heads.values():
            ear.cancel()
        self._heads.clear()
        if self._was_thawed:
            self._found.clear()

    def rows(self) -> Iterator[Row]:
        """A row per head."""
        for found in self._found.values():
            distances = (*found.told.tolist(), *found.best.tolist())
            told = [each if math.isfinite(each) else 0.0 for each in distances]
            away = dict(zip(DISTANCES, told, strict=True))
            noise = {"samples": self._samples, "averaged": min(found.averaged, MANY)}
            yield Row(name=found.name, norm=found.norm, steps=found.steps, **noise, **away)


@dataclass(frozen=True)
class _Found:
    name: str
    norm: str
    steps: int
    averaged: float
    """Batches that the statistics of now are worth."""
    samples: int
    told: Tensor
    best: Tensor
    """Where the statistics of now have gained most on those of before."""


def _better(one: Tensor, other: Tensor) -> Tensor:
    """Where the statistics of now have gained more, without waiting for the device."""
    if one.device != other.device:
        return one
    return torch.where(one[0] - one[1] > other[0] - other[1], one, other)


def _title(head: nn.Module, name: str) -> str:
    kind = type(head).__name__
    return kind if name == kind else f"{name} ({kind})"


def _trains(module: nn.Module) -> bool:
    return module.training or torch.is_grad_enabled()


def _memories(tree: Any) -> list[StorageWeakRef]:
    found = [t for t in tensors(tree) if t.layout == torch.strided and not t.is_meta and not t.is_nested]
    return [StorageWeakRef(t.untyped_storage()) for t in found]  # type: ignore[no-untyped-call]
