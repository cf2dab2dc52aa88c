"""What nonlinearity_is_present says of small recipes: linear networks fail, those meant so pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def recipe_of(model, inputs=None, **more):
    inputs = torch.randn(32, 16) if inputs is None else inputs
    more.setdefault("loss", nn.CrossEntropyLoss())
    return Recipe(
        model=model,
        train_data=[(inputs, more.pop("targets", torch.arange(32) % 4))],
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        **more,
    )


def images():
    return torch.randn(32, 1, 8, 8)


def tokens():
    return torch.randint(0, 20, (32, 6))


class Bag(nn.Module):
    """Means of embeddings, and layers on top."""

    def __init__(self, *layers):
        super().__init__()
        self.embed, self.top = nn.Embedding(20, 16), nn.Sequential(*layers)

    def forward(self, codes):
        return self.top(self.embed(codes).mean(1))


def linear_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 8, 3),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


LINEAR = {
    "mlp": lambda: recipe_of(nn.Sequential(nn.Linear(16, 32), nn.Identity(), nn.Linear(32, 4))),
    "dropout": lambda: recipe_of(nn.Sequential(nn.Linear(16, 32), nn.Dropout(), nn.Linear(32, 4))),
    "log_softmax": lambda: recipe_of(
        nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 4), nn.LogSoftmax(1)), loss=nn.NLLLoss()
    ),
    "sigmoid": lambda: recipe_of(
        nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 1), nn.Sigmoid(), nn.Flatten(0)),
        loss=nn.BCELoss(),
        targets=(torch.arange(32) % 2).float(),
    ),
    "cnn": lambda: recipe_of(linear_cnn(), images()),
    "embeddings": lambda: recipe_of(Bag(nn.Linear(16, 32), nn.Linear(32, 4)), tokens()),
    "zero head": lambda: recipe_of(with_zero_head()),
    "wide in the middle": lambda: recipe_of(
        nn.Sequential(*(nn.Linear(a, b) for a, b in ((16, 12), (12, 4), (4, 12), (12, 16)))),
        loss=nn.MSELoss(),
        targets=torch.randn(32, 16),
    ),
}


def with_zero_head():
    model = nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 4))
    nn.init.zeros_(model[1].weight)
    return model


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_network_fails(verdict_on, name):
    verdict = verdict_on(LINEAR[name])

    assert verdict.failed
    assert "nothing nonlinear between" in verdict.suspects[0].finding
    assert verdict.cause.startswith("the whole network is linear in its input")


MEANT = {
    "one layer": lambda: recipe_of(nn.Linear(16, 4)),
    "one layer on embeddings": lambda: recipe_of(Bag(nn.Linear(16, 4)), tokens()),
    "two layers in parallel": lambda: recipe_of(Parallel()),
}


class Parallel(nn.Module):
    """Trend and season, a layer each."""

    def __init__(self):
        super().__init__()
        self.trend, self.season = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        trend = x.mean(1, keepdim=True).expand_as(x)
        return self.trend(trend) + self.season(x - trend)


@pytest.mark.parametrize("name", MEANT)
def test_one_layer_is_not_asked_for_more(verdict_on, name):
    assert verdict_on(MEANT[name]).outcome is Outcome.NOT_APPLICABLE


def test_a_linear_autoencoder_is_advised(verdict_on):
    def recipe():
        model = nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 16))
        return recipe_of(model, loss=nn.MSELoss(), targets=torch.randn(32, 16))

    verdict = verdict_on(recipe)

    assert verdict.outcome is Outcome.PASSED
    assert "meant, by the narrow 0" in verdict.advice[0]


class Block(nn.Module):
    """A residual block whose two layers have something between them, or not."""

    def __init__(self, act):
        super().__init__()
        self.up, self.down, self.head, self.act = (
            nn.Linear(16, 64),
            nn.Linear(64, 16),
            nn.Linear(16, 4),
            act,
        )

    def forward(self, x):
        return self.head(F.layer_norm(x + self.down(self.act(self.up(x))), (16,)))


def test_two_neighbours_in_a_nonlinear_network_are_advice(verdict_on):
    verdict = verdict_on(lambda: recipe_of(Block(nn.Dropout(0.1))))

    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == (
        "nothing nonlinear between up and down (64 wide): one layer could do what both do",
    )


HEALTHY = {
    "relu": lambda: recipe_of(Block(nn.ReLU())),
    "all open units": lambda: recipe_of(open_units()),
    "inverted residual": lambda: recipe_of(
        nn.Sequential(
            *(nn.Conv2d(1, 24, 1), nn.ReLU6(), nn.Conv2d(24, 8, 1), nn.BatchNorm2d(8)),
            *(nn.Conv2d(8, 32, 1), nn.ReLU6(), nn.Flatten(), nn.Linear(2048, 4)),
        ),
        images(),
    ),
    "depthwise separable": lambda: recipe_of(
        nn.Sequential(
            *(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)),
            *(nn.ReLU(), nn.Flatten(), nn.Linear(576, 4)),
        ),
        images(),
    ),
}


def open_units():
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    nn.init.constant_(model[0].bias, 10.0)
    return model


@pytest.mark.parametrize("name", HEALTHY)
def test_nonlinear_networks_pass_without_advice(verdict_on, name):
    verdict = verdict_on(HEALTHY[name])

    assert verdict.outcome is Outcome.PASSED
    assert verdict.advice == ()


def test_max_pooling_as_the_only_nonlinearity_is_advised(verdict_on):
    model = [nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 4)]

    verdict = verdict_on(lambda: recipe_of(nn.Sequential(*model), images()))

    assert verdict.outcome is Outcome.PASSED
    assert "max pooling is the only nonlinearity in 2 layers" in verdict.advice[0]
