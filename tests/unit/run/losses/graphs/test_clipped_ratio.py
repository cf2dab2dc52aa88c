"""Which bound of a clipped ratio a loss minimises is read from its graph alone."""

import pytest
import torch

from pytest_dlcheck.run.losses.graphs.clipped_ratio import optimistic
from pytest_dlcheck.run.losses.graphs.near import Near

WORTH = torch.linspace(-1, 1, 24)


@pytest.fixture
def ratio():
    return (0.1 * torch.randn(24, requires_grad=True)).exp()


def told(loss):
    return optimistic(Near.of_loss(loss.grad_fn))


def sides(ratio, worth=WORTH):
    return ratio * worth, torch.clamp(ratio, 0.8, 1.2) * worth


def test_the_pessimistic_bound_is_right_in_all_its_forms(ratio):
    assert not told(-torch.min(*sides(ratio)).mean())
    assert not told((-torch.minimum(*sides(ratio))).sum() / 24)
    assert not told(torch.max(*sides(ratio, -WORTH)).mean())
    assert not told(0.5 * ratio.square().mean() - 0.3 * torch.min(*sides(ratio)).mean())


def test_the_other_one_is_told(ratio):
    assert told(torch.min(*sides(ratio)).mean()) == "the lesser is minimised"
    assert told(ratio.square().mean() + 0.3 * torch.min(*sides(ratio)).mean()) != ""
    assert told(-torch.max(*sides(ratio)).mean()) == "the greater is maximised"
    assert told(-torch.max(*sides(ratio, -WORTH)).mean()) != ""


def test_other_pairs_are_none(ratio):
    others = torch.randn(24, requires_grad=True).exp()
    assert not told(torch.min(ratio * WORTH, others.clamp(0.8, 1.2) * WORTH).mean())
    assert not told(torch.min(ratio, others).mean())
    assert not told(torch.min(ratio * WORTH, others * WORTH).mean())
