"""What a torch loss was told of its targets, and whether outputs can meet them. Nothing is judged."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.losses.calls import CLASSES, REGRESSION, LossCall
from pytest_dlcheck.run.losses.distributions import distances

_RANGES = {
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Relu": (0.0, math.inf),
    "Softplus": (0.0, math.inf),
    "Exp": (0.0, math.inf),
    "LogSoftmax": (-math.inf, 0.0),
    "LogSigmoid": (-math.inf, 0.0),
}
_MARGIN = 0.05
"""Share of the range by which a target must lie outside of it to count."""
_BATCH_TIME = 3
_MOST_LABELS = 20


def of_targets(call: LossCall, last: str, maker: nn.Module | None) -> dict[str, Any]:
    """What is known of the targets of one call.

    Args:
        call: the call.
        last: the last operation of its outputs.
        maker: the module whose output it was given as it is.
    """
    targets = call.targets.detach()
    row: dict[str, Any] = {}
    if call.kind in CLASSES and not targets.is_floating_point() and targets.numel():
        ignored = targets == call.options.get("ignore_index", -100)
        row["ignored"] = float(ignored.double().mean())
        row["ignore_index"] = int(call.options.get("ignore_index", -100))
        row["ignored_count"] = int(ignored.sum())
        row["wanted_classes"] = len(torch.unique(targets[~ignored]))
        row["class_axis"] = _class_axis(call, maker)
    smoothing = call.options.get("label_smoothing")
    if isinstance(smoothing, float) and call.kind in CLASSES:
        row["smoothing"] = smoothing
    weights = call.options.get("pos_weight", call.options.get("weight"))
    if isinstance(weights, Tensor) and weights.numel():
        row |= _weights(call, weights, targets)
    if call.kind in REGRESSION:
        row |= _regression(call, last, targets)
    if call.kind == "kl_div" and targets.numel():
        row["log_target"] = call.options.get("log_target") is True
        row["least_target"] = float(targets.min())
        if targets.dim() and targets.size(-1) > 1:
            row["target_off"] = distances(targets.float().reshape(-1, targets.size(-1)))["rows_off"]
    return row


def _class_axis(call: LossCall, maker: nn.Module | None) -> bool:
    """Whether classes are known to lie on the last axis, while the loss takes axis 1 for them."""
    outputs = call.outputs
    return (
        outputs.dim() == _BATCH_TIME
        and isinstance(maker, nn.Linear)
        and outputs.size(-1) == maker.out_features
        and call.targets.shape == (outputs.size(0), outputs.size(-1))
    )


def _weights(call: LossCall, weights: Tensor, targets: Tensor) -> dict[str, Any]:
    values = weights.detach().double()
    row: dict[str, Any] = {
        "weight": "pos_weight" if "pos_weight" in call.options else "weight",
        "least_weight": float(values.min()),
        "most_weight": float(values.max()),
    }
    if isinstance(call.options.get("pos_weight"), Tensor) and targets.is_floating_point():
        positive = float((targets > 0.5).double().mean())  # noqa: PLR2004
        row["weight"] = "pos_weight"
        row["balance"] = (1 - positive) / max(positive, 1 / max(targets.numel(), 1))
    return row


def _regression(call: LossCall, last: str, targets: Tensor) -> dict[str, Any]:
    outputs, goal = call.outputs.detach(), targets.double()
    row: dict[str, Any] = {"itself": _equal(outputs, targets)}
    row |= out_of_reach(last, goal)
    known = torch.unique(goal)
    whole = bool((known == known.round()).all()) and 1 < len(known) <= _MOST_LABELS
    if whole and float(known[0]) in {0.0, 1.0} and len(known) > 1:
        row["labels"] = len(known) if float(known[-1] - known[0]) == len(known) - 1 else 0
        row["width"] = outputs.size(-1) if outputs.dim() > 1 else 1
        row["compared"] = outputs.shape != targets.shape
        row["most_label"] = int(known[-1])
    return row


def out_of_reach(last: str, goal: Tensor) -> dict[str, float | str]:
    """Which share of the targets outputs cannot meet; nothing where they are not bounded.

    Args:
        last: the last operation of the outputs.
        goal: the targets.
    """
    if last not in _RANGES or goal.numel() <= 1:
        return {}
    low, high = _RANGES[last]
    room = high - low if math.isfinite(high - low) else float(goal.double().std())
    outside = (goal < low - _MARGIN * room) | (goal > high + _MARGIN * room)
    return {
        "outside": float(outside.double().mean()),
        "range": f"{low:g} to {high:g}",
        "lowest_target": float(goal.min()),
        "highest_target": float(goal.max()),
    }


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.numel() > 1 and torch.equal(one, other.to(one))
