"""Healthy recipes of unusual but right designs: sharing, reversal, stochastic depth, binary weights, reservoirs, rarity."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe

from ._data import Windows, characters, digits


# ---------------------------------------------------------------- one block thrice, tied embeddings
class SharedBlockLM(nn.Module):
    """As in ALBERT one block is applied three times; as in GPT-2 the head is the embedding."""

    def __init__(self, vocabulary, width=48, heads=4, rounds=3, context=32):
        super().__init__()
        self.rounds, self.heads, self.width = rounds, heads, width
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(context, width))
        self.norm1, self.norm2, self.norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.05)

    def attend(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, c))

    def forward(self, codes):
        x = self.tokens(codes) * math.sqrt(self.width) + self.positions[: codes.size(1)]
        for _ in range(self.rounds):
            x = x + self.attend(self.norm1(x))
            x = x + self.mlp(self.norm2(x))
        return self.head(self.norm(x))


def healthy_shared_block_lm() -> Recipe:
    train, val, vocabulary = characters()
    model = SharedBlockLM(vocabulary)
    return Recipe(
        model=model,
        train_data=DataLoader(Windows(train), batch_size=32, shuffle=True),
        val_data=DataLoader(Windows(val), batch_size=128),
        loss=lambda logits, codes: F.cross_entropy(logits.flatten(0, 1), codes.flatten()),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95)),
        max_grad_norm=1.0,
        causal=1,
    )


# ---------------------------------------------------------------- domain adversarial
class Reverse(torch.autograd.Function):
    """Identity forward; the gradient is turned round and scaled on its way back (Ganin & Lempitsky)."""

    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -ctx.strength * grad, None


class DANN(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.label = nn.Linear(32 * 16, 10)
        self.domain = nn.Sequential(nn.Linear(32 * 16, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        h = self.features(x)
        return self.label(h), self.domain(Reverse.apply(h, 0.3)).squeeze(1)


class Domains(torch.utils.data.Dataset):
    """Half of the digits are faded and shifted in brightness: the second domain."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, domain = self.images[i], i % 2
        if domain:
            image = 0.3 + 0.6 * image
        return image, (self.labels[i], torch.tensor(float(domain)))


def healthy_domain_adversarial() -> Recipe:
    def loss(outputs, targets):
        (labels, domains), (label, domain) = outputs, targets
        return F.cross_entropy(labels, label) + F.binary_cross_entropy_with_logits(domains, domain)

    train_x, train_y, val_x, val_y = digits()
    model = DANN()
    return Recipe(
        model=model,
        train_data=DataLoader(Domains(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(Domains(val_x, val_y), batch_size=180),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )


# ---------------------------------------------------------------- stochastic depth
class DropPathBlock(nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.drop = drop
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, x):
        y = self.body(x)
        if self.training:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            y = y * kept / (1 - self.drop)
        return F.relu(x + y)


def healthy_stochastic_depth() -> Recipe:
    """Whole branches are dropped per sample, the last norm of each starts at zero, labels are smoothed."""
    train_x, train_y, val_x, val_y = digits()
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        DropPathBlock(24, 0.1),
        nn.MaxPool2d(2),
        DropPathBlock(24, 0.3),
        DropPathBlock(24, 0.5),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(24 * 16, 10),
    )
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4),
    )


# ---------------------------------------------------------------- binary weights
class SignSTE(torch.autograd.Function):
    """The sign; its gradient is passed straight through where |x| <= 1 (BinaryConnect)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class BinaryLinear(nn.Linear):
    def forward(self, x):
        weight = SignSTE.apply(self.weight) * self.weight.abs().mean().detach()
        return F.linear(x, weight, self.bias)


def healthy_binary_network() -> Recipe:
    train_x, train_y, val_x, val_y = digits()
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 192),
        nn.BatchNorm1d(192),
        nn.Hardtanh(),
        BinaryLinear(192, 192),
        nn.BatchNorm1d(192),
        nn.Hardtanh(),
        BinaryLinear(192, 192),
        nn.BatchNorm1d(192),
        nn.Hardtanh(),
        nn.Linear(192, 10),
    )
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# ---------------------------------------------------------------- echo state network
class EchoState(nn.Module):
    """A random recurrent reservoir that stays as it is, and a linear readout that is trained."""

    def __init__(self, size=200, radius=0.9):
        super().__init__()
        self.reservoir = nn.RNN(1, size, batch_first=True)
        weight = torch.randn(size, size) * (torch.rand(size, size) < 0.1)
        weight *= radius / torch.linalg.eigvals(weight).abs().max()
        with torch.no_grad():
            self.reservoir.weight_hh_l0.copy_(weight)
            self.reservoir.weight_ih_l0.uniform_(-0.5, 0.5)
        self.reservoir.requires_grad_(False)
        self.readout = nn.Linear(size, 1)

    def forward(self, x):
        states, _ = self.reservoir(x)
        return self.readout(states).squeeze(-1)


def narma(n, seed, length=60):
    rng = np.random.default_rng(seed)
    u = rng.uniform(0, 0.5, (n, length))
    y = np.zeros((n, length))
    for t in range(2, length):
        y[:, t] = (
            0.3 * y[:, t - 1]
            + 0.2 * y[:, t - 1] * y[:, t - 2]
            + 0.6 * u[:, t - 1] ** 3
            + 0.05
            + 0.5 * u[:, t]
        )
    y = (y - 0.3) / 0.09
    return TensorDataset(
        torch.tensor(u[:, 10:, None] * 4 - 1, dtype=torch.float32),
        torch.tensor(y[:, 10:], dtype=torch.float32),
    )


def healthy_echo_state() -> Recipe:
    model = EchoState()
    return Recipe(
        model=model,
        train_data=DataLoader(narma(600, 0), batch_size=32, shuffle=True),
        val_data=DataLoader(narma(100, 1), batch_size=100),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.readout.parameters(), lr=5e-3),
        frozen=("reservoir*",),
        causal=1,
    )


# ---------------------------------------------------------------- four per cent positives
class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, alpha=0.75):
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, logits, targets):
        plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        p = torch.exp(-plain)
        weight = torch.where(targets > 0, self.alpha, 1 - self.alpha)
        return (weight * (1 - p) ** self.gamma * plain).mean()


def healthy_focal_rare() -> Recipe:
    """Positives are rare on purpose, and the bias starts at their prior log odds."""
    x, y = make_classification(
        6000, 20, n_informative=10, weights=[0.95], class_sep=1.6, flip_y=0.005, random_state=2
    )
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    out = nn.Linear(64, 1)
    nn.init.constant_(out.bias, math.log(0.05 / 0.95))
    model = nn.Sequential(
        nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), out, nn.Flatten(0)
    )
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x[:5000], y[:5000]), batch_size=128, shuffle=True),
        val_data=DataLoader(TensorDataset(x[5000:], y[5000:]), batch_size=500),
        loss=FocalLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


HEALTHY = [
    healthy_shared_block_lm,
    healthy_domain_adversarial,
    healthy_stochastic_depth,
    healthy_binary_network,
    healthy_echo_state,
    healthy_focal_rare,
]
