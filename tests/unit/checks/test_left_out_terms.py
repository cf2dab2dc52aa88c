"""What gradients_flow says of a head whose term is overwritten, never added, or not written yet."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome

CLASSES = 5


class Heads(nn.Module):
    """One body, and a head for each of two tasks."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(12, 16), nn.Tanh())
        self.classify, self.locate = nn.Linear(16, CLASSES), nn.Linear(16, 2)

    def forward(self, x):
        h = self.body(x)
        return self.classify(h), self.locate(h)


def judged(train_data, **facts):
    def recipe():
        torch.manual_seed(0)
        model = Heads()
        optimizer = torch.optim.Adam(model.parameters())
        return Recipe(model=model, train_data=train_data(), optimizer=optimizer, **facts)

    subject = Subject("recipe", Policy(steps=12, device="cpu"), ("gradients_flow",))
    return Examination(subject).judge("gradients_flow", recipe)


def samples(count=40):
    torch.manual_seed(0)
    return torch.randn(count, 12), torch.arange(count) % CLASSES, torch.rand(count, 2)


def in_pairs():
    x, labels, places = samples()
    return [(x, (labels, places))]


def side_by_side():
    return [samples()]


def by_name():
    x, labels, places = samples()
    return [{"x": x, "label": labels, "place": places}]


def overwritten(outputs, targets):
    total = F.cross_entropy(outputs[0], targets[0])
    total = F.mse_loss(outputs[1], targets[1])
    return total  # noqa: RET504  so it is written


def never_written(outputs, targets):
    return F.mse_loss(outputs[1], targets[1])


def the_other_one(outputs, targets):
    return F.cross_entropy(outputs[0], targets[0])


def both(outputs, targets):
    return F.cross_entropy(outputs[0], targets[0]) + F.mse_loss(outputs[1], targets[1])


def never_added(outputs, targets):
    place = (outputs[1].sigmoid().unsqueeze(0) - targets[1]).square().mean()
    total = F.cross_entropy(outputs[0], targets[0])
    return total if place.isfinite() else total + place


@pytest.mark.parametrize(
    ("loss", "site", "target"),
    [
        (overwritten, "classify", "targets[0]"),
        (never_added, "locate", "targets[1]"),
    ],
)
def test_a_head_whose_term_is_computed_and_lost_is_named_with_its_target(loss, site, target):
    verdict = judged(in_pairs, loss=loss)
    assert verdict.failed
    assert verdict.sites == (site,)
    assert f"the loss of `{site}` is overwritten or left out" in verdict.cause
    assert target in verdict.cause


@pytest.mark.parametrize(("loss", "site"), [(never_written, "classify"), (the_other_one, "locate")])
def test_a_head_that_never_meets_a_target_may_wait_for_a_later_phase(loss, site):
    verdict = judged(in_pairs, loss=loss)
    assert verdict.outcome is Outcome.PASSED
    assert site in verdict.advice[0]


def test_so_are_they_where_a_step_of_one_s_own_reads_the_batch():
    def by_place(model, batch):
        return overwritten(model(batch[0]), batch[1:])

    def by_key(model, batch):
        return overwritten(model(batch["x"]), (batch["label"], batch["place"]))

    assert "`batch[1]`" in judged(side_by_side, training_step=by_place).cause
    assert "`batch.label`" in judged(by_name, training_step=by_key).cause


def test_two_terms_are_as_they_should_be():
    verdict = judged(in_pairs, loss=both)
    assert verdict.outcome is Outcome.PASSED
    assert not verdict.advice


def test_a_head_alone_is_advice():
    def labels_alone():
        x, labels, _ = samples()
        return [(x, labels)]

    verdict = judged(labels_alone, loss=lambda outputs, labels: F.cross_entropy(outputs[0], labels))
    assert verdict.outcome is Outcome.PASSED
    assert "locate" in verdict.advice[0]


def test_what_is_no_target_of_the_head_leaves_it_at_advice():
    def with_numbers_of_samples():
        x, _, places = samples()
        return [(x, (torch.arange(len(x)) + 1000, places))]

    verdict = judged(with_numbers_of_samples, loss=never_written)
    assert verdict.outcome is Outcome.PASSED
    assert "classify" in verdict.advice[0]


def test_a_target_that_nobody_reads_beside_heads_that_all_train_is_quiet():
    def with_further_labels():
        x, labels, places = samples()
        return [(x, (labels, places, labels.flip(0)))]

    verdict = judged(with_further_labels, loss=both)
    assert verdict.outcome is Outcome.PASSED
    assert not verdict.advice


def test_a_target_that_only_says_which_samples_count_is_read():
    def loss(outputs, targets):
        counts = (targets[0] < CLASSES - 1).float()
        return (counts[:, None] * (outputs[1] - targets[1]) ** 2).mean()

    verdict = judged(in_pairs, loss=loss)
    assert verdict.outcome is Outcome.PASSED
    assert "classify" in verdict.advice[0]


def test_a_head_that_is_declared_frozen_is_left_out_on_purpose():
    verdict = judged(in_pairs, loss=overwritten, frozen=("classify.*",))
    assert verdict.outcome is Outcome.PASSED
    assert judged(in_pairs, loss=overwritten, frozen=("locate.*",)).failed


def test_labels_that_are_all_missing_are_left_to_the_loss():
    def unlabelled():
        x, labels, places = samples()
        return [(x, (labels, torch.full_like(places, torch.nan)))]

    def loss(outputs, targets):
        known = targets[1].isfinite().all(1)
        total = F.cross_entropy(outputs[0], targets[0])
        return total + F.mse_loss(outputs[1][known], targets[1][known]) if known.any() else total

    verdict = judged(unlabelled, loss=loss)
    assert verdict.outcome is Outcome.PASSED
    assert "locate" in verdict.advice[0]


def test_a_term_of_weight_zero_is_left_to_its_owner():
    def loss(outputs, targets):
        return 0.0 * F.cross_entropy(outputs[0], targets[0]) + F.mse_loss(outputs[1], targets[1])

    assert judged(in_pairs, loss=loss).outcome is Outcome.PASSED


def test_tasks_that_take_turns_are_quiet():
    steps = []

    def step(model, batch):
        steps.append(None)
        return (never_written, the_other_one)[len(steps) % 2](model(batch[0]), batch[1])

    assert judged(in_pairs, training_step=step).outcome is Outcome.PASSED
