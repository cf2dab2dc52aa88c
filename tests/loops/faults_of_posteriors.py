"""Variational loops whose two terms are reduced differently, and what resembles them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault

EPOCHS = 3


class Drawing(nn.Module):
    def __init__(self, latent=6, width=0.5):
        super().__init__()
        self.width = width
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2 * latent))
        self.dec = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        mu, logvar = self.enc(x).chunk(2, 1)
        return self.dec(mu + torch.randn_like(mu) * (self.width * logvar).exp()), mu, logvar


def _trained(loss, scale=1.0, width=0.5):
    images = digits()[0][:1000].flatten(1) * scale
    model = Drawing(width=width)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for epoch in range(EPOCHS):
        for (x,) in DataLoader(TensorDataset(images), 32, shuffle=True):
            restored, mu, logvar = model(x)
            divergence = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            optimizer.zero_grad()
            loss(restored, x, divergence, epoch).backward()
            optimizer.step()


def both_summed():
    _trained(lambda out, x, kl, _: F.mse_loss(out, x, reduction="sum") + kl)


def both_summed_per_sample():
    _trained(lambda out, x, kl, _: (F.mse_loss(out, x, reduction="sum") + kl) / len(x))


def both_averaged():
    _trained(lambda out, x, kl, _: F.mse_loss(out, x) + kl / x.numel())


def averaged_over_samples():
    _trained(lambda out, x, kl, _: (out - x).square().sum(1).mean() + kl / len(x))


def weighed_by_hand():
    _trained(lambda out, x, kl, _: F.mse_loss(out, x) + 1e-3 * kl)


def warmed_up():
    """In the end it counts in full."""

    def loss(out, x, kl, epoch):
        return F.mse_loss(out, x, reduction="sum") + min(1.0, epoch / (EPOCHS - 1)) * kl

    _trained(loss)


def warmed_up_by_a_tensor():
    steps = torch.linspace(0, 1e-3, EPOCHS)
    _trained(lambda out, x, kl, epoch: F.mse_loss(out, x) + steps[epoch] * kl)


def of_large_numbers():
    """Squares of numbers up to 255 are worth it."""
    _trained(lambda out, x, kl, _: F.mse_loss(out, x) + kl, scale=300.0)


def with_free_bits():
    _trained(lambda out, x, kl, _: F.mse_loss(out, x) + (kl - 3.0 * len(x)).relu())


@fault(both_summed, "loss_is_sound", words=("the KL term is summed",))
def averaged_beside_a_sum():
    _trained(lambda out, x, kl, _: F.mse_loss(out, x) + kl)


@fault(averaged_over_samples, "loss_is_sound", words=("the KL term is summed",))
def averaged_by_hand_beside_a_sum():
    _trained(lambda out, x, kl, _: kl + ((out - x) ** 2).mean())


@fault(both_summed_per_sample, "loss_is_sound", words=("takes exp(logvar) for the standard deviation",))
def drawn_by_the_variance():
    _trained(lambda out, x, kl, _: (F.mse_loss(out, x, reduction="sum") + kl) / len(x), width=1.0)


QUIET = [
    both_averaged,
    weighed_by_hand,
    warmed_up,
    warmed_up_by_a_tensor,
    of_large_numbers,
    with_free_bits,
]
