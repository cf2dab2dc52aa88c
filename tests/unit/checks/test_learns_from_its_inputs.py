"""What is learned comes from the inputs, or it is told why it does not."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def digits():
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)


def shuffled(x, y):
    return x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]


def off_by_one(x, y):
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(2))  # digits come in turns
    return x[order], y[order].roll(1)


def recipe(change=lambda x, y: (x, y), data=digits, outputs=10, dropout=0.0, **parts):
    def factory():
        x, y = change(*data())
        layers = [nn.Linear(x.size(1), 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, outputs)]
        model = nn.Sequential(*layers)
        given = {"loss": nn.CrossEntropyLoss(), **parts}
        return Recipe(
            model=model,
            train_data=DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
            optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
            **given,
        )

    return factory


def step(model, batch):
    outputs = model(batch[0])
    return F.cross_entropy(outputs, batch[1]), outputs


def silent_step(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def restore(model, batch):
    return F.mse_loss(model(batch[0]), batch[0])


def numbers(x, y):
    return x, (y.float() - 4.5) / 2.9


def squared(outputs, targets):
    return F.mse_loss(outputs.squeeze(1), targets)


def noise():
    return torch.randn(1500, 64), torch.randint(0, 10, (1500,))


def few():
    return tuple(part[:100] for part in digits())


@pytest.mark.parametrize(
    "factory",
    [
        recipe(),
        recipe(loss=None, training_step=step),
        recipe(loss=None, training_step=silent_step),
        recipe(numbers, outputs=1, loss=squared),
        recipe(data=lambda: (digits()[0], digits()[0]), outputs=64, loss=nn.MSELoss()),
        recipe(data=few),
    ],
    ids=["loss", "step", "silent step", "regression", "autoencoder", "100 samples"],
)
def test_what_is_learned_from_inputs_passes(verdict_on, factory):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.PASSED, verdict


@pytest.mark.parametrize(
    "factory",
    [
        recipe(shuffled),
        recipe(off_by_one),
        recipe(shuffled, loss=None, training_step=step),
    ],
    ids=["shuffled", "off by one", "shuffled, step"],
)
def test_labels_that_do_not_belong_are_found(verdict_on, factory):
    verdict = verdict_on(factory, steps=100)
    assert verdict.outcome is Outcome.FAILED, verdict
    assert verdict.sites == ("data",)
    assert "labels do not belong" in verdict.cause


def test_inputs_that_are_all_the_same_are_found(verdict_on):
    verdict = verdict_on(recipe(lambda x, y: (x * 0 + 0.5, y)))
    assert verdict.outcome is Outcome.FAILED, verdict
    assert "the same for all samples" in verdict.cause


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (recipe(data=noise), "random numbers"),
        (recipe(shuffled, data=few), "few samples"),
    ],
    ids=["noise", "100 samples"],
)
def test_what_cannot_be_told_is_inconclusive(verdict_on, factory, words):
    verdict = verdict_on(factory, steps=100)
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict
    assert words in verdict.because


def test_a_step_that_has_no_targets_is_not_asked(verdict_on):
    verdict = verdict_on(recipe(loss=None, training_step=restore, outputs=64))
    assert verdict.outcome is Outcome.NOT_APPLICABLE
    assert "takes no notice" in verdict.because
