"""What loops leave from trying things out: one batch, weights drawn anew, gradients clipped by value."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import digits, loaders
from .faults import fault
from .healthy import Net, evaluate, mlp


def _trained(before=lambda model, epoch: None, *, epochs=5, after=lambda model: None, optimizer=None):
    """Epochs of a classifier; ``before`` each, and ``after`` each backward, something is done to it."""
    train, test = loaders(32)
    model = Net()
    made = (optimizer or (lambda p: torch.optim.Adam(p, lr=3e-3)))(model.parameters())
    for epoch in range(epochs):
        before(model, epoch)
        model.train()
        for x, y in train:
            made.zero_grad()
            F.cross_entropy(model(x), y).backward()
            after(model)
            made.step()
        evaluate(model, test)


def epochs():
    _trained()


def _draw(model):
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()


@fault(epochs, "optimizer_persists", words=("reset in every epoch",))
def drawn_anew_in_every_epoch():
    _trained(lambda model, _: _draw(model))


@fault(epochs, "optimizer_persists", words=("reset in every epoch",))
def initialised_in_every_epoch():
    def initialise(model, _):
        for parameter in model.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    _trained(initialise)


@fault(epochs, "batches_are_fresh", words=("the same batch",))
def first_batch_in_every_step():
    train, test = loaders(32)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = next(iter(train))
    for _ in range(4):
        model.train()
        for _ in range(len(train)):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def _by_value(bound):
    return lambda model: nn.utils.clip_grad_value_(model.parameters(), bound)


def clipped_by_value():
    _trained(after=_by_value(0.1), epochs=2)


@fault(clipped_by_value, "clipping_is_rare", words=("clip_value",))
def clipped_to_next_to_no_value():
    _trained(after=_by_value(1e-7), epochs=3, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))


@fault(clipped_by_value, "clipping_is_rare", words=("unscaled",))
def clipped_by_value_before_unscaling():
    train, test = loaders(32)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for _ in range(2):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x), y)).backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
        evaluate(model, test)


# -- healthy neighbours ---------------------------------------------------------------------------


def clipped_by_value_as_in_a_tutorial():
    """A bound of 100, that no gradient reaches."""
    _trained(after=_by_value(100), epochs=2)


def one_batch_by_heart():
    """A sanity check: can it learn one batch? The held-out loss is looked at in the end."""
    train, test = loaders(32)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = next(iter(train))
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    evaluate(model, test)


def folds_that_begin_anew():
    """In place, with an optimizer of their own."""
    inputs, targets = digits()
    inputs = inputs.flatten(1)
    model = mlp(64, 32, 10)
    folds = torch.arange(len(inputs)) % 4
    for fold in range(4):
        _draw(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        train = TensorDataset(inputs[folds != fold], targets[folds != fold])
        test = TensorDataset(inputs[folds == fold], targets[folds == fold])
        model.train()
        for x, y in DataLoader(train, 32, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, DataLoader(test, 128))


def head_drawn_anew_in_every_epoch():
    """As where later layers forget on purpose."""
    _trained(
        lambda model, _: [m for m in model.modules() if hasattr(m, "reset_parameters")][
            -1
        ].reset_parameters()
    )


def members_that_take_turns():
    """An ensemble whose members are loaded into one module, for an epoch each."""
    train, test = loaders(32)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    members = [copy.deepcopy(Net().state_dict()) for _ in range(5)]
    for member in members:
        model.load_state_dict(member)
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        evaluate(model, test)


def average_swapped_in_for_validation():
    train, test = loaders(32)
    model = Net()
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
                    mean.lerp_(weight, 0.05)
        own = copy.deepcopy(model.state_dict())
        model.load_state_dict(average.state_dict())
        evaluate(model, test)
        model.load_state_dict(own)


def server_and_its_only_client():
    """Rounds of federated learning: the client begins where the server is."""
    train, test = loaders(32)
    server, client = Net(), Net()
    optimizer = torch.optim.SGD(client.parameters(), lr=0.1)
    for _ in range(5):
        client.load_state_dict(server.state_dict())
        client.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(client(x), y).backward()
            optimizer.step()
        evaluate(client, test)
        with torch.no_grad():
            for mean, weight in zip(server.parameters(), client.parameters(), strict=True):
                mean.lerp_(weight, 0.5)


QUIET = [
    clipped_by_value_as_in_a_tutorial,
    one_batch_by_heart,
    folds_that_begin_anew,
    head_drawn_anew_in_every_epoch,
    members_that_take_turns,
    average_swapped_in_for_validation,
    server_and_its_only_client,
]
"""None of them may raise an alarm."""
