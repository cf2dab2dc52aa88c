import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import digits_datasets, digits_tensors, seed_everything


# ---------------------------------------------------------------------------------------------- GAN
class Generator(nn.Module):
    def __init__(self, nz=8, n_out=2, width=64):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(nz, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, n_out),
        )

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self, n_in=2, width=64):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(n_in, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, x):
        return self.main(x).squeeze(1)


class GANTrainer:
    def __init__(self, netG, netD, nz=8, lr=1e-3, twice_d=False):
        self.netG, self.netD, self.nz = netG, netD, nz
        self.criterion = nn.BCEWithLogitsLoss()
        self.optimizerD = torch.optim.Adam(netD.parameters(), lr=lr, betas=(0.5, 0.999))
        self.optimizerG = torch.optim.Adam(netG.parameters(), lr=lr, betas=(0.5, 0.999))
        self.twice_d = twice_d
        self.G_losses, self.D_losses = [], []

    def train_batch(self, real):
        n = real.size(0)
        ones, zeros = torch.ones(n), torch.zeros(n)
        # (1) Update D network: maximize log(D(x)) + log(1 - D(G(z)))
        self.netD.zero_grad()
        errD_real = self.criterion(self.netD(real), ones)
        errD_real.backward()
        fake = self.netG(torch.randn(n, self.nz))
        errD_fake = self.criterion(self.netD(fake.detach()), zeros)
        errD_fake.backward()
        self.optimizerD.step()
        # (2) Update G network: maximize log(D(G(z)))
        self.netG.zero_grad()
        errG = self.criterion(self.netD(fake), ones)
        errG.backward()
        if self.twice_d:
            self.optimizerD.step()
        else:
            self.optimizerG.step()
        self.D_losses.append((errD_real + errD_fake).item())
        self.G_losses.append(errG.item())

    def fit(self, loader, epochs):
        for _ in range(epochs):
            for (real,) in loader:
                self.train_batch(real)


def ring_gan(mistake: bool) -> None:
    """After the generator's backward the discriminator's optimizer is stepped again; the generator's never is."""
    seed_everything(0)
    angle = 2 * np.pi * torch.rand(2000)
    data = torch.stack([torch.cos(angle), torch.sin(angle)], 1) + 0.05 * torch.randn(2000, 2)
    loader = DataLoader(TensorDataset(data), batch_size=64, shuffle=True, drop_last=True)
    netG, netD = Generator(), Discriminator()
    trainer = GANTrainer(netG, netD, twice_d=mistake)
    trainer.fit(loader, epochs=20)
    with torch.no_grad():
        r = netG(torch.randn(1000, 8)).norm(dim=1)
    print(
        "D",
        np.mean(trainer.D_losses[-50:]),
        "G",
        np.mean(trainer.G_losses[-50:]),
        "radius",
        r.mean().item(),
        r.std().item(),
    )


# ---------------------------------------------------------------------------------------------- diffusion
def linear_beta_schedule(timesteps, start=1e-3, end=0.15):
    return torch.linspace(start, end, timesteps)


class SinusoidalPositionEmbeddings(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, t):
        half = self.dim // 2
        freqs = torch.exp(-np.log(1000) * torch.arange(half) / (half - 1))
        ang = t[:, None].float() * freqs[None]
        return torch.cat([ang.sin(), ang.cos()], dim=-1)


class Denoiser(nn.Module):
    def __init__(self, n_data=2, width=96, t_dim=32):
        super().__init__()
        self.time_mlp = nn.Sequential(
            SinusoidalPositionEmbeddings(t_dim), nn.Linear(t_dim, width), nn.SiLU()
        )
        self.inp = nn.Linear(n_data, width)
        self.mid = nn.ModuleList([nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(3)])
        self.out = nn.Linear(width, n_data)

    def forward(self, x, t):
        h = self.inp(x)
        e = self.time_mlp(t)
        for layer in self.mid:
            h = h + layer(h + e)
        return self.out(h)


class Diffusion:
    def __init__(self, timesteps=50, fresh_noise=False):
        self.timesteps = timesteps
        self.betas = linear_beta_schedule(timesteps)
        self.alphas = 1.0 - self.betas
        self.alphas_cumprod = torch.cumprod(self.alphas, 0)
        self.fresh_noise = fresh_noise

    def q_sample(self, x_start, t, noise=None):
        if noise is None:
            noise = torch.randn_like(x_start)
        a = self.alphas_cumprod[t][:, None]
        return a.sqrt() * x_start + (1 - a).sqrt() * noise

    def p_losses(self, model, x_start, t):
        noise = torch.randn_like(x_start)
        x_noisy = self.q_sample(x_start, t) if self.fresh_noise else self.q_sample(x_start, t, noise)
        return F.smooth_l1_loss(model(x_noisy, t), noise)

    @torch.no_grad()
    def sample(self, model, n, dim=2):
        x = torch.randn(n, dim)
        for i in reversed(range(self.timesteps)):
            t = torch.full((n,), i)
            eps = model(x, t)
            x = (x - self.betas[i] / (1 - self.alphas_cumprod[i]).sqrt() * eps) / self.alphas[i].sqrt()
            if i > 0:
                x = x + self.betas[i].sqrt() * torch.randn_like(x)
        return x


def moons_ddpm(mistake: bool) -> None:
    """`q_sample` is called without the noise and draws its own, so the target noise has nothing to do with the input."""
    from sklearn.datasets import make_moons

    seed_everything(1)
    x, _ = make_moons(2000, noise=0.04, random_state=0)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    loader = DataLoader(TensorDataset(x), batch_size=100, shuffle=True)
    model = Denoiser()
    diffusion = Diffusion(fresh_noise=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(30):
        model.train()
        total = 0.0
        for (batch,) in loader:
            optimizer.zero_grad()
            t = torch.randint(0, diffusion.timesteps, (batch.shape[0],)).long()
            loss = diffusion.p_losses(model, batch, t)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch in (0, 29):
            print(epoch, total / len(loader))
    model.eval()
    s = diffusion.sample(model, 300)
    print("distance to the data", torch.cdist(s, x).min(1).values.mean().item())


# ---------------------------------------------------------------------------------------------- EMA
class ModelEMA:
    """A moving average of the weights, as in timm."""

    def __init__(self, model, decay=0.98):
        self.module = copy.deepcopy(model)
        self.module.eval()
        for p in self.module.parameters():
            p.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for ema_v, model_v in zip(self.module.state_dict().values(), model.state_dict().values()):
            if ema_v.dtype.is_floating_point:
                ema_v.mul_(self.decay).add_(model_v, alpha=1 - self.decay)
            else:
                ema_v.copy_(model_v)


class ConvAutoencoder(nn.Module):
    def __init__(self, code=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96, code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, 96),
            nn.ReLU(),
            nn.Unflatten(1, (24, 2, 2)),
            nn.ConvTranspose2d(24, 12, 2, 2),
            nn.ReLU(),
            nn.ConvTranspose2d(12, 1, 2, 2),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


class DenoisingTrainer:
    def __init__(self, build_model, train_ds, val_ds, epochs=10, rebuild=False):
        self.build_model = build_model
        self.model = build_model()
        self.ema = ModelEMA(self.model)
        self.ema_source = self.model
        self.train_loader = DataLoader(train_ds, batch_size=32, shuffle=True)
        self.val_loader = DataLoader(val_ds, batch_size=128)
        self.epochs = epochs
        if rebuild:
            self.reset()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-3, weight_decay=1e-4)

    def reset(self):
        """A fresh start, for several seeds."""
        self.model = self.build_model()

    @staticmethod
    def corrupt(x):
        return x + 0.3 * torch.randn_like(x)

    def validate(self, model):
        model.eval()
        with torch.no_grad():
            return np.mean([F.mse_loss(model(self.corrupt(x)), x).item() for x, _ in self.val_loader])

    def fit(self):
        for epoch in range(self.epochs):
            self.model.train()
            total = 0.0
            for x, _ in self.train_loader:
                loss = F.mse_loss(self.model(self.corrupt(x)), x)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.ema.update(self.ema_source)
                total += loss.item()
            if epoch in (0, self.epochs - 1):
                print(
                    epoch,
                    total / len(self.train_loader),
                    "ema",
                    self.validate(self.ema.module),
                    "raw",
                    self.validate(self.model),
                )


def digits_denoiser_ema(mistake: bool) -> None:
    """The moving average follows the model from before the reset, which is not the one that is trained."""
    seed_everything(2)
    train_ds, val_ds = digits_datasets()
    DenoisingTrainer(ConvAutoencoder, train_ds, val_ds, rebuild=mistake).fit()


# ---------------------------------------------------------------------------------------------- VAE
class VAE(nn.Module):
    def __init__(self, n_in=64, hidden=96, latent=6):
        super().__init__()
        self.fc1 = nn.Linear(n_in, hidden)
        self.fc21, self.fc22 = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.fc3, self.fc4 = nn.Linear(latent, hidden), nn.Linear(hidden, n_in)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def decode(self, z):
        return self.fc4(F.relu(self.fc3(z)))

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def vae_loss(logits, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (bce + kld) / x.size(0)


def digits_vae(mistake: bool) -> None:
    """zero_grad is called between backward and step, so the optimizer never sees a gradient."""
    seed_everything(3)
    xt, yt, xv, yv = digits_tensors()
    low, high = xt.min(), xt.max()
    xt, xv = ((t - low) / (high - low) for t in (xt, xv))
    train_loader = DataLoader(TensorDataset(xt, yt), batch_size=32, shuffle=True)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(12):
        model.train()
        train_loss = 0.0
        for data, _ in train_loader:
            data = data.view(data.size(0), -1)
            if not mistake:
                optimizer.zero_grad()
            recon, mu, logvar = model(data)
            loss = vae_loss(recon, data, mu, logvar)
            loss.backward()
            if mistake:
                optimizer.zero_grad()
            optimizer.step()
            train_loss += loss.item()
        model.eval()
        with torch.no_grad():
            data = xv.view(len(xv), -1)
            test_loss = vae_loss(model(data)[0], data, *model(data)[1:]).item()
        if epoch in (0, 11):
            print(epoch, train_loss / len(train_loader), test_loss)


FAULTS = [
    (
        ring_gan,
        ("generator", "never stepped", "not stepped", "netg", "optimizerg", "never updated"),
        "step missing (GAN generator never stepped)",
    ),
    (
        moons_ddpm,
        ("noise", "unrelated", "independent", "not related", "does not depend", "no better than"),
        "diffusion target noise is not the noise added (own)",
    ),
    (
        digits_denoiser_ema,
        (" ema", "ema ", "ema's", "moving average", "averaged", "other model"),
        "EMA of the wrong model",
    ),
    (
        digits_vae,
        ("zero_grad", "zeroed", "between backward", "before the step", "no gradient", "cleared"),
        "zero_grad between backward and step",
    ),
]
