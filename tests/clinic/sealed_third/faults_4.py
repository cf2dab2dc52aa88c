"""Faults in data, and one in evaluation."""

from __future__ import annotations

import numpy as np
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, get_worker_info

from pytest_dlcheck import Recipe

from . import data

# -- features shuffled, labels not ------------------------------------------------------------------


def wine_shuffled(mistake: bool) -> Recipe:
    """The rows of X are shuffled before the split, those of y are not: labels belong to other rows."""
    x, y = datasets.load_wine(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    x = x[order]
    if not mistake:
        y = y[order]
    x, vx, y, vy = train_test_split(x, y, test_size=0.25, stratify=y, random_state=1)
    mean, std = x.mean(0), x.std(0)
    x, vx = data.f32((x - mean) / std), data.f32((vx - mean) / std)
    y, vy = data.i64(y), data.i64(vy)
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
    return Recipe(
        model=model,
        train_data=data.loader(x, y, batch_size=16),
        val_data=data.loader(vx, vy, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-3),
        shapes="b 13 -> b 3",
    )


# -- a language model whose targets are its inputs --------------------------------------------------


class CharWindows(Dataset):
    def __init__(self, windows, *, shift=1):
        self.windows, self.shift = windows, shift

    def __len__(self):
        return len(self.windows)

    def __getitem__(self, i):
        window = self.windows[i]
        n = len(window) - 1
        return window[:n], window[self.shift : self.shift + n]


class CharGRU(nn.Module):
    def __init__(self, vocab, dim=32, hidden=96):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.decoder = nn.Linear(hidden, vocab)

    def forward(self, codes):
        hidden, _ = self.gru(self.embedding(codes))
        return self.decoder(hidden)


def char_gru(mistake: bool) -> Recipe:
    """The targets are not shifted by one, so that the model learns to say the character that it reads."""
    train, val, vocab = data.characters()
    model = CharGRU(vocab)
    shift = 0 if mistake else 1
    return Recipe(
        model=model,
        train_data=DataLoader(CharWindows(train, shift=shift), batch_size=32, shuffle=True),
        val_data=DataLoader(CharWindows(val, shift=shift), batch_size=128),
        loss=lambda logits, targets: F.cross_entropy(logits.flatten(0, 1), targets.flatten()),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        max_grad_norm=1.0,
        shapes=f"b t:int64 -> b t {vocab}",
        causal=1,
    )


# -- windows that are all the same array ------------------------------------------------------------


def make_windows(series, width, *, reuse):
    """Windows of a series with what comes next; a ring buffer saves slicing."""
    buffer = np.zeros(width, dtype=np.float32)
    rows, nexts = [], []
    for i in range(len(series) - 1):
        buffer[:-1] = buffer[1:]
        buffer[-1] = series[i]
        if i >= width - 1:
            rows.append(buffer if reuse else buffer.copy())
            nexts.append(series[i + 1])
    return torch.tensor(np.array(rows)), torch.tensor(np.array(nexts))


def ring_buffer_forecast(mistake: bool) -> Recipe:
    """The buffer is appended without a copy, so that every window is the last one."""
    series = data.series(seed=3)
    x, y = make_windows(series[:2400], 36, reuse=mistake)
    vx, vy = make_windows(series[2400:], 36, reuse=mistake)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 36)), nn.Conv1d(1, 16, 5), nn.ReLU(), nn.Conv1d(16, 16, 5, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 14, 1), nn.Flatten(0),
    )  # fmt: skip
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=128, shuffle=False),
        loss=nn.SmoothL1Loss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        shapes="b 36 -> b",
    )


# -- validation images that were not normalised -----------------------------------------------------


class Images(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        return (self.transform(image) if self.transform else image), self.labels[i]


def unnormalised_validation(mistake: bool) -> Recipe:
    """Training images are scaled and normalised, validation images are raw grey values from 0 to 255."""
    x, y, vx, vy = data.digits()
    raw, val_raw = (x * 255).round(), (vx * 255).round()

    def normalise(image):
        return (image / 255 - 0.305) / 0.376

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    return Recipe(
        model=model,
        train_data=DataLoader(Images(raw, y, normalise), batch_size=64, shuffle=True),
        val_data=DataLoader(Images(val_raw, vy, None if mistake else normalise), batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b 10",
    )


# -- rare rows repeated before the split ------------------------------------------------------------


def oversample(x, y, rng):
    """Repeats rows of rarer classes until all are as frequent."""
    counts = np.bincount(y)
    rows = [np.arange(len(y))]
    rows += [rng.choice(np.flatnonzero(y == c), counts.max() - n) for c, n in enumerate(counts)]
    rows = np.concatenate(rows)
    return x[rows], y[rows]


def oversampled_churn(mistake: bool) -> Recipe:
    """The minority is oversampled before the split, so that validation rows are training rows too."""
    x, y = datasets.make_classification(
        2400,
        16,
        n_informative=6,
        n_redundant=2,
        weights=[0.8],
        flip_y=0.01,
        class_sep=1.8,
        random_state=0,
    )
    rng = np.random.default_rng(0)
    if mistake:
        x, y = oversample(x, y, rng)
    x, vx, y, vy = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    if not mistake:
        x, y = oversample(x, y, rng)
    model = nn.Sequential(
        nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 1),
        nn.Flatten(0),
    )  # fmt: skip
    return Recipe(
        model=model,
        train_data=data.loader(data.f32(x), data.f32(y), drop_last=True),
        val_data=data.loader(data.f32(vx), data.f32(vy), batch_size=256, shuffle=False),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        shapes="b 16 -> b",
    )


# -- workers that carry the same generator ----------------------------------------------------------


class NoisyDigits(Dataset):
    """An image with fresh noise, and the clean image."""

    def __init__(self, images, seed=0):
        self.images = images
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        noise = self.rng.standard_normal(self.images[i].shape).astype(np.float32)
        return self.images[i] + 0.3 * torch.from_numpy(noise), self.images[i]


def seed_worker(worker_id):
    info = get_worker_info()
    info.dataset.rng = np.random.default_rng(info.seed)


def worker_noise(mistake: bool) -> Recipe:
    """The dataset's generator is copied into each worker, so that both draw the same noise, in every epoch."""
    x, _, vx, _ = data.digits()
    clean = vx + 0.3 * torch.randn(vx.shape, generator=torch.Generator().manual_seed(1))
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 1, 3, padding=1)
    )  # fmt: skip
    return Recipe(
        model=model,
        train_data=DataLoader(
            NoisyDigits(x),
            batch_size=64,
            shuffle=True,
            num_workers=2,
            worker_init_fn=None if mistake else seed_worker,
        ),
        val_data=data.loader(clean, vx, batch_size=128, shuffle=False),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )


# -- images that are flipped without their masks ----------------------------------------------------


class Segmentation(Dataset):
    def __init__(self, images, masks, *, flip=True, flip_mask=True):
        self.images, self.masks, self.flip, self.flip_mask = images, masks, flip, flip_mask

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if self.flip and torch.rand(()) < 0.5:
            image = image.flip(-1)
            if self.flip_mask:
                mask = mask.flip(-1)
        return image, mask


class FCN(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        for dilation in (1, 2):
            layers += [
                nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 1))

    def forward(self, x):
        return self.layers(x)


def flipped_segmentation(mistake: bool) -> Recipe:
    """Half of the images are flipped from left to right, their masks are not."""
    x, y, vx, vy = data.blobs()
    model = FCN()
    return Recipe(
        model=model,
        train_data=DataLoader(Segmentation(x, y, flip_mask=not mistake), batch_size=16, shuffle=True),
        val_data=DataLoader(Segmentation(vx, vy, flip=False), batch_size=60),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 24 24 -> b 1 24 24",
    )


# -- dropout in evaluation --------------------------------------------------------------------------


class FunctionalDropoutNet(nn.Module):
    def __init__(self, *, pass_training=True):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.fc1 = nn.Linear(256, 64)
        self.fc2 = nn.Linear(64, 10)
        self.pass_training = pass_training

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, 0.5, training=self.training) if self.pass_training else F.dropout(x, 0.5)
        return self.fc2(x)


def functional_dropout(mistake: bool) -> Recipe:
    """`F.dropout` without `training=self.training` drops half of the units in evaluation too."""
    x, y, vx, vy = data.digits()
    model = FunctionalDropoutNet(pass_training=not mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


FAULTS = [
    (
        wine_shuffled,
        ("align", "pair", "other rows", "permut", "belong", "nothing of their"),
        "labels of other rows",
    ),
    (
        char_gru,
        ("shift", "copy", "copies", "same as the input", "targets are the inputs", "equal"),
        "targets not shifted",
    ),
    (
        ring_buffer_forecast,
        (
            "identical",
            "duplicate",
            "the same sample",
            "same inputs",
            "all alike",
            "do not differ",
            "constant",
        ),
        "rows alias one buffer",
    ),
    (
        unnormalised_validation,
        ("scale", "normalis", "normaliz", "standardis", "distribution", "raw"),
        "validation not normalised",
    ),
    (
        oversampled_churn,
        ("overlap", "duplicate", "leak", "also in", "in both"),
        "oversampled before the split",
    ),
    (
        worker_noise,
        ("worker", "generator", "same noise", "same random", "rng"),
        "workers share random numbers",
    ),
    (
        flipped_segmentation,
        ("flip", "augment", "align", "mirror", "mask"),
        "augmentation of inputs only",
    ),
    (functional_dropout, ("dropout", "eval", "training=", "determinis"), "dropout in evaluation"),
]
