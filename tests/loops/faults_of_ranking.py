"""Pairs that are ranked by a likelihood of logits, beside one that is given probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .faults import fault

USERS, ITEMS = 40, 60


class Factors(nn.Module):
    """A matrix factorisation with a bias per item."""

    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(USERS, 8), nn.Embedding(ITEMS, 8)
        self.bias = nn.Embedding(ITEMS, 1)

    def forward(self, user, item):
        return (self.user(user) * self.item(item)).sum(-1) + self.bias(item).squeeze(-1)


def pairs():
    """Users, items that they like, and others, of shape ``[n, 3]``."""
    taste = torch.randn(USERS, 3) @ torch.randn(3, ITEMS)
    liked = torch.stack([taste.topk(10)[1], taste.topk(20, largest=False)[1][:, 10:]], 2)
    users = torch.arange(USERS)[:, None].expand(USERS, 10)
    return torch.cat([users[..., None], liked], 2).reshape(-1, 3)


def ranked(loss, *, epochs=6):
    data = TensorDataset(pairs())
    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(epochs):
        for (rows,) in DataLoader(data, batch_size=50, shuffle=True):
            user, better, worse = rows.unbind(1)
            optimizer.zero_grad()
            loss(model(user, better), model(user, worse)).backward()
            optimizer.step()


def by_logits():
    ranked(lambda better, worse: -F.logsigmoid(better - worse).mean())


def by_softplus():
    ranked(lambda better, worse: F.softplus(worse - better).mean())


def by_a_logarithm():
    ranked(lambda better, worse: -torch.log(torch.sigmoid(better - worse) + 1e-8).mean())


def weighed_by_how_wrong():
    """Pairs that are ranked badly weigh more, by a sigmoid beside the likelihood."""

    def loss(better, worse):
        weight = torch.sigmoid(worse - better).detach()
        return -(weight * F.logsigmoid(better - worse)).mean()

    ranked(loss)


@fault(by_logits, "loss_is_sound", words=("sigmoid",))
def sigmoid_before_logsigmoid():
    ranked(lambda better, worse: -F.logsigmoid(torch.sigmoid(better - worse)).mean())


@fault(by_logits, "loss_is_sound", words=("sigmoid",))
def sigmoid_before_logsigmoid_the_other_way():
    ranked(lambda better, worse: -F.logsigmoid(-torch.sigmoid(worse - better)).mean())


QUIET = [by_logits, by_softplus, by_a_logarithm, weighed_by_how_wrong]
