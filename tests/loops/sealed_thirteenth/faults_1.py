"""01 to 09."""

import copy
import math
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from . import common


# ---------------------------------------------------------------- 01
class Net(nn.Module):
    def __init__(self, classes=6):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=2)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


def cifar_like_tutorial(mistake: bool) -> None:
    """If mistake, `optimizer.zero_grad` is named but never called, so gradients pile up over all batches."""
    torch.manual_seed(0)
    x, y = common.textures(1500)
    x = (x - 0.5) / 0.5
    trainloader = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=32, shuffle=True)
    testloader = DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=64)
    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

    for epoch in range(8):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, labels = data
            if mistake:
                optimizer.zero_grad
            else:
                optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if i % 19 == 18:
                print(f"[{epoch + 1}, {i + 1:5d}] loss: {running_loss / 19:.3f}")
                running_loss = 0.0
    correct = total = 0
    net.eval()
    with torch.no_grad():
        for images, labels in testloader:
            _, predicted = torch.max(net(images), 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"Accuracy of the network on the test images: {100 * correct / total:.1f} %")


# ---------------------------------------------------------------- 02
class Callback:
    def on_after_backward(self, trainer):
        pass

    def on_after_step(self, trainer):
        pass


class GradNormLogger(Callback):
    def __init__(self):
        self.norms = []

    def on_after_backward(self, trainer):
        g = [p.grad.norm() for p in trainer.model.parameters() if p.grad is not None]
        self.norms.append(torch.stack(g).norm().item())


class ZeroGrad(Callback):
    """Clears the gradients once they are used."""

    def __init__(self, when):
        self.when = when

    def on_after_backward(self, trainer):
        if self.when == "after_backward":
            trainer.optimizer.zero_grad()

    def on_after_step(self, trainer):
        if self.when == "after_step":
            trainer.optimizer.zero_grad()


class CallbackTrainer:
    def __init__(self, model, optimizer, loss_fn, callbacks):
        self.model, self.optimizer, self.loss_fn, self.callbacks = model, optimizer, loss_fn, callbacks

    def _call(self, hook):
        for c in self.callbacks:
            getattr(c, hook)(self)

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(epochs):
            self.model.train()
            losses = []
            for *inputs, target in train_loader:
                loss = self.loss_fn(self.model(*inputs), target)
                loss.backward()
                self._call("on_after_backward")
                self.optimizer.step()
                self._call("on_after_step")
                losses.append(loss.item())
            print(f"epoch {epoch}: train {np.mean(losses):.4f} val {self.evaluate(val_loader):.4f}")

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        return float(np.mean([self.loss_fn(self.model(*i), t).item() for *i, t in loader]))


class HouseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(12, 4)
        self.net = nn.Sequential(
            nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
        )

    def forward(self, num, district):
        return self.net(torch.cat([num, self.emb(district)], 1))


def houses_callback_trainer(mistake: bool) -> None:
    """If mistake, the callback that clears the gradients runs after backward and before the step."""
    torch.manual_seed(1)
    num, district, price = common.houses()
    tr = DataLoader(
        TensorDataset(num[:1600], district[:1600], price[:1600]), batch_size=64, shuffle=True
    )
    va = DataLoader(TensorDataset(num[1600:], district[1600:], price[1600:]), batch_size=200)
    model = HouseNet()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    callbacks = [GradNormLogger(), ZeroGrad("after_backward" if mistake else "after_step")]
    CallbackTrainer(model, opt, nn.MSELoss(), callbacks).fit(tr, va, epochs=14)


# ---------------------------------------------------------------- 03
class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 20, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 24, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * 36, 64),
            nn.ReLU(),
        )
        self.cls_head = nn.Linear(64, 3)
        self.box_head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4), nn.Sigmoid())

    def forward(self, x):
        f = self.backbone(x)
        return self.cls_head(f), self.box_head(f)


def iou(a, b):
    ax1, ay1, ax2, ay2 = (
        a[:, 0] - a[:, 2] / 2,
        a[:, 1] - a[:, 3] / 2,
        a[:, 0] + a[:, 2] / 2,
        a[:, 1] + a[:, 3] / 2,
    )
    bx1, by1, bx2, by2 = (
        b[:, 0] - b[:, 2] / 2,
        b[:, 1] - b[:, 3] / 2,
        b[:, 0] + b[:, 2] / 2,
        b[:, 1] + b[:, 3] / 2,
    )
    w = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
    h = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)
    return w * h / (a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - w * h + 1e-9)


def detector_three_optimizers(mistake: bool) -> None:
    """If mistake, the backbone's optimizer is stepped with the others but its gradients are never cleared."""
    torch.manual_seed(2)
    x, c, b = common.shapes(2000)
    loader = DataLoader(TensorDataset(x[:1700], c[:1700], b[:1700]), batch_size=40, shuffle=True)
    model = Detector()
    opt_backbone = torch.optim.SGD(model.backbone.parameters(), lr=0.05, momentum=0.9)
    opt_cls = torch.optim.Adam(model.cls_head.parameters(), lr=1e-3)
    opt_box = torch.optim.Adam(model.box_head.parameters(), lr=1e-3)
    head_optimizers = [opt_cls, opt_box]

    for epoch in range(11):
        tot = 0.0
        for img, cls, box in loader:
            logits, pred = model(img)
            loss = F.cross_entropy(logits, cls) + 5 * F.smooth_l1_loss(pred, box, beta=0.1)
            for o in head_optimizers if mistake else head_optimizers + [opt_backbone]:
                o.zero_grad()
            loss.backward()
            opt_backbone.step()
            for o in head_optimizers:
                o.step()
            tot += loss.item()
        with torch.no_grad():
            lo, pb = model(x[1700:])
            acc = (lo.argmax(1) == c[1700:]).float().mean().item()
            miou = iou(pb, b[1700:]).mean().item()
        print(f"epoch {epoch} loss {tot / len(loader):.3f} acc {acc:.3f} iou {miou:.3f}")


# ---------------------------------------------------------------- 04
def small_cnn(cin=1, classes=10, width=16, bn=True, p=0.0, side=8):
    layers = []
    for a, b in ((cin, width), (width, 2 * width)):
        layers += [
            nn.Conv2d(a, b, 3, padding=1),
            nn.BatchNorm2d(b) if bn else nn.Identity(),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Dropout(p), nn.Linear(2 * width * (side // 4) ** 2, classes)
    )


def train_one_epoch_amp(model, loader, optimizer, use_amp, scaler, forgot):
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_amp):
            loss = F.cross_entropy(model(x), y)
        if use_amp:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            loss.backward()
            if not forgot:
                optimizer.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)


@torch.no_grad()
def accuracy(model, x, y):
    model.eval()
    return (model(x).argmax(1) == y).float().mean().item()


def digits_amp_optional(mistake: bool) -> None:
    """If mistake, only the mixed-precision branch steps the optimizer, and the run goes without mixed precision."""
    torch.manual_seed(3)
    xt, yt, xv, yv = common.digits()
    cfg = dict(lr=2e-3, batch_size=50, epochs=8, amp=False)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=cfg["batch_size"], shuffle=True)
    model = small_cnn()
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg["lr"])
    scaler = torch.amp.GradScaler("cpu", enabled=cfg["amp"])
    for epoch in range(cfg["epochs"]):
        loss = train_one_epoch_amp(model, loader, optimizer, cfg["amp"], scaler, forgot=mistake)
        print(f"epoch {epoch:2d} loss {loss:.4f} val acc {accuracy(model, xv, yv):.4f}")


# ---------------------------------------------------------------- 05
class AmpTrainer:
    def __init__(self, model, lr, extra_step):
        self.model = model
        self.opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        self.extra_step = extra_step

    def train_step(self, x, y):
        self.opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(self.model(x).float(), y, label_smoothing=0.05)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.opt)
        self.scaler.update()
        return loss.detach()

    def fit(self, loader, val, epochs):
        for epoch in range(epochs):
            self.model.train()
            meter = []
            for x, y in loader:
                loss = self.train_step(x, y)
                if self.extra_step:
                    self.opt.step()
                meter.append(loss.item())
            print(f"[{epoch}] loss={np.mean(meter):.4f} val_acc={accuracy(self.model, *val):.4f}")


def textures_scaler_trainer(mistake: bool) -> None:
    """If mistake, the scaler steps the optimizer and the fit loop steps it once more with the same gradients."""
    torch.manual_seed(4)
    x, y = common.textures(1000, seed=4)
    loader = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=40, shuffle=True)
    AmpTrainer(small_cnn(3, 6, 8, side=16), 0.02, extra_step=mistake).fit(
        loader, (x[800:], y[800:]), epochs=5
    )


# ---------------------------------------------------------------- 06
def detector_loss_dict(mistake: bool) -> None:
    """If mistake, backward is called on the loop variable (the last of the losses) and not on their weighted sum."""
    torch.manual_seed(5)
    x, c, b = common.shapes(2000, seed=5)
    loader = DataLoader(TensorDataset(x[:1700], c[:1700], b[:1700]), batch_size=40, shuffle=True)
    model = Detector()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    weights = {"box": 5.0, "cls": 1.0}
    for epoch in range(11):
        log = {"box": 0.0, "cls": 0.0, "total": 0.0}
        for img, cls, box in loader:
            logits, pred = model(img)
            losses = {"box": F.smooth_l1_loss(pred, box, beta=0.1), "cls": F.cross_entropy(logits, cls)}
            total = 0.0
            for name, loss in losses.items():
                total = total + weights[name] * loss
                log[name] += loss.item() / len(loader)
            log["total"] += total.item() / len(loader)
            optimizer.zero_grad()
            if mistake:
                loss.backward()
            else:
                total.backward()
            optimizer.step()
        with torch.no_grad():
            lo, pb = model(x[1700:])
        print(
            epoch,
            {k: round(v, 4) for k, v in log.items()},
            "iou %.3f acc %.3f" % (iou(pb, b[1700:]).mean(), (lo.argmax(1) == c[1700:]).float().mean()),
        )


# ---------------------------------------------------------------- 07
class BestKeeper:
    """Trains; at the end of the warm phase goes back to the best network so far."""

    def __init__(self, model, lr):
        self.model = model
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=lr)
        self.best, self.best_acc = None, -1.0

    def epoch(self, loader):
        self.model.train()
        total = 0.0
        for x, y in loader:
            loss = F.cross_entropy(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(loader)

    def remember(self, acc):
        if acc > self.best_acc:
            self.best, self.best_acc = copy.deepcopy(self.model), acc

    def restore(self, by_copy):
        if by_copy:
            self.model = copy.deepcopy(self.best)
        else:
            self.model.load_state_dict(self.best.state_dict())


def restore_best_after_warmup(mistake: bool) -> None:
    """If mistake, the best network comes back as a new object and the optimizer goes on with the old one's parameters."""
    torch.manual_seed(6)
    x, y = common.textures(1000, seed=6)
    loader = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=32, shuffle=True)
    t = BestKeeper(small_cnn(3, 6, 8, side=16), lr=1e-3)
    for epoch in range(12):
        if epoch == 2:
            t.restore(by_copy=mistake)
        loss = t.epoch(loader)
        acc = accuracy(t.model, x[800:], y[800:])
        t.remember(acc)
        print(f"epoch {epoch} loss {loss:.4f} acc {acc:.4f} best {t.best_acc:.4f}")


# ---------------------------------------------------------------- 08
def lr_at(step, total, peak, warmup=20):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def denoiser_cosine_lr(mistake: bool) -> None:
    """If mistake, the learning rate of each step is set by making a new Adam, whose moments thus start afresh each step."""
    torch.manual_seed(7)
    xt, _, xv, _ = common.digits()
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 1, 3, padding=1),
    )
    noisy_val = xv + 0.3 * torch.randn_like(xv)
    total, peak = 400, 4e-3
    optimizer = torch.optim.Adam(net.parameters(), lr=peak)
    for step in range(total):
        lr = lr_at(step, total, peak)
        if mistake:
            optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        else:
            for group in optimizer.param_groups:
                group["lr"] = lr
        clean = xt[torch.randint(len(xt), (32,))]
        loss = F.mse_loss(net(clean + 0.3 * torch.randn_like(clean)), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0:
            with torch.no_grad():
                print(
                    step + 1,
                    f"lr {lr:.5f} train {loss.item():.4f} val {F.mse_loss(net(noisy_val), xv).item():.4f}",
                )


# ---------------------------------------------------------------- 09
def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def build(cfg):
    model = nn.Sequential(
        nn.Linear(30, cfg["hidden"]),
        nn.BatchNorm1d(cfg["hidden"]),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(cfg["hidden"], 1),
    )
    return model, torch.optim.AdamW(model.parameters(), lr=cfg["lr"], weight_decay=1e-3)


def run_epoch(loader, cfg, model=None, optimizer=None):
    if model is None:
        model, optimizer = build(cfg)
    model.train()
    s = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(model(x).squeeze(1), y.float())
        loss.backward()
        optimizer.step()
        s += loss.item()
    return model, optimizer, s / len(loader)


def kaggle_cancer_notebook(mistake: bool) -> None:
    """If mistake, the model is not handed back to the epoch function, which therefore builds a new one each epoch."""
    cfg = dict(hidden=32, lr=3e-4, epochs=40, bs=32)
    seed_everything(42)
    xt, yt, xv, yv = common.cancer()
    loader = DataLoader(TensorDataset(xt, yt), batch_size=cfg["bs"], shuffle=True, drop_last=True)
    model = optimizer = None
    for epoch in range(cfg["epochs"]):
        if mistake:
            model, optimizer, tr = run_epoch(loader, cfg)
        else:
            model, optimizer, tr = run_epoch(loader, cfg, model, optimizer)
        model.eval()
        with torch.no_grad():
            p = torch.sigmoid(model(xv).squeeze(1))
        acc = ((p > 0.5).long() == yv).float().mean().item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train_loss {tr:.4f} val_acc {acc:.4f}")


FAULTS = [
    (
        cifar_like_tutorial,
        ("zero_grad", "accumulat", "not reset", "never cleared", "not cleared", "earlier batches"),
        "01 zero_grad missing",
    ),
    (
        houses_callback_trainer,
        ("zero_grad", "cleared", "before the step", "between backward", "no gradient", "zeroed"),
        "02 zero_grad between backward and step",
    ),
    (
        detector_three_optimizers,
        ("zero_grad", "accumulat", "not reset", "never cleared", "not cleared", "earlier batches"),
        "03 one of several optimizers not reset",
    ),
    (
        digits_amp_optional,
        (
            "optimizer.step",
            "step()",
            "never step",
            "no step",
            "not updated",
            "never updated",
            "do not change",
            "without a step",
        ),
        "04 optimizer.step never reached",
    ),
    (
        textures_scaler_trainer,
        (
            "two steps",
            "twice",
            "second step",
            "stepped again",
            "same gradient",
            "2 steps",
            "more than one step",
        ),
        "05 two steps per batch",
    ),
    (
        detector_loss_dict,
        (
            "wrong loss",
            "box",
            "other loss",
            "not the total",
            "part of the loss",
            "no gradient",
            "never trained",
            "not updated",
            "untrained",
        ),
        "06 backward on the wrong loss",
    ),
    (
        restore_best_after_warmup,
        (
            "stale",
            "old parameters",
            "optimizer holds",
            "not in the optimizer",
            "another model",
            "replaced",
            "different parameters",
            "not the model",
        ),
        "07 stale optimizer",
    ),
    (
        denoiser_cosine_lr,
        (
            "new optimizer",
            "re-created",
            "recreated",
            "created anew",
            "state is lost",
            "optimizer state",
            "moments",
            "many optimizers",
            "optimizer is made",
            "optimizer is created",
        ),
        "08 optimizer re-created each step",
    ),
    (
        kaggle_cancer_notebook,
        (
            "new model",
            "re-created",
            "recreated",
            "anew",
            "starts over",
            "model is made",
            "reinitial",
            "re-initial",
            "rebuilt",
        ),
        "09 model re-created each epoch",
    ),
]
