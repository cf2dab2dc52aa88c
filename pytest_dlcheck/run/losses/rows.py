"""What the rows are that a loss over classes is given: of which tensor they were cut. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.losses.calls import CLASSES, ELEMENTS, Computed, LossCall

_UNIT = 1e-3
"""Distance of a norm from 1 (ratio) up to which vectors are of unit length: half precision has 5e-4."""
_MASKED = -1e3
"""Scores below which a pair is masked out: cosines end at -1, times 500 at most."""
_TWO, _THREE = 2, 3


def of_rows(result: Computed, call: LossCall) -> dict[str, Any]:
    """How outputs were reshaped before the loss, and what bounds them."""
    if call.kind in ELEMENTS:
        return _reordered(result, call)
    if call.kind not in CLASSES or call.outputs.dim() < _TWO or call.outputs.size(1) < _TWO:
        return {}
    return {**_reshaped(result, call), **_cosines(result, call)}


def _reshaped(result: Computed, call: LossCall) -> dict[str, Any]:
    """Classes that lay on another axis than the one that a reshape made of them."""
    outputs, source = call.outputs, result.before_reshape(call.outputs)
    goal = result.before_reshape(call.targets)
    if source is outputs or source.dim() < _THREE or source.numel() != outputs.numel():
        return {}
    given, wanted, count = tuple(source.shape), tuple(goal.shape), outputs.size(1)
    row = {"cut_from": str(given), "wanted_shape": str(wanted)}
    if outputs.dim() == _TWO:
        places = source[0, 0].numel()
        node = source.grad_fn.name() if source.grad_fn is not None else ""
        first = given[1] == count and places > 1
        if first and node.startswith("Convolution"):
            return {**row, "mixed": min(count, places)}
        if first and given[-1] != count and wanted == (given[0], *given[2:]):
            return {**row, "mixed": min(count, places)}
        turned = source.dim() == _THREE and wanted == (given[1], given[0]) != given[:2]
        return {**row, "turned": True} if turned and given[-1] == count else {}
    last = given[-1] == count and wanted == given[:-1] and given[0] == outputs.size(0)
    if last and given[1] != count and outputs.shape[2:].numel() > 1:
        return {**row, "mixed": min(count, outputs.shape[2:].numel())}
    return {}


def _reordered(result: Computed, call: LossCall) -> dict[str, Any]:
    """Outputs and targets that only a reshape made alike: their axes come in another order."""
    shapes = [tuple(result.before_reshape(t).shape) for t in (call.outputs, call.targets)]
    one, other = ([size for size in shape if size > 1] for shape in shapes)
    if one == other or sorted(one) != sorted(other) or call.outputs.shape != call.targets.shape:
        return {}
    return {"cut_from": str(shapes[0]), "wanted_shape": str(shapes[1]), "reordered": True}


def _cosines(result: Computed, call: LossCall) -> dict[str, Any]:
    """The factor by which cosines were multiplied to become logits, where they are that."""
    outputs = call.outputs.detach().double()
    for one, other, product in result.products if outputs.dim() == _TWO else ():
        cosine = product.detach().double()
        for angles in (cosine, cosine.T):
            if angles.shape == outputs.shape and _are_units(one) and _are_units(other):
                size = angles.square().sum()
                factor = float((angles * outputs).sum() / size.clamp_min(1e-30))
                if factor and bool(torch.allclose(angles * factor, outputs, 1e-2, 1e-3 * abs(factor))):
                    return {"cosine_factor": factor, "columns": outputs.size(1)}
    return {}


def cosine_factor(products: Iterable[tuple[Tensor, Tensor, Tensor]], scores: Tensor) -> dict[str, Any]:
    """The same of scores of which some may be masked, or that were normalised: up to a sum per row.

    Args:
        products: matrices, and what they gave when they were multiplied.
        scores: shape ``[rows, columns]``.
    """
    seen = scores.detach().double()
    open_ = seen > _MASKED
    for one, other, product in products if seen.dim() == _TWO else ():
        angles = product.detach().double()
        if angles.shape != seen.shape or not (_are_units(one) and _are_units(other)):
            continue
        mine, theirs = (_centred(values, open_) for values in (angles, seen))
        factor = float((mine * theirs).sum() / mine.square().sum().clamp_min(1e-30))
        if factor and bool(torch.allclose(mine * factor, theirs, 1e-2, 1e-3 * abs(factor))):
            return {"cosine_factor": factor, "columns": int(open_.sum(1).max())}
    return {}


def _centred(values: Tensor, open_: Tensor) -> Tensor:
    """Each row less its mean, where it is open; 0 elsewhere."""
    kept = values.where(open_, 0.0)
    return (kept - kept.sum(1, keepdim=True) / open_.sum(1, keepdim=True).clamp_min(1)).where(open_, 0.0)


def _are_units(rows: Tensor) -> bool:
    norms = rows.detach().double().norm(dim=-1)
    return rows.dim() == _TWO and bool(((norms - 1).abs() <= _UNIT).all())
