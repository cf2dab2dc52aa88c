from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import accuracy, cancer, digits_split, tones


# ---- chords by ear: a plain script
def chord_ear(mistake):
    torch.manual_seed(11)
    wave, label = tones(900, classes=5, noise=1.0, seed=3)
    train_x, train_y = wave[:600], label[:600]
    val_x, val_y = wave[600:], label[600:]
    scale = train_x.std()
    train_x, val_x = train_x / scale, val_x / scale

    net = nn.Sequential(
        nn.Conv1d(1, 12, 17, stride=4),
        nn.ReLU(),
        nn.Conv1d(12, 24, 9, stride=3),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(2),
        nn.Flatten(),
        nn.Linear(48, 5),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.8)
    history = []
    for epoch in range(12):
        net.train()
        order = torch.randperm(len(train_x))
        total = 0.0
        if mistake:
            optimizer.zero_grad()
        for i in range(0, len(order), 32):
            idx = order[i : i + 32]
            if not mistake:
                optimizer.zero_grad()
            loss = F.cross_entropy(net(train_x[idx]), train_y[idx])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            acc = accuracy(net(val_x), val_y)
        history.append((total / len(train_x), acc))
    return {"first": history[0][0], "last": history[-1][0], "val": history[-1][1]}


# ---- heart-beat shapes: a runner with events
def heartbeat_runner(mistake):
    torch.manual_seed(5)
    rng = np.random.default_rng(8)
    n, length = 800, 80
    t = np.linspace(-1, 1, length)
    kind = rng.integers(0, 3, n)
    width = np.array([0.06, 0.12, 0.06])[kind]
    x = np.exp(-((t[None] - rng.uniform(-0.2, 0.2, (n, 1))) ** 2) / (2 * width[:, None] ** 2))
    second = np.exp(-((t[None] - 0.6) ** 2) / 0.01)
    x = x + (kind == 2)[:, None] * 0.6 * second + 0.2 * rng.standard_normal((n, length))
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(kind)
    loader = DataLoader(TensorDataset(x[:560], y[:560]), batch_size=28, shuffle=True)
    x_val, y_val = x[560:], y[560:]

    class Runner:
        def __init__(self, model, opt):
            self.model, self.opt = model, opt
            self.handlers = {"batch_start": [], "loss_ready": [], "grads_ready": [], "epoch_end": []}
            self.losses, self.scores = [], []

        def on(self, event, fn):
            self.handlers[event].append(fn)
            return self

        def emit(self, event):
            for fn in self.handlers[event]:
                fn(self)

        def run(self, epochs):
            for _ in range(epochs):
                self.model.train()
                seen = []
                for self.x, self.y in loader:
                    self.emit("batch_start")
                    self.loss = F.cross_entropy(self.model(self.x), self.y)
                    self.emit("loss_ready")
                    self.emit("grads_ready")
                    seen.append(self.loss.item())
                self.losses.append(sum(seen) / len(seen))
                self.emit("epoch_end")

    def evaluate(r):
        r.model.eval()
        with torch.no_grad():
            r.scores.append(accuracy(r.model(x_val), y_val))

    model = nn.Sequential(
        nn.Linear(length, 48), nn.Tanh(), nn.Linear(48, 24), nn.Tanh(), nn.Linear(24, 3)
    )
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    runner = Runner(model, opt)
    runner.on("grads_ready" if mistake else "batch_start", lambda r: r.opt.zero_grad())
    runner.on("loss_ready", lambda r: r.loss.backward())
    runner.on("grads_ready", lambda r: r.opt.step())
    runner.on("epoch_end", evaluate)
    runner.run(10)
    return {"first": runner.losses[0], "last": runner.losses[-1], "val": runner.scores[-1]}


# ---- ratings: embeddings and the mixing net have their own optimizers
def film_ratings(mistake):
    torch.manual_seed(21)
    rng = np.random.default_rng(21)
    users, items, rank = 60, 50, 4
    u, v = rng.standard_normal((users, rank)), rng.standard_normal((items, rank))
    full = u @ v.T / 2 + 0.2 * rng.standard_normal((users, items))
    pairs = np.stack(np.meshgrid(np.arange(users), np.arange(items), indexing="ij"), -1).reshape(-1, 2)
    rng.shuffle(pairs)
    score = full[pairs[:, 0], pairs[:, 1]].astype("float32")
    pairs, score = torch.tensor(pairs), torch.tensor(score)
    cut = 2000
    mean = score[:cut].mean()

    class Tables(nn.Module):
        def __init__(self, d=8):
            super().__init__()
            self.user, self.item = nn.Embedding(users, d), nn.Embedding(items, d)
            nn.init.normal_(self.user.weight, std=0.3)
            nn.init.normal_(self.item.weight, std=0.3)

        def forward(self, p):
            a, b = self.user(p[:, 0]), self.item(p[:, 1])
            return torch.cat([a * b, a + b], 1)

    tables = Tables()
    mixer = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 1))
    table_opt = torch.optim.SGD(tables.parameters(), lr=0.5, momentum=0.9)
    mixer_opt = torch.optim.Adam(mixer.parameters(), lr=4e-3)
    log = []
    for epoch in range(15):
        tables.train(), mixer.train()
        total = 0.0
        for chunk in torch.randperm(cut).split(64):
            guess = mixer(tables(pairs[chunk])).squeeze(1) + mean
            loss = F.mse_loss(guess, score[chunk])
            mixer_opt.zero_grad()
            if not mistake:
                table_opt.zero_grad()
            loss.backward()
            mixer_opt.step()
            table_opt.step()
            total += loss.item() * len(chunk)
        tables.eval(), mixer.eval()
        with torch.no_grad():
            held = F.mse_loss(mixer(tables(pairs[cut:])).squeeze(1) + mean, score[cut:]).item()
        log.append((total / cut, held))
    return {"first": log[0][0], "last": log[-1][0], "val": log[-1][1], "var": score[cut:].var().item()}


# ---- load curves: a sequence-to-sequence forecaster
def load_curve_seq2seq(mistake):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    past, ahead = 24, 6

    def curves(n):
        f = rng.uniform(0.15, 0.6, (n, 1))
        ph = rng.uniform(0, 2 * np.pi, (n, 1))
        a = rng.uniform(0.5, 1.5, (n, 1))
        t = np.arange(past + ahead)[None]
        s = a * np.sin(f * t + ph) + 0.03 * rng.standard_normal((n, past + ahead))
        s = torch.tensor(s, dtype=torch.float32).unsqueeze(-1)
        return s[:, :past], s[:, past:]

    train, val = curves(500), curves(200)

    class Encoder(nn.Module):
        def __init__(self, h):
            super().__init__()
            self.rnn = nn.GRU(1, h, batch_first=True)

        def forward(self, x):
            return self.rnn(x)[1]

    class Decoder(nn.Module):
        def __init__(self, h):
            super().__init__()
            self.rnn, self.out = nn.GRU(1, h, batch_first=True), nn.Linear(h, 1)

        def forward(self, last, state):
            steps = []
            for _ in range(ahead):
                o, state = self.rnn(last, state)
                last = last + self.out(o)
                steps.append(last)
            return torch.cat(steps, 1)

    encoder, decoder = Encoder(24), Decoder(24)
    encoder_optimizer = torch.optim.Adam(encoder.parameters(), lr=6e-3)
    decoder_optimizer = torch.optim.Adam(decoder.parameters(), lr=6e-3)

    def train_batch(x, y):
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        loss = F.mse_loss(decoder(x[:, -1:], encoder(x)), y)
        loss.backward()
        if not mistake:
            encoder_optimizer.step()
        decoder_optimizer.step()
        return loss.item()

    rows = []
    for epoch in range(12):
        encoder.train(), decoder.train()
        losses = [train_batch(train[0][i], train[1][i]) for i in torch.randperm(500).split(25)]
        encoder.eval(), decoder.eval()
        with torch.no_grad():
            v = F.mse_loss(decoder(val[0][:, -1:], encoder(val[0])), val[1]).item()
        rows.append((sum(losses) / len(losses), v))
    return {"first": rows[0][0], "last": rows[-1][0], "val": rows[-1][1]}


# ---- tumour table, with a scaler kept for the GPU machine
def tumour_table_amp(mistake):
    torch.manual_seed(0)
    xa, ya, xb, yb = cancer(4)
    use_amp = False
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler("cpu", enabled=use_amp)
    train_loader = DataLoader(TensorDataset(xa, ya), batch_size=32, shuffle=True)

    def one_epoch():
        model.train()
        total = 0.0
        for inputs, targets in train_loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_amp):
                loss = F.cross_entropy(model(inputs), targets)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if mistake:
                optimizer.step()
            total += loss.item() * len(targets)
        return total / len(ya)

    @torch.no_grad()
    def test():
        model.eval()
        out = model(xb)
        return F.cross_entropy(out, yb).item(), accuracy(out, yb)

    curve = [(one_epoch(),) + test() for _ in range(12)]
    return {"first": curve[0][0], "last": curve[-1][0], "val": curve[-1][2]}


# ---- one trunk, three heads: digit, parity and ink
def digit_three_heads(mistake):
    torch.manual_seed(7)
    xa, ya, xb, yb = digits_split(1)
    ink_mean, ink_std = xa.mean(1).mean(), xa.mean(1).std()

    def targets(x, y):
        return {"digit": y, "parity": y % 2, "ink": (x.mean(1) - ink_mean) / ink_std}

    trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU())
    heads = nn.ModuleDict(
        {"digit": nn.Linear(48, 10), "parity": nn.Linear(48, 2), "ink": nn.Linear(48, 1)}
    )
    weight = {"digit": 1.0, "parity": 0.7, "ink": 0.5}
    opt = torch.optim.NAdam([*trunk.parameters(), *heads.parameters()], lr=2e-3)

    def criterion(name, out, want):
        if name == "ink":
            return F.smooth_l1_loss(out.squeeze(1), want)
        return F.cross_entropy(out, want)

    res = []
    for epoch in range(10):
        trunk.train(), heads.train()
        running = 0.0
        for idx in torch.randperm(len(xa)).split(48):
            want = targets(xa[idx], ya[idx])
            feats = trunk(xa[idx])
            total = 0.0
            for name, head in heads.items():
                loss = weight[name] * criterion(name, head(feats), want[name])
                total = total + loss
            opt.zero_grad()
            if mistake:
                loss.backward()
            else:
                total.backward()
            opt.step()
            running += total.item() * len(idx)
        trunk.eval(), heads.eval()
        with torch.no_grad():
            f, want = trunk(xb), targets(xb, yb)
            res.append(
                (
                    running / len(xa),
                    accuracy(heads["digit"](f), yb),
                    accuracy(heads["parity"](f), want["parity"]),
                )
            )
    return {"first": res[0][0], "last": res[-1][0], "val": res[-1][1], "parity": res[-1][2]}


# ---- the low digits first, then a new head for the high ones
def low_then_high_digits(mistake):
    torch.manual_seed(13)
    xa, ya, xb, yb = digits_split(6)
    low_a, low_b = ya < 5, yb < 5

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.body(x))

    def build_optimizer(net, body_lr, head_lr):
        return torch.optim.Adam(
            [
                {"params": net.body.parameters(), "lr": body_lr},
                {"params": net.head.parameters(), "lr": head_lr},
            ]
        )

    def fit(net, opt, x, y, x_val, y_val, epochs):
        out = []
        for _ in range(epochs):
            net.train()
            total = 0.0
            for idx in torch.randperm(len(x)).split(24):
                loss = F.cross_entropy(net(x[idx]), y[idx])
                opt.zero_grad()
                loss.backward()
                opt.step()
                total += loss.item() * len(idx)
            net.eval()
            with torch.no_grad():
                out.append((total / len(x), accuracy(net(x_val), y_val)))
        return out

    net = Net()
    first = fit(net, build_optimizer(net, 2e-3, 2e-3), xa[low_a], ya[low_a], xb[low_b], yb[low_b], 5)
    if mistake:
        opt = build_optimizer(net, 4e-4, 4e-3)
        net.head = nn.Linear(32, 5)
    else:
        net.head = nn.Linear(32, 5)
        opt = build_optimizer(net, 4e-4, 4e-3)
    second = fit(net, opt, xa[~low_a], ya[~low_a] - 5, xb[~low_b], yb[~low_b] - 5, 8)
    return {"pre": first[-1][1], "first": second[0][0], "last": second[-1][0], "val": second[-1][1]}


# ---- spring constants from swings: config and free functions
@dataclass
class SpringConfig:
    hidden: int = 40
    lr: float = 4e-3
    batch: int = 25
    epochs: int = 12
    seed: int = 31


def spring_constants(mistake):
    cfg = SpringConfig()
    torch.manual_seed(cfg.seed)
    rng = np.random.default_rng(cfg.seed)
    k, m = rng.uniform(1, 8, 700), rng.uniform(0.5, 2, 700)
    t = np.linspace(0, 4, 30)
    swing = np.cos(np.sqrt(k / m)[:, None] * t) + 0.05 * rng.standard_normal((700, 30))
    x = torch.tensor(np.c_[swing, m], dtype=torch.float32)
    y = torch.tensor(k, dtype=torch.float32)
    mu, sd = x[:500].mean(0), x[:500].std(0) + 1e-6
    x = (x - mu) / sd
    y = (y - y[:500].mean()) / y[:500].std()

    def make_model():
        return nn.Sequential(
            nn.Linear(31, cfg.hidden),
            nn.Tanh(),
            nn.Linear(cfg.hidden, cfg.hidden),
            nn.Tanh(),
            nn.Linear(cfg.hidden, 1),
        )

    def make_optimizer(model):
        return torch.optim.Adam(model.parameters(), lr=cfg.lr)

    def update(model, opt, xb, yb):
        opt = make_optimizer(model) if mistake else opt
        opt.zero_grad()
        loss = F.mse_loss(model(xb).squeeze(1), yb)
        loss.backward()
        opt.step()
        return loss.item()

    model = make_model()
    opt = make_optimizer(model)
    rows = []
    for _ in range(cfg.epochs):
        model.train()
        losses = [update(model, opt, x[i], y[i]) for i in torch.randperm(500).split(cfg.batch)]
        model.eval()
        with torch.no_grad():
            rows.append((np.mean(losses), F.mse_loss(model(x[500:]).squeeze(1), y[500:]).item()))
    return {"first": float(rows[0][0]), "last": float(rows[-1][0]), "val": rows[-1][1]}


FAULTS_1 = [
    (
        chord_ear,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "gradients of earlier",
            "gradients accumulate",
            "gradients pile",
            "not cleared",
            "added to the old",
            "left over",
            "stale grad",
        ),
        "1 zero_grad missing",
    ),
    (
        heartbeat_runner,
        (
            "between backward",
            "between the backward",
            "after backward",
            "after the backward",
            "before step",
            "before the step",
            "before optimizer.step",
            "wiped",
            "wipes",
            "erased",
            "no gradient",
            "without gradient",
            "thrown away",
            "grad is none",
            "gradients are none",
            "empty gradient",
            "sees zero grad",
        ),
        "2 zero_grad between backward and step",
    ),
    (
        film_ratings,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "only one optimizer",
            "one of the optimizers",
            "gradients of earlier",
            "gradients accumulate",
            "not cleared",
            "left over",
            "stale grad",
        ),
        "3 zero_grad on only one of several optimizers",
    ),
    (
        load_curve_seq2seq,
        (
            "never stepped",
            "not stepped",
            "without a step",
            "no step",
            "step is missing",
            "step() is",
            "missing step",
            "never calls step",
            "never called step",
            "never updated",
            "not updated",
            "do not move",
            "never move",
            "never change",
            "has not moved",
            "missing optimizer step",
        ),
        "4 step missing",
    ),
    (
        tumour_table_amp,
        (
            "two steps",
            "steps twice",
            "stepped twice",
            "twice",
            "second step",
            "2 steps",
            "several steps",
            "more than one step",
            "more steps than backward",
        ),
        "5 two steps per backward",
    ),
    (
        digit_three_heads,
        (
            "wrong loss",
            "another loss",
            "other loss",
            "only part of the loss",
            "total is not",
            "no gradient",
            "not part of the backward",
            "never reach",
            "not the loss",
            "last loss",
            "last task",
            "not backpropagated",
            "never trained",
            "never updated",
            "get no grad",
            "never get",
        ),
        "6 backward on the wrong loss",
    ),
    (
        low_then_high_digits,
        (
            "stale",
            "not in the optimizer",
            "not held by",
            "no longer",
            "before the optimizer",
            "after the optimizer",
            "old parameters",
            "replaced",
            "re-created",
            "recreated",
            "not given to",
            "not known to",
            "in no optimizer",
            "not in any optimizer",
            "unknown to the optimizer",
        ),
        "7 optimizer stale after parameters were re-created or moved",
    ),
    (
        spring_constants,
        (
            "re-created",
            "recreated",
            "new optimizer",
            "optimizer is created",
            "created anew",
            "every step",
            "each step",
            "state is lost",
            "state lost",
            "fresh optimizer",
            "moments",
            "rebuilt",
        ),
        "8 optimizer or model re-created each step/epoch",
    ),
]
