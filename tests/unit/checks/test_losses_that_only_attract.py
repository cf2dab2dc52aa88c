"""What loss_is_sound says of losses of a recipe that one constant output for all samples minimises."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 6))
        self.predictor = nn.Linear(6, 6)
        self.register_buffer("centre", torch.ones(6))

    def forward(self, x):
        return self.encoder(x)


class WithLoss(Siamese):
    def forward(self, x):
        one, other = self.encoder(x), self.encoder(seen(x))
        return (one - other).square().mean()


def seen(x):
    return x + 0.1 * torch.randn_like(x)


def told(step, model=Siamese):
    def recipe():
        torch.manual_seed(0)
        return Recipe(model=model(), train_data=[torch.randn(16, 8)], training_step=step)

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("loss_is_sound",))
    verdict = Examination(subject).judge("loss_is_sound", recipe)
    assert verdict.outcome is Outcome.PASSED
    words = "one constant output for all samples", "nothing but the size"
    return [line for line in verdict.advice if any(part in line for part in words)]


def distance(model, x):
    return F.mse_loss(model(seen(x)), model(seen(x)))


def cosine(model, x):
    one, other = model(seen(x)), model(seen(x))
    return -(F.cosine_similarity(model.predictor(one), other).mean() * 0.5) + 1


@pytest.mark.parametrize("step", [distance, cosine])
def test_distances_with_gradients_on_both_sides_are_told(step):
    assert told(step)


def test_so_are_those_that_the_model_computes_itself():
    assert told(lambda model, x: model(x), WithLoss)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        one, other = x.chunk(2, 1)
        scale = self.scale(one).tanh()
        return torch.cat([one, other * scale.exp() + self.shift(one)], 1), scale.sum(1)


def without_determinant(model, x):
    codes, _ = model(x)
    return 0.5 * codes.pow(2).sum(1).mean()


def with_determinant(model, x):
    codes, determinant = model(x)
    return (0.5 * (codes * codes).sum(1) - determinant).mean()


def to_their_mean(model, x):
    codes = model(x)
    return (codes - codes.mean(0)).norm(dim=1).mean() / 2


@pytest.mark.parametrize(("step", "model"), [(without_determinant, Flow), (to_their_mean, Siamese)])
def test_sizes_of_outputs_alone_are_told(step, model):
    assert "zeros for all samples" in told(step, model)[0]


class Errors(Siamese):
    def forward(self, x):
        return x[:, :6] - self.encoder(x)


def errors(model, x):
    return model(x).square().mean()


def with_targets(model, x):
    return (model(x) - x[:, :6]).square().mean()


def regularised(model, x):
    codes = model(x)
    return F.mse_loss(model.predictor(codes), x[:, :6]) + 0.1 * codes.square().mean()


def of_a_margin(model, x):
    return (1 - model(x).norm(dim=1)).relu().square().mean()


@pytest.mark.parametrize(
    ("step", "model"),
    [
        (with_determinant, Flow),
        (errors, Errors),
        (with_targets, Siamese),
        (regularised, Siamese),
        (of_a_margin, Siamese),
    ],
)
def test_sizes_beside_something_else_or_of_errors_are_not(step, model):
    assert not told(step, model)


def detached(model, x):
    one, other = model(seen(x)), model(seen(x))
    return -F.cosine_similarity(model.predictor(one), other.detach()).mean()


def contrastive(model, x):
    return F.cross_entropy(model(seen(x)) @ model(seen(x)).T, torch.arange(len(x)))


def with_variance(model, x):
    one, other = model(seen(x)), model(seen(x))
    return F.mse_loss(one, other) + F.relu(1 - one.std(0)).mean()


def with_a_margin(model, x):
    return F.triplet_margin_loss(model(x), model(seen(x)), model(x.roll(1, 0)))


def one_class(model, x):
    return (model(x) - model.centre).square().mean()


def reconstruction(model, x):
    return F.mse_loss(model(x), x[:, :6])


@pytest.mark.parametrize(
    "step", [detached, contrastive, with_variance, with_a_margin, one_class, reconstruction]
)
def test_losses_with_something_that_stands_still_or_pushes_apart_are_not(step):
    assert not told(step)
