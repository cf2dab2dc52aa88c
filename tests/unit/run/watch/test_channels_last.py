"""Batches that no loader gave, or copies: a view in the place of a permute is told by the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch

N, SIZE, CLASSES = 16, 12, 2


def patches(name="china.jpg", count=8 * N):
    picture, rng = load_sample_image(name), np.random.default_rng(0)
    places = zip(rng.integers(0, 400, count), rng.integers(0, 600, count), strict=True)
    cut = np.stack([picture[r : r + SIZE, c : c + SIZE] for r, c in places])
    return (cut / 255).astype(np.float32)


PATCHES = patches()
WALKS = np.random.default_rng(0).normal(size=(8 * N, 40, 6)).cumsum(1).astype(np.float32)
NOISE = np.random.default_rng(0).normal(size=PATCHES.shape).astype(np.float32)
GREY = np.ones_like(PATCHES) * np.random.default_rng(0).random((8 * N, 1, 1, 1), np.float32)


def by_hand(data):
    for rows in np.random.default_rng(1).permutation(len(data)).reshape(-1, N):
        yield torch.from_numpy(data[rows])


def in_a_row(data):
    yield from torch.from_numpy(data).split(N)


def by_a_loader(data):
    for (x,) in DataLoader(TensorDataset(torch.from_numpy(data)), N, shuffle=True):
        yield x


def causes(cut, data, give):
    torch.manual_seed(1)  # noise leaves three in ten orders of the batches untold
    first = give(torch.from_numpy(data[:N]))
    layer = (nn.Conv2d if first.ndim == 4 else nn.Conv1d)(first.shape[1], 4, 3)
    model = nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(CLASSES))
    model(first)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for x in cut(data):
            optimizer.zero_grad()
            F.cross_entropy(model(give(x)), torch.arange(N) % CLASSES).backward()
            optimizer.step()
    found = [f.verdict for f in run.failures if f.verdict.check == "samples_stay_apart"]
    return [v.cause for v in found if "in the place of permute" in v.cause]


def to_view(x):
    return x.view(len(x), x.shape[-1], *x.shape[1:-1])


def to_permuted(x):
    return x.movedim(-1, 1)


@pytest.mark.parametrize(
    ("cut", "data", "give"),
    [
        (by_hand, PATCHES, to_view),
        (by_hand, patches("flower.jpg"), to_view),
        (by_hand, WALKS, to_view),
        (by_hand, PATCHES, lambda x: to_view((x * 255).float())),
        (by_a_loader, PATCHES, lambda x: to_view(x + 0.1 * torch.randn_like(x))),
        (by_a_loader, PATCHES, lambda x: to_view(x).double().mul(2).sub(1).float()),
        (in_a_row, PATCHES, to_view),
    ],
)
def test_a_view_of_images_or_signals_with_their_channels_last_is_told(cut, data, give):
    (cause,) = causes(cut, data, give)
    assert cause.endswith("scrambled")


@pytest.mark.parametrize(
    ("cut", "data", "give"),
    [
        (by_hand, PATCHES, to_permuted),
        (by_hand, PATCHES, lambda x: to_permuted(x).contiguous()),
        (by_hand, PATCHES, lambda x: to_permuted(x).contiguous().view(len(x), 3, SIZE, SIZE)),
        (by_hand, WALKS, to_permuted),
        (by_hand, NOISE, to_view),
        (in_a_row, PATCHES, lambda x: to_permuted(x).contiguous()),
        (by_a_loader, PATCHES, lambda x: to_permuted(x).contiguous().mul(2)),
        (by_a_loader, GREY, lambda x: to_permuted(x).contiguous()),
        (by_hand, PATCHES[..., :1], to_view),
    ],
)
def test_what_is_permuted_or_has_no_neighbours_is_quiet(cut, data, give):
    assert causes(cut, data, give) == []


def test_numbers_with_their_channels_first_under_the_name_of_another_shape_are_quiet():
    first = np.ascontiguousarray(np.moveaxis(PATCHES, -1, 1))
    misnamed = first.reshape(PATCHES.shape)
    assert causes(by_hand, misnamed, to_view) == []
