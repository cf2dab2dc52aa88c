"""Targets that a loss counts although the sequences of its inputs have ended there. No judgement."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.graphs.kept import NONE, kept, signed
from pytest_dlcheck.run.losses.graphs.near import OF_CLASSES, Near
from pytest_dlcheck.run.tensors.graph import Node

LEAST = 0.1
"""Share of the places (ratio) that must be padding, and"""
LENGTHS = 3
"""different lengths (count), from which on it evidently is: all sequences may end alike by nature."""
WITHIN = 1
"""Places a sample (count), of all in the mean, that may hold the same before the end, as a token that
begins each sequence does: more are a background, as of images, or silence, which is to be predicted."""
_CHOOSING = frozenset({"Where", "MaskedFill", "MaskedSelect", "Index", "Gather"})
"""What may leave places out between such a loss and its mean."""


def counted(near: Near, inputs: Iterable[Tensor]) -> str:
    """The share of a loss's targets that lie on padding, in words; empty where none is told.

    Padding is where inputs ``[samples, steps]`` or ``[samples, steps, features]`` end in one value, each
    sample after its own steps, and all targets there are one class; not where that is ignored, has no
    weight, or the losses are masked.

    Args:
        near: the nodes next to the loss.
        inputs: what models were called on for it, a decoder's words among them.
    """
    of_classes = near.of(OF_CLASSES)
    for given in inputs if of_classes else ():
        padded = _padding(given)
        if padded is None:
            continue
        for node in of_classes:
            target = near.targets.get(node)
            if target is None or target.numel() != padded.numel() or target.device != padded.device:
                continue
            if _counts(node, target.reshape(padded.shape)[padded], padded, near):
                return f"{float(padded.float().mean()):.0%}"
    return ""


def _padding(given: Tensor) -> Tensor | None:
    """Where sequences have ended, ``[samples, steps]``; None where they evidently do not."""
    if given.dim() not in {2, 3} or min(given.shape) <= 1 or given.dtype == torch.bool:
        return None
    if given.dim() == 2 and given.is_floating_point():  # noqa: PLR2004  one series a sample
        return None
    is_end = (given == 0).all(-1) if given.dim() == 3 else given == given[:, -1].mode().values  # noqa: PLR2004
    padded = is_end.flip(1).int().cumprod(1).flip(1).bool()
    lengths = (~padded).sum(1)
    enough = float(padded.float().mean()) >= LEAST and len(torch.unique(lengths)) >= LENGTHS
    is_rare = int((is_end & ~padded).sum()) <= WITHIN * len(given)
    return padded if enough and is_rare and int(lengths.min()) > 0 else None


def _counts(node: Node, targets: Tensor, padded: Tensor, near: Near) -> bool:
    """Whether these targets, those on padding, are of one class, and enter the loss."""
    label = int(targets[0])
    weight = kept(node, "weight")
    if bool((targets != label).any()) or label < 0 or label == signed(node._saved_ignore_index):  # noqa: SLF001
        return False
    if weight is not None and not float(weight[label]):
        return False
    if node._saved_reduction != NONE:  # noqa: SLF001  so torch calls what a node has kept
        return True
    if near.of(_CHOOSING):
        return False
    products = near.of({"Mul"})
    factors = [kept(each, name) for each in products for name in ("self", "other")]
    alike = [each for each in factors if each is not None and each.numel() == padded.numel()]
    masks = [each.reshape(padded.shape) for each in alike if each.device == padded.device]
    return bool(masks) and all(bool((mask[padded] != 0).any()) for mask in masks)
