"""Schedules of epochs that are stepped per batch, in few epochs, beside those made of batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.optim import lr_scheduler

from .data import loaders
from .faults import fault
from .faults_of_schedules import scheduled
from .healthy import Net


def halved_every_epochs():
    scheduled(lambda o, _: lr_scheduler.StepLR(o, 2, 0.5), per_batch=False, epochs=3, batch_size=16)


@fault(halved_every_epochs, "schedule_is_sane", words=("though it counts epochs",))
def halved_every_ten_batches():
    scheduled(lambda o, _: lr_scheduler.StepLR(o, 10, 0.5), per_batch=True, epochs=2, batch_size=16)


def less_in_every_epoch():
    scheduled(lambda o, _: lr_scheduler.ExponentialLR(o, 0.95), per_batch=False, batch_size=16)


@fault(less_in_every_epoch, "schedule_is_sane", words=("though it counts epochs",))
def less_in_every_batch():
    scheduled(lambda o, _: lr_scheduler.ExponentialLR(o, 0.95), per_batch=True, batch_size=16)


def begun_anew_every_epochs():
    scheduled(lambda o, _: lr_scheduler.CosineAnnealingWarmRestarts(o, 2), per_batch=False, epochs=4)


@fault(begun_anew_every_epochs, "schedule_is_sane", words=("though it counts epochs",))
def begun_anew_every_few_batches():
    scheduled(
        lambda o, _: lr_scheduler.CosineAnnealingWarmRestarts(o, 2),
        per_batch=True,
        epochs=4,
        batch_size=16,
    )


def begun_anew_after_an_epoch_of_batches():
    scheduled(
        lambda o, batches: lr_scheduler.CosineAnnealingWarmRestarts(o, batches, T_mult=2),
        per_batch=True,
        epochs=3,
    )


def begun_anew_twice_an_epoch():
    scheduled(
        lambda o, batches: lr_scheduler.CosineAnnealingWarmRestarts(o, batches // 2),
        per_batch=True,
        epochs=3,
    )


def begun_anew_by_parts_of_an_epoch():
    train, _ = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 1)
    for epoch in range(3):
        for i, (x, y) in enumerate(train):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step(epoch + (i + 1) / len(train))


def staircase_of_small_steps():
    scheduled(lambda o, _: lr_scheduler.StepLR(o, 10, 0.96), per_batch=True, batch_size=16)


def a_little_less_in_every_batch():
    scheduled(lambda o, _: lr_scheduler.ExponentialLR(o, 0.995), per_batch=True, batch_size=16)


QUIET = [
    begun_anew_after_an_epoch_of_batches,
    begun_anew_twice_an_epoch,
    begun_anew_by_parts_of_an_epoch,
    staircase_of_small_steps,
    a_little_less_in_every_batch,
]
"""None of them may raise an alarm."""
