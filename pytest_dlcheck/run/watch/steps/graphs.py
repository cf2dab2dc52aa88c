"""Losses whose graphs a loop keeps alive: counted by what is tied to a graph and dies with it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.sampling import GRADIENTS

FOLLOWED = 32
"""Losses in a row whose graphs are followed; later sampled ones."""
LIVE = 4096
"""Losses whose graphs are followed to their end."""


class Graphs:
    """The graphs of losses.

    Attributes:
        alive: how many of those followed were alive, at sampled backward passes by their number.
    """

    def __init__(self) -> None:
        self.alive: dict[int, int] = {}
        self.next = 0
        """The number of the next backward whose loss is followed."""
        self._followed: list[weakref.ref[_Sentinel]] = []

    def backward_begins(self, number: int, losses: Sequence[Tensor]) -> None:
        """A backward of these losses, the watch's so many-th."""
        if number < self.next:
            return
        self.next = number + 1 if number + 1 < FOLLOWED else GRADIENTS.following(number + 1)
        if len(self._followed) < LIVE and losses and (node := losses[0].grad_fn) is not None:
            sentinel = _Sentinel()
            metadata: dict[Any, Any] = node.metadata  # type: ignore[assignment]  # a property
            metadata[_Sentinel] = sentinel
            self._followed.append(weakref.ref(sentinel))
        if number in GRADIENTS:
            self._followed = [graph for graph in self._followed if graph() is not None]
            self.alive[number] = len(self._followed)


class _Sentinel:
    """Lives as long as the graph that holds it."""
