"""Positions, pooling, class numbers, warm-up, a tabular VAE, a bag of words."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from ._data import digits, snippets


# ---------------------------------------------------------------- 25: positions
class PositionalEncoding(nn.Module):
    """The encoding of the tutorial, kept as (length, 1, width)."""

    def __init__(self, width, length=512, batch_first=True):
        super().__init__()
        self.batch_first = batch_first
        position = torch.arange(length).unsqueeze(1)
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        pe = torch.zeros(length, 1, width)
        pe[:, 0, 0::2] = torch.sin(position * rate)
        pe[:, 0, 1::2] = torch.cos(position * rate)
        self.register_buffer("pe", pe)

    def forward(self, x):
        if self.batch_first:
            return x + self.pe[: x.size(1)].transpose(0, 1)
        return x + self.pe[: x.size(0)]


class RowTransformer(nn.Module):
    """Reads a digit row by row."""

    def __init__(self, positions_batch_first, width=48):
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.positions = PositionalEncoding(width, batch_first=positions_batch_first)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        x = self.positions(self.embed(images.squeeze(1)))
        return self.head(self.encoder(x).mean(1))


def row_transformer(mistake: bool) -> Recipe:
    """The data are batch first, but the positional encoding is sliced and added along the batch."""
    train_x, train_y, val_x, val_y = digits()
    model = RowTransformer(positions_batch_first=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
    )


# ---------------------------------------------------------------- 26 and 30: text
class Snippets(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def pad_tokens(batch):
    tokens, labels = zip(*batch)
    lengths = torch.tensor([len(t) for t in tokens])
    return (nn.utils.rnn.pad_sequence(tokens, batch_first=True), lengths), torch.tensor(labels)


class GRUTagger(nn.Module):
    """Topic of a snippet: a GRU and the largest activation over time."""

    def __init__(self, vocabulary, masked, width=48, classes=6):
        super().__init__()
        self.masked = masked
        self.embedding = nn.Embedding(vocabulary, 32, padding_idx=0)
        self.gru = nn.GRU(32, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens, lengths):
        h, _ = self.gru(self.embedding(tokens))
        if self.masked:
            inside = torch.arange(tokens.size(1), device=tokens.device)[None] < lengths[:, None]
            h = h.masked_fill(~inside[..., None], float("-inf"))
        return self.head(h.max(dim=1).values)


def gru_topics(mistake: bool) -> Recipe:
    """The maximum over time is taken over the padding as well."""
    train, val, vocabulary = snippets()
    model = GRUTagger(vocabulary, masked=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(Snippets(train), batch_size=32, shuffle=True, collate_fn=pad_tokens),
        val_data=DataLoader(Snippets(val), batch_size=32, collate_fn=pad_tokens),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )


# ---------------------------------------------------------------- 27: machine sounds
MACHINES = ["pump", "fan", "valve", "drill", "lathe"]


def recordings(n, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(96) / 96
    signals, names = [], []
    for _ in range(n):
        k = int(rng.integers(0, 5))
        pitch = (5, 9, 14, 20, 27)[k] * rng.uniform(0.9, 1.1)
        wave = np.sin(2 * np.pi * pitch * t + rng.uniform(0, 6.28))
        if k % 2:
            wave = wave * (1 + np.sin(2 * np.pi * 3 * t + rng.uniform(0, 6.28)))
        signals.append(wave + rng.normal(0, 0.4, 96))
        names.append(MACHINES[k])
    return signals, names


class Recordings(Dataset):
    def __init__(self, n, seed, by_appearance):
        signals, self.names = recordings(n, seed)
        self.signals = torch.tensor(np.stack(signals), dtype=torch.float32).unsqueeze(1)
        classes = list(dict.fromkeys(self.names)) if by_appearance else sorted(set(self.names))
        self.class_to_index = {name: i for i, name in enumerate(classes)}

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        return self.signals[i], self.class_to_index[self.names[i]]


def machine_sounds(mistake: bool) -> Recipe:
    """Each split numbers the classes in the order in which they appear there, and these orders differ."""
    model = nn.Sequential(
        nn.Conv1d(1, 16, 7, padding=3),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(16, 32, 5, padding=2),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    return Recipe(
        model=model,
        train_data=DataLoader(Recordings(1500, 0, by_appearance=mistake), batch_size=32, shuffle=True),
        val_data=DataLoader(Recordings(300, 1, by_appearance=mistake), batch_size=100),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# ---------------------------------------------------------------- 28: warm-up
class PatchViT(nn.Module):
    def __init__(self, width=48, depth=2):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 17, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x[:, 0]))


def vit_warmup(mistake: bool) -> Recipe:
    """Two epochs of warm-up are counted in samples, not in batches, and so last for the whole training."""
    train_x, train_y, val_x, val_y = digits()
    train_set = TensorDataset(train_x, train_y)
    loader = DataLoader(train_set, batch_size=64, shuffle=True)
    warmup = 2 * len(train_set if mistake else loader)
    model = PatchViT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup))
    return Recipe(
        model=model,
        train_data=loader,
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        scheduler=scheduler,
        max_grad_norm=1.0,
    )


# ---------------------------------------------------------------- 29: VAE of sensors
def sensors(n, seed):
    """Twelve correlated sensors driven by three hidden quantities."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(11)
    z = rng.normal(0, 1, (n, 3))
    x = (
        np.tanh(z @ mix.normal(0, 0.8, (3, 12)))
        + 0.3 * z @ mix.normal(0, 1, (3, 12))
        + rng.normal(0, 0.1, (n, 12))
    )
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(x, dtype=torch.float32))


class SensorVAE(nn.Module):
    def __init__(self, width=96, code=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, width), nn.ELU(), nn.Linear(width, width), nn.ELU())
        self.mu, self.logvar = nn.Linear(width, code), nn.Linear(width, code)
        self.decoder = nn.Sequential(
            nn.Linear(code, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, 12)
        )

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu) if self.training else mu
        return self.decoder(z), mu, logvar


def sensor_vae(mistake: bool) -> Recipe:
    """The minus before the KL divergence is missing, so that codes are driven away from the prior without bound."""
    sign = 0.5 if mistake else -0.5

    def loss(outputs, x):
        restored, mu, logvar = outputs
        fit = 0.5 * ((restored - x) ** 2).sum(1) / 0.1
        kl = sign * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
        return (fit + kl).mean()

    model = SensorVAE()
    return Recipe(
        model=model,
        train_data=DataLoader(sensors(3000, 0), batch_size=64, shuffle=True),
        val_data=DataLoader(sensors(500, 1), batch_size=250),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )


# ---------------------------------------------------------------- 30: bag of words
class BagOfWords(nn.Module):
    def __init__(self, vocabulary, by_length, width=64, classes=6):
        super().__init__()
        self.by_length = by_length
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, tokens, lengths):
        words = self.embedding(tokens)
        if self.by_length:
            document = words.sum(1) / lengths[:, None]
        else:
            document = words.mean(1)
        return self.mlp(document)


def bag_of_words(mistake: bool) -> Recipe:
    """The mean over the words divides by the padded length, which depends on the longest text of the batch."""
    train, val, vocabulary = snippets()
    model = BagOfWords(vocabulary, by_length=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(Snippets(train), batch_size=32, shuffle=True, collate_fn=pad_tokens),
        val_data=DataLoader(Snippets(val), batch_size=32, collate_fn=pad_tokens),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=8e-3),
    )


FAULTS = [
    (
        row_transformer,
        ("position", "along the batch", "neighbour", "neighbor", "batch axis", "other samples"),
        "model",
    ),
    (gru_topics, ("pad", "mask", "neighbour", "neighbor", "lengths"), "model"),
    (
        machine_sounds,
        ("numbered", "numbering", "number the", "mapping", "encod", "class ind"),
        "targets",
    ),
    (vit_warmup, ("warm", "schedul", "learning rate"), "optimizer"),
    (sensor_vae, ("divergence", "below zero", "wrong sign", "sign of", "unbounded", "floor"), "loss"),
    (bag_of_words, ("pad", "mask", "neighbour", "neighbor", "length"), "model"),
]
