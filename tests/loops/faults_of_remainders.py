"""Micro-batches that a pass leaves without a step, beside batches that are looked at on purpose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from .data import diabetes, tumours
from .faults import fault
from .healthy import mlp


class Stream(IterableDataset):
    """Rows in a new order at each pass, of no known length."""

    def __init__(self, rows, labels):
        self.rows, self.labels = rows, labels

    def __iter__(self):
        for i in torch.randperm(len(self.rows)):
            yield self.rows[i], self.labels[i]


def _streamed(*, flush):
    rows, labels = tumours()
    model = mlp(30, 24, 1)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for _ in range(8):
        waiting = 0
        optimizer.zero_grad()
        for x, y in DataLoader(Stream(rows[:440], labels[:440]), 40):  # 11 batches
            (F.binary_cross_entropy_with_logits(model(x)[:, 0], y) / 4).backward()
            waiting += 1
            if waiting == 4:
                optimizer.step()
                optimizer.zero_grad()
                waiting = 0
        if waiting and flush:
            optimizer.step()


def a_stream_whose_last_window_is_short():
    _streamed(flush=True)


@fault(a_stream_whose_last_window_is_short, "steps_are_in_order", words=("remainder",))
def a_stream_whose_last_window_is_lost():
    _streamed(flush=False)


def _by_hand(*, flush=True, noise=False):
    """Rows that a permutation cuts, in windows of four over eleven batches."""
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)

    def add(i):
        (F.mse_loss(model(rows[i]), target[i]) / 4).backward()

    for _ in range(10):
        optimizer.zero_grad()
        if noise:  # how far the gradient of three batches is from that of one
            for i in torch.randint(0, 440, (3, 40)):
                add(i)
            optimizer.zero_grad()
        order = torch.randperm(440).split(40)
        for k, i in enumerate(order):
            add(i)
            if k % 4 == 3 or (flush and k + 1 == len(order)):
                optimizer.step()
                optimizer.zero_grad()


def rows_by_hand_whose_last_window_is_short():
    _by_hand()


@fault(rows_by_hand_whose_last_window_is_short, "steps_are_in_order", words=("remainder",))
def rows_by_hand_whose_last_window_is_lost():
    _by_hand(flush=False)


def a_few_batches_by_hand_are_looked_at_before_each_epoch():
    _by_hand(noise=True)


def _norm(model, x, y):
    """The size of a batch's gradient, for a figure."""
    model.zero_grad()
    F.mse_loss(model(x), y).backward()
    norm = sum(float(p.grad.square().sum()) for p in model.parameters()) ** 0.5
    model.zero_grad()
    return norm


def _looked_at(*, before=None, within=None, after=None):
    """Windows of four over nine batches, the last one short; and a look at a batch now and then."""
    rows, target = diabetes()
    train = DataLoader(TensorDataset(rows[:360], target[:360]), 40, shuffle=True)
    held_out = DataLoader(TensorDataset(rows[360:], target[360:]), 41)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    norms = []
    for _ in range(12):
        if before:
            norms.append(before(model, train))
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train):
            if within and not i:
                norms.append(within(model, x, y))
                continue
            (F.mse_loss(model(x), y) / 4).backward()
            if (i + 1) % 4 == 0 or i + 1 == len(train):
                optimizer.step()
                optimizer.zero_grad()
        if after:
            norms.append(after(model, x, y, held_out))


def a_batch_is_looked_at_before_each_epoch():
    _looked_at(before=lambda model, train: _norm(model, *next(iter(train))))


def the_first_batch_is_for_a_figure():
    _looked_at(within=_norm)


def the_last_batch_is_looked_at_again():
    _looked_at(after=lambda model, x, y, _: _norm(model, x, y))


def the_gradient_of_held_out_batches_is_looked_at():
    _looked_at(after=lambda model, _, __, held_out: [_norm(model, x, y) for x, y in held_out])


QUIET = (
    a_batch_is_looked_at_before_each_epoch,
    a_few_batches_by_hand_are_looked_at_before_each_epoch,
    the_first_batch_is_for_a_figure,
    the_last_batch_is_looked_at_again,
    the_gradient_of_held_out_batches_is_looked_at,
)
"""None of them may raise an alarm."""
