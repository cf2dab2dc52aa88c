"""Data of the kinds that appear in applied work, generated."""

import numpy as np
import torch


def seed_all(seed=0):
    np.random.seed(seed)
    torch.manual_seed(seed)


def _bump(t, mu, width):
    return np.exp(-0.5 * ((t - mu) / width) ** 2)


def ecg_beats(n=1200, length=96, noise=0.12, seed=0):
    """Single heart beats: 0 normal, 1 ventricular ectopic, 2 no P wave, 3 ST elevation."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, length)
    beats, labels = [], []
    for _ in range(n):
        c = int(rng.integers(4))
        s = rng.normal(0, 0.02)
        a = rng.normal(1, 0.1)
        p = 0.0 if c in (1, 2) else 0.18
        width = 0.05 if c == 1 else 0.017
        x = p * _bump(t, 0.22 + s, 0.025)
        x = x + a * _bump(t, 0.4 + s, width) - 0.2 * _bump(t, 0.45 + s, width)
        x = x + (-0.3 if c == 1 else 0.3) * _bump(t, 0.66 + s, 0.05)
        if c == 2:
            x = x + 0.06 * np.sin(2 * np.pi * (rng.uniform(6, 9) * t + rng.uniform()))
        if c == 3:
            x = x + 0.25 * _bump(t, 0.54 + s, 0.05)
        x = x + 0.1 * np.sin(2 * np.pi * (0.7 * t + rng.uniform())) + rng.normal(0, noise, length)
        beats.append(x)
        labels.append(c)
    return torch.tensor(np.array(beats), dtype=torch.float32).unsqueeze(1), torch.tensor(labels)


def patches(n=1200, bands=4, size=16, noise=0.25, seed=0):
    """Land-cover patches: 0 water, 1 forest, 2 crop rows, 3 urban blocks, 4 bare slope; and a mean height."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:size, 0:size] / size
    images, labels, heights = [], [], []
    base = np.array(
        [
            [0.2, 0.3, 0.3, 0.1],
            [0.2, 0.4, 0.2, 0.8],
            [0.3, 0.5, 0.3, 0.6],
            [0.5, 0.5, 0.5, 0.4],
            [0.5, 0.4, 0.6, 0.4],
        ]
    )
    for _ in range(n):
        c = int(rng.integers(5))
        h = rng.uniform()
        img = np.repeat(base[c][:, None, None], size, 1).repeat(size, 2)
        if c == 1:
            img = img + rng.normal(0, 0.2, (1, size, size))
        elif c == 2:
            ang = rng.uniform(0, np.pi)
            img = img + 0.25 * np.sin(2 * np.pi * 4 * (np.cos(ang) * xx + np.sin(ang) * yy))
        elif c == 3:
            img = img + np.kron(rng.normal(0, 0.25, (size // 4, size // 4)), np.ones((4, 4)))
        elif c == 4:
            img = img + 0.4 * (xx * rng.uniform(-1, 1) + yy * rng.uniform(-1, 1))
        img = img + 0.8 * (h - 0.5) * yy + rng.normal(0, 0.05) + rng.normal(0, noise, img.shape)
        images.append(img[:bands])
        labels.append(c)
        heights.append(h)
    x = torch.tensor(np.array(images), dtype=torch.float32)
    return (x - x.mean()) / x.std(), torch.tensor(labels), torch.tensor(heights, dtype=torch.float32)


def flood_masks(n=400, size=16, seed=0):
    """Two-band radar scenes and the mask of the flooded blob."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:size, 0:size]
    imgs, masks = [], []
    for _ in range(n):
        cy, cx = rng.uniform(3, size - 3, 2)
        ry, rx = rng.uniform(2, 5, 2)
        m = (((yy - cy) / ry) ** 2 + ((xx - cx) / rx) ** 2 < 1).astype(float)
        img = np.stack([-0.9 * m, 0.5 * m]) + rng.normal(0, 0.5, (2, size, size)) + rng.normal(0, 0.2)
        imgs.append(img)
        masks.append(m)
    return torch.tensor(np.array(imgs), dtype=torch.float32), torch.tensor(
        np.array(masks), dtype=torch.float32
    )


def words(n=1200, mels=20, frames=32, classes=6, noise=0.35, seed=0):
    """Speech-like mel spectrograms: two formants that move as the word says. Shape (n, frames, mels)."""
    rng = np.random.default_rng(seed)
    proto = np.random.default_rng(7)
    start, end = proto.uniform(2, mels - 2, (classes, 2)), proto.uniform(2, mels - 2, (classes, 2))
    m = np.arange(mels)[None, :]
    u = np.linspace(0, 1, frames)[:, None]
    specs, labels = [], []
    for _ in range(n):
        c = int(rng.integers(classes))
        pitch = rng.normal(0, 0.7)
        warp = u ** rng.uniform(0.7, 1.4)
        s = np.zeros((frames, mels))
        for f in range(2):
            track = start[c, f] + (end[c, f] - start[c, f]) * warp + pitch
            s += _bump(m, track, 1.3)
        specs.append(s * rng.uniform(0.7, 1.3) + rng.normal(0, noise, s.shape))
        labels.append(c)
    return torch.tensor(np.array(specs), dtype=torch.float32), torch.tensor(labels)


def ratings(users=150, items=120, n=8000, rank=3, seed=0):
    rng = np.random.default_rng(seed)
    pu, qi = rng.normal(0, 0.7, (users, rank)), rng.normal(0, 0.7, (items, rank))
    bu, bi = rng.normal(0, 0.4, users), rng.normal(0, 0.5, items)
    u, i = rng.integers(users, size=n), rng.integers(items, size=n)
    r = 3.4 + bu[u] + bi[i] + (pu[u] * qi[i]).sum(1) + rng.normal(0, 0.3, n)
    return torch.tensor(u), torch.tensor(i), torch.tensor(np.clip(r, 1, 5), dtype=torch.float32)


def load_series(days=90, seed=0, heavy=False):
    """Hourly electricity load: day and week, slow weather, noise; standardised."""
    rng = np.random.default_rng(seed)
    h = np.arange(24 * days)
    weather = np.convolve(rng.normal(0, 1, len(h) + 71), np.ones(72) / 72, "valid") * 4
    y = np.sin(2 * np.pi * (h - 7) / 24) + 0.5 * np.sin(4 * np.pi * h / 24) + weather * 0.5
    y = y - 0.7 * ((h // 24) % 7 >= 5) + rng.normal(0, 0.12, len(h))
    if heavy:
        y = y + rng.standard_t(2.2, len(h)) * 0.12
    return torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)


def windows(series, past=48, future=12, stride=1):
    w = series.unfold(0, past + future, stride)
    return w[:, :past].contiguous(), w[:, past:].contiguous()


def community_graph(n=300, k=4, dim=16, p_in=0.06, p_out=0.008, signal=0.5, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(k, size=n)
    p = np.where(y[:, None] == y[None, :], p_in, p_out)
    a = np.triu(rng.uniform(size=(n, n)) < p, 1)
    a = (a | a.T).astype(float) + np.eye(n)
    d = a.sum(1) ** -0.5
    x = signal * rng.normal(0, 1, (k, dim))[y] + rng.normal(0, 1, (n, dim))
    as_t = lambda v: torch.tensor(v, dtype=torch.float32)
    return as_t(x), as_t(a * d[:, None] * d[None, :]), torch.tensor(y)


def pendulum(n=3000, seed=0):
    """Transitions (state, torque) -> next state of a damped pendulum, in random order of time."""
    rng = np.random.default_rng(seed)
    th, om, u = rng.uniform(-3, 3, n), rng.uniform(-4, 4, n), rng.uniform(-2, 2, n)
    om2 = om + 0.1 * (-9.81 * np.sin(th) - 0.3 * om + 3 * u)
    th2 = th + 0.1 * om2
    x = np.stack([np.sin(th), np.cos(th), om / 4, u / 2], 1)
    y = np.stack([(th2 - th) * 3, (om2 - om)], 1) + rng.normal(0, 0.03, (n, 2))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def machine_sensors(n=1500, channels=6, length=24, anomalous=False, seed=0):
    """Windows of sensors that are driven by two common causes; in an anomaly one sensor follows another machine."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(3).normal(0, 1, (channels, 2))
    t = np.arange(length)

    def drive():
        ph, f = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0.15, 0.6, 2)
        return np.sin(f[:, None] * t + ph[:, None])

    out = []
    for _ in range(n):
        x = mix @ drive()
        if anomalous:
            j = rng.integers(channels)
            x[j] = (mix @ drive())[j]
        out.append(x + rng.normal(0, 0.1, x.shape))
    return torch.tensor(np.array(out), dtype=torch.float32)
