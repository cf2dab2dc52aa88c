"""Where a loss steers outputs beside targets of zeros and ones: towards them, or away. No judgement.

Read from the gradient of a model's outputs, whatever the loss is written as: an overlap of masks, a
likelihood, a distance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from torch import Tensor, nn

from pytest_dlcheck.run.losses.graphs.kept import constant_of
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of, walk
from pytest_dlcheck.run.tensors.tree import is_plain
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.following import may_be_fresh
from pytest_dlcheck.trace import Row

NODES = 96
"""Nodes between a loss and the outputs that are looked at."""
PLACES = 4096
"""Numbers of an output that are compared, the first ones."""
LOOKS = 64
"""Losses (count) that are looked at."""
LAST = 3
"""Looks (count) that the end is told by."""


class Output:
    """One of a model's, as a node of the graph, so that it need not be alive.

    Args:
        tensor: with its graph.
    """

    __slots__ = ("index", "node", "size", "values")

    def __init__(self, tensor: Tensor) -> None:
        self.node: Node = tensor.grad_fn
        self.index, self.size = tensor.output_nr, tensor.numel()
        self.values = tensor.detach().flatten()[:PLACES].clone()


def outputs_of(tensors: Sequence[Tensor]) -> Iterator[Output]:
    """Those of some tensors that are numbers with a graph."""
    for tensor in tensors:
        if tensor.grad_fn is not None and is_plain(tensor):
            yield Output(tensor)


class SteeredMaps:
    """Numbers of outputs whose targets are ones, or zeros, and that a step would move away from these.

    Args:
        guard: stands before what a backward calls.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._counts = {0: 0, 1: 0}
        self._away = {0: 0, 1: 0}
        self._began_fresh: bool | None = None
        self._apart: list[float] = []
        """How often an output of a one is above that of a zero (ratio), at each look."""

    def look(
        self,
        model: nn.Module | None,
        near: Near,
        outputs: Sequence[Output],
        targets: Sequence[Tensor],
    ) -> None:
        """A loss is about to be propagated.

        Args:
            model: that was called last.
            near: the nodes next to it.
            outputs: that models gave for it.
            targets: that are known to be in it.
        """
        multiplies = bool(near.of({"Mul"}))
        for output in outputs:
            factors = _factors(near.root, output) if multiplies else ()
            found = (t for t in (*targets, *factors) if _fits(t, output))
            target = next(found, None)
            if target is not None and len(self._apart) < LOOKS:
                if self._began_fresh is None:
                    self._began_fresh = model is not None and may_be_fresh(model)
                ones = target.detach().flatten()[:PLACES].bool()
                self._apart.append(_order(output.values.float(), ones.to(output.values.device)))
                output.node.register_prehook(self._guard(self._adding(output.index, ones)))

    def _adding(self, index: int, ones: Tensor) -> Callable[[Sequence[Any]], None]:
        def add(gradients: Sequence[Any]) -> None:
            gradient = gradients[index]
            if not isinstance(gradient, Tensor):
                return
            own = gradient.detach().flatten()[:PLACES]
            mask = ones.to(own.device)
            for value, these, away in ((1, own[mask], own[mask] > 0), (0, own[~mask], own[~mask] < 0)):
                self._counts[value] += int((these != 0).sum())
                self._away[value] += int(away.sum())

        return add

    def row(self) -> Row:
        """The counts, and how outputs and targets went together in the end."""
        return Row(
            looks=len(self._apart),
            ones=self._counts[1],
            zeros=self._counts[0],
            ones_away=self._away[1],
            zeros_away=self._away[0],
            began_fresh=bool(self._began_fresh),
            ordered_last=max(self._apart[-LAST:], default=0.5),
        )


def _factors(root: Node, output: Output) -> Iterator[Tensor]:
    """What a loss multiplies that is made of an output."""

    def below(node: Node) -> Sequence[Node]:
        return () if node is output.node else inputs_of(node)

    for node in islice(walk([root], below), NODES):
        if kind_of(node) == "Mul" and (factor := constant_of(node)) is not None:
            yield factor


def _fits(target: Tensor, output: Output) -> bool:
    """Whether it is zeros and ones, both, as many as there are outputs."""
    if target.numel() != output.size or target.is_complex() or not target.numel():
        return False
    some = target.detach().flatten()[:PLACES]
    ones = some == 1
    return bool((ones | (some == 0)).all()) and bool(ones.any()) and not bool(ones.all())


def _order(values: Tensor, ones: Tensor) -> float:
    """How often an output of a one is above that of a zero (ratio); one half where they say nothing."""
    count, rest = int(ones.sum()), int((~ones).sum())
    _, places, counts = values.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[places].double()  # equal ones share theirs
    return float((ranks[ones].sum() - count * (count + 1) / 2) / (count * rest))
