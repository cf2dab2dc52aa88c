"""Sound trainings that look odd."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pytest_dlcheck import Recipe


def digits(flat=True):
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(17).permutation(len(x))
    x = torch.tensor(x[order] / 16.0, dtype=torch.float32)
    return (x if flat else x.view(-1, 1, 8, 8)), torch.tensor(y[order])


def loaders(x, y, cut, size=64, **options):
    train = DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=size, shuffle=True, **options)
    return train, DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=size)


# 1. Random features stay frozen; only a linear probe is trained.
class Probe(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        ).requires_grad_(False)
        self.probe = nn.Linear(64 * 16, 10)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            h = self.backbone(x)
        return self.probe(h)


def random_feature_probe():
    model = Probe()
    train, val = loaders(*digits(False), 1400)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.probe.parameters(), lr=5e-3),
        frozen=["backbone.*"],
    )


# 2. A language model whose output layer is its embedding.
class TiedLM(nn.Module):
    def __init__(self, vocab, dim=64):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embedding.weight, std=0.2)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.decoder = nn.Linear(dim, vocab)
        self.decoder.weight = self.embedding.weight

    def forward(self, ids):
        return self.decoder(self.lstm(self.embedding(ids))[0]).transpose(1, 2)


def tied_char_lm():
    text = (
        datasets.load_breast_cancer().DESCR + datasets.load_diabetes().DESCR + datasets.load_iris().DESCR
    ).lower()
    index = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([index[c] for c in text])
    windows = ids[: len(ids) // 33 * 33].view(-1, 33)
    windows = windows[torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))]
    cut = int(0.85 * len(windows))
    model = TiedLM(len(index))
    return Recipe(
        model=model,
        train_data=DataLoader(
            TensorDataset(windows[:cut, :-1], windows[:cut, 1:]), batch_size=16, shuffle=True
        ),
        val_data=DataLoader(TensorDataset(windows[cut:, :-1], windows[cut:, 1:]), batch_size=16),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=8e-3),
        max_grad_norm=5.0,
    )


# 3. SimSiam: a stop-gradient, a negative loss.
class SimSiam(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 128, bias=False),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64, bias=False),
            nn.BatchNorm1d(64, affine=False),
        )
        self.predictor = nn.Sequential(
            nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 64)
        )

    def forward(self, a, b):
        za, zb = self.encoder(a), self.encoder(b)
        return self.predictor(za), self.predictor(zb), za.detach(), zb.detach()


class TwoViews(Dataset):
    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def view(self, x):
        x = x.view(8, 8)
        dy, dx = torch.randint(-1, 2, (2,)).tolist()
        return (torch.roll(x, (dy, dx), (0, 1)) + 0.1 * torch.randn(8, 8)).flatten()

    def __getitem__(self, i):
        return (self.view(self.x[i]), self.view(self.x[i])), i


def digit_simsiam():
    x, _ = digits()
    model = SimSiam()

    def loss(out, _):
        pa, pb, za, zb = out
        return -(F.cosine_similarity(pa, zb).mean() + F.cosine_similarity(pb, za).mean()) / 2

    return Recipe(
        model=model,
        train_data=DataLoader(TwoViews(x[:1500]), batch_size=128, shuffle=True, drop_last=True),
        loss=loss,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
        batch_dim=None,
    )


# 4. No activation function anywhere, but maxima: maxout.
class Maxout(nn.Module):
    def __init__(self, i, o, k=3):
        super().__init__()
        self.o, self.k = o, k
        self.lin = nn.Linear(i, o * k)

    def forward(self, x):
        return self.lin(x).view(-1, self.o, self.k).amax(-1)


def maxout_digits():
    model = nn.Sequential(Maxout(64, 48), Maxout(48, 48), nn.Linear(48, 10))
    train, val = loaders(*digits(), 1400)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.NAdam(model.parameters(), lr=3e-3),
        shapes="b 64 -> b 10",
    )


# 5. Thirty flowers are all there is.
def thirty_irises():
    x, y = datasets.load_iris(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(2))
    x, y = x[order], torch.tensor(y)[order]
    model = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 3))
    return Recipe(
        model=model,
        train_data=(x[:30], y[:30]),
        val_data=(x[30:], y[30:]),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-2),
    )


# 6. Deep SVDD: all outputs are to meet one centre.
def one_class_noughts():
    x, y = digits()
    noughts = x[y == 0]
    model = nn.Sequential(
        nn.Linear(64, 48, bias=False), nn.LeakyReLU(0.1), nn.Linear(48, 16, bias=False)
    )
    with torch.no_grad():
        centre = model(noughts[:140]).mean(0)

    return Recipe(
        model=model,
        train_data=DataLoader(
            TensorDataset(noughts[:140], torch.zeros(140)), batch_size=35, shuffle=True
        ),
        val_data=DataLoader(
            TensorDataset(noughts[140:], torch.zeros(len(noughts) - 140)), batch_size=35
        ),
        loss=lambda out, _: ((out - centre) ** 2).sum(-1).mean(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3),
    )


# 7. Embeddings only: skip-gram with negative samples.
class SkipGram(nn.Module):
    def __init__(self, n, dim=24):
        super().__init__()
        self.word, self.context = nn.Embedding(n, dim), nn.Embedding(n, dim)
        nn.init.uniform_(self.word.weight, -0.5, 0.5)
        nn.init.zeros_(self.context.weight)

    def forward(self, centre, others):
        return torch.einsum("bd,bkd->bk", self.word(centre), self.context(others))


class SkipPairs(IterableDataset):
    def __init__(self, ids, n, size):
        self.ids, self.n, self.size = ids, n, size

    def __iter__(self):
        for _ in range(self.size):
            i = int(torch.randint(2, len(self.ids) - 2, ()))
            offset = (-2, -1, 1, 2)[int(torch.randint(4, ()))]
            noise = torch.randint(self.n, (4,))
            label = torch.tensor([1.0, 0, 0, 0, 0])
            yield (self.ids[i], torch.cat([self.ids[i + offset][None], noise])), label


def skip_gram():
    import re

    words = re.findall(
        "[a-z]+",
        " ".join(
            f().DESCR
            for f in (
                datasets.load_iris,
                datasets.load_wine,
                datasets.load_breast_cancer,
                datasets.load_diabetes,
                datasets.load_digits,
            )
        ).lower(),
    )
    index = {w: i for i, w in enumerate(sorted(set(words)))}
    ids = torch.tensor([index[w] for w in words])
    model = SkipGram(len(index))
    return Recipe(
        model=model,
        train_data=DataLoader(SkipPairs(ids, len(index), 6400), batch_size=64),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adagrad(model.parameters(), lr=0.3),
    )


# 8. A wide net that drops seven of ten units, as it was published.
def wide_dropout_mlp():
    model = nn.Sequential(
        nn.Dropout(0.2),
        nn.Linear(64, 1024),
        nn.ReLU(),
        nn.Dropout(0.7),
        nn.Linear(1024, 512),
        nn.ReLU(),
        nn.Dropout(0.7),
        nn.Linear(512, 10),
    )
    train, val = loaders(*digits(), 1400)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )


# 9. Three outputs, one target: deep supervision.
class SideOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.InstanceNorm2d(12), nn.ReLU())
        self.b = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(24, 12, 2, 2)
        self.sides = nn.ModuleList([nn.Conv2d(12, 1, 1), nn.Conv2d(24, 1, 1), nn.Conv2d(24, 1, 1)])

    def forward(self, x):
        a = self.a(x)
        b = self.b(a)
        c = torch.cat([a, self.up(b)], 1)
        coarse = F.interpolate(self.sides[1](b), scale_factor=2.0, mode="bilinear")
        return [self.sides[2](c), self.sides[0](a), coarse]


def side_output_masks():
    x, _ = digits(False)
    g = torch.Generator().manual_seed(3)
    mask = (x > 0.4).float()
    noisy = x + 0.35 * torch.randn(x.shape, generator=g)
    model = SideOutputs()

    def loss(outputs, mask):
        return sum(
            w * F.binary_cross_entropy_with_logits(o, mask) for w, o in zip((1.0, 0.4, 0.4), outputs)
        )

    train, val = loaders(noisy, mask, 1400, 50)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.RAdam(model.parameters(), lr=8e-3),
    )


# 10. Blocks that are skipped at random while training.
class DropPath(nn.Module):
    def __init__(self, body, p):
        super().__init__()
        self.body, self.p = body, p

    def forward(self, x):
        h = self.body(x)
        if self.training:
            keep = (torch.rand(len(x), 1, 1, 1) > self.p).float()
            h = h * keep / (1 - self.p)
        return x + h


def stochastic_depth_net():
    def body():
        return nn.Sequential(nn.GroupNorm(4, 24), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1))

    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, 2, 1),
        *[DropPath(body(), p) for p in (0.1, 0.2, 0.3, 0.4, 0.5)],
        nn.GroupNorm(4, 24),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    train, val = loaders(*digits(False), 1400)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=40),
    )


# 11. Mixup in the collate function: soft targets, blended images.
def mixup(batch):
    x = torch.stack([b[0] for b in batch])
    y = F.one_hot(torch.stack([b[1] for b in batch]), 10).float()
    lam = torch.distributions.Beta(0.4, 0.4).sample((len(x),))
    other = torch.randperm(len(x))
    blend = lambda a: (
        lam.view(-1, *[1] * (a.dim() - 1)) * a + (1 - lam).view(-1, *[1] * (a.dim() - 1)) * a[other]
    )
    return blend(x), blend(y)


def one_hot(batch):
    return torch.stack([b[0] for b in batch]), F.one_hot(torch.stack([b[1] for b in batch]), 10).float()


def mixup_cnn():
    x, y = digits(False)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3), nn.ReLU(), nn.Conv2d(24, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    return Recipe(
        model=model,
        train_data=DataLoader(
            TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True, collate_fn=mixup
        ),
        val_data=DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=64, collate_fn=one_hot),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3),
    )


# 12. A fifth of the training labels are wrong, as crowds are.
def noisy_crowd_labels():
    x, y = digits()
    g = torch.Generator().manual_seed(1)
    wrong = torch.rand(1400, generator=g) < 0.2
    y = y.clone()
    y[:1400][wrong] = torch.randint(10, (int(wrong.sum()),), generator=g)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 10))
    train, val = loaders(x, y, 1400, 50)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# 13. One in twenty is positive; the loss makes up for it.
def focal_defects():
    x, y = digits()
    rare = y == 8
    keep = torch.cat([torch.nonzero(~rare).flatten(), torch.nonzero(rare).flatten()[:85]])
    keep = keep[torch.randperm(len(keep), generator=torch.Generator().manual_seed(0))]
    x, t = x[keep], rare[keep].float()
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1), nn.Flatten(0))
    nn.init.constant_(model[2].bias, -math.log(19))  # begins with the base rate

    def focal(logits, t):
        bce = F.binary_cross_entropy_with_logits(logits, t, reduction="none")
        p = torch.exp(-bce)
        return (torch.where(t > 0.5, 0.8, 0.2) * (1 - p) ** 2 * bce).mean()

    train, val = loaders(x, t, 1300)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=focal,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# 14. Grey levels as categories: 64 of 1,088 inputs are one, the rest zero, many of them always.
def sparse_grey_levels():
    x, y = digits()
    levels = F.one_hot((x * 16).round().long(), 17).flatten(1).float()
    model = nn.Sequential(nn.Linear(64 * 17, 64), nn.ReLU(), nn.Linear(64, 10))
    train, val = loaders(levels, y, 1400, 32)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# 15. ReZero: every branch begins at nothing.
class ReZero(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.alpha * self.body(x)


def rezero_tower():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))
    model = nn.Sequential(nn.Linear(30, 48), *[ReZero(48) for _ in range(8)], nn.Linear(48, 2))
    train, val = loaders(x[order], torch.tensor(y)[order], 420, 42)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=F.cross_entropy,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# 16. Weight norm and spectral norm, for a regression.
def lipschitz_regression():
    x, y = datasets.load_diabetes(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(
        weight_norm(nn.Linear(10, 48)),
        nn.Softplus(),
        spectral_norm(nn.Linear(48, 48)),
        nn.Softplus(),
        weight_norm(nn.Linear(48, 1)),
    )
    train, val = loaders(x[order], y[order], 350, 50)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.HuberLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# 17. One-bit weights: a straight-through estimator, on purpose not the derivative.
class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w):
        ctx.save_for_backward(w)
        return torch.where(w >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, g):
        (w,) = ctx.saved_tensors
        return g * (w.abs() <= 1)


class BinaryLinear(nn.Linear):
    def forward(self, x):
        return F.linear(x, Sign.apply(self.weight) * self.weight.abs().mean().detach(), self.bias)


def one_bit_net():
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.Hardtanh(),
        BinaryLinear(128, 128),
        nn.BatchNorm1d(128),
        nn.Hardtanh(),
        nn.Linear(128, 10),
    )
    train, val = loaders(*digits(), 1400)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# 18. Sets of any size: their sum.
class DeepSet(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.rho = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, members, present):
        h = self.phi(members) * present.unsqueeze(-1)
        return self.rho(h.sum(1)).squeeze(-1)


class SetsOfDigits(Dataset):
    def __init__(self, x, y, n, seed):
        g = np.random.default_rng(seed)
        self.x, self.y = x, y
        self.sets = [torch.from_numpy(g.integers(len(x), size=int(g.integers(1, 6)))) for _ in range(n)]

    def __len__(self):
        return len(self.sets)

    def __getitem__(self, i):
        s = self.sets[i]
        members, present = torch.zeros(5, 64), torch.zeros(5)
        members[: len(s)], present[: len(s)] = self.x[s], 1.0
        return {"members": members, "present": present}, self.y[s].float().sum() / 10


def digit_sum_sets():
    x, y = digits()
    model = DeepSet()
    return Recipe(
        model=model,
        train_data=DataLoader(SetsOfDigits(x[:1400], y[:1400], 3000, 0), batch_size=64, shuffle=True),
        val_data=DataLoader(SetsOfDigits(x[1400:], y[1400:], 300, 1), batch_size=64),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# 19. Graph attention over dense adjacencies: how is a graph wired?
class GAT(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.enter = nn.Linear(2, dim)
        self.score = nn.ModuleList([nn.Linear(2 * dim, 1) for _ in range(2)])
        self.value = nn.ModuleList([nn.Linear(dim, dim) for _ in range(2)])
        self.head = nn.Linear(dim, 3)

    def forward(self, nodes, adjacency):
        h = self.enter(nodes)
        n = h.shape[1]
        for score, value in zip(self.score, self.value):
            both = torch.cat(
                [h.unsqueeze(2).expand(-1, -1, n, -1), h.unsqueeze(1).expand(-1, n, -1, -1)], -1
            )
            e = F.leaky_relu(score(both).squeeze(-1), 0.2).masked_fill(adjacency == 0, -1e9)
            h = h + F.elu(e.softmax(-1) @ value(h))
        return self.head(h.mean(1))


def wiring_gat():
    g = np.random.default_rng(4)

    def graph(kind, n=12):
        a = np.eye(n)
        if kind == 0:  # ring
            for i in range(n):
                a[i, (i + 1) % n] = a[(i + 1) % n, i] = 1
        elif kind == 1:  # star
            a[0, :] = a[:, 0] = 1
        else:  # tree that grew by preferring the young
            for i in range(1, n):
                j = int(g.integers(max(0, i - 3), i))
                a[i, j] = a[j, i] = 1
        p = g.permutation(n)
        a = a[p][:, p]
        degree = a.sum(1)
        return np.stack([degree / 4, g.normal(size=n) * 0.3], 1), a

    kinds = g.integers(3, size=900)
    made = [graph(k) for k in kinds]
    nodes, adjacency = (torch.tensor(np.array(part), dtype=torch.float32) for part in zip(*made))
    rows = [((nodes[i], adjacency[i]), torch.tensor(kinds[i])) for i in range(900)]
    model = GAT()
    return Recipe(
        model=model,
        train_data=DataLoader(rows[:750], batch_size=30, shuffle=True),
        val_data=DataLoader(rows[750:], batch_size=30),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# 20. Ordinal regression: one score, ordered thresholds.
class Coral(nn.Module):
    def __init__(self, ranks=5):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1, bias=False))
        self.cuts = nn.Parameter(torch.linspace(1, -1, ranks - 1))

    def forward(self, x):
        return self.score(x) + self.cuts


def ordinal_progression():
    x, y = datasets.load_diabetes(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    rank = torch.tensor(np.searchsorted(np.quantile(y, [0.2, 0.4, 0.6, 0.8]), y))
    levels = (rank[:, None] > torch.arange(4)).float()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    model = Coral()
    train, val = loaders(x[order], levels[order], 350, 35)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# 21. Three quantiles that cannot cross.
class Quantiles(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 3)
        )

    def forward(self, x):
        low, *steps = self.net(x).split(1, -1)
        return torch.cumsum(torch.cat([low, *[F.softplus(s) for s in steps]], -1), -1)


def noisy_wave_quantiles():
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2000, 1, generator=g) * 4 - 2
    y = torch.sin(2 * x) + (0.1 + 0.3 * x.abs()) * torch.randn(2000, 1, generator=g)
    taus = torch.tensor([0.1, 0.5, 0.9])
    model = Quantiles()

    def pinball(q, y):
        d = y - q
        return torch.maximum(taus * d, (taus - 1) * d).sum(-1).mean()

    train, val = loaders(x, y, 1600)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=pinball,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


# 22. A generalised linear model: counts with a log link. Linear on purpose.
def poisson_glm():
    g = torch.Generator().manual_seed(2)
    x = torch.randn(1600, 8, generator=g)
    w = torch.tensor([0.6, -0.4, 0.3, 0.0, 0.5, -0.2, 0.1, 0.0])
    y = torch.poisson(torch.exp(x @ w + 0.5), generator=g)
    model = nn.Linear(8, 1)
    train, val = loaders(x, y, 1300, 50)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=lambda out, y: F.poisson_nll_loss(out.squeeze(-1), y, log_input=True),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05),
    )


# 23. Survival: Cox's partial likelihood ranks the samples of a batch.
def cox_survival():
    x, y = datasets.load_diabetes(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    g = torch.Generator().manual_seed(3)
    time = torch.empty(len(x)).exponential_(generator=g) * torch.exp(
        -torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32) * 1.2
    )
    censor = torch.empty(len(x)).exponential_(0.4, generator=g)
    target = torch.stack([torch.minimum(time, censor), (time <= censor).float()], -1)
    model = nn.Sequential(nn.Linear(10, 24), nn.SELU(), nn.Linear(24, 1, bias=False))

    def cox(risk, target):
        risk, (time, event) = risk.squeeze(-1), target.unbind(-1)
        order = time.argsort(descending=True)
        risk, event = risk[order], event[order]
        return -((risk - torch.logcumsumexp(risk, 0)) * event).sum() / event.sum().clamp(min=1)

    train, val = loaders(x, target, 360, 60)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=cox,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# 24. InfoNCE: the other samples of the batch are the negatives.
class TwoTowers(nn.Module):
    def __init__(self):
        super().__init__()
        self.upper = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 32))
        self.lower = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 32))
        self.log_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, upper, lower):
        a, b = F.normalize(self.upper(upper), dim=-1), F.normalize(self.lower(lower), dim=-1)
        return self.log_scale.exp() * a @ b.t()


def digit_halves_clip():
    x, _ = digits()
    data = [{"upper": row[:32], "lower": row[32:]} for row in x]
    model = TwoTowers()

    def training_step(model, batch):
        scores = model(**batch)
        t = torch.arange(len(scores))
        return (F.cross_entropy(scores, t) + F.cross_entropy(scores.t(), t)) / 2, scores

    return Recipe(
        model=model,
        train_data=DataLoader(data[:1500], batch_size=64, shuffle=True, drop_last=True),
        val_data=DataLoader(data[1500:], batch_size=64, drop_last=True),
        training_step=training_step,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        batch_dim=None,
    )


# 25. Masked autoencoder: most of the loss is on what was not shown.
class MaskedRows(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.enter, self.hole = nn.Linear(8, dim), nn.Parameter(torch.zeros(dim))
        self.place = nn.Parameter(torch.randn(8, dim) * 0.3)
        layer = nn.TransformerEncoderLayer(dim, 4, 96, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.exit = nn.Linear(dim, 8)

    def forward(self, rows, hidden):
        h = torch.where(hidden.unsqueeze(-1), self.hole, self.enter(rows)) + self.place
        return self.exit(self.body(h))


class HiddenRows(Dataset):
    def __init__(self, x):
        self.x = x.view(-1, 8, 8) * 2 - 1

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        hidden = torch.rand(8) < 0.4
        hidden[torch.randint(8, ())] = True
        return {"rows": self.x[i], "hidden": hidden}, {"rows": self.x[i], "hidden": hidden}


def masked_row_autoencoder():
    x, _ = digits()
    model = MaskedRows()

    def loss(out, t):
        w = t["hidden"].unsqueeze(-1).float()
        return ((out - t["rows"]) ** 2 * w).sum() / (8 * w.sum())

    return Recipe(
        model=model,
        train_data=DataLoader(HiddenRows(x[:1500]), batch_size=64, shuffle=True),
        val_data=DataLoader(HiddenRows(x[1500:]), batch_size=64),
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
    )


# 26. One block, applied eight times: Euler steps of an ODE.
class ODEBlock(nn.Module):
    def __init__(self, dim, steps=8):
        super().__init__()
        self.field = nn.Sequential(nn.Linear(dim + 1, 48), nn.Tanh(), nn.Linear(48, dim))
        self.steps = steps

    def forward(self, h):
        for k in range(self.steps):
            t = torch.full_like(h[:, :1], k / self.steps)
            h = h + self.field(torch.cat([h, t], -1)) / self.steps
        return h


class Augment(nn.Module):
    def forward(self, x):
        return F.pad(x, (0, 3))


def circles_neural_ode():
    x, y = datasets.make_circles(1200, noise=0.05, factor=0.5, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32) * 2, torch.tensor(y)
    model = nn.Sequential(Augment(), ODEBlock(5), nn.Linear(5, 2))
    train, val = loaders(x, y, 1000, 50)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


# 27. Mixture density network: a log-likelihood that may go below zero.
class MDN(nn.Module):
    def __init__(self, k=5):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
        self.out = nn.Linear(48, 3 * k)

    def forward(self, x):
        logits, mean, log_std = self.out(self.net(x)).chunk(3, -1)
        return logits, mean, log_std.clamp(-4, 3)


def two_branch_mdn():
    g = torch.Generator().manual_seed(9)
    x = torch.rand(2000, 1, generator=g) * 2 - 1
    sign = torch.randint(2, (2000, 1), generator=g) * 2 - 1
    y = sign * (0.3 + 0.5 * (x + 1) ** 1.5 / 2) + 0.03 * torch.randn(2000, 1, generator=g)
    model = MDN()

    def nll(out, y):
        logits, mean, log_std = out
        log_p = -0.5 * ((y - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
        return -torch.logsumexp(logits.log_softmax(-1) + log_p, -1).mean()

    train, val = loaders(x, y, 1600)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=nll,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# 28. Hashing: the outputs are meant to saturate.
def digit_hashing():
    x, y = digits()
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16), nn.BatchNorm1d(16, affine=False), nn.Tanh()
    )

    def loss(codes, labels):
        same = (labels[:, None] == labels[None]).float()
        agreement = codes @ codes.t() / codes.shape[1]
        weight = 1 + 4 * same
        return (weight * (agreement - same) ** 2).mean() + 0.1 * (codes.abs() - 1).pow(2).mean()

    train, val = loaders(x, y, 1400)
    return Recipe(
        model=model,
        train_data=train,
        val_data=val,
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# 29. A teacher that follows its student by averages.
class MeanTeacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(self, x):
        return self.student(x)

    @torch.no_grad()
    def follow(self, keep=0.95):
        for a, b in zip(self.teacher.parameters(), self.student.parameters()):
            a.lerp_(b, 1 - keep)


def mean_teacher():
    """One label in five is known (-1: unknown)."""
    x, y = digits()
    known = torch.rand(1400, generator=torch.Generator().manual_seed(0)) < 0.2
    partly = torch.where(known, y[:1400], -1)
    model = MeanTeacher()

    def training_step(model, batch):
        x, y = batch
        if model.training:
            model.follow()
        logits = model(x + 0.1 * torch.randn_like(x) if model.training else x)
        with torch.no_grad():
            wanted = model.teacher(x).softmax(-1)
        supervised = F.cross_entropy(logits, y, ignore_index=-1, reduction="sum") / (y >= 0).sum().clamp(
            min=1
        )
        return supervised + (logits.softmax(-1) - wanted).pow(2).sum(-1).mean(), logits

    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x[:1400], partly), batch_size=100, shuffle=True),
        val_data=DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=100),
        training_step=training_step,
        optimizer=torch.optim.Adam(model.student.parameters(), lr=5e-3),
    )


HEALTHY = [
    random_feature_probe,
    tied_char_lm,
    digit_simsiam,
    maxout_digits,
    thirty_irises,
    one_class_noughts,
    skip_gram,
    wide_dropout_mlp,
    side_output_masks,
    stochastic_depth_net,
    mixup_cnn,
    noisy_crowd_labels,
    focal_defects,
    sparse_grey_levels,
    rezero_tower,
    lipschitz_regression,
    one_bit_net,
    digit_sum_sets,
    wiring_gat,
    ordinal_progression,
    noisy_wave_quantiles,
    poisson_glm,
    cox_survival,
    digit_halves_clip,
    masked_row_autoencoder,
    circles_neural_ode,
    two_branch_mdn,
    digit_hashing,
    mean_teacher,
]
