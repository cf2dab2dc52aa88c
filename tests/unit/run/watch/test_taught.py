"""A teacher whose parameters a loss reaches through its targets alone, read from graphs."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck.run.watch.losses.taught import Taught


def kl_div(out, wanted):
    return F.kl_div(out.log_softmax(1), wanted.softmax(1), reduction="sum")


def kl_div_of_logarithms(out, wanted):
    return F.kl_div(out.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="sum")


def soft_cross_entropy(out, wanted):
    return F.cross_entropy(out, wanted.softmax(1))


def divergence_by_hand(out, wanted):
    return (wanted.softmax(1) * (wanted.log_softmax(1) - out.log_softmax(1))).sum()


def square_by_hand(out, wanted):
    return ((wanted - out) ** 2).mean()


def cosine(out, wanted):
    return 1 - F.cosine_similarity(out, wanted).mean()


COMPARED = [F.mse_loss, F.smooth_l1_loss, F.l1_loss, kl_div, kl_div_of_logarithms, soft_cross_entropy]
COMPARED += [divergence_by_hand, square_by_hand, cosine]


def net():
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))


def found(loss_of, *, trained=True, together=False):
    """How many of a teacher's parameters are told, and of all others."""
    taught, teacher, student = Taught(), net(), net()
    own, other = ({id(p) for p in model.parameters()} for model in (teacher, student))
    before = [own, *([other] if together else [])] if trained else []
    taught.optimizer_begins(0, [*teacher.parameters(), *student.parameters()], before)
    for _ in range(2):
        batch = torch.randn(6, 16)
        taught.look([loss_of(student(batch), teacher(batch))], [own | other])
    return len(taught.parameters() & own), len(taught.parameters() - own)


@pytest.mark.parametrize("compare", COMPARED)
def test_a_trained_teacher_is_told(compare):
    assert found(compare) == (4, 0)
    assert found(lambda out, wanted: compare(out, wanted) + out.logsumexp(1).mean()) == (4, 0)


@pytest.mark.parametrize("compare", COMPARED)
def test_one_with_a_loss_of_its_own_is_not(compare):
    assert found(lambda out, wanted: compare(out, wanted) + wanted.logsumexp(1).mean()) == (0, 0)


@pytest.mark.parametrize("compare", COMPARED)
def test_two_fresh_networks_are_not(compare):
    assert found(compare, trained=False) == (0, 0)


def test_nor_two_that_were_trained_together_when_an_optimizer_is_built_anew():
    assert found(F.mse_loss, together=True) == (0, 0)


def test_nor_targets_without_gradients():
    assert found(lambda out, wanted: F.mse_loss(out, wanted.detach())) == (0, 0)


def test_a_comparison_within_a_network_is_none():
    head = nn.Linear(10, 1)
    assert found(lambda out, wanted: head((out - wanted).abs()).mean()) == (0, 0)
