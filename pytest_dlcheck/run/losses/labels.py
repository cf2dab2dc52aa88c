"""Which class a model's outputs name, where outputs and targets are those of a classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F


def hits(outputs: Any, targets: Any, *, sure: bool = False) -> Tensor | None:
    """Which samples are classified right: bool of shape ``[samples]``; None where it is no such task.

    Args:
        outputs: the model's, for a batch.
        targets: the batch's own.
        sure: that it is one, so that the device is not waited for to find out.
    """
    found = classes(outputs, targets, sure=sure)
    return None if found is None else found[0] == found[1]


def classes(outputs: Any, targets: Any, *, sure: bool = False) -> tuple[Tensor, Tensor] | None:
    """The predicted and the true class of each sample, int64 of shape ``[samples]`` both.

    One label a sample is asked for: class indices beside logits ``[samples, classes]``, or zeros and
    ones beside one number a sample. None for anything else.
    """
    logits = logits_of(outputs)
    if logits is None or not isinstance(targets, Tensor) or len(targets) != len(logits):
        return None
    truth = targets
    if targets.dim() > 1:
        truth = targets.reshape(len(targets), -1)
        if truth.size(1) != 1:
            return None
        truth = truth[:, 0]
    if logits.dim() == 2 and logits.size(1) > 1:  # noqa: PLR2004  [samples, classes]
        whole = not truth.is_floating_point() and truth.dtype != torch.bool
        return (logits.argmax(1), truth) if whole else None
    if logits.numel() != len(logits) or not (sure or _binary(truth)):
        return None
    flat = logits.reshape(-1)
    middle = torch.where(((flat >= 0) & (flat <= 1)).all(), 0.5, 0.0)
    return (flat > middle).long(), truth.long()


def cross_entropy(outputs: Any, targets: Any, *, sure: bool = False) -> Tensor | None:
    """The cross-entropy of a classification's outputs, whatever its own loss is; None for other tasks.

    It stands in for a loss that cannot be asked apart from the model.
    """
    if classes(outputs, targets, sure=sure) is None:
        return None
    logits, truth = logits_of(outputs), cast("Tensor", targets).reshape(-1)
    assert logits is not None
    if logits.numel() == len(truth):
        return F.binary_cross_entropy_with_logits(logits.reshape(-1).float(), truth.float())
    return F.cross_entropy(logits.float(), truth)


def logits_of(outputs: Any) -> Tensor | None:
    """The logits among a model's outputs: the only tensor, or what is named so."""
    if isinstance(outputs, Mapping):
        outputs = outputs.get("logits")
    else:
        outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point() or not outputs.dim():
        return None
    return outputs


def _binary(truth: Tensor) -> bool:
    return bool(((truth == 0) | (truth == 1)).all())
