import math

import numpy as np
import torch
from sklearn import datasets
from torch.utils.data import TensorDataset


def digits(images=False, classes=None, seed=0):
    """Handwritten digits as (x_train, y_train, x_test, y_test), pixels in about [-1, 1]."""
    d = datasets.load_digits()
    x = d.images if images else d.data
    x = torch.tensor(x / 8.0 - 1.0, dtype=torch.float32)
    y = torch.tensor(d.target, dtype=torch.long)
    if classes is not None:
        keep = torch.isin(y, torch.tensor(classes))
        x, y = x[keep], y[keep] - min(classes)
    if images:
        x = x.unsqueeze(1)
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y = x[perm], y[perm]
    cut = int(0.78 * len(x))
    return x[:cut], y[:cut], x[cut:], y[cut:]


def digit_sets(images=False, **kw):
    xa, ya, xb, yb = digits(images, **kw)
    return TensorDataset(xa, ya), TensorDataset(xb, yb)


def corpus(size=160_000):
    """Some technical English: the docstrings of torch.nn. Returns the character ids and the characters."""
    docs = [getattr(torch.nn, name).__doc__ or "" for name in sorted(dir(torch.nn)) if name[0].isupper()]
    text = "\n".join(" ".join(d.split()) for d in dict.fromkeys(docs)).lower()[:size]
    text = "".join(c for c in text if c.isascii() and (c.isalnum() or c in " .,\n-:()"))
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    return torch.tensor([stoi[c] for c in text]), chars


def shapes(n, size=24, seed=0):
    """Grey images with a disc or a rectangle on a noisy ground: image, mask, class, box (cx, cy, w, h in 0..1)."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:size, 0:size]
    img = rng.normal(0, 0.25, (n, size, size)).astype(np.float32)
    mask = np.zeros((n, size, size), np.float32)
    cls = rng.integers(0, 2, n)
    box = np.zeros((n, 4), np.float32)
    for i in range(n):
        cx, cy = rng.uniform(7, size - 7, 2)
        if cls[i] == 0:
            r = rng.uniform(3, 6)
            w = h = 2 * r
            m = (xx - cx) ** 2 + (yy - cy) ** 2 <= r * r
        else:
            w, h = rng.uniform(5, 13, 2)
            m = (abs(xx - cx) <= w / 2) & (abs(yy - cy) <= h / 2)
        mask[i] = m
        img[i] += m * rng.uniform(0.7, 1.3)
        box[i] = np.array([cx, cy, w, h]) / size
    return (
        torch.from_numpy(img).unsqueeze(1),
        torch.from_numpy(mask).unsqueeze(1),
        torch.from_numpy(cls).long(),
        torch.from_numpy(box),
    )


def load_series(n=3000, seed=0):
    """An hourly load curve: daily and weekly rhythm, slow trend, noise; standardised."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    s = (
        np.sin(2 * math.pi * t / 24)
        + 0.4 * np.sin(2 * math.pi * t / 12 + 1)
        + 0.5 * np.sin(2 * math.pi * t / 168)
    )
    s = s * (1 + 0.2 * np.sin(2 * math.pi * t / 700)) + rng.normal(0, 0.12, n)
    return torch.tensor((s - s.mean()) / s.std(), dtype=torch.float32)


def windows(series, length, horizon=1):
    w = series.unfold(0, length + horizon, 1)
    return w[:, :length].contiguous(), w[:, length:].contiguous()


def flats(n=3000, seed=0):
    """Rental offers: district, kind, heating as categories, four numbers, log rent (standardised)."""
    rng = np.random.default_rng(seed)
    district, kind, heat = rng.integers(0, 20, n), rng.integers(0, 6, n), rng.integers(0, 4, n)
    num = rng.normal(0, 1, (n, 4))
    d, k, h = rng.normal(0, 0.6, 20), rng.normal(0, 0.3, 6), rng.normal(0, 0.2, 4)
    y = (
        d[district]
        + k[kind]
        + h[heat]
        + 0.7 * num[:, 0]
        + 0.3 * num[:, 1] * (kind > 2)
        - 0.2 * num[:, 2] ** 2
    )
    y = y + rng.normal(0, 0.15, n)
    y = (y - y.mean()) / y.std()
    return (
        torch.tensor(np.stack([district, kind, heat], 1)).long(),
        torch.tensor(num, dtype=torch.float32),
        torch.tensor(y, dtype=torch.float32),
    )


def reviews(n=2400, length=20, vocab=300, classes=4, seed=0):
    """Token sequences of a topic: each topic prefers its own words; id 0 is unused."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(vocab - 1, 0.3), classes) * 0.35 + 0.65 / (vocab - 1)
    y = rng.integers(0, classes, n)
    x = np.stack([rng.choice(vocab - 1, length, p=probs[c]) + 1 for c in y])
    return torch.tensor(x).long(), torch.tensor(y).long()


def communities(n=400, k=4, seed=0):
    """A stochastic block model with weak node features: features, normalised adjacency, labels, train mask."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    p = np.where(y[:, None] == y[None], 0.06, 0.012)
    a = np.triu(rng.random((n, n)) < p, 1)
    a = a + a.T + np.eye(n)
    d = a.sum(1) ** -0.5
    a = a * d[:, None] * d[None]
    mu = rng.normal(0, 1, (k, 24)) * 0.35
    x = mu[y] + rng.normal(0, 1, (n, 24))
    train = rng.random(n) < 0.4
    return (
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(a, dtype=torch.float32),
        torch.tensor(y).long(),
        torch.tensor(train),
    )


@torch.no_grad()
def accuracy(model, loader):
    was = model.training
    model.eval()
    hit = n = 0
    for x, y in loader:
        hit += (model(x).argmax(1) == y).sum().item()
        n += len(y)
    model.train(was)
    return hit / n
