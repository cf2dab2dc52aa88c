"""Graphs of losses that a loop keeps alive, or parts of them: counted by what dies with such a part."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.sampling import GRADIENTS
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of

FOLLOWED = 32
"""Losses in a row whose graphs are followed; later sampled ones."""
LIVE = 4096
"""Losses whose graphs are followed to their end."""
DEPTH = 4096
"""Nodes from a loss down to where its graph begins, at most."""


class Graphs:
    """The graphs of losses.

    Attributes:
        alive: how many of those followed were alive, at sampled backward passes by their number.
        steps_alive: from how many steps these were, by the number of the step: members of an ensemble
            have a loss each, that belong to one.
    """

    def __init__(self) -> None:
        self.alive: dict[int, int] = {}
        self.steps_alive: dict[int, int] = {}
        self.next = 0
        """The number of the next backward whose loss is followed."""
        self._followed: list[weakref.ref[_Sentinel]] = []

    def backward_begins(self, number: int, losses: Sequence[Tensor], step: int) -> None:
        """A backward of these losses, the watch's so many-th, after so many steps of each optimizer."""
        if number < self.next:
            return
        self.next = number + 1 if number + 1 < FOLLOWED else GRADIENTS.following(number + 1)
        if len(self._followed) < LIVE and losses and (node := losses[0].grad_fn) is not None:
            sentinel = _Sentinel(step)
            metadata: dict[Any, Any] = _beginning(node).metadata
            metadata[_Sentinel] = sentinel
            self._followed.append(weakref.ref(sentinel))
        if number in GRADIENTS:
            self._followed = [graph for graph in self._followed if graph() is not None]
            self.alive[number] = len(self._followed)
            steps = {known.step for graph in self._followed if (known := graph()) is not None}
            self.steps_alive[step] = max(len(steps), self.steps_alive.get(step, 0))


def _beginning(node: Node) -> Node:
    """Where a graph begins: whoever keeps a loss, outputs or anything in between keeps this, too.

    Parameters' own nodes are none: they live as long as any graph does.
    """
    for _ in range(DEPTH):
        below = (child for child in inputs_of(node) if kind_of(child) != "AccumulateGrad")
        if (child := next(below, None)) is None:
            break
        node = child
    return node


class _Sentinel:
    """Lives as long as the graph that holds it, of a loss before the step of this number."""

    def __init__(self, step: int) -> None:
        self.step = step
