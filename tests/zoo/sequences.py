"""Sequences that are not language: recurrent nets, convolutions over time, video."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, RMSprop
from torch.utils.data import DataLoader

from pytest_dlcheck import Recipe, recipe

from .data import digits, loader


class Reader(nn.Module):
    """Reads a digit row by row; `rnn` is any of torch's recurrent layers."""

    def __init__(self, rnn, width, outputs=10):
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(width, outputs)

    def forward(self, rows):
        states, _ = self.rnn(rows)
        return self.head(states[:, -1] if self.rnn.batch_first else states[-1])


def rows():
    images, labels = digits()
    return images[:, 0], labels


@recipe
def lstm_rows():
    model = Reader(nn.LSTM(8, 64, batch_first=True), 64)
    return Recipe(
        model=model,
        train_data=rows(),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b t 8 -> b 10",
    )


@recipe
def gru_time_first():
    """Batches are (time, batch, feature), torch's own default."""
    model = Reader(nn.GRU(8, 48, num_layers=2, dropout=0.1), 48)

    def collate(items):
        images, labels = zip(*items, strict=True)
        return torch.stack(images, dim=1), torch.stack(labels)

    data = loader(*rows()).dataset
    return Recipe(
        model=model,
        train_data=DataLoader(data, batch_size=32, shuffle=True, collate_fn=collate),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="8 b 8 -> b 10",
        max_grad_norm=1.0,
    )


@recipe
def bidirectional_lstm_mean():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 32, batch_first=True, bidirectional=True)
            self.head = nn.Linear(64, 10)

        def forward(self, rows):
            return self.head(self.lstm(rows)[0].mean(1))

    model = Model()
    return Recipe(
        model=model,
        train_data=loader(*rows(), batch_size=64),
        loss=nn.CrossEntropyLoss(),
        optimizer=RMSprop(model.parameters(), lr=2e-3),
        shapes="b t 8 -> b 10",
    )


@recipe
def elman_rnn_orthogonal():
    model = Reader(nn.RNN(8, 64, batch_first=True), 64)
    nn.init.orthogonal_(model.rnn.weight_hh_l0)
    return Recipe(
        model=model,
        train_data=rows(),
        loss=nn.CrossEntropyLoss(),
        optimizer=SGD(model.parameters(), lr=0.05, momentum=0.9),
        max_grad_norm=1.0,
    )


def waves(length=33):
    """Noisy sums of two sine waves [n, length]."""
    random = torch.Generator().manual_seed(0)
    time = torch.arange(length) / 8
    rate, phase = torch.rand(2, 600, 2, 1, generator=random)
    clean = torch.sin(time * (1 + rate) + 6.28 * phase).sum(1)
    return clean + 0.05 * torch.randn(600, length, generator=random)


@recipe
def lstm_forecast():
    """The next value at every time, from the values so far."""

    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(1, 32, batch_first=True)
            self.head = nn.Linear(32, 1)

        def forward(self, series):
            return self.head(self.lstm(series)[0])

    model = Forecaster()
    series = waves()[..., None]
    return Recipe(
        model=model,
        train_data=(series[:, :-1], series[:, 1:]),
        loss=nn.SmoothL1Loss(),
        optimizer=Adam(model.parameters(), lr=5e-3),
        shapes="b t 1 -> b t 1",
        causal=1,
    )


@recipe
def tcn_causal():
    """Dilated causal convolutions with weight norm and residuals over (batch, channel, time)."""

    class Causal(nn.Module):
        def __init__(self, inputs, outputs, dilation):
            super().__init__()
            self.pad = (dilation, 0)
            self.conv = nn.utils.parametrizations.weight_norm(
                nn.Conv1d(inputs, outputs, 2, dilation=dilation)
            )
            self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

        def forward(self, x):
            return self.skip(x) + F.relu(self.conv(F.pad(x, self.pad)))

    model = nn.Sequential(Causal(1, 24, 1), Causal(24, 24, 2), Causal(24, 24, 4), nn.Conv1d(24, 1, 1))
    series = waves()[:, None]
    return Recipe(
        model=model,
        train_data=(series[..., :-1], series[..., 1:]),
        loss=nn.MSELoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        causal=2,
    )


@recipe
def video_conv3d():
    """A digit that drifts in one of four directions."""
    images, _ = digits()
    ways = torch.arange(400) % 4
    clips = [
        torch.stack(
            [
                image[0].roll((step, -step, 0, 0)[way], 0).roll((0, 0, step, -step)[way], 1)
                for step in range(4)
            ]
        )
        for image, way in zip(images, ways.tolist(), strict=False)
    ]
    model = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 16, 3, padding=1),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )
    return Recipe(
        model=model,
        train_data=loader(torch.stack(clips)[:, None], ways, batch_size=16),
        loss=nn.CrossEntropyLoss(),
        optimizer=Adam(model.parameters(), lr=3e-3),
        shapes="b 1 t 8 8 -> b 4",
    )
