"""With which sign a policy's entropy enters its loss. No judgement.

A policy gradient is given its entropy as a bonus, so that it goes on exploring (Williams and Peng 1991;
Mnih et al. 2016): the loss falls with it. Found by its numbers, whatever it is written as: a product of
probabilities and their logarithms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.advantages import SHAPES
from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.signs import entering
from pytest_dlcheck.run.tensors.graph import Node, inputs_of, kind_of, walk

_LEAST = 1e-6
"""Probabilities below which a logarithm may have been clamped."""
_CLOSE = 1e-4
_BY_SCORES = SHAPES | {
    *("Clamp", "ClampMin", "Exp", "Log", "LogSoftmax", "Softmax", "Logsumexp", "Sub", "Add", "Mul"),
    *("Gather", "Index", "Neg", "Sum", "Div", "NllLoss", "Stack", "Cat", "ToCopy", "Clone", "Expand"),
}
"""What probabilities and their logarithms are made with, from the scores up."""
NODES = 512
"""Nodes between entropies, or what was chosen, and their scores: some are added up step by step."""


def penalised(near: Near, chosen: Iterable[Node]) -> str:
    """The shape of a policy's probabilities whose entropy a loss grows with; else empty.

    Args:
        near: the nodes next to the loss.
        chosen: what the loss takes the log-probabilities of choices from; the scores of some are to be
            those of the entropy.
    """
    products = {node: found for node in near.of({"Mul"}) if (found := _of_an_entropy(node)) is not None}
    if not products:
        return ""
    signs = {sign for node, sign in entering(near.root, near.nodes) if node in products}
    scores = set(_scores(chosen))
    if signs != {-1} or scores.isdisjoint(_scores(products)):
        return ""
    return str(list(next(iter(products.values())).shape))


def _of_an_entropy(node: Node) -> Tensor | None:
    """The probabilities where a product is of such and their own logarithms; else None."""
    one, other = kept(node, "self"), kept(node, "other")
    if one is None or other is None or one.shape != other.shape or not one.dim():
        return None
    return next((p for p, log in ((one, other), (other, one)) if _is_logarithm(p, log)), None)


def _is_logarithm(chances: Tensor, logarithms: Tensor) -> bool:
    if chances.size(-1) < 2 or not chances.is_floating_point() or bool((chances < 0).any()):  # noqa: PLR2004
        return False
    if not bool(((chances.sum(-1) - 1).abs() < _CLOSE).all()):
        return False
    likely = chances > _LEAST
    return torch.allclose(chances.log()[likely], logarithms[likely], rtol=1e-3, atol=1e-3)


def _scores(made: Iterable[Node]) -> Iterator[Node]:
    """The scores that probabilities are made of: where their making begins."""
    found = walk(made, lambda each: inputs_of(each) if kind_of(each) in _BY_SCORES else ())
    for node in islice(found, NODES):
        if kind_of(node) not in _BY_SCORES:
            yield node
