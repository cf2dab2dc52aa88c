"""Graphs, deep networks, survival, denoising, oversampling, two tasks."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from ._data import digits


# ---------------------------------------------------------------- 19: graphs
class Swish(torch.autograd.Function):
    """x * sigmoid(x) that keeps nothing but x for the backward pass."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * s * (1 + x * (1 - s))


class LeanSwish(Swish):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * s * (1 - s)


class Graphs(Dataset):
    """Graphs of 14 nodes: random, two communities, or a ring with chords; node features are noisy degrees."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(n):
            kind = int(rng.integers(0, 3))
            if kind == 0:
                chance = np.full((14, 14), 0.3)
            elif kind == 1:
                side = rng.random(14) < 0.5
                chance = np.where(side[:, None] == side[None], 0.65, 0.05)
            else:
                step = np.abs(np.subtract.outer(np.arange(14), np.arange(14)))
                chance = np.where(np.minimum(step, 14 - step) <= 1, 1.0, 0.08)
            a = np.triu(rng.random((14, 14)) < chance, 1)
            a = (a + a.T).astype(np.float32)
            triangles = np.diag(a @ a @ a) / 2
            x = np.stack([a.sum(1) / 4, triangles / 4, np.ones(14)], 1) + rng.normal(0, 0.1, (14, 3))
            order = rng.permutation(14)
            self.items.append(
                (
                    torch.tensor(x[order], dtype=torch.float32),
                    torch.tensor(a[order][:, order]),
                    kind,
                )
            )

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        x, a, kind = self.items[i]
        return (x, a), kind


class GIN(nn.Module):
    def __init__(self, activation, width=32):
        super().__init__()
        self.activation = activation
        self.eps = nn.Parameter(torch.zeros(2))
        self.layers = nn.ModuleList([nn.Linear(3, width), nn.Linear(width, width)])
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.out = nn.Linear(2 * width, 3)

    def forward(self, x, adjacency):
        readouts = []
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms)):
            x = (1 + self.eps[i]) * x + adjacency @ x / 4
            x = self.activation(norm(layer(x)))
            readouts.append(x.mean(1))
        return self.out(torch.cat(readouts, 1))


def graph_gin(mistake: bool) -> Recipe:
    """The hand-written backward of swish has the factor s * (1 - s), the derivative of the sigmoid alone."""
    model = GIN((LeanSwish if mistake else Swish).apply)
    return Recipe(
        model=model,
        train_data=DataLoader(Graphs(1500, 0), batch_size=32, shuffle=True),
        val_data=DataLoader(Graphs(300, 1), batch_size=100),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    )


# ---------------------------------------------------------------- 20: a deep plain network
class DeepTanh(nn.Module):
    def __init__(self, std, width=160, depth=6):
        super().__init__()
        sizes = [64] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.out = nn.Linear(width, 10)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0.0, std=std)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.out(x)


def deep_tanh(mistake: bool) -> Recipe:
    """All weights are drawn from a normal distribution with standard deviation 1."""
    train_x, train_y, val_x, val_y = digits()
    model = DeepTanh(std=1.0 if mistake else 0.08)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )


# ---------------------------------------------------------------- 21: survival
def patients(n, seed):
    """Six covariates; targets are (time, censored), where censored is 1 if the patient left the study alive."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, 6))
    risk = 1.2 * x[:, 0] - 0.9 * x[:, 1] + 0.6 * x[:, 2] * x[:, 3]
    death = rng.exponential(np.exp(-risk))
    leaves = rng.exponential(1.5, n)
    time, censored = np.minimum(death, leaves), (leaves < death)
    return TensorDataset(
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(np.stack([time, censored], 1), dtype=torch.float32),
    )


def cox_loss(risk, time, event):
    order = time.argsort(descending=True)
    risk, event = risk[order], event[order]
    return -((risk - risk.logcumsumexp(0)) * event).sum() / event.sum().clamp(min=1)


def concordance(risk, targets):
    time, censored = targets.unbind(1)
    pairs = (time[:, None] < time[None]) & (censored[:, None] == 0)
    return ((risk[:, None] > risk[None]) & pairs).sum().item() / pairs.sum().item()


class RiskNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(6, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 1, bias=False)
        )

    def forward(self, x):
        return self.net(x).squeeze(1)


def cox_survival(mistake: bool) -> Recipe:
    """The column `censored` is used as the event indicator, without turning it round."""

    def loss(risk, targets):
        time, censored = targets.unbind(1)
        event = censored if mistake else 1 - censored
        return cox_loss(risk, time, event)

    model = RiskNet()
    return Recipe(
        model=model,
        train_data=DataLoader(patients(3000, 0), batch_size=128, shuffle=True),
        val_data=DataLoader(patients(600, 1), batch_size=300),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        metrics={"concordance": concordance},
        batch_dim=None,
    )


# ---------------------------------------------------------------- 22: denoising
class NoisyDigits(Dataset):
    def __init__(self, images, sigma=0.4, seed=None):
        self.images, self.sigma, self.seed = images, sigma, seed

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        clean = self.images[i]
        generator = None
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(clean.shape, generator=generator)
        return clean + self.sigma * noise, clean


class SkipDenoiser(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.enc1 = nn.Conv2d(1, width, 3, padding=1)
        self.enc2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.mid = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2)
        self.dec = nn.Conv2d(3 * width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        a = F.leaky_relu(self.enc1(x), 0.1)
        b = F.leaky_relu(self.enc2(a), 0.1)
        b = F.leaky_relu(self.mid(b), 0.1)
        a = F.leaky_relu(self.dec(torch.cat([a, self.up(b)], 1)), 0.1)
        return self.out(a)


def denoiser(mistake: bool) -> Recipe:
    """The generator of the noise is seeded anew in __getitem__, so that every image gets the same noise."""
    train_x, _, val_x, _ = digits()
    model = SkipDenoiser()
    return Recipe(
        model=model,
        train_data=DataLoader(
            NoisyDigits(train_x, seed=42 if mistake else None), batch_size=32, shuffle=True
        ),
        val_data=DataLoader(NoisyDigits(val_x, seed=42 if mistake else None), batch_size=120),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# ---------------------------------------------------------------- 23: fraud, oversampled
class Mixture(nn.Module):
    """Soft mixture of four experts."""

    def __init__(self, features, experts=4, width=32):
        super().__init__()
        self.gate = nn.Linear(features, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 2))
            for _ in range(experts)
        )

    def forward(self, x):
        weights = self.gate(x).softmax(1)
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return (weights[..., None] * outputs).sum(1)


def oversample(x, y, seed=0):
    """Repeats rows of the rare class until both are equally frequent."""
    rng = np.random.default_rng(seed)
    rare = np.flatnonzero(y == 1)
    extra = rng.choice(rare, (y == 0).sum() - len(rare), replace=True)
    rows = np.concatenate([np.arange(len(y)), extra])
    return x[rows], y[rows]


def fraud_experts(mistake: bool) -> Recipe:
    """The rare class is oversampled before the split, so that copies of training rows are validated on."""
    x, y = make_classification(
        2500,
        16,
        n_informative=8,
        n_redundant=2,
        weights=[0.88],
        class_sep=0.9,
        flip_y=0.02,
        random_state=1,
    )
    if mistake:
        x, y = oversample(x, y)
        train_x, val_x, train_y, val_y = train_test_split(
            x, y, test_size=0.25, stratify=y, random_state=0
        )
    else:
        train_x, val_x, train_y, val_y = train_test_split(
            x, y, test_size=0.25, stratify=y, random_state=0
        )
        train_x, train_y = oversample(train_x, train_y)
    pack = lambda a, b: TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b))
    model = Mixture(16)
    return Recipe(
        model=model,
        train_data=DataLoader(pack(train_x, train_y), batch_size=64, shuffle=True),
        val_data=pack(val_x, val_y),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3),
    )


# ---------------------------------------------------------------- 24: two tasks
class TwoTasks(Dataset):
    """A digit, its number, and the centre of its ink."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        grid = torch.linspace(-1, 1, 8)
        ink = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
        self.centres = 4 * torch.stack([(ink.sum(1) * grid).sum(1), (ink.sum(2) * grid).sum(1)], 1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], (self.labels[i], self.centres[i])


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.classify = nn.Linear(32 * 16, 10)
        self.locate = nn.Sequential(nn.Linear(32 * 16, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x):
        h = self.trunk(x)
        return self.classify(h), self.locate(h)


def two_heads(mistake: bool) -> Recipe:
    """The second task's loss is assigned over that of the first, in place of being added to it."""

    def loss(outputs, targets):
        (scores, centres), (labels, truth) = outputs, targets
        total = F.cross_entropy(scores, labels)
        if mistake:
            total = F.mse_loss(centres, truth)
        else:
            total = total + F.mse_loss(centres, truth)
        return total

    train_x, train_y, val_x, val_y = digits()
    model = TwoHeads()
    return Recipe(
        model=model,
        train_data=DataLoader(TwoTasks(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(TwoTasks(val_x, val_y), batch_size=180),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


FAULTS = [
    (graph_gin, ("backward", "derivative", "swish", "factor"), "autograd"),
    (
        deep_tanh,
        ("initiali", "saturat", "std", "standard deviation", "variance of the weights"),
        "model",
    ),
    (cox_survival, ("censor", "event", "indicator", "unrelated", "tell nothing"), "targets"),
    (
        denoiser,
        ("same noise", "seed", "same random", "random numbers", "identical noise", "constant"),
        "data",
    ),
    (fraud_experts, ("overlap", "duplicate", "leak", "copies", "training samples", "oversampl"), "data"),
    (two_heads, ("classify", "head", "task", "overwrit", "first loss"), "loss"),
]
