"""Whether one of two sets of samples is standardised, and the other the same but raw. No judgement."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pytest_dlcheck.trace import Scalar

FEWEST, FEATURES = 64, 4
"""Samples of each, and features that are neither constant nor binary, from which on it can be told."""
_ROWS, _MOST = 1_024, 256
"""Samples and features looked at, at most."""
_ROOM = 4.0
"""Standard errors that the means of standardised features may have, as a root mean square: of features
that are independent it is 1, of features that are all alike up to 3."""
_WIDTH = 0.25
"""How far the median of their standard deviations may be from 1 (ratio): of 64 samples it is 0.1."""
_FAR, _ERRORS = 0.5, 6.0
"""Standard deviations, and standard errors, by which a raw feature's mean is off, or"""
_WIDER = 1.5
"""the factor that its standard deviation is off by, at least."""
_BEYOND, _SOME = 10.0, 0.25
"""Standard deviations of training data by which no new data is off, in that share of the features."""
_MOSTLY = 0.8
"""Share of the features of which each of it must hold (ratio); chosen."""
_SHAPE = 2.0
"""Largest distance of two distributions, over the root of 1/n + 1/m, if they are of one kind: a test of
Kolmogorov and Smirnov has 1.63 at 1 %, and the scales are estimated."""
_NEAR = 3.0
"""Standard errors of a mean within which two places are one."""
_CHANNELS, _IMAGES = 4, 4
"""Most channels of images, and axes of a batch of them."""
_TOP = 0.35
"""How far the mean of a normalised channel may be from 0, and its deviation from 1: the constants
often are those of other images."""


def one_standardised(ours: Tensor, theirs: Tensor) -> dict[str, Scalar]:
    """Which of both is standardised where the other is not, and how the other lies.

    Args:
        ours: samples of the training data, shape ``[n, ...]``, floating.
        theirs: of the validation data, shape ``[m, ...]``.

    Returns:
        ``standardised``, the name of the data that is, and ``standardised_parts``, how many features or
        channels of it are; ``raw_mean`` and ``raw_deviation`` of the other. Empty where both are alike
        or it cannot be told.
    """
    if ours.shape[1:] != theirs.shape[1:] or min(len(ours), len(theirs)) < FEWEST:
        return {}
    sets = {"train_data": ours, "val_data": theirs}
    for name, other in (("train_data", "val_data"), ("val_data", "train_data")):
        scaled, raw = sets[name], sets[other]
        tables = _table(scaled), _table(raw)
        features, channels = _by_feature(*tables), _by_channel(scaled, raw)
        if features and name == "train_data" and not _never_moved(tables[1]):
            features = 0
        if features or channels:
            return {
                "standardised": name,
                "standardised_parts": f"{features} features" if features else f"{channels} channels",
                "raw_mean": float(raw.double().mean()),
                "raw_deviation": float(raw.double().std()),
            }
    return {}


def _table(values: Tensor) -> Tensor:
    some = values[:: max(1, len(values) // _ROWS)].flatten(1)
    return some[:, :: max(1, some.size(1) // _MOST)].double()


def _by_feature(scaled: Tensor, raw: Tensor) -> int:
    """How many features the first has standardised and the second as they were measured; else 0."""
    alive = _takes_many(scaled) & _takes_many(raw)
    scaled, raw = scaled[:, alive], raw[:, alive]
    finite = bool(scaled.isfinite().all() and raw.isfinite().all())
    if scaled.size(1) < FEATURES or not finite or not _is_standardised(scaled):
        return 0
    means, spreads = raw.mean(0), raw.std(0)
    off = (means.abs() > _FAR) | (spreads.log().abs() > math.log(_WIDER))
    sure = means.abs() > _ERRORS * spreads / len(raw) ** 0.5
    positive = (raw >= 0).all(0)
    if float((off & sure & positive).double().mean()) < _MOSTLY:
        return 0
    kin = _distances(scaled, raw) < _SHAPE * (1 / len(scaled) + 1 / len(raw)) ** 0.5
    return scaled.size(1) if float(kin.double().mean()) >= _MOSTLY else 0


def _never_moved(raw: Tensor) -> bool:
    """Whether no change of what is measured gives such numbers, as one gives a series that rises."""
    return float(((raw.mean(0) > _BEYOND) | (raw.amin(0) == 0)).double().mean()) >= _SOME


def _takes_many(table: Tensor) -> Tensor:
    """Which features have more than two values."""
    return ~((table == table.amin(0)) | (table == table.amax(0))).all(0)


def _is_standardised(table: Tensor) -> bool:
    means, spreads = table.mean(0), table.std(0)
    errors = float((len(table) * means.square()).mean().sqrt())
    usual = ((spreads > 0.5) & (spreads < 2.0)).double().mean()  # noqa: PLR2004  half and twice
    return errors < _ROOM and abs(float(spreads.median()) - 1) < _WIDTH and float(usual) >= _MOSTLY


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """How far apart the distributions of each feature are once both are standardised, from 0 to 1.

    What lies nearer than the means are known is one place: rounded numbers come in heaps.
    """
    near = _NEAR * (1 / len(one) + 1 / len(other)) ** 0.5
    one, other = (((t - t.mean(0)) / t.std(0)).T.contiguous().sort(1)[0] for t in (one, other))
    return torch.maximum(_ahead(one, other, near), _ahead(other, one, near))


def _ahead(one: Tensor, other: Tensor, near: float) -> Tensor:
    """By what share the one's distribution is ahead of the other's, at most, anywhere."""
    places = torch.arange(1, one.size(1) + 1) / one.size(1)
    return (places - torch.searchsorted(other, one + near, right=True) / other.size(1)).amax(1)


def _by_channel(scaled: Tensor, raw: Tensor) -> int:
    """How many channels the first has normalised where the second has images in 0..1; else 0."""
    if scaled.dim() != _IMAGES or not 1 <= scaled.size(1) <= _CHANNELS:
        return 0
    if float(raw.min()) != 0.0 or float(raw.max()) != 1.0:
        return 0
    channels = scaled.double().transpose(0, 1).flatten(1)
    means, spreads = channels.mean(1), channels.std(1)
    normal = (means.abs() < _TOP) & ((spreads - 1).abs() < _TOP)
    return scaled.size(1) if bool(normal.all()) else 0
