"""Correct loops that look a little like the mistakes."""

import copy
import random
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.model_selection import KFold, train_test_split
from torch import optim
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    CartPole,
    description_text,
    digits,
    reviews,
    seasonal_series,
    seed_everything,
    tabular,
    windows,
)


def accumulate_with_flush():
    """Accumulation over four batches; the shorter last group of an epoch is divided by its own size and stepped too."""
    seed_everything(20)
    x, y = windows(seasonal_series(1000), 24)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 48), nn.Tanh(), nn.Linear(48, 1))
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=16, shuffle=True)
    accum = 4
    opt.zero_grad()
    for epoch in range(10):
        running = 0.0
        for i, (xb, yb) in enumerate(loader):
            group = min(accum, len(loader) - i // accum * accum)
            loss = F.mse_loss(net(xb), yb)
            (loss / group).backward()
            running += loss.item()
            if (i + 1) % accum == 0 or i + 1 == len(loader):
                opt.step()
                opt.zero_grad()
        print(f"epoch {epoch} mse {running / len(loader):.4f}")
    with torch.no_grad():
        print("test", F.mse_loss(net(x[800:]), y[800:]).item())


def full_batch_iris_lbfgs_then_adam():
    """The whole table is the batch, as in sklearn, so each step rightly sees the same data; a per-step schedule; then some LBFGS."""
    seed_everything(21)
    X, y, X_test, y_test = tabular("iris")
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=300, eta_min=1e-3)
    for epoch in range(300):
        loss = F.cross_entropy(model(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if epoch % 100 == 99:
            print(f"{epoch + 1} loss {loss.item():.4f}")
    lbfgs = optim.LBFGS(model.parameters(), lr=0.1, max_iter=5)

    def closure():
        lbfgs.zero_grad()
        value = F.cross_entropy(model(X), y) + 1e-3 * sum((p**2).sum() for p in model.parameters())
        value.backward()
        return value

    for _ in range(15):
        value = lbfgs.step(closure)
    with torch.no_grad():
        print(
            "regularised",
            value.item(),
            "test acc",
            (model(X_test).argmax(1) == y_test).float().mean().item(),
        )


def kfold_then_refit():
    """A new model and optimizer for each fold, then one more fit on all training rows with the epochs found; the test rows were put aside first."""
    seed_everything(22)
    X, y, X_test, y_test = tabular("cancer")
    y, y_test = y.float(), y_test.float()

    def fit(X, y, epochs, X_val=None, y_val=None):
        model = nn.Sequential(
            nn.Linear(30, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)
        )
        optimizer = optim.Adam(model.parameters(), lr=3e-3)
        history = []
        for epoch in range(epochs):
            model.train()
            for b in torch.randperm(len(X)).split(32):
                if len(b) < 2:
                    continue
                loss = F.binary_cross_entropy_with_logits(model(X[b]).squeeze(1), y[b])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if X_val is not None:
                model.eval()
                with torch.no_grad():
                    history.append(
                        F.binary_cross_entropy_with_logits(model(X_val).squeeze(1), y_val).item()
                    )
        return model, history

    curves = []
    for fold, (tr, va) in enumerate(KFold(4, shuffle=True, random_state=0).split(X)):
        _, history = fit(X[tr], y[tr], 12, X[va], y[va])
        curves.append(history)
        print(f"fold {fold} best val loss {min(history):.4f}")
    best = int(np.mean(curves, axis=0).argmin()) + 1
    model, _ = fit(X, y, best)
    model.eval()
    with torch.no_grad():
        print(
            "epochs",
            best,
            "test acc",
            ((model(X_test).squeeze(1) > 0).float() == y_test).float().mean().item(),
        )


def char_lm_truncated_bptt():
    """The hidden state is carried and detached, losses are summed over a few chunks on purpose and propagated once, clipped after backward."""
    seed_everything(23)
    ids, V = description_text()
    bsz, bptt, chunks = 16, 12, 2
    n = len(ids) // bsz
    data = ids[: n * bsz].view(bsz, n)
    emb, rnn, out = nn.Embedding(V, 24), nn.GRU(24, 64, batch_first=True), nn.Linear(64, V)
    params = [*emb.parameters(), *rnn.parameters(), *out.parameters()]
    opt = optim.Adam(params, lr=4e-3)
    for epoch in range(6):
        h, total, count = torch.zeros(1, bsz, 64), 0.0, 0
        for start in range(0, n - bptt * chunks - 1, bptt * chunks):
            h = h.detach()
            loss = 0
            for c in range(chunks):
                s = start + c * bptt
                o, h = rnn(emb(data[:, s : s + bptt]), h)
                loss = loss + F.cross_entropy(
                    out(o).flatten(0, 1), data[:, s + 1 : s + bptt + 1].flatten()
                )
            loss = loss / chunks
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(params, 1.0)
            opt.step()
            total += loss.item()
            count += 1
        print(f"epoch {epoch} loss {total / count:.3f}")


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    def forward(self, x):
        return self.net(x)


def dqn_cartpole():
    """DQN with a replay buffer and a target network that is softly updated under no_grad."""
    seed_everything(24)
    env = CartPole(seed=3, limit=150)
    policy_net, target_net = QNet(), QNet()
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = optim.AdamW(policy_net.parameters(), lr=5e-4, amsgrad=True)
    memory = deque(maxlen=10000)
    gamma, tau, bs, steps = 0.99, 0.01, 64, 0
    lengths = []

    def optimize():
        if len(memory) < 200:
            return
        s, a, r, s2, d = (torch.as_tensor(np.array(v)) for v in zip(*random.sample(memory, bs)))
        q = policy_net(s).gather(1, a.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            target = r + gamma * (1 - d) * target_net(s2).max(1).values
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy_net.parameters(), 100)
        optimizer.step()
        with torch.no_grad():
            for t, p in zip(target_net.parameters(), policy_net.parameters()):
                t.mul_(1 - tau).add_(p, alpha=tau)

    while steps < 3000:
        s, n = env.reset(), 0
        while True:
            eps = max(0.05, 0.9 - steps / 1200)
            if random.random() < eps:
                a = random.randrange(2)
            else:
                with torch.no_grad():
                    a = policy_net(torch.from_numpy(s)).argmax().item()
            s2, r, done, cut = env.step(a)
            memory.append((s, a, np.float32(r), s2, np.float32(done)))
            s, n, steps = s2, n + 1, steps + 1
            if steps % 2 == 0:
                optimize()
            if done or cut:
                break
        lengths.append(n)
    print("first", np.mean(lengths[:20]), "last", np.mean(lengths[-8:]))


def wine_wgan_five_critic_steps():
    """WGAN with clipped weights: five critic steps a generator step, fakes made under no_grad, a minus in the losses."""
    seed_everything(25)
    real = tabular("wine")[0][:, [0, 6, 9]]
    G = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    C = nn.Sequential(
        nn.Linear(3, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g, opt_c = optim.RMSprop(G.parameters(), lr=5e-4), optim.RMSprop(C.parameters(), lr=5e-4)
    for it in range(300):
        for _ in range(5):
            x = real[torch.randint(0, len(real), (64,))]
            with torch.no_grad():
                fake = G(torch.randn(64, 6))
            loss_c = C(fake).mean() - C(x).mean()
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
            with torch.no_grad():
                for p in C.parameters():
                    p.clamp_(-0.1, 0.1)
        loss_g = -C(G(torch.randn(64, 6))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        if it % 100 == 99:
            with torch.no_grad():
                s = G(torch.randn(1000, 6))
            print(
                f"{it + 1} critic {loss_c.item():.4f} mean {s.mean(0).abs().mean():.3f} std {s.std(0).mean():.3f}"
            )


def linear_probe_frozen_backbone():
    """A pretrained backbone kept in eval and under no_grad on purpose; only the new head is in the optimizer; best weights restored."""
    seed_everything(26)
    x, y, x_test, y_test = digits()
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    head = nn.Linear(128, 10)
    opt = optim.Adam([*backbone.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(3):
        for b in torch.randperm(len(x)).split(64):
            opt.zero_grad()
            F.cross_entropy(head(backbone(x[b])), y[b]).backward()
            opt.step()
    backbone.eval()
    backbone.requires_grad_(False)
    x_tr, x_val, y_tr, y_val = train_test_split(x, (y >= 5).long(), test_size=0.25, random_state=0)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(128, 2))
    optimizer = optim.Adam(head.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(x_tr, y_tr), batch_size=32, shuffle=True)
    best, best_state = float("inf"), None
    for epoch in range(10):
        head.train()
        total = 0.0
        for xb, yb in loader:
            with torch.no_grad():
                f = backbone(xb)
            loss = F.cross_entropy(head(f), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        head.eval()
        with torch.no_grad():
            val = F.cross_entropy(head(backbone(x_val)), y_val).item()
        if val < best:
            best, best_state = val, copy.deepcopy(head.state_dict())
        print(f"epoch {epoch} loss {total / len(loader):.4f} val {val:.4f}")
    head.load_state_dict(best_state)
    with torch.no_grad():
        print("test acc", (head(backbone(x_test)).argmax(1) == (y_test >= 5)).float().mean().item())


def reviews_amp_onecycle():
    """Autocast and a GradScaler with unscale_ before clipping, OneCycleLR stepped per batch, a linear layer meant for each token."""
    seed_everything(27)
    x, y, vocab = reviews(1400, seed=9)

    class TokenVotes(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(vocab, 24, padding_idx=0)
            self.rnn = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
            self.drop = nn.Dropout(0.2)
            self.vote = nn.Linear(48, 1)

        def forward(self, ids):
            h, _ = self.rnn(self.emb(ids))
            votes = self.vote(self.drop(h)).squeeze(-1)
            mask = (ids != 0).float()
            return (votes * mask).sum(1)

    model = TokenVotes()
    epochs, bs = 8, 32
    loader = DataLoader(TensorDataset(x[:1100], y[:1100].float()), batch_size=bs, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[1100:], y[1100:].float()), batch_size=64)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, epochs=epochs, steps_per_epoch=len(loader)
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for tokens, label in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(tokens)
            loss = F.binary_cross_entropy_with_logits(logits.float(), label)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
            total += loss.item()
        model.eval()
        hits = 0
        with torch.no_grad():
            for tokens, label in val_loader:
                hits += ((model(tokens) > 0).float() == label).sum().item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} val acc {hits / 300:.3f}")


HEALTHY = [
    accumulate_with_flush,
    full_batch_iris_lbfgs_then_adam,
    kfold_then_refit,
    char_lm_truncated_bptt,
    dqn_cartpole,
    wine_wgan_five_critic_steps,
    linear_probe_frozen_backbone,
    reviews_amp_onecycle,
]
