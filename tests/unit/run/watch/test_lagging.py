"""How many steps a copy stays behind a model that moves."""

import copy

import pytest
import torch
from torch import nn

from pytest_dlcheck.run.watch.evaluated.lagging import FAR, Lag


def behind(kept, *, steps=24, every=8, follow=None):
    """What is told of an average that keeps this share of itself."""
    torch.manual_seed(0)
    model = nn.Linear(32, 32)
    average, lag = copy.deepcopy(model), Lag()
    with torch.no_grad():
        for step in range(steps):
            for mine, its in zip(average.parameters(), model.parameters(), strict=True):
                its.add_(0.01 * torch.randn_like(its))
                mine.copy_(kept * mine + (1 - kept) * its if follow is None else follow(its))
            if (step + 1) % every == 0:
                lag.look(average, model, step + 1)
    return lag.facts()


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_an_average_is_steps_behind(kept):
    assert behind(kept)["least_behind"] > 0.3


@pytest.mark.parametrize("kept", [0.001, 0.01, 0.02])
def test_one_that_keeps_nothing_is_a_share_of_a_step_behind(kept):
    found = behind(kept)
    assert found["looks_behind"] == 2
    assert 0 < found["least_behind"] <= found["most_behind"] < 4 * kept


def test_a_copy_is_not_behind_at_all():
    assert behind(0)["most_behind"] == 0


def test_what_is_rounded_lies_elsewhere():
    assert behind(0, follow=lambda weights: weights.half().float())["most_behind"] == FAR


def test_what_stands_still_tells_nothing():
    model, lag = nn.Linear(4, 4), Lag()
    for step in range(4):
        lag.look(copy.deepcopy(model), model, step)
    assert lag.facts()["looks_behind"] == 0
