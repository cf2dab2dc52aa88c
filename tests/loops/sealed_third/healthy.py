"""Healthy loops that are unusual, as people write them."""

import copy
import itertools
import math
import random
import re

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_sample_image,
    load_wine,
)
from sklearn.model_selection import StratifiedKFold
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.optim import lr_scheduler, swa_utils
from torch.utils.data import DataLoader, IterableDataset, Sampler, Subset, TensorDataset


def digits(flat=True):
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x))
    x = torch.tensor(x / 16.0, dtype=torch.float32)[order]
    y = torch.tensor(y)[order]
    return (x if flat else x.view(-1, 1, 8, 8)), y


def digits_loaders(batch=64, flat=True, n_train=1400):
    x, y = digits(flat)
    train = DataLoader(TensorDataset(x[:n_train], y[:n_train]), batch_size=batch, shuffle=True)
    return train, DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=200)


@torch.no_grad()
def score(model, loader):
    was_training = model.training
    model.eval()
    good = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    model.train(was_training)
    return good / len(loader.dataset)


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 10),
    )


def mlp(*sizes, act=nn.ReLU):
    layers = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            layers.append(act())
    return nn.Sequential(*layers)


# 1. accumulation over micro-batches, the last group shorter
def digits_microbatches():
    train, val = digits_loaders(batch=12, flat=False)
    model = small_cnn()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    accumulate = 5
    for epoch in range(4):
        model.train()
        n = len(train)
        for i, (x, y) in enumerate(train):
            group = accumulate if i < n - n % accumulate else n % accumulate
            (F.cross_entropy(model(x), y) / group).backward()
            if (i + 1) % accumulate == 0 or i + 1 == n:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                opt.zero_grad(set_to_none=True)
        acc = score(model, val)


# 2. frozen feature extractor kept in eval mode, only a head is trained
def digits_frozen_features():
    x, y = digits(flat=False)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    )
    pre = nn.Sequential(body, nn.Linear(256, 5))
    opt = torch.optim.Adam(pre.parameters(), lr=3e-3)
    first = y < 5
    for xb, yb in DataLoader(TensorDataset(x[first], y[first]), batch_size=64, shuffle=True):
        opt.zero_grad()
        F.cross_entropy(pre(xb), yb).backward()
        opt.step()

    body.requires_grad_(False)
    model = nn.Sequential(body, nn.Linear(256, 5))
    opt = torch.optim.Adam(model[1].parameters(), lr=5e-3)
    xs, ys = x[~first], y[~first] - 5
    train = DataLoader(TensorDataset(xs[:700], ys[:700]), batch_size=50, shuffle=True)
    val = DataLoader(TensorDataset(xs[700:], ys[700:]), batch_size=100)
    for epoch in range(5):
        model.train()
        body.eval()  # batch norm keeps the statistics of the first task
        for xb, yb in train:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        acc = score(model, val)


# 3. BYOL-like with momentum target
def digits_byol():
    x, y = digits()
    loader = DataLoader(TensorDataset(x[:1400]), batch_size=100, shuffle=True, drop_last=True)
    online = nn.Sequential(nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 32))
    predictor = nn.Sequential(nn.Linear(32, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 32))
    target = copy.deepcopy(online)
    for p in target.parameters():
        p.requires_grad = False
    opt = torch.optim.Adam([*online.parameters(), *predictor.parameters()], lr=2e-3)

    def view(a):
        return a * (torch.rand_like(a) > 0.2) + 0.05 * torch.randn_like(a)

    for epoch in range(10):
        for (xb,) in loader:
            a, b = view(xb), view(xb)
            with torch.no_grad():
                ta, tb = target(a), target(b)
            loss = (
                2
                - F.cosine_similarity(predictor(online(a)), tb).mean()
                - F.cosine_similarity(predictor(online(b)), ta).mean()
            )
            opt.zero_grad()
            loss.backward()
            opt.step()
            with torch.no_grad():
                for t, o in zip(target.parameters(), online.parameters()):
                    t.lerp_(o, 0.05)
    online.eval()
    with torch.no_grad():
        z = F.normalize(online(x), dim=1)
    knn = (y[:1400][(z[1400:] @ z[:1400].t()).argmax(1)] == y[1400:]).float().mean().item()


# 4. sanity check: one batch must be memorised
def digits_one_batch():
    train, _ = digits_loaders(batch=32, flat=False)
    x, y = next(iter(train))
    model = small_cnn()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(80):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())


# 5. label smoothing with mixup and warm restarts
def digits_mixup_restarts():
    train, val = digits_loaders(batch=70, flat=False)
    model = small_cnn()
    crit = nn.CrossEntropyLoss(label_smoothing=0.1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    sched = lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=20, T_mult=2)
    beta = torch.distributions.Beta(0.4, 0.4)
    for epoch in range(7):
        model.train()
        for x, y in train:
            lam = beta.sample().item()
            perm = torch.randperm(len(x))
            out = model(lam * x + (1 - lam) * x[perm])
            loss = lam * crit(out, y) + (1 - lam) * crit(out, y[perm])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        acc = score(model, val)


# 6. cyclic learning rate, regression, hand-written r2
def diabetes_cyclic():
    X, Y = load_diabetes(return_X_y=True)
    X = torch.tensor(X / X.std(0)).float()
    Y = torch.tensor(Y).float()
    order = torch.randperm(len(X))
    tr, va = order[:340], order[340:]
    mean, std = Y[tr].mean(), Y[tr].std()
    loader = DataLoader(TensorDataset(X[tr], (Y[tr] - mean) / std), batch_size=34, shuffle=True)
    net = mlp(10, 24, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.005)
    cyc = lr_scheduler.CyclicLR(opt, base_lr=0.005, max_lr=0.08, step_size_up=25, cycle_momentum=False)
    for epoch in range(18):
        net.train()
        for x, y in loader:
            loss = F.smooth_l1_loss(net(x).squeeze(1), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            cyc.step()
        net.eval()
        with torch.no_grad():
            pred = net(X[va]).squeeze(1) * std + mean
            r2 = (1 - ((pred - Y[va]) ** 2).sum() / ((Y[va] - Y[va].mean()) ** 2).sum()).item()


# 7. low-rank adapters, one of the two factors starts at zero
class LoraLinear(nn.Module):
    def __init__(self, base, rank=4, alpha=8):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * F.linear(F.linear(x, self.A), self.B)


def digits_lora():
    train, val = digits_loaders()
    net = mlp(64, 64, 64, 10)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(3):
        for x, y in train:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()

    # new domain: images turned by 180 degrees
    for i, layer in enumerate(net):
        if isinstance(layer, nn.Linear):
            net[i] = LoraLinear(layer)
    opt = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    for epoch in range(5):
        net.train()
        for x, y in train:
            loss = F.cross_entropy(net(x.flip(1)), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        acc = sum((net(x.flip(1)).argmax(1) == y).sum().item() for x, y in val) / len(val.dataset)


# 8. distillation with hard and soft targets
def digits_student():
    train, val = digits_loaders()
    teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    opt = torch.optim.Adam(teacher.parameters(), lr=5e-3)
    for epoch in range(3):
        teacher.train()
        for x, y in train:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()
    teacher.eval().requires_grad_(False)
    student = mlp(64, 16, 10)
    opt = torch.optim.Adam(student.parameters(), lr=1e-2)
    T, alpha = 4.0, 0.7
    for epoch in range(5):
        student.train()
        for x, y in train:
            out = student(x)
            soft = (
                F.kl_div(
                    F.log_softmax(out / T, -1),
                    F.log_softmax(teacher(x) / T, -1),
                    log_target=True,
                    reduction="batchmean",
                )
                * T**2
            )
            loss = alpha * soft + (1 - alpha) * F.cross_entropy(out, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        acc = score(student, val)


# 9. density regression, the loss goes below zero
def noise_aware_regression():
    x = torch.rand(1200, 1) * 6 - 3
    y = 0.3 * torch.sin(2 * x) + 0.02 * (1 + x.abs()) * torch.randn_like(x)
    train = DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=50, shuffle=True)
    net = mlp(1, 48, 48, 2, act=nn.Tanh)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss_fn = nn.GaussianNLLLoss()
    for epoch in range(10):
        for xb, yb in train:
            mu, raw = net(xb).chunk(2, 1)
            loss = loss_fn(mu, yb, F.softplus(raw) + 1e-4)
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        mu, raw = net(x[1000:]).chunk(2, 1)
        val_nll = loss_fn(mu, y[1000:], F.softplus(raw) + 1e-4).item()


# 10. tied embedding, truncated back-propagation with carried (detached) state
class TiedLM(nn.Module):
    def __init__(self, vocab, dim=64):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.rnn = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, vocab, bias=False)
        self.out.weight = self.emb.weight
        nn.init.normal_(self.emb.weight, std=0.1)

    def forward(self, x, h):
        y, h = self.rnn(self.emb(x), h)
        return self.out(y), h


def descr_tied_lm():
    text = re.sub(
        r"\s+",
        " ",
        (
            load_iris().DESCR + load_wine().DESCR + load_breast_cancer().DESCR + load_diabetes().DESCR
        ).lower(),
    )
    table = {c: i for i, c in enumerate(sorted(set(text)))}
    codes = torch.tensor([table[c] for c in text])
    streams = codes[: len(codes) // 10 * 10].view(10, -1)
    train, held = streams[:9], streams[9:]
    model = TiedLM(len(table))
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)

    def walk(s, learn):
        h, total, steps = None, 0.0, 0
        for i in range(0, s.shape[1] - 1, 25):
            x, y = s[:, i : i + 25], s[:, i + 1 : i + 26]
            logits, h = model(x[:, : y.shape[1]], h)
            h = h.detach()
            loss = F.cross_entropy(logits.transpose(1, 2), y)
            if learn:
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
            total, steps = total + loss.item(), steps + 1
        return total / steps

    for epoch in range(3):
        model.train()
        train_loss = walk(train, True)
        model.eval()
        with torch.no_grad():
            val_loss = walk(held, False)


# 11. deep ensemble, every member on its own bootstrap
def wine_ensemble():
    X, Y = load_wine(return_X_y=True)
    order = np.random.permutation(len(X))
    X, Y = X[order], Y[order]
    mu, sd = X[:120].mean(0), X[:120].std(0)
    X = torch.tensor((X - mu) / sd).float()
    Y = torch.tensor(Y)
    members = []
    for seed in range(4):
        torch.manual_seed(seed)
        idx = torch.randint(0, 120, (120,))
        net = mlp(13, 16, 3)
        opt = torch.optim.Adam(net.parameters(), lr=2e-2)
        for epoch in range(10):
            for xb, yb in DataLoader(TensorDataset(X[idx], Y[idx]), batch_size=30, shuffle=True):
                loss = F.cross_entropy(net(xb), yb)
                opt.zero_grad()
                loss.backward()
                opt.step()
        members.append(net.eval())
    with torch.no_grad():
        prob = torch.stack([F.softmax(m(X[120:]), 1) for m in members]).mean(0)
    acc = (prob.argmax(1) == Y[120:]).float().mean().item()


# 12. stratified folds with fresh models and weights for the rare class
def tumour_folds():
    d = load_breast_cancer()
    scores = []
    for tr, va in StratifiedKFold(4, shuffle=True).split(d.data, d.target):
        mu, sd = d.data[tr].mean(0), d.data[tr].std(0)
        x = torch.tensor((d.data - mu) / sd).float()
        y = torch.tensor(d.target).float()
        pos = y[tr].sum()
        crit = nn.BCEWithLogitsLoss(pos_weight=(len(tr) - pos) / pos)
        net = mlp(30, 24, 1)
        opt = torch.optim.RMSprop(net.parameters(), lr=2e-3)
        everything = TensorDataset(x, y)
        for epoch in range(5):
            for xb, yb in DataLoader(Subset(everything, tr), batch_size=48, shuffle=True):
                loss = crit(net(xb).flatten(), yb)
                opt.zero_grad()
                loss.backward()
                opt.step()
        with torch.no_grad():
            scores.append(((net(x[va]).flatten() > 0) == (y[va] > 0.5)).float().mean().item())


# 13. online learning, one example at a time, tested before it is learnt
def electricity_online():
    w_true = torch.randn(8)
    w, b = torch.zeros(8, requires_grad=True), torch.zeros((), requires_grad=True)
    errors = []
    for t in range(200):
        if t == 120:
            w_true = w_true + 0.5 * torch.randn(8)  # the world changes
        x = torch.randn(8)
        y = x @ w_true + 0.1 * torch.randn(())
        err = x @ w + b - y
        loss = err**2
        gw, gb = torch.autograd.grad(loss, (w, b))
        with torch.no_grad():
            w -= 0.04 * gw
            b -= 0.04 * gb
        errors.append(loss.item())


# 14. Monte-Carlo dropout for the uncertainty
def sine_mc_dropout():
    x = torch.linspace(-2, 2, 300).unsqueeze(1)
    x = x[torch.randperm(300)]
    y = torch.sin(2 * x) + 0.1 * torch.randn_like(x)
    net = nn.Sequential(
        nn.Linear(1, 96),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(96, 96),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(96, 1),
    )
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(20):
        net.train()
        for xb, yb in DataLoader(TensorDataset(x[:240], y[:240]), batch_size=30, shuffle=True):
            loss = F.mse_loss(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
    net.eval()
    for m in net:
        if isinstance(m, nn.Dropout):
            m.train()  # dropout on, on purpose
    with torch.no_grad():
        draws = torch.stack([net(x[240:]) for _ in range(30)])
    rmse = (draws.mean(0) - y[240:]).pow(2).mean().sqrt().item()
    spread = draws.std(0).mean().item()


# 15. test-time adaptation (TENT): entropy, only the batch-norm affine
def digits_test_time():
    train, val = digits_loaders(flat=False)
    model = small_cnn()
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(4):
        model.train()
        for x, y in train:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
    clean = score(model, val)

    model.requires_grad_(False)
    affine = []
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.track_running_stats, m.running_mean, m.running_var = False, None, None
            m.requires_grad_(True)
            affine += [m.weight, m.bias]
    opt = torch.optim.SGD(affine, lr=1e-2, momentum=0.9)
    good = 0
    for _ in range(6):
        good = 0
        for x, y in val:
            x = 0.6 * x + 0.3 + 0.05 * torch.randn_like(x)
            out = model(x)
            entropy = -(out.softmax(1) * out.log_softmax(1)).sum(1).mean()
            opt.zero_grad()
            entropy.backward()
            opt.step()
            good += (out.argmax(1) == y).sum().item()
    adapted = good / len(val.dataset)


# 16. fake quantisation, straight-through
class FakeQuantLinear(nn.Linear):
    def forward(self, x):
        scale = self.weight.detach().abs().max() / 7
        q = torch.clamp(torch.round(self.weight / scale), -7, 7) * scale
        w = self.weight + (q - self.weight).detach()
        return F.linear(x, w, self.bias)


def digits_four_bit():
    train, val = digits_loaders()
    net = nn.Sequential(FakeQuantLinear(64, 64), nn.ReLU(), FakeQuantLinear(64, 10))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(6):
        net.train()
        for x, y in train:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        acc = score(net, val)


# 17. hypernetwork: weights of the small net come from another one
def sine_hypernet():
    hyper = mlp(2, 64, 16 + 16 + 16 + 1)
    opt = torch.optim.Adam(hyper.parameters(), lr=5e-3)

    def apply(task, x):
        w1, b1, w2, b2 = hyper(task).split([16, 16, 16, 1], dim=1)
        h = torch.tanh(x.unsqueeze(2) * w1.unsqueeze(1) * 3 + b1.unsqueeze(1))
        return (h * w2.unsqueeze(1)).sum(2) + b2

    losses = []
    for step in range(200):
        amp, phase = torch.rand(32, 1) * 1.5 + 0.5, torch.rand(32, 1) * 2
        x = torch.rand(32, 20) * 4 - 2
        loss = F.mse_loss(apply(torch.cat([amp, phase], 1), x), amp * torch.sin(x + phase))
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())


# 18. deep equilibrium model, the fixed point is searched without gradient
class Equilibrium(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.inject = nn.Linear(64, d)
        self.w = parametrizations.spectral_norm(nn.Linear(d, d))
        self.out = nn.Linear(d, 10)

    def f(self, z, u):
        return torch.tanh(0.8 * self.w(z) + u)

    def forward(self, x):
        u = self.inject(x)
        z = torch.zeros_like(u)
        with torch.no_grad():
            for _ in range(15):
                z = self.f(z, u)
        z = self.f(z, u)  # one step with gradient
        return self.out(z)


def digits_equilibrium():
    train, val = digits_loaders()
    model = Equilibrium()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(5):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        acc = score(model, val)


# 19. siamese with a shared encoder and a contrastive margin
def digits_pairs():
    x, y = digits()
    enc = mlp(64, 64, 16)
    opt = torch.optim.Adam(enc.parameters(), lr=3e-3)
    for step in range(180):
        i = torch.randint(0, 1400, (128,))
        j = torch.randint(0, 1400, (128,))
        for row in range(0, 128, 2):  # half of the pairs are of one class
            j[row] = random.choice((y[:1400] == y[i[row]]).nonzero().flatten().tolist())
        same = (y[i] == y[j]).float()
        dist = F.pairwise_distance(enc(x[i]), enc(x[j]))
        loss = (same * dist**2 + (1 - same) * F.relu(1.5 - dist) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        z = enc(x)
        near = torch.cdist(z[1400:], z[:1400]).argmin(1)
    acc = (y[:1400][near] == y[1400:]).float().mean().item()


# 20. evolution strategy, no gradients at all
@torch.no_grad()
def iris_evolution():
    X, Y = load_iris(return_X_y=True)
    X = torch.tensor((X - X.mean(0)) / X.std(0)).float()
    Y = torch.tensor(Y)
    net = mlp(4, 8, 3, act=nn.Tanh)
    theta = nn.utils.parameters_to_vector(net.parameters())
    sigma, lr, history = 0.1, 0.15, []
    for generation in range(60):
        eps = torch.randn(20, len(theta))
        fitness = []
        for e in torch.cat([eps, -eps]):
            nn.utils.vector_to_parameters(theta + sigma * e, net.parameters())
            fitness.append(-F.cross_entropy(net(X), Y))
        fitness = torch.stack(fitness)
        diff = fitness[:20] - fitness[20:]
        theta = theta + lr * (diff.unsqueeze(1) * eps).mean(0) / (2 * sigma) * 4
        nn.utils.vector_to_parameters(theta, net.parameters())
        history.append(F.cross_entropy(net(X), Y).item())


# 21. stochastic weight averaging with update_bn
def digits_swa():
    train, val = digits_loaders(flat=False)
    model = small_cnn()
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    averaged = swa_utils.AveragedModel(model)
    swa_lr = swa_utils.SWALR(opt, swa_lr=0.02, anneal_epochs=2)
    for epoch in range(7):
        model.train()
        for x, y in train:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        if epoch >= 3:
            averaged.update_parameters(model)
            swa_lr.step()
    swa_utils.update_bn(train, averaged)
    acc = score(averaged, val)


# 22. lookahead written by hand
def wine_lookahead():
    X, Y = load_wine(return_X_y=True)
    X, Y = torch.tensor(X).float(), torch.tensor(Y)
    order = torch.randperm(len(X))
    tr, va = order[:130], order[130:]
    X = (X - X[tr].mean(0)) / X[tr].std(0)
    loader = DataLoader(TensorDataset(X[tr], Y[tr]), batch_size=13, shuffle=True)
    val = DataLoader(TensorDataset(X[va], Y[va]), batch_size=48)
    net = mlp(13, 20, 3)
    slow = [p.detach().clone() for p in net.parameters()]
    fast = torch.optim.SGD(net.parameters(), lr=0.1)
    step = 0
    for epoch in range(12):
        for x, y in loader:
            loss = F.cross_entropy(net(x), y)
            fast.zero_grad()
            loss.backward()
            fast.step()
            step += 1
            if step % 5 == 0:
                with torch.no_grad():
                    for s, p in zip(slow, net.parameters()):
                        s += 0.5 * (p - s)
                        p.copy_(s)
        acc = score(net, val)


# 23. Wasserstein critic with gradient penalty, several critic turns per generator turn
def rings_wgan():
    def real(n):
        a = torch.rand(n) * 2 * math.pi
        return torch.stack([a.cos(), a.sin()], 1) * 1.5 + 0.05 * torch.randn(n, 2)

    gen, critic = mlp(4, 48, 48, 2), mlp(2, 64, 64, 1, act=nn.SiLU)
    og = torch.optim.Adam(gen.parameters(), lr=3e-3, betas=(0.5, 0.9))
    oc = torch.optim.Adam(critic.parameters(), lr=5e-3, betas=(0.5, 0.9))
    for it in range(65):
        for _ in range(3):
            r = real(64)
            with torch.no_grad():
                f = gen(torch.randn(64, 4))
            mix = torch.rand(64, 1)
            m = (mix * r + (1 - mix) * f).requires_grad_(True)
            (g,) = torch.autograd.grad(critic(m).sum(), m, create_graph=True)
            c_loss = critic(f).mean() - critic(r).mean() + ((g.norm(dim=1) - 1) ** 2).mean()
            oc.zero_grad()
            c_loss.backward()
            oc.step()
        g_loss = -critic(gen(torch.randn(64, 4))).mean()
        og.zero_grad()
        g_loss.backward()
        og.step()
    with torch.no_grad():
        radius = gen(torch.randn(500, 4)).norm(dim=1).mean().item()


# 24. MAML through torch.func
def sine_maml():
    net = mlp(1, 32, 32, 1, act=nn.Tanh)
    params = {k: v.detach().clone().requires_grad_(True) for k, v in net.named_parameters()}
    opt = torch.optim.Adam(params.values(), lr=5e-3)

    def mse(p, x, y):
        return F.mse_loss(functional_call(net, p, (x,)), y)

    def adapted_loss(p, xs, ys, xq, yq):
        for _ in range(2):
            g = grad(mse)(p, xs, ys)
            p = {k: p[k] - 0.1 * g[k] for k in p}
        return mse(p, xq, yq)

    losses = []
    for it in range(150):
        amp, ph = torch.rand(8, 1, 1) * 2 + 0.5, torch.rand(8, 1, 1) * 3
        x = torch.rand(8, 20, 1) * 6 - 3
        y = amp * torch.sin(x + ph)
        loss = vmap(adapted_loss, in_dims=(None, 0, 0, 0, 0))(
            params, x[:, :10], y[:, :10], x[:, 10:], y[:, 10:]
        ).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())


# 25. curriculum: a sampler which opens up to the harder examples
class Curriculum(Sampler):
    def __init__(self, difficulty):
        self.order = difficulty.argsort().tolist()
        self.share = 0.3

    def __iter__(self):
        pool = self.order[: int(self.share * len(self.order))]
        return iter(random.sample(pool, len(pool)))

    def __len__(self):
        return int(self.share * len(self.order))


def digits_curriculum():
    x, y = digits()
    noise = torch.rand(1400, 1) * 0.5
    noisy = x[:1400] + noise * torch.randn(1400, 64)
    sampler = Curriculum(noise.flatten())
    train = DataLoader(TensorDataset(noisy, y[:1400]), batch_size=50, sampler=sampler)
    val = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=200)
    net = mlp(64, 64, 10)
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(8):
        sampler.share = min(1.0, 0.3 + 0.12 * epoch)
        net.train()
        for xb, yb in train:
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        acc = score(net, val)


# 26. endless stream and a step budget
class PendulumStream(IterableDataset):
    def __iter__(self):
        while True:
            theta, omega = random.uniform(-2, 2), random.uniform(-1, 1)
            path = []
            for _ in range(12):
                omega += -0.1 * math.sin(theta) + random.gauss(0, 0.01)
                theta += 0.3 * omega
                path.append([theta, omega])
            path = torch.tensor(path)
            yield path[:10].flatten(), path[11]


def pendulum_stream():
    loader = DataLoader(PendulumStream(), batch_size=32)
    held_x, held_y = next(iter(DataLoader(PendulumStream(), batch_size=200)))
    net = mlp(20, 48, 2)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    warm = lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 20))
    curve = []
    for step, (x, y) in enumerate(itertools.islice(loader, 160)):
        loss = F.mse_loss(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        warm.step()
        if step % 20 == 0:
            with torch.no_grad():
                curve.append(F.mse_loss(net(held_x), held_y).item())


# 27. sharpness-aware minimisation: two backward passes a step
def digits_sam():
    train, val = digits_loaders(batch=70)
    net = mlp(64, 64, 10)
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(5):
        net.train()
        for x, y in train:
            F.cross_entropy(net(x), y).backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
                shift = [0.05 * p.grad / (norm + 1e-12) for p in net.parameters()]
                for p, s in zip(net.parameters(), shift):
                    p.add_(s)
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            with torch.no_grad():
                for p, s in zip(net.parameters(), shift):
                    p.sub_(s)
            opt.step()
            opt.zero_grad()
        acc = score(net, val)


# 28. conflicting tasks, projected gradients (PCGrad)
def two_goals_surgery():
    x = torch.randn(400, 3)
    t1 = (x[:, :1] - x[:, 1:2]).tanh()
    t2 = (x[:, 1:2] * x[:, 2:]).sin()
    net = mlp(3, 48, 48, 2)
    params = list(net.parameters())
    opt = torch.optim.Adam(params, lr=5e-3)
    loader = DataLoader(TensorDataset(x[:320], t1[:320], t2[:320]), batch_size=32, shuffle=True)
    for epoch in range(18):
        for xb, a, b in loader:
            out = net(xb)
            losses = [F.mse_loss(out[:, :1], a), F.mse_loss(out[:, 1:], b)]
            grads = [
                torch.cat([g.flatten() for g in torch.autograd.grad(l, params, retain_graph=True)])
                for l in losses
            ]
            total = torch.zeros_like(grads[0])
            for i, g in enumerate(grads):
                other = grads[1 - i]
                dot = g @ other
                if dot < 0:
                    g = g - dot / other.pow(2).sum() * other
                total += g
            start = 0
            for p in params:
                p.grad = total[start : start + p.numel()].view_as(p).clone()
                start += p.numel()
            opt.step()
    with torch.no_grad():
        out = net(x[320:])
        val = (F.mse_loss(out[:, :1], t1[320:]) + F.mse_loss(out[:, 1:], t2[320:])).item()


# 29. prune and fine-tune
def digits_pruned():
    train, val = digits_loaders()
    net = mlp(64, 96, 10)

    def fit(epochs, lr):
        opt = torch.optim.Adam(net.parameters(), lr=lr)
        for _ in range(epochs):
            net.train()
            for x, y in train:
                loss = F.cross_entropy(net(x), y)
                opt.zero_grad()
                loss.backward()
                opt.step()
        return score(net, val)

    dense = fit(4, 4e-3)
    for layer in (net[0], net[2]):
        prune.l1_unstructured(layer, "weight", amount=0.7)
    cut = score(net, val)
    tuned = fit(3, 2e-3)
    for layer in (net[0], net[2]):
        prune.remove(layer, "weight")


# 30. noisy labels, co-teaching: each net picks the small-loss part for the other
def digits_coteaching():
    x, y = digits()
    noisy = torch.where(torch.rand(1400) < 0.3, torch.randint(0, 10, (1400,)), y[:1400])
    train = DataLoader(TensorDataset(x[:1400], noisy), batch_size=70, shuffle=True)
    val = DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=200)
    a, b = mlp(64, 64, 10), mlp(64, 64, 10)
    oa, ob = torch.optim.Adam(a.parameters(), lr=3e-3), torch.optim.Adam(b.parameters(), lr=3e-3)
    for epoch in range(8):
        keep = 1 - min(0.3, 0.06 * epoch)
        for xb, yb in train:
            la = F.cross_entropy(a(xb), yb, reduction="none")
            lb = F.cross_entropy(b(xb), yb, reduction="none")
            k = int(keep * len(xb))
            ia, ib = la.detach().argsort()[:k], lb.detach().argsort()[:k]
            oa.zero_grad()
            la[ib].mean().backward()
            oa.step()
            ob.zero_grad()
            lb[ia].mean().backward()
            ob.step()
        accs = (score(a, val) + score(b, val)) / 2


# 31. self-play: Nim, one table plays both sides
def nim_selfplay():
    net = mlp(12, 48, 3)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    onehot = torch.eye(12)
    losses = []
    for update in range(150):
        states, moves, results = [], [], []
        for game in range(6):
            heap, turn, played = random.randint(4, 11), 0, []
            while heap > 0:
                legal = min(3, heap)
                if random.random() < 0.25:
                    m = random.randrange(legal)
                else:
                    with torch.no_grad():
                        m = net(onehot[heap])[:legal].argmax().item()
                played.append((heap, m, turn))
                heap -= m + 1
                turn = 1 - turn
            winner = 1 - turn  # who took the last one
            for h, m, t in played:
                states.append(h)
                moves.append(m)
                results.append(1.0 if t == winner else -1.0)
        q = net(onehot[torch.tensor(states)]).gather(1, torch.tensor(moves).unsqueeze(1)).squeeze(1)
        loss = F.mse_loss(q, torch.tensor(results))
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())


# 32. physics-informed: the loss is the residual of an ODE, no data
def decay_pinn():
    net = mlp(1, 24, 24, 1, act=nn.Tanh)
    opt = torch.optim.Adam(net.parameters(), lr=8e-3)
    sched = lr_scheduler.ExponentialLR(opt, 0.99)

    def u(t):
        return 1 + t * net(t)  # u(0) = 1

    for step in range(200):
        t = (torch.rand(64, 1) * 3).requires_grad_(True)
        y = u(t)
        (dy,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        loss = ((dy + 1.3 * y) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
    with torch.no_grad():
        t = torch.linspace(0, 3, 50).unsqueeze(1)
        worst = (u(t) - torch.exp(-1.3 * t)).abs().max().item()


# 33. several models in one go by vmap over stacked parameters
def wine_vmapped():
    X, Y = load_wine(return_X_y=True)
    X, Y = torch.tensor(X).float(), torch.tensor(Y)
    order = torch.randperm(len(X))
    tr, va = order[:130], order[130:]
    X = (X - X[tr].mean(0)) / X[tr].std(0)
    nets = [mlp(13, 16, 3) for _ in range(5)]
    params, buffers = stack_module_state(nets)
    shell = copy.deepcopy(nets[0]).to("meta")
    opt = torch.optim.Adam(params.values(), lr=1e-2)

    def call(p, b, x):
        return functional_call(shell, (p, b), (x,))

    for step in range(80):
        idx = tr[torch.randint(0, 130, (32,))]
        out = vmap(call, in_dims=(0, 0, None))(params, buffers, X[idx])
        loss = sum(F.cross_entropy(o, Y[idx]) for o in out)
        opt.zero_grad()
        loss.backward()
        opt.step()
    with torch.no_grad():
        votes = vmap(call, in_dims=(0, 0, None))(params, buffers, X[va]).softmax(-1).mean(0)
    acc = (votes.argmax(1) == Y[va]).float().mean().item()


# 34. packed tagger: padding ignored
def brackets_tagger():
    samples = []
    for _ in range(500):
        n = random.randint(5, 25)
        toks = torch.randint(1, 4, (n,))  # 1 opens, 2 closes, 3 other
        step = (toks == 1).long() - (toks == 2).long()
        depth = step.cumsum(0)
        samples.append((toks, (depth > 0).long()))

    def collate(batch):
        lengths = torch.tensor([len(t) for t, _ in batch])
        x = pad_sequence([t for t, _ in batch], batch_first=True)
        y = pad_sequence([g for _, g in batch], batch_first=True, padding_value=-100)
        return x, y, lengths

    train = DataLoader(samples[:400], batch_size=20, shuffle=True, collate_fn=collate)
    val = DataLoader(samples[400:], batch_size=50, collate_fn=collate)
    emb, rnn, out = nn.Embedding(4, 8, padding_idx=0), nn.GRU(8, 32, batch_first=True), nn.Linear(32, 2)
    tagger = nn.ModuleList([emb, rnn, out])
    opt = torch.optim.Adam(tagger.parameters(), lr=1e-2)

    def logits_of(x, lengths):
        packed = pack_padded_sequence(emb(x), lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=x.shape[1])
        return out(h)

    for epoch in range(6):
        tagger.train()
        for x, y, lengths in train:
            loss = F.cross_entropy(logits_of(x, lengths).flatten(0, 1), y.flatten(), ignore_index=-100)
            opt.zero_grad()
            loss.backward()
            opt.step()
        tagger.eval()
        good = seen = 0
        with torch.no_grad():
            for x, y, lengths in val:
                keep = y != -100
                good += (logits_of(x, lengths).argmax(-1) == y)[keep].sum().item()
                seen += keep.sum().item()
        acc = good / seen


# 35. alternating two optimisers: users, then items
def ratings_factors():
    users, items = torch.randn(60, 3), torch.randn(40, 3)
    full = users @ items.t() + 0.1 * torch.randn(60, 40)
    seen = torch.rand(60, 40) < 0.4
    U, V = nn.Parameter(0.1 * torch.randn(60, 3)), nn.Parameter(0.1 * torch.randn(40, 3))
    ou, ov = torch.optim.Adam([U], lr=0.1), torch.optim.Adam([V], lr=0.1)

    def objective():
        return ((U @ V.t() - full)[seen] ** 2).mean() + 1e-3 * (U.pow(2).mean() + V.pow(2).mean())

    for turn in range(16):
        for name, opt in (("users", ou), ("items", ov)):
            for _ in range(6):
                U.grad = V.grad = None
                loss = objective()
                loss.backward()
                opt.step()
    hidden_mse = ((U @ V.t() - full)[~seen] ** 2).mean().item()


# 36. denoising a photograph with a residual net that starts as the identity (zero-initialised last layer)
def china_denoiser():
    photo = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1).float() / 255
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 3, 3, padding=1),
    )
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)

    def crops(n, left, right):
        out = []
        for _ in range(n):
            r, c = random.randint(0, 390), random.randint(left, right)
            out.append(photo[:, r : r + 32, c : c + 32])
        return torch.stack(out)

    held = crops(32, 500, 600)
    held_noisy = held + 0.15 * torch.randn_like(held)
    curve = []
    for step in range(120):
        clean = crops(8, 0, 440)
        noisy = clean + 0.15 * torch.randn_like(clean)
        loss = F.mse_loss(noisy + net(noisy), clean)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if step % 20 == 19:
            with torch.no_grad():
                curve.append(F.mse_loss(held_noisy + net(held_noisy), held).item())


HEALTHY = [
    digits_microbatches,
    digits_frozen_features,
    digits_byol,
    digits_one_batch,
    digits_mixup_restarts,
    diabetes_cyclic,
    digits_lora,
    digits_student,
    noise_aware_regression,
    descr_tied_lm,
    wine_ensemble,
    tumour_folds,
    electricity_online,
    sine_mc_dropout,
    digits_test_time,
    digits_four_bit,
    sine_hypernet,
    digits_equilibrium,
    digits_pairs,
    iris_evolution,
    digits_swa,
    wine_lookahead,
    rings_wgan,
    sine_maml,
    digits_curriculum,
    pendulum_stream,
    digits_sam,
    two_goals_surgery,
    digits_pruned,
    digits_coteaching,
    nim_selfplay,
    decay_pinn,
    wine_vmapped,
    brackets_tagger,
    ratings_factors,
    china_denoiser,
]
