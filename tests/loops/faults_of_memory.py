"""Loops whose weights or scores lie in memory otherwise than is meant, beside those that are well."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault

LEVELS, WORDS = 3, 16


def _maps():
    """Images, and for each pixel whether it is dark, grey or bright."""
    images, _ = digits()
    images = images[:512].reshape(-1, 1, 8, 8)
    low, high = images.quantile(0.5), images.quantile(0.8)
    return TensorDataset(images, (images[:, 0] > low).long() + (images[:, 0] > high).long())


def _segment(compare):
    torch.manual_seed(0)
    loader = DataLoader(_maps(), 32, shuffle=True)
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, LEVELS, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            compare(model(x), y).backward()
            optimizer.step()


def by_hand(scores, labels):
    return (scores.logsumexp(1) - scores.gather(1, labels[:, None])[:, 0]).mean()


def segmentation():
    _segment(lambda scores, y: by_hand(scores.permute(0, 2, 3, 1).reshape(-1, LEVELS), y.reshape(-1)))


def segmentation_by_torch():
    _segment(lambda scores, y: F.cross_entropy(scores.flatten(2), y.flatten(1)))


@fault(segmentation, "loss_is_sound", words=("permute",))
def pixels_mixed_by_a_reshape():
    _segment(lambda scores, y: by_hand(scores.reshape(-1, LEVELS), y.reshape(-1)))


@fault(segmentation_by_torch, "loss_is_sound", words=("permute",))
def pixels_mixed_before_torch_compares_them():
    _segment(lambda scores, y: F.cross_entropy(scores.reshape(-1, LEVELS), y.reshape(-1)))


class Speller(nn.Module):
    def __init__(self, tie):
        super().__init__()
        self.table, self.rnn = nn.Embedding(WORDS, 24), nn.GRU(24, 24, batch_first=True)
        self.head = nn.Linear(24, WORDS)
        tie(self)

    def forward(self, ids):
        return self.head(self.rnn(self.table(ids))[0])


def _spell(tie):
    torch.manual_seed(0)
    ids = (torch.arange(12) * torch.randint(1, 6, (400, 1)) + torch.randint(WORDS, (400, 1))) % WORDS
    loader = DataLoader(TensorDataset(ids[:, :-1], ids[:, 1:]), 32, shuffle=True)
    model = Speller(tie)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(4):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
            optimizer.step()


def _as_one(model):
    model.head.weight = model.table.weight


def _by_memory(model):
    model.head.weight = nn.Parameter(model.table.weight.data)


def tied_weights():
    _spell(_as_one)


@fault(tied_weights, "optimizer_covers_model", words=("memory",))
def tied_by_memory_alone():
    _spell(_by_memory)


def begins_as_a_copy():
    def copied(model):
        model.head.weight = nn.Parameter(model.table.weight.detach().clone())

    _spell(copied)


QUIET = [segmentation, segmentation_by_torch, tied_weights, begins_as_a_copy]
"""None of them may raise an alarm."""
