"""A learning rate that is off by orders of magnitude is told, with a better one; the others are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import default_checks
from pytest_dlcheck.verdict import Outcome


def recipe(optimizer, *, schedule=None, chance=False):
    def factory():
        size = 8_192 if chance else 512
        inputs = torch.randn(size, 16)
        labels = torch.randint(0, 4, (size,)) if chance else inputs[:, :4].argmax(1)
        model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
        built = optimizer(model.parameters())
        return Recipe(
            model=model,
            train_data=(inputs, labels),
            loss=F.cross_entropy,
            optimizer=built,
            scheduler=schedule(built) if schedule else None,
        )

    return factory


def adam(rate):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


def sgd(rate):
    return lambda parameters: torch.optim.SGD(parameters, lr=rate)


def long_warm_up(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10_000))


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (recipe(adam(1e-6)), "times too low"),
        (recipe(sgd(3e-5)), "times too low"),
        (recipe(adam(10.0)), "times too high"),
        (recipe(sgd(300.0)), "times too high"),
    ],
)
def test_a_rate_that_is_far_off_is_told_with_a_better_one(verdict_on, factory, words):
    verdict = verdict_on(factory, steps=40)
    assert verdict.outcome is Outcome.FAILED, verdict.because
    assert verdict.sites == ("optimizer",)
    assert words in verdict.cause
    assert any(m.name == "best learning rate" and m.value > 0 for m in verdict.measures)


def test_a_good_rate_passes_without_a_word(verdict_on):
    verdict = verdict_on(recipe(adam(2e-2)), steps=40)
    assert verdict.outcome is Outcome.PASSED, verdict.because
    assert not verdict.advice


def test_a_slow_rate_passes_with_a_suggestion(verdict_on):
    verdict = verdict_on(recipe(adam(5e-4)), steps=40)
    assert verdict.outcome is Outcome.PASSED, verdict.because
    assert "is behind" in verdict.advice[0]


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (recipe(adam(1e-3), chance=True), "the rate is not what stops it"),
        (recipe(adam(1e-3), schedule=long_warm_up), "still rises"),
    ],
)
def test_what_cannot_be_told_is_inconclusive(verdict_on, factory, words):
    verdict = verdict_on(factory, steps=40)
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict.because
    assert words in verdict.because


def test_several_objectives_are_not_applicable(verdict_on):
    def factory():
        model = nn.Linear(4, 2)
        optimizer = torch.optim.Adam(model.parameters())

        def step(model, batch):
            yield optimizer, F.cross_entropy(model(batch[0]), batch[1])

        data = (torch.randn(64, 4), torch.randint(0, 2, (64,)))
        return Recipe(model=model, train_data=data, training_step=step, optimizer=optimizer)

    assert verdict_on(factory, steps=12).outcome is Outcome.NOT_APPLICABLE


def test_it_runs_only_where_it_is_asked_for():
    assert "learning_rate_fits" not in default_checks()
