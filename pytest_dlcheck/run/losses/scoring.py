"""Which input token is each logit scored against? Found out by behaviour: the loss's gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import is_whole, named_tensors

_DISTINCT = 5
"""Distinct tokens below which agreement between inputs and targets may be chance."""
_SHIFTS = (-2, -1, 2, 3, 4)
"""Other places than the own and the next, at which the right answer is looked for."""
_SURE = 0.99
_SCORED = 50
"""Scored positions below which it may be chance too."""


@dataclass(frozen=True)
class Scoring:
    """How logits are scored against one tensor of input tokens.

    Attributes:
        tokens: the input tensor, of shape ``[batch, time]``, int64.
        now: share of scored positions whose right answer is the token at the same position.
        following: share whose right answer is the next token.
        scored: which positions are scored, bool, of shape ``[batch, time]``.
        shift: how far from its own position the right answer lies, where that is neither 0 nor 1; None
            where no such distance serves.
    """

    tokens: Tensor
    now: float
    following: float
    scored: Tensor
    shift: int | None = None

    @property
    def next_token(self) -> bool:
        """Whether this surely is a next-token language model."""
        return self.following > 0.99 and self.now < 0.5  # noqa: PLR2004  all but ties

    @property
    def is_known(self) -> bool:
        """Whether the right answers are tokens of the input at all."""
        return self.next_token or self.same_token or self.shift is not None

    @property
    def same_token(self) -> bool:
        """Whether each logit is scored against the token at its own position."""
        return self.now > 0.99 and self.following < 0.9  # noqa: PLR2004  all but ties


def scorings(rig: Rig, batch: Any) -> list[Scoring]:
    """How each integer tensor of the batch is scored; empty where nothing is.

    A cross-entropy's gradient is negative at the right answer's logit only, wherever the shift between
    logits and labels is made.

    Args:
        rig: the recipe; call inside ``rig.undisturbed()``.
        batch: a batch of it.
    """
    if rig.objective.is_generator:
        return []
    with torch.enable_grad():
        loss, outputs = _loss(rig, batch)
        if not isinstance(loss, Tensor) or loss.grad_fn is None:
            return []
        found = []
        tokens = [t for _, t in named_tensors(batch, "batch") if _are_tokens(t)]
        for logits in _logits(outputs):
            (gradient,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True, allow_unused=True)
            if gradient is not None:
                found += list(_matched(gradient, tokens))
        return found


def _loss(rig: Rig, batch: Any) -> tuple[Any, Any]:
    seen: list[Any] = []

    def keep(_: nn.Module, __: Any, outputs: Any) -> None:
        seen.append(outputs)

    handle = rig.model.register_forward_hook(keep)
    try:
        loss, outputs = rig.objective.raw_loss(batch)
    finally:
        handle.remove()
    return loss, [outputs, *seen] if outputs is not None else seen


def _logits(outputs: Any) -> Iterator[Tensor]:
    seen = set()
    for _, tensor in named_tensors(outputs, "output"):
        if tensor.requires_grad and tensor.dim() in {2, 3} and id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor


def _are_tokens(tensor: Tensor) -> bool:
    return is_whole(tensor) and tensor.dim() == 2 and len(torch.unique(tensor)) >= _DISTINCT  # noqa: PLR2004


def _matched(gradient: Tensor, tokens: list[Tensor]) -> Iterator[Scoring]:
    for ids in tokens:
        for steps in (ids.size(1), ids.size(1) - 1):
            per_token = _per_token(gradient, ids.size(0), steps)
            if per_token is None:
                continue  # tokens may go beyond the classes: a start that nobody predicts
            lowest, answers = per_token.min(-1)
            scored = lowest < 0
            now = (answers == ids[:, :steps])[scored]
            following = ids[:, 1 : steps + 1]
            width = following.size(1)
            ahead = (answers[:, :width] == following)[scored[:, :width]]
            if min(now.numel(), ahead.numel()) >= _SCORED:
                shift = None if max(_share(now), _share(ahead)) > _SURE else _shift(answers, ids, scored)
                yield Scoring(ids, _share(now), _share(ahead), scored, shift)


def _shift(answers: Tensor, ids: Tensor, scored: Tensor) -> int | None:
    """How far from its own position each right answer is found, by the nearest shift that serves all."""
    for shift in sorted(_SHIFTS, key=abs):
        steps = min(answers.size(1), ids.size(1)) - abs(shift)
        first = max(-shift, 0)
        own = slice(first, first + steps)
        hits = (answers[:, own] == ids[:, first + shift : first + shift + steps])[scored[:, own]]
        if steps > 0 and hits.numel() >= _SCORED and _share(hits) > _SURE:
            return shift
    return None


def _per_token(gradient: Tensor, batch: int, steps: int) -> Tensor | None:
    if gradient.dim() == 3 and gradient.shape[:2] == (batch, steps):  # noqa: PLR2004
        return gradient
    if gradient.dim() == 2 and gradient.size(0) == batch * steps:  # noqa: PLR2004
        return gradient.reshape(batch, steps, -1)
    return None


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
