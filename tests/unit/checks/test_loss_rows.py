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


def contrasted(*, roll=0, mask=False):
    """Two views of each sample, the pairs of which a step brings together."""

    def step(model, batch):
        views = [batch[0] + 0.01 * torch.randn_like(batch[0]) for _ in range(2)]
        one, other = (F.normalize(model(view), dim=1) for view in views)
        scores = one @ other.T / 0.1
        if mask:
            scores = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -1e9)
        return F.cross_entropy(scores, torch.arange(len(scores)).roll(roll))

    return lambda: recipe_of(
        nn.Linear(12, 12), torch.randn(32, 12), torch.zeros(32), training_step=step, batch_dim=None
    )


def test_positives_that_are_displaced_are_named(verdict_on):
    verdict = verdict_on(contrasted(roll=1))
    assert verdict.outcome is Outcome.FAILED
    assert "wrong partner" in verdict.cause


def test_positives_that_are_masked_are_named(verdict_on):
    verdict = verdict_on(contrasted(mask=True))
    assert verdict.outcome is Outcome.FAILED
    assert "masked out" in verdict.cause


def test_positives_in_their_place_pass(verdict_on):
    assert verdict_on(contrasted()).outcome is Outcome.PASSED


def test_wrong_answers_may_be_masked(verdict_on):
    def loss(outputs, targets):
        illegal = (torch.arange(4) == 3).expand(len(outputs), 4)
        return F.cross_entropy(outputs.masked_fill(illegal, float("-inf")), targets)

    labels = torch.arange(16) % 3
    verdict = verdict_on(lambda: recipe_of(nn.Linear(5, 4), torch.randn(16, 5), labels, loss))
    assert verdict.outcome is Outcome.PASSED


@pytest.mark.parametrize("kept", [1, 2])
def test_a_class_that_is_ignored_until_one_is_left_fails(verdict_on, kept):
    model, inputs, labels = images(classes=kept + 1, size=8)
    loss = nn.CrossEntropyLoss(ignore_index=0)
    verdict = verdict_on(lambda: recipe_of(model, inputs, labels, loss))
    assert (verdict.outcome is Outcome.FAILED) is (kept == 1)
    assert kept > 1 or "nothing is left to tell apart" in verdict.cause


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (F.one_hot(torch.arange(16) % 4).float(), ""),
        (F.one_hot(torch.arange(16) % 4).float() * 5, "several labels"),
        (torch.full((16, 4), 0.5), "several labels"),
        (torch.full((16, 4), 0.3), "cross_entropy wants probabilities"),
    ],
)
def test_soft_targets_that_are_no_probabilities_are_advice(verdict_on, targets, told):
    verdict = verdict_on(lambda: recipe_of(nn.Linear(5, 4), torch.randn(16, 5), targets))
    assert verdict.outcome is Outcome.PASSED
    assert any("soft targets" in line and told in line for line in verdict.advice) is bool(told)


@pytest.mark.parametrize("last", [True, False])
def test_dropout_after_the_last_layer_is_advice(verdict_on, last):
    layers = [nn.Linear(5, 4), nn.Dropout(0.5)]
    model = nn.Sequential(*(layers if last else reversed([nn.Linear(5, 4), nn.Dropout(0.5)])))
    labels = torch.arange(16) % 4
    verdict = verdict_on(lambda: recipe_of(model, torch.randn(16, 5), labels))
    assert verdict.outcome is Outcome.PASSED
    assert any("dropout" in line for line in verdict.advice) is last


@pytest.mark.parametrize(("scale", "told"), [(1e4, True), (100.0, False)])
def test_a_temperature_that_is_far_too_low_is_advice(verdict_on, scale, told):
    def step(model, batch):
        one, other = (F.normalize(model(batch[0] + torch.randn_like(batch[0])), dim=1) for _ in "ab")
        return F.cross_entropy(one @ other.T * scale, torch.arange(len(one)))

    verdict = verdict_on(
        lambda: recipe_of(nn.Linear(5, 4), torch.randn(32, 5), torch.zeros(32), training_step=step)
    )
    assert any("a temperature of" in line for line in verdict.advice) is told


def two_sided(outputs, targets):
    return F.relu(1 - outputs[:, 0] * (2 * targets - 1)).mean()


def one_sided(outputs, targets):
    return F.relu(1 - outputs[:, 0] * targets).mean()


@pytest.mark.parametrize(("loss", "heard"), [(two_sided, True), (one_sided, False)])
def test_a_class_that_a_loss_by_hand_does_not_hear_is_named(verdict_on, loss, heard):
    labels = (torch.arange(32) % 2).float()
    verdict = verdict_on(lambda: recipe_of(nn.Linear(5, 1), torch.randn(32, 5), labels, loss))
    assert (verdict.outcome is Outcome.PASSED) is heard
    assert heard or "no gradient for targets of 0" in verdict.cause


def test_one_of_many_classes_that_is_not_heard_is_advice(verdict_on):
    def loss(outputs, targets):
        right = outputs.log_softmax(1).gather(1, targets[:, None])[:, 0]
        return -(right * (targets > 0)).mean()

    labels = torch.arange(32) % 4
    verdict = verdict_on(lambda: recipe_of(nn.Linear(5, 4), torch.randn(32, 5), labels, loss))
    assert verdict.outcome is Outcome.PASSED
    assert any("samples of class 0 never change the loss" in line for line in verdict.advice)
