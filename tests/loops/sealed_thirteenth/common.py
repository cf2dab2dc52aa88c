"""Data for the loops: small images, detection and segmentation scenes, tables, a small control task."""

import numpy as np
import torch
from sklearn import datasets as skd
from sklearn.preprocessing import StandardScaler


def digits(flat=False, seed=0, n_train=1400):
    d = skd.load_digits()
    x = torch.tensor(d.data if flat else d.images[:, None], dtype=torch.float32) / 16
    y = torch.tensor(d.target)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(len(x)))
    x, y = x[order], y[order]
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def textures(n=1500, size=16, classes=6, noise=0.25, seed=0):
    """RGB gratings: the class sets orientation and tint; a stand-in for CIFAR."""
    r = np.random.RandomState(seed)
    y = r.randint(0, classes, n)
    yy, xx = np.mgrid[0:size, 0:size] / size
    ang = np.pi * y / classes + r.randn(n) * 0.08
    freq = r.uniform(2, 4, n)
    phase = r.uniform(0, 2 * np.pi, n)
    g = np.sin(
        2
        * np.pi
        * freq[:, None, None]
        * (np.cos(ang)[:, None, None] * xx + np.sin(ang)[:, None, None] * yy)
        + phase[:, None, None]
    )
    tint = r.uniform(0.5, 1.0, (n, 3))
    x = 0.5 + 0.3 * g[:, None] * tint[:, :, None, None] + noise * r.randn(n, 3, size, size)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def shapes(n=1200, size=24, seed=0):
    """One object (square, disc or cross) an image: class and box (cx, cy, w, h in 0..1)."""
    r = np.random.RandomState(seed)
    x = r.rand(n, 1, size, size) * 0.25
    cls = r.randint(0, 3, n)
    box = np.zeros((n, 4))
    yy, xx = np.mgrid[0:size, 0:size]
    for i in range(n):
        h = r.randint(3, 7)
        cx, cy = r.randint(h, size - h, 2)
        dx, dy = np.abs(xx - cx), np.abs(yy - cy)
        if cls[i] == 0:
            m = (dx <= h) & (dy <= h)
        elif cls[i] == 1:
            m = dx**2 + dy**2 <= h**2
        else:
            m = ((dx <= 1) & (dy <= h)) | ((dy <= 1) & (dx <= h))
        x[i, 0][m] += r.uniform(0.5, 0.8)
        box[i] = np.array([cx, cy, 2 * h, 2 * h]) / size
    return (
        torch.tensor(x, dtype=torch.float32),
        torch.tensor(cls),
        torch.tensor(box, dtype=torch.float32),
    )


def cells(n=400, size=24, seed=0):
    """Bright cells on an uneven background, with masks."""
    r = np.random.RandomState(seed)
    yy, xx = np.mgrid[0:size, 0:size]
    x = np.zeros((n, 1, size, size))
    m = np.zeros((n, 1, size, size))
    for i in range(n):
        a, b = r.uniform(-0.5, 0.5, 2)
        x[i, 0] = a * xx / size + b * yy / size + 0.2 * r.randn(size, size)
        for _ in range(r.randint(1, 4)):
            cx, cy = r.uniform(3, size - 3, 2)
            s = r.uniform(2, 4.5)
            inside = (xx - cx) ** 2 + ((yy - cy) * r.uniform(0.8, 1.3)) ** 2 < s * s
            x[i, 0][inside] += 0.7
            m[i, 0][inside] = 1
    return torch.tensor(x, dtype=torch.float32), torch.tensor(m, dtype=torch.float32)


def patches(n=1500, p=8, seed=0):
    """RGB patches of the two photographs of scikit-learn."""
    r = np.random.RandomState(seed)
    ims = [skd.load_sample_image(k).astype("float32") / 255 for k in ("china.jpg", "flower.jpg")]
    out = np.zeros((n, 3, p, p), dtype="float32")
    for i in range(n):
        im = ims[i % 2][::2, ::2]
        a, b = r.randint(0, im.shape[0] - p), r.randint(0, im.shape[1] - p)
        out[i] = im[a : a + p, b : b + p].transpose(2, 0, 1)
    return torch.from_numpy(out)


def houses(n=2000, seed=0):
    """Houses: numeric columns (scaled), a district column, and a standardised log price."""
    r = np.random.RandomState(seed)
    area = r.gamma(6, 18, n)
    rooms = np.clip(np.round(area / 28 + r.randn(n)), 1, 9)
    age = r.uniform(0, 80, n)
    dist = r.gamma(2, 4, n)
    district = r.randint(0, 12, n)
    level = r.randn(12) * 0.3
    price = (
        0.8 * np.log(area)
        + 0.05 * rooms
        - 0.006 * age
        - 0.04 * dist
        + level[district]
        + 0.08 * r.randn(n)
    )
    num = StandardScaler().fit_transform(np.stack([area, rooms, age, dist], 1))
    price = (price - price.mean()) / price.std()
    return (
        torch.tensor(num, dtype=torch.float32),
        torch.tensor(district),
        torch.tensor(price, dtype=torch.float32)[:, None],
    )


def cancer(seed=0, n_train=420):
    d = skd.load_breast_cancer()
    x = torch.tensor(StandardScaler().fit_transform(d.data), dtype=torch.float32)
    y = torch.tensor(d.target)
    o = torch.from_numpy(np.random.RandomState(seed).permutation(len(x)))
    return x[o][:n_train], y[o][:n_train], x[o][n_train:], y[o][n_train:]


class Cart:
    """Many points on a line at once: push left, right or not at all, stay near zero."""

    def __init__(self, n=32, seed=0):
        self.n, self.r = n, np.random.RandomState(seed)

    def reset(self):
        self.s = np.stack([self.r.uniform(-1, 1, self.n), self.r.uniform(-0.5, 0.5, self.n)], 1)
        return torch.tensor(self.s, dtype=torch.float32)

    def step(self, a):
        force = (a.numpy() - 1) * 0.25
        self.s[:, 1] = 0.95 * self.s[:, 1] + force + 0.02 * self.r.randn(self.n)
        self.s[:, 0] = np.clip(self.s[:, 0] + 0.3 * self.s[:, 1], -2, 2)
        reward = -np.abs(self.s[:, 0]) - 0.1 * np.abs(self.s[:, 1])
        return torch.tensor(self.s, dtype=torch.float32), torch.tensor(reward, dtype=torch.float32)
