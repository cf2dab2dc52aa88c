"""What a loss compares, and which parameters are behind either side: read from its graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from torch import Tensor

from pytest_dlcheck.run.tensors.graph import edges_of, entire, kind_of, variables, walk

NODES = 20_000
"""Nodes of a graph from which on nothing is told: a part of it would not do."""
TERMS = 256
"""Nodes of a loss that are looked at until what it compares is found."""
_SUMS = frozenset({"Add", "Sub", "Stack", "Cat", "Where"})
_REDUCES = {*_SUMS, "Mean", "Sum", "Neg", "Rsub", "Div", "Mul", "View", "Select", "Squeeze", "Sqrt"}
"""What losses are put together by; none of them has two sides that depend on parameters, but sums."""
_KEEPS_TARGET = frozenset(
    {"MseLoss", "SmoothL1Loss", "HuberLoss", "BinaryCrossEntropy", "BinaryCrossEntropyWithLogits"}
)
_MAGNITUDES = frozenset({"Pow", "Abs", "LinalgVectorNorm", "Norm"})
_SHAPES = frozenset(
    {"View", "Unsqueeze", "Squeeze", "Transpose", "Expand", "Clone", "ToCopy", "UnsafeView"}
)

Edge = tuple[Any, int]
"""A node, and the index of one of its inputs."""


@dataclass
class Comparison:
    """Two sides that a loss compares, both of which depend on parameters.

    Attributes:
        targets: the edges that lead to the targets; none where the two sides are alike.
        sides: the nodes of the two sides, where they are alike.
    """

    targets: set[Edge] = field(default_factory=set)
    sides: tuple[Any, Any] | None = None


def comparisons(root: Any) -> Iterator[Comparison]:
    """What a loss compares, from its end up to the first two sides; nothing behind them."""

    def below(node: Any) -> list[Any]:
        kind, edges = kind_of(node), edges_of(node)
        reduces = kind in _REDUCES | _MAGNITUDES and (len(edges) <= 1 or kind in _SUMS)
        is_open = reduces and _compared(node) is None
        return [node.next_functions[index][0] for index in edges] if is_open else []

    return filter(None, map(_compared, islice(walk([root], below), TERMS)))


def _compared(node: Any) -> Comparison | None:
    """The two sides of one node; None where it compares nothing that depends on parameters twice."""
    kind, edges = kind_of(node), edges_of(node)
    if kind in _KEEPS_TARGET:
        return Comparison({(node, 1)}) if edges == [0, 1] else Comparison()
    if kind in _MAGNITUDES and edges:
        return _difference(node.next_functions[0][0])
    if kind == "Mul" and edges == [0, 1]:
        return _product(node)
    if kind == "Xlogy" and edges == [0, 1]:
        own = node.next_functions[0][0] is node.next_functions[1][0]
        return Comparison({(node, 0), *([(node, 1)] if own else [])})
    return None


def _difference(node: Any) -> Comparison | None:
    if kind_of(node) != "Sub" or edges_of(node) != [0, 1]:
        return None
    sides = node.next_functions[0][0], node.next_functions[1][0]
    return Comparison({(node, 0), (node, 1)}, sides)


def _product(node: Any) -> Comparison | None:
    """Probabilities times log-probabilities, as divergences are computed; or two directions."""
    (one, _), (other, _) = node.next_functions
    if all(kind_of(_plain(side)) == "Div" for side in (one, other)):
        return Comparison({(node, 0), (node, 1)}, (one, other))
    for index, (target, scores) in enumerate(((one, other), (other, one))):
        source = _source(target)
        if source is not None and _holds_logarithms(scores):
            own = [(node, 1 - index)] if _is_made_of(scores, source) else []
            return Comparison({(node, index), *own, *_within(_plain(scores), source)})
    return None


def _source(target: Any) -> Any:
    """What a side's probabilities are made of; None where it holds none."""
    plain = _plain(target)
    if kind_of(plain) in {"Softmax", "Sigmoid"}:
        return plain.next_functions[0][0]
    if kind_of(plain) == "Exp":
        inner = _plain(plain.next_functions[0][0])
        return inner.next_functions[0][0] if kind_of(inner) == "LogSoftmax" else None
    return None


def _within(scores: Any, source: Any) -> Iterator[Edge]:
    """Where the targets' own logarithms are taken off, or stand in the scores' place."""
    if kind_of(scores) == "Sub":
        for index in edges_of(scores):
            if _is_made_of(scores.next_functions[index][0], source):
                yield scores, index


def _holds_logarithms(side: Any) -> bool:
    plain = _plain(side)
    parts = [plain]
    if kind_of(plain) == "Sub":
        parts = [_plain(plain.next_functions[index][0]) for index in edges_of(plain)]
    return any(kind_of(part) in {"Log", "LogSoftmax"} for part in parts)


def _is_made_of(side: Any, source: Any) -> bool:
    """Whether these are logarithms of the probabilities that are made of that."""
    node = _plain(side)
    if kind_of(node) in {"Log", "LogSoftmax"}:
        inner = node.next_functions[0][0]
        return inner is source or _source(inner) is source
    return False


def _plain(node: Any) -> Any:
    """The node without what only gives another shape."""
    while kind_of(node) in _SHAPES and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def leaves(
    roots: Sequence[Any], without: set[Edge] | frozenset[Edge] = frozenset()
) -> dict[int, Tensor] | None:
    """The parameters behind some nodes, by identity; None where the graph is too large.

    Args:
        roots: the nodes.
        without: edges that are not followed.
    """

    def followed(node: Any) -> list[Any]:
        kept = (index for index in edges_of(node) if (node, index) not in without)
        return [node.next_functions[index][0] for index in kept]

    found = entire(roots, NODES, followed)
    return None if found is None else {id(each): each for each in variables(found)}
