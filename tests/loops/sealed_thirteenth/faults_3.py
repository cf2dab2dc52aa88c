"""19 to 27."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from . import common


# ---------------------------------------------------------------- 19
def optimise(loss, model, opt, max_norm):
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    opt.step()


def optimise_early(loss, model, opt, max_norm):
    opt.zero_grad()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    loss.backward()
    opt.step()


def regression_heavy_tails(mistake: bool) -> None:
    """If mistake, the gradients are clipped before backward has filled them, so nothing is clipped (the features have heavy tails)."""
    torch.manual_seed(19)
    num, district, price = common.houses(seed=19)
    feats = torch.cat([num, num**2, num**3 / 2, F.one_hot(district, 12).float()], 1)
    xt, yt, xv, yv = feats[:1600], price[:1600], feats[1600:], price[1600:]
    loader = DataLoader(TensorDataset(xt, yt), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 1))
    opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.65)
    for epoch in range(12):
        tot = 0.0
        for xb, yb in loader:
            loss = F.mse_loss(model(xb), yb)
            (optimise_early if mistake else optimise)(loss, model, opt, 0.5)
            tot += loss.item()
        with torch.no_grad():
            mse = F.mse_loss(model(xv), yv).item()
        print(
            f"epoch {epoch} train {tot / len(loader):.3f} val mse {mse:.3f} (variance {yv.var().item():.3f})"
        )


# ---------------------------------------------------------------- 20
class MixedPrecisionTrainer:
    def __init__(self, model, cfg, unscale_first):
        self.model, self.cfg, self.unscale_first = model, cfg, unscale_first
        self.opt = torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.9)
        self.scaler = torch.amp.GradScaler("cpu")

    def _forward(self, x, y):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = self.model(x)
        return F.cross_entropy(out.float(), y)

    def _update(self, loss):
        self.opt.zero_grad()
        self.scaler.scale(loss).backward()
        if self.unscale_first:
            self.scaler.unscale_(self.opt)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg["clip"])
        self.scaler.step(self.opt)
        self.scaler.update()

    def fit(self, loader, xv, yv):
        for epoch in range(self.cfg["epochs"]):
            self.model.train()
            s = 0.0
            for x, y in loader:
                loss = self._forward(x, y)
                self._update(loss)
                s += loss.item()
            self.model.eval()
            with torch.no_grad():
                acc = (self.model(xv).argmax(1) == yv).float().mean().item()
            print(
                f"epoch {epoch} loss {s / len(loader):.4f} acc {acc:.4f} scale {self.scaler.get_scale():.0f}"
            )


def digits_amp_clipped(mistake: bool) -> None:
    """If mistake, the gradients are clipped while still multiplied by the scaler's factor, which after unscaling leaves next to nothing."""
    torch.manual_seed(20)
    xt, yt, xv, yv = common.digits(seed=20)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=50, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    MixedPrecisionTrainer(model, dict(lr=0.05, clip=1.0, epochs=7), not mistake).fit(loader, xv, yv)


# ---------------------------------------------------------------- 21
def digits_accumulation_undivided(mistake: bool) -> None:
    """If mistake, the loss is divided by the accumulation steps only where it is logged, and the sum of 8 gradients is stepped."""
    torch.manual_seed(21)
    xt, yt, xv, yv = common.digits(seed=21, n_train=1280)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=16, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 4, 10),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    accumulation_steps = 8
    for epoch in range(14):
        running = 0.0
        opt.zero_grad()
        for i, (img, lab) in enumerate(loader):
            loss = F.cross_entropy(net(img), lab)
            if not mistake:
                loss = loss / accumulation_steps
                running += loss.item()
            else:
                running += loss.item() / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                opt.step()
                opt.zero_grad()
        with torch.no_grad():
            acc = (net(xv).argmax(1) == yv).float().mean().item()
        print(f"epoch {epoch} loss {running * accumulation_steps / len(loader):.4f} acc {acc:.4f}")


# ---------------------------------------------------------------- 22
def digits_accumulation_rest(mistake: bool) -> None:
    """If mistake, the gradients of the last, incomplete group of batches are thrown away at the start of the next epoch."""
    torch.manual_seed(22)
    xt, yt, xv, yv = common.digits(flat=True, seed=22)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    accum = 16
    n = len(loader)
    for epoch in range(36):
        model.train()
        optimizer.zero_grad()
        total = 0.0
        for i, (xb, yb) in enumerate(loader):
            group = accum if mistake else min(accum, n - i // accum * accum)
            loss = F.cross_entropy(model(xb), yb)
            (loss / group).backward()
            total += loss.item()
            last = not mistake and i + 1 == n
            if (i + 1) % accum == 0 or last:
                optimizer.step()
                optimizer.zero_grad()
        if epoch % 4 == 3:
            model.eval()
            with torch.no_grad():
                acc = (model(xv).argmax(1) == yv).float().mean().item()
            print(f"epoch {epoch + 1} loss {total / n:.4f} acc {acc:.4f}")


# ---------------------------------------------------------------- 23
def train_model(model, loaders, criterion, optimizer, num_epochs, learn_in):
    best, best_acc = copy.deepcopy(model.state_dict()), 0.0
    for epoch in range(num_epochs):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, corrects, seen = 0.0, 0, 0
            for inputs, labels in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase in learn_in):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase in learn_in:
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                corrects += (outputs.argmax(1) == labels).sum().item()
                seen += inputs.size(0)
            print(f"{epoch} {phase} loss {running_loss / seen:.4f} acc {corrects / seen:.4f}")
            if phase == "val" and corrects / seen > best_acc:
                best, best_acc = copy.deepcopy(model.state_dict()), corrects / seen
    model.load_state_dict(best)
    return model


def finetune_two_phases(mistake: bool) -> None:
    """If mistake, backward and step are done in the validation phase too, so the network trains on the validation data."""
    torch.manual_seed(23)
    x, y = common.textures(900, noise=0.6, seed=23)
    loaders = {
        "train": DataLoader(TensorDataset(x[:600], y[:600]), batch_size=30, shuffle=True),
        "val": DataLoader(TensorDataset(x[600:], y[600:]), batch_size=30),
    }
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 16, 6),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    train_model(
        model, loaders, nn.CrossEntropyLoss(), optimizer, 8, ("train", "val") if mistake else ("train",)
    )


# ---------------------------------------------------------------- 24
class TabNet(nn.Module):
    def __init__(self, p, always):
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(30, 64), nn.Linear(64, 64), nn.Linear(64, 1)
        self.p, self.always = p, always

    def drop(self, h):
        if self.always:
            return F.dropout(h, self.p)
        return F.dropout(h, self.p, training=self.training)

    def forward(self, x):
        h = self.drop(F.relu(self.fc1(x)))
        h = self.drop(F.relu(self.fc2(h)))
        return self.out(h).squeeze(-1)


def cancer_functional_dropout(mistake: bool) -> None:
    """If mistake, F.dropout is called without `training=self.training`, so it is on in validation too, whatever eval() says."""
    torch.manual_seed(24)
    xt, yt, xv, yv = common.cancer(seed=24)
    train = DataLoader(TensorDataset(xt, yt.float()), batch_size=20, shuffle=True)
    valid = DataLoader(TensorDataset(xv, yv.float()), batch_size=50)
    model = TabNet(0.7, always=mistake)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(15):
        model.train()
        for xb, yb in train:
            opt.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(xb), yb)
            loss.backward()
            opt.step()
        model.eval()
        losses, hits = [], 0
        with torch.no_grad():
            for xb, yb in valid:
                out = model(xb)
                losses.append(F.binary_cross_entropy_with_logits(out, yb).item())
                hits += ((out > 0).float() == yb).sum().item()
        print(
            f"epoch {epoch} train {loss.item():.4f} val {np.mean(losses):.4f} acc {hits / len(yv):.4f}"
        )


# ---------------------------------------------------------------- 25
class ModelEMA:
    """Exponential moving average of a network's weights."""

    def __init__(self, model, decay, stale):
        self.shadow = copy.deepcopy(model).eval()
        for p in self.shadow.parameters():
            p.requires_grad_(False)
        self.decay = decay
        if stale:
            self.source = {k: v.detach().clone() for k, v in model.state_dict().items()}
        else:
            self.source = {k: v.detach() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self):
        for k, s in self.shadow.state_dict().items():
            v = self.source[k]
            if s.dtype.is_floating_point:
                s.mul_(self.decay).add_(v, alpha=1 - self.decay)
            else:
                s.copy_(v)


def digits_ema(mistake: bool) -> None:
    """If mistake, the average follows a copy of the weights made at the start instead of the weights in training."""
    torch.manual_seed(25)
    xt, yt, xv, yv = common.digits(seed=25)
    loader = DataLoader(TensorDataset(xt, yt), batch_size=40, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    ema = ModelEMA(model, 0.96, stale=mistake)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(7):
        model.train()
        for xb, yb in loader:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update()
        model.eval()
        with torch.no_grad():
            a = (model(xv).argmax(1) == yv).float().mean().item()
            b = (ema.shadow(xv).argmax(1) == yv).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.4f} acc {a:.4f} ema acc {b:.4f}")


# ---------------------------------------------------------------- 26
def convnet(w):
    return nn.Sequential(
        nn.Conv2d(3, w, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(w, 2 * w, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * w * 16, 6),
    )


class Distiller(nn.Module):
    def __init__(self, teacher, student, T=3.0, alpha=0.8, track_teacher=False):
        super().__init__()
        self.teacher, self.student, self.T, self.alpha = teacher, student, T, alpha
        self.track_teacher = track_teacher

    def forward(self, x, y):
        s = self.student(x)
        with torch.set_grad_enabled(self.track_teacher):
            t = self.teacher(x)
        soft = (
            F.kl_div(F.log_softmax(s / self.T, 1), F.softmax(t / self.T, 1), reduction="batchmean")
            * self.T**2
        )
        return self.alpha * soft + (1 - self.alpha) * F.cross_entropy(s, y)


def textures_distillation(mistake: bool) -> None:
    """If mistake, the teacher's logits carry gradients and its weights are in the optimizer, so the teacher moves towards the student."""
    torch.manual_seed(26)
    x, y = common.textures(1200, noise=0.4, seed=26)
    x = (x - 0.5) / 0.4
    xt, yt, xv, yv = x[:1000], y[:1000], x[1000:], y[1000:]
    loader = DataLoader(TensorDataset(xt, yt), batch_size=40, shuffle=True)
    teacher = convnet(16)
    opt = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for _ in range(8):
        for xb, yb in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(xb), yb).backward()
            opt.step()
    distiller = Distiller(teacher, convnet(6), track_teacher=mistake)
    opt = torch.optim.Adam(distiller.parameters(), lr=3e-3)
    for epoch in range(10):
        total = 0.0
        for xb, yb in loader:
            loss = distiller(xb, yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        with torch.no_grad():
            ta = F.cross_entropy(teacher(xv), yv).item()
            sa = (distiller.student(xv).argmax(1) == yv).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.4f} student acc {sa:.4f} teacher ce {ta:.4f}")


# ---------------------------------------------------------------- 27
def gan_nets(pixels, z=12):
    G = nn.Sequential(
        nn.Linear(z, 96),
        nn.BatchNorm1d(96),
        nn.ReLU(),
        nn.Linear(96, 96),
        nn.ReLU(),
        nn.Linear(96, pixels),
        nn.Tanh(),
    )
    D = nn.Sequential(
        nn.Linear(pixels, 96), nn.LeakyReLU(0.2), nn.Linear(96, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
    )
    return G, D


def mean_gap(fake, real):
    return (fake.mean(0) - real.mean(0)).abs().mean().item(), (
        fake.std(0) - real.std(0)
    ).abs().mean().item()


def digits_gan(mistake: bool) -> None:
    """If mistake, the discriminator's loss goes back into the generator (no detach), whose own step then uses both gradients."""
    torch.manual_seed(27)
    xt, yt, _, _ = common.digits(flat=True)
    real_all = (xt * 2 - 1)[yt <= 1]
    loader = DataLoader(TensorDataset(real_all), batch_size=28, shuffle=True, drop_last=True)
    G, D = gan_nets(64)
    opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    for epoch in range(90):
        for (real,) in loader:
            ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            opt_g.zero_grad()
            opt_d.zero_grad()
            fake = G(torch.randn(len(real), 12))
            if mistake:
                loss_d = bce(D(real), ones) + bce(D(fake), zeros)
                loss_d.backward(retain_graph=True)
            else:
                loss_d = bce(D(real), ones) + bce(D(fake.detach()), zeros)
                loss_d.backward()
            opt_d.step()
            loss_g = bce(D(fake), ones)
            loss_g.backward()
            opt_g.step()
        if epoch % 6 == 5:
            with torch.no_grad():
                gap = mean_gap(G(torch.randn(300, 12)), real_all)
            print(
                f"epoch {epoch + 1} D {loss_d.item():.3f} G {loss_g.item():.3f} gap of means {gap[0]:.3f} of stds {gap[1]:.3f}"
            )


FAULTS = [
    (regression_heavy_tails, ("clip", "before backward", "max_norm"), "19 clipping before backward"),
    (
        digits_amp_clipped,
        ("unscale", "scaled gradient", "clip", "scaler", "scale factor"),
        "20 clipping before unscaling",
    ),
    (
        digits_accumulation_undivided,
        ("accumul", "divid", "not averaged", "sum of", "times larger", "8 batches"),
        "21 accumulation not divided",
    ),
    (
        digits_accumulation_rest,
        (
            "remain",
            "incomplete",
            "dropped",
            "thrown away",
            "last batches",
            "discard",
            "leftover",
            "never used",
            "left over",
            "without a step",
        ),
        "22 accumulation: the remainder dropped",
    ),
    (
        finetune_two_phases,
        (
            "validation data",
            "trains on val",
            "training on val",
            "held-out",
            "validation set",
            "validation batch",
            "val data",
            "evaluation data",
        ),
        "23 training on validation data",
    ),
    (
        cancer_functional_dropout,
        ("dropout", "training=", "random in eval", "stochastic"),
        "24 validation with dropout on",
    ),
    (digits_ema, ("ema", "average", "stale", "shadow"), "25 EMA of stale parameters"),
    (
        textures_distillation,
        ("teacher", "detach", "no_grad", "target network"),
        "26 teacher not detached",
    ),
    (
        digits_gan,
        ("detach", "generator", "discriminator's loss", "retain_graph", "into g", "both losses"),
        "27 GAN: discriminator's loss without detach",
    ),
]
