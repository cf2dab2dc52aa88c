"""Which answers of a classifier are right, example by example. It knows no recipe's training."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_dlcheck.gating.bits import packed
from pytest_dlcheck.run.losses.labels import logits_of
from pytest_dlcheck.run.tensors.tree import is_whole, shape_text
from pytest_dlcheck.trace import Row

_CHANNELS_FIRST = (nn.CrossEntropyLoss, nn.NLLLoss)
_MAY_SHIFT = (
    "the model computes its own loss and may shift its labels, so that "
    "answers cannot be held against them place by place: give metrics={'accuracy': ...}"
)
_IGNORED = -100
"""The label that torch's losses leave out by default."""


class Answers:
    """The right answers among all that were given, for one class per sample, pixel or token.

    Left out are the targets that the loss leaves out (``ignore_index``, -100 where it has none). A
    model that gives one number per sample, beside targets of 0 and 1, answers 1 above the middle: 0.5
    for a ``BCELoss`` and where all numbers are probabilities, else 0.

    Args:
        loss: the recipe's own, which tells such things.
        may_shift: whether the model computes its own loss, of labels that it may shift.
    """

    def __init__(self, loss: Any, *, may_shift: bool = False) -> None:
        self._loss, self._may_shift = loss, may_shift
        ignored = getattr(loss, "ignore_index", _IGNORED)
        self._ignored = ignored if isinstance(ignored, int) else _IGNORED
        self._right: list[Tensor] = []
        self._counted: list[Tensor] = []
        self._numbers: list[Tensor] = []
        self._order = hashlib.blake2b(digest_size=8)
        self._dense = False
        self.problem = ""
        """Why there is no accuracy; empty where there is one."""

    def add(self, outputs: Any, targets: Any) -> None:
        """Look at one batch."""
        if self.problem:
            return
        logits = logits_of(outputs)
        if logits is None or not isinstance(targets, Tensor) or not self._take(logits, targets):
            given = f"outputs {_shape(outputs)} beside targets {_shape(targets)}"
            self.problem = f"{given} are no classification with one class each"
            return
        plain = targets.detach().to("cpu").reshape(-1).contiguous()
        self._order.update(plain.view(torch.uint8).numpy().tobytes())

    def row(self) -> Row:
        """What was found: see the gates' readings."""
        if self.problem or not (self._right or self._numbers):
            return Row(problem=self.problem or "there was no batch")
        if self._numbers:
            self._decide_numbers()
        right, counted = torch.cat(self._right).cpu(), torch.cat(self._counted).cpu()
        kept = counted > 0
        right, counted = right[kept].double(), counted[kept].double()
        if not len(right):
            return Row(problem=f"every target is {self._ignored}, which is left out")
        value = float(right.sum() / counted.sum())
        return Row(
            name="accuracy",
            value=value,
            samples=len(right),
            effective=_effective(right, counted, value) if self._dense else len(right),
            bits="" if self._dense else packed((right > 0).tolist()),
            order=self._order.hexdigest(),
            problem="",
        )

    def _take(self, logits: Tensor, targets: Tensor) -> bool:
        if not len(targets) or len(targets) != len(logits):
            return False
        truth = targets.squeeze(1) if targets.dim() == 2 and targets.size(1) == 1 else targets  # noqa: PLR2004
        if logits.numel() == len(logits) == truth.numel():
            return self._take_numbers(logits.reshape(-1), truth.reshape(-1))
        axis = self._class_axis(logits, truth)
        if axis is None or self._numbers:
            return False
        if truth.dim() > 1 and self._may_shift:
            self.problem = _MAY_SHIFT
            return True
        counted = truth != self._ignored
        right = (logits.argmax(axis) == truth) & counted
        self._dense = truth.dim() > 1
        self._right.append(right.reshape(len(truth), -1).sum(1))
        self._counted.append(counted.reshape(len(truth), -1).sum(1))
        return True

    def _class_axis(self, logits: Tensor, truth: Tensor) -> int | None:
        """Where the classes are: after the samples as torch's losses want it, or last."""
        if not is_whole(truth):
            return None
        if logits.dim() != truth.dim() + 1:
            return None
        named = truth[truth != self._ignored]
        highest = int(named.max()) if named.numel() else 0
        fits = {
            axis
            for axis in (1, logits.dim() - 1)
            if (*logits.shape[:axis], *logits.shape[axis + 1 :]) == truth.shape
            and logits.size(axis) > max(1, highest)
        }
        if truth.dim() == 1 or len(fits) < 2:  # noqa: PLR2004
            return next(iter(fits), None)
        first = isinstance(self._loss, _CHANNELS_FIRST) or self._loss in {F.cross_entropy, F.nll_loss}
        return 1 if first else logits.dim() - 1

    def _take_numbers(self, numbers: Tensor, truth: Tensor) -> bool:
        if self._right or not bool(((truth == 0) | (truth == 1)).all()):
            return False
        self._numbers.append(torch.stack([numbers.float(), truth.float()]).cpu())
        return True

    def _decide_numbers(self) -> None:
        numbers, truth = torch.cat(self._numbers, dim=1)
        shares = bool(((numbers >= 0) & (numbers <= 1)).all())
        if isinstance(self._loss, nn.BCELoss) or self._loss is F.binary_cross_entropy:
            shares = True
        elif isinstance(self._loss, nn.BCEWithLogitsLoss) or "with_logits" in _name(self._loss):
            shares = False
        self._right = [(numbers > (0.5 if shares else 0.0)) == (truth > 0)]
        self._counted = [torch.ones_like(truth)]
        self._numbers = []


def _effective(right: Tensor, counted: Tensor, value: float) -> float:
    """How many independent answers tell as much: those of one sample go together.

    The variance of a ratio, linearised, with samples as clusters; no fewer than one answer a sample
    where all agree, no more than there are answers.
    """
    count = len(right)
    spread = float(((right - value * counted) ** 2).sum())
    if count < 2 or spread <= 0 or not 0 < value < 1:  # noqa: PLR2004
        return float(count)
    error = math.sqrt(spread * count / (count - 1)) / float(counted.sum())
    return min(float(counted.sum()), value * (1 - value) / error**2)


def _shape(tree: Any) -> str:
    return f"({shape_text(tree)})" if tree is not None else "None"


def _name(loss: Any) -> str:
    return str(getattr(loss, "__name__", ""))
