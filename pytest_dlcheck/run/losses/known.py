"""What is known of torch's own losses: the outputs that they like best, and that they are means."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_NEVER = 1e-30
"""Share given to a class that never occurs: float32 tells it from none, and many add up to nothing."""
_NEARLY = 1e-7
"""Share given to a bit that never occurs: float32 still tells one less it from one."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps what others have it do besides."""


def best_answers(loss: Any, outputs: Any, targets: Any) -> Callable[[Tensor], Tensor] | None:
    """The outputs that no others better; None where these would have to be searched for.

    Squared differences and cross-entropies are least where samples that are answered alike are given
    the mean of their targets, as it is or as logits.

    Args:
        loss: the recipe's; known are some of torch's own that weigh and leave out nothing.
        outputs: of some samples, along the first axis, to tell shapes by.
        targets: theirs.

    Returns:
        From the number of each sample's group, int64 of shape ``[samples]``, to the outputs.
    """
    kind = _kind(loss)
    if kind is None or not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return None
    wanted, answer = kind
    goals = wanted(loss, outputs, targets)
    return None if goals is None else lambda groups: answer(_mean(goals, groups))


def by_samples(loss: Any, outputs: Any, targets: Any) -> Tensor | None:
    """The loss of each sample, where that of several is surely the mean of theirs; else None."""
    known = best_answers(loss, outputs, targets) is not None
    if not known or getattr(loss, "reduction", "mean") != "mean":
        return None
    if isinstance(loss, nn.Module):
        loss = copy(loss)
        loss.reduction = "none"
        each: Tensor = loss(outputs, targets)
    else:
        each = loss(outputs, targets, reduction="none")
    if not each.dim() or len(each) != len(outputs):
        return None
    wide = torch.promote_types(each.dtype, torch.float32)
    return each.to(wide).reshape(len(each), -1).mean(1)


def _mean(goals: Tensor, groups: Tensor) -> Tensor:
    """Of each sample's group."""
    sizes = torch.bincount(groups)
    sums = goals.new_zeros((len(sizes), *goals.shape[1:])).index_add_(0, groups, goals)
    return (sums / sizes.view(-1, *[1] * (goals.dim() - 1)).to(sums.dtype))[groups]


def _distributions(loss: Any, outputs: Tensor, targets: Tensor) -> Tensor | None:
    """What a cross-entropy wants of each sample: shares of classes, along the second axis."""
    if outputs.dim() == 1:
        return None
    count = outputs.size(1)
    goals = _numbers(loss, outputs, targets)
    if goals is None and targets.shape == outputs.shape[:1] + outputs.shape[2:]:
        goals = _one_hot(targets, count)
    if goals is None or bool((goals < 0).any()):
        return None
    smoothing = getattr(loss, "label_smoothing", 0.0)
    return goals.to(outputs) * (1 - smoothing) + smoothing / count


def _one_hot(targets: Tensor, count: int) -> Tensor | None:
    """None where one names no class, as those that are left out do."""
    if targets.is_floating_point() or int(targets.min()) < 0 or int(targets.max()) >= count:
        return None
    return F.one_hot(targets.long(), count).movedim(-1, 1)


def _shares(loss: Any, outputs: Tensor, targets: Tensor) -> Tensor | None:
    goals = _numbers(loss, outputs, targets)
    return goals if goals is not None and bool(((goals >= 0) & (goals <= 1)).all()) else None


def _numbers(_: Any, outputs: Tensor, targets: Tensor) -> Tensor | None:
    same = targets.shape == outputs.shape and targets.is_floating_point()
    return targets.to(outputs) if same else None


def _itself(mean: Tensor) -> Tensor:
    return mean


def _log(mean: Tensor) -> Tensor:
    return mean.clamp_min(_NEVER).log()


def _logit(mean: Tensor) -> Tensor:
    return mean.logit(_NEARLY)


_Kind = tuple[Callable[[Any, Tensor, Tensor], Tensor | None], Callable[[Tensor], Tensor]]
_CLASSES: _Kind = (_distributions, _log)
_BITS: _Kind = (_shares, _logit)
_SQUARES: _Kind = (_numbers, _itself)
_FUNCTIONS: tuple[tuple[Any, _Kind], ...] = (
    (F.cross_entropy, _CLASSES),
    (F.binary_cross_entropy_with_logits, _BITS),
    (F.mse_loss, _SQUARES),
)
_MODULES: dict[type, _Kind] = {
    nn.CrossEntropyLoss: _CLASSES,
    nn.BCEWithLogitsLoss: _BITS,
    nn.MSELoss: _SQUARES,
}


def _kind(loss: Any) -> _Kind | None:
    known = _MODULES.get(type(loss))
    if known is None:
        return next((kind for function, kind in _FUNCTIONS if loss is function), None)
    weighs = any(getattr(loss, name, None) is not None for name in ("weight", "pos_weight"))
    ignores = getattr(loss, "ignore_index", -1) >= 0
    return None if weighs or ignores or _is_changed(loss) else known


def _is_changed(loss: nn.Module) -> bool:
    """Whether this one gives something else than its kind does."""
    return "forward" in vars(loss) or any(getattr(loss, name, None) for name in _HOOKS)
