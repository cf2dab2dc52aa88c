"""Loops that clip where there is nothing to clip, or what is used no more, beside healthy ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .data import diabetes, loaders
from .faults import fault, train_classifier
from .healthy import Net, evaluate, mlp


def _long(turn, *, model=None, make=None, epochs=6):
    """Many steps, most of which nobody looks at."""
    train, test = loaders(32)
    model = model or Net()
    optimizer = make(model) if make else torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        model.train()
        for x, y in train:
            turn(model, optimizer, x, y)
        evaluate(model, test)


def _clip(model, bound=1.0):
    return nn.utils.clip_grad_norm_(model.parameters(), bound)


@fault(train_classifier, "clipping_is_rare", words=("before any backward",))
def clipped_before_each_of_many_backwards():
    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        _clip(model)
        loss.backward()
        optimizer.step()

    _long(turn)


@fault(train_classifier, "clipping_is_rare", words=("max_norm",))
def clipped_to_a_bound_that_was_rounded_to_zero():
    groups = 4

    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        _clip(model, 1 // groups)
        optimizer.step()

    _long(turn, make=lambda model: torch.optim.SGD(model.parameters(), lr=0.05))


@fault(train_classifier, "clipping_is_rare", words=("before any backward",))
def clipped_where_gradients_were_set_to_zero():
    def turn(model, optimizer, x, y):
        optimizer.zero_grad(set_to_none=False)
        _clip(model, 0.5)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    _long(turn, make=lambda model: torch.optim.Adam(model.parameters(), lr=3e-3))


@fault(train_classifier, "clipping_is_rare", words=("before any backward",))
def clipped_before_the_backwards_of_accumulation():
    train, _ = loaders(16)
    model = mlp(64, 32, 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(4):
        batches = iter(train)
        for x, y in batches:
            optimizer.zero_grad()
            nn.utils.clip_grad_norm_(list(model.parameters()), max_norm=1.0)
            (F.cross_entropy(model(x.flatten(1)), y) / 2).backward()
            x, y = next(batches, (x, y))
            (F.cross_entropy(model(x.flatten(1)), y) / 2).backward()
            optimizer.step()


@fault(train_classifier, "clipping_is_rare", words=("come after the step",), advice=True)
def clipped_after_the_step():
    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        _clip(model)

    _long(turn)


@fault(train_classifier, "clipping_is_rare", words=("come after the step",), advice=True)
def clipped_after_the_step_and_before_zero_grad():
    def turn(model, optimizer, x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        _clip(model, 0.3)
        optimizer.zero_grad(set_to_none=False)

    _long(turn, make=lambda model: torch.optim.Adam(model.parameters(), lr=3e-3))


@fault(train_classifier, "steps_are_in_order", words=("zero_grad is missing",))
def clipped_after_the_step_and_never_reset():
    def turn(model, optimizer, x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        _clip(model, 1.0)

    _long(turn, make=lambda model: torch.optim.SGD(model.parameters(), lr=0.01), epochs=3)


@fault(train_classifier, "clipping_is_rare", words=("clipped just before",), advice=True)
def the_first_of_two_clipped_twice():
    def turn(model, optimizer, x, y):
        encoder, _ = model
        optimizer.zero_grad()
        F.cross_entropy(model(x.flatten(1)), y).backward()
        _clip(encoder, 0.5)
        _clip(encoder, 0.5)
        optimizer.step()

    encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    _long(turn, model=Flat(encoder, nn.Linear(32, 10)))


class Flat(nn.Sequential):
    """An encoder and a head that read images as rows."""

    def forward(self, x):
        return super().forward(x.flatten(1))


def _bounded_turn(bound):
    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        _clip(model, bound)
        optimizer.step()

    return turn


def bounded_for_long():
    _long(_bounded_turn(1.0), epochs=10)


@fault(bounded_for_long, "clipping_is_rare", words=("max_norm, is far below",))
def bounded_to_nothing_for_long():
    _long(_bounded_turn(4e-4), epochs=10)


# -- healthy neighbours ---------------------------------------------------------------------------


def clipped_in_time():
    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        _clip(model)
        optimizer.step()

    _long(turn)


def norm_measured_after_the_step():
    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        assert _clip(model, float("inf")) >= 0

    _long(turn)


def parts_clipped_apart():
    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        _clip(model[0], 1.0)
        _clip(model[1], 0.5)
        optimizer.step()

    _long(turn, model=Flat(nn.Sequential(nn.Linear(64, 32), nn.ReLU()), nn.Linear(32, 10)))


def frozen_part_clipped_too():
    model = Flat(nn.Sequential(nn.Linear(64, 32), nn.ReLU()), nn.Linear(32, 10))
    model[0].requires_grad_(requires_grad=False)

    def turn(model, optimizer, x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        _clip(model[0])
        _clip(model[1])
        optimizer.step()

    _long(turn, model=model)


def gradients_put_there_by_hand():
    """Of each sample by itself, as in differential privacy; clipped before they are noised."""
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for i in range(40):
        parameters = list(model.parameters())
        loss = F.mse_loss(model(rows), target)
        found = torch.autograd.grad(loss, parameters)
        for p, g in zip(parameters, found, strict=True):
            if i % 2 and p.grad is not None:
                p.grad.copy_(g)
            else:
                p.grad = g
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()


def every_micro_batch_clipped():
    train, test = loaders(16)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for i, (x, y) in enumerate(train):
        (F.cross_entropy(model(x), y) / 4).backward()
        _clip(model, 5.0)
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
    evaluate(model, test)


def clipped_in_a_closure():
    rows, target = diabetes()
    model = mlp(10, 16, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(rows), target)
        loss.backward()
        _clip(model, 50.0)
        return loss

    for _ in range(40):
        optimizer.step(closure)


def bounded_for_long_under_adam():
    """Which does not mind the size of its gradients."""
    _long(
        _bounded_turn(1e-3),
        make=lambda model: torch.optim.Adam(model.parameters(), lr=1e-3),
        epochs=10,
    )


def bounded_at_a_rate_that_makes_up_for_it():
    """Normalised gradients: the rate alone says how large the steps are."""
    make = torch.optim.SGD
    _long(_bounded_turn(1e-3), make=lambda model: make(model.parameters(), lr=20.0), epochs=10)


QUIET = [
    bounded_for_long_under_adam,
    bounded_at_a_rate_that_makes_up_for_it,
    clipped_in_time,
    norm_measured_after_the_step,
    parts_clipped_apart,
    frozen_part_clipped_too,
    gradients_put_there_by_hand,
    every_micro_batch_clipped,
    clipped_in_a_closure,
]
"""None of them may raise an alarm."""
