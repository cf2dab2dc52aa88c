"""Supervised training with uncommon but right recipes."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_classification
from sklearn.metrics import average_precision_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from .common import accuracy, digits_splits, random_shift, seed_everything, small_cnn


def knowledge_distillation() -> None:
    """A teacher is trained, frozen, and a small student learns from temperature-softened logits and hard labels."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    teacher = nn.Sequential(
        nn.Linear(64, 400),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(400, 400),
        nn.ReLU(),
        nn.Linear(400, 10),
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    opt = torch.optim.Adam(teacher.parameters(), lr=1e-3)
    for epoch in range(15):
        teacher.train()
        for xb, yb in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(xb), yb).backward()
            opt.step()
    print(f"teacher {accuracy(teacher, xv, yv):.3f}")

    teacher.eval()
    for p in teacher.parameters():
        p.requires_grad = False
    student = nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    opt = torch.optim.Adam(student.parameters(), lr=5e-3)
    T, alpha = 4.0, 0.7
    for epoch in range(50):
        student.train()
        for xb, yb in loader:
            with torch.no_grad():
                t_logits = teacher(xb)
            s_logits = student(xb)
            soft = (
                F.kl_div(
                    F.log_softmax(s_logits / T, 1), F.softmax(t_logits / T, 1), reduction="batchmean"
                )
                * T
                * T
            )
            hard = F.cross_entropy(s_logits, yb)
            loss = alpha * soft + (1 - alpha) * hard
            opt.zero_grad()
            loss.backward()
            opt.step()
    print(f"loss {loss.item():.3f} student test {accuracy(student, xt, yt):.3f}")


def mixup_cutmix_soft_targets() -> None:
    """Mixup or CutMix at random; the training loss stays high because of the soft targets."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    net = small_cnn()
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True)
    epochs = 20
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 3e-3, total_steps=epochs * len(loader))

    def mix(xb, target):
        lam = float(np.random.beta(0.4, 0.4))
        perm = torch.randperm(len(xb))
        if np.random.rand() < 0.5:
            return lam * xb + (1 - lam) * xb[perm], lam * target + (1 - lam) * target[perm]
        h, w = xb.shape[-2:]
        ch, cw = int(h * math.sqrt(1 - lam)), int(w * math.sqrt(1 - lam))
        top, left = np.random.randint(0, h - ch + 1), np.random.randint(0, w - cw + 1)
        xb = xb.clone()
        xb[:, :, top : top + ch, left : left + cw] = xb[perm, :, top : top + ch, left : left + cw]
        lam = 1 - ch * cw / (h * w)
        return xb, lam * target + (1 - lam) * target[perm]

    for epoch in range(epochs):
        net.train()
        run = 0.0
        for xb, yb in loader:
            target = F.one_hot(yb, 10).float()
            xb, target = mix(xb, target)
            loss = F.cross_entropy(net(xb), target)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            sched.step()
            run += loss.item()
        if epoch % 5 == 4:
            print(
                f"epoch {epoch + 1} mixed loss {run / len(loader):.3f} val {accuracy(net, xv, yv):.3f}"
            )
    print(f"test {accuracy(net, xt, yt):.3f}")


class FocalLoss(nn.Module):
    def __init__(self, alpha=0.75, gamma=2.0):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, logits, target):
        bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        p_t = torch.exp(-bce)
        a_t = self.alpha * target + (1 - self.alpha) * (1 - target)
        return (a_t * (1 - p_t) ** self.gamma * bce).mean()


def focal_loss_rare_positives() -> None:
    """Focal loss on three per cent of positives; small loss values, prior-initialised bias, average precision."""
    seed_everything(0)
    x, y = make_classification(
        15000, 20, n_informative=8, weights=[0.97], flip_y=0.0, class_sep=1.5, random_state=0
    )
    xa, xb, ya, yb = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    sc = StandardScaler().fit(xa)
    xa, xb = (torch.tensor(sc.transform(v), dtype=torch.float32) for v in (xa, xb))
    ya_t = torch.tensor(ya, dtype=torch.float32)
    net = nn.Sequential(
        nn.Linear(20, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1)
    )
    nn.init.constant_(net[-1].bias, -math.log((1 - 0.03) / 0.03))
    opt = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)
    crit = FocalLoss()
    loader = DataLoader(TensorDataset(xa, ya_t), batch_size=128, shuffle=True)
    for epoch in range(13):
        net.train()
        tot = 0.0
        for a, t in loader:
            opt.zero_grad()
            loss = crit(net(a).squeeze(-1), t)
            loss.backward()
            opt.step()
            tot += loss.item() * len(a)
        if epoch % 3 == 0:
            net.eval()
            with torch.no_grad():
                ap = average_precision_score(yb, torch.sigmoid(net(xb)).squeeze(-1).numpy())
            print(f"epoch {epoch} focal {tot / len(xa):.4f} AP {ap:.3f}")


class TabularDataset(Dataset):
    def __init__(self, x, y):
        self.x, self.y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def weighted_sampler_imbalanced() -> None:
    """Training batches balanced by WeightedRandomSampler; the test set keeps its own frequencies."""
    seed_everything(0)
    x, y = make_classification(
        15000,
        16,
        n_informative=10,
        n_classes=3,
        weights=[0.85, 0.1, 0.05],
        class_sep=1.5,
        flip_y=0.01,
        random_state=3,
    )
    xa, xb, ya, yb = train_test_split(x, y, stratify=y, test_size=0.25, random_state=0)
    mean, std = xa.mean(0), xa.std(0)
    train, test = TabularDataset((xa - mean) / std, ya), TabularDataset((xb - mean) / std, yb)
    counts = np.bincount(ya)
    weights = 1.0 / counts[ya]
    sampler = WeightedRandomSampler(torch.as_tensor(weights), num_samples=len(train), replacement=True)
    loader = DataLoader(train, batch_size=64, sampler=sampler)
    test_loader = DataLoader(test, batch_size=512)
    net = nn.Sequential(
        nn.Linear(16, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3)
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    sched = torch.optim.lr_scheduler.MultiStepLR(opt, milestones=[8, 12], gamma=0.2)
    for epoch in range(14):
        net.train()
        for a, b in loader:
            loss = F.cross_entropy(net(a), b, label_smoothing=0.05)
            opt.zero_grad()
            loss.backward()
            opt.step()
        sched.step()
    net.eval()
    preds = []
    with torch.no_grad():
        for a, _ in test_loader:
            preds.append(net(a).argmax(1))
    print(
        f"loss {loss.item():.3f} balanced accuracy {balanced_accuracy_score(yb, torch.cat(preds).numpy()):.3f}"
    )


def freeze_then_unfreeze_layerwise_lr() -> None:
    """Pre-train on digits 0-4, transfer to 5-9: frozen backbone in eval mode, then layer-wise learning rates."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)

    def pick(a, b, low):
        m = (b < 5) if low else (b >= 5)
        return a[m], b[m] % 5

    backbone = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU()),
        nn.Sequential(
            nn.Conv2d(32, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()
        ),
    )

    def run(model, opt, data, epochs, frozen=False):
        loader = DataLoader(TensorDataset(*data), batch_size=32, shuffle=True)
        for _ in range(epochs):
            model.train()
            if frozen:
                model[0].eval()
            for a, b in loader:
                loss = F.cross_entropy(model(a), b)
                opt.zero_grad()
                loss.backward()
                opt.step()
        return loss.item()

    source = nn.Sequential(backbone, nn.Linear(128, 5))
    run(source, torch.optim.Adam(source.parameters(), lr=1e-3), pick(x, y, True), 8)
    print(f"source val {accuracy(source, *pick(xv, yv, True)):.3f}")

    target = nn.Sequential(backbone, nn.Linear(128, 5))
    for p in backbone.parameters():
        p.requires_grad_(False)
    opt = torch.optim.Adam([p for p in target.parameters() if p.requires_grad], lr=3e-3)
    l1 = run(target, opt, pick(x, y, False), 6, frozen=True)
    print(f"head only: loss {l1:.3f} val {accuracy(target, *pick(xv, yv, False)):.3f}")

    for p in backbone.parameters():
        p.requires_grad_(True)
    groups = [{"params": target[1].parameters(), "lr": 1e-3}]
    for depth, stage in enumerate(reversed(list(backbone))):
        groups.append({"params": stage.parameters(), "lr": 1e-3 * 0.5 ** (depth + 1)})
    opt = torch.optim.AdamW(groups, weight_decay=0.01)
    l2 = run(target, opt, pick(x, y, False), 20)
    print(f"fine-tuned: loss {l2:.3f} test {accuracy(target, *pick(xt, yt, False)):.3f}")


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r=4, alpha=8):
        super().__init__()
        self.base = base
        for p in self.base.parameters():
            p.requires_grad = False
        self.A = nn.Parameter(torch.randn(r, base.in_features) / math.sqrt(base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        self.scale = alpha / r

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.A.t()) @ self.B.t()


def lora_on_rotated_digits() -> None:
    """LoRA by hand (B starts at zero): the pretrained net is adapted to rotated digits, base weights frozen."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()

    def rot(z):
        return torch.rot90(z.view(-1, 8, 8), 1, (1, 2)).flatten(1)

    net = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(15):
        for idx in torch.randperm(len(x)).split(64):
            opt.zero_grad()
            F.cross_entropy(net(x[idx]), y[idx]).backward()
            opt.step()
    print(f"base on upright {accuracy(net, xv, yv):.3f} on rotated {accuracy(net, rot(xv), yv):.3f}")
    for i in (0, 2, 4):
        net[i] = LoRALinear(net[i], r=8, alpha=16)
    trainable = [p for p in net.parameters() if p.requires_grad]
    frozen_before = net[0].base.weight.clone()
    opt = torch.optim.AdamW(trainable, lr=1e-3, weight_decay=0.0)
    for epoch in range(60):
        for idx in torch.randperm(len(x)).split(64):
            loss = F.cross_entropy(net(rot(x[idx])), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
    assert torch.equal(frozen_before, net[0].base.weight)
    print(
        f"loss {loss.item():.3f} trainable {sum(p.numel() for p in trainable)} rotated test {accuracy(net, rot(xt), yt):.3f}"
    )


def pgd_adversarial_training() -> None:
    """Madry-style adversarial training: the attack runs in eval mode with autograd.grad, then one weight step."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    net = small_cnn(width=12)
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=2e-4)
    eps, step_size = 0.1, 0.03

    def pgd(model, xb, yb, steps):
        was = model.training
        model.eval()
        delta = torch.empty_like(xb).uniform_(-eps, eps)
        for _ in range(steps):
            delta.requires_grad_(True)
            loss = F.cross_entropy(model((xb + delta).clamp(0, 1)), yb)
            (g,) = torch.autograd.grad(loss, delta)
            delta = (delta.detach() + step_size * g.sign()).clamp(-eps, eps)
        model.train(was)
        return (xb + delta).clamp(0, 1).detach()

    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=20)
    for epoch in range(20):
        net.train()
        for xb, yb in loader:
            adv = pgd(net, xb, yb, 4)
            loss = F.cross_entropy(net(adv), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        sched.step()
    net.eval()
    print(
        f"adv loss {loss.item():.3f} clean test {accuracy(net, xt, yt):.3f} robust test {accuracy(net, pgd(net, xt, yt, 10), yt):.3f}"
    )


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_cls, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw))
        self.base = base_cls(self.param_groups, **kw)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def first_step(self):
        norm = torch.norm(torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]))
        for g in self.param_groups:
            for p in g["params"]:
                e = p.grad * (g["rho"] / (norm + 1e-12))
                p.add_(e)
                self.state[p]["e"] = e
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for g in self.param_groups:
            for p in g["params"]:
                p.sub_(self.state[p]["e"])
        self.base.step()
        self.zero_grad()


def sam_two_passes() -> None:
    """Sharpness-aware minimisation: two forward-backward passes for each step, gradients zeroed inside the optimizer."""
    seed_everything(0)
    x, y = load_breast_cancer(return_X_y=True)
    xa, xb, ya, yb = train_test_split(x, y, stratify=y, test_size=0.25, random_state=1)
    sc = StandardScaler().fit(xa)
    xa, xb = (torch.tensor(sc.transform(v), dtype=torch.float32) for v in (xa, xb))
    ya, yb = torch.tensor(ya), torch.tensor(yb)
    net = nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))
    opt = SAM(net.parameters(), torch.optim.SGD, rho=0.1, lr=0.005, momentum=0.9, weight_decay=5e-3)
    for epoch in range(121):
        for idx in torch.randperm(len(xa)).split(32):
            loss = F.cross_entropy(net(xa[idx]), ya[idx])
            loss.backward()
            opt.first_step()
            F.cross_entropy(net(xa[idx]), ya[idx]).backward()
            opt.second_step()
        if epoch % 40 == 0:
            print(f"epoch {epoch} loss {loss.item():.3f} test {accuracy(net, xb, yb):.3f}")
    print(f"loss {loss.item():.4f} test {accuracy(net, xb, yb):.3f}")


class Lookahead:
    def __init__(self, optimizer, k=5, alpha=0.5):
        self.opt, self.k, self.alpha, self.n = optimizer, k, alpha, 0
        self.slow = [[p.detach().clone() for p in g["params"]] for g in optimizer.param_groups]

    def zero_grad(self):
        self.opt.zero_grad()

    def step(self):
        self.opt.step()
        self.n += 1
        if self.n % self.k == 0:
            for g, slow in zip(self.opt.param_groups, self.slow):
                for p, s in zip(g["params"], slow):
                    s.add_(p.data - s, alpha=self.alpha)
                    p.data.copy_(s)


def lookahead_regression_scaled_target() -> None:
    """Lookahead over RAdam on diabetes; target standardised with training statistics, error reported in real units."""
    seed_everything(0)
    x, y = load_diabetes(return_X_y=True)
    xa, xb, ya, yb = train_test_split(x, y, test_size=0.25, random_state=0)
    sx = StandardScaler().fit(xa)
    m, s = ya.mean(), ya.std()
    xa, xb = (torch.tensor(sx.transform(v), dtype=torch.float32) for v in (xa, xb))
    ta = torch.tensor((ya - m) / s, dtype=torch.float32).unsqueeze(1)
    net = nn.Sequential(nn.Linear(10, 32), nn.SiLU(), nn.Dropout(0.2), nn.Linear(32, 1))
    opt = Lookahead(torch.optim.RAdam(net.parameters(), lr=1e-3, weight_decay=1e-2))
    loader = DataLoader(TensorDataset(xa, ta), batch_size=32, shuffle=True)
    for epoch in range(200):
        net.train()
        tot = 0.0
        for a, t in loader:
            opt.zero_grad()
            loss = F.smooth_l1_loss(net(a), t)
            loss.backward()
            opt.step()
            tot += loss.item() * len(a)
        if epoch % 50 == 0 or epoch == 199:
            net.eval()
            with torch.no_grad():
                pred = net(xb).squeeze(1).numpy() * s + m
            print(
                f"epoch {epoch} loss {tot / len(xa):.3f} test MAE {np.abs(pred - yb).mean():.1f} (mean baseline {np.abs(m - yb).mean():.1f})"
            )


def iterative_magnitude_pruning() -> None:
    """Prune and fine-tune by hand with masks: gradients masked and weights re-masked after each step."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    net = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    layers = [m for m in net if isinstance(m, nn.Linear)]
    masks = {m: torch.ones_like(m.weight) for m in layers}

    def train(epochs, lr):
        opt = torch.optim.Adam(net.parameters(), lr=lr)
        for _ in range(epochs):
            for idx in torch.randperm(len(x)).split(64):
                opt.zero_grad()
                loss = F.cross_entropy(net(x[idx]), y[idx])
                loss.backward()
                for m in layers:
                    m.weight.grad.mul_(masks[m])
                opt.step()
                with torch.no_grad():
                    for m in layers:
                        m.weight.mul_(masks[m])
        return loss.item()

    loss = train(15, 2e-3)
    print(f"dense loss {loss:.3f} val {accuracy(net, xv, yv):.3f}")
    for sparsity in (0.3, 0.5, 0.7, 0.8, 0.9):
        with torch.no_grad():
            flat = torch.cat([m.weight.abs().flatten() for m in layers])
            thr = torch.quantile(flat, sparsity)
            for m in layers:
                masks[m] = (m.weight.abs() > thr).float()
                m.weight.mul_(masks[m])
        cut = accuracy(net, xv, yv)
        loss = train(12, 1e-3)
        print(f"sparsity {sparsity} val {cut:.3f} -> {accuracy(net, xv, yv):.3f} loss {loss:.3f}")
    print(f"test {accuracy(net, xt, yt):.3f}")


class FakeQuant(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, bits):
        qmax = 2 ** (bits - 1) - 1
        scale = w.abs().max() / qmax + 1e-8
        return (w / scale).round().clamp(-qmax, qmax) * scale

    @staticmethod
    def backward(ctx, g):
        return g, None


class QLinear(nn.Linear):
    def __init__(self, i, o, bits=3):
        super().__init__(i, o)
        self.bits = bits

    def forward(self, x):
        return F.linear(x, FakeQuant.apply(self.weight, self.bits), self.bias)


def quantisation_aware_straight_through() -> None:
    """Three-bit fake-quantised weights with a straight-through gradient."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    net = nn.Sequential(
        QLinear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        QLinear(128, 64),
        nn.ReLU(),
        QLinear(64, 10, bits=8),
    )
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=4)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    for epoch in range(60):
        net.train()
        for xb, yb in loader:
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val = F.cross_entropy(net(xv), yv)
        sched.step(val.item())
    print(
        f"loss {loss.item():.3f} val {val.item():.3f} test {accuracy(net, xt, yt):.3f} lr {opt.param_groups[0]['lr']:.1e}"
    )


def kfold_cross_validation() -> None:
    """A fresh model, optimizer and scaler for each fold; the loss jumps back up at every fold."""
    seed_everything(0)
    x, y = load_wine(return_X_y=True)
    scores = []
    for fold, (tr, te) in enumerate(StratifiedKFold(10, shuffle=True, random_state=0).split(x, y)):
        sc = StandardScaler().fit(x[tr])
        xa = torch.tensor(sc.transform(x[tr]), dtype=torch.float32)
        xb = torch.tensor(sc.transform(x[te]), dtype=torch.float32)
        ya, yb = torch.tensor(y[tr]), torch.tensor(y[te])
        net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
        opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-1)
        for epoch in range(60):
            net.train()
            for idx in torch.randperm(len(xa)).split(16):
                opt.zero_grad()
                loss = F.cross_entropy(net(xa[idx]), ya[idx])
                loss.backward()
                opt.step()
        net.eval()
        scores.append(accuracy(net, xb, yb))
        print(f"fold {fold} loss {loss.item():.3f} accuracy {scores[-1]:.3f}")
    print(f"cv {np.mean(scores):.3f} +- {np.std(scores):.3f}")


def random_search_then_ensemble() -> None:
    """Random search by validation score, the best three averaged; the test set looked at once."""
    seed_everything(0)
    rng = np.random.default_rng(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    trials = []
    for trial in range(14):
        cfg = dict(
            lr=10 ** rng.uniform(-3.3, -1.7),
            width=int(rng.choice([32, 64, 128])),
            drop=rng.uniform(0, 0.4),
            wd=10 ** rng.uniform(-5, -2),
        )
        net = nn.Sequential(
            nn.Linear(64, cfg["width"]), nn.ReLU(), nn.Dropout(cfg["drop"]), nn.Linear(cfg["width"], 10)
        )
        opt = torch.optim.AdamW(net.parameters(), lr=cfg["lr"], weight_decay=cfg["wd"])
        loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
        for epoch in range(12):
            net.train()
            for xb, yb in loader:
                opt.zero_grad()
                loss = F.cross_entropy(net(xb), yb)
                loss.backward()
                opt.step()
        net.eval()
        score = accuracy(net, xv, yv)
        trials.append((score, trial, net))
        print(
            f"trial {trial} lr {cfg['lr']:.4f} width {cfg['width']} loss {loss.item():.3f} val {score:.3f}"
        )
    best = sorted(trials, key=lambda t: -t[0])[:3]
    with torch.no_grad():
        probs = torch.stack([net(xt).softmax(1) for _, _, net in best]).mean(0)
    print(f"ensemble test {(probs.argmax(1) == yt).float().mean():.3f}")


def lr_range_test_then_early_stopping() -> None:
    """LR finder blows the loss up on purpose, state restored, then early stopping with the best weights restored."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits()
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))
    opt = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)

    start_net, start_opt = copy.deepcopy(net.state_dict()), copy.deepcopy(opt.state_dict())
    lr, avg, best_avg, history = 1e-4, 0.0, float("inf"), []
    it = iter(loader)
    for i in range(100):
        try:
            xb, yb = next(it)
        except StopIteration:
            it = iter(loader)
            xb, yb = next(it)
        for g in opt.param_groups:
            g["lr"] = lr
        loss = F.cross_entropy(net(xb), yb)
        avg = 0.9 * avg + 0.1 * loss.item()
        smooth = avg / (1 - 0.9 ** (i + 1))
        best_avg = min(best_avg, smooth)
        history.append((lr, smooth))
        if i > 10 and smooth > 4 * best_avg:
            break
        opt.zero_grad()
        loss.backward()
        opt.step()
        lr *= 1.12
    net.load_state_dict(start_net)
    opt.load_state_dict(start_opt)
    chosen = min(history, key=lambda t: t[1])[0] / 20
    for g in opt.param_groups:
        g["lr"] = chosen
    print(f"range test stopped at {history[-1][0]:.2f}, chosen lr {chosen:.4f}")

    best, best_state, bad, patience = float("inf"), None, 0, 15
    for epoch in range(200):
        net.train()
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val = F.cross_entropy(net(xv), yv).item()
        if val < best - 1e-4:
            best, best_state, bad = val, copy.deepcopy(net.state_dict()), 0
        else:
            bad += 1
            if bad >= patience:
                print(f"stopped at epoch {epoch}")
                break
    net.load_state_dict(best_state)
    print(f"best val {best:.4f} test {accuracy(net, xt, yt):.3f}")


def bf16_autocast_accumulation_batch_growth() -> None:
    """bfloat16 autocast, accumulation with the last incomplete group handled, number of micro-batches growing."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    net = small_cnn(width=24)
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
    updates = 0
    for epoch in range(8):
        accum = 1 if epoch < 2 else 2 if epoch < 5 else 4
        net.train()
        running = 0.0
        n = len(loader)
        opt.zero_grad(set_to_none=True)
        for i, (xb, yb) in enumerate(loader):
            group = min(accum, n - (i // accum) * accum)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = net(xb)
                loss = F.cross_entropy(logits, yb)
            (loss / group).backward()
            running += loss.item()
            if (i + 1) % accum == 0 or i + 1 == n:
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                opt.step()
                opt.zero_grad(set_to_none=True)
                updates += 1
        print(
            f"epoch {epoch} accum {accum} updates {updates} loss {running / n:.3f} val {accuracy(net, xv, yv):.3f}"
        )
    print(f"test {accuracy(net, xt, yt):.3f}")


def swa_warm_restarts() -> None:
    """Cosine warm restarts stepped by fraction of epoch, then SWA with a constant rate and BN statistics renewed."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    net = small_cnn(width=12)
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    sched = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=3, T_mult=2)
    swa = torch.optim.swa_utils.AveragedModel(net)
    swa_sched = torch.optim.swa_utils.SWALR(opt, swa_lr=0.03, anneal_epochs=2)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    swa_start = 9
    for epoch in range(15):
        net.train()
        for i, (xb, yb) in enumerate(loader):
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if epoch < swa_start:
                sched.step(epoch + (i + 1) / len(loader))
        if epoch >= swa_start:
            swa.update_parameters(net)
            swa_sched.step()
        print(
            f"epoch {epoch} lr {opt.param_groups[0]['lr']:.4f} loss {loss.item():.3f} val {accuracy(net, xv, yv):.3f}"
        )
    torch.optim.swa_utils.update_bn(loader, swa)
    print(f"SWA test {accuracy(swa, xt, yt):.3f}")


class MCRegressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(1, 128),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Dropout(0.1),
        )
        self.mean, self.logvar = nn.Linear(128, 1), nn.Linear(128, 1)

    def forward(self, x):
        h = self.body(x)
        return self.mean(h), self.logvar(h).clamp(-8, 4)


def mc_dropout_heteroscedastic() -> None:
    """Gaussian NLL regression; at validation dropout is kept on purpose and predictions are averaged over 30 passes."""
    seed_everything(0)
    g = torch.Generator().manual_seed(0)

    def make(n):
        x = torch.rand(n, 1, generator=g) * 6 - 3
        return x, torch.sin(2 * x) + (0.05 + 0.1 * x.abs()) * torch.randn(n, 1, generator=g)

    (xa, ya), (xv, yv) = make(1500), make(400)
    net = MCRegressor()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    nll = nn.GaussianNLLLoss()
    loader = DataLoader(TensorDataset(xa, ya), batch_size=64, shuffle=True)

    def mc_predict(x, n=30):
        net.eval()
        for m in net.modules():
            if isinstance(m, nn.Dropout):
                m.train()
        with torch.no_grad():
            outs = [net(x) for _ in range(n)]
        mu = torch.stack([o[0] for o in outs])
        var = torch.stack([o[1].exp() for o in outs])
        return mu.mean(0), var.mean(0) + mu.var(0)

    for epoch in range(45):
        net.train()
        for xb, yb in loader:
            mu, logvar = net(xb)
            loss = nll(mu, yb, logvar.exp())
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 11 == 0:
            mu, var = mc_predict(xv)
            cover = ((yv - mu).abs() < 1.645 * var.sqrt()).float().mean().item()
            print(
                f"epoch {epoch} nll {loss.item():.3f} val rmse {F.mse_loss(mu, yv).sqrt():.3f} 90% coverage {cover:.2f}"
            )


def shifted_copies_at_test_time() -> None:
    """Validation in the loop and, at the end, predictions averaged over shifted copies of each test image."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    net = small_cnn(width=12)
    opt = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4)
    epochs, bs = 14, 64
    steps = math.ceil(len(x) / bs)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.2, steps_per_epoch=steps, epochs=epochs)
    for epoch in range(epochs):
        net.train()
        perm = torch.randperm(len(x))
        for i in range(0, len(x), bs):
            idx = perm[i : i + bs]
            loss = F.cross_entropy(net(random_shift(x[idx])), y[idx], label_smoothing=0.1)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            if i // bs == steps // 2:
                print(f"epoch {epoch} loss {loss.item():.3f} val {accuracy(net, xv, yv):.3f}")
    net.eval()
    with torch.no_grad():
        tta = torch.stack([net(xt)] + [net(random_shift(xt)) for _ in range(8)]).softmax(-1).mean(0)
    print(
        f"test {accuracy(net, xt, yt):.3f} with augmentation {(tta.argmax(1) == yt).float().mean():.3f}"
    )


HEALTHY = [
    knowledge_distillation,
    mixup_cutmix_soft_targets,
    focal_loss_rare_positives,
    weighted_sampler_imbalanced,
    freeze_then_unfreeze_layerwise_lr,
    lora_on_rotated_digits,
    pgd_adversarial_training,
    sam_two_passes,
    lookahead_regression_scaled_target,
    iterative_magnitude_pruning,
    quantisation_aware_straight_through,
    kfold_cross_validation,
    random_search_then_ensemble,
    lr_range_test_then_early_stopping,
    bf16_autocast_accumulation_batch_growth,
    swa_warm_restarts,
    mc_dropout_heteroscedastic,
    shifted_copies_at_test_time,
]
