import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_moons
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

from .common import seed_all, tones


def _digits(seed, n_tr=900, n_va=400):
    X, y = load_digits(return_X_y=True)
    a, b, c, d = train_test_split(
        X / 16.0, y, train_size=n_tr, test_size=n_va, random_state=seed, stratify=y
    )
    t = lambda v: torch.tensor(v, dtype=torch.float32)
    return t(a), t(b), torch.tensor(c), torch.tensor(d)


def _acc(net, X, y):
    was = net.training
    net.eval()
    with torch.no_grad():
        r = (net(X).argmax(1) == y).float().mean().item()
    net.train(was)
    return r


def sn_gan():
    seed_all(101)
    pts = make_moons(2000, noise=0.05, random_state=1)[0].astype("float32")
    pts = torch.tensor((pts - pts.mean(0)) / pts.std(0))
    sn = lambda i, o: spectral_norm(nn.Linear(i, o))
    G = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    D = nn.Sequential(sn(2, 64), nn.LeakyReLU(0.2), sn(64, 64), nn.LeakyReLU(0.2), sn(64, 1))
    g_opt = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.0, 0.9))
    d_opt = torch.optim.Adam(D.parameters(), lr=3e-3, betas=(0.0, 0.9))
    for it in range(600):
        real = pts[torch.randint(0, 2000, (64,))]
        fake = G(torch.randn(64, 4))
        d_loss = F.relu(1 - D(real)).mean() + F.relu(1 + D(fake.detach())).mean()
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()
        g_loss = -D(fake).mean()
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
    with torch.no_grad():
        d = torch.cdist(pts[:500], G(torch.randn(500, 4))).min(1).values.mean().item()
    print("sn_gan coverage %.3f" % d)


def accumulation_with_remainder():
    seed_all(102)
    X, Xv, y, yv = _digits(102)
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.1), nn.Linear(48, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    chunks_per_step = 4
    for epoch in range(10):
        net.train()
        parts = torch.randperm(900).split(17)
        for g in range(0, len(parts), chunks_per_step):
            group = parts[g : g + chunks_per_step]
            n = sum(len(p) for p in group)
            opt.zero_grad()
            for p in group:
                (F.cross_entropy(net(X[p]), y[p], reduction="sum") / n).backward()
            opt.step()
    print("accumulate acc %.3f" % _acc(net, Xv, yv))


def sam_wine():
    seed_all(103)
    X, y = load_wine(return_X_y=True)
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.3, random_state=3, stratify=y)
    sc = StandardScaler().fit(Xa)
    Xa, Xb = [torch.tensor(sc.transform(v), dtype=torch.float32) for v in (Xa, Xb)]
    ya, yb = torch.tensor(ya), torch.tensor(yb)
    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    rho = 0.05
    for epoch in range(15):
        tot = 0.0
        for b in torch.randperm(len(Xa)).split(16):
            opt.zero_grad()
            loss = F.cross_entropy(net(Xa[b]), ya[b])
            loss.backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm() + 1e-12
                shifts = [p.grad * (rho / norm) for p in net.parameters()]
                for p, e in zip(net.parameters(), shifts):
                    p.add_(e)
            opt.zero_grad()
            F.cross_entropy(net(Xa[b]), ya[b]).backward()
            with torch.no_grad():
                for p, e in zip(net.parameters(), shifts):
                    p.sub_(e)
            opt.step()
            tot += loss.item() * len(b)
    print("sam loss %.3f acc %.3f" % (tot / len(Xa), _acc(net, Xb, yb)))


def swa_digits():
    seed_all(104)
    X, Xv, y, yv = _digits(104)
    net = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    swa = torch.optim.swa_utils.AveragedModel(net)
    swa_sched = torch.optim.swa_utils.SWALR(opt, swa_lr=0.03, anneal_epochs=2)
    dl = DataLoader(TensorDataset(X, y), batch_size=30, shuffle=True)
    for epoch in range(10):
        net.train()
        for xb, yb in dl:
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()
        if epoch >= 5:
            swa.update_parameters(net)
            swa_sched.step()
    torch.optim.swa_utils.update_bn(dl, swa)
    print("swa acc %.3f" % _acc(swa, Xv, yv))


def mean_teacher():
    seed_all(105)
    X, Xv, y, yv = _digits(105)
    n_lab = 150
    make = lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    student, teacher = make(), make()
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False).eval()
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    step = 0
    for epoch in range(15):
        student.train()
        for u in torch.randperm(900).split(45):
            l = torch.randint(0, n_lab, (30,))
            xu = X[u]
            with torch.no_grad():
                target = F.softmax(teacher(xu + 0.1 * torch.randn_like(xu)), 1)
            sup = F.cross_entropy(student(X[l]), y[l])
            cons = F.mse_loss(F.softmax(student(xu + 0.1 * torch.randn_like(xu)), 1), target)
            loss = sup + 3.0 * min(1, epoch / 4) * cons
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            a = min(1 - 1 / (step + 1), 0.97)
            with torch.no_grad():
                for t, s in zip(teacher.parameters(), student.parameters()):
                    t.mul_(a).add_(s, alpha=1 - a)
    print("teacher acc %.3f" % _acc(teacher, Xv, yv))


def reptile_sines():
    seed_all(106)
    rng = np.random.RandomState(6)

    def task():
        A, p = rng.uniform(0.5, 2), rng.uniform(0, np.pi)

        def sample(n):
            x = torch.tensor(rng.uniform(-3, 3, (n, 1)), dtype=torch.float32)
            return x, A * torch.sin(x + p)

        return sample

    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))

    def adapt(model, sample, steps, lr=0.03):
        fast = copy.deepcopy(model)
        opt = torch.optim.SGD(fast.parameters(), lr=lr)
        x, y = sample(10)
        for _ in range(steps):
            opt.zero_grad()
            F.mse_loss(fast(x), y).backward()
            opt.step()
        return fast

    def test(model):
        out = []
        for _ in range(10):
            s = task()
            fast = adapt(model, s, 10)
            x, y = s(50)
            with torch.no_grad():
                out.append(F.mse_loss(fast(x), y).item())
        return float(np.mean(out))

    before = test(net)
    for it in range(250):
        fast = adapt(net, task(), 5)
        with torch.no_grad():
            for p, q in zip(net.parameters(), fast.parameters()):
                p.add_(q - p, alpha=0.3 * (1 - it / 250))
    print("reptile %.3f -> %.3f" % (before, test(net)))


def lbfgs_diabetes():
    seed_all(107)
    X, y = load_diabetes(return_X_y=True)
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.25, random_state=7)
    sx, sy = StandardScaler().fit(Xa), StandardScaler().fit(ya[:, None])
    f = lambda v: torch.tensor(v, dtype=torch.float32)
    Xa, Xb, ya, yb = (
        f(sx.transform(Xa)),
        f(sx.transform(Xb)),
        f(sy.transform(ya[:, None])),
        f(sy.transform(yb[:, None])),
    )
    net = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = F.mse_loss(net(Xa), ya) + 0.02 * sum((p**2).sum() for p in net.parameters())
        loss.backward()
        return loss

    for epoch in range(12):
        loss = opt.step(closure)
    with torch.no_grad():
        print("lbfgs %.3f test mse %.3f" % (loss.item(), F.mse_loss(net(Xb), yb).item()))


def mixup_noisy_labels():
    seed_all(108)
    X, Xv, y, yv = _digits(108)
    rng = np.random.RandomState(8)
    y_noisy = torch.where(torch.tensor(rng.rand(900) < 0.2), torch.tensor(rng.randint(0, 10, 900)), y)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=5e-3, total_steps=12 * 30)
    for epoch in range(12):
        net.train()
        for b in torch.randperm(900).split(30):
            lam = rng.beta(0.4, 0.4)
            o = b[torch.randperm(len(b))]
            out = net(lam * X[b] + (1 - lam) * X[o])
            loss = lam * F.cross_entropy(out, y_noisy[b]) + (1 - lam) * F.cross_entropy(out, y_noisy[o])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
    print("mixup loss %.3f clean acc %.3f" % (loss.item(), _acc(net, Xv, yv)))


def thaw_layer_by_layer():
    seed_all(109)
    X, y = tones(700, length=96, seed=109, noise=0.4)
    X, y = torch.tensor(X).unsqueeze(1), torch.tensor(y)
    body = nn.Sequential(
        nn.Conv1d(1, 16, 9),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(16, 24, 5),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
    )
    net = nn.Sequential(body, nn.Linear(96, 4))
    body.requires_grad_(False)
    opt = torch.optim.Adam(net[1].parameters(), lr=5e-3)
    for epoch in range(12):
        if epoch == 3:
            body.requires_grad_(True)
            opt.add_param_group({"params": body.parameters(), "lr": 3e-3})
        net.train()
        if epoch < 3:
            body.eval()
        tot = 0.0
        for b in torch.randperm(500).split(25):
            opt.zero_grad()
            loss = F.cross_entropy(net(X[b]), y[b])
            loss.backward()
            opt.step()
            tot += loss.item()
    print("thaw loss %.3f acc %.3f" % (tot / 20, _acc(net, X[500:], y[500:])))


def pinn_decay():
    seed_all(110)
    net = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for it in range(500):
        t = torch.rand(64, 1, requires_grad=True) * 3
        u = net(t)
        du = torch.autograd.grad(u.sum(), t, create_graph=True)[0]
        loss = ((du + u) ** 2).mean() + 5 * (net(torch.zeros(1, 1)) - 1).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    t = torch.linspace(0, 3, 50).unsqueeze(1)
    with torch.no_grad():
        print("pinn err %.4f" % (net(t) - torch.exp(-t)).abs().max().item())


def forward_forward():
    seed_all(111)
    X, Xv, y, yv = _digits(111)

    class Layer(nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.lin = nn.Linear(i, o)
            self.opt = torch.optim.Adam(self.lin.parameters(), lr=5e-3)

        def forward(self, x):
            return F.relu(self.lin(x / (x.norm(dim=1, keepdim=True) + 1e-4)))

        def learn(self, pos, neg):
            gp, gn = self(pos).pow(2).sum(1), self(neg).pow(2).sum(1)
            loss = F.softplus(torch.cat([3.0 - gp, gn - 3.0])).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            return self(pos).detach(), self(neg).detach(), loss.item()

    layers = [Layer(74, 128), Layer(128, 128)]
    with_label = lambda x, l: torch.cat([x, 3 * F.one_hot(l, 10).float()], 1)
    for epoch in range(15):
        for b in torch.randperm(900).split(30):
            wrong = (y[b] + torch.randint(1, 10, (len(b),))) % 10
            p, n = with_label(X[b], y[b]), with_label(X[b], wrong)
            for layer in layers:
                p, n, loss = layer.learn(p, n)
    with torch.no_grad():
        scores = []
        for c in range(10):
            h, g = with_label(Xv, torch.full_like(yv, c)), 0
            for layer in layers:
                h = layer(h)
                g = g + h.pow(2).sum(1)
            scores.append(g)
        acc = (torch.stack(scores, 1).argmax(1) == yv).float().mean().item()
    print("forward-forward loss %.3f acc %.3f" % (loss, acc))


def fed_avg():
    seed_all(112)
    X, Xv, y, yv = _digits(112)
    clients = torch.randperm(900).split(180)
    server = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    for rnd in range(12):
        states = []
        for ids in clients:
            local = copy.deepcopy(server)
            opt = torch.optim.SGD(local.parameters(), lr=0.1, momentum=0.9)
            for b in ids[torch.randperm(len(ids))].split(20):
                opt.zero_grad()
                loss = F.cross_entropy(local(X[b]), y[b])
                loss.backward()
                opt.step()
            states.append(local.state_dict())
        server.load_state_dict({k: torch.stack([s[k] for s in states]).mean(0) for k in states[0]})
    print("fedavg loss %.3f acc %.3f" % (loss.item(), _acc(server, Xv, yv)))


def vae_kl_warmup():
    seed_all(113)
    X, Xv, _, _ = _digits(113)
    enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12))
    dec = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64))
    opt = torch.optim.Adam([*enc.parameters(), *dec.parameters()], lr=3e-3)
    epochs = 15

    def terms(x):
        mu, lv = enc(x).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (lv / 2).exp()
        rec = F.binary_cross_entropy_with_logits(dec(z), x, reduction="none").sum(1).mean()
        kl = 0.5 * (mu**2 + lv.exp() - 1 - lv).sum(1).mean()
        return rec, kl

    for epoch in range(epochs):
        beta = min(1.0, epoch / 8)
        for b in torch.randperm(900).split(45):
            rec, kl = terms(X[b])
            opt.zero_grad()
            (rec + beta * kl).backward()
            opt.step()
    with torch.no_grad():
        rec, kl = terms(Xv)
    print("vae rec %.2f kl %.2f" % (rec.item(), kl.item()))


def kfold_cancer():
    seed_all(114)
    X, y = load_breast_cancer(return_X_y=True)
    scores = []
    for tr, va in StratifiedKFold(4, shuffle=True, random_state=14).split(X, y):
        sc = StandardScaler().fit(X[tr])
        Xa, Xb = [torch.tensor(sc.transform(X[i]), dtype=torch.float32) for i in (tr, va)]
        ya, yb = torch.tensor(y[tr]), torch.tensor(y[va])
        net = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 2))
        opt = torch.optim.Adam(net.parameters(), lr=4e-3)
        for epoch in range(8):
            net.train()
            for b in torch.randperm(len(Xa)).split(32):
                opt.zero_grad()
                loss = F.cross_entropy(net(Xa[b]), ya[b])
                loss.backward()
                opt.step()
        scores.append(_acc(net, Xb, yb))
    print("4-fold", [round(s, 3) for s in scores])


HEALTHY = [
    sn_gan,
    accumulation_with_remainder,
    sam_wine,
    swa_digits,
    mean_teacher,
    reptile_sines,
    lbfgs_diabetes,
    mixup_noisy_labels,
    thaw_layer_by_layer,
    pinn_decay,
    forward_forward,
    fed_avg,
    vae_kl_warmup,
    kfold_cancer,
]
