"""Schedulers that wait for a plateau in the wrong direction, beside those that have it right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .data import digits, loaders
from .faults import fault
from .healthy import Net, mlp


def waiting(told, mode="min", *, epochs=8, lr=0.01, train=1000, size=32):
    """A loop that tells its scheduler ``told(accuracy, validation loss, mean training loss)``."""
    loader, test = loaders(size, train)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=0)
    for _ in range(epochs):
        losses = []
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        right, lost = judged(model, test)
        scheduler.step(told(right, lost, sum(losses) / len(losses)))


@torch.no_grad()
def judged(model, loader):
    model.eval()
    right = lost = count = 0
    for x, y in loader:
        out = model(x)
        right += (out.argmax(1) == y).sum().item()
        lost += F.cross_entropy(out, y, reduction="sum").item()
        count += len(y)
    return right / count, lost / count


def accuracy_under_max():
    waiting(lambda right, lost, loss: right, "max")


def validation_loss_under_min():
    waiting(lambda right, lost, loss: lost)


@fault(accuracy_under_max, "schedule_is_sane", words=("watches an accuracy",))
def accuracy_under_min():
    waiting(lambda right, lost, loss: right)


@fault(accuracy_under_max, "schedule_is_sane", words=("watches an accuracy",))
def percent_under_min():
    waiting(lambda right, lost, loss: 100 * right)


@fault(validation_loss_under_min, "schedule_is_sane", words=("watches a loss",))
def validation_loss_under_max():
    waiting(lambda right, lost, loss: lost, "max")


@fault(validation_loss_under_min, "schedule_is_sane", words=("watches a loss",))
def training_loss_under_max():
    waiting(lambda right, lost, loss: loss, "max")


# -- healthy neighbours ---------------------------------------------------------------------------


def error_rate_under_min():
    waiting(lambda right, lost, loss: 1 - right)


def negative_loss_under_max():
    waiting(lambda right, lost, loss: -lost, "max")


def noise(told, mode):
    """Labels that nothing tells of are learned by heart: validation gets worse."""
    torch.manual_seed(0)
    images = digits()[0].flatten(1)
    labels = torch.randint(2, (len(images),))
    model = mlp(64, 256, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=3)
    for _ in range(30):
        for part in torch.randperm(200).split(20):
            optimizer.zero_grad()
            F.cross_entropy(model(images[part]), labels[part]).backward()
            optimizer.step()
        with torch.no_grad():
            out, wanted = model(images[1000:]), labels[1000:]
        right = (out.argmax(1) == wanted).float().mean().item()
        scheduler.step(told(right, F.cross_entropy(out, wanted).item()))


def validation_loss_that_rises():
    noise(lambda right, lost: lost, "min")


def error_rate_that_rises():
    noise(lambda right, lost: 1 - right, "min")


def accuracy_that_falls():
    noise(lambda right, lost: right, "max")


QUIET = [
    error_rate_under_min,
    negative_loss_under_max,
    validation_loss_that_rises,
    error_rate_that_rises,
    accuracy_that_falls,
]
"""None of them may raise an alarm."""
