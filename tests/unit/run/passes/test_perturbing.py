"""How often a batch is run for zeros that might be multiplied with each other."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.passes import perturbing
from pytest_dlcheck.run.passes.passage import follow
from pytest_dlcheck.run.rig import Rig

TABLES = 8


class Rounded(nn.Module):
    """Adds what tables of zeros give, rounded: each is felt alone, and none gets a gradient."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.tables = nn.ParameterList(nn.Parameter(torch.zeros(6, 3)) for _ in range(TABLES))

    def forward(self, x):
        return self.head(x) + sum(torch.round(100 * x @ table) for table in self.tables)


def test_each_is_asked_once_and_not_with_every_other(monkeypatch):
    calls = []
    model = Rounded()
    recipe = Recipe(
        model=model,
        train_data=[(torch.randn(16, 6), torch.randint(0, 3, (16,)))],
        loss=F.cross_entropy,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )
    rig = Rig(recipe, "cpu", 0)
    rig.open()
    monkeypatch.setattr(perturbing, "follow", lambda rig: calls.append(rig) or follow(rig))
    zeros = perturbing.Zeros(rig, model.tables)
    base = follow(rig)
    assert not any(zeros.product([table], base) for table in model.tables)
    assert len(calls) <= 1 + TABLES
