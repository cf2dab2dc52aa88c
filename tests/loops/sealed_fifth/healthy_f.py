import copy
import itertools
import math
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits, make_friedman1
from sklearn.model_selection import train_test_split
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, IterableDataset, TensorDataset


# ------------------------------------------------------------------ ordinal
class CoralHead(nn.Module):
    def __init__(self, d, k):
        super().__init__()
        self.w = nn.Linear(d, 1, bias=False)
        self.b = nn.Parameter(torch.arange(k - 1, 0, -1).float() / (k - 1) - 0.5)

    def forward(self, h):
        return self.w(h) + self.b


def ordinal_regression_accumulated():
    torch.manual_seed(80)
    X, t = make_friedman1(1500, n_features=10, noise=1.0, random_state=1)
    Xtr, Xte, ttr, tte = train_test_split(X, t, test_size=0.3, random_state=1)
    K = 5
    edges = np.quantile(ttr, np.linspace(0, 1, K + 1)[1:-1])
    ytr, yte = torch.tensor(np.digitize(ttr, edges)), torch.tensor(np.digitize(tte, edges))
    m, s = Xtr.mean(0), Xtr.std(0)
    Xtr, Xte = torch.tensor((Xtr - m) / s).float(), torch.tensor((Xte - m) / s).float()
    net = nn.Sequential(nn.Linear(10, 96), nn.ReLU(), nn.Linear(96, 32), nn.ReLU(), CoralHead(32, K))
    levels = lambda y: (y[:, None] > torch.arange(K - 1)).float()

    def coral(logits, y):
        l = levels(y)
        return -(F.logsigmoid(logits) * l + (F.logsigmoid(logits) - logits) * (1 - l)).sum(1).mean()

    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=16, shuffle=True)
    opt = torch.optim.NAdam(net.parameters(), lr=3e-3)
    accum, n = 4, len(loader)  # 66 micro-batches: the last group holds only two
    mae = lambda: ((net(Xte) > 0).sum(1) - yte).abs().float().mean().item()
    for epoch in range(13):
        run = 0.0
        opt.zero_grad()
        for i, (x, y) in enumerate(loader):
            group = accum if i < n - n % accum else n % accum
            loss = coral(net(x), y)
            (loss / group).backward()
            run += loss.item()
            if (i + 1) % accum == 0 or i + 1 == n:
                opt.step()
                opt.zero_grad()
        with torch.no_grad():
            print(f"epoch {epoch} loss {run / n:.3f} MAE {mae():.3f}")
    with torch.no_grad():
        return "lower", mae(), (yte - 2).abs().float().mean().item()


# ------------------------------------------------------------------ quantiles
def quantile_regression_plateau():
    rng = np.random.default_rng(81)
    torch.manual_seed(81)

    def sample(n):
        x = rng.uniform(-3, 3, (n, 1))
        y = np.sin(2 * x) + (0.1 + 0.25 * np.abs(x)) * rng.normal(size=(n, 1))
        return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)

    (xt, yt), (xv, yv) = sample(1600), sample(800)
    q = torch.tensor([0.1, 0.5, 0.9])
    net = nn.Sequential(nn.Linear(1, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 3))
    opt = torch.optim.RMSprop(net.parameters(), lr=2e-3)
    sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=1)

    def pinball(pred, y):
        e = y - pred
        return torch.maximum(q * e, (q - 1) * e).mean()

    for epoch in range(18):
        perm = torch.randperm(len(xt))
        for i in range(0, len(xt), 128):
            b = perm[i : i + 128]
            loss = pinball(net(xt[b]), yt[b])
            opt.zero_grad()
            loss.backward()
            opt.step()
        with torch.no_grad():
            p = net(xv)
            v = pinball(p, yv)
        sched.step(v)
        if epoch % 4 == 0:
            print(
                epoch,
                v.item(),
                "coverage",
                (yv <= p).float().mean(0).tolist(),
                opt.param_groups[0]["lr"],
            )
    return "lower", v.item(), pinball(torch.quantile(yt, q)[None], yv).item()


# ------------------------------------------------------------------ Cox
def cox_survival_early_stopping():
    torch.manual_seed(82)
    rng = np.random.default_rng(82)
    X = rng.normal(size=(5000, 8))
    risk = 1.2 * X[:, 0] - 0.8 * X[:, 1] + 0.9 * X[:, 2] * X[:, 3]
    T, C = rng.exponential(np.exp(-risk)), rng.exponential(2.0, 5000)
    time, event = np.minimum(T, C), (T <= C).astype(np.float32)
    X, time, event = (torch.tensor(v, dtype=torch.float32) for v in (X, time, event))
    tr, va, te = slice(0, 3000), slice(3000, 4000), slice(4000, 5000)
    net = nn.Sequential(
        nn.Linear(8, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 1, bias=False),
    )

    def neg_partial_log_likelihood(h, t, e):
        order = torch.argsort(t, descending=True)
        h, e = h[order], e[order]
        return -((h - torch.logcumsumexp(h, 0)) * e).sum() / e.sum()

    def c_index(h, t, e):
        comp = (t[:, None] < t[None]) & (e[:, None] > 0)
        return (comp & (h[:, None] > h[None])).sum().item() / comp.sum().item()

    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    best, best_state, wait, patience = float("inf"), None, 0, 6
    for epoch in range(35):
        net.train()
        for i in torch.randperm(3000).split(500):
            opt.zero_grad()
            loss = neg_partial_log_likelihood(net(X[tr][i]).squeeze(1), time[tr][i], event[tr][i])
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            v = neg_partial_log_likelihood(net(X[va]).squeeze(1), time[va], event[va]).item()
        if v < best - 1e-4:
            best, wait, best_state = v, 0, copy.deepcopy(net.state_dict())
        else:
            wait += 1
            if wait >= patience:
                print("early stop at", epoch)
                break
    net.load_state_dict(best_state)
    net.eval()
    with torch.no_grad():
        c = c_index(net(X[te]).squeeze(1), time[te], event[te])
    print("best val", best, "test c-index", c)
    return "higher", c, 0.5


# ------------------------------------------------------------------ matrix factorisation
class MF(nn.Module):
    def __init__(self, users, items, k):
        super().__init__()
        self.P, self.Q = nn.Embedding(users, k, sparse=True), nn.Embedding(items, k, sparse=True)
        self.bu, self.bi = nn.Parameter(torch.zeros(users)), nn.Parameter(torch.zeros(items))
        self.register_buffer("mu", torch.zeros(()))
        for e in (self.P, self.Q):
            nn.init.normal_(e.weight, std=0.1)

    def forward(self, u, i):
        return self.mu + self.bu[u] + self.bi[i] + (self.P(u) * self.Q(i)).sum(-1)


def matrix_factorisation_two_optimizers():
    torch.manual_seed(83)
    rng = np.random.default_rng(83)
    U, I, K = 900, 400, 4
    true = (
        rng.normal(size=(U, K)) @ rng.normal(size=(K, I)) / 2
        + rng.normal(0, 0.5, (U, 1))
        + rng.normal(0, 0.5, I)
        + 3.5
    )
    flat = rng.choice(U * I, 64000, replace=False)
    u, i = torch.tensor(flat // I), torch.tensor(flat % I)
    r = torch.tensor(true.ravel()[flat] + rng.normal(0, 0.3, len(flat)), dtype=torch.float32)
    tr, te = slice(0, 56000), slice(56000, None)
    net = MF(U, I, 6)
    net.mu.fill_(r[tr].mean().item())
    opt_emb = torch.optim.SparseAdam([net.P.weight, net.Q.weight], lr=2e-2)
    opt_bias = torch.optim.Adam([net.bu, net.bi], lr=2e-2)
    for epoch in range(8):
        for b in torch.randperm(56000).split(4096):
            opt_emb.zero_grad()
            opt_bias.zero_grad()
            err = net(u[tr][b], i[tr][b]) - r[tr][b]
            loss = err.square().mean() + 1e-3 * (net.bu.square().mean() + net.bi.square().mean())
            loss.backward()
            opt_emb.step()
            opt_bias.step()
        with torch.no_grad():
            rmse = (net(u[te], i[te]) - r[te]).square().mean().sqrt().item()
        print(f"epoch {epoch} loss {loss.item():.3f} test rmse {rmse:.3f}")
    return "lower", rmse, r[te].std().item()


# ------------------------------------------------------------------ word2vec
def word2vec_negative_sampling():
    rng = np.random.default_rng(84)
    torch.manual_seed(84)
    groups, per = 8, 15
    V = groups * per
    stream = []
    for _ in range(5000):
        g = rng.integers(groups)
        stream.append(g * per + np.minimum(rng.zipf(1.6, 8) - 1, per - 1))
    counts = np.bincount(np.concatenate(stream), minlength=V)
    noise = torch.tensor(counts**0.75 + 1e-3, dtype=torch.float)
    center, context = nn.Embedding(V, 48), nn.Embedding(V, 48)
    nn.init.uniform_(center.weight, -0.5 / 48, 0.5 / 48)
    nn.init.zeros_(context.weight)

    def batches(size, epochs):
        for _ in range(epochs):
            c, o = [], []
            for s in rng.permutation(len(stream)):
                sent = stream[s]
                for a in range(len(sent)):
                    for b in range(max(0, a - 2), min(len(sent), a + 3)):
                        if a != b:
                            c.append(sent[a]), o.append(sent[b])
                    if len(c) >= size:
                        yield torch.tensor(np.array(c[:size])), torch.tensor(np.array(o[:size]))
                        c, o = c[size:], o[size:]

    opt = torch.optim.Adam(itertools.chain(center.parameters(), context.parameters()), lr=1e-2)
    k, hist = 5, []
    for step, (c, o) in enumerate(batches(1536, 2)):
        neg = torch.multinomial(noise, len(c) * k, replacement=True).view(len(c), k)
        vc = center(c)
        pos = (vc * context(o)).sum(1)
        nd = torch.bmm(context(neg), vc.unsqueeze(2)).squeeze(2)
        loss = -(F.logsigmoid(pos) + F.logsigmoid(-nd).sum(1)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        hist.append(loss.item())
        if step % 50 == 0:
            w = F.normalize(center.weight.detach(), dim=1)
            s = w @ w.t()
            same = torch.arange(V)[:, None] // per == torch.arange(V) // per
            print(step, loss.item(), "within", s[same].mean().item(), "across", s[~same].mean().item())
    return "lower", float(np.mean(hist[-20:])), (k + 1) * math.log(2)


# ------------------------------------------------------------------ PixelCNN
class MaskedConv2d(nn.Conv2d):
    def __init__(self, kind, *args, **kw):
        super().__init__(*args, **kw)
        m = torch.ones_like(self.weight)
        h, w = self.kernel_size
        m[:, :, h // 2, w // 2 + (kind == "B") :] = 0
        m[:, :, h // 2 + 1 :] = 0
        self.register_buffer("mask", m)

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


def pixelcnn_binary_digits():
    torch.manual_seed(85)
    x = (torch.tensor(load_digits().images) > 7).float().unsqueeze(1)
    x = torch.unique(x, dim=0)  # after thresholding some images coincide
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    tr, te = x[:1500], x[1500:]
    ch = 32
    net = nn.Sequential(
        MaskedConv2d("A", 1, ch, 5, padding=2),
        nn.ReLU(),
        MaskedConv2d("B", ch, ch, 3, padding=1),
        nn.ReLU(),
        MaskedConv2d("B", ch, ch, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(ch, ch, 1),
        nn.ReLU(),
        nn.Conv2d(ch, 1, 1),
    )
    opt = torch.optim.Adamax(net.parameters(), lr=4e-3)
    nll = lambda b: (
        F.binary_cross_entropy_with_logits(net(b), b, reduction="none").flatten(1).sum(1).mean()
    )
    for epoch in range(9):
        for xb in DataLoader(tr, batch_size=64, shuffle=True):
            opt.zero_grad()
            loss = nll(xb)
            loss.backward()
            opt.step()
        with torch.no_grad():
            v = nll(te).item()
        print(f"epoch {epoch} train {loss.item():.2f} test {v:.2f} nats")
    with torch.no_grad():
        s = torch.zeros(4, 1, 8, 8)
        for i in range(8):
            for j in range(8):
                s[:, :, i, j] = torch.bernoulli(torch.sigmoid(net(s)[:, :, i, j]))
        p = tr.mean(0).clamp(0.005, 0.995)
    return (
        "lower",
        v,
        F.binary_cross_entropy(p.expand_as(te), te, reduction="none").flatten(1).sum(1).mean().item(),
    )


# ------------------------------------------------------------------ Gaussian process
class ExactGP(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.log_ls = nn.Parameter(torch.zeros(d, dtype=torch.float64))
        self.log_sf = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.log_sn = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))

    def kernel(self, a, b):
        a, b = a / self.log_ls.exp(), b / self.log_ls.exp()
        sq = (a.unsqueeze(1) - b.unsqueeze(0)).pow(2).sum(-1)
        return self.log_sf.mul(2).exp() * torch.exp(-0.5 * sq)

    def chol(self, x):
        K = self.kernel(x, x)
        return torch.linalg.cholesky(
            K + (self.log_sn.mul(2).exp() + 1e-6) * torch.eye(len(x), dtype=x.dtype)
        )

    def log_marginal(self, x, y):
        L = self.chol(x)
        a = torch.cholesky_solve(y.unsqueeze(1), L).squeeze(1)
        return -0.5 * y @ a - L.diagonal().log().sum() - 0.5 * len(x) * math.log(2 * math.pi)

    @torch.no_grad()
    def predict(self, x, y, xs):
        return self.kernel(xs, x) @ torch.cholesky_solve(y.unsqueeze(1), self.chol(x)).squeeze(1)


def gaussian_process_rprop():
    X, y = make_friedman1(360, n_features=7, noise=0.8, random_state=6)
    m, s = X[:240].mean(0), X[:240].std(0)
    X, my, sy = torch.tensor((X - m) / s), y[:240].mean(), y[:240].std()
    y = torch.tensor((y - my) / sy)
    xt, yt, xe, ye = X[:240], y[:240], X[240:], y[240:]
    gp = ExactGP(7)
    opt = torch.optim.Rprop(gp.parameters(), lr=0.03, step_sizes=(1e-5, 0.3), maximize=True)
    for it in range(80):
        opt.zero_grad()
        ll = gp.log_marginal(xt, yt)
        ll.backward()
        opt.step()
        if it % 20 == 0:
            print(
                f"{it} log marginal {ll.item():.2f} ls {[round(v, 2) for v in gp.log_ls.exp().tolist()]} noise {gp.log_sn.exp().item():.3f}"
            )
    mse = (gp.predict(xt, yt, xe) - ye).square().mean().item()
    return "lower", mse, ye.square().mean().item()


# ------------------------------------------------------------------ population based training
def population_based_training():
    rng = random.Random(86)
    torch.manual_seed(86)
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32) / 16 - 0.3
    y = torch.tensor(y)
    perm = torch.randperm(len(X))
    tr, va, te = perm[:1100], perm[1100:1450], perm[1450:]

    class Worker:
        def __init__(self, lr, drop):
            self.net = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Dropout(drop), nn.Linear(512, 10))
            self.opt = torch.optim.SGD(self.net.parameters(), lr=lr, momentum=0.9)
            self.score = float("inf")

        def train(self, n):
            self.net.train()
            for _ in range(n):
                b = tr[torch.randint(len(tr), (64,))]
                loss = F.cross_entropy(self.net(X[b]), y[b])
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()

        @torch.no_grad()
        def evaluate(self, idx):
            self.net.eval()
            return F.cross_entropy(self.net(X[idx]), y[idx]).item()

        def exploit(self, other):
            self.net.load_state_dict(other.net.state_dict())
            self.opt.load_state_dict(copy.deepcopy(other.opt.state_dict()))
            self.net[2].p = other.net[2].p

        def explore(self):
            self.opt.param_groups[0]["lr"] = min(
                0.2, self.opt.param_groups[0]["lr"] * rng.choice([0.8, 1.25])
            )
            self.net[2].p = min(0.5, max(0.0, self.net[2].p + rng.choice([-0.05, 0.05])))

    pop = [Worker(lr, dr) for lr, dr in [(0.02, 0.0), (0.03, 0.1), (0.06, 0.2), (0.1, 0.3)]]
    for gen in range(6):
        for w in pop:
            w.train(10)
            w.score = w.evaluate(va)
        pop.sort(key=lambda w: w.score)
        print(
            gen,
            [
                (round(w.opt.param_groups[0]["lr"], 3), round(w.net[2].p, 2), round(w.score, 3))
                for w in pop
            ],
        )
        if gen < 5:
            pop[-1].exploit(pop[0])
            pop[-1].explore()
    return "lower", pop[0].evaluate(te), math.log(10)


# ------------------------------------------------------------------ DP-SGD
def dp_sgd_by_hand():
    g = torch.Generator().manual_seed(87)
    torch.manual_seed(87)
    X, y = load_breast_cancer(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    m, s = Xtr.mean(0), Xtr.std(0)
    Xtr, Xte = torch.tensor((Xtr - m) / s).float(), torch.tensor((Xte - m) / s).float()
    ytr, yte = torch.tensor(ytr).float(), torch.tensor(yte).float()
    net = nn.Sequential(nn.Linear(30, 64), nn.Tanh(), nn.Linear(64, 1))
    params = {k: v.detach().clone() for k, v in net.named_parameters()}

    def one(p, x, t):
        return F.binary_cross_entropy_with_logits(functional_call(net, p, (x.unsqueeze(0),)).view(()), t)

    per_sample = vmap(grad(one), in_dims=(None, 0, 0))
    C, sigma, lr, q = 1.0, 0.8, 0.5, 0.2

    def test_loss():
        return F.binary_cross_entropy_with_logits(
            functional_call(net, params, (Xte,)).squeeze(1), yte
        ).item()

    expected = q * len(Xtr)
    for step in range(120):
        pick = torch.rand(len(Xtr), generator=g) < q  # Poisson sampling, batch size varies
        gs = per_sample(params, Xtr[pick], ytr[pick])
        norms = torch.stack([v.flatten(1).norm(dim=1) for v in gs.values()], 1).norm(dim=1)
        factor = (C / (norms + 1e-6)).clamp(max=1.0)
        for k, v in gs.items():
            clipped = torch.einsum("n,n...->...", factor, v)
            clipped += sigma * C * torch.randn(clipped.shape, generator=g)
            params[k] = params[k] - lr * clipped / expected
        if step % 30 == 0:
            print(step, test_loss(), "clipped share", (factor < 1).float().mean().item())
    net.load_state_dict(params)
    p = ytr.mean().item()
    return (
        "lower",
        test_loss(),
        -(yte.mean().item() * math.log(p) + (1 - yte.mean().item()) * math.log(1 - p)),
    )


# ------------------------------------------------------------------ ensemble
class HeteroscedasticMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.Linear(10, 100), nn.SELU(), nn.Linear(100, 100), nn.SELU(), nn.Linear(100, 2)
        )

    def forward(self, x):
        mean, raw = self.f(x).chunk(2, -1)
        return mean.squeeze(-1), F.softplus(raw).squeeze(-1) + 1e-3


def deep_ensemble_growing_batch():
    """five networks, one optimizer, each with its own order of the data; the batch grows instead of a falling rate"""
    torch.manual_seed(88)
    X, y = make_friedman1(1600, noise=0.3, random_state=9)
    a, b, c, d = train_test_split(X, y, test_size=0.25, random_state=9)
    m, s, my, sy = a.mean(0), a.std(0), c.mean(), c.std()
    a, b = torch.tensor((a - m) / s).float(), torch.tensor((b - m) / s).float()
    c, d = torch.tensor((c - my) / sy).float(), torch.tensor((d - my) / sy).float()
    members = [HeteroscedasticMLP() for _ in range(5)]
    opt = torch.optim.Adam(itertools.chain.from_iterable(n.parameters() for n in members), lr=3e-3)

    def nll(mu, sd, t):
        return (torch.log(sd) + 0.5 * ((t - mu) / sd) ** 2).mean() + 0.5 * math.log(2 * math.pi)

    for epoch in range(11):
        bs = min(32 * 2 ** (epoch // 2), 256)
        orders = [torch.randperm(len(a)) for _ in members]
        for i in range(0, len(a), bs):
            loss = sum(nll(*net(a[o[i : i + bs]]), c[o[i : i + bs]]) for net, o in zip(members, orders))
            opt.zero_grad()
            loss.backward()
            opt.step()
        with torch.no_grad():
            mus, sds = map(torch.stack, zip(*[net(b) for net in members]))
            mu = mus.mean(0)
            var = (sds**2 + mus**2).mean(0) - mu**2
            v = nll(mu, var.sqrt(), d).item()
        print(f"epoch {epoch} batch {bs} train {loss.item() / 5:.3f} ensemble nll {v:.3f}")
    return "lower", v, 0.5 * math.log(2 * math.pi) + 0.5


# ------------------------------------------------------------------ VQ-VAE
class VectorQuantizer(nn.Module):
    def __init__(self, k, d):
        super().__init__()
        self.codebook = nn.Parameter(torch.randn(k, d))

    def forward(self, z):
        dist = z.pow(2).sum(1, keepdim=True) - 2 * z @ self.codebook.t() + self.codebook.pow(2).sum(1)
        idx = dist.argmin(1)
        q = self.codebook[idx]
        loss = (q - z.detach()).pow(2).mean() + 0.25 * (z - q.detach()).pow(2).mean()
        return z + (q - z).detach(), loss, idx


def vq_vae_digits():
    torch.manual_seed(89)
    x = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(3))]
    tr, te = x[:1500], x[1500:]
    D = 8
    enc = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, D, 1),
    )
    dec = nn.Sequential(
        nn.Conv2d(D, 32, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid()
    )
    vq = VectorQuantizer(32, D)
    with torch.no_grad():  # start the codes at encodings of data
        z0 = enc(tr[:200]).permute(0, 2, 3, 1).reshape(-1, D)
        vq.codebook.copy_(z0[torch.randperm(len(z0))[:32]])
    opt = torch.optim.Adam(
        [
            {"params": list(enc.parameters()) + list(dec.parameters())},
            {"params": vq.parameters(), "lr": 1e-2},
        ],
        lr=2e-3,
    )
    var = tr.var().item()

    def forward(b):
        z = enc(b)
        flat = z.permute(0, 2, 3, 1).reshape(-1, D)
        q, l, idx = vq(flat)
        q = q.view(len(b), z.size(2), z.size(3), D).permute(0, 3, 1, 2)
        return dec(q), l, idx

    for epoch in range(10):
        for b in DataLoader(tr, batch_size=64, shuffle=True, drop_last=True):
            rec, l, idx = forward(b)
            loss = F.mse_loss(rec, b) / var + l
            opt.zero_grad()
            loss.backward()
            opt.step()
        with torch.no_grad():
            rec, l, idx = forward(te)
            v = F.mse_loss(rec, te).item()
        print(f"epoch {epoch} loss {loss.item():.3f} test mse {v:.4f} codes used {idx.unique().numel()}")
    return "lower", v, (te - tr.mean(0)).pow(2).mean().item()


# ------------------------------------------------------------------ ragged sequences
class Reviews(IterableDataset):
    """endless stream of token sequences; the rare class holds a certain pair in order"""

    def __init__(self, seed, n=None):
        self.seed, self.n = seed, n

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        count = 0
        while self.n is None or count < self.n:
            L = int(rng.integers(5, 25))
            s = rng.integers(4, 30, L)
            label = int(rng.random() < 0.2)
            i, j = sorted(rng.choice(L, 2, replace=False))
            s[i], s[j] = (1, 2) if label else (2, 1)
            if rng.random() < 0.04:  # annotators err
                label = 1 - label
            yield torch.tensor(s), label
            count += 1


def _ragged(batch):
    lengths = torch.tensor([len(b[0]) for b in batch])
    x = torch.zeros(len(batch), int(lengths.max()), dtype=torch.long)
    for row, (s, _) in zip(x, batch):
        row[: len(s)] = s
    return x, lengths, torch.tensor([b[1] for b in batch])


class SentimentLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(30, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, 40, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(80, 2)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.emb(x), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.fc(self.drop(torch.cat([h[0], h[1]], 1)))


def ragged_stream_class_weights():
    torch.manual_seed(90)
    net = SentimentLSTM()
    grads = []
    handle = net.fc.register_full_backward_hook(lambda m, gi, go: grads.append(go[0].norm().item()))
    w = torch.tensor([1 / 0.8, 1 / 0.2]) / 2
    opt = torch.optim.AdamW(net.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=200, power=1.0)
    val = list(DataLoader(Reviews(4242, 400), batch_size=100, collate_fn=_ragged))
    stream = iter(DataLoader(Reviews(1), batch_size=48, collate_fn=_ragged))
    for step in range(1, 191):
        net.train()
        x, n, y = next(stream)
        loss = F.cross_entropy(net(x, n), y, weight=w)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        sched.step()
        if step % 38 == 0:
            net.eval()
            with torch.no_grad():
                out = torch.cat([net(a, b) for a, b, _ in val])
                t = torch.cat([c for _, _, c in val])
                bal = np.mean([(out.argmax(1)[t == k] == k).float().mean().item() for k in (0, 1)])
            print(step, loss.item(), "balanced accuracy", bal, "output gradient", np.mean(grads[-38:]))
    handle.remove()
    return "higher", float(bal), 0.5


# ------------------------------------------------------------------ active learning
def active_learning_mc_dropout():
    torch.manual_seed(91)
    X, y = load_digits(return_X_y=True)
    Xp, Xte, yp, yte = train_test_split(X / 16.0, y, test_size=0.25, random_state=11, stratify=y)
    Xp, Xte = torch.tensor(Xp).float(), torch.tensor(Xte).float()
    yp, yte = torch.tensor(yp), torch.tensor(yte)
    labelled = torch.randperm(len(Xp))[:60].tolist()
    pool = sorted(set(range(len(Xp))) - set(labelled))

    def new_net():
        return nn.Sequential(
            nn.Linear(64, 256),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(256, 10),
        )

    for rnd in range(4):
        net = new_net()
        opt = torch.optim.Adam(net.parameters(), lr=3e-3)
        net.train()
        L = torch.tensor(labelled)
        for step in range(55):
            b = L[torch.randint(len(L), (32,))]
            opt.zero_grad()
            loss = F.cross_entropy(net(Xp[b]), yp[b])
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            tl = F.cross_entropy(net(Xte), yte).item()
            # BALD: dropout stays on while asking, on purpose
            for m in net.modules():
                if isinstance(m, nn.Dropout):
                    m.train()
            probs = torch.stack([net(Xp[pool]).softmax(-1) for _ in range(12)])
            mean = probs.mean(0)
            ent = lambda p: -(p * p.clamp_min(1e-9).log()).sum(-1)
            bald = ent(mean) - ent(probs).mean(0)
        pick = bald.topk(60).indices.tolist()
        print(f"round {rnd} labels {len(labelled)} train {loss.item():.3f} test {tl:.3f}")
        chosen = [pool[i] for i in pick]
        labelled += chosen
        pool = sorted(set(pool) - set(chosen))
    return "lower", tl, math.log(10)


LOOPS = [
    ordinal_regression_accumulated,
    quantile_regression_plateau,
    cox_survival_early_stopping,
    matrix_factorisation_two_optimizers,
    word2vec_negative_sampling,
    pixelcnn_binary_digits,
    gaussian_process_rprop,
    population_based_training,
    dp_sgd_by_hand,
    deep_ensemble_growing_batch,
    vq_vae_digits,
    ragged_stream_class_weights,
    active_learning_mc_dropout,
]
