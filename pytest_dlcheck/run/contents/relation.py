"""What inputs and targets have to do with each other, found out without the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_dlcheck.run.contents.alignment import aligned, are_maps
from pytest_dlcheck.run.contents.columns import measured, rising
from pytest_dlcheck.run.contents.reference import explained
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import batch_size, tensors
from pytest_dlcheck.trace import Row

SAMPLES = 1_024
"""Samples that are looked at: nearest neighbours among them take some 20 ms."""
FEATURES = 256
"""Numbers that a sample is described by."""
SHOWN = 64
"""Features whose correlations are taken."""
MAPS = 256
"""Maps that are compared with their images."""
FEW = 8
"""Numbers up to which a target is one of a sample, not one of each of its parts."""
_COPY = 1e-3  # distance below which two samples are one
_HUBS = 1.2  # one sample can be the nearest of several: the standard error is larger by about this


def relation(rig: Rig, batches: Sequence[Any]) -> Row:
    """The row that describes up to 1,024 samples of the training data, none of which may occur twice.

    ``agreement`` is how often a sample's nearest neighbour (of the inputs as they are) has the same
    label, ``by_chance`` how often it would if labels had nothing to do with inputs, ``surprise`` their
    distance in standard errors; for numbers, correlation in place of agreement. ``structure`` is the
    mean squared correlation between features, 1 where they are independent noise. ``measured`` is
    the share of features that no usual generator of random numbers gives, ``rising`` how many there are
    if all rise together. ``spread`` is how much inputs differ between samples, against their size.
    ``explained`` is the share of the targets' variance that
    simple methods predict out of fold, ``explained_high`` the most that it may be; ``whole`` tells
    targets that are one label or a few numbers a sample, which such methods are made for. Of maps that
    belong to images, ``local_high`` is the most that the places of an image may tell of theirs.
    """
    batches = batches[: max(1, SAMPLES // (rig.batch_size or 1))]
    inputs = torch.cat([_features(rig, batch) for batch in batches])
    raw = torch.cat([_raw(rig, batch) for batch in batches])
    targets = torch.cat([_target(rig.objective.targets(batch)) for batch in batches])
    labels = not targets.is_floating_point()
    scaled = _standardised(inputs)
    found = _neighbours(scaled, targets, labels=labels)
    share, most = explained(scaled, targets if labels else _standardised(targets))
    local = _local(rig, batches)
    return Row(
        samples=len(inputs),
        labels=labels,
        structure=_structure(raw),
        measured=measured(inputs),
        rising=rising(inputs),
        explained=share,
        explained_high=most,
        local_high=local,
        whole=labels or targets.size(1) <= FEW,
        spread=float(raw.std(0).square().mean().sqrt() / raw.square().mean().sqrt().clamp_min(1e-30)),
        **found,
    )


def _local(rig: Rig, batches: Sequence[Any]) -> float | None:
    """The most that places of images tell of those of maps; None where the data are others."""
    pairs = [([*_inputs(rig, batch)], tensors(rig.objective.targets(batch))) for batch in batches]
    if any(len(inputs) != 1 or len(targets) != 1 for inputs, targets in pairs):
        return None
    alike = [(x[0], y[0].detach().cpu()) for x, y in pairs if x[0].shape[1:] == pairs[0][0][0].shape[1:]]
    images, maps = (torch.cat(parts) for parts in zip(*alike, strict=True))
    if not are_maps(images, maps):
        return None
    return aligned(images[:MAPS], maps[:MAPS], turned=False).most


def _neighbours(inputs: Tensor, targets: Tensor, *, labels: bool) -> dict[str, float]:
    distance = torch.cdist(inputs, inputs, compute_mode="donot_use_mm_for_euclid_dist")
    distance[distance < _COPY] = math.inf  # itself, and copies of it
    nearest = distance.argmin(1)
    count = len(inputs)
    if labels:
        agreement = float((targets == targets[nearest]).float().mean())
        share = torch.unique(targets, return_counts=True)[1] / count
        chance = float(share.square().sum())
        error = math.sqrt(max(chance * (1 - chance), 1e-9) / count)
    else:
        scaled = _standardised(targets)
        agreement = float((scaled * scaled[nearest]).mean())
        chance, error = 0.0, 1 / math.sqrt(count)
    return {
        "agreement": agreement,
        "by_chance": chance,
        "surprise": (agreement - chance) / (error * _HUBS),
    }


def _structure(raw: Tensor) -> float:
    """The mean squared correlation of features, in units of what independent ones show."""
    keep = raw.std(0) > 0
    some = raw[:, keep]
    if some.size(1) < 2 or len(some) < 3:  # noqa: PLR2004  nothing to correlate
        return math.nan
    first = _standardised(some[:, :SHOWN])
    every = _standardised(some[:, torch.linspace(0, some.size(1) - 1, min(SHOWN, some.size(1))).long()])
    return max(_excess(first, adjacent=True), _excess(every, adjacent=False))


def _excess(scaled: Tensor, *, adjacent: bool) -> float:
    squared = (scaled.T @ scaled / len(scaled)).square()
    if adjacent:
        return float(squared.diagonal(1).mean()) * len(scaled)
    apart = squared[~torch.eye(len(squared), dtype=torch.bool)]
    return float(apart.mean()) * len(scaled)


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean(0)) / values.std(0).clamp_min(1e-12)


def _inputs(rig: Rig, batch: Any) -> Iterator[Tensor]:
    targets = {id(t) for t in tensors(rig.objective.targets(batch))}
    size = batch_size(batch, 0)
    for tensor in tensors(batch):
        if id(tensor) not in targets and tensor.dim() and len(tensor) == size and tensor.numel():
            yield tensor.detach().cpu()


def _features(rig: Rig, batch: Any) -> Tensor:
    """Each sample in up to 256 numbers: pooled images, counts of tokens, or plain features."""
    parts = [_described(tensor) for tensor in _inputs(rig, batch)]
    return torch.cat(parts, 1)


def _described(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point():
        if tensor.dim() == 4 and tensor[0].numel() > FEATURES:  # noqa: PLR2004  images
            tensor = F.adaptive_avg_pool2d(tensor.float(), 8)
        return _strided(tensor)
    if tensor.dim() == 2 and tensor.dtype != torch.bool:  # noqa: PLR2004  tokens
        return F.one_hot(tensor % FEATURES, FEATURES).float().sum(1)
    return _strided(tensor)


def _raw(rig: Rig, batch: Any) -> Tensor:
    return torch.cat([_strided(tensor) for tensor in _inputs(rig, batch)], 1)


def _strided(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(len(tensor), -1).float()
    return flat if flat.size(1) <= FEATURES else flat[:, :: -(-flat.size(1) // FEATURES)]


def _target(targets: Any) -> Tensor:
    tensor = tensors(targets)[0].detach().cpu()
    if tensor.dim() == 1 and (
        not tensor.is_floating_point() or bool(((tensor == 0) | (tensor == 1)).all())
    ):
        return tensor.long()
    return _strided(tensor)
