"""Policies whose loss has one sign or the other, by the loop's own words; beside costs."""

from __future__ import annotations

import torch
from torch.distributions import Categorical

from .faults import fault
from .healthy import Walk, mlp


def _episode(policy, world):
    state, done, log_probs, rewards = world.reset(), False, [], []
    while not done:
        choice = Categorical(logits=policy(state))
        action = choice.sample()
        log_probs.append(choice.log_prob(action))
        state, reward, done = world.step(action.item())
        rewards.append(reward - 0.01 * world.time)
    return torch.stack(log_probs), rewards


def _discounted(rewards):
    found, total = [], 0.0
    for reward in reversed(rewards):
        total = reward + 0.95 * total
        found.insert(0, total)
    return torch.tensor(found)


def _train(loss_of, episodes=40, **options):
    policy, world, baseline = mlp(8, 32, 2), Walk(), 0.0
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3, **options)
    for _ in range(episodes):
        log_probs, rewards = _episode(policy, world)
        returns = _discounted(rewards)
        baseline = 0.9 * baseline + 0.1 * float(returns.mean())
        loss = loss_of(log_probs, returns, baseline)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def returns_less_a_mean():
    _train(lambda logs, returns, mean: (-logs * (returns - mean)).sum())


def scores_maximised():
    _train(lambda logs, returns, mean: (logs * (returns - mean)).sum(), maximize=True)


def advantage_taken_the_other_way():
    _train(lambda logs, returns, mean: (logs * (mean - returns)).mean())


@fault(returns_less_a_mean, "targets_are_aligned", words=("wrong sign",))
def a_minus_is_missing():
    _train(lambda logs, returns, mean: (logs * (returns - mean)).sum())


class _Agent:
    def __init__(self, sign):
        self.policy, self.critic, self.sign = mlp(8, 32, 2), mlp(8, 32, 1), sign
        self.optimizer = torch.optim.Adam([*self.policy.parameters(), *self.critic.parameters()], 3e-3)

    def update(self, states, actions, rewards):
        rtg = _discounted(rewards)
        values = self.critic(states).squeeze(1)
        advantage = values.detach() - rtg if self.sign > 0 else rtg - values.detach()
        logs = Categorical(logits=self.policy(states)).log_prob(actions)
        loss = self.sign * (logs * advantage).mean() + 0.5 * (rtg - values).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def fit(self, episodes=40):
        world = Walk()
        for _ in range(episodes):
            state, done, states, actions, rewards = world.reset(), False, [], [], []
            while not done:
                states.append(state)
                actions.append(Categorical(logits=self.policy(state)).sample())
                state, reward, done = world.step(actions[-1].item())
                rewards.append(reward - 0.01 * world.time)
            self.update(torch.stack(states), torch.stack(actions), rewards)


def critic_less_what_was_earned():
    _Agent(1.0).fit()


def costs_are_avoided():
    policy, world = mlp(8, 32, 2), Walk()
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)
    for _ in range(40):
        log_probs, rewards = _episode(policy, world)
        costs = -_discounted(rewards)
        optimizer.zero_grad()
        (log_probs * (costs - costs.mean())).sum().backward()
        optimizer.step()


QUIET = [scores_maximised, advantage_taken_the_other_way, critic_less_what_was_earned, costs_are_avoided]
"""None of them may raise an alarm."""
