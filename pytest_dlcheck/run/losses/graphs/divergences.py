"""Divergences in the graph of a loss, known as such where the loss's value is made of them.

``kl_div`` leaves no node of its own, but a target that is multiplied by scores, and subtracted from a
constant. That this is a divergence is known where its value is the loss's. No judgement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept, signed
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.outputs import result_of
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of

DEEPEST = 24
"""Nodes between a loss and its terms."""
NEAR = 1e-3
"""Relative difference up to which a value is the loss's: half precision, and no other loss by chance."""
_REDUCTIONS = ("none", "mean", "sum")
_PAIR = frozenset({"Sub", "Mul"})
_AS_THEY_ARE = frozenset({"ToCopy", "Alias", "Clone"})


@dataclass(frozen=True)
class Divergence:
    """A divergence of scores from a target.

    Attributes:
        scores: the node that made what stands for log-probabilities.
        given: what that made, in the shape of the target.
        target: the probabilities that it is held against.
    """

    scores: Node
    given: Tensor
    target: Tensor


def divergences(near: Near, loss: Tensor) -> list[Divergence]:
    """Those in a loss whose value is known to be made of them; none where it is not.

    Args:
        near: nodes of its graph.
        loss: that is propagated.
    """
    if loss.numel() != 1 or all(_divergence(node) is None for node in near.of(_PAIR)):
        return []
    found: list[Divergence] = []
    with torch.no_grad():
        value = _value(near.root, found, DEEPEST)
    if value is None or value.numel() != 1:
        return []
    is_its = math.isclose(value.item(), loss.item(), rel_tol=NEAR)
    return found if is_its else []


def _divergence(node: Node) -> Divergence | None:
    """``xlogy(t, t) - t * scores``, or ``t * (log(t) - scores)``: what does not depend is not kept."""
    first = kind_of(node)
    if first not in _PAIR or kind_of(_only(node)) not in _PAIR - {first}:
        return None
    product, difference = (node, _only(node)) if first == "Mul" else (_only(node), node)
    if edges_of(difference) != [1] or getattr(difference, "_saved_alpha", 1) != 1:
        return None
    target, scores = constant_of(product), _only(_only(node))
    if target is None or target.dim() < 2 or not target.is_floating_point():  # noqa: PLR2004  rows
        return None
    given = result_of(scores)
    if given is None or given.numel() != target.numel() or not bool((target >= 0).all()):
        return None
    return Divergence(scores, given.reshape(target.shape), target)


def _only(node: Node) -> Node:
    """The one node that a node depends on; None where there are several, or none."""
    edges = edges_of(node)
    return node.next_functions[edges[0]][0] if len(edges) == 1 else None


def _value(node: Node, found: list[Divergence], deepest: int) -> Tensor | None:
    """What a node has made, by what it is made of; None where that is not kept."""
    one = _divergence(node)
    if one is not None:
        found.append(one)
        return torch.xlogy(one.target, one.target) - one.target * one.given
    if kind_of(node) in {"NllLoss", "NllLoss2D", "MseLoss"}:
        return _of_torch(node)
    if not deepest:
        return None
    terms = [_value(node.next_functions[i][0], found, deepest - 1) for i in edges_of(node)]
    known = [term for term in terms if term is not None]
    return _made_of(node, known) if known and len(known) == len(terms) else None


def _made_of(node: Node, terms: Sequence[Tensor]) -> Tensor | None:
    kind, alone = kind_of(node), len(terms) == 1
    if kind == "Add" and alone:  # nothing else can be known of the rest than that it may be zero
        return terms[0]
    if kind in {"Add", "Sub"} and not alone:
        alpha = getattr(node, "_saved_alpha", 1)
        return terms[0] + terms[1] * (alpha if kind == "Add" else -alpha)
    if not alone:
        return None
    if kind == "Neg" or kind in _AS_THEY_ARE:
        return -terms[0] if kind == "Neg" else terms[0]
    factor = constant_of(node) if kind in {"Mul", "Div"} else None
    if factor is not None:
        return terms[0] * factor if kind == "Mul" else terms[0] / factor
    return _reduced(node, terms[0]) if kind in {"Sum", "Mean"} else None


def _reduced(node: Node, term: Tensor) -> Tensor:
    reduce = torch.sum if kind_of(node) == "Sum" else torch.mean
    axes = getattr(node, "_saved_dim", None)
    if axes is None:
        return reduce(term)
    along = [signed(axis) for axis in axes]
    return reduce(term, dim=along, keepdim=bool(getattr(node, "_saved_keepdim", False)))


def _of_torch(node: Node) -> Tensor | None:
    """The value of one of torch's own losses, from what it has kept."""
    scores, target = kept(node, "self"), kept(node, "target")
    if scores is None or target is None:
        return None
    reduction = _REDUCTIONS[node._saved_reduction]  # noqa: SLF001  so torch calls what a node has kept
    if kind_of(node) == "MseLoss":
        return F.mse_loss(scores, target, reduction=reduction)
    index = signed(node._saved_ignore_index)  # noqa: SLF001  as above
    weight = kept(node, "weight")
    return F.nll_loss(scores, target, weight, ignore_index=index, reduction=reduction)
