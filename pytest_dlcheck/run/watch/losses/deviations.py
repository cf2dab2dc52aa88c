"""Posteriors that are drawn with another width than their divergence holds them to.

The divergence of a Gaussian from a standard normal is half of its squared mean, plus its variance, less
the variance's logarithm: whatever stands there for the variance, noise must be multiplied by its root.
Both are read from the graph of a loss. No judgement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias

from torch import Tensor

from pytest_dlcheck.run.graph import Node, edges_of, kind_of, walk
from pytest_dlcheck.run.watch.losses.kept import kept
from pytest_dlcheck.run.watch.losses.outputs import RESHAPES
from pytest_dlcheck.run.watch.losses.sums import Edge, added_by, factor_of, is_square
from pytest_dlcheck.trace import Row

NODES = 96
"""Nodes of a sum; a divergence that is written out has about twenty."""
DEEPEST = 4000
"""Nodes of a loss and its model that are looked through for the drawing."""
_HALF = 0.5
_ERRORS = 5.0
"""Standard errors within which the mean of noise is zero."""
_SPREADS = RESHAPES | {"Expand"}
_BENT = frozenset({"Clamp", "ClampMin", "ClampMax", "Maximum", "Relu", "Abs", "Mul", "Div"})
"""What is made of a divergence before it is a term: free bits, a capacity, a weight for each sample."""
_Atom: TypeAlias = tuple[str, Edge]
"""What is added up: a value, or the logarithm of one."""
_Form: TypeAlias = dict[_Atom, float]


def deviating(loss: Tensor) -> list[Row]:
    """A row where no noise is multiplied by the root of what a divergence has for the variance.

    Its ``power`` is that of the variance (ratio) by which it is multiplied: 0.5 would be right.

    Args:
        loss: with its graph whole.
    """
    found = list(_divergences((loss.grad_fn, 0)))
    if not found:
        return []
    drawn = list(_drawn(loss.grad_fn))
    for logarithm, mean in found:
        powers = [_ratio(width, logarithm) for center, width in drawn if center == mean]
        if powers and None not in powers and _HALF not in powers:
            return [Row(part="terms", kind="deviation", power=powers[0])]
    return []


# -- the divergence ----------------------------------------------------------------------------


def _divergences(root: Edge) -> Iterator[tuple[_Form, _Form]]:
    """The logarithm of the variance, and the mean, of every divergence in a loss."""
    waiting, seen = [root], {root}
    while waiting and len(seen) < NODES:
        terms = _sum_of(waiting.pop())
        yield from _posteriors(terms)
        for name, edge in terms:
            edges = () if name or kind_of(edge[0]) not in _BENT else edges_of(edge[0])
            below = [edge[0].next_functions[index] for index in edges] if len(edges) == 1 else []
            waiting += [each for each in below if each not in seen]
            seen |= set(below)


def _posteriors(terms: _Form) -> Iterator[tuple[_Form, _Form]]:
    squares = [(edge, share) for (name, edge), share in terms.items() if not name and is_square(edge[0])]
    for (name, edge), share in terms.items() if squares else ():
        logarithm = {} if name else _logarithm_of(edge)
        if logarithm and all(_is(terms.get(a), -share * times) for a, times in logarithm.items()):
            for mean, weight in squares:
                if mean != edge and _is(weight, share):
                    yield logarithm, _sum_of(mean[0].next_functions[0])


def _is(one: float | None, other: float) -> bool:
    return one is not None and math.isclose(one, other, rel_tol=1e-5)


# -- the drawing -------------------------------------------------------------------------------


def _drawn(root: Node) -> Iterator[tuple[_Form, _Form]]:
    """The mean, and the logarithm of the width, of everything that noise was added to."""
    for node in islice(walk([root]), DEEPEST):
        if kind_of(node) == "Add" and edges_of(node) == [0, 1]:
            one, other = node.next_functions
            for center, spread in ((one, other), (other, one)):
                width = _width(spread)
                if width is not None:
                    yield _sum_of(center), _logarithm_of(width)


def _width(edge: Edge) -> Edge | None:
    """What noise is multiplied by; None where it is something else that is."""
    while (kind_of(edge[0]) in _SPREADS and edges_of(edge[0]) == [0]) or factor_of(edge[0]) is not None:
        edge = edge[0].next_functions[edges_of(edge[0])[0]]
    edges = edges_of(edge[0])
    if kind_of(edge[0]) != "Mul" or len(edges) != 1:
        return None
    noise = kept(edge[0], "self" if edges == [1] else "other")
    return edge[0].next_functions[edges[0]] if noise is not None and _is_noise(noise) else None


def _is_noise(numbers: Tensor) -> bool:
    """Whether numbers are of both signs, and of no more mean than chance gives them."""
    if numbers.numel() <= 1 or not numbers.is_floating_point():
        return False
    values = numbers.double()
    size = float(values.square().mean().sqrt())
    return 0 < size < math.inf and abs(float(values.mean())) < _ERRORS * size / values.numel() ** _HALF


def _ratio(width: _Form, logarithm: _Form) -> float | None:
    """The power of the variance that a width is; None where it is made of something else."""
    if width.keys() != logarithm.keys():
        return None
    ratios = [width[atom] / times for atom, times in logarithm.items()]
    return round(ratios[0], 4) if all(_is(each, ratios[0]) for each in ratios) else None


# -- sums and logarithms -----------------------------------------------------------------------


def _sum_of(root: Edge) -> _Form:
    """What a value is the sum of, and how often; nothing where there is too much of it."""
    found: _Form = {}
    waiting = [(root, 1.0)]
    for _ in range(NODES):
        if not waiting:
            return found
        edge, share = waiting.pop()
        node = edge[0]
        if kind_of(node) == "Log":
            parts = _logarithm_of(node.next_functions[0])
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
    (child, index), (made, *_) = node.next_functions[0], node._input_metadata  # noqa: SLF001  public only by name
    given = child._input_metadata[index].shape  # noqa: SLF001  as above
    share: float = math.prod(made.shape) / max(1, math.prod(given))
    return share


def _logarithm_of(edge: Edge) -> _Form:
    """A value's logarithm as a sum, but for a constant."""
    times = 1.0
    for _ in range(NODES):
        node, edges = edge[0], edges_of(edge[0])
        kind = kind_of(node)
        if kind == "Exp":
            return {atom: times * share for atom, share in _sum_of(node.next_functions[0]).items()}
        if is_square(node):
            times *= 2
        elif kind == "Pow" and edges == [0]:
            times *= float(node._saved_exponent)  # noqa: SLF001  so torch calls what a node has kept
        elif kind in {"Sqrt", "Rsqrt", "Reciprocal"}:
            times *= {"Sqrt": _HALF, "Rsqrt": -_HALF, "Reciprocal": -1.0}[kind]
        elif factor_of(node) is None and not (kind in _SPREADS and edges == [0]):
            break
        edge = node.next_functions[edges[0]]
    return {("log", edge): times}
