"""Sequences to sequences: transformers with padding and masks, teacher forcing, CTC, packed batches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.optim import Adam, AdamW
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe

from .data import digits
from .sequences import rows


@recipe
def transformer_encoder_padded():
    """Digits whose lower rows are cut off at random lengths; padding is masked; dict inputs."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(8, 48)
            self.positions = nn.Parameter(0.02 * torch.randn(8, 48))
            layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.1, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(48, 10)

        def forward(self, rows, padding):
            states = self.encoder(self.embed(rows) + self.positions, src_key_padding_mask=padding)
            kept = ~padding[..., None]
            return self.head((states * kept).sum(1) / kept.sum(1))

    images, labels = rows()
    lengths = torch.randint(5, 9, (len(images), 1), generator=torch.Generator().manual_seed(0))
    padding = torch.arange(8) >= lengths
    data = [
        ({"rows": image, "padding": pad}, label)
        for image, pad, label in zip(images * ~padding[..., None], padding, labels, strict=True)
    ]
    model = Model()
    return Recipe(
        model=model,
        train_data=DataLoader(data, batch_size=32, shuffle=True),
        loss=nn.CrossEntropyLoss(),
        optimizer=AdamW(model.parameters(), lr=2e-3),
    )


@recipe
def seq2seq_reverse():
    """nn.Transformer learns to write a string of digits backwards, with teacher forcing."""

    class Reverser(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(12, 32)
            self.positions = nn.Embedding(8, 32)
            self.transformer = nn.Transformer(32, 4, 1, 1, 64, dropout=0.0, batch_first=True)
            self.head = nn.Linear(32, 12)

        def forward(self, source, target):
            def embedded(codes):
                return self.embed(codes) + self.positions.weight[: codes.size(1)]

            mask = nn.Transformer.generate_square_subsequent_mask(target.size(1))
            states = self.transformer(
                embedded(source), embedded(target), tgt_mask=mask.to(source.device), tgt_is_causal=True
            )
            return self.head(states)

    numbers = torch.randint(0, 10, (1000, 6), generator=torch.Generator().manual_seed(0))
    reverse = numbers.flip(1)
    started = torch.cat([torch.full((1000, 1), 10), reverse[:, :-1]], dim=1)
    data = [((a, b), c) for a, b, c in zip(numbers, started, reverse, strict=True)]
    model = Reverser()
    return Recipe(
        model=model,
        train_data=DataLoader(data, batch_size=64, shuffle=True),
        loss=lambda logits, codes: F.cross_entropy(logits.transpose(1, 2), codes),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b s, b t -> b t 12",
    )


@recipe
def ctc_strips():
    """Three digits side by side, read without knowing where each one is."""
    images, labels = digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:1500].view(-1, 3)
    columns = images[order][:, :, 0].transpose(2, 3)
    strips = columns.reshape(len(order), 24, 8)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 48, batch_first=True, bidirectional=True)
            self.head = nn.Linear(96, 11)

        def forward(self, columns):
            return self.head(self.lstm(columns)[0]).log_softmax(-1)

    def loss(scores, texts):
        times = torch.full((len(scores),), scores.size(1))
        return F.ctc_loss(scores.transpose(0, 1), texts, times, torch.full((len(texts),), 3))

    model = Model()
    return Recipe(
        model=model,
        train_data=(strips, labels[order] + 1),
        loss=loss,
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b t 8 -> b t 11",
    )


@recipe
def packed_gru():
    """Sequences of different lengths, packed; the batch does not follow the convention."""
    images, labels = rows()
    lengths = torch.randint(4, 9, (len(images),), generator=torch.Generator().manual_seed(0))
    data = [
        (image[:n], n, label) for image, n, label in zip(images, lengths.tolist(), labels, strict=True)
    ]

    def collate(items):
        images, lengths, labels = zip(*items, strict=True)
        return pad_sequence(images, batch_first=True), torch.tensor(lengths), torch.stack(labels)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(8, 48, batch_first=True)
            self.head = nn.Linear(48, 10)

        def forward(self, rows, lengths):
            packed = pack_padded_sequence(rows, lengths.cpu(), batch_first=True, enforce_sorted=False)
            return self.head(self.gru(packed)[1][-1])

    model = Model()
    return Recipe(
        model=model,
        train_data=DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate),
        forward=lambda model, batch: model(batch[0], batch[1]),
        targets=lambda batch: batch[2],
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
    )
