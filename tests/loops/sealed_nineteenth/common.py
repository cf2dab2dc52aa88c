"""Data that several notebooks share."""

import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def seed_all(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def loaders(X, y, batch_size=32, val=0.25, seed=0):
    """Split in two and wrap in loaders."""
    g = torch.Generator().manual_seed(seed)
    perm = torch.randperm(len(X), generator=g)
    n_val = int(len(X) * val)
    tr, va = perm[n_val:], perm[:n_val]
    return (
        DataLoader(TensorDataset(X[tr], y[tr]), batch_size=batch_size, shuffle=True),
        DataLoader(TensorDataset(X[va], y[va]), batch_size=128),
    )


def digit_images(seed=0, test_size=0.25):
    X, y = load_digits(return_X_y=True)
    X = (X / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=test_size, random_state=seed, stratify=y)
    return (
        torch.from_numpy(Xa),
        torch.from_numpy(ya).long(),
        torch.from_numpy(Xb),
        torch.from_numpy(yb).long(),
    )


def tissue(n, size, g):
    low = torch.randn(n, 1, size // 4, size // 4, generator=g)
    return 0.25 * F.interpolate(
        low, size=(size, size), mode="bilinear", align_corners=False
    ) + 0.12 * torch.randn(n, 1, size, size, generator=g)


def lesion_images(n, size=16, seed=0):
    """Grey patches with at most one lesion: none, disc, ring, streak.

    Returns images (n,1,s,s), class (n,), masks (n,1,s,s), boxes (n,4) as cx, cy, w, h in 0..1.
    """
    g = torch.Generator().manual_seed(seed)
    img = tissue(n, size, g)
    cls = torch.randint(0, 4, (n,), generator=g)
    cx = (0.3 + 0.4 * torch.rand(n, generator=g)) * size
    cy = (0.3 + 0.4 * torch.rand(n, generator=g)) * size
    r = (0.14 + 0.10 * torch.rand(n, generator=g)) * size
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    dx = xx[None] - cx[:, None, None]
    dy = yy[None] - cy[:, None, None]
    d = (dx**2 + dy**2).sqrt()
    rr = r[:, None, None]
    disc = d < rr
    ring = (d < rr) & (d > rr - 1.6)
    angle = torch.rand(n, generator=g)[:, None, None] * math.pi
    along = dx * angle.cos() + dy * angle.sin()
    across = -dx * angle.sin() + dy * angle.cos()
    streak = (along.abs() < rr * 1.3) & (across.abs() < 1.0)
    c = cls[:, None, None]
    mask = (((c == 1) & disc) | ((c == 2) & ring) | ((c == 3) & streak)).float()[:, None]
    img = img + 0.9 * mask
    boxes = torch.stack([cx, cy, 2 * r, 2 * r], 1) / size
    boxes[cls == 0] = 0.5
    return img, cls, mask, boxes


def stained_patches(n, size=16, seed=0):
    """Colour patches of four kinds of stained tissue: they differ in grain, direction and tint."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    freq = torch.tensor([0.5, 0.5, 1.2, 1.2])[y][:, None, None]
    turn = torch.tensor([0.0, math.pi / 2, 0.0, math.pi / 2])[y][:, None, None] + 0.3 * torch.randn(
        n, 1, 1, generator=g
    )
    phase = 6.28 * torch.rand(n, 1, 1, generator=g)
    wave = torch.sin(freq * (xx * turn.cos() + yy * turn.sin()) + phase)
    tint = torch.tensor([0.7, 0.3, 0.5])[None, :, None, None] + 0.1 * torch.randn(
        n, 3, 1, 1, generator=g
    )
    img = tint * wave[:, None] + 0.5 * torch.randn(n, 3, size, size, generator=g)
    return img, y


def imu_windows(n, T=64, seed=0, noise=0.5):
    """Six-channel inertial windows of standing, walking, stairs and turning: (n, 6, T)."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    t = torch.arange(T).float() / 32
    hz = torch.tensor([0.0, 1.8, 1.3, 0.6])[y] * (1 + 0.1 * torch.randn(n, generator=g))
    amp = torch.tensor([0.05, 1.0, 1.0, 0.4])[y] * (1 + 0.2 * torch.randn(n, generator=g))
    ph = 6.28 * torch.rand(n, generator=g)
    w = 2 * math.pi * hz[:, None] * t + ph[:, None]
    x = torch.zeros(n, 6, T)
    x[:, 0] = amp[:, None] * w.sin()
    x[:, 1] = 0.5 * amp[:, None] * (2 * w).cos()
    x[:, 2] = amp[:, None] * w.cos() + 0.7 * (y == 2).float()[:, None] * (3 * w).sin()
    x[:, 3] = 0.4 * amp[:, None] * (w + 0.5).sin()
    x[:, 4] = 0.3 * amp[:, None] * w.cos()
    x[:, 5] = (y == 3).float()[:, None] * torch.sign(torch.randn(n, 1, generator=g)) * 0.8
    return x + noise * torch.randn(n, 6, T, generator=g), y


def ecg_beats(n, T=80, seed=0, noise=0.12):
    """One heart beat each: normal, wide ventricular, without P wave, raised ST segment: (n, 1, T)."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    t = torch.linspace(0, 1, T)[None]
    shift = 0.03 * torch.randn(n, 1, generator=g)

    def bump(c, w, h):
        return h * torch.exp(-(((t - c - shift) / w) ** 2))

    k = y[:, None]
    x = bump(0.22, 0.035, 1.0) * 0.3 * ((k == 0) | (k == 3))
    x = x + torch.where(k == 1, bump(0.42, 0.07, 1.3), bump(0.4, 0.02, 1.2) - bump(0.44, 0.015, 0.35))
    x = x + bump(0.7, 0.07, 0.35) * torch.where(k == 1, -1.0, 1.0)
    x = x + (k == 3) * bump(0.55, 0.08, 0.3)
    x = x * (1 + 0.15 * torch.randn(n, 1, generator=g)) + noise * torch.randn(n, T, generator=g)
    return x[:, None], y


def arm_torques(n, seed=0):
    """Inverse dynamics of a planar two-link arm: (q, dq, ddq) -> the two joint torques."""
    g = torch.Generator().manual_seed(seed)
    q = (torch.rand(n, 2, generator=g) * 2 - 1) * 2.5
    dq = torch.randn(n, 2, generator=g)
    ddq = torch.randn(n, 2, generator=g)
    m1, m2, l1, l2, grav = 1.0, 0.7, 0.6, 0.5, 9.81
    c2, s2 = q[:, 1].cos(), q[:, 1].sin()
    h11 = (m1 + m2) * l1**2 + m2 * l2**2 + 2 * m2 * l1 * l2 * c2
    h12 = m2 * l2**2 + m2 * l1 * l2 * c2
    h22 = m2 * l2**2
    cor = m2 * l1 * l2 * s2
    t1 = (
        h11 * ddq[:, 0]
        + h12 * ddq[:, 1]
        - cor * (2 * dq[:, 0] * dq[:, 1] + dq[:, 1] ** 2)
        + (m1 + m2) * l1 * grav * q[:, 0].cos()
        + m2 * l2 * grav * q.sum(1).cos()
    )
    t2 = h12 * ddq[:, 0] + h22 * ddq[:, 1] + cor * dq[:, 0] ** 2 + m2 * l2 * grav * q.sum(1).cos()
    tau = torch.stack([t1, t2], 1)
    tau = (tau - tau.mean(0)) / tau.std(0)
    return torch.cat([q, dq, ddq], 1), tau + 0.05 * torch.randn(n, 2, generator=g)


def patient_records(n, seed=0):
    """Categorical (ward, device, sex) and numeric columns, readmission yes/no."""
    g = torch.Generator().manual_seed(seed)
    ward = torch.randint(0, 6, (n,), generator=g)
    device = torch.randint(0, 5, (n,), generator=g)
    sex = torch.randint(0, 2, (n,), generator=g)
    num = torch.randn(n, 6, generator=g)
    ward_risk = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.0, 2.0])
    dev_bias = torch.tensor([0.0, 0.8, -0.8, 0.4, -0.4])
    score = (
        ward_risk[ward]
        + dev_bias[device] * num[:, 2]
        + 1.2 * num[:, 0] * (2 * sex - 1)
        + 0.9 * num[:, 1]
        - 0.5 * num[:, 3] ** 2
        + 0.3
    )
    y = (torch.rand(n, generator=g) < torch.sigmoid(2.0 * score)).long()
    return torch.stack([ward, device, sex], 1), num, y


def rank_queries(n_queries=300, docs=12, feats=10, seed=0):
    """Graded relevance 0..3 from a hidden scoring of document features."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n_queries, docs, feats, generator=g)
    w = torch.linspace(1.2, -0.8, feats)
    s = X @ w + 0.8 * X[..., 0] * X[..., 1] + 0.5 * torch.randn(n_queries, docs, generator=g)
    order = s.argsort(1, descending=True).argsort(1)
    rel = (order < 1).long() + (order < 3).long() + (order < 6).long()
    return X, rel


def ndcg(scores, rel, k=5):
    """NDCG@k of each query."""
    disc = 1.0 / torch.log2(torch.arange(k).float() + 2)
    top = rel.gather(1, scores.argsort(1, descending=True)[:, :k])
    best = rel.sort(1, descending=True).values[:, :k]
    return ((2.0**top - 1) * disc).sum(1) / ((2.0**best - 1) * disc).sum(1)


def command_text(n=900, seed=0):
    """A log of commands to a robot cell, as one string."""
    rng = random.Random(seed)
    out = []
    for _ in range(n):
        kind = rng.choice(["move", "grip", "scan", "wait"])
        if kind == "move":
            out.append(
                f"move {rng.choice(['arm', 'base', 'wrist'])} {rng.choice(['left', 'right', 'up', 'down'])} {rng.randint(1, 9)}0 mm"
            )
        elif kind == "grip":
            out.append(f"grip {rng.choice(['open', 'close'])} force {rng.randint(1, 5)}")
        elif kind == "scan":
            out.append(f"scan tray {rng.choice('ABCD')} with {rng.choice(['camera', 'lidar'])}")
        else:
            out.append(f"wait until {rng.choice(['ready', 'idle', 'door closed'])}")
    return ";\n".join(out)


def sensor_stream(T=4000, seed=0):
    """Motor current over time: load cycles, slow heating, a switch of tool half way."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(T).float()
    x = torch.sin(2 * math.pi * t / 40) + 0.5 * torch.sin(2 * math.pi * t / 13 + 0.7)
    later = (t > T * 0.2).float()
    x = x * (1 + 0.6 * later) + later * 0.8 * torch.sin(2 * math.pi * t / 7) + 0.8 * t / T
    return x + 0.08 * torch.randn(T, generator=g)


def windows_of(series, width):
    """(window, next value) pairs in time order."""
    w = series.unfold(0, width + 1, 1)
    return w[:, :-1].contiguous(), w[:, -1].contiguous()


@torch.no_grad()
def accuracy(model, X, y):
    was = model.training
    model.eval()
    acc = (model(X).argmax(1) == y).float().mean().item()
    model.train(was)
    return acc


class Docking:
    """A cart on a rail, many at once: push left, coast or push right; reward for standing near the dock."""

    def __init__(self, n, seed=0, horizon=25):
        self.n, self.horizon = n, horizon
        self.g = torch.Generator().manual_seed(seed)

    def reset(self):
        self.t = 0
        self.pos = torch.rand(self.n, generator=self.g) * 2 - 1
        self.vel = 0.1 * torch.randn(self.n, generator=self.g)
        return self.obs()

    def obs(self):
        return torch.stack([self.pos, self.vel * 3], 1)

    def step(self, action):
        self.vel = 0.9 * self.vel + 0.06 * (action.float() - 1)
        self.pos = (self.pos + self.vel).clamp(-2, 2)
        self.t += 1
        reward = 1 - self.pos.abs() - 0.3 * self.vel.abs()
        return self.obs(), reward, self.t >= self.horizon
