"""Images that linear layers are given as they are, to make them anew, and what reads rows on purpose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .data import digits, tumours
from .faults import fault

SIDE = 12


def _grey():
    """Larger digits, without an axis for their one channel, ``[900, 12, 12]``."""
    return F.interpolate(digits()[0][:900], SIDE, mode="bilinear").squeeze(1)


class _Bottleneck(nn.Module):
    """Goes round a narrow place, and adds a little of what it was given."""

    def __init__(self, width, narrow):
        super().__init__()
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        self.share = nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        return self.up(F.gelu(self.down(x))) + self.share * x


def _made_anew(model, rows, *, loss=F.l1_loss, hides=0.3):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(3):
        for (x,) in DataLoader(TensorDataset(rows), 30, shuffle=True, drop_last=True):
            hidden = x * (torch.rand_like(x) > hides)
            optimizer.zero_grad()
            loss(model(hidden), x).backward()
            optimizer.step()


def flat_images_through_a_bottleneck():
    _made_anew(_Bottleneck(SIDE * SIDE, 24), _grey().flatten(1))


@fault(flat_images_through_a_bottleneck, "targets_are_aligned", words=("reads each row",), advice=True)
def images_through_a_bottleneck_of_rows():
    _made_anew(_Bottleneck(SIDE, 4), _grey())


@fault(flat_images_through_a_bottleneck, "targets_are_aligned", words=("reads each row",), advice=True)
def images_through_a_chain_of_rows():
    layers = nn.Linear(SIDE, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, SIDE), nn.Sigmoid()
    _made_anew(nn.Sequential(*layers), _grey(), loss=F.mse_loss)


# -- healthy neighbours ---------------------------------------------------------------------------


class _Mixes(nn.Module):
    """Rows first, then columns."""

    def __init__(self):
        super().__init__()
        self.rows, self.columns = nn.Linear(SIDE, SIDE), nn.Linear(SIDE, SIDE)

    def forward(self, x):
        return self.columns(F.relu(self.rows(x)).transpose(1, 2)).transpose(1, 2)


class _Reads(nn.Module):
    """Row after row, as a sequence."""

    def __init__(self):
        super().__init__()
        self.into, self.rnn, self.out = nn.Linear(SIDE, 24), nn.GRU(24, 24), nn.Linear(24, SIDE)

    def forward(self, x):
        return self.out(self.rnn(self.into(x).transpose(0, 1))[0].transpose(0, 1))


class _Convolves(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, x):
        return super().forward(x[:, None]).squeeze(1)


def rows_and_columns_are_mixed():
    _made_anew(_Mixes(), _grey())


def rows_are_a_sequence():
    _made_anew(_Reads(), _grey())


def images_are_convolved():
    _made_anew(_Convolves(), _grey())


def steps_are_coded_alone():
    """What eight instruments have added up, at eight times: a square by chance, smooth along time."""
    readings = tumours()[0][:568, [0, 4, 11, 8, 14, 1, 18, 9]].view(71, 8, 8)
    _made_anew(_Bottleneck(8, 3), readings.cumsum(1) / 2, hides=0.1)


def points_are_looked_at_alone():
    """More points than numbers of a point."""
    _made_anew(_Bottleneck(4, 3), _grey().reshape(900, -1, 4))


QUIET = [
    rows_and_columns_are_mixed,
    rows_are_a_sequence,
    images_are_convolved,
    steps_are_coded_alone,
    points_are_looked_at_alone,
]
"""Loops that are meant so, of which no advice is given either."""
