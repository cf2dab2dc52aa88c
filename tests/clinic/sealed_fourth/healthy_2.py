"""Healthy recipes of unusual but right designs: packing, sparse gradients, stop-gradient, densities, hard choices, tiny data."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from ._data import digits, snippets, wine


# ---------------------------------------------------------------- packed sequences
class Trips(Dataset):
    """Speed and slope along trips of 5 to 30 minutes; the target is the fuel that was burnt."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.trips, self.fuel = [], []
        for _ in range(n):
            k = int(rng.integers(5, 31))
            x = np.cumsum(rng.normal(0, 0.3, (k, 2)), 0) + rng.normal(0, 0.5, 2)
            self.trips.append(torch.tensor(x, dtype=torch.float32))
            self.fuel.append(float(np.maximum(0, 0.6 + 0.3 * x[:, 0] + 0.5 * x[:, 1]).sum() / 8 - 1))

    def __len__(self):
        return len(self.trips)

    def __getitem__(self, i):
        return self.trips[i], self.fuel[i]


def pad_trips(batch):
    trips, fuel = zip(*batch)
    lengths = torch.tensor([len(t) for t in trips])
    padded = nn.utils.rnn.pad_sequence(trips, batch_first=True, padding_value=-99.0)
    return (padded, lengths), torch.tensor(fuel)


class PackedGRU(nn.Module):
    def __init__(self, width=40):
        super().__init__()
        self.gru = nn.GRU(2, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 1)

    def forward(self, trips, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            trips, lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, last = self.gru(packed)
        return self.head(torch.cat([last[-2], last[-1]], 1)).squeeze(1)


def healthy_packed_trips() -> Recipe:
    model = PackedGRU()
    return Recipe(
        model=model,
        train_data=DataLoader(Trips(1500, 0), batch_size=32, shuffle=True, collate_fn=pad_trips),
        val_data=DataLoader(Trips(300, 1), batch_size=100, collate_fn=pad_trips),
        loss=nn.HuberLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
        max_grad_norm=5.0,
    )


# ---------------------------------------------------------------- sparse gradients
class SparseTopics(nn.Module):
    def __init__(self, vocabulary, width=64):
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, width, mode="mean", sparse=True, padding_idx=0)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 6))

    def forward(self, tokens):
        return self.head(self.words(tokens))


def pad_words(batch):
    tokens, labels = zip(*batch)
    return nn.utils.rnn.pad_sequence(tokens, batch_first=True), torch.tensor(labels)


def healthy_sparse_topics() -> Recipe:
    """The embeddings have sparse gradients and an optimizer of their own."""
    train, val, vocabulary = snippets()
    model = SparseTopics(vocabulary)
    return Recipe(
        model=model,
        train_data=DataLoader(list(train), batch_size=32, shuffle=True, collate_fn=pad_words),
        val_data=DataLoader(list(val), batch_size=64, collate_fn=pad_words),
        loss=nn.CrossEntropyLoss(),
        optimizer=(
            torch.optim.SparseAdam(list(model.words.parameters()), lr=1e-2),
            torch.optim.Adam(model.head.parameters(), lr=2e-3),
        ),
    )


# ---------------------------------------------------------------- SimSiam
class SimSiam(nn.Module):
    """Two views, a predictor, and a stop-gradient on the other side, as published."""

    def __init__(self, width=64):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * 16, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(width, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, width)
        )

    def forward(self, a, b):
        za, zb = self.encoder(a), self.encoder(b)
        return self.predictor(za), self.predictor(zb), za.detach(), zb.detach()


class Views(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def view(self, image):
        dx, dy = torch.randint(-1, 2, (2,)).tolist()
        return torch.roll(image, (dy, dx), (1, 2)) * (
            0.7 + 0.6 * torch.rand(1)
        ) + 0.1 * torch.randn_like(image)

    def __getitem__(self, i):
        return self.view(self.images[i]), self.view(self.images[i])


def healthy_simsiam() -> Recipe:
    def training_step(model, batch):
        pa, pb, za, zb = model(*batch)
        return -(F.cosine_similarity(pa, zb).mean() + F.cosine_similarity(pb, za).mean()) / 2

    train_x, _, val_x, _ = digits()
    model = SimSiam()
    return Recipe(
        model=model,
        train_data=DataLoader(Views(train_x), batch_size=64, shuffle=True, drop_last=True),
        val_data=DataLoader(Views(val_x), batch_size=120),
        training_step=training_step,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        batch_dim=None,
    )


# ---------------------------------------------------------------- mixture density network
class MixtureDensity(nn.Module):
    def __init__(self, width=96, parts=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.weight, self.mean, self.log_scale = (nn.Linear(width, parts) for _ in range(3))

    def forward(self, x):
        h = self.body(x)
        return self.weight(h), self.mean(h), self.log_scale(h).clamp(-5, 3)


def healthy_mixture_density() -> Recipe:
    """Several answers per question and little noise: the density exceeds one, so the loss rightly falls below zero."""

    def loss(outputs, y):
        weight, mean, log_scale = outputs
        part = torch.distributions.Normal(mean, log_scale.exp()).log_prob(y[:, None])
        return -(weight.log_softmax(1) + part).logsumexp(1).mean()

    def branches(n, seed):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-1, 1, n)
        y = np.where(rng.random(n) < 0.5, 0.25 * x, -0.3 * x + 0.1) + rng.normal(0, 0.02, n)
        return TensorDataset(
            torch.tensor(x[:, None], dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
        )

    model = MixtureDensity()
    return Recipe(
        model=model,
        train_data=DataLoader(branches(5000, 0), batch_size=128, shuffle=True),
        val_data=DataLoader(branches(1000, 1), batch_size=500),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
    )


# ---------------------------------------------------------------- normalising flow
class Coupling(nn.Module):
    """An affine coupling that starts as the identity: its last layer is zero."""

    def __init__(self, flip, width=96):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(
            nn.Linear(1, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        a, b = x[:, :1], x[:, 1:]
        if self.flip:
            a, b = b, a
        shift, log_scale = self.net(a).chunk(2, 1)
        log_scale = 2 * torch.tanh(log_scale / 2)
        b = b * log_scale.exp() + shift
        return torch.cat([b, a] if self.flip else [a, b], 1), log_scale.sum(1)


class RealNVP(nn.Module):
    def __init__(self, depth=6):
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(flip=bool(i % 2)) for i in range(depth))

    def forward(self, x):
        total = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, log_det = coupling(x)
            total = total + log_det
        return -0.5 * (x**2).sum(1) - math.log(2 * math.pi) + total


def healthy_real_nvp() -> Recipe:
    def moons(n, seed):
        x, y = make_moons(n, noise=0.06, random_state=seed)
        return TensorDataset(
            torch.tensor((x - [0.5, 0.25]) / [0.87, 0.5], dtype=torch.float32), torch.tensor(y)
        )

    model = RealNVP()
    return Recipe(
        model=model,
        train_data=DataLoader(moons(4000, 0), batch_size=128, shuffle=True),
        val_data=DataLoader(moons(800, 1), batch_size=400),
        training_step=lambda model, batch: -model(batch[0]).mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# ---------------------------------------------------------------- tiny data, LBFGS
def healthy_lbfgs_logistic() -> Recipe:
    """Softmax regression on 60 wines: linear on purpose, from zero, the whole set in each step, strongly decayed."""
    train_x, val_x, train_y, val_y = wine()
    mean, std = train_x.mean(0), train_x.std(0)
    pack = lambda x, y: TensorDataset(
        torch.tensor((x - mean) / std, dtype=torch.float32), torch.tensor(y)
    )
    model = nn.Linear(13, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)

    def loss(scores, labels):
        return F.cross_entropy(scores, labels) + 0.02 * model.weight.pow(2).sum()

    return Recipe(
        model=model,
        train_data=DataLoader(pack(train_x[:60], train_y[:60]), batch_size=60),
        val_data=pack(val_x, val_y),
        loss=loss,
        optimizer=torch.optim.LBFGS(
            model.parameters(), lr=1.0, max_iter=4, line_search_fn="strong_wolfe"
        ),
    )


HEALTHY = [
    healthy_packed_trips,
    healthy_sparse_topics,
    healthy_simsiam,
    healthy_mixture_density,
    healthy_real_nvp,
    healthy_lbfgs_logistic,
]
