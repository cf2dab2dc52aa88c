"""Samples that are not finite: how many, where, and whether model and loss expect them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.contents.places import Place, all_finite, real
from pytest_dlcheck.run.data.samples import Look
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import tensors, to_device
from pytest_dlcheck.trace import Scalar

_TABLE, _LINE, _IMAGE = 2, 3, 4
"""Dimensions, with that of samples."""
_CHANNELS = 16


def gaps(rig: Rig, found: Look, place: Place) -> dict[str, Scalar]:
    """The facts on one input or target; on gaps, those of the first sample with one, too."""
    values = real(place.values)
    if not values.is_floating_point() or all_finite(values):
        return {"nan_samples": 0, "inf_samples": 0}
    flat = values.reshape(len(values), -1)
    nan, inf = flat.isnan(), flat.isinf()
    bad = nan | inf
    rows = bad.any(1).nonzero().flatten().tolist()
    first = min(rows, key=lambda row: place.indices[row])
    return {
        "nan_samples": int(nan.any(1).sum()),
        "inf_samples": int(inf.any(1).sum()),
        "bad_samples": len(rows),
        "first_bad": place.indices[first],
        "bad_feature": _feature(bad.sum(0), place.values),
        "bad_features": int(bad.any(0).sum()),
        "survives": _survives(rig, found.chunks[place.chunks[first]].batch),
    }


def _feature(counts: Tensor, values: Tensor) -> str:
    """Where in a sample most of it is: feature 3, channel 1, step 7."""
    at = int(counts.argmax())
    if values.dim() == _TABLE:
        return f"feature {at}"
    if values.dim() == _IMAGE and values.size(1) <= _CHANNELS:
        return f"channel {at // max(1, values[0, 0].numel())}"
    if values.dim() == _LINE:
        return f"feature {at % values.size(2)}"
    return ""


def _survives(rig: Rig, batch: Any) -> bool | None:
    """Whether outputs and loss of such samples are finite: a model or loss may expect gaps."""
    grad = rig.recipe.training_step is not None
    given = to_device(batch, rig.device)
    try:
        with rig.undisturbed(), torch.set_grad_enabled(grad), rig.autocast():
            if rig.objective.is_generator:
                results: Any = [loss for _, loss in rig.objective.objectives(given)]
            else:
                results = rig.objective.raw_loss(given)
    except Exception:  # noqa: BLE001  a batch of other samples may be refused in any way
        return None
    found = [t for t in tensors(results) if t.is_floating_point()]
    return all(bool(t.isfinite().all()) for t in found) if found else None
