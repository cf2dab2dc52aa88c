"""What the test files of toy projects are made of: a small model, small data, a recipe of them."""

from __future__ import annotations

import torch
from torch import nn

from pytest_dlcheck import Recipe, recipe

__all__ = ["Net", "Recipe", "X", "Y", "made", "nn", "recipe", "torch"]

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Net(nn.Module):
    """A classifier of two layers; ``cut`` keeps gradients from the first."""

    def __init__(self, *, cut=False):
        super().__init__()
        self.cut = cut
        self.encoder = nn.Linear(4, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        hidden = torch.relu(self.encoder(x))
        return self.head(hidden.detach() if self.cut else hidden)


def made(model=None, **parts):
    """A healthy recipe, but for the parts that are given."""
    model = Net() if model is None else model
    parts.setdefault("model", model)
    parts.setdefault("train_data", (X, Y))
    if "training_step" not in parts:
        parts.setdefault("loss", nn.CrossEntropyLoss())
    if "optimizer" not in parts:
        parts["optimizer"] = torch.optim.Adam(model.parameters(), lr=0.01)
    return Recipe(**parts)
