"""A GAN that draws digits: two optimizers, so `training_step` yields `(optimizer, loss)` twice."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe

NOISE = 16


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(NOISE, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 8, 8)),
        )
        self.discriminator = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1)
        )

    def forward(self, noise):
        return self.generator(noise)


def realness_loss(logits, real):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


@recipe
def digits_gan(digits):
    model = GAN()
    generate = torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    discriminate = torch.optim.Adam(model.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def training_step(model, batch):
        images, _ = batch
        fakes = model(torch.randn(len(images), NOISE, device=images.device))
        yield (
            discriminate,
            realness_loss(model.discriminator(images), real=True)
            + realness_loss(model.discriminator(fakes.detach()), real=False),
        )
        yield generate, realness_loss(model.discriminator(fakes), real=True)

    return Recipe(
        model=model,
        train_data=DataLoader(digits.train, batch_size=64, shuffle=True, drop_last=True),
        training_step=training_step,
        optimizer=(generate, discriminate),
    )
