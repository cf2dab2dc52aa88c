"""Recipes whose biases alone have a weight decay fail; those whose weights have it pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe

from .conftest import examination


def verdict_on(of_weights, of_biases, *, apart=False):
    def build():
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        weights = {"params": [model[0].weight, model[2].weight], "weight_decay": of_weights}
        biases = {"params": [model[0].bias, model[2].bias], "weight_decay": of_biases}
        groups = [[weights], [biases]] if apart else [[weights, biases]]
        optimizers = [torch.optim.AdamW(each, lr=1e-3) for each in groups]
        data = [(torch.randn(16, 6), torch.randint(0, 3, (16,))) for _ in range(8)]
        optimizer = optimizers if apart else optimizers[0]
        return Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=optimizer)

    return examination(build, ("parameters_update",)).judge("parameters_update", build)


def test_a_decay_of_biases_alone_fails():
    verdict = verdict_on(0.0, 0.1)
    assert verdict.failed
    assert "0 of 2 weight matrices" in verdict.because
    assert "wrong group" in verdict.cause


@pytest.mark.parametrize(("of_weights", "of_biases"), [(0.1, 0.0), (0.1, 0.1), (0.0, 0.0)])
def test_a_decay_of_weights_or_of_nothing_passes(of_weights, of_biases):
    assert not verdict_on(of_weights, of_biases).failed


def test_optimizers_of_their_own_are_no_groups():
    assert not verdict_on(0.0, 0.1, apart=True).failed
