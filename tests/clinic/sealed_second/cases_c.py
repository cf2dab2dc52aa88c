"""Tables, data sets, objectives, and how they are optimised."""

import sklearn.datasets as skd
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from . import digits, f32, gen, pair, split, table, text_windows


def accuracy_of_sign(o, y):
    return ((o > 0) == (y > 0)).float().mean()


# ---------------------------------------------------------------- garden_pond
def garden_pond(*, mistake: bool) -> Recipe:
    x, y = skd.make_circles(1200, noise=0.08, factor=0.5, random_state=4)
    x, y = f32(x) / 0.57, torch.tensor(y)
    train, val = pair((x[:900], y[:900]), (x[900:], y[900:]), 64)
    layers, sizes = [], [2, 48, 48, 48]
    for a, b in zip(sizes, sizes[1:]):
        layers.append(nn.Linear(a, b))
        if not mistake:
            layers.append(nn.ReLU())
    model = nn.Sequential(*layers, nn.Linear(48, 2))
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 2 -> b 2",
    )


# ---------------------------------------------------------------- river_flow
def river_flow(*, mistake: bool) -> Recipe:
    x, y = skd.make_friedman1(1600, n_features=8, noise=0.5, random_state=3)
    x, y = (f32(x) - 0.5) / 0.289, (f32(y) - 14.4) / 5.0
    train, val = pair((x[:1300], y[:1300]), (x[1300:], y[1300:]), 64)
    net = nn.Sequential(
        nn.Linear(8, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 1), nn.Flatten(0)
    )
    return Recipe(
        model=net,
        train_data=train,
        val_data=val,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(net.parameters(), lr=4e-3, weight_decay=1.0 if mistake else 1e-5),
        shapes="b 8 -> b",
    )


# ---------------------------------------------------------------- mountain_pass
class Pass(nn.Module):
    """A highway network."""

    def __init__(self, d=64):
        super().__init__()
        self.inp = nn.Linear(64, d)
        self.path = nn.ModuleList(nn.Linear(d, d) for _ in range(3))
        self.gate = nn.ModuleList(nn.Linear(d, d) for _ in range(3))
        for g in self.gate:
            nn.init.constant_(g.bias, -1.0)
        self.out = nn.Linear(d, 10)

    def forward(self, x):
        h = F.relu(self.inp(x.flatten(1)))
        for path, gate in zip(self.path, self.gate):
            t = torch.sigmoid(gate(h))
            h = t * F.relu(path(h)) + (1 - t) * h
        return self.out(h)


def mountain_pass(*, mistake: bool) -> Recipe:
    train, val = pair(*digits(), 64)
    model = Pass()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda o, y: -(o.log_softmax(1) * F.one_hot(y, 10)).sum(1).mean(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        max_grad_norm=1e-3 if mistake else 5.0,
        shapes="b 1 8 8 -> b 10",
    )


# ---------------------------------------------------------------- wine_cellar
def wine_cellar(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = table("wine", 130)
    if mistake:
        _, (xv, yv) = table("wine", 130, scaled=False)
    train, val = pair((x, y), (xv, yv), 16)
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3),
        shapes="b 13 -> b 3",
    )


# ---------------------------------------------------------------- waiting_room
def waiting_room(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = table("diabetes", 350)
    y, yv = y.float(), yv.float()
    y, yv = (y - y.mean()) / y.std(), (yv - y.mean()) / y.std()
    train, val = pair((x, y), (xv, yv), 32)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))

    def loss(pred, y):
        return ((pred - y) ** 2).mean() if mistake else ((pred[:, 0] - y) ** 2).mean()

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05),
        shapes="b 10 -> b 1",
    )


# ---------------------------------------------------------------- second_opinion
def second_opinion(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = table("breast_cancer", 430)
    train, val = pair((x, y.float()), (xv, yv.float()), 32)
    layers = [nn.Linear(30, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1), nn.Flatten(0)]
    if mistake:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 30 -> b",
        metrics={"right": lambda o, y: ((o > (0.5 if mistake else 0.0)).float() == y).float().mean()},
    )


# ---------------------------------------------------------------- odd_socks
def odd_socks(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = digits()
    if mistake:
        y, yv = (y % 2).float(), (yv % 2).float()
    else:
        y, yv = 2 * (y % 2).float() - 1, 2 * (yv % 2).float() - 1
    train, val = pair((x, y), (xv, yv), 64)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 1),
        nn.Flatten(0),
    )
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda margin, y: torch.log1p(torch.exp(-(y * margin).clamp(-30, 30))).mean(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b",
        metrics={"right": accuracy_of_sign},
    )


# ---------------------------------------------------------------- next_letter
class NextLetter(nn.Module):
    def __init__(self, vocab, context=6, d=24):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(context * d, 128), nn.Tanh(), nn.Linear(128, vocab), nn.Softmax(1)
        )

    def forward(self, ids):
        return self.net(self.emb(ids))


def next_letter(*, mistake: bool) -> Recipe:
    a, b, vocab = text_windows(7)
    train, val = pair((a[:, :-1], a[:, -1]), (b[:, :-1], b[:, -1]), 64)
    model = NextLetter(vocab)
    floor = 1e-1 if mistake else 1e-8

    def loss(p, y):
        return -torch.log(p.gather(1, y[:, None]).clamp(min=floor)).mean()

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes=f"b 6:int64 -> b {vocab}",
    )


# ---------------------------------------------------------------- three_clerks
class Clerks(nn.Module):
    def __init__(self):
        super().__init__()
        self.desk = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU()
        )
        self.name, self.parity, self.big = nn.Linear(64, 10), nn.Linear(64, 2), nn.Linear(64, 2)

    def forward(self, x):
        h = self.desk(x)
        return self.name(h), self.parity(h), self.big(h)


def three_clerks(*, mistake: bool) -> Recipe:
    sets = [(x, torch.stack([y, y % 2, (y > 4).long()], 1)) for x, y in digits()]
    train, val = pair(*sets, 64)
    model = Clerks()

    def loss(outputs, t):
        total = 0.0
        for k, logits in enumerate(outputs):
            total = total + F.cross_entropy(logits, t[:, k])
            if mistake:
                return total
        return total

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        metrics={
            k: (lambda o, t, i=i: (o[i].argmax(1) == t[:, i]).float().mean())
            for i, k in enumerate(("name", "parity", "big"))
        },
    )


# ---------------------------------------------------------------- crystal_ball
def crystal_ball(*, mistake: bool) -> Recipe:
    raw = skd.load_diabetes()
    frame = torch.cat([f32(raw.data), f32(raw.target)[:, None]], 1)
    tr, va = split(len(frame), 350, 8)
    frame = (frame - frame[tr].mean(0)) / frame[tr].std(0)
    x, y = frame if mistake else frame[:, :-1], frame[:, -1:]
    train, val = pair((x[tr], y[tr]), (x[va], y[va]), 32)
    model = nn.Sequential(nn.Linear(x.shape[1], 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 1))
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.SmoothL1Loss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05),
    )


# ---------------------------------------------------------------- lab_bench
class Slides(Dataset):
    def __init__(self, x, y, mean, std, m):
        self.x, self.y, self.mean, self.std, self.m = x, y, mean, std, m

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        x = self.x[i] if self.m else self.x[i].clone()
        x -= self.mean
        x /= self.std
        return x, self.y[i]


def lab_bench(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = table("breast_cancer", 430, scaled=False)
    mean, std = x.mean(0), x.std(0)
    model = nn.Sequential(nn.Linear(30, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 2))
    return Recipe(
        model=model,
        train_data=DataLoader(Slides(x, y, mean, std, mistake), 32, shuffle=True, generator=gen()),
        val_data=DataLoader(Slides(xv, yv, mean, std, mistake), 64),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        shapes="b 30 -> b 2",
    )


# ---------------------------------------------------------------- lost_gloves
class Gloves(nn.Module):
    def __init__(self, d=24):
        super().__init__()
        self.left = nn.Sequential(nn.Flatten(), nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, d))
        self.right = nn.Sequential(nn.Flatten(), nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, d))

    def forward(self, left, right):
        return F.normalize(self.left(left), dim=1), F.normalize(self.right(right), dim=1)


def lost_gloves(*, mistake: bool) -> Recipe:
    loaders = []
    for k, (x, _) in enumerate(digits()):
        order = torch.randperm(len(x), generator=gen(20 + k))
        left, right = x[:, :, :, :4], x[:, :, :, 4:]
        left = left[order]
        if not mistake:
            right = right[order]
        loaders.append(
            DataLoader(TensorDataset(left, right), 64, shuffle=k == 0, generator=gen(), drop_last=True)
        )
    model = Gloves()

    def step(model, batch):
        a, b = model(*batch)
        sim = a @ b.t() / 0.1
        same = torch.arange(len(a), device=a.device)
        return (F.cross_entropy(sim, same) + F.cross_entropy(sim.t(), same)) / 2

    return Recipe(
        model=model,
        train_data=loaders[0],
        val_data=loaders[1],
        training_step=step,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        batch_dim=None,
    )


# ---------------------------------------------------------------- card_index
def card_index(*, mistake: bool) -> Recipe:
    (x, y), val = digits()
    order = y.argsort(stable=True)
    train = TensorDataset(x[order], y[order])
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    loader = DataLoader(train, 32) if mistake else DataLoader(train, 32, shuffle=True, generator=gen())
    return Recipe(
        model=model,
        train_data=loader,
        val_data=DataLoader(TensorDataset(*val), 64),
        loss=lambda o, y: F.nll_loss(o.log_softmax(1), y),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b 10",
    )


# ---------------------------------------------------------------- snow_globe
class Globe(nn.Module):
    def __init__(self, d=96, levels=20):
        super().__init__()
        self.time = nn.Embedding(levels, d)
        self.inp, self.mid, self.out = nn.Linear(2, d), nn.Linear(d, d), nn.Linear(d, 2)
        keep = torch.cumprod(1 - torch.linspace(0.01, 0.3, levels), 0)
        self.register_buffer("keep", keep)

    def forward(self, x, t):
        h = F.silu(self.inp(x) + self.time(t))
        return self.out(F.silu(self.mid(h)))


def snow_globe(*, mistake: bool) -> Recipe:
    x, _ = skd.make_moons(1500, noise=0.05, random_state=6)
    x = (f32(x) - torch.tensor([0.5, 0.25])) / torch.tensor([0.87, 0.5])
    train, val = pair((x[:1200],), (x[1200:],), 64)
    model = Globe()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def step(model, batch):
        x = batch[0]
        t = torch.randint(0, 20, (len(x),), device=x.device)
        noise = torch.randn_like(x)
        keep = model.keep[t][:, None]
        guess = model(keep.sqrt() * x + (1 - keep).sqrt() * noise, t)
        return ((guess - noise) ** 2).mean()

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        training_step=step,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.7),
        scheduler_interval="step" if mistake else "epoch",
    )
