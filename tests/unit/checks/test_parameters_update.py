"""What parameters_update says of small recipes: standstill, lost updates, steps too small or large."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def mlp():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))


def recipe_of(optimizer, model=None, schedule=None, **more):
    """A recipe; ``optimizer`` is built over the model, ``schedule`` over the optimizer."""
    model = model or mlp()
    built = optimizer(model)
    inputs = torch.randn(128, 16)
    kind = next(model.parameters()).dtype
    return Recipe(
        model=model,
        train_data=[
            (inputs[i : i + 32].to(kind), inputs[i : i + 32, :4].argmax(1)) for i in (0, 32, 64)
        ],
        loss=lambda outputs, targets: F.cross_entropy(outputs.float(), targets),
        optimizer=built,
        scheduler=torch.optim.lr_scheduler.LambdaLR(built, schedule) if schedule else None,
        **more,
    )


def sgd(**settings):
    return lambda model: torch.optim.SGD(model.parameters(), **settings)


def adamw(**settings):
    return lambda model: torch.optim.AdamW(model.parameters(), **settings)


@pytest.mark.parametrize(
    "optimizer",
    [sgd(lr=0.1), sgd(lr=1e-3), adamw(lr=1e-3), adamw(lr=1e-2), adamw(lr=1e-5)],
    ids=["SGD 0.1", "SGD 1e-3", "AdamW 1e-3", "AdamW 1e-2", "AdamW 1e-5"],
)
def test_usual_learning_rates_pass(verdict_on, optimizer):
    assert verdict_on(lambda: recipe_of(optimizer)).outcome is Outcome.PASSED


@pytest.mark.parametrize("optimizer", [sgd(lr=1e-6), adamw(lr=1e-7)], ids=["SGD 1e-6", "AdamW 1e-7"])
def test_a_learning_rate_far_too_low_is_named(verdict_on, optimizer):
    verdict = verdict_on(lambda: recipe_of(optimizer))

    assert verdict.failed
    assert verdict.sites == ("optimizer",)
    assert "too low" in verdict.cause


@pytest.mark.parametrize("optimizer", [sgd(lr=10.0), adamw(lr=1.0)], ids=["SGD 10", "AdamW 1"])
def test_a_learning_rate_far_too_high_is_named(diagnosis_of, optimizer):
    """Here, or by ``training_is_stable``: where such a training ends is chaos."""
    diagnosis = diagnosis_of(lambda: recipe_of(optimizer))
    first = diagnosis.causes[0]

    assert first.check in {"parameters_update", "training_is_stable"}
    assert "too high" in first.cause


def test_a_long_warm_up_is_no_learning_rate_too_low(verdict_on):
    verdict = verdict_on(lambda: recipe_of(adamw(lr=1e-3), schedule=lambda step: step / 100_000))

    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "still rises" in verdict.because
    assert "it takes 100,000 steps" in verdict.because or "it takes 101" in verdict.because


def test_a_learning_rate_that_a_schedule_keeps_at_zero_is_named(verdict_on):
    verdict = verdict_on(lambda: recipe_of(adamw(lr=1e-3), schedule=lambda step: 0.0))

    assert verdict.failed
    assert verdict.cause == "the learning rate is 0 in every step"


def test_an_epsilon_that_dwarfs_the_gradients_is_told_from_a_low_learning_rate(verdict_on):
    verdict = verdict_on(lambda: recipe_of(adamw(lr=1e-3, eps=100.0)))

    assert verdict.failed
    assert "eps" in verdict.cause


def test_an_optimizer_over_a_stale_copy_moves_nothing(verdict_on):
    verdict = verdict_on(
        lambda: recipe_of(lambda model: torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1))
    )

    assert verdict.failed
    assert verdict.sites[0] == "optimizer"
    assert "0 of 6 parameters" in verdict.because


def test_a_group_whose_learning_rate_is_zero_stands_still(verdict_on):
    def groups(model):
        first, rest = list(model[0].parameters()), list(model[2:].parameters())
        return torch.optim.Adam([{"params": first, "lr": 0.0}, {"params": rest}], lr=1e-3)

    verdict = verdict_on(lambda: recipe_of(groups))

    assert verdict.failed
    assert verdict.sites == ("0.weight", "0.bias")


@pytest.mark.parametrize(("rate", "outcome"), [(1e-2, Outcome.PASSED), (1e-5, Outcome.FAILED)])
def test_updates_lost_in_bfloat16_are_named(verdict_on, rate, outcome):
    verdict = verdict_on(lambda: recipe_of(adamw(lr=rate), mlp().bfloat16()))

    assert verdict.outcome is outcome
    assert ("bfloat16" in verdict.cause) is verdict.failed


@pytest.mark.parametrize(
    "optimizer",
    [
        sgd(lr=0.1, weight_decay=1.0),
        adamw(lr=1e-2, weight_decay=10.0),
        lambda model: torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=1.0),
    ],
    ids=["SGD", "AdamW", "Adam"],
)
def test_weight_decay_that_eats_the_weights_is_named(verdict_on, optimizer):
    verdict = verdict_on(lambda: recipe_of(optimizer), steps=100)

    assert verdict.failed
    assert verdict.sites[0] == "optimizer"
    assert "weight_decay" in verdict.cause


def test_a_decay_a_hundred_times_too_strong_shows_at_a_usual_rate_too(verdict_on):
    def adam(model):
        return torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=10.0)

    verdict = verdict_on(lambda: recipe_of(adam), steps=100)

    assert verdict.failed
    assert "weight_decay=10" in verdict.cause


def test_weights_that_shrink_without_any_decay_are_no_decay(verdict_on):
    def shrinking(model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)
        return torch.optim.SGD(model.parameters(), lr=1e-2, weight_decay=1e-6)

    assert "weight_decay" not in verdict_on(lambda: recipe_of(shrinking), steps=100).cause


def test_an_epsilon_as_large_as_one_is_told_though_parameters_move(verdict_on):
    verdict = verdict_on(lambda: recipe_of(adamw(lr=1e-4, eps=1.0)))

    assert verdict.failed
    assert "eps=1 dwarfs the gradients" in verdict.cause


def test_a_momentum_that_forgets_nothing_is_named(verdict_on):
    verdict = verdict_on(lambda: recipe_of(sgd(lr=1e-4, momentum=1.0)))

    assert verdict.failed
    assert "momentum=1" in verdict.cause


def test_clipping_is_blamed_for_small_steps_of_adam_too(verdict_on):
    verdict = verdict_on(lambda: recipe_of(adamw(lr=1e-3), max_grad_norm=1e-10))

    assert verdict.failed
    assert "max_grad_norm=1e-10 clips" in verdict.cause


def test_a_schedule_of_epochs_that_is_stepped_once_a_step_is_named(verdict_on):
    verdict = verdict_on(lambda: recipe_of(sgd(lr=0.1), schedule=lambda step: 0.1 ** (step // 4)))

    assert verdict.failed
    assert verdict.sites == ("learning_rate",)
    assert "epochs" in verdict.remedy


@pytest.mark.parametrize(
    ("optimizer", "schedule", "more", "words"),
    [
        (sgd(lr=0.1), lambda step: max(0.0, 1 - step / 30), {}, "made for fewer steps"),
        (adamw(lr=1e-3), None, {"max_grad_norm": 1e-6}, "max_grad_norm=1e-06 clips"),
        (adamw(lr=1e-3, betas=(0.999, 0.9)), None, {}, "wrong way round"),
        (adamw(lr=1e-3, weight_decay=8.0), None, {}, "is weight_decay too strong"),
    ],
    ids=["short schedule", "clipping", "betas", "decay"],
)
def test_settings_that_are_rarely_meant_are_advice(verdict_on, optimizer, schedule, more, words):
    verdict = verdict_on(lambda: recipe_of(optimizer, schedule=schedule, **more))

    assert verdict.outcome is Outcome.PASSED, verdict.because
    assert any(words in advice for advice in verdict.advice), verdict.advice


def test_a_signal_that_vanishes_is_told_from_a_rate_of_zero(verdict_on):
    def tiny():
        model = mlp()
        for parameter in model.parameters():
            nn.init.normal_(parameter, 0, 1e-5) if parameter.dim() > 1 else nn.init.zeros_(parameter)
        return model

    verdict = verdict_on(lambda: recipe_of(sgd(lr=0.1), tiny()))

    assert verdict.failed
    assert "the signal vanishes" in verdict.cause


def test_usual_weight_decay_passes(verdict_on):
    verdict = verdict_on(lambda: recipe_of(adamw(lr=1e-3, weight_decay=0.1)))

    assert verdict.outcome is Outcome.PASSED


def test_a_bias_before_a_normalisation_may_stand_still(verdict_on):
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    verdict = verdict_on(lambda: recipe_of(sgd(lr=1e-2), copy.deepcopy(model)))

    assert verdict.outcome is Outcome.PASSED
