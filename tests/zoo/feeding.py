"""Ways to feed a model: workers, buckets, order in time, rare classes, copies, raw and masked inputs."""

from __future__ import annotations

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe, recipe

from .data import digits, halves, loader, prose, tumours, windows, wines


def small_cnn(classes=10):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, classes)
    )


class Shifted(Dataset):
    """Images shifted by up to a pixel, and noisy, drawn anew each time."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        down, right = torch.randint(-1, 2, (2,)).tolist()
        image = self.images[i].roll((down, right), dims=(1, 2))
        return image + 0.05 * torch.randn_like(image), self.labels[i]


@recipe
def two_workers_augment():
    model = small_cnn()
    train, val = halves(*digits())
    return Recipe(
        model=model,
        train_data=DataLoader(Shifted(*train), batch_size=64, shuffle=True, num_workers=2),
        val_data=DataLoader(TensorDataset(*val), batch_size=128),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


@recipe
def text_in_its_own_order():
    """A language model that reads a text from its beginning, window after window, unshuffled."""
    vocabulary = prose()[1]

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.gru = nn.Embedding(vocabulary, 32), nn.GRU(32, 64, batch_first=True)
            self.head = nn.Linear(64, vocabulary)

        def forward(self, codes):
            return self.head(self.gru(self.embed(codes))[0]).transpose(1, 2)

    model = Reader()
    text, _ = windows(25)
    cut = int(0.9 * len(text))
    return Recipe(
        model=model,
        train_data=loader(text[:cut, :-1], text[:cut, 1:], shuffle=False),
        val_data=loader(text[cut:, :-1], text[cut:, 1:], shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
        causal=None,
    )


@recipe
def one_rare_class():
    """Is it a seven? One in ten is; the loss weighs them up."""
    (images, labels), (val_images, val_labels) = halves(*digits())
    model = small_cnn(1)
    model.append(nn.Flatten(0))
    return Recipe(
        model=model,
        train_data=loader(images, (labels == 7).float(), batch_size=64),
        val_data=(val_images, (val_labels == 7).float()),
        loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(9.0)),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )


@recipe
def rare_cases_copied():
    """Malignant tumours are few and are copied until both classes are as frequent."""
    (features, labels), val = halves(*tumours())
    rare = (labels == 0).nonzero().flatten()[:40]
    many = (labels == 1).nonzero().flatten()
    order = torch.cat([many, rare.repeat(len(many) // len(rare))])
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    return Recipe(
        model=model,
        train_data=loader(features[order], labels[order]),
        val_data=tuple(val),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 30 -> b 2",
    )


@recipe
def raw_table_normalised_by_the_model():
    """Wine's own units, from 0.1 to 1,700: the first layer is a BatchNorm."""
    features, labels = load_wine(return_X_y=True)
    train, val = halves(torch.tensor(features, dtype=torch.float32), torch.tensor(labels))
    model = nn.Sequential(nn.BatchNorm1d(13), nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    return Recipe(
        model=model,
        train_data=loader(*train, batch_size=16, drop_last=True),
        val_data=tuple(val),
        loss=nn.CrossEntropyLoss(),
        optimizer=SGD(model.parameters(), lr=0.05, momentum=0.9),
        shapes="b 13 -> b 3",
    )


@recipe
def buckets_of_one_length():
    """Texts of like lengths go together; batches come in another order each epoch."""
    vocabulary = prose()[1]
    texts, _ = windows(24)
    samples = [text[: 4 + (7 * i) % 21] for i, text in enumerate(texts)]

    class Buckets:
        def __init__(self):
            order = sorted(range(len(samples)), key=lambda i: len(samples[i]) // 8)
            self.batches = [order[i : i + 32] for i in range(0, len(order), 32)]

        def __len__(self):
            return len(self.batches)

        def __iter__(self):
            return (self.batches[i] for i in torch.randperm(len(self.batches)).tolist())

    def collate(batch):
        codes = nn.utils.rnn.pad_sequence(batch, batch_first=True)
        return codes, torch.stack([text[-1] for text in batch])

    class Echo(nn.Module):
        """Says which character was the last of the text."""

        def __init__(self):
            super().__init__()
            self.embed, self.gru = nn.Embedding(vocabulary, 32), nn.GRU(32, 48, batch_first=True)
            self.head = nn.Linear(48, vocabulary)

        def forward(self, codes):
            return self.head(self.gru(self.embed(codes))[0].amax(1))

    model = Echo()
    return Recipe(
        model=model,
        train_data=DataLoader(samples, batch_sampler=Buckets(), collate_fn=collate),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
    )


@recipe
def mask_that_hides_nothing_here():
    """A model that takes a mask, and data in which nothing is missing."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(26, 32), nn.ReLU(), nn.Linear(32, 3))

        def forward(self, features, present):
            return self.layers(torch.cat([features * present, present], dim=1))

    def collate(batch):
        features, labels = map(torch.stack, zip(*batch, strict=True))
        return (features, torch.ones_like(features)), labels

    model = Masked()
    train, val = halves(*wines())
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*train), batch_size=16, shuffle=True, collate_fn=collate),
        val_data=DataLoader(TensorDataset(*val), batch_size=36, collate_fn=collate),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
    )


@recipe
def sampled_with_replacement():
    """Each epoch draws its samples anew, some twice and some not at all."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    train, val = halves(*digits())
    data = TensorDataset(*train)
    sampler = torch.utils.data.RandomSampler(data, replacement=True)
    return Recipe(
        model=model,
        train_data=DataLoader(data, batch_size=32, sampler=sampler),
        val_data=tuple(val),
        loss=nn.CrossEntropyLoss(),
        optimizer=SGD(model.parameters(), lr=0.05, momentum=0.9),
        shapes="b 1 8 8 -> b 10",
    )


@recipe
def twenty_to_validate():
    """A validation set so small that chance is wide."""
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    (features, labels), (val_features, val_labels) = halves(*tumours())
    return Recipe(
        model=model,
        train_data=loader(features, labels),
        val_data=(val_features[:20], val_labels[:20]),
        loss=lambda outputs, targets: F.cross_entropy(outputs, targets, label_smoothing=0.05),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )
