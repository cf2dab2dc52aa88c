"""Which targets a loss leaves out, and whether they are padding. Nothing is judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.calls import CLASSES, Computed, LossCall
from pytest_dlcheck.run.tensors.tree import tensors

_TWO = 2


def of_ignored(result: Computed, call: LossCall, batch: Any) -> dict[str, Any]:
    """How many targets of several a sample are left out though they are no padding, and of how many.

    Padding lies outside of the smallest box that holds all that is learned of a sample, or wherever
    inputs of the same shape hold a value that they hold nowhere else.

    Args:
        result: the loss, as it was heard.
        call: a call in it.
        batch: what it was computed of.
    """
    if call.kind not in CLASSES or call.targets.is_floating_point() or call.outputs.dim() < _TWO:
        return {}
    index, targets = int(call.options.get("ignore_index", -100)), result.before_reshape(call.targets)
    if not 0 <= index < call.outputs.size(1) or targets.dim() < _TWO or targets.size(-1) < _TWO:
        return {}
    left_out = targets.detach() == index
    if not bool(left_out.any()) or _is_padding(left_out, targets, tensors(batch)):
        return {}
    inside = _inside(~left_out)
    return {
        "inside": int(inside.sum()),
        "ignored_inside": int((inside & left_out).sum()),
        "places": targets.dim() - 1,
    }


def _inside(learned: Tensor) -> Tensor:
    """The smallest box of each sample that holds all that is learned of it."""
    inside = torch.ones_like(learned)
    axes = range(1, learned.dim())
    for axis in axes:
        others = [other for other in axes if other != axis]
        line = learned.any(others, keepdim=True) if others else learned
        counts = line.long()
        inside &= (counts.cumsum(axis) > 0) & (counts.flip(axis).cumsum(axis).flip(axis) > 0)
    return inside


def _is_padding(left_out: Tensor, targets: Tensor, given: Iterable[Tensor]) -> bool:
    for tensor in given:
        if tensor.shape != targets.shape or torch.equal(tensor, targets.to(tensor)):
            continue
        pads = torch.unique(tensor[left_out])
        if len(pads) == 1 and not bool((tensor[~left_out] == pads).any()):
            return True
    return False
