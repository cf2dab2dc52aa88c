"""Recipes whose biases alone have a weight decay fail; those whose weights have it pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe

from .conftest import examination


def verdict_on(of_weights, of_biases, *, apart=False, frozen=False):
    def build():
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        model[0].weight.requires_grad_(not frozen)
        weights = {"params": [model[0].weight, model[2].weight], "weight_decay": of_weights}
        biases = {"params": [model[0].bias, model[2].bias], "weight_decay": of_biases}
        if frozen:
            weights["params"], biases["params"] = list(model[2].parameters()), [model[0].bias]
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


def verdict_on_groups(model, exempt):
    def build():
        torch.manual_seed(0)
        made = model()
        named = [(name, p) for name, p in made.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for name, p in named if exempt(name)], "weight_decay": 0.0},
            {"params": [p for name, p in named if not exempt(name)], "weight_decay": 0.1},
        ]
        optimizer = torch.optim.AdamW(groups, lr=1e-3)
        data = [(torch.randn(16, 6), torch.randint(0, 3, (16,))) for _ in range(8)]
        return Recipe(model=made, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=optimizer)

    return examination(build, ("parameters_update",)).judge("parameters_update", build)


def of_three():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def with_frozen_matrices():
    model = of_three()
    for layer in (model[0], model[2]):
        layer.weight.requires_grad = False
    return model


def with_normed_matrices():
    normed = nn.utils.parametrizations.spectral_norm
    return nn.Sequential(normed(nn.Linear(6, 16)), nn.ReLU(), normed(nn.Linear(16, 3)))


@pytest.mark.parametrize(
    ("model", "exempt"),
    [
        (with_frozen_matrices, lambda name: name.startswith("4.")),
        (with_normed_matrices, lambda name: name.endswith("original")),
    ],
)
def test_biases_of_frozen_or_normed_matrices_may_be_all_that_decays(model, exempt):
    assert not verdict_on_groups(model, exempt).failed
    assert verdict_on_groups(of_three, lambda name: name.endswith("weight")).failed


def test_optimizers_of_their_own_are_no_groups():
    assert not verdict_on(0.0, 0.1, apart=True).failed


def test_biases_of_frozen_weights_beside_a_head_pass():
    assert not verdict_on(0.0, 0.1, frozen=True).failed
