"""Losses of which nothing depends on the parameters any more."""

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch


def net(outputs):
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))


def sphere(*, squared):
    """A sphere around the data whose radius follows a quantile of the distances."""
    torch.manual_seed(0)
    model = net(12)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    centre, radius = torch.full((12,), 2.0), torch.tensor(0.0)
    for _ in range(60):
        distances = (model(torch.randn(64, 6)) - centre).square().sum(1)
        loss = radius**2 + 10 * (distances - radius**2).clamp(min=0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lengths = distances.detach() if squared else distances.detach().sqrt()
        radius = lengths.quantile(0.9)


def a_margin_that_is_reached():
    torch.manual_seed(0)
    model = net(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(400):
        side = torch.tensor([-1.0, 1.0]).repeat(32)
        inputs = torch.randn(64, 6) * 0.1 + 3 * side[:, None]
        loss = (1 - side * model(inputs)[:, 0]).clamp(min=0).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def rewards_that_never_come():
    """One loss for two optimizers; the policy's part is zero as long as nothing is won."""
    torch.manual_seed(0)
    policy, value = net(3), net(1)
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (policy, value)]
    for _ in range(60):
        states, rewards = torch.randn(32, 6), torch.zeros(32)
        chances = torch.distributions.Categorical(logits=policy(states))
        won = -(chances.log_prob(chances.sample()) * rewards).mean()
        loss = won + (value(states)[:, 0] - 1 - rewards).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()


def failed(loop, **options):
    with watch() as run:
        loop(**options)
    return {finding.verdict.check: finding.verdict for finding in run.failures}


def test_a_loss_that_has_become_a_constant_is_told():
    verdict = failed(sphere, squared=True)["parameters_update"]
    assert "exactly 0" in verdict.because
    assert "constant" in verdict.cause


@pytest.mark.parametrize("loop", [a_margin_that_is_reached, rewards_that_never_come])
def test_a_loss_that_is_reached_or_anothers_is_not(loop):
    assert "parameters_update" not in failed(loop)


def test_the_same_loss_with_its_radius_in_the_right_unit_is_not():
    assert not failed(sphere, squared=False)
