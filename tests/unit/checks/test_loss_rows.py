"""What loss_is_sound says of how rows of classes were cut, of cosines, and of an ignored class."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


@pytest.fixture
def verdict_on():
    """The verdict of loss_is_sound, which this file is not named after."""

    def verdict_on(factory):
        subject = Subject("recipe", Policy(steps=60, device="cpu"), ("loss_is_sound",))
        return Examination(subject).judge("loss_is_sound", factory)

    return verdict_on


def recipe_of(model, inputs, targets, loss=None, **facts):
    facts |= {} if "training_step" in facts else {"loss": loss or nn.CrossEntropyLoss()}
    return Recipe(model=model, train_data=[(inputs, targets)], **facts)


def images(classes=3, size=6):
    model = nn.Conv2d(1, classes, 1)
    return model, torch.randn(8, 1, size, size), torch.randint(0, classes, (8, size, size))


class Turned(nn.Module):
    """A linear layer that gives (B, C, T)."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        return self.head(x).transpose(1, 2)


def steps(model=None):
    return model or nn.Linear(5, 4), torch.randn(8, 6, 5), torch.randint(0, 4, (8, 6))


def flat(outputs, targets):
    return F.cross_entropy(outputs.reshape(-1, outputs.size(-1)), targets.reshape(-1))


def late(outputs, targets):
    classes = outputs.size(1)
    return F.cross_entropy(outputs.contiguous().view(-1, classes), targets.flatten())


def twice(outputs, targets):
    classes = outputs.size(1)
    return F.cross_entropy(outputs.flatten(2).reshape(-1, classes), targets.flatten())


def moved(outputs, targets):
    return F.cross_entropy(outputs.movedim(1, -1).flatten(0, -2), targets.flatten())


def viewed(outputs, targets):
    return F.cross_entropy(outputs.view(8, 4, 6), targets)


def time_first(outputs, targets):
    return F.cross_entropy(outputs.transpose(0, 1).reshape(-1, 4), targets.flatten())


def both_time_first(outputs, targets):
    return F.cross_entropy(outputs.transpose(0, 1).reshape(-1, 4), targets.T.flatten())


FAULTS = {
    "an image": (images, late, "permute"),
    "an image, in two steps": (images, twice, "permute"),
    "an image as wide as its classes": (lambda: images(3, 3), late, "permute"),
    "a sequence": (lambda: steps(Turned()), late, "permute"),
    "a view for a transpose": (steps, viewed, "permute"),
    "time first": (steps, time_first, "labels of others"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_rows_that_mix_positions_are_found(verdict_on, name):
    make, loss, cause = FAULTS[name]
    verdict = verdict_on(lambda: recipe_of(*make(), loss))
    assert verdict.failed, verdict
    assert cause in verdict.cause


def heads():
    """Three categorical variables in one layer, as many as it has steps."""
    return nn.Linear(5, 4 * 3), torch.randn(8, 4, 5), torch.randint(0, 4, (8, 4, 3))


HEALTHY = {
    "classes first": (images, None),
    "moved": (images, moved),
    "a sequence, moved": (lambda: steps(Turned()), moved),
    "classes last": (steps, flat),
    "several variables": (heads, lambda o, t: F.cross_entropy(o.view(-1, 4), t.flatten())),
    "both time first": (steps, both_time_first),
    "pooled to one": (
        lambda: (nn.Conv2d(1, 4, 6), torch.randn(8, 1, 6, 6), torch.randint(0, 4, (8,))),
        lambda o, t: F.cross_entropy(o.view(-1, 4), t),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_rows_cut_along_the_classes_pass(verdict_on, name):
    make, loss = HEALTHY[name]
    verdict = verdict_on(lambda: recipe_of(*make(), loss))
    assert verdict.outcome is Outcome.PASSED, verdict
    assert not verdict.advice


@pytest.mark.parametrize(("factor", "told"), [(0.07, True), (1 / 0.07, False), (1.0, False)])
def test_a_temperature_on_the_wrong_side_is_advice(verdict_on, factor, told):
    def step(model, batch):
        one, other = (F.normalize(model(batch[0] + torch.randn(32, 5))) for _ in range(2))
        logits = one @ other.T * factor
        return F.cross_entropy(logits, torch.arange(32)) + F.cross_entropy(logits.T, torch.arange(32))

    def build():
        return recipe_of(nn.Linear(5, 4), torch.randn(32, 5), torch.zeros(32), training_step=step)

    verdict = verdict_on(build)
    assert verdict.outcome is Outcome.PASSED
    assert any("temperature" in line for line in verdict.advice) is told


@pytest.mark.parametrize(("index", "told"), [(0, True), (-100, False), (3, True), (255, False)])
def test_an_ignored_class_is_advice(verdict_on, index, told):
    labels = torch.arange(16) % 4
    labels = labels.where(labels != 1, torch.tensor(255)) if index == 255 else labels
    loss = nn.CrossEntropyLoss(ignore_index=index)
    verdict = verdict_on(lambda: recipe_of(nn.Linear(5, 4), torch.randn(16, 5), labels, loss))
    assert verdict.outcome is Outcome.PASSED
    assert any("ignore_index" in line for line in verdict.advice) is told


def test_ignored_padding_is_silent(verdict_on):
    model, inputs, targets = steps()
    targets[:, 3:] = 0
    loss = nn.CrossEntropyLoss(ignore_index=0)

    def flattened(outputs, targets):
        return loss(outputs.flatten(0, 1), targets.flatten())

    verdict = verdict_on(lambda: recipe_of(model, inputs, targets, flattened))
    assert verdict.outcome is Outcome.PASSED
    assert not verdict.advice


@pytest.mark.parametrize("meant", [True, False])
def test_values_that_a_reshape_makes_alike_are_advice(verdict_on, meant):
    def loss(outputs, targets):
        turned = outputs.transpose(1, 2) if meant else outputs
        return F.binary_cross_entropy_with_logits(turned.reshape(-1), targets.reshape(-1))

    values = torch.randint(0, 2, (8, 4, 6)).float()
    verdict = verdict_on(lambda: recipe_of(nn.Linear(5, 4), torch.randn(8, 6, 5), values, loss))
    assert verdict.outcome is Outcome.PASSED
    assert any("permute" in line for line in verdict.advice) is not meant
