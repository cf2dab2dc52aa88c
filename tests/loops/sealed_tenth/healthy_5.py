"""Multi-task, domain adversarial, adversarial training, ensembles by vmap, equilibrium models, streaming, threads, search."""

import copy
import itertools
import math
import queue
import threading

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset, TensorDataset


def _digits(seed=0):
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(d.target)
    a, b = train_test_split(np.arange(len(y)), test_size=0.3, random_state=seed, stratify=d.target)
    return x[a], y[a], x[b], y[b]


# ---------------------------------------------------------------- multi-task
def multitask_uncertainty_swa():
    """Three tasks on digits (class, ink, parity) weighted by learned log-variances; stochastic weight averaging at the end."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = _digits()
    ink = lambda x: x.mean((1, 2, 3))
    mu, sd = ink(xtr).mean(), ink(xtr).std()
    loader = DataLoader(
        TensorDataset(xtr, ytr, (ink(xtr) - mu) / sd, (ytr % 2).float()), 64, shuffle=True
    )

    class MultiTask(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                nn.Flatten(),
            )
            self.cls, self.reg, self.par = nn.Linear(512, 10), nn.Linear(512, 1), nn.Linear(512, 1)
            self.log_vars = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            h = self.trunk(x)
            return self.cls(h), self.reg(h).squeeze(1), self.par(h).squeeze(1)

    model = MultiTask()
    swa = AveragedModel(model)
    opt = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    epochs, swa_start = 12, 8
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, swa_start)
    swa_sched = SWALR(opt, swa_lr=0.01, anneal_epochs=2)
    for epoch in range(epochs):
        for x, y, r, p in loader:
            c, rr, pp = model(x)
            losses = torch.stack(
                [
                    F.cross_entropy(c, y),
                    0.5 * F.mse_loss(rr, r),
                    F.binary_cross_entropy_with_logits(pp, p),
                ]
            )
            loss = (torch.exp(-model.log_vars) * losses + 0.5 * model.log_vars).sum()
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
        if epoch >= swa_start:
            swa.update_parameters(model)
            swa_sched.step()
        else:
            sched.step()
    update_bn(loader, swa)
    swa.eval()
    with torch.no_grad():
        c, r, p = swa(xte)
    acc = (c.argmax(1) == yte).float().mean().item()
    par = ((p > 0).float() == yte % 2).float().mean().item()
    r2 = 1 - F.mse_loss(r, (ink(xte) - mu) / sd).item() / ((ink(xte) - mu) / sd).var().item()
    print(
        f"multitask_uncertainty_swa: class {acc:.3f}, parity {par:.3f}, ink r2 {r2:.3f}, log-variances {[round(v, 2) for v in model.log_vars.tolist()]}"
    )
    return acc


# ---------------------------------------------------------------- DANN
def domain_adversarial_reversal():
    """Domain-adversarial training with a gradient reversal Function and the rising lambda of Ganin and Lempitsky."""
    torch.manual_seed(0)
    xs, ys, xt, yt = _digits()
    fog = torch.linspace(0, 1, 8)[:, None] * torch.linspace(1, 0.3, 8)[None]
    xs, xt = xs.flatten(1), (0.45 * xt + 0.5 * fog + 0.03 * torch.randn_like(xt)).clamp(0, 1).flatten(1)
    t_fit, t_test = slice(0, 300), slice(300, None)  # target labels are used for the score only

    class GradReverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, lam):
            ctx.lam = lam
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g):
            return -ctx.lam * g, None

    class DANN(nn.Module):
        def __init__(self, h=64):
            super().__init__()
            self.feature = nn.Sequential(nn.Linear(64, h), nn.ReLU(), nn.Linear(h, 32), nn.ReLU())
            self.label = nn.Linear(32, 10)
            self.domain = nn.Sequential(nn.Linear(32, h), nn.ReLU(), nn.Linear(h, 1))

        def forward(self, x, lam=0.0):
            f = self.feature(x)
            return self.label(f), self.domain(GradReverse.apply(f, lam)).squeeze(1)

    def run(adversarial, steps=400):
        torch.manual_seed(3)
        model = DANN()
        opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for i in range(steps):
            p = i / steps
            lam = 0.3 * (2 / (1 + math.exp(-10 * p)) - 1) if adversarial else 0.0
            for g in opt.param_groups:
                g["lr"] = 0.1 / (1 + 10 * p) ** 0.75
            a, b = torch.randint(len(xs), (64,)), torch.randint(300, (64,))
            cls, ds = model(xs[a], lam)
            _, dt = model(xt[t_fit][b], lam)
            dom = F.binary_cross_entropy_with_logits(
                torch.cat([ds, dt]), torch.cat([torch.ones(64), torch.zeros(64)])
            )
            loss = F.cross_entropy(cls, ys[a]) + dom
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
        model.eval()
        with torch.no_grad():
            return [
                (model(x)[0].argmax(1) == y).float().mean().item()
                for x, y in ((xs, ys), (xt[t_test], yt[t_test]))
            ]

    base, dann = run(False), run(True)
    print(
        f"domain_adversarial_reversal: target accuracy plain {base[1]:.3f}, adversarial {dann[1]:.3f} (source {dann[0]:.3f})"
    )
    return dann[1]


# ---------------------------------------------------------------- adversarial training
def pgd_adversarial_training():
    """Madry-style training on PGD examples; attack in eval mode, gradients to the input only, cyclic learning rate."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = _digits()
    eps, step_size, iters = 0.12, 0.04, 5

    def attack(model, x, y):
        was = model.training
        model.eval()
        adv = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
        for _ in range(iters):
            adv.requires_grad_(True)
            with torch.enable_grad():
                g = torch.autograd.grad(F.cross_entropy(model(adv), y), adv)[0]
            adv = adv.detach() + step_size * g.sign()
            adv = torch.min(torch.max(adv, x - eps), x + eps).clamp(0, 1)
        model.train(was)
        return adv.detach()

    def make():
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(512, 10),
        )

    def fit(robust, epochs=8):
        torch.manual_seed(1)
        model = make()
        opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        loader = DataLoader(TensorDataset(xtr, ytr), 64, shuffle=True, drop_last=True)
        sched = torch.optim.lr_scheduler.CyclicLR(
            opt, 0.002, 0.08, step_size_up=epochs * len(loader) // 2
        )
        for _ in range(epochs):
            for x, y in loader:
                if robust:
                    x = attack(model, x, y)
                loss = F.cross_entropy(model(x), y)
                opt.zero_grad()
                loss.backward()
                opt.step()
                sched.step()
        model.eval()
        adv = attack(model, xte, yte)
        with torch.no_grad():
            return [(model(z).argmax(1) == yte).float().mean().item() for z in (xte, adv)]

    plain, robust = fit(False), fit(True)
    print(
        f"pgd_adversarial_training: clean/adversarial plain {plain[0]:.3f}/{plain[1]:.3f}, robust {robust[0]:.3f}/{robust[1]:.3f}"
    )
    return robust[1]


# ---------------------------------------------------------------- vmap ensemble
def vmap_deep_ensemble():
    """Deep ensemble of Gaussian regressors trained at once by vmap over stacked state, each on its bootstrap batch."""
    torch.manual_seed(0)
    d = load_diabetes()
    a, b = train_test_split(np.arange(442), test_size=0.25, random_state=0)
    x, y = (
        torch.tensor(d.data, dtype=torch.float32),
        torch.tensor(d.target, dtype=torch.float32)[:, None],
    )
    mx, sx, my, sy = x[a].mean(0), x[a].std(0), y[a].mean(), y[a].std()
    x, y = (x - mx) / sx, (y - my) / sy
    K, n = 6, len(a)
    xtr, ytr, xte, yte = x[a], y[a], x[b], y[b]
    members = [nn.Sequential(nn.Linear(10, 24), nn.SiLU(), nn.Linear(24, 2)) for _ in range(K)]
    params, buffers = stack_module_state(members)
    skeleton = copy.deepcopy(members[0]).to("meta")
    opt = torch.optim.AdamW(params.values(), lr=5e-3, weight_decay=0.05)
    boot = torch.randint(n, (K, n))

    def forward(p, bf, x):
        mean, raw = functional_call(skeleton, (p, bf), (x,)).chunk(2, -1)
        return mean, F.softplus(raw) + 1e-3

    def nll(p, bf, x, y):
        mean, var = forward(p, bf, x)
        return 0.5 * (var.log() + (y - mean) ** 2 / var).mean()

    batched = vmap(nll, in_dims=(0, 0, 0, 0))

    def predict():
        with torch.no_grad():
            m, v = vmap(forward, in_dims=(0, 0, None))(params, buffers, xte)
        mean = m.mean(0)
        return mean, (v + m**2).mean(0) - mean**2

    def score():
        m, v = predict()
        return F.gaussian_nll_loss(m, yte, v).item()

    before = score()
    for epoch in range(25):
        order = torch.stack([torch.randperm(n) for _ in range(K)])
        for s in range(0, n - 31, 32):
            idx = boot.gather(1, order[:, s : s + 32])
            loss = batched(params, buffers, xtr[idx], ytr[idx]).sum()
            opt.zero_grad()
            loss.backward()
            opt.step()
    after = score()
    m, v = predict()
    r2 = 1 - F.mse_loss(m, yte).item() / yte.var().item()
    cover = ((m - yte).abs() < 1.645 * v.sqrt()).float().mean().item()
    print(
        f"vmap_deep_ensemble: nll {before:.3f} -> {after:.3f}, r2 {r2:.3f}, 90% interval covers {cover:.2f}"
    )
    return r2


# ---------------------------------------------------------------- deep equilibrium
def deep_equilibrium_implicit():
    """Deep equilibrium layer: Anderson-free fixed point without graph, backward by a hook that solves the adjoint."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = _digits()

    class Cell(nn.Module):
        def __init__(self, d=64):
            super().__init__()
            self.W = nn.Parameter(torch.randn(d, d) / math.sqrt(d))
            self.U, self.norm = nn.Linear(64, d), nn.LayerNorm(d)

        def inject(self, x):
            contraction = 0.9 * self.W / torch.linalg.matrix_norm(self.W, 2).clamp(min=0.9)
            return contraction, self.norm(self.U(x))

        def forward(self, z, W, u):
            return torch.tanh(z @ W.T + u)

    def solve(f, z, tol=1e-4, iters=30):
        for k in range(iters):
            nxt = f(z)
            if (nxt - z).norm() < tol * (1 + nxt.norm()):
                return nxt, k
            z = nxt
        return z, iters

    class DEQ(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.iters = Cell(), 0

        def forward(self, x):
            W, u = self.cell.inject(x)
            with torch.no_grad():
                z, self.iters = solve(lambda z: self.cell(z, W, u), torch.zeros_like(u))
            z = self.cell(z, W, u)
            if torch.is_grad_enabled():
                z0 = z.clone().detach().requires_grad_()
                f0 = self.cell(z0, W.detach(), u.detach())

                def backward_hook(g):
                    out, _ = solve(lambda y: torch.autograd.grad(f0, z0, y, retain_graph=True)[0] + g, g)
                    return out

                z.register_hook(backward_hook)
            return z

    model = nn.Sequential(nn.Flatten(), DEQ(), nn.Linear(64, 10))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(TensorDataset(xtr, ytr), 64, shuffle=True)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 6 * len(loader), eta_min=1e-5)
    first = None
    for _ in range(6):
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            first = first or loss.item()
    model.eval()
    with torch.no_grad():
        acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(
        f"deep_equilibrium_implicit: loss {first:.2f} -> {loss.item():.3f}, test {acc:.3f}, {model[1].iters} iterations to the fixed point"
    )
    return acc


# ---------------------------------------------------------------- WaveNet
def wavenet_stream_checkpoint():
    """Dilated causal convolutions with weight norm and gradient checkpointing, mu-law targets, an endless IterableDataset."""
    torch.manual_seed(0)
    Q, L = 32, 96

    def mu_law(x):
        mu = Q - 1
        y = torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)
        return ((y + 1) / 2 * mu + 0.5).long()

    class Stream(IterableDataset):
        def __init__(self, seed):
            self.seed = seed

        def __iter__(self):
            g = torch.Generator().manual_seed(self.seed)
            t = torch.arange(L + 1)
            while True:
                f = 0.15 + 0.35 * torch.rand(2, generator=g)
                ph = 6.28 * torch.rand(2, generator=g)
                x = (
                    0.6 * torch.sin(f[0] * t + ph[0])
                    + 0.3 * torch.sin(f[1] * t + ph[1])
                    + 0.01 * torch.randn(L + 1, generator=g)
                )
                q = mu_law(x.clamp(-1, 1))
                yield q[:-1], q[1:]

    class Residual(nn.Module):
        def __init__(self, c, dilation):
            super().__init__()
            self.pad = dilation
            self.filt = weight_norm(nn.Conv1d(c, c, 2, dilation=dilation))
            self.gate = weight_norm(nn.Conv1d(c, c, 2, dilation=dilation))
            self.res, self.skip = nn.Conv1d(c, c, 1), nn.Conv1d(c, c, 1)

        def forward(self, x):
            p = F.pad(x, (self.pad, 0))
            h = torch.tanh(self.filt(p)) * torch.sigmoid(self.gate(p))
            return x + self.res(h), self.skip(h)

    class WaveNet(nn.Module):
        def __init__(self, c=24):
            super().__init__()
            self.emb = nn.Embedding(Q, c)
            self.layers = nn.ModuleList(Residual(c, d) for d in (1, 2, 4, 8, 16))
            self.post = nn.Sequential(nn.ReLU(), nn.Conv1d(c, c, 1), nn.ReLU(), nn.Conv1d(c, Q, 1))

        def forward(self, q):
            x, skips = self.emb(q).transpose(1, 2), 0
            for l in self.layers:
                x, s = checkpoint(l, x, use_reentrant=False) if self.training else l(x)
                skips = skips + s
            return self.post(skips)

    model = WaveNet()
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.99)
    losses = []
    for q, t in itertools.islice(DataLoader(Stream(0), batch_size=12), 170):
        loss = F.cross_entropy(model(q), t)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        sched.step()
        losses.append(loss.item())
    model.eval()
    q, t = next(iter(DataLoader(Stream(999), batch_size=64)))
    with torch.no_grad():
        val = F.cross_entropy(model(q)[..., 32:], t[:, 32:]).item()
    print(
        f"wavenet_stream_checkpoint: {losses[0]:.2f} -> held-out {val:.3f} nats (uniform {math.log(Q):.2f})"
    )
    return val


# ---------------------------------------------------------------- Lookahead + thread + manual
def threaded_prefetch_manual_lookahead():
    """Training in a worker thread fed by a prefetching thread; momentum by hand, lookahead slow weights, no optimizer object."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = _digits()
    xtr, xte = xtr.flatten(1), xte.flatten(1)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    batches, result = queue.Queue(maxsize=8), {}
    epochs = 12

    def producer():
        g = torch.Generator().manual_seed(0)
        for _ in range(epochs):
            for idx in torch.randperm(len(xtr), generator=g).split(64):
                batches.put((xtr[idx], ytr[idx]))
        batches.put(None)

    def trainer():
        params = list(net.parameters())
        velocity = [torch.zeros_like(p) for p in params]
        slow = [p.detach().clone() for p in params]
        losses, k, lr, mom = [], 0, 0.05, 0.9
        while (item := batches.get()) is not None:
            x, y = item
            loss = F.cross_entropy(net(x), y)
            grads = torch.autograd.grad(loss, params)
            k += 1
            with torch.no_grad():
                for p, v, g in zip(params, velocity, grads):
                    v.mul_(mom).add_(g + 1e-4 * p)
                    p.sub_(lr * v)
                if k % 5 == 0:
                    for p, s in zip(params, slow):
                        s.lerp_(p, 0.5)
                        p.copy_(s)
            losses.append(loss.item())
        with torch.no_grad():
            for p, s in zip(params, slow):
                p.copy_(s)
        result["losses"] = losses

    threads = [threading.Thread(target=producer), threading.Thread(target=trainer)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    net.eval()
    with torch.no_grad():
        acc = (net(xte).argmax(1) == yte).float().mean().item()
    print(
        f"threaded_prefetch_manual_lookahead: {len(result['losses'])} steps, loss {result['losses'][0]:.2f} -> {np.mean(result['losses'][-10:]):.3f}, test {acc:.3f}"
    )
    return acc


# ---------------------------------------------------------------- k-fold search
def kfold_search_early_stopping():
    """Grid search by stratified k-fold with early stopping and best-weight restore, then an ensemble of the folds' models."""
    torch.manual_seed(0)
    d = load_breast_cancer()
    x, y = torch.tensor(d.data, dtype=torch.float32), torch.tensor(d.target, dtype=torch.float32)
    dev, test = train_test_split(np.arange(len(y)), test_size=0.25, random_state=0, stratify=d.target)

    class EarlyStopping:
        def __init__(self, patience=4, min_delta=1e-4):
            self.patience, self.min_delta, self.best, self.count, self.state = (
                patience,
                min_delta,
                math.inf,
                0,
                None,
            )

        def __call__(self, value, model):
            if value < self.best - self.min_delta:
                self.best, self.count, self.state = value, 0, copy.deepcopy(model.state_dict())
            else:
                self.count += 1
            return self.count >= self.patience

    def fit(tr, va, width, lr):
        mu, sd = x[tr].mean(0), x[tr].std(0)
        norm = lambda i: (x[i] - mu) / sd
        model = nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 1))
        opt = torch.optim.NAdam(model.parameters(), lr=lr)
        crit = nn.BCEWithLogitsLoss()
        loader = DataLoader(TensorDataset(norm(tr), y[tr]), 32, shuffle=True)
        stop = EarlyStopping()
        for epoch in range(15):
            model.train()
            for xb, yb in loader:
                opt.zero_grad()
                crit(model(xb).squeeze(1), yb).backward()
                opt.step()
            model.eval()
            with torch.no_grad():
                v = crit(model(norm(va)).squeeze(1), y[va]).item()
            if stop(v, model):
                break
        model.load_state_dict(stop.state)
        model.eval()
        return stop.best, lambda i: torch.sigmoid(model(norm(i)).squeeze(1))

    results = {}
    for width, lr in itertools.product((8, 32), (2e-3, 1e-2)):
        folds = StratifiedKFold(3, shuffle=True, random_state=0).split(dev, d.target[dev])
        runs = [fit(dev[a], dev[b], width, lr) for a, b in folds]
        results[width, lr] = (float(np.mean([r[0] for r in runs])), [r[1] for r in runs])
    best = min(results, key=lambda k: results[k][0])
    with torch.no_grad():
        p = torch.stack([f(test) for f in results[best][1]]).mean(0)
    acc = ((p > 0.5) == (y[test] > 0.5)).float().mean().item()
    print(
        f"kfold_search_early_stopping: best {best} with validation loss {results[best][0]:.3f}, ensemble test {acc:.3f}"
    )
    return acc


HEALTHY = [
    multitask_uncertainty_swa,
    domain_adversarial_reversal,
    pgd_adversarial_training,
    vmap_deep_ensemble,
    deep_equilibrium_implicit,
    wavenet_stream_checkpoint,
    threaded_prefetch_manual_lookahead,
    kfold_search_early_stopping,
]
