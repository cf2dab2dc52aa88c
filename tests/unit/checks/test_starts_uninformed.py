"""What starts_uninformed says of small recipes: near chance, huge, raw, or knowing already."""

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


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def head(width, factor=1):
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, width), Times(factor))


@pytest.fixture
def verdict_for(verdict_on):
    """The verdict on a model, given random inputs, its targets and a loss."""

    def verdict_for(model, targets, loss=None, scale=1):
        return verdict_on(lambda: recipe_of(model, scale * torch.randn(32, 8), targets, loss))

    return verdict_for


LABELS = torch.arange(32) % 10
VALUES = torch.linspace(-1, 1, 32)[:, None]
IMBALANCED = nn.CrossEntropyLoss(weight=torch.rand(10) + 0.1, label_smoothing=0.1)


@pytest.mark.parametrize(
    ("width", "targets", "loss"),
    [
        (10, LABELS, None),
        (10, LABELS, IMBALANCED),
        (10, LABELS, nn.CrossEntropyLoss(reduction="sum")),
        (1, (VALUES > 0).float(), nn.BCEWithLogitsLoss()),
        (1, VALUES, nn.MSELoss()),
        (1, VALUES, nn.SmoothL1Loss()),
    ],
)
def test_small_random_outputs_pass_without_advice(verdict_for, width, targets, loss):
    verdict = verdict_for(head(width), targets, loss)

    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


@pytest.mark.parametrize(
    ("width", "targets", "loss"),
    [(10, LABELS, None), (1, VALUES, nn.MSELoss()), (1, (VALUES > 0).float(), nn.BCEWithLogitsLoss())],
)
def test_huge_outputs_fail(verdict_for, width, targets, loss):
    verdict = verdict_for(head(width, factor=300), targets, loss)

    assert verdict.failed
    assert verdict.sites == ("output",)
    assert "over-scaled" in verdict.cause


def test_raw_pixels_fail(verdict_for):
    assert verdict_for(head(10), LABELS, scale=255).failed


def test_confident_but_trainable_outputs_are_advice(verdict_for):
    verdict = verdict_for(head(10, factor=25), LABELS)

    assert verdict.outcome is Outcome.PASSED
    assert "initialise outputs small" in verdict.advice[0]


def test_targets_far_from_zero_are_advice(verdict_for):
    verdict = verdict_for(head(1), VALUES + 100, nn.MSELoss())

    assert verdict.outcome is Outcome.PASSED
    assert "normalise them" in verdict.advice[0]


def test_a_model_that_knows_is_healthy(verdict_on):
    inputs = 10 * F.one_hot(LABELS, 10).float()
    verdict = verdict_on(lambda: recipe_of(nn.Sequential(nn.Identity(), Known()), inputs, LABELS))

    assert verdict.outcome is Outcome.PASSED
    assert "pretrained weights, or a label that leaks" in verdict.advice[0]


class Known(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(10))

    def forward(self, x):
        return x * self.scale


def test_a_loss_that_is_not_known_does_not_apply(verdict_for):
    verdict = verdict_for(head(1), VALUES, lambda o, t: (o - t).cosh().log().mean())
    assert verdict.outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(("factor", "told"), [(1, True), (300, False)])
def test_targets_in_units_of_their_own_are_advice_unless_outputs_are_too(verdict_for, factor, told):
    verdict = verdict_for(head(1, factor), 152 * VALUES + 152, nn.MSELoss())

    assert verdict.outcome is Outcome.PASSED
    assert any("standardise the targets" in line for line in verdict.advice) is told
