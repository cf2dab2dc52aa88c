"""Whether the weights of a loss's classes are how often these occur. Nothing is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.calls import CLASSES, LossCall
from pytest_dlcheck.trace import Row

FEWEST = 32
"""Targets below which their shares are not known."""
SURE = 400
"""Targets from which on shares are known so well, to about 5 % by ``CHANCE``, that weights which equal
them were counted from them."""
UNEVEN = 3.0
"""Largest weight over the smallest (ratio) from which on classes are weighed against each other."""
CHANCE = 2.5
"""Distance of the shares in a batch from the weights, in that which chance gives on average: one in 20
batches lies beyond."""
FAR = 4.0
"""Likewise of the shares from even ones: classes are evidently not equally frequent."""


@dataclass(frozen=True)
class Weighed:
    """What classes weigh in a loss, and how often they occurred.

    Attributes:
        kind: what the loss is called.
        weights: of each class, above 0, that of all together is 1: shape ``[classes]``.
        counts: how often each occurs (count), likewise.
        alone: whether nothing else weighs samples: a loss of each of them, as a focal one is made of,
            may be weighed further, and its rare classes down.
    """

    kind: str
    weights: Tensor
    counts: Tensor
    alone: bool = True

    def row(self) -> Row | None:
        """The weights beside the shares of the classes where both are the same; None where not."""
        total, one = float(self.counts.sum()), self.weights
        if total < FEWEST:
            return None
        shares = self.counts / total
        chance = float((2 / torch.pi * one * (1 - one) / total).sqrt().sum()) / 2
        even = torch.full_like(one, 1 / len(one))
        if _apart(shares, one) > CHANCE * chance or _apart(shares, even) < FAR * chance:
            return None
        most = int(one.argmax())
        return Row(
            part="weights",
            kind=self.kind,
            label=most,
            weighs=float(one[most]),
            share=float(shares[most]),
            targets=int(total),
            ratio=float(one.max() / one.min()),
            sure=total >= SURE and self.alone,
        )


def together(found: Iterable[Weighed]) -> list[Weighed]:
    """What one kind of loss was given in several batches, added up: the weights are their mean."""
    kinds: dict[tuple[str, int], list[Weighed]] = {}
    for each in found:
        kinds.setdefault((each.kind, len(each.weights)), []).append(each)
    return [
        Weighed(
            kind,
            torch.stack([each.weights for each in several]).mean(0),
            torch.stack([each.counts for each in several]).sum(0),
            all(each.alone for each in several),
        )
        for (kind, _), several in kinds.items()
    ]


def of_classes(kind: str, weights: Tensor, counts: Tensor, *, alone: bool = True) -> Weighed | None:
    """Weights of classes beside their counts; None where they hardly differ, or are not all above 0.

    Args:
        kind: what the loss is called.
        weights: of each class, shape ``[classes]``.
        counts: how often each occurs (count), likewise.
        alone: whether nothing else weighs samples.
    """
    if weights.shape != counts.shape or len(weights) <= 1:
        return None
    one = weights.detach().double().cpu()
    if not bool(one.isfinite().all()) or not float(one.min()) > 0:
        return None
    if float(one.max()) < UNEVEN * float(one.min()):
        return None
    return Weighed(kind, one / one.sum(), counts.double().cpu(), alone)


def of_call(call: LossCall, targets: Tensor | None = None) -> Weighed | None:
    """The same of one call of a loss of torch.

    Args:
        call: the call.
        targets: more targets like those that it compares with; None where there are none.
    """
    weights, positive = call.options.get("weight"), call.options.get("pos_weight")
    asked = call.targets if targets is None or targets.dtype != call.targets.dtype else targets
    if call.kind in CLASSES and isinstance(weights, Tensor) and not asked.is_floating_point():
        counts = counts_of(asked, len(weights), call.options.get("ignore_index", -100))
        alone = call.options.get("reduction") != "none"
        return of_classes(call.kind, weights, counts, alone=alone)
    if call.kind == "binary_cross_entropy_with_logits" and isinstance(positive, Tensor):
        return of_positives(call.kind, positive, asked)
    return None


def counts_of(targets: Tensor, classes: int, ignored: int = -100) -> Tensor:
    """How often each class occurs among whole numbers; others, and what is ignored, are left out."""
    flat = targets.detach().reshape(-1).long()
    heard = (flat >= 0) & (flat < classes) & (flat != ignored)
    return torch.bincount(flat[heard], minlength=classes)


def of_positives(kind: str, weight: Tensor, targets: Tensor) -> Weighed | None:
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
    return of_classes(kind, torch.tensor([1.0, positive]), counts)


def _apart(one: Tensor, other: Tensor) -> float:
    """Half the sum of absolute differences of two distributions."""
    return float((one - other).abs().sum()) / 2
