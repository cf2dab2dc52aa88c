"""Unusual recipes that are right, as of good public repositories: first half."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck import Recipe

from . import data

# -- SIREN: a photograph as a function of coordinates -----------------------------------------------


class Sine(nn.Module):
    def __init__(self, inputs, outputs, w0=30.0, *, first=False):
        super().__init__()
        self.linear, self.w0 = nn.Linear(inputs, outputs), w0
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / w0
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(self.w0 * self.linear(x))


def siren_photo() -> Recipe:
    photo = load_sample_image("flower.jpg")[64:384, 160:480]
    photo = photo.reshape(64, 5, 64, 5, 3).mean((1, 3)) / 127.5 - 1
    yy, xx = np.mgrid[-1:1:64j, -1:1:64j]
    where, colour = data.f32(np.stack([xx, yy], -1).reshape(-1, 2)), data.f32(photo.reshape(-1, 3))
    held_out = torch.arange(len(where)) % 16 == 5
    model = nn.Sequential(Sine(2, 96, first=True), Sine(96, 96), Sine(96, 96), nn.Linear(96, 3))
    bound = math.sqrt(6 / 96) / 30
    nn.init.uniform_(model[-1].weight, -bound, bound)
    return Recipe(
        model=model,
        train_data=data.loader(where[~held_out], colour[~held_out], batch_size=512),
        val_data=data.loader(where[held_out], colour[held_out], batch_size=256, shuffle=False),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-4),
        shapes="b 2 -> b 3",
    )


# -- ALBERT's shared layer, ALiBi's positions, tied embeddings --------------------------------------


class SharedDecoder(nn.Module):
    """One layer applied four times on purpose; positions are linear biases; the head is the embedding."""

    def __init__(self, vocab, dim=48, heads=4, depth=3, longest=64):
        super().__init__()
        self.heads, self.depth = heads, depth
        self.tokens = nn.Embedding(vocab, dim)
        nn.init.normal_(self.tokens.weight, std=dim**-0.5)
        self.norm1, self.norm2, self.norm = nn.RMSNorm(dim), nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.gate_up, self.down = (
            nn.Linear(dim, 4 * dim, bias=False),
            nn.Linear(2 * dim, dim, bias=False),
        )
        slopes = 2.0 ** -(8 * torch.arange(1, heads + 1) / heads)
        ago = torch.arange(longest)[None] - torch.arange(longest)[:, None]
        bias = slopes[:, None, None] * ago
        self.register_buffer("alibi", bias.masked_fill(ago > 0, float("-inf")), persistent=False)

    def forward(self, ids):
        b, t = ids.shape
        x = self.tokens(ids)
        for _ in range(self.depth):
            q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.alibi[:, :t, :t])
            x = x + self.out(y.transpose(1, 2).reshape(b, t, -1))
            gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
            x = x + self.down(F.silu(gate) * up)
        return F.linear(self.norm(x), self.tokens.weight)


def albert_alibi() -> Recipe:
    train, val, vocab = data.characters()
    model = SharedDecoder(vocab)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=3e-3,
        betas=(0.9, 0.95),
    )
    warm_up = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / 20) / max(1, s / 100) ** 0.5
    )
    return Recipe(
        model=model,
        train_data=data.loader(train[:, :-1], train[:, 1:], batch_size=32),
        val_data=data.loader(val[:, :-1], val[:, 1:], batch_size=128, shuffle=False),
        loss=lambda logits, targets: F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), label_smoothing=0.02
        ),
        optimizer=optimizer,
        scheduler=warm_up,
        max_grad_norm=1.0,
        shapes=f"b t:int64 -> b t {vocab}",
        causal=1,
    )


# -- deep sets --------------------------------------------------------------------------------------


class DeepSets(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(2, width), nn.ELU(), nn.Linear(width, width), nn.ELU())
        self.rho = nn.Sequential(nn.Linear(2 * width, width), nn.ELU(), nn.Linear(width, 1))

    def forward(self, points, mask):
        h = self.phi(points)
        mean = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        top = h.masked_fill(mask[..., None] == 0, float("-inf")).amax(1)
        return self.rho(torch.cat([mean, top], dim=-1)).squeeze(-1)


def deep_sets_spread() -> Recipe:
    """The log of the area that a cloud of 4 to 16 points covers."""
    rng = np.random.default_rng(0)
    n, most = 1600, 16
    scale = rng.uniform(0.3, 2, (n, 1, 2))
    points = rng.standard_normal((n, most, 2)) * scale + 0.3 * rng.standard_normal((n, 1, 2))
    mask = (np.arange(most)[None] < rng.integers(4, most + 1, (n, 1))).astype(float)
    points = points * mask[..., None]
    big = np.where(mask[..., None] > 0, points, np.nan)
    area = np.log((np.nanmax(big, 1) - np.nanmin(big, 1)).prod(-1))
    area = (area - area.mean()) / area.std()
    points, mask, area = data.f32(points), data.f32(mask), data.f32(area)

    def batches(rows):
        p, m, y = zip(*rows, strict=True)
        return {"points": torch.stack(p), "mask": torch.stack(m)}, torch.stack(y)

    model = DeepSets()
    return Recipe(
        model=model,
        train_data=data.loader(points[:1280], mask[:1280], area[:1280], collate_fn=batches),
        val_data=data.loader(points[1280:], mask[1280:], area[1280:], shuffle=False, collate_fn=batches),
        loss=nn.HuberLoss(),
        optimizer=torch.optim.NAdam(model.parameters(), lr=3e-3),
    )


# -- a mixture density network ----------------------------------------------------------------------


class MixtureDensity(nn.Module):
    def __init__(self, width=48, components=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.logits, self.mean, self.log_scale = (nn.Linear(width, components) for _ in range(3))
        nn.init.uniform_(self.mean.bias, -1, 1)

    def forward(self, x):
        h = self.body(x)
        return self.logits(h), self.mean(h), self.log_scale(h).clamp(-4, 3)


def mixture_nll(outputs, y):
    logits, mean, log_scale = outputs
    z = (y[:, None] - mean) * torch.exp(-log_scale)
    log_prob = -0.5 * z**2 - log_scale - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(F.log_softmax(logits, dim=-1) + log_prob, dim=-1).mean()


def mixture_density() -> Recipe:
    """Bishop's inverse problem: one x, up to three y."""
    rng = np.random.default_rng(0)
    y = rng.random(2000)
    x = y + 0.3 * np.sin(2 * np.pi * y) + rng.uniform(-0.05, 0.05, 2000)
    x, y = data.f32((x - x.mean()) / x.std())[:, None], data.f32((y - y.mean()) / y.std())
    model = MixtureDensity()
    return Recipe(
        model=model,
        train_data=data.loader(x[:1600], y[:1600], batch_size=100),
        val_data=data.loader(x[1600:], y[1600:], batch_size=200, shuffle=False),
        loss=mixture_nll,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b 1 -> b 5, b 5, b 5",
    )


# -- a neural ODE, integrated by Runge and Kutta ----------------------------------------------------


class NeuralODE(nn.Module):
    def __init__(self, dims=5, width=48, steps=6):
        super().__init__()
        self.field = nn.Sequential(nn.Linear(dims + 1, width), nn.Tanh(), nn.Linear(width, dims))
        self.read = nn.Linear(dims, 2)
        self.extra, self.steps = dims - 2, steps

    def velocity(self, t, z):
        return self.field(torch.cat([z, torch.full_like(z[:, :1], t)], dim=1))

    def forward(self, x):
        z, h = F.pad(x, (0, self.extra)), 1 / self.steps
        for i in range(self.steps):
            t = i * h
            k1 = self.velocity(t, z)
            k2 = self.velocity(t + h / 2, z + h / 2 * k1)
            k3 = self.velocity(t + h / 2, z + h / 2 * k2)
            k4 = self.velocity(t + h, z + h * k3)
            z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return self.read(z)


def neural_ode_rings() -> Recipe:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 1200)
    radius = np.where(label == 1, 1.5, 0.6) + 0.12 * rng.standard_normal(1200)
    angle = rng.uniform(0, 2 * np.pi, 1200)
    x, y = data.f32(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)), data.i64(label)
    model = NeuralODE()
    return Recipe(
        model=model,
        train_data=data.loader(x[:960], y[:960]),
        val_data=data.loader(x[960:], y[960:], batch_size=120, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.RAdam(model.parameters(), lr=2e-2),
        shapes="b 2 -> b 2",
    )


# -- SimSiam: two views, a predictor, a stop of the gradient ----------------------------------------


class SimSiam(nn.Module):
    def __init__(self, dim=64, hidden=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, dim, bias=False),
            nn.BatchNorm1d(dim),
            nn.ReLU(),
            nn.Linear(dim, dim, bias=False),
            nn.BatchNorm1d(dim, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def forward(self, images):
        z = self.encoder(images)
        return self.predictor(z), z.detach()


def view(images):
    """Shifted by a pixel at most, brighter or darker, noisy."""
    padded = F.pad(images, (1, 1, 1, 1))
    dy, dx = torch.randint(0, 3, (2,)).tolist()
    shifted = padded[..., dy : dy + 8, dx : dx + 8]
    gain = 1 + 0.2 * torch.randn(len(images), 1, 1, 1, device=images.device)
    return shifted * gain + 0.1 * torch.randn_like(images)


def simsiam_step(model, batch):
    (images,) = batch
    p1, z1 = model(view(images))
    p2, z2 = model(view(images))
    return -0.5 * (F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean())


def simsiam_digits() -> Recipe:
    x, _, _, _ = data.digits()
    model = SimSiam()
    return Recipe(
        model=model,
        train_data=data.loader(x, batch_size=128, drop_last=True),
        training_step=simsiam_step,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        batch_dim=None,
    )


# -- ListNet: documents of a query against each other -----------------------------------------------


class Queries(Dataset):
    def __init__(self, n, seed, documents=12, features=10):
        taste = np.random.default_rng(7).standard_normal(features)
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((n, documents, features))
        score = x @ taste / 3 + 0.7 * x[..., 0] * x[..., 1] + 0.3 * rng.standard_normal((n, documents))
        rank = score.argsort(1).argsort(1)
        self.x, self.relevance = data.f32(x), data.f32(np.clip(rank - 6, 0, None) / 5 * 4)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.relevance[i]


class Scorer(nn.Module):
    def __init__(self, features=10, width=48):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(features, width),
            nn.Mish(),
            nn.Linear(width, width),
            nn.Mish(),
            nn.Linear(width, 1),
        )

    def forward(self, documents):
        return self.net(documents).squeeze(-1)


def listnet_loss(scores, relevance):
    return -(F.softmax(relevance, dim=1) * F.log_softmax(scores, dim=1)).sum(1).mean()


def listnet_ranking() -> Recipe:
    model = Scorer()
    return Recipe(
        model=model,
        train_data=DataLoader(Queries(800, 0), batch_size=32, shuffle=True),
        val_data=DataLoader(Queries(200, 1), batch_size=100),
        loss=listnet_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3, amsgrad=True),
        shapes="b d 10 -> b d",
    )


# -- ConvNeXt with stochastic depth and layer scale -------------------------------------------------


class DropPath(nn.Module):
    """Drops a whole branch for single samples."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.size(0), 1, 1, 1, device=x.device) >= self.p
        return x * keep / (1 - self.p)


class ConvNeXtBlock(nn.Module):
    def __init__(self, dim, p):
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, 3 * dim), nn.Linear(3 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), 0.1))
        self.drop_path = DropPath(p)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return x + self.drop_path(y.permute(0, 3, 1, 2))


def convnext_digits() -> Recipe:
    x, y, vx, vy = data.digits()
    dim = 16
    model = nn.Sequential(
        nn.Conv2d(1, dim, 2, stride=1, padding=0),
        *[ConvNeXtBlock(dim, p) for p in (0.0, 0.1, 0.2)],
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(4 * dim),
        nn.Linear(4 * dim, 10),
    )
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    return Recipe(
        model=model,
        train_data=data.loader(x, y, drop_last=True),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05),
        shapes="b 1 8 8 -> b 10",
    )


HEALTHY = [
    siren_photo,
    albert_alibi,
    deep_sets_spread,
    mixture_density,
    neural_ode_rings,
    simsiam_digits,
    listnet_ranking,
    convnext_digits,
]
