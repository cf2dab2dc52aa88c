from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from .common import accuracy, digits_split


# ---- a bearing watched by two sensors: reconstruction error as alarm
def bearing_alarm(mistake):
    torch.manual_seed(157)
    rng = np.random.default_rng(157)
    channels, window = 2, 48

    def record(n, healthy=True):
        t = np.arange(window)
        f, ph = rng.uniform(0.25, 0.35, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
        lag = np.full((n, 1), 0.8) if healthy else rng.uniform(2.0, 4.5, (n, 1))
        s = np.stack([np.sin(f * t + ph), np.sin(f * t + ph + lag)], 1)
        return torch.tensor(s + 0.08 * rng.standard_normal(s.shape), dtype=torch.float32)

    train, fine, broken = record(800), record(200), record(200, healthy=False)
    k = window if mistake else channels * window
    auto = nn.Sequential(
        nn.Linear(k, 48), nn.Tanh(), nn.Linear(48, 4), nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, k)
    )
    opt = torch.optim.Adam(auto.parameters(), lr=4e-3)
    losses = []
    for epoch in range(15):
        auto.train()
        total, seen = 0.0, 0
        for (batch,) in DataLoader(TensorDataset(train), batch_size=40, shuffle=True):
            flat = batch.view(-1, k)
            opt.zero_grad()
            loss = F.mse_loss(auto(flat), flat)
            loss.backward()
            opt.step()
            total, seen = total + loss.item() * len(flat), seen + len(flat)
        losses.append(total / seen)
    auto.eval()
    with torch.no_grad():
        alarm = []
        for part in (fine, broken):
            flat = part.view(-1, k)
            alarm.append((auto(flat) - flat).pow(2).view(len(part), -1).mean(1))
    auc = roc_auc_score([0] * 200 + [1] * 200, torch.cat(alarm).numpy())
    return {"first": losses[0], "last": losses[-1], "val": float(auc)}


# ---- grades of essays as one number
def essay_grades(mistake):
    torch.manual_seed(163)
    rng = np.random.default_rng(163)
    n, dim = 900, 15
    x = rng.standard_normal((n, dim))
    quality = x @ rng.standard_normal(dim) / np.sqrt(dim) + 0.4 * np.sin(2 * x[:, 0])
    grade = np.digitize(quality, np.quantile(quality[:600], [0.2, 0.4, 0.6, 0.8]))
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(grade)
    train = DataLoader(TensorDataset(x[:600], y[:600]), batch_size=30, shuffle=True)
    val = DataLoader(TensorDataset(x[600:], y[600:]), batch_size=100)

    class GradeModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(dim, 40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 1)
            )

        def forward(self, x):
            return self.net(x)

    model = GradeModel()
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    log = []
    for epoch in range(12):
        model.train()
        total = 0.0
        for xb, yb in train:
            opt.zero_grad()
            loss = F.mse_loss(model(xb), yb.float().unsqueeze(1))
            loss.backward()
            opt.step()
            total += loss.item() * len(yb)
        model.eval()
        right, val_loss = 0, 0.0
        with torch.no_grad():
            for xb, yb in val:
                out = model(xb)
                val_loss += F.mse_loss(out, yb.float().unsqueeze(1), reduction="sum").item()
                pred = out.argmax(dim=1) if mistake else out.squeeze(1).round().clamp(0, 4).long()
                right += (pred == yb).sum().item()
        log.append((total / 600, val_loss / 300, right / 300))
    return {
        "first": log[0][0],
        "last": log[-1][0],
        "val_loss": log[-1][1],
        "val": log[-1][2],
        "val_first": log[0][2],
    }


# ---- gait from an accelerometer: Trainer with its own loggers
def gait_recogniser(mistake):
    torch.manual_seed(167)
    rng = np.random.default_rng(167)
    n, length = 700, 64
    y = rng.integers(0, 4, n)
    t = np.arange(length)
    f = np.array([0.2, 0.26, 0.32, 0.38])[y][:, None]
    x = np.stack(
        [np.sin(f * t + rng.uniform(0, 6.28, (n, 1))), np.sin(2 * f * t + rng.uniform(0, 6.28, (n, 1)))],
        1,
    )
    x = torch.tensor(x + 0.9 * rng.standard_normal(x.shape), dtype=torch.float32)
    y = torch.tensor(y)

    class Meter:
        def __init__(self):
            self.sum = self.n = 0

        def add(self, value, k):
            self.sum, self.n = self.sum + value * k, self.n + k

        @property
        def mean(self):
            return self.sum / self.n

    class GaitTrainer:
        def __init__(self):
            self.net = nn.Sequential(
                nn.Conv1d(2, 16, 9, bias=False),
                nn.BatchNorm1d(16),
                nn.ReLU(),
                nn.MaxPool1d(2),
                nn.Conv1d(16, 24, 7, bias=False),
                nn.BatchNorm1d(24),
                nn.ReLU(),
                nn.AdaptiveAvgPool1d(4),
                nn.Flatten(),
                nn.Dropout(0.5),
                nn.Linear(96, 4),
            )
            self.opt = torch.optim.AdamW(self.net.parameters(), lr=2e-3, weight_decay=1e-2)
            self.sched = torch.optim.lr_scheduler.OneCycleLR(self.opt, max_lr=6e-3, total_steps=10 * 16)
            self.train_dl = DataLoader(TensorDataset(x[:480], y[:480]), batch_size=30, shuffle=True)
            self.val_dl = DataLoader(TensorDataset(x[480:], y[480:]), batch_size=20)

        def train_one_epoch(self):
            self.net.train()
            m = Meter()
            for xb, yb in self.train_dl:
                loss = F.cross_entropy(self.net(xb), yb)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                self.sched.step()
                m.add(loss.item(), len(yb))
            return m.mean

        def evaluate(self):
            if not mistake:
                self.net.eval()
            acc, loss = Meter(), Meter()
            with torch.inference_mode():
                for xb, yb in self.val_dl:
                    out = self.net(xb)
                    acc.add(accuracy(out, yb), len(yb))
                    loss.add(F.cross_entropy(out, yb).item(), len(yb))
            return loss.mean, acc.mean

    trainer = GaitTrainer()
    log = [(trainer.train_one_epoch(),) + trainer.evaluate() for _ in range(10)]
    return {"first": log[0][0], "last": log[-1][0], "val_loss": log[-1][1], "val": log[-1][2]}


# ---- pictures with missing scan lines
def scan_line_repair(mistake):
    torch.manual_seed(173)
    rng = np.random.default_rng(173)
    n, size = 800, 12
    yy, xx = np.mgrid[:size, :size] / size
    angle, ph = rng.uniform(0, np.pi, (n, 1, 1)), rng.uniform(0, 6.28, (n, 1, 1))
    clean = np.sin(6 * (np.cos(angle) * yy + np.sin(angle) * xx) + ph)
    clean = torch.tensor(clean, dtype=torch.float32)
    keep = torch.ones(n, size, 1)
    for i in range(n):
        keep[i, rng.choice(size, 3, replace=False)] = 0
    broken = clean * keep
    if not mistake:
        clean, broken, keep = clean.flatten(1), broken.flatten(1), keep.expand(-1, -1, size).flatten(1)
    else:
        keep = keep.expand(-1, -1, size)
    width = clean.shape[-1]
    net = nn.Sequential(
        nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, width)
    )
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    cut = 600

    def hole_error(out, sl):
        hole = 1 - keep[sl]
        return ((out - clean[sl]) ** 2 * hole).sum() / hole.sum()

    log = []
    for epoch in range(15):
        net.train()
        losses = []
        for idx in torch.randperm(cut).split(30):
            loss = F.mse_loss(net(broken[idx]), clean[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            log.append((sum(losses) / len(losses), hole_error(net(broken[cut:]), slice(cut, n)).item()))
    return {
        "first": log[0][0],
        "last": log[-1][0],
        "val": log[-1][1],
        "fill_zero": hole_error(0 * clean[cut:], slice(cut, n)).item(),
    }


# ---- melting points of alloys, with a data module
def alloy_melting(mistake):
    torch.manual_seed(179)

    class Alloys(Dataset):
        def __init__(self, n=320, parts=12):
            r = np.random.default_rng(179)
            mix = r.dirichlet(np.ones(parts), n)
            pair = r.standard_normal((parts, parts))
            t = mix @ r.standard_normal(parts) * 2 + np.einsum("ni,ij,nj->n", mix, pair, mix)
            t = t + 0.35 * r.standard_normal(n)
            self.x = torch.tensor(mix * parts - 1, dtype=torch.float32)
            self.y = torch.tensor(t, dtype=torch.float32)

        def __len__(self):
            return len(self.y)

        def __getitem__(self, i):
            return self.x[i], self.y[i]

    class AlloyData:
        def __init__(self, batch_size=24):
            self.whole, self.batch_size = Alloys(), batch_size

        def parts(self):
            g = None if mistake else torch.Generator().manual_seed(7)
            return random_split(self.whole, [240, 80], generator=g)

        def train_dataloader(self):
            return DataLoader(self.parts()[0], batch_size=self.batch_size, shuffle=True)

        def test_dataloader(self):
            return DataLoader(self.parts()[1], batch_size=80)

    dm = AlloyData()
    net = nn.Sequential(nn.Linear(12, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 1))
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    train_dl = dm.train_dataloader()
    curve = []
    for epoch in range(40):
        net.train()
        total = 0.0
        for x, y in train_dl:
            loss = F.mse_loss(net(x).squeeze(1), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        curve.append(total / 240)
    net.eval()
    error = 0.0
    with torch.no_grad():
        for x, y in dm.test_dataloader():
            error += F.mse_loss(net(x).squeeze(1), y, reduction="sum").item()
    return {"first": curve[0], "last": curve[-1], "val": error / 80}


# ---- which width is best? one score per candidate
@dataclass
class SearchConfig:
    widths: tuple = (16, 24, 32, 40)
    epochs: int = 6
    lr: float = 4e-3
    eval_batches: int | None = None
    eval_shuffle: bool = False


def width_search(mistake):
    cfg = SearchConfig(eval_batches=3, eval_shuffle=True) if mistake else SearchConfig()
    torch.manual_seed(181)
    xa, ya, xb, yb = digits_split(21)
    half = len(xb) // 2
    train_dl = DataLoader(TensorDataset(xa, ya), batch_size=32, shuffle=True)
    val_dl = DataLoader(TensorDataset(xb[:half], yb[:half]), batch_size=20, shuffle=cfg.eval_shuffle)
    test_dl = DataLoader(TensorDataset(xb[half:], yb[half:]), batch_size=20, shuffle=cfg.eval_shuffle)

    @torch.no_grad()
    def score(net, loader):
        net.eval()
        right = seen = 0
        for i, (x, y) in enumerate(loader):
            if cfg.eval_batches is not None and i >= cfg.eval_batches:
                break
            right, seen = right + (net(x).argmax(1) == y).sum().item(), seen + len(y)
        return right / seen

    table, nets, losses = {}, {}, []
    for width in cfg.widths:
        net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        opt = torch.optim.Adam(net.parameters(), lr=cfg.lr)
        for _ in range(cfg.epochs):
            net.train()
            total = 0.0
            for x, y in train_dl:
                loss = F.cross_entropy(net(x), y)
                opt.zero_grad()
                loss.backward()
                opt.step()
                total += loss.item() * len(y)
            losses.append(total / len(ya))
            table[width] = score(net, val_dl)
        nets[width] = net
    winner = max(table, key=table.get)
    return {
        "first": losses[0],
        "last": losses[-1],
        "val": table[winner],
        "winner": float(winner),
        "test": score(nets[winner], test_dl),
        **{f"w{k}": v for k, v in table.items()},
    }


# ---- topics of messages, labels given as words
def message_topics(mistake):
    torch.manual_seed(191)
    rng = np.random.default_rng(191)
    topics = ["travel", "cooking", "football", "gardening", "cinema"]
    vocab, length, n = 150, 14, 900
    prefer = rng.dirichlet(np.full(vocab, 0.25), len(topics))
    which = rng.integers(0, len(topics), n)
    words = np.stack([rng.choice(vocab, length, p=0.5 * prefer[k] + 0.5 / vocab) for k in which])
    names = [topics[k] for k in which]

    class Messages(Dataset):
        def __init__(self, words, names):
            self.words = torch.tensor(words)
            classes = list(dict.fromkeys(names)) if mistake else sorted(set(names))
            self.class_to_idx = {c: i for i, c in enumerate(classes)}
            self.labels = torch.tensor([self.class_to_idx[c] for c in names])

        def __len__(self):
            return len(self.labels)

        def __getitem__(self, i):
            return self.words[i], self.labels[i]

    train_set, val_set = Messages(words[:600], names[:600]), Messages(words[600:], names[600:])

    class TopicNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.EmbeddingBag(vocab, 24, mode="mean")
            self.fc = nn.Sequential(nn.ReLU(), nn.Linear(24, len(topics)))

        def forward(self, w):
            return self.fc(self.emb(w))

    net = TopicNet()
    opt = torch.optim.Adagrad(net.parameters(), lr=0.1)

    def passes(dataset, train):
        net.train(train)
        loss_sum = hits = 0
        with torch.set_grad_enabled(train):
            for w, y in DataLoader(dataset, batch_size=30, shuffle=train):
                out = net(w)
                loss = F.cross_entropy(out, y)
                if train:
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
                loss_sum, hits = (
                    loss_sum + loss.item() * len(y),
                    hits + (out.argmax(1) == y).sum().item(),
                )
        return loss_sum / len(dataset), hits / len(dataset)

    log = [passes(train_set, True) + passes(val_set, False) for _ in range(10)]
    return {
        "first": log[0][0],
        "last": log[-1][0],
        "train_acc": log[-1][1],
        "val_loss": log[-1][2],
        "val": log[-1][3],
    }


FAULTS_5 = [
    (
        bearing_alarm,
        (
            "view(-1",
            "batch size",
            "reshape",
            "rows",
            "number of samples",
            "more samples",
            "batch dimension",
            "view(",
            "wrong shape",
            "twice as many",
            "leading dimension",
        ),
        "30 view(-1, k) with a wrong k",
    ),
    (
        essay_grades,
        (
            "argmax",
            "one output",
            "single output",
            "one column",
            "always 0",
            "always class 0",
            "constant prediction",
            "dimension of size 1",
            "size-1",
            "regression scored",
            "regression head",
            "accuracy of a regression",
            "single column",
        ),
        "31 one-output regression scored by argmax accuracy",
    ),
    (
        gait_recogniser,
        (
            "eval()",
            "eval mode",
            "train mode",
            "training mode",
            "dropout",
            "batchnorm",
            "batch norm",
            "evaluation mode",
        ),
        "32 validation without eval()",
    ),
    (
        scan_line_repair,
        (
            "flatten",
            "rows",
            "row by row",
            "each row",
            "last dimension",
            "last axis",
            "unflattened",
            "every row",
        ),
        "33 unflattened images: a linear layer sees rows",
    ),
    (
        alloy_melting,
        (
            "overlap",
            "already used in training",
            "seen in training",
            "same samples",
            "in both",
            "also in the training",
            "leak",
            "shared",
            "random_split",
            "trained on",
            "contamina",
        ),
        "34 a test split cut from data already used in training",
    ),
    (
        width_search,
        (
            "truncated",
            "part of the",
            "shuffle",
            "subset",
            "few batches",
            "not the whole",
            "only some",
            "different samples",
            "first 3",
            "different data",
            "different batches",
            "cut short",
            "stops early",
            "breaks off",
            "partial",
            "incomplete",
        ),
        "35 a shuffled and truncated test loader whose score is compared",
    ),
    (
        message_topics,
        (
            "label mapping",
            "labels are mapped",
            "mapped differently",
            "different mapping",
            "mapping",
            "class_to_idx",
            "permut",
            "class order",
            "order of the classes",
            "encoded differently",
            "labels differ",
            "label encod",
        ),
        "36 labels mapped differently in training and validation",
    ),
]
