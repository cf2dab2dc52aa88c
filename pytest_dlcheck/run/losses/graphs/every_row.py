"""Labels that a loss compares every row of a model's scores with, each row for as much. No judgement."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import NONE, constant_of, kept, signed
from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.losses.graphs.outputs import RESHAPES, plain
from pytest_dlcheck.run.tensors.graph import Node, edges_of, kind_of, walk

_MIXES = frozenset(
    {"Mul", "Where", "IndexPut", "MaskedFill", "MaskedScatter", "CopySlices", "Copy", "Cat", "Stack"}
)
"""What may leave rows of the scores without gradients."""
_JOINS = frozenset({"Add", "Div", "Mul"})


def labels_of_every_row(near: Near) -> Tensor | None:
    """The numbers of classes, one for each row; None where some rows count for nothing, or may.

    Args:
        near: nodes of the loss's graph.
    """
    if near.root is None or near.lacks(OF_CLASSES):
        return None
    found = (node for node in walk([near.root], _below) if kind_of(node) == "NllLoss")
    return next((t for node in found if (t := _of(node)) is not None), None)


def _below(node: Node) -> Iterator[Node]:
    """The terms of a loss, where none of them counts for nothing."""
    kind, edges = kind_of(node), edges_of(node)
    if kind not in _JOINS and kind not in RESHAPES:
        return
    if kind == "Mul" and len(edges) == 1:
        factor = constant_of(node)
        if factor is not None and (factor.numel() != 1 or not float(factor)):
            return
    elif kind == "Mul" or (kind == "Div" and edges != [0]):
        return
    yield from (node.next_functions[edge][0] for edge in edges)


def _of(node: Node) -> Tensor | None:
    """The target of a mean or a sum over all rows of scores that are as the model has made them."""
    target, below = kept(node, "target"), plain(node.next_functions[0][0])
    if target is None or target.dim() != 1 or node._saved_reduction == NONE:  # noqa: SLF001  as torch calls it
        return None
    while kind_of(below) in {"LogSoftmax", "Add"}:
        inner = [plain(below.next_functions[edge][0]) for edge in edges_of(below)]
        if any(kind_of(each) in _MIXES for each in inner):
            return None
        below = inner[0] if kind_of(below) == "LogSoftmax" else None
    is_mixed = kind_of(below) in _MIXES
    ignored = signed(node._saved_ignore_index)  # noqa: SLF001  as above
    return None if is_mixed or bool((target == ignored).any()) else target
