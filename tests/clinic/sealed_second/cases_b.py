"""Sequences, sets, graphs, and things with an id."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from pytest_dlcheck import Recipe

from . import digits, gen, pair, text_windows


def token_loss(logits, y):
    """Cross entropy of (batch, time, vocabulary)."""
    return -logits.log_softmax(-1).gather(-1, y[..., None]).mean()


# ---------------------------------------------------------------- long_letter
def _letters(n, seed, length=10):
    g = gen(seed)
    x = torch.randint(4, 9, (n, length), generator=g)
    x[:, 0] = torch.randint(0, 4, (n,), generator=g)
    return x, x[:, 0].clone()


class Letter(nn.Module):
    def __init__(self, m, d=48):
        super().__init__()
        self.m = m
        self.emb = nn.Embedding(9, 16)
        self.cell = nn.GRUCell(16, d)
        self.head = nn.Linear(d, 4)

    def forward(self, x):
        e = self.emb(x)
        h = e.new_zeros(len(x), self.cell.hidden_size)
        for t in range(x.shape[1]):
            h = self.cell(e[:, t], h.data if self.m else h)
        return self.head(h)


def long_letter(*, mistake: bool) -> Recipe:
    train, val = pair(_letters(2000, 1), _letters(400, 2), 64)
    model = Letter(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        shapes="b t:int64 -> b 4",
    )


# ---------------------------------------------------------------- village_roads
def _villages(n, seed, size=12):
    g = gen(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    adj = torch.zeros(n, size, size)
    for i in range(n):
        a = torch.zeros(size, size)
        if y[i] == 0:  # a ring with a chord or two
            k = torch.arange(size)
            a[k, (k + 1) % size] = 1
            pairs = 2
        elif y[i] == 1:  # a star with some extra roads
            a[0, 1:] = 1
            pairs = 2
        else:  # two clusters
            half = size // 2
            a[:half, :half] = (torch.rand(half, half, generator=g) < 0.45).float()
            a[half:, half:] = (torch.rand(half, half, generator=g) < 0.45).float()
            pairs = 1
        for _ in range(pairs):
            u, v = torch.randint(0, size, (2,), generator=g).tolist()
            a[u, v] = 1
        a = ((a + a.t()) > 0).float()
        p = torch.randperm(size, generator=g)
        adj[i] = a[p][:, p]
    adj = adj * (1 - torch.eye(size))
    x = torch.randn(n, size, 4, generator=g) * 0.3
    x[..., 0] = 1.0
    return x, adj, y


class Roads(nn.Module):
    def __init__(self, m, d=32):
        super().__init__()
        layers = [nn.Linear(2 * a, d) for a in (4, d, d)]
        self.layers = layers if m else nn.ModuleList(layers)
        self.head = nn.Linear(2 * d, 3)

    def forward(self, x, adj):
        for layer in self.layers:
            x = F.relu(layer(torch.cat([x, adj @ x / 3], -1)))
        return self.head(torch.cat([x.mean(1), x.amax(1)], -1))


def village_roads(*, mistake: bool) -> Recipe:
    train, val = _villages(900, 1), _villages(200, 2)
    train, val = pair(train, val, 48)
    model = Roads(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        forward=lambda m, b: m(b[0], b[1]),
        targets=lambda b: b[2],
        loss=lambda o, y: token_loss(o, y),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
    )


# ---------------------------------------------------------------- book_club
def _ratings(n, seed, users=80, books=60, rank=4):
    g = gen(99)
    u, b = torch.randn(users, rank, generator=g), torch.randn(books, rank, generator=g)
    bias = torch.randn(books, generator=g)
    g = gen(100)
    cells = torch.randperm(users * books, generator=g)
    cells = cells[:n] if seed == 1 else cells[-n:]
    i, j = cells // books, cells % books
    r = (u[i] * b[j]).sum(1) / rank**0.5 + bias[j]
    return i, j, r / 1.4 + 0.1 * torch.randn(n, generator=gen(seed))


class Club(nn.Module):
    def __init__(self, m, users=80, books=60, d=16):
        super().__init__()
        start = torch.randn(users, d) * 0.3
        if m:
            self.readers = nn.Embedding.from_pretrained(start)
        else:
            self.readers = nn.Embedding.from_pretrained(start, freeze=False)
        self.books = nn.Embedding(books, d)
        nn.init.normal_(self.books.weight, std=0.3)
        self.mlp = nn.Sequential(nn.Linear(3 * d, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, reader, book):
        u, b = self.readers(reader), self.books(book)
        return self.mlp(torch.cat([u, b, u * b], 1))[:, 0]


def book_club(*, mistake: bool) -> Recipe:
    train, val = pair(_ratings(3600, 1), _ratings(800, 2), 128)
    model = Club(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        forward=lambda m, b: m(b[0], b[1]),
        targets=lambda b: b[2],
        loss=lambda o, t: (o - t).pow(2).mean(),
        optimizer=torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2),
    )


# ---------------------------------------------------------------- scan_lines
class Scan(nn.Module):
    def __init__(self, m):
        super().__init__()
        if m:
            self.rnn = nn.LSTM(8, 64)
        else:
            self.rnn = nn.LSTM(8, 64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


def scan_lines(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = digits()
    train, val = pair((x[:, 0], y), (xv[:, 0], yv), 64)
    model = Scan(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3),
        shapes="b t 8 -> b 10",
    )


# ---------------------------------------------------------------- story_teller
class StoryBlock(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x, mask):
        h = self.n1(x)
        x = x + self.attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.n2(x))


class Teller(nn.Module):
    def __init__(self, vocab, m, d=48, length=24):
        super().__init__()
        self.m = m
        self.emb, self.pos = nn.Embedding(vocab, d), nn.Embedding(length, d)
        nn.init.normal_(self.emb.weight, std=0.1)
        nn.init.normal_(self.pos.weight, std=0.1)
        self.blocks = nn.ModuleList(StoryBlock(d) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, vocab)

    def forward(self, ids):
        t = ids.shape[1]
        mask = torch.triu(
            torch.ones(t, t, dtype=torch.bool, device=ids.device), diagonal=2 if self.m else 1
        )
        x = self.emb(ids) + self.pos(torch.arange(t, device=ids.device))
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


def story_teller(*, mistake: bool) -> Recipe:
    a, b, vocab = text_windows(25)
    train, val = pair((a[:, :-1], a[:, 1:]), (b[:, :-1], b[:, 1:]), 32)
    model = Teller(vocab, mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=token_loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        causal=1,
    )


# ---------------------------------------------------------------- guest_list
def _guests(n, seed, most=14):
    g = gen(seed)
    ids = torch.randint(1, 30, (n, most), generator=g)
    length = torch.randint(4, most + 1, (n,), generator=g)
    real = torch.arange(most) < length[:, None]
    ids = ids * real
    score = (((ids % 3 == 0) & real).float().sum(1) - ((ids % 3 == 1) & real).float().sum(1)) / length
    return ids, real, score * 2


class Guests(nn.Module):
    def __init__(self, m, d=32):
        super().__init__()
        self.m = m
        self.emb = nn.Embedding(30, d, padding_idx=0)
        self.key, self.value = nn.Linear(d, 1), nn.Sequential(nn.Linear(d, d), nn.ReLU())
        self.head = nn.Linear(d, 1)

    def forward(self, ids, real):
        x = self.emb(ids)
        score = self.key(x)[..., 0]
        score = score.masked_fill(real if self.m else ~real, -1e9)
        return self.head((score.softmax(1)[..., None] * self.value(x)).sum(1))[:, 0]


def guest_list(*, mistake: bool) -> Recipe:
    train, val = pair(_guests(2000, 1), _guests(400, 2), 64)
    model = Guests(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        forward=lambda m, b: m(b[0], b[1]),
        targets=lambda b: b[2],
        loss=nn.MSELoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-2),
    )


# ---------------------------------------------------------------- tide_gauge
def _tides(n, seed, length=28):
    g = gen(seed)
    t = torch.arange(length)
    w = 0.2 + 0.6 * torch.rand(n, 2, 1, generator=g)
    phase = 6.28 * torch.rand(n, 2, 1, generator=g)
    s = (torch.sin(w * t + phase) * torch.tensor([1.0, 0.6])[:, None]).sum(1)
    s = s + 0.05 * torch.randn(s.shape, generator=g)
    return s[:, :-1, None], s[:, 1:, None]


class Heads(nn.Module):
    def __init__(self, m, d=32, heads=4):
        super().__init__()
        self.m, self.heads = m, heads
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(x).chunk(3, -1))
        score = q @ k.transpose(-2, -1) / math.sqrt(d // self.heads)
        future = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        y = score.masked_fill(future, float("-inf")).softmax(-1) @ v
        if self.m:
            y = y.reshape(b, t, d)
        else:
            y = y.transpose(1, 2).reshape(b, t, d)
        return self.out(y)


class Gauge(nn.Module):
    def __init__(self, m, d=32, length=27):
        super().__init__()
        self.inp = nn.Linear(1, d)
        self.pos = nn.Parameter(torch.randn(length, d) * 0.3)
        self.attn = nn.ModuleList(Heads(m) for _ in range(2))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
            for _ in range(2)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(d) for _ in range(2))
        self.out = nn.Linear(d, 1)

    def forward(self, x):
        h = self.inp(x) + self.pos[: x.shape[1]]
        for norm, attn, mlp in zip(self.norm, self.attn, self.mlp):
            h = h + attn(norm(h))
            h = h + mlp(h)
        return self.out(h)


def tide_gauge(*, mistake: bool) -> Recipe:
    train, val = pair(_tides(1500, 1), _tides(300, 2), 32)
    model = Gauge(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda o, y: ((o - y) ** 2).mean(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3),
        causal=1,
        shapes="b 27 1 -> b 27 1",
    )


# ---------------------------------------------------------------- parade_order
def _parades(n, seed, length=9):
    g = gen(seed)
    x = torch.randint(2, 12, (n, length), generator=g)
    where = torch.stack([torch.randperm(length, generator=g)[:2] for _ in range(n)])
    x.scatter_(1, where[:, :1], 0)
    x.scatter_(1, where[:, 1:], 1)
    return x, (where[:, 0] < where[:, 1]).long()


class Parade(nn.Module):
    def __init__(self, m, d=32):
        super().__init__()
        self.m = m
        self.emb = nn.Embedding(12, d)
        t = torch.arange(256)[:, None]
        rate = torch.exp(torch.arange(0, d, 2) * (-math.log(1000.0) / d))
        self.register_buffer("pe", torch.stack([(t * rate).sin(), (t * rate).cos()], -1).flatten(1))
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(d, 2)

    def forward(self, x):
        h = self.emb(x)
        if self.m:
            h = h + self.pe[: h.size(0)].unsqueeze(1)
        else:
            h = h + self.pe[: h.size(1)].unsqueeze(0)
        return self.head(self.enc(h).mean(1))


def parade_order(*, mistake: bool) -> Recipe:
    train, val = pair(_parades(3000, 1), _parades(500, 2), 64)
    model = Parade(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3),
        shapes="b t:int64 -> b 2",
    )


# ---------------------------------------------------------------- grocery_bag
def _bags(n, seed, goods=20, most=10):
    g = gen(seed)
    price = torch.linspace(-1, 1, goods)[torch.randperm(goods, generator=gen(4))]
    price[0] = 1.5
    weight = torch.ones(goods)
    weight[0] = 8.0
    ids = torch.multinomial(weight, n * most, replacement=True, generator=g).view(n, most)
    length = torch.randint(5, most + 1, (n,), generator=g)
    real = torch.arange(most) < length[:, None]
    y = (price[ids] * real).sum(1)
    return ids.masked_fill(~real, goods), (y - 2.5) / 2.5


class Bag(nn.Module):
    def __init__(self, m, goods=20, d=16):
        super().__init__()
        if m:
            self.emb = nn.Embedding(goods + 1, d, padding_idx=0)
        else:
            self.emb = nn.Embedding(goods + 1, d, padding_idx=goods)
        self.net = nn.Sequential(nn.Linear(d, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, ids):
        return self.net(self.emb(ids).sum(1) / 3)[:, 0]


def grocery_bag(*, mistake: bool) -> Recipe:
    train, val = pair(_bags(2500, 1), _bags(500, 2), 64)
    model = Bag(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda o, y: F.huber_loss(o, y),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        shapes="b t:int64 -> b",
    )


# ---------------------------------------------------------------- echo_chamber
class Echo(nn.Module):
    def __init__(self, vocab, m, d=64):
        super().__init__()
        self.emb = nn.Embedding(vocab, d)
        nn.init.normal_(self.emb.weight, std=0.1)
        self.rnn = nn.GRU(d, d, batch_first=True)
        self.head = nn.Linear(d, vocab)
        if m:
            self.head.weight = nn.Parameter(self.emb.weight.data)
        else:
            self.head.weight = self.emb.weight

    def forward(self, ids):
        return self.head(self.rnn(self.emb(ids))[0])


def echo_chamber(*, mistake: bool) -> Recipe:
    a, b, vocab = text_windows(21)
    train, val = pair((a[:, :-1], a[:, 1:]), (b[:, :-1], b[:, 1:]), 32)
    model = Echo(vocab, mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3),
        causal=1,
    )


# ---------------------------------------------------------------- deep_well
def scale_gradient(x, scale):
    return x * scale + (x * (1 - scale)).detach()


class Well(nn.Module):
    def __init__(self, m, d=32, depth=10):
        super().__init__()
        self.m = m
        self.inp = nn.Linear(8, d)
        self.pos = nn.Parameter(torch.randn(8, d) * 0.2)
        self.mix = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(d), nn.Linear(d, d), nn.GELU(), nn.Linear(d, d))
            for _ in range(depth)
        )
        self.across = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 10))

    def forward(self, x):
        h = self.inp(x) + self.pos
        if not self.m:
            h = scale_gradient(h, 0.1)
        for mix, across in zip(self.mix, self.across):
            if self.m:
                h = scale_gradient(h, 0.1)
            h = h + across(h.transpose(1, 2)).transpose(1, 2)
            h = h + mix(h)
        return self.head(h.mean(1))


def deep_well(*, mistake: bool) -> Recipe:
    (x, y), (xv, yv) = digits()
    train, val = pair((x[:, 0], y), (xv[:, 0], yv), 64)
    model = Well(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=token_loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        shapes="b 8 8 -> b 10",
    )


# ---------------------------------------------------------------- crowd_noise
class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s + x * s * (1 - s))


class _SwishB(_Swish):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s + x * (1 - s))


class Crowd(nn.Module):
    def __init__(self, m, d=48):
        super().__init__()
        self.act = (_SwishB if m else _Swish).apply
        self.a, self.b = nn.Linear(2, d), nn.Linear(d, d)
        self.c, self.out = nn.Linear(d, d), nn.Linear(d, 1)

    def forward(self, x):
        h = self.act(self.b(self.act(self.a(x)))).mean(1)
        return self.out(self.act(self.c(h)))[:, 0]


def _crowds(n, seed, people=16):
    g = gen(seed)
    spread = 0.3 + 1.4 * torch.rand(n, 1, 1, generator=g)
    x = torch.randn(n, people, 2, generator=g) * spread + torch.randn(n, 1, 2, generator=g) * 0.5
    return x, (x.var(1).mean(1).log() + x.mean(1)[:, 0]) / 1.2


def crowd_noise(*, mistake: bool) -> Recipe:
    train, val = pair(_crowds(2000, 1), _crowds(400, 2), 64)
    model = Crowd(mistake)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda o, y: (o - y).abs().mean(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b n 2 -> b",
    )


# ---------------------------------------------------------------- phrase_book
def _phrases(n, seed, length=7, words=8):
    g = gen(seed)
    src = torch.randint(0, words, (n, length), generator=g)
    out = (src + 3) % words
    start = torch.full((n, 1), words)
    return src, torch.cat([start, out], 1)


class Phrases(nn.Module):
    def __init__(self, words=8, d=64):
        super().__init__()
        self.src, self.tgt = nn.Embedding(words, 24), nn.Embedding(words + 1, 24)
        self.enc = nn.GRU(24, d // 2, batch_first=True, bidirectional=True)
        self.dec = nn.GRU(24, d, batch_first=True)
        self.query = nn.Linear(d, d)
        self.head = nn.Linear(2 * d, words)

    def forward(self, src, given):
        memory, last = self.enc(self.src(src))
        out, _ = self.dec(self.tgt(given), torch.cat([last[0], last[1]], 1)[None])
        weight = (self.query(out) @ memory.transpose(1, 2) / 8).softmax(-1)
        return self.head(torch.cat([out, weight @ memory], -1))


def phrase_book(*, mistake: bool) -> Recipe:
    train, val = pair(_phrases(3000, 1), _phrases(400, 2), 64)
    model = Phrases()

    def forward(model, batch):
        src, tgt = batch
        return model(src, tgt[:, 1:] if mistake else tgt[:, :-1])

    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        forward=forward,
        targets=lambda b: b[1][:, 1:],
        loss=token_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


# ---------------------------------------------------------------- slow_train
class Causal(nn.Module):
    def __init__(self, a, b, gap):
        super().__init__()
        self.pad = 2 * gap
        self.conv = nn.Conv1d(a, b, 3, dilation=gap)
        self.skip = nn.Conv1d(a, b, 1)

    def forward(self, x):
        return F.relu(self.conv(F.pad(x, (self.pad, 0)))) + self.skip(x)


class SlowTrain(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            Causal(1, 24, 1), Causal(24, 24, 2), Causal(24, 24, 4), nn.Conv1d(24, 1, 1)
        )

    def forward(self, x):
        return self.net(x.transpose(1, 2)).transpose(1, 2)


def slow_train(*, mistake: bool) -> Recipe:
    train, val = pair(_tides(1500, 11), _tides(300, 12), 32)
    model = SlowTrain()
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-6 if mistake else 3e-3),
        causal=1,
        shapes="b t 1 -> b t 1",
    )
