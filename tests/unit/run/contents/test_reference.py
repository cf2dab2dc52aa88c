"""What simple methods find in data, what columns look like, and where maps lie."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_iris, load_sample_images, load_wine

from pytest_dlcheck.run.contents.alignment import aligned, are_maps
from pytest_dlcheck.run.contents.columns import measured, rising
from pytest_dlcheck.run.contents.interleaving import interleaved
from pytest_dlcheck.run.contents.reference import explained


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def table(load):
    features, targets = load(return_X_y=True)
    x = torch.tensor(features, dtype=torch.float32)[:1000]
    return (x - x.mean(0)) / x.std(0).clamp_min(1e-6), torch.tensor(targets)[:1000]


@pytest.mark.parametrize("load", [load_iris, load_wine, load_digits, load_diabetes])
def test_simple_methods_predict_what_belongs_together_and_nothing_else(load):
    x, y = table(load)
    share, most = explained(x, y)
    assert 0.3 < share < most <= 1.1
    share, most = explained(x, y[torch.randperm(len(y), generator=generator())])
    assert share < 0.03
    assert most < 0.15


def test_columns_sorted_apart_rise_together_and_powers_of_one_number_do_not_count():
    x, _ = table(load_wine)
    assert rising(x) == 0
    assert rising(x.sort(0)[0][torch.randperm(len(x), generator=generator())]) == 13
    t = torch.rand(200, 1, generator=generator())
    assert rising(torch.cat([t**k for k in range(1, 7)], 1)) == 0


def test_measurements_are_told_from_random_numbers():
    assert measured(table(load_wine)[0]) > 0.5
    assert measured(torch.randn(200, 10, generator=generator())) == 0
    assert measured(torch.rand(200, 10, generator=generator())) == 0
    assert measured(torch.randint(0, 10, (200, 10), generator=generator()).float()) == 0


def test_colours_in_turn_are_told_from_images():
    photo = torch.tensor(load_sample_images().images[1]).float()[:420, :630]
    tiles = photo.unfold(0, 30, 30).unfold(1, 30, 30).permute(0, 1, 3, 4, 2).reshape(-1, 30, 30, 3)
    assert interleaved(tiles.permute(0, 3, 1, 2)) < 0
    assert interleaved(tiles.contiguous().view(-1, 3, 30, 30)) > 0.3
    assert abs(interleaved(torch.randn(64, 3, 16, 16, generator=generator()))) < 0.05
    assert math.isnan(interleaved(torch.randn(64, 1, 16, 16)))


def squares():
    maps = torch.zeros(60, 1, 16, 16)
    for one, (top, left) in zip(maps, torch.randint(0, 12, (60, 2), generator=generator()), strict=True):
        one[:, top : top + 4, left : left + 4] = 1
    return maps + 0.2 * torch.randn(maps.shape, generator=generator(1)), maps


def test_maps_lie_on_their_own_images():
    images, maps = squares()
    found = aligned(images, maps)
    assert found.explained > 0.5
    assert max(found.wins.values()) == 0
    assert max(found.turned.values()) < found.explained / 4
    assert aligned(images, maps.roll(1, 0), turned=False).most < 0.1


def test_maps_of_mirrored_images_are_seen():
    images, maps = squares()
    found = aligned(images.flip(-1), maps)
    assert max(found.turned, key=lambda turn: found.turned[turn]) == "mirrored left to right"
    half = torch.cat([images[:30].flip(-2), images[30:]])[torch.randperm(60, generator=generator(2))]
    order = torch.randperm(60, generator=generator(2))
    found = aligned(half, maps[order])
    assert max(found.wins, key=lambda turn: found.wins[turn]) == "mirrored top to bottom"
    assert found.by_chance < found.wins["mirrored top to bottom"] / 4


@pytest.mark.parametrize(
    ("images", "maps", "expected"),
    [
        ((4, 3, 16, 16), (4, 16, 16), True),
        ((4, 3, 16, 24), (4, 2, 32, 48), True),
        ((4, 3, 16, 24), (4, 2, 24, 16), False),
        ((4, 3, 16, 16), (4, 10), False),
        ((4, 16, 16), (4, 16, 16), False),
    ],
)
def test_maps_have_the_proportions_of_their_images(images, maps, expected):
    assert are_maps(torch.zeros(images), torch.zeros(maps)) is expected
