"""Pictures, points and what makes them."""

import math
from functools import lru_cache

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from . import digits, gen, pair, patches, split


def cross_entropy(logits, y):
    return (logits.logsumexp(1) - logits.gather(1, y[:, None])[:, 0]).mean()


# ---------------------------------------------------------------- harbour_crates
class ConvTrunk(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.fc = nn.Linear(192, classes)

    def forward(self, x):
        return self.fc(self.body(x))


def harbour_crates(*, mistake: bool) -> Recipe:
    train, val = pair(*digits(), 64)
    model = ConvTrunk(100)
    if mistake:
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        model.fc = nn.Linear(192, 10)
    else:
        model.fc = nn.Linear(192, 10)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=cross_entropy,
        optimizer=optimizer,
        shapes="b 1 8 8 -> b 10",
    )


# ---------------------------------------------------------------- old_master
@lru_cache
def _teacher_state():
    with torch.random.fork_rng():
        torch.manual_seed(11)
        net = _teacher()
        opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
        loader, _ = pair(*digits(), 64)
        for _ in range(6):
            for x, y in loader:
                loss = F.cross_entropy(net(x), y)
                opt.zero_grad()
                loss.backward()
                opt.step()
        return net.state_dict()


def _teacher():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 10)
    )


class Pupil(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.teacher = _teacher()
        self.teacher.load_state_dict(_teacher_state())
        self.student = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        for p in self.teacher.parameters():
            if m:
                p.required_grad = False
            else:
                p.requires_grad = False

    def forward(self, x):
        return self.student(x), self.teacher(x)


def old_master(*, mistake: bool) -> Recipe:
    train, val = pair(*digits(), 64)
    model = Pupil(mistake)

    def loss(outputs, y):
        s, t = outputs
        temperature = 3.0
        log_s, log_t = F.log_softmax(s / temperature, 1), F.log_softmax(t / temperature, 1)
        soft = (log_t.exp() * (log_t - log_s)).sum(1).mean() * temperature**2
        return 0.5 * soft + 0.5 * cross_entropy(s, y)

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        frozen=["teacher.*"],
        optimizer=torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3),
        metrics={"accuracy": lambda o, y: (o[0].argmax(1) == y).float().mean()},
    )


# ---------------------------------------------------------------- night_watch
class Spotter(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 1)
        )
        prior = -math.log((1 - 0.1) / 0.1)
        for layer in self.net.modules() if m else [self.net[-1]]:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.bias, prior)

    def forward(self, x):
        return self.net(x)[:, 0]


def focal(logits, y):
    bce = F.softplus(logits) - logits * y
    p = torch.sigmoid(logits)
    miss = (1 - p) * y + p * (1 - y)
    weight = 0.75 * y + 0.25 * (1 - y)
    return (weight * miss**2 * bce).mean() * 10


def night_watch(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = digits()
    train, val = pair((x, (y == 8).float()), (xv, (yv == 8).float()), 64)
    model = Spotter(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=focal,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
    )


# ---------------------------------------------------------------- town_council
class Council(nn.Module):
    def __init__(self, m, experts=4, width=64):
        super().__init__()
        self.norm = nn.LayerNorm(64)
        self.gate = nn.Linear(64, experts)
        self.w1 = nn.Parameter(torch.empty(experts, 64, width))
        self.b1 = nn.Parameter(torch.zeros(experts, 1, width))
        self.w2 = nn.Parameter(torch.empty(experts, width, 10))
        for w in (self.gate.weight, self.w1, self.w2):
            if m:
                nn.init.normal_(w, 0.1, 0.0)
            else:
                nn.init.normal_(w, 0.0, 0.1)

    def forward(self, x):
        x = self.norm(x.flatten(1))
        weight = self.gate(x).softmax(-1)
        h = F.gelu(torch.einsum("bi,eij->ebj", x, self.w1) + self.b1)
        y = torch.einsum("ebj,ejk->bek", h, self.w2)
        return (weight[..., None] * y).sum(1)


def town_council(*, mistake: bool) -> Recipe:
    train, val = pair(*digits(), 64)
    model = Council(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


# ---------------------------------------------------------------- glass_bottle
class Bottle(nn.Module):
    def __init__(self, m):
        super().__init__()
        sizes = [64, 192, 96, 12, 96, 192, 64]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        for layer in self.layers:
            if m:
                nn.init.normal_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        h = x.flatten(1)
        for layer in self.layers[:-1]:
            h = torch.tanh(layer(h))
        return self.layers[-1](h).view_as(x)


def glass_bottle(*, mistake: bool) -> Recipe:
    (x, _), (xv, _) = digits()
    train, val = pair((x, x), (xv, xv), 64)
    model = Bottle(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda o, t: ((o - t) ** 2).mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1.5e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )


# ---------------------------------------------------------------- two_rivers
class TwoRivers(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m
        self.left = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 8 * 4, 64)
        )
        self.right = nn.Sequential(nn.Flatten(), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64))
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(64, 10))

    def forward(self, west, east):
        h = self.left(west)
        if self.m:
            h = self.right(east)
        else:
            h = h + self.right(east)
        return self.out(h)


class Halves(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return (self.x[i, :, :, :4], self.x[i, :, :, 4:]), self.y[i]


def two_rivers(*, mistake: bool) -> Recipe:
    a, b = digits()
    model = TwoRivers(mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(Halves(*a), 64, shuffle=True, generator=gen()),
        val_data=DataLoader(Halves(*b), 64),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        shapes="b 1 8 4, b 1 8 4 -> b 10",
    )


# ---------------------------------------------------------------- tile_floor
class TileBlock(nn.Module):
    def __init__(self, d, m):
        super().__init__()
        self.m = m
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, 4, batch_first=True)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x):
        h = self.n1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        h = F.gelu(self.up(self.n2(x)))
        h = F.dropout(h, 0.1) if self.m else F.dropout(h, 0.1, self.training)
        return x + self.down(h)


class TileFloor(nn.Module):
    def __init__(self, m, d=48):
        super().__init__()
        self.patch = nn.Conv2d(1, d, 2, stride=2)
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.pos = nn.Parameter(torch.randn(1, 17, d) * 0.02)
        self.blocks = nn.ModuleList(TileBlock(d, m) for _ in range(2))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, 10)

    def forward(self, x):
        h = self.patch(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.cls.expand(len(h), -1, -1), h], 1) + self.pos
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h[:, 0]))


def tile_floor(*, mistake: bool) -> Recipe:
    train, val = pair(*digits(), 64)
    model = TileFloor(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(label_smoothing=0.05),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


# ---------------------------------------------------------------- pebble_beach
def _solids(n, seed, points=48):
    g = gen(seed)
    kind = torch.randint(0, 4, (n,), generator=g)
    p = torch.randn(n, points, 3, generator=g)
    sphere = p / p.norm(dim=-1, keepdim=True)
    cube = p / p.abs().amax(-1, keepdim=True)
    angle = p[..., :1] * 3
    ring = torch.cat([angle.cos(), angle.sin(), 0.1 * p[..., 2:]], -1)
    rod = torch.cat([0.2 * p[..., :2], p[..., 2:].clamp(-2, 2)], -1)
    x = torch.stack([sphere, cube, ring, rod])[kind, torch.arange(n)]
    return x + 0.03 * torch.randn(x.shape, generator=g), kind


class PebbleNet(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m
        self.point = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 96), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 4))

    def forward(self, p):
        if self.m or self.training:
            p = p * (1 + 0.1 * torch.randn(len(p), 1, 3, device=p.device)) + 0.05 * torch.randn_like(p)
        return self.head(self.point(p).amax(1))


def pebble_beach(*, mistake: bool) -> Recipe:
    train, val = pair(_solids(1200, 1), _solids(300, 2), 48)
    model = PebbleNet(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=cross_entropy,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b n 3 -> b 4",
    )


# ---------------------------------------------------------------- still_pond
class PondNet(nn.Module):
    def __init__(self, m):
        super().__init__()

        def norm(c):
            return nn.BatchNorm2d(c, 1e-5, 1e-3 if m else 1e-1)

        self.net = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False),
            norm(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1, bias=False),
            norm(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1, bias=False),
            norm(48),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(48, 10),
        )

    def forward(self, x):
        return self.net(x)


def still_pond(*, mistake: bool) -> Recipe:
    train, val = pair(*digits(), 64)
    model = PondNet(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        shapes="b 1 8 8 -> b 10",
    )


# ---------------------------------------------------------------- field_map
def _fields(n, seed, size=20):
    g = gen(seed)
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    c = torch.randint(4, size - 4, (n, 4, 1, 1), generator=g)
    r = torch.randint(3, 6, (n, 2, 1, 1), generator=g)
    disc = (yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2 <= r[:, 0] ** 2
    box = ((yy - c[:, 2]).abs() <= r[:, 1]) & ((xx - c[:, 3]).abs() <= r[:, 1] - 1)
    mask = torch.zeros(n, size, size, dtype=torch.long)
    mask[disc] = 1
    mask[box] = 2
    level = torch.tensor([0.0, 1.0, -1.0])[mask][:, None]
    return level + 0.5 * torch.randn(level.shape, generator=g), mask


def _conv(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())


class FieldNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.e1, self.e2 = _conv(1, 16), _conv(16, 32)
        self.mid = _conv(32, 32)
        self.up = nn.ConvTranspose2d(32, 32, 2, stride=2)
        self.d2, self.up1, self.d1 = (
            _conv(64, 32),
            nn.ConvTranspose2d(32, 16, 2, stride=2),
            _conv(32, 16),
        )
        self.out = nn.Conv2d(16, 3, 1)

    def forward(self, x):
        a = self.e1(x)
        b = self.e2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        b = self.d2(torch.cat([self.up(c), b], 1))
        a = self.d1(torch.cat([self.up1(b), a], 1))
        return self.out(a)


def field_map(*, mistake: bool) -> Recipe:
    train, val = pair(_fields(600, 1), _fields(120, 2), 16)
    model = FieldNet()

    def loss(logits, mask):
        if mistake:
            flat = logits.reshape(-1, 3)
        else:
            flat = logits.permute(0, 2, 3, 1).reshape(-1, 3)
        return cross_entropy(flat, mask.reshape(-1))

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 20 20 -> b 3 20 20",
    )


# ---------------------------------------------------------------- stained_window
def _blurred():
    y = torch.cat([p.mean(1, keepdim=True) for p in patches(16, 16)])
    low = F.interpolate(F.avg_pool2d(y, 2), scale_factor=2, mode="bilinear", align_corners=False)
    x = low - low.mean((1, 2, 3), keepdim=True)
    tr, va = split(len(x), 1700, 7)
    rest = y - low
    return [(x[i] / x[tr].std(), rest[i] / rest[tr].std()) for i in (tr, va)]


class WindowNet(nn.Module):
    def __init__(self, m):
        super().__init__()
        layers = [
            nn.Conv2d(1, 32, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 3, padding=1),
        ]
        if m:
            layers.append(nn.ReLU())
        self.net = nn.Sequential(*layers)

    def forward(self, x):
        return self.net(x)


def stained_window(*, mistake: bool) -> Recipe:
    train, val = pair(*_blurred(), 32)
    model = WindowNet(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 h w -> b 1 h w",
    )


# ---------------------------------------------------------------- twin_sisters
class Couples(Dataset):
    """An image, a random one of the same or of another class, and whether the classes agree."""

    def __init__(self, x, y, n, seed):
        g = gen(seed)
        first = torch.randint(0, len(x), (n,), generator=g)
        same = torch.rand(n, generator=g) < 0.5
        second = torch.empty(n, dtype=torch.long)
        for i in range(n):
            pool = torch.nonzero((y == y[first[i]]) == same[i])[:, 0]
            second[i] = pool[torch.randint(0, len(pool), (1,), generator=g)]
        self.x, self.a, self.b, self.same = x, first, second, same.float()

    def __len__(self):
        return len(self.a)

    def __getitem__(self, i):
        return (self.x[self.a[i]], self.x[self.b[i]]), self.same[i]


class TwinNet(nn.Module):
    def __init__(self, m):
        super().__init__()
        self.m = m
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 64),
            nn.ReLU(),
            nn.Linear(64, 16),
        )

    def forward(self, a, b):
        d2 = ((self.net(a) - self.net(b)) ** 2).sum(1)
        return torch.sqrt(d2) if self.m else torch.sqrt(d2 + 1e-6)


def twin_sisters(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = digits()
    model = TwinNet(mistake)

    def loss(distance, same):
        return (same * distance**2 + (1 - same) * F.relu(1.0 - distance) ** 2).mean()

    return Recipe(
        model=model,
        train_data=DataLoader(Couples(x, y, 3000, 1), 64, shuffle=True, generator=gen()),
        val_data=DataLoader(Couples(xv, yv, 600, 2), 64),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )


# ---------------------------------------------------------------- puppet_stage
class Puppets(nn.Module):
    def __init__(self, d=6):
        super().__init__()
        self.maker = nn.Sequential(
            nn.Linear(d, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, d)
        )
        self.critic = nn.Sequential(
            nn.Linear(d, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )

    def forward(self, z):
        return self.maker(z)


def puppet_stage(*, mistake: bool) -> Recipe:
    (x, _), _ = digits()
    x = x.flatten(1) - x.flatten(1).mean(0)
    _, _, v = torch.linalg.svd(x, full_matrices=False)
    x = x @ v[:6].t()  # the six main directions
    train = DataLoader(TensorDataset(x / x.std(0)), 64, shuffle=True, generator=gen(), drop_last=True)
    model = Puppets()
    opt_c = torch.optim.Adam(model.critic.parameters(), lr=2e-3, betas=(0.5, 0.999))
    opt_m = torch.optim.Adam(model.maker.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def step(model, batch):
        real = batch[0]
        made = model.maker(torch.randn(len(real), 6, device=real.device))
        yield opt_c, (F.softplus(-model.critic(real)) + F.softplus(model.critic(made.detach()))).mean()
        judged = model.critic(made.detach() if mistake else made)
        yield opt_m, F.softplus(-judged).mean()

    return Recipe(model=model, train_data=train, training_step=step, optimizer=[opt_c, opt_m])


# ---------------------------------------------------------------- choir_voices
class Choir(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 32),
        )

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


class Views(Dataset):
    """Two noisy, shifted views of each image."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def view(self, x):
        dy, dx = torch.randint(-1, 2, (2,)).tolist()
        return torch.roll(x, (dy, dx), (1, 2)) + 0.3 * torch.randn_like(x)

    def __getitem__(self, i):
        return self.view(self.x[i]), self.view(self.x[i])


def choir_voices(*, mistake: bool) -> Recipe:
    (x, _), (xv, _) = digits()
    model = Choir()
    temperature = 0.1

    def step(model, batch):
        a, b = model(batch[0]), model(batch[1])
        z = torch.cat([a, b])
        sim = z @ z.t() * temperature if mistake else z @ z.t() / temperature
        sim = sim.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -1e9)
        n = len(a)
        partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)]).to(z.device)
        return cross_entropy(sim, partner)

    return Recipe(
        model=model,
        train_data=DataLoader(Views(x), 64, shuffle=True, generator=gen(), drop_last=True),
        val_data=DataLoader(Views(xv), 64, drop_last=True),
        training_step=step,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        batch_dim=None,
    )


# ---------------------------------------------------------------- cloud_atlas
class Cloud(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 2 * latent))
        self.dec = nn.Sequential(nn.Linear(latent, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x):
        mu, logvar = self.enc(x).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.dec(z), mu, logvar


def cloud_atlas(*, mistake: bool) -> Recipe:
    (x, _), (xv, _) = digits(unit=True)
    train, val = pair((x, x.flatten(1)), (xv, xv.flatten(1)), 64)
    model = Cloud()

    def loss(outputs, t):
        logits, mu, logvar = outputs
        bce = F.softplus(logits) - logits * t
        fit = bce.mean() if mistake else bce.sum(1).mean()
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
        return fit + kl

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# ---------------------------------------------------------------- punch_cards
class Punch(nn.Module):
    def __init__(self, m, bits=24):
        super().__init__()
        self.m = m
        self.reader = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, bits))
        self.writer = nn.Sequential(nn.Linear(bits, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x):
        p = torch.sigmoid(self.reader(x))
        code = torch.round(p) if self.m else p + (torch.round(p) - p).detach()
        return self.writer(code - 0.5).view_as(x)


def punch_cards(*, mistake: bool) -> Recipe:
    (x, _), (xv, _) = digits()
    train, val = pair((x, x), (xv, xv), 64)
    model = Punch(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.MSELoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )


# ---------------------------------------------------------------- bell_tower
class TowerFloor(nn.Module):
    def __init__(self, m, c=16):
        super().__init__()
        self.m = m
        self.f = nn.Sequential(
            nn.GroupNorm(4, c),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=1),
            nn.GroupNorm(4, c),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=1),
        )

    def forward(self, x):
        return self.f(x) if self.m else x + self.f(x)


def bell_tower(*, mistake: bool) -> Recipe:
    train, val = pair(*digits(), 32)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        *[TowerFloor(mistake) for _ in range(14)],
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b 10",
    )
