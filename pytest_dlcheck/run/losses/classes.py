"""Whether a loss written by hand hears every class: by its gradient, asked apart from the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors
from pytest_dlcheck.trace import Row

_SCALES = (0.1, 0.5, 2.0)
"""Sizes of the outputs that are tried: a margin is met by some of them, never by all."""
_NEAR = 1e-2
"""The same from another output on, which a margin of pairs may be measured from."""
_CLASSES = 20
_EACH = 4
"""Samples of a class that a batch must hold before the class is spoken of."""


def unheard(rig: Rig, outputs: Any, main: Tensor, targets: Tensor) -> Iterator[Row]:
    """A row per loss: the classes whose samples never change it, whatever their outputs.

    Args:
        rig: the recipe.
        outputs: what the model gives.
        main: the tensor of them that is varied, samples first.
        targets: one number per sample, of few distinct values.
    """
    flat = targets.reshape(len(targets), -1)
    known = torch.unique(flat)
    if flat.size(1) != 1 or len(main) != len(flat) or not 1 < len(known) <= _CLASSES:
        return
    moved = torch.zeros(len(main), dtype=torch.bool, device=main.device)
    try:
        for scale in _SCALES:
            for shift in (-scale, 0.0, scale):
                moved |= _moves(rig, outputs, main, targets, torch.randn_like(main) * scale + shift)
        for other in tensors(outputs):
            if other is not main and other.shape == main.shape and other.is_floating_point():
                near = other.detach() + torch.randn_like(main) * _NEAR / main[0].numel() ** 0.5
                moved |= _moves(rig, outputs, main, targets, near.to(main))
    except (RuntimeError, ValueError, IndexError, TypeError):
        return
    silent, counts = [], []
    for value in known:
        own = flat[:, 0] == value
        if int(own.sum()) >= _EACH:
            counts.append(value)
            silent += [] if bool(moved[own].any()) else [f"{float(value):g}"]
    if len(counts) > 1:
        yield Row(
            part="classes", heard=len(counts) - len(silent), known=len(counts), silent=", ".join(silent)
        )


def _moves(rig: Rig, outputs: Any, main: Tensor, targets: Tensor, tried: Tensor) -> Tensor:
    """Which samples' outputs have a gradient."""
    free = tried.detach().requires_grad_()
    nest = map_tensors(outputs, lambda t: free if t is main else t.detach())
    with torch.enable_grad(), rig.undisturbed():
        loss = rig.objective.loss_of_outputs(nest, targets)
        (gradient,) = torch.autograd.grad(loss.sum(), free)
    found: Tensor = gradient.reshape(len(main), -1).ne(0).any(1)
    return found
