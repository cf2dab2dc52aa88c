import copy
import io
import math
from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn, optim
from torch.func import functional_call
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, TensorDataset


# ------------------------------------------------------------------ U-Net with resume
class DoubleConv(nn.Sequential):
    def __init__(self, i, o):
        super().__init__(
            nn.Conv2d(i, o, 3, padding=1, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
            nn.Conv2d(o, o, 3, padding=1, bias=False),
            nn.BatchNorm2d(o),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    def __init__(self, base=10):
        super().__init__()
        self.inc, self.d1, self.d2 = (
            DoubleConv(1, base),
            DoubleConv(base, 2 * base),
            DoubleConv(2 * base, 4 * base),
        )
        self.pool = nn.MaxPool2d(2)
        self.up1, self.up2 = (
            nn.ConvTranspose2d(4 * base, 2 * base, 2, 2),
            nn.ConvTranspose2d(2 * base, base, 2, 2),
        )
        self.u1, self.u2 = DoubleConv(4 * base, 2 * base), DoubleConv(2 * base, base)
        self.outc = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        a = self.inc(x)
        b = self.d1(self.pool(a))
        c = self.d2(self.pool(b))
        b = self.u1(torch.cat([self.up1(c), b], 1))
        return self.outc(self.u2(torch.cat([self.up2(b), a], 1)))


class Blobs(Dataset):
    def __init__(self, n, seed):
        self.n, self.seed = n, seed
        self.yy, self.xx = np.mgrid[:32, :32]

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        rng = np.random.default_rng(self.seed * 100003 + i)
        img, mask = rng.normal(0, 0.35, (32, 32)), np.zeros((32, 32), dtype=bool)
        for _ in range(rng.integers(1, 4)):
            cx, cy, a, b = rng.uniform(5, 27), rng.uniform(5, 27), rng.uniform(3, 8), rng.uniform(3, 8)
            m = ((self.xx - cx) / a) ** 2 + ((self.yy - cy) / b) ** 2 < 1
            mask |= m
            img[m] += rng.uniform(0.6, 1.2)
        for _ in range(2):  # distracting lines, not part of the mask
            img[rng.integers(32)] += 0.8
        return torch.tensor(img, dtype=torch.float32)[None], torch.tensor(mask, dtype=torch.float32)[
            None
        ]


def dice_loss(logits, y, eps=1.0):
    p = torch.sigmoid(logits)
    inter = (p * y).sum((1, 2, 3))
    return (1 - (2 * inter + eps) / (p.sum((1, 2, 3)) + y.sum((1, 2, 3)) + eps)).mean()


def unet_with_resume():
    torch.manual_seed(3)
    train_loader = DataLoader(Blobs(240, 1), batch_size=12, shuffle=True, num_workers=0)
    val_loader = DataLoader(Blobs(48, 2), batch_size=24)

    def build():
        net = UNet()
        opt = optim.RMSprop(net.parameters(), lr=1e-3, weight_decay=1e-8, momentum=0.9)
        return net, opt, optim.lr_scheduler.ExponentialLR(opt, 0.8)

    def run(net, opt, sched, epochs):
        for ep in epochs:
            net.train()
            for x, y in train_loader:
                logits = net(x)
                loss = F.binary_cross_entropy_with_logits(logits, y) + dice_loss(logits, y)
                opt.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                opt.step()
            sched.step()
            net.eval()
            with torch.no_grad():
                dice = np.mean([1 - dice_loss(net(x), y).item() for x, y in val_loader])
            print(f"epoch {ep}: loss {loss.item():.3f} val dice {dice:.3f}")
        return dice

    net, opt, sched = build()
    run(net, opt, sched, range(2))
    buf = io.BytesIO()
    torch.save(
        {"net": net.state_dict(), "opt": opt.state_dict(), "sched": sched.state_dict(), "epoch": 2}, buf
    )
    del net, opt, sched
    buf.seek(0)
    net, opt, sched = build()
    ckpt = torch.load(buf, map_location="cpu", weights_only=True)
    net.load_state_dict(ckpt["net"])
    opt.load_state_dict(ckpt["opt"])
    sched.load_state_dict(ckpt["sched"])
    dice = run(net, opt, sched, range(ckpt["epoch"], 6))
    return "higher", dice, 0.4


# ------------------------------------------------------------------ detection
class ShapesDet(Dataset):
    """1-2 objects of 3 kinds on a noisy canvas, boxes in pixels"""

    def __init__(self, n, seed, S=32):
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(n):
            img, boxes, labels, cells = rng.normal(0, 0.15, (S, S)), [], [], set()
            for _ in range(rng.integers(1, 3)):
                k, w, h = rng.integers(3), rng.integers(6, 12), rng.integers(6, 12)
                x0, y0 = rng.integers(0, S - w), rng.integers(0, S - h)
                cell = (int((y0 + h / 2) // 8), int((x0 + w / 2) // 8))
                if cell in cells or any(
                    x0 < b[2] and b[0] < x0 + w and y0 < b[3] and b[1] < y0 + h for b in boxes
                ):
                    continue
                cells.add(cell)
                yy, xx = np.mgrid[:h, :w]
                if k == 0:
                    m = np.ones((h, w))
                elif k == 1:
                    m = (
                        ((xx - w / 2 + 0.5) / (w / 2)) ** 2 + ((yy - h / 2 + 0.5) / (h / 2)) ** 2 <= 1
                    ).astype(float)
                else:
                    m = ((xx < 2) | (yy < 2) | (xx >= w - 2) | (yy >= h - 2)).astype(float)
                img[y0 : y0 + h, x0 : x0 + w] += m
                boxes.append([x0, y0, x0 + w, y0 + h])
                labels.append(k)
            self.items.append(
                (
                    torch.tensor(img, dtype=torch.float32)[None],
                    torch.tensor(boxes, dtype=torch.float32),
                    torch.tensor(labels),
                )
            )

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def det_collate(batch):
    imgs, boxes, labels = zip(*batch)
    return torch.stack(imgs), list(boxes), list(labels)


class GridDetector(nn.Module):
    def __init__(self):
        super().__init__()
        blk = lambda i, o, s: nn.Sequential(
            nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1)
        )
        self.backbone = nn.Sequential(blk(1, 16, 1), blk(16, 32, 2), blk(32, 48, 2), blk(48, 64, 2))
        self.head = nn.Conv2d(64, 8, 1)
        self.head.bias.data[:1].fill_(-2.0)  # few cells hold an object

    def forward(self, x):
        p = self.head(self.backbone(x)).permute(0, 2, 3, 1)  # (N, 4, 4, 8)
        gy, gx = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
        cx, cy = (gx + p[..., 1].sigmoid()) * 8, (gy + p[..., 2].sigmoid()) * 8
        w, h = 9 * p[..., 3].clamp(-3, 3).exp(), 9 * p[..., 4].clamp(-3, 3).exp()
        boxes = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], -1)
        return p[..., 0], boxes, p[..., 5:]


def detection_loss(obj, boxes, cls, gt_boxes, gt_labels):
    target = torch.zeros_like(obj)
    pb, gb, pc, gc = [], [], [], []
    for n, (b, l) in enumerate(zip(gt_boxes, gt_labels)):
        for box, lab in zip(b, l):
            j, i = int((box[1] + box[3]) / 2 // 8), int((box[0] + box[2]) / 2 // 8)
            target[n, j, i] = 1.0
            pb.append(boxes[n, j, i]), gb.append(box), pc.append(cls[n, j, i]), gc.append(lab)
    l_obj = F.binary_cross_entropy_with_logits(obj, target)
    l_box = torchvision.ops.generalized_box_iou_loss(torch.stack(pb), torch.stack(gb), reduction="mean")
    l_cls = F.cross_entropy(torch.stack(pc), torch.stack(gc))
    return {"obj": 4 * l_obj, "box": l_box, "cls": l_cls}


def toy_object_detection():
    torch.manual_seed(40)
    train = DataLoader(ShapesDet(640, 1), batch_size=32, shuffle=True, collate_fn=det_collate)
    val = DataLoader(ShapesDet(120, 2), batch_size=60, collate_fn=det_collate)
    net = GridDetector()
    params = [p for p in net.parameters() if p.requires_grad]
    opt = optim.SGD(params, lr=0.01, momentum=0.9, weight_decay=5e-4)
    sched = optim.lr_scheduler.MultiStepLR(opt, [6, 7], gamma=0.2)
    for epoch in range(8):
        net.train()
        for imgs, boxes, labels in train:
            losses = detection_loss(*net(imgs), boxes, labels)
            total = sum(losses.values())
            opt.zero_grad()
            total.backward()
            opt.step()
        sched.step()
        net.eval()
        ious, hit = [], []
        with torch.no_grad():
            for imgs, boxes, labels in val:
                obj, pb, pc = net(imgs)
                for n in range(len(imgs)):
                    score = obj[n].sigmoid().flatten()
                    top = score.topk(min(4, len(score))).indices
                    keep = torchvision.ops.nms(pb[n].view(-1, 4)[top], score[top], 0.4)
                    iou = torchvision.ops.box_iou(boxes[n], pb[n].view(-1, 4)[top][keep])
                    best, arg = iou.max(1)
                    ious += best.tolist()
                    hit += (pc[n].view(-1, 3)[top][keep][arg].argmax(1) == labels[n]).tolist()
        print(
            epoch,
            {k: round(v.item(), 3) for k, v in losses.items()},
            f"IoU {np.mean(ious):.3f} cls {np.mean(hit):.3f}",
        )
    return "higher", float(np.mean(ious)), 0.3


# ------------------------------------------------------------------ triplets
class PKSampler(Sampler):
    def __init__(self, labels, p, k, batches):
        self.groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
        self.p, self.k, self.batches = p, k, batches

    def __iter__(self):
        for _ in range(self.batches):
            out = []
            for c in np.random.choice(len(self.groups), self.p, replace=False):
                out += np.random.choice(self.groups[c], self.k, replace=False).tolist()
            yield out

    def __len__(self):
        return self.batches


def batch_hard_triplet(z, y, margin):
    d = torch.cdist(z, z)
    same = y[:, None] == y[None]
    ap = (d * same).max(1).values
    an = (d + 1e3 * same).min(1).values
    return F.relu(ap - an + margin).mean(), (ap < an).float().mean()


def triplet_metric_learning():
    np.random.seed(0)
    torch.manual_seed(0)
    X, y = load_digits(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X / 16, y, test_size=0.3, random_state=3, stratify=y)
    ds = TensorDataset(torch.tensor(Xtr, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(ytr))
    loader = DataLoader(ds, batch_sampler=PKSampler(ytr, 8, 6, 25))
    un = torch.tensor(Xte, dtype=torch.float32).view(-1, 1, 8, 8)
    yu = torch.tensor(yte)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.PReLU(),
        nn.Conv2d(32, 48, 3, stride=2, padding=1),
        nn.PReLU(),
        nn.Flatten(),
        nn.Linear(48 * 16, 64),
        nn.PReLU(),
        nn.Linear(64, 16),
    )
    opt = optim.Adam(net.parameters(), lr=5e-4)
    train_losses = []

    def violations(a, b):
        with torch.no_grad():
            z = F.normalize(net(a), dim=1)
        d, same = torch.cdist(z, z), b[:, None] == b[None]
        g = torch.Generator().manual_seed(1)
        i, j, k = (torch.randint(len(b), (20000,), generator=g) for _ in range(3))
        ok = same[i, j] & ~same[i, k] & (i != j)
        return (d[i, j] > d[i, k])[ok].float().mean().item()

    first = violations(un, yu)
    for epoch in range(6):
        for xb, yb in loader:
            z = F.normalize(net(xb), dim=1)
            loss, good = batch_hard_triplet(z, yb, 0.3)
            opt.zero_grad()
            loss.backward()
            opt.step()
            train_losses.append(loss.item())
        print(epoch, np.mean(train_losses[-25:]), good.item(), "test violations", violations(un, yu))
    return "lower", violations(un, yu), first


# ------------------------------------------------------------------ mixture of experts
class SparseMoE(nn.Module):
    def __init__(self, d, n_exp=4, k=2):
        super().__init__()
        self.k = k
        self.gate = nn.Linear(d, n_exp, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(d, 48), nn.GELU(), nn.Linear(48, d)) for _ in range(n_exp)
        )
        self.aux = None

    def forward(self, x):
        probs = self.gate(x).softmax(-1)
        w, idx = probs.topk(self.k, dim=-1)
        w = w / w.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows, slot = (idx == e).nonzero(as_tuple=True)
            if rows.numel() == 0:
                continue
            out.index_add_(0, rows, w[rows, slot, None] * expert(x[rows]))
        load = F.one_hot(idx, len(self.experts)).float().sum(1).mean(0)
        self.aux = len(self.experts) * (load * probs.mean(0)).sum() / self.k
        return x + out


def mixture_of_experts_regression():
    g = torch.Generator().manual_seed(12)
    torch.manual_seed(12)
    X = torch.rand(4000, 4, generator=g) * 4 - 2
    f = torch.where(
        X[:, 0] > 0,
        torch.where(X[:, 1] > 0, torch.sin(3 * X[:, 2]), X[:, 3] ** 2 - 1),
        torch.where(X[:, 1] > 0, X[:, 2] * X[:, 3], (X[:, 2] - X[:, 3]).abs() - 1),
    )
    y = (f + 0.05 * torch.randn(4000, generator=g)).unsqueeze(1)
    train, val = slice(0, 3200), slice(3200, None)
    net = nn.Sequential(
        nn.Linear(4, 64), nn.GELU(), SparseMoE(64), nn.LayerNorm(64), SparseMoE(64), nn.Linear(64, 1)
    )
    opt = optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-3)
    steps = 225
    sched = optim.lr_scheduler.OneCycleLR(opt, max_lr=6e-3, total_steps=steps)
    moes = [m for m in net if isinstance(m, SparseMoE)]
    done = 0
    while done < steps:
        for idx in torch.randperm(3200).chunk(25):
            pred = net(X[train][idx])
            mse = F.mse_loss(pred, y[train][idx])
            loss = mse + 0.01 * sum(m.aux for m in moes)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            done += 1
        with torch.no_grad():
            v = F.mse_loss(net(X[val]), y[val]).item()
        print(done, f"mse {mse.item():.4f} aux {moes[0].aux.item():.3f} val {v:.4f}")
    return "lower", v, y[val].var().item()


# ------------------------------------------------------------------ deep sets
class DeepSet(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(2, 64), nn.ELU(), nn.Linear(64, 64), nn.ELU())
        self.rho = nn.Sequential(nn.Linear(64, 64), nn.ELU(), nn.Linear(64, 1))

    def forward(self, x, m):
        h = (self.phi(x) * m.unsqueeze(-1)).sum(1) / m.sum(1, keepdim=True)
        return self.rho(h).squeeze(-1)


def deep_sets_covariance():
    """predict the covariance of a bag of 2-d points; fresh bags at each step"""
    torch.manual_seed(77)

    def bags(n, gen=None):
        size = torch.randint(20, 60, (n,), generator=gen)
        m = (torch.arange(60)[None] < size[:, None]).float()
        rho = torch.rand(n, 1, generator=gen) * 1.9 - 0.95
        a, b = torch.randn(n, 60, generator=gen), torch.randn(n, 60, generator=gen)
        x = torch.stack([a, rho * a + (1 - rho**2).sqrt() * b], -1) * m.unsqueeze(-1)
        mu = x.sum(1, keepdim=True) / m.sum(1)[:, None, None]
        c = ((x - mu).prod(-1) * m).sum(1) / m.sum(1)
        return x, m, c

    vx, vm, vc = bags(400, torch.Generator().manual_seed(1))
    net = DeepSet()
    opt = optim.Adam(net.parameters(), lr=2e-3)
    ema_loss = None
    for step in range(1, 241):
        x, m, c = bags(64)
        loss = torch.nn.functional.huber_loss(net(x, m), c)
        opt.zero_grad()
        loss.backward()
        opt.step()
        ema_loss = loss.item() if ema_loss is None else 0.9 * ema_loss + 0.1 * loss.item()
        if step % 60 == 0:
            with torch.no_grad():
                v = (net(vx, vm) - vc).square().mean().item()
            print(step, ema_loss, v)
    return "lower", v, vc.var().item()


# ------------------------------------------------------------------ neural ODE
class ODEFunc(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 2))
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.1)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y**3)


def rk4(func, y, t):
    ys = [y]
    for i in range(len(t) - 1):
        h = t[i + 1] - t[i]
        k1 = func(t[i], y)
        k2 = func(t[i] + h / 2, y + h / 2 * k1)
        k3 = func(t[i] + h / 2, y + h / 2 * k2)
        k4 = func(t[i + 1], y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        ys.append(y)
    return torch.stack(ys)


def neural_ode_spiral():
    np.random.seed(5)
    torch.manual_seed(5)
    true_A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    t = torch.linspace(0.0, 10.0, 401)
    with torch.no_grad():
        true_y = rk4(lambda s, y: (y**3) @ true_A, torch.tensor([[2.0, 0.0]]), t)
    train_T, bt = 300, 10  # the end of the trajectory stays unseen

    def get_batch(n=32):
        s = torch.from_numpy(np.random.choice(np.arange(train_T - bt, dtype=np.int64), n, replace=False))
        return true_y[s], t[:bt], torch.stack([true_y[s + i] for i in range(bt)], dim=0)

    func = ODEFunc()
    optimizer = optim.RMSprop(func.parameters(), lr=3e-3)
    with torch.no_grad():
        held = lambda: (
            (rk4(func, true_y[train_T], t[:60]) - true_y[train_T : train_T + 60]).abs().mean().item()
        )
        base = held()
    for itr in range(1, 201):
        optimizer.zero_grad()
        y0, bts, by = get_batch()
        loss = torch.mean(torch.abs(rk4(func, y0, bts) - by))
        loss.backward()
        optimizer.step()
        if itr == 140:
            for g in optimizer.param_groups:
                g["lr"] = 5e-4
        if itr % 40 == 0:
            with torch.no_grad():
                print(f"Iter {itr:04d} | loss {loss.item():.5f} | held out {held():.5f}")
    with torch.no_grad():
        return "lower", held(), base


# ------------------------------------------------------------------ PINN
def pinn_heat_equation():
    torch.manual_seed(9)
    alpha = 0.1
    net = nn.Sequential(
        nn.Linear(2, 48),
        nn.Tanh(),
        nn.Linear(48, 48),
        nn.Tanh(),
        nn.Linear(48, 48),
        nn.Tanh(),
        nn.Linear(48, 1),
    )
    for l in net:
        if isinstance(l, nn.Linear):
            nn.init.xavier_normal_(l.weight)
            nn.init.zeros_(l.bias)
    exact = lambda x, t: torch.exp(-alpha * math.pi**2 * t) * torch.sin(math.pi * x)

    def u(x, t):
        return net(torch.cat([x, t], 1))

    def grad(a, b):
        return torch.autograd.grad(a, b, torch.ones_like(a), create_graph=True)[0]

    def total_loss(n):
        x = torch.rand(n, 1, requires_grad=True)
        t = torch.rand(n, 1, requires_grad=True)
        v = u(x, t)
        r = grad(v, t) - alpha * grad(grad(v, x), x)
        xi = torch.rand(n // 4, 1)
        ic = u(xi, torch.zeros_like(xi)) - torch.sin(math.pi * xi)
        tb = torch.rand(n // 4, 1)
        bc0, bc1 = u(torch.zeros_like(tb), tb), u(torch.ones_like(tb), tb)
        return r.pow(2).mean(), ic.pow(2).mean(), bc0.pow(2).mean() + bc1.pow(2).mean()

    opt = optim.Adam(net.parameters(), lr=4e-3)
    sched = optim.lr_scheduler.ExponentialLR(opt, 0.995)
    gx, gt = torch.meshgrid(torch.linspace(0, 1, 30), torch.linspace(0, 1, 30), indexing="ij")
    gx, gt = gx.reshape(-1, 1), gt.reshape(-1, 1)
    for it in range(240):
        opt.zero_grad()
        pde, ic, bc = total_loss(256)
        loss = pde + 10 * ic + 10 * bc
        loss.backward()
        opt.step()
        sched.step()
        if it % 60 == 0:
            print(it, pde.item(), ic.item(), bc.item())
    with torch.no_grad():
        sol = exact(gx, gt)
        rel = ((u(gx, gt) - sol).norm() / sol.norm()).item()
    print("relative L2", rel)
    return "lower", rel, 1.0


# ------------------------------------------------------------------ meta learning
def _sine_task(rng):
    amp, ph = rng.uniform(1.0, 4.0), rng.uniform(0, math.pi / 2)

    def sample(n):
        x = torch.tensor(rng.uniform(-4, 4, (n, 1)), dtype=torch.float32)
        return x, amp * torch.sin(x + ph)

    return sample


def maml_sinusoids():
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    model = nn.Sequential(
        OrderedDict(
            l1=nn.Linear(1, 40), r1=nn.ReLU(), l2=nn.Linear(40, 40), r2=nn.ReLU(), l3=nn.Linear(40, 1)
        )
    )
    meta_opt = optim.Adam(model.parameters(), lr=3e-3)
    inner_lr = 0.02

    def adapt(params, x, y, steps, create_graph):
        for _ in range(steps):
            loss = F.mse_loss(functional_call(model, params, (x,)), y)
            grads = torch.autograd.grad(loss, list(params.values()), create_graph=create_graph)
            params = {k: p - inner_lr * g for (k, p), g in zip(params.items(), grads)}
        return params

    def evaluate(net_params, n=60):
        r, tot = np.random.default_rng(999), 0.0
        for _ in range(n):
            task = _sine_task(r)
            xs, ys = task(10)
            xq, yq = task(50)
            fast = adapt(dict(net_params), xs, ys, 3, False)
            with torch.no_grad():
                tot += F.mse_loss(functional_call(model, fast, (xq,)), yq).item()
        return tot / n

    base = evaluate({k: v.detach().clone().requires_grad_() for k, v in model.named_parameters()})
    for it in range(180):
        meta_opt.zero_grad()
        total = 0.0
        for _ in range(6):
            task = _sine_task(rng)
            xs, ys = task(10)
            xq, yq = task(20)
            fast = adapt(dict(model.named_parameters()), xs, ys, 1, True)
            q = F.mse_loss(functional_call(model, fast, (xq,)), yq) / 6
            q.backward()
            total += q.item()
        meta_opt.step()
        if it % 45 == 0:
            print(f"meta iter {it} post-adaptation loss {total:.3f}")
    return "lower", evaluate(dict(model.named_parameters())), base


def reptile_shared_curve():
    torch.manual_seed(15)
    rng = np.random.default_rng(15)

    def new_task():
        shift, tilt = rng.normal(0, 0.3), rng.normal(0, 0.2)
        fn = lambda x: torch.sin(2 * x) * 1.5 + 0.3 * x**2 + shift + tilt * x

        def sample(n):
            x = torch.tensor(rng.uniform(-2.5, 2.5, (n, 1)), dtype=torch.float32)
            return x, fn(x)

        return sample

    model = nn.Sequential(
        nn.Linear(1, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 1)
    )
    fresh = copy.deepcopy(model.state_dict())

    def finetune_score(weights):
        scores = []
        for _ in range(12):
            task, net = new_task(), copy.deepcopy(model)
            net.load_state_dict(weights)
            x, y = task(8)
            for _ in range(4):
                g = torch.autograd.grad(F.mse_loss(net(x), y), list(net.parameters()))
                with torch.no_grad():
                    for p, d in zip(net.parameters(), g):
                        p.sub_(0.02 * d)
            x, y = task(100)
            with torch.no_grad():
                scores.append(F.mse_loss(net(x), y).item())
        return float(np.mean(scores))

    base = finetune_score(fresh)
    outer, inner_steps = 25, 10
    for it in range(outer):
        before = {k: v.clone() for k, v in model.state_dict().items()}
        task = new_task()
        inner = optim.Adam(model.parameters(), lr=5e-3, betas=(0.0, 0.999))
        for _ in range(inner_steps):
            x, y = task(256)
            inner.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            inner.step()
        after, eps = model.state_dict(), 0.8 * (1 - it / outer) + 0.1
        model.load_state_dict({k: before[k] + eps * (after[k] - before[k]) for k in before})
        if it % 6 == 0:
            print(it, loss.item())
    return "lower", finetune_score(model.state_dict()), base


# ------------------------------------------------------------------ federated averaging
def federated_averaging():
    np.random.seed(8)
    torch.manual_seed(8)
    X, y = load_digits(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X / 16.0, y, test_size=0.2, random_state=8, stratify=y)
    m, s = Xtr.mean(), Xtr.std()
    Xtr, Xte = (Xtr - m) / s, (Xte - m) / s
    full = TensorDataset(torch.tensor(Xtr).float(), torch.tensor(ytr))
    Xte, yte = torch.tensor(Xte).float(), torch.tensor(yte)
    # non-iid: each client has its own Dirichlet mix of the classes
    parts = [[] for _ in range(5)]
    for c in range(10):
        idx = np.random.permutation(np.flatnonzero(ytr == c))
        cuts = (np.cumsum(np.random.dirichlet(np.full(5, 1.0)))[:-1] * len(idx)).astype(int)
        for p, s in zip(parts, np.split(idx, cuts)):
            p.extend(s.tolist())
    clients = [DataLoader(Subset(full, p), batch_size=32, shuffle=True) for p in parts]
    server = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))
    loss_fn = nn.CrossEntropyLoss()
    steps = 0
    for rnd in range(5):
        collected, sizes = [], []
        for loader in clients:
            local = copy.deepcopy(server)
            opt = optim.SGD(local.parameters(), lr=0.05, momentum=0.5)
            local.train()
            for xb, yb in loader:
                opt.zero_grad()
                loss = loss_fn(local(xb), yb)
                loss.backward()
                opt.step()
                steps += 1
            collected.append(local.state_dict())
            sizes.append(len(loader.dataset))
        w = np.array(sizes) / sum(sizes)
        server.load_state_dict(
            {k: sum(wi * sd[k] for wi, sd in zip(w, collected)) for k in collected[0]}
        )
        server.eval()
        with torch.no_grad():
            tl = loss_fn(server(Xte), yte).item()
        print(f"round {rnd} after {steps} local steps: {tl:.3f}")
    return "lower", tl, math.log(10)


LOOPS = [
    unet_with_resume,
    toy_object_detection,
    triplet_metric_learning,
    mixture_of_experts_regression,
    deep_sets_covariance,
    neural_ode_spiral,
    pinn_heat_equation,
    maml_sinusoids,
    reptile_shared_curve,
    federated_averaging,
]
