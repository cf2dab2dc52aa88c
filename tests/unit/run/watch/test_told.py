"""Losses that tell scores where to go are told from those that push them by where they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.told import mark, told


def asked(loss):
    torch.manual_seed(0)
    scores = nn.Linear(3, 1)(torch.randn(8, 3))
    mark(scores, "scores")
    (found,) = told([loss(scores)])
    assert found.scores == "scores"
    return found.is_known, found.is_labelled


def logits(label):
    return lambda s: F.binary_cross_entropy_with_logits(s, torch.full_like(s, label))


@pytest.mark.parametrize(
    "loss",
    [
        logits(1.0),
        logits(0.0),
        lambda s: F.binary_cross_entropy(s.sigmoid().flatten(), torch.zeros(8)) / 2,
        lambda s: 0.5 * F.softplus(-s).mean(),
        lambda s: -F.logsigmoid(s).mean(),
        lambda s: F.relu(1 - s).mean(),
        lambda s: (1 + s).clamp(min=0).mean(),
    ],
)
def test_labels(loss):
    assert asked(loss) == (True, True)


@pytest.mark.parametrize("loss", [torch.mean, lambda s: -s.mean(), lambda s: (1 - s).sum()])
def test_plain_means_are_known_and_no_labels(loss):
    assert asked(loss) == (True, False)


@pytest.mark.parametrize(
    "loss",
    [
        logits(0.9),
        lambda s: s.square().mean(),
        lambda s: ((s - 1) * (s - 1)).mean(),
        lambda s: F.mse_loss(s, torch.ones(8, 1)),
        lambda s: s.cosh().log().mean(),
        lambda s: (s.exp() - 3 * s).mean(),
        lambda s: 0.9 * F.softplus(-s).mean() + 0.1 * F.softplus(s).mean(),
        lambda s: (s * torch.randn(8, 1)).mean(),
    ],
)
def test_what_pushes_by_where_scores_are(loss):
    assert not asked(loss)[0]
