import inspect
import itertools
import math
import pydoc as _text_source

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import (
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
)
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


# ------------------------------------------------------------------ k-fold
def kfold_wine():
    X, y = load_wine(return_X_y=True)
    scores = []
    for fold, (tr, te) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)):
        torch.manual_seed(100 + fold)
        sc = StandardScaler().fit(X[tr])
        as_t = lambda i: (torch.tensor(sc.transform(X[i]), dtype=torch.float32), torch.tensor(y[i]))
        (a, b), (c, d) = as_t(tr), as_t(te)
        model = nn.Sequential(
            nn.Linear(13, 512),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, 3),
        )
        opt = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
        loader = DataLoader(TensorDataset(a, b), batch_size=16, shuffle=True)
        for epoch in range(5):
            model.train()
            for xb, yb in loader:
                opt.zero_grad()
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                opt.step()
        model.eval()
        with torch.no_grad():
            out = model(c)
        scores.append((F.cross_entropy(out, d).item(), (out.argmax(1) == d).float().mean().item()))
        print(f"fold {fold}: loss {scores[-1][0]:.3f} acc {scores[-1][1]:.3f}")
    print("mean accuracy", np.mean([s[1] for s in scores]))
    return "lower", float(np.mean([s[0] for s in scores])), math.log(3)


# ------------------------------------------------------------------ curriculum
class Accumulator(nn.Module):
    def __init__(self, h=48):
        super().__init__()
        self.gru = nn.GRU(2, h, batch_first=True)
        self.readout = nn.Linear(h, 1)

    def forward(self, x):
        return self.readout(self.gru(x)[0][:, -1]).squeeze(-1)


def curriculum_adding_problem():
    torch.manual_seed(33)

    def make(n, length, g=None):
        v = torch.rand(n, length, generator=g)
        m = torch.zeros(n, length)
        first = torch.randint(0, length // 2, (n,), generator=g)
        second = torch.randint(length // 2, length, (n,), generator=g)
        m[torch.arange(n), first] = 1
        m[torch.arange(n), second] = 1
        return torch.stack([v, m], -1), (v * m).sum(1)

    test = make(300, 20, torch.Generator().manual_seed(4))
    net = Accumulator()
    opt = torch.optim.Adam(net.parameters(), lr=8e-3)
    step = 0
    for stage, (length, budget) in enumerate([(4, 70), (8, 50), (14, 50), (20, 60)]):
        for _ in range(budget):
            x, y = make(64, length)
            loss = ((net(x) - y) ** 2).mean()
            net.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            step += 1
        with torch.no_grad():
            t = ((net(test[0]) - test[1]) ** 2).mean().item()
        print(f"stage {stage} (length {length}) train {loss.item():.4f} | target task {t:.4f}")
    return "lower", t, test[1].var().item()


# ------------------------------------------------------------------ gradual unfreezing
class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.layer2 = nn.Sequential(
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.ReLU()
        )
        self.fc = nn.Linear(48 * 16, 5)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(x)).flatten(1))


def freeze_bn(m):
    if isinstance(m, nn.BatchNorm2d):
        m.eval()


def transfer_gradual_unfreezing():
    torch.manual_seed(60)
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(y)
    src, tgt = y < 5, y >= 5
    Xs, ys, Xt, yt = X[src], y[src], X[tgt], y[tgt] - 5
    net = Backbone()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(4):
        net.train()
        for i in torch.randperm(len(Xs)).split(50):
            opt.zero_grad()
            F.cross_entropy(net(Xs[i]), ys[i]).backward()
            opt.step()
    # target task with few labels
    perm = torch.randperm(len(Xt))
    tr, va = perm[:200], perm[200:]
    for p in net.parameters():
        p.requires_grad_(False)
    net.fc = nn.Linear(48 * 16, 5)
    opt = torch.optim.SGD(net.fc.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3)
    stages = {6: (net.layer2, 0.003), 12: (net.layer1, 0.001)}
    for epoch in range(18):
        if epoch in stages:
            module, lr = stages[epoch]
            ps = [p for m in module.modules() if isinstance(m, nn.Conv2d) for p in m.parameters()]
            for p in ps:
                p.requires_grad_(True)
            opt.add_param_group({"params": ps, "lr": lr})
        net.train()
        net.apply(freeze_bn)
        for i in tr[torch.randperm(200)].split(40):
            opt.zero_grad()
            loss = F.cross_entropy(net(Xt[i]), yt[i])
            loss.backward()
            opt.step()
        if epoch % 3 == 2:
            net.eval()
            with torch.no_grad():
                v = F.cross_entropy(net(Xt[va]), yt[va]).item()
            print(f"epoch {epoch} groups {len(opt.param_groups)} train {loss.item():.3f} val {v:.3f}")
    return "lower", v, math.log(5)


# ------------------------------------------------------------------ LoRA
class LoRALinear(nn.Module):
    def __init__(self, base, r=8, alpha=16):
        super().__init__()
        self.base = base
        for p in base.parameters():
            p.requires_grad = False
        self.lora_A = nn.Parameter(torch.empty(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scaling = alpha / r

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.t() @ self.lora_B.t()) * self.scaling


def lora_adaptation():
    torch.manual_seed(70)
    X, y = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(
        X.reshape(-1, 8, 8) / 16, y, test_size=0.25, random_state=0, stratify=y
    )
    mu = a.mean()
    f = lambda z: torch.tensor(z - mu, dtype=torch.float32)
    a, b, c, d = f(a), f(b), torch.tensor(c), torch.tensor(d)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )

    def fit(xtr, xte, params, lr, epochs):
        opt = torch.optim.AdamW(params, lr=lr, weight_decay=0.0)
        for ep in range(epochs):
            for i in torch.randperm(len(xtr)).split(64):
                loss = F.cross_entropy(net(xtr[i]), c[i])
                opt.zero_grad()
                loss.backward()
                opt.step()
            with torch.set_grad_enabled(False):
                v = F.cross_entropy(net(xte), d).item()
            print(ep, loss.item(), v)
        return v

    fit(a, b, net.parameters(), 1e-3, 4)
    rot = lambda z: torch.rot90(z, 1, (1, 2)).contiguous()
    with torch.no_grad():
        print("zero-shot on the rotated digits", F.cross_entropy(net(rot(b)), d).item())
    for i in (1, 3):
        net[i] = LoRALinear(net[i])
    trainable = [p for p in net.parameters() if p.requires_grad]
    print("trainable", sum(p.numel() for p in trainable), "of", sum(p.numel() for p in net.parameters()))
    return "lower", fit(rot(a), rot(b), trainable, 3e-3, 5), math.log(10)


# ------------------------------------------------------------------ checkpointed, tied char model
class GatedBlock(nn.Module):
    def __init__(self, d, k):
        super().__init__()
        self.norm, self.pad = nn.LayerNorm(d), k - 1
        self.conv = nn.Conv1d(d, 2 * d, k)
        self.out = nn.Linear(d, d)

    def forward(self, x):
        h = F.pad(self.norm(x).transpose(1, 2), (self.pad, 0))
        a, b = self.conv(h).transpose(1, 2).chunk(2, -1)
        return x + self.out(a * torch.sigmoid(b))


class TiedCharConv(nn.Module):
    def __init__(self, vocab, d=48, n=4):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.blocks = nn.ModuleList(GatedBlock(d, 5) for _ in range(n))
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, vocab)
        self.out.weight = self.emb.weight
        nn.init.normal_(self.emb.weight, std=0.08)

    def forward(self, x):
        h = self.emb(x)
        for b in self.blocks:
            h = checkpoint(b, h, use_reentrant=False) if self.training else b(h)
        return self.out(self.norm(h))


def checkpointed_tied_charlm():
    torch.manual_seed(71)
    text = inspect.getsource(_text_source)[:40000]
    vocab = sorted(set(text))
    ids = torch.tensor([vocab.index(c) for c in text])
    cut = int(len(ids) * 0.88)
    tr, va = ids[:cut], ids[cut:]
    L, B, steps = 64, 16, 140
    net = TiedCharConv(len(vocab))
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.01)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, total_steps=steps, pct_start=0.15)
    vx = va[: (len(va) - 1) // L * L].view(-1, L)
    vy = va[1 : (len(va) - 1) // L * L + 1].view(-1, L)
    for step in range(1, steps + 1):
        net.train()
        s = torch.randint(0, len(tr) - L - 1, (B, 1)) + torch.arange(L)
        logits = net(tr[s])
        loss = -logits.log_softmax(-1).gather(-1, tr[s + 1].unsqueeze(-1)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        opt.zero_grad()
        if step % 35 == 0:
            net.eval()
            with torch.no_grad():
                v = F.cross_entropy(net(vx).flatten(0, 1), vy.flatten()).item()
            print(f"{step} train {loss.item() / math.log(2):.3f} bpc, val {v / math.log(2):.3f} bpc")
    p = torch.bincount(tr).float() / len(tr)
    return "lower", v, -(p[p > 0] * p[p > 0].log()).sum().item()


# ------------------------------------------------------------------ weight norm, ASGD
def weight_norm_asgd_diabetes():
    torch.manual_seed(72)
    X, y = load_diabetes(return_X_y=True, scaled=False)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=5)
    sx, my, sy = StandardScaler().fit(Xtr), ytr.mean(), ytr.std()
    f = lambda a: torch.tensor(a, dtype=torch.float64)
    Xtr, Xte, ytr, yte = (
        f(sx.transform(Xtr)),
        f(sx.transform(Xte)),
        f((ytr - my) / sy),
        f((yte - my) / sy),
    )
    wn = parametrizations.weight_norm
    net = nn.Sequential(wn(nn.Linear(10, 50)), nn.Tanh(), wn(nn.Linear(50, 1))).double()
    opt = torch.optim.ASGD(net.parameters(), lr=0.03, t0=100, weight_decay=1e-3)
    for epoch in range(18):
        for i in torch.randperm(len(Xtr)).split(32):
            opt.zero_grad()
            r = net(Xtr[i]).squeeze(1) - ytr[i]
            loss = torch.log(torch.cosh(r)).mean()
            loss.backward()
            opt.step()
    # use the averaged weights for the evaluation
    backup = {p: p.detach().clone() for p in net.parameters()}
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(opt.state[p]["ax"])
        avg = (net(Xte).squeeze(1) - yte).pow(2).mean().item()
        for p in net.parameters():
            p.copy_(backup[p])
        last = (net(Xte).squeeze(1) - yte).pow(2).mean().item()
    print("averaged", avg, "last", last)
    return "lower", avg, yte.pow(2).mean().item()


# ------------------------------------------------------------------ multi-task
class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 64), nn.SiLU())
        self.heads = nn.ModuleDict(
            {"digit": nn.Linear(64, 10), "ink": nn.Linear(64, 1), "mass": nn.Linear(64, 2)}
        )
        self.log_vars = nn.ParameterDict({k: nn.Parameter(torch.zeros(())) for k in self.heads})

    def forward(self, x):
        h = self.trunk(x)
        return {k: m(h) for k, m in self.heads.items()}


def multitask_uncertainty_weights():
    torch.manual_seed(73)
    X, y = load_digits(return_X_y=True)
    img = X.reshape(-1, 8, 8) / 16
    ink = img.mean((1, 2))
    yy, xx = np.mgrid[:8, :8]
    mass = np.stack([(img * yy).sum((1, 2)), (img * xx).sum((1, 2))], 1) / img.sum((1, 2))[:, None]
    noisy = img + np.random.default_rng(0).normal(0, 0.15, img.shape)
    tr, te = train_test_split(np.arange(len(y)), test_size=0.25, random_state=0, stratify=y)
    z = lambda a: torch.tensor((a - a[tr].mean(0)) / a[tr].std(0), dtype=torch.float32)
    x = torch.tensor((noisy.reshape(-1, 64) - noisy[tr].mean()) / noisy[tr].std(), dtype=torch.float32)
    digit, ink, mass = torch.tensor(y), z(ink).unsqueeze(1), z(mass)
    net = MultiTask()
    weights = list(net.log_vars.parameters())
    opt = torch.optim.Adam(
        [
            {"params": itertools.chain(net.trunk.parameters(), net.heads.parameters())},
            {"params": weights, "lr": 2e-2},
        ],
        lr=2e-3,
    )

    def task_losses(out, i):
        return {
            "digit": F.cross_entropy(out["digit"], digit[i]),
            "ink": F.mse_loss(out["ink"], ink[i]),
            "mass": F.mse_loss(out["mass"], mass[i]),
        }

    tr_t, te_t = torch.tensor(tr), torch.tensor(te)
    for epoch in range(9):
        for i in tr_t[torch.randperm(len(tr_t))].split(64):
            opt.zero_grad()
            ls = task_losses(net(x[i]), i)
            total = 0.0
            for n, (k, l) in enumerate(ls.items()):
                s = net.log_vars[k]
                part = (1.0 if k == "digit" else 0.5) * torch.exp(-s) * l + 0.5 * s
                part.backward(retain_graph=n < len(ls) - 1)  # one pass for each task, gradients add up
                total += part.item()
            opt.step()
        with torch.no_grad():
            v = {k: l.item() for k, l in task_losses(net(x[te_t]), te_t).items()}
        print(epoch, f"total {total:.3f}", v, {k: round(p.item(), 2) for k, p in net.log_vars.items()})
    return "lower", v["digit"] + v["ink"] + v["mass"], math.log(10) + 2


# ------------------------------------------------------------------ mixup / cutmix
def cutmix_mixup_label_smoothing():
    rng = np.random.default_rng(74)
    torch.manual_seed(74)
    X, y = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(
        X.reshape(-1, 1, 8, 8) / 16, y, test_size=0.2, random_state=2, stratify=y
    )
    a, b = torch.tensor(a).float(), torch.tensor(b).float()
    c, d = torch.tensor(c), torch.tensor(d)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.GELU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    loader = DataLoader(TensorDataset(a, c), batch_size=64, shuffle=True, drop_last=True)
    sched = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=2, T_mult=2, eta_min=1e-3)

    def soft_ce(logits, t):
        return -(t * F.log_softmax(logits, 1)).sum(1).mean()

    for epoch in range(6):
        net.train()
        for it, (x, t) in enumerate(loader):
            t = F.one_hot(t, 10).float() * 0.9 + 0.01
            perm, lam = torch.randperm(len(x)), float(rng.beta(0.4, 0.4))
            if rng.random() < 0.5:
                x = lam * x + (1 - lam) * x[perm]
            else:
                s = int(8 * math.sqrt(1 - lam))
                i, j = rng.integers(0, 8 - s + 1, 2)
                x = x.clone()
                x[:, :, i : i + s, j : j + s] = x[perm][:, :, i : i + s, j : j + s]
                lam = 1 - s * s / 64
            t = lam * t + (1 - lam) * t[perm]
            opt.zero_grad()
            loss = soft_ce(net(x), t)
            loss.backward()
            opt.step()
            sched.step(epoch + (it + 1) / len(loader))
        net.eval()
        with torch.no_grad():
            out = net(b)
            acc = (out.argmax(1) == d).float().mean().item()
        print(epoch, loss.item(), acc)
    return "lower", F.cross_entropy(out, d).item(), math.log(10)


# ------------------------------------------------------------------ focal loss
class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, alpha=0.75):
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, logits, t):
        p = torch.sigmoid(logits)
        pt = p * t + (1 - p) * (1 - t)
        at = self.alpha * t + (1 - self.alpha) * (1 - t)
        return (-at * (1 - pt) ** self.gamma * torch.log(pt.clamp(1e-7, 1 - 1e-7))).mean()


def focal_loss_imbalanced():
    torch.manual_seed(75)
    X, y = make_classification(
        6000,
        20,
        n_informative=8,
        n_redundant=4,
        weights=[0.94],
        class_sep=1.3,
        flip_y=0.005,
        random_state=75,
    )
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    sc = StandardScaler().fit(Xtr)
    Xtr, Xte = (torch.tensor(sc.transform(v), dtype=torch.float32) for v in (Xtr, Xte))
    ytr, yte = (torch.tensor(v, dtype=torch.float32) for v in (ytr, yte))
    net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1))
    prior = ytr.mean()
    with torch.no_grad():
        net[-1].bias.fill_(torch.log(prior / (1 - prior)).item())
    opt = torch.optim.Adagrad(net.parameters(), lr=0.02)
    crit = FocalLoss()
    order = np.arange(len(Xtr))
    rs = np.random.RandomState(0)

    def average_precision():
        with torch.no_grad():
            s = net(Xte).squeeze(1)
        hits = yte[s.argsort(descending=True)]
        return (
            (hits.cumsum(0) / torch.arange(1, len(hits) + 1)) * hits
        ).sum().item() / hits.sum().item()

    for epoch in range(6):
        rs.shuffle(order)
        tot = 0
        for k in range(0, len(order), 128):
            idx = torch.from_numpy(order[k : k + 128])
            opt.zero_grad()
            loss = crit(net(Xtr[idx]).squeeze(1), ytr[idx])
            loss.backward()
            opt.step()
            tot += loss.item() * len(idx)
        print(f"epoch {epoch} focal {tot / len(order):.5f} AP {average_precision():.3f}")
    return "higher", average_precision(), prior.item()


LOOPS = [
    kfold_wine,
    curriculum_adding_problem,
    transfer_gradual_unfreezing,
    lora_adaptation,
    checkpointed_tied_charlm,
    weight_norm_asgd_diabetes,
    multitask_uncertainty_weights,
    cutmix_mixup_label_smoothing,
    focal_loss_imbalanced,
]
