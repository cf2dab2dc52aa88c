"""Divergences that are given probabilities in place of logarithms are told by the value of the loss."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.checks.loss_is_sound import LossIsSound
from pytest_dlcheck.faults.losses.loss import of_call
from pytest_dlcheck.run.losses.graphs.divergences import divergences
from pytest_dlcheck.run.losses.graphs.given import what_diverges
from pytest_dlcheck.run.losses.graphs.near import Near

N, C = 12, 5


@pytest.fixture
def scores():
    torch.manual_seed(0)
    return nn.Linear(8, C)(3 * torch.randn(N, 8))


@pytest.fixture
def wanted():
    return torch.randn(N, C, generator=torch.Generator().manual_seed(1)).mul(2).softmax(1)


def causes(loss):
    check = LossIsSound()
    rows = what_diverges(divergences(Near.of_loss(loss.grad_fn), loss))
    return [f.cause for row in rows for f in of_call(row, check.normalised, check.log_normalised)]


@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum"])
@pytest.mark.filterwarnings("ignore:reduction")
def test_probabilities_are_told_from_their_logarithms(scores, wanted, reduction):
    wrong = F.kl_div(scores.softmax(1), wanted, reduction=reduction)
    assert causes(wrong) == ["softmax where log_softmax is meant"]
    assert causes(F.kl_div(scores.log_softmax(1), wanted, reduction=reduction)) == []


def test_a_term_of_a_distillation(scores, wanted):
    hard, soft = F.cross_entropy(scores, torch.arange(N) % C), (scores / 2).softmax(-1)
    loss = 0.3 * hard + 0.7 * 4 * F.kl_div(soft, wanted, reduction="batchmean")
    assert causes(loss) == ["softmax where log_softmax is meant"]
    by_row = nn.KLDivLoss(reduction="none")(soft, wanted).sum(1).mean() / 4
    assert causes(by_row) == ["softmax where log_softmax is meant"]


def test_logarithms_of_the_target_are_announced_or_not(scores, wanted):
    logs = scores.log_softmax(1)
    right = F.kl_div(logs, wanted.log(), reduction="batchmean", log_target=True)
    wrong = F.kl_div(logs, wanted, reduction="batchmean", log_target=True)
    assert causes(right) == []
    assert causes(wrong) == ["targets are probabilities, taken for logarithms"]
    both = F.kl_div(logs.exp(), wanted.log(), reduction="batchmean", log_target=True)
    assert causes(both) == ["softmax where log_softmax is meant"]


def test_other_losses_of_probabilities_are_no_divergence(scores, wanted):
    chances = scores.softmax(1)
    for loss in (
        -(wanted * chances).sum(1).mean(),
        (torch.ones(N, C) - wanted * chances).mean(),
        (wanted.square() - wanted * chances).sum(),
        1 - (2 * wanted * chances).sum() / (wanted.sum() + chances.sum()),
        F.mse_loss(chances, wanted),
        -(wanted * scores.log_softmax(1)).sum(1).mean(),
        (wanted * (wanted.log() - scores.log_softmax(1))).sum(1).mean(),
        F.kl_div(scores.log_softmax(1), wanted, reduction="sum") + chances.square().sum(),
    ):
        assert causes(loss) == []


def test_a_teacher_that_is_not_detached_hides_nothing_that_is_said(scores, wanted):
    assert causes(F.kl_div(scores.log_softmax(1), (scores + wanted).softmax(1), reduction="sum")) == []


def test_a_graph_that_is_gone_tells_nothing(scores, wanted):
    loss = F.kl_div(scores.softmax(1), wanted, reduction="sum")
    loss.backward()
    assert causes(loss) == []
