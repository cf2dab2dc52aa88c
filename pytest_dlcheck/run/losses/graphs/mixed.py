"""Scores of several positions that a reshape has put into one row: their classes lay on another axis.

Read from the graph of a loss. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.cuts import made, sizes_before
from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.losses.graphs.written import Written
from pytest_dlcheck.run.tensors.graph import Node, kind_of
from pytest_dlcheck.trace import Row

_VIEWS = frozenset({"View", "UnsafeView", "ReshapeAlias"})
_BETWEEN = 4
"""Operations between a comparison and the scores that it is made of, at most."""
_NORMALISES = frozenset({"LogSoftmax", "Softmax", "Log", "Add", "Clamp", "ClampMin", "Sub"})
_TWO, _THREE = 2, 3


def what_is_mixed(
    near: Near, found: Iterable[Written], batches: Sequence[Sequence[Tensor]]
) -> list[Row]:
    """A row per cross-entropy whose rows mix positions, in the words of ``loss_soundness``.

    Args:
        near: nodes of a loss's graph, where torch's losses are to be told of here.
        found: what the loss compares where it is written out.
        batches: what loaders gave.
    """
    of_classes = [] if near.lacks(_VIEWS) else near.of(OF_CLASSES)
    pairs = [(n.next_functions[0][0], near.targets.get(n)) for n in of_classes if n.next_functions]
    pairs += [(each.scores, each.target) for each in found if each.kind in {"class", "likelihood"}]
    return [
        row for scores, target in pairs if target is not None for row in _row(scores, target, batches)
    ]


def _row(scores: Node, target: Tensor, batches: Sequence[Sequence[Tensor]]) -> Iterator[Row]:
    view = _view_behind(scores)
    if view is None:
        return
    before, after = sizes_before(view), made(view)
    if len(before) < _THREE or len(after) != _TWO or before[1] != after[1]:
        return
    places, count = prod(before[2:]), before[1]
    if places < _TWO or count < _TWO or target.numel() != after[0] or before[0] * places != after[0]:
        return
    maps = (before[0], *before[2:])
    is_map = any(_is_flattened(given, maps, target) for batch in batches for given in batch)
    by_convolution = kind_of(view.next_functions[0][0]) == "Convolution"
    if by_convolution or (before[-1] != count and is_map):
        yield Row(
            part="call",
            kind="cross_entropy",
            site="loss",
            of_model=False,
            last="View",
            shape=str(tuple(after)),
            cut_from=str(tuple(before)),
            wanted_shape=str(maps),
            mixed=min(count, places),
        )


def _view_behind(scores: Node) -> Node:
    """The reshape that has made the rows; None where there is none."""
    node = scores
    for _ in range(_BETWEEN):
        if kind_of(node) in _VIEWS:
            return node
        if kind_of(node) not in _NORMALISES:
            return None
        node = node.next_functions[0][0]
    return None


def _is_flattened(given: Tensor, shape: tuple[int, ...], target: Tensor) -> bool:
    """Whether a tensor of that shape is what the targets were before they became a row."""
    if tuple(given.shape) != shape or given.device != target.device:
        return False
    return torch.equal(given.detach().reshape(-1).to(target.dtype), target.reshape(-1))
