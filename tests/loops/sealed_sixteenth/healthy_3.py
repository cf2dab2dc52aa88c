"""Generative models."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, make_moons
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset


def _digit_vectors():
    return torch.from_numpy((load_digits().data / 16.0).astype(np.float32))


def _ring(n, modes=5, spread=0.15):
    angle = 2 * math.pi * torch.randint(modes, (n,)) / modes
    return torch.stack([angle.cos(), angle.sin()], 1) + spread * torch.randn(n, 2)


@torch.no_grad()
def _energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


# --------------------------------------------------------------------------------------------------------------
def _mlp(i, h, o, act):
    return nn.Sequential(nn.Linear(i, h), act, nn.Linear(h, h), act, nn.Linear(h, o))


def _banana(n):
    x = torch.randn(n)
    return torch.stack([x, 0.6 * x**2 - 0.6 + 0.25 * torch.randn(n)], 1)


def nonsaturating_gan():
    """The classic pair of optimizers with the non-saturating loss; the samples are judged by energy distance."""
    torch.manual_seed(0)
    G = _mlp(8, 320, 2, nn.ReLU())
    D = _mlp(2, 320, 1, nn.LeakyReLU(0.2))
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.99))
    bce = nn.BCEWithLogitsLoss()
    n = 256
    print(f"energy distance before {_energy_distance(G(torch.randn(1500, 8)), _banana(1500)):.4f}")
    ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)
    for step in range(300):
        real = _banana(n)
        fake = G(torch.randn(n, 8))

        opt_d.zero_grad()
        loss_d = bce(D(real), ones) + bce(D(fake.detach()), zeros)
        loss_d.backward()
        opt_d.step()

        # The same samples serve the generator; what backward leaves in D is cleared by opt_d.zero_grad() above.
        opt_g.zero_grad()
        loss_g = bce(D(fake), ones)
        loss_g.backward()
        opt_g.step()
        if step % 100 == 99:
            print(
                f"step {step} D {loss_d.item():.3f} G {loss_g.item():.3f} "
                f"energy distance {_energy_distance(G(torch.randn(1500, 8)), _banana(1500)):.4f}"
            )


def wasserstein_gp():
    """WGAN-GP: four critic steps to one generator step; the critic is frozen while the generator moves."""
    torch.manual_seed(1)
    G = _mlp(8, 128, 2, nn.ReLU())
    C = _mlp(2, 256, 1, nn.LeakyReLU(0.2))
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(C.parameters(), lr=1e-3, betas=(0.0, 0.9))

    def penalty(real, fake):
        t = torch.rand(len(real), 1)
        mid = (t * real + (1 - t) * fake).requires_grad_()
        (grad,) = torch.autograd.grad(C(mid).sum(), mid, create_graph=True)
        return ((grad.norm(dim=1) - 1) ** 2).mean()

    n = 256
    print(f"energy distance before {_energy_distance(G(torch.randn(1500, 8)), _ring(1500)):.4f}")
    for step in range(115):
        for _ in range(4):
            real = _ring(n)
            with torch.no_grad():
                fake = G(torch.randn(n, 8))
            loss_c = C(fake).mean() - C(real).mean() + 1.0 * penalty(real, fake)
            opt_c.zero_grad(set_to_none=True)
            loss_c.backward()
            opt_c.step()
        C.requires_grad_(False)
        loss_g = -C(G(torch.randn(n, 8))).mean()
        opt_g.zero_grad(set_to_none=True)
        loss_g.backward()
        opt_g.step()
        C.requires_grad_(True)
        if step % 23 == 22:
            print(
                f"step {step} critic {loss_c.item():.3f} "
                f"energy distance {_energy_distance(G(torch.randn(1500, 8)), _ring(1500)):.4f}"
            )


def conditional_hinge_gan():
    """Hinge loss, spectral normalisation, a projection discriminator, an averaged generator for sampling."""
    torch.manual_seed(2)
    x_all = _digit_vectors() * 2 - 1
    y_all = torch.from_numpy(load_digits().target).long()
    loader = DataLoader(TensorDataset(x_all, y_all), batch_size=64, shuffle=True, drop_last=True)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(10, 16)
            self.net = nn.Sequential(
                nn.Linear(48, 288),
                nn.ReLU(),
                nn.Linear(288, 288),
                nn.ReLU(),
                nn.Linear(288, 64),
                nn.Tanh(),
            )

        def forward(self, z, y):
            return self.net(torch.cat([z, self.embed(y)], 1))

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(
                spectral_norm(nn.Linear(64, 288)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Linear(288, 288)),
                nn.LeakyReLU(0.2),
            )
            self.out = spectral_norm(nn.Linear(288, 1))
            self.embed = spectral_norm(nn.Embedding(10, 288))

        def forward(self, x, y):
            h = self.trunk(x)
            return self.out(h).squeeze(1) + (self.embed(y) * h).sum(1)

    G, D = Generator(), Discriminator()
    averaged = copy.deepcopy(G).requires_grad_(False)
    opt_g = torch.optim.Adam(G.parameters(), lr=5e-4, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for epoch in range(10):
        for real, y in loader:
            with torch.no_grad():
                fake = G(torch.randn(len(y), 32), y)
            loss_d = F.relu(1 - D(real, y)).mean() + F.relu(1 + D(fake, y)).mean()
            opt_d.zero_grad()
            loss_d.backward()
            opt_d.step()

            target = torch.randint(10, (len(y),))
            loss_g = -D(G(torch.randn(len(y), 32), target), target).mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
            with torch.no_grad():
                for a, b in zip(averaged.parameters(), G.parameters()):
                    a.lerp_(b, 0.02)
        centroids = torch.stack([x_all[y_all == c].mean(0) for c in range(10)])
        with torch.no_grad():
            y = torch.arange(10).repeat(40)
            near = torch.cdist(averaged(torch.randn(400, 32), y), centroids).argmin(1)
        print(f"epoch {epoch} D {loss_d.item():.3f} class agreement {(near == y).float().mean():.2f}")


# --------------------------------------------------------------------------------------------------------------
def ddpm_digits():
    """Denoising diffusion on digits: cosine schedule, noise prediction, averaged weights used for sampling."""
    torch.manual_seed(3)
    data = _digit_vectors() * 2 - 1
    T = 60
    s = torch.linspace(0, 1, T + 1)
    f = torch.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    alpha = 1 - beta
    abar = alpha.cumprod(0)

    class Denoiser(nn.Module):
        def __init__(self, width=256):
            super().__init__()
            self.register_buffer("freq", torch.exp(torch.linspace(0, math.log(100), 16)))
            self.inp = nn.Linear(64, width)
            self.time = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
            self.blocks = nn.ModuleList(
                nn.Sequential(
                    nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
                )
                for _ in range(3)
            )
            self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64))
            nn.init.zeros_(self.out[1].weight)
            nn.init.zeros_(self.out[1].bias)

        def forward(self, x, t):
            arg = (t.float() / T)[:, None] * self.freq
            e = self.time(torch.cat([arg.sin(), arg.cos()], 1))
            h = self.inp(x)
            for block in self.blocks:
                h = h + block(h + e)
            return self.out(h)

    net = Denoiser()
    ema = copy.deepcopy(net).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.0)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, 1.0, total_iters=30)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=370)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, decay], milestones=[30])
    for step in range(400):
        x = data[torch.randint(len(data), (192,))]
        t = torch.randint(T, (192,))
        noise = torch.randn_like(x)
        a = abar[t][:, None]
        loss = F.mse_loss(net(a.sqrt() * x + (1 - a).sqrt() * noise, t), noise)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        decay_rate = min(0.99, (1 + step) / (10 + step))
        with torch.no_grad():
            for p_ema, p in zip(ema.parameters(), net.parameters()):
                p_ema.mul_(decay_rate).add_(p, alpha=1 - decay_rate)
        if step % 100 == 99:
            print(f"step {step} loss {loss.item():.4f}")
    with torch.no_grad():
        x = torch.randn(200, 64)
        for i in reversed(range(T)):
            t = torch.full((200,), i)
            eps = ema(x, t)
            x0 = ((x - (1 - abar[i]).sqrt() * eps) / abar[i].sqrt()).clamp(-1, 1)
            previous = abar[i - 1] if i > 0 else torch.tensor(1.0)
            mean = (previous.sqrt() * beta[i] * x0 + alpha[i].sqrt() * (1 - previous) * x) / (
                1 - abar[i]
            )
            std = (beta[i] * (1 - previous) / (1 - abar[i])).sqrt()
            x = mean + std * torch.randn_like(x) if i > 0 else mean
        reference = data[torch.randperm(len(data))[:200]]
        print(
            "mean distance to nearest digit: samples",
            torch.cdist(x, data).min(1).values.mean().item(),
            "noise",
            torch.cdist(torch.randn(200, 64).clamp(-1, 1), data).min(1).values.mean().item(),
            "pixel means gap",
            (x.mean(0) - reference.mean(0)).abs().mean().item(),
        )


# --------------------------------------------------------------------------------------------------------------
class _Coupling(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)
        self.net = nn.Sequential(
            nn.Linear(2, 160), nn.Tanh(), nn.Linear(160, 160), nn.Tanh(), nn.Linear(160, 4)
        )
        nn.init.zeros_(self.net[-1].weight)  # the flow starts as the identity
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        scale, shift = self.net(x * self.mask).chunk(2, 1)
        scale = torch.tanh(scale) * (1 - self.mask)
        return x * scale.exp() + shift * (1 - self.mask), scale.sum(1)


def coupling_flow():
    """RealNVP on two moons by maximum likelihood, written as ascent (maximize=True)."""
    torch.manual_seed(4)
    x, _ = make_moons(3000, noise=0.07, random_state=4)
    x = torch.from_numpy(x.astype(np.float32))
    train, held = x[:2400], x[2400:]
    mean, std = train.mean(0), train.std(0)
    train, held = (train - mean) / std, (held - mean) / std
    layers = nn.ModuleList(
        _Coupling(torch.tensor([1.0, 0.0]) if i % 2 else torch.tensor([0.0, 1.0])) for i in range(6)
    )
    base = torch.distributions.Normal(0.0, 1.0)

    def log_prob(v):
        total = torch.zeros(len(v))
        for layer in layers:
            v, logdet = layer(v)
            total = total + logdet
        return base.log_prob(v).sum(1) + total

    optimizer = torch.optim.Adam(layers.parameters(), lr=3e-3, maximize=True)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.93)
    loader = DataLoader(TensorDataset(train), batch_size=120, shuffle=True)
    for epoch in range(20):
        for (batch,) in loader:
            likelihood = log_prob(batch).mean()
            optimizer.zero_grad()
            likelihood.backward()
            nn.utils.clip_grad_norm_(layers.parameters(), 5.0)
            optimizer.step()
        scheduler.step()
        if epoch % 5 == 4:
            with torch.no_grad():
                print(f"epoch {epoch} held-out log-likelihood {log_prob(held).mean():.3f}")


# --------------------------------------------------------------------------------------------------------------
def vae_kl_warmup():
    """Bernoulli VAE on digits; the weight of the divergence rises from 0 to 1 and then stays."""
    torch.manual_seed(5)
    data = _digit_vectors()
    train, held = data[:1500], data[1500:]
    encoder = nn.Sequential(
        nn.Linear(64, 400), nn.SiLU(), nn.Linear(400, 400), nn.SiLU(), nn.Linear(400, 24)
    )
    decoder = nn.Sequential(
        nn.Linear(12, 400), nn.SiLU(), nn.Linear(400, 400), nn.SiLU(), nn.Linear(400, 64)
    )
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)

    def terms(x):
        mu, logvar = encoder(x).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        rec = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum(1).mean()
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean()
        return rec, kl

    loader = DataLoader(TensorDataset(train), batch_size=100, shuffle=True)
    epochs = 36
    warmup_steps = 12 * len(loader)
    step = 0
    for epoch in range(epochs):
        for (x,) in loader:
            beta = min(1.0, step / warmup_steps)
            rec, kl = terms(x)
            optimizer.zero_grad()
            (rec + beta * kl).backward()
            optimizer.step()
            step += 1
        if epoch % 6 == 5:
            with torch.no_grad():
                rec, kl = terms(held)
            print(
                f"epoch {epoch} beta {beta:.2f} held-out reconstruction {rec:.2f} kl {kl:.2f} bound {-(rec + kl):.2f}"
            )


# --------------------------------------------------------------------------------------------------------------
class _Codebook(nn.Module):
    """Vector quantiser whose codes follow running means of what is assigned to them, not the gradient."""

    def __init__(self, codes, dim, decay=0.95):
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.randn(codes, dim))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.codes.clone())
        self.register_buffer("ready", torch.tensor(False))

    def forward(self, z):
        flat = z.detach().reshape(-1, z.shape[-1])
        if self.training and not self.ready:
            pick = flat[torch.randperm(len(flat))[: len(self.codes)]]
            self.codes.copy_(pick)
            self.sums.copy_(pick)
            self.ready.fill_(True)
        index = torch.cdist(flat, self.codes).argmin(1)
        q = self.codes[index].view_as(z)
        if self.training:
            with torch.no_grad():
                hot = F.one_hot(index, len(self.codes)).type_as(flat)
                self.counts.lerp_(hot.sum(0), 1 - self.decay)
                self.sums.lerp_(hot.t() @ flat, 1 - self.decay)
                n = self.counts.sum()
                smooth = (self.counts + 1e-3) / (n + 1e-3 * len(self.codes)) * n
                self.codes.copy_(self.sums / smooth[:, None])
        commitment = F.mse_loss(z, q)
        return z + (q - z).detach(), commitment, index


def vector_quantised_autoencoder():
    """VQ-VAE on digits: straight-through gradient, codebook by running means outside the optimizer."""
    torch.manual_seed(6)
    data = _digit_vectors().view(-1, 1, 8, 8)
    train, held = data[:1500], data[1500:]
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(48, 8, 1),
    )
    book = _Codebook(48, 8)
    decoder = nn.Sequential(
        nn.Conv2d(8, 48, 3, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(48, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 1, 3, padding=1),
    )
    model = nn.ModuleDict({"encoder": encoder, "book": book, "decoder": decoder})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def run(x):
        z = model["encoder"](x).permute(0, 2, 3, 1)
        q, commitment, index = model["book"](z)
        return model["decoder"](q.permute(0, 3, 1, 2)), commitment, index

    loader = DataLoader(TensorDataset(train), batch_size=64, shuffle=True)
    for epoch in range(14):
        model.train()
        for (x,) in loader:
            out, commitment, _ = run(x)
            loss = F.mse_loss(out, x) + 0.25 * commitment
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 3 == 1:
            model.eval()
            with torch.no_grad():
                out, _, index = run(held)
            print(
                f"epoch {epoch} held-out error {F.mse_loss(out, held):.4f} (variance {held.var():.4f}) "
                f"codes used {len(index.unique())}"
            )


# --------------------------------------------------------------------------------------------------------------
def energy_model_replay():
    """Energy-based model of the ring with Langevin chains kept in a replay buffer (persistent contrastive divergence)."""
    torch.manual_seed(7)
    energy = nn.Sequential(
        nn.Linear(2, 192), nn.SiLU(), nn.Linear(192, 192), nn.SiLU(), nn.Linear(192, 1)
    )
    optimizer = torch.optim.Adam(energy.parameters(), lr=1e-3, betas=(0.0, 0.999))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=150, gamma=0.3)
    buffer = torch.rand(2000, 2) * 4 - 2

    def langevin(x, steps=20, size=0.01):
        energy.requires_grad_(False)
        for _ in range(steps):
            x = x.detach().requires_grad_()
            (grad,) = torch.autograd.grad(energy(x).sum(), x)
            x = x - size * grad + math.sqrt(2 * size) * torch.randn_like(x)
        energy.requires_grad_(True)
        return x.detach().clamp(-3, 3)

    n = 128
    for step in range(300):
        real = _ring(n, modes=4, spread=0.1)
        index = torch.randperm(len(buffer))[:n]
        start = buffer[index]
        fresh = torch.rand(n, 1) < 0.05
        start = torch.where(fresh, torch.rand(n, 2) * 4 - 2, start)
        fake = langevin(start)
        buffer[index] = fake
        e_real, e_fake = energy(real), energy(fake)
        loss = e_real.mean() - e_fake.mean() + 0.01 * (e_real**2 + e_fake**2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(energy.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 75 == 74:
            with torch.no_grad():
                gap = (
                    energy(torch.rand(1000, 2) * 4 - 2).mean()
                    - energy(_ring(1000, modes=4, spread=0.1)).mean()
                )
            print(f"step {step} loss {loss.item():.3f} energy of noise over data {gap.item():.3f}")


HEALTHY = [
    nonsaturating_gan,
    wasserstein_gp,
    conditional_hinge_gan,
    ddpm_digits,
    coupling_flow,
    vae_kl_warmup,
    vector_quantised_autoencoder,
    energy_model_replay,
]
