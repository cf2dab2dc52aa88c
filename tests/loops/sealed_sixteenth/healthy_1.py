"""Correct loops of research repositories that look, at first sight, like common mistakes."""

import copy
import itertools
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from .common import AverageMeter, ShapesSegmentation, corpus, digit_images, seed_everything, shuffled


def gcn_full_graph() -> None:
    """Semi-supervised GCN: the one full graph is the batch of every step, train/val/test are masks over its nodes."""
    seed_everything(0)
    n, k = 300, 3
    label = torch.randint(0, k, (n,))
    p = torch.where(label[:, None] == label[None], 0.06, 0.01)
    adj = (torch.rand(n, n) < p).float().triu(1)
    adj = adj + adj.t() + torch.eye(n)
    d = adj.sum(1).rsqrt()
    adj = d[:, None] * adj * d[None]
    feats = F.one_hot(label, k).float() @ torch.randn(k, 24) * 0.5 + torch.randn(n, 24)
    perm = torch.randperm(n)
    idx_train, idx_val, idx_test = perm[:60], perm[60:140], perm[140:]

    class GCN(nn.Module):
        def __init__(self, d_in, hidden, d_out):
            super().__init__()
            self.w1, self.w2 = nn.Linear(d_in, hidden), nn.Linear(hidden, d_out)
            self.drop = nn.Dropout(0.5)

        def forward(self, x, a):
            return self.w2(a @ self.drop(F.relu(self.w1(a @ x))))

    model = GCN(24, 32, k)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    best_val, test_at_best = 0.0, 0.0
    for epoch in range(200):
        model.train()
        optimizer.zero_grad()
        out = model(feats, adj)
        loss = F.cross_entropy(out[idx_train], label[idx_train])
        loss.backward()
        optimizer.step()

        model.eval()
        with torch.no_grad():
            pred = model(feats, adj).argmax(1)
        val = (pred[idx_val] == label[idx_val]).float().mean().item()
        if val > best_val:
            best_val, test_at_best = val, (pred[idx_test] == label[idx_test]).float().mean().item()
        if epoch % 40 == 39:
            print(f"epoch {epoch}: loss {loss.item():.4f} val {val:.3f} test at best {test_at_best:.3f}")


def mc_dropout_regression() -> None:
    """Regression with MC dropout: the point metric in eval mode, then dropout switched on deliberately for the uncertainty."""
    seed_everything(1)
    g = np.random.RandomState(0)
    X = g.uniform(-3, 3, (1200, 4)).astype(np.float32)
    y = (np.sin(X[:, 0] * 2) + 0.3 * X[:, 1] ** 2 - X[:, 2] + 0.1 * g.randn(1200)).astype(np.float32)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    train_loader = DataLoader(TensorDataset(X[:1000], y[:1000]), batch_size=50, shuffle=True)
    val_loader = DataLoader(TensorDataset(X[1000:], y[1000:]), batch_size=100)
    model = nn.Sequential(
        nn.Linear(4, 96),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(96, 96),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(96, 1),
        nn.Flatten(0),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def enable_dropout(m):
        for module in m.modules():
            if isinstance(module, nn.Dropout):
                module.train()

    @torch.no_grad()
    def mc_predict(x, n=20):
        model.eval()
        enable_dropout(model)
        samples = torch.stack([model(x) for _ in range(n)])
        model.eval()
        return samples.mean(0), samples.std(0)

    for epoch in range(40):
        model.train()
        meter = AverageMeter()
        for xb, yb in train_loader:
            loss = F.mse_loss(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(xb))
        model.eval()
        with torch.no_grad():
            rmse = math.sqrt(
                sum(F.mse_loss(model(xb), yb, reduction="sum").item() for xb, yb in val_loader) / 200
            )
        if epoch % 10 == 9:
            mean, std = mc_predict(X[1000:])
            inside = ((mean - y[1000:]).abs() < 2 * std + 0.2).float().mean()
            print(
                f"epoch {epoch}: train {meter.avg:.4f} val RMSE {rmse:.3f} MC RMSE {F.mse_loss(mean, y[1000:]).sqrt():.3f} coverage {inside:.2f}"
            )


def linear_probe_then_finetune() -> None:
    """Frozen backbone (no_grad, eval, BatchNorm included) with a new head, then everything unfrozen with a new optimizer."""
    seed_everything(2)
    x, y = shuffled(*digit_images(8), seed=2)
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
    )
    coarse = nn.Linear(256, 2)
    pre = torch.optim.Adam([*backbone.parameters(), *coarse.parameters()], lr=2e-3)
    for xb, yb in DataLoader(TensorDataset(x[:600], y[:600] % 2), batch_size=32, shuffle=True):
        pre.zero_grad()
        F.cross_entropy(coarse(backbone(xb)), yb).backward()
        pre.step()

    ink = x.mean((1, 2, 3))
    ink = (ink - ink.mean()) / ink.std() + 0.3 * y
    train_loader = DataLoader(TensorDataset(x[600:1500], ink[600:1500]), batch_size=32, shuffle=True)
    head = nn.Sequential(nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))

    @torch.no_grad()
    def evaluate():
        backbone.eval()
        head.eval()
        return (head(backbone(x[1500:])) - ink[1500:]).abs().mean().item()

    # stage 1: linear probe
    backbone.requires_grad_(False)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
    for epoch in range(5):
        backbone.eval()
        head.train()
        meter = AverageMeter()
        for xb, t in train_loader:
            with torch.no_grad():
                f = backbone(xb)
            loss = F.smooth_l1_loss(head(f), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(xb))
        print(f"probe {epoch}: loss {meter.avg:.4f} MAE {evaluate():.4f}")

    # stage 2: fine-tune everything with a smaller rate for the backbone
    backbone.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [{"params": backbone.parameters(), "lr": 5e-4}, {"params": head.parameters(), "lr": 1e-3}]
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    for epoch in range(8):
        backbone.train()
        head.train()
        meter = AverageMeter()
        for xb, t in train_loader:
            loss = F.smooth_l1_loss(head(backbone(xb)), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(xb))
        scheduler.step()
        print(f"finetune {epoch}: loss {meter.avg:.4f} MAE {evaluate():.4f}")


def ppo_reused_rollout() -> None:
    """PPO: one rollout serves several epochs of minibatches, advantages are detached, the policy loss carries its minus."""
    seed_everything(3)
    n_envs, horizon, size = 32, 12, 9

    policy = nn.Sequential(nn.Linear(2 * size, 64), nn.Tanh(), nn.Linear(64, 3))
    value = nn.Sequential(nn.Linear(2 * size, 64), nn.Tanh(), nn.Linear(64, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=3e-3, eps=1e-5)

    def observe(pos, goal):
        return torch.cat([F.one_hot(pos, size), F.one_hot(goal, size)], 1).float()

    for update in range(30):
        pos, goal = torch.randint(size, (n_envs,)), torch.randint(size, (n_envs,))
        buf = {k: [] for k in ("obs", "act", "logp", "rew", "val")}
        for t in range(horizon):
            obs = observe(pos, goal)
            with torch.no_grad():
                dist = torch.distributions.Categorical(logits=policy(obs))
                act = dist.sample()
                buf["val"].append(value(obs))
            buf["obs"].append(obs)
            buf["act"].append(act)
            buf["logp"].append(dist.log_prob(act))
            pos = (pos + act - 1).clamp(0, size - 1)
            buf["rew"].append((pos == goal).float() - 0.1)
        ret, R = [], torch.zeros(n_envs)
        for r in reversed(buf["rew"]):
            R = r + 0.95 * R
            ret.insert(0, R)
        obs, act, logp_old = (torch.cat(buf[k]) for k in ("obs", "act", "logp"))
        returns, values = torch.cat(ret), torch.cat(buf["val"])
        adv = returns - values
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)

        for _ in range(4):
            for idx in torch.randperm(len(obs)).split(96):
                dist = torch.distributions.Categorical(logits=policy(obs[idx]))
                ratio = (dist.log_prob(act[idx]) - logp_old[idx]).exp()
                pg = torch.max(-adv[idx] * ratio, -adv[idx] * ratio.clamp(0.8, 1.2)).mean()
                loss = (
                    pg + 0.5 * F.mse_loss(value(obs[idx]), returns[idx]) - 0.01 * dist.entropy().mean()
                )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(itertools.chain(policy.parameters(), value.parameters()), 0.5)
                optimizer.step()
        if update % 5 == 4:
            print(
                f"update {update}: return {torch.stack(buf['rew']).sum(0).mean():.3f} loss {loss.item():.4f}"
            )


def sam_two_backwards() -> None:
    """Sharpness-aware minimisation: two backward passes a batch, the weights are moved up, put back, and stepped once."""
    seed_everything(4)
    data = load_breast_cancer()
    X = torch.tensor((data.data - data.data.mean(0)) / data.data.std(0), dtype=torch.float32)
    y = torch.tensor(data.target, dtype=torch.float32)
    X, y = shuffled(X, y, seed=4)
    train_loader = DataLoader(TensorDataset(X[:400], y[:400]), batch_size=20, shuffle=True)
    test_loader = DataLoader(TensorDataset(X[400:], y[400:]), batch_size=50)
    model = nn.Sequential(nn.Linear(30, 48), nn.ReLU(), nn.Linear(48, 1), nn.Flatten(0))
    base = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    rho = 0.05

    for epoch in range(12):
        model.train()
        meter = AverageMeter()
        for xb, yb in train_loader:
            base.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(xb), yb)
            loss.backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
                eps = [rho * p.grad / (norm + 1e-12) for p in model.parameters()]
                for p, e in zip(model.parameters(), eps):
                    p.add_(e)
            base.zero_grad()
            F.binary_cross_entropy_with_logits(model(xb), yb).backward()
            with torch.no_grad():
                for p, e in zip(model.parameters(), eps):
                    p.sub_(e)
            base.step()
            meter.update(loss.item(), len(xb))
        model.eval()
        with torch.no_grad():
            correct = sum(((model(xb) > 0).float() == yb).sum().item() for xb, yb in test_loader)
        print(f"epoch {epoch}: loss {meter.avg:.4f} test acc {correct / (len(X) - 400):.3f}")


def refit_on_train_plus_val() -> None:
    """Epochs chosen on a validation split, then a fresh model refitted on train+val for that many and scored on an untouched test set."""
    seed_everything(5)
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(X / X.std(0), dtype=torch.float32)
    y = torch.tensor((y - 152.0) / 77.0, dtype=torch.float32)
    idx, test_idx = train_test_split(np.arange(len(y)), test_size=0.2, random_state=0)
    train_idx, val_idx = train_test_split(idx, test_size=0.2, random_state=0)
    full = TensorDataset(X, y)
    train_set, val_set, test_set = Subset(full, train_idx), Subset(full, val_idx), Subset(full, test_idx)

    def build():
        model = nn.Sequential(
            nn.Linear(10, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 1), nn.Flatten(0)
        )
        return model, torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)

    def train_one_epoch(model, optimizer, loader):
        model.train()
        meter = AverageMeter()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(xb))
        return meter.avg

    @torch.no_grad()
    def rmse(model, dataset):
        model.eval()
        se = sum(
            F.mse_loss(model(xb), yb, reduction="sum").item()
            for xb, yb in DataLoader(dataset, batch_size=64)
        )
        return math.sqrt(se / len(dataset))

    model, optimizer = build()
    loader = DataLoader(train_set, batch_size=16, shuffle=True)
    best, best_epoch = float("inf"), 0
    for epoch in range(30):
        loss = train_one_epoch(model, optimizer, loader)
        score = rmse(model, val_set)
        if score < best:
            best, best_epoch = score, epoch + 1
    print(f"selection: loss {loss:.4f} best val RMSE {best:.4f} at epoch {best_epoch}")

    model, optimizer = build()
    loader = DataLoader(ConcatDataset([train_set, val_set]), batch_size=16, shuffle=True)
    for epoch in range(best_epoch):
        loss = train_one_epoch(model, optimizer, loader)
    print(f"refit: loss {loss:.4f} test RMSE {rmse(model, test_set):.4f}")


def lstm_tbptt_stateful() -> None:
    """Stateful character LM: the hidden state is carried and detached between windows, the batches come in order, the losses of a window are summed with their graph before one backward."""
    seed_everything(6)
    data, stoi, _ = corpus()
    vocab, batch, bptt = len(stoi), 16, 24
    n = int(0.9 * len(data))
    train = data[:n][: n // batch * batch].view(batch, -1)
    val = data[n:][: (len(data) - n) // 4 * 4].view(4, -1)

    emb, cell, head = nn.Embedding(vocab, 32), nn.LSTMCell(32, 96), nn.Linear(96, vocab)
    model = nn.ModuleList([emb, cell, head])
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)

    def window_loss(tokens, start, stop, state):
        loss = 0.0
        for t in range(start, stop):
            state = cell(emb(tokens[:, t]), state)
            loss = loss + F.cross_entropy(head(state[0]), tokens[:, t + 1])
        return loss / (stop - start), state

    for epoch in range(7):
        model.train()
        state = (torch.zeros(batch, 96), torch.zeros(batch, 96))
        meter = AverageMeter()
        for start in range(0, train.size(1) - 1, bptt):
            stop = min(start + bptt, train.size(1) - 1)
            state = tuple(s.detach() for s in state)
            loss, state = window_loss(train, start, stop, state)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            meter.update(loss.item(), stop - start)
        model.eval()
        with torch.no_grad():
            val_loss, _ = window_loss(val, 0, val.size(1) - 1, (torch.zeros(4, 96), torch.zeros(4, 96)))
        scheduler.step(val_loss)
        print(f"epoch {epoch}: train {meter.avg:.4f} val {val_loss.item():.4f}")


def segmentation_amp_accum_ema_onecycle() -> None:
    """GradScaler with unscale_ before clipping, accumulation with the remainder flushed, OneCycleLR per optimizer step, EMA weights for validation."""
    seed_everything(7)
    train_loader = DataLoader(ShapesSegmentation(420, seed=1), batch_size=8, shuffle=True)
    val_loader = DataLoader(ShapesSegmentation(80, seed=2), batch_size=40)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, padding=2, dilation=2),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=4, dilation=4),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 3, 1),
    )
    ema_model = copy.deepcopy(model).eval().requires_grad_(False)
    accum, epochs = 4, 8
    steps_per_epoch = math.ceil(len(train_loader) / accum)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, total_steps=epochs * steps_per_epoch
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    @torch.no_grad()
    def update_ema(decay):
        for e, p in zip(ema_model.parameters(), model.parameters()):
            e.lerp_(p, 1 - decay)
        for e, b in zip(ema_model.buffers(), model.buffers()):
            e.copy_(b)

    step = 0
    for epoch in range(epochs):
        model.train()
        meter = AverageMeter()
        for i, (images, masks) in enumerate(train_loader):
            last = i + 1 == len(train_loader)
            group = accum if i < len(train_loader) // accum * accum else len(train_loader) % accum
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(images)
            loss = F.cross_entropy(logits.float(), masks)
            scaler.scale(loss / group).backward()
            meter.update(loss.item(), len(images))
            if (i + 1) % accum == 0 or last:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 2.0)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                scheduler.step()
                step += 1
                update_ema(min(0.95, (1 + step) / (10 + step)))
        with torch.no_grad():
            hits = sum(((ema_model(x).argmax(1) == m) & (m > 0)).sum().item() for x, m in val_loader)
            total = sum((m > 0).sum().item() for _, m in val_loader)
        print(f"epoch {epoch}: loss {meter.avg:.4f} EMA foreground recall {hits / total:.3f}")


HEALTHY = [
    gcn_full_graph,
    mc_dropout_regression,
    linear_probe_then_finetune,
    ppo_reused_rollout,
    sam_two_backwards,
    refit_on_train_plus_val,
    lstm_tbptt_stateful,
    segmentation_amp_accum_ema_onecycle,
]
