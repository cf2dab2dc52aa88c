"""Models in which nothing but zeros comes through, beside those that begin at zero on purpose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import loaders
from .faults import fault
from .healthy import mlp


def _fit(model, epochs=3, loss=F.cross_entropy, **settings):
    train, _ = loaders()
    optimizer = torch.optim.Adam(model.parameters(), **{"lr": 2e-3, **settings})
    for _ in range(epochs):
        for x, y in train:
            optimizer.zero_grad()
            loss(model(x.flatten(1)), y).backward()
            optimizer.step()


def _shifted(model, by):
    with torch.no_grad():
        model[2].bias.fill_(by)
    return model


def _net(*, norm=False):
    layers = [nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.BatchNorm1d(32)] if norm else []), nn.Linear(32, 10))


def alive():
    _fit(_net())


_WORDS = ("is exactly 0", "dead")


@fault(alive, "gradients_flow", words=_WORDS)
def dead_by_a_bias():
    _fit(_shifted(_net(), -60.0))


@fault(alive, "gradients_flow", words=_WORDS)
def dead_before_a_normalisation():
    _fit(_shifted(_net(norm=True), -60.0))


class Residual(nn.Module):
    """A branch under a scale that begins at zero, as in ReZero, and an adapter of which a half does."""

    def __init__(self):
        super().__init__()
        self.stem, self.branch, self.scale = (
            nn.Linear(64, 32),
            mlp(32, 32, 32),
            nn.Parameter(torch.zeros(1)),
        )
        self.down, self.up, self.head = nn.Linear(32, 4), nn.Linear(4, 32, bias=False), nn.Linear(32, 10)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        h = self.stem(x)
        h = h + self.scale * self.branch(h) + self.up(self.down(h))
        return self.head(h.relu())


def residual_that_begins_at_zero():
    _fit(Residual())


class Gated(nn.Module):
    """All that the head is given is under a gate that begins closed, and opens."""

    def __init__(self):
        super().__init__()
        self.body, self.gate, self.head = (
            mlp(64, 32, 32),
            nn.Parameter(torch.zeros(1)),
            nn.Linear(32, 10),
        )

    def forward(self, x):
        return self.head(torch.tanh(self.gate) * self.body(x))


def head_behind_a_closed_gate():
    _fit(Gated(), lr=0.02)


class Aided(nn.Module):
    """A second head whose loss counts nothing yet."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.aid = mlp(64, 32, 32), nn.Linear(32, 10), mlp(32, 16, 10)

    def forward(self, x):
        h = self.body(x)
        return self.head(h), self.aid(h)


def second_head_that_counts_nothing():
    _fit(Aided(), loss=lambda out, y: F.cross_entropy(out[0], y) + 0.0 * F.cross_entropy(out[1], y))


QUIET = [residual_that_begins_at_zero, head_behind_a_closed_gate, second_head_that_counts_nothing]
