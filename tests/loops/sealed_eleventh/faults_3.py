"""Backbones, weights, attention, checkpoints and adaptation."""

import copy
import itertools
import math
from argparse import Namespace
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits, make_classification
from sklearn.metrics import balanced_accuracy_score
from torch.func import functional_call, grad, vmap
from torch.utils.data import DataLoader, TensorDataset, random_split


# --------------------------------------------------------------------------- 1
def conv_backbone():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
    )


class TwoDomainNet(nn.Module):
    def __init__(self, freeze_stats):
        super().__init__()
        self.backbone = conv_backbone()
        self.heads = nn.ModuleDict({"scan": nn.Linear(512, 10), "photo": nn.Linear(512, 10)})
        self.frozen = False
        self.freeze_stats = freeze_stats

    def freeze_backbone(self):
        self.frozen = True
        for p in self.backbone.parameters():
            p.requires_grad = False

    def train(self, mode=True):
        super().train(mode)
        if self.frozen and self.freeze_stats:
            self.backbone.eval()
        return self

    def forward(self, x, domain):
        return self.heads[domain](self.backbone(x))


def fit_domain(model, loader, domain, epochs, lr):
    params = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.Adam(params, lr=lr)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x, domain), y)
            loss.backward()
            opt.step()
    return loss.item()


@torch.no_grad()
def accuracy(model, x, y, *extra):
    model.eval()
    return (model(x, *extra).argmax(1) == y).float().mean().item()


def frozen_backbone_second_domain(mistake: bool) -> None:
    """The backbone is frozen by requires_grad=False but stays in train mode, so its BatchNorm statistics drift to the new domain."""
    torch.manual_seed(21)
    data = load_digits()
    scan = torch.tensor(data.images / 16.0, dtype=torch.float32)[:, None]
    photo = 0.35 * (1 - scan) + 0.5 + 0.05 * torch.randn_like(scan)
    y = torch.tensor(data.target)
    old = DataLoader(TensorDataset(scan[:1300], y[:1300]), batch_size=64, shuffle=True)
    new = DataLoader(TensorDataset(photo[:1300], y[:1300]), batch_size=64, shuffle=True)
    model = TwoDomainNet(freeze_stats=not mistake)
    fit_domain(model, old, "scan", epochs=5, lr=2e-3)
    before = accuracy(model, scan[1300:], y[1300:], "scan")
    model.freeze_backbone()
    loss = fit_domain(model, new, "photo", epochs=10, lr=3e-3)
    print(
        f"loss {loss:.4f} photo acc {accuracy(model, photo[1300:], y[1300:], 'photo'):.4f} "
        f"scan acc {before:.4f} -> {accuracy(model, scan[1300:], y[1300:], 'scan'):.4f}"
    )


# --------------------------------------------------------------------------- 2
@dataclass
class FraudConfig:
    hidden: tuple = (32, 16)
    lr: float = 2e-3
    epochs: int = 12
    batch_size: int = 128
    weights: str = "inverse"
    history: list = field(default_factory=list)


def class_weights(y, how):
    counts = torch.bincount(y).float()
    if how == "inverse":
        return len(y) / (len(counts) * counts)
    return counts * len(counts) / len(y)


def fraud_weighted(mistake: bool) -> None:
    """The class weights are the class frequencies instead of their inverse, so the rare classes count even less."""
    cfg = FraudConfig(weights="frequency" if mistake else "inverse")
    torch.manual_seed(22)
    x, y = make_classification(
        6000,
        16,
        n_informative=8,
        n_classes=3,
        weights=[0.88, 0.08, 0.04],
        class_sep=1.2,
        flip_y=0.0,
        random_state=22,
    )
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    xtr, ytr, xte, yte = x[:4500], y[:4500], x[4500:], y[4500:]
    sizes = (16, *cfg.hidden)
    layers = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.ELU())]
    net = nn.Sequential(*layers, nn.Linear(sizes[-1], 3))
    criterion = nn.CrossEntropyLoss(weight=class_weights(ytr, cfg.weights))
    opt = torch.optim.NAdam(net.parameters(), lr=cfg.lr)
    for epoch in range(cfg.epochs):
        running = 0.0
        for idx in torch.randperm(len(xtr)).split(cfg.batch_size):
            loss = criterion(net(xtr[idx]), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item() * len(idx)
        cfg.history.append(running / len(xtr))
    with torch.no_grad():
        pred = net(xte).argmax(1)
    print(
        f"loss {cfg.history[0]:.4f} -> {cfg.history[-1]:.4f} balanced acc {balanced_accuracy_score(yte, pred):.4f} "
        f"recalls {[round((pred[yte == c] == c).float().mean().item(), 3) for c in range(3)]}"
    )


# --------------------------------------------------------------------------- 3
class AttentionMIL(nn.Module):
    """A bag of instances is positive if one instance is a nine; bags are [batch, instances, pixels]."""

    def __init__(self, over):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU())
        self.score = nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1))
        self.out = nn.Linear(32, 1)
        self.over = over

    def forward(self, bags):
        h = self.embed(bags)
        a = F.softmax(self.score(h), dim=self.over)
        return self.out((a * h).sum(1)).squeeze(1)


def make_bags(x, y, n, size, rng):
    nines, others = np.flatnonzero(y == 9), np.flatnonzero(y != 9)
    bags, labels = [], rng.integers(0, 2, n)
    for label in labels:
        members = rng.choice(others, size)
        if label:
            members[rng.integers(size)] = rng.choice(nines)
        bags.append(x[members])
    return torch.tensor(np.stack(bags), dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)


def attention_bags(mistake: bool) -> None:
    """The attention weights are normalised with softmax over the batch (dim=0) rather than over the instances of a bag."""
    torch.manual_seed(23)
    rng = np.random.default_rng(23)
    data = load_digits()
    x = data.data / 16.0
    bags, labels = make_bags(x[:1300], data.target[:1300], 3000, 6, rng)
    test_bags, test_labels = make_bags(x[1300:], data.target[1300:], 300, 6, rng)
    model = AttentionMIL(over=0 if mistake else 1)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    for epoch in range(6):
        losses = []
        for idx in torch.randperm(len(bags)).split(50):
            loss = F.binary_cross_entropy_with_logits(model(bags[idx]), labels[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        one_by_one = torch.cat([model(b[None]) for b in test_bags])
    print(
        f"loss {np.mean(losses):.4f} test acc {((one_by_one > 0) == test_labels.bool()).float().mean():.4f}"
    )


# --------------------------------------------------------------------------- 4
class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=256, batch_first=True):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)
        self.batch_first = batch_first

    def forward(self, x):
        if self.batch_first:
            return x + self.pe[: x.size(1)].transpose(0, 1)
        return x + self.pe[: x.size(0)]


class OnsetTransformer(nn.Module):
    def __init__(self, d_model=32, pe_batch_first=True):
        super().__init__()
        self.lift = nn.Linear(1, d_model)
        self.pos = PositionalEncoding(d_model, batch_first=pe_batch_first)
        layer = nn.TransformerEncoderLayer(
            d_model, 4, 64, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, 4)

    def forward(self, x):
        return self.head(self.encoder(self.pos(self.lift(x))).mean(1))


def onset_batches(n_batches, batch_size, seed, length=24):
    """Noise with a burst; which quarter of the record holds the burst?"""
    g = torch.Generator().manual_seed(seed)
    for _ in range(n_batches):
        where = torch.randint(0, length - 2, (batch_size,), generator=g)
        x = 0.3 * torch.randn(batch_size, length, generator=g)
        for k in range(3):
            x[torch.arange(batch_size), where + k] += 2.0
        yield x.unsqueeze(-1), (where + 1) * 4 // length


def onset_transformer(mistake: bool) -> None:
    """The positional encoding is added along the batch axis (it is written for [seq, batch, d] but gets [batch, seq, d])."""
    torch.manual_seed(24)
    model = OnsetTransformer(pe_batch_first=not mistake)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    warmup = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 30))
    losses = []
    for x, y in onset_batches(300, 32, seed=24):
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        warmup.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        acc = [(model(x).argmax(1) == y).float().mean() for x, y in onset_batches(10, 32, seed=1000)]
    print(
        f"loss {np.mean(losses[:10]):.3f} -> {np.mean(losses[-10:]):.3f} acc {torch.stack(acc).mean():.4f}"
    )


# --------------------------------------------------------------------------- 5
class EarlyStopping:
    def __init__(self, patience, snapshot):
        self.patience, self.snapshot = patience, snapshot
        self.best, self.state, self.wait = float("inf"), None, 0

    def step(self, value, model):
        if value < self.best:
            self.best, self.wait = value, 0
            self.state = self.snapshot(model)
        else:
            self.wait += 1
        return self.wait >= self.patience


def early_stopped_noisy_digits(mistake: bool) -> None:
    """The best weights are stored as model.state_dict() without a copy, so the tensors go on changing and the last weights are restored."""
    torch.manual_seed(25)
    data = load_digits()
    x, y = torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target)
    noisy = torch.where(torch.rand(len(y)) < 0.25, torch.randint(0, 10, (len(y),)), y)
    xtr, ytr, xva, yva = x[:500], noisy[:500], x[500:900], y[500:900]
    snapshot = (lambda m: m.state_dict()) if mistake else (lambda m: copy.deepcopy(m.state_dict()))
    stopper = EarlyStopping(patience=15, snapshot=snapshot)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(60):
        model.train()
        for idx in torch.randperm(len(xtr)).split(32):
            opt.zero_grad()
            loss = F.cross_entropy(model(xtr[idx]), ytr[idx])
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val = F.cross_entropy(model(xva), yva).item()
        if stopper.step(val, model):
            break
    model.load_state_dict(stopper.state)
    with torch.no_grad():
        restored = F.cross_entropy(model(xva), yva).item()
    print(
        f"epochs {epoch + 1} best val loss {stopper.best:.4f} restored {restored:.4f} acc {accuracy(model, xva, yva):.4f}"
    )


# --------------------------------------------------------------------------- 6
def sine_tasks(n_tasks, shots, generator):
    amp = 0.5 + 2.0 * torch.rand(n_tasks, 1, 1, generator=generator)
    phase = math.pi * torch.rand(n_tasks, 1, 1, generator=generator)
    draw = lambda k: 10 * torch.rand(n_tasks, k, 1, generator=generator) - 5
    xs, xq = draw(shots), draw(shots)
    return xs, amp * torch.sin(xs + phase), xq, amp * torch.sin(xq + phase)


def maml_sines(mistake: bool) -> None:
    """The query loss of MAML is taken at the original parameters instead of the adapted ones, so nothing is learned about adapting."""
    torch.manual_seed(26)
    g = torch.Generator().manual_seed(26)
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    params = dict(net.named_parameters())
    inner_lr = 0.02

    def task_loss(p, x, y):
        return F.mse_loss(functional_call(net, p, (x,)), y)

    def adapt(p, x, y, steps=2):
        for _ in range(steps):
            gr = grad(task_loss)(p, x, y)
            p = {k: v - inner_lr * gr[k] for k, v in p.items()}
        return p

    def query_loss(p, xs, ys, xq, yq):
        adapted = adapt(p, xs, ys)
        return task_loss(p if mistake else adapted, xq, yq)

    def meta_loss(tasks, fn):
        return vmap(fn, in_dims=(None, 0, 0, 0, 0))(params, *tasks).mean()

    opt = torch.optim.Adam(params.values(), lr=3e-3)
    history = []
    for it in range(400):
        loss = meta_loss(sine_tasks(16, 10, g), query_loss)
        opt.zero_grad()
        loss.backward()
        opt.step()
        history.append(loss.item())
    test = meta_loss(
        sine_tasks(200, 10, torch.Generator().manual_seed(5)),
        lambda p, xs, ys, xq, yq: task_loss(adapt(p, xs, ys), xq, yq),
    )
    print(
        f"meta loss {np.mean(history[:10]):.3f} -> {np.mean(history[-20:]):.3f} after adaptation on new tasks {test.item():.3f}"
    )


# --------------------------------------------------------------------------- 7
def restarted(loader):
    while True:
        yield next(iter(loader))


def endless(loader):
    return itertools.chain.from_iterable(itertools.repeat(loader))


def iteration_based_training(mistake: bool) -> None:
    """next(iter(loader)) makes a new iterator in each step, so only the first batch is ever seen."""
    args = Namespace(max_iters=400, batch_size=32, lr=0.1)
    torch.manual_seed(27)
    data = load_digits()
    full = TensorDataset(torch.tensor(data.data / 16.0, dtype=torch.float32), torch.tensor(data.target))
    train, test = random_split(full, [1400, len(full) - 1400])
    batches = (restarted if mistake else endless)(DataLoader(train, batch_size=args.batch_size))
    model = nn.Sequential(nn.Linear(64, 64), nn.Mish(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.8)
    meter = []
    for it, (x, y) in enumerate(itertools.islice(batches, args.max_iters)):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        meter.append(loss.item())
    xt, yt = next(iter(DataLoader(test, batch_size=len(test))))
    print(f"loss {np.mean(meter[-40:]):.4f} test acc {accuracy(model, xt, yt):.4f}")


FAULTS = [
    (
        frozen_backbone_second_domain,
        ("batchnorm", "batch norm", "running mean", "running stat", "running_mean", "statistics"),
        "mode",
    ),
    (
        fraud_weighted,
        ("class weight", "inverse", "imbalanc", "weights of the classes", "rare class", "frequen"),
        "loss",
    ),
    (
        attention_bags,
        ("softmax", "dim=0", "over the batch", "batch dimension", "wrong dim"),
        "architecture",
    ),
    (
        onset_transformer,
        ("positional", "position", "batch_first", "batch axis", "batch dimension", "across the batch"),
        "architecture",
    ),
    (
        early_stopped_noisy_digits,
        ("deepcopy", "copy", "reference", "alias", "state_dict", "clone"),
        "checkpoint",
    ),
    (
        maml_sines,
        ("adapted", "inner loop", "inner step", "inner update", "adaptation", "original param"),
        "meta-learning",
    ),
    (
        iteration_based_training,
        ("same batch", "iter(", "first batch", "iterator", "one batch", "single batch"),
        "data",
    ),
]
