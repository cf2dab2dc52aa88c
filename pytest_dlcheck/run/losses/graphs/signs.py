"""With which sign distances and products enter a loss. Read from its graph; nothing is judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

from pytest_dlcheck.run.losses.graphs.kept import kept

_DISTANCES = (
    *("PowBackward", "AbsBackward", "LinalgVectorNorm", "NormBackward", "CdistBackward"),
    *("MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "EuclideanDist"),
)
_LIKENESSES = ("DotBackward", "CosineSimilarity")


def pushes_apart(order: Sequence[Any], outputs: Container[Any] = ()) -> bool:
    """Whether a loss grows with a likeness, or falls with a distance, or moves outputs by themselves.

    Args:
        order: the nodes between the loss and what it is made of, the loss's own last.
        outputs: those that made what it compares: one that enters in no distance, as a log-determinant
            does, is not drawn to another.
    """
    signs: dict[Any, set[int]] = defaultdict(set)
    signs[order[-1]].add(1)
    for node in reversed(order):
        found, name = signs[node], type(node).__name__
        if found and node in outputs:
            return True
        wanted = _wanted(node, name)
        if wanted and -wanted in found:
            return True
        for child, sign in () if wanted else below(node):
            signs[child] |= {sign * each for each in found}
    return False


def _wanted(node: Any, name: str) -> int:
    """The sign with which what a node makes draws its sides together; 0 where it holds no sides."""
    if name.startswith(_DISTANCES):
        return 1
    edges = [child for child, _ in node.next_functions]
    if name.startswith("MulBackward0") and all(edge is not None for edge in edges):
        return 1 if edges[0] is edges[1] else -1
    return -1 if name.startswith(_LIKENESSES) else 0


def below(node: Any) -> Iterator[tuple[Any, int]]:
    """What a node is made of, and with which sign that enters."""
    name = type(node).__name__
    for index, (child, _) in enumerate(node.next_functions):
        if child is None or (index and name.startswith("DivBackward")):
            continue
        if name.startswith(("NegBackward", "RsubBackward")) or (
            index and name.startswith("SubBackward")
        ):
            yield child, -1
        elif name.startswith(("MulBackward0", "DivBackward0")):
            factor = kept(node, "self" if index else "other")
            negative = factor is not None and factor.numel() == 1 and float(factor) < 0
            yield child, -1 if negative else 1
        else:
            yield child, 1


def entering(root: Any, nodes: Iterable[Any]) -> Iterator[tuple[Any, int]]:
    """Each node of a loss with each sign that it enters with.

    Args:
        root: the loss's own.
        nodes: those that are walked, the loss's own among them.
    """
    inside, waiting = set(nodes), [(root, 1)]
    seen = set(waiting)
    while waiting:
        node, sign = waiting.pop()
        yield node, sign
        for child, each in below(node):
            if child in inside and (child, sign * each) not in seen:
                seen.add((child, sign * each))
                waiting.append((child, sign * each))
