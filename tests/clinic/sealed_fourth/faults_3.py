"""Ranking, load profiles, wine, a character model, a variational autoencoder, counts."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from ._data import Windows, characters, digits, wine


# ---------------------------------------------------------------- 13: learning to rank
def queries(n, seed, documents=8):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, documents, 6))
    merit = (
        1.5 * x[..., 0] - x[..., 1] + 0.7 * x[..., 2] * x[..., 3] + rng.normal(0, 0.4, (n, documents))
    )
    grades = np.digitize(merit, [-1.0, 0.5, 2.0])
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(grades, dtype=torch.float32))


class Scorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)
        )

    def forward(self, documents):
        return self.net(documents).squeeze(-1)


def pair_accuracy(scores, grades):
    better = grades[:, :, None] > grades[:, None, :]
    right = scores[:, :, None] > scores[:, None, :]
    return (right & better).sum().item() / max(better.sum().item(), 1)


def pairwise_ranker(mistake: bool) -> Recipe:
    """MarginRankingLoss is given -1 for pairs whose first document is the better one."""
    sign = -1.0 if mistake else 1.0

    def loss(scores, grades):
        better = grades[:, :, None] > grades[:, None, :]
        first = scores[:, :, None].expand_as(better)[better]
        second = scores[:, None, :].expand_as(better)[better]
        return F.margin_ranking_loss(first, second, torch.full_like(first, sign), margin=1.0)

    model = Scorer()
    return Recipe(
        model=model,
        train_data=DataLoader(queries(1500, 0), batch_size=32, shuffle=True),
        val_data=DataLoader(queries(300, 1), batch_size=100),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        metrics={"pair_accuracy": pair_accuracy},
    )


# ---------------------------------------------------------------- 14: load profiles
class LoadProfiles(Dataset):
    """Nine facts about a building and a day; the load of each of 24 hours as a fraction of the connected load."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 1, (n, 9))
        hour = np.arange(24)
        morning = np.exp(-((hour - 8 - 1.2 * x[:, :1]) ** 2) / 6) * (1 + 0.3 * x[:, 1:2])
        evening = np.exp(-((hour - 19 - 0.8 * x[:, 2:3]) ** 2) / 8) * (
            1 + 0.3 * np.tanh(x[:, 3:4] * x[:, 4:5])
        )
        base = 0.25 + 0.08 * x[:, 5:6]
        load = np.clip(base + 0.4 * morning + 0.45 * evening + rng.normal(0, 0.02, (n, 24)), 0, 1)
        self.x, self.load = torch.tensor(x, dtype=torch.float32), torch.tensor(load, dtype=torch.float32)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.load[i]


class ProfileNet(nn.Module):
    def __init__(self, clip, width=128):
        super().__init__()
        self.clip = clip
        self.body = nn.Sequential(
            nn.Linear(9, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
        )
        self.hours = nn.Linear(width, 24)

    def forward(self, x):
        load = self.hours(self.body(x))
        if self.clip:
            load = torch.clamp(load, 0.0, 1.0)
        return load


def load_profiles(mistake: bool) -> Recipe:
    """The loads are clamped to [0, 1] in training too, where hours that start below zero get no gradient."""
    model = ProfileNet(clip=mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(LoadProfiles(3000, 0), batch_size=64, shuffle=True),
        val_data=DataLoader(LoadProfiles(600, 1), batch_size=300),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# ---------------------------------------------------------------- 15: wine
def standardise(values, axis):
    return (values - values.mean(axis, keepdims=True)) / values.std(axis, keepdims=True)


def wine_mlp(mistake: bool) -> Recipe:
    """The features are standardised along the rows: each wine by its own mean, not each feature over the wines."""
    train_x, val_x, train_y, val_y = wine()
    if mistake:
        train, val = standardise(train_x, 1), standardise(val_x, 1)
    else:
        mean, std = train_x.mean(0), train_x.std(0)
        train, val = (train_x - mean) / std, (val_x - mean) / std
    pack = lambda x, y: TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    model = nn.Sequential(nn.Linear(13, 32), nn.SELU(), nn.Linear(32, 32), nn.SELU(), nn.Linear(32, 3))
    return Recipe(
        model=model,
        train_data=DataLoader(pack(train, train_y), batch_size=16, shuffle=True),
        val_data=pack(val, val_y),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# ---------------------------------------------------------------- 16: character language model
class CausalAttention(nn.Module):
    def __init__(self, width, heads, axis):
        super().__init__()
        self.heads, self.axis = heads, axis
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.project = nn.Linear(width, width)

    def split(self, x):
        b, t, c = x.shape
        return x.view(b, t, self.heads, c // self.heads).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
        t = x.size(1)
        future = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(dim=self.axis)
        return self.project((weights @ v).transpose(1, 2).flatten(2))


class CharTransformer(nn.Module):
    def __init__(self, vocabulary, axis, width=48, context=32):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.attention = nn.ModuleList(CausalAttention(width, 4, axis) for _ in range(2))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(5))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, codes):
        x = self.tokens(codes) + self.positions(torch.arange(codes.size(1), device=codes.device))
        for i, (attention, feed) in enumerate(zip(self.attention, self.feed)):
            x = x + attention(self.norms[2 * i](x))
            x = x + feed(self.norms[2 * i + 1](x))
        return self.head(self.norms[4](x))


def char_transformer(mistake: bool) -> Recipe:
    """The softmax of the attention runs over the queries (dim=-2), so weights of a query do not sum to one and see later ones."""
    train, val, vocabulary = characters()
    model = CharTransformer(vocabulary, axis=-2 if mistake else -1)
    return Recipe(
        model=model,
        train_data=DataLoader(Windows(train), batch_size=32, shuffle=True),
        val_data=DataLoader(Windows(val), batch_size=128),
        loss=lambda logits, codes: F.cross_entropy(logits.flatten(0, 1), codes.flatten()),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        causal=1,
    )


# ---------------------------------------------------------------- 17: convolutional VAE
class ConvVAE(nn.Module):
    def __init__(self, halved, code=8):
        super().__init__()
        self.halved = halved
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.mu, self.logvar = nn.Linear(128, code), nn.Linear(128, code)
        self.decoder = nn.Sequential(
            nn.Linear(code, 128),
            nn.ReLU(),
            nn.Unflatten(1, (32, 2, 2)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar) if self.halved else torch.exp(logvar)
        return mu + std * torch.randn_like(std)

    def forward(self, images):
        h = self.encoder(images)
        mu, logvar = self.mu(h), self.logvar(h)
        z = self.reparameterize(mu, logvar) if self.training else mu
        return self.decoder(z), mu, logvar


def conv_vae(mistake: bool) -> Recipe:
    """The samples are drawn with exp(logvar) as standard deviation, while the KL divergence takes it as variance."""
    train_x, train_y, val_x, val_y = digits()

    def training_step(model, batch):
        images, _ = batch
        logits, mu, logvar = model(images)
        reconstruction = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        divergence = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()
        return (reconstruction + divergence) / len(images), logits

    model = ConvVAE(halved=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=180),
        training_step=training_step,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# ---------------------------------------------------------------- 18: counts
def rentals(n, seed):
    """Bicycles rented in an hour: hour, day of the week, temperature, rain."""
    rng = np.random.default_rng(seed)
    hour, day = rng.integers(0, 24, n), rng.integers(0, 7, n)
    warmth, rain = rng.normal(0, 1, n), rng.random(n) < 0.2
    rush = np.exp(-((hour - 8) ** 2) / 4) + np.exp(-((hour - 17.5) ** 2) / 6)
    rate = np.exp(
        -1.5
        + 3.2 * rush * (day < 5)
        + 1.6 * np.exp(-((hour - 14) ** 2) / 18)
        + 0.4 * warmth
        - 0.8 * rain
    )
    angle = 2 * np.pi * hour / 24
    x = np.stack(
        [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle), day < 5, warmth, rain], 1
    )
    return TensorDataset(
        torch.tensor(x, dtype=torch.float32), torch.tensor(rng.poisson(rate), dtype=torch.float32)
    )


class RateNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(7, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 1)
        )

    def forward(self, x):
        return F.softplus(self.body(x)).squeeze(1)


def bicycle_counts(mistake: bool) -> Recipe:
    """The model gives rates (softplus), but PoissonNLLLoss is left at log_input=True and exponentiates them."""
    model = RateNet()
    return Recipe(
        model=model,
        train_data=DataLoader(rentals(6000, 0), batch_size=128, shuffle=True),
        val_data=DataLoader(rentals(800, 1), batch_size=400),
        loss=nn.PoissonNLLLoss(log_input=mistake),
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
        metrics={"absolute_error": lambda rates, counts: (rates - counts).abs().mean().item()},
    )


FAULTS = [
    (
        pairwise_ranker,
        ("wrong sign", "sign of", "opposite", "reverse", "inverted", "anticorrelat"),
        "loss",
    ),
    (load_profiles, ("clamp", "clipped", "saturat", "no gradient", "dead", "stuck at"), "model"),
    (wine_mlp, ("per row", "the rows", "per sample", "axis", "standardi", "feature"), "data"),
    (char_transformer, ("softmax", "quer", "future", "causal", "later position"), "model"),
    (conv_vae, ("logvar", "log variance", "log-variance", "standard deviation", "reparam"), "model"),
    (bicycle_counts, ("log_input", "log input", "poisson", "exponenti", "log rate", "log-rate"), "loss"),
]
