"""Which targets inputs come with, look after look: whether they change partners. No judgement.

Inputs that are shuffled without their targets are told from labels that change for a reason. Either the
same targets come again, in the same order, beside inputs in another one; or targets that are all
different come again, each beside another input.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.batches.prints import ROWS, rounded, row_prints
from pytest_dlcheck.run.watch.losses.orders import keeps_order

LOOKS = 64
"""Losses that are remembered: the first ones that are looked at."""
SMALL = 1 << 14
"""Numbers of a batch up to which they are kept as they are."""
GRAPHS = 2
"""Graphs that are walked to see whether outputs are reordered: a training's are alike."""
KNOWN = 8
"""Inputs of a batch (count) that were seen before, below which nothing is told of it."""
DISTINCT = 0.9
"""Share of different targets (ratio) from which on they are quantities, each of one input."""
LABELS = 32
"""Classes in a row (count) that are the same again by no chance, where they have"""
BITS = 24.0
"""bits of information: once in 16 million."""
MOVED = 0.1
"""Share of known inputs (ratio) that have another class at least: of ten balanced classes 0.9 have; and
of quantities"""
MOVED_FAR = 0.5
"""such a share has."""
NEARLY_ALL = 0.9
"""The same where targets come in an order of their own."""
TRIED = 2
"""Times that a pattern comes within the targets, from which on it is a period."""


@dataclass(frozen=True)
class _Rows:
    """Samples, as they are while they are few numbers: to weigh them costs more than to copy them.

    Attributes:
        values: shape ``[samples, ...]``.
        are_weighed: whether they are a number each already.
    """

    values: Tensor
    are_weighed: bool

    @classmethod
    def of(cls, batch: Tensor) -> _Rows | None:
        """The first of them; None where they cannot be told apart."""
        plain = batch.layout == torch.strided and not batch.is_nested
        if plain and batch.numel() <= SMALL:
            return cls(batch.detach()[:ROWS].clone(), are_weighed=False)
        prints = row_prints(batch)
        return None if prints is None else cls(prints, are_weighed=True)

    def numbers(self) -> list[float]:
        """A number of each, the same where they are."""
        prints = self.values if self.are_weighed else row_prints(self.values)
        return [] if prints is None else rounded(prints)


@dataclass(frozen=True)
class Partners:
    """One loss's inputs and targets, sample by sample.

    Attributes:
        inputs: those of a batch.
        targets: the same.
        are_classes: whether they are whole numbers, one a sample.
    """

    inputs: _Rows
    targets: _Rows
    are_classes: bool


class Partnerships:
    """Those of one optimizer's losses."""

    def __init__(self) -> None:
        self._found: list[Partners] = []

    def add(self, found: Partners | None) -> None:
        """One more."""
        if found is not None and len(self._found) < LOOKS:
            self._found.append(found)

    def row(self) -> dict[str, int]:
        """``swappable`` losses that tell, and ``swapped``: of which inputs have others' targets."""
        told = list(_told(self._found))
        return {"swappable": len(told), "swapped": sum(told)}


class Couples:
    """Looks at losses one after the other."""

    def __init__(self) -> None:
        self._walked = 0
        self._in_order = True

    def look(
        self, root: Any, inputs: Sequence[Tensor], further: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> Partners | None:
        """Who stands beside whom; None where a model is given more, or puts it into another order.

        Args:
            root: the loss's node.
            inputs: what models were called on: the first tensors.
            further: the other ones.
            targets: what the loss has kept and no gradients flow into.
        """
        own = [given for given in inputs if given.grad_fn is None]
        if len(own) != 1 or further or not own[0].dim() or not self._in_order:
            return None
        given, count = own[0], len(own[0])
        target = next((t for t in targets if t.dim() and len(t) == count), None)
        if target is None or count < KNOWN or not target.numel() or _is_of_pairs(target):
            return None
        if self._walked < GRAPHS:
            self._walked += 1
            self._in_order = keeps_order(root, count)
        rows, partners = _Rows.of(given), _Rows.of(target)
        if rows is None or partners is None or not self._in_order:
            return None
        whole = not target.is_floating_point() and target.numel() == count
        return Partners(rows, partners, whole)


def _is_of_pairs(target: Tensor) -> bool:
    """Whether each sample may be held against all others of its batch, as in contrastive losses."""
    return target.numel() % (len(target) ** 2) == 0


@dataclass
class _Memory:
    """What was seen before.

    Attributes:
        target_of: an input's, the first one.
        inputs_of: a target's.
        orders: the orders of inputs that the same targets came with.
        sets: targets, whatever their order.
    """

    target_of: dict[float, float] = field(default_factory=dict)
    inputs_of: dict[float, set[float]] = field(default_factory=lambda: defaultdict(set))
    orders: dict[tuple[float, ...], set[tuple[float, ...]]] = field(
        default_factory=lambda: defaultdict(set)
    )
    sets: set[tuple[float, ...]] = field(default_factory=set)

    def add(self, inputs: Sequence[float], targets: Sequence[float]) -> None:
        """Remember them, but inputs that come with several targets at once."""
        several: dict[float, set[float]] = defaultdict(set)
        for one, other in zip(inputs, targets, strict=True):
            several[one].add(other)
            self.inputs_of[other].add(one)
        for one, others in several.items():
            self.target_of.setdefault(one, next(iter(others)) if len(others) == 1 else math.nan)
        self.orders[tuple(targets)].add(tuple(inputs))
        self.sets.add(tuple(sorted(targets)))


def _told(found: Sequence[Partners]) -> Iterator[bool]:
    """Of each loss that tells, whether its inputs have others' targets."""
    memory = _Memory()
    for each in found:
        inputs, targets = each.inputs.numbers(), each.targets.numbers()
        told = _is_swapped(memory, inputs, targets, are_classes=each.are_classes)
        if told is not None:
            yield told
        memory.add(inputs, targets)


def _is_swapped(
    memory: _Memory, inputs: list[float], targets: list[float], *, are_classes: bool
) -> bool | None:
    known = [
        (one, other, memory.target_of[one])
        for one, other in zip(inputs, targets, strict=True)
        if not math.isnan(memory.target_of.get(one, math.nan))
    ]
    if len(known) < KNOWN:
        return None
    moved = [(one, other) for one, other, before in known if other != before]
    are_quantities = not are_classes and len(set(targets)) >= DISTINCT * len(targets)
    if tuple(targets) in memory.orders:
        if not (are_quantities or _is_telling(targets)) or _is_ordered(targets):
            return None
        is_new = tuple(inputs) not in memory.orders[tuple(targets)]
        return is_new and len(moved) >= (MOVED_FAR if are_quantities else MOVED) * len(known)
    if not are_quantities or tuple(sorted(targets)) in memory.sets:
        return None
    taken = [
        one for one, other in moved if memory.inputs_of.get(other) and one not in memory.inputs_of[other]
    ]
    return len(moved) >= NEARLY_ALL * len(known) and len(taken) >= max(KNOWN, MOVED * len(moved))


def _is_telling(labels: Sequence[float]) -> bool:
    """Whether so many classes come in one order by no chance."""
    counts, whole = Counter(labels).values(), len(labels)
    bits = sum(count * math.log2(whole / count) for count in counts)
    return whole >= LABELS and 2 * len(counts) <= whole and bits >= BITS


def _is_ordered(targets: Sequence[float]) -> bool:
    """Whether they are sorted, but for a few places, or a pattern that comes again and again."""
    falls = sum(a > b for a, b in pairwise(targets))
    rises = sum(a < b for a, b in pairwise(targets))
    if 8 * min(falls, rises) < len(targets):
        return True
    periods = range(1, len(targets) // TRIED + 1)
    return any(targets[:-period] == targets[period:] for period in periods)
