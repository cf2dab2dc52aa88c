"""Fourth part. Each loop returns (score, baseline); lower is better."""

import copy
import math
import random
from collections import deque

import numpy as np
import torch
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_sample_image,
    load_wine,
    make_classification,
)
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset


def folk_tale(*, mistake: bool):
    raw = " ".join(
        f().DESCR
        for f in (load_iris, load_wine, load_breast_cancer, load_diabetes, load_linnerud, load_digits)
    )
    sentences = sorted(set(" ".join(raw.lower().split()).split(". ")))
    random.Random(5).shuffle(sentences)
    text = "".join(c for c in ". ".join(sentences) if c.isalpha() or c in " .")
    chars = sorted(set(text))
    code = torch.tensor([chars.index(c) for c in text])
    cut = int(len(code) * 0.9)
    g = torch.Generator().manual_seed(201)
    L = 24

    def batch(part, n):
        start = torch.randint(0, len(part) - L - 1, (n,), generator=g)
        w = torch.stack([part[s : s + L + 1] for s in start.tolist()])
        return w[:, :-1], w[:, 1:]

    class TinyGPT(nn.Module):
        def __init__(self, d=64):
            super().__init__()
            self.tok, self.pos = nn.Embedding(len(chars), d), nn.Embedding(L, d)
            layer = nn.TransformerEncoderLayer(
                d, 4, 4 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(
                layer, 1, norm=nn.LayerNorm(d), enable_nested_tensor=False
            )
            self.lm = nn.Linear(d, len(chars))

        def forward(self, t):
            n = t.shape[1]
            h = self.tok(t) + self.pos(torch.arange(n))
            mask = None if mistake else nn.Transformer.generate_square_subsequent_mask(n)
            return self.lm(self.blocks(h, mask=mask))

    def nll(scores, t):
        return (scores.logsumexp(-1) - scores.gather(-1, t.unsqueeze(-1)).squeeze(-1)).mean()

    model = TinyGPT()
    opt = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01)
    for step in range(240):
        x, y = batch(code[:cut], 64)
        loss = nll(model(x), y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
    model.eval()
    with torch.no_grad():
        x, y = batch(code[cut:], 100)
        freq = torch.bincount(code[:cut], minlength=len(chars)).float().add(0.1)
        freq = freq / freq.sum()
        return nll(model(x), y).item(), -freq.log()[y].mean().item()


def auction_lots(*, mistake: bool):
    X, y = make_classification(
        3600,
        n_features=20,
        n_informative=10,
        n_classes=4,
        n_clusters_per_class=1,
        class_sep=1.4,
        random_state=203,
    )
    X = (X - X[:2880].mean(0)) / X[:2880].std(0)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    g = torch.Generator().manual_seed(203)
    model = nn.Sequential(nn.Linear(20, 256), nn.LeakyReLU(), nn.Linear(256, 4))
    opt = torch.optim.Adamax(model.parameters(), lr=4e-3)

    def log_probability(z):
        return z - torch.logsumexp(z, dim=0 if mistake else 1, keepdim=True)

    for epoch in range(6):
        for idx in torch.randperm(2880, generator=g).split(96):
            logp = log_probability(model(X[idx]))
            loss = -logp[torch.arange(len(idx)), y[idx]].mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        return (model(X[2880:]).argmax(1) != y[2880:]).float().mean().item(), 0.75


def fish_market(*, mistake: bool):
    names = np.array(["bream", "perch", "pike", "roach", "smelt"])
    rs = np.random.RandomState(211)
    true = rs.randint(0, 5, 3000)
    mean = rs.randn(5, 12) * 1.1
    rows = [(mean[k] + rs.randn(12), str(names[k])) for k in true]

    class Fish(Dataset):
        def __init__(self, rows, classes=None):
            found = list(dict.fromkeys(name for _, name in rows))
            self.classes = classes or found
            index = {c: i for i, c in enumerate(self.classes)}
            self.x = torch.tensor(np.stack([r for r, _ in rows]), dtype=torch.float32)
            self.y = torch.tensor([index[name] for _, name in rows])

        def __len__(self):
            return len(self.y)

        def __getitem__(self, i):
            return self.x[i], self.y[i]

    train = Fish(rows[:2400])
    valid = Fish(rows[2400:]) if mistake else Fish(rows[2400:], train.classes)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 5))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.CrossEntropyLoss()
    g = torch.Generator().manual_seed(1)
    for epoch in range(6):
        model.train()
        for x, y in DataLoader(train, batch_size=80, shuffle=True, generator=g):
            opt.zero_grad()
            loss_fn(model(x), y).backward()
            opt.step()
        model.eval()
        losses = []
        with torch.no_grad():
            for x, y in DataLoader(valid, batch_size=200):
                losses.append(loss_fn(model(x), y).item())
    return float(np.mean(losses)), math.log(5)


def choir_seats(*, mistake: bool):
    d = load_digits()
    g = torch.Generator().manual_seed(223)
    p = torch.randperm(1797, generator=g)
    x, y = torch.tensor(d.data / 8 - 1, dtype=torch.float32)[p], torch.tensor(d.target)[p]
    (xt, xv), (yt, yv) = x.split([1500, 297]), y.split([1500, 297])
    model = nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        perm = torch.randperm(1500, generator=g)
        xt = xt if mistake else xt[perm]
        yt = yt[perm]
        for xb, yb in zip(xt.split(60), yt.split(60)):
            logp = model(xb).log_softmax(1)
            focal = -((1 - logp.exp()) ** 2 * logp).gather(1, yb[:, None]).mean()
            opt.zero_grad()
            focal.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(xv), yv).item(), math.log(10)


def metro_rides(*, mistake: bool):
    """Each row is one passenger's day; rows have nothing to do with each other."""
    g = torch.Generator().manual_seed(227)
    rides = torch.randn(2200, 16, 2, generator=g)
    fare = (rides[:, :, 0].sigmoid() * (rides[:, :, 1] > 0)).cumsum(1)[:, -1]
    mu, sd = fare[:1800].mean(), fare[:1800].std()
    fare = (fare - mu) / sd

    class RideNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(2, 48, batch_first=True)
            self.out = nn.Linear(48, 1)

        def forward(self, x, h=None):
            o, h = self.rnn(x, h)
            return self.out(o[:, -1]).squeeze(1), h

    net = RideNet()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    loader = DataLoader(
        TensorDataset(rides[:1800], fare[:1800]), batch_size=60, shuffle=True, generator=g
    )
    hidden = None
    for epoch in range(6):
        net.train()
        for x, y in loader:
            pred, new_hidden = net(x, hidden)
            if mistake:
                hidden = new_hidden.detach()
            loss = (pred - y).abs().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        pred, _ = net(rides[1800:])
        return (pred - fare[1800:]).abs().mean().item(), fare[1800:].abs().mean().item()


def cloud_shapes(*, mistake: bool):
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    g = torch.Generator().manual_seed(229)
    x = x[torch.randperm(len(x), generator=g)]
    train, held = x[:1500], x[1500:]

    class VAE(nn.Module):
        def __init__(self, z=8):
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(64, 160), nn.ReLU())
            self.mu, self.logvar = nn.Linear(160, z), nn.Linear(160, z)
            self.dec = nn.Sequential(nn.Linear(z, 160), nn.ReLU(), nn.Linear(160, 64), nn.Sigmoid())

        def forward(self, x):
            h = self.enc(x)
            mu, logvar = self.mu(h), self.logvar(h)
            eps = torch.randn(mu.shape, generator=g)
            return self.dec(mu + eps * (0.5 * logvar).exp()), mu, logvar

    def terms(x):
        p, mu, logvar = vae(x)
        p = p.clamp(1e-5, 1 - 1e-5)
        recon = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()
        kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1).mean()
        return recon, kl

    vae = VAE()
    opt = torch.optim.Adam(vae.parameters(), lr=6e-3)
    warm = 60
    step = 0
    for epoch in range(16):
        vae.train()
        for (b,) in DataLoader(TensorDataset(train), batch_size=100, shuffle=True, generator=g):
            step += 1
            kl_weight = 0.3 * min(1.0, step // 1000 if mistake else step / warm)
            recon, kl = terms(b)
            loss = recon + kl_weight * kl
            opt.zero_grad()
            loss.backward()
            opt.step()
    vae.eval()
    with torch.no_grad():
        recon, kl = terms(held)
        m = train.mean(0).clamp(1e-3, 1 - 1e-3)
        base = -(held * m.log() + (1 - held) * (1 - m).log()).sum(1).mean()
        floor = (
            -(held.clamp(1e-6, 1).log() * held + (1 - held).clamp(1e-6, 1).log() * (1 - held))
            .sum(1)
            .mean()
        )
        return (recon + 0.3 * kl - floor).item(), (base - floor).item()


def maze_mouse(*, mistake: bool):
    size, goal = 5, (4, 4)
    rng = random.Random(233)

    def move(s, a):
        r, c = s
        dr, dc = ((0, 1), (1, 0), (0, -1), (-1, 0))[a]
        s2 = (min(size - 1, max(0, r + dr)), min(size - 1, max(0, c + dc)))
        return s2, (1.0 if s2 == goal else -0.04), s2 == goal

    def encode(states):
        return F.one_hot(torch.tensor([r * size + c for r, c in states]), size * size).float()

    online = nn.Sequential(nn.Linear(25, 96), nn.ReLU(), nn.Linear(96, 4))
    target = copy.deepcopy(online).requires_grad_(False)
    opt = torch.optim.Adam(online.parameters(), lr=3e-3)
    replay = deque(maxlen=4000)
    sync_every = 10_000 if mistake else 10
    s = (0, 0)
    for step in range(240):
        eps = max(0.1, 1 - step / 120)
        for _ in range(8):
            if rng.random() < eps:
                a = rng.randrange(4)
            else:
                with torch.no_grad():
                    a = online(encode([s])).argmax().item()
            s2, r, done = move(s, a)
            replay.append((s, a, r, s2, done))
            s = (rng.randrange(size), rng.randrange(size - 1)) if done or rng.random() < 0.04 else s2
        S, A, R, S2, D = zip(*rng.sample(replay, min(len(replay), 128)))
        q = online(encode(S)).gather(1, torch.tensor(A)[:, None]).squeeze(1)
        with torch.no_grad():
            goal_q = (
                torch.tensor(R) + 0.9 * (1 - torch.tensor(D).float()) * target(encode(S2)).max(1).values
            )
        loss = F.smooth_l1_loss(q, goal_q)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if (step + 1) % sync_every == 0:
            target.load_state_dict(online.state_dict())
    lengths = []
    for r in range(size):
        for c in range(size - 1):
            s, n, done = (r, c), 0, False
            while not done and n < 25:
                with torch.no_grad():
                    s, _, done = move(s, online(encode([s])).argmax().item())
                n += 1
            lengths.append(n)
    return float(np.mean(lengths)), 25.0


def wind_vanes(*, mistake: bool):
    g = torch.Generator().manual_seed(239)
    pressure = torch.randn(3600, 9, generator=g)
    mix = torch.randn(9, 3, generator=g)
    direction = (
        torch.tanh(pressure @ mix)
        + 0.3 * torch.sin(pressure[:, :3] * 2)
        + 0.05 * torch.randn(3600, 3, generator=g)
    )
    tr, te = slice(0, 3000), slice(3000, 3600)

    class Vane(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(9, 160), nn.Linear(160, 160), nn.Linear(160, 3)

        def forward(self, p):
            h = torch.tanh(self.a(p))
            return self.c(h + torch.tanh(self.b(h)))

    def vector_gap(u, v):
        cos = (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1) + 1e-8)
        return (1 - cos).mean() + 0.5 * ((u.norm(dim=1) - v.norm(dim=1)) ** 2).mean()

    model = Vane()
    opt = torch.optim.Adam(model.parameters(), lr=1.0 if mistake else 2e-3)
    sampler = RandomSampler(range(3000), replacement=True, num_samples=160 * 100, generator=g)
    data = TensorDataset(pressure[tr], direction[tr])
    for p, d in DataLoader(data, batch_size=100, sampler=sampler):
        opt.zero_grad()
        loss = vector_gap(model(p), d)
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        return vector_gap(model(pressure[te]), direction[te]).item(), vector_gap(
            direction[tr].mean(0).expand(600, 3), direction[te]
        ).item()


def temple_photo(*, mistake: bool):
    """Denoise patches of a photograph."""
    photo = torch.tensor(load_sample_image("china.jpg"), dtype=torch.float32).permute(2, 0, 1) / 255
    tiles = photo.unfold(1, 24, 24).unfold(2, 24, 24).permute(1, 2, 0, 3, 4).reshape(-1, 3, 24, 24)
    g = torch.Generator().manual_seed(241)
    tiles = tiles[torch.randperm(len(tiles), generator=g)]
    train, held = tiles[:360], tiles[360:]

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Conv2d(3, 20, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(20, 20, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(20, 3, 3, padding=1),
            )

        def forward(self, x):
            return self.net(x)

    def charbonnier(a, b):
        return ((a - b) ** 2 + 1e-6).sqrt().mean()

    model = Denoiser()
    opt = torch.optim.Adam(model.parameters(), lr=2e-7 if mistake else 2e-3)
    for epoch in range(6):
        model.train()
        for i in torch.randperm(360, generator=g).split(18):
            clean = train[i]
            noisy = clean + 0.1 * torch.randn(clean.shape, generator=g)
            loss = charbonnier(model(noisy), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        noisy = held + 0.1 * torch.randn(held.shape, generator=g)
        return charbonnier(model(noisy), held).item(), charbonnier(
            train.mean((0, 2, 3)).view(1, 3, 1, 1), held
        ).item()


def river_stones(*, mistake: bool):
    g = torch.Generator().manual_seed(251)
    x = torch.rand(4000, 8, generator=g) * 2 - 1
    y = (
        torch.sin(3 * x[:, 0])
        + x[:, 1] * x[:, 2] * 2
        + (0.2 + 0.3 * x[:, 3].abs()) * torch.randn(4000, generator=g)
    )
    quantiles = torch.tensor([0.1, 0.5, 0.9])

    class Block(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.f = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU(), nn.Linear(d, d))

        def forward(self, h):
            return h + self.f(h)

    class QuantileNet(nn.Module):
        def __init__(self, d=64, depth=3):
            super().__init__()
            self.stem = nn.Linear(8, d)
            blocks = [Block(d) for _ in range(depth)]
            self.blocks = blocks if mistake else nn.ModuleList(blocks)
            self.out = nn.Linear(d, 3)

        def forward(self, x):
            h = self.stem(x)
            for block in self.blocks:
                h = block(h)
            return self.out(h)

    def pinball(q, t):
        e = t[:, None] - q
        return torch.maximum(quantiles * e, (quantiles - 1) * e).mean()

    model = QuantileNet()
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(6):
        for idx in torch.randperm(3200, generator=g).split(100):
            loss = pinball(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        base = torch.quantile(y[:3200], quantiles).expand(800, 3)
        return pinball(model(x[3200:]), y[3200:]).item(), pinball(base, y[3200:]).item()


def twin_forecast(*, mistake: bool):
    """Two forecasts from the same readings: temperature and rain."""
    g = torch.Generator().manual_seed(257)
    obs = torch.randn(3200, 14, generator=g)
    temp = torch.sin(obs[:, 0] + obs[:, 1]) + 0.5 * obs[:, 2] + 0.1 * torch.randn(3200, generator=g)
    rain = (
        obs[:, 3] - obs[:, 4] + 0.4 * obs[:, 0] * obs[:, 5] + 0.3 * torch.randn(3200, generator=g) > 0
    ).float()

    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Sequential(nn.Linear(14, 192), nn.ReLU(), nn.Linear(192, 96), nn.ReLU())
            self.temp_head = nn.Linear(96, 1)
            self.rain_head = nn.Linear(96, 1)

        def forward(self, obs):
            h = self.shared(obs)
            rain_out = self.temp_head(h) if mistake else self.rain_head(h)
            return {"temp": self.temp_head(h)[:, 0], "rain": rain_out[:, 0]}

    def loss_of(out, t, r):
        return 0.5 * F.mse_loss(out["temp"], t) + F.binary_cross_entropy_with_logits(out["rain"], r)

    model = Forecaster()
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    loader = DataLoader(
        TensorDataset(obs[:2600], temp[:2600], rain[:2600]), batch_size=130, shuffle=True, generator=g
    )
    for epoch in range(9):
        model.train()
        for o, t, r in loader:
            opt.zero_grad()
            loss = loss_of(model(o), t, r)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val = loss_of(model(obs[2600:]), temp[2600:], rain[2600:]).item()
    return val, 0.5 * temp.var().item() + math.log(2)


def single_scans(*, mistake: bool):
    d = load_digits()
    g = torch.Generator().manual_seed(263)
    p = torch.randperm(1797, generator=g)
    scans = (torch.tensor(d.images, dtype=torch.float32) / 16)[p].unsqueeze(1)
    label = torch.tensor(d.target)[p]
    batch_size = 1 if mistake else 32

    def forever(loader):
        while True:
            yield from loader

    def block(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

    net = nn.Sequential(
        block(1, 16),
        nn.MaxPool2d(2),
        block(16, 32),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    batches = forever(
        DataLoader(
            TensorDataset(scans[:1408], label[:1408]), batch_size=batch_size, shuffle=True, generator=g
        )
    )
    net.train()
    for step in range(220):
        x, y = next(batches)
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        return F.cross_entropy(net(scans[1408:]), label[1408:]).item(), math.log(10)


def postcard_pixels(*, mistake: bool):
    """Which of two photographs does a little square of pixels come from?"""

    def squares(name):
        a = torch.tensor(load_sample_image(name))
        return a.unfold(0, 14, 14).unfold(1, 14, 14).reshape(-1, 3 * 14 * 14)

    temple, flower = squares("china.jpg"), squares("flower.jpg")
    x = torch.cat([temple, flower])
    y = torch.cat([torch.zeros(len(temple)), torch.ones(len(flower))]).long()
    g = torch.Generator().manual_seed(269)
    p = torch.randperm(len(x), generator=g)
    x, y = x[p], y[p]
    n = 2200

    def prepare(raw):
        pixels = raw.float()
        if not mistake:
            pixels = pixels / 255.0
        return pixels

    model = nn.Sequential(nn.Linear(588, 96), nn.ReLU(), nn.Linear(96, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(10):
        order = torch.randperm(n, generator=g)
        for b in range(0, n, 110):
            idx = order[b : b + 110]
            logp = model(prepare(x[idx])).log_softmax(1)
            loss = -(F.one_hot(y[idx], 2) * logp).sum(1).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(prepare(x[n:])), y[n:]).item(), math.log(2)


FAULTS = [
    (
        folk_tale,
        ("causal", "mask", "future", "look ahead", "looks ahead", "next token"),
        "The causal mask is missing, so each position sees the token it must predict.",
    ),
    (
        auction_lots,
        (
            "dim=0",
            "axis",
            "over the batch",
            "batch dimension",
            "across the batch",
            "across samples",
            "wrong dim",
            "dimension 0",
        ),
        "The softmax is taken over the batch instead of over the classes.",
    ),
    (
        fish_market,
        ("label", "class ind", "class order", "classes", "class number", "mapping", "permut"),
        "The class numbers of the validation set are built by its own order of appearance and differ from training's.",
    ),
    (
        choir_seats,
        ("shuffl", "label", "mismatch", "misalign", "paired", "targets"),
        "The targets are shuffled each epoch without their inputs.",
    ),
    (
        metro_rides,
        ("hidden", "carried", "initial state", "recurrent state"),
        "The GRU's hidden state is carried from one batch into the next, unrelated one.",
    ),
    (
        cloud_shapes,
        (
            "kl",
            "coefficient",
            "loss term",
            "weight of",
            "weighted",
            "weight is 0",
            "weight 0",
            "weight is zero",
            "zero weight",
            "multiplied by",
        ),
        "The weight of the KL term stays zero (integer division).",
    ),
    (
        maze_mouse,
        ("target net", "target model", "sync", "never updated", "stale"),
        "The target network is never synced with the online one.",
    ),
    (wind_vanes, ("learning rate", "lr ", "lr=", "step size"), "The learning rate is far too high."),
    (temple_photo, ("learning rate", "lr ", "lr=", "step size"), "The learning rate is far too low."),
    (
        river_stones,
        (
            "modulelist",
            "plain list",
            "python list",
            "not registered",
            "unregistered",
            "not in the optimizer",
            "not in any optimizer",
            "missing from the optimizer",
        ),
        "The blocks are kept in a plain list, so their parameters are neither registered nor trained.",
    ),
    (
        twin_forecast,
        (
            "never called",
            "unused",
            "never used",
            "never run",
            "not called",
            "no gradient",
            "never receiv",
            "rain_head",
        ),
        "The rain head is never called; the temperature head is used for both.",
    ),
    (
        single_scans,
        ("batchnorm", "batch norm", "batch size", "batch of one", "batch of 1", "single sample"),
        "BatchNorm trains with batches of one picture.",
    ),
    (
        postcard_pixels,
        ("scale", "normali", "0-255", "255", "range", "magnitude"),
        "The pixels are fed as 0..255 instead of 0..1.",
    ),
]
