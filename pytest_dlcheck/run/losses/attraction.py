"""Whether a loss only draws outputs of the model together: read from its graph. Nothing is judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from pytest_dlcheck.run.calls.crossings import MOST, Crossing
from pytest_dlcheck.run.losses.calls import last_operation
from pytest_dlcheck.run.losses.graphs.between import between, mark
from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.tensors.graph import Node, entire, kind_of

_SIZES = frozenset({"Pow", "Abs", "LinalgVectorNorm", "Norm"})
_SUMS = frozenset({"Sum", "Mean", "Add", "Sqrt"})
_SHAPES = frozenset(
    {"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T"}
    | {"Slice", "Select", "Index", "Split", "Unbind", "Expand", "ToCopy", "Clone", "Cat", "Stack"}
)
_TABLE, _SQUARE = 2, 2
_Place: TypeAlias = tuple[Node, bool]
"""A node of a loss, and whether only the size of what it has made enters."""
_NODES = 64
"""Nodes between a loss and outputs; where there are more, other things may be in it."""


def only_attracts(loss: Any, path: Sequence[Crossing[list[Tensor]]]) -> bool:
    """Whether it is made of distances between outputs only, with gradients on both sides.

    Args:
        loss: as the recipe gives it, with its graph whole.
        path: what entered and left each module on the way to it.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.grad_fn is None or len(path) >= MOST:
        return False
    outputs = list(_given(path, 0))
    if any(tensor is loss for _, tensor in outputs):  # the model computes it: of what its parts give
        outputs = list(_given(path, 1))
    try:
        for name, tensor in outputs:
            mark(tensor, name)
        return between(loss).attracts
    except (RuntimeError, AttributeError):  # a node of an unknown kind
        return False


def only_sizes(loss: Any, path: Sequence[Crossing[list[Tensor]]]) -> bool:
    """Whether it is made of nothing but sizes of what the model gives, so that zeros minimise it.

    Only of outputs with several numbers a sample, none of which is the difference from something fixed:
    such a model gives errors, and is right to make them small.

    Args:
        loss: as the recipe gives it, with its graph whole.
        path: what entered and left each module on the way to it.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.grad_fn is None or len(path) >= MOST:
        return False
    made = {tensor.grad_fn: tensor for _, tensor in _given(path, 0)}

    def below(place: _Place) -> list[_Place]:
        return [] if place[0] in made else _below(*place)

    def may_vanish(place: _Place) -> bool:
        node, sized = place
        return sized and node in made and not _is_error(made[node])

    found = entire([(loss.grad_fn, False)], _NODES, below)
    return found is not None and all(below(place) or may_vanish(place) for place in found)


def _below(node: Node, sized: bool) -> list[_Place]:  # noqa: FBT001  a place's two parts
    """What a node is made of, and whether that is only its size; nothing where it is made otherwise."""
    name, edges = kind_of(node), [child for child, _ in node.next_functions]
    given = [edge for edge in edges if edge is not None]
    if _takes_size(node, name, given):
        return [(edge, True) for edge in given[:1]]
    if name in _SHAPES or (len(given) == len(edges) and (name in _SUMS or (sized and name == "Sub"))):
        return [(edge, sized) for edge in given]
    factor = kept(node, "self" if edges[0] is None else "other") if name in {"Mul", "Div"} else None
    plain = factor is not None and factor.numel() == 1 and float(factor) > 0 and len(given) == 1
    return [(given[0], sized)] if plain else []


def _takes_size(node: Node, name: str, given: Sequence[Node]) -> bool:
    if name == "Mul":
        return len(given) > 1 and given[0] is given[1]
    even = name != "Pow" or getattr(node, "_saved_exponent", 0) == _SQUARE
    return name in _SIZES and even and len(given) == 1


def _is_error(tensor: Tensor) -> bool:
    """Whether it may be meant to vanish: one number a sample, or a difference from something fixed."""
    if tensor.dim() < _TABLE or tensor.size(-1) < _TABLE:
        return True
    name, node = last_operation(tensor)
    return name in {"Sub", "Rsub", "Add"} and any(child is None for child, _ in node.next_functions)


def _given(
    path: Sequence[Crossing[list[Tensor]]], depth: int
) -> Iterator[tuple[tuple[int, int], Tensor]]:
    """What modules give that are called so deep within others, with a name for each."""
    within = 0
    for number, crossing in enumerate(path):
        within += 1 if crossing.entering else -1
        if not crossing.entering and within == depth:
            for place, tensor in enumerate(crossing.seen):
                yield (number, place), tensor
