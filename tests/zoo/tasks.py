"""Losses and outputs beyond plain classification: several labels, dicts, dataclasses, counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, SparseAdam

from pytest_dlcheck import Recipe, recipe

from .data import digits, halves, loader
from .tables import mlp


@recipe
def focal_loss_rare_class():
    """One digit in ten is a nine; easy samples weigh little."""
    images, labels = digits()
    model = nn.Sequential(nn.Flatten(), mlp(64, 64, 1), nn.Flatten(0))

    def focal(logits, targets):
        plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (0.25 + 0.5 * targets).mul((1 - (-plain).exp()) ** 2).mul(plain).mean()

    return Recipe(
        model=model,
        train_data=(images, (labels == 9).float()),
        loss=focal,
        optimizer=Adam(model.parameters(), lr=2e-3),
    )


@recipe
def multi_label():
    """Which of four properties a digit has: even, prime, round, above four."""
    images, labels = digits()
    rules = [(0, 2, 4, 6, 8), (2, 3, 5, 7), (0, 6, 8, 9), (5, 6, 7, 8, 9)]
    marks = torch.stack([torch.isin(labels, torch.tensor(rule)) for rule in rules], dim=1).float()
    model = nn.Sequential(nn.Flatten(), mlp(64, 64, 4, act=nn.SiLU))
    return Recipe(
        model=model,
        train_data=(images, marks),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 4",
    )


@recipe
def multi_task_dict_outputs():
    """The digit, how much ink it took, and whether it is even, in one dict."""
    images, labels = digits()
    ink = images.mean((1, 2, 3))
    ink = (ink - ink.mean()) / ink.std()

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Flatten(), mlp(64, 64, 32), nn.ReLU())
            self.heads = nn.ModuleDict({name: nn.Linear(32, n) for name, n in SIZES.items()})

        def forward(self, images):
            trunk = self.trunk(images)
            return {name: head(trunk).squeeze(-1) for name, head in self.heads.items()}

    def loss(outputs, targets):
        return (
            F.cross_entropy(outputs["digit"], targets["digit"])
            + F.mse_loss(outputs["ink"], targets["ink"])
            + 0.5 * F.binary_cross_entropy_with_logits(outputs["even"], targets["even"])
        )

    data = [
        (image, {"digit": label, "ink": amount, "even": (label % 2 == 0).float()})
        for image, label, amount in zip(images, labels, ink, strict=True)
    ]
    model = Model()
    return Recipe(
        model=model,
        train_data=torch.utils.data.DataLoader(data, 64, shuffle=True),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> digit: b 10, ink: b, even: b",
    )


SIZES = {"digit": 10, "ink": 1, "even": 1}


@dataclass
class Reading:
    """What `reader` gives: a dataclass, not a tensor."""

    scores: torch.Tensor
    features: torch.Tensor


@recipe
def dataclass_outputs():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Sequential(nn.Flatten(), mlp(64, 48)), nn.Linear(48, 10)

        def forward(self, images):
            features = F.relu(self.body(images))
            return Reading(self.head(features), features)

    def loss(reading, labels):
        return F.cross_entropy(reading.scores, labels) + 1e-3 * reading.features.abs().mean()

    model = Reader()
    train, val = halves(*digits())
    return Recipe(
        model=model,
        train_data=loader(*train),
        val_data=loader(*val, shuffle=False),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def poisson_counts():
    """How many dark pixels a digit has, from its left half."""
    images, _ = digits()
    model = nn.Sequential(nn.Flatten(), mlp(32, 32, 1), nn.Flatten(0))
    return Recipe(
        model=model,
        train_data=(images[..., :4], (images > 0.5).sum((1, 2, 3)).float()),
        loss=nn.PoissonNLLLoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
    )


class Factors(nn.Module):
    """Scores of pairs (user, item) of a hidden low-rank table."""

    def __init__(self):
        super().__init__()
        self.users, self.items = (nn.Embedding(n, 8, sparse=True) for n in (100, 60))
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, pairs):
        users, items = pairs.unbind(1)
        return (self.users(users) * self.items(items)).sum(1)


@recipe
def sparse_matrix_factorisation():
    random = torch.Generator().manual_seed(0)
    left, right = torch.randn(100, 4, generator=random), torch.randn(60, 4, generator=random)
    pairs = torch.cartesian_prod(torch.arange(100), torch.arange(60))
    scores = (left @ right.T / 2).flatten()
    model = Factors()
    return Recipe(
        model=model,
        train_data=loader(pairs, scores, batch_size=256),
        loss=nn.MSELoss(),
        optimizer=SparseAdam(list(model.parameters()), lr=2e-2),
        shapes="b 2:int64 -> b",
    )
