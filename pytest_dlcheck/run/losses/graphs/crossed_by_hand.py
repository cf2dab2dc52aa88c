"""Outputs ``[n, 1]`` that a written loss multiplies by targets ``[n]``, or chooses among by these.

Read from the graph of a loss, and held against what a loader gave; no judgement.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.crossed import is_crossed
from pytest_dlcheck.run.losses.graphs.crossed_within import is_meant, is_of_a_layer
from pytest_dlcheck.run.losses.graphs.cuts import made
from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.tensors.graph import Node, kind_of

_PRODUCTS = frozenset({"Mul", "Where"})


def crossed_by_hand(near: Near, batch: Sequence[Tensor]) -> str:
    """``"[64, 1] against [64] makes [64, 64]"``; empty where there is none.

    Args:
        near: nodes of a loss's graph.
        batch: what the loader gave.
    """
    targets = [given for given in batch if given.dim() == 1 and len(given) > 1]
    for node in near.of(_PRODUCTS) if targets else ():
        count = _crossed(node, targets)
        if count and not is_meant(near, node):
            return f"[{count}, 1] against [{count}] makes [{count}, {count}]"
    return ""


def _crossed(node: Node, targets: Sequence[Tensor]) -> int:
    """How many samples stand beside how many targets; 0 where they do not."""
    constant = kept(node, "condition") if kind_of(node) == "Where" else constant_of(node)
    whole = made(node)
    if constant is None or constant.dim() != 1 or len(constant) not in whole:
        return 0
    operands = [(each, index) for each, index in node.next_functions if each is not None]
    if not all(is_crossed(made(*each), whole) and is_of_a_layer(each[0]) for each in operands):
        return 0
    return len(constant) if any(_is_of(constant, each) for each in targets) else 0


def _is_of(constant: Tensor, target: Tensor) -> bool:
    """Whether these are the targets, the other side of them, or which of them are not zero."""
    if len(constant) != len(target) or constant.device != target.device:
        return False
    if constant.dtype == torch.bool:
        return torch.equal(constant, target > 0) or torch.equal(constant, target <= 0)
    given = target.detach().to(constant.dtype)
    return torch.equal(constant, given) or torch.equal(constant, 1 - given)
