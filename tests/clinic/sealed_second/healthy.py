"""Trainings that look unusual and are sound."""

import math
import random

import numpy as np
import sklearn.datasets as skd
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pytest_dlcheck import Recipe

from . import digits, f32, gen, pair, patches, split, table


# 1 ------------------------------------------------------------ quasi-newton on a small table
def stone_bridge() -> Recipe:
    (x, y), (xv, yv) = table("diabetes", 350)
    y, yv = y.float(), yv.float()
    mean, std = y.mean(), y.std()
    model = nn.Sequential(nn.Linear(10, 6), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0))

    def loss(o, t):
        ridge = sum((p**2).sum() for p in model.parameters() if p.dim() > 1)
        return ((o - t) ** 2).mean() + 0.02 * ridge

    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x, (y - mean) / std), 350, shuffle=True, generator=gen()),
        val_data=DataLoader(TensorDataset(xv, (yv - mean) / std), 128),
        loss=loss,
        optimizer=torch.optim.LBFGS(
            model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe"
        ),
    )


# 2 ------------------------------------------------------------ bfloat16
def grey_heron() -> Recipe:
    train, val = pair(*digits(), 64)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.GroupNorm(4, 24),
        nn.SiLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1),
        nn.GroupNorm(8, 48),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(768, 10),
    )
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        precision="bf16-mixed",
        shapes="b 1 8 8 -> b 10",
    )


# 3 ------------------------------------------------------------ random features that stay, a head that learns
class RandomFeatures(nn.Module):
    def __init__(self, width=512):
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU())
        self.backbone.requires_grad_(False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.backbone(x))


def oak_table() -> Recipe:
    train, val = pair(*digits(), 64)
    model = RandomFeatures()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        frozen=["backbone.*"],
        optimizer=torch.optim.Adam(model.head.parameters(), lr=5e-3),
    )


# 4 ------------------------------------------------------------ SimSiam: a stop-gradient and a negative loss
class Siam(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 96, bias=False),
            nn.BatchNorm1d(96),
            nn.ReLU(),
            nn.Linear(96, d, bias=False),
            nn.BatchNorm1d(d, affine=False),
        )
        self.pred = nn.Sequential(
            nn.Linear(d, 24, bias=False), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, d)
        )

    def forward(self, a, b):
        za, zb = self.enc(a), self.enc(b)
        return self.pred(za), self.pred(zb), za.detach(), zb.detach()


class TwoViews(Dataset):
    def __init__(self, x, noise=0.3):
        self.x, self.noise = x, noise

    def __len__(self):
        return len(self.x)

    def view(self, x):
        dx = int(torch.randint(-1, 2, ()))
        return torch.roll(x, dx, 2) + self.noise * torch.randn_like(x)

    def __getitem__(self, i):
        return (self.view(self.x[i]), self.view(self.x[i])), 0


def mirror_lake() -> Recipe:
    (x, _), (xv, _) = digits()
    model = Siam()

    def loss(o, _):
        pa, pb, za, zb = o
        return -(F.cosine_similarity(pa, zb).mean() + F.cosine_similarity(pb, za).mean()) / 2

    return Recipe(
        model=model,
        train_data=DataLoader(TwoViews(x), 128, shuffle=True, generator=gen(), drop_last=True),
        val_data=DataLoader(TwoViews(xv), 128),
        loss=loss,
        batch_dim=None,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
    )


# 5 ------------------------------------------------------------ a normalising flow: the log likelihood may exceed 1
class Coupling(nn.Module):
    def __init__(self, flip, d=48):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(1, d), nn.Tanh(), nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 2))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        a, b = x[:, :1], x[:, 1:]
        if self.flip:
            a, b = b, a
        s, t = self.net(a).chunk(2, 1)
        s = torch.tanh(s) * 2
        b = b * s.exp() + t
        return torch.cat([b, a] if self.flip else [a, b], 1), s[:, 0]


class Flow(nn.Module):
    def __init__(self, depth=6):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(k % 2 == 1) for k in range(depth))

    def forward(self, x):
        logdet = torch.zeros(len(x), device=x.device)
        for layer in self.layers:
            x, s = layer(x)
            logdet = logdet + s
        return -0.5 * (x**2).sum(1) - math.log(2 * math.pi) + logdet


def paper_crane() -> Recipe:
    x, _ = skd.make_moons(2000, noise=0.03, random_state=1)
    x = f32(x) * 0.3
    train, val = pair((x[:1600],), (x[1600:],), 128)
    model = Flow()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        forward=lambda m, b: m(b[0]),
        targets=lambda b: b[0],
        loss=lambda logp, _: -logp.mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        max_grad_norm=20.0,
    )


# 6 ------------------------------------------------------------ ragged bags through offsets
def _ragged(n, seed):
    g = gen(seed)
    topic = torch.randint(0, 4, (n,), generator=g)
    docs = []
    for k in topic.tolist():
        w = torch.ones(60)
        w[k * 10 : k * 10 + 10] = 3.0
        docs.append(
            torch.multinomial(
                w, int(torch.randint(8, 40, (1,), generator=g)), replacement=True, generator=g
            )
        )
    return list(zip(docs, topic.tolist()))


def _bag_up(items):
    docs, topics = zip(*items)
    offsets = torch.tensor([0, *np.cumsum([len(d) for d in docs])[:-1].tolist()])
    return (torch.cat(docs), offsets), torch.tensor(topics)


class BagOfWords(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(60, 24, mode="mean")
        self.net = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, words, offsets):
        return self.net(self.bag(words, offsets))


def wool_basket() -> Recipe:
    model = BagOfWords()
    return Recipe(
        model=model,
        train_data=DataLoader(_ragged(1500, 1), 32, shuffle=True, collate_fn=_bag_up, generator=gen()),
        val_data=DataLoader(_ragged(300, 2), 64, collate_fn=_bag_up),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3),
    )


# 7 ------------------------------------------------------------ dict batches, a model that knows its loss
class Answer(dict):
    __getattr__ = dict.__getitem__


class Asks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(8, 48, 3, padding=1)
        self.attn = nn.Linear(48, 1)
        self.head = nn.Linear(48, 10)

    def forward(self, rows, labels=None):
        h = F.gelu(self.conv(rows.transpose(1, 2))).transpose(1, 2)
        h = (self.attn(h).softmax(1) * h).sum(1)
        logits = self.head(h)
        out = Answer(logits=logits)
        if labels is not None:
            out["loss"] = F.cross_entropy(logits, labels)
        return out


class DictRows(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return {"rows": self.x[i, 0], "labels": self.y[i]}


def brass_key() -> Recipe:
    a, b = digits()
    model = Asks()
    return Recipe(
        model=model,
        train_data=DataLoader(DictRows(*a), 48, shuffle=True, generator=gen()),
        val_data=DataLoader(DictRows(*b), 64),
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2),
    )


# 8 ------------------------------------------------------------ twenty athletes, a linear model, much decay
def morning_run() -> Recipe:
    d = skd.load_linnerud()
    x, y = f32(d.data), f32(d.target)
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
    model = nn.Linear(3, 3)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x, y), 20, shuffle=True, generator=gen()),
        loss=nn.MSELoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.05),
    )


# 9 ------------------------------------------------------------ quantiles by the pinball loss
class Quantiles(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 3)
        )

    def forward(self, x):
        first, *steps = self.net(x).split(1, 1)
        return torch.cumsum(torch.cat([first, *(F.softplus(s) for s in steps)], 1), 1)


def rain_barrel() -> Recipe:
    g = gen(5)
    x = torch.rand(1600, 1, generator=g) * 4 - 2
    y = torch.sin(2 * x) + (0.1 + 0.2 * x.abs()) * torch.randn(x.shape, generator=g)
    train, val = pair((x[:1300], y[:1300]), (x[1300:], y[1300:]), 64)
    model = Quantiles()

    def pinball(o, y):
        q = torch.tensor([0.1, 0.5, 0.9], device=o.device)
        miss = y - o
        return torch.maximum(q * miss, (q - 1) * miss).mean()

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=pinball,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        metrics={"covered": lambda o, y: ((y >= o[:, :1]) & (y <= o[:, 2:])).float().mean()},
        shapes="b 1 -> b 3",
    )


# 10 ----------------------------------------------------------- a mixture density network on a relation, not a function
class Mixture(nn.Module):
    def __init__(self, k=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 3 * k))

    def forward(self, x):
        logit, mu, logstd = self.net(x).chunk(3, 1)
        return logit, 2 * mu, logstd.clamp(-5, 3)


def forked_path() -> Recipe:
    g = gen(6)
    y = torch.rand(1600, 1, generator=g) * 2 - 1
    x = (y + 0.3 * torch.sin(6.28 * y) + 0.05 * torch.randn(y.shape, generator=g)) * 1.5
    train, val = pair((x[:1300], y[:1300]), (x[1300:], y[1300:]), 64)
    model = Mixture()

    def loss(o, y):
        logit, mu, logstd = o
        logp = -0.5 * ((y - mu) / logstd.exp()) ** 2 - logstd - 0.919
        return -torch.logsumexp(logit.log_softmax(1) + logp, 1).mean()

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


# 11 ----------------------------------------------------------- Cox's partial likelihood over the batch
def last_train() -> Recipe:
    g = gen(7)
    x = torch.randn(1400, 6, generator=g)
    risk = x[:, 0] - 0.8 * x[:, 1] + x[:, 2] * x[:, 3]
    time = -torch.log(torch.rand(1400, generator=g)) * torch.exp(-risk)
    limit = 3 * torch.rand(1400, generator=g)
    y = torch.stack([torch.minimum(time, limit), (time <= limit).float()], 1)
    train, val = pair((x[:1100], y[:1100]), (x[1100:], y[1100:]), 64)
    model = nn.Sequential(
        nn.Linear(6, 48),
        nn.ReLU(),
        nn.Linear(48, 48),
        nn.ReLU(),
        nn.Linear(48, 1, bias=False),
        nn.Flatten(0),
    )

    def cox(risk, y):
        order = y[:, 0].argsort(descending=True)
        risk, event = risk[order], y[order, 1]
        return -((risk - torch.logcumsumexp(risk, 0)) * event).sum() / event.sum().clamp(min=1)

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=cox,
        batch_dim=None,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2),
    )


# 12 ----------------------------------------------------------- all triplets of a batch
def magpie_nest() -> Recipe:
    train, val = pair(*digits(), 96, drop_last=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))

    def triplets(z, y):
        far = torch.cdist(z, z)
        same = y[:, None] == y[None]
        gap = F.softplus(far[:, :, None] - far[:, None, :] + 1)
        valid = (same & ~torch.eye(len(y), dtype=torch.bool, device=y.device))[:, :, None] & ~same[
            :, None, :
        ]
        return (gap * valid).sum() / valid.sum().clamp(min=1)

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=triplets,
        batch_dim=None,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# 13 ----------------------------------------------------------- sines that draw a temple
class Sines(nn.Module):
    def __init__(self, d=128, w=12.0):
        super().__init__()
        self.w = w
        self.layers = nn.ModuleList([nn.Linear(2, d), nn.Linear(d, d), nn.Linear(d, d)])
        self.out = nn.Linear(d, 3)
        with torch.no_grad():
            self.layers[0].weight.uniform_(-0.5, 0.5)
            for layer in [*self.layers[1:], self.out]:
                bound = math.sqrt(6 / d) / w
                layer.weight.uniform_(-bound, bound)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(self.w * layer(x))
        return self.out(x)


def temple_hill() -> Recipe:
    image = f32(skd.load_sample_images().images[0]).permute(2, 0, 1)[None] / 127.5 - 1
    image = F.adaptive_avg_pool2d(image, (48, 64))[0]
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 64), indexing="ij")
    x, y = torch.stack([yy, xx], -1).reshape(-1, 2), image.flatten(1).t().contiguous()
    tr, va = split(len(x), 2560, 4)
    train, val = pair((x[tr], y[tr]), (x[va], y[va]), 256)
    model = Sines()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        shapes="b 2 -> b 3",
    )


# 14 ----------------------------------------------------------- one block, used again and again
class Again(nn.Module):
    def __init__(self, d=64, times=6):
        super().__init__()
        self.times = times
        self.inp = nn.Linear(64, d)
        self.f = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.Tanh(), nn.Linear(d, d))
        self.out = nn.Linear(d, 10)

    def forward(self, x):
        h, dt = self.inp(x.flatten(1)), 1 / self.times
        for _ in range(self.times):
            k1 = self.f(h)
            k2 = self.f(h + dt * k1)
            h = h + dt * (k1 + k2) / 2
        return self.out(h)


def water_wheel() -> Recipe:
    train, val = pair(*digits(), 64)
    model = Again()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


# 15 ----------------------------------------------------------- one graph, few known labels, the whole of it each step
class Neighbours(nn.Module):
    def __init__(self, adj, d=48):
        super().__init__()
        self.register_buffer("adj", adj)
        self.a, self.b = nn.Linear(64, d), nn.Linear(d, 10)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        h = self.drop(F.relu(self.a(self.adj @ x)))
        return self.b(self.adj @ h)


class OneGraph(IterableDataset):
    def __init__(self, x, y):
        self.item = (x, y)

    def __iter__(self):
        yield self.item


def spider_web() -> Recipe:
    (x, y), _ = digits()
    x, y = x[:600].flatten(1), y[:600]
    near = torch.cdist(x, x).topk(7, largest=False).indices
    a = torch.zeros(600, 600).scatter_(1, near, 1.0)
    a = ((a + a.t()) > 0).float()
    scale = a.sum(1).rsqrt()
    a = scale[:, None] * a * scale
    known = torch.rand(600, generator=gen(3)) < 0.2
    model = Neighbours(a)
    some, rest = torch.where(known, y, -100), torch.where(known, -100, y)
    return Recipe(
        model=model,
        train_data=DataLoader(OneGraph(x, some), batch_size=None),
        val_data=DataLoader(OneGraph(x, rest), batch_size=None),
        loss=nn.CrossEntropyLoss(ignore_index=-100),
        batch_dim=None,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4),
        metrics={"unknown": lambda o, y: (o.argmax(1) == y)[y >= 0].float().mean()},
    )


# 16 ----------------------------------------------------------- one matrix, there and back
class ThereAndBack(nn.Module):
    def __init__(self, d=20):
        super().__init__()
        self.w = nn.Parameter(torch.randn(d, 64) / 8)
        self.down, self.up = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(64))

    def forward(self, x):
        return F.linear(F.softplus(F.linear(x, self.w, self.down)), self.w.t(), self.up)


def rope_swing() -> Recipe:
    (x, _), (xv, _) = digits()
    x, xv = x.flatten(1), xv.flatten(1)
    train, val = pair((x, x), (xv, xv), 64)
    model = ThereAndBack()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda o, t: (o - t).square().sum(1).mean() / 64,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b 64 -> b 64",
    )


# 17 ----------------------------------------------------------- a code book, straight through
class Codes(nn.Module):
    def __init__(self, parts=6, codes=16, d=6):
        super().__init__()
        self.parts, self.d = parts, d
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, parts * d))
        self.book = nn.Parameter(torch.randn(parts, codes, d) * 0.3)
        self.dec = nn.Sequential(nn.Linear(parts * d, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x):
        z = self.enc(x).view(len(x), self.parts, self.d)
        far = ((z[:, :, None] - self.book) ** 2).sum(-1)
        q = self.book[torch.arange(self.parts, device=x.device), far.argmin(-1)]
        out = self.dec((z + (q - z).detach()).flatten(1))
        return out.view_as(x), z, q


def stamp_album() -> Recipe:
    (x, _), (xv, _) = digits()
    train, val = pair((x, x), (xv, xv), 64)
    model = Codes()

    def loss(o, x):
        out, z, q = o
        return F.mse_loss(out, x) + F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# 18 ----------------------------------------------------------- mixed pictures
def paint_box() -> Recipe:
    train, val = pair(*digits(), 64, drop_last=True)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )

    def step(model, batch):
        x, y = batch
        target = F.one_hot(y, 10).float()
        if model.training:
            share = float(np.random.beta(0.4, 0.4))
            order = torch.randperm(len(x), device=x.device)
            x, target = share * x + (1 - share) * x[order], share * target + (1 - share) * target[order]
        out = model(x)
        return -(target * out.log_softmax(1)).sum(1).mean(), out

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        training_step=step,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
    )


# 19 ----------------------------------------------------------- small batches, gathered; warm-up and cosine
def snail_mail() -> Recipe:
    train, val = pair(*digits(), 8)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.GroupNorm(4, 32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def rate(step):
        return (
            (step + 1) / 10
            if step < 10
            else 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, (step - 10) / 200)))
        )

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        accumulate=4,
        max_grad_norm=5.0,
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, rate),
    )


# 20 ----------------------------------------------------------- signs with a straight-through gradient
class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class BinaryLinear(nn.Linear):
    def forward(self, x):
        return F.linear(x, _Sign.apply(self.weight) * self.weight.abs().mean().detach(), self.bias)


def chess_club() -> Recipe:
    train, val = pair(*digits(), 64)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 96),
        nn.LayerNorm(96),
        nn.ReLU(),
        BinaryLinear(96, 96),
        nn.LayerNorm(96),
        nn.ReLU(),
        nn.Linear(96, 10),
    )
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# 21 ----------------------------------------------------------- masked steps of a wave
class Cloze(nn.Module):
    def __init__(self, vocab, d=48):
        super().__init__()
        self.emb = nn.Embedding(vocab + 1, d)
        nn.init.normal_(self.emb.weight, std=d**-0.5)
        self.mix = nn.ModuleList(nn.Conv1d(d, d, 3, padding=gap, dilation=gap) for gap in (1, 2, 1))
        self.norm, self.bias = nn.LayerNorm(d), nn.Parameter(torch.zeros(vocab))

    def forward(self, ids):
        h = self.emb(ids).transpose(1, 2)
        for mix in self.mix:
            h = h + F.gelu(mix(h))
        return self.norm(h.transpose(1, 2)) @ self.emb.weight[:-1].t() + self.bias


class Masked(Dataset):
    def __init__(self, ids, hole, seed):
        self.ids, self.hole = ids, hole
        self.where = torch.rand(ids.shape, generator=gen(seed)) < 0.2
        self.where[
            torch.arange(len(ids)), torch.randint(0, ids.shape[1], (len(ids),), generator=gen(seed + 1))
        ] = True

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        ids, where = self.ids[i], self.where[i]
        return torch.where(where, self.hole, ids), torch.where(where, ids, -100)


def _waves(n, seed, levels=16, length=20):
    g = gen(seed)
    w, phase, size = (
        0.15 + 0.35 * torch.rand(n, 1, generator=g),
        6.283 * torch.rand(n, 1, generator=g),
        0.5 + 0.5 * torch.rand(n, 1, generator=g),
    )
    return ((size * torch.sin(w * torch.arange(length) + phase) + 1) / 2 * (levels - 1)).round().long()


def moth_holes() -> Recipe:
    a, b, vocab = _waves(2000, 3), _waves(300, 4), 16
    model = Cloze(vocab)

    def loss(o, y):
        return F.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=-100)

    return Recipe(
        model=model,
        train_data=DataLoader(Masked(a, vocab, 1), 48, shuffle=True, generator=gen()),
        val_data=DataLoader(Masked(b, vocab, 5), 64),
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3),
        metrics={"filled": lambda o, y: (o.argmax(-1) == y)[y >= 0].float().mean()},
    )


# 22 ----------------------------------------------------------- sparse tables, no hidden layer: bilinear by design
class Factors(nn.Module):
    def __init__(self, users, items, d=6):
        super().__init__()
        self.u, self.v = nn.Embedding(users, d, sparse=True), nn.Embedding(items, d, sparse=True)
        self.bu, self.bv = nn.Embedding(users, 1, sparse=True), nn.Embedding(items, 1, sparse=True)
        for e in (self.u, self.v):
            nn.init.normal_(e.weight, std=0.3)
        for e in (self.bu, self.bv):
            nn.init.zeros_(e.weight)

    def forward(self, user, item):
        return (self.u(user) * self.v(item)).sum(1) + (self.bu(user) + self.bv(item))[:, 0]


class Visits(Dataset):
    def __init__(self, u, i, r):
        self.u, self.i, self.r = u, i, r

    def __len__(self):
        return len(self.u)

    def __getitem__(self, k):
        return (self.u[k], self.i[k]), self.r[k]


def market_stall() -> Recipe:
    g = gen(8)
    u, v = torch.randn(50, 2, generator=g), torch.randn(50, 2, generator=g)
    bu, bv = torch.randn(50, generator=g), torch.randn(50, generator=g)
    cell = torch.randperm(2500, generator=g)
    i, j = cell // 50, cell % 50
    r = ((u[i] * v[j]).sum(1) + bu[i] + bv[j]) / 2 + 0.1 * torch.randn(2500, generator=g)
    model = Factors(50, 50)
    return Recipe(
        model=model,
        train_data=DataLoader(Visits(i[:2100], j[:2100], r[:2100]), 128, shuffle=True, generator=gen()),
        val_data=DataLoader(Visits(i[2100:], j[2100:], r[2100:]), 128),
        loss=nn.MSELoss(),
        optimizer=torch.optim.SparseAdam(model.parameters(), lr=3e-2),
    )


# 23 ----------------------------------------------------------- ordered grades by cumulative links
class Grades(nn.Module):
    def __init__(self, grades=5):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 1))
        self.first, self.gaps = (
            nn.Parameter(torch.tensor([-1.5])),
            nn.Parameter(torch.full((grades - 2,), 0.5)),
        )

    def forward(self, x):
        cuts = torch.cat([self.first, self.first + F.softplus(self.gaps).cumsum(0)])
        return self.net(x) - cuts


def school_report() -> Recipe:
    g = gen(9)
    x = torch.randn(1500, 5, generator=g)
    s = x[:, 0] + x[:, 1] * x[:, 2] + 0.5 * x[:, 3].abs() + 0.3 * torch.randn(1500, generator=g)
    y = torch.bucketize(s, torch.quantile(s, torch.tensor([0.2, 0.4, 0.6, 0.8])))
    train, val = pair((x[:1200], y[:1200]), (x[1200:], y[1200:]), 64)
    model = Grades()

    def loss(o, y):
        above = (y[:, None] > torch.arange(4, device=o.device)).float()
        return F.binary_cross_entropy_with_logits(o, above)

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=8e-3),
        metrics={"off_by": lambda o, y: ((o > 0).sum(1) - y).abs().float().mean()},
    )


# 24 ----------------------------------------------------------- a loop of one's own
def night_shift() -> Recipe:
    (x, y), (xv, yv) = digits()
    train, val = pair((x, y), (xv, yv), 64)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    )

    def loop(model, train_data, val_data, steps, device):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        done = 0
        while done < steps:
            model.train()
            for x, y in train_data:
                loss = F.cross_entropy(model(x.to(device)), y.to(device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                done += 1
                if done == steps:
                    break
            model.eval()
            with torch.no_grad():
                right = sum(
                    (model(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in val_data
                )
            model.right = right / len(val_data.dataset)

    return Recipe(model=model, train_data=train, val_data=val, train=loop)


# 25 ----------------------------------------------------------- embeddings with one optimizer, the rest with another
class Calendar(nn.Module):
    def __init__(self):
        super().__init__()
        self.month, self.day = nn.Embedding(12, 8), nn.Embedding(7, 8)
        self.net = nn.Sequential(nn.Linear(18, 48), nn.GELU(), nn.Linear(48, 1), nn.Flatten(0))

    def forward(self, when, weather):
        return self.net(torch.cat([self.month(when[:, 0]), self.day(when[:, 1]), weather], 1))


class Days(Dataset):
    def __init__(self, n, seed):
        g = gen(seed)
        self.when = torch.stack(
            [torch.randint(0, 12, (n,), generator=g), torch.randint(0, 7, (n,), generator=g)], 1
        )
        self.weather = torch.randn(n, 2, generator=g)
        m, d = self.when.float().unbind(1)
        warm = torch.cos(m / 12 * 6.28)
        self.y = (
            warm
            + (d >= 5).float() * 0.8
            + self.weather[:, 0] * 0.5 * warm
            + 0.1 * torch.randn(n, generator=g)
            - 0.2
        )

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return (self.when[i], self.weather[i]), self.y[i]


def beach_hut() -> Recipe:
    model = Calendar()
    tables = [*model.month.parameters(), *model.day.parameters()]
    return Recipe(
        model=model,
        train_data=DataLoader(Days(1500, 1), 64, shuffle=True, generator=gen()),
        val_data=DataLoader(Days(300, 2), 64),
        loss=nn.HuberLoss(),
        optimizer=[
            torch.optim.Adagrad(tables, lr=0.1),
            torch.optim.AdamW(model.net.parameters(), lr=5e-3),
        ],
    )


# 26 ----------------------------------------------------------- an endless stream
class Stream(IterableDataset):
    def __init__(self, seed, n=None):
        self.seed, self.n, self.epoch = seed, n, 0

    def __iter__(self):
        g = gen(self.seed + (self.epoch if self.n is None else 0))
        self.epoch += 1
        made = 0
        while self.n is None or made < self.n:
            x = torch.randn(32, 3, generator=g)
            yield (
                x,
                (x[:, :1] * x[:, 1:2]).tanh() + 0.5 * x[:, 2:] + 0.05 * torch.randn(32, 1, generator=g),
            )
            made += 1


def mill_race() -> Recipe:
    model = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    return Recipe(
        model=model,
        train_data=DataLoader(Stream(1000), batch_size=None),
        val_data=DataLoader(Stream(5, 10), batch_size=None),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b 3 -> b 1",
    )


# 27 ----------------------------------------------------------- counts and exposures
class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))

    def forward(self, x, log_time):
        return self.net(x) + log_time


class Claims(Dataset):
    def __init__(self, n, seed):
        g = gen(seed)
        self.x = torch.randn(n, 4, generator=g)
        self.log_time = (0.5 + 2 * torch.rand(n, generator=g)).log()
        rate = (
            (
                0.8 * self.x[:, 0]
                - 0.5 * self.x[:, 1]
                + 0.5 * self.x[:, 2] * self.x[:, 3]
                + self.log_time
                + 0.5
            )
            .clamp(max=3.5)
            .exp()
        )
        self.y = torch.poisson(rate, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return (self.x[i], self.log_time[i]), self.y[i]


def rain_gauge() -> Recipe:
    model = Counts()
    return Recipe(
        model=model,
        train_data=DataLoader(Claims(1500, 1), 64, shuffle=True, generator=gen()),
        val_data=DataLoader(Claims(400, 2), 64),
        loss=lambda log_rate, n: (log_rate.exp() - n * log_rate).mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        max_grad_norm=20.0,
    )


# 28 ----------------------------------------------------------- heavy regularisation
def iron_stove() -> Recipe:
    (x, y), (xv, yv) = table("wine", 130)
    train, val = pair((x, y), (xv, yv), 32)
    model = nn.Sequential(
        nn.Linear(13, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 3),
    )
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.5),
        shapes="b 13 -> b 3",
    )


# 29 ----------------------------------------------------------- few-shot episodes
class Episodes(IterableDataset):
    """Each item is an episode: 4 classes, 4 known and 6 asked images of each."""

    def __init__(self, x, y, n, seed, fixed):
        self.x, self.y, self.n, self.seed, self.fixed = x, y, n, seed, fixed
        self.rng = random.Random(seed)

    def __iter__(self):
        rng = random.Random(self.seed) if self.fixed else self.rng
        for _ in range(self.n):
            known, asked = [], []
            for c in rng.sample(range(10), 4):
                pool = torch.nonzero(self.y == c)[:, 0].tolist()
                pick = rng.sample(pool, 10)
                known.append(self.x[pick[:4]])
                asked.append(self.x[pick[4:]])
            yield (torch.stack(known), torch.cat(asked)), torch.arange(4).repeat_interleave(6)


class Prototypes(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(384, 48)
        )

    def forward(self, known, asked):
        ways, shots = known.shape[:2]
        centre = self.net(known.flatten(0, 1)).view(ways, shots, -1).mean(1)
        return -(torch.cdist(self.net(asked), centre) ** 2) / 10


def flash_cards() -> Recipe:
    (x, y), (xv, yv) = digits()
    model = Prototypes()
    return Recipe(
        model=model,
        train_data=DataLoader(Episodes(x, y, 100, 1, False), batch_size=None),
        val_data=DataLoader(Episodes(xv, yv, 20, 2, True), batch_size=None),
        loss=nn.CrossEntropyLoss(),
        batch_dim=None,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# 30 ----------------------------------------------------------- a filter in the frequency domain
class Spectral(nn.Module):
    def __init__(self, c, size=64, keep=12):
        super().__init__()
        self.keep, self.size = keep, size
        self.w = nn.Parameter(torch.randn(c, c, keep, dtype=torch.cfloat) / c)
        self.skip = nn.Conv1d(c, c, 1)

    def forward(self, x):
        f = torch.fft.rfft(x, norm="ortho")
        g = torch.einsum("bck,cdk->bdk", f[..., : self.keep], self.w)
        return torch.fft.irfft(
            F.pad(g, (0, f.shape[-1] - self.keep)), n=x.shape[-1], norm="ortho"
        ) + self.skip(x)


class Operator(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.inp, self.a, self.b, self.out = (
            nn.Conv1d(1, c, 1),
            Spectral(c),
            Spectral(c),
            nn.Conv1d(c, 1, 1),
        )

    def forward(self, x):
        h = F.gelu(self.a(self.inp(x[:, None])))
        return self.out(F.gelu(self.b(h)))[:, 0]


def _smooth(n, seed):
    g = gen(seed)
    t = torch.arange(64) / 64 * 6.283
    k = torch.arange(1, 6)
    c = torch.randn(n, 2, 5, generator=g) / k
    x = (c[:, 0] @ torch.sin(k[:, None] * t)) + (c[:, 1] @ torch.cos(k[:, None] * t))
    k2 = 1 / (1 + 0.3 * k**2)
    y = ((c[:, 0] * k2) @ torch.sin(k[:, None] * t)) + ((c[:, 1] * k2) @ torch.cos(k[:, None] * t))
    return x, torch.tanh(2 * y)


def tuning_fork() -> Recipe:
    train, val = pair(_smooth(1200, 1), _smooth(200, 2), 32)
    model = Operator()

    def relative(o, y):
        return ((o - y).norm(dim=1) / y.norm(dim=1).clamp(min=1e-3)).mean()

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=relative,
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
        shapes="b 64 -> b 64",
    )


# 31 ----------------------------------------------------------- the loss contains a derivative of the network
class Oscillator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
        )

    def forward(self, t):
        return 1 + t * self.net(t)  # holds y(0) = 1


def pendulum_clock() -> Recipe:
    t = torch.rand(1024, 1, generator=gen(10)) * 3
    train = DataLoader(TensorDataset(t), 64, shuffle=True, generator=gen())
    model = Oscillator()

    def step(model, batch):
        with torch.enable_grad():
            t = batch[0].clone().requires_grad_()
            y = model(t)
            (slope,) = torch.autograd.grad(y.sum(), t, create_graph=True)
            return ((slope + y * (1 + 0.5 * torch.sin(2 * t))) ** 2).mean()

    return Recipe(
        model=model,
        train_data=train,
        training_step=step,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


# 32 ----------------------------------------------------------- sets of any size behind a mask
class Herd(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, d), nn.ReLU(), nn.Linear(d, d))
        self.out = nn.Sequential(nn.Linear(2 * d, d), nn.ReLU(), nn.Linear(d, 1), nn.Flatten(0))

    def forward(self, x, real):
        h = self.each(x)
        top = h.masked_fill(~real[..., None], float("-inf")).amax(1)
        mean = (h * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        return self.out(torch.cat([top, mean], 1))


def _herd(items):
    xs, ys = zip(*items)
    x = nn.utils.rnn.pad_sequence(xs, batch_first=True)
    n = torch.tensor([len(a) for a in xs])
    return (x, torch.arange(x.shape[1]) < n[:, None]), torch.stack(ys)


def _herds(n, seed):
    g = gen(seed)
    out = []
    for _ in range(n):
        x = torch.randn(int(torch.randint(2, 15, (1,), generator=g)), 3, generator=g)
        out.append((x, x[:, 0].amax() + x[:, 1].mean() - 1.3))
    return out


def sheep_fold() -> Recipe:
    model = Herd()
    return Recipe(
        model=model,
        train_data=DataLoader(_herds(1500, 1), 48, shuffle=True, collate_fn=_herd, generator=gen()),
        val_data=DataLoader(_herds(300, 2), 64, collate_fn=_herd),
        loss=nn.MSELoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3),
    )


# 33 ----------------------------------------------------------- packed sequences, both directions
class Packed(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.emb = nn.Embedding(11, 12, padding_idx=0)
        self.rnn = nn.LSTM(12, d, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * d, 3)

    def forward(self, ids, length):
        p = nn.utils.rnn.pack_padded_sequence(
            self.emb(ids), length.cpu(), batch_first=True, enforce_sorted=False
        )
        _, (h, _) = self.rnn(p)
        return self.head(torch.cat([h[0], h[1]], 1))


def _tickets(n, seed):
    g = gen(seed)
    ids = torch.randint(1, 11, (n, 14), generator=g)
    length = torch.randint(6, 15, (n,), generator=g)
    ids = ids * (torch.arange(14) < length[:, None])
    first, last = ids[:, 0], ids.gather(1, length[:, None] - 1)[:, 0]
    return ids, length, torch.where(first > last, 0, torch.where(first < last, 1, 2))


class Triples(Dataset):
    def __init__(self, a, b, y):
        self.a, self.b, self.y = a, b, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return (self.a[i], self.b[i]), self.y[i]


def ticket_stub() -> Recipe:
    model = Packed()
    return Recipe(
        model=model,
        train_data=DataLoader(Triples(*_tickets(2500, 1)), 64, shuffle=True, generator=gen()),
        val_data=DataLoader(Triples(*_tickets(400, 2)), 64),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


# 34 ----------------------------------------------------------- Barlow's twins: a norm over the batch, in the loss
class Twins(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, d))

    def forward(self, a, b):
        return self.net(a), self.net(b)


def barley_field() -> Recipe:
    (x, _), (xv, _) = digits()
    model = Twins()

    def loss(o, _):
        a, b = ((z - z.mean(0)) / (z.std(0) + 1e-4) for z in o)
        c = a.t() @ b / len(a)
        eye = torch.eye(c.shape[0], device=c.device)
        return ((c.diagonal() - 1) ** 2).sum() + 0.02 * ((c * (1 - eye)) ** 2).sum()

    return Recipe(
        model=model,
        train_data=DataLoader(TwoViews(x), 128, shuffle=True, generator=gen(), drop_last=True),
        val_data=DataLoader(TwoViews(xv), 128, drop_last=True),
        loss=loss,
        batch_dim=None,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
    )


# 35 ----------------------------------------------------------- branches that begin at zero
class ReZero(nn.Module):
    def __init__(self, d=64, depth=10):
        super().__init__()
        self.inp, self.out = nn.Linear(64, d), nn.Linear(d, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d)) for _ in range(depth)
        )
        self.scale = nn.Parameter(torch.zeros(depth))

    def forward(self, x):
        h = self.inp(x.flatten(1))
        for s, block in zip(self.scale, self.blocks):
            h = h + s * block(h)
        return self.out(h)


def quiet_start() -> Recipe:
    train, val = pair(*digits(), 64)
    model = ReZero()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


# 36 ----------------------------------------------------------- a slow copy that teaches
class SlowCopy(nn.Module):
    def __init__(self):
        super().__init__()

        def net():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))

        self.fast, self.slow = net(), net()
        self.slow.load_state_dict(self.fast.state_dict())
        self.slow.requires_grad_(False)

    def forward(self, x):
        return self.fast(x)

    @torch.no_grad()
    def follow(self, rate=0.95):
        for s, f in zip(self.slow.parameters(), self.fast.parameters()):
            s.lerp_(f, 1 - rate)


class SomeLabels(Dataset):
    """A quarter of the labels is known; the others are -100."""

    def __init__(self, x, y):
        self.x, self.y = x, torch.where(torch.rand(len(y), generator=gen(2)) < 0.25, y, -100)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def old_and_young() -> Recipe:
    (x, y), val = digits()
    model = SlowCopy()

    def step(model, batch):
        x, y = batch
        if not model.training:
            out = model(x)
            return F.cross_entropy(out, y), out
        model.follow()
        out = model(x + 0.3 * torch.randn_like(x))
        with torch.no_grad():
            goal = model.slow(x + 0.3 * torch.randn_like(x)).softmax(1)
        agree = ((out.softmax(1) - goal) ** 2).sum(1).mean()
        return F.cross_entropy(out, y, ignore_index=-100) + agree, out

    return Recipe(
        model=model,
        train_data=DataLoader(SomeLabels(x, y), 96, shuffle=True, generator=gen(), drop_last=True),
        val_data=DataLoader(TensorDataset(*val), 64),
        training_step=step,
        optimizer=torch.optim.AdamW(model.fast.parameters(), lr=3e-3),
    )


# 37 ----------------------------------------------------------- learned questions to a picture
class Questions(nn.Module):
    def __init__(self, d=48, n=6):
        super().__init__()
        self.ask = nn.Parameter(torch.randn(n, d) * 0.5)
        self.pixel = nn.Linear(1 + 8, d)
        self.attn = nn.MultiheadAttention(d, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 96), nn.GELU(), nn.Linear(96, d))
        self.head = nn.Linear(n * d, 10)
        yy, xx = torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij")
        p = torch.stack([yy, xx], -1).reshape(64, 2) * math.pi
        self.register_buffer("where", torch.cat([p.sin(), p.cos(), (2 * p).sin(), (2 * p).cos()], 1))

    def forward(self, x):
        n = len(x)
        h = self.pixel(torch.cat([x.view(n, 64, 1), self.where.expand(n, -1, -1)], -1))
        q = self.ask.expand(n, -1, -1)
        q = q + self.attn(q, h, h, need_weights=False)[0]
        return self.head((q + self.mlp(q)).flatten(1))


def crossword() -> Recipe:
    train, val = pair(*digits(), 64)
    model = Questions()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3),
        shapes="b 1 8 8 -> b 10",
    )


# 38 ----------------------------------------------------------- many labels, few of them true
def fruit_salad() -> Recipe:
    g = gen(12)
    w = torch.randn(12, 8, generator=g)

    def draw(n, seed):
        g = gen(seed)
        x = torch.randn(n, 12, generator=g)
        return x, (torch.sin(x) @ w + 0.3 * torch.randn(n, 8, generator=g) > 3.2).float()

    a, b = draw(1600, 1), draw(300, 2)
    train, val = pair(a, b, 64)
    share = a[1].mean(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 8))
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.BCEWithLogitsLoss(pos_weight=((1 - share) / share).sqrt()),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3),
        shapes="b 12 -> b 8",
        metrics={"exact": lambda o, y: ((o > 0).float() == y).all(1).float().mean()},
    )


# 39 ----------------------------------------------------------- two players, hinge loss, two critic steps
class Forger(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = nn.Sequential(
            nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )
        self.d = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def forward(self, z):
        return self.g(z)


def coin_press() -> Recipe:
    g = gen(13)
    a = 6.283 * torch.rand(2000, generator=g)
    x = torch.stack([a.cos(), a.sin()], 1) * 1.4 + 0.05 * torch.randn(2000, 2, generator=g)
    model = Forger()
    opt_g = torch.optim.Adam(model.g.parameters(), lr=2e-3, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(model.d.parameters(), lr=2e-3, betas=(0.5, 0.9))

    def step(model, batch):
        real = batch[0]
        for _ in range(2):
            with torch.no_grad():
                fake = model.g(torch.randn(len(real), 4, device=real.device))
            yield opt_d, F.relu(1 - model.d(real)).mean() + F.relu(1 + model.d(fake)).mean()
        yield opt_g, -model.d(model.g(torch.randn(len(real), 4, device=real.device))).mean()

    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x), 64, shuffle=True, generator=gen(), drop_last=True),
        training_step=step,
        optimizer=[opt_d, opt_g],
    )


# 40 ----------------------------------------------------------- colour from grey, own metric object
class MeanError:
    def __init__(self):
        self.total, self.n = 0.0, 0

    def update(self, o, y):
        self.total += float((o - y).abs().sum())
        self.n += y.numel()

    def compute(self):
        return self.total / max(self.n, 1)

    def reset(self):
        self.__init__()


class Colours(nn.Module):
    """Grey in, colour in proportions out, whatever the size."""

    def __init__(self, c=24):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, c, 3, padding=1, padding_mode="reflect"),
            nn.Mish(),
            nn.Conv2d(c, c, 3, padding=2, dilation=2, padding_mode="reflect"),
            nn.Mish(),
            nn.Conv2d(c, c, 1),
            nn.Mish(),
            nn.Conv2d(c, 3, 1),
        )

    def forward(self, grey):
        return self.net(grey).softmax(1)


def garden_wall() -> Recipe:
    x = torch.cat(patches(16, 16))
    share = (x + 0.02) / (x + 0.02).sum(1, keepdim=True)
    grey = x.mean(1, keepdim=True)
    tr, va = split(len(x), 1700, 2)
    grey = (grey - grey[tr].mean()) / grey[tr].std()
    train, val = pair((grey[tr], share[tr]), (grey[va], share[va]), 32)
    model = Colours()

    def divergence(p, q):
        return (q * (q.log() - p.clamp(min=1e-7).log())).sum(1).mean()

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=divergence,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        metrics={"mean_error": MeanError()},
        shapes="b 1 h w -> b 3 h w",
    )


HEALTHY = [
    stone_bridge,
    grey_heron,
    oak_table,
    mirror_lake,
    paper_crane,
    wool_basket,
    brass_key,
    morning_run,
    rain_barrel,
    forked_path,
    last_train,
    magpie_nest,
    temple_hill,
    water_wheel,
    spider_web,
    rope_swing,
    stamp_album,
    paint_box,
    snail_mail,
    chess_club,
    moth_holes,
    market_stall,
    school_report,
    night_shift,
    beach_hut,
    mill_race,
    rain_gauge,
    iron_stove,
    flash_cards,
    tuning_fork,
    pendulum_clock,
    sheep_fold,
    ticket_stub,
    barley_field,
    quiet_start,
    old_and_young,
    crossword,
    fruit_salad,
    coin_press,
    garden_wall,
]
