"""10 to 18."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import r2_score
from torch.utils.data import DataLoader, TensorDataset

from . import common


def conv_bn(a, b, stride=1):
    return nn.Sequential(
        nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(b),
        nn.ReLU(inplace=True),
    )


# ---------------------------------------------------------------- 10
class IterTrainer:
    """Research-repository trainer that validates every `val_every` iterations, within the epoch."""

    def __init__(self, model, optimizer, train_loader, val_loader, val_every, back_to_train):
        self.model, self.optimizer = model, optimizer
        self.train_loader, self.val_loader = train_loader, val_loader
        self.val_every, self.back_to_train = val_every, back_to_train
        self.iter = 0

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        hits = n = 0
        for x, y in self.val_loader:
            hits += (self.model(x).argmax(1) == y).sum().item()
            n += len(y)
        if self.back_to_train:
            self.model.train()
        return hits / n

    def run(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            for x, y in self.train_loader:
                loss = F.cross_entropy(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.iter += 1
                if self.iter % self.val_every == 0:
                    print(f"iter {self.iter} loss {loss.item():.4f} val {self.validate():.4f}")


def textures_mid_epoch_validation(mistake: bool) -> None:
    """If mistake, the validation in mid-epoch leaves the network in eval mode for the rest of the epoch."""
    torch.manual_seed(10)
    x, y = common.textures(1600, noise=0.4, seed=10)
    tr = DataLoader(TensorDataset(x[:1300], y[:1300]), batch_size=26, shuffle=True)
    va = DataLoader(TensorDataset(x[1300:], y[1300:]), batch_size=100)
    model = nn.Sequential(
        conv_bn(3, 12),
        nn.MaxPool2d(2),
        conv_bn(12, 24),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(24 * 16, 6),
    )
    IterTrainer(
        model, torch.optim.Adam(model.parameters(), lr=1e-3), tr, va, 15, back_to_train=not mistake
    ).run(6)


# ---------------------------------------------------------------- 11
class SegNet(nn.Module):
    def __init__(self, frozen_features):
        super().__init__()
        self.frozen_features = frozen_features
        self.down1 = conv_bn(1, 8)
        self.down2 = nn.Sequential(nn.MaxPool2d(2), conv_bn(8, 16))
        self.up = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2))
        self.head = nn.Conv2d(16, 1, 1)

    def features(self, x):
        a = self.down1(x)
        return a, self.down2(a)

    @torch.no_grad()
    def embed(self, x):
        return self.features(x)

    def forward(self, x):
        a, b = self.embed(x) if self.frozen_features else self.features(x)
        return self.head(torch.cat([a, self.up(b)], 1))


def dice_loss(logits, target, eps=1.0):
    p = torch.sigmoid(logits)
    inter = (p * target).sum((1, 2, 3))
    return (1 - (2 * inter + eps) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + eps)).mean()


def cells_segmentation(mistake: bool) -> None:
    """If mistake, forward uses the method for extracting features, which is decorated with no_grad, so the encoder stays as it was."""
    torch.manual_seed(11)
    x, m = common.cells(400)
    loader = DataLoader(TensorDataset(x[:320], m[:320]), batch_size=16, shuffle=True)
    model = SegNet(frozen_features=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for img, mask in loader:
            logits = model(img)
            loss = F.binary_cross_entropy_with_logits(logits, mask) + dice_loss(logits, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            d = 1 - dice_loss((model(x[320:]) > 0).float() * 40 - 20, m[320:]).item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} dice {d:.4f}")


# ---------------------------------------------------------------- 12
def get_batch(x, y, cfg, rng):
    idx = rng.choice(len(x), cfg["batch_size"], replace=False)
    idx = torch.from_numpy(idx)
    return x[idx], y[idx]


def houses_sampled_batches(mistake: bool) -> None:
    """If mistake, the random generator is made afresh with the same seed for each batch, which therefore is the same each time."""
    cfg = dict(batch_size=64, steps=500, seed=12, lr=2e-3)
    torch.manual_seed(cfg["seed"])
    num, district, price = common.houses()
    feats = torch.cat([num, F.one_hot(district, 12).float()], 1)
    xt, yt, xv, yv = feats[:1600], price[:1600], feats[1600:], price[1600:]
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    opt = torch.optim.Adam(net.parameters(), lr=cfg["lr"])
    rng = np.random.RandomState(cfg["seed"])
    for step in range(1, cfg["steps"] + 1):
        if mistake:
            rng = np.random.RandomState(cfg["seed"])
        xb, yb = get_batch(xt, yt, cfg, rng)
        loss = F.mse_loss(net(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 50 == 0:
            with torch.no_grad():
                p = net(xv)
            print(
                f"step {step} train {loss.item():.4f} val {F.mse_loss(p, yv).item():.4f} "
                f"r2 {r2_score(yv.numpy(), p.numpy()):.4f}"
            )


# ---------------------------------------------------------------- 13
def forever(loader):
    while True:
        yield from loader


def sample(loader):
    return next(iter(loader))


def digits_step_based(mistake: bool) -> None:
    """If mistake, each step makes a new iterator of the (unshuffled) loader and takes its first batch."""
    torch.manual_seed(13)
    xt, yt, xv, yv = common.digits(seed=13)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=56)
    net = nn.Sequential(
        conv_bn(1, 16),
        conv_bn(16, 32, stride=2),
        conv_bn(32, 32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    stream = forever(loader)
    for step in range(250):
        x, y = sample(loader) if mistake else next(stream)
        net.train()
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        if step % 25 == 24:
            net.eval()
            with torch.no_grad():
                acc = (net(xv).argmax(1) == yv).float().mean().item()
            print(f"{step + 1:4d} loss {loss.item():.4f} acc {acc:.4f}")


# ---------------------------------------------------------------- 14
class StaticBuffers:
    """Fixed input and target tensors that each batch is copied into (as for a captured graph)."""

    def __init__(self, batch, shape):
        self.x = torch.zeros(batch, *shape)
        self.y = torch.zeros(batch, dtype=torch.long)

    def load(self, x, y):
        self.x.copy_(x)
        self.y.copy_(y)


def textures_static_buffers(mistake: bool) -> None:
    """If mistake, the labels are copied into their buffer after the loss, so each batch is trained with the labels of the one before."""
    torch.manual_seed(14)
    x, y = common.textures(1400, seed=14)
    loader = DataLoader(TensorDataset(x[:1100], y[:1100]), batch_size=50, shuffle=True, drop_last=True)
    net = nn.Sequential(conv_bn(3, 12, 2), conv_bn(12, 24, 2), nn.Flatten(), nn.Linear(24 * 16, 6))
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    buf = StaticBuffers(50, (3, 16, 16))

    def train_step():
        opt.zero_grad(set_to_none=False)
        loss = F.cross_entropy(net(buf.x), buf.y)
        loss.backward()
        opt.step()
        return loss.item()

    for epoch in range(9):
        net.train()
        losses = []
        for xb, yb in loader:
            if mistake:
                buf.x.copy_(xb)
                losses.append(train_step())
                buf.y.copy_(yb)
            else:
                buf.load(xb, yb)
                losses.append(train_step())
        net.eval()
        with torch.no_grad():
            acc = (net(x[1100:]).argmax(1) == y[1100:]).float().mean().item()
        print(f"epoch {epoch} loss {np.mean(losses):.4f} acc {acc:.4f}")


# ---------------------------------------------------------------- 15
class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count


def patch_autoencoder_meter(mistake: bool) -> None:
    """If mistake, the meter sums the loss tensors themselves, which keeps the graph of every step of the epoch alive."""
    torch.manual_seed(15)
    p = common.patches(1500)
    loader = DataLoader(TensorDataset(p[:1300]), batch_size=20, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(24, 12, 3, stride=2, padding=1),
        nn.GELU(),
        nn.ConvTranspose2d(12, 24, 4, 2, 1),
        nn.GELU(),
        nn.ConvTranspose2d(24, 3, 4, 2, 1),
        nn.Sigmoid(),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = AverageMeter()
    for epoch in range(8):
        losses.reset()
        for (img,) in loader:
            loss = F.mse_loss(model(img), img)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss if mistake else loss.item(), img.size(0))
        with torch.no_grad():
            val = F.mse_loss(model(p[1300:]), p[1300:]).item()
        print(f"Epoch [{epoch}] loss {losses.avg:.5f} val {val:.5f}")


# ---------------------------------------------------------------- 16
class LitLike:
    def __init__(self, net, lr, milestones, every_batch):
        self.net, self.every_batch = net, every_batch
        self.optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer, milestones=milestones, gamma=0.1
        )

    def training_step(self, batch):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.every_batch:
            self.scheduler.step()
        return loss.item()

    def fit(self, loader, val, epochs):
        for epoch in range(epochs):
            self.net.train()
            mean = np.mean([self.training_step(b) for b in loader])
            if not self.every_batch:
                self.scheduler.step()
            self.net.eval()
            with torch.no_grad():
                acc = (self.net(val[0]).argmax(1) == val[1]).float().mean().item()
            print(
                f"epoch {epoch + 1}/{epochs} loss {mean:.4f} acc {acc:.4f} lr {self.scheduler.get_last_lr()[0]:.2e}"
            )


def digits_multistep(mistake: bool) -> None:
    """If mistake, a schedule whose milestones are epochs is stepped for each batch."""
    torch.manual_seed(16)
    xt, yt, xv, yv = common.digits(seed=16)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=64, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 16, 10),
    )
    LitLike(net, 0.02, milestones=[8, 12], every_batch=mistake).fit(loader, (xv, yv), epochs=14)


# ---------------------------------------------------------------- 17
def regression_scheduler_first(mistake: bool) -> None:
    """If mistake, scheduler.step() stands at the head of the epoch, before any optimizer.step(), so the first rate is skipped."""
    torch.manual_seed(17)
    num, district, price = common.houses(seed=17)
    feats = torch.cat([num, F.one_hot(district, 12).float()], 1)
    train = DataLoader(TensorDataset(feats[:1600], price[:1600]), batch_size=32, shuffle=True)
    net = nn.Sequential(nn.Linear(16, 48), nn.Tanh(), nn.Linear(48, 1))
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.6)
    for epoch in range(8):
        if mistake:
            sched.step()
        net.train()
        running = 0.0
        for xb, yb in train:
            opt.zero_grad()
            loss = F.mse_loss(net(xb), yb)
            loss.backward()
            opt.step()
            running += loss.item() * len(xb)
        if not mistake:
            sched.step()
        net.eval()
        with torch.no_grad():
            val = F.mse_loss(net(feats[1600:]), price[1600:]).item()
        print(
            f"epoch {epoch} train {running / 1600:.4f} val {val:.4f} lr now {opt.param_groups[0]['lr']:.5f}"
        )


# ---------------------------------------------------------------- 18
def segmentation_clipped(mistake: bool) -> None:
    """If mistake, the norm to clip to comes out of an integer division as 0, so every gradient is scaled to nothing."""
    torch.manual_seed(18)
    x, m = common.cells(400, seed=18)
    cfg = dict(max_norm=1, accum=2, lr=0.1, epochs=10, bs=10)
    loader = DataLoader(TensorDataset(x[:320], m[:320]), batch_size=cfg["bs"], shuffle=True)
    model = nn.Sequential(conv_bn(1, 12), conv_bn(12, 12), conv_bn(12, 12), nn.Conv2d(12, 1, 1))
    opt = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
    clip_to = cfg["max_norm"] // cfg["accum"] if mistake else cfg["max_norm"] / cfg["accum"]
    for epoch in range(cfg["epochs"]):
        model.train()
        opt.zero_grad()
        total = 0.0
        for i, (img, mask) in enumerate(loader):
            loss = F.binary_cross_entropy_with_logits(model(img), mask)
            (loss / cfg["accum"]).backward()
            total += loss.item()
            if (i + 1) % cfg["accum"] == 0:
                nn.utils.clip_grad_norm_(model.parameters(), clip_to)
                opt.step()
                opt.zero_grad()
        model.eval()
        with torch.no_grad():
            p = model(x[320:]) > 0
            t = m[320:] > 0.5
            score = ((p & t).sum() / (p | t).sum().clamp(min=1)).item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} IoU {score:.4f}")


FAULTS = [
    (
        textures_mid_epoch_validation,
        (
            "eval mode",
            "eval()",
            "train()",
            "train mode",
            "training mode",
            "evaluation mode",
            "back to train",
        ),
        "10 stuck in eval after validation",
    ),
    (
        cells_segmentation,
        (
            "no_grad",
            "without gradient",
            "no gradient",
            "never updated",
            "not updated",
            "not trained",
            "encoder",
            "down1",
        ),
        "11 training under no_grad of a part",
    ),
    (
        houses_sampled_batches,
        (
            "same batch",
            "same data",
            "same sample",
            "identical batch",
            "same inputs",
            "only one batch",
            "repeat",
            "one batch",
        ),
        "12 the same batch again and again",
    ),
    (
        digits_step_based,
        ("iterator", "first batch", "same batch", "iter(", "restart", "same data", "repeat"),
        "13 iterator restarted each step",
    ),
    (
        textures_static_buffers,
        (
            "previous batch",
            "label",
            "earlier batch",
            "last batch",
            "batch before",
            "shifted",
            "do not belong",
        ),
        "14 labels of the previous batch",
    ),
    (
        patch_autoencoder_meter,
        ("graph", "item()", "detach", "memory", "keeps the"),
        "15 loss accumulated with its graph",
    ),
    (
        digits_multistep,
        ("scheduler", "per batch", "each batch", "every batch", "learning rate", "lr "),
        "16 scheduler per batch",
    ),
    (
        regression_scheduler_first,
        (
            "scheduler",
            "before the optimizer",
            "before optimizer",
            "first learning rate",
            "order",
            "skips",
        ),
        "17 scheduler before the optimizer",
    ),
    (
        segmentation_clipped,
        ("clip", "max_norm", "norm of 0", "to nothing", "to zero", "tiny gradient"),
        "18 clipping to nothing",
    ),
]
