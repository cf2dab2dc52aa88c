"""Loops that normalise what a loader gives, and compare with targets of other samples, beside twins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .data import diabetes, digits
from .faults import fault
from .healthy import Net, mlp

_LATE = ("batch before", "batches older", "earlier batch")


def _images(pair, passes=2):
    images, labels = digits()
    loader = DataLoader(TensorDataset((images * 255).byte(), labels), 64, shuffle=True, drop_last=True)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(passes):
        before = None
        for given, y in loader:
            x = (given.float() / 255 - 0.3) / 0.35
            compared, before = pair(y, before), y
            if compared is None:
                continue
            optimizer.zero_grad()
            F.cross_entropy(model(x), compared).backward()
            optimizer.step()


def _rows(pair, passes=8):
    rows, target = diabetes()
    rows = rows * torch.logspace(-1, 2, 10) + torch.arange(10)
    mean, std = rows.mean(0), rows.std(0)
    loader = DataLoader(TensorDataset(rows, target), 32, shuffle=True, drop_last=True)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(passes):
        before = None
        for x, y in loader:
            compared, before = pair(y, before), y
            if compared is None:
                continue
            optimizer.zero_grad()
            F.mse_loss(model((x - mean) / std), compared).backward()
            optimizer.step()


def images_normalised_in_the_loop():
    _images(lambda y, before: y)


def rows_standardised_in_the_loop():
    _rows(lambda y, before: y)


@fault(images_normalised_in_the_loop, "targets_are_aligned", words=_LATE)
def images_normalised_and_labels_of_the_batch_before():
    _images(lambda y, before: before)


@fault(rows_standardised_in_the_loop, "targets_are_aligned", words=_LATE)
def rows_standardised_and_targets_of_the_batch_before():
    _rows(lambda y, before: before)


@fault(rows_standardised_in_the_loop, "targets_are_aligned", words=("in another order",))
def rows_standardised_and_targets_rolled():
    _rows(lambda y, before: y.roll(1, 0))


def targets_of_another_loader():
    rows, target = diabetes()
    given = DataLoader(TensorDataset(rows * 3 + 1), 32)
    wanted = DataLoader(TensorDataset(target), 32)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        for (x,), (y,) in zip(given, wanted, strict=True):
            optimizer.zero_grad()
            F.mse_loss(model((x - 1) / 3), y).backward()
            optimizer.step()


def pairs_of_another_loader():
    images, labels = digits()
    coarse = F.avg_pool2d(images, 2).flatten(1)
    small = DataLoader(TensorDataset(coarse, labels), 64)
    large = DataLoader(TensorDataset(images.flatten(1), labels), 64)
    model = mlp(16, 64, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(2):
        for (x, _), (y, _) in zip(small, large, strict=True):
            optimizer.zero_grad()
            F.mse_loss(model(x / 0.5), y).backward()
            optimizer.step()


def both_orders_of_a_batch():
    rows, target = diabetes()
    loader = DataLoader(TensorDataset(rows * 2 + 1, target), 32, shuffle=True)
    model = mlp(10, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        for x, y in loader:
            given = (x - 1) / 2
            optimizer.zero_grad()
            clean, turned = model(given), model(given.flip(0))
            (0.8 * F.mse_loss(turned, y.flip(0)) + 0.2 * F.l1_loss(clean, y)).backward()
            optimizer.step()


QUIET = [targets_of_another_loader, pairs_of_another_loader, both_orders_of_a_batch]
"""None of them may raise an alarm."""
