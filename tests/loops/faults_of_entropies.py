"""Policies that are paid for being sure, where they were to be paid for exploring."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from .faults import fault
from .healthy import mlp


def _choices(loss, rounds=60):
    """Which of three goes with which of six; ``loss`` is given scores, choices, and what was gained."""
    policy = mlp(6, 32, 3)
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    for _ in range(rounds):
        seen = torch.randint(6, (64,))
        scores = policy(F.one_hot(seen, 6).float())
        choice = Categorical(logits=scores)
        chosen = choice.sample()
        gain = (chosen == seen % 3).float()
        optimizer.zero_grad()
        loss(scores, choice, chosen, gain - gain.mean()).backward()
        optimizer.step()


def _torchs(sign):
    return lambda _, choice, chosen, gain: (
        -(choice.log_prob(chosen) * gain).mean() + sign * 0.02 * choice.entropy().mean()
    )


def exploring():
    _choices(_torchs(-1))


@fault(exploring, "targets_are_aligned", words=("entropy",))
def entropy_that_is_added():
    _choices(_torchs(1))


def _written(sign):
    def loss(scores, _, chosen, gain):
        logs = F.log_softmax(scores, dim=-1)
        entropy = -(logs.exp() * logs).sum(-1).mean()
        return (F.nll_loss(logs, chosen, reduction="none") * gain).mean() + sign * 0.02 * entropy

    return loss


def exploring_by_hand():
    _choices(_written(-1))


@fault(exploring_by_hand, "targets_are_aligned", words=("entropy",))
def entropy_by_hand_that_is_added():
    _choices(_written(1))


def _of_probabilities(sign):
    def loss(scores, _, chosen, gain):
        chances = scores.softmax(-1)
        picked = chances.gather(1, chosen[:, None]).squeeze(1)
        negative = (chances * (chances + 1e-8).log()).sum(-1)
        return -(picked.log() * gain).mean() - sign * 0.02 * negative.mean()

    return loss


def exploring_by_probabilities():
    _choices(_of_probabilities(-1))


@fault(exploring_by_probabilities, "targets_are_aligned", words=("entropy",))
def entropy_of_probabilities_that_is_added():
    _choices(_of_probabilities(1))


def ascent_by_hand():
    """What is to grow is written down, and climbed."""
    policy = torch.nn.Linear(6, 3)
    for _ in range(80):
        seen = torch.randint(6, (64,))
        choice = Categorical(logits=policy(F.one_hot(seen, 6).float()))
        chosen = choice.sample()
        rewards = (chosen == seen % 3).float()
        gain = (choice.log_prob(chosen) * (rewards - 0.3)).mean() + 0.01 * choice.entropy().mean()
        policy.zero_grad()
        gain.backward()
        with torch.no_grad():
            for p in policy.parameters():
                p += 0.5 * p.grad


def unlabelled_rows_are_to_be_sure():
    """Entropy minimisation of what has no labels (Grandvalet and Bengio 2004)."""
    model = mlp(6, 32, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        rows, more = torch.randn(64, 6), torch.randn(64, 6)
        chances = model(more).softmax(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(rows), rows[:, :3].argmax(1))
        (loss - 0.1 * (chances * chances.log()).sum(1).mean()).backward()
        optimizer.step()


def messages_that_say_little():
    """One head acts and explores; what the other one says is to carry little."""
    body, acts, says = mlp(6, 32), mlp(32, 3), mlp(32, 4)
    parameters = [*body.parameters(), *acts.parameters(), *says.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    for _ in range(60):
        seen = torch.randint(6, (64,))
        hidden = body(F.one_hot(seen, 6).float()).relu()
        choice, message = Categorical(logits=acts(hidden)), Categorical(logits=says(hidden))
        chosen = choice.sample()
        gain = (chosen == seen % 3).float() - 0.4
        loss = -(choice.log_prob(chosen) * gain).mean() - 0.01 * choice.entropy().mean()
        optimizer.zero_grad()
        (loss + 0.01 * message.entropy().mean()).backward()
        optimizer.step()


QUIET = [ascent_by_hand, unlabelled_rows_are_to_be_sure, messages_that_say_little]
"""None of them may raise an alarm."""
