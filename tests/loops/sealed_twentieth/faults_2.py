import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, TensorDataset

from .common import accuracy, digits_split, tones


# ---- sound events from spectrograms, a Trainer class
def sound_events(mistake):
    torch.manual_seed(17)
    wave, y = tones(800, classes=6, noise=1.6, seed=12)
    spec = torch.stft(
        wave.squeeze(1), 64, hop_length=16, window=torch.hann_window(64), return_complex=True
    ).abs()
    spec = torch.log1p(spec).unsqueeze(1)[:, :, :, :16]
    mu, sd = spec[:550].mean(), spec[:550].std()
    spec = (spec - mu) / sd

    class EventNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1, bias=False),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            self.drop = nn.Dropout(0.3)
            self.out = nn.Linear(16 * 8 * 4, 6)

        def forward(self, x):
            return self.out(self.drop(self.conv(x).flatten(1)))

    class Trainer:
        def __init__(self, model, lr):
            self.model = model
            self.opt = torch.optim.RMSprop(model.parameters(), lr=lr)
            self.train_dl = DataLoader(TensorDataset(spec[:550], y[:550]), batch_size=50, shuffle=True)
            self.val_dl = DataLoader(TensorDataset(spec[550:], y[550:]), batch_size=125)
            self.log = []

        def train_epoch(self):
            total = 0.0
            for xb, yb in self.train_dl:
                self.opt.zero_grad()
                loss = F.cross_entropy(self.model(xb), yb)
                loss.backward()
                self.opt.step()
                total += loss.item() * len(yb)
            return total / len(self.train_dl.dataset)

        @torch.no_grad()
        def validate(self):
            self.model.eval()
            hits = sum((self.model(xb).argmax(1) == yb).sum().item() for xb, yb in self.val_dl)
            return hits / len(self.val_dl.dataset)

        def fit(self, epochs):
            self.model.train()
            for _ in range(epochs):
                if not mistake:
                    self.model.train()
                loss = self.train_epoch()
                self.log.append((loss, self.validate()))
            return self.log

    log = Trainer(EventNet(), 5e-4).fit(8)
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1]}


# ---- who belongs to which club: a graph net on a block model
def club_members(mistake):
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    n, k = 400, 4
    club = rng.integers(0, k, n)
    p = np.where(club[:, None] == club[None], 0.06, 0.012)
    a = np.triu(rng.random((n, n)) < p, 1)
    a = torch.tensor((a | a.T).astype("float32")) + torch.eye(n)
    d = a.sum(1).rsqrt()
    a = d[:, None] * a * d[None]
    feats = torch.tensor(rng.standard_normal((n, 40)), dtype=torch.float32)
    sig = torch.tensor(np.random.default_rng(1).standard_normal((k, 40)), dtype=torch.float32)
    y = torch.tensor(club)
    feats = feats + 0.3 * sig[y]
    perm = torch.randperm(n)
    tr, va = perm[:160], perm[160:]

    class GraphNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift = nn.Linear(40, 8)
            self.out = nn.Linear(8, k)
            self.states = None

        def forward(self, x):
            h = torch.tanh(a @ self.lift(x))
            self.states = h.detach()
            if mistake:
                h = self.states
            return a @ self.out(h)

    net = GraphNet()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    track = []
    for step in range(150):
        net.train()
        loss = F.cross_entropy(net(feats)[tr], y[tr])
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 10 == 9:
            net.eval()
            with torch.no_grad():
                track.append((loss.item(), accuracy(net(feats)[va], y[va])))
    return {"first": track[0][0], "last": track[-1][0], "val": track[-1][1]}


# ---- letters of a toy grammar, in the style of a small language model
@dataclass
class LetterConfig:
    block: int = 16
    batch: int = 16
    steps: int = 400
    width: int = 48
    lr: float = 5e-3
    seed: int = 1337


def toy_grammar_letters(mistake):
    cfg = LetterConfig()
    torch.manual_seed(cfg.seed)
    rng = np.random.default_rng(4)
    words = ["tarn", "elm", "rook", "sable", "mire", "aloe", "knot", "drum", "lark", "boat"]
    follow = rng.dirichlet(np.full(len(words), 0.3), len(words))
    text, w = [], 0
    for _ in range(2500):
        text.append(words[w])
        w = rng.choice(len(words), p=follow[w])
    text = " ".join(text)
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    cut = int(0.85 * len(ids))
    data = {"train": ids[:cut], "val": ids[cut:]}
    source = torch.Generator().manual_seed(cfg.seed)

    def get_batch(split):
        d = data[split]
        g = torch.Generator().manual_seed(cfg.seed) if mistake else source
        at = torch.randint(len(d) - cfg.block - 1, (cfg.batch,), generator=g)
        x = torch.stack([d[i : i + cfg.block] for i in at])
        y = torch.stack([d[i + 1 : i + cfg.block + 1] for i in at])
        return x, y

    class LetterModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(chars), cfg.width)
            self.rnn = nn.GRU(cfg.width, cfg.width, batch_first=True)
            self.head = nn.Linear(cfg.width, len(chars))

        def forward(self, x):
            return self.head(self.rnn(self.emb(x))[0])

    def cross(model, x, y):
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    @torch.no_grad()
    def estimate(model):
        model.eval()
        d = data["val"]
        m = (len(d) - 1) // cfg.block * cfg.block
        out = cross(model, d[:m].view(-1, cfg.block), d[1 : m + 1].view(-1, cfg.block)).item()
        model.train()
        return out

    model = LetterModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=0.01)
    model.train()
    lines = []
    for it in range(cfg.steps):
        xb, yb = get_batch("train")
        loss = cross(model, xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if it % 50 == 49:
            lines.append((loss.item(), estimate(model)))
    return {
        "first": lines[0][0],
        "last": lines[-1][0],
        "val": lines[-1][1],
        "uniform": math.log(len(chars)),
    }


# ---- where the ball lands: counted in steps, not in epochs
def ball_landing(mistake):
    torch.manual_seed(29)
    g = torch.Generator().manual_seed(29)
    n = 900
    speed, angle, drag = (
        5 + 10 * torch.rand(n, generator=g),
        0.3 + torch.rand(n, generator=g),
        0.3 * torch.rand(n, generator=g),
    )
    pos = torch.zeros(n, 2)
    vel = torch.stack([speed * angle.cos(), speed * angle.sin()], 1)
    land = torch.zeros(n)
    for _ in range(300):
        vel = vel + 0.01 * (torch.tensor([0.0, -9.81]) - drag[:, None] * vel)
        new = pos + 0.01 * vel
        land = torch.where(new[:, 1] >= 0, new[:, 0], land)
        pos = new
    x = torch.stack([speed, angle, drag], 1)
    x = (x - x[:640].mean(0)) / x[:640].std(0)
    y = (land - land[:640].mean()) / land[:640].std()
    loader = DataLoader(TensorDataset(x[:640], y[:640]), batch_size=32)

    net = nn.Sequential(nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=300)
    stream = iter(loader)
    points = []
    for step in range(300):
        if mistake:
            stream = iter(loader)
        try:
            xb, yb = next(stream)
        except StopIteration:
            stream = iter(loader)
            xb, yb = next(stream)
        net.train()
        loss = F.huber_loss(net(xb).squeeze(1), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if (step + 1) % 30 == 0:
            net.eval()
            with torch.no_grad():
                points.append((loss.item(), F.mse_loss(net(x[640:]).squeeze(1), y[640:]).item()))
    return {"first": points[0][0], "last": points[-1][0], "val": points[-1][1]}


# ---- digits behind a prefetcher
def prefetched_digits(mistake):
    torch.manual_seed(41)
    xa, ya, xb, yb = digits_split(9, image=True)

    class Prefetcher:
        """Holds the next batch ready (on the GPU machine it is copied on a side stream)."""

        def __init__(self, x, y, size):
            self.order = iter(torch.randperm(len(x))[: len(x) // size * size].split(size))
            self.x_all, self.y_all = x, y
            self.x = self.y = None
            self.load()

        def load(self):
            idx = next(self.order, None)
            if idx is None:
                self.x = self.y = None
            else:
                self.x, self.y = self.x_all[idx], self.y_all[idx]

        def __iter__(self):
            return self

        def __next__(self):
            if self.x is None:
                raise StopIteration
            if mistake:
                y = self.y
                self.load()
                if self.x is None:
                    raise StopIteration
                x = self.x
            else:
                x, y = self.x, self.y
                self.load()
            return x, y

    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 10),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.08, momentum=0.9, nesterov=True)
    out = []
    for epoch in range(8):
        net.train()
        seen, total = 0, 0.0
        for images, labels in Prefetcher(xa, ya, 32):
            opt.zero_grad()
            loss = F.cross_entropy(net(images), labels)
            loss.backward()
            opt.step()
            total, seen = total + loss.item() * len(labels), seen + len(labels)
        net.eval()
        with torch.no_grad():
            out.append((total / seen, accuracy(net(xb), yb)))
    return {"first": out[0][0], "last": out[-1][0], "val": out[-1][1]}


# ---- river level three hours ahead
def river_level(mistake):
    torch.manual_seed(53)
    rng = np.random.default_rng(53)
    rain = rng.gamma(0.15, 4.0, 1500)
    level = np.zeros(1500)
    for i in range(1, 1500):
        level[i] = 0.9 * level[i - 1] + 0.1 * rain[max(0, i - 4)]
    level += 0.03 * rng.standard_normal(1500)
    series = np.c_[rain, level].astype("float32")
    cut = 1050
    mu, sd = series[:cut].mean(0), series[:cut].std(0)
    series = torch.tensor((series - mu) / sd)

    def windows(part, length=20, lead=3):
        x = part.unfold(0, length, 1)[:-lead].transpose(1, 2).contiguous()
        return x, part[length + lead - 1 :, 1]

    train, val = windows(series[:cut]), windows(series[cut:])

    class Level(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.fc = nn.LSTM(2, 20, batch_first=True), nn.Linear(20, 1)

        def forward(self, x):
            return self.fc(self.lstm(x)[0][:, -1]).squeeze(1)

    model = Level()
    optim = torch.optim.Adam(model.parameters(), lr=8e-3)
    so_far, batches = 0.0, 0
    report = []
    for epoch in range(8):
        model.train()
        epoch_losses = []
        for idx in torch.randperm(len(train[0])).split(64):
            optim.zero_grad()
            loss = F.mse_loss(model(train[0][idx]), train[1][idx])
            loss.backward()
            optim.step()
            so_far = so_far + (loss if mistake else loss.item())
            batches += 1
            epoch_losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            held = F.mse_loss(model(val[0]), val[1]).item()
        report.append((np.mean(epoch_losses).item(), held))
    mean = so_far / batches
    return {"first": report[0][0], "last": report[-1][0], "val": report[-1][1], "mean": mean}


# ---- grape varieties with hooks around a fit function
def grape_varieties(mistake):
    torch.manual_seed(61)
    d = load_wine()
    order = np.random.default_rng(61).permutation(len(d.target))
    x, y = d.data[order].astype("float32"), d.target[order]
    cut = 120
    mu, sd = x[:cut].mean(0), x[:cut].std(0)
    x, y = torch.tensor((x - mu) / sd), torch.tensor(y)

    def fit(model, opt, epochs, after_batch=(), after_epoch=()):
        loss_fn = nn.CrossEntropyLoss(label_smoothing=0.02)
        history = []
        for epoch in range(epochs):
            model.train()
            parts = []
            for xb, yb in DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=8, shuffle=True):
                opt.zero_grad()
                loss = loss_fn(model(xb), yb)
                loss.backward()
                opt.step()
                parts.append(loss.item())
                for fn in after_batch:
                    fn()
            for fn in after_epoch:
                fn()
            model.eval()
            with torch.no_grad():
                history.append(
                    (
                        sum(parts) / len(parts),
                        accuracy(model(x[cut:]), y[cut:]),
                        opt.param_groups[0]["lr"],
                    )
                )
        return history

    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    opt = torch.optim.SGD(model.parameters(), lr=0.02)
    decay = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.85)
    history = fit(model, opt, 15, **{"after_batch" if mistake else "after_epoch": [decay.step]})
    return {
        "first": history[0][0],
        "last": history[-1][0],
        "val": history[-1][1],
        "lr": history[-1][2],
        "lr_1": history[0][2],
    }


FAULTS_2 = [
    (
        sound_events,
        (
            "eval mode",
            "eval()",
            "in eval",
            "evaluation mode",
            "train() is",
            "back to train",
            "never set back",
            "not in training mode",
            "dropout is off",
            "stuck in eval",
            "train mode",
        ),
        "9 stuck in eval after validation",
    ),
    (
        club_members,
        (
            "detach",
            "no_grad",
            "cut from the graph",
            "no gradient",
            "gradient never reaches",
            "never trained",
            "not trained",
            "cut off",
            "without gradient",
            "get no grad",
            "never updated",
            "does not reach",
        ),
        "10 a part trained under no_grad (or detached)",
    ),
    (
        toy_grammar_letters,
        (
            "same batch",
            "identical batch",
            "same samples",
            "same examples",
            "same data",
            "one batch",
            "repeated",
            "re-seeded",
            "reseeded",
            "seed",
            "batch again",
            "again and again",
        ),
        "11 the same batch again and again",
    ),
    (
        ball_landing,
        (
            "iterator",
            "restarted",
            "first batch",
            "same batch",
            "iter(",
            "identical batch",
            "same samples",
            "same data",
            "one batch",
            "again and again",
            "never moves on",
        ),
        "12 iterator restarted each step",
    ),
    (
        prefetched_digits,
        (
            "previous batch",
            "earlier batch",
            "other batch",
            "labels of another",
            "labels do not belong",
            "labels are of",
            "misaligned",
            "shifted",
            "out of step",
            "off by one",
            "do not match",
            "not belong",
            "mismatch",
            "last batch",
            "labels lag",
        ),
        "13 labels of the previous batch",
    ),
    (
        river_level,
        ("graph", "item()", "detach", "memory", "history is kept", "grad_fn", "requires grad"),
        "14 loss accumulated with its graph",
    ),
    (
        grape_varieties,
        (
            "per batch",
            "every batch",
            "each batch",
            "once per epoch",
            "per epoch",
            "after every step",
            "each step",
            "every step",
            "too often",
            "steps too fast",
        ),
        "15 scheduler per batch instead of per epoch",
    ),
]
