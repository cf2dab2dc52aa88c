"""Healthy twins that read rows: tables, and text that ships with Python."""

from __future__ import annotations

from functools import cache
from pydoc_data.topics import topics

import torch
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe

from .case import twin


@cache
def table(load):
    """A table's training and validation part, features scaled by the training part's."""
    features, labels = load(return_X_y=True)
    parts = train_test_split(features, labels, test_size=0.25, stratify=labels, random_state=0)
    train_x, val_x = (torch.tensor(part, dtype=torch.float32) for part in parts[:2])
    train_y, val_y = (torch.tensor(part) for part in parts[2:])
    mean, std = train_x.mean(0), train_x.std(0)
    return (
        TensorDataset((train_x - mean) / std, train_y),
        TensorDataset((val_x - mean) / std, val_y),
    )


class WineMLP(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(13, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
        )

    def forward(self, features):
        return self.layers(features)


@twin("MLP", "classification")
def wine() -> Recipe:
    train, val = table(load_wine)
    model = WineMLP()
    return Recipe(
        model=model,
        train_data=DataLoader(train, batch_size=16, shuffle=True),
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        shapes="b 13 -> b 3",
    )


class DeepMLP(nn.Module):
    """Eight hidden layers, initialised after He."""

    def __init__(self, width=48, depth=8):
        super().__init__()
        widths = [30, *[width] * depth]
        self.hidden = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.head = nn.Linear(width, 2)
        for layer in self.hidden:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, features):
        for layer in self.hidden:
            features = self.activation(layer(features))
        return self.head(features)

    def activation(self, x):
        return F.relu(x)


@twin("deep MLP", "classification")
def deep_mlp() -> Recipe:
    train, val = table(load_breast_cancer)
    model = DeepMLP()
    return Recipe(
        model=model,
        train_data=DataLoader(train, batch_size=32, shuffle=True),
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-4),
        shapes="b 30 -> b 2",
    )


class Swish(torch.autograd.Function):
    """Swish that keeps its input alone for the backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        return gradient * (gate + x * gate * (1 - gate))


class SwishMLP(WineMLP):
    swish: type[torch.autograd.Function] = Swish

    def forward(self, features):
        first, _, second, _, head = self.layers
        return head(self.swish.apply(second(self.swish.apply(first(features)))))


@twin("MLP with its own autograd.Function", "classification")
def swish_mlp() -> Recipe:
    train, val = table(load_wine)
    model = SwishMLP()
    return Recipe(
        model=model,
        train_data=DataLoader(train, batch_size=16, shuffle=True),
        val_data=val,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b 13 -> b 3",
    )


WINDOW = 24


@cache
def manual():
    """The beginning of Python's own manual, in small letters."""
    return " ".join("".join(topics[name] for name in sorted(topics)).lower().split())[:40_000]


def codes(text):
    """Each character's number, and how many there are."""
    alphabet = sorted(set(manual()))
    index = {char: i for i, char in enumerate(alphabet)}
    return torch.tensor([index[char] for char in text]), len(alphabet)


def windows(tensor):
    return tensor[: len(tensor) // WINDOW * WINDOW].view(-1, WINDOW)


class CharLSTM(nn.Module):
    def __init__(self, characters, width=64):
        super().__init__()
        self.characters = nn.Embedding(characters, 32)
        self.lstm = nn.LSTM(32, width, batch_first=True)
        self.head = nn.Linear(width, characters)

    def forward(self, text):
        hidden, _ = self.lstm(self.characters(text))
        return self.head(hidden)


def next_character(logits, text):
    return F.cross_entropy(logits.flatten(0, 1), text.flatten())


@twin("LSTM", "language modelling")
def char_lstm() -> Recipe:
    text, characters = codes(manual())
    pairs = windows(text[:-1]), windows(text[1:])
    cut = int(0.9 * len(pairs[0]))
    model = CharLSTM(characters)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*(p[:cut] for p in pairs)), batch_size=32, shuffle=True),
        val_data=DataLoader(TensorDataset(*(p[cut:] for p in pairs)), batch_size=64),
        loss=next_character,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        max_grad_norm=1.0,
        shapes=f"b t:int64 -> b t {characters}",
        causal=1,
    )


class SpaceTagger(nn.Module):
    """Reads text without its spaces and says after which characters they stood."""

    def __init__(self, characters, width=48):
        super().__init__()
        self.characters = nn.Embedding(characters, 32)
        self.gru = nn.GRU(32, width, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * width, 2))

    def forward(self, text):
        hidden, _ = self.gru(self.characters(text))
        return self.head(hidden).transpose(1, 2)


@twin("GRU", "sequence tagging")
def space_tagger() -> Recipe:
    text = manual()
    ends = [i for i, char in enumerate(text[:-1]) if char != " "]
    glued, characters = codes([text[i] for i in ends])
    spaces = torch.tensor([int(text[i + 1] == " ") for i in ends])
    pairs = windows(glued), windows(spaces)
    cut = int(0.9 * len(pairs[0]))
    model = SpaceTagger(characters)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*(p[:cut] for p in pairs)), batch_size=32, shuffle=True),
        val_data=DataLoader(TensorDataset(*(p[cut:] for p in pairs)), batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b t:int64 -> b 2 t",
    )
