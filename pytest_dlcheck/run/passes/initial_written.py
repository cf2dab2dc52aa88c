"""The start of a loss that is written out, beside what it is of answers that look at nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.passes.first_pass import Heard
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors
from pytest_dlcheck.run.world.seeding import same_draws
from pytest_dlcheck.trace import Row

_SAME = 1e-4
"""Change of a loss (ratio) up to which it is the same: logits may be shifted, probabilities may not."""
_CLOSE = 1e-3
"""The same where scores are large, whose last digits a shift takes."""
_FEW = 2

Ask = Callable[[Tensor], float]


def of_written_out(rig: Rig, heard: Heard) -> Iterator[Row]:
    """A row as ``initial_loss`` has it, of a recipe's own ``loss`` that was read from its graph.

    Args:
        rig: the recipe; call undisturbed.
        heard: its first pass.
    """
    targets = rig.objective.targets(rig.batch)
    outputs = tensors(heard.computed.outputs)
    if rig.recipe.loss is None or len(outputs) != 1 or not isinstance(targets, Tensor):
        return
    made = outputs[0].detach()
    if not made.is_floating_point() or made.dim() < 1 or len(made) < _FEW:
        return

    def ask(values: Tensor) -> float:
        nest = map_tensors(heard.computed.outputs, lambda _: values.to(made.dtype))
        with torch.no_grad(), same_draws(rig.seed), rig.autocast():
            return float(rig.objective.loss_of_outputs(nest, targets))

    try:
        yield from _row(heard.written.targets, ask, made.float(), targets.detach())
    except Exception:  # noqa: BLE001  the user's loss may refuse other outputs in any way
        return


def _row(
    compared: tuple[tuple[str, Tensor], ...], ask: Ask, made: Tensor, targets: Tensor
) -> Iterator[Row]:
    kinds = {kind for kind, _ in compared}
    if kinds == {"difference"} and _are_those(compared, targets) and made.shape == targets.shape:
        goal = targets.float()
        yield Row(
            kind="mse_loss",
            loss=ask(made),
            uninformed=ask(goal.mean(0, keepdim=True).expand_as(goal)),
            zero=ask(torch.zeros_like(made)),
            spread=float(made.pow(2).mean().sqrt()),
            target_scale=float(goal.pow(2).mean().sqrt()),
            target_mean=float(goal.mean().abs()),
            target_spread=float(goal.std()),
        )
    elif kinds and kinds <= {"class", "likelihood"} and (axis := _class_axis(ask, made)) is not None:
        yield Row(
            kind="cross_entropy",
            loss=ask(made),
            uninformed=ask(torch.zeros_like(made)),
            spread=float(made.std(axis).mean()),
        )


def _are_those(compared: tuple[tuple[str, Tensor], ...], targets: Tensor) -> bool:
    """Whether what is subtracted is what the batch holds, and not a function of it."""
    return any(
        found.numel() == targets.numel()
        and torch.allclose(found.float().flatten(), targets.float().flatten(), 1e-2, 1e-3)
        for _, found in compared
    )


def _class_axis(ask: Any, made: Tensor) -> int | None:
    """The axis along which scores may be shifted together: that of a softmax within the loss.

    Equal scores alone would not tell: a loss that normalises the outputs gives their shift back, too.
    """
    plain, base = ask(torch.zeros_like(made)), ask(made)
    if not 0 < plain < math.inf:
        return None
    for axis in dict.fromkeys((made.dim() - 1, 1)):
        if not 0 < axis < made.dim() or made.size(axis) < _FEW:
            continue
        moved = torch.linspace(1, 2, made.numel() // made.size(axis), device=made.device)
        shape = [1 if at == axis else size for at, size in enumerate(made.shape)]
        shift = moved.reshape(shape).expand_as(made)
        is_same = abs(ask(shift) - plain) <= _SAME * plain
        further = made + shift * made.std().clamp_min(1)
        if is_same and abs(ask(further) - base) <= _CLOSE * max(abs(base), plain):
            return axis
    return None
