"""Loops whose schedule counts something else than it is stepped for, beside those that only look so."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch.optim import lr_scheduler

from . import neighbours
from .data import diabetes, loaders, tumours
from .faults import fault
from .faults_of_resets import Reader, reader
from .healthy import Net, evaluate, mlp


def scheduled(made, *, per_batch, epochs=3, batch_size=32, model=Net, lr=0.05):
    """A loop with the scheduler that ``made(optimizer, batches of an epoch)`` makes."""
    train, test = loaders(batch_size)
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    scheduler = made(optimizer, len(train))
    for _ in range(epochs):
        net.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
            if per_batch:
                scheduler.step()
        if not per_batch:
            scheduler.step()
        evaluate(net, test)


def _cycle(optimizer, batches):
    return lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=3, steps_per_epoch=batches)


def _linear(step, *, num_warmup_steps, num_training_steps):
    if step < num_warmup_steps:
        return step / num_warmup_steps
    return max(0.0, (num_training_steps - step) / (num_training_steps - num_warmup_steps))


def _warm_then_linear(optimizer, batches):
    rule = partial(_linear, num_warmup_steps=10, num_training_steps=3 * batches)
    return lr_scheduler.LambdaLR(optimizer, rule)


def _warm_then_cosine(optimizer, batches):
    warm = lr_scheduler.LinearLR(optimizer, 0.05, total_iters=batches // 2)
    rest = lr_scheduler.CosineAnnealingLR(optimizer, T_max=3 * batches - batches // 2)
    return lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[batches // 2])


@fault(neighbours.one_cycle_per_step, "schedule_is_sane", words=("made for batches",))
def cycle_of_batches_per_epoch():
    scheduled(_cycle, per_batch=False)


@fault(reader, "schedule_is_sane", words=("made for batches",))
def cosine_of_batches_per_epoch():
    scheduled(
        lambda optimizer, batches: lr_scheduler.CosineAnnealingLR(optimizer, 3 * batches),
        per_batch=False,
        model=Reader,
    )


@fault(neighbours.schedule_of_steps_with_warm_up, "schedule_is_sane", words=("made for batches",))
def warm_up_and_cosine_of_batches_per_epoch():
    scheduled(_warm_then_cosine, per_batch=False)


@fault(neighbours.schedule_of_steps_with_warm_up, "schedule_is_sane", words=("per epoch",))
def linear_warm_up_of_batches_per_epoch():
    scheduled(_warm_then_linear, per_batch=False, model=Reader)


@fault(neighbours.schedule_of_steps_with_warm_up, "schedule_is_sane", words=("per epoch",))
def warm_up_from_zero_per_epoch():
    rows, labels = tumours()
    model = mlp(30, 16, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 200))
    for _ in range(3):
        for i in torch.randperm(512).split(32):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(model(rows[i]).squeeze(1), labels[i]).backward()
            optimizer.step()
        scheduler.step()


@fault(neighbours.schedule_of_steps_with_warm_up, "schedule_is_sane", words=("a factor",))
def cosine_that_returns_the_rate():
    def rate(step):
        return 0.03 * 0.5 * (1 + math.cos(math.pi * step / 60))

    scheduled(lambda optimizer, _: lr_scheduler.LambdaLR(optimizer, rate), per_batch=True, lr=0.03)


@fault(neighbours.schedule_of_steps_with_warm_up, "schedule_is_sane", words=("per batch",), advice=True)
def long_warm_up_per_epoch():
    scheduled(
        lambda optimizer, _: lr_scheduler.LinearLR(optimizer, 0.001, total_iters=500), per_batch=False
    )


def _drops(milestones, gamma=0.1, *, per_batch=True, batch_size=128):
    scheduled(
        lambda optimizer, _: lr_scheduler.MultiStepLR(optimizer, milestones, gamma),
        per_batch=per_batch,
        epochs=24,
        batch_size=batch_size,
    )


def drops_of_batches():
    _drops([96, 144])


@fault(drops_of_batches, "schedule_is_sane", words=("though it counts epochs",))
def drops_of_epochs_per_batch():
    _drops([12, 18])


@fault(drops_of_batches, "schedule_is_sane", words=("do milestones count",), advice=True)
def one_drop_of_epochs_per_batch():
    _drops([18])


def drops_of_epochs():
    _drops([12, 18], per_batch=False)


def first_drops_of_many():
    """One early, as after a burn-in, and another in the second half."""
    _drops([12, 120])


def early_drops_of_the_only_batch():
    """A pass is a step: it is stepped per epoch."""
    _drops([1, 2], batch_size=1024, per_batch=False)


def early_drops_of_batches():
    """Were they epochs, most of the training would follow as well."""
    _drops([4, 8])


def steps_up_to_the_rate():
    _drops([8, 16], 3.0)


@fault(neighbours.cosine_per_epoch, "schedule_is_sane", words=("per batch",))
def polynomial_of_epochs_per_batch():
    scheduled(lambda optimizer, _: lr_scheduler.PolynomialLR(optimizer, total_iters=10), per_batch=True)


@fault(neighbours.cosine_per_epoch, "schedule_is_sane", words=("per batch",))
def linear_of_epochs_per_batch():
    scheduled(
        lambda optimizer, _: lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=10),
        per_batch=True,
        model=Reader,
    )


# -- healthy neighbours ---------------------------------------------------------------------------


def cycle_of_batches():
    scheduled(_cycle, per_batch=True)


def cycle_of_epochs():
    scheduled(
        lambda optimizer, _: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=4), per_batch=False
    )


def warm_then_linear():
    scheduled(_warm_then_linear, per_batch=True, model=Reader)


def warm_then_cosine():
    scheduled(_warm_then_cosine, per_batch=True)


def first_epochs_of_a_long_cosine():
    scheduled(lambda optimizer, _: lr_scheduler.CosineAnnealingLR(optimizer, T_max=200), per_batch=False)


def warm_up_over_five_epochs():
    scheduled(lambda optimizer, _: lr_scheduler.LinearLR(optimizer, 0.2, total_iters=5), per_batch=False)


def warm_up_over_epochs_by_a_rule():
    scheduled(
        lambda optimizer, _: lr_scheduler.LambdaLR(optimizer, lambda epoch: min(1.0, (epoch + 1) / 3)),
        per_batch=False,
        model=Reader,
    )


def drops_that_are_yet_to_come():
    scheduled(lambda optimizer, _: lr_scheduler.MultiStepLR(optimizer, [60, 80]), per_batch=False)


def schedule_of_a_full_batch():
    rows, target = diabetes()
    model = mlp(10, 32, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=60)
    for _ in range(60):
        optimizer.zero_grad()
        F.mse_loss(model(rows), target).backward()
        optimizer.step()
        scheduler.step()


def rate_lowered_now_and_then():
    train, test = loaders(16)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)
    for i, (x, y) in enumerate(train):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if (i + 1) % 10 == 0:
            scheduler.step()
    evaluate(model, test)


def rate_of_an_epoch_that_is_named_at_its_start():
    train, test = loaders()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.3)
    for epoch in range(4):
        scheduler.step(epoch)
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def rate_of_a_part_of_an_epoch_named_before_each_step():
    train, test = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    for epoch in range(4):
        model.train()
        for i, (x, y) in enumerate(train):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            scheduler.step(epoch=epoch + i / len(train))
            optimizer.step()
        evaluate(model, test)


QUIET = [
    drops_of_epochs,
    first_drops_of_many,
    early_drops_of_the_only_batch,
    early_drops_of_batches,
    steps_up_to_the_rate,
    rate_of_an_epoch_that_is_named_at_its_start,
    rate_of_a_part_of_an_epoch_named_before_each_step,
    cycle_of_batches,
    cycle_of_epochs,
    warm_then_linear,
    warm_then_cosine,
    first_epochs_of_a_long_cosine,
    warm_up_over_five_epochs,
    warm_up_over_epochs_by_a_rule,
    drops_that_are_yet_to_come,
    schedule_of_a_full_batch,
    rate_lowered_now_and_then,
]
"""None of them may raise an alarm."""
