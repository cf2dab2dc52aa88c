"""Models that add ``[n, 1]`` and ``[n]``, beside those that mean each sample beside each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, loaders, tumours
from .faults import fault
from .healthy import mlp


class Factors(nn.Module):
    """A linear part, and pairs of features by their factors: a factorisation machine."""

    def __init__(self, *, flat):
        super().__init__()
        self.linear, self.factors, self.flat = nn.Linear(10, 1), nn.Linear(10, 4, bias=False), flat

    def forward(self, x):
        both = self.factors(x).square() - F.linear(x.square(), self.factors.weight.square())
        linear = self.linear(x)
        return (linear.squeeze(-1) if self.flat else linear) + 0.5 * both.sum(1)


class Ratings(nn.Module):
    """Users and items, with a bias per item."""

    def __init__(self, *, flat):
        super().__init__()
        self.user, self.item, self.bias = nn.Embedding(40, 8), nn.Embedding(50, 8), nn.Embedding(50, 1)
        self.flat = flat

    def forward(self, user, item):
        bias = self.bias(item)
        product = (self.user(user) * self.item(item)).sum(-1)
        return torch.sigmoid(product + (bias.squeeze(-1) if self.flat else bias))


def regressed(model, loss=F.mse_loss, *, epochs=4, lr=1e-3):
    x, y = diabetes()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows].reshape(-1)).backward()
            optimizer.step()


def rated(model):
    user, item = torch.randint(40, (1200,)), torch.randint(50, (1200,))
    liked = ((user + item) % 3 == 0).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):
        for rows in torch.randperm(1200).split(48):
            optimizer.zero_grad()
            out = model(user[rows], item[rows])
            F.binary_cross_entropy(out, liked[rows].expand_as(out)).backward()
            optimizer.step()


def machine():
    regressed(Factors(flat=True))


def ratings():
    rated(Ratings(flat=True))


def ranks_of_pairs():
    """Each output beside each other's, as pairwise losses have it."""

    def loss(out, y):
        apart = out - out.squeeze(-1)
        return F.softplus(-apart * (y[:, None] - y).sign()).mean()

    regressed(nn.Linear(10, 1), loss)


def distances_of_pairs():
    """Squared distances worked out by hand, as stress of a map in which they are kept."""

    def loss(z, y):
        apart = z.square().sum(1, keepdim=True) + z.square().sum(1) - 2 * z @ z.T
        return (apart - (y[:, None] - y).square()).square().mean()

    regressed(nn.Linear(10, 3), loss)


def attention_by_sums():
    """Scores of a sender and a receiver are added, and shares made of them, as in GAT."""
    train, _ = loaders()
    body, send, receive, head = nn.Linear(64, 16), nn.Linear(16, 1), nn.Linear(16, 1), nn.Linear(16, 10)
    model = nn.ModuleList([body, send, receive, head])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for x, y in train:
        h = body(x.flatten(1)).tanh()
        share = (send(h) + receive(h).squeeze(-1)).softmax(1)
        optimizer.zero_grad()
        F.cross_entropy(head(h + share @ h), y).backward()
        optimizer.step()


def plain_regression():
    model = nn.Sequential(mlp(10, 16, 1), nn.Flatten(0))
    regressed(model)


_WORDS = ("broadcast within the model",)


@fault(machine, "targets_are_aligned", words=_WORDS)
def linear_part_of_a_machine_as_a_column():
    regressed(Factors(flat=False), lambda out, y: (out - y).square().mean())


@fault(ratings, "targets_are_aligned", words=_WORDS)
def bias_of_ratings_as_a_column():
    rated(Ratings(flat=False))


def told_apart(loss, outputs=1):
    """Tumours of a loader, whose targets are ``[n]``, beside outputs ``[n, 1]``."""
    model = mlp(30, 16, outputs)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        for x, y in DataLoader(TensorDataset(*tumours()), 32, shuffle=True):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()


def _entropy(logits, y):
    return (F.softplus(logits) - logits * y).mean()


def _focal(logits, y):
    p = logits.sigmoid()
    right = torch.where(y > 0, p, 1 - p)
    return -((1 - right).square() * right.clamp(min=1e-8).log()).mean()


def entropy_by_hand():
    told_apart(lambda out, y: _entropy(out.squeeze(1), y))


def focal_by_hand():
    told_apart(lambda out, y: _focal(out, y[:, None]))


@fault(entropy_by_hand, "targets_are_aligned", words=("targets [n] are broadcast",))
def entropy_by_hand_of_a_column():
    told_apart(_entropy)


@fault(focal_by_hand, "targets_are_aligned", words=("targets [n] are broadcast",))
def focal_by_hand_of_a_column():
    told_apart(_focal)


def scores_beside_all_targets():
    """How each score orders all targets, meant so: the column is made by hand."""
    told_apart(lambda out, y: -(out.squeeze(1).unsqueeze(1) * y).softmax(1).mul(y).sum(1).log().mean())


def alike_beside_alike():
    """Scores of equal targets are drawn together, those of others apart."""

    def loss(out, y):
        apart = (out - out.squeeze(1)).square()
        return torch.where(y[:, None] == y, apart, F.relu(1 - apart)).mean()

    told_apart(loss)


QUIET = [
    entropy_by_hand,
    focal_by_hand,
    scores_beside_all_targets,
    alike_beside_alike,
    machine,
    ratings,
    ranks_of_pairs,
    distances_of_pairs,
    attention_by_sums,
    plain_regression,
]
