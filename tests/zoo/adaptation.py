"""Trained before: low-rank adaptation, frozen bodies, gentle fine-tuning."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, AdamW

from pytest_dlcheck import Recipe, recipe

from .data import digits, halves, loader
from .structures import body, on_digits


class LowRank(nn.Module):
    def __init__(self, base, rank=4):
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


def trained(model, images, labels, epochs=2):
    adam = Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for x, y in loader(images, labels, batch_size=64):
            adam.zero_grad()
            F.cross_entropy(model(x), y).backward()
            adam.step()
    model.zero_grad()
    return model


@recipe
def lora():
    """A net that knows upright digits is adapted to mirrored ones by low-rank updates, B from zero."""
    images, labels = digits()
    model = trained(
        nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), images, labels
    )
    model[1], model[3] = LowRank(model[1]), LowRank(model[3])
    learned = [p for p in model.parameters() if p.requires_grad]
    return Recipe(
        model=model,
        train_data=loader(images.flip(3), labels),
        loss=nn.CrossEntropyLoss(),
        optimizer=AdamW(learned, lr=5e-3),
        frozen=["*.base.*"],
    )


def transferred():
    """A body that has learned the small digits, and a new head for the large ones."""
    images, labels = digits()
    low = labels < 5
    model = trained(nn.Sequential(body(), nn.Linear(128, 5)), images[low], labels[low])
    model[0].requires_grad_(requires_grad=False)
    model[1] = nn.Linear(128, 5)
    return model, (images[~low], labels[~low] - 5)


class KeptInEval(nn.Sequential):
    """Frozen BatchNorm: `train()` leaves the body in eval mode."""

    def train(self, mode=True):  # noqa: FBT002  torch's own signature
        super().train(mode)
        self[0].eval()
        return self


@recipe
def frozen_body_declared():
    model, data = transferred()
    model = KeptInEval(*model)
    return Recipe(
        model=model,
        train_data=data,
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model[1].parameters(), lr=3e-3),
        frozen=["0.*"],
    )


@recipe
def frozen_body_all_parameters_in_the_optimizer():
    """`requires_grad=False` only; BatchNorm's statistics go on adapting, as they do by default."""
    model, data = transferred()
    return Recipe(
        model=model,
        train_data=data,
        loss=nn.CrossEntropyLoss(),
        optimizer=AdamW(model.parameters(), lr=3e-3, weight_decay=0.05),
    )


@recipe
def fine_tuning_gently():
    """Adam at 1e-5 on a model near its floor, as one fine-tunes: little happens, and that is right."""
    train, _ = halves(*digits())
    model = trained(nn.Sequential(body(), nn.Linear(128, 10)), *train)
    return on_digits(model, Adam(model.parameters(), lr=1e-5))
