"""What is said of schedules that count epochs and are stepped per batch, in recipes and loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch
from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome

BATCHES = 20


def loader(batches=BATCHES):
    torch.manual_seed(0)
    inputs = torch.randn(8 * batches, 6)
    return DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), 8, shuffle=True)


def verdict_on(schedule, *, interval="step", batches=BATCHES, **facts):
    def recipe():
        model = nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return Recipe(
            model=model,
            train_data=loader(batches),
            loss=nn.CrossEntropyLoss(),
            optimizer=optimizer,
            scheduler=schedule(optimizer),
            scheduler_interval=interval,
            **facts,
        )

    subject = Subject("recipe", Policy(steps=100, device="cpu"), ("parameters_update",))
    return Examination(subject).judge("parameters_update", recipe)


def watched(schedule, epochs, batches, *, per_batch=True, accumulate=1, validate=0):
    with watch() as watched:
        model, data = nn.Linear(6, 3), loader(batches)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = schedule(optimizer)
        for _ in range(epochs):
            for index, (x, y) in enumerate(data, 1):
                (F.cross_entropy(model(x), y) / accumulate).backward()
                if index % accumulate == 0:
                    optimizer.step()
                    optimizer.zero_grad()
                    if per_batch:
                        scheduler.step()
            if not per_batch:
                scheduler.step()
            for x, _ in loader(validate) if validate else ():
                with torch.no_grad():
                    model(x)
    return next(v for v in watched.verdicts if v.check == "schedule_is_sane")


def is_told(verdict):
    return verdict.outcome is Outcome.FAILED and "counts epochs" in verdict.cause


def cosine(length):
    return lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=length)


@pytest.mark.parametrize(
    "schedule",
    [
        cosine(10),
        lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=10),
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, total_iters=12, power=2),
    ],
)
def test_a_schedule_of_epochs_that_a_recipe_steps_per_batch_fails(schedule):
    verdict = verdict_on(schedule)
    assert is_told(verdict)
    assert "scheduler_interval" in verdict.remedy


@pytest.mark.parametrize("length", [40, 50, 100, 200])
def test_a_cosine_that_a_recipe_ends_once_or_begins_again_is_silent(length):
    verdict = verdict_on(cosine(length))
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_a_cosine_of_epochs_that_is_stepped_per_epoch_is_silent():
    verdict = verdict_on(cosine(8), interval="epoch")
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_a_short_cosine_over_fewer_batches_is_advice():
    verdict = verdict_on(cosine(12), batches=5)
    assert verdict.outcome is Outcome.PASSED
    assert "falls and rises again" in verdict.advice[0]


@pytest.mark.parametrize(
    "schedule",
    [
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10),
        lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=5),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=101),
        lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.1, 1.0, total_iters=10),
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, total_iters=100),
        lambda optimizer: lr_scheduler.StepLR(optimizer, 30),
    ],
)
def test_cycles_warm_ups_and_schedules_of_steps_are_silent(schedule):
    verdict = verdict_on(schedule)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_a_recipe_that_decays_over_one_pass_and_is_tried_for_longer_passes():
    def schedule(optimizer):
        return lr_scheduler.PolynomialLR(optimizer, total_iters=BATCHES, power=2)

    assert verdict_on(schedule).outcome is Outcome.PASSED


def test_micro_batches_make_an_epoch_shorter():
    assert verdict_on(cosine(10), accumulate=4).outcome is Outcome.PASSED


@pytest.mark.parametrize(("length", "epochs", "batches"), [(8, 2, 20), (6, 6, 5), (6, 9, 8)])
def test_a_watched_cosine_shorter_than_a_pass_or_as_long_as_there_are_epochs_fails(
    length, epochs, batches
):
    told = watched(cosine(length), epochs, batches)
    assert is_told(told) == (length < batches or length == epochs)


@pytest.mark.parametrize(("length", "epochs", "batches"), [(8, 6, 5), (6, 6, 6), (10, 10, 5)])
def test_a_watched_cosine_that_may_be_meant_to_rise_again_is_advice(length, epochs, batches):
    verdict = watched(cosine(length), epochs, batches)
    assert verdict.outcome is Outcome.PASSED
    assert "falls and rises again" in verdict.advice[0]


@pytest.mark.parametrize(("length", "per_batch"), [(30, True), (6, False), (20, True)])
def test_a_watched_cosine_that_ends_with_the_training_is_silent(length, per_batch):
    verdict = watched(cosine(length), 6, 5, per_batch=per_batch)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


@pytest.mark.parametrize(
    ("length", "epochs", "facts"),
    [(5, 8, {"validate": 15}), (5, 8, {"accumulate": 2, "batches": 10}), (6, 6, {"batches": 6})],
    ids=["more batches to validate on", "micro-batches", "as many batches as epochs"],
)
def test_a_watched_cosine_of_one_pass_is_no_fault(length, epochs, facts):
    verdict = watched(cosine(length), epochs, **{"batches": 5, **facts})
    assert verdict.outcome is Outcome.PASSED
    assert "falls and rises again" in verdict.advice[0]


def test_a_watched_cosine_of_epochs_is_told_beside_longer_validation_data():
    assert is_told(watched(cosine(6), 6, 5, validate=15))
