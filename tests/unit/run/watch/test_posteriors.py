"""Divergences that are summed beside reconstructions that are averaged, read from a loss's graph."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.outputs import made_here
from pytest_dlcheck.run.losses.graphs.posteriors import outweighing

SAMPLES, LATENTS, WIDTH = 32, 4, 20


class Posterior:
    """What a model gives on a batch: numbers for the images, means, logarithms of variances."""

    def __init__(self, scale=1.0):
        torch.manual_seed(0)
        self.images = torch.rand(SAMPLES, WIDTH) * scale
        encoder, decoder = nn.Linear(WIDTH, 2 * LATENTS), nn.Linear(LATENTS, WIDTH)
        self.mean, self.log = encoder(self.images).chunk(2, 1)
        self.restored = decoder(self.mean + (self.log / 2).exp() * torch.randn(SAMPLES, LATENTS))
        made_here(self.restored)
        made_here(self.mean)


def told(fit, divergence, scale=1.0):
    given = Posterior(scale)
    return outweighing(fit(given) + divergence(given))


def squares(given):
    return F.mse_loss(given.restored, given.images)


def the_other_way(given):
    return F.mse_loss(given.images, given.restored)


def chances(given):
    return F.binary_cross_entropy_with_logits(given.restored, given.images)


def squashed(given):
    return F.binary_cross_entropy(given.restored.sigmoid(), given.images)


def absolute(given):
    return F.l1_loss(given.restored, given.images)


def by_hand(given):
    return ((given.restored - given.images) ** 2).mean()


def halved(given):
    return 0.5 * (given.restored - given.images).square().mean(1).mean()


def usual(given):
    return -0.5 * torch.sum(1 + given.log - given.mean.pow(2) - given.log.exp())


def turned(given):
    return 0.5 * (given.mean**2 + given.log.exp() - 1 - given.log).sum()


def in_steps(given):
    return (0.5 * (given.mean * given.mean + given.log.exp() - given.log - 1)).sum(1).sum()


def apart(given):
    return -0.5 * ((given.log + 1).sum() - given.mean.square().sum() - given.log.exp().sum())


def of_deviations(given):
    spread = F.softplus(given.log)
    return 0.5 * torch.sum(given.mean.pow(2) + spread.pow(2) - torch.log(spread.pow(2)) - 1)


def of_deviations_themselves(given):
    spread = F.softplus(given.log)
    return torch.sum(0.5 * (given.mean**2 + spread**2 - 1) - spread.log())


def of_their_logarithms(given):
    return -0.5 * torch.sum(1 + 2 * given.log - given.mean**2 - (2 * given.log).exp())


def of_torch(given):
    posterior = Normal(given.mean, (given.log / 2).exp())
    return kl_divergence(posterior, Normal(torch.zeros(1), torch.ones(1))).sum()


@pytest.mark.parametrize("fit", [squares, the_other_way, chances, squashed, absolute, by_hand, halved])
def test_reconstructions_that_are_averaged_are_known(fit):
    (row,) = told(fit, usual)
    assert (row.integer("samples"), row.integer("latents")) == (SAMPLES, LATENTS)
    assert row.integer("numbers") == SAMPLES * WIDTH
    assert row.number("cost") > 10


@pytest.mark.parametrize(
    "divergence",
    [turned, in_steps, apart, of_deviations, of_deviations_themselves, of_their_logarithms, of_torch],
)
def test_divergences_are_known_however_they_are_written(divergence):
    assert told(squares, divergence)


def test_a_factor_of_the_whole_changes_nothing():
    given = Posterior()
    assert outweighing((squares(given) + usual(given)) * 1024.0)
    assert outweighing((squares(given) + usual(given)) / 4)


def test_the_price_is_that_of_the_targets_scale():
    near, far = (told(squares, usual, scale)[0].number("cost") for scale in (1.0, 10.0))
    assert near == pytest.approx(100 * far, rel=1e-3)


def summed(given):
    return F.mse_loss(given.restored, given.images, reduction="sum")


def summed_by_hand(given):
    return (given.restored - given.images).square().sum(1).mean()


def weighed(given):
    return 1000 * squares(given)


def of_samples(given):
    return usual(given) / SAMPLES


def averaged(given):
    return -0.5 * torch.mean(1 + given.log - given.mean.pow(2) - given.log.exp())


def averaged_over_samples(given):
    return (-0.5 * (1 + given.log - given.mean.pow(2) - given.log.exp()).sum(1)).mean()


def at_last_in_full(given):
    return 1.0 * usual(given)


def a_little(given):
    return 1e-3 * usual(given)


def by_a_tensor(given):
    return usual(given) * torch.tensor(0.02)


def free_bits(given):
    each = 0.5 * (given.mean**2 + given.log.exp() - 1 - given.log)
    return each.mean(0).clamp(min=0.1).sum()


def small(given):
    return 1e-4 * (given.mean**2).sum()


def sparse(given):
    return given.mean.abs().sum()


def squares_alone(given):
    return 0.5 * (given.mean**2).sum()


@pytest.mark.parametrize("fit", [summed, summed_by_hand, weighed])
def test_reconstructions_that_are_summed_or_weighed_are_not(fit):
    assert not told(fit, usual)


@pytest.mark.parametrize(
    "divergence",
    [
        *(of_samples, averaged, averaged_over_samples, at_last_in_full, a_little, by_a_tensor),
        *(free_bits, small, sparse, squares_alone),
    ],
)
def test_divergences_that_are_averaged_or_weighed_are_not_nor_other_penalties(divergence):
    assert not told(squares, divergence)


def test_neither_are_three_terms():
    given = Posterior()
    assert not outweighing(squares(given) + usual(given) + 0.1 * given.restored.abs().mean())


def test_a_posterior_of_weights_is_none_of_samples():
    mean = nn.Parameter(torch.randn(SAMPLES, LATENTS))
    log = nn.Parameter(torch.randn(SAMPLES, LATENTS))
    given = torch.rand(SAMPLES, LATENTS)
    outputs = given * (mean + (log / 2).exp() * torch.randn(SAMPLES, LATENTS))
    divergence = -0.5 * torch.sum(1 + log - mean.pow(2) - log.exp())
    assert not outweighing(F.mse_loss(outputs, given) + divergence)
