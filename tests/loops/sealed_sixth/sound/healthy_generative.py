"""Generative models."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons, make_swiss_roll
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

from .common import digits_splits, seed_everything


def gan_ring_of_gaussians() -> None:
    """Non-saturating GAN, separate optimizers, on eight Gaussians in a ring."""
    seed_everything(1)
    angles = torch.arange(8) * (2 * math.pi / 8)
    centers = 2.0 * torch.stack([angles.cos(), angles.sin()], 1)

    def sample_real(n):
        return centers[torch.randint(0, 8, (n,))] + 0.1 * torch.randn(n, 2)

    G = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    D = nn.Sequential(
        nn.Linear(2, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1)
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=5e-4, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    B = 256
    ones, zeros = torch.ones(B, 1), torch.zeros(B, 1)
    for step in range(1500):
        real = sample_real(B)
        fake = G(torch.randn(B, 8))

        loss_d = bce(D(real), ones) + bce(D(fake.detach()), zeros)
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()

        loss_g = bce(D(fake), ones)
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
    with torch.no_grad():
        d = torch.cdist(G(torch.randn(2000, 8)), centers)
        close = d.min(1).values < 0.4
        modes = d.argmin(1)[close].unique().numel()
    print(
        f"D {loss_d.item():.3f} G {loss_g.item():.3f} modes {modes}/8 close {close.float().mean():.2f}"
    )


def wgan_gp_swiss_roll() -> None:
    """WGAN-GP: five critic steps for one generator step, gradient penalty with create_graph."""
    seed_everything(0)
    pts, _ = make_swiss_roll(4000, noise=0.2, random_state=0)
    data = torch.tensor(pts[:, [0, 2]], dtype=torch.float32)
    data = (data - data.mean(0)) / data.std(0)

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
            )

        def forward(self, x):
            return self.net(x)

    netG = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    netD = Critic()
    optG = torch.optim.Adam(netG.parameters(), lr=3e-4, betas=(0.5, 0.9))
    optD = torch.optim.Adam(netD.parameters(), lr=3e-4, betas=(0.5, 0.9))
    lambda_gp, n_critic, bs = 1.0, 5, 256

    def gradient_penalty(real, fake):
        eps = torch.rand(real.size(0), 1)
        x_hat = (eps * real + (1 - eps) * fake).requires_grad_(True)
        out = netD(x_hat)
        grads = torch.autograd.grad(out.sum(), x_hat, create_graph=True)[0]
        return ((grads.norm(2, dim=1) - 1) ** 2).mean()

    def sliced_wasserstein(a, b, n=64):
        proj = F.normalize(torch.randn(2, n), dim=0)
        return ((a @ proj).sort(0).values - (b @ proj).sort(0).values).abs().mean().item()

    with torch.no_grad():
        before = sliced_wasserstein(netG(torch.randn(4000, 2)), data)
    for it in range(400):
        for p in netD.parameters():
            p.requires_grad_(True)
        for _ in range(n_critic):
            real = data[torch.randint(0, len(data), (bs,))]
            with torch.no_grad():
                fake = netG(torch.randn(bs, 2))
            netD.zero_grad()
            loss_d = netD(fake).mean() - netD(real).mean() + lambda_gp * gradient_penalty(real, fake)
            loss_d.backward()
            optD.step()
        for p in netD.parameters():
            p.requires_grad_(False)
        netG.zero_grad()
        loss_g = -netD(netG(torch.randn(bs, 2))).mean()
        loss_g.backward()
        optG.step()
    with torch.no_grad():
        after = sliced_wasserstein(netG(torch.randn(4000, 2)), data)
    print(f"W estimate {-loss_d.item():.3f} sliced W {before:.3f} -> {after:.3f}")


class ProjectionD(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            spectral_norm(nn.Linear(64, 256)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Linear(256, 256)),
            nn.LeakyReLU(0.2),
        )
        self.out = spectral_norm(nn.Linear(256, 1))
        self.emb = spectral_norm(nn.Embedding(10, 256))

    def forward(self, x, y):
        h = self.body(x)
        return self.out(h).squeeze(1) + (self.emb(y) * h).sum(1)


class CondG(nn.Module):
    def __init__(self, nz=16):
        super().__init__()
        self.nz = nz
        self.emb = nn.Embedding(10, 16)
        self.net = nn.Sequential(
            nn.Linear(nz + 16, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Linear(256, 64),
            nn.Sigmoid(),
        )

    def forward(self, z, y):
        return self.net(torch.cat([z, self.emb(y)], 1))


def conditional_hinge_gan_spectral_norm() -> None:
    """Hinge GAN with projection discriminator and an EMA generator for sampling."""
    seed_everything(0)
    (x, y), _, (xt, yt) = digits_splits()
    G, D = CondG(), ProjectionD()
    G_ema = copy.deepcopy(G).requires_grad_(False)
    optG = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.0, 0.9))
    optD = torch.optim.Adam(D.parameters(), lr=4e-4, betas=(0.0, 0.9))
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(45):
        for real, lab in loader:
            z = torch.randn(len(real), G.nz)
            fake = G(z, lab)
            optD.zero_grad(set_to_none=True)
            d_loss = F.relu(1 - D(real, lab)).mean() + F.relu(1 + D(fake.detach(), lab)).mean()
            d_loss.backward()
            optD.step()

            optG.zero_grad(set_to_none=True)
            g_loss = -D(fake, lab).mean()
            g_loss.backward()
            optG.step()
            with torch.no_grad():
                for pe, p in zip(G_ema.parameters(), G.parameters()):
                    pe.lerp_(p, 0.01)
                for be, b in zip(G_ema.buffers(), G.buffers()):
                    be.copy_(b)
    G_ema.eval()
    judge = LogisticRegression(max_iter=2000).fit(x.numpy(), y.numpy())
    with torch.no_grad():
        lab = torch.arange(10).repeat(50)
        s = G_ema(torch.randn(500, G.nz), lab)
    print(
        f"D {d_loss.item():.3f} G {g_loss.item():.3f} judge accuracy on samples {judge.score(s.numpy(), lab.numpy()):.3f} "
        f"(on real {judge.score(xt.numpy(), yt.numpy()):.3f}) std {s.std(0).mean():.3f} real {x.std(0).mean():.3f}"
    )


class Denoiser(nn.Module):
    def __init__(self, dim=64, hidden=192, T=100):
        super().__init__()
        self.temb = nn.Embedding(T, hidden)
        self.inp = nn.Linear(dim, hidden)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
                )
                for _ in range(3)
            ]
        )
        self.out = nn.Linear(hidden, dim)

    def forward(self, x, t):
        h = self.inp(x) + self.temb(t)
        for b in self.blocks:
            h = h + b(h)
        return self.out(F.silu(h))


def ddpm_digits() -> None:
    """DDPM on flattened digits: epsilon prediction, warm-up, clipping, EMA weights, ancestral sampling."""
    seed_everything(0)
    (x, y), (xv, _), _ = digits_splits()
    x, xv = x * 2 - 1, xv * 2 - 1
    T = 100
    betas = torch.linspace(1e-3, 0.1, T)
    alphas = 1 - betas
    abar = torch.cumprod(alphas, 0)
    model = Denoiser(T=T)
    ema = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995)
    )
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 100))

    def loss_fn(net, x0, g=None):
        t = torch.randint(0, T, (len(x0),), generator=g)
        eps = torch.randn(x0.shape, generator=g)
        xt = abar[t].sqrt()[:, None] * x0 + (1 - abar[t]).sqrt()[:, None] * eps
        return F.mse_loss(net(xt, t), eps)

    for step in range(1200):
        batch = x[torch.randint(0, len(x), (128,))]
        loss = loss_fn(model, batch)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        sched.step()
        ema.update_parameters(model)
        if (step + 1) % 400 == 0:
            ema.eval()
            with torch.no_grad():
                val = np.mean(
                    [loss_fn(ema, xv, torch.Generator().manual_seed(k)).item() for k in range(5)]
                )
            print(f"step {step + 1} loss {loss.item():.3f} ema val {val:.3f}")
    with torch.no_grad():
        s = torch.randn(200, 64)
        for i in reversed(range(T)):
            e = ema(s, torch.full((200,), i))
            s = (s - betas[i] / (1 - abar[i]).sqrt() * e) / alphas[i].sqrt()
            if i > 0:
                s = s + betas[i].sqrt() * torch.randn_like(s)
    judge = LogisticRegression(max_iter=2000).fit(x.numpy(), y.numpy())
    p = judge.predict_proba(s.numpy())
    print(f"judge confidence {p.max(1).mean():.3f} classes {len(np.unique(p.argmax(1)))}")


class VAE(nn.Module):
    def __init__(self, d=64, h=128, z=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU())
        self.mu, self.logvar = nn.Linear(h, z), nn.Linear(h, z)
        self.dec = nn.Sequential(nn.Linear(z, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, d))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.dec(z), mu, logvar


def vae_kl_warmup() -> None:
    """VAE whose loss rises during the KL warm-up, as it should."""
    seed_everything(0)
    (x, _), (xv, _), _ = digits_splits()
    loader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True)
    vae = VAE()
    opt = torch.optim.Adam(vae.parameters(), lr=2e-3)
    warmup_epochs, epochs = 30, 90
    for epoch in range(epochs):
        beta = min(1.0, epoch / warmup_epochs)
        vae.train()
        tot_rec = tot_kl = 0.0
        for (xb,) in loader:
            logits, mu, logvar = vae(xb)
            rec = F.binary_cross_entropy_with_logits(logits, xb, reduction="sum") / len(xb)
            kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()
            loss = rec + beta * kl
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot_rec += rec.item() * len(xb)
            tot_kl += kl.item() * len(xb)
        if (epoch + 1) % 15 == 0 or epoch == 0:
            vae.eval()
            with torch.no_grad():
                logits, _, _ = vae(xv)
                val_mse = F.mse_loss(torch.sigmoid(logits), xv).item()
            print(
                f"epoch {epoch + 1} beta {beta:.2f} rec {tot_rec / len(x):.2f} kl {tot_kl / len(x):.2f} val mse {val_mse:.4f}"
            )


class Coupling(nn.Module):
    def __init__(self, mask, hidden=64):
        super().__init__()
        self.register_buffer("mask", mask)
        self.net = nn.Sequential(
            nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 4)
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        s, t = self.net(x * self.mask).chunk(2, 1)
        s = torch.tanh(s) * (1 - self.mask)
        t = t * (1 - self.mask)
        return x * s.exp() + t, s.sum(1)


def realnvp_two_moons() -> None:
    """RealNVP, last layers initialised at zero, trained by exact negative log-likelihood (goes below zero is fine)."""
    seed_everything(0)
    tr = torch.tensor(make_moons(3000, noise=0.05, random_state=0)[0], dtype=torch.float32)
    te = torch.tensor(make_moons(1000, noise=0.05, random_state=1)[0], dtype=torch.float32)
    masks = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
    flow = nn.ModuleList([Coupling(masks[i % 2]) for i in range(6)])

    def nll(x):
        logdet = torch.zeros(len(x))
        for layer in flow:
            x, ld = layer(x)
            logdet = logdet + ld
        logp = -0.5 * (x**2).sum(1) - math.log(2 * math.pi)
        return -(logp + logdet).mean()

    opt = torch.optim.Adam(flow.parameters(), lr=2e-3)
    steps = 900
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=steps)
    for step in range(steps):
        xb = tr[torch.randperm(len(tr))[:256]]
        loss = nll(xb)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        sched.step()
        if step % 300 == 0:
            with torch.no_grad():
                print(f"step {step} train nll {loss.item():.3f} test nll {nll(te).item():.3f}")
    with torch.no_grad():
        print(f"final test nll {nll(te).item():.3f}")


def energy_based_model_langevin() -> None:
    """EBM by contrastive divergence with a sample buffer; the loss hovers about zero by nature."""
    seed_everything(0)
    tr = torch.tensor(make_moons(3000, noise=0.08, random_state=0)[0], dtype=torch.float32)
    te = torch.tensor(make_moons(500, noise=0.08, random_state=1)[0], dtype=torch.float32)
    lo, hi = tr.min(0).values - 0.5, tr.max(0).values + 0.5

    def uniform(n):
        return lo + (hi - lo) * torch.rand(n, 2)

    E = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    opt = torch.optim.Adam(E.parameters(), lr=1e-3, betas=(0.0, 0.999))
    buffer = uniform(2000)

    def langevin(x, steps=20, step_size=0.01):
        for p in E.parameters():
            p.requires_grad_(False)
        x = x.clone().requires_grad_(True)
        for _ in range(steps):
            (g,) = torch.autograd.grad(E(x).sum(), x)
            x = (x - step_size * g + math.sqrt(2 * step_size) * torch.randn_like(x)).detach()
            x = torch.minimum(torch.maximum(x, lo), hi).requires_grad_(True)
        for p in E.parameters():
            p.requires_grad_(True)
        return x.detach()

    for it in range(900):
        idx = torch.randint(0, len(buffer), (128,))
        init = buffer[idx]
        fresh = torch.rand(128) < 0.05
        init[fresh] = uniform(int(fresh.sum()))
        neg = langevin(init)
        buffer[idx] = neg
        pos = tr[torch.randint(0, len(tr), (128,))]
        e_pos, e_neg = E(pos), E(neg)
        loss = e_pos.mean() - e_neg.mean() + 1e-2 * (e_pos.pow(2) + e_neg.pow(2)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        scores = torch.cat([-E(te), -E(uniform(500))]).squeeze(1)
    auc = roc_auc_score([1] * 500 + [0] * 500, scores.numpy())
    print(f"loss {loss.item():.3f} AUROC moons against uniform {auc:.3f}")


HEALTHY = [
    gan_ring_of_gaussians,
    wgan_gp_swiss_roll,
    conditional_hinge_gan_spectral_norm,
    ddpm_digits,
    vae_kl_warmup,
    realnvp_two_moons,
    energy_based_model_langevin,
]
