import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

from .common import digits, instruments


def spectrogram(x, n_fft=64, hop=16):
    return (
        torch.stft(torch.from_numpy(x), n_fft, hop, window=torch.hann_window(n_fft), return_complex=True)
        .abs()
        .log1p()
    )


# ------------------------------------------------------------------ accumulation, with what remains
def accumulate_with_remainder():
    torch.manual_seed(20)
    X, y, _ = instruments(n=730, length=256, seed=20)
    S, y = spectrogram(X), torch.from_numpy(y)
    S_tr, S_te, y_tr, y_te = S[:530], S[530:], y[:530], y[530:]
    m, sd = S_tr.mean(), S_tr.std()
    S_tr, S_te = (S_tr - m) / sd, (S_te - m) / sd

    gru = nn.GRU(33, 32, batch_first=True)
    out = nn.Linear(32, 5)
    params = list(gru.parameters()) + list(out.parameters())
    opt = torch.optim.Adam(params, lr=5e-3)
    micro, every = 10, 4
    losses = []
    for epoch in range(15):
        chunks = torch.randperm(530).split(micro)  # 53 chunks: 13 groups of 4, one of 1
        groups = [chunks[i : i + every] for i in range(0, len(chunks), every)]
        total = 0.0
        for group in groups:
            size = sum(len(c) for c in group)
            opt.zero_grad()
            for c in group:
                h, _ = gru(S_tr[c].transpose(1, 2))
                loss = F.cross_entropy(out(h.mean(1)), y_tr[c], reduction="sum") / size
                loss.backward()
                total += loss.item() * size
            nn.utils.clip_grad_norm_(params, 2.0)
            opt.step()
        losses.append(total / 530)
    with torch.no_grad():
        h, _ = gru(S_te.transpose(1, 2))
        acc = (out(h.mean(1)).argmax(1) == y_te).float().mean().item()
    print(f"loss {losses[-1]:.3f} test acc {acc:.3f}")
    return losses, acc


# ------------------------------------------------------------------ SAM
class SAMClassifier:
    def __init__(self, rho=0.05, lr=0.05, epochs=15, batch=48):
        self.rho, self.lr, self.epochs, self.batch = rho, lr, epochs, batch

    def fit(self, X, y):
        torch.manual_seed(21)
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96, 10),
        )
        params = list(self.net.parameters())
        opt = torch.optim.SGD(params, lr=self.lr, momentum=0.9)
        self.losses = []
        for _ in range(self.epochs):
            s = 0.0
            for idx in torch.randperm(len(X)).split(self.batch):
                xb, yb = X[idx], y[idx]
                opt.zero_grad()
                loss = F.cross_entropy(self.net(xb), yb)
                loss.backward()
                with torch.no_grad():
                    norm = torch.stack([p.grad.norm() for p in params]).norm() + 1e-12
                    eps = [self.rho * p.grad / norm for p in params]
                    for p, e in zip(params, eps):
                        p.add_(e)
                opt.zero_grad()
                F.cross_entropy(self.net(xb), yb).backward()
                with torch.no_grad():
                    for p, e in zip(params, eps):
                        p.sub_(e)
                opt.step()
                s += loss.item() * len(idx)
            self.losses.append(s / len(X))
        return self

    def predict(self, X):
        return self.net(X).argmax(1)

    def score(self, X, y):
        return (self.predict(X) == y).float().mean().item()


def sam_digits():
    xtr, ytr, xte, yte = digits(n=1000, seed=21)
    clf = SAMClassifier().fit(xtr, ytr)
    acc = clf.score(xte, yte)
    print(f"loss {clf.losses[-1]:.3f} test acc {acc:.3f}")
    return clf.losses, acc


# ------------------------------------------------------------------ freeze, then thaw
def set_frozen_bn(module):
    for sub in module.modules():
        if isinstance(sub, nn.modules.batchnorm._BatchNorm):
            sub.eval()


def freeze_then_thaw():
    """A body learnt on pitch classes; a head for instruments; then all of it, slowly."""
    torch.manual_seed(22)
    X, y, f = instruments(n=1000, length=256, seed=22)
    S = spectrogram(X)
    pitch = torch.from_numpy(np.digitize(f, [80, 100, 120, 140]))
    y = torch.from_numpy(y)
    pre, tr, te = slice(0, 500), slice(500, 800), slice(800, 1000)
    m, sd = S[pre].mean(), S[pre].std()
    S = (S - m) / sd

    body = nn.Sequential(
        nn.Conv1d(33, 32, 3),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Conv1d(32, 32, 3),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
    )
    hist = {"pre": [], "head": [], "all": []}

    def accuracy(net, x, t):
        net.eval()
        with torch.no_grad():
            return (net(x).argmax(1) == t).float().mean().item()

    net = nn.Sequential(body, nn.Linear(32, 5))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(8):
        net.train()
        s = 0.0
        for xb, tb in DataLoader(TensorDataset(S[pre], pitch[pre]), batch_size=50, shuffle=True):
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), tb)
            loss.backward()
            opt.step()
            s += loss.item() * len(xb)
        hist["pre"].append(s / 500)

    net = nn.Sequential(body, nn.Linear(32, 5))
    loader = DataLoader(TensorDataset(S[tr], y[tr]), batch_size=30, shuffle=True)
    for p in body.parameters():
        p.requires_grad_(False)
    opt = torch.optim.Adam(net[1].parameters(), lr=1e-2)
    for epoch in range(12):
        thawed = epoch >= 5
        if epoch == 5:
            for p in body.parameters():
                p.requires_grad_(True)
            opt.add_param_group({"params": list(body.parameters()), "lr": 2e-3})
        net.train()
        set_frozen_bn(body)
        s = 0.0
        for xb, tb in loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), tb)
            loss.backward()
            opt.step()
            s += loss.item() * len(xb)
        hist["all" if thawed else "head"].append(s / 300)
    acc = accuracy(net, S[te], y[te])
    print(f"head {hist['head'][-1]:.3f} all {hist['all'][-1]:.3f} test acc {acc:.3f}")
    return hist["head"] + hist["all"], hist["pre"][0], hist["pre"][-1], acc


# ------------------------------------------------------------------ GAN with spectral norm, averaged generator
def spectral_gan():
    torch.manual_seed(23)
    xtr, ytr, xte, yte = digits(n=1700, seed=23)
    real_all = xtr[ytr < 2].flatten(1) * 2 - 1
    held_out = xte[yte < 2].flatten(1) * 2 - 1
    zdim, bs = 12, 32
    G = nn.Sequential(
        nn.Linear(zdim, 96),
        nn.LeakyReLU(0.2),
        nn.Linear(96, 96),
        nn.LeakyReLU(0.2),
        nn.Linear(96, 64),
        nn.Tanh(),
    )
    D = nn.Sequential(
        spectral_norm(nn.Linear(64, 96)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Linear(96, 96)),
        nn.LeakyReLU(0.2),
        spectral_norm(nn.Linear(96, 1)),
    )
    G_avg = copy.deepcopy(G).requires_grad_(False)
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.99))

    z_fix = torch.randn(400, zdim)

    def distance():
        """Energy distance between averaged samples and held-out images."""
        a, b = G_avg(z_fix), held_out
        off = lambda u: torch.cdist(u, u).sum() / (len(u) * (len(u) - 1))
        return (2 * torch.cdist(a, b).mean() - off(a) - off(b)).item()

    dist = [distance()]
    for epoch in range(60):
        for idx in torch.randperm(len(real_all)).split(bs):
            real = real_all[idx]
            fake = G(torch.randn(len(idx), zdim))
            opt_d.zero_grad()
            d_loss = F.relu(1 - D(real)).mean() + F.relu(1 + D(fake.detach())).mean()
            d_loss.backward()
            opt_d.step()

            opt_g.zero_grad()
            g_loss = -D(fake).mean()
            g_loss.backward()
            opt_g.step()
            with torch.no_grad():
                for pa, p in zip(G_avg.parameters(), G.parameters()):
                    pa.lerp_(p, 0.02)
        dist.append(distance())
    print(f"d {d_loss.item():.3f} g {g_loss.item():.3f} distance {dist[0]:.3f} -> {dist[-1]:.3f}")
    return dist, len(real_all)


HEALTHY = [accumulate_with_remainder, sam_digits, freeze_then_thaw, spectral_gan]
