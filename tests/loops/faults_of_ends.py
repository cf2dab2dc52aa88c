"""Values that a critic learns of what comes next, and of what comes after the end."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from .faults import fault
from .healthy import mlp

GAMMA = 0.93
STEPS = 90


class Pumps:
    """Twelve pumps that wear out; serving one costs, and a broken one is replaced, for more."""

    def __init__(self):
        self.draws = torch.Generator().manual_seed(11)
        self.wear = torch.rand(12, 2, generator=self.draws)

    def step(self, serve):
        worn = self.wear + 0.25 * torch.rand(12, 2, generator=self.draws)
        worn = torch.where(serve[:, None].bool(), 0.1 * worn, worn)
        terminated = worn.amax(1) > 1
        reward = 0.4 + 0.1 * worn[:, 0] - 0.3 * serve - 2.0 * terminated
        before, self.wear = self.wear, torch.where(terminated[:, None], 0.2 * worn, worn)
        return before, reward, worn, terminated


def _learn(goal_of, *, loss=F.smooth_l1_loss, column=False):
    """A Q-network, beside a target network, on what twelve pumps did in the last forty steps."""
    torch.manual_seed(1)
    online = mlp(2, 32, 2)
    target = copy.deepcopy(online)
    optimizer = torch.optim.Adam(online.parameters(), lr=2e-3)
    pumps, memory = Pumps(), []
    for step in range(STEPS):
        with torch.no_grad():
            greedy = online(pumps.wear).argmax(1)
        serve = torch.where(torch.rand(12) < 0.3, torch.randint(2, (12,)), greedy)
        before, reward, after, terminated = pumps.step(serve)
        memory = [*memory, (before, serve, reward, after, terminated)][-40:]
        if step < 4:
            continue
        picked = [memory[i] for i in torch.randint(len(memory), (4,))]
        states, actions, rewards, following, dones = map(torch.cat, zip(*picked, strict=True))
        if column:
            rewards, dones = rewards[:, None], dones[:, None]
        with torch.no_grad():
            value, goal = goal_of(online, target, following, rewards, dones)
        chosen = online(states).gather(1, actions[:, None])
        optimizer.zero_grad()
        loss(chosen if column else chosen.squeeze(1), goal).backward()
        optimizer.step()
        assert len(value) == len(rewards)
        if step % 10 == 9:
            target.load_state_dict(online.state_dict())


def _best(_, target, following):
    return target(following).amax(1)


def values_that_end():
    def goal_of(online, target, following, rewards, dones):
        best = _best(online, target, following)
        return best, rewards + GAMMA * best * ~dones

    _learn(goal_of)


@fault(values_that_end, "targets_are_aligned", words=("the episode is over",), advice=True)
def values_from_beyond_the_end():
    def goal_of(online, target, following, rewards, dones):
        best = _best(online, target, following)
        return best, rewards + GAMMA * best

    _learn(goal_of)


def two_networks_whose_values_end():
    def goal_of(online, target, following, rewards, dones):
        best = target(following).gather(1, online(following).argmax(1, keepdim=True))
        return best, rewards + (1 - dones.float()) * GAMMA * best

    _learn(goal_of, loss=F.mse_loss, column=True)


@fault(two_networks_whose_values_end, "targets_are_aligned", words=("the episode is over",), advice=True)
def two_networks_whose_values_go_on():
    def goal_of(online, target, following, rewards, dones):
        best = target(following).gather(1, online(following).argmax(1, keepdim=True))
        return best, rewards + GAMMA * best

    _learn(goal_of, loss=F.mse_loss, column=True)


# -- healthy neighbours ---------------------------------------------------------------------------


def values_of_states_that_are_not_final():
    def goal_of(_, target, following, rewards, dones):
        best = torch.zeros(len(rewards))
        best[~dones] = target(following[~dones]).amax(1)
        return best, rewards + GAMMA * best

    _learn(goal_of)


def rewards_alone_at_the_end():
    def goal_of(online, target, following, rewards, dones):
        best = _best(online, target, following)
        return best, torch.where(dones, rewards, rewards + GAMMA * best)

    _learn(goal_of)


def a_price_at_the_end_in_place_of_a_value():
    """A broken pump is worth what its scrap brings, whatever it might have earned."""

    def goal_of(online, target, following, rewards, dones):
        best = _best(online, target, following)
        return best, rewards + GAMMA * torch.where(dones, torch.tensor(0.15), best)

    _learn(goal_of)


def pumps_that_are_replaced_for_ever():
    """A task that never ends; what breaks costs, and goes on."""
    torch.manual_seed(1)
    critic = mlp(2, 32, 1)
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
    pumps = Pumps()
    for _ in range(STEPS):
        before, rewards, _, _ = pumps.step(torch.randint(2, (12,)))
        with torch.no_grad():
            following = critic(pumps.wear).squeeze(1)
        goal = rewards + GAMMA * following
        optimizer.zero_grad()
        F.mse_loss(critic(before).squeeze(1), goal).backward()
        optimizer.step()


QUIET = [
    values_of_states_that_are_not_final,
    rewards_alone_at_the_end,
    a_price_at_the_end_in_place_of_a_value,
    pumps_that_are_replaced_for_ever,
]
"""They may raise no alarm, and are told nothing of ends."""
