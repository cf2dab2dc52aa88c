"""The loss falls, stays or rises, on real small recipes and on traces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_dlcheck.check import Evidence, registry
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.trace import Matrix, Row, Series
from pytest_dlcheck.trial import Trial
from pytest_dlcheck.verdict import Outcome

CHECK = registry()["loss_decreases"]


def recipe(optimizer=torch.optim.Adam, scheduler=None, trained=0, **options):
    def factory():
        x = torch.randn(256, 10)
        y = (x[:, 0] > 0).long()
        model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2))
        loss = nn.CrossEntropyLoss()
        teacher = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(trained):
            teacher.zero_grad()
            loss(model(x), y).backward()
            teacher.step()
        made = optimizer(model.parameters(), **{"lr": 3e-3, **options})
        return Recipe(
            model=model,
            train_data=torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True
            ),
            loss=loss,
            optimizer=made,
            scheduler=scheduler(made) if scheduler else None,
        )

    return factory


def fading(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)


def test_a_healthy_training_passes(verdict_on):
    assert verdict_on(recipe()).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("factory", "site"),
    [
        (recipe(lr=1e-9), ""),
        (recipe(torch.optim.SGD, lr=1e-9), ""),
        (recipe(maximize=True), "optimizer"),
        (recipe(lr=1e-4, scheduler=fading), "scheduler"),
    ],
    ids=["Adam 1e-9", "SGD 1e-9", "maximize", "schedule per step"],
)
def test_a_training_that_goes_nowhere_fails(verdict_on, factory, site):
    verdict = verdict_on(factory)
    assert verdict.outcome is Outcome.FAILED, verdict.because
    assert verdict.sites[0] == site


@pytest.mark.parametrize(
    "factory",
    [
        recipe(lr=1e-5),
        recipe(torch.optim.SGD, lr=1e-3),
        recipe(lr=1e-5, trained=200),
        recipe(scheduler=lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: k / 1e5)),
    ],
    ids=["small rate", "plain SGD", "trained before", "long warm-up"],
)
def test_slow_or_finished_is_no_failure(verdict_on, factory):
    assert verdict_on(factory).outcome in {Outcome.PASSED, Outcome.INCONCLUSIVE}


def test_noise_around_zero_is_no_failure(verdict_on):
    def factory():
        model = nn.Linear(4, 1)

        def step(model, batch):
            return (model(batch[0]).squeeze(1) * torch.randn(len(batch[0]))).mean()

        return Recipe(
            model=model,
            train_data=(torch.randn(64, 4),),
            training_step=step,
            optimizer=torch.optim.SGD(model.parameters(), lr=1e-3),
        )

    assert verdict_on(factory).outcome is Outcome.INCONCLUSIVE


def test_several_objectives_are_not_expected_to_fall():
    example = next(iter(CHECK.healthy()))
    trace = example.traces[0]
    trace = replace(trace, facts={**trace.facts, "recipe": (Row(several_objectives=True),)})
    assert CHECK.judge(Evidence((trace,))).outcome is Outcome.NOT_APPLICABLE


def test_one_step_against_another_proves_nothing():
    trace = next(iter(CHECK.sick())).traces[0]
    losses = trace.series("loss").values
    ends_low = Series(trace.series("loss").steps, (*losses[:-1], 0.0))
    trace = replace(trace, channels={**trace.channels, "loss": ends_low})
    assert CHECK.judge(Evidence((trace,))).outcome is Outcome.FAILED


def test_the_worst_seed_counts():
    good = next(iter(CHECK.healthy())).traces[0]
    bad = next(iter(CHECK.sick())).traces[0]
    bad = replace(bad, trial=replace(bad.trial, seed=1))
    assert CHECK.judge(Evidence((good, bad))).outcome is Outcome.FAILED


def test_what_a_watched_loop_is_too_short_for_is_not_ours_to_lengthen():
    slow = tuple(1 - 4e-3 * i / 99 for i in range(100))
    batches = Matrix((0, 100), ("a", "b", "c"), ((1.0, 1.1, 1.2), (0.996, 1.096, 1.196)))
    trace = next(iter(CHECK.healthy())).traces[0]
    channels = {**trace.channels, "loss": Series(tuple(range(100)), slow), "fixed_loss": batches}
    trace = replace(trace, channels=channels)
    ours, theirs = (
        CHECK.judge(Evidence((replace(trace, trial=trial),)))
        for trial in (trace.trial, Trial("watch", steps=100))
    )
    assert ours.outcome is theirs.outcome is Outcome.INCONCLUSIVE
    assert (ours.advice, theirs.advice) == (("raise steps",), ())


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(1e-5, "raise the learning rate, or"), (1e-3, "raise steps"), (0.5, "lower the learning rate")],
)
def test_a_slow_fall_is_advised_on_by_the_size_of_the_steps(ratio, words):
    slow = tuple(1 - 4e-3 * i / 99 for i in range(100))
    batches = Matrix((0, 100), ("a", "b", "c"), ((1.0, 1.1, 1.2), (0.996, 1.096, 1.196)))
    trace = next(iter(CHECK.healthy())).traces[0]
    sizes = {
        name: Matrix((0, 50), ("w",), ((size,), (size,)))
        for name, size in {"update_norm": ratio, "parameter_norm": 1.0}.items()
    }
    channels = {"loss": Series(tuple(range(100)), slow), "fixed_loss": batches, **sizes}
    trace = replace(trace, channels={**trace.channels, **channels})
    (advice,) = CHECK.judge(Evidence((trace,))).advice
    assert advice.startswith(words)


def test_a_loss_that_falls_from_a_peak_of_its_own_is_not_told_as_noise():
    losses = (2.3, *(9.0 - 0.06 * i for i in range(99)))
    batches = Matrix((0, 100), ("a", "b", "c"), ((2.3, 2.4, 2.5), (3.0, 3.1, 3.2)))
    trace = next(iter(CHECK.healthy())).traces[0]
    channels = {"loss": Series(tuple(range(100)), losses), "fixed_loss": batches}
    verdict = CHECK.judge(Evidence((replace(trace, channels={**trace.channels, **channels}),)))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "it falls since it had risen" in verdict.because


def test_a_plateau_beside_a_batch_that_is_learned_is_advised_on_by_its_steps():
    stays = next(iter(CHECK.sick())).traces[0]
    sizes = {
        name: Matrix((0, 50), ("w",), ((size,), (size,)))
        for name, size in {"update_norm": 1e-5, "parameter_norm": 1.0}.items()
    }
    stays = replace(stays, channels={**stays.channels, **sizes})
    fitted = registry()["overfits_a_batch"].healthy()
    verdict = CHECK.judge(Evidence((stays, next(iter(fitted)).traces[0])))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "raise steps" not in verdict.because
    assert verdict.advice[0].startswith("raise the learning rate")
