"""What a value of a graph is the sum of, and its logarithm, up to constants. No judgement."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

from pytest_dlcheck.run.losses.graphs.kept import constant_of
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of

Edge: TypeAlias = tuple[Node, int]
"""A node, and which of the things that it has made."""
Atom: TypeAlias = tuple[str, Edge]
"""What is added up: a value, or the logarithm of one."""
Form: TypeAlias = dict[Atom, float]
"""A sum: how often each is in it."""
NODES = 96
"""Nodes of a sum; a divergence that is written out has about twenty."""
SPREADS = RESHAPES | {"Expand"}
"""What repeats numbers, or gives them another shape."""
BENT = frozenset({"Clamp", "ClampMin", "ClampMax", "Maximum", "Relu", "Abs", "Mul", "Div"})
"""What is made of a divergence before it is a term: free bits, a capacity, a weight for each sample."""
_SUMS = 16
"""Sums of a loss that are looked at; a term seldom lies deeper than in three."""
_TWO = 2
_HALF = 0.5


OPENED = RESHAPES | {"Sum", "Neg", "Add", "Sub", "Rsub", "Mul", "Div", "Log", "Mean", "Expand"}
"""What a sum is looked for in; a value of any other kind is one term, as it is."""


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
    factor = constant_of(node)
    if factor is None or factor.numel() != 1 or not float(factor):
        return None
    return float(factor) if kind_of(node) == "Mul" else 1 / float(factor)


def is_square(node: Node) -> bool:
    """Whether it squares what it is given, however that is written."""
    if kind_of(node) == "Mul":
        return len(edges_of(node)) == _TWO and node.next_functions[0] == node.next_functions[1]
    return exponent_of(node) == _TWO


def exponent_of(node: Node) -> float | None:
    """The power to which it raises what it is given; None where it is not one number."""
    exponent = getattr(node, "_saved_exponent", None) if kind_of(node) == "Pow" else None
    return float(exponent) if isinstance(exponent, (int, float)) else None


def is_near(one: float | None, other: float) -> bool:
    """Whether two shares are the same but for rounding."""
    return one is not None and math.isclose(one, other, rel_tol=1e-5)


def sums_in(root: Edge) -> Iterator[Form]:
    """The sum that a loss is, and those that its terms were made of by a bound or a weight."""
    waiting, seen = [root], {root}
    while waiting and len(seen) < _SUMS:
        terms = sum_of(waiting.pop())
        yield terms
        for name, edge in terms:
            edges = () if name or kind_of(edge[0]) not in BENT else edges_of(edge[0])
            below = [edge[0].next_functions[index] for index in edges] if len(edges) == 1 else []
            waiting += [each for each in below if each not in seen]
            seen |= set(below)


def sum_of(root: Edge) -> Form:
    """What a value is the sum of, and how often; nothing where there is too much of it."""
    found: Form = {}
    waiting = [(root, 1.0)]
    for _ in range(NODES):
        if not waiting:
            return found
        edge, share = waiting.pop()
        node = edge[0]
        if kind_of(node) == "Log":
            parts = logarithm_of(node.next_functions[0])
        elif kind_of(node) in {"Mean", "Expand"}:
            waiting.append((node.next_functions[0], share * _shrinks(node)))
            continue
        elif (below := added_by(node)) is not None:
            waiting += [(node.next_functions[index], share * times) for index, times in below]
            continue
        else:
            parts = {("", edge): 1.0}
        for atom, times in parts.items():
            found[atom] = found.get(atom, 0.0) + share * times
    return {}


def _shrinks(node: Node) -> float:
    """One over how many numbers a node averages."""
    if kind_of(node) != "Mean":
        return 1.0
    child, index = node.next_functions[0]
    made, given = node._input_metadata[0], child._input_metadata[index]  # noqa: SLF001  public only by name
    share: float = math.prod(made.shape) / max(1, math.prod(given.shape))
    return share


def logarithm_of(edge: Edge) -> Form:
    """A value's logarithm as a sum, but for a constant."""
    times = 1.0
    for _ in range(NODES):
        node, edges = edge[0], edges_of(edge[0])
        kind = kind_of(node)
        if kind == "Exp":
            return {atom: times * share for atom, share in sum_of(node.next_functions[0]).items()}
        if is_square(node):
            times *= 2
        elif exponent := exponent_of(node):
            times *= exponent
        elif kind in {"Sqrt", "Rsqrt", "Reciprocal"}:
            times *= {"Sqrt": _HALF, "Rsqrt": -_HALF, "Reciprocal": -1.0}[kind]
        elif factor_of(node) is None and not (kind in SPREADS and edges == [0]):
            break
        edge = node.next_functions[edges[0]]
    return {("log", edge): times}
