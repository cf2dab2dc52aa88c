"""How inputs are scaled, by their columns and by the levels of a byte."""

import pytest
import torch
from sklearn.datasets import load_digits, load_wine

from pytest_dlcheck.run.watch.batches.scales import NONE, scales


def split(rows, size=32):
    rows = torch.as_tensor(rows, dtype=torch.float32)
    return list(rows[torch.randperm(len(rows))].split(size))


def test_a_standardised_table_beside_a_raw_one():
    rows = load_wine().data
    found = scales(split((rows - rows.mean(0)) / rows.std(0)), split(rows))
    assert (found["scale_trained"], found["scale_evaluated"]) == ("standardised", "")
    assert found["scale_most"] > 10 * found["scale_least"]


def test_two_halves_of_one_table_are_scaled_alike():
    rows = load_wine().data
    rows = split((rows - rows.min(0)) / (rows.max(0) - rows.min(0)), 89)
    found = scales(rows[:1], rows[1:])
    assert found["scale_trained"] == found["scale_evaluated"] == "between fixed bounds"


@pytest.mark.parametrize("factor", [1 / 16, 0.2])
def test_levels_of_images(factor):
    images = load_digits().data
    found = scales(split(images[:900] * factor), split(images[900:]))
    assert found["level_trained"] == pytest.approx(factor, rel=1e-3)
    assert found["level_evaluated"] == pytest.approx(1)


@pytest.mark.parametrize("factor", [1.0, 1 / 0.9])
def test_what_dropout_leaves_says_nothing(factor):
    images = load_digits().data
    assert not scales(split(images[:900] * factor), split(images[900:]))["level_trained"]


def test_each_channel_may_have_levels_of_its_own():
    images = torch.randint(0, 256, (400, 3, 32)) / 255
    own = (images - 0.4) / torch.tensor([0.2, 0.25, 0.3])[:, None]
    found = scales(split(own.flatten(1)), split(images.flatten(1)))
    assert found["level_trained"] == pytest.approx(1 / 255 / 0.2, rel=1e-3)
    assert found["level_evaluated"] == pytest.approx(1 / 255, rel=1e-3)


@pytest.mark.parametrize(
    "theirs",
    [
        torch.randint(0, 128, (400, 40)) * 2.0,  # half as many levels: perhaps every other one is there
        torch.randint(0, 256, (400, 40)) + torch.rand(400, 40),  # none
        torch.randint(0, 3, (400, 40)) * 1.0,  # too few
    ],
)
def test_other_levels_say_nothing(theirs):
    found = scales(split(torch.randint(0, 256, (400, 40))), split(theirs))
    assert not found["level_trained"]


@pytest.mark.parametrize("rows", [torch.rand(8, 6), torch.full((64, 6), torch.nan), torch.rand(64, 5)])
def test_few_rows_or_others_say_nothing(rows):
    assert scales(split(torch.rand(64, 6)), split(rows)) == NONE


def test_nothing_is_said_of_nothing():
    assert scales([], []) == NONE
