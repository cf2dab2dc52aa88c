"""Training loops of many families."""

import copy
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch.nn.utils import spectral_norm
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

from .common import AverageMeter, digits_images, seed_everything, token_sequences
from .faults_4 import ActorCritic, Corridor, coverage, mixture


def accuracy(model, loader):
    model.eval()
    hit = n = 0
    with torch.no_grad():
        for x, y in loader:
            hit += (model(x).argmax(1) == y).sum().item()
            n += len(y)
    return hit / n


# ---------------------------------------------------------------- 1
def sngan_hinge():
    seed_everything(0)
    gen = torch.Generator().manual_seed(9)
    G = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    D = nn.Sequential(
        spectral_norm(nn.Linear(2, 48)),
        nn.LeakyReLU(0.1),
        spectral_norm(nn.Linear(48, 48)),
        nn.LeakyReLU(0.1),
        spectral_norm(nn.Linear(48, 1)),
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(D.parameters(), lr=3e-3, betas=(0.0, 0.9))
    G.train(), D.train()
    for step in range(900):
        x = mixture(64, gen)
        with torch.no_grad():
            fake = G(torch.randn(64, 4))
        d_loss = F.relu(1 - D(x)).mean() + F.relu(1 + D(fake)).mean()
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()
        if step % 2 == 0:
            for p in D.parameters():
                p.requires_grad_(False)
            g_loss = -D(G(torch.randn(64, 4))).mean()
            opt_g.zero_grad()
            g_loss.backward()
            opt_g.step()
            for p in D.parameters():
                p.requires_grad_(True)
    G.eval()
    with torch.no_grad():
        near, least = coverage(G(torch.randn(1000, 4)))
    print(f"sngan_hinge D {d_loss.item():.3f} near {near:.2f} least {least:.2f}")
    return near


# ---------------------------------------------------------------- 2
class StatefulLM(nn.Module):
    def __init__(self, vocab, hid=48):
        super().__init__()
        self.emb = nn.Embedding(vocab, hid)
        self.lstm = nn.LSTM(hid, hid, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(hid, vocab)

    def forward(self, x, state=None):
        h, state = self.lstm(self.emb(x), state)
        return self.out(self.drop(h)), state


def truncated_bptt():
    seed_everything(1)
    rs = np.random.RandomState(5)
    text = " ".join(rs.choice(["lorem", "ipsum", "dolor", "sit", "amet", "elit"], 2200))
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    cut = int(len(ids) * 0.85)

    def batchify(d, bs):
        n = len(d) // bs
        return d[: n * bs].view(bs, n)

    train, val, bptt = batchify(ids[:cut], 16), batchify(ids[cut:], 8), 20
    model = StatefulLM(len(chars))
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(6):
        model.train()
        state, tot, cnt = None, 0.0, 0
        for k in range(0, train.size(1) - 1, bptt):
            t = min(bptt, train.size(1) - 1 - k)
            x, y = train[:, k : k + t], train[:, k + 1 : k + 1 + t]
            if state is not None:
                state = tuple(s.detach() for s in state)
            logits, state = model(x, state)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            tot, cnt = tot + loss.item() * y.numel(), cnt + y.numel()
        model.eval()
        with torch.no_grad():
            logits, _ = model(val[:, :-1])
            vl = F.cross_entropy(logits.flatten(0, 1), val[:, 1:].flatten()).item()
    print(f"truncated_bptt train {tot / cnt:.3f} val {vl:.3f}")
    return vl


# ---------------------------------------------------------------- 3
class SAM(torch.optim.Optimizer):
    def __init__(self, params, base, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw))
        self.base_optimizer = base(self.param_groups, **kw)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        norm = torch.norm(
            torch.stack(
                [p.grad.norm() for g in self.param_groups for p in g["params"] if p.grad is not None]
            )
        )
        for g in self.param_groups:
            for p in g["params"]:
                if p.grad is None:
                    continue
                e = p.grad * (g["rho"] / (norm + 1e-12))
                p.add_(e)
                self.state[p]["e"] = e
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for g in self.param_groups:
            for p in g["params"]:
                if p.grad is not None:
                    p.sub_(self.state[p]["e"])
        self.base_optimizer.step()
        self.zero_grad()

    def step(self, closure=None):
        raise NotImplementedError


def sam_digits():
    seed_everything(2)
    xtr, ytr, xte, yte = digits_images(1000, seed=2)
    loader = DataLoader(TensorDataset(xtr, ytr), 50, shuffle=True)
    val = DataLoader(TensorDataset(xte, yte), 125)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )
    opt = SAM(model.parameters(), torch.optim.SGD, lr=0.05, momentum=0.9)
    for epoch in range(8):
        model.train()
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.first_step()
            F.cross_entropy(model(x), y).backward()
            opt.second_step()
        acc = accuracy(model, val)
    print(f"sam_digits loss {loss.item():.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- 4
def swa_breast_cancer():
    seed_everything(3)
    x, y = load_breast_cancer(return_X_y=True)
    xtr, xva, ytr, yva = train_test_split(x, y, test_size=0.3, random_state=3, stratify=y)
    sc = StandardScaler().fit(xtr)
    mk = lambda a, b: TensorDataset(torch.tensor(sc.transform(a), dtype=torch.float32), torch.tensor(b))
    loader, val = DataLoader(mk(xtr, ytr), 32, shuffle=True), DataLoader(mk(xva, yva), 64)
    model = nn.Sequential(nn.Linear(30, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    swa_model = AveragedModel(model)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=12)
    swa_sched, swa_start = SWALR(opt, swa_lr=0.02, anneal_epochs=2), 8
    for epoch in range(14):
        model.train()
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
        if epoch >= swa_start:
            swa_model.update_parameters(model)
            swa_sched.step()
        else:
            cosine.step()
    update_bn(loader, swa_model)
    acc = accuracy(swa_model, val)
    print(f"swa_breast_cancer loss {loss.item():.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- 5
def mean_teacher():
    seed_everything(4)
    xtr, ytr, xte, yte = digits_images(1300, seed=4)
    lx, ly, ux = xtr[:200], ytr[:200], xtr[200:]
    labelled = DataLoader(TensorDataset(lx, ly), 25, shuffle=True)
    unlabelled = DataLoader(TensorDataset(ux), 50, shuffle=True)
    val = DataLoader(TensorDataset(xte, yte), 100)
    student = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(256, 10),
    )
    teacher = copy.deepcopy(student)
    for p in teacher.parameters():
        p.requires_grad_(False)
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    step, lab_iter = 0, iter(labelled)
    for epoch in range(10):
        student.train()
        teacher.train()
        for (u,) in unlabelled:
            try:
                x, y = next(lab_iter)
            except StopIteration:
                lab_iter = iter(labelled)
                x, y = next(lab_iter)
            with torch.no_grad():
                target = teacher(u + 0.05 * torch.randn_like(u)).softmax(1)
            pred = student(u + 0.05 * torch.randn_like(u)).softmax(1)
            w = min(1.0, step / 80)
            loss = F.cross_entropy(student(x), y) + 3.0 * w * F.mse_loss(pred, target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            d = min(0.98, 1 - 1 / (step + 1))
            with torch.no_grad():
                for t, s in zip(teacher.parameters(), student.parameters()):
                    t.lerp_(s, 1 - d)
        acc = accuracy(teacher, val)
    print(f"mean_teacher loss {loss.item():.3f} teacher acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- 6
def reptile_sines():
    seed_everything(5)
    rs = np.random.RandomState(0)
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))

    def task():
        a, p = rs.uniform(0.5, 2), rs.uniform(0, np.pi)
        return lambda x: a * torch.sin(x + p)

    def adapt(model, f, steps, lr=0.02):
        x = torch.rand(20, 1) * 10 - 5
        inner = torch.optim.SGD(model.parameters(), lr=lr)
        for _ in range(steps):
            inner.zero_grad()
            loss = F.mse_loss(model(x), f(x))
            loss.backward()
            inner.step()
        return loss.item()

    net.train()
    for it in range(350):
        fast = copy.deepcopy(net)
        adapt(fast, task(), 5)
        eps = 0.5 * (1 - it / 350)
        with torch.no_grad():
            for p, q in zip(net.parameters(), fast.parameters()):
                p.add_(q - p, alpha=eps)
    errs = []
    for _ in range(20):
        f, fast = task(), copy.deepcopy(net)
        adapt(fast, f, 20)
        fast.eval()
        with torch.no_grad():
            x = torch.linspace(-5, 5, 50)[:, None]
            errs.append(F.mse_loss(fast(x), f(x)).item())
    print(f"reptile_sines mse after adaptation {np.mean(errs):.3f}")
    return float(np.mean(errs))


# ---------------------------------------------------------------- 7
def lbfgs_diabetes():
    seed_everything(6)
    x, y = load_diabetes(return_X_y=True)
    xtr, xva, ytr, yva = train_test_split(x, y, test_size=0.25, random_state=6)
    sx = StandardScaler().fit(xtr)
    mu, sd = ytr.mean(), ytr.std()
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    xt, xv = to(sx.transform(xtr)), to(sx.transform(xva))
    yt, yv = to((ytr - mu) / sd)[:, None], to((yva - mu) / sd)[:, None]
    net = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=8, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = F.mse_loss(net(xt), yt)
        loss = loss + 0.02 * sum((p**2).sum() for p in net.parameters())
        loss.backward()
        return loss

    for epoch in range(10):
        net.train()
        loss = opt.step(closure)
        net.eval()
        with torch.no_grad():
            vl = F.mse_loss(net(xv), yv).item()
    print(f"lbfgs_diabetes train {loss.item():.3f} val {vl:.3f}")
    return vl


# ---------------------------------------------------------------- 8
def gradual_unfreezing():
    seed_everything(7)
    xa, ya = token_sequences(700, seed=30)
    xv, yv = token_sequences(200, seed=31)
    model = nn.Sequential(
        OrderedDict(
            emb=nn.Embedding(30, 24),
            conv=nn.Conv1d(16, 32, 1),
            act=nn.ReLU(),
            flat=nn.Flatten(),
            head=nn.Linear(32 * 24, 3),
        )
    )
    loader = DataLoader(TensorDataset(xa, ya), 35, shuffle=True)
    val = DataLoader(TensorDataset(xv, yv), 100)
    for p in model.parameters():
        p.requires_grad_(False)
    for p in model.head.parameters():
        p.requires_grad_(True)
    opt = torch.optim.AdamW(model.head.parameters(), lr=2e-3)
    for epoch in range(12):
        if epoch == 2:
            model.conv.requires_grad_(True)
            opt.add_param_group({"params": model.conv.parameters(), "lr": 1e-3})
        if epoch == 4:
            model.emb.requires_grad_(True)
            opt.add_param_group({"params": model.emb.parameters(), "lr": 5e-3})
        model.train()
        meter = AverageMeter()
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            meter.update(loss.item(), len(y))
        acc = accuracy(model, val)
    print(f"gradual_unfreezing loss {meter.avg:.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- 9
def ppo_corridor():
    seed_everything(8)
    env = Corridor(6, 18)
    model = ActorCritic(env.length, 2)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    gamma, lam, clip = 0.97, 0.9, 0.2
    first = last = None
    obs, total, scores = env.reset(), 0.0, []
    for update in range(22):
        S, A, R, Dn, LP, V = [], [], [], [], [], []
        for _ in range(96):
            s = torch.from_numpy(obs)
            with torch.no_grad():
                logits, v = model(s)
                dist = torch.distributions.Categorical(logits=logits)
                a = dist.sample()
                lp = dist.log_prob(a)
            obs, r, done = env.step(a.item())
            total += r
            S.append(s), A.append(a), R.append(r), Dn.append(done), LP.append(lp), V.append(v)
            if done:
                scores.append(total)
                obs, total = env.reset(), 0.0
        with torch.no_grad():
            nv = model(torch.from_numpy(obs))[1].item()
        adv, g = torch.zeros(len(R)), 0.0
        for t in reversed(range(len(R))):
            live = 0.0 if Dn[t] else 1.0
            g = R[t] + gamma * nv * live - V[t].item() + gamma * lam * live * g
            adv[t], nv = g, V[t].item()
        S, A, LP, V = torch.stack(S), torch.stack(A), torch.stack(LP), torch.stack(V)
        ret = adv + V
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)
        for _ in range(4):
            for idx in torch.randperm(len(A)).split(32):
                logits, v = model(S[idx])
                dist = torch.distributions.Categorical(logits=logits)
                ratio = (dist.log_prob(A[idx]) - LP[idx]).exp()
                pg = -torch.min(ratio * adv[idx], ratio.clamp(1 - clip, 1 + clip) * adv[idx]).mean()
                loss = pg + 0.5 * F.mse_loss(v, ret[idx]) - 0.01 * dist.entropy().mean()
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                opt.step()
    print(f"ppo_corridor first {np.mean(scores[:10]):.2f} last {np.mean(scores[-20:]):.2f}")
    return float(np.mean(scores[-20:]))


# ---------------------------------------------------------------- 10
def pinn_decay():
    """u'' + u = 0, u(0)=1, u'(0)=0 on [0, 3]."""
    seed_everything(9)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    t = torch.linspace(0, 3, 50)[:, None].requires_grad_(True)
    t0 = torch.zeros(1, 1, requires_grad=True)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.9985)
    net.train()
    for it in range(1000):
        u = net(t)
        du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        ddu = torch.autograd.grad(du.sum(), t, create_graph=True)[0]
        u0 = net(t0)
        du0 = torch.autograd.grad(u0.sum(), t0, create_graph=True)[0]
        loss = ((ddu + u) ** 2).mean() + 10 * ((u0 - 1) ** 2).mean() + 10 * (du0**2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
    net.eval()
    with torch.no_grad():
        grid = torch.linspace(0, 3, 101)[:, None]
        err = (net(grid) - grid.cos()).abs().max().item()
    print(f"pinn_decay loss {loss.item():.5f} max error {err:.3f}")
    return err


# ---------------------------------------------------------------- 11
class FFLayer(nn.Module):
    def __init__(self, i, o, threshold=2.0, lr=0.01):
        super().__init__()
        self.lin, self.threshold = nn.Linear(i, o), threshold
        self.opt = torch.optim.Adam(self.parameters(), lr=lr)

    def forward(self, x):
        return F.relu(self.lin(x / (x.pow(2).mean(1, keepdim=True).sqrt() + 1e-4)))

    def train_layer(self, pos, neg):
        gp, gn = self(pos).pow(2).mean(1), self(neg).pow(2).mean(1)
        loss = F.softplus(torch.cat([self.threshold - gp, gn - self.threshold])).mean()
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        with torch.no_grad():
            return self(pos), self(neg), loss.item()


def forward_forward():
    seed_everything(10)
    xtr, ytr, xte, yte = digits_images(1200, seed=10)
    xtr, xte = xtr.flatten(1), xte.flatten(1)

    def embed(x, y):
        return torch.cat([x, 2 * F.one_hot(y, 10).float()], 1)

    layers = nn.ModuleList([FFLayer(74, 150), FFLayer(150, 100)])

    def predict(x):
        good = []
        for c in range(10):
            h, g = embed(x, torch.full((len(x),), c)), 0
            for layer in layers:
                h = layer(h)
                g = g + h.pow(2).mean(1)
            good.append(g)
        return torch.stack(good, 1).argmax(1)

    for epoch in range(40):
        layers.train()
        for x, y in DataLoader(TensorDataset(xtr, ytr), 60, shuffle=True):
            wrong = (y + torch.randint(1, 10, y.shape)) % 10
            pos, neg = embed(x, y), embed(x, wrong)
            for layer in layers:
                pos, neg, loss = layer.train_layer(pos, neg)
    layers.eval()
    with torch.no_grad():
        acc = (predict(xte) == yte).float().mean().item()
    print(f"forward_forward loss {loss:.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- 12
def fed_avg():
    seed_everything(11)
    xtr, ytr, xte, yte = digits_images(1200, seed=11)
    order = torch.argsort(ytr + 8 * torch.rand(len(ytr)))
    clients = [TensorDataset(xtr[i], ytr[i]) for i in order.chunk(5)]
    val = DataLoader(TensorDataset(xte, yte), 100)
    build = lambda: nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(432, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    server = build()
    for rnd in range(15):
        states, sizes = [], []
        for ds in clients:
            local = build()
            local.load_state_dict(server.state_dict())
            opt = torch.optim.SGD(local.parameters(), lr=0.05, momentum=0.9)
            local.train()
            for _ in range(2):
                for x, y in DataLoader(ds, 30, shuffle=True):
                    opt.zero_grad()
                    loss = F.cross_entropy(local(x), y)
                    loss.backward()
                    opt.step()
            states.append(local.state_dict())
            sizes.append(len(ds))
        total = sum(sizes)
        server.load_state_dict(
            {k: sum(s[k] * (n / total) for s, n in zip(states, sizes)) for k in states[0]}
        )
        acc = accuracy(server, val)
    print(f"fed_avg acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- 13
def kfold_wine():
    seed_everything(12)
    x, y = load_wine(return_X_y=True)
    scores = []
    for fold, (tr, va) in enumerate(KFold(5, shuffle=True, random_state=0).split(x)):
        sc = StandardScaler().fit(x[tr])
        mk = lambda i: TensorDataset(
            torch.tensor(sc.transform(x[i]), dtype=torch.float32), torch.tensor(y[i])
        )
        loader, val = DataLoader(mk(tr), 16, shuffle=True), DataLoader(mk(va), 64)
        model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 3))
        opt = torch.optim.Adam(model.parameters(), lr=5e-3)
        for epoch in range(12):
            model.train()
            for xb, yb in loader:
                opt.zero_grad()
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                opt.step()
        scores.append(accuracy(model, val))
    print(f"kfold_wine acc {np.mean(scores):.3f} +- {np.std(scores):.3f}")
    return float(np.mean(scores))


# ---------------------------------------------------------------- 14
class ConvVAE(nn.Module):
    def __init__(self, z=6):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.mu, self.logvar = nn.Linear(128, z), nn.Linear(128, z)
        self.dec = nn.Sequential(
            nn.Linear(z, 128),
            nn.ReLU(),
            nn.Unflatten(1, (32, 2, 2)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1),
        )

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu
        if self.training:
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


def vae_warmup():
    seed_everything(13)
    xtr, _, xte, _ = digits_images(1200, seed=13)
    loader = DataLoader(TensorDataset(xtr), 50, shuffle=True)
    val = DataLoader(TensorDataset(xte), 100)
    model = ConvVAE()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)

    def terms(x):
        logits, mu, logvar = model(x)
        rec = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum() / len(x)
        return rec, kl

    step = 0
    for epoch in range(12):
        model.train()
        for (x,) in loader:
            beta = min(1.0, step / 100)
            rec, kl = terms(x)
            loss = rec + beta * kl
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
        model.eval()
        vr, vk = AverageMeter(), AverageMeter()
        with torch.no_grad():
            for (x,) in val:
                rec, kl = terms(x)
                vr.update(rec.item(), len(x))
                vk.update(kl.item(), len(x))
    print(f"vae_warmup val rec {vr.avg:.2f} kl {vk.avg:.2f}")
    return vr.avg


HEALTHY = [
    sngan_hinge,
    truncated_bptt,
    sam_digits,
    swa_breast_cancer,
    mean_teacher,
    reptile_sines,
    lbfgs_diabetes,
    gradual_unfreezing,
    ppo_corridor,
    pinn_decay,
    forward_forward,
    fed_avg,
    kfold_wine,
    vae_warmup,
]
