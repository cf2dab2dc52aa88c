"""A view in the place of a permute is told; what moves its numbers, or regroups whole axes, is not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch

N, STEPS, WIDTH, CLASSES = 8, 10, 6, 2
SERIES = torch.rand(8 * N, STEPS, WIDTH, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(8 * N, 8, 8, 3, generator=torch.Generator().manual_seed(1))


class Enters(nn.Module):
    """Arranges what a layer is given, and takes the mean of its results."""

    def __init__(self, arrange, layer, first=None):
        super().__init__()
        self.first, self.arrange, self.layer = first or nn.Identity(), arrange, layer
        self.head = nn.LazyLinear(CLASSES)

    def forward(self, x):
        out = self.layer(self.arrange(self.first(x)))
        out = out[0] if isinstance(out, tuple) else out
        return self.head(out.reshape(len(x), -1))


def verdicts(data, model, give=lambda x: x):
    model(give(data[:N]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        labels = torch.arange(len(data)) % CLASSES
        for x, y in DataLoader(TensorDataset(data, labels), N, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(give(x)), y).backward()
            optimizer.step()
    found = [f.verdict for f in run.failures if f.verdict.check == "samples_stay_apart"]
    return [v for v in found if "in the place of permute" in v.cause]


def conv(channels=3):
    return nn.Conv2d(channels, 4, 3)


@pytest.mark.parametrize(
    "give",
    [
        lambda x: x.view(-1, 3, 8, 8),
        lambda x: x.reshape(-1, 3, 8, 8),
        lambda x: (x * 255).reshape(-1, 3, 8, 8),
        lambda x: x.float().div(2).sub(0.5).view(-1, 3, 8, 8),
    ],
)
def test_images_with_their_channels_last_are_to_be_permuted(give):
    (verdict,) = verdicts(IMAGES, Enters(lambda x: x, conv()), give)
    assert verdict.sites == ("layer",)
    assert "[8, 8, 8, 3] becomes [8, 3, 8, 8]" in verdict.cause
    (within,) = verdicts(IMAGES, Enters(give, conv()))
    assert within.cause == verdict.cause


@pytest.mark.parametrize(
    ("arrange", "layer", "first"),
    [
        (lambda x: x.view(-1, WIDTH, STEPS), nn.Conv1d(WIDTH, 4, 3), None),
        (lambda x: x.view(-1, 16, STEPS), nn.Conv1d(16, 4, 3), nn.Linear(WIDTH, 16)),
        (lambda x: x.reshape(STEPS, -1, WIDTH), nn.LSTM(WIDTH, 4), None),
        (lambda x: x.reshape(-1, WIDTH, STEPS), nn.Linear(STEPS, 4), None),
    ],
)
def test_sequences_are_to_be_transposed(arrange, layer, first):
    (verdict,) = verdicts(SERIES, Enters(arrange, layer, first))
    assert verdict.sites == ("layer",)


@pytest.mark.parametrize(
    ("data", "arrange", "layer"),
    [
        (IMAGES, lambda x: x.permute(0, 3, 1, 2), conv()),
        (IMAGES, lambda x: x.permute(0, 3, 1, 2).contiguous(), conv()),
        (IMAGES, lambda x: x.permute(0, 3, 1, 2).reshape(-1, 3, 8, 8), conv()),
        (IMAGES, lambda x: x.flatten(1).view(-1, 1, 24, 8), conv(1)),
        (IMAGES, lambda x: x.flatten(1), nn.Linear(192, 4)),
        (IMAGES[..., :1], lambda x: x.view(-1, 1, 8, 8), conv(1)),
        (SERIES, lambda x: x.transpose(1, 2), nn.Conv1d(WIDTH, 4, 3)),
        (
            SERIES,
            lambda x: x.transpose(1, 2).contiguous().view(-1, WIDTH, STEPS),
            nn.Conv1d(WIDTH, 4, 3),
        ),
        (SERIES, lambda x: x.transpose(0, 1).contiguous(), nn.LSTM(WIDTH, 4)),
        (torch.rand(64, 64, 8), lambda x: x.view(-1, 8, 64), nn.Linear(64, 4)),
        (torch.rand(64, 8, 8), lambda x: x.view(-1, 8, 8), nn.Linear(8, 4)),
    ],
)
def test_what_moves_its_numbers_or_regroups_whole_axes_is_quiet(data, arrange, layer):
    assert verdicts(data, Enters(arrange, layer)) == []


def test_a_view_that_the_model_takes_back_is_quiet():
    back = Enters(lambda x: x.reshape(-1, 8, 8, 3).permute(0, 3, 1, 2), conv())
    assert verdicts(IMAGES, back, lambda x: x.view(-1, 3, 8, 8)) == []


def test_noise_has_no_axes_to_mix_up():
    def noise(x):
        return torch.randn(len(x), STEPS, WIDTH).view(-1, WIDTH, STEPS)

    assert verdicts(SERIES, Enters(lambda x: x, nn.Conv1d(WIDTH, 4, 3)), noise) == []
