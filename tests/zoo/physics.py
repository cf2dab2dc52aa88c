"""Functions of space and time: physics-informed nets, implicit images, operators, repeated layers."""

from __future__ import annotations

import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader
from .sequences import waves


@recipe
def physics_informed():
    """Solves y'' = -y with y(0) = 1, y'(0) = 0: the inputs are differentiated in the step."""
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def derivative(y, x):
        return torch.autograd.grad(y.sum(), x, create_graph=True)[0]

    def training_step(model, batch):
        x = batch[0].requires_grad_()
        y = model(x)
        slope = derivative(y, x)
        start = torch.zeros(1, 1, device=x.device).requires_grad_()
        begun = model(start)
        residual = (derivative(slope, x) + y).square().mean()
        return residual + (begun - 1).square().mean() + derivative(begun, start).square().mean()

    return Recipe(
        model=model,
        train_data=loader(torch.linspace(0, 3, 512)[:, None], batch_size=64),
        training_step=training_step,
        optimizer=Adam(model.parameters(), lr=5e-3),
    )


def photograph():
    """Places in -1..1 [n, 2] and colours in 0..1 [n, 3] of one small photograph."""
    image = torch.tensor(load_sample_image("flower.jpg"), dtype=torch.float32).permute(2, 0, 1) / 255
    image = F.interpolate(image[None], (40, 60), mode="area")[0]
    grid = torch.meshgrid(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 60), indexing="ij")
    return torch.stack(grid, -1).flatten(0, 1), image.flatten(1).T


@recipe
def siren_image():
    class Sine(nn.Module):
        def __init__(self, inputs, outputs, rate=15.0, *, first=False):
            super().__init__()
            self.linear, self.rate = nn.Linear(inputs, outputs), rate
            bound = 1 / inputs if first else (6 / inputs) ** 0.5 / rate
            nn.init.uniform_(self.linear.weight, -bound, bound)

        def forward(self, x):
            return torch.sin(self.rate * self.linear(x))

    model = nn.Sequential(Sine(2, 48, first=True), Sine(48, 48), Sine(48, 48), nn.Linear(48, 3))
    return Recipe(
        model=model,
        train_data=loader(*photograph(), batch_size=512),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=1e-3),
        shapes="b 2 -> b 3",
    )


@recipe
def fourier_features_image():
    """The random features are a buffer, never trained."""

    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("rates", 6 * torch.randn(2, 64))

        def forward(self, places):
            angles = places @ self.rates
            return torch.cat([angles.sin(), angles.cos()], dim=-1)

    model = nn.Sequential(Features(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 3), nn.Sigmoid())
    return Recipe(
        model=model,
        train_data=loader(*photograph(), batch_size=256),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
    )


class Spectral(nn.Module):
    """A convolution in Fourier space, whose weights are complex."""

    def __init__(self, width, modes=8):
        super().__init__()
        scale = 1 / width
        self.weight = nn.Parameter(scale * torch.randn(width, width, modes, dtype=torch.cfloat))
        self.local = nn.Conv1d(width, width, 1)
        self.modes = modes

    def forward(self, x):
        found = torch.fft.rfft(x)
        mixed = torch.einsum("bik,iok->bok", found[..., : self.modes], self.weight)
        return F.gelu(torch.fft.irfft(mixed, n=x.size(-1)) + self.local(x))


@recipe
def fourier_neural_operator():
    """From a wave to its running mean; some parameters are complex."""
    series = waves(40)[:, None]
    smooth = F.avg_pool1d(F.pad(series, (2, 2), mode="replicate"), 5, 1)
    model = nn.Sequential(nn.Conv1d(1, 16, 1), Spectral(16), Spectral(16), nn.Conv1d(16, 1, 1))
    return Recipe(
        model=model,
        train_data=(series, smooth),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 1 t -> b 1 t",
    )


@recipe
def neural_ode():
    """One small network applied in eight Euler steps: the same weights at every depth."""

    class Flow(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = nn.Linear(64, 32)
            self.slope = nn.Sequential(nn.Linear(33, 48), nn.Tanh(), nn.Linear(48, 32))
            self.leave = nn.Linear(32, 10)

        def forward(self, images):
            state = self.enter(images.flatten(1))
            for step in range(8):
                time = torch.full_like(state[:, :1], step / 8)
                state = state + self.slope(torch.cat([state, time], 1)) / 8
            return self.leave(state)

    model = Flow()
    return Recipe(
        model=model,
        train_data=digits(),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def radial_basis():
    """Distances to centres that are learned; many of them start where no sample is."""

    class Radial(nn.Module):
        def __init__(self):
            super().__init__()
            self.centres = nn.Parameter(2 * torch.rand(40, 2) - 1)
            self.log_width = nn.Parameter(torch.full((40,), -1.5))
            self.out = nn.Linear(40, 1)

        def forward(self, places):
            near = torch.exp(-((torch.cdist(places, self.centres) / self.log_width.exp()) ** 2))
            return self.out(near).squeeze(-1)

    places, colours = photograph()
    model = Radial()
    return Recipe(
        model=model,
        train_data=loader(places, colours.mean(1), batch_size=128),
        loss=nn.HuberLoss(),
        optimizer=Adam(model.parameters(), lr=1e-2),
        shapes="b 2 -> b",
    )


@recipe
def score_matching():
    """An energy whose gradient is the score; the last bias can get no gradient."""
    random = torch.Generator().manual_seed(0)
    angle = 6.283 * torch.rand(2000, generator=random)
    ring = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(2000, 2, generator=random)

    class Energy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(2, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1, bias=False)
            )

        def forward(self, points):
            return self.net(points).squeeze(-1)

    def training_step(model, batch):
        noise = torch.randn_like(batch[0])
        points = (batch[0] + 0.3 * noise).requires_grad_()
        (score,) = torch.autograd.grad(-model(points).sum(), points, create_graph=True)
        return (0.3 * score + noise).square().sum(1).mean()

    model = Energy()
    return Recipe(
        model=model,
        train_data=loader(ring, batch_size=128),
        training_step=training_step,
        optimizer=Adam(model.parameters(), lr=3e-3),
    )
