"""Posteriors that are drawn with another width than their divergence holds them to.

The divergence of a Gaussian from a standard normal is half of its squared mean, plus its variance, less
the variance's logarithm: whatever stands there for the variance, noise must be multiplied by its root.
Both are read from the graph of a loss. No judgement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import constant_of
from pytest_dlcheck.run.losses.graphs.sums import (
    SPREADS,
    Edge,
    Form,
    factor_of,
    is_near,
    is_square,
    logarithm_of,
    sum_of,
)
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of, walk
from pytest_dlcheck.trace import Row

DEEPEST = 4000
"""Nodes of a loss and its model that are looked through for the drawing."""
_HALF = 0.5
_ERRORS = 5.0
"""Standard errors within which the mean of noise is zero."""


def deviating(loss: Tensor, sums: Iterable[Form]) -> list[Row]:
    """A row where no noise is multiplied by the root of what a divergence has for the variance.

    Its ``power`` is that of the variance (ratio) by which it is multiplied: 0.5 would be right.

    Args:
        loss: with its graph whole.
        sums: that it is, and that its terms are made of.
    """
    found = [each for terms in sums for each in _posteriors(terms)]
    if not found:
        return []
    drawn = list(_drawn(loss.grad_fn))
    for logarithm, mean in found:
        powers = [_ratio(width, logarithm) for center, width in drawn if center == mean]
        if powers and None not in powers and _HALF not in powers:
            return [Row(part="terms", kind="deviation", power=powers[0])]
    return []


# -- the divergence ----------------------------------------------------------------------------


def _posteriors(terms: Form) -> Iterator[tuple[Form, Form]]:
    squares = [(edge, share) for (name, edge), share in terms.items() if not name and is_square(edge[0])]
    for (name, edge), share in terms.items() if squares else ():
        logarithm = {} if name else logarithm_of(edge)
        if logarithm and all(is_near(terms.get(a), -share * times) for a, times in logarithm.items()):
            for mean, weight in squares:
                if mean != edge and is_near(weight, share):
                    yield logarithm, sum_of(mean[0].next_functions[0])


# -- the drawing -------------------------------------------------------------------------------


def _drawn(root: Node) -> Iterator[tuple[Form, Form]]:
    """The mean, and the logarithm of the width, of everything that noise was added to."""
    for node in islice(walk([root]), DEEPEST):
        if kind_of(node) == "Add" and edges_of(node) == [0, 1]:
            one, other = node.next_functions
            for center, spread in ((one, other), (other, one)):
                width = _width(spread)
                if width is not None:
                    yield sum_of(center), logarithm_of(width)


def _width(edge: Edge) -> Edge | None:
    """What noise is multiplied by; None where it is something else that is."""
    while (kind_of(edge[0]) in SPREADS and edges_of(edge[0]) == [0]) or factor_of(edge[0]) is not None:
        edge = edge[0].next_functions[edges_of(edge[0])[0]]
    edges = edges_of(edge[0])
    if kind_of(edge[0]) != "Mul" or len(edges) != 1:
        return None
    noise = constant_of(edge[0])
    return edge[0].next_functions[edges[0]] if noise is not None and _is_noise(noise) else None


def _is_noise(numbers: Tensor) -> bool:
    """Whether numbers are of both signs, and of no more mean than chance gives them."""
    if numbers.numel() <= 1 or not numbers.is_floating_point():
        return False
    values = numbers.double()
    size = float(values.square().mean().sqrt())
    return 0 < size < math.inf and abs(float(values.mean())) < _ERRORS * size / values.numel() ** _HALF


def _ratio(width: Form, logarithm: Form) -> float | None:
    """The power of the variance that a width is; None where it is made of something else."""
    if width.keys() != logarithm.keys():
        return None
    ratios = [width[atom] / times for atom, times in logarithm.items()]
    return round(ratios[0], 4) if all(is_near(each, ratios[0]) for each in ratios) else None
