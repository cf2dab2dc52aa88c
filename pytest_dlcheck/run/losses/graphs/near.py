"""The nodes next to a loss, walked once for all who look for something among them. No judgement.

Most readers can find something only where a graph holds nodes of certain kinds: they ask for these, and
of an ordinary loss they get none.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.tensors.graph import Node, kind_named, nearest

NODES = 96
"""Nodes of a graph that are looked at, from the loss down."""
OF_CLASSES = frozenset({"NllLoss", "NllLoss2D"})
"""The losses of torch that are given the numbers of classes."""


class Near:
    """Some nodes of a loss's graph.

    Args:
        nodes: the loss's own first, then the nearest.
        whole: whether there are no others.

    Attributes:
        root: the loss's own; None where there are no nodes.
        targets: what those of torch's losses among them have kept, by the node, in their order.
    """

    __slots__ = ("_is_whole", "_kinds", "_names", "_types", "nodes", "root", "targets")

    def __init__(self, nodes: Sequence[Node], *, whole: bool = False) -> None:
        self.nodes, self._is_whole = nodes, whole
        self.root: Node = self.nodes[0] if self.nodes else None
        types: set[type[Any]] = set(map(type, nodes))
        self._types = {each: kind_named(each.__name__) for each in types}
        self._kinds = frozenset(self._types.values())
        self._names = frozenset(each.__name__ for each in types)
        keeping = {each for each in types if hasattr(each, "_raw_saved_target")}
        self.targets: dict[Node, Tensor] = {}
        for node in self.nodes if keeping else ():
            if type(node) in keeping and (target := kept(node, "target")) is not None:
                self.targets[node] = target

    @classmethod
    def of_loss(cls, root: Node) -> Near:
        """Those from the node of a loss down."""
        nodes = nearest(root, NODES)
        return cls(nodes, whole=len(nodes) < NODES)

    def of(self, kinds: AbstractSet[str]) -> list[Node]:
        """The nodes that are of some kinds, the nearest first."""
        if self._kinds.isdisjoint(kinds):
            return []
        types = {each for each, kind in self._types.items() if kind in kinds}
        return [node for node in self.nodes if type(node) in types]

    def lacks(self, kinds: AbstractSet[str]) -> bool:
        """Whether the graph was walked whole, and nothing in it is of these kinds."""
        return self._is_whole and self._kinds.isdisjoint(kinds)

    def named(self, *beginnings: str) -> list[Node]:
        """The nodes whose types' names begin so, be they torch's or a user's, the nearest first."""
        names = _beginning(self._names, beginnings)
        return [node for node in self.nodes if type(node).__name__ in names] if names else []


@lru_cache(maxsize=1024)
def _beginning(names: frozenset[str], beginnings: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for name in names if name.startswith(beginnings))
