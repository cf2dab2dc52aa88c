"""Whether a model draws latent numbers, or tells of its inputs through a narrow code. No judgement."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors, tensors

WIDEST = 64
"""Numbers in a step of an input above which a way is not measured: it is taken as narrow."""
FLAT = 1e-5
"""Singular value (ratio to the largest) up to which it is none in single precision."""
_DROPOUT = ("dropout", "bernoulli", "attention", "rnn", "lstm", "gru")
"""In the names of what draws for dropout."""


def draws(rig: Rig) -> bool:
    """Whether a model draws random numbers for anything but dropout.

    Args:
        rig: the model, in train mode, and what it is called with.
    """
    with torch.no_grad(), _Draws() as found:
        rig.call()
    return bool(found.any)


def is_narrow(rig: Rig, number: int, axis: int) -> bool | None:
    """Whether fewer numbers than a step of an input has reach the outputs of the step before.

    That is the rank of the derivative in the middle of a sequence. None where the steps are words, or
    no single output has the axis of time.

    Args:
        rig: the model and what it is called with.
        number: which of the tensors of the inputs.
        axis: of time.
    """
    inputs = map_tensors(rig.call.inputs, lambda tensor: tensor.detach().clone())
    given = tensors(inputs)[number]
    if not given.is_floating_point():
        return None
    steps, width = given.size(axis), given.select(axis, 0)[0].numel()
    given.requires_grad_()
    found = [t for t in tensors(rig.call(inputs)) if axis < t.dim() and t.size(axis) == steps]
    if len(found) != 1:
        return None
    if width > WIDEST:
        return True
    told = found[0].select(axis, steps // 2 - 1)[0].flatten()
    rows = []
    for each in told[: 2 * WIDEST]:
        (slope,) = torch.autograd.grad(each, given, retain_graph=True)
        rows.append(slope.select(axis, steps // 2)[0].flatten())
    return int(torch.linalg.matrix_rank(torch.stack(rows).double(), rtol=FLAT)) < width


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hears whether anything but dropout draws random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.any = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        is_dropout = any(part in str(func) for part in _DROPOUT)
        self.any |= torch.Tag.nondeterministic_seeded in func.tags and not is_dropout
        return func(*args, **(kwargs or {}))
