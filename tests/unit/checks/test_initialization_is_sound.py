"""What initialization_is_sound says of small recipes: symmetry, and signals lost or grown."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def recipe_of(model, scale=1.0, optimizer=None, inputs=None):
    inputs = scale * torch.randn(256, 16) if inputs is None else inputs
    data = torch.utils.data.TensorDataset(inputs, inputs.flatten(1)[:, :4].argmax(1))
    return Recipe(
        model=model,
        train_data=torch.utils.data.DataLoader(data, batch_size=32, shuffle=True),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer or torch.optim.Adam(model.parameters(), lr=3e-3),
    )


def mlp(*sizes, act=nn.ReLU, norm=None):
    layers = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), *([norm(b)] if norm else []), act()]
    return nn.Sequential(*layers[: -2 if norm else -1])


def deep(**more):
    return mlp(16, *[32] * 6, 4, **more)


def drawn(model, draw, bias=0.0):
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            draw(module.weight)
            nn.init.constant_(module.bias, bias)
    return model


def constant(value):
    return lambda weight: nn.init.constant_(weight, value)


def normal(std):
    return lambda weight: nn.init.normal_(weight, std=std)


SYMMETRIC = {
    "zeros": lambda: drawn(mlp(16, 32, 4), nn.init.zeros_),
    "constants": lambda: drawn(mlp(16, 32, 32, 4), constant(0.1)),
    "sigmoids": lambda: drawn(mlp(16, 32, 32, 4, act=nn.Sigmoid), nn.init.zeros_),
    "normalised": lambda: drawn(mlp(16, 32, 32, 4, norm=nn.BatchNorm1d), constant(0.1)),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_units_that_can_never_differ_fail(verdict_on, name):
    verdict = verdict_on(lambda: recipe_of(SYMMETRIC[name]()), steps=20)

    assert verdict.failed
    assert verdict.sites[0] == "0"
    assert "all 32 units of 0 start alike" in verdict.because


class Scratch(nn.Module):
    """Weights of one's own, applied from the right."""

    def __init__(self, value):
        super().__init__()
        self.one = nn.Parameter(torch.full((16, 32), value))
        self.two = nn.Parameter(torch.full((32, 4), value))

    def forward(self, x):
        return (x @ self.one).tanh() @ self.two


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_weights_of_ones_own_are_looked_at_too(verdict_on, value):
    verdict = verdict_on(lambda: recipe_of(Scratch(value)), steps=20)

    assert verdict.failed
    assert verdict.sites[0] == "one"


class Reader(nn.Module):
    """An LSTM of constants."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 32, batch_first=True), nn.Linear(32, 4)
        for parameter in self.lstm.parameters():
            nn.init.constant_(parameter, 0.05)

    def forward(self, x):
        return self.head(self.lstm(x.unflatten(1, (4, 4)))[0][:, -1])


def test_copies_that_only_the_next_layer_tells_apart_fail_where_they_stay_together(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Reader()))

    assert verdict.failed
    assert verdict.sites[0].startswith("lstm.weight")
    assert "single direction" in verdict.because


class Residual(nn.Module):
    """A zero-initialised branch, a zero-initialised adapter and a zero-initialised head."""

    def __init__(self):
        super().__init__()
        self.lift = nn.Linear(16, 32)
        self.branch = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
        self.down, self.up = nn.Linear(32, 4, bias=False), nn.Linear(4, 32, bias=False)
        self.head = nn.Linear(32, 4)
        for layer in (self.branch[2], self.up, self.head):
            nn.init.zeros_(layer.weight)

    def forward(self, x):
        h = self.lift(x)
        h = h + self.branch(h) + self.up(self.down(h))
        return self.head(h.relu())


HEALTHY = {
    "torch's own": deep,
    "zeros where they belong": Residual,
    "selu": lambda: drawn(
        deep(act=nn.SELU), lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")
    ),
    "small, normalised": lambda: drawn(deep(norm=nn.LayerNorm), normal(0.02)),
    "large, normalised": lambda: drawn(deep(norm=nn.BatchNorm1d), normal(1.0))[:-1].append(
        nn.Linear(32, 4)
    ),
    "one layer of zeros": lambda: drawn(mlp(16, 4), nn.init.zeros_),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_initialisations_pass_without_advice(verdict_on, name):
    verdict = verdict_on(lambda: recipe_of(HEALTHY[name]()))

    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


@pytest.mark.parametrize("std", [1.0, 10.0])
def test_weights_that_blow_up_the_outputs_are_named(verdict_on, std):
    verdict = verdict_on(lambda: recipe_of(drawn(deep(), normal(std))), steps=10)

    assert verdict.failed
    assert set(verdict.sites) == {"0", "2", "4", "6", "8", "10", "12"}
    assert verdict.cause.startswith("initial weights are too large")


def test_raw_inputs_are_not_the_fault_of_the_weights(verdict_on):
    verdict = verdict_on(lambda: recipe_of(mlp(16, 32, 4), scale=1000.0), steps=10)

    assert verdict.outcome is Outcome.PASSED


def test_weights_that_saturate_hidden_units_are_named(verdict_on):
    def recipe():
        model = drawn(mlp(16, 32, 4, act=nn.Tanh), normal(100.0))
        model[2] = nn.Linear(32, 4)
        return recipe_of(model)

    verdict = verdict_on(recipe)

    assert verdict.failed
    assert verdict.sites == ("0",)
    assert "saturated" in verdict.because


def test_a_signal_that_is_lost_and_not_mended_fails(verdict_on):
    def recipe():
        model = drawn(deep(), normal(1e-4))
        return recipe_of(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))

    verdict = verdict_on(recipe)

    assert verdict.failed
    assert "the weights of 0 and 6 more are too small" in verdict.cause


def test_a_depth_that_swallows_the_signal_is_named_by_its_activation(verdict_on):
    verdict = verdict_on(lambda: recipe_of(mlp(16, *[32] * 12, 4, act=nn.Sigmoid)))

    assert verdict.failed
    assert "13 layers with sigmoid without normalisation" in verdict.cause


def test_what_the_training_mends_is_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(drawn(mlp(16, 32, 32, 4), normal(1e-3))), steps=100)

    assert verdict.outcome is Outcome.PASSED
    assert "the training mended that" in verdict.advice[0]


def test_a_layer_dead_by_its_bias_is_left_to_another_check(verdict_on):
    def recipe():
        model = deep()
        nn.init.constant_(model[2].bias, -50.0)
        return recipe_of(model)

    assert verdict_on(recipe).outcome is Outcome.PASSED


def test_it_explains_what_it_leads_to(diagnosis_of):
    diagnosis = diagnosis_of(lambda: recipe_of(drawn(mlp(16, 32, 32, 4), nn.init.zeros_)))

    assert [verdict.check for verdict in diagnosis.causes] == ["initialization_is_sound"]
    assert "units_are_alive" in diagnosis.explained_by


def test_a_zero_head_that_waits_for_its_turn_is_no_fault(verdict_on):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.turn = nn.Linear(16, 16), 0
            self.heads = nn.ModuleList(nn.Linear(16, 4) for _ in range(2))
            nn.init.zeros_(self.heads[1].weight)

        def forward(self, x):
            self.turn += self.training
            answers = torch.stack([head(self.body(x).relu()) for head in self.heads])
            return answers[self.turn // 12 % 2]

    verdict = verdict_on(lambda: recipe_of(Heads()), steps=60)

    assert verdict.outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "build",
    [
        lambda: drawn(mlp(16, 64, 64, 4, act=nn.Tanh), normal(1.0)),
        lambda: drawn(mlp(16, 128, 128, 128, 4, act=nn.Tanh), normal(1.0)),
        lambda: drawn(mlp(16, 48, 48, 4, act=nn.Tanh), normal(2.0)),
    ],
    ids=["64 wide", "128 wide", "N(0, 2)"],
)
def test_weights_that_half_saturate_and_start_with_nonsense_are_named(verdict_on, build):
    verdict = verdict_on(lambda: recipe_of(build()))
    assert verdict.outcome is Outcome.FAILED, verdict
    assert "too large" in verdict.cause


@pytest.mark.parametrize(
    "build",
    [
        lambda: drawn(mlp(16, 64, 64, 4, act=nn.Tanh), lambda w: nn.init.xavier_normal_(w, 5 / 3)),
        lambda: drawn(mlp(16, 64, 64, 4, act=nn.Tanh), normal(0.4)),
        lambda: drawn(mlp(16, 64, 64, 4, act=nn.Tanh, norm=nn.LayerNorm), normal(1.0)),
    ],
    ids=["by Glorot", "a little large", "normalised"],
)
def test_open_tanhs_pass(verdict_on, build):
    verdict = verdict_on(lambda: recipe_of(build()))
    assert verdict.outcome is Outcome.PASSED, verdict


def pooled(*rest, width=8):
    first = (nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, width, 3, padding=1), nn.ReLU())
    return nn.Sequential(*first, *rest, nn.Flatten(), nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 4))


class ByHand(nn.Module):
    def forward(self, x):
        return nn.functional.layer_norm(x.flatten(1).unsqueeze(2), (1,))


SINGLE = {
    "a group per channel": (lambda: nn.GroupNorm(8, 8), "4"),
    "over the last axis": (lambda: nn.LayerNorm(1), "4"),
    "by hand": (ByHand, "4"),
}


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("act", [nn.Identity, nn.ReLU])
def test_a_normalisation_of_single_values_is_named(verdict_on, name, act):
    build, site = SINGLE[name]
    verdict = verdict_on(lambda: recipe_of(pooled(nn.AdaptiveAvgPool2d(1), build(), act())), steps=20)

    assert verdict.failed
    assert verdict.suspects[0].site == site
    assert "normalises every value" in verdict.cause


@pytest.mark.parametrize(
    "norms",
    [
        lambda: (nn.GroupNorm(8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        lambda: (nn.AdaptiveAvgPool2d(1), nn.GroupNorm(2, 8)),
        lambda: (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(8)),
        lambda: (nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8)),
    ],
)
def test_normalisations_of_several_values_pass_without_advice(verdict_on, norms):
    verdict = verdict_on(lambda: recipe_of(pooled(*norms())), steps=20)

    assert verdict.outcome is Outcome.PASSED
    assert not verdict.advice


class Beside(nn.Module):
    """A branch that gives nothing but its bias, beside one that carries the signal."""

    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(8, 8)

    def forward(self, x):
        return x + self.norm(x)


def test_a_branch_of_single_values_is_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(pooled(nn.AdaptiveAvgPool2d(1), Beside())), steps=20)

    assert verdict.outcome is Outcome.PASSED
    assert "4.norm normalises every value" in verdict.advice[0]
