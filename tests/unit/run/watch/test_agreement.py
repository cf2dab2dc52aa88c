"""One set of probes, two drivers: a watcher around our own loop tells the same, where it looks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.sampling import GRADIENTS, TENSORS, WATCHED
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.run.watch.watcher import Watcher
from pytest_dlcheck.trace import Matrix
from pytest_dlcheck.trial import Terms

STEPS = 150
WANTED = frozenset(
    {
        "batch_fingerprint",
        "buffers",
        "gradient_norm",
        "learning_rate",
        "loss",
        "modules",
        "optimizer_groups",
        "parameter_norm",
        "parameters",
        "update_norm",
    }
)


def data():
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(10, 16, 12, generator=draws)
    return [(batch, batch[:, :4].sum(1).gt(0).long()) for batch in x]


def momentum():
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return Recipe(model=model, train_data=data(), loss=F.cross_entropy, optimizer=optimizer)


def groups_with_a_schedule():
    body, head = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.GELU()), nn.Linear(16, 2)
    model = nn.Sequential(body, nn.Dropout(0.2), head)
    groups = [{"params": body.parameters(), "lr": 1e-3}, {"params": head.parameters(), "lr": 1e-2}]
    optimizer = torch.optim.AdamW(groups)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    return Recipe(
        model=model,
        train_data=data(),
        loss=F.cross_entropy,
        optimizer=optimizer,
        scheduler=scheduler,
    )


def frozen_part_in_half_precision():
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 2)).bfloat16()
    model[0].requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def loss(outputs, targets):
        return F.cross_entropy(outputs.float(), targets)

    halves = [(x.bfloat16(), y) for x, y in data()]
    return Recipe(model=model, train_data=halves, loss=loss, optimizer=optimizer)


def both(factory):
    """What the loop's own probes have recorded, and what a watcher around it has."""
    watcher = Watcher()
    with watcher.watching():
        own = run_trial(factory, Request(Terms(steps=STEPS).train()[0], WANTED))
    assert own.ending.kind == "completed", own.ending
    [(_, seen)] = watcher.traces()
    return own, seen


RECIPES = [momentum, groups_with_a_schedule, frozen_part_in_half_precision]


@pytest.mark.parametrize("factory", RECIPES)
def test_every_step_its_loss_and_its_learning_rate_are_the_same(factory):
    own, seen = both(factory)
    assert seen.row("loop")["steps"] == own.row("steps")["asked"] == STEPS
    assert seen.row("loop")["backwards"] == STEPS
    assert len(own.series("loss")) == STEPS
    for name in ("loss", "learning_rate"):
        assert seen.series(name) == own.series(name), name


@pytest.mark.parametrize("factory", RECIPES)
def test_batches_are_told_alike_from_the_second_step_on(factory):
    own, seen = (trace.series("batch_fingerprint") for trace in both(factory))
    assert own.steps == tuple(step for step in range(STEPS) if step in GRADIENTS)
    told = dict(zip(own.steps, own.values, strict=True))
    assert seen.steps == tuple(step for step in own.steps[1:] if step in WATCHED)
    assert seen.values == tuple(told[step] for step in seen.steps)


@pytest.mark.parametrize("factory", RECIPES)
def test_norms_of_gradients_updates_and_parameters_are_the_same_at_the_steps_of_a_watch(factory):
    own, seen = both(factory)
    for name, schedule in (("gradient_norm", GRADIENTS), ("update_norm", TENSORS)):
        assert own.matrix(name).steps == tuple(step for step in range(STEPS) if step in schedule)
    for name in ("gradient_norm", "update_norm", "parameter_norm"):
        rows = zip(own.matrix(name).steps, own.matrix(name).values, strict=True)
        looked = [(step, row) for step, row in rows if step in WATCHED]
        steps, values = zip(*looked, strict=True)
        assert seen.matrix(name) == Matrix(steps, own.matrix(name).sites, values), name


@pytest.mark.parametrize("factory", RECIPES)
def test_what_is_trained_is_told_alike(factory):
    own, seen = both(factory)
    for name in ("parameters", "modules", "optimizer_groups"):
        assert seen.rows(name) == own.rows(name), name
