"""Data for the loops: bundled digits and synthetic waves."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def digits(n=900, seed=0, test=0.25, size=8):
    """Digits in [0, 1] as (N, 1, size, size); split with stratification."""
    d = load_digits()
    x = (d.images / 16.0).astype("float32")
    y = d.target.astype("int64")
    x, _, y, _ = train_test_split(x, y, train_size=n, stratify=y, random_state=seed)
    xa, xb, ya, yb = train_test_split(x, y, test_size=test, stratify=y, random_state=seed)
    xa, xb = torch.from_numpy(xa)[:, None], torch.from_numpy(xb)[:, None]
    if size != 8:
        xa = F.interpolate(xa, size=(size, size), mode="bilinear", align_corners=False)
        xb = F.interpolate(xb, size=(size, size), mode="bilinear", align_corners=False)
    return xa, torch.from_numpy(ya), xb, torch.from_numpy(yb)


def tone(kind, pitch, length, rng, rate=2000.0):
    t = np.arange(length) / rate
    ph = rng.uniform(0, 2 * math.pi)
    w = 2 * math.pi * pitch * t + ph
    if kind == 0:  # flute: almost pure
        s = np.sin(w) + 0.1 * np.sin(2 * w)
    elif kind == 1:  # clarinet: odd partials
        s = np.sin(w) + 0.5 * np.sin(3 * w) + 0.3 * np.sin(5 * w)
    elif kind == 2:  # reed: many partials
        s = sum(np.sin(k * w) / k for k in range(1, 7))
    elif kind == 3:  # plucked: decays
        s = (np.sin(w) + 0.4 * np.sin(2 * w)) * np.exp(-t * rate / (0.25 * length))
    else:  # tremolo
        s = np.sin(w) * (1 + 0.8 * np.sin(2 * math.pi * 18 * t + rng.uniform(0, 6)))
    return s


def instruments(n=600, length=256, classes=5, noise=0.25, seed=0):
    """Waves (N, length), instrument label, pitch in Hz."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    f = rng.uniform(60, 160, n)
    x = np.stack([tone(k, p, length, rng) for k, p in zip(y, f)])
    x = x * rng.uniform(0.6, 1.2, (n, 1)) + noise * rng.standard_normal(x.shape)
    return x.astype("float32"), y.astype("int64"), f.astype("float32")
