"""Self-supervised and semi-supervised learning."""

import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset

from .common import accuracy, digits_splits, random_shift, seed_everything, small_cnn, two_views


def make_encoder(dim=64):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, stride=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 16, dim),
    )


@torch.no_grad()
def linear_probe(enc, train, val, per_class=5):
    """Accuracy on the validation set of a linear classifier fitted on a few labelled training images."""
    was = enc.training
    enc.eval()
    a, b = enc(train[0]).numpy(), enc(val[0]).numpy()
    enc.train(was)
    mean, std = a.mean(0), a.std(0) + 1e-6
    few = torch.cat([(train[1] == c).nonzero()[:per_class, 0] for c in range(10)]).numpy()
    clf = LogisticRegression(max_iter=500, C=0.1).fit((a[few] - mean) / std, train[1].numpy()[few])
    return clf.score((b - mean) / std, val[1].numpy())


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


def simclr_nt_xent() -> None:
    """SimCLR with LARS-free SGD, NT-Xent over 2N views."""
    seed_everything(0)
    train, val, _ = digits_splits(image=True)
    enc, head = make_encoder(), mlp(64, 64, 32)
    opt = torch.optim.SGD(
        [*enc.parameters(), *head.parameters()], lr=0.1, momentum=0.9, weight_decay=1e-4
    )
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, drop_last=True)
    epochs = 20
    sched = torch.optim.lr_scheduler.OneCycleLR(
        opt, max_lr=0.1, epochs=epochs, steps_per_epoch=len(loader)
    )

    def nt_xent(z1, z2, tau=0.3):
        n = len(z1)
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        sim = z @ z.t() / tau
        sim.fill_diagonal_(float("-inf"))
        target = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
        return F.cross_entropy(sim, target)

    print(f"probe of the random network {linear_probe(enc, train, val):.3f}")
    for epoch in range(epochs):
        total = 0.0
        for x, _ in loader:
            v1, v2 = two_views(x)
            z = head(enc(torch.cat([v1, v2])))
            loss = nt_xent(*z.chunk(2))
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
            total += loss.item()
        if epoch % 6 == 0:
            print(f"epoch {epoch} loss {total / len(loader):.3f}")
    print(f"loss {total / len(loader):.3f} probe {linear_probe(enc, train, val):.3f}")


class SimSiam(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = make_encoder()
        self.projector = nn.Sequential(
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 64, bias=False),
            nn.BatchNorm1d(64, affine=False),
        )
        self.predictor = mlp(64, 16, 64)

    def forward(self, a, b):
        z1, z2 = self.projector(self.encoder(a)), self.projector(self.encoder(b))
        p1, p2 = self.predictor(z1), self.predictor(z2)
        return p1, p2, z1.detach(), z2.detach()


def simsiam() -> None:
    """SimSiam: stop-gradient, a negative loss, predictor without learning-rate decay."""
    seed_everything(0)
    train, val, _ = digits_splits(image=True)
    model = SimSiam()
    base_lr, epochs = 0.1, 40
    opt = torch.optim.SGD(
        [
            {"params": [*model.encoder.parameters(), *model.projector.parameters()], "fix_lr": False},
            {"params": model.predictor.parameters(), "fix_lr": True},
        ],
        lr=base_lr,
        momentum=0.9,
        weight_decay=1e-4,
    )
    criterion = nn.CosineSimilarity(dim=1)
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, drop_last=True)
    print(f"probe of the random network {linear_probe(model.encoder, train, val):.3f}")
    for epoch in range(epochs):
        cur = base_lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        for g in opt.param_groups:
            g["lr"] = base_lr if g["fix_lr"] else cur
        for x, _ in loader:
            p1, p2, z1, z2 = model(*two_views(x))
            loss = -0.5 * (criterion(p1, z2).mean() + criterion(p2, z1).mean())
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 13 == 0 or epoch == epochs - 1:
            std = F.normalize(z1, dim=1).std(0).mean().item()
            print(
                f"epoch {epoch} loss {loss.item():.3f} output std {std:.3f} (1/sqrt(d) = {64**-0.5:.3f}) "
                f"probe {linear_probe(model.encoder, train, val):.3f}"
            )


def byol() -> None:
    """BYOL with a momentum target whose rate goes to one by a cosine."""
    seed_everything(0)
    train, val, _ = digits_splits(image=True)
    online = nn.ModuleDict({"enc": make_encoder(), "proj": mlp(64, 64, 32)})
    predictor = mlp(32, 64, 32)
    target = copy.deepcopy(online)
    for p in target.parameters():
        p.requires_grad = False
    opt = torch.optim.Adam([*online.parameters(), *predictor.parameters()], lr=2e-3, weight_decay=1e-6)
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, drop_last=True)
    epochs = 30
    print(f"probe of the random network {linear_probe(online['enc'], train, val):.3f}")
    total_steps, step = epochs * len(loader), 0

    def regression_loss(p, z):
        return 2 - 2 * F.cosine_similarity(p, z, dim=-1).mean()

    for epoch in range(epochs):
        for x, _ in loader:
            v1, v2 = two_views(x)
            p1 = predictor(online["proj"](online["enc"](v1)))
            p2 = predictor(online["proj"](online["enc"](v2)))
            with torch.no_grad():
                t1 = target["proj"](target["enc"](v1))
                t2 = target["proj"](target["enc"](v2))
            loss = regression_loss(p1, t2) + regression_loss(p2, t1)
            opt.zero_grad()
            loss.backward()
            opt.step()
            m = 1 - (1 - 0.98) * (math.cos(math.pi * step / total_steps) + 1) / 2
            with torch.no_grad():
                for pt, po in zip(target.parameters(), online.parameters()):
                    pt.mul_(m).add_(po, alpha=1 - m)
            step += 1
        if epoch % 6 == 0 or epoch == epochs - 1:
            print(
                f"epoch {epoch} loss {loss.item():.3f} probe {linear_probe(online['enc'], train, val):.3f}"
            )


class MoCo(nn.Module):
    def __init__(self, dim=32, K=512, m=0.97, T=0.2):
        super().__init__()
        self.K, self.m, self.T = K, m, T
        self.q = nn.Sequential(make_encoder(), mlp(64, 64, dim))
        self.k = copy.deepcopy(self.q).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(dim, K), dim=0))
        self.ptr = 0

    @torch.no_grad()
    def _momentum_update(self):
        for pk, pq in zip(self.k.parameters(), self.q.parameters()):
            pk.data = pk.data * self.m + pq.data * (1 - self.m)

    @torch.no_grad()
    def _enqueue(self, keys):
        n = len(keys)
        assert self.K % n == 0
        self.queue[:, self.ptr : self.ptr + n] = keys.t()
        self.ptr = (self.ptr + n) % self.K

    def forward(self, im_q, im_k):
        q = F.normalize(self.q(im_q), dim=1)
        with torch.no_grad():
            self._momentum_update()
            k = F.normalize(self.k(im_k), dim=1)
        l_pos = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
        l_neg = torch.einsum("nc,ck->nk", q, self.queue.clone().detach())
        logits = torch.cat([l_pos, l_neg], 1) / self.T
        self._enqueue(k)
        return logits, torch.zeros(len(logits), dtype=torch.long)


def moco_queue() -> None:
    """MoCo: the labels are all zero, the keys come from a momentum encoder, the loss rises at first with the queue."""
    seed_everything(0)
    train, val, _ = digits_splits(image=True)
    model = MoCo()
    opt = torch.optim.SGD(model.q.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, drop_last=True)
    for epoch in range(30):
        model.train()
        tot, hit, n = 0.0, 0, 0
        for x, _ in loader:
            logits, labels = model(*two_views(x))
            loss = F.cross_entropy(logits, labels)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() * len(x)
            hit += (logits.argmax(1) == 0).sum().item()
            n += len(x)
        if epoch % 8 == 0 or epoch == 29:
            print(
                f"epoch {epoch} loss {tot / n:.3f} acc@1 {hit / n:.3f} probe {linear_probe(model.q[0], train, val):.3f}"
            )


class DINOHead(nn.Module):
    def __init__(self, in_dim, out_dim, bottleneck=32):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.BatchNorm1d(in_dim),
            nn.GELU(),
            nn.Linear(in_dim, 128),
            nn.BatchNorm1d(128),
            nn.GELU(),
            nn.Linear(128, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.randn(out_dim, bottleneck))

    def forward(self, x):
        return F.normalize(self.mlp(x), dim=-1) @ F.normalize(self.prototypes, dim=-1).t()


def dino_centering() -> None:
    """DINO: teacher by EMA, centring and sharpening, soft cross-entropy between views."""
    seed_everything(0)
    train, val, _ = digits_splits(image=True)
    out_dim = 64
    student = nn.Sequential(make_encoder(), DINOHead(64, out_dim))
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(False)
    center = torch.zeros(1, out_dim)
    opt = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=0.04)
    loader = DataLoader(TensorDataset(*train), batch_size=128, shuffle=True, drop_last=True)
    tau_s, tau_t = 0.1, 0.04
    print(f"probe of the random network {linear_probe(student[0], train, val):.3f}")
    for epoch in range(20):
        for x, _ in loader:
            views = two_views(x)
            with torch.no_grad():
                t_raw = [teacher(v) for v in views]
                t_out = [F.softmax((t - center) / tau_t, dim=-1) for t in t_raw]
            s_out = [F.log_softmax(student(v) / tau_s, dim=-1) for v in views]
            loss = 0.5 * (-(t_out[0] * s_out[1]).sum(-1).mean() - (t_out[1] * s_out[0]).sum(-1).mean())
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 3.0)
            opt.step()
            with torch.no_grad():
                for t, s in zip(teacher.parameters(), student.parameters()):
                    t.mul_(0.99).add_(s.detach(), alpha=0.01)
                center = 0.9 * center + 0.1 * torch.cat(t_raw).mean(0, keepdim=True)
        if epoch % 8 == 0:
            mean_t = torch.cat(t_out).mean(0)
            ent = -(mean_t * (mean_t + 1e-9).log()).sum().item()
            print(
                f"epoch {epoch} loss {loss.item():.3f} entropy of the mean teacher {ent:.2f} "
                f"probe {linear_probe(student[0], train, val):.3f}"
            )


def fixmatch() -> None:
    """FixMatch: pseudo-labels above a threshold, two loaders with different batch sizes."""
    seed_everything(0)
    (x, y), (xv, yv), (xt, yt) = digits_splits(image=True)
    labelled = torch.cat([(y == c).nonzero()[:10, 0] for c in range(10)])
    rest = torch.ones(len(x), dtype=torch.bool)
    rest[labelled] = False
    unlabelled = x[rest]
    xl, yl = x[labelled], y[labelled]
    net = small_cnn(width=12)
    opt = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = 400
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda k: math.cos(7 * math.pi * k / (16 * steps)))
    mu, B, thr = 3, 32, 0.95

    def weak(z):
        return random_shift(z) if torch.rand(()) < 0.5 else z

    def strong(z):
        z = random_shift(z) + 0.2 * torch.randn_like(z)
        keep = torch.rand(len(z), 1, 8, 8) > 0.15
        return z * keep

    for step in range(steps):
        net.train()
        i = torch.randint(0, len(xl), (B,))
        j = torch.randperm(len(unlabelled))[: mu * B]
        inputs = torch.cat([weak(xl[i]), weak(unlabelled[j]), strong(unlabelled[j])])
        logits = net(inputs)
        lx, (lw, ls) = logits[:B], logits[B:].chunk(2)
        loss_x = F.cross_entropy(lx, yl[i])
        prob, pseudo = torch.softmax(lw.detach(), dim=-1).max(-1)
        mask = (prob >= thr).float()
        loss_u = (F.cross_entropy(ls, pseudo, reduction="none") * mask).mean()
        loss = loss_x + loss_u
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1} Lx {loss_x.item():.3f} Lu {loss_u.item():.3f} mask {mask.mean():.2f} val {accuracy(net, xv, yv):.3f}"
            )
    print(f"test {accuracy(net, xt, yt):.3f}")


def mean_teacher() -> None:
    """Mean Teacher: consistency weight ramp-up, teacher by EMA evaluated at the end."""
    seed_everything(0)
    (x, y), _, (xt, yt) = digits_splits(image=True)
    labelled = torch.cat([(y == c).nonzero()[:10, 0] for c in range(10)])
    y_semi = torch.full_like(y, -1)
    y_semi[labelled] = y[labelled]
    student = small_cnn(width=12)
    teacher = copy.deepcopy(student)
    for p in teacher.parameters():
        p.detach_()
    opt = torch.optim.Adam(student.parameters(), lr=2e-3)
    ce = nn.CrossEntropyLoss(ignore_index=-1, reduction="sum")
    gstep, ramp = 0, 150

    def noisy(z):
        return random_shift(z) + 0.1 * torch.randn_like(z)

    unl = (y_semi < 0).nonzero()[:, 0]
    for epoch in range(28):
        order = unl[torch.randperm(len(unl))]
        for k in range(0, len(order) - 63, 64):
            lab = labelled[torch.randint(0, len(labelled), (32,))]
            idx = torch.cat([lab, order[k : k + 64]])
            xb, yb = x[idx], y_semi[idx]
            s_logits = student(noisy(xb))
            with torch.no_grad():
                t_logits = teacher(noisy(xb))
            w = 5.0 * math.exp(-5 * (1 - min(gstep, ramp) / ramp) ** 2)
            cls = ce(s_logits, yb) / 32
            cons = F.mse_loss(s_logits.softmax(1), t_logits.softmax(1))
            loss = cls + w * cons
            opt.zero_grad()
            loss.backward()
            opt.step()
            gstep += 1
            alpha = min(1 - 1 / (gstep + 1), 0.99)
            for te, st in zip(teacher.parameters(), student.parameters()):
                te.data.mul_(alpha).add_(st.data, alpha=1 - alpha)
    print(
        f"cls {cls.item():.3f} cons {cons.item():.4f} student {accuracy(student, xt, yt):.3f} teacher {accuracy(teacher, xt, yt):.3f}"
    )


HEALTHY = [simclr_nt_xent, simsiam, byol, moco_queue, dino_centering, fixmatch, mean_teacher]
