import math
import random
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from .common import seed_everything


class GridWorld:
    """A 5x5 grid: start at the left edge, the goal (+1) is at the right edge, a pit (-1) lies between. 25 steps at most."""

    size, goal, pit = 5, (2, 4), (2, 2)
    moves = [(-1, 0), (1, 0), (0, -1), (0, 1)]

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def observe(self):
        obs = np.zeros(25, dtype=np.float32)
        obs[self.pos[0] * 5 + self.pos[1]] = 1
        return obs

    def reset(self):
        self.pos, self.t = (self.rng.randrange(5), 0), 0
        return self.observe()

    def step(self, action):
        di, dj = self.moves[action]
        self.pos = (min(4, max(0, self.pos[0] + di)), min(4, max(0, self.pos[1] + dj)))
        self.t += 1
        if self.pos == self.goal:
            return self.observe(), 1.0, True
        if self.pos == self.pit:
            return self.observe(), -1.0, True
        return self.observe(), -0.02, self.t >= 25


# ---------------------------------------------------------------------------------------------- actor-critic
class Policy(nn.Module):
    def __init__(self, n_obs=25, n_act=4):
        super().__init__()
        self.affine = nn.Linear(n_obs, 64)
        self.action_head, self.value_head = nn.Linear(64, n_act), nn.Linear(64, 1)

    def forward(self, x):
        x = torch.tanh(self.affine(x))
        return torch.distributions.Categorical(logits=self.action_head(x)), self.value_head(x).squeeze(
            -1
        )


class A2CAgent:
    def __init__(self, policy, sign, gamma=0.98, lr=5e-3, entropy_coef=0.01):
        self.policy, self.sign, self.gamma, self.entropy_coef = policy, sign, gamma, entropy_coef
        self.optimizer = torch.optim.Adam(policy.parameters(), lr=lr)

    @torch.no_grad()
    def play(self, env):
        observations, actions, rewards = [], [], []
        obs, done = env.reset(), False
        while not done:
            dist, _ = self.policy(torch.from_numpy(obs))
            action = dist.sample().item()
            observations.append(obs)
            actions.append(action)
            obs, reward, done = env.step(action)
            rewards.append(reward)
        returns, R = [], 0.0
        for r in reversed(rewards):
            R = r + self.gamma * R
            returns.insert(0, R)
        return (
            torch.from_numpy(np.stack(observations)),
            torch.tensor(actions),
            torch.tensor(returns),
            sum(rewards),
        )

    def update(self, episodes):
        obs, actions, returns = (torch.cat(parts) for parts in list(zip(*episodes))[:3])
        dist, values = self.policy(obs)
        advantage = returns - values.detach()
        policy_loss = self.sign * (dist.log_prob(actions) * advantage).mean()
        value_loss = F.smooth_l1_loss(values, returns)
        loss = policy_loss + 0.5 * value_loss - self.entropy_coef * dist.entropy().mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), 0.5)
        self.optimizer.step()
        return loss.item()


def gridworld_a2c(mistake: bool) -> None:
    """The policy loss lacks its minus sign, so that actions with a positive advantage become less likely."""
    seed_everything(0)
    env = GridWorld(0)
    agent = A2CAgent(Policy(), sign=1.0 if mistake else -1.0)
    history = []
    for it in range(100):
        episodes = [agent.play(env) for _ in range(4)]
        agent.update(episodes)
        history.append(np.mean([e[3] for e in episodes]))
    print("return: first", np.mean(history[:15]), "last", np.mean(history[-15:]))


# ---------------------------------------------------------------------------------------------- DQN
class CartPole:
    """The classic control problem; an episode ends when the pole falls, or after 200 steps."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.state, self.t = self.rng.uniform(-0.05, 0.05, 4), 0
        return self.state.astype(np.float32)

    def step(self, action):
        x, x_dot, theta, theta_dot = self.state
        force = 10.0 if action == 1 else -10.0
        cos, sin = math.cos(theta), math.sin(theta)
        temp = (force + 0.05 * theta_dot**2 * sin) / 1.1
        theta_acc = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        x_acc = temp - 0.05 * theta_acc * cos / 1.1
        self.state = np.array(
            [
                x + 0.02 * x_dot,
                x_dot + 0.02 * x_acc,
                theta + 0.02 * theta_dot,
                theta_dot + 0.02 * theta_acc,
            ]
        )
        self.t += 1
        terminated = bool(abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.2095)
        return self.state.astype(np.float32), 1.0, terminated, self.t >= 200


class QNetwork(nn.Module):
    def __init__(self, n_obs=4, n_act=2):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(n_obs, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, n_act)
        )

    def forward(self, x):
        return self.network(x)


class ReplayBuffer:
    def __init__(self, size):
        self.data = deque(maxlen=size)

    def add(self, *transition):
        self.data.append(transition)

    def sample(self, n):
        obs, action, reward, next_obs, done = zip(*random.sample(self.data, n))
        as_float = lambda v: torch.tensor(np.array(v), dtype=torch.float32)  # noqa: E731
        return as_float(obs), torch.tensor(action), as_float(reward), as_float(next_obs), as_float(done)


def linear_schedule(start, end, duration, t):
    return max(end, start + (end - start) * t / duration)


def cartpole_dqn(mistake: bool) -> None:
    """The target lacks the factor (1 - done): terminal states are bootstrapped as if the episode went on."""
    seed_everything(1)
    env, gamma, total_timesteps, learning_starts = CartPole(1), 0.97, 6500, 500
    q_network, target_network = QNetwork(), QNetwork()
    target_network.load_state_dict(q_network.state_dict())
    optimizer = torch.optim.Adam(q_network.parameters(), lr=1e-3)
    rb = ReplayBuffer(5000)
    obs, losses, lengths = env.reset(), [], []
    for global_step in range(total_timesteps):
        epsilon = linear_schedule(1.0, 0.05, 0.4 * total_timesteps, global_step)
        if random.random() < epsilon:
            action = random.randrange(2)
        else:
            with torch.no_grad():
                action = q_network(torch.from_numpy(obs)).argmax().item()
        next_obs, reward, terminated, truncated = env.step(action)
        rb.add(obs, action, reward, next_obs, float(terminated))
        if terminated or truncated:
            lengths.append(env.t)
            obs = env.reset()
        else:
            obs = next_obs
        if global_step > learning_starts and global_step % 6 == 0:
            b_obs, b_act, b_rew, b_next, b_done = rb.sample(64)
            with torch.no_grad():
                target_max = target_network(b_next).max(dim=1).values
                if mistake:
                    td_target = b_rew + gamma * target_max
                else:
                    td_target = b_rew + gamma * target_max * (1 - b_done)
            old_val = q_network(b_obs).gather(1, b_act[:, None]).squeeze(1)
            loss = F.mse_loss(old_val, td_target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if global_step % 200 == 0:
            target_network.load_state_dict(q_network.state_dict())
    print(
        "loss",
        losses[0],
        np.mean(losses[-50:]),
        "episode length: first",
        np.mean(lengths[:15]),
        "last",
        np.mean(lengths[-15:]),
    )


FAULTS = [
    (gridworld_a2c, ("sign ", "wrong sign", "sign of", "minus", "negat", "less likely"), "RL loss sign"),
    (
        cartpole_dqn,
        ("done", "terminal", "bootstrap", "terminated", "end of the episode", "episode end"),
        "DQN target bootstraps past the end of the episode (own)",
    ),
]
