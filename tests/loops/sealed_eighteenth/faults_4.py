"""Medical signals and machine sensors."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import ecg_beats, machine_sensors, seed_all


def ecg_cnn(classes=4, p=0.0, norm=True):
    n = (lambda c: nn.BatchNorm1d(c)) if norm else (lambda c: nn.Identity())
    return nn.Sequential(
        nn.Conv1d(1, 12, 7, padding=3),
        n(12),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(12, 24, 5, padding=2),
        n(24),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(24, 24, 3, padding=1),
        n(24),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(6),
        nn.Flatten(),
        nn.Dropout(p),
        nn.Linear(144, classes),
    )


class Learner:
    def __init__(self, model, loss_func, optimizer, loaders, callbacks=()):
        self.model, self.loss_func, self.optimizer = model, loss_func, optimizer
        self.train_dl, self.valid_dl = loaders
        self.callbacks = list(callbacks)

    def notify(self, event):
        for cb in self.callbacks:
            getattr(cb, event, lambda learner: None)(self)

    def do_batch(self, xb, yb):
        self.loss = self.loss_func(self.model(xb), yb)
        self.optimizer.zero_grad()
        self.loss.backward()
        self.notify("after_backward")
        self.optimizer.step()
        self.notify("after_batch")

    def fit(self, epochs):
        for self.epoch in range(epochs):
            self.model.train()
            for xb, yb in self.train_dl:
                self.do_batch(xb, yb)
            self.validate()
            self.notify("after_epoch")

    def validate(self):
        self.model.eval()
        hits = n = 0
        with torch.no_grad():
            for xb, yb in self.valid_dl:
                hits += (self.model(xb).argmax(1) == yb).sum().item()
                n += len(yb)
        self.accuracy = hits / n


class Report:
    def after_epoch(self, learner):
        print(f"epoch {learner.epoch} loss {learner.loss.item():.3f} acc {learner.accuracy:.3f}")


class ZeroBeforeStep(Learner):
    def do_batch(self, xb, yb):
        self.loss = self.loss_func(self.model(xb), yb)
        self.loss.backward()
        self.optimizer.zero_grad()
        self.optimizer.step()


def ecg_learner(mistake: bool) -> None:
    """zero_grad() is called between backward() and step(), so every step sees no gradients."""
    seed_all(10)
    x, y = ecg_beats(1300)
    loaders = (
        DataLoader(TensorDataset(x[:1000], y[:1000]), 32, shuffle=True),
        DataLoader(TensorDataset(x[1000:], y[1000:]), 100),
    )
    model = ecg_cnn()
    cls = ZeroBeforeStep if mistake else Learner
    learn = cls(
        model, nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), 2e-3), loaders, [Report()]
    )
    learn.fit(6)


class GradientStatistics:
    """Keeps the gradient norms, and in one version moves the weights too."""

    def __init__(self, also_step):
        self.norms, self.also_step = [], also_step

    def after_backward(self, learner):
        norm = sum(p.grad.pow(2).sum() for p in learner.model.parameters()).sqrt()
        self.norms.append(norm.item())
        if self.also_step:
            learner.optimizer.step()


def callback_steps_too(mistake: bool) -> None:
    """A callback steps the optimizer after backward and the learner steps again, so each batch moves the weights twice."""
    seed_all(11)
    x, y = ecg_beats(1300, seed=1)
    loaders = (
        DataLoader(TensorDataset(x[:1000], y[:1000]), 32, shuffle=True),
        DataLoader(TensorDataset(x[1000:], y[1000:]), 100),
    )
    model = ecg_cnn(p=0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    learn = Learner(
        model, nn.CrossEntropyLoss(), optimizer, loaders, [GradientStatistics(mistake), Report()]
    )
    learn.fit(6)


class Meter:
    """Running mean of a metric over the run."""

    def __init__(self):
        self.total, self.count = 0.0, 0

    def update(self, value, n=1):
        self.total = self.total + value * n
        self.count += n

    @property
    def mean(self):
        return self.total / self.count


def holter_meter(mistake: bool) -> None:
    """The meter sums the loss tensors with their graphs instead of numbers, so the graph of every batch is kept alive."""
    seed_all(12)
    x, y = ecg_beats(900, seed=2)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(x[:700], y[:700]), batch_size=20, shuffle=True)
    loss_meter = Meter()
    for epoch in range(10):
        model.train()
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            loss_meter.update(loss if mistake else loss.item(), len(xb))
        model.eval()
        with torch.no_grad():
            acc = (model(x[700:]).argmax(1) == y[700:]).float().mean().item()
        print(f"epoch {epoch} mean loss so far {loss_meter.mean:.3f} val acc {acc:.3f}")


def ectopic_detector(mistake: bool) -> None:
    """The one-logit detector is scored with argmax over its single column, which is always class 0."""
    seed_all(13)
    x, y = ecg_beats(1300, seed=3)
    y = (y == 1).float()
    train = DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=32, shuffle=True)
    model = ecg_cnn(classes=1, p=0.2)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))

    def evaluate():
        model.eval()
        hits = 0
        with torch.no_grad():
            for i in range(1000, 1300, 50):
                logits = model(x[i : i + 50])
                if mistake:
                    pred = logits.argmax(dim=1)
                else:
                    pred = (torch.sigmoid(logits) > 0.5).long().squeeze(1)
                hits += (pred == y[i : i + 50].long()).sum().item()
        return hits / 300

    for epoch in range(5):
        model.train()
        total = 0.0
        for xb, yb in train:
            opt.zero_grad()
            loss = criterion(model(xb).squeeze(1), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(train):.3f} acc {evaluate():.3f}")


def per_class_validation(mistake: bool) -> None:
    """Validation runs without model.eval(), so BatchNorm normalises each recording by its own batch and updates its running statistics."""
    seed_all(14)
    x, y = ecg_beats(1400, seed=4)
    train = DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=32, shuffle=True, drop_last=True)
    order = torch.argsort(y[1000:], stable=True)  # recordings one after the other
    xv, yv = x[1000:][order], y[1000:][order]
    val = DataLoader(TensorDataset(xv, yv), batch_size=20)
    model = ecg_cnn()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)

    @torch.no_grad()
    def validate(net):
        if not mistake:
            net.eval()
        hits = sum((net(xb).argmax(-1) == yb).sum().item() for xb, yb in val)
        return hits / len(yv)

    for epoch in range(6):
        model.train()
        for xb, yb in train:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.3f} val acc {validate(model):.3f}")


class SensorAutoencoder(nn.Module):
    def __init__(self, dim, hidden=64, code=8):
        super().__init__()
        self.dim = dim
        self.encoder = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, code))
        self.decoder = nn.Sequential(
            nn.ReLU(), nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def forward(self, x):
        flat = x.view(-1, self.dim)
        return self.decoder(self.encoder(flat)).view_as(x)


def sensor_anomalies(mistake: bool) -> None:
    """The window is flattened with view(-1, length) instead of channels * length, so each sensor becomes a sample of its own and the relation between sensors is lost."""
    seed_all(15)
    cfg = {"channels": 6, "length": 24, "epochs": 12, "lr": 2e-3}
    good = machine_sensors(1800, seed=1)
    bad = machine_sensors(300, anomalous=True, seed=2)
    loader = DataLoader(TensorDataset(good[:1500]), batch_size=50, shuffle=True)
    dim = cfg["length"] if mistake else cfg["channels"] * cfg["length"]
    model = SensorAutoencoder(dim)
    opt = torch.optim.Adam(model.parameters(), lr=cfg["lr"])
    for epoch in range(cfg["epochs"]):
        total = 0.0
        for (xb,) in loader:
            loss = F.mse_loss(model(xb), xb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} mse {total / len(loader):.3f}")
    with torch.no_grad():
        s0 = (model(good[1500:]) - good[1500:]).pow(2).mean((1, 2))
        s1 = (model(bad) - bad).pow(2).mean((1, 2))
    print("AUC", (s1[:, None] > s0[None, :]).float().mean().item())


class PhaseRunner:
    """One method for both phases, as in the transfer-learning tutorial."""

    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def run(self, loader, training):
        self.model.train(training)
        total = hits = n = 0
        with torch.set_grad_enabled(training):
            for xb, yb in loader:
                out = self.model(xb)
                loss = F.cross_entropy(out, yb)
                if training:
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
                total += loss.item() * len(yb)
                hits += (out.argmax(1) == yb).sum().item()
                n += len(yb)
        return total / n, hits / n


def both_phases_train(mistake: bool) -> None:
    """The validation phase runs with training left on, so the model is also fitted on the validation beats."""
    seed_all(16)
    x, y = ecg_beats(900, noise=0.3, seed=5)
    train = DataLoader(TensorDataset(x[:500], y[:500]), batch_size=25, shuffle=True)
    val = DataLoader(TensorDataset(x[500:], y[500:]), batch_size=25)
    model = ecg_cnn(p=0.1)
    runner = PhaseRunner(model, torch.optim.Adam(model.parameters(), lr=1e-3))
    for epoch in range(10):
        train_stats = runner.run(train, training=True)
        val_stats = runner.run(val, training=mistake)
        print(epoch, "train %.3f %.3f" % train_stats, "val %.3f %.3f" % val_stats)


FAULTS = [
    (
        ecg_learner,
        (
            "zero_grad",
            "between backward",
            "before step",
            "before the step",
            "cleared",
            "without gradients",
            "no gradient",
        ),
        "02 zero_grad between backward and step",
    ),
    (
        callback_steps_too,
        ("two steps", "twice", "stepped 2", "steps per batch", "2 steps", "second step"),
        "05 two steps per batch",
    ),
    (
        holter_meter,
        ("graph", "item()", "detach", "memory", "kept alive"),
        "15 loss accumulated with its graph",
    ),
    (
        ectopic_detector,
        (
            "argmax",
            "one output",
            "single output",
            "single column",
            "always class 0",
            "always 0",
            "one column",
            "one logit",
        ),
        "32 one-logit classifier scored by argmax",
    ),
    (
        per_class_validation,
        ("eval()", "train mode", "batchnorm", "batch norm", "eval mode", "training mode"),
        "33 validation without eval(), BatchNorm",
    ),
    (
        sensor_anomalies,
        ("view", "reshape", "batch size", "flatten", "rows", "number of samples"),
        "31 view(-1, k) with a wrong k",
    ),
    (
        both_phases_train,
        (
            "validation data",
            "validation set",
            "validation loader",
            "validation batches",
            "validation beats",
            "trained on",
            "leak",
        ),
        "23 training on validation data",
    ),
]
