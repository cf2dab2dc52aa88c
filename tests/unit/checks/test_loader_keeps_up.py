"""What loader_keeps_up says: it advises where most of a step is waiting, and never fails."""

from __future__ import annotations

from time import sleep

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


class Slow(Dataset):
    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return 64

    def __getitem__(self, index):
        sleep(self.seconds)
        return torch.full((4,), float(index)), index % 2


def recipe_of(seconds):
    model = nn.Linear(4, 2)
    return Recipe(
        model=model,
        train_data=DataLoader(Slow(seconds), 8),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.01),
    )


def test_slow_reading_is_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(0.01), steps=16)
    assert verdict.outcome is Outcome.PASSED
    assert "num_workers" in verdict.advice[0]


def test_data_at_hand_is_not(verdict_on):
    verdict = verdict_on(lambda: recipe_of(0), steps=16)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_few_steps_tell_nothing(verdict_on):
    assert verdict_on(lambda: recipe_of(0), steps=5).outcome is Outcome.INCONCLUSIVE
