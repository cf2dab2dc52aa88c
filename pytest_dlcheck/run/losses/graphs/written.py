"""What a loss that is written out compares its outputs with: squares, chosen logarithms, products.

torch's own losses keep their targets in one node. A loss made of differences and logarithms keeps them
in parts: what was subtracted, which score was chosen, what a logarithm was multiplied by. Read from the
graph, from the loss up to the first such node on each way. No judgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept, kept_list, signed
from pytest_dlcheck.run.losses.graphs.logarithms import LOGARITHMS, are_normalised
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES, plain, result_of
from pytest_dlcheck.run.tensors.graph import Node, edges_of, entire, inputs_of, kind_of

NODES = 64
"""Nodes between a loss and what it compares; where there are more, other things are in it."""
BITS = 10
"""Of the mantissa of a number that was worked out: the others depend on what it was subtracted from."""
NEAR = 2.0**-20
"""Distance (ratio to the largest number) up to which what was worked out is what a batch holds: the
rounding of two subtractions in single precision, four times."""
_MAGNITUDES = frozenset({"Pow", "Abs", "LinalgVectorNorm", "Norm"})
_SUMS = frozenset({"Add", "Sub", "Stack", "Cat", "Where"})
_PARTS = frozenset({"Mean", "Sum", "Nansum", "Neg", "Rsub", "Div", "Mul", "Sqrt", "Select", "Slice"})
_REDUCES = RESHAPES | _SUMS | _PARTS
_Place: TypeAlias = tuple[Node, bool]
"""A node of a loss, and whether numbers of their own weigh its samples."""


@dataclass(frozen=True)
class Written:
    """What a loss compares scores with, at one place.

    Attributes:
        node: which compares.
        kind: ``difference``, ``class`` for the number of a score, ``likelihood`` for what logarithms are
            multiplied by.
        scores: the node that made what is compared.
        target: what it is compared with, of which no gradient is asked.
        is_weighed: whether each sample has a weight in the loss.
    """

    node: Node
    kind: str
    scores: Node
    target: Tensor
    is_weighed: bool


def weightless(root: Node) -> bool:
    """Whether a term of a loss is multiplied by zero.

    Args:
        root: the node of the loss.
    """
    if kind_of(root) not in _REDUCES:
        return False
    found = entire([(root, False)], NODES, _below) or ()
    return any(_times_nothing(node) for node, _ in found)


def _times_nothing(node: Node) -> bool:
    factor = constant_of(node) if kind_of(node) == "Mul" and made(node) == [] else None
    return factor is not None and factor.numel() == 1 and not float(factor)


def written(root: Node, batches: Sequence[Sequence[Tensor]] = ()) -> list[Written]:
    """What a loss compares, where it is written out; nothing where more is in it than is understood.

    Args:
        root: the node of the loss.
        batches: what loaders gave; a target that was worked out is replaced by what it was taken from.
    """
    places: list[_Place] | None = entire([(root, False)], NODES, _below)
    if places is None:
        return []
    choices = [node for node, _ in places if kind_of(node) == "Logsumexp"]
    found = []
    for node, is_weighed in places:
        compared = _compared(node)
        if compared is None:
            continue
        kind, scores, target = compared
        if kind == "class" and not are_normalised(scores, choices):
            continue
        alike = [g for batch in batches for g in batch if _is_alike(g, target)]
        if kind == "difference":
            target = _settled(target, scores, alike)
        elif kind == "likelihood" and not alike:
            target = _as_classes(target, scores)
        found.append(Written(node, kind, scores, target, is_weighed))
    return found


def _below(place: _Place) -> Iterator[_Place]:
    """What a node puts together, if it does only that."""
    node, is_weighed = place
    kind, edges = kind_of(node), edges_of(node)
    is_one = len(edges) <= 1 or kind in _SUMS or kind in RESHAPES
    if kind not in _REDUCES or not is_one or _compared(node) is not None:
        return
    weighs = is_weighed or (kind in {"Mul", "Div"} and _factor(node) is not None)
    for index in edges:
        yield node.next_functions[index][0], weighs


def _compared(node: Node) -> tuple[str, Node, Tensor] | None:
    """The kind of a comparison, the node of the scores, and the targets; None where it is none."""
    kind, edges = kind_of(node), edges_of(node)
    if kind in _MAGNITUDES and edges == [0]:
        return _difference(node.next_functions[0][0], kept(node, "self"))
    if kind == "Mul" and len(edges) > 1:
        one, other = inputs_of(node)
        return _difference(one, kept(node, "self")) if one is other else None
    if kind == "Mul" and len(edges) == 1:
        return _likelihood(node, edges)
    if kind == "Log":
        return _logarithm_of_chosen(node)
    if kind in {"Gather", "Index"} and edges == [0]:
        chosen = _chosen(node)
        return None if chosen is None else ("class", node.next_functions[0][0], chosen)
    return None


def _logarithm_of_chosen(node: Node) -> tuple[str, Node, Tensor] | None:
    """Of which probability a logarithm is taken, perhaps kept from zero by a little."""
    inner = plain(node.next_functions[0][0])
    if kind_of(inner) in {"Add", "Clamp", "ClampMin"} and edges_of(inner) == [0]:
        inner = plain(inner.next_functions[0][0])
    if kind_of(inner) not in {"Gather", "Index"} or edges_of(inner) != [0]:
        return None
    chosen, scores = _chosen(inner), inner.next_functions[0][0]
    if chosen is None or kind_of(plain(scores)) != "Softmax":
        return None
    return "class", scores, chosen


def _difference(node: Node, difference: Tensor | None) -> tuple[str, Node, Tensor] | None:
    """Of what a size is taken: ``outputs - targets``, or the other way round."""
    edges = edges_of(node)
    if kind_of(node) != "Sub" or len(edges) != 1 or difference is None:
        return None
    if getattr(node, "_saved_alpha", 1) != 1 or not difference.numel():
        return None
    scores = node.next_functions[edges[0]][0]
    outputs = result_of(scores)
    single = difference.dtype in {torch.float32, torch.float64}
    if outputs is None or not single or outputs.numel() != difference.numel():
        return None
    if outputs.device != difference.device:
        return None
    outputs = outputs.reshape(difference.shape)
    target = outputs - difference if edges == [0] else outputs + difference
    return None if _is_one_number(target) else ("difference", scores, target)


def _is_one_number(target: Tensor) -> bool:
    """Whether all are held against the same, as a GAN's scores are against 1."""
    least, most = target.aminmax()
    return float(most - least) <= NEAR * max(1.0, float(most.abs()))


def _likelihood(node: Node, edges: list[int]) -> tuple[str, Node, Tensor] | None:
    """``targets * logarithms``; one-hot targets become the numbers of their classes."""
    scores, target = node.next_functions[edges[0]][0], _factor(node)
    if kind_of(scores) not in LOGARITHMS or target is None or list(target.shape) != made(node):
        return None
    target = -target if bool((target <= 0).all()) else target  # its minus may stand before either
    if not bool(((target >= 0) & (target <= 1)).all()):
        return None
    return "likelihood", scores, target


def _as_classes(target: Tensor, scores: Node) -> Tensor:
    """The numbers of classes that are one-hot along their axis; or the targets as they are."""
    if target.dim() <= 1:
        return target
    of_softmax = kind_of(scores) == "LogSoftmax"
    axis = signed(scores._saved_dim) % target.dim() if of_softmax else 1  # noqa: SLF001  so torch calls it
    is_one_hot = ((target == 0) | (target == 1)).all() and (target.sum(axis) == 1).all()
    return target.argmax(axis) if bool(is_one_hot) else target


def _factor(node: Node) -> Tensor | None:
    """What a node multiplies or divides by, where that is many numbers without gradient."""
    factor = constant_of(node)
    return factor if factor is not None and factor.numel() > 1 else None


def _chosen(node: Node) -> Tensor | None:
    """The numbers of the scores that are chosen, one of each row; None where others are."""
    if kind_of(node) == "Gather":
        index = kept(node, "index")
        axis = signed(node._saved_dim)  # noqa: SLF001  as above
        single = index is not None and index.dim() > 1 and index.size(axis) == 1
        return index.squeeze(axis) if index is not None and single else None
    indices = kept_list(node, "indices")
    if len(indices) != 2 or any(each is None for each in indices):  # noqa: PLR2004  rows and columns
        return None
    rows, columns = indices
    if rows is None or columns is None or rows.dim() != 1 or columns.shape != rows.shape:
        return None
    is_counted = rows.dtype == columns.dtype == torch.long and len(rows) > 1
    counted = is_counted and torch.equal(rows, torch.arange(len(rows), device=rows.device))
    return columns if counted else None


def _is_alike(given: Tensor, target: Tensor) -> bool:
    """Whether a tensor of a batch may be what a target is."""
    if given.numel() != target.numel() or given.device != target.device or not given.dim():
        return False
    plain = given.layout == torch.strided and not given.is_nested
    return plain and not (given.is_complex() or given.is_quantized)


def _settled(target: Tensor, scores: Node, alike: Iterable[Tensor]) -> Tensor:
    """The values that a batch holds, perhaps in another order; else what a subtraction leaves sure.

    Args:
        target: as it was worked out.
        scores: the node of what it was subtracted from.
        alike: what batches hold of as many numbers.
    """
    outputs = result_of(scores)
    sizes = [float(each.abs().max()) for each in (target, outputs) if each is not None and each.numel()]
    bound = NEAR * max(sizes, default=0.0)
    ranks = target.flatten().argsort()
    for given in alike:
        values = given.detach().flatten()
        in_order = torch.empty_like(values).scatter_(0, ranks, values.sort().values)
        for found in (values, in_order):
            if float((found.to(target.dtype) - target.flatten()).abs().max()) <= bound:
                return found.reshape(target.shape)
    whole = target.round()
    if float((whole - target).abs().max()) <= bound:
        return whole
    mantissa, exponent = torch.frexp(target)
    return torch.ldexp((mantissa * 2**BITS).round() / 2**BITS, exponent)
