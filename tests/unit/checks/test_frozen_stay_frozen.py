"""What frozen_stay_frozen says of small recipes: who moved what was to stand still, and who may."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


@pytest.fixture
def verdict_on(verdict_on):
    """Eight steps are enough to see what moves."""
    return partial(verdict_on, steps=8)


class Transfer(nn.Module):
    def __init__(self, *, flag=True, eval_mode=True):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.head = nn.Linear(16, 4)
        self.body.requires_grad_(not flag)
        self.body.train(not eval_mode)

    def forward(self, x):
        return self.head(self.body(x))


def recipe_of(model, *, parameters=None, frozen=("body.*",), loss=None, optimizer=None):
    inputs = torch.randn(64, 16)
    batches = [(inputs[i : i + 16], inputs[i : i + 16, :4].argmax(1)) for i in (0, 16, 32, 48)]
    own = model.parameters() if parameters is None else parameters
    return Recipe(
        model=model,
        train_data=batches,
        training_step=loss or (lambda m, batch: F.cross_entropy(m(batch[0]), batch[1])),
        optimizer=optimizer or torch.optim.AdamW(own, lr=1e-2),
        frozen=frozen,
    )


def test_a_frozen_body_in_eval_mode_passes_without_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer()))

    assert verdict.outcome is Outcome.PASSED
    assert verdict.because == "0 of 7 frozen parameters and buffers changed"
    assert verdict.advice == ()


def test_a_training_that_diverges_says_nothing_of_what_is_not_there(verdict_on):
    def to_nan(model, batch):
        return model(batch[0]).sum() * torch.nan

    nothing = verdict_on(lambda: recipe_of(nn.Linear(16, 4), frozen=(), loss=to_nan))
    body = verdict_on(lambda: recipe_of(Transfer(), loss=to_nan))

    assert nothing.outcome is Outcome.NOT_APPLICABLE
    assert body.outcome is Outcome.INCONCLUSIVE


def test_a_declared_body_that_still_trains_fails_name_by_name(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer(flag=False)))

    assert verdict.failed
    assert verdict.sites == ("body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias")
    assert "still requires grad" in verdict.cause


def test_a_pattern_stands_for_all_that_is_inside(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer(flag=False), frozen="body.0"))

    assert verdict.sites == ("body.0.weight", "body.0.bias")


def test_a_declared_body_outside_of_the_optimizer_is_advice(verdict_on):
    def build():
        model = Transfer(flag=False)
        return recipe_of(model, parameters=model.head.parameters())

    verdict = verdict_on(build)

    assert verdict.outcome is Outcome.PASSED
    assert "requires_grad_(False)" in verdict.advice[0]


def test_statistics_in_train_mode_are_advice_where_nothing_is_declared(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer(eval_mode=False), frozen=()))

    assert verdict.outcome is Outcome.PASSED
    assert "body.1" in verdict.advice[0]
    assert ".eval()" in verdict.advice[0]


def test_statistics_of_a_declared_body_that_was_never_in_eval_mode_are_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer(eval_mode=False)))

    assert verdict.outcome is Outcome.PASSED
    assert "body.1" in verdict.advice[0]
    assert ".eval()" in verdict.advice[0]


def test_statistics_of_a_declared_body_that_leaves_eval_mode_fail(verdict_on):
    def careless(model, batch):
        model.train()
        return F.cross_entropy(model(batch[0]), batch[1])

    verdict = verdict_on(lambda: recipe_of(Transfer(), loss=careless))

    assert verdict.failed
    assert verdict.sites[:2] == ("body.1.running_mean", "body.1.running_var")
    assert "train mode" in verdict.cause


def test_statistics_that_no_pattern_covers_may_drift(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer(eval_mode=False), frozen="body.*.weight"))

    assert verdict.outcome is Outcome.PASSED


def test_a_training_step_that_undoes_eval_fails(verdict_on):
    def careless(model, batch):
        model.train()
        return F.cross_entropy(model(batch[0]), batch[1])

    verdict = verdict_on(lambda: recipe_of(Transfer(), frozen=(), loss=careless))

    assert verdict.failed
    assert verdict.sites[0] == "body.1.running_mean"
    assert "train mode" in verdict.cause


def test_a_pattern_that_matches_nothing_fails_with_the_nearest_name(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer(), frozen="boddy.*"))

    assert verdict.failed
    assert verdict.sites == ("boddy.*",)
    assert verdict.remedy == "did you mean 'body'?"


def test_an_old_gradient_that_moves_a_frozen_parameter_fails(verdict_on):
    class KeepsGradients(torch.optim.SGD):
        def zero_grad(self, **_):
            super().zero_grad(set_to_none=False)

    def build():
        model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
        model(torch.randn(4, 16)).sum().backward()
        model[0].requires_grad_(requires_grad=False)
        optimizer = KeepsGradients(model.parameters(), lr=0.1, weight_decay=0.1)
        return recipe_of(model, frozen=(), optimizer=optimizer)

    verdict = verdict_on(build)

    assert verdict.failed
    assert verdict.sites == ("0.weight", "0.bias")
    assert "old gradient" in verdict.cause


def test_a_moving_average_may_be_written_with_its_statistics(verdict_on):
    class Teacher(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16))
            self.teacher = copy.deepcopy(self.student).requires_grad_(requires_grad=False).eval()

    def step(model, batch):
        pairs = zip(
            model.teacher.state_dict().values(), model.student.state_dict().values(), strict=True
        )
        with torch.no_grad():
            for slow, fast in pairs:
                slow.copy_(0.9 * slow + 0.1 * fast)
        return F.mse_loss(model.student(batch[0]), model.teacher(batch[0] + 0.1))

    verdict = verdict_on(lambda: recipe_of(Teacher(), frozen=(), loss=step))

    assert not verdict.failed


def test_requires_grad_is_what_it_was_when_training_began(verdict_on):
    def toggling(model, batch):
        model.body.requires_grad_(requires_grad=False)
        loss = F.cross_entropy(model(batch[0]), batch[1])
        model.body.requires_grad_(requires_grad=True)
        loss = loss + F.cross_entropy(model(batch[0]), batch[1])
        model.body.requires_grad_(requires_grad=False)
        return loss

    verdict = verdict_on(lambda: recipe_of(Transfer(flag=False), frozen=(), loss=toggling))

    assert verdict.outcome is Outcome.NOT_APPLICABLE


def test_a_body_that_an_attribute_calls_frozen_and_that_trains_fails(verdict_on):
    def build():
        model = Transfer(flag=False)
        model.body.requires_grad = False
        return recipe_of(model, frozen=())

    verdict = verdict_on(build)

    assert verdict.failed
    assert verdict.sites == ("body",)
    assert "4 of 4 parameters" in verdict.because


def test_an_attribute_beside_frozen_parameters_is_no_fault(verdict_on):
    def build():
        model = Transfer()
        model.body.requires_grad = False
        return recipe_of(model, frozen=())

    assert verdict_on(build).outcome is Outcome.PASSED


def test_nothing_frozen_is_not_applicable(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Transfer(flag=False, eval_mode=False), frozen=()))

    assert verdict.outcome is Outcome.NOT_APPLICABLE
