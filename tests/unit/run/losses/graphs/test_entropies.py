"""Whether a loss grows with the entropy of a policy is read from its graph and its numbers."""

import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from pytest_dlcheck.run.losses.graphs.entropies import penalised
from pytest_dlcheck.run.losses.graphs.near import Near


def told(make):
    """What is told of a loss that is made of scores and of log-probabilities of choices."""
    scores = 2 * torch.randn(16, 3, requires_grad=True)
    picked = scores.log_softmax(1).gather(1, torch.randint(3, (16, 1)))
    loss = make(scores, -picked.mean())
    return penalised(Near.of_loss(loss.grad_fn), [picked.grad_fn])


def entropy(scores):
    return Categorical(logits=scores).entropy().mean()


def test_a_bonus_is_subtracted():
    assert not told(lambda scores, gain: gain - 0.1 * entropy(scores))
    assert not told(lambda scores, gain: gain + 0.1 * -entropy(scores))
    assert not told(lambda scores, gain: -(0.1 * entropy(scores) - gain))


def test_one_that_is_added_is_told_in_all_forms():
    def written(scores, gain):
        chances = scores.softmax(1)
        return gain - 0.1 * (chances * chances.log()).sum(1).mean()

    assert told(lambda scores, gain: gain + 0.1 * entropy(scores)) == "[16, 3]"
    assert told(lambda scores, gain: gain + entropy(scores)) == "[16, 3]"
    assert told(written) == "[16, 3]"


def test_that_of_other_scores_is_none_of_the_policy_s():
    others = 3 * torch.randn(16, 3, requires_grad=True)
    assert not told(lambda _, gain: gain + 0.1 * entropy(others))


def test_products_of_anything_else_are_no_entropies():
    def crossed(scores, gain):
        target = torch.rand(16, 3).softmax(1)
        return gain - (target * F.log_softmax(scores, 1)).sum(1).mean()

    def divergence(scores, gain):
        logs, others = F.log_softmax(scores, 1), F.log_softmax(torch.randn(16, 3), 1)
        return gain + (logs.exp() * (logs - others)).sum(1).mean()

    assert not told(crossed)
    assert not told(divergence)
    assert not told(lambda scores, gain: gain + (scores * scores).mean())
