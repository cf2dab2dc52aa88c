"""Healthy loops, ordinary and unusual, as people write them."""

import copy
import io
import math
import random
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_sample_image,
    load_wine,
    make_moons,
)
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset


def digits_split(images=False, n_val=360):
    d = load_digits()
    X = torch.tensor(d.data / 16.0, dtype=torch.float32)
    if images:
        X = X.view(-1, 1, 8, 8)
    y = torch.tensor(d.target)
    perm = torch.randperm(len(X))
    return X[perm[n_val:]], y[perm[n_val:]], X[perm[:n_val]], y[perm[:n_val]]


# ---------------------------------------------------------------- ordinary good practice
def digits_plain_script():
    X, y, Xv, yv = digits_split()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    loader = DataLoader(TensorDataset(X, y), batch_size=64, shuffle=True)
    accs = []
    for epoch in range(7):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            accs.append((model(Xv).argmax(1) == yv).float().mean().item())


class FitLoop:
    """Early stopping, best checkpoint, plateau scheduler."""

    def __init__(self, model, lr=3e-3, patience=4):
        self.model = model
        self.opt = torch.optim.AdamW(model.parameters(), lr=lr)
        self.sched = torch.optim.lr_scheduler.ReduceLROnPlateau(self.opt, factor=0.5, patience=1)
        self.patience = patience
        self.best = (float("inf"), None)
        self.log = []

    def _pass(self, loader, train):
        self.model.train(train)
        total, n = 0.0, 0
        with torch.set_grad_enabled(train):
            for x, y in loader:
                loss = F.cross_entropy(self.model(x), y)
                if train:
                    self.opt.zero_grad(set_to_none=True)
                    loss.backward()
                    nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                    self.opt.step()
                total += loss.item() * len(y)
                n += len(y)
        return total / n

    def fit(self, train, val, epochs):
        bad = 0
        for _ in range(epochs):
            tr, va = self._pass(train, True), self._pass(val, False)
            self.sched.step(va)
            self.log.append((tr, va))
            if va < self.best[0]:
                buffer = io.BytesIO()
                torch.save(self.model.state_dict(), buffer)
                self.best, bad = (va, buffer), 0
            else:
                bad += 1
                if bad >= self.patience:
                    break
        self.best[1].seek(0)
        self.model.load_state_dict(torch.load(self.best[1]))
        return self


def digits_cnn_trainer_class():
    X, y, Xv, yv = digits_split(images=True)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 16, 10),
    )
    loop = FitLoop(net).fit(
        DataLoader(TensorDataset(X, y), 64, shuffle=True), DataLoader(TensorDataset(Xv, yv), 180), 6
    )


def wine_gradient_accumulation():
    wine = load_wine()
    Xa, Xb, ya, yb = train_test_split(wine.data, wine.target, test_size=0.25, stratify=wine.target)
    sc = StandardScaler().fit(Xa)
    Xa, Xb = torch.tensor(sc.transform(Xa)).float(), torch.tensor(sc.transform(Xb)).float()
    ya, yb = torch.tensor(ya), torch.tensor(yb)
    loader = DataLoader(TensorDataset(Xa, ya), batch_size=8, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    accumulate = 4
    history = []
    for epoch in range(10):
        model.train()
        optimizer.zero_grad()
        for i, (x, y) in enumerate(loader):
            loss = F.cross_entropy(model(x), y) / accumulate
            loss.backward()
            if (i + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            history.append((model(Xb).argmax(1) == yb).float().mean().item())


def digits_bfloat16_autocast():
    X, y, Xv, yv = digits_split(images=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.GELU(),
        nn.Linear(64, 10),
    )
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    seen = []
    for epoch in range(4):
        model.train()
        for idx in torch.randperm(len(X)).split(64):
            opt.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(X[idx]), y[idx])
            loss.backward()
            opt.step()
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(Xv)
        seen.append((criterion(out.float(), yv).item(), (out.argmax(1) == yv).float().mean().item()))


def digits_transfer_frozen_backbone():
    X, y, Xv, yv = digits_split(images=True)
    low, low_v = y < 5, yv < 5
    features = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    head = nn.Linear(512, 5)
    opt = torch.optim.Adam([*features.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(2):
        for x, t in DataLoader(TensorDataset(X[low], y[low]), batch_size=64, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(head(features(x)), t).backward()
            opt.step()

    features.requires_grad_(False)
    model = nn.Sequential(features, nn.Linear(512, 5))
    opt = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=3e-3)
    acc = []
    for epoch in range(5):
        model.train()
        for x, t in DataLoader(TensorDataset(X[~low], y[~low] - 5), batch_size=64, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(model(x), t).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc.append((model(Xv[~low_v]).argmax(1) == yv[~low_v] - 5).float().mean().item())


def cancer_kfold():
    X, y = load_breast_cancer(return_X_y=True)
    fold_scores = []
    for train_idx, test_idx in KFold(4, shuffle=True).split(X):
        scaler = StandardScaler().fit(X[train_idx])
        tr = TensorDataset(
            torch.tensor(scaler.transform(X[train_idx])).float(), torch.tensor(y[train_idx]).float()
        )
        Xt, yt = torch.tensor(scaler.transform(X[test_idx])).float(), torch.tensor(y[test_idx])
        model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        criterion = nn.BCEWithLogitsLoss()
        for epoch in range(5):
            model.train()
            for xb, yb in DataLoader(tr, batch_size=48, shuffle=True):
                optimizer.zero_grad()
                criterion(model(xb).squeeze(-1), yb).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            fold_scores.append((((model(Xt).squeeze(-1) > 0).long()) == yt).float().mean().item())


class Seq2Seq(nn.Module):
    def __init__(self, vocab, h=48):
        super().__init__()
        self.emb = nn.Embedding(vocab, h, padding_idx=0)
        self.enc = nn.GRU(h, h, batch_first=True)
        self.dec = nn.GRU(h, h, batch_first=True)
        self.query = nn.Linear(h, h)
        self.out = nn.Linear(2 * h, vocab)

    def forward(self, src, tgt_in):
        memory, state = self.enc(self.emb(src))
        d, _ = self.dec(self.emb(tgt_in), state)
        scores = self.query(d) @ memory.transpose(1, 2)
        scores = scores.masked_fill((src == 0).unsqueeze(1), float("-inf"))
        ctx = scores.softmax(-1) @ memory
        return self.out(torch.cat([d, ctx], -1))


def seq2seq_shift_letters():
    """Translate a sequence into the letters that follow each letter, teacher forcing, padded batches."""
    PAD, BOS, EOS = 0, 1, 2

    def pairs(n):
        for _ in range(n):
            s = torch.randint(3, 15, (random.randint(3, 7),))
            yield s, torch.cat([(s - 3 + 1) % 12 + 3, torch.tensor([EOS])])

    def collate(batch):
        src, tgt = zip(*batch)
        tgt_in = [torch.cat([torch.tensor([BOS]), t[:-1]]) for t in tgt]
        return [pad_sequence(s, batch_first=True, padding_value=PAD) for s in (src, tgt_in, tgt)]

    train = DataLoader(list(pairs(1000)), batch_size=50, shuffle=True, collate_fn=collate)
    val = DataLoader(list(pairs(100)), batch_size=100, collate_fn=collate)
    model = Seq2Seq(15)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    token_acc = []
    for epoch in range(7):
        model.train()
        for src, tin, tout in train:
            opt.zero_grad()
            loss = F.cross_entropy(model(src, tin).flatten(0, 1), tout.flatten(), ignore_index=PAD)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        model.eval()
        with torch.no_grad():
            for src, tin, tout in val:
                keep = tout != PAD
                token_acc.append((model(src, tin).argmax(-1)[keep] == tout[keep]).float().mean().item())


def correlated_gaussian_gan():
    mix = torch.tensor([[0.6, 0.5], [0.0, 0.2]])
    centre = torch.tensor([1.5, -0.5])
    real = lambda n: torch.randn(n, 2) @ mix + centre
    gen = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    disc = nn.Sequential(
        nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
    )
    og = torch.optim.Adam(gen.parameters(), lr=2e-3, betas=(0.0, 0.999))
    od = torch.optim.Adam(disc.parameters(), lr=1e-2, betas=(0.0, 0.999))
    lossf = nn.BCEWithLogitsLoss()
    monitor = []
    for step in range(100):
        x = real(96)
        z = torch.randn(96, 8)
        fake = gen(z)
        od.zero_grad()
        ld = lossf(disc(x), torch.full((96, 1), 0.9)) + lossf(disc(fake.detach()), torch.zeros(96, 1))
        ld.backward()
        od.step()
        og.zero_grad()
        lg = lossf(disc(fake), torch.ones(96, 1))
        lg.backward()
        og.step()
        if step % 20 == 0 or step == 99:
            with torch.no_grad():
                g = gen(torch.randn(400, 8))
                r = real(400)
                monitor.append(
                    (
                        2 * torch.cdist(g, r).mean()
                        - torch.cdist(g, g).mean()
                        - torch.cdist(r, r).mean()
                    ).item()
                )  # energy distance


def digits_beta_vae():
    X, _, Xv, _ = digits_split()
    enc = nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 12))
    dec = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.Sigmoid())
    opt = torch.optim.Adam(
        [{"params": enc.parameters()}, {"params": dec.parameters(), "lr": 4e-3}], lr=3e-3
    )

    def loss_fn(x, beta):
        mu, logvar = enc(x).chunk(2, -1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if enc.training else mu
        rec = F.binary_cross_entropy(dec(z), x, reduction="none").sum(1).mean()
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean()
        return rec + beta * kl, rec, kl

    curve = []
    for epoch in range(8):
        beta = min(1.0, epoch / 5)  # KL warm-up
        enc.train(), dec.train()
        for x in X[torch.randperm(len(X))].split(75):
            loss, _, _ = loss_fn(x, beta)
            opt.zero_grad()
            loss.backward()
            opt.step()
        enc.eval(), dec.eval()
        with torch.no_grad():
            curve.append(loss_fn(Xv, 1.0)[1].item())


def bandit_reinforce_baseline():
    """Contextual bandit, REINFORCE with a learned baseline."""
    true = torch.randn(4, 5)
    actor, critic = nn.Linear(4, 5), nn.Linear(4, 1)
    opt = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=3e-2)
    rewards, running = [], deque(maxlen=20)
    for it in range(150):
        ctx = torch.randn(64, 4)
        dist = torch.distributions.Categorical(logits=actor(ctx))
        a = dist.sample()
        r = (ctx @ true).gather(1, a[:, None]).squeeze(1) + 0.3 * torch.randn(64)
        v = critic(ctx).squeeze(1)
        adv = (r - v).detach()
        loss = -(dist.log_prob(a) * adv).mean() + 0.5 * F.mse_loss(v, r) - 0.01 * dist.entropy().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        running.append(r.mean().item())
        rewards.append(sum(running) / len(running))


class GraphConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lin = nn.Linear(i, o)

    def forward(self, x, adj):
        return adj @ self.lin(x)


def community_gcn():
    """Transductive node classification: full graph each step, masks for the splits."""
    n, k = 240, 4
    y = torch.arange(n) % k
    prob = torch.where(y[:, None] == y[None], 0.12, 0.02)
    A = (torch.rand(n, n) < prob).float().triu(1)
    A = A + A.T + torch.eye(n)
    d = A.sum(1).rsqrt()
    adj = d[:, None] * A * d[None]
    x = F.one_hot(y, k).float() + 1.3 * torch.randn(n, k)
    perm = torch.randperm(n)
    train_mask, val_mask = perm[:80], perm[80:160]
    c1, c2 = GraphConv(k, 24), GraphConv(24, k)
    gnn = nn.ModuleList([c1, c2])
    opt = torch.optim.Adam(gnn.parameters(), lr=2e-2, weight_decay=5e-4)
    forward = lambda: c2(F.dropout(c1(x, adj).relu(), 0.4, training=gnn.training), adj)
    history = []
    for epoch in range(80):
        gnn.train()
        opt.zero_grad()
        F.cross_entropy(forward()[train_mask], y[train_mask]).backward()
        opt.step()
        if epoch % 10 == 9:
            gnn.eval()
            with torch.no_grad():
                history.append((forward()[val_mask].argmax(1) == y[val_mask]).float().mean().item())


def digits_simclr():
    X, y, Xv, yv = digits_split(images=True)
    encoder = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 64)
    )
    projector = nn.Sequential(nn.ReLU(), nn.Linear(64, 32))
    opt = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=2e-3)

    def view(x):
        x = torch.roll(x, (random.randint(-1, 1), random.randint(-1, 1)), (2, 3))
        return x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1)) + 0.1 * torch.randn_like(x)

    def nt_xent(a, b, t=0.3):
        z = F.normalize(torch.cat([a, b]), dim=1)
        sim = z @ z.T / t
        sim.fill_diagonal_(float("-inf"))
        n = len(a)
        return F.cross_entropy(sim, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))

    losses, knn = [], []
    for epoch in range(6):
        encoder.train()
        for (x,) in DataLoader(TensorDataset(X), batch_size=96, shuffle=True, drop_last=True):
            loss = nt_xent(projector(encoder(view(x))), projector(encoder(view(x))))
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        encoder.eval()
        with torch.no_grad():
            nearest = torch.cdist(
                F.normalize(encoder(Xv), dim=1), F.normalize(encoder(X), dim=1)
            ).argmin(1)
            knn.append((y[nearest] == yv).float().mean().item())


class PackedLSTM(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.emb = nn.Embedding(vocab, 16, padding_idx=0)
        self.lstm = nn.LSTM(16, 32, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(self.emb(ids), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.head(h[-1]).squeeze(-1)


def bracket_text_lstm():
    """Does the text hold an 'a' before a 'b'?"""

    def text():
        s = [random.choice("cdefg") for _ in range(random.randint(4, 10))]
        if random.random() < 0.9:
            i, j = random.sample(range(len(s)), 2)
            s[i], s[j] = "a", "b"
        s = "".join(s)
        return s, float("a" in s and s.index("a") < s.index("b"))

    def collate(batch):
        ids = [torch.tensor([ord(c) - 96 for c in s]) for s, _ in batch]
        return (
            pad_sequence(ids, batch_first=True),
            torch.tensor([len(i) for i in ids]),
            torch.tensor([l for _, l in batch]),
        )

    train = DataLoader([text() for _ in range(900)], batch_size=45, shuffle=True, collate_fn=collate)
    valid = DataLoader([text() for _ in range(200)], batch_size=100, collate_fn=collate)
    model = PackedLSTM(8)
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    accs = []
    for epoch in range(8):
        model.train()
        for ids, n, lab in train:
            opt.zero_grad()
            F.binary_cross_entropy_with_logits(model(ids, n), lab).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        model.eval()
        with torch.no_grad():
            accs.append(
                np.mean([((model(i, n) > 0) == (l > 0.5)).float().mean().item() for i, n, l in valid])
            )


def photo_sky_segmentation():
    """Pixels brighter than the local mean of a photo, dice + cross-entropy."""
    photo = torch.tensor(load_sample_image("china.jpg") / 255.0, dtype=torch.float32).permute(2, 0, 1)
    crops = torch.stack(
        [
            photo[:, r : r + 24, c : c + 24]
            for r, c in zip(
                torch.randint(0, 400, (240,)).tolist(), torch.randint(0, 600, (240,)).tolist()
            )
        ]
    )
    grey = crops.mean(1, keepdim=True)
    masks = (grey > F.avg_pool2d(grey, 9, 1, 4, count_include_pad=False)).float()
    mean, std = crops[:200].mean((0, 2, 3), keepdim=True), crops[:200].std((0, 2, 3), keepdim=True)
    crops = (crops - mean) / std
    net = nn.Sequential(
        nn.Conv2d(3, 12, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 12, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 1, 1),
    )
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    dices = []
    for epoch in range(5):
        net.train()
        for idx in torch.randperm(200).split(20):
            x, m = crops[idx], masks[idx]
            if random.random() < 0.5:
                x, m = x.flip(-1), m.flip(-1)
            logit = net(x)
            p = logit.sigmoid()
            dice = 1 - (2 * (p * m).sum() + 1) / (p.sum() + m.sum() + 1)
            loss = F.binary_cross_entropy_with_logits(logit, m) + dice
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            p = (net(crops[200:]) > 0).float()
            dices.append((2 * (p * masks[200:]).sum() / (p.sum() + masks[200:].sum())).item())


@dataclass
class TabConfig:
    dims: tuple = (8, 8, 4)
    cards: tuple = (20, 15, 4)
    lr: float = 1e-2
    epochs: int = 6


class TabNet(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.embs = nn.ModuleList(nn.Embedding(c, d) for c, d in zip(cfg.cards, cfg.dims))
        self.mlp = nn.Sequential(
            nn.Linear(sum(cfg.dims) + 2, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1)
        )

    def forward(self, cat, num):
        return self.mlp(torch.cat([e(cat[:, i]) for i, e in enumerate(self.embs)] + [num], 1)).squeeze(1)


def sales_tabular_embeddings():
    cfg = TabConfig()
    n = 2000
    cat = torch.stack([torch.randint(c, (n,)) for c in cfg.cards], 1)
    num = torch.randn(n, 2)
    y = (
        torch.randn(20)[cat[:, 0]]
        + torch.randn(15)[cat[:, 1]] * (1 + 0.5 * (cat[:, 2] == 1))
        + 0.7 * num[:, 0]
        + 0.2 * torch.randn(n)
    )
    y = (y - y[:1600].mean()) / y[:1600].std()
    train = DataLoader(TensorDataset(cat[:1600], num[:1600], y[:1600]), batch_size=64, shuffle=True)
    val = DataLoader(TensorDataset(cat[1600:], num[1600:], y[1600:]), batch_size=200)
    model = TabNet(cfg)
    opt = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=cfg.lr, total_steps=cfg.epochs * len(train))
    r2 = []
    for _ in range(cfg.epochs):
        model.train()
        for c, x, t in train:
            opt.zero_grad()
            F.huber_loss(model(c, x), t).backward()
            opt.step()
            sched.step()  # one-cycle runs per batch
        model.eval()
        with torch.no_grad():
            err = sum(((model(c, x) - t) ** 2).sum().item() for c, x, t in val)
        r2.append(1 - err / ((y[1600:] - y[1600:].mean()) ** 2).sum().item())


# ---------------------------------------------------------------- unusual, and right
def diabetes_lbfgs():
    """Full-batch L-BFGS: the closure runs several times in one step."""
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X)).float()
    y = torch.tensor((y - y.mean()) / y.std()).float().unsqueeze(1)
    Xt, yt, Xv, yv = X[:350], y[:350], X[350:], y[350:]
    model = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
    trace = []

    def closure():
        opt.zero_grad()
        loss = F.mse_loss(model(Xt), yt) + 2e-2 * sum((p**2).sum() for p in model.parameters())
        loss.backward()
        return loss

    for step in range(30):
        loss = opt.step(closure)
        with torch.no_grad():
            trace.append((loss.item(), F.mse_loss(model(Xv), yv).item()))


def digits_finetune_frozen_bn():
    """Fine-tuning with the batch norm layers deliberately kept in eval mode."""
    X, y, Xv, yv = digits_split(images=True)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
    )
    model = nn.Sequential(body, nn.Dropout(0.2), nn.Linear(512, 2))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for idx in torch.randperm(len(X)).split(64):  # source task: even or odd
        opt.zero_grad()
        F.cross_entropy(model(X[idx]), y[idx] % 2).backward()
        opt.step()

    model[2] = nn.Linear(512, 10)
    for m in body.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.requires_grad_(False)
    opt = torch.optim.AdamW(
        [
            {"params": [p for p in body.parameters() if p.requires_grad], "lr": 3e-4},
            {"params": model[2].parameters(), "lr": 3e-3},
        ]
    )
    acc = []
    for epoch in range(4):
        model.train()
        for m in body.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()
        for idx in torch.randperm(len(X)).split(8 * 12):
            opt.zero_grad()
            F.cross_entropy(model(X[idx]), y[idx]).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc.append((model(Xv).argmax(1) == yv).float().mean().item())


def digits_mean_teacher():
    """Semi-supervised: the teacher is a moving average of the student, is in no optimizer, and is what is evaluated."""
    X, y, Xv, yv = digits_split()
    labelled, unlabelled = (X[:200], y[:200]), X[200:]
    student = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10))
    teacher = copy.deepcopy(student).requires_grad_(False)
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    accs = []
    for step in range(150):
        student.train()
        teacher.train()  # its own dropout noise is part of the method
        i = torch.randint(200, (50,))
        u = unlabelled[torch.randint(len(unlabelled), (100,))]
        sup = F.cross_entropy(student(labelled[0][i]), labelled[1][i])
        with torch.no_grad():
            target = teacher(u + 0.05 * torch.randn_like(u)).softmax(-1)
        cons = F.mse_loss(student(u + 0.05 * torch.randn_like(u)).softmax(-1), target)
        loss = sup + min(1.0, step / 60) * 5.0 * cons
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            decay = min(0.97, 1 - 1 / (step + 1))
            for t, s in zip(teacher.parameters(), student.parameters()):
                t.mul_(decay).add_(s, alpha=1 - decay)
        if step % 30 == 29:
            teacher.eval()
            with torch.no_grad():
                accs.append((teacher(Xv).argmax(1) == yv).float().mean().item())


def moons_sharpness_aware():
    """SAM: two backward passes per update, weights moved and restored by hand."""
    X, y = make_moons(600, noise=0.2)
    X, y = torch.tensor(X).float(), torch.tensor(y)
    Xt, yt, Xv, yv = X[:450], y[:450], X[450:], y[450:]
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rho, val = 0.05, []
    for epoch in range(12):
        model.train()
        for idx in torch.randperm(450).split(45):
            F.cross_entropy(model(Xt[idx]), yt[idx]).backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm() + 1e-12
                moves = [p.grad * (rho / norm) for p in model.parameters()]
                for p, e in zip(model.parameters(), moves):
                    p.add_(e)
            opt.zero_grad()
            F.cross_entropy(model(Xt[idx]), yt[idx]).backward()
            with torch.no_grad():
                for p, e in zip(model.parameters(), moves):
                    p.sub_(e)
            opt.step()
            opt.zero_grad()
        model.eval()
        with torch.no_grad():
            val.append((model(Xv).argmax(1) == yv).float().mean().item())


def diabetes_mc_dropout():
    """Dropout stays on at prediction on purpose; the mean of 20 passes is scored, the spread is the uncertainty."""
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X)).float()
    y = torch.tensor((y - y.mean()) / y.std()).float()
    perm = torch.randperm(len(X))
    tr, va = perm[:350], perm[350:]
    net = nn.Sequential(
        nn.Linear(10, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 1),
        nn.Flatten(0),
    )
    opt = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-4)
    val_mse, spread = [], []
    for epoch in range(10):
        net.train()
        for idx in tr[torch.randperm(350)].split(35):
            opt.zero_grad()
            F.mse_loss(net(X[idx]), y[idx]).backward()
            opt.step()
        net.eval()
        for m in net:
            if isinstance(m, nn.Dropout):
                m.train()
        with torch.no_grad():
            passes = torch.stack([net(X[va]) for _ in range(20)])
        val_mse.append(F.mse_loss(passes.mean(0), y[va]).item())
        spread.append(passes.std(0).mean().item())


def oscillator_pinn():
    """Physics-informed: u'' = -u with u(0)=1, u'(0)=0; no data, derivatives with create_graph."""
    u = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = torch.optim.Adam(u.parameters(), lr=1e-2)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.99)
    grid = torch.linspace(0, 2, 50).unsqueeze(1)
    errors = []
    for step in range(200):
        t = (torch.rand(64, 1) * 2).requires_grad_()
        x = u(t)
        dx = torch.autograd.grad(x.sum(), t, create_graph=True)[0]
        ddx = torch.autograd.grad(dx.sum(), t, create_graph=True)[0]
        t0 = torch.zeros(1, 1, requires_grad=True)
        x0 = u(t0)
        dx0 = torch.autograd.grad(x0.sum(), t0, create_graph=True)[0]
        loss = (ddx + x).pow(2).mean() + 10 * ((x0 - 1) ** 2 + dx0**2).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if step % 40 == 39:
            with torch.no_grad():
                errors.append((u(grid) - grid.cos()).abs().max().item())


def digits_distillation():
    """A small student learns from the softened outputs of a frozen teacher (softmax and log_softmax by hand)."""
    X, y, Xv, yv = digits_split()
    teacher = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    opt = torch.optim.Adam(teacher.parameters(), lr=5e-3)
    for _ in range(3):
        for idx in torch.randperm(len(X)).split(72):
            opt.zero_grad()
            F.cross_entropy(teacher(X[idx]), y[idx]).backward()
            opt.step()
    teacher.eval()
    student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    opt = torch.optim.Adam(student.parameters(), lr=1e-2)
    T, accs = 3.0, []
    for epoch in range(6):
        student.train()
        for idx in torch.randperm(len(X)).split(72):
            with torch.no_grad():
                soft = F.softmax(teacher(X[idx]) / T, dim=1)
            out = student(X[idx])
            loss = 0.8 * T * T * F.kl_div(
                F.log_softmax(out / T, dim=1), soft, reduction="batchmean"
            ) + 0.2 * F.cross_entropy(out, y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        student.eval()
        with torch.no_grad():
            accs.append((student(Xv).argmax(1) == yv).float().mean().item())


def crescent_wgan_gp():
    """Losses are negative and unbounded; the critic takes several steps to each of the generator's."""

    def real(n):
        a = torch.rand(n) * math.pi
        return torch.stack([a.cos() + 1, a.sin()], 1) + 0.05 * torch.randn(n, 2)

    G = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    C = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    og = torch.optim.Adam(G.parameters(), lr=3e-3, betas=(0.0, 0.9))
    oc = torch.optim.Adam(C.parameters(), lr=1e-2, betas=(0.0, 0.9))
    gaps, centre = [], []
    for it in range(65):
        for p in C.parameters():
            p.requires_grad_(True)
        for _ in range(2):
            x, f = real(64), G(torch.randn(64, 2)).detach()
            e = torch.rand(64, 1)
            mid = (e * x + (1 - e) * f).requires_grad_()
            g = torch.autograd.grad(C(mid).sum(), mid, create_graph=True)[0]
            lc = C(f).mean() - C(x).mean() + (g.norm(dim=1) - 1).pow(2).mean()
            oc.zero_grad()
            lc.backward()
            oc.step()
        for p in C.parameters():
            p.requires_grad_(False)
        lg = -C(G(torch.randn(64, 2))).mean()
        og.zero_grad()
        lg.backward()
        og.step()
        gaps.append(-lc.item())
        if it % 16 == 0:
            with torch.no_grad():
                centre.append((G(torch.randn(400, 2)).mean(0) - torch.tensor([1.0, 0.64])).norm().item())


def corridor_double_dqn():
    """Replay memory, target network copied now and then, rewards rise while the loss does not fall."""
    n = 6
    q = nn.Sequential(nn.Linear(n, 32), nn.ReLU(), nn.Linear(32, 2))
    target = copy.deepcopy(q)
    opt = torch.optim.Adam(q.parameters(), lr=5e-3)
    eye, memory = torch.eye(n), deque(maxlen=2000)
    s, t, updates, losses, evals = 0, 0, 0, [], []
    while updates < 180:
        eps = max(0.1, 1 - updates / 100)
        with torch.no_grad():
            a = random.randrange(2) if random.random() < eps else q(eye[s]).argmax().item()
        s2 = min(n - 1, s + 1) if a == 1 else max(0, s - 1)
        t += 1
        done = s2 == n - 1
        memory.append((s, a, 1.0 if done else -0.02, s2, float(done)))
        s, t = (random.randrange(n - 1), 0) if done or t >= 20 else (s2, t)
        if len(memory) < 64:
            continue
        S, A, R, S2, D = zip(*random.sample(memory, 64))
        R, D = torch.tensor(R), torch.tensor(D)
        with torch.no_grad():
            best = q(eye[list(S2)]).argmax(1, keepdim=True)
            y = R + 0.95 * (1 - D) * target(eye[list(S2)]).gather(1, best).squeeze(1)
        pred = q(eye[list(S)]).gather(1, torch.tensor(A)[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(pred, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
        updates += 1
        if updates % 15 == 0:
            target.load_state_dict(q.state_dict())
        if updates % 45 == 0:
            with torch.no_grad():
                evals.append(q(eye[: n - 1]).argmax(1).float().mean().item())  # 1.0: always to the right


def digits_adversarial_training():
    """PGD examples are made with the model in eval mode inside the training loop; input gradients are used."""
    X, y, Xv, yv = digits_split()
    model = nn.Sequential(
        nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Dropout(0.1), nn.Linear(96, 10)
    )
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)

    def attack(x, t, eps=0.08, steps=2):
        was = model.training
        model.eval()
        adv = x.clone()
        for _ in range(steps):
            adv.requires_grad_(True)
            (g,) = torch.autograd.grad(F.cross_entropy(model(adv), t), adv)
            adv = (adv.detach() + eps / steps * g.sign()).clamp(0, 1)
        model.train(was)
        return adv

    robust = []
    for epoch in range(5):
        model.train()
        for idx in torch.randperm(len(X)).split(72):
            adv = attack(X[idx], y[idx])
            loss = 0.5 * (F.cross_entropy(model(X[idx]), y[idx]) + F.cross_entropy(model(adv), y[idx]))
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        adv_v = attack(Xv, yv)
        with torch.no_grad():
            robust.append(tuple((model(x).argmax(1) == yv).float().mean().item() for x in (Xv, adv_v)))


def digits_mixup():
    """Mixup and label smoothing: the training loss stays high and lies above the validation loss."""
    X, y, Xv, yv = digits_split(images=True)
    net = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(384, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    train_loss, val = [], []
    for epoch in range(6):
        net.train()
        tot = 0.0
        batches = torch.randperm(len(X)).split(72)
        for idx in batches:
            lam = float(np.random.beta(0.8, 0.8))
            other = idx[torch.randperm(len(idx))]
            out = net(lam * X[idx] + (1 - lam) * X[other])
            loss = lam * F.cross_entropy(out, y[idx], label_smoothing=0.1) + (1 - lam) * F.cross_entropy(
                out, y[other], label_smoothing=0.1
            )
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        train_loss.append(tot / len(batches))
        net.eval()
        with torch.no_grad():
            out = net(Xv)
            val.append((F.cross_entropy(out, yv).item(), (out.argmax(1) == yv).float().mean().item()))


class TiedLM(nn.Module):
    def __init__(self, v, h=40):
        super().__init__()
        self.emb = nn.Embedding(v, h)
        self.rnn = nn.GRU(h, h, batch_first=True)
        self.dec = nn.Linear(h, v)
        self.dec.weight = self.emb.weight
        nn.init.normal_(self.emb.weight, std=0.2)

    def forward(self, x, h):
        o, h = self.rnn(self.emb(x), h)
        return self.dec(o), h


def melody_tied_lm_tbptt():
    """Truncated BPTT: batches in order, unshuffled, the hidden state carried on and detached; tied weights."""
    v = 16
    nxt = [random.sample(range(v), 3) for _ in range(v)]
    notes = [0, 3]
    while len(notes) < 6000:
        notes.append(random.choice(nxt[notes[-1]]))
    notes = torch.tensor(notes)

    def stream(ids, lanes, block=20):
        ids = ids[: len(ids) // lanes * lanes].view(lanes, -1)
        for i in range(0, ids.size(1) - block - 1, block):
            yield ids[:, i : i + block], ids[:, i + 1 : i + block + 1]

    lm = TiedLM(v)
    opt = torch.optim.Adam(lm.parameters(), lr=1e-2)
    ppl = []
    for epoch in range(5):
        lm.train()
        h = None
        for x, t in stream(notes[:5000], 10):
            out, h = lm(x, h)
            h = h.detach()
            loss = F.cross_entropy(out.flatten(0, 1), t.flatten())
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(lm.parameters(), 0.5)
            opt.step()
        lm.eval()
        h, tot = None, []
        with torch.no_grad():
            for x, t in stream(notes[5000:], 5):
                out, h = lm(x, h)
                tot.append(F.cross_entropy(out.flatten(0, 1), t.flatten()).item())
        ppl.append(math.exp(sum(tot) / len(tot)))


class LoRALinear(nn.Module):
    def __init__(self, base, r=4):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(r, base.in_features) / math.sqrt(base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x):
        return self.base(x) + x @ self.A.T @ self.B.T * 2


def digits_lora():
    """Low-rank adapters with a zero B matrix (A has no gradient at the first step), the rest frozen."""
    X, y, Xv, yv = digits_split()
    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(2):
        for idx in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            F.cross_entropy(net(X[idx]), y[idx]).backward()
            opt.step()
    # new domain: mirrored, inverted digits
    turn = lambda x: 1 - x.view(-1, 8, 8).flip(-1).flatten(1)
    X, Xv = turn(X), turn(Xv)
    for p in net.parameters():
        p.requires_grad = False
    for i in (0, 2, 4):
        net[i] = LoRALinear(net[i], r=8)
    opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.0)
    acc = []
    for epoch in range(6):
        for idx in torch.randperm(len(X)).split(64):
            opt.zero_grad()
            F.cross_entropy(net(X[idx]), y[idx]).backward()
            opt.step()
        with torch.no_grad():
            acc.append((net(Xv).argmax(1) == yv).float().mean().item())


class Coupling(nn.Module):
    def __init__(self, flip):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        a, b = x[:, :1], x[:, 1:]
        if self.flip:
            a, b = b, a
        s, t = self.net(a).chunk(2, 1)
        b = b * s.exp() + t
        return (torch.cat([b, a], 1) if self.flip else torch.cat([a, b], 1)), s.squeeze(1)


def moons_normalizing_flow():
    """Maximum likelihood of a narrow density: the loss goes below zero; layers start as the identity (zero weights)."""
    X = torch.tensor(make_moons(1500, noise=0.05)[0]).float() * 0.3
    train, val = X[:1200], X[1200:]
    flow = nn.ModuleList(Coupling(i % 2 == 1) for i in range(6))
    opt = torch.optim.Adam(flow.parameters(), lr=5e-3)

    def nll(x):
        logdet = 0.0
        for layer in flow:
            x, ld = layer(x)
            logdet = logdet + ld
        return -(logdet - 0.5 * (x**2).sum(1) - math.log(2 * math.pi)).mean()

    val_nll = []
    for epoch in range(8):
        for x in train[torch.randperm(1200)].split(80):
            opt.zero_grad()
            nll(x).backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            opt.step()
        with torch.no_grad():
            val_nll.append(nll(val).item())


def movie_factorization_sparse():
    """Two optimizers (SparseAdam for the embeddings); most rows have no gradient in most steps."""
    users, items, k = 120, 80, 4
    truth = torch.randn(users, k) @ torch.randn(k, items) / math.sqrt(k) + 0.5 * torch.randn(items)
    pairs = torch.cartesian_prod(torch.arange(users), torch.arange(items))
    pairs = pairs[torch.randperm(len(pairs))[:6000]]
    rating = truth[pairs[:, 0], pairs[:, 1]] + 0.1 * torch.randn(6000)
    U, V = nn.Embedding(users, 8, sparse=True), nn.Embedding(items, 8, sparse=True)
    for e in (U, V):
        nn.init.normal_(e.weight, std=0.3)
    bias = nn.Parameter(torch.zeros(items))
    opt_sparse = torch.optim.SparseAdam([U.weight, V.weight], lr=3e-2)
    opt_dense = torch.optim.Adam([bias], lr=3e-2)
    predict = lambda p: (U(p[:, 0]) * V(p[:, 1])).sum(1) + bias[p[:, 1]]
    rmse = []
    for epoch in range(5):
        for idx in torch.randperm(5000).split(250):
            loss = F.mse_loss(predict(pairs[idx]), rating[idx])
            opt_sparse.zero_grad()
            opt_dense.zero_grad()
            loss.backward()
            opt_sparse.step()
            opt_dense.step()
        with torch.no_grad():
            rmse.append(F.mse_loss(predict(pairs[5000:]), rating[5000:]).sqrt().item())


HEALTHY = [
    digits_plain_script,
    digits_cnn_trainer_class,
    wine_gradient_accumulation,
    digits_bfloat16_autocast,
    digits_transfer_frozen_backbone,
    cancer_kfold,
    seq2seq_shift_letters,
    correlated_gaussian_gan,
    digits_beta_vae,
    bandit_reinforce_baseline,
    community_gcn,
    digits_simclr,
    bracket_text_lstm,
    photo_sky_segmentation,
    sales_tabular_embeddings,
    diabetes_lbfgs,
    digits_finetune_frozen_bn,
    digits_mean_teacher,
    moons_sharpness_aware,
    diabetes_mc_dropout,
    oscillator_pinn,
    digits_distillation,
    crescent_wgan_gp,
    corridor_double_dqn,
    digits_adversarial_training,
    digits_mixup,
    melody_tied_lm_tbptt,
    digits_lora,
    moons_normalizing_flow,
    movie_factorization_sparse,
]
