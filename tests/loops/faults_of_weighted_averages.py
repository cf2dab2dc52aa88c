"""Moving averages whose weights do not sum to 1, beside those that do, or are divided by their sum."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from .data import loaders
from .faults import fault
from .healthy import evaluate, mlp


class Average:
    """Follows a model, by ``update(average, weights)`` of each parameter, in place."""

    def __init__(self, model, update, *, start=copy.deepcopy):
        self.module, self.model, self.update = start(model).requires_grad_(False), model, update

    @torch.no_grad()
    def step(self):
        for mine, its in zip(self.module.parameters(), self.model.parameters(), strict=True):
            self.update(mine, its)


def averaged(follow, *, epochs=2, lr=2e-3, decay=0.01):
    """Digits; ``follow(model)`` gives what is updated, and the model that is evaluated."""
    train, test = loaders()
    model = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    update, shadow = follow(model)
    for _ in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            update()
        evaluate(shadow(), test)
        evaluate(model, test)


def following(update, **start):
    def follow(model):
        average = Average(model, update, **start)
        return average.step, lambda: average.module

    return follow


def zeros_like(model):
    module = copy.deepcopy(model)
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


def lerped():
    averaged(following(lambda mine, its: mine.lerp_(its, 0.05)))


def slow():
    averaged(following(lambda mine, its: mine.mul_(0.999).add_(its, alpha=0.001)), epochs=4)


def of_weights_that_grow():
    averaged(following(lambda mine, its: mine.lerp_(its, 0.01)), lr=0.02, epochs=3)


def of_weights_that_shrink():
    averaged(following(lambda mine, its: mine.lerp_(its, 0.01)), lr=0.02, decay=1.0, epochs=3)


def warmed_up():
    """The decay rises with the updates, as in timm."""

    def follow(model):
        average, count = Average(model, None), 0

        def step():
            nonlocal count
            count += 1
            decay = min(0.999, (1 + count) / (10 + count))
            average.update = lambda mine, its: mine.mul_(decay).add_(its, alpha=1 - decay)
            average.step()

        return step, lambda: average.module

    averaged(follow)


def corrected():
    """From zero, and divided by the sum of the weights before it is evaluated, as Adam's are."""

    def follow(model):
        average, count = Average(model, lambda a, w: a.lerp_(w, 0.01), start=zeros_like), 0

        def step():
            nonlocal count
            count += 1
            average.step()

        def shadow():
            module = copy.deepcopy(average.module)
            for p in module.parameters():
                p.div_(1 - math.pow(0.99, count))
            return module

        return step, shadow

    averaged(follow)


def stochastic():
    """The mean of all weights since the beginning."""

    def follow(model):
        average = AveragedModel(model)
        return lambda: average.update_parameters(model), lambda: average

    averaged(follow)


def one_that_is_pulled_along():
    """No average: a second network, trained by hand from its own beginning."""

    def follow(model):
        other = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))

        @torch.no_grad()
        def step():
            for p in other.parameters():
                p.mul_(0.98)

        return step, lambda: other

    averaged(follow)


_WORDS = ("do not sum to 1",)


@fault(lerped, "validated_model_is_trained", words=_WORDS)
def weights_that_are_both_small():
    averaged(following(lambda mine, its: mine.mul_(0.05).add_(its, alpha=0.05)))


@fault(lerped, "validated_model_is_trained", words=_WORDS)
def weights_that_are_both_large():
    averaged(following(lambda mine, its: mine.mul_(0.95).add_(its, alpha=0.95)))


@fault(lerped, "validated_model_is_trained", words=_WORDS)
def weights_that_are_added_whole():
    averaged(following(lambda mine, its: mine.mul_(0.9).add_(its)))


@fault(slow, "validated_model_is_trained", words=_WORDS)
def slow_average_from_zero():
    averaged(following(lambda mine, its: mine.lerp_(its, 0.002), start=zeros_like))


QUIET = [
    lerped,
    slow,
    of_weights_that_grow,
    of_weights_that_shrink,
    warmed_up,
    corrected,
    stochastic,
    one_that_is_pulled_along,
]
