"""How a batch becomes outputs and a loss, by convention or by the recipe's own functions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.objective import Objective

X, Y = torch.randn(6, 4), torch.randint(2, (6,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x, other=None):
        return self.layer(x if other is None else x + other)


def objective(model=None, **parts):
    model = model or Net()
    return Objective(Recipe(model=model, train_data=[1], **parts), model)


CE = nn.CrossEntropyLoss()


@pytest.mark.parametrize(
    "batch",
    [(X, Y), [X, Y], ((X, X), Y), ({"x": X, "other": X}, Y), [[X], Y]],
    ids=["pair", "list", "several inputs", "inputs by name", "list of one"],
)
def test_the_conventions(batch):
    loss, outputs = objective(loss=CE).loss(batch)
    assert loss.shape == ()
    assert outputs.shape == (6, 2)


def test_forward_and_targets_say_otherwise():
    found = objective(loss=CE, forward=lambda m, b: m(b[1]), targets=lambda b: b[2])
    loss, _ = found.loss(("id", X, Y))
    assert torch.equal(found.targets(("id", X, Y)), Y)
    assert loss.requires_grad


@pytest.mark.parametrize("kind", [dict, SimpleNamespace])
def test_a_model_that_gives_its_own_loss(kind):
    class Own(Net):
        def forward(self, x, labels):
            return kind(loss=CE(self.layer(x), labels), logits=1)

    loss, _ = objective(Own()).loss({"x": X, "labels": Y})
    assert loss.requires_grad
    assert torch.equal(objective(Own()).targets({"x": X, "labels": Y}), Y)


@pytest.mark.parametrize(
    "step", [lambda m, b: m(b).sum(), lambda m, b: (m(b).sum(), 3), lambda m, b: m(b).sum()[None]]
)
def test_a_training_step_gives_the_loss(step):
    assert objective(training_step=step).loss(X)[0].shape == ()


def test_a_generator_gives_pairs():
    optimizer = SimpleNamespace(step=None)

    def step(model, batch):
        yield optimizer, model(batch).sum()
        yield optimizer, model(batch).mean()

    found = objective(training_step=step)
    assert found.is_generator
    assert [loss.shape for _, loss in found.objectives(X)] == [(), ()]


def test_the_models_call_is_replayed_from_a_training_step():
    model = Net()
    found = objective(model, training_step=lambda m, b: m(b[0], other=b[0]).sum())
    call = found.call((X, Y))
    assert torch.equal(call(), model(X, X))
    doubled = {"args": [2 * X], "other": 2 * X}
    assert torch.equal(call(doubled), model(2 * X, 2 * X))


def test_a_step_that_calls_parts_of_the_model_is_replayed_as_a_whole():
    call = objective(training_step=lambda m, b: m.layer(b[0]).sum()).call((X, Y))
    assert call.whole_step
    assert set(call()) == {"layer"}
    assert call((X[:2], Y[:2]))["layer"].shape == (2, 2)


def test_a_step_that_calls_no_module_cannot_be_replayed():
    found = objective(training_step=lambda m, b: (b[0] @ m.layer.weight.T).sum())
    with pytest.raises(CannotTellError, match="calls no module"):
        found.call((X, Y))


@pytest.mark.parametrize(
    ("parts", "batch", "said"),
    [
        ({"loss": CE}, (X, Y, Y), "a batch is a tuple of 3"),
        ({"loss": CE}, X, "a batch is a Tensor"),
        ({"loss": lambda o, _: o}, (X, Y), r"has the shape \(6, 2\), not one number"),
        ({"loss": lambda o, _: o.sum().item()}, (X, Y), "a float, not a tensor: do not call .item"),
        ({"loss": lambda *_: None}, (X, Y), "is None, not a tensor: return it"),
        ({"training_step": lambda *_: {"loss": 1}}, X, "a dict, not a tensor: return one tensor"),
        ({}, (X, Y), "no loss= and the model's Tensor has no .loss"),
        ({"loss": CE, "forward": lambda *_: None}, (X, Y), "the model returned None"),
    ],
)
def test_what_does_not_fit_is_said(parts, batch, said):
    with pytest.raises(RecipeError, match=said):
        objective(**parts).loss(batch)
