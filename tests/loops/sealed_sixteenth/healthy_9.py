"""Image classification and dense prediction."""

import math
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def _digits(test_size=0.3):
    data = load_digits()
    x = (data.images / 16.0).astype(np.float32)[:, None]
    xtr, xte, ytr, yte = train_test_split(
        x, data.target, test_size=test_size, stratify=data.target, random_state=0
    )
    return (
        torch.from_numpy(xtr),
        torch.from_numpy(xte),
        torch.from_numpy(ytr).long(),
        torch.from_numpy(yte).long(),
    )


@torch.no_grad()
def _accuracy(model, x, y):
    was_training = model.training
    model.eval()
    acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(was_training)
    return acc


# --------------------------------------------------------------------------------------------------------------
def accumulate_uneven_groups():
    """Gradient accumulation; the last group of an epoch is short and so is its last micro batch."""
    torch.manual_seed(0)
    xtr, xte, ytr, yte = _digits()
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=16, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.GroupNorm(4, 32),
        nn.GELU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.GroupNorm(8, 64),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    accumulate, epochs, warmup = 4, 8, 15
    total = epochs * math.ceil(len(loader) / accumulate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)

    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for epoch in range(epochs):
        model.train()
        batches = iter(loader)
        running = 0.0
        while group := list(islice(batches, accumulate)):
            samples = sum(len(y) for _, y in group)
            optimizer.zero_grad(set_to_none=True)
            for x, y in group:
                loss = F.cross_entropy(model(x), y, reduction="sum") / samples
                loss.backward()
                running += loss.item() * samples
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        print(f"epoch {epoch} loss {running / len(ytr):.4f}")
    print("accuracy", _accuracy(model, xte, yte))


# --------------------------------------------------------------------------------------------------------------
class _FrozenBackboneNet(nn.Module):
    """A pretrained trunk that stays in eval mode whatever train() is told, and a fresh head."""

    def __init__(self, backbone, width, classes):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, classes)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


def frozen_then_last_block():
    """Pretrain on digits 0-4, then fit 5-9: head only first, last block later with a small rate; batch norm frozen."""
    torch.manual_seed(1)
    xtr, xte, ytr, yte = _digits()

    def block(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

    backbone = nn.Sequential(
        block(1, 48),
        block(48, 96),
        nn.MaxPool2d(2),
        block(96, 160),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    pretrain = nn.Sequential(backbone, nn.Linear(160, 5))
    low, high = ytr < 5, ytr >= 5
    loader = DataLoader(TensorDataset(xtr[low], ytr[low]), batch_size=64, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam(pretrain.parameters(), lr=2e-3)
    for _ in range(10):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(pretrain(x), y).backward()
            optimizer.step()
    print("pretraining accuracy", _accuracy(pretrain, xte[yte < 5], yte[yte < 5]))

    model = _FrozenBackboneNet(backbone, 160, 5)
    model.backbone.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.head.parameters(), lr=1e-2, weight_decay=1e-3)
    loader = DataLoader(TensorDataset(xtr[high], ytr[high] - 5), batch_size=64, shuffle=True)
    xv, yv = xte[yte >= 5], yte[yte >= 5] - 5
    for epoch in range(16):
        if epoch == 8:
            last = model.backbone[3]
            last.requires_grad_(True)
            optimizer.add_param_group(
                {"params": list(last.parameters()), "lr": 5e-4, "weight_decay": 0.0}
            )
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        if epoch % 4 == 3:
            print(f"epoch {epoch} accuracy {_accuracy(model, xv, yv):.3f}")


# --------------------------------------------------------------------------------------------------------------
def _shapes(n, size, generator):
    """Disks, squares, diamonds and crosses of random place and size over noise; returns images, masks, labels."""
    g = generator
    ys, xs = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    r = size * (0.15 + 0.15 * torch.rand(n, 1, 1, generator=g))
    cx = r + (size - 2 * r) * torch.rand(n, 1, 1, generator=g)
    cy = r + (size - 2 * r) * torch.rand(n, 1, 1, generator=g)
    dx, dy = (xs - cx).abs(), (ys - cy).abs()
    kinds = torch.stack(
        [
            dx**2 + dy**2 < r**2,
            torch.maximum(dx, dy) < 0.85 * r,
            dx + dy < r,
            (torch.minimum(dx, dy) < 0.3 * r) & (torch.maximum(dx, dy) < r),
        ],
        1,
    )
    label = torch.randint(4, (n,), generator=g)
    mask = kinds[torch.arange(n), label].float()[:, None]
    contrast = 0.6 + 0.4 * torch.rand(n, 1, 1, 1, generator=g)
    image = mask * contrast + 0.15 * torch.randn(n, 1, size, size, generator=g)
    return image, mask, label


def progressive_resizing():
    """Sizes 12, 20, 32 one after another with one optimizer and one one-cycle schedule."""
    torch.manual_seed(2)
    g = torch.Generator().manual_seed(2)
    xtr, _, ytr = _shapes(1600, 32, g)
    xte, _, yte = _shapes(400, 32, g)

    def block(i, o, stride):
        return nn.Sequential(
            nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)
        )

    model = nn.Sequential(
        block(1, 16, 1),
        block(16, 32, 2),
        block(32, 64, 2),
        block(64, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 4),
    )
    plan = [(12, 4), (20, 4), (32, 5)]
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, total_steps=len(loader) * sum(e for _, e in plan)
    )
    for size, epochs in plan:
        for _ in range(epochs):
            model.train()
            for x, y in loader:
                if size != x.shape[-1]:
                    x = F.interpolate(
                        x, size=(size, size), mode="bilinear", antialias=True, align_corners=False
                    )
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
        print(f"after size {size}: accuracy at 32 is {_accuracy(model, xte, yte):.3f}")


# --------------------------------------------------------------------------------------------------------------
class _UNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()

        def conv(i, o):
            return nn.Sequential(
                nn.Conv2d(i, o, 3, padding=1, bias=False),
                nn.BatchNorm2d(o),
                nn.ReLU(),
                nn.Conv2d(o, o, 3, padding=1, bias=False),
                nn.BatchNorm2d(o),
                nn.ReLU(),
            )

        self.d1, self.d2, self.mid = conv(1, c), conv(c, 2 * c), conv(2 * c, 4 * c)
        self.u2, self.u1 = conv(6 * c, 2 * c), conv(3 * c, c)
        self.out = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        b = self.u2(torch.cat([F.interpolate(m, scale_factor=2.0, mode="nearest"), b], 1))
        a = self.u1(torch.cat([F.interpolate(b, scale_factor=2.0, mode="nearest"), a], 1))
        return self.out(a)


def unet_dice():
    """Segmentation of shapes from an endless generated stream, cross entropy plus soft Dice, polynomial decay."""
    torch.manual_seed(3)
    stream = torch.Generator().manual_seed(3)
    xv, mv, _ = _shapes(128, 32, torch.Generator().manual_seed(1003))
    model = _UNet()
    steps = 180
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps, power=0.9)

    def dice_loss(logits, mask):
        p = logits.sigmoid()
        inter = (p * mask).sum((1, 2, 3))
        return (1 - (2 * inter + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()

    for step in range(steps):
        model.train()
        x, m, _ = _shapes(16, 32, stream)
        logits = model(x)
        loss = F.binary_cross_entropy_with_logits(logits, m) + dice_loss(logits, m)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 60 == 59:
            model.eval()
            with torch.no_grad():
                p = model(xv) > 0
            iou = (p & (mv > 0)).sum((1, 2, 3)) / (p | (mv > 0)).sum((1, 2, 3)).clamp(min=1)
            print(f"step {step} loss {loss.item():.3f} IoU {iou.mean():.3f}")


# --------------------------------------------------------------------------------------------------------------
def keypoints_soft_argmax():
    """Two keypoints by soft-argmax over heat maps; keypoints out of view carry no loss."""
    torch.manual_seed(4)
    g = torch.Generator().manual_seed(4)
    size = 24
    axis = torch.arange(size).float()

    def make(n):
        points = torch.rand(n, 2, 2, generator=g) * (size - 5) + 2
        visible = (torch.rand(n, 2, generator=g) < 0.8).float()
        dx = axis[None, None, None, :] - points[:, :, 0, None, None]
        dy = axis[None, None, :, None] - points[:, :, 1, None, None]
        disk = torch.exp(-(dx**2 + dy**2) / 4.5)
        bar = torch.exp(-(dx**2 / 12 + dy**2 / 1.2))
        image = disk[:, :1] * visible[:, :1, None, None] + bar[:, 1:] * visible[:, 1:, None, None]
        image = image + 0.1 * torch.randn(n, 1, size, size, generator=g)
        return image, points / size, visible

    train, held = make(2000), make(400)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2),
        nn.GroupNorm(4, 24),
        nn.SiLU(),
        nn.Conv2d(24, 24, 3, padding=2, dilation=2),
        nn.GroupNorm(4, 24),
        nn.SiLU(),
        nn.Conv2d(24, 24, 3, padding=2, dilation=2),
        nn.GroupNorm(4, 24),
        nn.SiLU(),
        nn.Conv2d(24, 2, 1),
    )

    def predict(x):
        heat = model(x).flatten(2).softmax(-1).view(len(x), 2, size, size)
        px = (heat.sum(2) * axis).sum(-1)
        py = (heat.sum(3) * axis).sum(-1)
        return torch.stack([px, py], -1) / size

    def masked_loss(x, p, v):
        err = F.smooth_l1_loss(predict(x), p, reduction="none", beta=0.05).sum(-1)
        return (err * v).sum() / v.sum().clamp(min=1)

    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6, eta_min=1e-4)
    loader = DataLoader(TensorDataset(*train), batch_size=50, shuffle=True)
    for epoch in range(6):
        for x, p, v in loader:
            optimizer.zero_grad()
            masked_loss(x, p, v).backward()
            optimizer.step()
        scheduler.step()
        with torch.no_grad():
            x, p, v = held
            err = ((predict(x) - p).norm(dim=-1) * v).sum() / v.sum()
        print(f"epoch {epoch} error in pixels {err * size:.2f}")


# --------------------------------------------------------------------------------------------------------------
def grid_detector():
    """One-stage detector on an 8 x 8 grid: focal objectness everywhere, box and class terms on positive cells only."""
    torch.manual_seed(5)
    g = torch.Generator().manual_seed(5)
    size, cells = 32, 8
    stride = size // cells

    def make(n):
        images = 0.1 * torch.randn(n, 1, size, size, generator=g)
        objectness = torch.zeros(n, cells, cells)
        boxes = torch.zeros(n, cells, cells, 4)
        classes = torch.zeros(n, cells, cells, dtype=torch.long)
        for i in range(n):
            for half in range(2):
                if half == 1 and torch.rand((), generator=g) < 0.4:
                    continue
                w, h = (torch.randint(5, 11, (2,), generator=g)).tolist()
                x0 = half * 16 + int(torch.randint(0, 16 - w + 1, (1,), generator=g))
                y0 = int(torch.randint(0, size - h + 1, (1,), generator=g))
                kind = int(torch.randint(2, (1,), generator=g))
                patch = images[i, 0, y0 : y0 + h, x0 : x0 + w]
                if kind == 0:
                    patch += 0.9
                else:
                    patch[::2] += 0.9
                cx, cy = x0 + w / 2, y0 + h / 2
                gx, gy = min(int(cx // stride), cells - 1), min(int(cy // stride), cells - 1)
                objectness[i, gy, gx] = 1
                boxes[i, gy, gx] = torch.tensor(
                    [cx / stride - gx, cy / stride - gy, math.log(w / 8), math.log(h / 8)]
                )
                classes[i, gy, gx] = kind
        return images, objectness, boxes, classes

    train, held = make(1200), make(200)

    def conv(i, o, s):
        return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.SiLU())

    trunk = nn.Sequential(
        conv(1, 24, 1), conv(24, 32, 2), conv(32, 48, 2), conv(48, 48, 1), conv(48, 48, 1)
    )
    head = nn.Conv2d(48, 1 + 4 + 2, 1)
    with torch.no_grad():
        head.bias[0] = -math.log(0.98 / 0.02)  # prior of a rare positive, as RetinaNet does
    model = nn.Sequential(trunk, head)

    def losses(out, obj, box, cls):
        out = out.permute(0, 2, 3, 1)
        logit = out[..., 0]
        p = logit.sigmoid()
        ce = F.binary_cross_entropy_with_logits(logit, obj, reduction="none")
        pt = p * obj + (1 - p) * (1 - obj)
        alpha = 0.75 * obj + 0.25 * (1 - obj)
        pos = obj > 0
        n = pos.sum().clamp(min=1)
        focal = (alpha * (1 - pt) ** 2 * ce).sum() / n
        pred = out[pos][:, 1:5]
        pred = torch.cat([pred[:, :2].sigmoid(), pred[:, 2:]], 1)
        regression = F.smooth_l1_loss(pred, box[pos], reduction="sum", beta=0.1) / n
        category = F.cross_entropy(out[pos][:, 5:], cls[pos])
        return focal, regression, category

    epochs = 10
    loader = DataLoader(TensorDataset(*train), batch_size=48, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for epoch in range(epochs):
        model.train()
        for x, obj, box, cls in loader:
            focal, regression, category = losses(model(x), obj, box, cls)
            loss = focal + regression + 0.5 * category
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            x, obj, box, cls = held
            out = model(x)
            focal, regression, category = losses(out, obj, box, cls)
            found = out[:, 0].sigmoid() > 0.5
            recall = (found & (obj > 0)).sum() / obj.sum()
            precision = (found & (obj > 0)).sum() / found.sum().clamp(min=1)
        print(
            f"epoch {epoch} focal {focal:.3f} box {regression:.3f} class {category:.3f} "
            f"recall {recall:.2f} precision {precision:.2f}"
        )


# --------------------------------------------------------------------------------------------------------------
def mixup_smoothing_ema():
    """Mixup, label smoothing, an exponential moving average of weights and buffers; the average is what is judged."""
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64, 10),
    )
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.97), use_buffers=True)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=2e-3
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(12):
        model.train()
        for x, y in loader:
            lam = float(rng.beta(0.4, 0.4))
            perm = torch.randperm(len(x))
            logits = model(lam * x + (1 - lam) * x[perm])
            loss = lam * criterion(logits, y) + (1 - lam) * criterion(logits, y[perm])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            ema.update_parameters(model)
        if epoch % 4 == 3:
            print(
                f"epoch {epoch} accuracy {_accuracy(model, xte, yte):.3f} averaged {_accuracy(ema, xte, yte):.3f}"
            )


# --------------------------------------------------------------------------------------------------------------
class _FakeQuant(torch.autograd.Function):
    """Round to a grid; pass the gradient where the value was inside the range."""

    @staticmethod
    def forward(ctx, x, scale, low, high):
        q = x / scale
        ctx.save_for_backward((q >= low) & (q <= high))
        return q.round().clamp(low, high) * scale

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None


class _QuantConv(nn.Conv2d):
    """Convolution of 4-bit weights (per channel) and 8-bit unsigned activations with a running range."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("top", torch.tensor(0.0))
        self.quantise = False

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                peak = x.amax()
                self.top.copy_(peak if self.top == 0 else 0.95 * self.top + 0.05 * peak)
        w = self.weight
        if self.quantise:
            x = _FakeQuant.apply(x, (self.top / 255).clamp(min=1e-8), 0, 255)
            scale = (w.detach().abs().amax((1, 2, 3), keepdim=True) / 7).clamp(min=1e-8)
            w = _FakeQuant.apply(w, scale, -7, 7)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


def quantisation_aware():
    """Float warm-up with range observers, then quantisation-aware training with a straight-through estimator."""
    torch.manual_seed(7)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(
        _QuantConv(1, 32, 3, padding=1),
        nn.ReLU(),
        _QuantConv(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        _QuantConv(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    for epoch in range(12):
        if epoch == 6:
            print("float accuracy", _accuracy(model, xte, yte))
            for m in model.modules():
                if isinstance(m, _QuantConv):
                    m.quantise = True
            print("quantised, before tuning", _accuracy(model, xte, yte))
            for group in optimizer.param_groups:
                group["lr"] = 3e-4
        model.train()
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print("quantised, tuned", _accuracy(model, xte, yte))


# --------------------------------------------------------------------------------------------------------------
def pgd_adversarial_training():
    """Madry-style training: an inner ascent over the input, then one descent step over the weights."""
    torch.manual_seed(8)
    xtr, xte, ytr, yte = _digits()
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 16, 96),
        nn.ReLU(),
        nn.Linear(96, 10),
    )
    eps, alpha, inner = 0.12, 0.04, 5

    def attack(x, y):
        delta = torch.empty_like(x).uniform_(-eps, eps)
        for _ in range(inner):
            adv = (x + delta).clamp(0, 1).requires_grad_()
            (grad,) = torch.autograd.grad(F.cross_entropy(model(adv), y), adv)
            delta = (adv.detach() + alpha * grad.sign() - x).clamp(-eps, eps)
        return (x + delta).clamp(0, 1)

    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[8, 11], gamma=0.2)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    for epoch in range(12):
        for x, y in loader:
            adv = attack(x, y)
            optimizer.zero_grad()
            F.cross_entropy(model(adv), y).backward()
            optimizer.step()
        scheduler.step()
        if epoch % 4 == 3:
            print(
                f"epoch {epoch} clean {_accuracy(model, xte, yte):.3f} "
                f"robust {_accuracy(model, attack(xte, yte), yte):.3f}"
            )


# --------------------------------------------------------------------------------------------------------------
def long_tail_sampler():
    """Long-tailed digits with a class-balancing sampler; no weight decay on norms and biases; warm restarts."""
    torch.manual_seed(9)
    xtr, xte, ytr, yte = _digits()
    g = torch.Generator().manual_seed(9)
    keep = []
    for c in range(10):
        idx = (ytr == c).nonzero().flatten()
        keep.append(idx[torch.randperm(len(idx), generator=g)[: max(8, int(len(idx) * 0.7**c))]])
    keep = torch.cat(keep)
    x, y = xtr[keep], ytr[keep]
    counts = torch.bincount(y, minlength=10)
    sampler = WeightedRandomSampler(
        (1.0 / counts)[y].tolist(), num_samples=1280, replacement=True, generator=g
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=64, sampler=sampler)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )
    groups = {True: [], False: []}
    for p in model.parameters():
        groups[p.ndim > 1].append(p)
    optimizer = torch.optim.SGD(
        [{"params": groups[True], "weight_decay": 1e-3}, {"params": groups[False]}],
        lr=0.05,
        momentum=0.9,
        nesterov=True,
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=3, T_mult=2, eta_min=1e-4
    )
    epochs = 9
    for epoch in range(epochs):
        model.train()
        for i, (xb, yb) in enumerate(loader):
            xb = xb + 0.05 * torch.randn_like(xb)
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step(epoch + (i + 1) / len(loader))
        print(f"epoch {epoch} loss {loss.item():.3f} balanced accuracy {_accuracy(model, xte, yte):.3f}")


HEALTHY = [
    accumulate_uneven_groups,
    frozen_then_last_block,
    progressive_resizing,
    unet_dice,
    keypoints_soft_argmax,
    grid_detector,
    mixup_smoothing_ema,
    quantisation_aware,
    pgd_adversarial_training,
    long_tail_sampler,
]
