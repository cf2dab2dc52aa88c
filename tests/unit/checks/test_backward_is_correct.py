"""A backward that is not the derivative of its forward is found and named; tricks on purpose are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import Function

from pytest_dlcheck.recipe import Recipe


def function(forward, backward, name="Mine"):
    def run(ctx, *arguments):
        ctx.save_for_backward(*arguments)
        return forward(*arguments)

    def back(ctx, gradient):
        return backward(gradient, *ctx.saved_tensors)

    return type(name, (Function,), {"forward": staticmethod(run), "backward": staticmethod(back)})


class Act(nn.Module):
    def __init__(self, kind, second):
        super().__init__()
        self.apply_ = kind.apply
        self.second = nn.Parameter(torch.rand(8, 8)) if second else None

    def forward(self, x):
        return self.apply_(x) if self.second is None else self.apply_(x, self.second)


def recipe(kind, *, second=False, loss=None):
    def build():
        model = nn.Sequential(nn.Linear(8, 8), Act(kind, second), nn.Linear(8, 3))
        labels = torch.randint(0, 3, (16,))
        return Recipe(
            model=model, train_data=(torch.randn(16, 8), labels), loss=loss or nn.CrossEntropyLoss()
        )

    return build


def swish(x):
    return x * x.sigmoid()


FAULTS = {
    "factor missing": (function(swish, lambda g, x: g * x.sigmoid()), False, "factor of the chain"),
    "half": (function(torch.square, lambda g, x: g * x), False, "0.5 times"),
    "sign": (function(torch.square, lambda g, x: -2 * g * x), False, "wrong sign"),
    "no chain rule": (function(torch.square, lambda _, x: 2 * x), False, "ignores grad_output"),
    "relu without mask": (function(torch.relu, lambda g, _: g), False, "max(x, 0)"),
    "transposed": (
        function(lambda x, w: x @ w.T, lambda g, x, w: (g @ w, x.T @ g)),
        True,
        "transposed",
    ),
    "forgotten": (
        function(lambda x, w: x @ w.T, lambda g, x, w: (g @ w, None)),
        True,
        "returns nothing",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_found_and_named(verdict_on, fault):
    kind, second, cause = FAULTS[fault]
    verdict = verdict_on(recipe(kind, second=second))
    assert verdict.failed
    assert verdict.sites[0] == "1"
    assert "Mine" in verdict.because
    assert cause in verdict.cause


RIGHT = {
    "swish": (
        function(swish, lambda g, x: g * x.sigmoid() * (1 + x * (1 - x.sigmoid()))),
        False,
    ),
    "relu": (function(torch.relu, lambda g, x: g * (x > 0)), False),
    "linear": (function(lambda x, w: x @ w.T, lambda g, x, w: (g @ w, g.T @ x)), True),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_backward_passes(verdict_on, name):
    kind, second = RIGHT[name]
    verdict = verdict_on(recipe(kind, second=second))
    assert verdict.outcome == "passed"
    assert not verdict.advice


ON_PURPOSE = {
    "straight through": function(torch.round, lambda g, _: g),
    "spike": function(lambda x: (x > 0).to(x.dtype), lambda g, x: g / (1 + 10 * x.abs()) ** 2),
    "reversal": function(lambda x: x.view_as(x), lambda g, _: -0.5 * g),
    "clamp": function(lambda x: x.clamp(-0.3, 0.3), lambda g, _: g),
}


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_a_backward_that_differs_on_purpose_passes_and_is_told(verdict_on, name):
    verdict = verdict_on(recipe(ON_PURPOSE[name]))
    assert verdict.outcome == "passed"
    assert "Mine differs: " in verdict.because
    assert not verdict.advice


def test_a_backward_that_lets_nothing_through_is_advice(verdict_on):
    verdict = verdict_on(recipe(function(torch.tanh, lambda g, _: 0 * g)))
    assert verdict.outcome == "passed"
    assert "lets no gradient through" in verdict.advice[0]


def test_a_loss_that_takes_its_gradient_for_one_is_advice(verdict_on):
    def spread(outputs, labels):
        return (outputs - nn.functional.one_hot(labels, 3)).square().mean()

    def slope(_, outputs, labels):
        return 2 * (outputs - nn.functional.one_hot(labels, 3)) / outputs.numel(), None

    right = function(torch.square, lambda g, x: 2 * g * x)
    verdict = verdict_on(recipe(right, loss=function(spread, slope, "Own").apply))
    assert verdict.outcome == "passed"
    assert "Own.backward ignores grad_output" in verdict.advice[0]


def test_a_function_that_refuses_to_be_called_alone_is_inconclusive(verdict_on):
    calls = []

    def moody(x):
        calls.append(x)
        if len(calls) > 2:  # the first loss, and the one in which it is heard
            raise RuntimeError("not today")
        return x.clone()

    verdict = verdict_on(recipe(function(moody, lambda g, _: g)))
    assert verdict.outcome == "inconclusive"
    assert "not today" in verdict.because


def test_without_one_it_is_not_applicable(verdict_on):
    def build():
        labels = torch.randint(0, 3, (16,))
        data = (torch.randn(16, 8), labels)
        return Recipe(model=nn.Linear(8, 3), train_data=data, loss=nn.CrossEntropyLoss())

    assert verdict_on(build).outcome == "not applicable"


def test_the_function_is_left_as_it_was(verdict_on):
    kind = function(torch.square, lambda g, x: 2 * g * x)
    before = vars(kind)["forward"]
    verdict_on(recipe(kind))
    assert vars(kind)["forward"] is before
