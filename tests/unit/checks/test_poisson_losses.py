"""What loss_is_sound says of Poisson losses, torch's and written out, and of what they are given."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


@pytest.fixture
def verdict_for():
    """The verdict on a model that counts, its last layer shifted."""

    def verdict_for(last, loss, shift=0.0):
        def recipe():
            torch.manual_seed(0)
            head = nn.Linear(16, 1)
            nn.init.constant_(head.bias, shift)
            model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), head, last, nn.Flatten(0))
            return Recipe(
                model=model,
                train_data=[(torch.randn(32, 8), torch.poisson(torch.full((32,), 2.0)))],
                loss=loss,
                optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
            )

        subject = Subject("recipe", Policy(steps=20, device="cpu"), ("loss_is_sound",))
        return Examination(subject).judge("loss_is_sound", recipe)

    return verdict_for


class Exponential(nn.Module):
    def forward(self, x):
        return x.exp()


def by_hand(logarithms, counts):
    return (logarithms.exp() - counts * logarithms).mean()


def of_rates_by_hand(rates, counts):
    return (rates - counts * rates.log()).sum()


LOGARITHMS = [
    nn.PoissonNLLLoss(),
    nn.PoissonNLLLoss(full=True, reduction="sum"),
    lambda y, t: F.poisson_nll_loss(y, t, log_input=True),
    by_hand,
    lambda y, t: (torch.linspace(0.5, 1.5, 32) * (y.exp() - t * y)).mean(),
]
RATES = [nn.PoissonNLLLoss(log_input=False), of_rates_by_hand]


@pytest.mark.parametrize("loss", LOGARITHMS)
@pytest.mark.parametrize("last", [nn.Softplus(), Exponential(), nn.ReLU(), nn.Sigmoid()])
def test_rates_are_no_logarithms(verdict_for, last, loss):
    verdict = verdict_for(last, loss)
    assert verdict.failed
    assert "for the logarithms of rates" in verdict.because
    assert "log_input=True exponentiates" in verdict.cause


@pytest.mark.parametrize("loss", LOGARITHMS)
@pytest.mark.parametrize("last", [nn.Identity(), nn.LogSigmoid(), nn.Tanh(), nn.Hardtanh(-5, 5)])
def test_logarithms_are(verdict_for, last, loss):
    verdict = verdict_for(last, loss)
    assert verdict.outcome is Outcome.PASSED
    assert not any("Poisson" in line for line in verdict.advice)


@pytest.mark.parametrize("loss", RATES)
def test_rates_below_zero_fail(verdict_for, loss):
    verdict = verdict_for(nn.Identity(), loss)
    assert verdict.failed
    assert "log_input=False with outputs that may be negative" in verdict.cause


@pytest.mark.parametrize("loss", RATES)
def test_what_nothing_keeps_above_zero_is_advice(verdict_for, loss):
    verdict = verdict_for(nn.Identity(), loss, shift=9.0)
    assert verdict.outcome is Outcome.PASSED
    assert any("nothing keeps it above 0" in line for line in verdict.advice)


@pytest.mark.parametrize("loss", RATES)
@pytest.mark.parametrize("last", [nn.Softplus(), Exponential()])
def test_rates_are_quiet(verdict_for, last, loss):
    verdict = verdict_for(last, loss)
    assert verdict.outcome is Outcome.PASSED
    assert not any("Poisson" in line for line in verdict.advice)


class Mixture(nn.Module):
    """Adds numbers by weights that cannot be negative."""

    def __init__(self, given):
        super().__init__()
        self.given, self.weights = given, nn.Parameter(torch.randn(1, 1))

    def forward(self, x):
        return self.given(x) @ F.softplus(self.weights)


@pytest.mark.parametrize("loss", RATES)
def test_rates_that_are_added_up_are_quiet(verdict_for, loss):
    verdict = verdict_for(Mixture(F.softplus), loss)
    assert verdict.outcome is Outcome.PASSED
    assert not any("Poisson" in line for line in verdict.advice)
    assert verdict_for(Mixture(nn.Identity()), loss).failed


def test_neither_a_cross_entropy_nor_the_likelihood_of_a_waiting_time_is_one(verdict_for):
    def waiting(rates, times):
        return (rates * times - rates.log()).mean()

    assert not verdict_for(nn.Softplus(), waiting).failed
    assert "rates" not in verdict_for(nn.Sigmoid(), lambda p, t: -(t * p.log()).mean()).because
