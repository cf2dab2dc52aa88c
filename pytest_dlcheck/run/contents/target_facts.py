"""What targets say of themselves: classes, sameness, whether the loss looks at them, leaks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from pytest_dlcheck.run.contents.places import Place
from pytest_dlcheck.run.contents.scalar_targets import labels_of
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import map_tensors
from pytest_dlcheck.trace import Scalar

_TABLE = 2
_SIGNS = 2
"""Whole floats of more values than these (0 and 1, -1 and 1) are quantities to most losses."""
_LEAKS = 64
"""Samples from which on a feature that equals the target does so by no chance."""


def on_target(rig: Rig, place: Place) -> dict[str, Scalar]:
    """The facts on one target."""
    facts: dict[str, Scalar] = {"weighed": _weighed(rig)}
    if place.values[0].numel() and bool((place.values == place.values[:1]).all()):
        facts["matters"] = _matters(rig)
    labels = labels_of(place.values)
    if labels is None:
        return facts
    facts["label_kind"] = labels.kind
    if labels.kind == "classes":
        counts = sorted(labels.counts().items(), key=lambda pair: pair[1])
        if len(counts) > _SIGNS and _are_numbers(place.values):
            return facts
        facts |= {
            "classes": len(counts),
            "rarest": counts[0][0],
            "rarest_count": counts[0][1],
            "commonest": counts[-1][0],
            "commonest_count": counts[-1][1],
            "highest_label": max(label for label, _ in counts),
        }
    return facts


def _are_numbers(values: Tensor) -> bool:
    """Whether they are counts or ratings, which need not come equally often: whole floats."""
    return values.is_floating_point() and values.numel() == len(values)


def _weighed(rig: Rig) -> bool:
    """Whether classes are weighed: by the sampler, or by the loss."""
    by_sampler = isinstance(getattr(rig.stream.loader, "sampler", None), WeightedRandomSampler)
    loss = rig.recipe.loss
    return by_sampler or any(getattr(loss, n, None) is not None for n in ("weight", "pos_weight"))


def _matters(rig: Rig) -> bool | None:
    """Whether the loss compares with the targets at all: it changes when they do."""
    if rig.recipe.loss is None:
        return None
    try:
        with rig.undisturbed(), torch.no_grad(), rig.autocast():
            outputs = rig.objective.call(rig.batch)()
            targets = rig.objective.targets(rig.batch)
            one = rig.objective.loss_of_outputs(outputs, targets)
            other = rig.objective.loss_of_outputs(outputs, map_tensors(targets, _other))
    except Exception:  # noqa: BLE001  another label may be out of range, a PINN wants gradients
        return None
    return not torch.equal(one, other)


def _other(targets: Tensor) -> Tensor:
    """The class 0 for others and 1 for 0; a unit more."""
    return targets + 1 if targets.is_floating_point() else (targets == 0).to(targets.dtype)


def leak(place: Place, targets: list[Place]) -> dict[str, Scalar]:
    """A feature that is the target itself."""
    if place.is_target or place.values.dim() != _TABLE or len(targets) != 1:
        return {}
    target = targets[0]
    fits = target.indices == place.indices and target.values.numel() == len(place.values)
    if not fits or len(place.values) < _LEAKS or place.values.size(1) < _TABLE:
        return {}
    wanted = target.values.reshape(-1, 1).to(place.values.dtype)
    if bool((wanted == wanted[:1]).all()):
        return {}
    same = (place.values == wanted).all(0)
    return {"leaks": int(same.nonzero()[0])} if same.any() else {}
