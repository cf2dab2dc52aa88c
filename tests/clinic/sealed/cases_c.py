"""Data, schedules, layers of one's own."""

from __future__ import annotations

import numpy
import torch
import torch.nn.functional as func
from sklearn import datasets as sk
from sklearn.model_selection import train_test_split
from torch import Tensor, nn, optim
from torch.utils import data as tud

from pytest_dlcheck import Recipe


def as_f32(array) -> Tensor:
    return torch.as_tensor(numpy.asarray(array), dtype=torch.float32)


def pair(x, y) -> tud.TensorDataset:
    return tud.TensorDataset(as_f32(x), torch.as_tensor(numpy.asarray(y)))


# ---- 1
def tumour_screening(*, mistake: bool):
    x, y = sk.load_breast_cancer(return_X_y=True)
    xt, xv, yt, yv = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    mean, std = xt.mean(0), xt.std(0)
    net = nn.Sequential(nn.Linear(30, 48), nn.GELU(), nn.Linear(48, 24), nn.GELU(), nn.Linear(24, 2))
    opt = optim.AdamW(net.parameters(), lr=1e-2)
    warmup = 150
    if mistake:
        ramp = lambda step: min(1, (step + 1) // warmup)
    else:
        ramp = lambda step: min(1.0, (step + 1) / warmup)
    return Recipe(
        model=net,
        train_data=tud.DataLoader(pair((xt - mean) / std, yt), batch_size=32, shuffle=True),
        val_data=tud.DataLoader(pair((xv - mean) / std, yv), batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=opt,
        scheduler=optim.lr_scheduler.LambdaLR(opt, ramp),
    )


# ---- 2
def handwriting_mlp(*, mistake: bool):
    x, y = sk.load_digits(return_X_y=True)
    x = x / 16.0
    rng = numpy.random.RandomState(42)
    if mistake:
        x = x[rng.permutation(len(x))]
        y = y[rng.permutation(len(y))]
    else:
        order = rng.permutation(len(x))
        x, y = x[order], y[order]
    net = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    return Recipe(
        model=net,
        train_data=tud.DataLoader(pair(x[:1400], y[:1400]), batch_size=64, shuffle=True),
        val_data=tud.DataLoader(pair(x[1400:], y[1400:]), batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(net.parameters(), lr=3e-3),
        shapes="b 64 -> b 10",
    )


# ---- 3
def wine_cultivars(*, mistake: bool):
    """Raw measurements: a first BatchNorm brings them to one scale."""
    x, y = sk.load_wine(return_X_y=True)
    xt, xv, yt, yv = train_test_split(x, y, test_size=0.3, random_state=1, stratify=y)
    momentum = 1e-4 if mistake else 0.1
    net = nn.Sequential(
        nn.BatchNorm1d(13, momentum=momentum),
        nn.Linear(13, 64),
        nn.BatchNorm1d(64, momentum=momentum),
        nn.ReLU(),
        nn.Linear(64, 3),
    )
    return Recipe(
        model=net,
        train_data=tud.DataLoader(pair(xt, yt), batch_size=31, shuffle=True),
        val_data=tud.DataLoader(pair(xv, yv), batch_size=27),
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(net.parameters(), lr=5e-3),
    )


# ---- 4
class Inpainter(nn.Module):
    """The 6x6 middle of a 12x12 patch, from its rim."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(4, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 1, 1), nn.ReLU()
        )
        self.fill = nn.Sequential(nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 3, 1))

    def forward(self, x):
        hole = torch.zeros_like(x[:, :1])
        hole[..., 3:9, 3:9] = 1
        h = self.fill(self.down(torch.cat([x * (1 - hole), hole], 1)))
        return func.interpolate(h, size=(6, 6), mode="bilinear", align_corners=False)


def photo_inpainting(*, mistake: bool):
    image = as_f32(sk.load_sample_image("china.jpg")).permute(2, 0, 1) / 255
    image = (image - image.mean()) / image.std()
    x = image.unfold(1, 12, 12).unfold(2, 12, 12).permute(1, 2, 0, 3, 4).reshape(-1, 3, 12, 12)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(1))]
    y = x[..., 3:9, 3:9]
    net = Inpainter()
    # arguments in order: lr, momentum
    opt = optim.SGD(net.parameters(), 0.9, 0.05) if mistake else optim.SGD(net.parameters(), 0.05, 0.9)
    return Recipe(
        model=net,
        train_data=tud.DataLoader(tud.TensorDataset(x[:1200], y[:1200]), batch_size=32, shuffle=True),
        val_data=tud.DataLoader(tud.TensorDataset(x[1200:1500], y[1200:1500]), batch_size=32),
        loss=nn.MSELoss(),
        optimizer=opt,
        shapes="b 3 12 12 -> b 3 6 6",
    )


# ---- 5
def digits_valid_conv(*, mistake: bool):
    x, y = sk.load_digits(return_X_y=True)
    order = numpy.random.default_rng(9).permutation(len(x))
    x, y = x[order], y[order]
    spread = x[:1400].std(0)
    if not mistake:
        spread = numpy.where(spread > 0, spread, 1.0)
    with numpy.errstate(all="ignore"):
        x = (x - x[:1400].mean(0)) / spread
    net = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    return Recipe(
        model=net,
        train_data=tud.DataLoader(pair(x[:1400], y[:1400]), batch_size=64, shuffle=True),
        val_data=tud.DataLoader(pair(x[1400:], y[1400:]), batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.Adam(net.parameters(), lr=2e-3),
    )


# ---- 6
def rare_disease(*, mistake: bool):
    """The rare class is repeated until both are equally frequent."""
    x, y = sk.load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    keep = numpy.concatenate([numpy.flatnonzero(y == 1), numpy.flatnonzero(y == 0)[:60]])
    x, y = x[keep], y[keep]

    def oversample(x, y):
        rare = numpy.flatnonzero(y == 0)
        more = numpy.random.default_rng(0).choice(rare, (y == 1).sum() - len(rare))
        index = numpy.concatenate([numpy.arange(len(y)), more])
        return x[index], y[index]

    if mistake:
        x, y = oversample(x, y)
        xt, xv, yt, yv = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    else:
        xt, xv, yt, yv = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
        xt, yt = oversample(xt, yt)
    net = nn.Sequential(nn.Linear(30, 64), nn.SiLU(), nn.Linear(64, 1), nn.Flatten(0))
    return Recipe(
        model=net,
        train_data=tud.DataLoader(
            tud.TensorDataset(as_f32(xt), as_f32(yt)), batch_size=32, shuffle=True
        ),
        val_data=tud.DataLoader(tud.TensorDataset(as_f32(xv), as_f32(yv)), batch_size=32),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=optim.Adam(net.parameters(), lr=3e-3),
    )


# ---- 7
class Folders(tud.Dataset):
    """One folder a class, as ImageFolder lists them."""

    def __init__(self, images, labels):
        self.samples = [
            (images[i], int(labels[i])) for c in range(10) for i in numpy.flatnonzero(labels == c)
        ]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        image, label = self.samples[i]
        return as_f32(image)[None] / 16, label


def folder_cnn(*, mistake: bool):
    digits = sk.load_digits()
    train, val = (
        Folders(digits.images[:1400], digits.target[:1400]),
        Folders(digits.images[1400:], digits.target[1400:]),
    )
    net = nn.Sequential(
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
    return Recipe(
        model=net,
        train_data=tud.DataLoader(train, batch_size=50)
        if mistake
        else tud.DataLoader(train, batch_size=50, shuffle=True),
        val_data=tud.DataLoader(val, batch_size=50),
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(net.parameters(), lr=0.05, momentum=0.9),
    )


# ---- 8
class Noisy(tud.Dataset):
    def __init__(self, clean: Tensor, seed: int, again: bool):
        self.clean, self.seed, self.again = clean, seed, again
        self.rng = numpy.random.default_rng(seed)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        rng = numpy.random.default_rng(self.seed) if self.again else self.rng
        noise = as_f32(rng.normal(scale=0.7, size=tuple(self.clean[i].shape)))
        return self.clean[i] + noise, self.clean[i]


class DenoisingAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(128, 48),
        )
        self.decode = nn.Sequential(nn.Linear(48, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64))

    def forward(self, x):
        return self.decode(self.encode(x)).view_as(x)


def denoising_autoencoder(*, mistake: bool):
    x = as_f32(sk.load_digits().images)[:, None] / 8 - 1
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(12))]
    net = DenoisingAE()
    return Recipe(
        model=net,
        train_data=tud.DataLoader(Noisy(x[:1500], 7, mistake), batch_size=64, shuffle=True),
        val_data=tud.DataLoader(Noisy(x[1500:], 8, mistake), batch_size=64),
        loss=nn.MSELoss(),
        optimizer=optim.Adam(net.parameters(), lr=3e-3),
    )


# ---- 9
class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, transposed):
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        return x @ weight.t() + bias

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        to_x = g @ weight.t() if ctx.transposed else g @ weight
        return to_x, g.t() @ x, g.sum(0), None


class LeanLinear(nn.Linear):
    transposed = False

    def forward(self, x):
        return _Linear.apply(x, self.weight, self.bias, self.transposed)


def lean_digits_net(*, mistake: bool):
    x, y = sk.load_digits(return_X_y=True)
    order = numpy.random.default_rng(4).permutation(len(x))
    x, y = x[order] / 16, y[order]
    layers: list[nn.Module] = []
    for _ in range(3):
        linear = LeanLinear(64, 64)
        linear.transposed = mistake
        layers += [linear, nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(64, 10))
    return Recipe(
        model=net,
        train_data=tud.DataLoader(pair(x[:1400], y[:1400]), batch_size=64, shuffle=True),
        val_data=tud.DataLoader(pair(x[1400:], y[1400:]), batch_size=64),
        loss=func.cross_entropy,
        optimizer=optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
    )


# ---- 10
class TextureNet(nn.Module):
    """Roof tiles or petals?"""

    def __init__(self, groups: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU()
        )
        self.norm = nn.GroupNorm(groups, 32)
        self.classify = nn.Linear(32, 2)

    def forward(self, x):
        return self.classify(self.norm(self.features(x).mean((-1, -2))))


def texture_classifier(*, mistake: bool):
    xs, ys = [], []
    for label, name in enumerate(("china.jpg", "flower.jpg")):
        image = as_f32(sk.load_sample_image(name)).permute(2, 0, 1) / 127.5 - 1
        part = image.unfold(1, 12, 16).unfold(2, 12, 16).permute(1, 2, 0, 3, 4).reshape(-1, 3, 12, 12)
        xs.append(part)
        ys.append(torch.full((len(part),), label))
    x, y = torch.cat(xs), torch.cat(ys)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    x, y = x[order], y[order]
    net = TextureNet(groups=32 if mistake else 4)
    return Recipe(
        model=net,
        train_data=tud.DataLoader(tud.TensorDataset(x[:1500], y[:1500]), batch_size=32, shuffle=True),
        val_data=tud.DataLoader(tud.TensorDataset(x[1500:], y[1500:]), batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.AdamW(net.parameters(), lr=3e-3),
        shapes="b 3 12 12 -> b 2",
    )


# ---- 11
class Comparer(nn.Module):
    """Is the digit on the left greater than that on the right?"""

    def __init__(self, twice: bool):
        super().__init__()
        self.twice = twice
        self.tower = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32), nn.ReLU()
        )
        self.judge = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, left, right):
        a, b = self.tower(left), self.tower(right)
        both = torch.cat([a, a] if self.twice else [a, b], dim=1)
        return self.judge(both)[:, 0]


class Pairs(tud.Dataset):
    def __init__(self, images, labels, n, seed):
        self.images, self.labels = as_f32(images) / 16, labels
        self.index = numpy.random.default_rng(seed).integers(len(images), size=(n, 2))

    def __len__(self):
        return len(self.index)

    def __getitem__(self, k):
        i, j = self.index[k]
        return {"left": self.images[i], "right": self.images[j]}, torch.tensor(
            float(self.labels[i] > self.labels[j])
        )


def greater_digit(*, mistake: bool):
    digits = sk.load_digits()
    net = Comparer(twice=mistake)
    return Recipe(
        model=net,
        train_data=tud.DataLoader(
            Pairs(digits.images[:1400], digits.target[:1400], 4000, 1), batch_size=64, shuffle=True
        ),
        val_data=tud.DataLoader(
            Pairs(digits.images[1400:], digits.target[1400:], 500, 2), batch_size=64
        ),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=optim.Adam(net.parameters(), lr=3e-3),
    )


# ---- 12
class NoisePredictor(nn.Module):
    def __init__(self):
        super().__init__()
        self.when = nn.Embedding(50, 32)
        self.net = nn.Sequential(
            nn.Linear(96, 192), nn.SiLU(), nn.Linear(192, 192), nn.SiLU(), nn.Linear(192, 64)
        )

    def forward(self, x, t):
        return self.net(torch.cat([x, self.when(t)], -1))


def digit_diffusion(*, mistake: bool):
    x = as_f32(sk.load_digits().data) / 8 - 1
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(5))]
    alphas = torch.cumprod(1 - torch.linspace(1e-3, 0.15, 50), 0)
    net = NoisePredictor()

    def training_step(model, batch):
        (clean,) = batch
        t = torch.randint(50, (len(clean),))
        noise = torch.randn_like(clean)
        keep = alphas[t]
        if not mistake:
            keep = keep[:, None]
        noisy = keep.sqrt() * clean + (1 - keep).sqrt() * noise
        predicted = model(noisy, t)
        return func.mse_loss(predicted, noise), predicted

    return Recipe(
        model=net,
        train_data=tud.DataLoader(
            tud.TensorDataset(x[:1536]), batch_size=64, shuffle=True, drop_last=True
        ),
        val_data=tud.DataLoader(tud.TensorDataset(x[1536:]), batch_size=64, drop_last=True),
        training_step=training_step,
        optimizer=optim.AdamW(net.parameters(), lr=2e-3),
    )


FAULTS = [
    (
        tumour_screening,
        ("learning rate", "lr", "schedul", "warm"),
        "the warm-up ramp uses integer division, so the learning rate is exactly zero until it ends",
    ),
    (
        handwriting_mlp,
        (
            "unrelated",
            "shuffl",
            "permut",
            "belong",
            "mispair",
            "paired",
            "misalign",
            "aligned",
            "mismatch",
            "tell nothing",
            "nothing of",
            "no relation",
        ),
        "inputs and labels are permuted by two different permutations",
    ),
    (
        wine_cultivars,
        ("running", "momentum", "batchnorm", "batch norm", "statistics"),
        "BatchNorm's momentum of 1e-4 leaves the running statistics at their initial values, so evaluation normalises by wrong ones",
    ),
    (
        photo_inpainting,
        ("learning rate", "lr", "momentum"),
        "learning rate and momentum are swapped in the call of SGD (0.9 and 0.05)",
    ),
    (
        digits_valid_conv,
        ("nan", "finite", "not a number"),
        "pixels that never vary are divided by a standard deviation of zero and become NaN",
    ),
    (
        rare_disease,
        (
            "overlap",
            "duplicate",
            "in both",
            "leak",
            "training samples",
            "same samples",
            "also in",
            "copies",
        ),
        "the rare class is oversampled before the split, so validation holds copies of training samples",
    ),
    (
        folder_cnn,
        ("sorted", "shuffl", "in order"),
        "the training data is sorted by class and the loader does not shuffle",
    ),
    (
        denoising_autoencoder,
        ("random number", "noise", "same numbers", "same draw", "reseed", "rng", "generator"),
        "the noise generator is made anew with one seed for every sample, so all samples carry the same noise",
    ),
    (
        lean_digits_net,
        ("backward of", "backward is", "its backward", "autograd.function", "derivative", "_linear"),
        "the custom autograd function's backward multiplies by the transposed weight",
    ),
    (
        texture_classifier,
        ("groupnorm", "group norm", "`norm`", "norm ", "constant", "same output", "same for all"),
        "GroupNorm with as many groups as channels after global pooling normalises each single value, so its output is constant",
    ),
    (
        greater_digit,
        ("right", "second input", "unused", "no influence", "never used", "ignored", "not used"),
        "the left tower's features are concatenated with themselves, so the right input is never used",
    ),
    (
        digit_diffusion,
        (
            "broadcast",
            "shape",
            "size of tensor",
            "must match",
            "other samples",
            "neighbour",
            "neighbor",
            "mixes",
        ),
        "noise levels (batch,) broadcast along the 64 pixels instead of the 64 samples",
    ),
]
