"""Samples that are kept by reference and overwritten in place, beside loops that keep copies."""

from __future__ import annotations

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from .faults import fault
from .healthy import mlp


def _replay(keep, *, steps=120):
    """A memory of states that are written to one tensor, each with what it was worth."""
    state, memory = torch.zeros(3), []
    model = mlp(3, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        state.copy_(torch.randn(3))
        memory.append((keep(state), state.sum().view(1).clone()))
        if step < 40:
            continue
        states, worth = (torch.stack(each) for each in zip(*random.sample(memory, 32), strict=True))
        optimizer.zero_grad()
        F.mse_loss(model(states), worth).backward()
        optimizer.step()


def copies_in_a_memory():
    _replay(torch.clone)


@fault(copies_in_a_memory, "targets_are_aligned", words=("kept by reference",))
def references_in_a_memory():
    _replay(lambda state: state)


@fault(copies_in_a_memory, "targets_are_aligned", words=("kept by reference",))
def views_in_a_memory():
    _replay(lambda state: state.detach().view(-1))


def _from_arrays(keep):
    """Samples of one numpy buffer, that a loader stacks."""
    buffer, samples = np.zeros(4, dtype=np.float32), []
    numbers = np.random.default_rng(0)
    for _ in range(160):
        buffer[:] = numbers.normal(size=4)
        samples.append((keep(buffer), np.float32(buffer.sum() > 0)))
    model = nn.Sequential(mlp(4, 16, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        for x, y in DataLoader(samples, 16, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(x), y).backward()
            optimizer.step()


def copies_of_an_array():
    _from_arrays(np.copy)


@fault(copies_of_an_array, "targets_are_aligned", words=("kept by reference",))
def references_to_an_array():
    _from_arrays(lambda buffer: buffer)


# -- healthy neighbours ---------------------------------------------------------------------------


def _on_one_state(state, model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        F.mse_loss(model(state.expand(32, -1)), torch.randn(32, 1)).backward()
        optimizer.step()


def bandit_of_one_state():
    """There is one state, and what it is worth varies."""
    _on_one_state(torch.ones(1, 3), mlp(3, 16, 1))


class Pair(nn.Module):
    """Scores candidates beside one question."""

    def __init__(self):
        super().__init__()
        self.net = mlp(6, 16, 1)

    def forward(self, question, candidates):
        return self.net(torch.cat([question, candidates], 1))


def candidates_of_one_question():
    model = Pair()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(40):
        question, candidates = torch.randn(1, 3).expand(16, -1), torch.randn(16, 3)
        optimizer.zero_grad()
        scores = model(question, candidates=candidates)
        F.mse_loss(scores, (question * candidates).sum(1, keepdim=True)).backward()
        optimizer.step()


def one_batch_again_and_again():
    model, x = mlp(3, 16, 1), torch.randn(1, 3).repeat(16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        F.mse_loss(model(x), torch.ones(16, 1)).backward()
        optimizer.step()


QUIET = [bandit_of_one_state, candidates_of_one_question, one_batch_again_and_again]
"""None of them may raise an alarm."""
