"""What lies between a loss and the outputs of models: are some of these compared with each other?

Read from the graph of a few losses. Outputs are marked in it by what their nodes carry, so that nothing
is kept alive. No judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any, TypeAlias

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import kept
from pytest_dlcheck.run.losses.graphs.signs import pushes_apart
from pytest_dlcheck.run.tensors.graph import inner_first, inputs_of, roots, walk

NODES = 256
"""Nodes between a loss and outputs; where there are more, it is too much to tell."""
WHOLE = 4096
"""Nodes of a model that are walked from what it gives to what it was called on: a deep one's."""

_COMPARING = (
    *("MulBackward", "MmBackward", "BmmBackward", "DotBackward", "CdistBackward", "EuclideanDist"),
    *("MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "CosineSimilarity"),
)
"""What holds one side against another; a difference does where its size is taken."""
_SIZES = ("PowBackward", "AbsBackward", "LinalgVectorNorm", "NormBackward")
_PRODUCTS = ("MmBackward", "BmmBackward", "CdistBackward", "EuclideanDist")
"""Compare every row with every other, also those of one output."""
_ATTRACTING = (
    *("MulBackward0", "SubBackward0", "DivBackward0", "AddBackward0", "RsubBackward1", "SubBackward1"),
    *("AddBackward1", "MseLossBackward", "L1LossBackward", "SmoothL1Loss", "HuberLoss", "NegBackward"),
    *("SumBackward", "MeanBackward", "PowBackward", "SqrtBackward", "LinalgVectorNorm", "NormBackward"),
    *("AbsBackward", "DotBackward", "CosineSimilarity", "ClampMinBackward"),
    *("CloneBackward", "ExpandBackward", "ViewBackward", "UnsafeViewBackward", "ReshapeAlias", "Alias"),
    *("SqueezeBackward", "UnsqueezeBackward", "TBackward", "TransposeBackward", "PermuteBackward"),
    *("SplitBackward", "SliceBackward", "SelectBackward", "UnbindBackward", "ToCopyBackward"),
    *("StackBackward", "CatBackward"),
)
"""What a loss is made of that only draws two sides together: distances, cosines, and their sums."""
_PARTS = ("SplitBackward", "SliceBackward", "SelectBackward", "UnbindBackward", "IndexBackward")
_LOSSES = ("MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BinaryCrossEntropy", "KlDiv")
_TARGETS = 2

Side: TypeAlias = tuple[object, ...]
"""An output, or a part of one."""


class _Mark:
    """The key under which a node carries the output that it has made."""


@dataclass(frozen=True)
class Between:
    """What a loss makes of outputs.

    Attributes:
        compared: the outputs that are held against each other, as they were marked.
        is_all: whether that is all there is: nothing fixed enters but numbers, classes, and a weight for
            each pair.
        attracts: whether these are distances only, with gradients on both sides, nothing pushes
            apart, and not every side is an answer to the other.
    """

    compared: frozenset[object]
    is_all: bool
    attracts: bool


def mark(output: Tensor, name: object) -> None:
    """Let an output be known by this name in the graphs that it becomes a part of."""
    node: Any = output.grad_fn
    if node is not None:
        node.metadata[_Mark] = name


def between(loss: Tensor) -> Between:
    """What lies between a loss and the outputs that were marked."""
    order = inner_first(roots([loss]), NODES, _children)
    if order is None:
        return Between(frozenset(), is_all=False, attracts=False)
    sides: dict[Any, frozenset[Side]] = {}
    compared: set[Side] = set()
    subtracted: set[Side] = set()
    pairs: list[tuple[frozenset[Side], frozenset[Side]]] = []
    attracts = is_all = True
    for node in order:
        name, marked = type(node).__name__, node.metadata.get(_Mark)
        if marked is not None:
            sides[node] = frozenset({(marked,)})
            continue
        given = [_seen_through(child, number, sides) for child, number in node.next_functions]
        sides[node] = frozenset().union(*given)
        present = [side for side in given if side]
        if len(present) > 1 and _are_several(node) and _compares(name, *present[:2]):
            (subtracted if name.startswith("Sub") else compared).update(*present)
            pairs.append((present[0], present[1]))
        attracts &= _attracts(node, name)
        fixed = _fixed(node, name)
        attracts &= fixed is None
        is_all &= fixed is None or fixed == 1
    if any(map(_takes_size, order)):
        compared |= subtracted
    is_all &= bool(compared)
    made = {node: node.metadata[_Mark] for node in order if node.metadata.get(_Mark) is not None}
    attracts = is_all and attracts and not pushes_apart(order, set(made))
    attracts = attracts and not _are_answers_to_themselves(pairs, made)
    return Between(frozenset(side[0] for side in compared), is_all, attracts)


def _are_answers_to_themselves(
    pairs: list[tuple[frozenset[Side], frozenset[Side]]], made: Mapping[Any, object]
) -> bool:
    """Whether in each pair one side is computed from the other: to give it back is no collapse."""
    behind = {name: {made[each] for each in _above(node) if each in made} for node, name in made.items()}

    def is_of(one: frozenset[Side], other: frozenset[Side]) -> bool:
        names = {side[0] for side in other}
        return any(names & behind[side[0]] for side in one)

    return bool(pairs) and all(is_of(one, other) or is_of(other, one) for one, other in pairs)


def _above(output: Any) -> Iterator[Any]:
    """What an output is made of, itself left out."""
    return islice(walk([output]), 1, WHOLE)


def _compares(name: str, one: frozenset[Side], other: frozenset[Side]) -> bool:
    if name.startswith(_PRODUCTS):
        return True
    return name.startswith((*_COMPARING, "SubBackward")) and not one & other


def _takes_size(node: Any) -> bool:
    """Whether it makes a distance of a difference: a norm, a power, or its product with itself."""
    name, edges = type(node).__name__, [child for child, _ in node.next_functions]
    return name.startswith(_SIZES) or (name.startswith("MulBackward0") and edges[0] is edges[1])


def _are_several(node: Any) -> bool:
    """Whether a node makes more than one number, or one of many: no mean is held against another."""
    name = type(node).__name__
    return not name.startswith(("Mul", "Sub")) or _made(node) > 1


def _seen_through(node: Any, number: int, sides: dict[Any, frozenset[Side]]) -> frozenset[Side]:
    """What is seen of outputs at one input of a node; parts of one output are told apart."""
    if node is None:
        return frozenset()
    found = sides.get(node, frozenset())
    if type(node).__name__.startswith(_PARTS) and node.metadata.get(_Mark) is None:
        return frozenset((*side, id(node), number) for side in found)
    return found


def _children(node: Any) -> list[Any]:
    return inputs_of(node) if node.metadata.get(_Mark) is None else []


def _attracts(node: Any, name: str) -> bool:
    if not name.startswith(_ATTRACTING):
        return False
    if name.startswith("ClampMin"):  # a norm's, that it does not become zero; a margin's pushes apart
        return "Norm" in type(node.next_functions[0][0]).__name__
    return True


def _fixed(node: Any, name: str) -> int | None:
    """The axes of a tensor without gradients that meets one with; None where there is none, or a number.

    A weight for each pair has 1, targets have 2 or more; so many are assumed where it is not known.
    """
    edges = [child for child, _ in node.next_functions]
    if all(edge is not None for edge in edges[:2]):
        return None
    if name.startswith(_LOSSES):
        return _TARGETS
    if name.startswith(("MulBackward0", "DivBackward0")):
        other = kept(node, "self" if edges[0] is None else "other")
        many = other is None or other.numel() > 1
        return (_TARGETS if other is None else other.dim()) if many else None
    return _TARGETS if name.startswith(("SubBackward0", "AddBackward0")) and _made(node) != 1 else None


def _made(node: Any) -> int:
    """How many numbers a node has made; 0 where it does not say."""
    made = (getattr(node, "_input_metadata", None) or (None,))[0]
    return 0 if made is None else prod(made.shape)
