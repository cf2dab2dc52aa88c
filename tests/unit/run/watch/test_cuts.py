"""Views that make several rows of a sample are told from those whose rows are parts, or come back."""

import pytest
import torch
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.cuts import cut_apart
from pytest_dlcheck.run.losses.graphs.near import Near

MAPS = torch.randn(6, 8, 4, 4, requires_grad=True) * 1.0
STEPS = torch.randn(6, 5, 12, requires_grad=True) * 1.0


def said(loss, *targets):
    return cut_apart(Near.of_loss(loss.grad_fn), targets)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (MAPS.view(-1, 64), "[6, 8, 4, 4] as [12, 64]"),
        (MAPS.reshape(-1, 32), "[6, 8, 4, 4] as [24, 32]"),
        (STEPS.reshape(-1, 30), "[6, 5, 12] as [12, 30]"),
    ],
)
def test_rows_across_the_axes_of_a_sample_are_named(rows, words):
    assert said(rows.square().mean()) == words
    pairs = rows @ rows.T
    assert said(F.cross_entropy(pairs, torch.arange(len(rows))), torch.arange(len(rows))) == words


@pytest.mark.parametrize(
    "rows",
    [
        MAPS.view(6, -1),
        MAPS.view(-1, 16),
        MAPS.permute(0, 2, 3, 1).reshape(-1, 8),
        STEPS.reshape(-1, 12),
        STEPS.reshape(-1, 60),
        MAPS.view(24, 2, 4, 4),
        MAPS.view(-1, 64).sigmoid().view(6, -1),
        MAPS.view(-1, 64).mean(1).view(6, 2).sum(1),
        MAPS.view(3, -1),
    ],
    ids=["flattened", "channels", "places", "steps", "sequences", "groups", "back", "mean", "pairs"],
)
def test_parts_and_what_comes_back_are_not(rows):
    assert not said(rows.square().mean())


def test_rows_with_a_target_each_are_not():
    assert not said(F.mse_loss(MAPS.view(-1, 32), torch.randn(24, 32)), torch.randn(24, 32))
