"""Where a loss steers chances beside targets of zeros and ones: towards them, or away. No judgement.

Read from the gradient of what a sigmoid gives, whatever the loss is written as: an overlap of masks, a
likelihood, a distance. Of other outputs it is not known that ones are to be high: a loss of pairs keeps
the distance of those low that are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.following import may_be_fresh
from pytest_dlcheck.trace import Row

PLACES = 4096
"""Numbers of a loss that are compared, the first ones."""
LOOKS = 64
"""Losses (count) that are looked at."""
LAST = 3
"""Looks (count) that the end is told by."""
_CHANCES = frozenset({"Sigmoid"})


class SteeredMaps:
    """Chances whose targets are ones, or zeros, and that a step would move away from these.

    Args:
        guard: stands before what a backward calls.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._counts = {0: 0, 1: 0}
        self._away = {0: 0, 1: 0}
        self._began_fresh: bool | None = None
        self._is_certain = True
        """Whether all of them are what a loss of torch compares with."""
        self._apart: list[float] = []
        """How often the chance of a one is above that of a zero (ratio), at each look."""

    def look(self, model: nn.Module | None, near: Near, given: Sequence[Tensor]) -> None:
        """A loss is about to be propagated.

        Args:
            model: that was called last.
            near: the nodes next to the loss.
            given: what a loader gave beside the inputs: a product may be with these, or with their
                opposite, as those of false positives are.
        """
        chances = near.of(_CHANCES)
        if not chances or len(self._apart) >= LOOKS:
            return
        for node, target, is_certain in _beside(near, given):
            values = kept(node, "result") if node in chances else None
            if values is None or not _fits(target, values):
                continue
            if self._began_fresh is None:
                self._began_fresh = model is not None and may_be_fresh(model)
            self._is_certain &= is_certain
            ones = target.detach().flatten()[:PLACES].bool().to(values.device)
            self._apart.append(_order(values.flatten()[:PLACES].float(), ones))
            node.register_prehook(self._guard(self._adding(ones)))
            return

    def _adding(self, ones: Tensor) -> Callable[[Sequence[Any]], None]:
        def add(gradients: Sequence[Any]) -> None:
            gradient = gradients[0]
            if not isinstance(gradient, Tensor):
                return
            own = gradient.detach().flatten()[:PLACES]
            for value, these in ((1, own[ones]), (0, -own[~ones])):
                self._counts[value] += int((these != 0).sum())
                self._away[value] += int((these > 0).sum())

        return add

    def row(self) -> Row:
        """The counts, and how chances and targets went together in the end."""
        return Row(
            looks=len(self._apart),
            ones=self._counts[1],
            zeros=self._counts[0],
            ones_away=self._away[1],
            zeros_away=self._away[0],
            began_fresh=bool(self._began_fresh),
            is_certain=self._is_certain,
            ordered_last=max(self._apart[-LAST:], default=0.5),
        )


def _beside(near: Near, given: Sequence[Tensor]) -> Iterator[tuple[Node, Tensor, bool]]:
    """What losses of torch compare with their targets; and what products multiply with what was given.

    The latter may say where chances are to be low, too, as outside of a box.
    """
    for node, target in near.targets.items():
        if edges_of(node) == [0]:
            yield _inner(node.next_functions[0][0]), target, True
    for node in near.of({"Mul"}):
        factor = constant_of(node)
        if factor is not None and any(_are_equal(factor, each) for each in given):
            yield _inner(node.next_functions[edges_of(node)[0]][0]), factor, False


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether they are the same numbers, whatever their shapes and types are."""
    if one.numel() != other.numel() or other.is_complex():
        return False
    return bool((one.flatten()[:PLACES] == other.detach().flatten()[:PLACES].to(one.device)).all())


def _inner(node: Node) -> Node:
    """The node without what only gives another shape to what it makes."""
    while kind_of(node) in RESHAPES and edges_of(node) == [0]:
        node = node.next_functions[0][0]
    return node


def _fits(target: Tensor, values: Tensor) -> bool:
    """Whether it is zeros and ones, both, as many as there are values."""
    if target.numel() != values.numel() or target.is_complex() or not target.numel():
        return False
    some = target.flatten()[:PLACES]
    ones = some == 1
    return bool((ones | (some == 0)).all()) and bool(ones.any()) and not bool(ones.all())


def _order(values: Tensor, ones: Tensor) -> float:
    """How often the value of a one is above that of a zero (ratio); one half where they say nothing."""
    count, rest = int(ones.sum()), int((~ones).sum())
    _, places, counts = values.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[places].double()  # equal ones share theirs
    return float((ranks[ones].sum() - count * (count + 1) / 2) / (count * rest))
