"""Running statistics that are not learned are found, and those that lag or are frozen are not."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.modules.running import Running, Statistics
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms
from pytest_dlcheck.verdict import Outcome


def images(batch_size):
    labels = torch.randint(0, 4, (256,))
    inputs = torch.randn(256, 3, 8, 8) * 0.5 + labels[:, None, None, None] * 0.3 + 1
    data = torch.utils.data.TensorDataset(inputs, labels)
    return torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=True)


class Net(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), norm(8), nn.ReLU(), nn.Conv2d(8, 16, 3, bias=False), norm(16)
        )
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)).mean((2, 3)))


def recipe(change=lambda model: None, *, norm=nn.BatchNorm2d, batch_size=32, lr=1e-2, step=None):
    def factory():
        model = Net(norm)
        change(model)
        return Recipe(
            model=model,
            train_data=images(batch_size),
            loss=None if step else F.cross_entropy,
            training_step=step,
            optimizer=torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9),
        )

    return factory


def momentum(value):
    def change(model):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = value

    return change


def eval_body(model):
    model.body.eval()


def frozen_body(model):
    model.body.eval().requires_grad_(requires_grad=False)


def eval_norms(model):
    for module in model.body:
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def track_nothing(model):
    model.body[1].track_running_stats = False


def step_in_eval_mode(model, batch):
    model.eval()
    return F.cross_entropy(model(batch[0]), batch[1])


class OwnNorm(nn.Module):
    """A BatchNorm written by hand, as in text books, with a mistake where one is asked for."""

    def __init__(self, channels, move):
        super().__init__()
        self.move = move
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.register_buffer("moving_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("moving_var", torch.ones(1, channels, 1, 1))

    def forward(self, x):
        mean, variance = self.moving_mean, self.moving_var
        if self.training:
            mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True)
            self.moving_mean = self.move(self.moving_mean, mean.detach())
            self.moving_var = self.move(self.moving_var, variance.detach())
        return (x - mean) / torch.sqrt(variance + 1e-5) * self.weight


def average(running, batch):
    return 0.9 * running + 0.1 * batch


def slow_average(running, batch):
    return 0.999 * running + 0.001 * batch


def add_up(running, batch):
    return running + batch


def nothing(running, batch):
    return running


@pytest.mark.parametrize(
    ("factory", "site", "cause"),
    [
        (recipe(momentum(0.0)), "body.1", "momentum=0"),
        (recipe(momentum(1e-6)), "body.1", "momentum=1e-06 would replace half"),
        (recipe(track_nothing), "body.1", "track_running_stats is off"),
        (recipe(eval_body), "body.1", "`body` is in eval mode while it trains"),
        (recipe(step=step_in_eval_mode), "body.1", "`model` is in eval mode while it trains"),
        (recipe(norm=partial(OwnNorm, move=nothing)), "body.1", "OwnNorm does not update them"),
        (recipe(norm=partial(OwnNorm, move=add_up)), "body.1", "OwnNorm does not average"),
    ],
)
def test_statistics_that_are_not_learned_are_named(verdict_on, factory, site, cause):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.FAILED, verdict.because
    assert verdict.sites[0] == site
    assert cause in verdict.cause


@pytest.mark.parametrize(
    "factory",
    [
        recipe(),
        recipe(momentum(None)),
        recipe(momentum(0.01)),
        recipe(lr=1.0),
        recipe(norm=partial(nn.InstanceNorm2d, track_running_stats=True, affine=True)),
        recipe(norm=lambda _: nn.LazyBatchNorm2d()),
        recipe(norm=partial(OwnNorm, move=average)),
    ],
    ids=["usual", "plain average", "slow", "fast weights", "instances", "lazy", "by hand"],
)
def test_statistics_that_are_learned_pass_without_a_word(verdict_on, factory):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.PASSED, verdict.because
    assert not verdict.advice


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (recipe(momentum(0.99)), "Keras' 0.99"),
        (recipe(momentum(3e-4)), "in 2310 calls"),
        (recipe(norm=partial(OwnNorm, move=slow_average)), "replaces half of the statistics"),
        (recipe(batch_size=1, lr=1e-3), "batches of 1 sample:"),
        (recipe(eval_norms), "right for frozen ones only"),
    ],
)
def test_what_may_be_meant_is_advice(verdict_on, factory, words):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.PASSED, verdict.because
    assert any(words in advice for advice in verdict.advice)


@pytest.mark.parametrize(
    "factory", [recipe(frozen_body), recipe(norm=lambda channels: nn.GroupNorm(2, channels))]
)
def test_frozen_or_missing_statistics_are_not_judged(verdict_on, factory):
    assert verdict_on(factory).outcome is Outcome.NOT_APPLICABLE


def test_the_training_goes_on_as_if_nobody_looked():
    def end(wanted):
        kept = []

        def factory():
            kept.append(recipe()())
            return kept[0]

        run_trial(factory, Request(Terms(steps=5).train()[0], wanted))
        return kept[0].model.state_dict()

    alone, looked_at = end(frozenset({"loss"})), end(frozenset({"loss", "normalization"}))
    assert all(torch.equal(alone[name], looked_at[name]) for name in alone)


def test_statistics_are_those_that_torch_takes():
    norm, x = nn.BatchNorm2d(4, momentum=1.0), torch.randn(8, 4, 5, 5) * 3 + 2
    norm(x)
    running = Running.of("norm", norm)
    assert running is not None
    mine = running.of_batch(x)
    assert mine is not None
    assert mine.divergence(running.held()) == pytest.approx(0, abs=1e-6)


def test_a_divergence_is_that_of_normal_distributions():
    one, half = torch.ones(3, dtype=torch.float64), torch.full((3,), 0.5, dtype=torch.float64)
    apart = Statistics(half, one).divergence(Statistics(0 * one, one))
    assert apart == pytest.approx(0.125, rel=1e-4)
