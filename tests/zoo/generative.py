"""Models that generate: autoencoders, diffusion, flows, adversaries."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, AdamW, RMSprop

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader, photo_patches


def images(batch_size=64, **more):
    return loader(digits()[0], batch_size=batch_size, **more)


@recipe
def conv_autoencoder():
    """Photo patches through a bottleneck; the input is its own target."""
    patches, _ = photo_patches()
    model = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1),
        nn.LeakyReLU(),
        nn.Conv2d(16, 16, 4, 2, 1),
        nn.LeakyReLU(),
        nn.ConvTranspose2d(16, 16, 4, 2, 1),
        nn.LeakyReLU(),
        nn.ConvTranspose2d(16, 3, 4, 2, 1),
        nn.Sigmoid(),
    )
    return Recipe(
        model=model,
        train_data=loader(patches, patches, batch_size=16),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=2e-3),
        shapes="b 3 h w -> b 3 h w",
    )


class VAE(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(96, latent), nn.Linear(96, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, images):
        hidden = self.encoder(images)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(sample).view_as(images), mean, log_variance


@recipe
def vae():
    """The loss is summed over pixels, as the evidence bound is; the model samples, in eval mode too."""

    def negative_bound(outputs, images):
        logits, mean, log_variance = outputs
        likely = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        return (likely + divergence) / len(images)

    model = VAE()
    return Recipe(
        model=model,
        train_data=images(),
        forward=lambda model, batch: model(batch[0]),
        targets=lambda batch: batch[0],
        loss=negative_bound,
        optimizer=Adam(model.parameters(), lr=2e-3),
    )


class VectorQuantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        self.codes = nn.Embedding(32, 8)
        self.decoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid())
        nn.init.uniform_(self.codes.weight, -0.3, 0.3)

    def forward(self, images):
        found = self.encoder(images).view(-1, 4, 8)
        nearest = torch.cdist(found, self.codes.weight.expand(len(found), -1, -1)).argmin(-1)
        quantised = self.codes(nearest)
        straight = found + (quantised - found).detach()
        return self.decoder(straight.flatten(1)).view_as(images), found, quantised


@recipe
def vq_vae():
    """The nearest code, gradients straight through; codes that nothing is near to get none."""

    def loss(outputs, images):
        decoded, found, quantised = outputs
        commitment = F.mse_loss(found, quantised.detach())
        return F.mse_loss(decoded, images) + F.mse_loss(quantised, found.detach()) + 0.25 * commitment

    model = VectorQuantised()
    pixels, _ = digits()
    return Recipe(
        model=model,
        train_data=loader(pixels, pixels, batch_size=64),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=2e-3),
    )


class Denoiser(nn.Module):
    """The noise in a noisy image, told the time; its last layer starts at zero, as in DDPM."""

    def __init__(self):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 32))
        self.enter = nn.Conv2d(1, 32, 3, padding=1)
        self.middle = nn.Sequential(
            nn.GroupNorm(4, 32),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.GroupNorm(4, 32),
            nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1),
        )
        self.leave = nn.Conv2d(32, 1, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, noisy, time):
        rates = torch.exp(-math.log(1000) * torch.arange(8, device=time.device) / 8)
        angles = time[:, None] * rates
        hidden = (
            self.enter(noisy) + self.time(torch.cat([angles.sin(), angles.cos()], 1))[..., None, None]
        )
        return self.leave(F.silu(hidden + self.middle(hidden)))


@recipe
def diffusion():
    model = Denoiser()
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.05, 200), 0)

    def training_step(model, batch):
        clean = batch[0] * 2 - 1
        time = torch.randint(0, 200, (len(clean),), device=clean.device)
        share = kept.to(clean.device)[time][:, None, None, None]
        noise = torch.randn_like(clean)
        predicted = model(share.sqrt() * clean + (1 - share).sqrt() * noise, time)
        return F.mse_loss(predicted, noise), predicted

    return Recipe(
        model=model,
        train_data=images(32),
        training_step=training_step,
        optimizer=AdamW(model.parameters(), lr=2e-3),
    )


class Coupling(nn.Module):
    def __init__(self, size, flip):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(size // 2, 64), nn.ReLU(), nn.Linear(64, size))
        nn.init.zeros_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    def forward(self, x):
        kept, changed = x.chunk(2, 1)[:: -1 if self.flip else 1]
        scale, shift = self.net(kept).chunk(2, 1)
        scale = torch.tanh(scale)
        changed = changed * scale.exp() + shift
        return torch.cat((changed, kept) if self.flip else (kept, changed), 1), scale.sum(1)


class Flow(nn.Module):
    """The log density of points [b, 2]."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(2, flip=bool(i % 2)) for i in range(6))

    def forward(self, x):
        total = torch.zeros(len(x), device=x.device)
        for layer in self.layers:
            x, grown = layer(x)
            total = total + grown
        return total - 0.5 * (x**2).sum(1) - math.log(2 * math.pi)


@recipe
def normalising_flow():
    """Two narrow moons: the density exceeds 1, so the loss falls through zero."""
    random = torch.Generator().manual_seed(0)
    angle = math.pi * torch.rand(2000, generator=random)
    side = (torch.arange(2000) % 2)[:, None]
    moon = torch.stack([angle.cos(), angle.sin()], 1)
    points = torch.where(side == 0, moon, torch.tensor([1.0, 0.4]) - moon)
    points = 0.3 * (points + 0.03 * torch.randn(points.shape, generator=random))
    model = Flow()
    return Recipe(
        model=model,
        train_data=loader(points, batch_size=128),
        training_step=lambda model, batch: -model(batch[0]).mean(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        max_grad_norm=5.0,
    )


class Adversaries(nn.Module):
    def __init__(self, critic_end=()):
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(16, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.Sigmoid(),
            nn.Unflatten(1, (1, 8, 8)),
        )
        self.critic = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1), *critic_end
        )

    def forward(self, noise):
        return self.generator(noise)


@recipe
def gan():
    model = Adversaries()
    making = Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    judging = Adam(model.critic.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def training_step(model, batch):
        real = batch[0]
        fake = model(torch.randn(len(real), 16, device=real.device))
        yield (
            judging,
            F.softplus(-model.critic(real)).mean() + F.softplus(model.critic(fake.detach())).mean(),
        )
        yield making, F.softplus(-model.critic(fake)).mean()

    return Recipe(
        model=model,
        train_data=images(drop_last=True),
        training_step=training_step,
        optimizer=(judging, making),
    )


@recipe
def wgan_gradient_penalty():
    """Three steps of the critic for one of the generator, with a gradient of a gradient."""
    model = Adversaries()
    making = RMSprop(model.generator.parameters(), lr=5e-4)
    judging = RMSprop(model.critic.parameters(), lr=5e-4)

    def training_step(model, batch):
        real = batch[0]
        for _ in range(3):
            fake = model(torch.randn(len(real), 16, device=real.device)).detach()
            share = torch.rand(len(real), 1, 1, 1, device=real.device)
            between = (share * real + (1 - share) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(model.critic(between).sum(), between, create_graph=True)
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            yield judging, model.critic(fake).mean() - model.critic(real).mean() + 10 * penalty
        yield making, -model.critic(model(torch.randn(len(real), 16, device=real.device))).mean()

    return Recipe(
        model=model,
        train_data=images(drop_last=True),
        training_step=training_step,
        optimizer=[judging, making],
    )
