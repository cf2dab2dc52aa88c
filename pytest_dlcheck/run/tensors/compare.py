"""Two calls of one model held against each other: by how much they differ. It names no culprit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.tensors.tree import named_tensors

_DOUBLE_BOUND = 1e-6
"""Above the float32 rounding of models that compute in float32 in part, far below any real leak."""


def tolerance(dtype: torch.dtype) -> float:
    """The relative change up to which outputs of a dtype count as the same: half of its digits."""
    if dtype in {torch.float64, torch.complex128}:
        return _DOUBLE_BOUND
    return float(torch.finfo(dtype).eps ** 0.5)


def relative_change(one: Tensor, other: Tensor) -> float:
    """The largest absolute difference, relative to the largest absolute value of either.

    Args:
        one: any shape and dtype.
        other: of the same shape, else they count as wholly different (1.0).
    """
    if one.shape != other.shape:
        return 1.0
    if one.numel() == 0:
        return 0.0
    wide = torch.complex128 if one.is_complex() else torch.float64
    a, b = (t.detach().to("cpu", wide) for t in (one, other))
    plain = [float(t.abs().max()) for t in (a - b, a, b)]
    if all(map(math.isfinite, plain)):
        return plain[0] / max(plain[1:]) if max(plain[1:]) > 0 else 0.0
    same = (a == b) | (a.isnan() & b.isnan())
    difference = torch.where(same, 0.0, (a - b).abs()).nan_to_num(posinf=1.0, nan=1.0)
    scale = max(_largest(a), _largest(b))
    return float(difference.max()) / scale if scale > 0 else float(difference.max() > 0)


def float_outputs(outputs: Any) -> dict[str, Tensor]:
    """The floating tensors among a model's outputs, by place, cut from the graph.

    Raises:
        CannotTellError: there are none, or one holds NaN.
    """
    found = {
        place: tensor.detach()
        for place, tensor in named_tensors(outputs, "output")
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel()
    }
    if not found:
        raise CannotTellError("the model gives no floating-point output that could be compared")
    for place, tensor in found.items():
        if bool(tensor.isnan().any()):
            raise CannotTellError(f"{place} holds NaN: nothing can be compared")
    return found


def calibrate(model: nn.Module, call: Callable[[], object]) -> None:
    """Set the statistics of batch normalisation to those of one call, in train mode for these only.

    At initialisation they are 0 and 1, and in eval mode the signal of a deep network all but vanishes.
    Call it inside ``rig.undisturbed()``, which puts the statistics back.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001
    before = [(norm, norm.training, norm.momentum) for norm in norms]
    try:
        for norm in norms:
            norm.training, norm.momentum = True, 1.0
        if norms:
            with torch.no_grad():
                call()
    except (RuntimeError, ValueError):
        return
    finally:
        for norm, training, momentum in before:
            norm.training, norm.momentum = training, momentum


def _largest(tensor: Tensor) -> float:
    finite = tensor[tensor.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0
