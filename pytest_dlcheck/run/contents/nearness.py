"""Which validation samples lie far nearer to a training sample than training samples to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pytest_dlcheck.run.contents.places import Place, all_finite, each_once
from pytest_dlcheck.trace import Row

NEAR = 1 / 8
"""Distance to the nearest training sample, over the usual one between training samples, below which it
is a copy (ratio). Of samples drawn alike in k dimensions, a share of about 0.7 NEAR^k is so near."""
_ASKED, _KNOWN, _FEATURES = 400, 2_048, 128
"""Samples of each side and numbers of each, at most: a few hundredths of a second."""
_FEWEST, _FEWEST_KNOWN, _LEAST = 50, 100, 8
_SMALL = 16
"""Sides of a grid that images are pooled to, which noise and coding do not survive."""


def nearness(ours: Sequence[Place], theirs: Sequence[Place], total: int | None) -> Row | None:
    """The row; None where inputs are not one floating tensor with numbers enough.

    Args:
        ours: the places of the training samples that were looked at.
        theirs: those of the validation samples.
        total: how many training samples there are, where that is known.
    """
    pair = [[p for p in side if not p.is_target] for side in (ours, theirs)]
    if any(len(side) != 1 or not side[0].values.is_floating_point() for side in pair):
        return None
    train, val = (each_once(side[0]) for side in pair)
    few = min(len(train.values) - _FEWEST_KNOWN, len(val.values) - _FEWEST) < 0
    if few or train.values.shape[1:] != val.values.shape[1:] or train.values[0].numel() < _LEAST:
        return None
    one, other = _spread(len(train.values), _KNOWN), _spread(len(val.values), _ASKED)
    known, asked = (_features(_of(*side)) for side in ((train.values, one), (val.values, other)))
    if not all_finite(known) or not all_finite(asked):
        return None
    own = _spread(len(known), _ASKED)
    apart, _ = _nearest(known[own], known, own)
    usual = float(apart.median())
    if not usual > 0:
        return None
    distances, nearest = _nearest(asked, known)
    close = distances < NEAR * usual
    first = int(close.nonzero()[0]) if close.any() else None
    return Row(
        by="nearness",
        samples=len(asked),
        total=len(val.values),
        train_samples=len(known),
        train_total=total,
        matches=int(close.sum()),
        repeated=float((apart < NEAR * usual).double().mean()),
        val_repeated=None if first is None else _repeated(asked, NEAR * usual),
        usual=usual,
        closest=float(distances[close].median()) if first is not None else None,
        first_val=None if first is None else val.indices[int(other[first])],
        first_train=None if first is None else train.indices[int(one[nearest[first]])],
    )


def _repeated(asked: Tensor, near: float) -> float:
    """Share of samples that have another one of theirs so near: asked where training is near at all."""
    among, _ = _nearest(asked, asked, torch.arange(len(asked)))
    return float((among < near).double().mean())


def _spread(count: int, most: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def _of(values: Tensor, some: Tensor) -> Tensor:
    return values if len(some) == len(values) else values[some]


def _features(values: Tensor) -> Tensor:
    image = values.dim() == 4 and min(values.shape[2:]) > _SMALL  # noqa: PLR2004
    values = F.adaptive_avg_pool2d(values.float(), _SMALL) if image else values.float()
    flat = values.reshape(len(values), -1)
    return flat if flat.size(1) <= _FEATURES else flat[:, _spread(flat.size(1), _FEATURES)]


def _nearest(some: Tensor, all_of: Tensor, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Distances to the nearest, and which that is; ``own`` says which of all each itself is.

    By products, which is quick but rounds; the distance to the one that is chosen is then exact.
    """
    middle = all_of.mean(0)
    centred, others = some - middle, all_of - middle
    squares = torch.addmm(others.square().sum(1), centred, others.T, alpha=-2)
    if own is not None:
        squares[torch.arange(len(some)), own] = torch.inf
    nearest = torch.from_numpy(squares.numpy().argmin(1))  # ten times quicker than torch's own
    return (some - all_of[nearest]).norm(dim=1), nearest
