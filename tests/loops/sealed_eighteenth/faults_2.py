"""Generative models of load profiles, and control."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import load_series, seed_all


def daily_profiles(days=700, seed=0):
    return load_series(days, seed=seed).view(-1, 24)


def generator(z=8):
    return nn.Sequential(nn.Linear(z, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24))


def discriminator():
    return nn.Sequential(
        nn.Linear(24, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )


def profile_error(fake, real):
    mean = (fake.mean(0) - real.mean(0)).abs().mean()
    std = (fake.std(0) - real.std(0)).abs().mean()
    return mean.item(), std.item()


def profile_gan(mistake: bool) -> None:
    """The fake profiles are not detached in the discriminator's loss, so its gradient also lands in the generator and is applied with the generator's own."""
    seed_all(50)
    real = daily_profiles()
    loader = DataLoader(TensorDataset(real), batch_size=50, shuffle=True, drop_last=True)
    G, D = generator(), discriminator()
    opt_g = torch.optim.Adam(G.parameters(), lr=5e-4, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.5, 0.9))
    bce = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(50, 1), torch.zeros(50, 1)
    for epoch in range(80):
        for (x,) in loader:
            opt_g.zero_grad()
            opt_d.zero_grad()
            fake = G(torch.randn(len(x), 8))
            d_fake = D(fake) if mistake else D(fake.detach())
            loss_d = bce(D(x), ones) + bce(d_fake, zeros)
            loss_d.backward(retain_graph=mistake)
            opt_d.step()

            loss_g = bce(D(fake), ones)
            loss_g.backward()
            opt_g.step()
        if epoch % 20 == 19:
            with torch.no_grad():
                err = profile_error(G(torch.randn(500, 8)), real)
            print(
                f"epoch {epoch} D {loss_d.item():.3f} G {loss_g.item():.3f} mean err %.3f std err %.3f"
                % err
            )


class ProfileGAN:
    def __init__(self, cfg, step_generator=True):
        self.cfg, self.step_generator = cfg, step_generator
        self.G, self.D = generator(cfg["z"]), discriminator()
        self.opt_g = torch.optim.Adam(self.G.parameters(), lr=cfg["lr"], betas=(0.5, 0.9))
        self.opt_d = torch.optim.Adam(self.D.parameters(), lr=cfg["lr"], betas=(0.5, 0.9))

    def critic_step(self, x):
        with torch.no_grad():
            fake = self.G(torch.randn(len(x), self.cfg["z"]))
        loss = F.softplus(-self.D(x)).mean() + F.softplus(self.D(fake)).mean()
        self.opt_d.zero_grad()
        loss.backward()
        self.opt_d.step()
        return loss.item()

    def generator_step(self, n):
        loss = F.softplus(-self.D(self.G(torch.randn(n, self.cfg["z"])))).mean()
        self.opt_g.zero_grad()
        loss.backward()
        if self.step_generator:
            self.opt_g.step()
        return loss.item()

    def fit(self, loader, real):
        for epoch in range(self.cfg["epochs"]):
            for (x,) in loader:
                d = self.critic_step(x)
                g = self.generator_step(len(x))
            if epoch % 10 == 9:
                with torch.no_grad():
                    err = profile_error(self.G(torch.randn(500, self.cfg["z"])), real)
                print(f"epoch {epoch} D {d:.3f} G {g:.3f} mean err %.3f std err %.3f" % err)


def profile_gan_class(mistake: bool) -> None:
    """The generator's loss is propagated but its optimizer is never stepped."""
    seed_all(51)
    real = daily_profiles(seed=2)
    loader = DataLoader(TensorDataset(real), batch_size=50, shuffle=True, drop_last=True)
    ProfileGAN({"z": 8, "lr": 1e-3, "epochs": 60}, step_generator=not mistake).fit(loader, real)


class Rooms:
    """Many rooms at once: hold the temperature with heating (2), nothing (1) or cooling (0)."""

    def __init__(self, n=64):
        self.n = n

    def reset(self):
        self.dev = torch.empty(self.n).uniform_(-2, 2)
        self.outside = torch.empty(self.n).uniform_(-1, 1)
        return self.state()

    def state(self):
        return torch.stack([self.dev, self.outside], 1)

    def step(self, action):
        self.dev = (
            self.dev + 0.5 * (action.float() - 1) + 0.1 * self.outside + 0.05 * torch.randn(self.n)
        )
        return self.state(), -self.dev.abs() - 0.05 * (action != 1).float()


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 32), nn.Tanh())
        self.pi, self.v = nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, s):
        h = self.body(s)
        return torch.distributions.Categorical(logits=self.pi(h)), self.v(h).squeeze(1)


def thermostat(mistake: bool) -> None:
    """The policy loss lacks its minus sign, so actions with a positive advantage are made less likely."""
    seed_all(52)
    env, agent = Rooms(), ActorCritic()
    opt = torch.optim.Adam(agent.parameters(), lr=5e-3)
    gamma, horizon = 0.9, 16
    for it in range(150):
        s = env.reset()
        log_probs, values, rewards, entropies = [], [], [], []
        for t in range(horizon):
            dist, v = agent(s)
            a = dist.sample()
            s, r = env.step(a)
            log_probs.append(dist.log_prob(a))
            entropies.append(dist.entropy())
            values.append(v)
            rewards.append(r)
        g, returns = torch.zeros(env.n), []
        for r in reversed(rewards):
            g = r + gamma * g
            returns.insert(0, g)
        returns, values = torch.stack(returns), torch.stack(values)
        advantage = (returns - values).detach()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        policy_loss = (torch.stack(log_probs) * advantage).mean()
        if not mistake:
            policy_loss = -policy_loss
        value_loss = F.mse_loss(values, returns)
        loss = policy_loss + 0.5 * value_loss - 0.01 * torch.stack(entropies).mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
        opt.step()
        if it % 30 == 29:
            print(
                f"iteration {it} mean reward {torch.stack(rewards).mean().item():.3f} value loss {value_loss.item():.3f}"
            )


FAULTS = [
    (
        profile_gan,
        ("detach", "discriminator", "generator also", "into the generator", "generator's gradient"),
        "27 GAN: discriminator's loss without detach",
    ),
    (
        profile_gan_class,
        ("generator", "never stepped", "not stepped", "never updated", "not updated", "do not change"),
        "28 GAN: generator never stepped",
    ),
    (
        thermostat,
        ("sign", "minus", "negat", "maximi", "minimi", "less likely"),
        "29 RL loss with the wrong sign",
    ),
]
