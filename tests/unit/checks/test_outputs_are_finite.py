"""What outputs_are_finite says of small recipes: where the first NaN arises, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def recipe_of(model, inputs, targets, loss=None, **facts):
    return Recipe(
        model=model,
        train_data=[(inputs, targets)],
        loss=loss or nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        **facts,
    )


class Net(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)
        self.between = between

    def forward(self, x):
        return self.last(self.between(self.act(self.first(x))))


class Log(nn.Module):
    def forward(self, x):
        return x.log()


def as_it_is(h):
    return h


def net(between=as_it_is, loss=None, spoil=None):
    def factory():
        inputs, targets, model = torch.randn(16, 8), torch.randint(0, 4, (16,)), Net(between)
        if spoil is not None:
            spoil(model, inputs)
        return recipe_of(model, inputs, targets, loss)

    return factory


def test_finite_numbers_pass(verdict_on):
    verdict = verdict_on(net())

    assert verdict.outcome is Outcome.PASSED
    assert "(bound 0)" in verdict.because


def test_a_module_that_makes_them_is_named(verdict_on):
    model = nn.Sequential(nn.Linear(8, 4), Log())
    verdict = verdict_on(lambda: recipe_of(model, torch.randn(16, 8), torch.randint(0, 4, (16,))))

    assert verdict.failed
    assert verdict.sites == ("1",)
    assert "in Log.forward of `1`" in verdict.cause


def test_code_between_modules_is_named(verdict_on):
    verdict = verdict_on(net(lambda h: h / (h * 0).sum()))

    assert verdict.failed
    assert "in Net.forward, between `act` and `last`" in verdict.cause


def test_a_loss_that_makes_them_is_named(verdict_on):
    assert verdict_on(net(loss=lambda o, t: (o * 0).log().sum() * 0)).sites == ("loss",)


def poke_data(model, inputs):
    inputs[0, 0] = torch.nan


def poke_weight(model, inputs):
    with torch.no_grad():
        model.last.weight[0, 0] = torch.inf


@pytest.mark.parametrize(("spoil", "site"), [(poke_data, "data"), (poke_weight, "last.weight")])
def test_what_was_not_finite_before_is_the_cause(verdict_on, spoil, site):
    assert verdict_on(net(spoil=spoil)).sites == (site,)


def test_a_gradient_that_is_nan_behind_finite_values_is_found(verdict_on):
    verdict = verdict_on(net(lambda h: h * (h * 0).sum().sqrt()))

    assert verdict.failed
    assert "2 of 4 parameters get a NaN or infinite gradient (first.weight" in verdict.because
    assert "in Net.forward, after `act`" in verdict.cause


def test_a_gradient_that_the_loss_makes_nan_is_found(verdict_on):
    def loss(outputs, targets):
        return F.cross_entropy(outputs, targets) + (outputs * 0).sum().sqrt()

    assert verdict_on(net(loss=loss)).sites == ("loss",)


def test_an_intended_infinity_is_advice(verdict_on):
    class Masked(Net):
        def forward(self, x):
            return super().forward(x).masked_fill(torch.tensor([0, 0, 0, 1]).bool(), -torch.inf)

    verdict = verdict_on(
        lambda: recipe_of(Masked(as_it_is), torch.randn(16, 8), torch.randint(0, 3, (16,)))
    )
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ("16 numbers of output are -inf; the loss is finite",)
