"""Layers and tensors that no module knows are found and named."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe


class Holder:
    def __init__(self):
        self.layer = nn.Linear(16, 16)


class Net(nn.Module):
    def __init__(self, hidden, use):
        super().__init__()
        self.first, self.head, self.use = nn.Linear(20, 16), nn.Linear(16, 3), use
        hidden(self)

    def forward(self, x):
        return self.head(self.use(self, torch.relu(self.first(x))))


def recipe_of(hidden, use, optimize=lambda m: m.parameters()):
    def build():
        model = Net(hidden, use)
        return Recipe(
            model=model,
            train_data=(torch.randn(32, 20), torch.randint(0, 3, (32,))),
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.Adam(optimize(model)),
        )

    return build


def hold(name, make):
    return lambda model: setattr(model, name, make())


def a_list():
    return [nn.Linear(16, 16), nn.Linear(16, 16)]


def in_turn(model, h):
    for layer in model.layers:
        h = layer(h)
    return h


def scaled(model, h):
    return h * model.scale


def buffered(model):
    model.register_buffer("scale", torch.ones(16, requires_grad=True))


FAULTS = {
    "a list": (hold("layers", a_list), in_turn, "layers[0].bias", "plain list"),
    "a dict": (
        hold("layers", lambda: {"a": nn.Linear(16, 16)}),
        lambda model, h: model.layers["a"](h),
        "layers['a'].bias",
        "plain dict",
    ),
    "an object": (
        hold("holder", Holder),
        lambda model, h: model.holder.layer(h),
        "holder.layer.bias",
        "Holder",
    ),
    "a tensor": (
        hold("scale", lambda: torch.ones(16, requires_grad=True)),
        scaled,
        "scale",
        "no nn.Parameter",
    ),
    "a product": (
        hold("scale", lambda: nn.Parameter(torch.ones(16)) * 0.5),
        scaled,
        "scale",
        "computed",
    ),
    "a buffer": (buffered, scaled, "scale", "buffer"),
}
HEALTHY = {
    "a module list": (hold("layers", lambda: nn.ModuleList(a_list())), in_turn),
    "a parameter": (hold("scale", lambda: nn.Parameter(torch.ones(16))), scaled),
    "a constant": (hold("scale", lambda: torch.ones(16)), scaled),
    "a perturbation": (
        hold("size", lambda: 0.1),
        lambda model, h: h + model.size * torch.zeros_like(h).requires_grad_(),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_hidden_is_found_and_named(verdict_on, fault):
    hidden, use, site, cause = FAULTS[fault]
    verdict = verdict_on(recipe_of(hidden, use))
    assert verdict.failed
    assert verdict.sites[0] == site
    assert cause in verdict.cause


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_registered_or_needs_not_be_passes(verdict_on, name):
    verdict = verdict_on(recipe_of(*HEALTHY[name]))
    assert verdict.outcome == "passed"
    assert not verdict.advice


def test_a_hidden_layer_given_to_the_optimizer_is_advice(verdict_on):
    def everything(model):
        return [*model.parameters(), *(p for layer in model.layers for p in layer.parameters())]

    verdict = verdict_on(recipe_of(hold("layers", a_list), in_turn, everything))
    assert verdict.outcome == "passed"
    assert "state_dict" in verdict.advice[0]


@pytest.mark.parametrize("shared", [True, False])
def test_one_layer_several_times_in_a_list_is_advice(verdict_on, shared):
    def build():
        layer = nn.Linear(6, 6)
        layers = [layer] * 3 if shared else [nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)]
        model = nn.Sequential(*layers, nn.Linear(6, 1))
        return Recipe(
            model=model,
            train_data=(torch.randn(32, 6), torch.randn(32, 1)),
            loss=nn.MSELoss(),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        )

    verdict = verdict_on(build)
    assert verdict.outcome == "passed"
    assert any("3 times in model" in line for line in verdict.advice) is shared


def test_a_network_of_the_loss_that_is_not_frozen_is_advice(verdict_on):
    def build():
        critic = nn.Linear(3, 3)
        recipe = recipe_of(lambda model: None, lambda model, h: h)()
        return Recipe(
            model=recipe.model,
            train_data=recipe.train_data,
            loss=lambda outputs, labels: F.cross_entropy(critic(outputs), labels),
            optimizer=recipe.optimizer,
        )

    verdict = verdict_on(build)
    assert verdict.outcome == "passed"
    assert "outside of the model" in verdict.advice[0]


class Maker(nn.Module):
    def __init__(self, *, in_forward):
        super().__init__()
        self.body, self.layer = nn.Linear(8, 16), None if in_forward else nn.Linear(16, 4)

    def forward(self, x):
        layer = self.layer or nn.Linear(16, 4)
        return layer(self.body(x))


@pytest.mark.parametrize("in_forward", [True, False])
def test_a_layer_made_in_forward_is_found(verdict_on, in_forward):
    def build():
        model = Maker(in_forward=in_forward)
        data = (torch.randn(16, 8), torch.randint(0, 4, (16,)))
        return Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss())

    verdict = verdict_on(build)
    assert verdict.failed is in_forward
    assert not in_forward or "made anew in every forward: Linear.weight" in verdict.cause


class Closing(nn.Module):
    def __init__(self, *, trained):
        super().__init__()
        layer, self.head = nn.Linear(8, 64), nn.Linear(64, 4)
        if trained:
            torch.nn.init.constant_(layer.weight, 0.1)
        self.use = lambda x: layer(x).relu()

    def forward(self, x):
        return self.head(self.use(x))


@pytest.mark.parametrize("trained", [True, False])
def test_a_layer_in_a_closure_fails_unless_it_looks_trained(verdict_on, trained):
    def build():
        data = (torch.randn(16, 8), torch.randint(0, 4, (16,)))
        return Recipe(model=Closing(trained=trained), train_data=data, loss=nn.CrossEntropyLoss())

    verdict = verdict_on(build)
    assert verdict.failed is not trained
    assert trained or verdict.sites[0] == "use.layer.weight"
    assert not trained or "use.layer" in verdict.advice[0]
