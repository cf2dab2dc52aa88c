"""Loops that validate a copy which does not follow the trained model, beside copies that do."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from . import healthy
from .data import loaders
from .faults import fault
from .healthy import Net, evaluate, mlp


def _averaged(follow, *, model=None, make=None, epochs=4, begin=copy.deepcopy):
    """Train, let ``follow(average, model)`` run after each step, and validate the average alone."""
    train, test = loaders()
    model = model or Net()
    average = begin(model)
    optimizer = make(model) if make else torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                follow(average, model)
        evaluate(average, test)


class Flat(nn.Module):
    """Reads images as rows, with LayerNorm."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(64, 32), nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x):
        return self.last(self.norm(self.first(x.flatten(1))).relu())


def _mix(average, model, decay=0.95):
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.copy_(decay * a + (1 - decay) * b)


@fault(healthy.ema_and_swa, "validated_model_is_trained", words=("stands still",))
def average_that_follows_itself():
    _averaged(lambda average, _: _mix(average, average, 0.9))


@fault(healthy.ema_and_swa, "validated_model_is_trained", words=("stands still",))
def average_that_follows_itself_in_place():
    def follow(average, _):
        for a, b in zip(average.state_dict().values(), average.state_dict().values(), strict=True):
            if a.is_floating_point():
                a.mul_(0.95).add_(b, alpha=0.05)

    _averaged(follow, model=Flat())


@fault(healthy.ema_and_swa, "validated_model_is_trained", words=("stands still",))
def averaged_model_given_itself():
    _averaged(
        lambda average, _: average.update_parameters(average.module),
        begin=lambda model: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99)),
        make=lambda model: torch.optim.SGD(model.parameters(), lr=0.05),
    )


# -- healthy neighbours ---------------------------------------------------------------------------


def average_that_is_slow():
    def follow(average, model):
        _mix(average, model, 0.9999)
        for a, b in zip(average.buffers(), model.buffers(), strict=True):
            a.copy_(b)

    _averaged(follow, epochs=2)


def average_that_is_slow_of_a_model_that_is_too():
    _averaged(
        lambda average, model: _mix(average, model, 0.9999),
        model=Flat(),
        make=lambda model: torch.optim.SGD(model.parameters(), lr=1e-3),
    )


def average_of_all_steps():
    _averaged(lambda average, model: average.update_parameters(model), begin=AveragedModel)


def copied_now_and_then():
    steps = iter(range(1000))

    def follow(average, model):
        if next(steps) % 20 == 19:
            average.load_state_dict(model.state_dict())

    _averaged(follow, model=Flat())


def average_of_a_head_alone():
    """Most of its parameters are frozen, and those of the copy are as they were."""
    model = nn.Sequential(nn.Flatten(), mlp(64, *[64] * 6, 10))
    for parameter in list(model.parameters())[:-1]:
        parameter.requires_grad_(False)
    _averaged(
        _mix,
        model=model,
        make=lambda model: torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2),
    )


def frozen_reference_of_another_size():
    train, test = loaders()
    model, reference = Net(), mlp(64, 16, 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(3):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        reference.eval()
        with torch.no_grad():
            for x, _ in test:
                reference(x.flatten(1))
        evaluate(model, test)


QUIET = [
    average_that_is_slow,
    average_that_is_slow_of_a_model_that_is_too,
    average_of_all_steps,
    copied_now_and_then,
    average_of_a_head_alone,
    frozen_reference_of_another_size,
]
"""None of them may raise an alarm."""
