"""Segmentation, detection, distillation, SAM, quantisation, LoRA, federated and continual learning."""

import copy
import math
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.utils.parametrize as parametrize
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision.ops import box_iou, generalized_box_iou_loss, nms, sigmoid_focal_loss


def _digit_sets(flat=False, seed=0):
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(d.target)
    a, b = train_test_split(np.arange(len(y)), test_size=0.3, random_state=seed, stratify=d.target)
    mean, std = x[a].mean(), x[a].std()
    x = (x - mean) / std
    if flat:
        x = x.flatten(1)
    return TensorDataset(x[a], y[a]), TensorDataset(x[b], y[b])


@torch.no_grad()
def _accuracy(model, ds):
    was = model.training
    model.eval()
    x, y = ds.tensors
    acc = (model(x).argmax(1) == y).float().mean().item()
    model.train(was)
    return acc


# ---------------------------------------------------------------- U-Net
def unet_cells():
    """Small U-Net on synthetic cell images, BCE + soft Dice, ReduceLROnPlateau on validation Dice."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:32, :32]

    def sample():
        mask = np.zeros((32, 32), bool)
        for _ in range(rng.integers(1, 5)):
            cy, cx = rng.uniform(4, 28, 2)
            a, b, th = rng.uniform(2, 5), rng.uniform(2, 5), rng.uniform(0, np.pi)
            u, v = (
                (xx - cx) * np.cos(th) + (yy - cy) * np.sin(th),
                -(xx - cx) * np.sin(th) + (yy - cy) * np.cos(th),
            )
            mask |= (u / a) ** 2 + (v / b) ** 2 < 1
        img = 0.5 * mask + 0.02 * xx * rng.uniform(-1, 1) + 0.3 * rng.standard_normal((32, 32))
        return img.astype(np.float32)[None], mask.astype(np.float32)[None]

    class Cells(Dataset):
        def __init__(self, n, train):
            self.d, self.train = [sample() for _ in range(n)], train

        def __len__(self):
            return len(self.d)

        def __getitem__(self, i):
            img, m = (torch.from_numpy(t) for t in self.d[i])
            if self.train and torch.rand(()) < 0.5:
                img, m = img.flip(-1), m.flip(-1)
            return img, m

    def double(i, o):
        return nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
            nn.Conv2d(o, o, 3, padding=1, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
        )

    class UNet(nn.Module):
        def __init__(self, c=8):
            super().__init__()
            self.inc, self.d1, self.d2 = double(1, c), double(c, 2 * c), double(2 * c, 4 * c)
            self.u1, self.u2 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2), nn.ConvTranspose2d(2 * c, c, 2, 2)
            self.c1, self.c2, self.outc = double(4 * c, 2 * c), double(2 * c, c), nn.Conv2d(c, 1, 1)

        def forward(self, x):
            a = self.inc(x)
            b = self.d1(F.max_pool2d(a, 2))
            y = self.u1(self.d2(F.max_pool2d(b, 2)))
            y = self.u2(self.c1(torch.cat([b, y], 1)))
            return self.outc(self.c2(torch.cat([a, y], 1)))

    def dice_coeff(p, t, eps=1e-6):
        inter = 2 * (p * t).sum((1, 2, 3))
        return ((inter + eps) / (p.sum((1, 2, 3)) + t.sum((1, 2, 3)) + eps)).mean()

    model = UNet()
    opt = torch.optim.RMSprop(model.parameters(), lr=2e-3, weight_decay=1e-8, momentum=0.9)
    sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, "max", patience=1, factor=0.3)
    train = DataLoader(Cells(240, True), 16, shuffle=True)
    val = DataLoader(Cells(64, False), 32)
    scores = []
    for epoch in range(6):
        model.train()
        for img, m in train:
            logits = model(img)
            loss = (
                F.binary_cross_entropy_with_logits(logits, m) + 1 - dice_coeff(torch.sigmoid(logits), m)
            )
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        model.eval()
        with torch.no_grad():
            scores.append(float(np.mean([float(dice_coeff((model(i) > 0).float(), m)) for i, m in val])))
        sched.step(scores[-1])
    print(f"unet_cells: val Dice {scores[0]:.3f} -> {scores[-1]:.3f}")
    return scores[-1]


# ---------------------------------------------------------------- detection
def anchor_free_focal_detector():
    """One-stage grid detector: focal classification with prior bias, GIoU boxes, normalised by positives, NMS at test."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    S, G = 32, 8

    def scene():
        img, boxes, labels = 0.1 * rng.standard_normal((1, S, S)).astype(np.float32), [], []
        for _ in range(rng.integers(1, 4)):
            w, h = rng.integers(6, 12, 2)
            x, y = rng.integers(0, S - w), rng.integers(0, S - h)
            b = [x, y, x + w, y + h]
            if boxes and box_iou(torch.tensor([b]).float(), torch.tensor(boxes).float()).max() > 0.02:
                continue
            c = int(rng.integers(2))
            if c == 0:
                img[0, y : y + h, x : x + w] += 1
            else:
                img[0, y : y + h, x : x + w] += 1
                img[0, y + 2 : y + h - 2, x + 2 : x + w - 2] -= 1
            boxes.append(b)
            labels.append(c)
        return torch.from_numpy(img), torch.tensor(boxes).float(), torch.tensor(labels)

    def collate(b):
        im, bx, lb = zip(*b)
        return torch.stack(im), list(bx), list(lb)

    centres = (torch.arange(G) + 0.5) * (S / G)
    cy, cx = torch.meshgrid(centres, centres, indexing="ij")

    class Detector(nn.Module):
        def __init__(self, c=24):
            super().__init__()
            conv = lambda i, o, s: nn.Sequential(
                nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1)
            )
            self.body = nn.Sequential(
                conv(1, 12, 1), conv(12, c, 2), conv(c, 2 * c, 2), conv(2 * c, 2 * c, 1)
            )
            self.cls, self.box = nn.Conv2d(2 * c, 2, 3, padding=1), nn.Conv2d(2 * c, 4, 3, padding=1)
            nn.init.normal_(self.cls.weight, std=0.01)
            nn.init.constant_(self.cls.bias, -math.log((1 - 0.02) / 0.02))

        def forward(self, x):
            f = self.body(x)
            d = 4 * F.softplus(self.box(f))
            boxes = torch.stack([cx - d[:, 0], cy - d[:, 1], cx + d[:, 2], cy + d[:, 3]], -1)
            return self.cls(f).permute(0, 2, 3, 1), boxes

    def targets(boxes, labels):
        t = torch.zeros(len(boxes), G, G, 2)
        bt, pos = torch.zeros(len(boxes), G, G, 4), torch.zeros(len(boxes), G, G, dtype=torch.bool)
        for i, (bs, ls) in enumerate(zip(boxes, labels)):
            for b, l in zip(bs, ls):
                gx, gy = int((b[0] + b[2]) / 2 / (S / G)), int((b[1] + b[3]) / 2 / (S / G))
                t[i, gy, gx, l], bt[i, gy, gx], pos[i, gy, gx] = 1, b, True
        return t, bt, pos

    data, held = [scene() for _ in range(400)], [scene() for _ in range(80)]
    loader = DataLoader(data, 20, shuffle=True, collate_fn=collate)
    model = Detector()
    opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, nesterov=True)
    total = 9 * len(loader)
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda i: min(1, (i + 1) / 15) * (0.5 * (1 + math.cos(math.pi * i / total)) * 0.98 + 0.02)
    )
    first = None
    for _ in range(9):
        for im, bx, lb in loader:
            logits, boxes = model(im)
            t, bt, pos = targets(bx, lb)
            n = pos.sum().clamp(min=1)
            cls_loss = sigmoid_focal_loss(logits, t, alpha=0.25, gamma=2.0, reduction="sum") / n
            box_loss = generalized_box_iou_loss(boxes[pos], bt[pos], reduction="sum") / n
            loss = 2 * cls_loss + box_loss
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            opt.step()
            sched.step()
            first = first or loss.item()
    model.eval()
    tp = pred = truth = 0
    with torch.no_grad():
        for im, bs, ls in held:
            logits, boxes = model(im[None])
            score, lab = logits[0].sigmoid().view(-1, 2).max(1)
            keep = score > 0.35
            b, s, l = boxes[0].view(-1, 4)[keep], score[keep], lab[keep]
            k = nms(b, s, 0.4)
            b, l = b[k], l[k]
            pred, truth = pred + len(b), truth + len(bs)
            if len(b):
                hit = (box_iou(bs, b) > 0.5) & (ls[:, None] == l[None])
                tp += int(hit.any(1).sum())
    f1 = 2 * tp / max(1, pred + truth)
    print(f"anchor_free_focal_detector: loss {first:.2f} -> {loss.item():.3f}, F1@0.5 {f1:.3f}")
    return f1


# ---------------------------------------------------------------- distillation
def distillation_with_hooks():
    """Teacher trained with label smoothing; student learns soft targets and hooked hidden features (FitNets + KD)."""
    torch.manual_seed(0)
    train, test = _digit_sets()
    few = Subset(train, range(300))

    teacher = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 24, 3, padding=1),
            bn1=nn.BatchNorm2d(24),
            act1=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            conv2=nn.Conv2d(24, 48, 3, padding=1),
            bn2=nn.BatchNorm2d(48),
            act2=nn.ReLU(),
            flat=nn.Flatten(),
            fc=nn.Linear(768, 10),
        )
    )
    opt = torch.optim.SGD(teacher.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    crit = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(5):
        for x, y in DataLoader(train, 64, shuffle=True):
            opt.zero_grad()
            crit(teacher(x), y).backward()
            opt.step()
    teacher.eval().requires_grad_(False)

    student = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 3, stride=2, padding=1),
            act=nn.ReLU(),
            flat=nn.Flatten(),
            hid=nn.Linear(96, 24),
            act2=nn.ReLU(),
            fc=nn.Linear(24, 10),
        )
    )
    regressor = nn.Conv2d(6, 24, 1)
    feats = {}
    handles = [
        teacher.pool.register_forward_hook(lambda m, i, o: feats.__setitem__("t", o)),
        student.act.register_forward_hook(lambda m, i, o: feats.__setitem__("s", o)),
    ]
    opt = torch.optim.Adam(list(student.parameters()) + list(regressor.parameters()), lr=4e-3)
    T, alpha = 3.0, 0.7
    for _ in range(12):
        for x, y in DataLoader(few, 30, shuffle=True):
            with torch.no_grad():
                t = teacher(x)
            s = student(x)
            kd = (
                F.kl_div(
                    F.log_softmax(s / T, 1),
                    F.log_softmax(t / T, 1),
                    reduction="batchmean",
                    log_target=True,
                )
                * T
                * T
            )
            hint = F.mse_loss(regressor(feats["s"]), feats["t"])
            loss = alpha * kd + (1 - alpha) * F.cross_entropy(s, y) + 0.1 * hint
            opt.zero_grad()
            loss.backward()
            opt.step()
    for h in handles:
        h.remove()
    ta, sa = _accuracy(teacher, test), _accuracy(student, test)
    print(f"distillation_with_hooks: teacher {ta:.3f}, student {sa:.3f}")
    return sa


# ---------------------------------------------------------------- SAM
def sharpness_aware_digits():
    """Sharpness-aware minimisation as an Optimizer subclass, two passes a step, batch-norm stats from the first only."""
    torch.manual_seed(0)
    train, test = _digit_sets()

    class SAM(torch.optim.Optimizer):
        def __init__(self, params, base_optimizer, rho=0.05, **kw):
            super().__init__(params, dict(rho=rho, **kw))
            self.base_optimizer = base_optimizer(self.param_groups, **kw)
            self.param_groups = self.base_optimizer.param_groups
            self.defaults.update(self.base_optimizer.defaults)

        def _grad_norm(self):
            return torch.norm(
                torch.stack(
                    [
                        p.grad.norm(2)
                        for g in self.param_groups
                        for p in g["params"]
                        if p.grad is not None
                    ]
                )
            )

        @torch.no_grad()
        def first_step(self, zero_grad=False):
            norm = self._grad_norm()
            for g in self.param_groups:
                for p in g["params"]:
                    if p.grad is None:
                        continue
                    self.state[p]["old_p"] = p.data.clone()
                    p.add_(p.grad * (g["rho"] / (norm + 1e-12)))
            if zero_grad:
                self.zero_grad()

        @torch.no_grad()
        def second_step(self, zero_grad=False):
            for g in self.param_groups:
                for p in g["params"]:
                    if p.grad is not None:
                        p.data = self.state[p]["old_p"]
            self.base_optimizer.step()
            if zero_grad:
                self.zero_grad()

    def running_stats(model, on):
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                if on:
                    m.momentum = m.backup_momentum
                else:
                    m.backup_momentum, m.momentum = m.momentum, 0

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    opt = SAM(model.parameters(), torch.optim.SGD, rho=0.05, lr=0.05, momentum=0.9, weight_decay=5e-4)
    sched = torch.optim.lr_scheduler.StepLR(opt.base_optimizer, step_size=3, gamma=0.3)
    for epoch in range(8):
        for x, y in DataLoader(train, 64, shuffle=True):
            loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
            loss.backward()
            opt.first_step(zero_grad=True)
            running_stats(model, False)
            F.cross_entropy(model(x), y, label_smoothing=0.1).backward()
            opt.second_step(zero_grad=True)
            running_stats(model, True)
        sched.step()
    acc = _accuracy(model, test)
    print(f"sharpness_aware_digits: loss {loss.item():.3f}, test {acc:.3f}")
    return acc


# ---------------------------------------------------------------- quantisation-aware
def quantisation_aware_ste():
    """Quantisation-aware fine-tuning: float phase, then 3-bit weights through a custom autograd Function (LSQ style step)."""
    torch.manual_seed(0)
    train, test = _digit_sets(flat=True)
    bits = 3
    qn, qp = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    class LSQ(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w, s):
            v = w / s
            q = v.round().clamp(qn, qp)
            ctx.save_for_backward(v, q)
            return q * s

        @staticmethod
        def backward(ctx, g):
            v, q = ctx.saved_tensors
            inside = (v >= qn) & (v <= qp)
            scale = 1.0 / math.sqrt(v.numel() * qp)
            ds = (torch.where(inside, q - v, q) * g).sum() * scale
            return g * inside, ds

    class FakeQuant(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.step = nn.Parameter(2 * w.detach().abs().mean() / math.sqrt(qp))

        def forward(self, w):
            return LSQ.apply(w, self.step)

    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10))
    loader = DataLoader(train, 50, shuffle=True)

    def fit(epochs, lr):
        opt = torch.optim.Adam(net.parameters(), lr=lr)
        sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, epochs * len(loader))
        for _ in range(epochs):
            for x, y in loader:
                opt.zero_grad()
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                opt.step()
                sched.step()
        return loss.item()

    fit(8, 3e-3)
    full = _accuracy(net, test)
    for m in net:
        if isinstance(m, nn.Linear):
            parametrize.register_parametrization(m, "weight", FakeQuant(m.weight))
    post = _accuracy(net, test)
    fit(8, 1e-3)
    qat = _accuracy(net, test)
    levels = max(len(m.weight.detach().unique()) for m in net if isinstance(m, nn.Linear))
    print(
        f"quantisation_aware_ste: float {full:.3f}, rounded {post:.3f}, trained {qat:.3f}, levels {levels}"
    )
    return qat


# ---------------------------------------------------------------- LoRA
def lora_transfer():
    """Pretrain on digits 0-4, then adapt to 5-9 with low-rank adapters on frozen weights; merge at the end; bf16 autocast."""
    torch.manual_seed(0)
    train, test = _digit_sets(flat=True)

    def part(ds, lo):
        x, y = ds.tensors
        k = (y >= lo) & (y < lo + 5)
        return TensorDataset(x[k], y[k] - lo)

    class LoRALinear(nn.Module):
        def __init__(self, base, r=8, alpha=16, dropout=0.05):
            super().__init__()
            self.base, self.scaling, self.merged = base, alpha / r, False
            base.weight.requires_grad_(False)
            base.bias.requires_grad_(False)
            self.lora_A = nn.Parameter(torch.empty(r, base.in_features))
            self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
            self.drop = nn.Dropout(dropout)

        def forward(self, x):
            out = self.base(x)
            if not self.merged:
                out = out + self.scaling * (self.drop(x) @ self.lora_A.T) @ self.lora_B.T
            return out

        @torch.no_grad()
        def merge(self):
            self.base.weight += self.scaling * self.lora_B @ self.lora_A
            self.merged = True

    net = nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 96), nn.GELU(), nn.Linear(96, 5))

    def run(params, ds, epochs, lr):
        opt = torch.optim.AdamW(params, lr=lr, weight_decay=0.01)
        for _ in range(epochs):
            for x, y in DataLoader(ds, 32, shuffle=True):
                opt.zero_grad(set_to_none=True)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    logits = net(x)
                F.cross_entropy(logits.float(), y).backward()
                opt.step()

    run(net.parameters(), part(train, 0), 6, 2e-3)
    source = _accuracy(net, part(test, 0))
    before = _accuracy(net, part(test, 5))
    net[0], net[2] = LoRALinear(net[0]), LoRALinear(net[2])
    frozen = net[0].base.weight.clone()
    net[4].reset_parameters()
    trainable = [p for p in net.parameters() if p.requires_grad]
    run(trainable, part(train, 5), 8, 4e-3)
    adapted = _accuracy(net, part(test, 5))
    for m in net:
        if isinstance(m, LoRALinear):
            m.merge()
    merged = _accuracy(net, part(test, 5))
    print(
        f"lora_transfer: source {source:.3f}, target {before:.3f} -> {adapted:.3f}, merged {merged:.3f}"
    )
    return merged


# ---------------------------------------------------------------- federated averaging
def federated_averaging():
    """FedAvg over ten clients with skewed labels: local SGD on copies, weighted averaging of state dicts."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, test = _digit_sets(flat=True)
    y = train.tensors[1].numpy()
    shards = [[] for _ in range(10)]
    for c in range(10):
        idx = rng.permutation(np.where(y == c)[0])
        cuts = (np.cumsum(rng.dirichlet(np.full(10, 0.5)))[:-1] * len(idx)).astype(int)
        for s, p in zip(shards, np.split(idx, cuts)):
            s.extend(p.tolist())
    clients = [Subset(train, s) for s in shards if len(s) >= 10]
    server = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))

    def client_update(ds, weights, epochs=2, lr=0.05):
        local = copy.deepcopy(server)
        local.load_state_dict(weights)
        local.train()
        opt = torch.optim.SGD(local.parameters(), lr=lr, momentum=0.5)
        tot = 0.0
        for _ in range(epochs):
            for x, t in DataLoader(ds, 16, shuffle=True):
                opt.zero_grad()
                loss = F.cross_entropy(local(x), t)
                loss.backward()
                opt.step()
                tot += loss.item() * len(x)
        return local.state_dict(), len(ds), tot / (epochs * len(ds))

    history = []
    for rnd in range(8):
        chosen = rng.choice(len(clients), 6, replace=False)
        w0 = copy.deepcopy(server.state_dict())
        results = [client_update(clients[i], w0) for i in chosen]
        total = sum(n for _, n, _ in results)
        avg = {k: sum(sd[k] * (n / total) for sd, n, _ in results) for k in w0}
        server.load_state_dict(avg)
        history.append(_accuracy(server, test))
    print(f"federated_averaging: rounds {[round(h, 2) for h in history]}")
    return history[-1]


# ---------------------------------------------------------------- EWC
def continual_ewc_permuted():
    """Elastic weight consolidation across three permuted tasks: Fisher diagonal from sampled labels, quadratic penalty."""
    torch.manual_seed(0)
    train, test = _digit_sets(flat=True)
    perms = [torch.arange(64)] + [torch.randperm(64) for _ in range(2)]
    view = lambda ds, p: TensorDataset(ds.tensors[0][:, p], ds.tensors[1])

    class EWC:
        def __init__(self, model, ds, n=200):
            self.star = {k: p.detach().clone() for k, p in model.named_parameters()}
            self.fisher = {k: torch.zeros_like(p) for k, p in model.named_parameters()}
            model.eval()
            for i in torch.randperm(len(ds))[:n]:
                model.zero_grad()
                lp = F.log_softmax(model(ds[i][0][None]), 1)
                lab = torch.multinomial(lp.detach().exp(), 1).squeeze(1)
                F.nll_loss(lp, lab).backward()
                for k, p in model.named_parameters():
                    self.fisher[k] += p.grad.detach() ** 2 / n
            model.zero_grad()
            model.train()

        def penalty(self, model):
            return sum(
                (self.fisher[k] * (p - self.star[k]) ** 2).sum() for k, p in model.named_parameters()
            )

    def sequence(lam):
        torch.manual_seed(1)
        net = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )
        anchors, peak = [], []
        for p in perms:
            ds = view(train, p)
            opt = torch.optim.Adam(net.parameters(), lr=1e-3)
            for _ in range(8):
                for x, y in DataLoader(ds, 64, shuffle=True):
                    loss = F.cross_entropy(net(x), y)
                    if anchors:
                        loss = loss + lam / 2 * sum(a.penalty(net) for a in anchors)
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
            peak.append(_accuracy(net, view(test, p)))
            if lam > 0:
                anchors.append(EWC(net, ds))
        return peak, [_accuracy(net, view(test, p)) for p in perms]

    peak, plain = sequence(0.0)
    peak2, kept = sequence(200.0)
    print(
        f"continual_ewc_permuted: plain mean {np.mean(plain):.3f}, with EWC {np.mean(kept):.3f}, when learned {np.mean(peak2):.3f}"
    )
    return float(np.mean(kept))


HEALTHY = [
    unet_cells,
    anchor_free_focal_detector,
    distillation_with_hooks,
    sharpness_aware_digits,
    quantisation_aware_ste,
    lora_transfer,
    federated_averaging,
    continual_ewc_permuted,
]
