"""What loss_is_sound says of variational recipes: terms reduced differently, widths mistaken."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


class Drawing(nn.Module):
    def __init__(self, power):
        super().__init__()
        self.power = power
        self.mean, self.log, self.dec = nn.Linear(16, 4), nn.Linear(16, 4), nn.Linear(4, 16)

    def forward(self, x):
        mean, log = self.mean(x), self.log(x)
        return self.dec(mean + torch.randn_like(mean) * (self.power * log).exp()), mean, log


def verdict(fit, *, step=False, power=0.5):
    def loss(outputs, images):
        restored, mean, log = outputs
        divergence = -0.5 * torch.sum(1 + log - mean.pow(2) - log.exp())
        return fit(restored, images, divergence)

    def recipe():
        torch.manual_seed(0)
        network, images = Drawing(power), torch.randn(32, 16)
        given = {"training_step": lambda model, batch: loss(model(batch[0]), batch[1])}
        return Recipe(
            model=network,
            train_data=[(images, images)],
            optimizer=torch.optim.Adam(network.parameters()),
            **(given if step else {"loss": loss}),
        )

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("loss_is_sound",))
    return Examination(subject).judge("loss_is_sound", recipe)


def averaged(restored, images, divergence):
    return F.mse_loss(restored, images) + divergence


def averaged_by_hand(restored, images, divergence):
    return (restored - images).pow(2).mean() + divergence


@pytest.mark.parametrize(
    ("fit", "step"), [(averaged, False), (averaged, True), (averaged_by_hand, False)]
)
def test_a_sum_beside_a_mean_is_told(fit, step):
    found = verdict(fit, step=step)
    assert found.outcome is Outcome.FAILED
    assert "the KL term is summed over 32 samples and 4 latent numbers" in found.because
    assert "the posterior collapses" in found.cause


def summed(restored, images, divergence):
    return (F.mse_loss(restored, images, reduction="sum") + divergence) / len(images)


def both_averaged(restored, images, divergence):
    return F.mse_loss(restored, images) + divergence / images.numel()


def weighed(restored, images, divergence):
    return F.mse_loss(restored, images) + 1e-3 * divergence


def of_large_numbers(restored, images, divergence):
    return F.mse_loss(100 * restored, 100 * images) + divergence


@pytest.mark.parametrize("fit", [summed, both_averaged, weighed, of_large_numbers])
def test_terms_that_are_reduced_alike_or_weighed_or_worth_it_are_not(fit):
    assert verdict(fit).outcome is Outcome.PASSED


@pytest.mark.parametrize("step", [False, True])
def test_drawing_by_the_variance_is_told(step):
    found = verdict(summed, step=step, power=1.0)
    assert found.outcome is Outcome.FAILED
    assert "takes exp(logvar) for the standard deviation" in found.cause
