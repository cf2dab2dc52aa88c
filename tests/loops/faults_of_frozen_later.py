"""Trunks that are frozen between two trainings, whose statistics move on, beside healthy ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import digits, loaders
from .faults import fault


class Trunk(nn.Module):
    """A trunk with batch normalisation, and two heads."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(32, 10) for _ in range(2))

    def forward(self, x, head):
        return self.heads[head](self.trunk(x))


def fit(model, head, *, arrange=lambda model: None, optimizer=None):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = optimizer or torch.optim.Adam(trained, lr=3e-3)
    for _ in range(2):
        model.train()
        arrange(model)
        for x, y in loaders()[0]:
            optimizer.zero_grad()
            F.cross_entropy(model(x if head == 0 else 1 - x / 2, head), y).backward()
            optimizer.step()
    return optimizer


def frozen(model):
    model.trunk.requires_grad_(requires_grad=False)


def frozen_in_eval_mode_between_trainings():
    model = Trunk()
    fit(model, 0)
    frozen(model)
    fit(model, 1, arrange=lambda model: model.trunk.eval())


def frozen_in_eval_mode_under_one_optimizer():
    model = Trunk()
    optimizer = fit(model, 0)
    frozen(model)
    fit(model, 1, optimizer=optimizer, arrange=lambda model: model.trunk.eval())


MOVED = ("change their running statistics",)


@fault(frozen_in_eval_mode_between_trainings, "frozen_stay_frozen", words=MOVED, advice=True)
def frozen_in_train_mode_between_trainings():
    model = Trunk()
    fit(model, 0)
    frozen(model)
    fit(model, 1)


@fault(frozen_in_eval_mode_under_one_optimizer, "frozen_stay_frozen", words=MOVED, advice=True)
def frozen_in_train_mode_under_one_optimizer():
    model = Trunk()
    optimizer = fit(model, 0)
    frozen(model)
    fit(model, 1, optimizer=optimizer)


# -- healthy neighbours ---------------------------------------------------------------------------


def frozen_for_a_while_and_thawed():
    model = Trunk()
    fit(model, 0)
    frozen(model)
    fit(model, 1)
    model.trunk.requires_grad_()
    fit(model, 1)


def frozen_after_the_last_step():
    model = Trunk()
    fit(model, 0)
    fit(model, 1)
    frozen(model)
    with torch.no_grad():
        model.train().trunk(digits()[0])


def nothing_frozen():
    model = Trunk()
    fit(model, 0)
    fit(model, 1)


def without_statistics():
    model = Trunk()
    model.trunk[2] = nn.BatchNorm1d(32, track_running_stats=False)
    fit(model, 0)
    frozen(model)
    fit(model, 1)


QUIET = [
    frozen_for_a_while_and_thawed,
    frozen_after_the_last_step,
    nothing_frozen,
    without_statistics,
    frozen_in_eval_mode_between_trainings,
    frozen_in_eval_mode_under_one_optimizer,
]
"""None of them may raise an alarm, nor be told of statistics that change."""
