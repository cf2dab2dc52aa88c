"""Sensor series: inertial windows, heart beats, motor current, command logs."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import command_text, ecg_beats, imu_windows, loaders, seed_all, sensor_stream, windows_of


class ActivityTrainer:
    def __init__(self, model, lr, wipe_late=False):
        self.model = model
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
        self.wipe_late = wipe_late

    def training_step(self, x, y):
        if not self.wipe_late:
            self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        loss.backward()
        if self.wipe_late:
            self.optimizer.zero_grad()
        self.optimizer.step()
        return loss.item()

    def fit(self, train, val, epochs):
        for epoch in range(epochs):
            self.model.train()
            losses = [self.training_step(x, y) for x, y in train]
            print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}, val acc {self.score(val):.3f}")

    @torch.no_grad()
    def score(self, val):
        self.model.eval()
        return sum((self.model(x).argmax(1) == y).sum().item() for x, y in val) / len(val.dataset)


def activity_trainer(mistake: bool) -> None:
    """zero_grad is called after backward and ahead of the step, so the optimizer finds no gradients."""
    seed_all(102)
    X, y = imu_windows(1400, seed=102, noise=0.8)
    train, val = loaders(X, y, batch_size=30)
    model = nn.Sequential(
        nn.Conv1d(6, 24, 5, stride=2),
        nn.ReLU(),
        nn.Conv1d(24, 32, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    ActivityTrainer(model, 2e-3, wipe_late=mistake).fit(train, val, epochs=6)


class BeatGRU(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.GRU(4, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 4)

    def forward(self, x):
        x = x.view(x.size(0), -1, 4)
        _, h = self.rnn(x)
        return self.fc(h[-1])


def beat_gru_accumulated(mistake: bool) -> None:
    """The test for the end of an accumulation round can never be true, so optimizer.step is never reached."""
    seed_all(104)
    X, y = ecg_beats(1600, seed=104)
    train, val = loaders(X, y, batch_size=12)
    model = BeatGRU()
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-3)
    accum_steps = 2
    for epoch in range(5):
        model.train()
        total = 0.0
        optimizer.zero_grad()
        for step, (x, t) in enumerate(train):
            loss = F.cross_entropy(model(x), t)
            (loss / accum_steps).backward()
            total += loss.item()
            last_of_round = accum_steps if mistake else accum_steps - 1
            if step % accum_steps == last_of_round:
                optimizer.step()
                optimizer.zero_grad()
        print(f"epoch {epoch}: loss {total / len(train):.3f}")
    model.eval()
    with torch.no_grad():
        acc = sum((model(x).argmax(1) == t).sum().item() for x, t in val) / len(val.dataset)
    print(f"val acc {acc:.3f}")


class GaitTransformer(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.embed = nn.Linear(6 * 4, d)
        self.pos = nn.Parameter(0.02 * torch.randn(1, 16, d))
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(d, 4)

    def forward(self, x):
        b = x.size(0)
        x = x.view(b, 6, 16, 4).permute(0, 2, 1, 3).reshape(b, 16, 24)
        return self.fc(self.enc(self.embed(x) + self.pos).mean(1))


def gait_transformer(mistake: bool) -> None:
    """A new Adam is built inside every training step, so its moment estimates never build up."""
    seed_all(108)
    X, y = imu_windows(2000, seed=108, noise=0.6)
    train, val = loaders(X, y, batch_size=30)
    model = GaitTransformer()
    lr = 3e-3
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def train_step(x, t, optimizer):
        model.train()
        if mistake:
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss.item()

    for epoch in range(6):
        run = sum(train_step(x, t, optimizer) for x, t in train) / len(train)
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == t).sum().item() for x, t in val) / len(val.dataset)
        print(f"epoch {epoch}: loss {run:.3f}  val acc {acc:.3f}")


def current_forecast_loader(mistake: bool) -> None:
    """A fresh iterator over the ordered loader is made for each step, so only its first batch is ever seen."""
    seed_all(113)
    X, y = windows_of(sensor_stream(3500), 48)
    split = len(X) - 700
    once = torch.randperm(split)
    X[:split], y[:split] = X[once], y[once]
    loader = DataLoader(TensorDataset(X[:split], y[:split]), batch_size=64, shuffle=False)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 48)),
        nn.Conv1d(1, 16, 7),
        nn.ReLU(),
        nn.Conv1d(16, 16, 7, dilation=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 30, 1),
        nn.Flatten(0),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    steps = 350
    batches = iter(loader)
    for step in range(steps):
        if mistake:
            x, t = next(iter(loader))
        else:
            try:
                x, t = next(batches)
            except StopIteration:
                batches = iter(loader)
                x, t = next(batches)
        loss = F.mse_loss(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            print(f"step {step + 1}: mse {loss.item():.4f}")
    with torch.no_grad():
        print(
            f"later stream mse {F.mse_loss(model(X[split + 48 :]), y[split + 48 :]).item():.4f} (variance {y[split + 48 :].var().item():.3f})"
        )


def beats_with_prefetch(mistake: bool) -> None:
    """The signal of the batch just fetched is paired with the labels of the batch before."""
    seed_all(114)
    X, y = ecg_beats(1500, seed=114)
    train, val = loaders(X, y, batch_size=25)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 7, stride=2),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(4),
        nn.Flatten(),
        nn.Linear(128, 4),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, nesterov=True)

    def update(x, t):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss.item()

    for epoch in range(7):
        model.train()
        it = iter(train)
        x, t = next(it)
        losses = []
        for next_x, next_t in it:
            if mistake:
                x = next_x
            losses.append(update(x, t))
            x, t = next_x, next_t
        losses.append(update(x, t))
        model.eval()
        with torch.no_grad():
            acc = sum((model(a).argmax(1) == b).sum().item() for a, b in val) / len(val.dataset)
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}  val acc {acc:.3f}")


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 24, batch_first=True)
        self.fc = nn.Linear(24, 1)

    def forward(self, x):
        out, _ = self.lstm(x[..., None])
        return self.fc(out[:, -1]).squeeze(1)


def lstm_forecast_log(mistake: bool) -> None:
    """The running loss adds up the loss tensors with their graphs, so every batch's graph is kept alive."""
    seed_all(115)
    X, y = windows_of(sensor_stream(2600, seed=3), 30)
    train = DataLoader(TensorDataset(X[:2100], y[:2100]), batch_size=40, shuffle=True)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    criterion = nn.MSELoss()
    history = []
    for epoch in range(5):
        running_loss = 0.0
        for x, t in train:
            optimizer.zero_grad()
            loss = criterion(model(x), t)
            loss.backward()
            optimizer.step()
            if mistake:
                running_loss += loss
            else:
                running_loss += loss.item()
        history.append(running_loss / len(train))
        print(f"epoch {epoch}: mse {float(history[-1]):.4f}")
    with torch.no_grad():
        print(
            f"test mse {criterion(model(X[2130:]), y[2130:]).item():.4f}, best epoch {min(float(h) for h in history):.4f}"
        )


class CharLSTM(nn.Module):
    def __init__(self, vocab, d=24, h=64):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.lstm = nn.LSTM(d, h, batch_first=True)
        self.out = nn.Linear(h, vocab)

    def forward(self, x, state=None):
        o, state = self.lstm(self.emb(x), state)
        return self.out(o), state


def command_language_model(mistake: bool) -> None:
    """The norm is clipped ahead of backward, when there are no gradients yet, so nothing is ever clipped."""
    seed_all(119)
    text = command_text(1200)
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    bsz, bptt = 16, 30
    n = len(ids) // bsz
    data = ids[: n * bsz].view(bsz, n)
    n_train = int(n * 0.9)
    model = CharLSTM(len(chars))
    optimizer = torch.optim.SGD(model.parameters(), lr=20.0)
    clip = 0.25

    def detach(state):
        return None if state is None else tuple(s.detach() for s in state)

    for epoch in range(5):
        model.train()
        state, total, count = None, 0.0, 0
        for i in range(0, n_train - bptt - 1, bptt):
            x, t = data[:, i : i + bptt], data[:, i + 1 : i + 1 + bptt]
            state = detach(state)
            optimizer.zero_grad()
            logits, state = model(x, state)
            loss = F.cross_entropy(logits.reshape(-1, len(chars)), t.reshape(-1))
            if mistake:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                loss.backward()
            else:
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total += loss.item()
            count += 1
        model.eval()
        with torch.no_grad():
            logits, _ = model(data[:, n_train:-1])
            val = F.cross_entropy(
                logits.reshape(-1, len(chars)), data[:, n_train + 1 :].reshape(-1)
            ).item()
        print(
            f"epoch {epoch}: train {total / count:.3f}  val {val:.3f}  ppl {math.exp(min(val, 20)):.2f}"
        )


def window_autoencoder(mistake: bool) -> None:
    """view(-1, 64) cuts each window of 4 x 32 readings in two, so the batch is twice as long as meant."""
    seed_all(131)
    n_features = 64 if mistake else 4 * 32
    x, _ = imu_windows(2400, T=32, seed=131, noise=0.15)
    x = x[:, :4].contiguous()
    test, train = x[:400].clone(), x[400:]
    test[:200, 2:] = test[torch.randperm(200), 2:]
    bad = torch.arange(400) < 200
    loader = DataLoader(TensorDataset(train), batch_size=50, shuffle=True)
    model = nn.Sequential(
        nn.Linear(n_features, 64),
        nn.ReLU(),
        nn.Linear(64, 8),
        nn.Linear(8, 64),
        nn.ReLU(),
        nn.Linear(64, n_features),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        total = 0.0
        for (w,) in loader:
            w = w.view(-1, n_features)
            loss = F.mse_loss(model(w), w)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: reconstruction {total / len(loader):.4f}")
    with torch.no_grad():
        flat = test.view(-1, n_features)
        err = (model(flat) - flat).pow(2).view(len(test), -1).mean(1)
    auc = (err[bad][:, None] > err[~bad][None]).float().mean().item()
    print(f"AUROC for mismatched sensors {auc:.3f}")


def stress_score_accumulation(mistake: bool) -> None:
    """The batches after the last full round of accumulation are never stepped on; their gradients are dropped."""
    seed_all(122)
    X, y = imu_windows(1150, seed=122)
    strain = X[:, 0].std(1) + 0.5 * X[:, 2].abs().mean(1) + 0.3 * y.float()
    strain = ((strain - strain.mean()) / strain.std())[:, None]
    train, val = (
        DataLoader(TensorDataset(X[:920], strain[:920]), batch_size=16, shuffle=True),
        (X[920:], strain[920:]),
    )
    model = nn.Sequential(
        nn.Conv1d(6, 16, 5, stride=2),
        nn.SiLU(),
        nn.Conv1d(16, 32, 5, stride=2),
        nn.SiLU(),
        nn.AdaptiveAvgPool1d(2),
        nn.Flatten(),
        nn.Linear(64, 1),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    accumulate = 10
    for epoch in range(14):
        model.train()
        optimizer.zero_grad()
        run = 0.0
        for i, (x, t) in enumerate(train):
            loss = F.mse_loss(model(x), t)
            (loss / accumulate).backward()
            run += loss.item()
            full = (i + 1) % accumulate == 0
            last = i + 1 == len(train) and not mistake
            if full or last:
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            v = F.mse_loss(model(val[0]), val[1]).item()
        print(f"epoch {epoch}: train mse {run / len(train):.3f}  val mse {v:.3f}")


FAULTS = [
    (
        activity_trainer,
        (
            "between backward",
            "before step",
            "before the step",
            "before optimizer.step",
            "after backward",
            "wiped",
        ),
        "02 zero_grad between backward and step",
    ),
    (
        beat_gru_accumulated,
        (
            "never step",
            "step is never",
            "never called",
            "step() is missing",
            "without a step",
            "never reached",
        ),
        "04 optimizer.step never reached",
    ),
    (
        gait_transformer,
        ("re-creat", "recreat", "new optimizer", "fresh optimizer", "optimizer is built", "moment"),
        "08 optimizer re-created each step",
    ),
    (
        current_forecast_loader,
        ("same batch", "first batch", "iterator", "next(iter", "restart"),
        "13 iterator restarted each step",
    ),
    (
        beats_with_prefetch,
        ("previous batch", "labels of", "earlier batch", "shifted", "misalign", "do not belong"),
        "14 labels of the previous batch",
    ),
    (
        lstm_forecast_log,
        ("graph", "item()", "detach", "memory", "kept alive"),
        "15 loss accumulated with its graph",
    ),
    (
        command_language_model,
        ("before backward", "clip", "ahead of backward", "no gradients yet"),
        "19 clipping before backward",
    ),
    (
        window_autoencoder,
        ("view(", "batch size", "reshape", "batch dimension", "wrong number of rows"),
        "31 view with a wrong k",
    ),
    (
        stress_score_accumulation,
        ("remainder", "dropped", "leftover", "last batches", "incomplete", "discard"),
        "22 accumulation remainder dropped",
    ),
]
