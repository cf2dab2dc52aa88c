"""Healthy twins of more kinds: a table with codes, a reader of packed rows, a reverser of text."""

from __future__ import annotations

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import Recipe

from .case import twin
from .healthy import digits
from .healthy_rows import codes, manual, next_character

CODES = 5
CODED = (0, 2, 3)
"""Columns of the table that are cut into so many codes: age, weight, blood pressure."""


class CodedTable(nn.Module):
    """Looks each coded column up in a table of its own, beside the columns that are numbers."""

    def __init__(self, numbers, width=32):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(CODES, 4) for _ in CODED)
        self.layers = nn.Sequential(
            nn.Linear(4 * len(CODED) + numbers, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, coded, numbers):
        found = [table(coded[:, i]) for i, table in enumerate(self.tables)]
        return self.layers(torch.cat([*found, numbers], 1))[:, 0]


@twin("MLP with embeddings", "regression")
def coded_diabetes() -> Recipe:
    x, y = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    rims = torch.linspace(0, 1, CODES + 1)[1:-1]
    coded = [torch.bucketize(x[:, c].contiguous(), torch.quantile(x[:, c], rims)) for c in CODED]
    numbers = x[:, [c for c in range(10) if c not in CODED]]
    rows = TensorDataset(torch.stack(coded, 1), numbers, y)
    train, val = torch.utils.data.random_split(rows, [350, 92], torch.Generator().manual_seed(0))
    model = CodedTable(numbers.size(1))
    return Recipe(
        model=model,
        train_data=DataLoader(train, batch_size=32, shuffle=True),
        val_data=DataLoader(val, batch_size=92),
        forward=lambda model, batch: model(batch[0], batch[1]),
        targets=lambda batch: batch[2],
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


class PackedReader(nn.Module):
    """Reads an image row by row in both directions, up to the last row that has ink."""

    def __init__(self, width=32):
        super().__init__()
        self.gru = nn.GRU(8, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, images):
        rows = images[:, 0]
        inked = torch.arange(1, 9) * (rows.sum(2) > 0)
        packed = pack_padded_sequence(rows, inked.amax(1).clamp(min=1).cpu(), True, False)  # noqa: FBT003
        _, last = self.gru(packed)
        return self.head(self.together(last))

    def together(self, last):
        return torch.cat([last[0], last[1]], 1)


@twin("packed GRU", "classification")
def packed_reader() -> Recipe:
    model = PackedReader()
    return Recipe(
        model=model,
        train_data=DataLoader(digits().train, batch_size=64, shuffle=True),
        val_data=DataLoader(digits().val, batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


class Reverser(nn.Module):
    """Reads a few characters and writes them backwards."""

    def __init__(self, characters, width=64):
        super().__init__()
        self.characters = nn.Embedding(characters, 32)
        self.encoder, self.decoder = (nn.GRU(32, width, batch_first=True) for _ in range(2))
        self.head = nn.Linear(width, characters)

    def forward(self, text, written):
        _, state = self.encoder(self.characters(text))
        return self.head(self.decoder(self.characters(written), state)[0])


@twin("GRU encoder and decoder", "sequence to sequence")
def reverser() -> Recipe:
    text, characters = codes(manual())
    words = text[: len(text) // 8 * 8].view(-1, 8)
    answers = words.flip(1)
    model = Reverser(characters)
    pairs = (words, F.pad(answers, (1, 0))[:, :-1], answers)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*(p[:4000] for p in pairs)), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(*(p[4000:] for p in pairs)), batch_size=200),
        forward=lambda model, batch: model(batch[0], batch[1]),
        targets=lambda batch: batch[2],
        loss=next_character,
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
    )
