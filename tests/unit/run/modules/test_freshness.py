"""Small tables of small draws are told from trained ones; in no optimizer they are a fault."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import watch
from pytest_dlcheck.run.modules.freshness import is_untrained

ROWS, WIDTH = 40, 12


def table(std):
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1)) * std


@pytest.mark.parametrize("std", [0.01, 0.02])
def test_a_small_table_of_small_draws_is_fresh(std):
    assert is_untrained(table(std)) is True


@pytest.mark.parametrize(
    "trained",
    [
        table(0.01) + 0.01 * torch.sin(torch.arange(ROWS)[:, None] + torch.zeros(WIDTH)),
        table(0.01) * torch.linspace(0.1, 3, WIDTH),
        table(0.05),
        table(1.0),
    ],
)
def test_of_others_nothing_is_said(trained):
    assert is_untrained(trained) is None


class Tabular(nn.Module):
    """An embedding and layers on it."""

    def __init__(self, weights):
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(weights.clone(), freeze=False)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        return self.layers(self.embed(x)).squeeze(-1)


def failures(weights, *, frozen=False, whole=False, by_hand=False):
    torch.manual_seed(0)
    model = Tabular(weights)
    model.embed.weight.requires_grad_(not frozen)
    optimizer = torch.optim.Adam((model if whole else model.layers).parameters(), lr=1e-2)
    with watch() as run:
        for _ in range(12):
            x = torch.randint(0, ROWS, (64,))
            model.zero_grad()
            F.mse_loss(model(x), (x % 2).float()).backward()
            optimizer.step()
            if by_hand:
                with torch.no_grad():
                    model.embed.weight -= 0.1 * model.embed.weight.grad.sign()
    return [f.verdict for f in run.failures if f.verdict.check == "optimizer_covers_model"]


def test_fresh_tables_that_no_optimizer_holds_are_a_fault():
    (verdict,) = failures(table(0.01))
    assert verdict.sites == ("embed",)
    assert "left out" in verdict.cause


def test_held_frozen_pretrained_or_moved_by_hand_they_are_none():
    assert failures(table(0.01), whole=True) == []
    assert failures(table(0.01), frozen=True) == []
    assert failures(table(0.01), by_hand=True) == []
    assert failures(table(0.4) * torch.linspace(0.1, 3, WIDTH)) == []
