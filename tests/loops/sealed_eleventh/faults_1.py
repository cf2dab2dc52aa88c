"""Trainers, frames, scalers, averages and pairs."""

import copy
from argparse import Namespace
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def digits_split(seed=0, flat=True):
    data = load_digits()
    x = (data.images / 16.0).astype(np.float32)
    if flat:
        x = x.reshape(len(x), -1)
    parts = train_test_split(x, data.target, test_size=0.25, random_state=seed, stratify=data.target)
    xtr, xte, ytr, yte = [torch.from_numpy(np.ascontiguousarray(p)) for p in parts]
    return xtr, ytr.long(), xte, yte.long()


# --------------------------------------------------------------------------- 1
class Callback:
    def on_epoch_end(self, trainer, logs): ...
    def on_fit_end(self, trainer, logs): ...


class PrintLogger(Callback):
    def on_fit_end(self, trainer, logs):
        print("  ".join(f"{k} {v:.4f}" for k, v in logs.items()))


class History(Callback):
    def __init__(self):
        self.rows = []

    def on_epoch_end(self, trainer, logs):
        self.rows.append(dict(logs))


class Trainer:
    def __init__(self, model, criterion, optimizer, callbacks, clear_late=False):
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        self.callbacks = callbacks
        self.clear_late = clear_late

    def training_step(self, batch):
        x, y = batch
        if not self.clear_late:
            self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        loss.backward()
        if self.clear_late:
            self.optimizer.zero_grad()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        hits = n = 0
        for x, y in loader:
            hits += (self.model(x).argmax(1) == y).sum().item()
            n += len(y)
        return hits / n

    def fit(self, train_loader, val_loader, epochs):
        logs = {}
        for _ in range(epochs):
            self.model.train()
            losses = [self.training_step(b) for b in train_loader]
            logs = {"loss": sum(losses) / len(losses), "val_acc": self.evaluate(val_loader)}
            for cb in self.callbacks:
                cb.on_epoch_end(self, logs)
        for cb in self.callbacks:
            cb.on_fit_end(self, logs)


def callback_trainer_digits(mistake: bool) -> None:
    """optimizer.zero_grad() is called between loss.backward() and optimizer.step(), so no gradient is left."""
    torch.manual_seed(1)
    xtr, ytr, xte, yte = digits_split(1)
    train = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    val = DataLoader(TensorDataset(xte, yte), batch_size=256)
    model = nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 10))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    Trainer(model, nn.CrossEntropyLoss(), optimizer, [History(), PrintLogger()], clear_late=mistake).fit(
        train, val, 12
    )


# --------------------------------------------------------------------------- 2
class TintedDigits:
    """Coloured digits somewhere on a larger canvas, kept as camera frames are: [N, H, W, 3]."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        data = load_digits()
        tint = rng.uniform(0.3, 1.0, size=(len(data.images), 1, 1, 3))
        digits = (data.images[..., None] / 16.0) * tint
        frames = np.zeros((len(digits), 15, 12, 3))
        for frame, digit in zip(frames, digits):
            top, left = rng.integers(0, 8), rng.integers(0, 5)
            frame[top : top + 8, left : left + 8] = digit
        frames += rng.normal(0, 0.08, frames.shape)
        order = rng.permutation(len(frames))
        self.frames = frames[order].astype(np.float32)
        self.labels = data.target[order]
        self.cut = 1350

    def batches(self, part, batch_size, rng=None):
        idx = np.arange(self.cut) if part == "train" else np.arange(self.cut, len(self.frames))
        if rng is not None:
            rng.shuffle(idx)
        for i in range(0, len(idx), batch_size):
            j = idx[i : i + batch_size]
            yield torch.from_numpy(self.frames[j]), torch.from_numpy(self.labels[j])


def channels_first_view(x):
    n, h, w, c = x.shape
    return x.view(n, c, h, w)


def channels_first_permute(x):
    return x.permute(0, 3, 1, 2)


def colour_frames_cnn(mistake: bool) -> None:
    """Channel-last images are brought to channel-first with view instead of permute, which scrambles the pixels."""
    torch.manual_seed(2)
    to_chw = channels_first_view if mistake else channels_first_permute
    data = TintedDigits(2)
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    opt = torch.optim.AdamW(net.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=14)
    for epoch in range(14):
        net.train()
        total = 0.0
        for frames, labels in data.batches("train", 64, rng):
            loss = F.cross_entropy(net(to_chw(frames)), labels)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(labels)
        sched.step()
    net.eval()
    with torch.no_grad():
        hits = [(net(to_chw(f)).argmax(1) == y).float() for f, y in data.batches("test", 128)]
    print(f"loss {total / data.cut:.4f} test acc {torch.cat(hits).mean():.4f}")


# --------------------------------------------------------------------------- 3
def amp_train_step(model, batch, opt, scaler, max_norm, unscale):
    x, y = batch
    opt.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x)
        loss = F.cross_entropy(out, y)
    scaler.scale(loss).backward()
    if unscale:
        scaler.unscale_(opt)
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    scaler.step(opt)
    scaler.update()
    return loss.detach().float()


def amp_scaler_resmlp(mistake: bool) -> None:
    """Gradients are clipped while still multiplied by the loss scale: scaler.unscale_ is not called before clip_grad_norm_."""
    torch.manual_seed(3)

    class Block(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.norm, self.a, self.b = nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

        def forward(self, x):
            return x + self.b(F.silu(self.a(self.norm(x))))

    xtr, ytr, xte, yte = digits_split(3)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=50, shuffle=True, drop_last=True)
    model = nn.Sequential(nn.Linear(64, 64), Block(64), Block(64), nn.LayerNorm(64), nn.Linear(64, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler("cpu")
    for epoch in range(10):
        model.train()
        losses = [amp_train_step(model, b, opt, scaler, 1.0, unscale=not mistake) for b in loader]
    model.eval()
    with torch.inference_mode():
        acc = (model(xte).argmax(-1) == yte).float().mean().item()
    print(f"loss {torch.stack(losses).mean():.4f} acc {acc:.4f}")


# --------------------------------------------------------------------------- 4
class RowLSTM(nn.Module):
    """Reads an image row by row."""

    def __init__(self, n_features, hidden, n_classes, **rnn_kwargs):
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden, **rnn_kwargs)
        self.head = nn.Linear(hidden, n_classes)

    def forward(self, x):  # x: [batch, rows, pixels]
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


def row_lstm_script(mistake: bool) -> None:
    """The LSTM gets batch-first input but batch_first=True is missing, so it recurs over the samples of the batch."""
    args = Namespace(lr=5e-3, epochs=14, batch_size=64, hidden=48, seed=4)
    torch.manual_seed(args.seed)
    xtr, ytr, xte, yte = digits_split(args.seed, flat=False)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=args.batch_size, shuffle=True)
    kwargs = {} if mistake else {"batch_first": True}
    model = RowLSTM(8, args.hidden, 10, **kwargs)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(args.epochs):
        model.train()
        running = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
    model.eval()
    with torch.no_grad():
        acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {running / len(loader):.4f} acc {acc:.4f}")


# --------------------------------------------------------------------------- 5
class ModelEma:
    def __init__(self, model, decay=0.98):
        self.model = model
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self):
        for e, p in zip(self.module.state_dict().values(), self.model.state_dict().values()):
            if e.dtype.is_floating_point:
                e.mul_(self.decay).add_(p, alpha=1 - self.decay)
            else:
                e.copy_(p)


def ema_evaluated_cnn(mistake: bool) -> None:
    """The moving average follows another copy of the network than the one being trained, so EMA weights stay at the start."""
    torch.manual_seed(5)
    xtr, ytr, xte, yte = digits_split(5, flat=False)
    loader = DataLoader(TensorDataset(xtr[:, None], ytr), batch_size=48, shuffle=True)
    base = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    student = copy.deepcopy(base)
    ema = ModelEma(base if mistake else student)
    opt = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for epoch in range(8):
        student.train()
        epoch_loss = []
        for x, y in loader:
            loss = F.cross_entropy(student(x), y, label_smoothing=0.05)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update()
            epoch_loss.append(loss.item())
        with torch.no_grad():
            acc = (ema.module(xte[:, None]).argmax(1) == yte).float().mean().item()
    print(f"loss {np.mean(epoch_loss):.4f} ema acc {acc:.4f}")


# --------------------------------------------------------------------------- 6
def votes_of_annotators(y, n_votes, rng):
    """Share of the votes each class got; an annotator errs in four of ten cases."""
    votes = np.zeros((len(y), 10), dtype=np.float32)
    for _ in range(n_votes):
        wrong = rng.random(len(y)) < 0.4
        given = np.where(wrong, (y + rng.integers(1, 3, len(y))) % 10, y)
        votes[np.arange(len(y)), given] += 1
    return torch.from_numpy(votes / n_votes)


def label_distribution_learning(mistake: bool) -> None:
    """nn.KLDivLoss is given probabilities (softmax) although its input has to be log-probabilities (log_softmax)."""
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    xtr, ytr, xte, yte = digits_split(6)
    ptr, pte = votes_of_annotators(ytr.numpy(), 40, rng), votes_of_annotators(yte.numpy(), 40, rng)
    loader = DataLoader(TensorDataset(xtr, ptr), batch_size=64, shuffle=True)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    kl = nn.KLDivLoss(reduction="batchmean")
    for epoch in range(20):
        net.train()
        seen = 0.0
        for x, p in loader:
            logits = net(x)
            if mistake:
                q = F.softmax(logits, dim=1)
            else:
                q = F.log_softmax(logits, dim=1)
            loss = kl(q, p)
            opt.zero_grad()
            loss.backward()
            opt.step()
            seen += loss.item()
    net.eval()
    with torch.no_grad():
        q = net(xte).softmax(1)
    print(
        f"loss {seen / len(loader):.4f} L1 distance to votes {(q - pte).abs().sum(1).mean():.4f} "
        f"acc {(q.argmax(1) == yte).float().mean():.4f}"
    )


# --------------------------------------------------------------------------- 7
@dataclass
class RegressionConfig:
    lr: float = 3e-3
    weight_decay: float = 1e-3
    batch_size: int = 32
    epochs: int = 40
    hidden: int = 32


def diabetes_dataclass(mistake: bool) -> None:
    """The prediction of shape [n, 1] is compared with targets of shape [n]; MSE broadcasts both to [n, n]."""
    cfg = RegressionConfig()
    torch.manual_seed(7)
    x, y = load_diabetes(return_X_y=True)
    x = (x / x.std(0)).astype(np.float32)
    y = ((y - y.mean()) / y.std()).astype(np.float32)
    xtr, xte, ytr, yte = map(torch.from_numpy, train_test_split(x, y, test_size=0.25, random_state=7))
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=cfg.batch_size, shuffle=True)
    model = nn.Sequential(
        nn.Linear(10, cfg.hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(cfg.hidden, 1)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)

    def loss_on(xb, yb):
        pred = model(xb)
        if not mistake:
            pred = pred.squeeze(-1)
        return ((pred - yb) ** 2).mean()

    for epoch in range(cfg.epochs):
        model.train()
        losses = []
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = loss_on(xb, yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        residual = model(xte).squeeze(-1) - yte
    print(f"loss {np.mean(losses):.4f} test R2 {1 - residual.var().item() / yte.var().item():.4f}")


FAULTS = [
    (
        callback_trainer_digits,
        ("zero_grad", "cleared before", "zeroed before", "between backward", "erase", "after backward"),
        "optimizer",
    ),
    (colour_frames_cnn, ("permute", "scrambl", "channel", "transpose", "nhwc", "reshap"), "data"),
    (
        amp_scaler_resmlp,
        ("unscale", "loss scale", "scaled gradient", "scaler", "before unscal", "gradients are scaled"),
        "optimizer",
    ),
    (
        row_lstm_script,
        (
            "batch_first",
            "batch first",
            "across samples",
            "over the batch",
            "batch dimension",
            "batch axis",
            "mixes samples",
        ),
        "architecture",
    ),
    (
        ema_evaluated_cnn,
        (
            "moving average",
            "shadow",
            "averaged",
            "ema weights",
            "ema copy",
            "ema model",
            " ema ",
            "never updated, or from itself",
        ),
        "ema",
    ),
    (
        label_distribution_learning,
        ("log_softmax", "log-prob", "log prob", "kl_div", "kldiv", "kl div"),
        "loss",
    ),
    (diabetes_dataclass, ("broadcast", "squeeze", "[n, n]", "[n, 1]", "(n, 1)"), "loss"),
]
