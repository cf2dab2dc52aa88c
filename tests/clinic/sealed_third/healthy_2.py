"""Unusual recipes that are right, as of good public repositories: second half."""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from sklearn.datasets import load_diabetes, make_moons
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck import Recipe

from . import data

# -- denoising diffusion ----------------------------------------------------------------------------


class Denoiser(nn.Module):
    def __init__(self, width=192, times=100):
        super().__init__()
        alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.08, times), dim=0)
        self.register_buffer("signal", alphas.sqrt())
        self.register_buffer("noise", (1 - alphas).sqrt())
        self.times = nn.Embedding(times, width)
        self.into = nn.Linear(64, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
            )
            for _ in range(3)
        )
        self.out = nn.Linear(width, 64)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, noisy, t):
        h = self.into(noisy)
        for block in self.blocks:
            h = h + block(h + self.times(t))
        return self.out(h)


def diffusion_step(model, batch):
    (images,) = batch
    x = images.flatten(1) * 2 - 1
    t = torch.randint(len(model.signal), (len(x),), device=x.device)
    eps = torch.randn_like(x)
    noisy = model.signal[t, None] * x + model.noise[t, None] * eps
    predicted = model(noisy, t)
    return F.mse_loss(predicted, eps), predicted


def ddpm_digits() -> Recipe:
    x, _, vx, _ = data.digits()
    model = Denoiser()
    return Recipe(
        model=model,
        train_data=data.loader(x, batch_size=64),
        val_data=data.loader(vx, batch_size=120, shuffle=False),
        training_step=diffusion_step,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3),
        max_grad_norm=5.0,
    )


# -- CORAL: ordinal regression with one weight and many thresholds ----------------------------------


class Coral(nn.Module):
    def __init__(self, features, ranks):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, 32), nn.LeakyReLU(0.1), nn.Dropout(0.1))
        self.score = nn.Linear(32, 1, bias=False)
        self.thresholds = nn.Parameter(torch.linspace(1, -1, ranks - 1))

    def forward(self, x):
        return self.score(self.body(x)) + self.thresholds


def coral_loss(logits, rank):
    above = (rank[:, None] > torch.arange(logits.size(1), device=rank.device)).float()
    return F.binary_cross_entropy_with_logits(logits, above, reduction="none").sum(1).mean()


def coral_diabetes() -> Recipe:
    x, y = load_diabetes(return_X_y=True)
    x = x / x.std(0)
    rank = np.digitize(y, np.quantile(y, [0.2, 0.4, 0.6, 0.8]))
    x, vx, y, vy = train_test_split(x, rank, test_size=0.25, stratify=rank, random_state=0)
    model = Coral(10, 5)
    return Recipe(
        model=model,
        train_data=data.loader(data.f32(x), data.i64(y), batch_size=32),
        val_data=data.loader(data.f32(vx), data.i64(vy), shuffle=False),
        loss=coral_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4),
        metrics={
            "mean_rank_error": lambda out, rank: ((out > 0).sum(1) - rank).abs().float().mean().item()
        },
        shapes="b 10 -> b 4",
    )


# -- word2vec: skip-gram with negative samples ------------------------------------------------------


class SkipGrams(Dataset):
    """A word, one of its neighbours, and five words drawn by frequency to the power of 3/4."""

    def __init__(self, words, vocabulary, window=3):
        ids = [vocabulary[w] for w in words if w in vocabulary]
        self.pairs = torch.tensor(
            [
                (a, b)
                for i, a in enumerate(ids)
                for b in ids[max(0, i - window) : i + window + 1]
                if a != b
            ]
        )
        frequency = torch.bincount(self.pairs[:, 1], minlength=len(vocabulary)).float()
        self.noise = frequency**0.75

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        centre, context = self.pairs[i]
        return centre, context, torch.multinomial(self.noise, 5, replacement=True)


class SkipGram(nn.Module):
    def __init__(self, words, dim=32):
        super().__init__()
        self.centre = nn.Embedding(words, dim)
        self.context = nn.Embedding(words, dim)
        nn.init.uniform_(self.centre.weight, -0.5 / dim**0.5, 0.5 / dim**0.5)
        nn.init.zeros_(self.context.weight)

    def forward(self, centre, context, negatives):
        c = self.centre(centre)
        positive = (c * self.context(context)).sum(-1)
        return positive, torch.einsum("bd,bkd->bk", c, self.context(negatives))


def skip_gram_step(model, batch):
    positive, negative = model(*batch)
    loss = -(F.logsigmoid(positive) + F.logsigmoid(-negative).sum(1)).mean()
    return loss, (positive, negative)


def word2vec() -> Recipe:
    words = [w for page in data.pages() for w in re.findall(r"[a-z]+", page.lower())]
    counts = {w: words.count(w) for w in set(words)}
    vocabulary = {w: i for i, w in enumerate(sorted(w for w, c in counts.items() if c >= 8))}
    cut = int(0.9 * len(words))
    model = SkipGram(len(vocabulary))
    return Recipe(
        model=model,
        train_data=DataLoader(SkipGrams(words[:cut], vocabulary), batch_size=128, shuffle=True),
        val_data=DataLoader(SkipGrams(words[cut:], vocabulary), batch_size=256),
        training_step=skip_gram_step,
        optimizer=torch.optim.Adagrad(model.parameters(), lr=0.1),
    )


# -- VQ-VAE whose codebook is a moving average ------------------------------------------------------


class VQVAE(nn.Module):
    def __init__(self, codes=48, dim=12, decay=0.95):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 2, stride=2), nn.ReLU(), nn.Conv2d(32, dim, 3, padding=1)
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(dim, 32, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 2, stride=2)
        )
        self.register_buffer("codebook", torch.randn(codes, dim) * 0.3)
        self.register_buffer("sizes", torch.ones(codes))
        self.register_buffer("sums", self.codebook.clone())
        self.decay = decay

    def forward(self, images):
        z = self.encoder(images)
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.size(1))
        nearest = torch.cdist(flat.detach(), self.codebook).argmin(1)
        quantised = self.codebook[nearest].view(z.size(0), *z.shape[2:], -1).permute(0, 3, 1, 2)
        if self.training:
            self.follow(flat.detach(), nearest)
        commitment = F.mse_loss(z, quantised.detach())
        return self.decoder(z + (quantised - z).detach()), commitment

    @torch.no_grad()
    def follow(self, flat, nearest):
        hits = F.one_hot(nearest, len(self.codebook)).to(flat.dtype)
        self.sizes.mul_(self.decay).add_(hits.sum(0), alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(hits.T @ flat, alpha=1 - self.decay)
        total = self.sizes.sum()
        smoothed = (self.sizes + 1e-5) / (total + len(self.sizes) * 1e-5) * total
        self.codebook = self.sums / smoothed[:, None]


def vq_loss(outputs, images):
    restored, commitment = outputs
    return F.mse_loss(restored, images) / 0.14 + 0.25 * commitment


def vqvae_ema() -> Recipe:
    x, _, vx, _ = data.digits()
    model = VQVAE()
    return Recipe(
        model=model,
        train_data=data.loader(x, x),
        val_data=data.loader(vx, vx, batch_size=120, shuffle=False),
        loss=vq_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# -- RealNVP: a density by change of variables ------------------------------------------------------


class Coupling(nn.Module):
    def __init__(self, mask, width=48):
        super().__init__()
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.float32))
        self.net = nn.Sequential(
            nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4)
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        s, t = self.net(x * self.mask).chunk(2, dim=1)
        s = torch.tanh(s) * (1 - self.mask)
        return x * self.mask + (1 - self.mask) * (x * s.exp() + t), s.sum(1)


class RealNVP(nn.Module):
    def __init__(self, depth=6):
        super().__init__()
        self.layers = nn.ModuleList(Coupling([i % 2, 1 - i % 2]) for i in range(depth))

    def forward(self, x):
        log_det = x.new_zeros(x.size(0))
        for layer in self.layers:
            x, ld = layer(x)
            log_det = log_det + ld
        return -0.5 * (x**2).sum(1) - math.log(2 * math.pi) + log_det


def realnvp_moons() -> Recipe:
    """Densities are above one in places, so that the loss may fall below zero, and stops there."""
    x, _ = make_moons(1500, noise=0.05, random_state=0)
    x = data.f32((x - x.mean(0)) * 0.6)
    model = RealNVP()
    return Recipe(
        model=model,
        train_data=data.loader(x[:1200], batch_size=100),
        val_data=data.loader(x[1200:], batch_size=100, shuffle=False),
        forward=lambda model, batch: model(batch[0]),
        targets=lambda batch: None,
        loss=lambda log_prob, _: -log_prob.mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# -- a physics-informed network ---------------------------------------------------------------------


class Oscillator(nn.Module):
    """x'' + 0.4 x' + 4 x = 0 with x(0) = 1, x'(0) = 0, which the form of the output fulfils."""

    def __init__(self, width=32):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def forward(self, t):
        return 1 + t**2 * self.net(t / 2 - 1)


def physics_step(model, batch):
    (t,) = batch
    with torch.enable_grad():
        t = t.detach().clone().requires_grad_()
        x = model(t)
        (v,) = torch.autograd.grad(x.sum(), t, create_graph=True)
        (a,) = torch.autograd.grad(v.sum(), t, create_graph=True)
        return ((a + 0.4 * v + 4 * x) ** 2).mean()


def physics_informed() -> Recipe:
    generator = torch.Generator().manual_seed(0)
    t = 4 * torch.rand(2048, 1, generator=generator)
    model = Oscillator()
    return Recipe(
        model=model,
        train_data=data.loader(t, batch_size=128),
        training_step=physics_step,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# -- a convolutional recurrent net with CTC ---------------------------------------------------------


class Strips(Dataset):
    """Two to four digits side by side, with gaps of random width: (1, 8, 44), the digits and how many."""

    def __init__(self, images, labels, n, seed):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(n):
            count = int(rng.integers(2, 5))
            which = rng.integers(0, len(images), count)
            strip, at = torch.zeros(1, 8, 44), 0
            for _k, i in enumerate(which):
                at += int(rng.integers(0, 4))
                strip[:, :, at : at + 8] = images[i]
                at += 8
            text = torch.zeros(4, dtype=torch.long)
            text[:count] = labels[which] + 1
            self.items.append((strip, text, count))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class CRNN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
        )
        self.rnn = nn.GRU(32 * 4, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, 11)

    def forward(self, strips):
        h, _ = self.rnn(self.conv(strips).flatten(1, 2).transpose(1, 2))
        return F.log_softmax(self.out(h), dim=-1)


def ctc(log_probs, targets):
    texts, lengths = targets
    steps = torch.full((log_probs.size(0),), log_probs.size(1), dtype=torch.long)
    return F.ctc_loss(log_probs.transpose(0, 1), texts, steps, lengths, blank=0, zero_infinity=True)


def ctc_strips() -> Recipe:
    x, y, vx, vy = data.digits()
    model = CRNN()
    return Recipe(
        model=model,
        train_data=DataLoader(Strips(x, y, 2000, 0), batch_size=32, shuffle=True),
        val_data=DataLoader(Strips(vx, vy, 200, 1), batch_size=100),
        forward=lambda model, batch: model(batch[0]),
        targets=lambda batch: (batch[1], batch[2]),
        loss=ctc,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        max_grad_norm=5.0,
    )


# -- prototypical networks: episodes of support and query -------------------------------------------


class Episodes(Dataset):
    """Five of the ten digits, five images of each to learn from and five to be told, under numbers drawn afresh."""

    def __init__(self, images, labels, n, ways=5, shots=5):
        self.images = images
        self.classes = [torch.nonzero(labels == c).flatten() for c in range(10)]
        self.n, self.ways, self.shots = n, ways, shots

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i >= self.n:
            raise IndexError(i)
        support, query = [], []
        for c in torch.randperm(10)[: self.ways]:
            pool = self.classes[c]
            picked = pool[torch.randperm(len(pool))[: 2 * self.shots]]
            support.append(self.images[picked[: self.shots]])
            query.append(self.images[picked[self.shots :]])
        labels = torch.arange(self.ways).repeat_interleave(self.shots)
        order = torch.randperm(len(labels))
        return (torch.stack(support), torch.cat(query)[order]), labels[order]


class ProtoNet(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.GroupNorm(4, 16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.GroupNorm(4, 32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, dim),
        )

    def forward(self, support, query):
        ways, shots = support.shape[:2]
        prototypes = self.encoder(support.flatten(0, 1)).view(ways, shots, -1).mean(1)
        return -(torch.cdist(self.encoder(query), prototypes) ** 2)


def prototypical() -> Recipe:
    x, y, vx, vy = data.digits()
    model = ProtoNet()
    return Recipe(
        model=model,
        train_data=DataLoader(Episodes(x, y, 200), batch_size=None, shuffle=True),
        val_data=DataLoader(Episodes(vx, vy, 20), batch_size=None),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        batch_dim=None,
    )


HEALTHY = [
    ddpm_digits,
    coral_diabetes,
    word2vec,
    vqvae_ema,
    realnvp_moons,
    physics_informed,
    ctc_strips,
    prototypical,
]
