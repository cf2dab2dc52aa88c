"""The ``overfit`` trial: how a rig is made ready to learn one small fixed batch by heart."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tree import tensors

SAMPLES = 8
"""Samples to learn by heart: enough to be no accident, few enough to be quick."""
ADAM_RATE = 1e-3
"""Adam's own default learning rate."""
_DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


def small_batch(rig: Rig) -> Any:
    """The samples to learn: up to 8, evenly spread over the first batch, or all of it.

    Raises:
        NotApplicableError: the recipe trains several objectives against each other.
    """
    if rig.objective.is_generator:
        raise NotApplicableError(
            "several objectives are trained against each other: no batch can be learned by heart"
        )
    try:
        return rig.samples(SAMPLES)
    except CannotTellError:
        return rig.batch


def calm(rig: Rig) -> None:
    """Take out what keeps a batch from being learned by heart: dropout, and a rate in warm-up."""
    for module in rig.model.modules():
        if isinstance(module, _DROPOUTS):
            module.p = 0.0
        for name in ("dropout", "dropout_p", "drop_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    for optimizer in rig.optimizers:
        for group in optimizer.param_groups:
            rates = [group.get(key) for key in ("lr", "initial_lr", "max_lr")]
            known = [rate for rate in rates if isinstance(rate, (int, float))]
            if known:
                group["lr"] = max(known)


def plain_adam(rig: Rig) -> None:
    """Put a plain Adam in the place of the recipe's optimizers."""
    trainable = [p for p in rig.parameters.values() if p.requires_grad]
    if not trainable:
        raise NotApplicableError("no parameter is trainable")
    rig.optimizers = [torch.optim.Adam(trainable, lr=ADAM_RATE)]
    rig.schedulers = []


def floor_of(rig: Rig) -> float:
    """The least loss that is possible on this batch, in the loss's unit, where it is known.

    Known for cross-entropy: label smoothing leaves the entropy of the smoothed targets. Zero for all
    other losses, which makes the stopping rule strict and nothing else.
    """
    loss = rig.recipe.loss
    smoothing = getattr(loss, "label_smoothing", 0.0)
    if not isinstance(loss, nn.CrossEntropyLoss) or not smoothing:
        return 0.0
    with torch.no_grad(), rig.undisturbed(training=False):
        outputs = rig.call()
    logits = tensors(outputs)[0]
    classes = logits.size(1) if logits.dim() > 1 else logits.size(0)
    right, other = 1 - smoothing + smoothing / classes, smoothing / classes
    entropy = torch.tensor([right] + [other] * (classes - 1)).clamp_min(1e-12)
    return float(-(entropy * entropy.log()).sum())
