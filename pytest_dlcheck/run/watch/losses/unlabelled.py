"""Batches of which only some samples have a label, as in semi-supervised training. No judgement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import is_plain
from pytest_dlcheck.run.watch.batches.class_order import is_among

SIGNS = 2
"""Values (count) that labels of either sign have; a mark for none is one more."""


def unlabelled(batch: Sequence[Tensor], targets: Sequence[Tensor]) -> str:
    """How many of how many samples seem to have none, in words; empty where all have one.

    They are marked by a negative number among classes, or by a flag beside the label.

    Args:
        batch: what a loader gave, inputs first.
        targets: what the loss compares.
    """
    samples = len(batch[0]) if batch and batch[0].dim() else 0
    for given in batch[1:]:
        if not is_plain(given) or given.is_complex() or given.numel() != samples:
            continue
        without = _marked(given.detach().reshape(-1), is_target=is_among(given, targets))
        if 0 < without < samples:
            return f"{without} of {samples}"
    return ""


def _marked(given: Tensor, *, is_target: bool) -> int:
    if given.dtype == torch.bool or given.is_floating_point():
        is_flag = not is_target and bool(((given == 0) | (given == 1)).all())
        return int((given == 0).sum()) if is_flag else 0
    return int((given < 0).sum()) if len(set(given.tolist())) > SIGNS else 0
