"""Holding outputs against the targets of others: what is looked at once, and for how long."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pytest_dlcheck import Recipe
from pytest_dlcheck.run.probes import pairing
from pytest_dlcheck.run.trial_runner import Request, run_trial
from pytest_dlcheck.trial import Terms

WANTED = frozenset({"loss", "pairing", "pairing_gain", "crossed_loss", "stream_accuracy"})
BATCHES = 8


def recipe(size, wanted):
    x = torch.randn(size * BATCHES, 4, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(4, 1)
    return Recipe(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
        loss=nn.BCEWithLogitsLoss(),
        train_data=list(zip(x.split(size), wanted(x[:, :1]).split(size), strict=True)),
    )


def asked(monkeypatch, size, wanted):
    """Whether each look at the answers was sure that they can be right or wrong, and what was found."""
    sure, hits = [], pairing.hits

    def heard(outputs, targets, **given):
        sure.append(given["sure"])
        return hits(outputs, targets, **given)

    monkeypatch.setattr(pairing, "hits", heard)
    trace = run_trial(lambda: recipe(size, wanted), Request(Terms(steps=BATCHES).train()[0], WANTED))
    return sure, trace


@pytest.mark.parametrize("size", [16, 300, 512, 1000])
def test_a_device_is_waited_for_once_however_large_the_batches(monkeypatch, size):
    sure, trace = asked(monkeypatch, size, lambda x: (x > 0).float())
    assert len(sure) > 2
    assert sure == [False] + [True] * (len(sure) - 1)
    assert 0.3 < trace.row("pairing").number("moved") < 0.7


@pytest.mark.parametrize("size", [16, 512])
def test_numbers_are_never_right_or_wrong(monkeypatch, size):
    sure, trace = asked(monkeypatch, size, lambda x: x.sigmoid())
    assert sure == [False]
    assert "stream_accuracy" not in trace.channels
