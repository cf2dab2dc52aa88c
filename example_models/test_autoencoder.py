"""A denoising autoencoder: the labels go unused, so it brings its own `training_step`."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe


class Autoencoder(nn.Module):
    def __init__(self, code=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, code))
        self.decoder = nn.Sequential(
            nn.Linear(code, 128), nn.ReLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8))
        )

    def forward(self, images):
        return self.decoder(self.encoder(images))


def denoise(model, batch):
    images, _ = batch
    restored = model(images + 0.1 * torch.randn_like(images))
    return F.mse_loss(restored, images), restored


@pytest.mark.dlcheck(steps=120)
@recipe
def denoising_autoencoder(digits):
    model = Autoencoder()
    return Recipe(
        model=model,
        train_data=DataLoader(digits.train, batch_size=64, shuffle=True),
        val_data=DataLoader(digits.val, batch_size=256),
        training_step=denoise,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )
