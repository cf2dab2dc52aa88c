"""What loss_is_sound says of small recipes: what a loss is given, and which answers it likes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def recipe_of(model, inputs, targets, loss=None, **facts):
    return Recipe(
        model=model,
        train_data=[(inputs, targets)],
        loss=loss or nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        **facts,
    )


def head(width, *after):
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, width), *after)


def classes(count=10):
    return torch.arange(16) % count


def values(width=1):
    return torch.linspace(-1, 1, 16 * width).reshape(16, width)


@pytest.fixture
def verdict_for(verdict_on):
    """The verdict on a model, given random inputs, its targets and a loss."""

    def verdict_for(model, targets, loss=None, **facts):
        return verdict_on(lambda: recipe_of(model, torch.randn(16, 8), targets, loss, **facts))

    return verdict_for


BINARY = (values() > 0).float()
SOUND = {
    "logits": (lambda: head(10), classes(), None),
    "log-probabilities": (lambda: head(10, nn.LogSoftmax(1)), classes(), nn.NLLLoss()),
    "smoothed": (lambda: head(10), classes(), nn.CrossEntropyLoss(label_smoothing=0.1)),
    "soft targets": (lambda: head(3), values(3).softmax(1), None),
    "values": (lambda: head(1), values(), nn.MSELoss()),
    "squeezed": (lambda: head(1), values()[:, 0], lambda o, t: F.mse_loss(o.squeeze(1), t)),
    "by hand": (lambda: head(1), values()[:, 0], lambda o, t: ((o[:, 0] - t) ** 2).mean()),
    "binary": (lambda: head(1), BINARY, nn.BCEWithLogitsLoss()),
    "probabilities": (lambda: head(1, nn.Sigmoid()), BINARY, nn.BCELoss()),
    "distances": (lambda: head(4), classes(4), lambda o, t: F.cross_entropy(-o.abs(), t)),
    "distances of pairs": (
        lambda: head(1),
        BINARY,
        lambda d, same: (same * d**2 + (1 - same) * (2 - d).clamp_min(0) ** 2).mean(),
    ),
    "batch norm": (lambda: head(10, nn.BatchNorm1d(10)), classes(), None),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_losses_pass_without_advice(verdict_for, name):
    model, targets, loss = SOUND[name]
    verdict = verdict_for(model(), targets, loss)

    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.advice == ()


NO_REDUCTION = nn.CrossEntropyLoss(reduction="none")
FAULTS = {
    "softmax twice": (lambda: head(10, nn.Softmax(1)), classes(), None, "3", "applied twice"),
    "sigmoid": (lambda: head(10, nn.Sigmoid()), classes(), None, "3", "a sigmoid before"),
    "over the batch": (lambda: head(10, nn.Softmax(0)), classes(), None, "3", "softmax over axis 0"),
    "raw to nll": (lambda: head(10), classes(), nn.NLLLoss(), "2", "log_softmax is missing"),
    "no log": (lambda: head(10, nn.Softmax(1)), classes(), nn.NLLLoss(), "3", "log_softmax is meant"),
    "broadcast by hand": (
        lambda: head(1),
        values()[:, 0],
        lambda o, t: ((o - t) ** 2).mean(),
        "loss",
        "last axis",
    ),
    "flipped": (lambda: head(10), classes(), lambda o, t: -F.cross_entropy(o, t), "loss", "sign"),
    "flipped by hand": (lambda: head(1), values(), lambda o, t: -((o - t) ** 2).mean(), "loss", "sign"),
    "one class": (lambda: head(1), classes() * 0, None, "loss", "wrong loss for one output"),
    "sigmoid twice": (lambda: head(1, nn.Sigmoid()), BINARY, nn.BCEWithLogitsLoss(), "3", "a sigmoid"),
    "labels ±1": (lambda: head(1), 2 * BINARY - 1, nn.BCEWithLogitsLoss(), "data", "no probabilities"),
    "constant": (lambda: head(1, nn.Softmax(1)), BINARY, nn.BCELoss(), "3", "softmax for one output"),
    "detached": (
        lambda: head(10),
        classes(),
        lambda o, t: F.cross_entropy(o.detach(), t),
        "loss",
        "detached",
    ),
    "a float": (lambda: head(10), classes(), lambda o, t: F.cross_entropy(o, t).item(), "loss", "item"),
    "not reduced": (lambda: head(10), classes(), NO_REDUCTION, "loss", "not reduced"),
    "label range": (lambda: head(3), classes(), None, "data", "too few outputs"),
    "label dtype": (lambda: head(10), classes().float(), None, "data", "int64"),
    "logits to bce": (lambda: head(1), BINARY + 0.0, nn.BCELoss(), "output", "gives logits"),
    "column of labels": (lambda: head(10), classes()[:, None], None, "loss", "an axis too many"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found_and_named(verdict_for, name):
    model, targets, loss, site, cause = FAULTS[name]
    verdict = verdict_for(model(), targets, loss)

    assert verdict.failed, verdict
    assert verdict.sites[0] == site
    assert cause in verdict.cause


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_torchs_own_loss_that_broadcasts_is_found_inside_a_step(verdict_on):
    def step(model, batch):
        return F.mse_loss(model(batch[0]), batch[1])

    def recipe(targets):
        model = head(1)
        return lambda: Recipe(
            model=model,
            train_data=[(torch.randn(16, 8), targets)],
            training_step=step,
            optimizer=torch.optim.SGD(model.parameters()),
        )

    assert verdict_on(recipe(values())).outcome is Outcome.PASSED
    assert "broadcast" in verdict_on(recipe(values()[:, 0])).because


def test_a_sum_over_samples_is_advice(verdict_for):
    verdict = verdict_for(head(10), classes(), nn.CrossEntropyLoss(reduction="sum"))

    assert verdict.outcome is Outcome.PASSED
    assert "sum over samples" in verdict.advice[0]


def test_a_forward_that_raises_is_not_blamed_on_the_loss(verdict_for):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            return self.layer(x) + x

    assert verdict_for(Broken(), classes(4)).outcome is Outcome.ERRORED
