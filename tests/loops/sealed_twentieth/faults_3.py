import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import accuracy, blobs, digits_split, shapes


# ---- short reviews as bags of words
def review_mood(mistake):
    torch.manual_seed(71)
    rng = np.random.default_rng(71)
    vocab, length, n = 120, 12, 1200
    tone = np.zeros(vocab)
    tone[:30], tone[30:60] = 1, -1
    mood = rng.integers(0, 2, n)
    weight = np.exp(0.9 * tone[None] * (2 * mood[:, None] - 1))
    words = np.stack([rng.choice(vocab, length, p=w / w.sum()) for w in weight])
    words, mood = torch.tensor(words), torch.tensor(mood)
    tr_w, tr_m, te_w, te_m = words[:800], mood[:800], words[800:], mood[800:]

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag = nn.EmbeddingBag(vocab, 12, mode="mean")
            self.top = nn.Linear(12, 2)

        def forward(self, w):
            return self.top(self.bag(w))

    model = Bag()
    opt = torch.optim.SGD(model.parameters(), lr=4.0)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=1, gamma=0.4)
    table = []
    for epoch in range(6):
        if mistake:
            scheduler.step()
        model.train()
        total = 0.0
        for idx in torch.randperm(800).split(40):
            opt.zero_grad()
            loss = F.cross_entropy(model(tr_w[idx]), tr_m[idx])
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        if not mistake:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            table.append((total / 800, accuracy(model(te_w), te_m)))
    return {
        "first": table[0][0],
        "last": table[-1][0],
        "val": table[-1][1],
        "lr": opt.param_groups[0]["lr"],
    }


# ---- tissue from gene expression, everything in one config
@dataclass(frozen=True)
class TissueConfig:
    genes: int = 120
    tissues: int = 5
    hidden: int = 32
    lr: float = 0.05
    momentum: float = 0.9
    max_grad_norm: float = 5.0
    epochs: int = 8
    batch: int = 30


def tissue_of_origin(mistake):
    cfg = TissueConfig()
    if mistake:
        cfg = replace(cfg, max_grad_norm=5e-4)
    torch.manual_seed(83)
    x, y = blobs(900, cfg.genes, cfg.tissues, spread=1.5, seed=83, scale=0.5)
    x = F.softplus(x).log1p()
    mean, std = x[:600].mean(0), x[:600].std(0)
    x = (x - mean) / std
    net = nn.Sequential(
        nn.Linear(cfg.genes, cfg.hidden),
        nn.GELU(),
        nn.LayerNorm(cfg.hidden),
        nn.Linear(cfg.hidden, cfg.tissues),
    )
    opt = torch.optim.SGD(net.parameters(), lr=cfg.lr, momentum=cfg.momentum)

    def epoch_of_training():
        net.train()
        for idx in torch.randperm(600).split(cfg.batch):
            loss = F.cross_entropy(net(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), cfg.max_grad_norm)
            opt.step()
            yield loss.item()

    curve = []
    for _ in range(cfg.epochs):
        losses = list(epoch_of_training())
        net.eval()
        with torch.no_grad():
            curve.append((sum(losses) / len(losses), accuracy(net(x[600:]), y[600:])))
    return {"first": curve[0][0], "last": curve[-1][0], "val": curve[-1][1]}


# ---- pulsar pulses in mixed precision
def pulsar_amp(mistake):
    torch.manual_seed(97)
    rng = np.random.default_rng(97)
    n, bins = 900, 64
    y = rng.integers(0, 2, n)
    t = np.arange(bins)
    centre, width = rng.uniform(16, 48, (n, 1)), rng.uniform(1.5, 3, (n, 1))
    x = 0.7 * rng.standard_normal((n, bins)) + y[:, None] * 2.0 * np.exp(
        -((t - centre) ** 2) / (2 * width**2)
    )
    x, y = torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(y)
    train = TensorDataset(x[:640], y[:640])
    model = nn.Sequential(
        nn.Conv1d(1, 8, 7, padding=3),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(8, 16, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(16, 2),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    results = []
    for epoch in range(8):
        model.train()
        total = 0.0
        for data, target in DataLoader(train, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = model(data)
            loss = F.cross_entropy(output.float(), target)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            total += loss.item() * len(target)
        model.eval()
        with torch.no_grad():
            out = model(x[640:])
        results.append((total / len(train), accuracy(out, y[640:])))
    return {
        "first": results[0][0],
        "last": results[-1][0],
        "val": results[-1][1],
        "scale": scaler.get_scale(),
    }


# ---- patterns of a quilt with small memory
def quilt_patterns(mistake):
    torch.manual_seed(101)
    x, y = shapes(900, size=16, seed=101)
    mu, sd = x[:640].mean((0, 2, 3), keepdim=True), x[:640].std((0, 2, 3), keepdim=True)
    x = (x - mu) / sd
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 4),
    )
    micro_batches = 8
    opt = torch.optim.SGD(net.parameters(), lr=0.12, momentum=0.8)
    rows = []
    for epoch in range(8):
        net.train()
        total = 0.0
        opt.zero_grad()
        for k, idx in enumerate(torch.randperm(640).split(8), start=1):
            loss = F.cross_entropy(net(x[idx]), y[idx])
            total += loss.item()
            if not mistake:
                loss = loss / micro_batches
            loss.backward()
            if k % micro_batches == 0:
                opt.step()
                opt.zero_grad()
        net.eval()
        with torch.no_grad():
            rows.append((total / 80, accuracy(net(x[640:]), y[640:])))
    return {"first": rows[0][0], "last": rows[-1][0], "val": rows[-1][1]}


# ---- one hospital per batch: length of stay
def length_of_stay(mistake):
    torch.manual_seed(103)
    rng = np.random.default_rng(103)
    sites, each, dim = 7, 60, 6
    effect = rng.normal(0, 1.5, sites)
    slope = rng.standard_normal(dim)

    def patients(count):
        site = np.repeat(np.arange(sites), count)
        x = rng.standard_normal((sites * count, dim))
        stay = x @ slope + effect[site] + 0.2 * rng.standard_normal(len(site))
        x = np.c_[x, np.eye(sites)[site]]
        return torch.tensor(x, dtype=torch.float32), torch.tensor(stay, dtype=torch.float32)

    xa, ya = patients(each)
    xb, yb = patients(25)
    loader = DataLoader(TensorDataset(xa, ya), batch_size=each)
    accumulate = 4
    model = nn.Sequential(nn.Linear(dim + sites, 24), nn.ReLU(), nn.Linear(24, 1))
    opt = torch.optim.Adam(model.parameters(), lr=0.02)
    log = []
    for epoch in range(60):
        model.train()
        opt.zero_grad()
        shown = 0.0
        for i, (x, y) in enumerate(loader):
            group = min(accumulate, len(loader) - i // accumulate * accumulate)
            loss = F.mse_loss(model(x).squeeze(1), y)
            (loss / group).backward()
            shown += loss.item()
            full = (i + 1) % accumulate == 0
            if full or (not mistake and i + 1 == len(loader)):
                opt.step()
                opt.zero_grad()
        model.eval()
        with torch.no_grad():
            log.append((shown / len(loader), F.mse_loss(model(xb).squeeze(1), yb).item()))
    with torch.no_grad():
        err = (model(xb).squeeze(1) - yb).pow(2).view(sites, -1).mean(1)
    return {
        "first": log[0][0],
        "last": log[-1][0],
        "val": log[-1][1],
        "head_sites": err[:4].mean().item(),
        "tail_sites": err[4:].mean().item(),
    }


# ---- promoter motifs in DNA, two phases per epoch
def promoter_motifs(mistake):
    torch.manual_seed(107)
    rng = np.random.default_rng(107)
    n, length = 600, 50
    seq, has = rng.integers(0, 4, (n, length)), rng.integers(0, 2, n)
    motif = np.array([3, 0, 3, 0, 1, 1])
    for i in np.flatnonzero(has):
        at = rng.integers(0, length - 6)
        seq[i, at : at + 6] = np.where(rng.random(6) < 0.9, motif, rng.integers(0, 4, 6))
    flip = rng.random(n) < 0.05
    x = F.one_hot(torch.tensor(seq), 4).float().transpose(1, 2)
    y = torch.tensor(np.where(flip, 1 - has, has))
    dataloaders = {
        "train": DataLoader(TensorDataset(x[:350], y[:350]), batch_size=25, shuffle=True),
        "val": DataLoader(TensorDataset(x[350:], y[350:]), batch_size=25),
    }
    model = nn.Sequential(
        nn.Conv1d(4, 16, 6),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(16, 2),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-3)
    best_acc, best_weights = 0.0, copy.deepcopy(model.state_dict())
    history = {"train": [], "val": []}
    for epoch in range(14):
        for phase in ["train", "val"]:
            model.train(phase == "train")
            running_loss, running_hits = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(mistake or phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if mistake or phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * len(labels)
                running_hits += (outputs.argmax(1) == labels).sum().item()
            size = len(dataloaders[phase].dataset)
            history[phase].append((running_loss / size, running_hits / size))
            if phase == "val" and running_hits / size > best_acc:
                best_acc, best_weights = running_hits / size, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return {
        "first": history["train"][0][0],
        "last": history["train"][-1][0],
        "val": history["val"][-1][1],
        "val_loss": history["val"][-1][0],
        "best": best_acc,
    }


# ---- digits from half the pixels
def sparse_digits(mistake):
    torch.manual_seed(109)
    xa, ya, xb, yb = digits_split(12)
    keep = torch.randperm(64)[:32]
    xa, xb = xa[:, keep], xb[:, keep]

    class SparseNet(nn.Module):
        def __init__(self, p=0.5):
            super().__init__()
            self.p = p
            self.fc1, self.fc2, self.fc3 = nn.Linear(32, 96), nn.Linear(96, 64), nn.Linear(64, 10)

        def thin(self, h):
            return F.dropout(h, self.p) if mistake else F.dropout(h, self.p, training=self.training)

        def forward(self, x):
            x = self.thin(F.relu(self.fc1(x)))
            x = self.thin(F.relu(self.fc2(x)))
            return self.fc3(x)

    net = SparseNet()
    opt = torch.optim.Adamax(net.parameters(), lr=6e-3)
    loop = []
    for epoch in range(12):
        net.train()
        losses = []
        for idx in torch.randperm(len(xa)).split(32):
            opt.zero_grad()
            loss = F.nll_loss(F.log_softmax(net(xa[idx]), 1), ya[idx])
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            loop.append((sum(losses) / len(losses), accuracy(net(xb), yb)))
    return {"first": loop[0][0], "last": loop[-1][0], "val": loop[-1][1]}


FAULTS_3 = [
    (
        review_mood,
        (
            "before the optimizer",
            "before optimizer",
            "first learning rate",
            "first value",
            "skipped",
            "skips",
            "before any optimizer",
            "before the first",
            "wrong order",
            "lr_scheduler.step()",
            "scheduler.step() before",
            "ahead of the optimizer",
        ),
        "16 scheduler before the optimizer",
    ),
    (tissue_of_origin, ("clip", "max_norm", "clipped to"), "17 clipping to nothing"),
    (
        pulsar_amp,
        (
            "unscale",
            "unscal",
            "scaled gradients",
            "before unscaling",
            "still scaled",
            "loss scale",
            "gradscaler",
            "scaler",
            "inflated gradients",
        ),
        "18 clipping before backward, or before unscaling",
    ),
    (
        quilt_patterns,
        (
            "not divided",
            "divide",
            "dividing",
            "divided",
            "summed",
            "sum of",
            "times larger",
            "times too large",
            "times as large",
            "accumulation",
            "not averaged",
            "not scaled",
        ),
        "19 accumulation not divided",
    ),
    (
        length_of_stay,
        (
            "remainder",
            "left over",
            "leftover",
            "last batches",
            "last batch",
            "dropped",
            "thrown away",
            "discard",
            "never stepped",
            "incomplete",
            "never used",
            "never reach a step",
            "lost",
        ),
        "20 the remainder of accumulation dropped",
    ),
    (
        promoter_motifs,
        (
            "validation data",
            "trained on the validation",
            "trains on the validation",
            "training on validation",
            "training on the validation",
            "on validation",
            "held-out",
            "backward in eval",
            "validation batches",
            "validation set",
            "leak",
            "evaluation data",
        ),
        "21 training on the validation data",
    ),
    (
        sparse_digits,
        ("dropout", "training=self.training", "not deterministic", "random in evaluation"),
        "22 validation with dropout on",
    ),
]
