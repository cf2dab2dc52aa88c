"""Streams whose batches never come again, with the labels of the batch before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .faults import fault
from .healthy import mlp


def _signals(batches, kinds=5):
    """Noisy signals of a few kinds."""
    shapes = 0.8 * torch.randn(kinds, 24)
    for _ in range(batches):
        kind = torch.randint(kinds, (48,))
        yield shapes[kind] + torch.randn(48, 24), kind


def _follow(target, *, model=None, stream=_signals, compare=F.cross_entropy):
    model = model or mlp(24, 64, 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    before = None
    for signal, kind in stream(100):
        optimizer.zero_grad()
        compare(model(signal), target(kind, kind if before is None else before)).backward()
        optimizer.step()
        before = kind


def labels_of_a_stream():
    _follow(lambda own, _: own)


@fault(labels_of_a_stream, "targets_are_aligned", words=("previous batch",))
def labels_of_a_stream_that_lag():
    _follow(lambda _, before: before)


def _written(scores, kind):
    return -(F.one_hot(kind, 5).float() * scores.log_softmax(1)).sum(1).mean()


def labels_of_a_stream_by_hand():
    _follow(lambda own, _: own, compare=_written)


@fault(labels_of_a_stream_by_hand, "targets_are_aligned", words=("previous batch",))
def labels_of_a_stream_by_hand_that_lag():
    _follow(lambda _, before: before, compare=_written)


class Echo(nn.Module):
    """Says what it heard before: it keeps its state itself."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRUCell(24, 32), nn.Linear(32, 5)
        self.state = None

    def forward(self, heard):
        self.state = self.cell(heard, None if self.state is None else self.state.detach())
        return self.head(self.state)


def what_was_heard_before():
    _follow(lambda _, before: before, model=Echo())


def _labels_by_lot(batches):
    for signal, _ in _signals(batches):
        yield signal, torch.randint(5, (48,))


def labels_that_nothing_tells():
    """Zhang et al. (2017) learn such by heart."""
    _follow(lambda own, _: own, stream=_labels_by_lot)


def _walks(batches):
    """Each row goes on from where it was: signals of two steps are nearly the same."""
    shapes, kind = 0.8 * torch.randn(5, 24), torch.randint(5, (48,))
    for _ in range(batches):
        kind = torch.where(torch.rand(48) < 0.1, torch.randint(5, (48,)), kind)
        yield shapes[kind] + torch.randn(48, 24), kind


def labels_that_stay_for_a_while():
    _follow(lambda own, _: own, stream=_walks)


QUIET = [what_was_heard_before, labels_that_nothing_tells, labels_that_stay_for_a_while]
"""None of them may raise an alarm."""
