"""Assorted training scripts, part 3."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import AverageMeter, digits_images, seed_everything, token_sequences


# ---------------------------------------------------------------- config-driven transformer
@dataclass
class TrainArgs:
    learning_rate: float = 0.1
    momentum: float = 0.9
    max_grad_norm: float = 0.0
    epochs: int = 10
    batch_size: int = 32


class PooledAttention(nn.Module):
    def __init__(self, vocab=30, dim=32, classes=3):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.score = nn.Linear(dim, 1)
        self.out = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x):
        e = self.emb(x)
        w = self.score(e).softmax(1)
        return self.out((w * e).sum(1) + e.mean(1))


class TextTrainer:
    def __init__(self, model, args, train_ds, eval_ds, always_clip):
        self.model, self.args, self.always_clip = model, args, always_clip
        self.train_dl = DataLoader(train_ds, args.batch_size, shuffle=True)
        self.eval_dl = DataLoader(eval_ds, 80)
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=args.learning_rate, momentum=args.momentum
        )

    def train(self):
        for epoch in range(self.args.epochs):
            self.model.train()
            loss_meter = AverageMeter()
            for x, y in self.train_dl:
                loss = F.cross_entropy(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                if self.always_clip or self.args.max_grad_norm > 0:
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
                self.optimizer.step()
                loss_meter.update(loss.item(), len(y))
            acc = self.evaluate()
        return loss_meter.avg, acc

    @torch.inference_mode()
    def evaluate(self):
        self.model.eval()
        hits = [(self.model(x).argmax(1) == y).float() for x, y in self.eval_dl]
        return torch.cat(hits).mean().item()


def text_trainer_args(mistake):
    seed_everything(31)
    trainer = TextTrainer(
        PooledAttention(),
        TrainArgs(),
        TensorDataset(*token_sequences(800, seed=11)),
        TensorDataset(*token_sequences(240, seed=12)),
        mistake,
    )
    loss, acc = trainer.train()
    print(f"text_trainer_args loss {loss:.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- AMP with clipping
def amp_clip_cnn(mistake):
    seed_everything(13)
    xtr, ytr, xte, yte = digits_images(1200, seed=9)
    xtr = F.interpolate(xtr, size=12, mode="bilinear", align_corners=False)
    xte = F.interpolate(xte, size=12, mode="bilinear", align_corners=False)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=48, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(24 * 9, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    acc = 0.0
    for epoch in range(8):
        model.train()
        total = 0.0
        for images, targets in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
                logits = model(images)
                loss = F.cross_entropy(logits.float(), targets)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            scaler.step(optimizer)
            scaler.update()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"amp_clip_cnn loss {total / len(loader):.3f} acc {acc:.3f}")
    return acc


# ---------------------------------------------------------------- accumulation, SGD
def accumulate_depthmap(mistake):
    """Regress a smooth map from a noisy image, small batches accumulated."""
    seed_everything(17)
    g = torch.Generator().manual_seed(3)
    base = torch.randn(480, 1, 4, 4, generator=g)
    clean = F.interpolate(base, size=16, mode="bicubic", align_corners=False)
    noisy = clean + 0.4 * torch.randn(clean.shape, generator=g)
    train = DataLoader(TensorDataset(noisy[:384], clean[:384]), batch_size=8, shuffle=True)
    val = DataLoader(TensorDataset(noisy[384:], clean[384:]), batch_size=48)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 1, 5, padding=2),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.8)
    accumulation_steps = 8
    for epoch in range(8):
        model.train()
        meter = AverageMeter()
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train):
            loss = F.mse_loss(model(x), y)
            if mistake:
                loss.backward()
            else:
                (loss / accumulation_steps).backward()
            meter.update(loss.item(), len(x))
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            vm = AverageMeter()
            for x, y in val:
                vm.update(F.mse_loss(model(x), y).item(), len(x))
    print(f"accumulate_depthmap train {meter.avg:.4f} val {vm.avg:.4f}")
    return vm.avg


# ---------------------------------------------------------------- accumulation with a tail
class GRURegressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 24, batch_first=True)
        self.fc = nn.Linear(24, 1)

    def forward(self, x):
        return self.fc(self.gru(x)[1][-1]).squeeze(-1)


def accumulate_sensors(mistake):
    seed_everything(19)
    rs = np.random.RandomState(7)
    x = rs.normal(0, 1, (560, 15, 3)).astype("float32")
    y = (x[:, :, 0].sum(1) / 4 + np.tanh(x[:, -1, 1]) + 0.5 * x[:, -2, 2]).astype("float32")
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    loader = DataLoader(TensorDataset(x[:416], y[:416]), batch_size=32, shuffle=True)
    vx, vy = x[416:], y[416:]
    model = GRURegressor()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    accum, n_batches = 7, len(loader)
    for epoch in range(14):
        model.train()
        optimizer.zero_grad()
        running = 0.0
        for k, (xb, yb) in enumerate(loader):
            loss = F.mse_loss(model(xb), yb)
            if mistake:
                group = accum
            else:
                group = min(accum, n_batches - (k // accum) * accum)
            (loss / group).backward()
            running += loss.item() * len(xb)
            if mistake:
                ready = (k + 1) % accum == 0
            else:
                ready = (k + 1) % accum == 0 or k + 1 == n_batches
            if ready:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(vx), vy).item()
    print(f"accumulate_sensors train {running / 416:.3f} val {val:.3f}")
    return val


# ---------------------------------------------------------------- PyTorch-tutorial phases
def phases_wine(mistake):
    seed_everything(0)
    x, y = load_wine(return_X_y=True)
    xtr, xva, ytr, yva = train_test_split(x, y, test_size=0.35, random_state=4, stratify=y)
    sc = StandardScaler().fit(xtr)
    mk = lambda a, b: TensorDataset(torch.tensor(sc.transform(a), dtype=torch.float32), torch.tensor(b))
    dataloaders = {
        "train": DataLoader(mk(xtr, ytr), 16, shuffle=True),
        "val": DataLoader(mk(xva, yva), 16),
    }
    model = nn.Sequential(
        nn.Linear(13, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 3)
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    best_wts, best_acc = copy.deepcopy(model.state_dict()), 0.0
    for epoch in range(12):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(mistake or phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if mistake or phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (preds == labels).sum().item()
            size = len(dataloaders[phase].dataset)
            epoch_loss, epoch_acc = running_loss / size, running_corrects / size
            if phase == "val" and epoch_acc > best_acc:
                best_acc = epoch_acc
                best_wts = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_wts)
    print(f"phases_wine val loss {epoch_loss:.3f} best acc {best_acc:.3f}")
    return best_acc


# ---------------------------------------------------------------- text CNN
class TextCNN(nn.Module):
    def __init__(self, mistake, vocab=30, dim=24, classes=3):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.convs = nn.ModuleList([nn.Conv1d(dim, 20, k) for k in (2, 3, 4)])
        self.fc = nn.Linear(60, classes)
        self.mistake = mistake

    def forward(self, x):
        e = self.embed(x).transpose(1, 2)
        h = torch.cat([F.relu(c(e)).max(-1).values for c in self.convs], 1)
        h = F.dropout(h, 0.5) if self.mistake else F.dropout(h, 0.5, training=self.training)
        return self.fc(h)


def textcnn_sentiment(mistake):
    seed_everything(23)
    ids, lab = token_sequences(1000, length=18, seed=21)
    tr = DataLoader(TensorDataset(ids[:750], lab[:750]), 50, shuffle=True)
    va = DataLoader(TensorDataset(ids[750:], lab[750:]), 125)
    model = TextCNN(mistake)
    opt = torch.optim.Adadelta(model.parameters(), lr=0.8)
    for epoch in range(10):
        model.train()
        for x, y in tr:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        vl, va_acc = AverageMeter(), AverageMeter()
        with torch.no_grad():
            for x, y in va:
                logits = model(x)
                vl.update(F.cross_entropy(logits, y).item(), len(y))
                va_acc.update((logits.argmax(1) == y).float().mean().item(), len(y))
    print(f"textcnn_sentiment val {vl.avg:.3f}/{va_acc.avg:.3f}")
    return va_acc.avg


# ---------------------------------------------------------------- EMA weights
class ModelEMA:
    def __init__(self, model, decay=0.98):
        self.model = model
        self.module = copy.deepcopy(model).eval()
        for p in self.module.parameters():
            p.requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self):
        self.updates += 1
        d = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for e, p in zip(self.module.parameters(), self.model.parameters()):
            e.mul_(d).add_(p, alpha=1 - d)
        for e, b in zip(self.module.buffers(), self.model.buffers()):
            e.copy_(b)


def ema_digits(mistake):
    seed_everything(29)
    xtr, ytr, xte, yte = digits_images(1200, seed=12)
    loader = DataLoader(TensorDataset(xtr, ytr), 60, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    if mistake:
        ema = ModelEMA(net)
        net = copy.deepcopy(net).to(memory_format=torch.channels_last)
    else:
        net = copy.deepcopy(net).to(memory_format=torch.channels_last)
        ema = ModelEMA(net)
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    for epoch in range(8):
        net.train()
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
            ema.update()
        net.eval()
        with torch.no_grad():
            raw = (net(xte).argmax(1) == yte).float().mean().item()
            avg = (ema.module(xte).argmax(1) == yte).float().mean().item()
    print(f"ema_digits loss {loss.item():.3f} raw {raw:.3f} ema {avg:.3f}")
    return avg


# ---------------------------------------------------------------- distillation, lightning-like
def small_mlp(width):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


class DistillModule(nn.Module):
    def __init__(self, teacher, student, T=3.0, alpha=0.7, fast_path=True):
        super().__init__()
        self.teacher, self.student = teacher, student
        self.T, self.alpha = T, alpha
        self.fast_path = fast_path

    def training_step(self, batch):
        x, y = batch
        s = self.student(x)
        with torch.set_grad_enabled(not self.fast_path):
            t = self.teacher(x)
        soft = (
            F.kl_div(F.log_softmax(s / self.T, 1), F.softmax(t / self.T, 1), reduction="batchmean")
            * self.T**2
        )
        return self.alpha * soft + (1 - self.alpha) * F.cross_entropy(s, y)

    def validation_step(self, batch):
        x, y = batch
        return (self.student(x).argmax(1) == y).float()

    def configure_optimizers(self):
        opt = torch.optim.Adam(self.parameters(), lr=5e-3)
        return opt, torch.optim.lr_scheduler.ExponentialLR(opt, 0.9)


def distill_digits(mistake):
    seed_everything(37)
    xtr, ytr, xte, yte = digits_images(1400, seed=15)
    loader = DataLoader(TensorDataset(xtr, ytr), 50, shuffle=True)
    val = DataLoader(TensorDataset(xte, yte), 100)
    teacher = small_mlp(128)
    t_opt = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    teacher.train()
    for _ in range(8):
        for x, y in loader:
            t_opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            t_opt.step()
    module = DistillModule(teacher, small_mlp(32), fast_path=not mistake)
    optimizer, scheduler = module.configure_optimizers()
    for epoch in range(12):
        module.student.train()
        module.teacher.eval()
        losses = []
        for batch in loader:
            loss = module.training_step(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        module.eval()
        with torch.no_grad():
            acc = torch.cat([module.validation_step(b) for b in val]).mean().item()
    print(f"distill_digits loss {np.mean(losses):.3f} student acc {acc:.3f}")
    return acc


FAULTS_3 = [
    (
        text_trainer_args,
        ("clip", "max_norm", "norm 0", "norm of 0", "to nothing", "to zero"),
        "17 clipping to nothing",
    ),
    (
        amp_clip_cnn,
        ("unscale", "scaled gradients", "before unscaling", "clip", "still scaled"),
        "18 clipping before backward, or before unscaling",
    ),
    (
        accumulate_depthmap,
        ("not divided", "divide", "accumulat", "sum of", "summed"),
        "19 accumulation not divided",
    ),
    (
        accumulate_sensors,
        (
            "remainder",
            "left over",
            "leftover",
            "last batches",
            "dropped",
            "discard",
            "thrown away",
            "never stepped",
            "not a multiple",
            "erased before",
            "without a step",
        ),
        "20 the remainder of accumulation dropped",
    ),
    (
        phases_wine,
        (
            "validation data",
            "validation batch",
            "trained on validation",
            "training on the validation",
            "val data",
            "on the validation",
            "evaluation data",
            "held-out",
        ),
        "21 training on the validation data",
    ),
    (textcnn_sentiment, ("dropout",), "22 validation with dropout on"),
    (
        ema_digits,
        ("ema", "average", "another model", "other model", "wrong model", "not the model"),
        "23 EMA of the wrong model",
    ),
    (
        distill_digits,
        ("teacher", "target is not detached", "not detached", "no_grad"),
        "24 teacher (or target) not detached/trained",
    ),
]
