"""Whether inputs that were seen before come with the targets of others. Numbers stand for samples.

Either the same targets come again, in the same order, beside inputs in another one; or targets that are
all different come again, each beside another input; or classes come as if drawn by lot.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

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
EVEN = 0.5
"""Chance that two samples have one class (ratio), beyond which labels by lot look like others."""
OFTEN = 0.7
"""Share of the known inputs that lots would give another class, of which so many have one (ratio)."""
OTHERS = 0.25
"""Share of the labels (ratio) that may be of other classes than before: those that change partners stay,
those of a teacher do not. Of 64 labels by lot, 0.1 are."""
POOLED = 2 * LABELS
"""Known inputs (count) of all losses together, where each knows fewer than such a row; chosen."""
CLOSE = 1.5
"""Pairs that stay together over those that lots would leave so (ratio): more are clusters."""

Sample: TypeAlias = tuple[float, ...]
"""An input's numbers, one of each tensor that a model is given."""
Pairs: TypeAlias = tuple[list[Sample], list[float], bool]
"""Each input of one loss, a number of each target, and whether the targets are classes."""


@dataclass
class _Memory:
    """What was seen before.

    Attributes:
        target_of: an input's, the first one.
        inputs_of: a target's.
        orders: the orders of inputs that the same targets came with.
        sets: targets, whatever their order.
    """

    target_of: dict[Sample, float] = field(default_factory=dict)
    inputs_of: dict[float, set[Sample]] = field(default_factory=lambda: defaultdict(set))
    orders: dict[tuple[float, ...], set[tuple[Sample, ...]]] = field(
        default_factory=lambda: defaultdict(set)
    )
    sets: set[tuple[float, ...]] = field(default_factory=set)

    def add(self, inputs: Sequence[Sample], targets: Sequence[float]) -> None:
        """Remember them, but inputs that come with several targets at once."""
        several: dict[Sample, set[float]] = defaultdict(set)
        for one, other in zip(inputs, targets, strict=True):
            several[one].add(other)
            self.inputs_of[other].add(one)
        for one, others in several.items():
            self.target_of.setdefault(one, next(iter(others)) if len(others) == 1 else math.nan)
        self.orders[tuple(targets)].add(tuple(inputs))
        self.sets.add(tuple(sorted(targets)))


@dataclass(frozen=True)
class Swaps:
    """Of the losses that tell, whether their inputs have others' targets.

    Attributes:
        told: of each of them.
        by_lot: how many of these are, by classes that come as if drawn by lot.
    """

    told: list[bool]
    by_lot: int = 0


def swaps(found: Iterable[Pairs]) -> Swaps:
    """Look at losses in a row.

    Classes that come in no order seen before tell only where nearly all of these losses have them as if
    drawn by lot: two tasks in turn give an input two labels, and noise leaves most as they are.
    """
    memory, told, drawings = _Memory(), list[bool](), list[_Drawing]()
    for inputs, targets, are_classes in found:
        if tuple(inputs) in memory.orders.get(tuple(targets), ()):  # the same batch again
            told.append(False)
            continue
        swapped = _is_swapped(memory, inputs, targets, are_classes=are_classes)
        if swapped is not None:
            told.append(swapped)
        elif are_classes and (drawing := _drawing(memory, inputs, targets)) is not None:
            drawings.append(drawing)
        memory.add(inputs, targets)
    if large := [each for each in drawings if each.known >= LABELS]:
        by_lot = _are_by_lot(large)
        return Swaps(told + [by_lot] * len(large), by_lot * len(large))
    if sum(each.known for each in drawings) >= POOLED and _are_by_lot(drawings):
        return Swaps(told + [True] * len(drawings), len(drawings))
    return Swaps(told)


def _is_swapped(
    memory: _Memory, inputs: list[Sample], targets: list[float], *, are_classes: bool
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


@dataclass(frozen=True)
class _Drawing:
    """Known inputs of one loss, by the class that they had and the one that they have.

    Attributes:
        known: how many they are.
        moved: how many have another one, and
        by_chance: how many would, were it drawn by lot.
        together: pairs that had one class and have one again, and
        together_by_chance: how many would. Clusters that only change their numbers stay together.
        before: how many had each class, and
        after: have it.
    """

    known: int
    moved: int
    by_chance: float
    together: int
    together_by_chance: float
    before: Counter[float]
    after: Counter[float]


def _drawing(memory: _Memory, inputs: list[Sample], targets: list[float]) -> _Drawing | None:
    known = [
        (other, memory.target_of[one])
        for one, other in zip(inputs, targets, strict=True)
        if not math.isnan(memory.target_of.get(one, math.nan))
    ]
    same = sum(count**2 for count in Counter(targets).values()) / len(targets) ** 2
    if len(known) < KNOWN or same > EVEN or _is_ordered(targets):
        return None
    groups, cells = Counter(before for _, before in known), Counter(known)
    pairs, together = (sum(n * (n - 1) for n in counts.values()) for counts in (groups, cells))
    moved = sum(one != other for one, other in known)
    after = Counter(other for other, _ in known)
    return _Drawing(len(known), moved, (1 - same) * len(known), together, same * pairs, groups, after)


def _are_by_lot(drawings: Sequence[_Drawing]) -> bool:
    """Whether nearly all of them are as if classes had nothing to do with those before."""
    often = sum(each.moved >= OFTEN * each.by_chance for each in drawings)
    moved, by_chance = (sum(d.moved for d in drawings), sum(d.by_chance for d in drawings))
    together = sum(each.together for each in drawings)
    apart = together <= CLOSE * sum(each.together_by_chance for each in drawings)
    before = sum((each.before for each in drawings), Counter[float]())
    others = before - sum((each.after for each in drawings), Counter[float]())
    stay = others.total() <= OTHERS * before.total()
    return stay and apart and often >= NEARLY_ALL * len(drawings) and moved >= NEARLY_ALL * by_chance


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
