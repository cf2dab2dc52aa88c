"""GANs and reinforcement learning, as homework."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch.distributions import Categorical

from .common import CartPole, seed_everything


def mlp(*sizes, act=nn.LeakyReLU):
    layers = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if i < len(sizes) - 2:
            layers.append(act(0.2) if act is nn.LeakyReLU else act())
    return nn.Sequential(*layers)


def wine_table_gan(mistake):
    """The discriminator's loss is taken on fakes that are not detached, so the generator also gets the gradient that helps the discriminator."""
    seed_everything(0)
    real_data = torch.tensor(
        StandardScaler().fit_transform(load_wine().data[:, :4]), dtype=torch.float32
    )
    netG, netD = mlp(8, 64, 64, 4), mlp(4, 64, 64, 1)
    criterion = nn.BCEWithLogitsLoss()
    optimizerD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
    b = 64
    for step in range(800):
        real = real_data[torch.randint(0, len(real_data), (b,))]
        optimizerD.zero_grad()
        optimizerG.zero_grad()
        fake = netG(torch.randn(b, 8))

        errD_real = criterion(netD(real), torch.ones(b, 1))
        if mistake:
            errD_fake = criterion(netD(fake), torch.zeros(b, 1))
            errD = errD_real + errD_fake
            errD.backward(retain_graph=True)
        else:
            errD_fake = criterion(netD(fake.detach()), torch.zeros(b, 1))
            errD = errD_real + errD_fake
            errD.backward()
        optimizerD.step()

        errG = criterion(netD(fake), torch.ones(b, 1))
        errG.backward()
        optimizerG.step()
        if step % 200 == 199:
            with torch.no_grad():
                sample = netG(torch.randn(1000, 8))
            print(
                f"[{step + 1}] D {errD.item():.3f} G {errG.item():.3f} mean {sample.mean(0).abs().mean():.3f} std {sample.std(0).mean():.3f}"
            )


def sine_wave_gan(mistake):
    """The generator's optimizer is never stepped, so only the discriminator learns."""
    seed_everything(1)
    t = torch.linspace(0, 2 * np.pi, 24)

    def real_batch(n):
        return torch.sin(t + 2 * np.pi * torch.rand(n, 1)) * (0.8 + 0.4 * torch.rand(n, 1))

    G, D = mlp(10, 64, 64, 24), mlp(24, 64, 32, 1)
    opt_d = torch.optim.Adam(D.parameters(), lr=5e-4, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for step in range(900):
        # discriminator
        x = real_batch(64)
        with torch.no_grad():
            fake = G(torch.randn(64, 10))
        d_loss = F.softplus(-D(x)).mean() + F.softplus(D(fake)).mean()
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()
        # generator
        g_loss = F.softplus(-D(G(torch.randn(64, 10)))).mean()
        opt_g.zero_grad()
        g_loss.backward()
        if not mistake:
            opt_g.step()
        if step % 300 == 299:
            with torch.no_grad():
                s = G(torch.randn(500, 10))
            rough = (s[:, 2:] - 2 * s[:, 1:-1] + s[:, :-2]).pow(2).mean()
            print(
                f"{step + 1} D {d_loss.item():.3f} G {g_loss.item():.3f} std {s.std():.3f} roughness {rough:.4f}"
            )


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 64)
        self.affine2 = nn.Linear(64, 2)

    def forward(self, x):
        return F.softmax(self.affine2(F.relu(self.affine1(x))), dim=-1)


def cartpole_reinforce(mistake):
    """The policy loss lacks its minus sign, so actions with a high return are made less likely."""
    seed_everything(2)
    env = CartPole(seed=0)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    gamma = 0.99
    lengths = []
    for episode in range(240):
        state = env.reset()
        states, actions, rewards = [], [], []
        while True:
            with torch.no_grad():
                probs = policy(torch.from_numpy(state)).numpy()
            action = int(env.rng.random() < probs[1])
            states.append(state)
            actions.append(action)
            state, reward, done, truncated = env.step(action)
            rewards.append(reward)
            if done or truncated:
                break
        returns, R = [], 0.0
        for r in reversed(rewards):
            R = r + gamma * R
            returns.insert(0, R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        dist = Categorical(policy(torch.from_numpy(np.stack(states))))
        log_probs = dist.log_prob(torch.tensor(actions))
        if mistake:
            loss = (log_probs * returns).sum()
        else:
            loss = -(log_probs * returns).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lengths.append(len(rewards))
        if episode % 30 == 29:
            print(f"episode {episode + 1} mean length {np.mean(lengths[-30:]):.1f}")


FAULTS = [
    (
        wine_table_gan,
        (
            "detach",
            "discriminator's loss",
            "d loss",
            "into the generator",
            "reaches the generator",
            "generator also",
        ),
        "27 GAN: discriminator's loss without detach",
    ),
    (
        sine_wave_gan,
        (
            "generator",
            "never stepped",
            "not updated",
            "never updated",
            "no step",
            "optimizer.step",
            "opt_g",
        ),
        "28 GAN: generator never stepped",
    ),
    (
        cartpole_reinforce,
        ("sign", "minus", "negat", "minimi", "less likely", "gradient ascent"),
        "29 RL loss with the wrong sign",
    ),
]
