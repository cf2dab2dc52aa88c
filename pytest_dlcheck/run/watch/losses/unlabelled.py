"""Batches of which only some samples have a label, as in semi-supervised training. No judgement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import NONE, kept
from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.tensors.graph import Node, kind_of
from pytest_dlcheck.run.tensors.tree import is_plain
from pytest_dlcheck.run.watch.batches.class_order import is_among

SIGNS = 2
"""Values (count) that labels of either sign have; a mark for none is one more."""


def unlabelled(batch: Sequence[Tensor], targets: Sequence[Tensor], near: Near) -> str:
    """How many of how many samples seem to have none, in words; empty where all have one.

    They are marked by a negative number among classes, or by a flag beside the label. A flag is none
    where the loss averages over the labels of all: it may be a group, or a number that is read.

    Args:
        batch: what a loader gave, inputs first.
        targets: what the loss compares.
        near: the nodes next to the loss.
    """
    samples = len(batch[0]) if batch and batch[0].dim() else 0
    are_all = any(_takes_all(node, target, batch[1:]) for node, target in near.targets.items())
    for given in batch[1:]:
        if not is_plain(given) or given.is_complex() or given.numel() != samples:
            continue
        is_none = are_all or is_among(given, targets)
        without = _marked(given.detach().reshape(-1), is_no_flag=is_none)
        if 0 < without < samples:
            return f"{without} of {samples}"
    return ""


def _takes_all(node: Node, target: Tensor, given: Sequence[Tensor]) -> bool:
    """Whether a loss of torch's averages, or adds up, over what a loader gave of each sample."""
    if getattr(node, "_saved_reduction", NONE) == NONE or not any(
        is_among(each, [target]) for each in given
    ):
        return False
    if kind_of(node) not in OF_CLASSES:
        return kept(node, "weight") is None
    is_ignored = (target < 0) | (target == getattr(node, "_saved_ignore_index", -1))
    return not bool(is_ignored.any())


def _marked(given: Tensor, *, is_no_flag: bool) -> int:
    if given.dtype == torch.bool or given.is_floating_point():
        is_flag = not is_no_flag and bool(((given == 0) | (given == 1)).all())
        return int((given == 0).sum()) if is_flag else 0
    return int((given < 0).sum()) if len(set(given.tolist())) > SIGNS else 0
