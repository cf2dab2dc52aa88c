"""Generators: GANs and a VAE."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import digit_images, ecg_beats, seed_all


class DigitVAE(nn.Module):
    def __init__(self, z=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 2 * z))
        self.dec = nn.Sequential(nn.Linear(z, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x):
        mu, logvar = self.enc(x).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


def digit_vae_accumulated(mistake: bool) -> None:
    """The loss is not divided by the number of accumulated batches, so each step is eight times as long as meant."""
    seed_all(421)
    Xtr, _, Xte, _ = digit_images(21)
    loader = DataLoader(TensorDataset(Xtr), batch_size=12, shuffle=True, drop_last=True)
    vae = DigitVAE()
    optimizer = torch.optim.SGD(vae.parameters(), lr=3e-2, momentum=0.9)
    accum = 8

    def elbo(x):
        out, mu, logvar = vae(x)
        rec = F.binary_cross_entropy_with_logits(out, x.flatten(1), reduction="none").sum(1)
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1)
        return (rec + kl).mean()

    optimizer.zero_grad()
    for epoch in range(14):
        vae.train()
        total = 0.0
        for i, (x,) in enumerate(loader):
            loss = elbo(x)
            if mistake:
                loss.backward()
            else:
                (loss / accum).backward()
            total += loss.item()
            if (i + 1) % accum == 0:
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            print(f"epoch {epoch}: -elbo {total / len(loader):.2f}  test {elbo(Xte).item():.2f}")


def approach_gan(mistake: bool) -> None:
    """The fakes are not detached in the discriminator's loss, so its gradients flow into the generator as well."""
    seed_all(427)
    a, r = 2 * math.pi * torch.rand(2048), 1 + 0.05 * torch.randn(2048)
    data = torch.stack([r * a.cos(), r * a.sin()], 1)
    loader = DataLoader(TensorDataset(data), batch_size=128, shuffle=True, drop_last=True)
    G = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    D = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=5e-4, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.9))

    for epoch in range(35):
        for (batch,) in loader:
            opt_g.zero_grad()
            for real in batch.chunk(2):
                opt_d.zero_grad()
                fake = G(torch.randn(len(real), 4))
                if not mistake:
                    fake = fake.detach()
                d_loss = F.relu(1 - D(real)).mean() + F.relu(1 + D(fake)).mean()
                d_loss.backward()
                opt_d.step()

            g_loss = -D(G(torch.randn(64, 4))).mean()
            g_loss.backward()
            opt_g.step()
        if epoch % 5 == 4:
            with torch.no_grad():
                dist = torch.cdist(G(torch.randn(800, 4)), data)
            print(
                f"epoch {epoch + 1}: D {d_loss.item():.3f}  G {g_loss.item():.3f}  "
                f"off the ring {dist.min(1).values.mean():.3f}  uncovered {dist.min(0).values.mean():.3f}"
            )


class BeatGenerator(nn.Module):
    def __init__(self, z=12):
        super().__init__()
        self.fc = nn.Linear(z, 16 * 20)
        self.net = nn.Sequential(
            nn.ReLU(), nn.ConvTranspose1d(16, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose1d(16, 1, 4, 2, 1)
        )

    def forward(self, z):
        return self.net(self.fc(z).view(-1, 16, 20))


def beat_gan(mistake: bool) -> None:
    """The generator's loss is propagated but its optimizer is never stepped, so the generator stays as it was."""
    seed_all(428)
    X, y = ecg_beats(1600, seed=428, noise=0.05)
    X = X[y == 0]
    loader = DataLoader(TensorDataset(X), batch_size=32, shuffle=True, drop_last=True)
    netG = BeatGenerator()
    netD = nn.Sequential(
        nn.Conv1d(1, 16, 5, 2, 2),
        nn.LeakyReLU(0.2),
        nn.Conv1d(16, 16, 5, 2, 2),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(320, 1),
    )
    optimizerD = torch.optim.Adam(netD.parameters(), lr=4e-4, betas=(0.5, 0.999))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()

    for epoch in range(25):
        for (real,) in loader:
            b = len(real)
            netD.zero_grad()
            fake = netG(torch.randn(b, 12))
            errD = criterion(netD(real), torch.ones(b, 1)) + criterion(
                netD(fake.detach()), torch.zeros(b, 1)
            )
            errD.backward()
            optimizerD.step()

            netG.zero_grad()
            errG = criterion(netD(fake), torch.ones(b, 1))
            errG.backward()
            if not mistake:
                optimizerG.step()
        if epoch % 5 == 4:
            with torch.no_grad():
                gap = (netG(torch.randn(500, 12)).mean(0) - X.mean(0)).abs().mean().item()
            print(
                f"epoch {epoch + 1}: D {errD.item():.3f}  G {errG.item():.3f}  mean beat off by {gap:.3f}"
            )


FAULTS = [
    (
        digit_vae_accumulated,
        ("divid", "accumulat", "normaliz", "normalis", "times too large", "scaled by"),
        "21 accumulation not divided",
    ),
    (
        approach_gan,
        (
            "detach",
            "into the generator",
            "generator's gradient",
            "through the generator",
            "generator gets",
        ),
        "27 discriminator loss without detach",
    ),
    (
        beat_gan,
        (
            "generator is never",
            "generator never",
            "never stepped",
            "optimizerg",
            "not updated",
            "never updated",
        ),
        "28 generator never stepped",
    ),
]
