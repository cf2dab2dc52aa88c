"""Loops that read their data sorted by class, beside those whose order is meant, or none."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits, loaders, tumours
from .faults import fault, train_classifier
from .healthy import Net, evaluate, mlp


def _read(loader, model, compare=F.cross_entropy, *, epochs=2, rate=3e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            compare(model(x), y).backward()
            optimizer.step()


def _digits(order, batch_size=32, **how):
    images, labels = digits()
    return DataLoader(TensorDataset(images[:1000][order], labels[:1000][order]), batch_size, **how)


def _by_class():
    return digits()[1][:1000].argsort(stable=True)


@fault(train_classifier, "batches_are_shuffled", words=("sorted by label",))
def digits_from_nought_to_nine():
    _read(_digits(_by_class()), Net())


@fault(train_classifier, "batches_are_shuffled", words=("sorted by label",))
def folders_one_after_the_other():
    """As a data set of folders gives them, the last first, a column of labels a batch."""
    loader = _digits(_by_class().flip(0), 64)
    model = nn.Sequential(nn.Flatten(), mlp(64, 32, 10))
    _read(loader, model, lambda out, y: F.nll_loss(out.log_softmax(1), y.view(-1)), epochs=3)


def two_kinds_of_tumours():
    rows, labels = tumours()
    _read(DataLoader(TensorDataset(rows, labels.long()), 16, shuffle=True), mlp(30, 16, 2))


@fault(two_kinds_of_tumours, "batches_are_shuffled", words=("sorted by label",))
def the_ill_before_the_well():
    rows, labels = tumours()
    order = labels.argsort(stable=True)
    _read(DataLoader(TensorDataset(rows[order], labels[order].long()), 16), mlp(30, 16, 2))


def _turns(batches, steps):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for x, y in batches:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def each_batch_used_thrice():
    _turns(loaders()[0], 3)


@fault(each_batch_used_thrice, "batches_are_fresh", words=("for 7 steps in a row",), advice=True)
def first_batch_of_an_epoch_for_all_of_it():
    _turns((next(iter(loaders()[0])) for _ in range(8)), 7)


@fault(each_batch_used_thrice, "batches_are_fresh", words=("anew at every step",), advice=True)
def first_batches_alone():
    _turns((next(iter(loaders()[0])) for _ in range(20)), 1)


# -- healthy neighbours ---------------------------------------------------------------------------


def in_the_order_of_the_file():
    _read(_digits(torch.arange(1000)), Net())


def one_task_after_another():
    """Two classes a task, and a loader each, in an order drawn once."""
    images, labels = digits()
    model = Net()
    for first in (0, 2, 4):
        chosen = torch.nonzero((labels == first) | (labels == first + 1))[:, 0]
        chosen = chosen[torch.randperm(len(chosen))]
        _read(DataLoader(TensorDataset(images[chosen], labels[chosen]), 16), model, epochs=1)


def what_somebody_does_in_a_day():
    """Runs of an activity that come again: their order is kept."""
    rows, labels = tumours()
    sick, well = (torch.nonzero(labels == k)[:, 0] for k in (0, 1))
    pairs = zip(torch.split(sick, 20), torch.split(well, 30), strict=False)
    order = torch.cat([index for pair in pairs for index in pair])
    _read(DataLoader(TensorDataset(rows[order], labels[order].long()), 16), mlp(30, 16, 2))


def some_of_each_of_two_classes_a_batch():
    labels = digits()[1][:1000]
    groups = [torch.nonzero(labels == k)[:, 0] for k in range(10)]
    batches = [torch.cat([groups[i % 10][:8], groups[(i + 3) % 10][8:16]]) for i in range(40)]
    images, labels = digits()
    sampler = [batch.tolist() for batch in batches]
    _read(DataLoader(TensorDataset(images, labels), batch_sampler=sampler), Net())


def quantities_in_their_order():
    _read(DataLoader(TensorDataset(*diabetes()), 32), mlp(10, 16, 1), F.mse_loss)


def sorted_and_then_shuffled():
    _read(_digits(_by_class(), shuffle=True), Net())


def real_and_made_up_rows():
    """A critic is told of ones, then of noughts."""
    train, _ = loaders()
    critic = nn.Sequential(nn.Flatten(), mlp(64, 32, 2))
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for x, _ in train:
        optimizer.zero_grad()
        F.cross_entropy(critic(x), torch.ones(len(x), dtype=torch.long)).backward()
        F.cross_entropy(critic(torch.rand_like(x)), torch.zeros(len(x), dtype=torch.long)).backward()
        optimizer.step()


def batches_asked_for_one_by_one(*, once=False):
    train, test = loaders()
    model, batches = Net(), (batch for _ in range(2) for batch in train)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = next(batches)
    for step in range(24):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        x, y = (x, y) if once else next(batches)
        if step % 8 == 7:
            evaluate(model, test)
            model.train()


@fault(batches_asked_for_one_by_one, "batches_are_fresh", words=("the same batch",))
def one_batch_asked_for_once():
    batches_asked_for_one_by_one(once=True)


def all_asked_for_at_once():
    """The loader has one batch, and only the held-out one has more."""
    train, test = loaders()
    x, y = next(iter(DataLoader(train.dataset, len(train.dataset), shuffle=True)))
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(16):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if step % 8 == 7:
            evaluate(model, test)
            model.train()


QUIET = [
    all_asked_for_at_once,
    two_kinds_of_tumours,
    in_the_order_of_the_file,
    one_task_after_another,
    what_somebody_does_in_a_day,
    some_of_each_of_two_classes_a_batch,
    quantities_in_their_order,
    sorted_and_then_shuffled,
    real_and_made_up_rows,
]
"""None of them may raise an alarm."""
