"""The ``overfit`` trial: how a rig is made ready to learn one small fixed batch by heart."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import copied, take, tensors

SAMPLES = 8
"""Samples to learn by heart: enough to be no accident, few enough to be quick."""
ADAM_RATE = 1e-3
"""Adam's own default learning rate."""
WARM_UP = 20
"""Steps over which the rate rises to its peak where the recipe has a schedule: it may need one."""
HORIZON = 1_000
"""Steps of a schedule among which its peak is looked for."""
_DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


def small_batch(rig: Rig) -> Any:
    """The samples to learn: up to 8 of the first batch, of as many classes as it has, or all of it.

    Raises:
        NotApplicableError: the recipe trains several objectives against each other.
    """
    if rig.objective.is_generator:
        raise NotApplicableError(
            "several objectives are trained against each other: no batch can be learned by heart"
        )
    try:
        samples = rig.samples(SAMPLES)
    except CannotTellError:
        return rig.batch
    labels = rig.objective.targets(rig.batch)
    if rig.recipe.batch_dim == 0 and _are_labels(labels) and len(labels) == rig.batch_size:
        samples = take(rig.batch, _of_every_class(labels), 0)
    if _hides_an_axis(rig) or _runs(rig, samples) or not _runs(rig, rig.batch):
        return samples
    return rig.batch


def _hides_an_axis(rig: Rig) -> bool:
    """Whether as many samples were stacked as they have features: the one may pass for the other.

    There a refusal of fewer samples shows what the whole batch hides: a number per sample that meets
    the features.
    """
    loader = rig.stream.loader
    stacks = isinstance(loader, DataLoader) and loader.collate_fn is default_collate
    return stacks and any(rig.batch_size in tensor.shape[1:] for tensor in tensors(rig.batch))


def _runs(rig: Rig, batch: Any) -> bool:
    """Whether the recipe takes this batch; a model may insist on whole ones."""
    try:
        with rig.undisturbed(), rig.autocast():
            rig.objective.raw_loss(batch)
    except Exception:  # noqa: BLE001  the user's model may refuse in any way
        return False
    return True


def calm(rig: Rig) -> None:
    """Take out what keeps a batch from being learned by heart: dropout, and a rate off its peak."""
    for module in rig.model.modules():
        if isinstance(module, _DROPOUTS):
            module.p = 0.0
        for name in ("dropout", "dropout_p", "drop_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    peaks = _peaks(rig)
    for optimizer in rig.optimizers:
        for group in optimizer.param_groups:
            if id(group) in peaks:
                group["lr"] = peaks[id(group)]


def feeder(rig: Rig, batch: Any) -> Callable[[], Any]:
    """Gives the same batch for ever, and raises the learning rate meanwhile where it was scheduled."""
    if not rig.schedulers:
        return lambda: copied(batch)
    peaks = _rates(rig)
    given = 0

    def give() -> Any:
        nonlocal given
        share = min(1.0, (given // rig.recipe.accumulate + 1) / WARM_UP)
        for optimizer in rig.optimizers:
            for group in optimizer.param_groups:
                if id(group) in peaks:
                    group["lr"] = share * peaks[id(group)]
        given += 1
        return copied(batch)

    return give


def plain_adam(rig: Rig) -> None:
    """Put a plain Adam in the place of the recipe's optimizers."""
    trainable = [p for p in rig.parameters.values() if p.requires_grad]
    if not trainable:
        raise NotApplicableError("no parameter is trainable")
    rig.optimizers = [torch.optim.Adam(trainable, lr=ADAM_RATE)]
    rig.schedulers = []


def _peaks(rig: Rig) -> dict[int, float]:
    """The highest rate of every parameter group over its schedule, by the group's identity.

    The schedule is played to its end without training; the trial does not use it afterwards.
    """
    peaks = _rates(rig)
    for _ in range(HORIZON if rig.schedulers else 0):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns that the optimizer has not stepped
                for scheduler in rig.schedulers:
                    scheduler.step()
        except Exception:  # noqa: BLE001  past its end, or waiting for a metric
            break
        peaks = {key: max(rate, peaks.get(key, rate)) for key, rate in _rates(rig).items()}
    return peaks


def _rates(rig: Rig) -> dict[int, float]:
    groups = [group for optimizer in rig.optimizers for group in optimizer.param_groups]
    return {id(g): float(g["lr"]) for g in groups if isinstance(g.get("lr"), (int, float))}


def _are_labels(targets: Any) -> bool:
    return isinstance(targets, Tensor) and targets.dim() == 1 and not targets.is_floating_point()


def _of_every_class(labels: Tensor) -> Tensor:
    """Indices of up to 8 samples: the first of every class, then the second, and so on."""
    seen: dict[int, int] = {}
    order = []
    for index, label in enumerate(labels.tolist()):
        seen[label] = seen.get(label, 0) + 1
        order.append((seen[label], index))
    return torch.tensor([index for _, index in sorted(order)[:SAMPLES]])
