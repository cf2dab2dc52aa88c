"""13 to 24."""

import math
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    AverageMeter,
    SmallUNet,
    TabNet,
    TinyResNet,
    TinyViT,
    accuracy,
    cancer,
    color16_ds,
    corpus,
    digits,
    digits_ds,
    load_series,
    sales,
    seed_all,
    shapes_seg,
)


# 13 ---------------------------------------------------------------------------------------------
def semi_supervised_labeled_iterator(mistake: bool) -> None:
    """next(iter(labeled_loader)) makes a new iterator at each step, so only the first labeled batch is ever used."""
    seed_all(20)
    x, y, xv, yv = digits()
    lab = DataLoader(TensorDataset(x[:320], y[:320]), 32)
    unl = DataLoader(TensorDataset(x[320:]), 64, shuffle=True, drop_last=True)
    vloader = DataLoader(TensorDataset(xv, yv), 256)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    labeled_iter = iter(lab)
    for epoch in range(15):
        net.train()
        for (u,) in unl:
            if mistake:
                xl, yl = next(iter(lab))
            else:
                try:
                    xl, yl = next(labeled_iter)
                except StopIteration:
                    labeled_iter = iter(lab)
                    xl, yl = next(labeled_iter)
            sup = F.cross_entropy(net(xl), yl)
            with torch.no_grad():
                target = net(u).softmax(1)
            cons = F.mse_loss(net(u + 0.1 * torch.randn_like(u)).softmax(1), target)
            loss = sup + 0.5 * cons
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 3 == 2:
            print(
                f"epoch {epoch} sup {sup.item():.3f} cons {cons.item():.4f} acc {accuracy(net, vloader):.3f}"
            )


# 14 ---------------------------------------------------------------------------------------------
class Prefetcher:
    """Holds one batch ahead."""

    def __init__(self, loader, late_labels):
        self.loader, self.late_labels = loader, late_labels

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        it = iter(self.loader)
        next_images, next_labels = next(it)
        labels = next_labels
        for batch in it:
            images = next_images
            if not self.late_labels:
                labels = next_labels
            next_images = batch[0]
            yield images, labels
            labels = next_labels
            next_labels = batch[1]
        yield next_images, (labels if self.late_labels else next_labels)


def prefetcher_label_lag(mistake: bool) -> None:
    """The prefetcher hands out the images of a batch with the labels of the batch before it."""
    seed_all(21)
    train_ds, val_ds = color16_ds(1408)
    loader = Prefetcher(DataLoader(train_ds, 64, shuffle=True, drop_last=True), late_labels=mistake)
    val_loader = DataLoader(val_ds, 128)
    model = TinyResNet(width=8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    for epoch in range(6):
        model.train()
        meter = AverageMeter()
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(images))
        scheduler.step()
        print(f"epoch {epoch} loss {meter.avg:.3f} acc {accuracy(model, val_loader):.3f}")


# 15 ---------------------------------------------------------------------------------------------
class Meters:
    def __init__(self):
        self.sums, self.counts = {}, {}

    def update(self, n, **values):
        for k, v in values.items():
            self.sums[k] = self.sums.get(k, 0) + v * n
            self.counts[k] = self.counts.get(k, 0) + n

    def mean(self, k):
        return float(self.sums[k] / self.counts[k])


def unet_meters_keep_graph(mistake: bool) -> None:
    """The meters sum up the loss tensors themselves, so the graphs of all batches stay alive through the sum."""
    seed_all(22)
    x, m = shapes_seg(384)
    loader = DataLoader(TensorDataset(x, m), 24, shuffle=True)
    net = SmallUNet()
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    meters = Meters()

    def dice_loss(logits, t):
        p = logits.sigmoid()
        return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    for epoch in range(8):
        net.train()
        for xb, mb in loader:
            logits = net(xb)
            bce, dl = F.binary_cross_entropy_with_logits(logits, mb), dice_loss(logits, mb)
            loss = bce + dl
            opt.zero_grad()
            loss.backward()
            opt.step()
            if mistake:
                meters.update(len(xb), loss=loss, bce=bce, dice=dl)
            else:
                meters.update(len(xb), loss=loss.item(), bce=bce.item(), dice=dl.item())
        print(
            f"epoch {epoch} so far: loss {meters.mean('loss'):.3f} bce {meters.mean('bce'):.3f} dice {meters.mean('dice'):.3f} last {loss.item():.3f}"
        )


# 16 ---------------------------------------------------------------------------------------------
def vit_steplr_inside_epoch(mistake: bool) -> None:
    """StepLR(step_size=3 epochs) is handed to train_one_epoch and stepped there for each batch."""
    seed_all(23)
    args = SimpleNamespace(epochs=9, lr=2e-3, decay_epochs=3, decay_rate=0.3)
    tr, va = color16_ds()
    loader, vloader = DataLoader(tr, 64, shuffle=True), DataLoader(va, 256)
    model = TinyViT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    lr_scheduler = torch.optim.lr_scheduler.StepLR(optimizer, args.decay_epochs, args.decay_rate)

    def train_one_epoch(model, loader, optimizer, lr_scheduler=None):
        model.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if lr_scheduler is not None:
                lr_scheduler.step()
            total += loss.item()
        return total / len(loader)

    for epoch in range(args.epochs):
        if mistake:
            tl = train_one_epoch(model, loader, optimizer, lr_scheduler)
        else:
            tl = train_one_epoch(model, loader, optimizer)
            lr_scheduler.step()
        print(
            f"epoch {epoch} lr {optimizer.param_groups[0]['lr']:.1e} loss {tl:.3f} acc {accuracy(model, vloader):.3f}"
        )


# 17 ---------------------------------------------------------------------------------------------
def epoch_start_scheduler(mistake: bool) -> None:
    """scheduler.step() is the first line of the epoch, as in old tutorials: the initial lr is never used."""
    seed_all(24)
    x, y, xv, yv = cancer()
    loader = DataLoader(TensorDataset(x, y.float()), 32, shuffle=True)
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.6)
    for epoch in range(8):
        if mistake:
            scheduler.step()
        net.train()
        running = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(net(xb).squeeze(1), yb)
            loss.backward()
            optimizer.step()
            running += loss.item()
        if not mistake:
            scheduler.step()
        net.eval()
        with torch.no_grad():
            acc = ((net(xv).squeeze(1) > 0).long() == yv).float().mean().item()
        print(f"epoch {epoch + 1}/8 loss {running / len(loader):.4f} val acc {acc:.3f}")


# 18 ---------------------------------------------------------------------------------------------
def tabular_grad_clip_zero(mistake: bool) -> None:
    """grad_clip=0.0 was meant as 'off', but the check is `is not None`: the gradients are clipped to norm 0."""
    seed_all(25)
    cfg = SimpleNamespace(lr=3e-3, bs=64, epochs=6, grad_clip=0.0, wd=1e-3)
    cat, num, y = sales(2400, seed=3)
    loader = DataLoader(TensorDataset(cat[:2000], num[:2000], y[:2000]), cfg.bs, shuffle=True)
    net = TabNet(p=0.1)
    opt = torch.optim.AdamW(net.parameters(), lr=cfg.lr, weight_decay=cfg.wd)
    for epoch in range(cfg.epochs):
        net.train()
        s = 0.0
        for c, n, t in loader:
            loss = F.mse_loss(net(c, n).squeeze(1), t)
            opt.zero_grad()
            loss.backward()
            clip = cfg.grad_clip is not None if mistake else bool(cfg.grad_clip)
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), cfg.grad_clip)
            opt.step()
            s += loss.item()
        net.eval()
        with torch.no_grad():
            v = F.mse_loss(net(cat[2000:], num[2000:]).squeeze(1), y[2000:]).item()
        print(
            f"epoch {epoch}: train {s / len(loader):.3f} val {v:.3f} (var {y[2000:].var().item():.2f})"
        )


# 19 ---------------------------------------------------------------------------------------------
class CharLSTM(nn.Module):
    def __init__(self, v, h=64):
        super().__init__()
        self.emb, self.rnn, self.out = (
            nn.Embedding(v, 24),
            nn.LSTM(24, h, batch_first=True),
            nn.Linear(h, v),
        )

    def forward(self, x, state=None):
        o, state = self.rnn(self.emb(x), state)
        return self.out(o), state


def char_lstm_clip_early(mistake: bool) -> None:
    """clip_grad_norm_ stands before loss.backward(), where there is no gradient yet: nothing is ever clipped."""
    seed_all(26)
    ids, v = corpus()
    bs, bptt, lr, clip = 16, 24, 30.0, 0.25
    data = ids[: len(ids) // bs * bs].view(bs, -1)
    model = CharLSTM(v)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch in range(8):
        state, total, k = None, 0.0, 0
        model.train()
        for i in range(0, data.size(1) - 1 - bptt, bptt):
            x, y = data[:, i : i + bptt], data[:, i + 1 : i + 1 + bptt]
            if state is not None:
                state = tuple(s.detach() for s in state)
            logits, state = model(x, state)
            loss = F.cross_entropy(logits.reshape(-1, v), y.reshape(-1))
            optimizer.zero_grad()
            if mistake:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
                loss.backward()
            else:
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total += loss.item()
            k += 1
        print(
            f"| epoch {epoch} | {k} steps | loss {total / k:.3f} | ppl {math.exp(min(20, total / k)):.2f}"
        )


# 20 ---------------------------------------------------------------------------------------------
class AmpTrainer:
    def __init__(self, model, optimizer, max_norm=1.0, unscale_first=True):
        self.model, self.optimizer, self.max_norm = model, optimizer, max_norm
        self.unscale_first = unscale_first
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)

    def train_step(self, x, y):
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(self.model(x), y)
        self.scaler.scale(loss).backward()
        if self.unscale_first:
            self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def fit(self, loader, val_loader, epochs):
        for e in range(epochs):
            s = sum(self.train_step(x, y) for x, y in loader)
            print(f"epoch {e} loss {s / len(loader):.3f} acc {accuracy(self.model, val_loader):.3f}")


def amp_trainer_clip_scaled(mistake: bool) -> None:
    """The gradients are clipped while they still carry the scale of the GradScaler: unscale_ was left out."""
    seed_all(27)
    tr, va = digits_ds()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    AmpTrainer(model, opt, unscale_first=not mistake).fit(
        DataLoader(tr, 64, shuffle=True), DataLoader(va, 256), 6
    )


# 21 ---------------------------------------------------------------------------------------------
def accumulation_fp32_branch(mistake: bool) -> None:
    """Only the autocast branch divides the loss by accum_iter; in fp32 the 8 micro-batches' gradients are summed."""
    seed_all(28)
    args = SimpleNamespace(amp=False, accum_iter=8, epochs=14, bs=16, lr=0.25)
    tr, va = color16_ds(1408)
    loader, vloader = DataLoader(tr, args.bs, shuffle=True, drop_last=True), DataLoader(va, 256)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 10),
    )
    opt = torch.optim.SGD(model.parameters(), lr=args.lr)

    def forward_loss(x, y):
        if args.amp:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                ce = F.cross_entropy(model(x), y)
                return ce, ce / args.accum_iter
        ce = F.cross_entropy(model(x), y)
        return ce, (ce if mistake else ce / args.accum_iter)

    for epoch in range(args.epochs):
        model.train()
        opt.zero_grad()
        shown = 0.0
        for it, (x, y) in enumerate(loader):
            ce, loss = forward_loss(x, y)
            loss.backward()
            shown += ce.item()
            if (it + 1) % args.accum_iter == 0:
                opt.step()
                opt.zero_grad()
        print(f"epoch {epoch} loss {shown / len(loader):.3f} acc {accuracy(model, vloader):.3f}")


# 22 ---------------------------------------------------------------------------------------------
def gru_accumulation_tail(mistake: bool) -> None:
    """13 batches an epoch, accumulated by 8: the gradients of the last 5 are thrown away by the zero_grad of the next epoch."""
    seed_all(29)
    x, y = load_series(1300, window=12)
    loader = DataLoader(TensorDataset(x, y), 100)
    rnn, fc = nn.GRU(1, 16, batch_first=True), nn.Linear(16, 1)
    params = [*rnn.parameters(), *fc.parameters()]
    opt = torch.optim.Adam(params, lr=6e-3)
    accum = 8
    n_batches = len(loader)
    for epoch in range(60):
        opt.zero_grad()
        total = 0.0
        for i, (xb, yb) in enumerate(loader):
            pred = fc(rnn(xb)[0][:, -1]).squeeze(1)
            loss = F.mse_loss(pred, yb)
            in_window = accum if i < n_batches // accum * accum else n_batches % accum
            (loss / in_window).backward()
            total += loss.item()
            last = i + 1 == n_batches and not mistake
            if (i + 1) % accum == 0 or last:
                opt.step()
                opt.zero_grad()
        if epoch % 10 == 9:
            print(f"epoch {epoch} mse {total / n_batches:.4f}")


# 23 ---------------------------------------------------------------------------------------------
def run_epoch_with_optimizer(mistake: bool) -> None:
    """run_epoch() trains whenever it is given an optimizer, and the validation call passes one, too."""
    seed_all(30)
    cat, num, y = sales(1800, seed=5, noise=1.0)
    train_ds = TensorDataset(cat[:1200], num[:1200], y[:1200])
    val_ds = TensorDataset(cat[1200:], num[1200:], y[1200:])
    train_loader, val_loader = DataLoader(train_ds, 32, shuffle=True), DataLoader(val_ds, 32)
    net = TabNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def run_epoch(loader, optimizer=None):
        training = optimizer is not None
        net.train(training)
        total = n = 0
        with torch.set_grad_enabled(training):
            for c, x, t in loader:
                loss = F.mse_loss(net(c, x).squeeze(1), t)
                if training:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                total += loss.item() * len(t)
                n += len(t)
        return total / n

    for epoch in range(12):
        tr = run_epoch(train_loader, optimizer)
        va = run_epoch(val_loader, optimizer) if mistake else run_epoch(val_loader)
        print(f"epoch {epoch} train {tr:.3f} val {va:.3f}")


# 24 ---------------------------------------------------------------------------------------------
class DropNet(nn.Module):
    def __init__(self, always):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.f1, self.f2 = nn.Linear(128, 64), nn.Linear(64, 10)
        self.always = always

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.c1(x)), 2)
        x = F.max_pool2d(F.relu(self.c2(x)), 2).flatten(1)
        if self.always:
            x = F.dropout(F.relu(self.f1(x)), 0.5)
        else:
            x = F.dropout(F.relu(self.f1(x)), 0.5, training=self.training)
        return self.f2(x)


def functional_dropout_in_eval(mistake: bool) -> None:
    """F.dropout is called without training=self.training, so it stays on in validation in spite of model.eval()."""
    seed_all(31)
    tr, va = digits_ds()
    loader, val_loader = DataLoader(tr, 64, shuffle=True), DataLoader(va, 128)
    model = DropNet(always=mistake)
    opt = torch.optim.RMSprop(model.parameters(), lr=1e-3)

    def train():
        model.train()
        s = 0.0
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            s += loss.item()
        return s / len(loader)

    def validate():
        model.eval()
        s = c = 0.0
        with torch.no_grad():
            for x, y in val_loader:
                out = model(x)
                s += F.cross_entropy(out, y, reduction="sum").item()
                c += (out.argmax(1) == y).sum().item()
        return s / len(va), c / len(va)

    for epoch in range(10):
        t = train()
        v, a = validate()
        print(f"epoch {epoch} train {t:.3f} val {v:.3f} acc {a:.3f}")


FAULTS = [
    (
        semi_supervised_labeled_iterator,
        ("iter(", "iterator", "restart", "first batch", "same batch", "same data", "again and again"),
        "13 iterator restarted each step",
    ),
    (
        prefetcher_label_lag,
        ("label", "target", "misalign", "previous batch", "shifted", "do not belong"),
        "14 labels of the previous batch",
    ),
    (
        unet_meters_keep_graph,
        ("graph", "detach", ".item()", "memory", "kept alive"),
        "15 loss accumulated with its graph",
    ),
    (
        vit_steplr_inside_epoch,
        ("scheduler", "learning rate", "per batch", "each batch", "lr "),
        "16 scheduler per batch",
    ),
    (
        epoch_start_scheduler,
        ("scheduler", "before the optimizer", "before optimizer", "first learning rate", "initial lr"),
        "17 scheduler before the optimizer",
    ),
    (tabular_grad_clip_zero, ("clip", "norm 0", "max_norm"), "18 clipping to nothing"),
    (char_lstm_clip_early, ("clip", "before backward"), "19 clipping before backward"),
    (
        amp_trainer_clip_scaled,
        ("unscale", "scaled grad", "clip", "gradscaler"),
        "20 clipping before unscaling",
    ),
    (
        accumulation_fp32_branch,
        ("divid", "accumul", "mean of", "times too", "sum of the micro"),
        "21 accumulation not divided",
    ),
    (
        gru_accumulation_tail,
        (
            "remainder",
            "accumul",
            "last batches",
            "tail",
            "thrown away",
            "dropped",
            "left over",
            "leftover",
            "discard",
        ),
        "22 accumulation remainder dropped",
    ),
    (
        run_epoch_with_optimizer,
        ("validation", "val ", "held-out", "leak", "also trained"),
        "23 training on validation data",
    ),
    (
        functional_dropout_in_eval,
        ("dropout", "f.dropout", "random in eval"),
        "24 validation with dropout",
    ),
]
