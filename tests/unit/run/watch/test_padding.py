"""Targets on padding that a loss counts are told from those that are ignored, masked or left out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.padding import counted

STEPS, KINDS = 10, 3
LENGTHS = torch.tensor([4, 10, 7, 5])
ENDED = torch.arange(STEPS) >= LENGTHS[:, None]
WORDS = torch.randint(1, 9, (4, STEPS)).masked_fill(ENDED, 0)
TAGS = torch.randint(1, KINDS, (4, STEPS)).masked_fill(ENDED, 0)
SCORES = torch.randn(4, STEPS, KINDS, requires_grad=True)
MASK = (~ENDED).float()


def flat(**options):
    return F.cross_entropy((SCORES * 1).reshape(-1, KINDS), TAGS.reshape(-1), **options)


def said(loss, given=WORDS):
    return counted(Near.of_loss(loss.grad_fn), [given])


def masked(mask):
    return (flat(reduction="none") * mask.reshape(-1)).sum() / mask.sum()


@pytest.mark.parametrize(
    "loss",
    [
        flat,
        lambda: masked(torch.ones_like(MASK)),
        lambda: F.cross_entropy((SCORES * 1).transpose(1, 2), TAGS),
        lambda: flat(weight=torch.ones(KINDS)),
    ],
    ids=["the mean of all", "a mask of ones", "classes second", "weights"],
)
def test_padding_that_counts_is_told(loss):
    assert said(loss()) == "35%"
    assert said(loss(), F.one_hot(WORDS, 9)[..., 1:].float()) == "35%"


@pytest.mark.parametrize(
    "loss",
    [
        lambda: flat(ignore_index=0),
        lambda: masked(MASK),
        lambda: flat(weight=torch.tensor([0.0, 1, 1])),
        lambda: F.cross_entropy((SCORES * 1)[~ENDED], TAGS[~ENDED]),
        lambda: flat(reduction="none")[MASK.reshape(-1) > 0].sum() / MASK.sum(),
    ],
    ids=["ignored", "masked", "no weight", "selected before", "selected after"],
)
def test_padding_that_does_not_is_not(loss):
    assert said(loss()) == ""


def test_sequences_that_all_end_alike_hold_no_padding():
    alike = WORDS.clone()
    alike[:, 7:] = 3
    assert said(flat(), alike) == ""
    assert said(flat(), torch.randn(4, STEPS)) == ""


def test_a_background_that_is_told_at_the_end_too_is_no_padding():
    begins = WORDS.clone()
    begins[:, 0] = 0
    assert said(flat(), begins) == "35%"
    begins[:, :3] = 0
    assert said(flat(), begins) == ""
