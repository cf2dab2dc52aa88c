"""Validation data is predicted, or it is told how it differs from the training data."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def same(x, y):
    return x, y


def recipe(change=same, model=None, training=same, **parts):
    def factory():
        pixels, labels = load_digits(return_X_y=True)
        x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
        train, val = order[:1400], order[1400:]
        net = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
        net = net if model is None else model(net)
        given = {"val_data": DataLoader(TensorDataset(*change(x[val], y[val])), batch_size=128), **parts}
        return Recipe(
            model=net,
            train_data=DataLoader(TensorDataset(*training(x[train], y[train])), 32, shuffle=True),
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(net.parameters(), lr=3e-3),
            **given,
        )

    return factory


class BlindInEval(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x if self.training else x * 0)


def swapped(x, y):
    return x, torch.where(y == 3, 5, torch.where(y == 5, 3, y))


def in_order(x, y):
    return x[y.argsort()], y[y.argsort()]


def shuffled(x, y):
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("change", [same, in_order], ids=["as it is", "sorted by label"])
def test_healthy_validation_data_passes(verdict_on, change):
    verdict = verdict_on(recipe(change))
    assert verdict.outcome is Outcome.PASSED, verdict
    assert not verdict.advice


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y: (x, y.roll(7)), "do not belong"),
        (lambda x, y: (x, (y + 1) % 10), "number the classes otherwise"),
        (swapped, "number the classes otherwise"),
        (lambda x, y: (x * 16 - 100, y), "prepared otherwise"),
        (lambda x, y: (1 - x, y), "prepared otherwise"),
        (lambda x, y: (x.flip(1), y), "arranged otherwise"),
    ],
    ids=["other labels", "shifted classes", "two swapped", "other scale", "inverted", "turned"],
)
def test_what_differs_is_named(verdict_on, change, words):
    verdict = verdict_on(recipe(change))
    assert verdict.outcome is Outcome.FAILED, verdict
    assert verdict.sites == ("val_data",)
    assert words in verdict.cause


def test_a_broken_eval_mode_is_not_blamed_on_the_data(verdict_on):
    verdict = verdict_on(recipe(model=BlindInEval))
    assert verdict.outcome is Outcome.FAILED, verdict
    assert verdict.sites == ("",)
    assert "eval mode" in verdict.cause


def test_targets_of_another_scale_are_named(verdict_on):
    def factory():
        x, y = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
        x, scaled = x * 21, (y - y.mean()) / y.std()
        net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))
        return Recipe(
            model=net,
            train_data=DataLoader(TensorDataset(x[:300], scaled[:300]), 16, shuffle=True),
            val_data=(x[300:], y[300:]),
            loss=nn.MSELoss(),
            optimizer=torch.optim.Adam(net.parameters(), lr=5e-3),
        )

    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert "targets are scaled otherwise" in verdict.cause


def test_nothing_learned_is_not_blamed_on_the_validation_data(verdict_on):
    verdict = verdict_on(recipe(training=shuffled))
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict


def test_overfitting_is_advised_on(verdict_on):
    verdict = verdict_on(recipe(training=lambda x, y: (x[:20], y[:20])), steps=100)
    assert verdict.outcome is Outcome.PASSED, verdict
    assert any("overfitting" in advice for advice in verdict.advice)


def unreadable():
    raise OSError("no such file")
    yield


def test_without_validation_data_it_is_not_asked(verdict_on):
    assert verdict_on(recipe(val_data=None)).outcome is Outcome.NOT_APPLICABLE


def test_validation_data_that_cannot_be_read_is_no_alarm(verdict_on):
    verdict = verdict_on(recipe(val_data=unreadable()))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no such file" in verdict.because


def renumbered(x, y):
    return x[:100], (y[:100] + 1) % 10


def test_classes_numbered_anew_are_told_of_few_samples(verdict_on):
    few = recipe(renumbered, training=lambda x, y: (x[:200], y[:200]))
    verdict = verdict_on(few, steps=60)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert "number the classes otherwise" in verdict.cause


def test_samples_that_come_again_and_again_are_not_new(verdict_on):
    verdict = verdict_on(recipe(training=lambda x, y: (x[:16].repeat(80, 1), y[:16].repeat(80))))
    assert verdict.outcome is not Outcome.FAILED, verdict
    assert "16 of" in verdict.because + " ".join(verdict.advice)


def test_labels_learned_by_heart_are_not_blamed_on_validation_labels(verdict_on):
    def guessed(x, y):
        return x[:100], torch.randint(2, (100,), generator=torch.Generator().manual_seed(2))

    def also(x, y):
        return x[:100], torch.randint(2, (100,), generator=torch.Generator().manual_seed(3))

    assert verdict_on(recipe(also, training=guessed), steps=60).outcome is not Outcome.FAILED
