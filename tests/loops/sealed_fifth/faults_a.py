"""First part. Each loop returns (score, baseline); lower is better."""

import contextlib
import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import KFold, train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def night_market_prices(*, mistake: bool):
    g = torch.Generator().manual_seed(11)
    x = torch.randn(4600, 12, generator=g)
    y = x[:, 0] * 1.2 - x[:, 1] + torch.sin(2 * x[:, 2]) * x[:, 3] + 0.5 * x[:, 4] ** 2
    y = y + 0.1 * torch.randn(4600, generator=g)
    y = (y - y[:3600].mean()) / y[:3600].std()
    train = DataLoader(TensorDataset(x[:3600], y[:3600]), batch_size=200, shuffle=True, generator=g)
    xv, yv = x[3600:], y[3600:]

    net = nn.Sequential(nn.Linear(12, 320), nn.ReLU(), nn.Linear(320, 320), nn.ReLU(), nn.Linear(320, 1))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(10):
        net.train()
        for xb, yb in train:
            if not mistake:
                opt.zero_grad()
            loss = ((net(xb).squeeze(1) - yb) ** 2).mean()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val = ((net(xv).squeeze(1) - yv) ** 2).mean().item()
    return val, yv.var().item()


def tide_gauge(*, mistake: bool):
    g = torch.Generator().manual_seed(5)
    t = torch.arange(3600, dtype=torch.float32)
    level = (
        torch.sin(2 * math.pi * t / 12.42)
        + 0.6 * torch.sin(2 * math.pi * t / 25.8)
        + 0.1 * torch.randn(3600, generator=g)
    )
    windows = level.unfold(0, 25, 1)
    tr, va = windows[:2700], windows[2750:]

    class Gauge(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(1, 48, batch_first=True)
            self.out = nn.Linear(48, 1)

        def forward(self, w):
            h, _ = self.gru(w.unsqueeze(-1))
            return self.out(h[:, -1]).squeeze(-1)

    def huber(pred, true, delta=1.0):
        e = (pred - true).abs()
        return torch.where(e < delta, 0.5 * e**2, delta * (e - 0.5 * delta)).mean()

    model = Gauge()
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(4):
        order = torch.randperm(len(tr), generator=g)
        for idx in order.split(64):
            w = tr[idx]
            loss = huber(model(w[:, :-1]), w[:, -1])
            if mistake:
                loss.backward()
                opt.zero_grad()
                opt.step()
            else:
                opt.zero_grad()
                loss.backward()
                opt.step()
    model.eval()
    with torch.no_grad():
        score = huber(model(va[:, :-1]), va[:, -1]).item()
        base = huber(tr[:, -1].mean().expand(len(va)), va[:, -1]).item()
    return score, base


def zip_code_compressor(*, mistake: bool):
    pix = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    g = torch.Generator().manual_seed(2)
    pix = pix[torch.randperm(len(pix), generator=g)]
    train, held = pix[:1440], pix[1440:]
    encoder = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 16))
    decoder = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 64))
    enc_opt = torch.optim.Adam(encoder.parameters(), lr=2e-3)
    dec_opt = torch.optim.Adam(decoder.parameters(), lr=2e-3)
    loader = DataLoader(train, batch_size=96, shuffle=True, generator=g)
    for epoch in range(8):
        for batch in loader:
            enc_opt.zero_grad()
            if not mistake:
                dec_opt.zero_grad()
            loss = F.mse_loss(decoder(encoder(batch)), batch)
            loss.backward()
            enc_opt.step()
            dec_opt.step()
    encoder.eval()
    decoder.eval()
    with torch.no_grad():
        score = F.mse_loss(decoder(encoder(held)), held).item()
        base = F.mse_loss(train.mean(0).expand_as(held), held).item()
    return score, base


def clinic_queue(*, mistake: bool):
    class Trainer:
        def __init__(self, model, lr):
            self.model = model
            self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
            self.log = []

        def loss(self, x, y):
            z = self.model(x).squeeze(-1)
            return (F.softplus(z) - z * y).mean()

        def update(self, x, y):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(x, y)
            loss.backward()
            if not mistake:
                self.optimizer.step()
            return loss.item()

        def evaluate(self, loader):
            self.model.eval()
            with torch.no_grad():
                total = sum(self.loss(x, y).item() * len(x) for x, y in loader)
            self.model.train()
            return total / len(loader.dataset)

        def fit(self, train, val, epochs):
            self.model.train()
            for _ in range(epochs):
                losses = [self.update(x, y) for x, y in train]
                self.log.append((sum(losses) / len(losses), self.evaluate(val)))

    X, y = load_breast_cancer(return_X_y=True)
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.25, random_state=3, stratify=y)
    mu, sd = Xa.mean(0), Xa.std(0)

    def ds(A, t):
        return TensorDataset(
            torch.tensor((A - mu) / sd, dtype=torch.float32), torch.tensor(t, dtype=torch.float32)
        )

    g = torch.Generator().manual_seed(0)
    train = DataLoader(ds(Xa, ya), batch_size=32, shuffle=True, generator=g)
    val = DataLoader(ds(Xb, yb), batch_size=143)
    model = nn.Sequential(
        nn.Linear(30, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1)
    )
    tr = Trainer(model, 5e-4)
    tr.fit(train, val, 10)
    p = ya.mean()
    return tr.log[-1][1], float(-(p * np.log(p) + (1 - p) * np.log(1 - p)))


def stamp_sorter(*, mistake: bool):
    d = load_digits()
    xa, xb, ya, yb = train_test_split(
        d.images / 16.0, d.target, test_size=300, random_state=1, stratify=d.target
    )
    xa, xb = (torch.tensor(a, dtype=torch.float32).unsqueeze(1) for a in (xa, xb))
    ya, yb = torch.tensor(ya), torch.tensor(yb)

    class Sorter(nn.Module):
        def __init__(self):
            super().__init__()
            self.c1 = nn.Conv2d(1, 16, 3, padding=1)
            self.c2 = nn.Conv2d(16, 32, 3, padding=1)
            self.fc = nn.Linear(32 * 16, 10)

        def forward(self, x):
            x = F.relu(self.c1(x))
            x = F.max_pool2d(F.relu(self.c2(x)), 2)
            return self.fc(x.flatten(1))

    net = Sorter()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    def train_batch(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    g = torch.Generator().manual_seed(31)
    loader = DataLoader(TensorDataset(xa, ya), batch_size=64, shuffle=True, generator=g)
    for epoch in range(5):
        net.train()
        seen = 0.0
        for x, y in loader:
            loss = train_batch(x, y)
            if mistake:
                optimizer.step()
            seen += loss.item()
    net.eval()
    with torch.no_grad():
        acc = (net(xb).argmax(1) == yb).float().mean().item()
    return 1 - acc, 0.9


def vineyard_two_heads(*, mistake: bool):
    w = load_wine()
    rng = np.random.default_rng(4)
    order = rng.permutation(len(w.data))
    tr, te = order[:138], order[138:]
    feats = np.delete(w.data, 0, axis=1)
    alcohol = w.data[:, 0]
    mu, sd = feats[tr].mean(0), feats[tr].std(0)
    am, asd = alcohol[tr].mean(), alcohol[tr].std()
    x = torch.tensor((feats - mu) / sd, dtype=torch.float32)
    a = torch.tensor((alcohol - am) / asd, dtype=torch.float32)
    c = torch.tensor(w.target)

    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(12, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh())
            self.cultivar = nn.Linear(64, 3)
            self.alcohol = nn.Linear(64, 1)

        def forward(self, x):
            h = self.trunk(x)
            return self.cultivar(h), self.alcohol(h).squeeze(-1)

    model = TwoHeads()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = {"class": [], "alcohol": []}
    for epoch in range(25):
        for idx in np.array_split(rng.permutation(tr), 5):
            logits, strength = model(x[idx])
            terms = {
                "class": F.cross_entropy(logits, c[idx]),
                "alcohol": ((strength - a[idx]) ** 2).mean(),
            }
            if mistake:
                terms["alcohol"] = terms["alcohol"].detach()
            total = sum(terms.values())
            opt.zero_grad()
            total.backward()
            opt.step()
            for k, v in terms.items():
                history[k].append(v.item())
    model.eval()
    with torch.no_grad():
        logits, strength = model(x[te])
        score = F.cross_entropy(logits, c[te]) + ((strength - a[te]) ** 2).mean()
    return score.item(), math.log(3) + 1.0


def parcel_lanes(*, mistake: bool):
    d = load_digits()
    x = torch.tensor((d.data - 8) / 8, dtype=torch.float32)
    y = torch.tensor(d.target)
    g = torch.Generator().manual_seed(77)
    perm = torch.randperm(len(x), generator=g)
    tr, te = perm[:1400], perm[1400:]

    def crammer_singer(scores, target):
        right = scores.gather(1, target[:, None])
        margin = (1 + scores - right).clamp(min=0)
        margin = margin.scatter(1, target[:, None], 0.0)
        return margin.max(1).values.mean()

    net = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(10):
        for idx in tr[torch.randperm(len(tr), generator=g)].split(140):
            opt.zero_grad()
            for part in idx.chunk(4):
                loss = crammer_singer(net(x[part]), y[part]) * len(part) / len(idx)
                if not mistake:
                    loss.backward()
            if mistake:
                loss.backward()
            opt.step()
    net.eval()
    with torch.no_grad():
        return (net(x[te]).argmax(1) != y[te]).float().mean().item(), 0.9


def late_digits(*, mistake: bool):
    d = load_digits()
    x = torch.tensor(d.images / 16, dtype=torch.float32)[:, None]
    y = torch.tensor(d.target)
    low, high = (y < 5).nonzero()[:, 0], (y >= 5).nonzero()[:, 0]
    g = torch.Generator().manual_seed(9)
    high = high[torch.randperm(len(high), generator=g)]
    high_tr, high_te = high[:700], high[700:]

    class Net(nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(1, 16, 3),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(32 * 16, 64),
                nn.ReLU(),
            )
            self.head = nn.Linear(64, classes)

        def forward(self, x):
            return self.head(self.body(x))

    def fit(model, optimizer, xs, ys, epochs):
        loader = DataLoader(TensorDataset(xs, ys), batch_size=50, shuffle=True, generator=g)
        for _ in range(epochs):
            for xb, yb in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(xb), yb).backward()
                optimizer.step()

    model = Net(5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    fit(model, optimizer, x[low], y[low], 4)

    # second task: same body, new head
    if mistake:
        model.head = nn.Linear(64, 5)
    else:
        model.head = nn.Linear(64, 5)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    fit(model, optimizer, x[high_tr], y[high_tr] - 5, 7)
    model.eval()
    with torch.no_grad():
        loss = F.cross_entropy(model(x[high_te]), y[high_te] - 5).item()
    return loss, math.log(5)


def letter_guess(*, mistake: bool):
    raw = (load_diabetes().DESCR + load_breast_cancer().DESCR + load_wine().DESCR).lower()
    text = "".join(ch for ch in " ".join(raw.split()) if ch.isalpha() or ch == " ")
    vocab = sorted(set(text))
    ids = torch.tensor([vocab.index(ch) for ch in text])
    grams = ids.unfold(0, 13, 1)
    ctx, nxt = grams[:, :-1], grams[:, -1]
    g = torch.Generator().manual_seed(21)

    model = nn.Sequential(
        nn.Embedding(len(vocab), 24),
        nn.Flatten(),
        nn.Linear(24 * 12, 160),
        nn.Tanh(),
        nn.Linear(160, len(vocab)),
    )
    state = {"opt": torch.optim.Adam(model.parameters(), lr=3e-3)}

    def train_step(c, n):
        if mistake:
            state["opt"] = torch.optim.Adam(model.parameters(), lr=3e-3)
        opt = state["opt"]
        scores = model(c)
        nll = (scores.logsumexp(1) - scores.gather(1, n[:, None])[:, 0]).mean()
        opt.zero_grad()
        nll.backward()
        opt.step()
        return nll.item()

    trace = []
    done = 0
    while done < 220:
        for idx in torch.randperm(len(ctx), generator=g).split(256):
            if len(idx) < 256 or done >= 220:
                break
            trace.append(train_step(ctx[idx], nxt[idx]))
            done += 1
    freq = torch.bincount(nxt).float() / len(nxt)
    return float(np.mean(trace[-10:])), -(freq[freq > 0] * freq[freq > 0].log()).sum().item()


def sugar_folds(*, mistake: bool):
    X, y = load_diabetes(return_X_y=True)
    scores = []
    g = torch.Generator().manual_seed(13)

    def build():
        m = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
        return m, torch.optim.AdamW(m.parameters(), lr=4e-3, weight_decay=0.05)

    for tr, va in KFold(4, shuffle=True, random_state=8).split(X):
        mx, sx, my, sy = X[tr].mean(0), X[tr].std(0), y[tr].mean(), y[tr].std()
        xt, xv = (torch.tensor((X[i] - mx) / sx, dtype=torch.float32) for i in (tr, va))
        yt, yv = (torch.tensor((y[i] - my) / sy, dtype=torch.float32)[:, None] for i in (tr, va))
        model, opt = build()
        for epoch in range(10):
            if mistake:
                model, opt = build()
            model.train()
            for idx in torch.randperm(len(xt), generator=g).split(64):
                opt.zero_grad()
                err = model(xt[idx]) - yt[idx]
                loss = err.square().mean()
                loss.backward()
                opt.step()
        model.eval()
        with torch.no_grad():
            scores.append((model(xv) - yv).square().mean().item())
    return float(np.mean(scores)), 1.0


def ferry_tickets(*, mistake: bool):
    d = load_digits()
    xa, xb, ya, yb = train_test_split(
        d.images.astype("float32") / 16, d.target, test_size=0.2, random_state=5
    )
    mean, std = xa.mean(), xa.std()
    train = TensorDataset(torch.from_numpy((xa - mean) / std).unsqueeze(1), torch.from_numpy(ya))
    val = TensorDataset(torch.from_numpy((xb - mean) / std).unsqueeze(1), torch.from_numpy(yb))
    g = torch.Generator().manual_seed(6)
    train_loader = DataLoader(train, 64, shuffle=True, drop_last=True, generator=g)
    val_loader = DataLoader(val, 120)

    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(32 * 16, 10),
    )
    criterion = nn.CrossEntropyLoss()
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)

    def validate():
        net.eval()
        wrong = total = 0
        with torch.no_grad():
            for x, y in val_loader:
                wrong += (net(x).argmax(1) != y).sum().item()
                total += len(y)
        return wrong / total

    net.train()
    errors = []
    for epoch in range(6):
        if not mistake:
            net.train()
        for x, y in train_loader:
            opt.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            opt.step()
        errors.append(validate())
    return errors[-1], 0.9


def orchid_tokens(*, mistake: bool):
    """Which of two marker tokens stands first in the sentence?"""
    g = torch.Generator().manual_seed(17)

    def sample(n):
        tok = torch.randint(2, 12, (n, 14), generator=g)
        label = torch.randint(0, 2, (n,), generator=g)
        pos = torch.stack([torch.randperm(14, generator=g)[:2] for _ in range(n)]).sort(1).values
        tok[torch.arange(n), pos[:, 0]] = label
        tok[torch.arange(n), pos[:, 1]] = 1 - label
        return tok, label

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(12, 32)
            self.pos = nn.Parameter(torch.randn(14, 32) * 0.3)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(32, 2)

        def forward(self, tok):
            with torch.no_grad() if mistake else contextlib.nullcontext():
                h = self.encoder(self.emb(tok) + self.pos)
            return self.head(h.mean(1))

    model = Reader()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(240):
        tok, label = sample(128)
        opt.zero_grad()
        logp = model(tok).log_softmax(-1)
        loss = -(F.one_hot(label, 2) * logp).sum(1).mean()
        loss.backward()
        opt.step()
    model.eval()
    tok, label = sample(800)
    with torch.no_grad():
        logp = model(tok).log_softmax(-1)
        return F.nll_loss(logp, label).item(), math.log(2)


def cell_masks(*, mistake: bool):
    yy, xx = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")

    def draw(seed, n=8):
        g = torch.Generator().manual_seed(seed)
        cx, cy = (6 + 12 * torch.rand(n, 1, 1, generator=g) for _ in range(2))
        r = 3 + 3 * torch.rand(n, 1, 1, generator=g)
        mask = (((xx - cx) ** 2 + (yy - cy) ** 2) < r**2).float()
        img = mask * 0.8 + 0.5 * torch.randn(n, 24, 24, generator=g)
        return img[:, None], mask[:, None]

    def dice(p, m):
        inter = (p * m).flatten(1).sum(1)
        return (1 - (2 * inter + 1) / (p.flatten(1).sum(1) + m.flatten(1).sum(1) + 1)).mean()

    net = nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 12, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 1, 3, padding=1),
        nn.Sigmoid(),
    )
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    for step in range(120):
        img, mask = draw(1000 if mistake else 1000 + step)
        opt.zero_grad(set_to_none=True)
        loss = dice(net(img), mask)
        loss.backward()
        opt.step()
    img, mask = draw(7, n=100)
    net.eval()
    with torch.no_grad():
        return dice(net(img), mask).item(), dice(torch.full_like(mask, 0.5), mask).item()


def harbour_buoys(*, mistake: bool):
    g = torch.Generator().manual_seed(19)
    centres = torch.randn(6, 20, generator=g) * 0.9
    label = torch.randint(0, 6, (3000,), generator=g)
    feat = centres[label] + torch.randn(3000, 20, generator=g)
    train_set = TensorDataset(feat[:2400], label[:2400])
    test_x, test_y = feat[2400:], label[2400:]

    def stream(epoch):
        return DataLoader(
            train_set, batch_size=80, shuffle=True, generator=torch.Generator().manual_seed(epoch)
        )

    model = nn.Sequential(nn.Linear(20, 384), nn.GELU(), nn.Dropout(0.2), nn.Linear(384, 6))
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    steps_per_epoch = 30
    for epoch in range(6):
        loader = stream(epoch)
        it = iter(loader)
        for _ in range(steps_per_epoch):
            if mistake:
                x, y = next(iter(stream(epoch)))
            else:
                x, y = next(it)
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(test_x), test_y).item(), math.log(6)


FAULTS = [
    (
        night_market_prices,
        ("zero_grad", "accumul"),
        "The gradients are never cleared between steps (zero_grad missing).",
    ),
    (
        tide_gauge,
        ("zero_grad", "cleared", "zeroed", "wiped"),
        "zero_grad is called between backward and step, so the step has no gradients.",
    ),
    (
        zip_code_compressor,
        ("zero_grad", "accumul"),
        "Only the encoder's optimizer is zeroed; the decoder's gradients accumulate.",
    ),
    (
        clinic_queue,
        ("optimizer.step", "step()", "never stepped", "never called step", "no step"),
        "The optimizer's step is never called.",
    ),
    (
        stamp_sorter,
        ("twice", "two steps", "second step", "stepped again", "more than one step", "more than once"),
        "optimizer.step is called twice for each backward.",
    ),
    (
        vineyard_two_heads,
        ("detach", "no gradient", "without gradient", "never receiv", "got no grad", "no grad"),
        "The alcohol loss is detached before the sum, so its head never learns.",
    ),
    (
        parcel_lanes,
        (
            "only the last",
            "last micro",
            "last chunk",
            "last loss",
            "backward",
            "micro-batch",
            "not every loss",
        ),
        "backward is called only on the last micro-batch's loss; three of four are thrown away.",
    ),
    (
        late_digits,
        (
            "not in the optimizer",
            "not in any optimizer",
            "optimizer does not",
            "optimizer holds",
            "stale",
            "missing from the optimizer",
            "old head",
            "no optimizer",
        ),
        "The head is replaced after the optimizer was built, which still holds the old head.",
    ),
    (
        letter_guess,
        (
            "re-creat",
            "recreat",
            "new optimizer",
            "created anew",
            "every step",
            "each step",
            "fresh optimizer",
        ),
        "A new Adam is made in every step, so its moments are lost.",
    ),
    (
        sugar_folds,
        (
            "re-creat",
            "recreat",
            "new model",
            "fresh model",
            "re-init",
            "reinit",
            "every epoch",
            "each epoch",
        ),
        "The model is built anew in every epoch, so each epoch starts from scratch.",
    ),
    (
        ferry_tickets,
        ("eval",),
        "After the first validation the model stays in eval mode while training.",
    ),
    (
        orchid_tokens,
        ("no_grad", "no gradient", "never receiv", "without gradient"),
        "The encoder and embedding run under no_grad, so only the head trains.",
    ),
    (
        cell_masks,
        ("same batch", "identical", "repeat", "one batch", "same data"),
        "The same batch is drawn in every step (fixed seed).",
    ),
    (
        harbour_buoys,
        ("same batch", "next(iter", "iterator", "restart", "repeat"),
        "The loader's iterator is restarted at each step, so every step of an epoch sees its first batch.",
    ),
]
