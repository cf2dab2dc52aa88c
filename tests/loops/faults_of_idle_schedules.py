"""Schedulers that are built and never stepped, beside those whose turn comes otherwise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.optim import lr_scheduler

from .data import loaders
from .faults import fault
from .healthy import Net, evaluate


def trained(made, step, *, epochs=3):
    """A loop over digits; ``step(scheduler, epoch, loss)`` comes after each epoch's validation."""
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = made(optimizer)
    for epoch in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        evaluate(model, test)
        step(scheduler, epoch, loss.item())


def halved(optimizer):
    return lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)


def after_a_plateau(optimizer):
    return lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)


def warmed_up(optimizer):
    first = lr_scheduler.LinearLR(optimizer, total_iters=1)
    return lr_scheduler.SequentialLR(optimizer, [first, halved(optimizer)], milestones=[1])


def nothing(scheduler, epoch, loss):
    """The step is forgotten."""


def stepped_per_epoch():
    trained(halved, lambda scheduler, epoch, loss: scheduler.step())


def told_the_loss():
    trained(after_a_plateau, lambda scheduler, epoch, loss: scheduler.step(loss))


def made_of_others():
    trained(warmed_up, lambda scheduler, epoch, loss: scheduler.step())


def stepped_late():
    trained(halved, lambda scheduler, epoch, loss: scheduler.step() if epoch else None)


def only_one_epoch():
    trained(halved, nothing, epochs=1)


def rates_taken_from_it():
    """The loop sets the rates by itself, to what the scheduler would."""

    def step(scheduler, epoch, loss):
        for group in scheduler.optimizer.param_groups:
            group["lr"] = scheduler.base_lrs[0] * 0.5**epoch

    trained(halved, step)


@fault(stepped_per_epoch, "schedule_is_sane", words=("never stepped",), advice=True)
def step_of_a_schedule_is_forgotten():
    trained(halved, nothing)


@fault(told_the_loss, "schedule_is_sane", words=("never stepped",), advice=True)
def step_of_a_plateau_is_forgotten():
    trained(after_a_plateau, nothing)


@fault(made_of_others, "schedule_is_sane", words=("never stepped",), advice=True)
def step_of_a_sequence_is_forgotten():
    trained(warmed_up, nothing)


QUIET = [
    stepped_per_epoch,
    told_the_loss,
    made_of_others,
    stepped_late,
    only_one_epoch,
    rates_taken_from_it,
]
