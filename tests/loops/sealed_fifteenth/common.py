"""Data and small helpers of the loops."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from torch.utils.data import TensorDataset


def seed_all(s=0):
    np.random.seed(s)
    torch.manual_seed(s)


def digits(n_train=1400, seed=0):
    d = datasets.load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16.0
    y = torch.tensor(d.target)
    p = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    x, y = x[p], y[p]
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


def digits_ds(n_train=1400, seed=0):
    a, b, c, d = digits(n_train, seed)
    return TensorDataset((a - 0.3) / 0.38, b), TensorDataset((c - 0.3) / 0.38, d)


def color16(n_train=1400, seed=0):
    """Digits as 3x16x16 pictures with a random tint and noise."""
    xa, ya, xb, yb = digits(n_train, seed)
    g = torch.Generator().manual_seed(seed + 1)

    def paint(x):
        x = F.interpolate(x, size=16, mode="bilinear", align_corners=False)
        tint = 0.5 + torch.rand(len(x), 3, 1, 1, generator=g)
        return (x * tint + 0.1 * torch.randn(len(x), 3, 16, 16, generator=g) - 0.3) / 0.4

    return paint(xa), ya, paint(xb), yb


def color16_ds(n_train=1400, seed=0):
    a, b, c, d = color16(n_train, seed)
    return TensorDataset(a, b), TensorDataset(c, d)


def shapes_seg(n=400, size=16, seed=0):
    """Noisy pictures with a bright disc or box and the mask."""
    g = np.random.default_rng(seed)
    yy, xx = np.mgrid[:size, :size]
    xs, ms = [], []
    for _ in range(n):
        cy, cx, r = g.uniform(4, size - 4), g.uniform(4, size - 4), g.uniform(2, 4.5)
        if g.random() < 0.5:
            m = (yy - cy) ** 2 + (xx - cx) ** 2 < r * r
        else:
            m = (abs(yy - cy) < r) & (abs(xx - cx) < r)
        img = 0.9 * m + g.normal(0, 0.45, (size, size)) + g.uniform(-0.3, 0.3)
        xs.append(img)
        ms.append(m)
    return (
        torch.tensor(np.stack(xs), dtype=torch.float32).unsqueeze(1),
        torch.tensor(np.stack(ms), dtype=torch.float32).unsqueeze(1),
    )


def sales(n=3000, seed=0, noise=0.3):
    """store, product, weekday (categories), 4 numbers -> demand."""
    g = np.random.default_rng(seed)
    cat = np.stack([g.integers(0, 20, n), g.integers(0, 12, n), g.integers(0, 7, n)], 1)
    num = g.normal(size=(n, 4))
    es, ep, ed = g.normal(size=20), g.normal(size=12), g.normal(size=7) * 0.5
    y = (
        es[cat[:, 0]]
        + ep[cat[:, 1]] * (1 + 0.5 * num[:, 0])
        + ed[cat[:, 2]]
        + np.sin(num[:, 1])
        - 0.5 * num[:, 2]
    )
    y = y + noise * g.normal(size=n)
    return (
        torch.tensor(cat),
        torch.tensor(num, dtype=torch.float32),
        torch.tensor(y, dtype=torch.float32),
    )


def load_series(n=1600, window=24, seed=0):
    """An hourly load: two seasons, AR noise; windows (N, window, 1) -> next value."""
    g = np.random.default_rng(seed)
    t = np.arange(n + window + 1)
    e = np.zeros(len(t))
    for i in range(1, len(t)):
        e[i] = 0.7 * e[i - 1] + 0.12 * g.normal()
    s = (
        np.sin(2 * np.pi * t / 24)
        + 0.5 * np.sin(2 * np.pi * t / 12 + 1)
        + 0.3 * np.sin(2 * np.pi * t / 168)
        + e
    )
    s = torch.tensor(s, dtype=torch.float32)
    x = s.unfold(0, window, 1)[:n].unsqueeze(-1)
    return x, s[window : window + n]


def corpus():
    text = (
        datasets.load_wine().DESCR + datasets.load_breast_cancer().DESCR + datasets.load_digits().DESCR
    )
    text = text.lower()
    vocab = sorted(set(text))
    ids = torch.tensor([vocab.index(c) for c in text])
    return ids, len(vocab)


def cancer(seed=0):
    d = datasets.load_breast_cancer()
    x = torch.tensor((d.data - d.data.mean(0)) / d.data.std(0), dtype=torch.float32)
    y = torch.tensor(d.target)
    p = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return x[p][:420], y[p][:420], x[p][420:], y[p][420:]


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.short = (
            nn.Sequential()
            if stride == 1 and cin == cout
            else nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))
        )

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.short(x))


class TinyResNet(nn.Module):
    def __init__(self, cin=3, num_classes=10, width=12):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(cin, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.layer1 = BasicBlock(width, width)
        self.layer2 = BasicBlock(width, 2 * width, 2)
        self.num_features = 2 * width
        self.fc = nn.Linear(2 * width, num_classes)

    def forward_features(self, x):
        return self.layer2(self.layer1(self.stem(x))).mean((2, 3))

    def forward(self, x):
        return self.fc(self.forward_features(x))


class TinyViT(nn.Module):
    def __init__(self, cin=3, img=16, patch=4, dim=32, depth=2, heads=4, num_classes=10, drop=0.0):
        super().__init__()
        self.embed = nn.Conv2d(cin, dim, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(0.02 * torch.randn(1, (img // patch) ** 2 + 1, dim))
        layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, drop, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
        self.num_features = dim

    def forward_features(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.norm(self.blocks(x))[:, 0]

    def forward(self, x):
        return self.head(self.forward_features(x))


class SmallUNet(nn.Module):
    def __init__(self, cin=1, cout=1, w=8, bn=True):
        super().__init__()

        def block(a, b):
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b) if bn else nn.GroupNorm(4, b), nn.ReLU()
            )

        self.d1, self.d2, self.mid = block(cin, w), block(w, 2 * w), block(2 * w, 2 * w)
        self.u1, self.u2 = block(4 * w, w), block(2 * w, w)
        self.out = nn.Conv2d(w, cout, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        u = self.u1(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        u = self.u2(torch.cat([F.interpolate(u, scale_factor=2), a], 1))
        return self.out(u)


class TabNet(nn.Module):
    """Embeddings of the categories and an MLP."""

    def __init__(self, cards=(20, 12, 7), n_num=4, out=1, hidden=64, p=0.0):
        super().__init__()
        self.embs = nn.ModuleList(nn.Embedding(c, min(8, (c + 1) // 2)) for c in cards)
        k = sum(e.embedding_dim for e in self.embs) + n_num
        self.mlp = nn.Sequential(
            nn.Linear(k, hidden),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(hidden, out),
        )

    def forward(self, cat, num):
        e = [emb(cat[:, i]) for i, emb in enumerate(self.embs)]
        return self.mlp(torch.cat(e + [num], 1))


class AverageMeter:
    def __init__(self):
        self.sum, self.n = 0.0, 0

    def update(self, v, n=1):
        self.sum += v * n
        self.n += n

    @property
    def avg(self):
        return self.sum / max(self.n, 1)


@torch.no_grad()
def accuracy(model, loader):
    was = model.training
    model.eval()
    c = n = 0
    for x, y in loader:
        c += (model(x).argmax(1) == y).sum().item()
        n += len(y)
    model.train(was)
    return c / n
