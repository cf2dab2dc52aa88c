"""01 to 12."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    AverageMeter,
    BasicBlock,
    SmallUNet,
    TabNet,
    TinyResNet,
    TinyViT,
    accuracy,
    color16,
    color16_ds,
    corpus,
    digits,
    load_series,
    sales,
    seed_all,
    shapes_seg,
)


# 01 ---------------------------------------------------------------------------------------------
def resnet_timm_accum_branch(mistake: bool) -> None:
    """The gradients are never reset when accum_steps is 1: only the accumulation branch calls zero_grad."""
    seed_all(0)
    args = SimpleNamespace(
        epochs=6, batch_size=64, lr=0.05, momentum=0.9, weight_decay=5e-4, accum_steps=1
    )
    train_ds, val_ds = color16_ds()
    train_loader = DataLoader(train_ds, args.batch_size, shuffle=True)
    val_loader = DataLoader(val_ds, 128)
    model = TinyResNet(width=8)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay
    )
    criterion = nn.CrossEntropyLoss()

    def train_one_epoch(epoch):
        model.train()
        losses = AverageMeter()
        for i, (images, target) in enumerate(train_loader):
            loss = criterion(model(images), target) / args.accum_steps
            loss.backward()
            if args.accum_steps > 1:
                if (i + 1) % args.accum_steps == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            else:
                optimizer.step()
                if not mistake:
                    optimizer.zero_grad()
            losses.update(loss.item() * args.accum_steps, len(images))
        return losses.avg

    for epoch in range(args.epochs):
        tr = train_one_epoch(epoch)
        acc = accuracy(model, val_loader)
        print(f"epoch {epoch}: train loss {tr:.3f}  val acc {acc:.3f}")


# 02 ---------------------------------------------------------------------------------------------
class Callback:
    def before_batch(self, learn):
        pass

    def after_backward(self, learn):
        pass

    def after_step(self, learn):
        pass

    def after_epoch(self, learn):
        pass


class ZeroGradAfterBackward(Callback):
    def after_backward(self, learn):
        learn.opt.zero_grad()


class ZeroGradAfterStep(Callback):
    def after_step(self, learn):
        learn.opt.zero_grad()


class Recorder(Callback):
    def __init__(self):
        self.losses = []

    def after_step(self, learn):
        self.losses.append(learn.loss.item())


class Learner:
    def __init__(self, model, dl, loss_func, opt, cbs):
        self.model, self.dl, self.loss_func, self.opt, self.cbs = model, dl, loss_func, opt, cbs

    def __call__(self, name):
        for cb in self.cbs:
            getattr(cb, name)(self)

    def fit(self, epochs):
        for self.epoch in range(epochs):
            self.model.train()
            for *self.xb, self.yb in self.dl:
                self("before_batch")
                self.loss = self.loss_func(self.model(*self.xb), self.yb)
                self.loss.backward()
                self("after_backward")
                self.opt.step()
                self("after_step")
            self("after_epoch")


def fastai_zero_grad_callback(mistake: bool) -> None:
    """The zero_grad callback is hooked on after_backward, so the gradients are wiped before optimizer.step()."""
    seed_all(1)
    cat, num, y = sales(2400)
    dl = DataLoader(TensorDataset(cat, num, y[:, None]), 64, shuffle=True)
    model = TabNet()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rec = Recorder()
    zg = ZeroGradAfterBackward() if mistake else ZeroGradAfterStep()
    learn = Learner(model, dl, nn.MSELoss(), opt, [zg, rec])
    learn.fit(6)
    print(f"mse first {sum(rec.losses[:20]) / 20:.3f} last {sum(rec.losses[-20:]) / 20:.3f}")


# 03 ---------------------------------------------------------------------------------------------
def vit_backbone_head_optimizers(mistake: bool) -> None:
    """Backbone and head have their own optimizers; only the head's is zeroed (twice, by copy and paste)."""
    seed_all(2)
    train_ds, val_ds = color16_ds()
    train_loader, val_loader = DataLoader(train_ds, 64, shuffle=True), DataLoader(val_ds, 256)
    model = TinyViT()
    head_params = list(model.head.parameters())
    ids = {id(p) for p in head_params}
    body_params = [p for p in model.parameters() if id(p) not in ids]
    opt_body = torch.optim.AdamW(body_params, lr=2e-3, weight_decay=0.01)
    opt_head = torch.optim.SGD(head_params, lr=0.1, momentum=0.9)
    for epoch in range(8):
        model.train()
        tot = 0.0
        for x, y in train_loader:
            if mistake:
                opt_head.zero_grad()
                opt_head.zero_grad()
            else:
                opt_body.zero_grad()
                opt_head.zero_grad()
            loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
            loss.backward()
            opt_body.step()
            opt_head.step()
            tot += loss.item() * len(x)
        print(f"[{epoch}] loss {tot / len(train_ds):.3f} acc {accuracy(model, val_loader):.3f}")


# 04 ---------------------------------------------------------------------------------------------
@dataclass
class SegConfig:
    epochs: int = 10
    batch_size: int = 16
    lr: float = 3e-3
    accumulate: int = 2


def unet_accumulate_default(mistake: bool) -> None:
    """accumulate=64 exceeds the 25 batches of an epoch and the counter restarts each epoch: step() is never reached."""
    seed_all(3)
    cfg = SegConfig(accumulate=64) if mistake else SegConfig()
    x, m = shapes_seg(400)
    xv, mv = shapes_seg(80, seed=9)
    loader = DataLoader(TensorDataset(x, m), cfg.batch_size, shuffle=True, drop_last=True)
    net = SmallUNet(bn=False)
    opt = torch.optim.Adam(net.parameters(), lr=cfg.lr)

    def dice(a, b):
        a = (a > 0).float()
        return (2 * (a * b).sum() / (a.sum() + b.sum() + 1e-6)).item()

    for epoch in range(cfg.epochs):
        net.train()
        opt.zero_grad()
        running = 0.0
        for i, (xb, mb) in enumerate(loader):
            loss = F.binary_cross_entropy_with_logits(net(xb), mb)
            (loss / cfg.accumulate).backward()
            running += loss.item()
            if (i + 1) % cfg.accumulate == 0 or (cfg.accumulate < len(loader) and i + 1 == len(loader)):
                opt.step()
                opt.zero_grad()
        net.eval()
        with torch.no_grad():
            d = dice(net(xv), mv)
        print(f"epoch {epoch} loss {running / len(loader):.4f} dice {d:.3f}")


# 05 ---------------------------------------------------------------------------------------------
class ForecastModule(nn.Module):
    def __init__(self, lr=0.12, step_in_hook=False):
        super().__init__()
        self.rnn = nn.GRU(1, 32, batch_first=True)
        self.fc = nn.Linear(32, 1)
        self.lr, self.step_in_hook = lr, step_in_hook

    def forward(self, x):
        return self.fc(self.rnn(x)[0][:, -1]).squeeze(-1)

    def training_step(self, batch, idx):
        x, y = batch
        return F.mse_loss(self(x), y)

    def configure_optimizers(self):
        self.opt = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        return self.opt

    def on_after_backward(self):
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        if self.step_in_hook:
            self.opt.step()


class MiniTrainer:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def fit(self, module, loader, val):
        opt = module.configure_optimizers()
        for epoch in range(self.max_epochs):
            module.train()
            total = 0.0
            for i, batch in enumerate(loader):
                opt.zero_grad()
                loss = module.training_step(batch, i)
                loss.backward()
                module.on_after_backward()
                opt.step()
                total += loss.item()
            module.eval()
            with torch.no_grad():
                v = F.mse_loss(module(val[0]), val[1]).item()
            print(f"epoch {epoch} train {total / len(loader):.4f} val {v:.4f}")


def lightning_like_double_step(mistake: bool) -> None:
    """The module's on_after_backward steps the optimizer and the trainer steps again: two updates per batch."""
    seed_all(4)
    x, y = load_series(1500)
    loader = DataLoader(TensorDataset(x[:1200], y[:1200]), 50, shuffle=True)
    MiniTrainer(6).fit(ForecastModule(step_in_hook=mistake), loader, (x[1200:], y[1200:]))


# 06 ---------------------------------------------------------------------------------------------
def multitask_backward_first_loss(mistake: bool) -> None:
    """After adding the second task, backward is still called on the classification loss and not on the total."""
    seed_all(5)
    x, y, xv, yv = color16()
    ink, inkv = x.mean((1, 2, 3)), xv.mean((1, 2, 3))
    mu, sd = ink.mean(), ink.std()
    ink, inkv = (ink - mu) / sd, (inkv - mu) / sd
    loader = DataLoader(TensorDataset(x, y, ink), 64, shuffle=True)
    body = TinyResNet(width=8)
    body.fc = nn.Identity()
    cls_head, reg_head = nn.Linear(16, 10), nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    params = [*body.parameters(), *cls_head.parameters(), *reg_head.parameters()]
    opt = torch.optim.AdamW(params, lr=5e-3)
    for epoch in range(6):
        body.train()
        tot = 0.0
        for xb, yb, ib in loader:
            f = body(xb)
            loss = F.cross_entropy(cls_head(f), yb)
            loss_ink = F.smooth_l1_loss(reg_head(f).squeeze(1), ib)
            total_loss = loss + 0.5 * loss_ink
            opt.zero_grad()
            if mistake:
                loss.backward()
            else:
                total_loss.backward()
            opt.step()
            tot += total_loss.item()
        body.eval()
        with torch.no_grad():
            f = body(xv)
            acc = (cls_head(f).argmax(1) == yv).float().mean().item()
            mae = (reg_head(f).squeeze(1) - inkv).abs().mean().item()
        print(f"epoch {epoch} total {tot / len(loader):.3f} acc {acc:.3f} ink mae {mae:.3f}")


# 07 ---------------------------------------------------------------------------------------------
class FineTuner:
    def __init__(self, model, lr=1e-3):
        self.model = model
        self.lr = lr
        self.optimizer = self.make_optimizer()

    def make_optimizer(self):
        return torch.optim.Adam(self.model.parameters(), lr=self.lr)

    def set_num_classes(self, n, rebuild_optimizer):
        self.model.fc = nn.Linear(self.model.num_features, n)
        self.model.layer2 = BasicBlock(self.model.num_features // 2, self.model.num_features, 2)
        if rebuild_optimizer:
            self.optimizer = self.make_optimizer()

    def fit(self, loader, epochs):
        for ep in range(epochs):
            self.model.train()
            s = 0.0
            for x, y in loader:
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                s += loss.item()
            print(f"  epoch {ep} loss {s / len(loader):.3f}")


def finetuner_new_head(mistake: bool) -> None:
    """set_num_classes() replaces head and last block after the optimizer was made: it goes on with the old parameters."""
    seed_all(6)
    x, y, xv, yv = color16()
    low = y < 5
    ft = FineTuner(TinyResNet(num_classes=5), lr=3e-3)
    ft.fit(DataLoader(TensorDataset(x[low], y[low]), 64, shuffle=True), 2)
    ft.set_num_classes(10, rebuild_optimizer=not mistake)
    ft.fit(DataLoader(TensorDataset(x, y), 64, shuffle=True), 6)
    print("val acc", accuracy(ft.model, DataLoader(TensorDataset(xv, yv), 128)))


# 08 ---------------------------------------------------------------------------------------------
def get_optimizer(model, lr):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.95, nesterov=True)


def tcn_optimizer_per_call(mistake: bool) -> None:
    """train_batch() builds a new optimizer for the step's learning rate, so momentum never builds up."""
    seed_all(7)
    x, y = load_series(1500)
    xt, yt, xv, yv = x[:1200], y[:1200], x[1200:], y[1200:]
    net = nn.Sequential(
        nn.Conv1d(1, 16, 3, dilation=1),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, dilation=2),
        nn.ReLU(),
        nn.Conv1d(16, 16, 3, dilation=4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 10, 1),
    )
    total_steps, base_lr = 240, 0.004

    def lr_at(step):
        return base_lr * min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / total_steps))

    shared = get_optimizer(net, base_lr)

    def train_batch(xb, yb, step):
        if mistake:
            optimizer = get_optimizer(net, lr_at(step))
        else:
            optimizer = shared
            for g in optimizer.param_groups:
                g["lr"] = lr_at(step)
        optimizer.zero_grad()
        loss = F.mse_loss(net(xb.transpose(1, 2)).squeeze(1), yb)
        loss.backward()
        optimizer.step()
        return loss.item()

    gen = torch.Generator().manual_seed(0)
    for step in range(total_steps):
        idx = torch.randint(0, len(xt), (32,), generator=gen)
        l = train_batch(xt[idx], yt[idx], step)
        if step % 60 == 59 or step == 0:
            with torch.no_grad():
                v = F.mse_loss(net(xv.transpose(1, 2)).squeeze(1), yv).item()
            print(f"step {step} loss {l:.4f} val {v:.4f}")


# 09 ---------------------------------------------------------------------------------------------
def progressive_epochs_setup(mistake: bool) -> None:
    """setup() is called at the start of every epoch to get the epoch's lr, and with it makes a new model each time."""
    seed_all(8)
    cfg = SimpleNamespace(epochs=10, bs=64, lr=2e-3, decay=0.85, width=64)
    x, y, xv, yv = digits()
    loader = DataLoader(TensorDataset(x, y), cfg.bs, shuffle=True)
    vloader = DataLoader(TensorDataset(xv, yv), 128)

    def setup(cfg, epoch):
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, cfg.width),
            nn.ReLU(),
            nn.Linear(cfg.width, 10),
        )
        opt = torch.optim.Adam(net.parameters(), lr=cfg.lr * cfg.decay**epoch)
        return net, opt

    def train_epoch(net, opt):
        net.train()
        m = AverageMeter()
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            m.update(loss.item(), len(xb))
        return m.avg

    net, opt = setup(cfg, 0)
    for epoch in range(cfg.epochs):
        if mistake:
            net, opt = setup(cfg, epoch)
        else:
            opt.param_groups[0]["lr"] = cfg.lr * cfg.decay**epoch
        print(f"{epoch:02d} train {train_epoch(net, opt):.3f} val acc {accuracy(net, vloader):.3f}")


# 10 ---------------------------------------------------------------------------------------------
def step_based_midepoch_validation(mistake: bool) -> None:
    """validate() runs every 30 steps and leaves the model in eval mode; train() is called only once, at the start."""
    seed_all(9)
    xtr, ytr, xv, yv = digits(500)
    loader = DataLoader(TensorDataset(xtr, ytr), 32, shuffle=True, drop_last=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(64, 10),
    )
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)

    @torch.no_grad()
    def validate():
        model.eval()
        out = model(xv)
        res = F.cross_entropy(out, yv).item(), (out.argmax(1) == yv).float().mean().item()
        if not mistake:
            model.train()
        return res

    model.train()
    step, max_steps = 0, 300
    while step < max_steps:
        for xb, yb in loader:
            opt.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            step += 1
            if step % 30 == 0:
                vl, va = validate()
                print(f"step {step} loss {loss.item():.3f} val {vl:.3f} acc {va:.3f}")
            if step >= max_steps:
                break


# 11 ---------------------------------------------------------------------------------------------
class TwoPhase(nn.Module):
    """Linear probing first, then the backbone too."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(96, 10)
        self.finetune_backbone = False
        self.backbone.requires_grad_(False)

    def unfreeze(self, flag):
        self.backbone.requires_grad_(True)
        self.finetune_backbone = flag

    def forward(self, x):
        with torch.set_grad_enabled(self.finetune_backbone and torch.is_grad_enabled()):
            f = self.backbone(x)
        return self.head(f)


def two_phase_unfreeze(mistake: bool) -> None:
    """unfreeze() sets requires_grad but not the flag: the backbone still runs without gradients in the second phase."""
    seed_all(10)
    tr, va = color16_ds()
    loader, vloader = DataLoader(tr, 64, shuffle=True), DataLoader(va, 256)
    model = TwoPhase()

    def run(epochs, lr):
        opt = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
        for e in range(epochs):
            model.train()
            s = 0.0
            for x, y in loader:
                opt.zero_grad()
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
                s += loss.item()
            print(f"  {e} loss {s / len(loader):.3f} acc {accuracy(model, vloader):.3f}")

    run(1, 5e-3)
    model.unfreeze(flag=not mistake)
    print("phase 2, trainable:", sum(p.numel() for p in model.parameters() if p.requires_grad))
    run(9, 3e-3)


# 12 ---------------------------------------------------------------------------------------------
class CharGRU(nn.Module):
    def __init__(self, v, d=24, h=64):
        super().__init__()
        self.emb, self.rnn, self.out = (
            nn.Embedding(v, d),
            nn.GRU(d, h, batch_first=True),
            nn.Linear(h, v),
        )

    def forward(self, x, h=None):
        o, h = self.rnn(self.emb(x), h)
        return self.out(o), h


def char_model_reseeded_batches(mistake: bool) -> None:
    """get_batch() seeds its generator anew at each call, so each step draws the same windows of the text."""
    seed_all(11)
    cfg = SimpleNamespace(seed=1337, block=32, bs=24, steps=180, lr=5e-3)
    ids, v = corpus()
    n = int(0.9 * len(ids))
    splits = {"train": ids[:n], "val": ids[n:]}
    shared = torch.Generator().manual_seed(cfg.seed)

    def get_batch(split):
        data = splits[split]
        gen = torch.Generator().manual_seed(cfg.seed) if mistake else shared
        ix = torch.randint(len(data) - cfg.block - 1, (cfg.bs,), generator=gen)
        x = torch.stack([data[i : i + cfg.block] for i in ix])
        y = torch.stack([data[i + 1 : i + 1 + cfg.block] for i in ix])
        return x, y

    model = CharGRU(v)
    opt = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    for step in range(cfg.steps):
        x, y = get_batch("train")
        logits, _ = model(x)
        loss = F.cross_entropy(logits.reshape(-1, v), y.reshape(-1))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if step % 30 == 29:
            with torch.no_grad():
                xv, yv = get_batch("val")
                vl = F.cross_entropy(model(xv)[0].reshape(-1, v), yv.reshape(-1))
            print(f"step {step}: train {loss.item():.3f} val {vl.item():.3f}")


FAULTS = [
    (
        resnet_timm_accum_branch,
        ("zero_grad", "accumulat", "not reset", "never reset", "not cleared", "earlier"),
        "01 zero_grad missing",
    ),
    (
        fastai_zero_grad_callback,
        (
            "zero_grad",
            "between backward",
            "wiped",
            "before optimizer.step",
            "before the step",
            "cleared",
            "erase",
        ),
        "02 zero_grad between backward and step",
    ),
    (
        vit_backbone_head_optimizers,
        ("zero_grad", "only one", "accumulat", "not reset", "never reset", "not cleared"),
        "03 one of several optimizers reset",
    ),
    (
        unet_accumulate_default,
        (
            ".step",
            "step()",
            "never step",
            "no step",
            "do not change",
            "never change",
            "not updated",
            "never updated",
        ),
        "04 step never reached",
    ),
    (
        lightning_like_double_step,
        (
            "two steps",
            "twice",
            "second step",
            "2 steps",
            "steps per",
            "double",
            "without a new backward",
            "more than one",
        ),
        "05 two steps per batch",
    ),
    (
        multitask_backward_first_loss,
        (
            "wrong loss",
            "total",
            "not in the graph",
            "no gradient",
            "other loss",
            "one of the losses",
            "not trained",
            "never receive",
            "sum of",
        ),
        "06 backward on the wrong loss",
    ),
    (
        finetuner_new_head,
        (
            "stale",
            "old param",
            "not in the optimizer",
            "no longer",
            "replaced",
            "does not hold",
            "re-created",
            "not held",
            "no optimizer",
        ),
        "07 stale optimizer",
    ),
    (
        tcn_optimizer_per_call,
        (
            "new optimizer",
            "optimizer is re-created",
            "re-created",
            "recreated",
            "momentum",
            "optimizer state",
            "every step",
        ),
        "08 optimizer re-created each step",
    ),
    (
        progressive_epochs_setup,
        (
            "new model",
            "model is re-created",
            "re-created",
            "recreated",
            "from scratch",
            "starts again",
            "re-initial",
            "anew",
        ),
        "09 model re-created each epoch",
    ),
    (
        step_based_midepoch_validation,
        ("eval", "train()", "train mode", "training mode"),
        "10 stuck in eval",
    ),
    (
        two_phase_unfreeze,
        (
            "no_grad",
            "no grad",
            "without grad",
            "set_grad_enabled",
            "never receive",
            "requires_grad",
            "not trained",
            "gradients disabled",
        ),
        "11 part under no_grad",
    ),
    (
        char_model_reseeded_batches,
        (
            "sees the same",
            "same batch",
            "same data",
            "identical batch",
            "same input",
            "repeated",
            "again and again",
            "one batch",
        ),
        "12 same batch",
    ),
]
