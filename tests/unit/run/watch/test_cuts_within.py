"""A graph that is cut within a model is told from a part that its loss does not use."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch

X = torch.randn(96, 3, 16, generator=torch.Generator().manual_seed(0))
Y = (X.mean((1, 2)) > 0).long()


class Pooled(nn.Module):
    """An encoder, pooled in some way, and a head."""

    def __init__(self, pool):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU(), nn.Conv1d(6, 6, 3))
        self.head, self.pool = nn.Linear(12, 2), pool

    def forward(self, x):
        return self.head(self.pool(self.encoder(x), x))


def ends(f):
    return torch.cat([f.mean(-1), f.amax(-1)], 1)


def failures(pool, *, frozen=False):
    model = Pooled(pool)
    model.encoder.requires_grad_(not frozen)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    with watch() as run:
        for x, y in DataLoader(TensorDataset(X, Y), 8, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return [f.verdict for f in run.failures if f.verdict.check == "gradients_flow"]


@pytest.mark.parametrize("cut", [lambda f, _: ends(f.data), lambda f, _: ends(f.detach() * 2)])
def test_a_pooled_result_without_its_graph_is_a_cut(cut):
    (verdict,) = failures(cut)
    assert verdict.sites == ("encoder",)
    assert "cut between" in verdict.cause
    assert "`head`" in verdict.cause


def test_what_has_its_graph_is_frozen_or_not_used_is_none():
    assert failures(lambda f, _: ends(f)) == []
    assert failures(lambda f, _: ends(f.data), frozen=True) == []
    assert failures(lambda _, x: ends(x).repeat(1, 2)) == []
