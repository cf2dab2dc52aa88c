"""Data that ships with scikit-learn, or is generated with a known structure. Nothing is downloaded."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def f32(a):
    return torch.tensor(np.asarray(a), dtype=torch.float32)


def i64(a):
    return torch.tensor(np.asarray(a), dtype=torch.long)


def loader(*tensors, batch_size=64, **options):
    options.setdefault("shuffle", True)
    return DataLoader(TensorDataset(*tensors), batch_size=batch_size, **options)


@lru_cache
def digits(seed=0):
    """Images (n, 1, 8, 8) in [0, 1] and labels, for training and validation."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    parts = train_test_split(pixels / 16, labels, test_size=0.2, stratify=labels, random_state=seed)
    x, vx, y, vy = parts
    return f32(x).view(-1, 1, 8, 8), i64(y), f32(vx).view(-1, 1, 8, 8), i64(vy)


@lru_cache
def table(name, *, classes=True, raw=False):
    """A table of scikit-learn, standardised by its training part."""
    x, y = getattr(datasets, "load_" + name)(return_X_y=True)
    x, vx, y, vy = train_test_split(
        x, y, test_size=0.25, stratify=y if classes else None, random_state=0
    )
    if not raw:
        mean, std = x.mean(0), x.std(0)
        x, vx = (x - mean) / std, (vx - mean) / std
    if classes:
        return f32(x), i64(y), f32(vx), i64(vy)
    mean, std = y.mean(), y.std()
    return f32(x), f32((y - mean) / std), f32(vx), f32((vy - mean) / std)


@lru_cache
def friedman(n=1600, noise=0.5):
    x, y = datasets.make_friedman1(n_samples=n, n_features=8, noise=noise, random_state=0)
    x, y = (x - 0.5) * 3.46, (y - y.mean()) / y.std()
    cut = int(0.8 * n)
    return f32(x[:cut]), f32(y[:cut]), f32(x[cut:]), f32(y[cut:])


@lru_cache
def pages():
    folder = files("sklearn.datasets") / "descr"
    found = sorted((p for p in folder.iterdir() if p.name.endswith(".rst")), key=str)
    return tuple(p.read_text(encoding="utf-8") for p in found)


@lru_cache
def characters(context=32):
    """Windows of `context + 1` characters of scikit-learn's descriptions; training, validation, alphabet."""
    text = "".join(pages())
    alphabet = sorted(set(text))
    index = {c: i for i, c in enumerate(alphabet)}
    codes = torch.tensor([index[c] for c in text])
    cut = int(0.9 * len(codes))

    def windows(part):
        n = (len(part) - 1) // context
        return torch.stack([part[i * context : i * context + context + 1] for i in range(n)])

    return windows(codes[:cut]), windows(codes[cut:]), len(alphabet)


@lru_cache
def topics(n=1400, vocab=400, classes=6, width=32, seed=0):
    """Notes of 8 to 30 words, padded with 0: common words by Zipf's law, some of one topic. The label is the topic."""
    rng = np.random.default_rng(seed)
    common = 1 / np.arange(1, vocab)
    common /= common.sum()
    own = rng.dirichlet(np.full(vocab - 1, 0.1), classes)
    y = rng.integers(0, classes, n)
    x = np.zeros((n, width), dtype=int)
    for row, label in zip(x, y, strict=True):
        length = rng.integers(8, 31)
        row[:length] = rng.choice(vocab - 1, length, p=0.55 * common + 0.45 * own[label]) + 1
    cut = int(0.8 * n)
    x, y = i64(x), i64(y)
    return x[:cut], y[:cut], x[cut:], y[cut:], vocab, classes


@lru_cache
def waves(n=1500, steps=24, seed=0):
    """Sine, square or saw, of random phase and period, in noise: (n, steps, 1), and which."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    phase, period = rng.random((n, 1)), rng.uniform(6, 12, (n, 1))
    t = (np.arange(steps)[None] / period + phase) % 1
    forms = np.stack([np.sin(2 * np.pi * t), np.sign(t - 0.5), 2 * t - 1])
    x = forms[kind, np.arange(n)] + 0.1 * rng.standard_normal((n, steps))
    cut = int(0.8 * n)
    x, y = f32(x)[..., None], i64(kind)
    return x[:cut], y[:cut], x[cut:], y[cut:]


@lru_cache
def series(n=3000, seed=0):
    """An hourly load: a day, a week, a slow drift and autoregressive noise, standardised."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.8 * noise[i - 1] + 0.25 * rng.standard_normal()
    y = (
        np.sin(2 * np.pi * t / 24)
        + 0.5 * np.sin(2 * np.pi * t / 168)
        + 0.3 * np.sin(2 * np.pi * t / 12)
        + noise
    )
    return ((y - y.mean()) / y.std()).astype(np.float32)


@lru_cache
def blobs(n=600, size=24, seed=0):
    """Noisy images (n, 1, s, s) of one to three ellipses that lie in the left half or so, and their masks."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size]
    images, masks = np.zeros((n, 1, size, size)), np.zeros((n, 1, size, size))
    for i in range(n):
        for _ in range(rng.integers(1, 4)):
            cy, cx = rng.uniform(4, size - 4), rng.uniform(3, size * 0.55)
            a, b = rng.uniform(2, 5, 2)
            masks[i, 0][((yy - cy) / a) ** 2 + ((xx - cx) / b) ** 2 < 1] = 1
        images[i] = masks[i] * rng.uniform(0.6, 1.2) + 0.35 * rng.standard_normal((1, size, size))
    cut = int(0.8 * n)
    x, y = f32(images), f32(masks)
    return x[:cut], y[:cut], x[cut:], y[cut:]


@lru_cache
def ratings(users=300, items=120, n=12000, seed=0):
    """Standardised ratings of a rank-3 taste with biases: (n, 2) ids and (n,) ratings."""
    rng = np.random.default_rng(seed)
    u, v = rng.standard_normal((users, 3)), rng.standard_normal((items, 3))
    bu, bi = rng.standard_normal(users), rng.standard_normal(items)
    pairs = rng.choice(users * items, n, replace=False)
    a, b = pairs // items, pairs % items
    r = (u[a] * v[b]).sum(1) * 0.5 + bu[a] + 0.7 * bi[b] + 0.2 * rng.standard_normal(n)
    r = (r - r.mean()) / r.std()
    cut = int(0.85 * n)
    ids = i64(np.stack([a, b], 1))
    return ids[:cut], f32(r[:cut]), ids[cut:], f32(r[cut:])


@lru_cache
def block_graphs(n=160, nodes=60, seed=0):
    """Graphs of three communities: noisy features, adjacency with self loops, the community of each node."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, (n, nodes))
    x = np.eye(3)[y] + 1.0 * rng.standard_normal((n, nodes, 3))
    p = np.where(y[:, :, None] == y[:, None], 0.5, 0.08)
    upper = np.triu(rng.random((n, nodes, nodes)) < p, 1)
    a = (upper | upper.transpose(0, 2, 1)) + np.eye(nodes)
    cut = int(0.8 * n)
    x, a, y = f32(x), f32(a), i64(y)
    return (x[:cut], a[:cut], y[:cut]), (x[cut:], a[cut:], y[cut:])
