"""Metric learning, curricula, several tasks at once."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Sampler, TensorDataset

from .common import accuracy, digits_splits, random_shift, seed_everything, small_cnn


class PKSampler(Sampler):
    """P classes with K images each in every batch."""

    def __init__(self, labels, P, K, batches):
        self.by_class = {c: (labels == c).nonzero()[:, 0] for c in labels.unique().tolist()}
        self.P, self.K, self.batches = P, K, batches

    def __iter__(self):
        for _ in range(self.batches):
            classes = torch.randperm(len(self.by_class))[: self.P].tolist()
            keys = list(self.by_class)
            rows = []
            for c in classes:
                pool = self.by_class[keys[c]]
                rows.append(pool[torch.randperm(len(pool))[: self.K]])
            yield torch.cat(rows).tolist()

    def __len__(self):
        return self.batches


def embed_net(dim=16):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, dim),
        nn.BatchNorm1d(dim),
    )


@torch.no_grad()
def retrieval_at_1(net, gallery, query):
    net.eval()
    d = torch.cdist(F.normalize(net(query[0]), dim=1), F.normalize(net(gallery[0]), dim=1))
    acc = (gallery[1][d.argmin(1)] == query[1]).float().mean().item()
    net.train()
    return acc


def triplet_batch_hard_mining() -> None:
    """Batch-hard triplets from a P x K sampler; nearest-neighbour accuracy with three gallery images for each class."""
    seed_everything(0)
    train, (xv, yv), _ = digits_splits(image=True)
    gallery = torch.cat([(yv == c).nonzero()[:3, 0] for c in range(10)])
    query = torch.ones(len(xv), dtype=torch.bool)
    query[gallery] = False
    net = embed_net()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(*train), batch_sampler=PKSampler(train[1], 6, 8, batches=40))
    margin = 0.2

    def report():
        return retrieval_at_1(net, (xv[gallery], yv[gallery]), (xv[query], yv[query]))

    print(f"before: recall@1 {report():.3f}")
    for epoch in range(12):
        tot, act = 0.0, 0.0
        for xb, yb in loader:
            z = F.normalize(net(random_shift(xb)), dim=1)
            d = (2 - 2 * z @ z.t()).clamp_min(1e-6).sqrt()
            same = yb[:, None] == yb[None]
            hardest_pos = d.masked_fill(~same, 0).max(1).values
            hardest_neg = d.masked_fill(same, float("inf")).min(1).values
            per = F.relu(hardest_pos - hardest_neg + margin)
            loss = per.mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() / len(loader)
            act += (per > 0).float().mean().item() / len(loader)
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1} loss {tot:.3f} active {act:.2f} recall@1 {report():.3f}")


class ArcMargin(nn.Module):
    def __init__(self, dim, classes, s=16.0, m=0.3):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.xavier_uniform_(self.weight)
        self.s, self.m = s, m

    def forward(self, feat, label=None):
        cos = F.linear(F.normalize(feat), F.normalize(self.weight))
        if label is None:
            return self.s * cos
        sin = (1 - cos.pow(2)).clamp_min(1e-7).sqrt()
        phi = cos * math.cos(self.m) - sin * math.sin(self.m)
        phi = torch.where(
            cos > math.cos(math.pi - self.m), phi, cos - math.sin(math.pi - self.m) * self.m
        )
        hot = F.one_hot(label, cos.size(1)).bool()
        return self.s * torch.where(hot, phi, cos)


def arcface_margin() -> None:
    """Additive angular margin in training only; the training loss and accuracy look worse than those of validation."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    net, head = embed_net(32), ArcMargin(32, 10)
    opt = torch.optim.SGD(
        [{"params": net.parameters()}, {"params": head.parameters(), "weight_decay": 1e-3}],
        lr=0.05,
        momentum=0.9,
        weight_decay=5e-4,
    )
    sched = torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=20, power=0.9)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(20):
        net.train()
        hit = n = 0
        for xb, yb in loader:
            out = head(net(random_shift(xb)), yb)
            loss = F.cross_entropy(out, yb)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*net.parameters(), *head.parameters()], 5.0)
            opt.step()
            hit += (out.argmax(1) == yb).sum().item()
            n += len(xb)
        sched.step()
        if epoch % 5 == 4:
            net.eval()
            with torch.no_grad():
                val = (head(net(xv)).argmax(1) == yv).float().mean().item()
            print(
                f"epoch {epoch + 1} loss {loss.item():.3f} train accuracy with margin {hit / n:.3f} val {val:.3f}"
            )
    with torch.no_grad():
        print(f"test {(head(net(xt)).argmax(1) == yt).float().mean():.3f}")


def curriculum_by_difficulty() -> None:
    """Parity of growing bit strings: the loss jumps up whenever the length grows, examples made on the fly."""
    seed_everything(0)

    class ParityGRU(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(1, 32, batch_first=True)
            self.out = nn.Linear(32, 1)

        def forward(self, b):
            h, _ = self.rnn(b.unsqueeze(-1))
            return self.out(h).squeeze(-1)

    net = ParityGRU()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    length, stage_steps = 2, 0
    for step in range(1200):
        bits = torch.randint(0, 2, (64, length)).float()
        target = bits.cumsum(1) % 2
        logits = net(bits * 2 - 1)
        loss = F.binary_cross_entropy_with_logits(logits, target)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        stage_steps += 1
        acc = ((logits > 0) == (target > 0.5)).float().mean().item()
        if acc > 0.98 and stage_steps > 20 and length < 20:
            print(f"step {step + 1} length {length} loss {loss.item():.3f} accuracy {acc:.3f}")
            length, stage_steps = length + 3, 0
        if length == 20 and stage_steps > 250:
            break
    with torch.no_grad():
        bits = torch.randint(0, 2, (500, 30)).float()
        acc = ((net(bits * 2 - 1) > 0) == (bits.cumsum(1) % 2 > 0.5)).float().mean().item()
    print(f"loss {loss.item():.3f} at length {length}; accuracy at the unseen length 30 {acc:.3f}")


class MultiTask(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.cls, self.reg = nn.Linear(512, 10), nn.Linear(512, 2)
        self.log_var = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        h = self.trunk(x)
        return self.cls(h), self.reg(h)


def multitask_uncertainty_weighting() -> None:
    """Digit and centre of mass at once, weights learned as log-variances; the total loss becomes negative."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)

    def centre(z):
        r = torch.arange(8.0)
        m = z.sum((1, 2, 3))
        cy = (z.sum((1, 3)) * r).sum(1) / m
        cx = (z.sum((1, 2)) * r).sum(1) / m
        return torch.stack([cy, cx], 1) - 3.5

    net = MultiTask()
    opt = torch.optim.Adam(
        [
            {"params": [p for n, p in net.named_parameters() if n != "log_var"], "weight_decay": 1e-5},
            {"params": [net.log_var], "lr": 1e-2},
        ],
        lr=1e-3,
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    for epoch in range(25):
        net.train()
        for xb, yb in loader:
            xb = random_shift(xb)
            logit, pos = net(xb)
            ce, mse = F.cross_entropy(logit, yb), F.mse_loss(pos, centre(xb))
            s = net.log_var
            loss = torch.exp(-s[0]) * ce + 0.5 * s[0] + 0.5 * torch.exp(-s[1]) * mse + 0.5 * s[1]
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 6 == 0:
            net.eval()
            with torch.no_grad():
                logit, pos = net(xv)
            print(
                f"epoch {epoch} total {loss.item():.3f} val accuracy {(logit.argmax(1) == yv).float().mean():.3f} "
                f"centre mse {F.mse_loss(pos, centre(xv)):.4f} log var {[round(v, 2) for v in s.tolist()]}"
            )


def online_hard_example_mining() -> None:
    """OHEM: only the hardest part of each batch goes backward; the logged loss is that of the hard part."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    net = small_cnn(width=12)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    for epoch in range(20):
        net.train()
        keep = 1.0 if epoch < 3 else 0.5
        hard = 0.0
        for xb, yb in loader:
            per = F.cross_entropy(net(random_shift(xb)), yb, reduction="none")
            loss = per.topk(max(1, int(keep * len(per)))).values.mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            hard += loss.item()
        if epoch % 5 == 4:
            print(
                f"epoch {epoch + 1} hard loss {hard / len(loader):.3f} val {accuracy(net, xv, yv):.3f}"
            )
    print(f"test {accuracy(net, xt, yt):.3f}")


def domain_adversarial_gradient_reversal() -> None:
    """DANN: the domain loss rises on purpose (gradient reversal with a growing weight)."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z, lam):
            ctx.lam = lam
            return z.view_as(z)

        @staticmethod
        def backward(ctx, g):
            return -ctx.lam * g, None

    def shift_domain(z):
        return 0.3 + 0.4 * z + 0.3 * torch.linspace(0, 1, 8)

    half = len(x) // 2
    xs, ys, xu = x[:half], y[:half], shift_domain(x[half:])
    feat = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
    )
    cls = nn.Linear(64, 10)
    dom = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = torch.optim.SGD(
        [*feat.parameters(), *cls.parameters(), *dom.parameters()], lr=0.01, momentum=0.9
    )
    xt_shift = shift_domain(xt)

    @torch.no_grad()
    def test():
        feat.eval()
        out = [(cls(feat(z)).argmax(1) == yt).float().mean().item() for z in (xt, xt_shift)]
        feat.train()
        return out

    steps = 800
    for step in range(steps):
        p = step / steps
        lam = 0.3 * (2 / (1 + math.exp(-10 * p)) - 1)
        for g in opt.param_groups:
            g["lr"] = 0.01 / (1 + 10 * p) ** 0.75
        i, j = torch.randint(0, len(xs), (32,)), torch.randint(0, len(xu), (32,))
        h = feat(torch.cat([xs[i], xu[j]]))
        ce = F.cross_entropy(cls(h[:32]), ys[i])
        d = dom(Reverse.apply(h, lam)).squeeze(1)
        dl = F.binary_cross_entropy_with_logits(d, torch.cat([torch.zeros(32), torch.ones(32)]))
        loss = ce + dl
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 200 == 199:
            s, t = test()
            print(
                f"step {step + 1} ce {ce.item():.3f} domain {dl.item():.3f} source test {s:.3f} target test {t:.3f}"
            )


HEALTHY = [
    triplet_batch_hard_mining,
    arcface_margin,
    curriculum_by_difficulty,
    multitask_uncertainty_weighting,
    online_hard_example_mining,
    domain_adversarial_gradient_reversal,
]
