"""Sound word models of designs that rules once took for faults: none of them may raise an alarm."""

from __future__ import annotations

import inspect
import statistics

import torch
import torch.nn.functional as F
from torch import nn


def letters(size=24_000):
    """A text as numbers, and how many there are."""
    text = inspect.getsource(statistics)[:size]
    known = sorted(set(text))
    return torch.tensor([known.index(letter) for letter in text]), len(known)


def windows(text, begins, length):
    return torch.stack([text[begin : begin + length] for begin in begins])


class Recurrent(nn.Module):
    def __init__(self, words, heads=1):
        super().__init__()
        self.words = nn.Embedding(words, 24)
        self.states = nn.GRU(24, 32, batch_first=True)
        self.heads = nn.ModuleList(nn.Linear(32, words) for _ in range(heads))

    def forward(self, x, head=0):
        return self.heads[head](self.states(self.words(x))[0])


def heads_propagated_one_by_one():
    """The next letter, and the one after it, each backward by itself to save memory."""
    text, words = letters()
    model = Recurrent(words, heads=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        ids = windows(text, torch.randint(len(text) - 26, (16,)), 26)
        optimizer.zero_grad()
        for head in range(2):
            scores = model(ids[:, :24], head)
            F.cross_entropy(scores.flatten(0, 1), ids[:, head + 1 : head + 25].flatten()).backward()
        optimizer.step()


def two_streams_in_turns():
    """Left and right alternate; each place says the next one of its own side."""
    time = torch.arange(8000)
    left = ((time * 0.13).sin() * 12 + 16 + torch.randint(-2, 3, (8000,))).long().clamp(0, 31)
    right = (left + torch.randint(-1, 2, (8000,))).clamp(0, 31)
    stream = torch.stack([left, right], 1).flatten()
    model = Recurrent(32)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        ids = windows(stream, 2 * torch.randint(7980, (16,)), 26)
        optimizer.zero_grad()
        F.cross_entropy(model(ids[:, :24]).flatten(0, 1), ids[:, 2:].flatten()).backward()
        optimizer.step()


class Local(nn.Module):
    """Attends within blocks, of as many letters as there are samples in a batch."""

    def __init__(self, words, block=16, width=24):
        super().__init__()
        self.block = block
        self.words = nn.Embedding(words, width)
        self.places = nn.Parameter(0.02 * torch.randn(64, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.head = nn.Linear(width, words)

    def forward(self, x):
        states = self.words(x) + self.places
        blocks = self.norm(states).reshape(-1, self.block, states.shape[-1])
        later = torch.ones(self.block, self.block, dtype=torch.bool).triu(1)
        seen, _ = self.attention(blocks, blocks, blocks, attn_mask=later, need_weights=False)
        return self.head(states + seen.reshape(states.shape))


def attention_within_blocks():
    text, words = letters()
    model = Local(words)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        ids = windows(text, torch.randint(len(text) - 65, (16,)), 65)
        optimizer.zero_grad()
        F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()


QUIET = [heads_propagated_one_by_one, two_streams_in_turns, attention_within_blocks]
