"""How networks are put together: parametrizations, zero starts, frozen parts, odd sizes of batches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.optim import SGD, Adam, AdamW
from torch.utils.checkpoint import checkpoint_sequential
from torchvision.ops import StochasticDepth

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader, tumours


def on_digits(model, optimizer, *, batch_size=32, **more):
    return Recipe(
        model=model,
        train_data=loader(*digits(), batch_size=batch_size),
        **{"loss": nn.CrossEntropyLoss(), **more},
        optimizer=optimizer,
    )


def body():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )


@recipe
def spectral_norm():
    model = nn.Sequential(
        nn.Flatten(),
        parametrizations.spectral_norm(nn.Linear(64, 64)),
        nn.LeakyReLU(0.1),
        parametrizations.spectral_norm(nn.Linear(64, 64)),
        nn.LeakyReLU(0.1),
        nn.Linear(64, 10),
    )
    return on_digits(model, Adam(model.parameters(), lr=3e-3))


@recipe
def orthogonal_parametrization():
    model = nn.Sequential(
        nn.Flatten(), parametrizations.orthogonal(nn.Linear(64, 64)), nn.Tanh(), nn.Linear(64, 10)
    )
    return on_digits(model, Adam(model.parameters(), lr=3e-3), shapes="b 1 8 8 -> b 10")


class Residual(nn.Module):
    """A branch that starts as nothing."""

    def __init__(self, width, drop=0.0):
        super().__init__()
        self.branch = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.drop = StochasticDepth(drop, "batch")
        nn.init.zeros_(self.branch[3].weight)
        nn.init.zeros_(self.branch[3].bias)

    def forward(self, x):
        return x + self.drop(self.branch(x))


@recipe
def zero_residual_branches():
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 48), *(Residual(48) for _ in range(4)), nn.Linear(48, 10)
    )
    return on_digits(model, AdamW(model.parameters(), lr=2e-3))


@recipe
def stochastic_depth_by_batch():
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 48),
        *(Residual(48, drop) for drop in (0.1, 0.3, 0.5)),
        nn.Linear(48, 10),
    )
    return on_digits(model, AdamW(model.parameters(), lr=3e-3))


class Fixup(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in range(3))
        self.scale = nn.Parameter(torch.ones(1))
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.normal_(self.first.weight, std=(2 / (9 * width)) ** 0.5 * depth**-0.5)
        nn.init.zeros_(self.second.weight)

    def forward(self, x):
        branch = F.relu(self.first(x + self.bias[0]) + self.bias[1])
        return F.relu(x + self.scale * self.second(branch) + self.bias[2])


@recipe
def fixup():
    """Residual blocks without normalisation; the second convolution and the head start at zero."""
    head = nn.Linear(1024, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        Fixup(16, 3),
        Fixup(16, 3),
        Fixup(16, 3),
        nn.Flatten(),
        head,
    )
    return on_digits(model, SGD(model.parameters(), lr=0.02, momentum=0.9))


@recipe
def checkpointed_segments():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Flatten(), *(part for _ in range(4) for part in (nn.LazyLinear(48), nn.ReLU()))
            )
            self.head = nn.LazyLinear(10)

        def forward(self, images):
            hidden = checkpoint_sequential(self.layers, 2, images, use_reentrant=False)
            return self.head(hidden)

    model = Model()
    model(torch.zeros(2, 1, 8, 8))
    return on_digits(model, Adam(model.parameters(), lr=2e-3))


@recipe
def group_norm_batch_of_two():
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GroupNorm(4, 32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    return on_digits(model, Adam(model.parameters(), lr=1e-3), batch_size=2, shapes="b 1 8 8 -> b 10")


@recipe
def one_sample_at_a_time():
    model = nn.Sequential(nn.Linear(30, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 2))
    return Recipe(
        model=model,
        train_data=loader(*tumours(), batch_size=1),
        loss=nn.CrossEntropyLoss(),
        optimizer=SGD(model.parameters(), lr=0.01),
    )


@recipe
def batch_norm_batch_of_eight():
    model = nn.Sequential(body(), nn.Linear(128, 10))
    return on_digits(model, Adam(model.parameters(), lr=2e-3), batch_size=8)


@recipe
def raw_pixels_with_batch_norm():
    """Pixels 0..255 as they are; the first layer is a BatchNorm."""
    images, labels = digits()
    model = nn.Sequential(nn.BatchNorm2d(1), body(), nn.Linear(128, 10))
    return Recipe(
        model=model,
        train_data=loader((images * 255).round(), labels),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


@recipe
def squeeze_and_excite_without_biases():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Sequential(
                nn.Linear(32, 8, bias=False), nn.ReLU(), nn.Linear(8, 32, bias=False)
            )

        def forward(self, x):
            return x * torch.sigmoid(self.gate(x.mean((2, 3))))[..., None, None]

    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.Hardswish(),
        Gate(),
        nn.Conv2d(32, 32, 3, 2, 1, groups=4),
        nn.BatchNorm2d(32),
        nn.Hardswish(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    return on_digits(model, SGD(model.parameters(), lr=0.05, momentum=0.9))
