"""Data and small helpers shared by the loops of this package."""

import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from sklearn import datasets
from torch.utils.data import Dataset


def seed_everything(seed=42):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class AverageMeter:
    """Computes and stores the average and current value."""

    def __init__(self, name=""):
        self.name = name
        self.reset()

    def reset(self):
        self.val, self.sum, self.count, self.avg = 0, 0, 0, 0

    def update(self, val, n=1):
        self.val = val
        self.sum = self.sum + val * n
        self.count += n
        self.avg = self.sum / self.count


def digit_images(size=8):
    """Images in [0, 1] of shape (1797, 1, size, size) with their labels."""
    d = datasets.load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16.0
    if size != 8:
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    return x, torch.tensor(d.target)


def shuffled(*arrays, seed=0):
    p = torch.randperm(len(arrays[0]), generator=torch.Generator().manual_seed(seed))
    return tuple(a[p] for a in arrays)


class ShapesSegmentation(Dataset):
    """Noisy grey images with one disc (class 1) and one rectangle (class 2)."""

    def __init__(self, n, size=24, seed=0, noise=0.25):
        g = np.random.RandomState(seed)
        yy, xx = np.mgrid[:size, :size]
        self.images = np.zeros((n, 1, size, size), np.float32)
        self.masks = np.zeros((n, size, size), np.int64)
        for i in range(n):
            cy, cx, r = g.randint(5, size - 5), g.randint(5, size - 5), g.randint(3, 6)
            disc = (yy - cy) ** 2 + (xx - cx) ** 2 <= r * r
            y0, x0 = g.randint(0, size - 8, 2)
            h, w = g.randint(4, 9, 2)
            rect = (yy >= y0) & (yy < y0 + h) & (xx >= x0) & (xx < x0 + w)
            self.masks[i][disc] = 1
            self.masks[i][rect] = 2
            img = 0.6 * (self.masks[i] == 1) + 1.0 * (self.masks[i] == 2)
            self.images[i, 0] = img + noise * g.randn(size, size)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]), torch.from_numpy(self.masks[i])


class OneBoxDetection(Dataset):
    """Images with a digit pasted somewhere: (image, {"label", "box"})."""

    def __init__(self, n, size=20, seed=0):
        x, y = digit_images(8)
        g = torch.Generator().manual_seed(seed)
        idx = torch.randint(0, len(x), (n,), generator=g)
        self.images = 0.1 * torch.rand(n, 1, size, size, generator=g)
        self.labels = (y[idx] >= 5).long() + (y[idx] == 0).long() * 2
        self.boxes = torch.zeros(n, 4)
        for i in range(n):
            s = int(torch.randint(7, 13, (1,), generator=g))
            oy, ox = (int(v) for v in torch.randint(0, size - s + 1, (2,), generator=g))
            patch = F.interpolate(x[idx[i]][None], size=(s, s), mode="bilinear")[0]
            self.images[i, :, oy : oy + s, ox : ox + s] += patch
            self.boxes[i] = torch.tensor([ox + s / 2, oy + s / 2, s, s]) / size

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], {"label": self.labels[i], "box": self.boxes[i]}


class KeypointDataset(Dataset):
    """Drawn faces: two eyes and a mouth; the target is 3 (x, y) in [0, 1]."""

    def __init__(self, n, size=24, seed=0):
        g = np.random.RandomState(seed)
        yy, xx = np.mgrid[:size, :size]
        self.images = np.zeros((n, 1, size, size), np.float32)
        self.points = np.zeros((n, 3, 2), np.float32)
        for i in range(n):
            c = np.array([g.uniform(9, size - 9), g.uniform(9, size - 9)])
            a, s = g.uniform(-0.5, 0.5), g.uniform(4.0, 6.5)
            rot = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
            pts = c + s * (np.array([[-0.8, -0.6], [0.8, -0.6], [0, 0.9]]) @ rot.T)
            for j, (px, py) in enumerate(pts):
                amp = 1.0 if j < 2 else -1.0
                self.images[i, 0] += amp * np.exp(-((xx - px) ** 2 + (yy - py) ** 2) / 3.0)
            self.images[i] += 0.1 * g.randn(1, size, size)
            self.points[i] = pts / size

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]), torch.from_numpy(self.points[i])


def load_series(n=1500, seed=0):
    """An hourly-consumption-like series with daily and weekly rhythm, standardised."""
    g = np.random.RandomState(seed)
    t = np.arange(n)
    s = (
        np.sin(2 * np.pi * t / 24)
        + 0.5 * np.sin(2 * np.pi * t / 168 + 1)
        + 0.3 * np.sin(2 * np.pi * t / 12)
        + 0.0006 * t
    )
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.8 * noise[i - 1] + 0.08 * g.randn()
    s = s + noise
    return torch.tensor((s - s.mean()) / s.std(), dtype=torch.float32)


class WindowDataset(Dataset):
    def __init__(self, series, context=48, horizon=6):
        self.series, self.context, self.horizon = series, context, horizon

    def __len__(self):
        return len(self.series) - self.context - self.horizon + 1

    def __getitem__(self, i):
        j = i + self.context
        return self.series[i:j], self.series[j : j + self.horizon]


def corpus():
    """English text that ships with scikit-learn: (ids, stoi, chars)."""
    text = "".join(
        f().DESCR
        for f in (
            datasets.load_breast_cancer,
            datasets.load_diabetes,
            datasets.load_wine,
            datasets.load_iris,
            datasets.load_digits,
        )
    )
    text = " ".join(text.lower().split())
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    return torch.tensor([stoi[c] for c in text]), stoi, chars


def photo_patches(size=32, stride=40):
    """Grey patches of the two sample photographs, (N, 1, size, size) in [0, 1]."""
    out = []
    for img in datasets.load_sample_images().images:
        grey = torch.tensor(np.asarray(img, dtype=np.float32).mean(-1) / 255.0)
        p = grey.unfold(0, size, stride).unfold(1, size, stride)
        out.append(p.reshape(-1, 1, size, size))
    return torch.cat(out)


def psnr(a, b):
    return float(-10 * torch.log10(F.mse_loss(a, b)))
