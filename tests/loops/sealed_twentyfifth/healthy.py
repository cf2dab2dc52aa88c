import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler

from .common import daily_demand, loans, seed_all, table

HEALTHY = []


# ---------------------------------------------------------------- federated averaging over five banks
def federated_banks():
    seed_all(31)
    num, cat, y = loans(1800, seed=31)
    onehot = np.concatenate([num, np.eye(6)[cat[:, 0]], np.eye(8)[cat[:, 1]]], 1).astype("float32")
    X_tr, X_te, y_tr, y_te = train_test_split(onehot, y, test_size=0.2, random_state=1)
    X_te, y_te = torch.tensor(X_te), torch.tensor(y_te)
    banks = [(torch.tensor(X_tr[k::5]), torch.tensor(y_tr[k::5])) for k in range(5)]
    server = nn.Sequential(nn.Linear(19, 32), nn.ReLU(), nn.Linear(32, 2))

    def local(weights, X, y, epochs=2, lr=0.1):
        m = copy.deepcopy(server)
        m.load_state_dict(weights)
        opt = torch.optim.SGD(m.parameters(), lr=lr, momentum=0.5)
        total = 0.0
        for _ in range(epochs):
            for idx in torch.randperm(len(X)).split(32):
                opt.zero_grad()
                loss = F.cross_entropy(m(X[idx]), y[idx])
                loss.backward()
                opt.step()
                total += loss.item() * len(idx)
        return m.state_dict(), total / (epochs * len(X)), len(X)

    hist = []
    for rnd in range(10):
        back = [local(server.state_dict(), X, y) for X, y in banks]
        n = sum(b[2] for b in back)
        server.load_state_dict({k: sum(b[0][k] * (b[2] / n) for b in back) for k in server.state_dict()})
        with torch.no_grad():
            acc = (server(X_te).argmax(1) == y_te).float().mean().item()
        hist.append((sum(b[1] for b in back) / len(back), acc))
    print(
        f"federated  loss {hist[0][0]:.3f} -> {hist[-1][0]:.3f}  acc {hist[0][1]:.3f} -> {hist[-1][1]:.3f}"
    )
    return hist


HEALTHY.append(federated_banks)


# ---------------------------------------------------------------- a bandit that recommends
def bandit_recommender():
    seed_all(17)
    k, n_items = 6, 8
    taste = torch.randn(n_items, k)

    def visit(n):
        c = torch.randn(n, k)
        return c, torch.sigmoid(2 * c @ taste.T)

    policy = nn.Sequential(nn.Linear(k, 32), nn.Tanh(), nn.Linear(32, n_items))
    critic = nn.Linear(k, 1)
    opt_p = torch.optim.Adam(policy.parameters(), lr=5e-3)
    opt_v = torch.optim.Adam(critic.parameters(), lr=1e-2)
    test_c, test_p = visit(500)
    rewards, curve = [], []
    for step in range(600):
        c, p = visit(64)
        dist = torch.distributions.Categorical(logits=policy(c))
        a = dist.sample()
        r = torch.bernoulli(p.gather(1, a[:, None])[:, 0])
        v = critic(c)[:, 0]
        adv = r - v.detach()
        loss_p = -(dist.log_prob(a) * adv).mean() - 0.005 * dist.entropy().mean()
        loss_v = F.mse_loss(v, r)
        opt_p.zero_grad()
        loss_p.backward()
        opt_p.step()
        opt_v.zero_grad()
        loss_v.backward()
        opt_v.step()
        rewards.append(r.mean().item())
        if step % 100 == 99:
            with torch.no_grad():
                pick = policy(test_c).argmax(1)
                curve.append(test_p.gather(1, pick[:, None]).mean().item())
    print(
        f"bandit  reward {np.mean(rewards[:50]):.3f} -> {np.mean(rewards[-50:]):.3f}  greedy {curve[-1]:.3f} of "
        f"{test_p.max(1)[0].mean().item():.3f}"
    )
    return curve


HEALTHY.append(bandit_recommender)


# ---------------------------------------------------------------- SAM in k folds
def sam_kfold_cancer():
    seed_all(9)
    X, y = table("cancer")
    scores, ends = [], []
    rho = 0.05
    for fold, (tr, va) in enumerate(KFold(3, shuffle=True, random_state=0).split(X)):
        sc = StandardScaler().fit(X[tr])
        a, b = (torch.tensor(sc.transform(X[i]), dtype=torch.float32) for i in (tr, va))
        ya, yb = torch.tensor(y[tr]), torch.tensor(y[va])
        net = nn.Sequential(nn.Linear(30, 24), nn.GELU(), nn.Dropout(0.1), nn.Linear(24, 2))
        opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 8)
        for epoch in range(8):
            net.train()
            tot = 0.0
            order = np.random.permutation(len(a))
            for s in range(0, len(order), 24):
                i = order[s : s + 24]
                opt.zero_grad()
                loss = F.cross_entropy(net(a[i]), ya[i])
                loss.backward()
                with torch.no_grad():
                    norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm() + 1e-12
                    eps = [p.grad * (rho / norm) for p in net.parameters()]
                    for p, e in zip(net.parameters(), eps):
                        p.add_(e)
                opt.zero_grad()
                F.cross_entropy(net(a[i]), ya[i]).backward()
                with torch.no_grad():
                    for p, e in zip(net.parameters(), eps):
                        p.sub_(e)
                opt.step()
                tot += loss.item() * len(i)
            sched.step()
        ends.append(tot / len(a))
        net.eval()
        with torch.no_grad():
            scores.append((net(b).argmax(1) == yb).float().mean().item())
    print("sam k-fold  loss", [round(v, 3) for v in ends], "acc", [round(v, 3) for v in scores])
    return scores


HEALTHY.append(sam_kfold_cancer)


# ---------------------------------------------------------------- stateful forecast, accumulation with remainder
def stateful_forecast():
    seed_all(6)
    series = np.stack([daily_demand(560, seed=s)[0] for s in range(12)])
    mu, sd = series[:, :420].mean(1, keepdims=True), series[:, :420].std(1, keepdims=True)
    z = torch.tensor((series - mu) / sd, dtype=torch.float32)
    chunk, accum = 30, 4

    class Stateful(nn.Module):
        def __init__(self, h=32):
            super().__init__()
            self.cell = nn.GRU(1, h, batch_first=True)
            self.skip = nn.Linear(h, 1)

        def forward(self, x, state=None):
            o, state = self.cell(x[..., None], state)
            return self.skip(o)[..., 0], state

    net = Stateful()
    shadow = copy.deepcopy(net).requires_grad_(False)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    groups = [z[g : g + 4] for g in range(0, 12, 4)]
    hist = {"train": [], "test": []}
    for epoch in range(12):
        tot, cnt = 0.0, 0
        for g in groups:
            state = None
            starts = list(range(0, 420 - 1, chunk))
            for j, s in enumerate(starts):
                if j % accum == 0:
                    opt.zero_grad()
                    size = min(accum, len(starts) - j)
                e = min(s + chunk, 419)
                pred, state = net(g[:, s:e], state)
                state = state.detach()
                loss = F.mse_loss(pred, g[:, s + 1 : e + 1])
                (loss / size).backward()
                tot, cnt = tot + loss.item(), cnt + 1
                if (j + 1) % accum == 0 or j + 1 == len(starts):
                    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                    opt.step()
                    with torch.no_grad():
                        for ps, p in zip(shadow.parameters(), net.parameters()):
                            ps.lerp_(p, 0.1)
        with torch.no_grad():
            pred, _ = shadow(z[:, :-1])
            hist["test"].append(F.mse_loss(pred[:, 419:], z[:, 420:]).item())
        hist["train"].append(tot / cnt)
    print(
        f"stateful  train {hist['train'][0]:.3f} -> {hist['train'][-1]:.3f}  "
        f"test {hist['test'][0]:.3f} -> {hist['test'][-1]:.3f}"
    )
    return hist


HEALTHY.append(stateful_forecast)
