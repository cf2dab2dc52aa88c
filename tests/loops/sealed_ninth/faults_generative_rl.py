"""Mistakes in generative models and reinforcement learning."""

import copy
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from .common import CartPoles, digits, loader


def gan_generator_loss_on_detached_fake(mistake: bool) -> None:
    """The generator's loss uses fake.detach() like the discriminator's, so the generator gets no gradient."""
    torch.manual_seed(0)
    modes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]) * 2

    def real_batch(n):
        return modes[torch.randint(4, (n,))] + 0.2 * torch.randn(n, 2)

    G = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    D = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    n = 128
    ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)
    for step in range(1500):
        fake = G(torch.randn(n, 4))
        opt_d.zero_grad()
        loss_d = criterion(D(real_batch(n)), ones) + criterion(D(fake.detach()), zeros)
        loss_d.backward()
        opt_d.step()

        opt_g.zero_grad()
        loss_g = criterion(D(fake.detach() if mistake else fake), ones)
        loss_g.backward()
        opt_g.step()
    with torch.no_grad():
        d = torch.cdist(G(torch.randn(1000, 4)), modes).min(1)
        near = (d.values < 0.6).float().mean().item()
        covered = len(d.indices[d.values < 0.6].unique())
    print(
        f"loss_d {loss_d.item():.3f} loss_g {loss_g.item():.3f} near a mode {near:.3f}, modes {covered}"
    )


def gan_discriminator_never_zeroed(mistake: bool) -> None:
    """Only the generator's optimizer is zeroed: the discriminator adds up gradients of all steps, the generator's too."""
    torch.manual_seed(0)
    xtr, _, xte, _ = digits()

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(16, 64),
                nn.BatchNorm1d(64),
                nn.ReLU(),
                nn.Linear(64, 128),
                nn.BatchNorm1d(128),
                nn.ReLU(),
                nn.Linear(128, 64),
                nn.Tanh(),
            )

        def forward(self, z):
            return self.net(z)

    netG = Generator()
    netD = nn.Sequential(
        nn.Linear(64, 128),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.LeakyReLU(0.2),
        nn.Linear(64, 1),
    )
    optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizerD = torch.optim.Adam(netD.parameters(), lr=5e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(30):
        for (real,) in loader(xtr * 2 - 1, batch_size=64, drop_last=True):
            b = len(real)
            if not mistake:
                optimizerD.zero_grad()
            fake = netG(torch.randn(b, 16))
            errD = criterion(netD(real), torch.full((b, 1), 0.9)) + criterion(
                netD(fake.detach()), torch.zeros(b, 1)
            )
            errD.backward()
            optimizerD.step()

            optimizerG.zero_grad()
            errG = criterion(netD(fake), torch.ones(b, 1))
            errG.backward()
            optimizerG.step()
    with torch.no_grad():
        sample = (netG(torch.randn(1000, 16)) + 1) / 2
        mean_gap = (sample.mean(0) - xte.mean(0)).norm().item()
        nearest = torch.cdist(sample, xtr).min(1).values.mean().item()
        spread = sample.std(0).sum().item() / xte.std(0).sum().item()
    print(
        f"errD {errD.item():.3f} errG {errG.item():.3f} mean gap {mean_gap:.3f} nearest {nearest:.3f} spread {spread:.2f}"
    )


def vae_mean_reconstruction_sum_kl(mistake: bool) -> None:
    """The reconstruction is a mean over pixels while the KL term is a sum: the KL wins and the posterior collapses."""
    torch.manual_seed(0)
    xtr, _, xte, _ = digits()

    class VAE(nn.Module):
        def __init__(self, z=8):
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(64, 96), nn.ReLU())
            self.mu, self.logvar = nn.Linear(96, z), nn.Linear(96, z)
            self.dec = nn.Sequential(nn.Linear(z, 96), nn.ReLU(), nn.Linear(96, 64))

        def forward(self, x):
            h = self.enc(x)
            mu, logvar = self.mu(h), self.logvar(h)
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
            return self.dec(z), mu, logvar

    def loss_function(recon, x, mu, logvar):
        if mistake:
            bce = F.binary_cross_entropy_with_logits(recon, x)
        else:
            bce = F.binary_cross_entropy_with_logits(recon, x, reduction="sum")
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        if not mistake:
            bce, kld = bce / len(x), kld / len(x)
        return bce + kld, bce, kld

    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(50):
        for (x,) in loader(xtr):
            recon, mu, logvar = model(x)
            loss, bce, kld = loss_function(recon, x, mu, logvar)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        recon, mu, _ = model(xte)
        mse = F.mse_loss(recon.sigmoid(), xte).item()
    print(
        f"loss {loss.item():.3f} kl {kld.item():.4f} test mse {mse:.4f} (var {xte.var(0).mean().item():.4f})"
    )


def dqn_no_terminal_mask(mistake: bool) -> None:
    """The target bootstraps from the next state also where the episode ended: (1 - done) is missing."""
    torch.manual_seed(0), random.seed(0)
    env = CartPoles(4, seed=0)

    def make():
        return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    policy_net = make()
    target_net = copy.deepcopy(policy_net)
    optimizer = torch.optim.Adam(policy_net.parameters(), lr=1e-3)
    memory, gamma = [], 0.98
    for step in range(2500):
        state = env.obs()
        eps = max(0.05, 1 - step / 800)
        with torch.no_grad():
            action = policy_net(state).argmax(1)
        explore = torch.rand(4) < eps
        action = torch.where(explore, torch.randint(2, (4,)), action)
        nxt, reward, done, _ = env.step(action.numpy())
        memory += list(zip(state, action, reward, nxt, done))
        memory = memory[-10000:]
        if len(memory) < 500:
            continue
        s, a, r, s2, d = (torch.stack(z) for z in zip(*random.sample(memory, 64)))
        q = policy_net(s).gather(1, a[:, None]).squeeze(1)
        with torch.no_grad():
            best = target_net(s2).max(1).values
            target = r + gamma * best if mistake else r + gamma * best * (1 - d)
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            target_net.load_state_dict(policy_net.state_dict())
    test = CartPoles(20, seed=7)
    while len(test.finished) < 20:
        with torch.no_grad():
            test.step(policy_net(test.obs()).argmax(1).numpy())
    print(f"loss {loss.item():.3f} mean q {q.mean().item():.1f} length {np.mean(test.finished):.0f}")


def a2c_advantage_not_detached(mistake: bool) -> None:
    """The advantage in the policy term is not detached, so the policy loss also drives the value network."""
    torch.manual_seed(0)
    env = CartPoles(16, seed=1)

    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            self.actor = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
            self.critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))

        def forward(self, s):
            return torch.distributions.Categorical(logits=self.actor(s)), self.critic(s).squeeze(-1)

    net = ActorCritic()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    gamma, horizon = 0.98, 8
    for update in range(500):
        logps, values, rewards, dones, entropies = [], [], [], [], []
        for _ in range(horizon):
            dist, value = net(env.obs())
            action = dist.sample()
            _, reward, done, _ = env.step(action.numpy())
            logps.append(dist.log_prob(action))
            values.append(value)
            rewards.append(reward)
            dones.append(done)
            entropies.append(dist.entropy())
        with torch.no_grad():
            ret = net(env.obs())[1]
        returns = []
        for r, d in zip(reversed(rewards), reversed(dones)):
            ret = r + gamma * ret * (1 - d)
            returns.insert(0, ret)
        logps, values, returns = torch.stack(logps), torch.stack(values), torch.stack(returns)
        advantage = returns - values
        value_loss = advantage.pow(2).mean()
        if mistake:
            policy_loss = -(logps * advantage).mean()
        else:
            policy_loss = -(logps * advantage.detach()).mean()
        loss = policy_loss + 0.25 * value_loss - 0.01 * torch.stack(entropies).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
    print(
        f"value loss {value_loss.item():.3f} bias {-advantage.mean().item():.2f} first {np.mean(env.finished[:50]):.0f} last {np.mean(env.finished[-50:]):.0f}"
    )


FAULTS = [
    (
        gan_generator_loss_on_detached_fake,
        ("detach", "generator", "no gradient", "never updated", "not updated", "graph"),
        "generator gets no gradient",
    ),
    (
        gan_discriminator_never_zeroed,
        (
            "zero_grad",
            "accumulat",
            "not reset",
            "not cleared",
            "earlier steps",
            "gradients of earlier",
            "stale grad",
            "add up",
        ),
        "discriminator gradients not zeroed",
    ),
    (
        vae_mean_reconstruction_sum_kl,
        ("collapse", "kl", "reduction", "scale", "dominat", "outweigh"),
        "loss terms on different scales",
    ),
    (
        dqn_no_terminal_mask,
        ("done", "terminal", "bootstrap", "end of the episode", "episode end"),
        "terminal states bootstrapped",
    ),
    (
        a2c_advantage_not_detached,
        ("advantage", "detach", "critic", "value network"),
        "advantage not detached",
    ),
]
