"""A scaled learning rate reaches the optimizer's steps, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms

CHANNELS = frozenset({"loss", "update_norm", "learning_rate"})


def halving(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)


def trained(scale, *, rate=0.5, schedule=None):
    def factory():
        model = nn.Linear(3, 1, bias=False)
        nn.init.ones_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        return Recipe(
            model=model,
            train_data=[(torch.ones(4, 3), torch.zeros(4, 1))],
            loss=lambda outputs, _: outputs.sum(),
            optimizer=optimizer,
            scheduler=schedule(optimizer) if schedule else None,
        )

    trial = replace(Terms(steps=3).train()[0], learning_rate_scale=scale)
    return run_trial(factory, Request(trial, CHANNELS))


@pytest.mark.parametrize("schedule", [None, halving])
def test_every_step_is_scaled_whatever_the_schedule(schedule):
    plain, scaled = (trained(scale, schedule=schedule) for scale in (1.0, 0.1))
    assert scaled.ending.kind == "completed"
    for one, tenth in zip(plain["update_norm"].numbers(), scaled["update_norm"].numbers(), strict=True):
        assert tenth == pytest.approx(one / 10, rel=1e-3)
    assert scaled["learning_rate"] == plain["learning_rate"]


def test_a_rate_in_a_tensor_is_scaled_too():
    plain, scaled = (trained(scale, rate=torch.tensor(0.5)) for scale in (1.0, 10.0))
    assert next(iter(scaled["update_norm"].numbers())) == pytest.approx(
        10 * next(iter(plain["update_norm"].numbers())), rel=1e-3
    )


def test_the_trial_says_so():
    assert str(trained(0.1).trial) == "train (3 steps, learning rate x0.1)"
