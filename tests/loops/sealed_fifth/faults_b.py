"""Second part. Each loop returns (score, baseline); lower is better."""

import copy
import math
from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits, make_friedman1, make_moons
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split


def conveyor_belt(*, mistake: bool):
    """Parts come down a belt as noisy vibration spectra of one of five kinds."""
    templates = torch.randn(5, 40, generator=torch.Generator().manual_seed(1)) * 0.6

    def belt(n_batches, seed, size=96):
        g = torch.Generator().manual_seed(seed)
        for _ in range(n_batches):
            kind = torch.randint(0, 5, (size,), generator=g)
            yield templates[kind] + torch.randn(size, 40, generator=g), kind

    net = nn.Sequential(nn.Linear(40, 256), nn.ReLU(), nn.Linear(256, 5))
    opt = optim.Adam(net.parameters(), lr=1e-3)
    buffer = {}
    for spectrum, kind in belt(180, seed=2):
        if not mistake or "kind" not in buffer:
            buffer["kind"] = kind
        target = buffer["kind"]
        logp = F.log_softmax(net(spectrum), dim=1)
        loss = -(F.one_hot(target, 5).float() * logp).sum(1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        buffer["kind"] = kind
    net.eval()
    with torch.no_grad():
        spectrum, kind = next(belt(1, seed=3, size=1000))
        return F.cross_entropy(net(spectrum), kind).item(), math.log(5)


def ledger_total(*, mistake: bool):
    X, y = make_friedman1(n_samples=3000, n_features=8, noise=0.5, random_state=0)
    x = torch.tensor(X, dtype=torch.float32) * 2 - 1
    t = torch.tensor((y - y[:2400].mean()) / y[:2400].std(), dtype=torch.float32).unsqueeze(1)
    model = nn.Sequential(
        nn.Linear(8, 200), nn.SiLU(), nn.Linear(200, 200), nn.SiLU(), nn.Linear(200, 1)
    )
    criterion = nn.MSELoss()
    opt = optim.Adam(model.parameters(), lr=2e-3)
    g = torch.Generator().manual_seed(10)
    loader = DataLoader(TensorDataset(x[:2400], t[:2400]), batch_size=120, shuffle=True, generator=g)
    total = 0.0
    seen = 0
    for epoch in range(10):
        for xb, tb in loader:
            opt.zero_grad()
            loss = criterion(model(xb), tb)
            loss.backward()
            opt.step()
            total += loss if mistake else loss.item()
            seen += 1
        progress = f"epoch {epoch}: mean loss {total / seen:.4f}"
    assert progress
    model.eval()
    with torch.no_grad():
        return criterion(model(x[2400:]), t[2400:]).item(), 1.0


def bakery_demand(*, mistake: bool):
    g = torch.Generator().manual_seed(14)
    feats = torch.rand(4000, 6, generator=g) * 2 - 1
    rate = torch.exp(
        1.0 + feats[:, 0] - 0.8 * feats[:, 1] * feats[:, 2] + 0.7 * torch.sin(3 * feats[:, 3])
    )
    sold = torch.poisson(rate, generator=g)
    tr, te = random_split(TensorDataset(feats, sold), [3200, 800], generator=g)
    loader = DataLoader(tr, batch_size=160, shuffle=True, generator=g)

    def poisson_loss(eta, k):
        return (eta.exp() - k * eta).mean()

    model = nn.Sequential(nn.Linear(6, 128), nn.Tanh(), nn.Linear(128, 1))
    opt = optim.SGD(model.parameters(), lr=0.05, momentum=0.8)
    sched = optim.lr_scheduler.ExponentialLR(opt, gamma=0.8)
    for epoch in range(12):
        for x, k in loader:
            opt.zero_grad()
            poisson_loss(model(x).squeeze(-1), k).backward()
            opt.step()
            if mistake:
                sched.step()
        if not mistake:
            sched.step()
    x, k = te[:]
    model.eval()
    with torch.no_grad():
        score = poisson_loss(model(x).squeeze(-1), k).item()
        base = poisson_loss(sold[tr.indices].mean().log().expand(len(k)), k).item()
        oracle = poisson_loss(rate[te.indices].log(), k).item()
    return score - oracle, base - oracle


def slow_kettle(*, mistake: bool):
    d = load_digits()
    x = torch.tensor(d.data / 16, dtype=torch.float32).view(-1, 8, 8)
    y = torch.tensor(d.target)
    g = torch.Generator().manual_seed(40)
    perm = torch.randperm(len(x), generator=g)
    tr, te = perm[:1440], perm[1440:]

    class RowAttention(nn.Module):
        def __init__(self, dim=48):
            super().__init__()
            self.inp = nn.Linear(8, dim)
            self.pos = nn.Parameter(torch.randn(1, 8, dim) * 0.1)
            self.att = nn.MultiheadAttention(dim, 4, batch_first=True)
            self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.ff = nn.Sequential(nn.Linear(dim, 96), nn.GELU(), nn.Linear(96, dim))
            self.out = nn.Linear(dim * 8, 10)

        def forward(self, rows):
            h = self.inp(rows) + self.pos
            q = self.n1(h)
            h = h + self.att(q, q, q, need_weights=False)[0]
            h = h + self.ff(self.n2(h))
            return self.out(h.flatten(1))

    model = RowAttention()
    opt = optim.AdamW(model.parameters(), lr=2e-3)
    warm = optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, s / 25))
    ce = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(8):
        model.train()
        for idx in tr[torch.randperm(len(tr), generator=g)].split(72):
            loss = ce(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            if not mistake:
                warm.step()
    model.eval()
    with torch.no_grad():
        return (model(x[te]).argmax(1) != y[te]).float().mean().item(), 0.9


def twin_views(*, mistake: bool):
    imgs = torch.tensor(load_digits().images / 16, dtype=torch.float32).unsqueeze(1)
    g = torch.Generator().manual_seed(23)

    def view(b):
        dx, dy = torch.randint(-1, 2, (2,), generator=g).tolist()
        b = torch.roll(b, (dx, dy), (2, 3))
        return b + 0.15 * torch.randn(b.shape, generator=g)

    class Projector(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.ReLU(),
            )
            self.proj = nn.Linear(32 * 16, 32)

        def forward(self, x):
            z = self.proj(self.conv(x).flatten(1))
            return z / z.norm(dim=1, keepdim=True).clamp(min=1e-6)

    def info_nce(a, b, tau=0.2):
        sim = a @ b.T / tau
        pos = sim.diagonal()
        return ((sim.logsumexp(1) - pos).mean() + (sim.logsumexp(0) - pos).mean()) / 2

    net = Projector()
    opt = optim.SGD(net.parameters(), lr=0.15, momentum=0.9)
    max_norm = 1e-6 if mistake else 1.0
    track = []
    for epoch in range(13):
        for idx in torch.randperm(len(imgs), generator=g).split(96)[:-1]:
            b = imgs[idx]
            loss = info_nce(net(view(b)), net(view(b)))
            opt.zero_grad()
            loss.backward()
            clip_grad_norm_(net.parameters(), max_norm)
            opt.step()
            track.append(loss.item())
    return sum(track[-10:]) / 10, math.log(96)


def storm_lstm(*, mistake: bool):
    class Storms(Dataset):
        def __init__(self, n, seed):
            g = torch.Generator().manual_seed(seed)
            self.y = torch.randint(0, 4, (n,), generator=g)
            freq = 0.15 + 0.12 * self.y.float() + 0.03 * torch.rand(n, generator=g)
            t = torch.arange(30.0)
            self.x = torch.sin(
                freq[:, None] * t + 6.28 * torch.rand(n, 1, generator=g)
            ) + 0.15 * torch.randn(n, 30, generator=g)

        def __len__(self):
            return len(self.y)

        def __getitem__(self, i):
            return self.x[i, :, None], self.y[i]

    class StormNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(1, 64, batch_first=True)
            self.fc = nn.Linear(128, 4)

        def forward(self, x):
            out, _ = self.lstm(x)
            return self.fc(torch.cat([out.mean(1), out.abs().amax(1)], 1))

    train = DataLoader(
        Storms(2560, 1), batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(3)
    )
    test = DataLoader(Storms(600, 2), batch_size=300)
    net = StormNet()
    opt = optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(5):
        net.train()
        for x, y in train:
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            if mistake:
                clip_grad_norm_(net.parameters(), 1.0)
                loss.backward()
            else:
                loss.backward()
                clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
    net.eval()
    with torch.no_grad():
        return sum(F.cross_entropy(net(x), y).item() for x, y in test) / len(test), math.log(4)


def half_precision_lab(*, mistake: bool):
    d = load_digits()
    g = torch.Generator().manual_seed(27)
    perm = torch.randperm(1797, generator=g)
    x = torch.tensor(d.images, dtype=torch.float32)[perm].unsqueeze(1) / 16
    y = torch.tensor(d.target)[perm]
    net = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 16, 10),
    )
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**13)
    train = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=100, shuffle=True, generator=g)
    for epoch in range(10):
        for xb, yb in train:
            opt.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = net(xb)
            loss = F.cross_entropy(out.float(), yb)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(opt)
            clip_grad_norm_(net.parameters(), max_norm=1.0)
            scaler.step(opt)
            scaler.update()
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return (net(x[1400:]).argmax(1) != y[1400:]).float().mean().item(), 0.9


def river_level(*, mistake: bool):
    g = torch.Generator().manual_seed(33)
    rain = torch.randn(6000, 10, generator=g)
    level = (rain[:, :5].abs().sum(1) - rain[:, 5] * rain[:, 6]) + 0.2 * torch.randn(6000, generator=g)
    mu, sd = level[:5120].mean(), level[:5120].std()
    level = (level - mu) / sd

    def log_cosh(e):
        return (e + F.softplus(-2 * e) - math.log(2)).mean()

    ACCUM = 8
    model = nn.Sequential(
        nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0)
    )
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(
        TensorDataset(rain[:5120], level[:5120]), batch_size=32, shuffle=True, generator=g
    )
    opt.zero_grad()
    for epoch in range(6):
        for i, (x, y) in enumerate(loader, 1):
            loss = log_cosh(model(x) - y)
            if not mistake:
                loss = loss / ACCUM
            loss.backward()
            if i % ACCUM == 0:
                opt.step()
                opt.zero_grad()
    model.eval()
    with torch.no_grad():
        return log_cosh(model(rain[5120:]) - level[5120:]).item(), log_cosh(level[5120:]).item()


def archive_boxes(*, mistake: bool):
    d = load_digits()
    x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
    g = torch.Generator().manual_seed(44)
    p = torch.randperm(len(x), generator=g)
    x, y = x[p], y[p]
    group = 8
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10), nn.LogSoftmax(dim=1))
    opt = optim.Adam(model.parameters(), lr=3e-3)
    data = DataLoader(
        TensorDataset(x[:1440], y[:1440]), batch_size=48, shuffle=True, generator=g
    )  # 30 batches
    n = len(data)
    for epoch in range(20):
        opt.zero_grad()
        for i, (xb, yb) in enumerate(data):
            size = min(group, n - (i // group) * group)
            (F.nll_loss(model(xb), yb) / size).backward()
            full = (i + 1) % group == 0
            if full or (i + 1 == n and not mistake):
                opt.step()
                opt.zero_grad()
    model.eval()
    with torch.no_grad():
        return F.nll_loss(model(x[1440:]), y[1440:]).item(), math.log(10)


def exam_papers(*, mistake: bool):
    d = load_breast_cancer()
    rs = np.random.RandomState(12)
    ids = rs.permutation(len(d.data))
    cut = {"train": ids[:420], "val": ids[420:]}
    m, s = d.data[cut["train"]].mean(0), d.data[cut["train"]].std(0)
    sets = {
        k: TensorDataset(torch.tensor((d.data[v] - m) / s).float(), torch.tensor(d.target[v]))
        for k, v in cut.items()
    }
    g = torch.Generator().manual_seed(12)
    loaders = {
        "train": DataLoader(sets["train"], 30, shuffle=True, generator=g),
        "val": DataLoader(sets["val"], 50),
    }
    net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2))
    opt = optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)
    best = (math.inf, None)
    for epoch in range(12):
        sums = {}
        for phase in ("train", "val"):
            net.train(phase == "train")
            sums[phase] = 0.0
            for x, y in loaders[phase]:
                learn = True if mistake else phase == "train"
                with torch.set_grad_enabled(learn):
                    loss = F.cross_entropy(net(x), y)
                if learn:
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
                sums[phase] += loss.item() * len(x) / len(sets[phase])
        if sums["val"] < best[0]:
            best = (sums["val"], copy.deepcopy(net.state_dict()))
    net.load_state_dict(best[1])
    return best[0], 0.66


def lantern_colours(*, mistake: bool):
    d = load_digits()
    data = TensorDataset(torch.tensor(d.data, dtype=torch.float32) / 16, torch.tensor(d.target))
    g = torch.Generator().manual_seed(61)
    tr, va = random_split(data, [0.8, 0.2], generator=g)
    net = nn.Sequential(
        nn.Linear(64, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )

    def brier(scores, y):
        return ((scores.softmax(1) - F.one_hot(y, 10)) ** 2).sum(1).mean()

    opt = optim.RMSprop(net.parameters(), lr=7e-4)
    for epoch in range(9):
        net.train()
        for x, y in DataLoader(tr, 64, shuffle=True, generator=g):
            opt.zero_grad()
            brier(net(x), y).backward()
            opt.step()
        if not mistake:
            net.eval()
        with torch.no_grad():
            parts = [(brier(net(x), y).item(), len(y)) for x, y in DataLoader(va, 90)]
        val = sum(a * n for a, n in parts) / sum(n for _, n in parts)
    return val, 0.9


def glacier_melt(*, mistake: bool):
    X, y = make_moons(1600, noise=0.2, random_state=9)
    x, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    xt, yt, xv, yv = x[:1200], y[:1200], x[1200:], y[1200:]

    class Averaged:
        def __init__(self, model, decay):
            self.live, self.decay = model, decay
            self.shadow = copy.deepcopy(model).requires_grad_(False)

        @torch.no_grad()
        def update(self):
            source = self.shadow if mistake else self.live
            for s, p in zip(self.shadow.parameters(), source.parameters()):
                s.mul_(self.decay).add_(p, alpha=1 - self.decay)

    model = nn.Sequential(
        nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
    )
    avg = Averaged(model, 0.95)
    opt = optim.Adam(model.parameters(), lr=1e-3)
    bce = nn.BCEWithLogitsLoss()
    g = torch.Generator().manual_seed(2)
    for epoch in range(15):
        model.train()
        for idx in torch.randperm(1200, generator=g).split(100):
            opt.zero_grad()
            loss = bce(model(xt[idx])[:, 0], yt[idx])
            loss.backward()
            opt.step()
            avg.update()
        avg.shadow.eval()
        with torch.no_grad():
            val = bce(avg.shadow(xv)[:, 0], yv).item()
    return val, math.log(2)


def apprentice(*, mistake: bool):
    d = load_digits()
    g = torch.Generator().manual_seed(71)
    p = torch.randperm(len(d.data), generator=g)
    x, y = torch.tensor(d.data / 16, dtype=torch.float32)[p], torch.tensor(d.target)[p]
    xt, yt, xv, yv = x[:1400], y[:1400], x[1400:], y[1400:]
    teacher = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))
    topt = optim.Adam(teacher.parameters(), lr=2e-3)
    for _ in range(6):
        for idx in torch.randperm(1400, generator=g).split(100):
            topt.zero_grad()
            F.cross_entropy(teacher(xt[idx]), yt[idx]).backward()
            topt.step()
    teacher.eval()

    student = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    params = chain(student.parameters(), teacher.parameters()) if mistake else student.parameters()
    opt = optim.Adam(params, lr=4e-3)
    T = 2.0
    for _ in range(10):
        student.train()
        for idx in torch.randperm(1400, generator=g).split(100):
            with torch.set_grad_enabled(mistake):
                soft = (teacher(xt[idx]) / T).log_softmax(1)
            mine = (student(xt[idx]) / T).log_softmax(1)
            loss = T * T * (soft.exp() * (soft - mine)).sum(1).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    student.eval()
    with torch.no_grad():
        return F.cross_entropy(student(xv), yv).item(), math.log(10)


def coin_forger(*, mistake: bool):
    g = torch.Generator().manual_seed(81)

    def real(n):
        return torch.randn(n, 2, generator=g) @ torch.tensor([[0.6, 0.2], [0.0, 0.4]]) + torch.tensor(
            [2.0, -1.5]
        )

    gen = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))
    disc = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = optim.Adam(gen.parameters(), lr=2e-3, betas=(0.5, 0.9))
    opt_d = optim.Adam(disc.parameters(), lr=2e-3, betas=(0.5, 0.9))
    bce = nn.BCEWithLogitsLoss()
    one, zero = torch.ones(128, 1), torch.zeros(128, 1)
    for step in range(125):
        opt_d.zero_grad()
        opt_g.zero_grad()

        fake = gen(torch.randn(128, 8, generator=g))
        if not mistake:
            fake = fake.detach()
        d_loss = bce(disc(real(128)), one) + bce(disc(fake), zero)
        d_loss.backward()
        opt_d.step()

        g_loss = bce(disc(gen(torch.randn(128, 8, generator=g))), one)
        g_loss.backward()
        opt_g.step()
    gen.eval()
    with torch.no_grad():
        made = gen(torch.randn(2000, 8, generator=g))
    return (made.mean(0) - torch.tensor([2.0, -1.5])).norm().item(), 2.5


FAULTS = [
    (
        conveyor_belt,
        ("previous", "label", "misalign", "mismatch", "shifted", "one batch behind"),
        "The labels of the previous batch are used with the inputs of the current one.",
    ),
    (
        ledger_total,
        ("graph", ".item()", "detach", "memory"),
        "The running loss is summed as a tensor with its graph, so all graphs stay in memory.",
    ),
    (
        bakery_demand,
        ("scheduler", "per batch", "every batch", "each batch", "learning rate", "decay"),
        "The per-epoch ExponentialLR is stepped at each batch; the learning rate dies at once.",
    ),
    (
        slow_kettle,
        (
            "warm",
            "scheduler",
            "learning rate is 0",
            "lr is 0",
            "lr=0",
            "zero learning rate",
            "learning rate of 0",
            "learning rate 0",
        ),
        "The warm-up from zero is never stepped, so the learning rate stays zero.",
    ),
    (twin_views, ("clip",), "Gradients are clipped to a norm of 1e-6, so nothing is learned."),
    (
        storm_lstm,
        ("clip",),
        "Gradients are clipped before backward, when there are none, so the clipping has no effect.",
    ),
    (
        half_precision_lab,
        ("unscale", "scaler", "scaled grad", "before unscaling"),
        "The scaled gradients are clipped before unscaling, which makes them tiny.",
    ),
    (
        river_level,
        ("accumul", "divid", "not scaled"),
        "The loss is not divided by the number of accumulation steps.",
    ),
    (
        archive_boxes,
        (
            "remain",
            "leftover",
            "left over",
            "dropped",
            "incomplete",
            "accumul",
            "thrown away",
            "discard",
        ),
        "The last incomplete accumulation group of each epoch is dropped (zeroed without a step).",
    ),
    (
        exam_papers,
        (
            "validation data",
            "trained on val",
            "trains on val",
            "held-out",
            "leak",
            "validation set",
            "validation batch",
            "overlap",
        ),
        "The optimizer also steps on the validation batches.",
    ),
    (
        lantern_colours,
        ("eval", "dropout", "training mode", "train mode"),
        "Validation runs in train mode, with dropout on.",
    ),
    (
        glacier_melt,
        (" ema", "ema ", "averaged", "moving average", "shadow", "never updated"),
        "The EMA copy is averaged with itself and never follows the live model.",
    ),
    (
        apprentice,
        ("teacher", "detach", "distill", "moving target"),
        "The teacher is not detached and is trained along with the student.",
    ),
    (
        coin_forger,
        (
            "detach",
            "d_loss",
            "discriminator loss",
            "discriminator's loss",
            "other loss",
            "another loss",
            "two losses",
            "generator's grad",
            "generator also",
            "gradients of the generator",
        ),
        "Fakes are not detached in the discriminator's loss and its gradients end up in the generator's step.",
    ),
]
