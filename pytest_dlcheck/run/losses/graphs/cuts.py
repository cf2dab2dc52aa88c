"""Views within a model that cut samples apart, across their axes, and never put them together again.

Read from the graph of a loss. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from math import prod
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.graph import walk

VIEWS = ("ViewBackward", "UnsafeViewBackward", "ReshapeAliasBackward")
_SAMPLES_AND_FEATURES = 2


def cut_apart(near: Near, targets: Sequence[Tensor]) -> str:
    """A view of ``[n, ...]`` as rows of other sizes than samples or parts of them along whole axes.

    Left out is what is put together again on the way to the loss, and what the loss has a target for
    each row of. Targets that count the rows say nothing: a loss of pairs makes them from what it gets.

    Args:
        near: nodes of a loss's graph.
        targets: that its losses have kept, computed without gradients.

    Returns:
        ``"[32, 16, 4, 4] as [128, 64]"``; empty where there is none.
    """
    for node in near.named(*VIEWS):
        before, after = sizes_before(node), made(node)
        if not _cuts(before, after):
            continue
        samples, rows = before[0], after[0]
        come_back = any(made(each)[:1] == [samples] for each in on_the_way(near.nodes, node))
        if not come_back and not any(_is_for_each(target, rows) for target in targets):
            return f"{before} as {after}"
    return ""


def on_the_way(nodes: Sequence[Any], below: Any) -> Iterator[Any]:
    """The nodes between a loss and one of its nodes."""
    parents: dict[Any, list[Any]] = {}
    for node in nodes:
        for child, _ in node.next_functions:
            parents.setdefault(child, []).append(node)
    return islice(walk([below], lambda node: parents.get(node, ())), 1, None)


def made(node: Any, index: int = 0) -> list[int]:
    """The shape of what a node has made; empty where it does not say.

    Args:
        node: of a graph.
        index: which of its results.
    """
    metadata: Sequence[Any] = getattr(node, "_input_metadata", None) or ()
    try:
        return [int(size) for size in metadata[index].shape]
    except (IndexError, TypeError, AttributeError):
        return []


def sizes_before(node: Any) -> list[int]:
    """The shape of what a view was taken of; empty where a node does not say."""
    try:
        return [int(size) for size in node._saved_self_sym_sizes]  # noqa: SLF001  as torch calls it
    except (AttributeError, RuntimeError, TypeError):
        return []


def _cuts(before: Sequence[int], after: Sequence[int]) -> bool:
    if len(before) <= _SAMPLES_AND_FEATURES or len(after) != _SAMPLES_AND_FEATURES:
        return False
    if not prod(before) or min(before[0], after[0]) <= 1 or before[0] == after[0]:
        return False
    if after[0] < before[0]:  # samples that are put together: frames of a video, nodes of a graph
        return False
    return after[1] not in {prod(before[axis:]) for axis in range(1, len(before) + 1)}


def _is_for_each(target: Tensor, rows: int) -> bool:
    if target.numel() != rows and target.shape[:1] != (rows,):
        return False
    counted = torch.arange(rows, device=target.device)
    return target.shape != counted.shape or not bool((target == counted).all())
