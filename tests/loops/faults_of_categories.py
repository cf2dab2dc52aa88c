"""Tables whose categories come first: samples share them, and are told apart by their numbers alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from .faults import fault


class _Sales(nn.Module):
    def __init__(self):
        super().__init__()
        self.shops, self.goods = nn.Embedding(40, 4), nn.Embedding(30, 4)
        self.head = nn.Sequential(nn.Linear(11, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, codes, numbers):
        told = [self.shops(codes[:, 0]), self.goods(codes[:, 1]), numbers]
        return self.head(torch.cat(told, 1)).squeeze(1)


def _table():
    generator = torch.Generator().manual_seed(3)
    codes = torch.stack([torch.randint(n, (800,), generator=generator) for n in (40, 30)], 1)
    numbers = torch.randn(800, 3, generator=generator)
    return TensorDataset(codes, numbers, numbers[:, 0] + 0.1 * codes[:, 0])


def _train(train, test):
    model = _Sales()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        model.train()
        for codes, numbers, y in DataLoader(train, 32, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(codes, numbers), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for codes, numbers, _ in DataLoader(test, 64):
                model(codes, numbers)


def categories_that_all_splits_share():
    train, test = random_split(_table(), [640, 160])
    _train(train, test)


@fault(categories_that_all_splits_share, "validation_is_untouched", words=("the split",))
def table_that_is_split_twice():
    table = _table()
    _train(random_split(table, [640, 160])[0], random_split(table, [640, 160])[1])
