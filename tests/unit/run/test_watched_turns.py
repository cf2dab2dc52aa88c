"""Loops that end before every optimizer has had a second turn."""

import pytest
import torch
from torch import nn

from pytest_dlcheck import watch


def layers(width, outputs):
    return nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, outputs))


class Agent(nn.Module):
    """One module holds all of it: a value, and two that say how good an action is."""

    def __init__(self):
        super().__init__()
        self.policy, self.value = layers(4, 2), layers(4, 1)
        self.one, self.other = layers(6, 1), layers(6, 1)

    def quality(self, states, action):
        both = torch.cat([states, action], 1)
        return torch.minimum(self.one(both), self.other(both))

    def learn(self, states, of_value, of_quality):
        action = torch.tanh(self.policy(states))
        quality = self.quality(states, action)
        step(of_value, (self.value(states) - quality.detach()).square().mean())
        step(of_quality, (self.quality(states, action.detach()) - 1).square().mean())
        quality.mean().backward()  # raises: the weights behind it were stepped in between


def step(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def coverage_of(agent, parts_of_value):
    adam = torch.optim.Adam
    of_value = adam([p for part in parts_of_value for p in part.parameters()], 1e-3)
    of_quality = adam([*agent.one.parameters(), *agent.other.parameters()], 1e-3)
    with watch() as run, pytest.raises(RuntimeError, match="inplace operation"):
        agent.learn(torch.randn(16, 4), of_value, of_quality)
    return [v for v in run.verdicts if v.check == "optimizer_covers_model"]


def test_what_another_optimizer_has_stepped_once_is_not_left_out():
    torch.manual_seed(0)
    agent = Agent()
    verdicts = coverage_of(agent, [agent.value])
    assert len(verdicts) == 2
    assert not any(verdict.failed for verdict in verdicts)


def test_what_no_optimizer_holds_is_left_out_from_the_first_round_on():
    torch.manual_seed(0)
    agent = Agent()
    verdicts = coverage_of(agent, [agent.value[2]])
    assert any(verdict.failed and "value.0" in verdict.sites for verdict in verdicts)
