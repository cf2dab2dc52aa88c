"""What a node of a loss adds up, and by which numbers it multiplies. No judgement."""

from __future__ import annotations

from typing import TypeAlias

from pytest_dlcheck.run.graph import Node, edges_of, kind_of
from pytest_dlcheck.run.watch.losses.kept import kept
from pytest_dlcheck.run.watch.losses.outputs import RESHAPES

Edge: TypeAlias = tuple[Node, int]
"""A node, and which of the things that it has made."""
_TWO = 2


def added_by(node: Node) -> list[tuple[int, float]] | None:
    """Which inputs a node adds up, and how often; None where it does something else."""
    kind, edges = kind_of(node), edges_of(node)
    if kind == "Sum" or kind in RESHAPES:
        return [(0, 1.0)]
    if kind == "Neg":
        return [(0, -1.0)]
    if kind in {"Add", "Sub", "Rsub"}:
        alpha = float(getattr(node, "_saved_alpha", 1))
        times = {"Add": (1.0, alpha), "Sub": (1.0, -alpha), "Rsub": (-alpha, 1.0)}[kind]
        return [(index, times[index]) for index in edges]
    factor = factor_of(node) if kind in {"Mul", "Div"} else None
    return None if factor is None else [(edges[0], factor)]


def factor_of(node: Node) -> float | None:
    """What a node multiplies by, where that is one number that nobody asks a gradient of."""
    edges = edges_of(node)
    if len(edges) != 1 or (kind_of(node) == "Div" and edges != [0]):
        return None
    factor = kept(node, "self" if edges == [1] else "other")
    if factor is None or factor.numel() != 1 or not float(factor):
        return None
    return float(factor) if kind_of(node) == "Mul" else 1 / float(factor)


def is_square(node: Node) -> bool:
    """Whether it squares what it is given, however that is written."""
    if kind_of(node) == "Mul":
        return len(edges_of(node)) == _TWO and node.next_functions[0] == node.next_functions[1]
    return kind_of(node) == "Pow" and getattr(node, "_saved_exponent", 0) == _TWO
