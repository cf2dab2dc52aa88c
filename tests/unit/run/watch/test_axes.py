"""Layers and softmaxes that run along the samples of a batch are told from those that run within one."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module
from torch.utils.data import DataLoader, TensorDataset

from pytest_dlcheck import watch
from pytest_dlcheck.verdict import Outcome

N, STEPS, WIDTH = 8, 5, 4
X = torch.randn(6 * N, STEPS, WIDTH)
Y = (X.mean((1, 2)) > 0).long()


class Reader(nn.Module):
    """Classifies sequences by a layer that may take their axes as it likes."""

    def __init__(self, layer, *, turns=False, names=False):
        super().__init__()
        self.layer, self.turns, self.names = layer, turns, names
        self.head = nn.LazyLinear(2)

    def forward(self, x):
        given = x.transpose(0, 1) if self.turns else x
        attends = isinstance(self.layer, nn.MultiheadAttention)
        if self.names:
            out = self.layer(
                **dict.fromkeys(("query", "key", "value") if attends else ("input",), given)
            )
        else:
            out = self.layer(given, given, given) if attends else self.layer(given)
        out = out[0] if isinstance(out, tuple) else out
        return self.head((out.transpose(0, 1) if self.turns else out).mean(1))


class Pooled(nn.Module):
    """Weighs the steps of each sequence, by shares over one axis."""

    def __init__(self, axis):
        super().__init__()
        self.scores, self.head, self.axis = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, 2), axis

    def forward(self, x):
        return self.head((self.scores(x).softmax(self.axis) * x).sum(1))


def told(model, data=(X, Y), give=lambda x: x):
    model(data[0][:N]) if any(isinstance(m, nn.LazyLinear) for m in model.modules()) else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch() as run:
        for x, y in DataLoader(TensorDataset(*data), N):
            optimizer.zero_grad()
            F.cross_entropy(model(give(x)), y).backward()
            optimizer.step()
    (verdict,) = (v for v in run.verdicts if v.check == "samples_stay_apart")
    return verdict


def failures(*given, **more):
    verdict = told(*given, **more)
    return [verdict] if verdict.outcome == Outcome.FAILED else []


LAYERS = {
    "lstm": lambda first: nn.LSTM(WIDTH, 3, batch_first=first),
    "gru": lambda first: nn.GRU(WIDTH, 3, batch_first=first),
    "attention": lambda first: nn.MultiheadAttention(WIDTH, 1, batch_first=first),
    "encoder": lambda first: nn.TransformerEncoderLayer(WIDTH, 1, 8, batch_first=first),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("turns", [False, True])
def test_a_layer_is_to_be_given_the_axes_that_it_takes(kind, turns):
    assert failures(Reader(LAYERS[kind](not turns), turns=turns)) == []
    (verdict,) = failures(Reader(LAYERS[kind](turns), turns=turns))
    assert verdict.sites[0].startswith("layer")
    assert "batch_first" in verdict.cause


@pytest.mark.parametrize("kind", ["lstm", "gru", "attention"])
def test_so_is_one_that_is_given_them_by_name(kind):
    right, wrong = (Reader(LAYERS[kind](first), names=True) for first in (True, False))
    assert failures(right) == []
    (verdict,) = failures(wrong)
    assert "batch_first" in verdict.cause


def test_a_softmax_is_to_be_within_samples():
    assert failures(Pooled(1)) == []
    (verdict,) = failures(Pooled(0))
    assert "batch axis" in verdict.cause


def test_where_it_cannot_be_told_which_axis_is_which_nothing_is_said():
    square = torch.randn(6 * N, N, WIDTH)
    assert failures(Reader(nn.LSTM(WIDTH, 3)), (square, Y)) == []


def test_no_hook_of_all_modules_is_left_behind():
    failures(Reader(nn.GRU(WIDTH, 3, batch_first=True)))
    registries = [hooks for name, hooks in vars(module).items() if re.match("_global_.*_hooks$", name)]
    assert registries
    assert not any(registries)


def test_a_batch_that_was_changed_is_known_by_its_targets_alone_and_advised_on():
    verdict = told(Reader(nn.LSTM(WIDTH, 3)), give=lambda x: x.flip(1)[:, 1:])
    assert verdict.outcome != Outcome.FAILED
    assert any("batch_first" in advice for advice in verdict.advice)
