"""Small data sets shared by several scripts."""

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import train_test_split


def digits_split(seed=0, image=False, test_size=0.3):
    d = load_digits()
    x = (d.images[:, None] if image else d.data).astype("float32") / 16.0
    a, b, ya, yb = train_test_split(
        x, d.target, test_size=test_size, random_state=seed, stratify=d.target
    )
    return torch.tensor(a), torch.tensor(ya), torch.tensor(b), torch.tensor(yb)


def table_split(loader, seed=0, regression=False, test_size=0.3):
    d = loader()
    x, y = d.data.astype("float32"), d.target
    a, b, ya, yb = train_test_split(
        x, y, test_size=test_size, random_state=seed, stratify=None if regression else y
    )
    mu, sd = a.mean(0), a.std(0) + 1e-8
    a, b = (a - mu) / sd, (b - mu) / sd
    if regression:
        m, s = ya.mean(), ya.std()
        ya, yb = ((ya - m) / s).astype("float32"), ((yb - m) / s).astype("float32")
    return torch.tensor(a), torch.tensor(ya), torch.tensor(b), torch.tensor(yb)


def cancer(seed=0):
    return table_split(load_breast_cancer, seed)


def wine(seed=0):
    return table_split(load_wine, seed)


def diabetes(seed=0):
    return table_split(load_diabetes, seed, regression=True)


def tones(n, classes=5, length=256, noise=0.6, seed=0):
    """Short clips, each holding a chord of its class in noise."""
    r = np.random.default_rng(seed)
    t = np.arange(length) / length
    y = r.integers(0, classes, n)
    base = 6 + 5 * y
    x = np.zeros((n, length))
    for k, amp in ((1, 1.0), (2, 0.6), (3, 0.3)):
        ph = r.uniform(0, 2 * np.pi, (n, 1))
        x += amp * np.sin(2 * np.pi * k * base[:, None] * t[None] + ph)
    x += noise * r.standard_normal(x.shape)
    return torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(y)


def shapes(n, size=16, noise=0.35, channels=3, seed=0):
    """Coloured pictures with a square, a disc, a cross or stripes."""
    r = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size]
    x = noise * r.standard_normal((n, channels, size, size))
    y = r.integers(0, 4, n)
    for i in range(n):
        cy, cx = r.integers(5, size - 5, 2)
        rad = r.integers(3, 5)
        if y[i] == 0:
            m = (abs(yy - cy) <= rad) & (abs(xx - cx) <= rad)
        elif y[i] == 1:
            m = (yy - cy) ** 2 + (xx - cx) ** 2 <= rad**2
            m &= (yy - cy) ** 2 + (xx - cx) ** 2 >= (rad - 2) ** 2
        elif y[i] == 2:
            m = ((abs(yy - cy) <= 0) & (abs(xx - cx) <= rad + 1)) | (
                (abs(xx - cx) <= 0) & (abs(yy - cy) <= rad + 1)
            )
        else:
            m = (yy + xx + r.integers(0, 4)) % 4 == 0
        colour = r.uniform(0.6, 1.6, (channels, 1))
        x[i][:, m] += colour
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def blobs(n, dim=20, classes=4, spread=1.0, seed=0, centre_seed=99, scale=1.0):
    c = np.random.default_rng(centre_seed).standard_normal((classes, dim)) * scale
    r = np.random.default_rng(seed)
    y = r.integers(0, classes, n)
    x = c[y] + spread * r.standard_normal((n, dim))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def accuracy(logits, y):
    return (logits.argmax(-1) == y).float().mean().item()
