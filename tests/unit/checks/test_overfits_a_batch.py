"""A few samples are learned by heart, or it is told why not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pytest_dlcheck.check import registry
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.losses.attainable import attainable
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.trials.overfit import calm, small_batch
from pytest_dlcheck.verdict import Outcome

CHECK = registry()["overfits_a_batch"]
CE = nn.CrossEntropyLoss


def mlp(outputs=4):
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, outputs))


def labels(x):
    return x[:, :4].argmax(1)


def recipe(build=mlp, loss=CE, targets=labels, scheduler=None, data=None, **options):
    def factory():
        x = torch.randn(64, 10) if data is None else data(torch.randn(64, 10))
        model = build()
        kind = options.get("optimizer", torch.optim.Adam)
        optimizer = kind(model.parameters(), lr=options.get("lr", 3e-3))
        return Recipe(
            model=model,
            train_data=torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(x, targets(x)), batch_size=64
            ),
            loss=loss() if isinstance(loss, type) else loss,
            optimizer=optimizer,
            scheduler=scheduler(optimizer) if scheduler else None,
        )

    return factory


def noam(optimizer):
    rate = lambda k: 0.003 * min(1.0, (k + 1) / 50)  # noqa: E731
    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


@pytest.mark.parametrize(
    "factory",
    [
        recipe(),
        recipe(lambda: nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.9), nn.Linear(64, 4))),
        recipe(loss=nn.CrossEntropyLoss(label_smoothing=0.2)),
        recipe(lambda: nn.Sequential(mlp(1), nn.Flatten(0)), nn.MSELoss, lambda x: x[:, 0]),
        recipe(loss=nn.BCEWithLogitsLoss, targets=lambda x: torch.sigmoid(x[:, :4])),
        recipe(lr=1.0, scheduler=noam),
    ],
    ids=["plain", "dropout", "label smoothing", "regression", "soft targets", "rate by schedule"],
)
def test_a_healthy_training_passes(verdict_on, factory):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.PASSED, verdict


@pytest.mark.parametrize(
    ("factory", "site", "words"),
    [
        (recipe(lr=1e-9), "optimizer", "too low"),
        (recipe(optimizer=torch.optim.SGD, lr=20.0), "optimizer", "too high"),
        (recipe(lambda: nn.Sequential(nn.Threshold(99, 0), mlp())), "", "neither"),
    ],
    ids=["rate too low", "rate too high", "inputs lost"],
)
def test_stagnation_is_told_apart(verdict_on, factory, site, words):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert verdict.sites[0] == site
    assert words in verdict.suspects[0].finding


def test_levelling_off_halfway_is_inconclusive(verdict_on):
    verdict = verdict_on(recipe(lambda: nn.Sequential(mlp(), nn.Softmax(1)), lr=0.03))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "levels off" in verdict.because


def test_slow_but_falling_is_inconclusive(verdict_on):
    verdict = verdict_on(recipe(optimizer=torch.optim.SGD, lr=0.003))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "falling" in verdict.because


@pytest.mark.parametrize(
    "options",
    [{"lr": 1e-5}, {"lr": 3e-4, "optimizer": torch.optim.SGD}],
    ids=["Adam", "SGD"],
)
def test_steps_that_are_far_smaller_than_those_that_fit_are_named(verdict_on, options):
    told = verdict_on(recipe(**options)).because
    assert "raise the learning rate" in told
    assert "more steps" not in told
    assert "no longer falls" not in told


def test_samples_that_nothing_tells_apart_are_inconclusive(verdict_on):
    alike = recipe(build=mlp, data=lambda x: x * 0, targets=lambda x: torch.arange(64) // 60)
    verdict = verdict_on(alike)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "must be" not in verdict.because  # what was covered is no measure of anything


def test_an_objective_that_draws_random_numbers_is_never_failed(verdict_on):
    def noisy(outputs, targets):
        return nn.functional.mse_loss(outputs, torch.randn_like(outputs))

    assert verdict_on(recipe(loss=noisy, lr=1e-9)).outcome is Outcome.INCONCLUSIVE


def reach_of(factory):
    torch.manual_seed(0)
    rig = Rig(factory(), "cpu", 0)
    rig.open()
    calm(rig)
    return attainable(rig, small_batch(rig))


def test_the_floor_and_the_uninformed_loss_are_those_of_theory():
    plain = reach_of(recipe())
    assert plain.floor == pytest.approx(0, abs=1e-3)
    assert plain.uninformed == pytest.approx(math.log(4), rel=0.05)  # two samples of each class
    smooth = reach_of(recipe(loss=nn.CrossEntropyLoss(label_smoothing=0.2)))
    entropy = -(0.85 * math.log(0.85) + 3 * 0.05 * math.log(0.05))
    assert smooth.floor == pytest.approx(entropy, rel=1e-3)
    torch.manual_seed(0)
    targets = labels(torch.randn(64, 10))
    same = reach_of(recipe(data=lambda x: x * 0, targets=lambda _: targets))
    assert same.floor == pytest.approx(math.log(4), rel=0.05)


def test_a_loss_without_a_floor_is_counted_from_itself(verdict_on):
    def likelihood(outputs, targets):
        mean, log_scale = outputs[:, 0], outputs[:, 1]
        return (log_scale + ((targets - mean) / log_scale.exp()) ** 2 / 2).mean()

    factory = recipe(lambda: mlp(2), likelihood, lambda x: x[:, 0])
    assert reach_of(factory).uninformed is not None
    assert reach_of(factory).floor == 0.0
    assert verdict_on(factory).outcome is not Outcome.FAILED
