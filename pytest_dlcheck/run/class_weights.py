"""Whether the weights of a loss's classes are how often these occur. Nothing is judged."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_dlcheck.run.loss_calls import CLASSES, LossCall
from pytest_dlcheck.trace import Row

FEWEST = 32
"""Targets below which their shares are not known."""
UNEVEN = 3.0
"""Largest weight over the smallest (ratio) from which on classes are weighed against each other."""
CHANCE = 2.5
"""Distance of the shares in a batch from the weights, in that which chance gives on average: one in 20
batches lies beyond."""
FAR = 4.0
"""Likewise of the shares from even ones: classes are evidently not equally frequent."""


def of_frequencies(kind: str, weights: Tensor, counts: Tensor) -> Row | None:
    """The weights beside the shares of the classes where both are the same; None where they are not.

    Args:
        kind: what the loss is called.
        weights: of each class, shape ``[classes]``, above 0; and
        counts: how often each occurs in a batch (count), likewise.
    """
    total = float(counts.sum())
    if weights.shape != counts.shape or len(weights) <= 1 or total < FEWEST:
        return None
    one, shares = weights.detach().double().cpu(), counts.double().cpu() / total
    if not bool(one.isfinite().all()) or not float(one.min()) > 0:
        return None
    if float(one.max()) < UNEVEN * float(one.min()):
        return None
    one = one / one.sum()
    chance = float((2 / torch.pi * one * (1 - one) / total).sqrt().sum()) / 2
    even = torch.full_like(one, 1 / len(one))
    if _apart(shares, one) > CHANCE * chance or _apart(shares, even) < FAR * chance:
        return None
    most = int(one.argmax())
    return Row(
        part="weights",
        kind=kind,
        label=most,
        weight=float(one[most]),
        share=float(shares[most]),
        targets=int(total),
        ratio=float(one.max() / one.min()),
    )


def of_call(call: LossCall) -> Row | None:
    """The same of one call of a loss of torch."""
    weights, positive = call.options.get("weight"), call.options.get("pos_weight")
    whole = not call.targets.is_floating_point()
    if call.kind in CLASSES and isinstance(weights, Tensor) and whole:
        counts = counts_of(call.targets, len(weights), call.options.get("ignore_index", -100))
        return of_frequencies(call.kind, weights, counts)
    if call.kind == "binary_cross_entropy_with_logits" and isinstance(positive, Tensor):
        return of_positives(call.kind, positive, call.targets)
    return None


def counts_of(targets: Tensor, classes: int, ignored: int = -100) -> Tensor:
    """How often each class occurs among whole numbers; others, and what is ignored, are left out."""
    flat = targets.detach().reshape(-1).long()
    heard = (flat >= 0) & (flat < classes) & (flat != ignored)
    return torch.bincount(flat[heard], minlength=classes)


def of_positives(kind: str, weight: Tensor, targets: Tensor) -> Row | None:
    """The same of what positives weigh beside negatives.

    Args:
        kind: what the loss is called.
        weight: of positives, one number.
        targets: 0 or 1.
    """
    known = targets.detach()
    if weight.numel() != 1 or not bool(((known == 0) | (known == 1)).all()):
        return None
    positive = float(weight.detach())
    counts = torch.tensor([float((known == 0).sum()), float((known == 1).sum())])
    return of_frequencies(kind, torch.tensor([1.0, positive]), counts)


def _apart(one: Tensor, other: Tensor) -> float:
    """Half the sum of absolute differences of two distributions."""
    return float((one - other).abs().sum()) / 2
