"""Averages and targets that take nearly all of the new weights at each update, beside sound ones."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from .data import digits
from .faults import fault
from .healthy import mlp


def _follows(average, model, kept):
    with torch.no_grad():
        for mine, its in zip(average.parameters(), model.parameters(), strict=True):
            mine.mul_(kept).add_(its, alpha=1 - kept)


def _averaged(kept, update=_follows):
    """Digits, and an average that is evaluated after each epoch."""
    images, labels = digits()
    images = images.flatten(1)
    model = mlp(64, 64, 10)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(5):
        model.train()
        for i in torch.randperm(1400).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(images[i]), labels[i]).backward()
            optimizer.step()
            update(average, model, kept)
        average.eval()
        with torch.no_grad():
            for i in torch.arange(1400, 1797).split(64):
                F.cross_entropy(average(images[i]), labels[i]).item()


def average_of_many():
    _averaged(0.98)


@fault(average_of_many, "validated_model_is_trained", words=("exchanged",))
def average_that_keeps_a_thousandth():
    _averaged(0.001)


@fault(average_of_many, "validated_model_is_trained", words=("exchanged",))
def average_that_keeps_a_twentieth():
    _averaged(0.05)


def average_of_two_or_three():
    _averaged(0.5)


def copy_in_half_precision():
    """What is evaluated is rounded: it is as near to the weights as an average of the last step."""

    def rounded(average, model, _):
        average.load_state_dict({name: w.half().float() for name, w in model.state_dict().items()})

    _averaged(0, rounded)


def _critic(kept, *, every=1, actor=False):
    """What is near is worth more; targets look one step ahead, by copies of critic and actor."""
    critic, policy = mlp(4, 32, 1), mlp(3, 32, 1)
    target, its_policy = copy.deepcopy(critic), copy.deepcopy(policy)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    other = torch.optim.Adam(policy.parameters(), lr=1e-3)
    for round_ in range(200):
        seen, act = torch.randn(64, 3), torch.randn(64, 1).tanh()
        pay, then = -(act - seen[:, :1]).square(), seen + 0.1 * torch.randn(64, 3)
        with torch.no_grad():
            worth = pay + 0.9 * target(torch.cat([then, its_policy(then)], 1))
        optimizer.zero_grad()
        F.mse_loss(critic(torch.cat([seen, act], 1)), worth).backward()
        optimizer.step()
        if actor:
            other.zero_grad()
            (-critic(torch.cat([seen, policy(seen)], 1))).mean().backward()
            other.step()
        if round_ % every == 0:
            _follows(target, critic, kept)
            if actor:
                _follows(its_policy, policy, kept)


def soft_target():
    _critic(0.99)


@fault(soft_target, "targets_are_aligned", words=("exchanged",))
def soft_target_that_keeps_a_hundredth():
    _critic(0.01)


def soft_targets_of_two():
    _critic(0.99, actor=True)


@fault(soft_targets_of_two, "targets_are_aligned", words=("exchanged",))
def soft_targets_of_two_that_keep_a_hundredth():
    _critic(0.01, actor=True)


def target_that_is_synchronised_now_and_then():
    _critic(0, every=20)


def target_that_is_synchronised_every_time():
    _critic(0)


QUIET = [
    average_of_two_or_three,
    copy_in_half_precision,
    target_that_is_synchronised_now_and_then,
    target_that_is_synchronised_every_time,
]
"""None of them may raise an alarm."""
