"""What a loss that is written out compares is read from its graph, whichever way it is written."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical, Normal

from pytest_dlcheck.run.losses.graphs.outputs import made_here
from pytest_dlcheck.run.losses.graphs.written import written

X, LABELS, GOALS = torch.randn(6, 4), torch.tensor([0, 1, 2, 1, 0, 2]), torch.randn(6, 3)
ONE_HOT = F.one_hot(LABELS, 3)
WHO = torch.arange(6)

OF_QUANTITIES = {
    "squares": lambda out: ((out - GOALS) ** 2).mean(),
    "the other way round": lambda out: (GOALS - out).square().sum(1).mean(),
    "products": lambda out: torch.stack([(off * off).mean() for off in [out - GOALS]]).sum(),
    "magnitudes": lambda out: (out - GOALS).abs().mean(),
    "norms": lambda out: (out - GOALS).norm(dim=1).mean(),
    "both, by size": lambda out: torch.where(
        (out - GOALS).abs() < 1, (out - GOALS) ** 2, (out - GOALS).abs()
    ).mean(),
    "masked": lambda out: ((out - GOALS) ** 2 * (GOALS > 0)).sum() / (GOALS > 0).sum(),
    "in another shape": lambda out: ((out.flatten() - GOALS.flatten()) ** 2).mean(),
    "a likelihood": lambda out: -Normal(out, 1.0).log_prob(GOALS).mean(),
}
OF_CLASSES = {
    "gathered": lambda out: -out.log_softmax(1).gather(1, LABELS[:, None]).mean(),
    "indexed": lambda out: -out.log_softmax(1)[WHO, LABELS].mean(),
    "normalised in the loss": lambda out: (out.logsumexp(1) - out[WHO, LABELS]).mean(),
    "one-hot": lambda out: -(ONE_HOT * out.log_softmax(1)).sum(1).mean(),
    "one-hot, of probabilities": lambda out: -(ONE_HOT * (out.softmax(1) + 1e-9).log()).sum(1).mean(),
    "of a distribution": lambda out: -Categorical(logits=out).log_prob(LABELS).mean(),
}


def found(loss, batch=(), *, marked=True):
    out = nn.Linear(4, 3)(X)
    if marked:
        made_here(out)
    return written(loss(out).grad_fn, [batch])


@pytest.mark.parametrize("loss", OF_QUANTITIES.values(), ids=OF_QUANTITIES)
def test_quantities_are_those_of_the_batch(loss):
    each = found(loss, [X, GOALS])
    assert each
    assert all(torch.equal(one.target.flatten(), GOALS.flatten()) for one in each)


@pytest.mark.parametrize("loss", OF_CLASSES.values(), ids=OF_CLASSES)
def test_classes_are_told(loss):
    (one,) = found(loss, [X, LABELS])
    assert torch.equal(one.target, LABELS)
    assert not one.is_weighed


def test_quantities_in_another_order_are_exactly_those_of_the_batch():
    (one,) = found(lambda out: ((out - GOALS.roll(1, 0)) ** 2).mean(), [X, GOALS])
    assert torch.equal(one.target, GOALS.roll(1, 0))


def test_quantities_that_no_batch_holds_are_the_same_whatever_the_outputs():
    several = [found(lambda out: ((out - GOALS) ** 2).mean()) for _ in range(5)]
    alike = [(one.target == several[0][0].target).float().mean() for (one,) in several]
    assert min(alike) > 0.9
    assert torch.allclose(several[0][0].target, GOALS, rtol=2**-10)


def test_whole_numbers_are_whole():
    counts = torch.randint(0, 9, (6, 3)).float()
    (one,) = found(lambda out: (out - counts).abs().mean())
    assert torch.equal(one.target, counts)


@pytest.mark.parametrize(
    "loss",
    [
        lambda out: ((out[1:] - out[:-1]) ** 2).mean(),
        lambda out: ((out.gather(1, LABELS[:, None])[:, 0] - GOALS[:, 0]) ** 2).mean(),
        lambda out: -out.gather(1, LABELS[:, None]).mean(),
        lambda out: (out * GOALS).mean(),
        lambda out: (out.softmax(1) * out.log_softmax(1)).sum(1).mean(),
        lambda out: (GOALS * out.log_softmax(1)).mean(),
        lambda out: (out - GOALS).exp().mean(),
        lambda out: out.square().mean(),
        lambda out: (out - 1).square().mean(),
    ],
    ids=[
        "neighbours",
        "values of actions",
        "scores",
        "products",
        "entropy",
        "advantages",
        "ratios",
        "sizes",
        "a number",
    ],
)
def test_nothing_is_made_up(loss):
    assert found(loss, [X, LABELS, GOALS]) == []


def test_rewards_weigh():
    rewarded = found(lambda out: -(Categorical(logits=out).log_prob(LABELS) * GOALS[:, 0]).mean())
    assert [one.is_weighed for one in rewarded] == [True]


def test_outputs_that_were_changed_in_place_or_never_heard_of_tell_nothing():
    def scaled(out):
        off = (out - GOALS) ** 2
        with torch.no_grad():
            out.mul_(2)
        return off.mean()

    assert found(scaled, [X, GOALS]) == []
    assert found(lambda out: ((out - GOALS) ** 2).mean(), [X, GOALS], marked=False) == []


def test_what_a_graph_holds_is_let_go_with_it():
    out = nn.Linear(4, 3)(X)
    made_here(out)
    loss = ((out - GOALS) ** 2).mean()
    loss.backward()
    assert written(loss.grad_fn, [[X, GOALS]]) == []
