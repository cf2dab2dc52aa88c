"""The sign with which what was chosen is weighed is told in each form in which it is written."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Categorical, Normal

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.watch.losses import earned as room
from pytest_dlcheck.run.watch.losses.policies import Policies

ACTS = torch.arange(24) % 4
MORE = torch.linspace(-1, 1, 24) ** 3
RIGHT = {"rewarded": "24 by `returns`"}
FORMS = {
    "distribution": lambda z: Categorical(logits=z).log_prob(ACTS),
    "distribution of probabilities": lambda z: Categorical(z.softmax(1)).log_prob(ACTS),
    "cross-entropy": lambda z: -F.cross_entropy(z, ACTS, reduction="none"),
    "nll": lambda z: -F.nll_loss(z.log_softmax(1), ACTS, reduction="none"),
    "gathered": lambda z: z.log_softmax(1).gather(1, ACTS[:, None]).squeeze(1),
    "indexed": lambda z: z.log_softmax(1)[torch.arange(24), ACTS],
    "of a probability": lambda z: torch.log(z.softmax(1)[torch.arange(24), ACTS] + 1e-8),
    "one-hot": lambda z: (z.log_softmax(1) * F.one_hot(ACTS, 4)).sum(1),
    "less a log-sum-exp": lambda z: z.gather(1, ACTS[:, None]).squeeze(1) - z.logsumexp(1),
    "by steps": lambda z: torch.stack(steps(z)),
    "ratio": lambda z: (Categorical(logits=z).log_prob(ACTS) - MORE).exp().clamp(0.8, 1.2),
    "normal": lambda z: Normal(z, z.detach().exp()).log_prob(torch.ones(24, 4)).sum(1),
    "normal with its deviation": lambda z: Normal(z, F.softplus(z)).log_prob(torch.ones(24, 4)).sum(1),
    "yes or no": lambda z: Bernoulli(logits=z[:, 0]).log_prob((ACTS > 1).float()),
}


def steps(scores):
    return [-F.cross_entropy(scores[i], ACTS[i]) for i in range(24)]


OTHERS = {
    "scores": lambda z: z[:, 0],
    "squares": lambda z: (z - torch.ones(24, 4)).square().sum(1),
    "smoothed": lambda z: F.cross_entropy(z, ACTS, reduction="none", label_smoothing=0.1),
    "entropies": lambda z: Categorical(logits=z).entropy(),
}


def told(loss, policies=None):
    return (policies or Policies()).weighing(Near.of_loss(loss.grad_fn), [])


@pytest.fixture(autouse=True)
def the_loop_calls_it_returns(monkeypatch):
    monkeypatch.setattr(room, "_variables", lambda: iter([{"returns": MORE}]))


@pytest.fixture
def scores():
    return torch.randn(24, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_told_with_the_wrong_sign_and_not_with_the_right_one(form, scores):
    rises = FORMS[form](scores)
    assert told((rises * MORE).mean()) == {"punished": "24 by `returns`"}
    assert told(-(rises * MORE).mean()) == RIGHT
    assert told((-rises * MORE).sum() / 24) == RIGHT


@pytest.mark.parametrize("form", OTHERS)
def test_other_products_are_none(form, scores):
    assert told((OTHERS[form](scores) * MORE).mean()) == {}
    assert told(-(OTHERS[form](scores) * MORE).mean()) == {}


def test_masks_may_stand_at_either_place(scores):
    mask = (torch.arange(24) < 20).float()
    rises = FORMS["cross-entropy"](scores)
    expected = {"punished": "24 by `returns`"}
    assert told((rises * mask * MORE).mean()) == told((rises * MORE * mask).mean()) == expected
    assert told(-(rises * mask * MORE).mean()) == told(-(rises * MORE * mask).mean()) == RIGHT


def test_a_clipped_ratio_is_told_once_beside_itself(scores):
    ratio = (FORMS["gathered"](scores) - MORE).exp()
    bounded = ratio.clamp(0.8, 1.2)
    assert told(torch.max(ratio * MORE, bounded * MORE).mean()) == {"punished": "24 by `returns`"}
    assert told(torch.max(-ratio * MORE, -bounded * MORE).mean()) == RIGHT
    assert told(-torch.min(ratio * MORE, bounded * MORE).mean()) == RIGHT


def test_what_one_player_seeks_its_opponent_avoids(scores):
    policies, rises = Policies(), FORMS["gathered"](scores)
    assert told(-(rises * MORE).mean(), policies) == RIGHT
    assert told((rises * MORE).mean(), policies) == {}


@pytest.mark.parametrize(("count", "expected"), [(3, {"punished": "3 by `returns`"}), (2, {})])
def test_few_actions_are_told_by_name_where_two_of_them_would_lie_on_any_line(
    count, expected, scores, monkeypatch
):
    monkeypatch.setattr(room, "_variables", lambda: iter([{"returns": MORE[:count]}]))
    assert told((torch.stack(steps(scores)[:count]) * MORE[:count]).sum()) == expected


def test_few_actions_of_two_rewards_alone_are_not_told(scores, monkeypatch):
    won = (torch.arange(6) % 2).float()
    monkeypatch.setattr(room, "_variables", lambda: iter([{"rewards": won}]))
    assert told((torch.stack(steps(scores)[:6]) * won).sum()) == {}


@pytest.mark.parametrize("reduced", [torch.sum, torch.mean])
def test_what_an_episode_adds_up_is_told(reduced, scores, monkeypatch):
    rises, earned = steps(scores), MORE[:6]
    monkeypatch.setattr(room, "_variables", lambda: iter([{"episode_rewards": earned}]))
    episodes = [torch.stack(rises[4 * i : 4 * i + 4]) for i in range(6)]
    loss = (torch.stack([reduced(each) for each in episodes]) * (earned - earned.mean())).mean()
    assert told(loss) == {"punished": "6 by `episode_rewards`"}


def test_sums_of_anything_else_are_not(scores, monkeypatch):
    earned = MORE[:6]
    monkeypatch.setattr(room, "_variables", lambda: iter([{"episode_rewards": earned}]))
    assert told((torch.stack([each.square().sum() for each in scores[:6]]) * earned).mean()) == {}
