"""Sound loops, each in a manner of its own."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

from .common import accuracy, blobs, cancer, diabetes, digits_split, shapes, tones


def _energy(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def moons_with_spectral_norm():
    """Hinge GAN, two optimizers, the critic's weights normalised by power iteration."""
    torch.manual_seed(201)

    def moons(n):
        s = torch.rand(n) * math.pi
        up = torch.rand(n) < 0.5
        x = torch.where(up, s.cos(), 1 - s.cos())
        y = torch.where(up, s.sin(), 0.4 - s.sin())
        return torch.stack([x - 0.5, y - 0.2], 1) + 0.06 * torch.randn(n, 2)

    gen = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    dis = nn.Sequential(
        spectral_norm(nn.Linear(2, 64)),
        nn.LeakyReLU(0.1),
        spectral_norm(nn.Linear(64, 64)),
        nn.LeakyReLU(0.1),
        spectral_norm(nn.Linear(64, 1)),
    )
    g_opt = torch.optim.Adam(gen.parameters(), lr=1e-3, betas=(0.5, 0.9))
    d_opt = torch.optim.Adam(dis.parameters(), lr=3e-3, betas=(0.5, 0.9))
    data, held = moons(1500), moons(400)

    @torch.no_grad()
    def quality():
        gen.eval()
        q = _energy(gen(torch.randn(400, 4)), held)
        gen.train()
        return q

    before = quality()
    for epoch in range(25):
        for idx in torch.randperm(len(data)).split(100):
            d_opt.zero_grad()
            with torch.no_grad():
                fake = gen(torch.randn(len(idx), 4))
            d_loss = F.relu(1 - dis(data[idx])).mean() + F.relu(1 + dis(fake)).mean()
            d_loss.backward()
            d_opt.step()

            for p in dis.parameters():
                p.requires_grad_(False)
            g_opt.zero_grad()
            g_loss = -dis(gen(torch.randn(100, 4))).mean()
            g_loss.backward()
            g_opt.step()
            for p in dis.parameters():
                p.requires_grad_(True)
    return {"before": before, "after": quality()}


def accumulation_with_remainder():
    """Five micro-batches a step, and the odd ones at the end are not lost."""
    torch.manual_seed(202)
    x, y = tones(700, classes=5, noise=1.0, seed=202)
    x = torch.fft.rfft(x.squeeze(1)).abs()[:, 1:100].log1p()
    mu, sd = x[:500].mean(0), x[:500].std(0)
    x = (x - mu) / sd
    net = nn.Sequential(nn.Linear(99, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 5))
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
    group = 40
    rows = []
    for epoch in range(10):
        net.train()
        total, held = 0.0, 0
        order = torch.randperm(500)
        pieces = order.split(8)
        for k, idx in enumerate(pieces):
            first = k // 5 * 5
            in_group = min(group, 500 - first * 8)
            loss = F.cross_entropy(net(x[idx]), y[idx], reduction="sum")
            (loss / in_group).backward()
            total, held = total + loss.item(), held + 1
            if held == 5 or k == len(pieces) - 1:
                nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                opt.step()
                opt.zero_grad()
                held = 0
        net.eval()
        with torch.no_grad():
            rows.append((total / 500, accuracy(net(x[500:]), y[500:])))
    return {"first": rows[0][0], "last": rows[-1][0], "val": rows[-1][1]}


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw))
        self.base = base(self.param_groups, **kw)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def climb(self):
        norm = torch.stack(
            [p.grad.norm() for g in self.param_groups for p in g["params"] if p.grad is not None]
        ).norm()
        for g in self.param_groups:
            for p in g["params"]:
                if p.grad is not None:
                    e = p.grad * (g["rho"] / (norm + 1e-12))
                    p.add_(e)
                    self.state[p]["e"] = e

    @torch.no_grad()
    def descend(self):
        for g in self.param_groups:
            for p in g["params"]:
                if "e" in self.state[p]:
                    p.sub_(self.state[p]["e"])
        self.base.step()

    @torch.no_grad()
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        self.climb()
        self.zero_grad()
        closure()
        self.descend()


def sharpness_aware_digits():
    """Two forwards and two backwards per update; the weights are moved and moved back."""
    torch.manual_seed(203)
    xa, ya, xb, yb = digits_split(31)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    opt = SAM(net.parameters(), torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9)
    out = []
    for epoch in range(10):
        net.train()
        total = 0.0
        for idx in torch.randperm(len(xa)).split(64):

            def closure():
                again = F.cross_entropy(net(xa[idx]), ya[idx])
                again.backward()
                return again

            loss = F.cross_entropy(net(xa[idx]), ya[idx])
            loss.backward()
            opt.step(closure)
            opt.zero_grad()
            total += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            out.append((total / len(xa), accuracy(net(xb), yb)))
    return {"first": out[0][0], "last": out[-1][0], "val": out[-1][1]}


def averaged_weights_of_shapes():
    """SWA: a second half at a constant rate, then the statistics of the averaged net are found anew."""
    torch.manual_seed(204)
    x, y = shapes(900, size=12, seed=204)
    x = (x - x[:600].mean()) / x[:600].std()
    train = DataLoader(TensorDataset(x[:600], y[:600]), batch_size=40, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 20, 3, padding=1, bias=False),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(80, 4),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=6)
    swa, swa_lr, swa_start = AveragedModel(net), SWALR(opt, swa_lr=0.02, anneal_epochs=2), 6
    losses = []
    for epoch in range(10):
        net.train()
        total = 0.0
        for xb, yb in train:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item() * len(yb)
        losses.append(total / 600)
        if epoch >= swa_start:
            swa.update_parameters(net)
            swa_lr.step()
        else:
            cosine.step()
    update_bn(train, swa)
    swa.eval()
    with torch.no_grad():
        return {"first": losses[0], "last": losses[-1], "val": accuracy(swa(x[600:]), y[600:])}


def mean_teacher_few_labels():
    """A hundred labels, the rest only by agreement with a slowly following teacher."""
    torch.manual_seed(205)
    xa, ya, xb, yb = digits_split(33)
    lab, unl = xa[:150], xa[150:]
    student = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 10))
    teacher = copy.deepcopy(student)
    for p in teacher.parameters():
        p.requires_grad_(False)
    teacher.eval()
    opt = torch.optim.Adam(student.parameters(), lr=2e-3)
    step, rows = 0, []
    for epoch in range(12):
        student.train()
        total, count = 0.0, 0
        for idx in torch.randperm(len(unl)).split(40):
            pick = torch.randint(len(lab), (30,))
            seen = unl[idx]
            with torch.no_grad():
                want = teacher(seen + 0.05 * torch.randn_like(seen)).softmax(1)
            supervised = F.cross_entropy(student(lab[pick] + 0.05 * torch.randn(30, 64)), ya[:150][pick])
            agree = F.mse_loss(student(seen + 0.05 * torch.randn_like(seen)).softmax(1), want)
            loss = supervised + 4 * min(1.0, epoch / 5) * agree
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            with torch.no_grad():
                rate = min(0.99, 1 - 1 / (step + 1))
                for a, b in zip(teacher.parameters(), student.parameters()):
                    a.lerp_(b, 1 - rate)
            total, count = total + supervised.item(), count + 1
        student.eval()
        with torch.no_grad():
            rows.append((total / count, accuracy(teacher(xb), yb), accuracy(student(xb), yb)))
    return {"first": rows[0][0], "last": rows[-1][0], "val": rows[-1][1], "student": rows[-1][2]}


def waves_by_maml():
    """Second-order meta-learning: the inner step is on fast weights, the outer on the start."""
    torch.manual_seed(206)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    meta = torch.optim.Adam(net.parameters(), lr=2e-3)
    inner = 0.05

    def task(g=None):
        amp, ph = 0.5 + 1.5 * torch.rand(1, generator=g), math.pi * torch.rand(1, generator=g)

        def draw(k):
            x = 6 * torch.rand(k, 1, generator=g) - 3
            return x, amp * torch.sin(x + ph)

        return draw

    def adapt(draw, create_graph, steps=1):
        fast = dict(net.named_parameters())
        x, y = draw(10)
        for _ in range(steps):
            loss = F.mse_loss(functional_call(net, fast, (x,)), y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=create_graph)
            fast = {k: w - inner * g for (k, w), g in zip(fast.items(), grads)}
        return fast

    def check():
        g = torch.Generator().manual_seed(1)
        errs = []
        for _ in range(40):
            draw = task(g)
            fast = adapt(draw, False, steps=3)
            with torch.no_grad():
                x, y = draw(40)
                errs.append(F.mse_loss(functional_call(net, fast, (x,)), y).item())
        return float(np.mean(errs))

    before = check()
    for it in range(250):
        meta.zero_grad()
        outer = 0.0
        for _ in range(4):
            draw = task()
            fast = adapt(draw, True)
            x, y = draw(10)
            outer = outer + F.mse_loss(functional_call(net, fast, (x,)), y) / 4
        outer.backward()
        meta.step()
    return {"before": before, "after": check()}


def disease_progress_lbfgs():
    """Full batch, a closure that is called many times per step, a penalty chosen beforehand."""
    torch.manual_seed(207)
    xa, ya, xb, yb = diabetes(8)
    net = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = torch.optim.LBFGS(
        net.parameters(), lr=0.5, max_iter=5, history_size=8, line_search_fn="strong_wolfe"
    )
    calls, log = 0, []

    def closure():
        nonlocal calls
        calls += 1
        opt.zero_grad()
        loss = F.mse_loss(net(xa).squeeze(1), ya) + 0.02 * sum(p.pow(2).sum() for p in net.parameters())
        loss.backward()
        return loss

    for _ in range(15):
        net.train()
        loss = opt.step(closure)
        net.eval()
        with torch.no_grad():
            log.append((loss.item(), F.mse_loss(net(xb).squeeze(1), yb).item()))
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1], "calls": float(calls)}


def damped_oscillator_pinn():
    """No data at all but the equation and its start; derivatives of the net in the loss."""
    torch.manual_seed(208)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.997)
    c, k = 0.4, 4.0
    w = math.sqrt(k - c * c / 4)

    def truth(t):
        return torch.exp(-c / 2 * t) * (torch.cos(w * t) + c / (2 * w) * torch.sin(w * t))

    def u(t):
        return 1 + t * t * net(t - 1.5)

    log = []
    for step in range(900):
        t = (3 * torch.rand(64, 1)).requires_grad_(True)
        y = u(t)
        (dy,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        (ddy,) = torch.autograd.grad(dy.sum(), t, create_graph=True)
        loss = (ddy + c * dy + k * y).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if step % 100 == 99:
            with torch.no_grad():
                grid = torch.linspace(0, 3, 100)[:, None]
                log.append((loss.item(), F.mse_loss(u(grid), truth(grid)).item()))
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1]}


def forward_forward_digits():
    """Each layer has its own goodness, its own optimizer, and gets a detached input."""
    torch.manual_seed(209)
    xa, ya, xb, yb = digits_split(37)

    def tag(x, y):
        return torch.cat([F.one_hot(y, 10).float(), x], 1)

    class Layer(nn.Linear):
        def __init__(self, i, o):
            super().__init__(i, o)
            self.opt = torch.optim.Adam(self.parameters(), lr=5e-3)
            self.level = 1.0

        def forward(self, x):
            return F.relu(super().forward(x / (x.pow(2).mean(1, keepdim=True).sqrt() + 1e-4)))

        def learn(self, pos, neg):
            gp, gn = self.forward(pos).pow(2).mean(1), self.forward(neg).pow(2).mean(1)
            loss = F.softplus(torch.cat([self.level - gp, gn - self.level])).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            with torch.no_grad():
                return self.forward(pos), self.forward(neg), loss.item()

    layers = [Layer(74, 150), Layer(150, 150)]

    @torch.no_grad()
    def classify(x):
        scores = []
        for c in range(10):
            h, s = tag(x, torch.full((len(x),), c)), 0
            for layer in layers:
                h = layer(h)
                s = s + h.pow(2).mean(1)
            scores.append(s)
        return torch.stack(scores, 1)

    log = []
    for epoch in range(15):
        total, n = 0.0, 0
        for idx in torch.randperm(len(xa)).split(50):
            x, y = xa[idx], ya[idx]
            other = (y + torch.randint(1, 10, y.shape)) % 10
            pos, neg = tag(x, y), tag(x, other)
            for layer in layers:
                pos, neg, loss = layer.learn(pos, neg)
                total, n = total + loss, n + 1
        log.append((total / n, accuracy(classify(xb), yb)))
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1]}


def pruned_tumours():
    """Train, prune two thirds in steps, train on; masks stay in the forward."""
    torch.manual_seed(210)
    xa, ya, xb, yb = cancer(11)
    net = nn.Sequential(nn.Linear(30, 48), nn.ReLU(), nn.Linear(48, 2))
    dense = [m for m in net if isinstance(m, nn.Linear)]
    for m in dense:
        prune.identity(m, "weight")
    opt = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    log = []
    for epoch in range(14):
        if epoch in (4, 6, 8):
            prune.global_unstructured([(m, "weight") for m in dense], prune.L1Unstructured, amount=0.3)
        net.train()
        total = 0.0
        for idx in torch.randperm(len(xa)).split(32):
            loss = F.cross_entropy(net(xa[idx]), ya[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            log.append((total / len(xa), accuracy(net(xb), yb)))
    for m in dense:
        prune.remove(m, "weight")
    zero = sum((m.weight == 0).sum().item() for m in dense) / sum(m.weight.numel() for m in dense)
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1], "sparse": zero}


def federated_sensors():
    """Every round: copies go out, learn at home with new optimizers, and their mean comes back."""
    torch.manual_seed(211)
    x, y = blobs(1100, 20, 5, spread=1.2, seed=211, scale=0.8)
    mean, std = x[:800].mean(0), x[:800].std(0)
    x = (x - mean) / std
    order = torch.argsort(y[:800] + 1.5 * torch.rand(800))
    homes = order.chunk(5)
    server = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    log = []
    for rnd in range(10):
        returned, total = [], 0.0
        for home in homes:
            local = copy.deepcopy(server)
            local.train()
            opt = torch.optim.SGD(local.parameters(), lr=0.05)
            for _ in range(2):
                for idx in home[torch.randperm(len(home))].split(20):
                    loss = F.cross_entropy(local(x[idx]), y[idx])
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
                    total += loss.item() * len(idx)
            returned.append((len(home), local.state_dict()))
        n = sum(k for k, _ in returned)
        server.load_state_dict(
            {key: sum(k / n * sd[key] for k, sd in returned) for key in returned[0][1]}
        )
        server.eval()
        with torch.no_grad():
            log.append((total / (2 * n), accuracy(server(x[800:]), y[800:])))
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1]}


def digits_pair_by_pair():
    """Continual learning in five tasks, with a small memory replayed."""
    torch.manual_seed(212)
    xa, ya, xb, yb = digits_split(41)
    net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5)
    mem_x, mem_y, log, firsts, lasts = xa[:0], ya[:0], [], [], []
    for task in range(5):
        mine = (ya // 2) == task
        x, y = xa[mine], ya[mine]
        for epoch in range(6):
            net.train()
            total = 0.0
            for idx in torch.randperm(len(x)).split(20):
                bx, by = x[idx], y[idx]
                if len(mem_y):
                    old = torch.randint(len(mem_y), (40,))
                    bx, by = torch.cat([bx, mem_x[old]]), torch.cat([by, mem_y[old]])
                loss = F.cross_entropy(net(bx), by)
                opt.zero_grad()
                loss.backward()
                opt.step()
                total += loss.item() * len(idx)
            (firsts if epoch == 0 else lasts).append(total / len(x))
        keep = torch.randperm(len(x))[:60]
        mem_x, mem_y = torch.cat([mem_x, x[keep]]), torch.cat([mem_y, y[keep]])
        net.eval()
        with torch.no_grad():
            so_far = (yb // 2) <= task
            log.append(accuracy(net(xb[so_far]), yb[so_far]))
    return {"first": firsts[-1], "last": lasts[-1], "val": log[-1], "one": log[0]}


def warmed_up_vae():
    """The KL weight rises from nought, so the total may rise while both parts are well."""
    torch.manual_seed(213)
    xa, _, xb, _ = digits_split(43)

    class VAE(nn.Module):
        def __init__(self, z=6):
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(64, 96), nn.ReLU())
            self.mu, self.logvar = nn.Linear(96, z), nn.Linear(96, z)
            self.dec = nn.Sequential(nn.Linear(z, 96), nn.ReLU(), nn.Linear(96, 64))

        def forward(self, x):
            h = self.enc(x)
            mu, lv = self.mu(h), self.logvar(h)
            z = mu + torch.randn_like(mu) * (0.5 * lv).exp() if self.training else mu
            return self.dec(z), mu, lv

    def parts(model, x):
        out, mu, lv = model(x)
        rec = F.binary_cross_entropy_with_logits(out, x, reduction="none").sum(1).mean()
        return rec, -0.5 * (1 + lv - mu.pow(2) - lv.exp()).sum(1).mean()

    model = VAE()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    log = []
    for epoch in range(15):
        model.train()
        beta, total = min(1.0, epoch / 8), 0.0
        for idx in torch.randperm(len(xa)).split(50):
            rec, kl = parts(model, xa[idx])
            loss = rec + beta * kl
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += rec.item() * len(idx)
        model.eval()
        with torch.no_grad():
            rec, kl = parts(model, xb)
            log.append((total / len(xa), rec.item(), kl.item()))
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1], "kl": log[-1][2]}


def corridor_dqn():
    """Replay memory, a target net copied now and then, rewards only at the far end."""
    torch.manual_seed(3)
    rng = np.random.default_rng(214)
    length, gamma = 8, 0.9

    def walk(s, a):
        s = min(max(s + (1 if a == 1 else -1), 0), length - 1)
        return s, float(s == length - 1), s == length - 1

    def see(s):
        return F.one_hot(torch.as_tensor(s), length).float()

    q = nn.Sequential(nn.Linear(length, 32), nn.ReLU(), nn.Linear(32, 2))
    target = copy.deepcopy(q).requires_grad_(False)
    opt = torch.optim.Adam(q.parameters(), lr=3e-3)
    memory, losses, step = [], [], 0

    def greedy_return():
        s, worth, k = 0, 1.0, 0
        with torch.no_grad():
            while k < 30:
                s, r, done = walk(s, q(see(s)).argmax().item())
                if done:
                    return worth
                worth, k = worth * gamma, k + 1
        return 0.0

    before = greedy_return()
    for episode in range(60):
        s = int(rng.integers(0, length - 1))
        for _ in range(25):
            if rng.random() < max(0.1, 1 - episode / 30):
                a = int(rng.integers(2))
            else:
                with torch.no_grad():
                    a = q(see(s)).argmax().item()
            s2, r, done = walk(s, a)
            memory.append((s, a, r, s2, float(done)))
            s = s2
            if len(memory) >= 64:
                pick = rng.integers(0, len(memory), 32)
                S, A, R, N, E = (torch.tensor(v) for v in zip(*(memory[i] for i in pick)))
                with torch.no_grad():
                    want = R + gamma * (1 - E) * target(see(N)).max(1).values
                got = q(see(S)).gather(1, A[:, None]).squeeze(1)
                loss = F.smooth_l1_loss(got, want)
                opt.zero_grad()
                loss.backward()
                opt.step()
                losses.append(loss.item())
                step += 1
                if step % 25 == 0:
                    target.load_state_dict(q.state_dict())
            if done:
                break
    with torch.no_grad():
        true = torch.tensor([gamma ** (length - 2 - s) for s in range(length - 1)])
        err = (q(see(list(range(length - 1)))).max(1).values - true).abs().max().item()
    return {
        "before": before,
        "after": greedy_return(),
        "best": gamma ** (length - 2),
        "q_err": err,
        "steps": float(step),
    }


HEALTHY = [
    moons_with_spectral_norm,
    accumulation_with_remainder,
    sharpness_aware_digits,
    averaged_weights_of_shapes,
    mean_teacher_few_labels,
    waves_by_maml,
    disease_progress_lbfgs,
    damped_oscillator_pinn,
    forward_forward_digits,
    pruned_tumours,
    federated_sensors,
    digits_pair_by_pair,
    warmed_up_vae,
    corridor_dqn,
]
