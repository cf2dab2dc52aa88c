"""What units_are_alive says of small recipes: dead and saturated layers are found, and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def digits_like(model, lr=1e-3, scale=1.0, **more):
    inputs = scale * torch.randn(256, 16)
    more.setdefault("loss", nn.CrossEntropyLoss())
    return Recipe(
        model=model,
        train_data=torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(inputs, more.pop("targets", inputs[:, :4].argmax(1))),
            batch_size=32,
            shuffle=True,
        ),
        optimizer=torch.optim.Adam(model.parameters(), lr=lr),
        **more,
    )


def mlp(act=nn.ReLU, out=4):
    return nn.Sequential(nn.Linear(16, 32), act(), nn.Linear(32, 32), act(), nn.Linear(32, out))


def with_bias(model, site, value):
    nn.init.constant_(model.get_submodule(site).bias, value)
    return model


def with_weights_times(model, factor):
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.data.mul_(factor)
    return model


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.LeakyReLU])
def test_healthy_activations_pass_without_advice(verdict_on, act):
    verdict = verdict_on(lambda: digits_like(mlp(act)))

    assert verdict.outcome in {Outcome.PASSED, Outcome.NOT_APPLICABLE}
    assert (verdict.outcome is Outcome.NOT_APPLICABLE) == (act is nn.LeakyReLU)
    assert verdict.advice == ()


@pytest.mark.parametrize("act", [nn.ReLU, nn.GELU, nn.SiLU])
def test_a_bias_far_below_zero_kills_its_layer(verdict_on, act):
    verdict = verdict_on(lambda: digits_like(with_bias(mlp(act), "2", -50.0)))

    assert verdict.failed
    assert verdict.sites == ("2", "3")
    assert "32 of its 32 units" in verdict.because
    assert verdict.cause.startswith("dead from the start: the bias of 2 is -50")


def test_functional_activations_are_named_by_the_weights_before_them(verdict_on):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 4)

        def forward(self, x):
            return self.head(torch.relu(self.second(F.relu(self.first(x)))))

    verdict = verdict_on(lambda: digits_like(with_bias(Functional(), "first", -50.0)))

    assert verdict.sites[0] == "first"


def test_the_shift_of_a_normalisation_is_named(verdict_on):
    def recipe():
        model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
        return digits_like(with_bias(model, "1", -20.0))

    verdict = verdict_on(recipe)

    assert verdict.sites == ("1", "2")
    assert "the bias of 1 is -20" in verdict.cause


def test_a_learning_rate_that_kills_is_told_from_an_initialisation(verdict_on):
    verdict = verdict_on(lambda: digits_like(mlp(), lr=3.0))

    assert verdict.failed
    assert "since the training began: steps were too large" in verdict.cause
    assert "learning rate" in verdict.remedy


def test_units_that_die_where_nothing_can_be_learned_are_no_failure(verdict_on):
    class Fades(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(16, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.body(x).relu())

    def step(model, batch):
        return F.relu(model.body(batch[0]) + 0.05).mean() + 0 * model(batch[0]).sum()

    def recipe():
        model = Fades()
        nn.init.constant_(model.body.bias, 0.1)
        model.body.weight.data.mul_(0.1)
        return digits_like(model, lr=3e-3, loss=None, training_step=step)

    assert verdict_on(recipe).outcome is Outcome.INCONCLUSIVE


def test_raw_inputs_that_saturate_are_named(verdict_on):
    verdict = verdict_on(lambda: digits_like(mlp(nn.Tanh), scale=300.0))

    assert verdict.failed
    assert verdict.sites[:2] == ("0", "1")
    assert "the inputs of 0 are too large" in verdict.cause


def test_large_weights_that_saturate_are_named(verdict_on):
    verdict = verdict_on(lambda: digits_like(with_weights_times(mlp(nn.Tanh), 300.0)))

    assert verdict.failed
    assert "the weights of 0 are too large" in verdict.cause


def test_a_sigmoid_output_may_make_up_its_mind(verdict_on):
    def recipe():
        model = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())
        model[0].weight.data.zero_()
        model[0].weight.data[0, 0] = 1e4
        targets = (torch.arange(256) % 2).float()[:, None]
        return digits_like(model, loss=nn.BCELoss(), targets=targets)

    assert verdict_on(recipe).outcome is Outcome.PASSED


def test_a_hinge_of_zero_is_no_dead_unit(verdict_on):
    def hinge(outputs, targets):
        return F.relu(1 - 100 * outputs.gather(1, targets[:, None])).mean()

    verdict = verdict_on(lambda: digits_like(mlp(nn.LeakyReLU), loss=hinge))

    assert verdict.outcome is Outcome.NOT_APPLICABLE


def test_a_compiled_model_is_not_judged(verdict_on):
    verdict = verdict_on(lambda: digits_like(torch.compile(mlp(), backend="eager")), steps=5)

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "compiled" in verdict.because
