"""Posteriors that are drawn by their variance, read from a loss's graph, and what resembles them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs import deviations
from pytest_dlcheck.run.losses.graphs.sums import sums_in

SAMPLES, LATENTS, WIDTH = 32, 4, 20


def deviating(loss):
    return deviations.deviating(loss, sums_in((loss.grad_fn, 0)))


class Posterior:
    """What an encoder gives on a batch, a decoder, and noise."""

    def __init__(self):
        torch.manual_seed(0)
        self.images = torch.rand(SAMPLES, WIDTH)
        self.mean, self.log = nn.Linear(WIDTH, 2 * LATENTS)(self.images).chunk(2, 1)
        self.noise = torch.randn(SAMPLES, LATENTS)
        self.decoder = nn.Sequential(nn.Linear(LATENTS, 16), nn.ReLU(), nn.Linear(16, WIDTH))

    def fit(self, drawn):
        return F.mse_loss(self.decoder(drawn), self.images)


def usual(given):
    return -0.5 * (1 + given.log - given.mean.pow(2) - given.log.exp()).sum(1).mean()


def apart(given):
    return -0.5 * ((given.log + 1).mean() - given.mean.square().mean() - given.log.exp().mean())


def with_free_bits(given):
    each = 0.5 * (given.mean**2 + given.log.exp() - 1 - given.log)
    return each.mean(0).clamp(min=0.1).sum()


def at_a_capacity(given):
    return 30 * (usual(given) - 2.0).abs()


def weighed(given):
    each = 0.5 * (given.mean**2 + given.log.exp() - 1 - given.log).sum(1)
    return (torch.rand(SAMPLES) * each).mean()


def of_torch(given):
    posterior = Normal(given.mean, (given.log / 2).exp())
    return kl_divergence(posterior, Normal(torch.zeros(1), torch.ones(1))).sum()


DIVERGENCES = [usual, apart, with_free_bits, at_a_capacity, weighed, of_torch]


def by_the_variance(given):
    return given.mean + given.noise * given.log.exp()


def in_place(given):
    return given.noise.clone().mul(given.log.exp()).add_(given.mean)


def by_a_root_of_a_root(given):
    return given.mean + given.noise * (0.25 * given.log).exp()


def turned_around(given):
    return given.mean + given.noise * (-0.5 * given.log).exp()


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(
    ("drawn", "power"),
    [(by_the_variance, 1.0), (in_place, 1.0), (by_a_root_of_a_root, 0.25), (turned_around, -0.5)],
)
def test_another_power_of_the_variance_than_its_root_is_known(divergence, drawn, power):
    given = Posterior()
    (row,) = deviating(given.fit(drawn(given)) + divergence(given))
    assert row.number("power") == pytest.approx(power)


def by_the_deviation(given):
    return given.mean + given.noise * (given.log / 2).exp()


def by_a_root(given):
    return given.mean + given.log.exp().sqrt() * given.noise


def at_a_temperature(given):
    return given.mean + 0.7 * given.noise * (given.log / 2).exp()


def by_torch(given):
    return Normal(given.mean, (given.log / 2).exp()).rsample()


def not_at_all(given):
    return given.mean


def by_a_scale_of_the_images(given):
    return given.mean + given.images[:, :LATENTS] * given.log.exp()


def around_another_center(given):
    return given.log + given.noise * given.log.exp()


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(
    "drawn",
    [
        *(by_the_deviation, by_a_root, at_a_temperature, by_torch, not_at_all),
        *(by_a_scale_of_the_images, around_another_center),
    ],
)
def test_the_root_is_right_and_what_is_no_noise_is_not_spoken_of(divergence, drawn):
    given = Posterior()
    assert not deviating(given.fit(drawn(given)) + divergence(given))


def test_logarithms_of_deviations_are_held_to_what_they_are():
    given = Posterior()
    divergence = -0.5 * (1 + 2 * given.log - given.mean**2 - (2 * given.log).exp()).sum()
    assert not deviating(given.fit(by_the_variance(given)) + divergence)
    (row,) = deviating(given.fit(by_the_deviation(given)) + divergence)
    assert row.number("power") == pytest.approx(0.25)


def test_torch_s_own_take_a_deviation_wherever_it_is_from():
    given = Posterior()
    posterior = Normal(given.mean, given.log.exp())
    apart = kl_divergence(posterior, Normal(torch.zeros(1), torch.ones(1))).sum()
    assert not deviating(given.fit(posterior.rsample()) + apart)


def test_variances_that_are_no_exponentials_are_held_to_as_well():
    given = Posterior()
    variance = F.softplus(given.log)
    divergence = 0.5 * (given.mean**2 + variance - variance.log() - 1).sum()
    assert deviating(given.fit(given.mean + given.noise * variance) + divergence)
    assert not deviating(given.fit(given.mean + given.noise * variance.sqrt()) + divergence)


def test_a_policy_and_a_learned_variance_have_no_such_divergence():
    given = Posterior()
    action = by_the_variance(given)
    chance = Normal(given.mean, given.log.exp()).log_prob(action)
    assert not deviating((0.2 * chance - given.decoder(action).mean()).mean())
    off = given.decoder(by_the_variance(given))[:, :LATENTS] - given.images[:, :LATENTS]
    assert not deviating(0.5 * (off.square() * (-given.log).exp() + given.log).mean())


def test_a_flow_is_none():
    given = Posterior()
    drawn = by_the_variance(given)
    assert not deviating(0.5 * drawn.square().sum(1).mean() - given.log.sum(1).mean())
