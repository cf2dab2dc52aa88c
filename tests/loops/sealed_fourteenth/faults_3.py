import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import CartPole, digits


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.Tanh())
        self.pi, self.v = nn.Linear(64, 2), nn.Linear(64, 1)

    def forward(self, s):
        h = self.body(s)
        return self.pi(h), self.v(h).squeeze(-1)


def grad_norm_and_reset(model):
    norm = torch.sqrt(sum(p.grad.pow(2).sum() for p in model.parameters())).item()
    model.zero_grad()
    return norm


def a2c_with_norm_logging(mistake: bool) -> None:
    """The helper that logs the gradient norm also clears the gradients, and it is called between backward and step."""
    torch.manual_seed(0)
    env = CartPole(16)
    net = ActorCritic()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    gamma, finished, age = 0.98, [], torch.zeros(16)
    s = env.reset()
    for update in range(300):
        logps, values, rewards, falls, ents = [], [], [], [], []
        for _ in range(16):
            logits, v = net(s)
            dist = torch.distributions.Categorical(logits=logits)
            a = dist.sample()
            nxt, r, fell, over = env.step(a.numpy())
            age += 1
            finished += age[over].tolist()
            age[over] = 0
            logps.append(dist.log_prob(a))
            values.append(v)
            rewards.append(r)
            falls.append(over.float())
            ents.append(dist.entropy())
            s = env.obs()
        with torch.no_grad():
            R = net(s)[1]
            returns = []
            for r, f in zip(reversed(rewards), reversed(falls)):
                R = r + gamma * R * (1 - f)
                returns.append(R)
        returns = torch.stack(returns[::-1]) / 20
        V, logp = torch.stack(values), torch.stack(logps)
        adv = returns - V.detach()
        loss = -(logp * adv).mean() + 0.5 * F.mse_loss(V, returns) - 0.01 * torch.stack(ents).mean()
        loss.backward()
        if mistake:
            norm = grad_norm_and_reset(net)
            opt.step()
        else:
            opt.step()
            norm = grad_norm_and_reset(net)
        if update % 60 == 59:
            print(
                f"update {update} loss {loss.item():.3f} grad {norm:.3f} episode length {np.mean(finished[-50:]):.1f}"
            )


class VAE(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 2 * latent))
        self.dec = nn.Sequential(nn.Linear(latent, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x):
        mu, logvar = self.enc(x).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


def digits_vae(mistake: bool) -> None:
    """The sum with the KL term is logged as the loss, but backward is called on the reconstruction alone."""
    torch.manual_seed(1)
    x, _, xt, _ = digits()
    x, xt = x.flatten(1), xt.flatten(1)
    loader = DataLoader(TensorDataset(x), batch_size=32, shuffle=True)
    model = VAE()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(25):
        tot = klsum = 0.0
        for (xb,) in loader:
            out, mu, logvar = model(xb)
            loss = F.binary_cross_entropy_with_logits(out, xb, reduction="sum") / len(xb)
            kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()
            total_loss = loss + kl
            opt.zero_grad()
            if mistake:
                loss.backward()
            else:
                total_loss.backward()
            opt.step()
            tot += total_loss.item()
            klsum += kl.item()
        if epoch % 6 == 0:
            print(f"epoch {epoch} loss {tot / len(loader):.3f} kl {klsum / len(loader):.3f}")
    with torch.no_grad():
        out, mu, logvar = model(xt)
        sample = torch.sigmoid(model.dec(torch.randn(500, 8)))
        print(
            "distance of samples to the nearest image",
            torch.cdist(sample, x).min(1).values.mean().item(),
        )


class DQN:
    def __init__(self, lr=2e-3, decay=0.9985, rebuild=False):
        self.q = nn.Sequential(
            nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )
        self.target = copy.deepcopy(self.q).requires_grad_(False)
        self.lr, self.decay, self.rebuild, self.t = lr, decay, rebuild, 0
        self.opt = torch.optim.Adam(self.q.parameters(), lr=lr)
        self.buffer, self.size = [], 10000

    def act(self, s, eps):
        with torch.no_grad():
            a = self.q(s).argmax(1)
        rand = torch.rand(len(s)) < eps
        return torch.where(rand, torch.randint(2, (len(s),)), a)

    def push(self, s, a, r, s2, fell):
        self.buffer.extend(zip(s, a, r, s2, fell))
        self.buffer = self.buffer[-self.size :]

    def learn(self, batch=64):
        self.t += 1
        lr = self.lr * self.decay**self.t
        if self.rebuild:
            self.opt = torch.optim.Adam(self.q.parameters(), lr=lr)
        else:
            for group in self.opt.param_groups:
                group["lr"] = lr
        idx = np.random.randint(len(self.buffer), size=batch)
        s, a, r, s2, fell = (torch.stack(c) for c in zip(*[self.buffer[k] for k in idx]))
        with torch.no_grad():
            y = r + 0.98 * (1 - fell) * self.target(s2).max(1).values
        q = self.q(s).gather(1, a[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(q, y)
        self.opt.zero_grad()
        loss.backward()
        self.opt.step()
        if self.t % 50 == 0:
            self.target.load_state_dict(self.q.state_dict())
        return loss.item()


def dqn_with_decaying_rate(mistake: bool) -> None:
    """The learning rate is lowered by making a new Adam at each learning step, so Adam's moments never build up."""
    torch.manual_seed(2)
    np.random.seed(2)
    env = CartPole(8, seed=2)
    agent = DQN(rebuild=mistake)
    s, age, finished = env.reset(), torch.zeros(8), []
    for step in range(1500):
        eps = max(0.05, 1 - step / 600)
        a = agent.act(s, eps)
        s2, r, fell, over = env.step(a.numpy())
        agent.push(s, a, r, s2, fell)
        age += 1
        finished += age[over].tolist()
        age[over] = 0
        s = env.obs()
        if step >= 50:
            loss = agent.learn()
        if step % 300 == 299:
            print(f"step {step} td {loss:.4f} episode length {np.mean(finished[-30:]):.1f}")


class EMA:
    def __init__(self, model, decay=0.98):
        self.decay, self.source = decay, model
        self.shadow = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def update(self):
        for s, p in zip(self.shadow.parameters(), self.source.parameters()):
            s.mul_(self.decay).add_(p, alpha=1 - self.decay)


def denoiser():
    return nn.Sequential(
        nn.Linear(65, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 64)
    )


def ema_of_denoiser(mistake: bool) -> None:
    """The EMA was made for the model of the dry run; the model is then built anew, and the EMA goes on to average the old one."""
    torch.manual_seed(3)
    x, _, xt, _ = digits()
    x, xt = 2 * x.flatten(1) - 1, 2 * xt.flatten(1) - 1
    loader = DataLoader(TensorDataset(x), batch_size=32, shuffle=True)

    def diffusion_loss(net, xb, t=None):
        t = torch.rand(len(xb), 1) if t is None else t
        eps = torch.randn_like(xb)
        noisy = torch.cos(t * 1.57) * xb + torch.sin(t * 1.57) * eps
        return F.mse_loss(net(torch.cat([noisy, t], 1)), eps)

    model = denoiser()
    ema = EMA(model)
    diffusion_loss(model, x[:4])
    print("parameters:", sum(p.numel() for p in model.parameters()))

    torch.manual_seed(30)
    model = denoiser()
    if not mistake:
        ema = EMA(model)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(25):
        total = 0.0
        for (xb,) in loader:
            loss = diffusion_loss(model, xb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update()
            total += loss.item()
        if epoch % 6 == 0:
            with torch.no_grad():
                t = torch.linspace(0, 1, len(xt))[:, None]
                val = diffusion_loss(ema.shadow, xt, t).item()
            print(f"epoch {epoch} train {total / len(loader):.4f} ema val {val:.4f}")


def reinforce_with_cross_entropy(mistake: bool) -> None:
    """cross_entropy is already minus the log-probability, and a further minus makes the policy avoid what paid off."""
    torch.manual_seed(4)
    env = CartPole(16, seed=4)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    opt = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for it in range(80):
        s = env.reset()
        alive = torch.ones(16)
        S, A, M = [], [], []
        for t in range(100):
            with torch.no_grad():
                a = torch.distributions.Categorical(logits=policy(s)).sample()
            S.append(s)
            A.append(a)
            M.append(alive)
            _, _, fell, _ = env.step(a.numpy())
            alive = alive * (1 - fell)
            s = env.obs()
            if alive.sum() == 0:
                break
        mask = torch.stack(M)
        G, run = [], torch.zeros(16)
        for m in reversed(M):
            run = m + 0.97 * run
            G.append(run)
        G = torch.stack(G[::-1])
        w = mask.sum()
        mean = (G * mask).sum() / w
        std = (((G - mean) ** 2 * mask).sum() / w).sqrt()
        adv = (G - mean) / (std + 1e-6) * mask
        logits = policy(torch.stack(S))
        ce = F.cross_entropy(logits.flatten(0, 1), torch.stack(A).flatten(), reduction="none").view_as(
            mask
        )
        if mistake:
            loss = -(ce * adv).sum() / w
        else:
            loss = (ce * adv).sum() / w
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % 16 == 15:
            print(f"it {it} loss {loss.item():.4f} mean return {mask.sum(0).mean().item():.1f}")


FAULTS = [
    (
        a2c_with_norm_logging,
        (
            "zero_grad",
            "cleared",
            "zeroed",
            "before the step",
            "before step",
            "between backward",
            "gradients are empty",
            "no gradients",
        ),
        "02 zero_grad between backward and step",
    ),
    (
        digits_vae,
        (
            "wrong loss",
            " kl",
            "kl term",
            "other loss",
            "another loss",
            "part of the loss",
            "different loss",
            "not the loss",
        ),
        "06 backward on the wrong loss",
    ),
    (
        dqn_with_decaying_rate,
        (
            "re-created",
            "recreat",
            "new optimizer",
            "optimizer is made",
            "optimizer state",
            "moment",
            "fresh optimizer",
            "new adam",
        ),
        "08 optimizer re-created each step",
    ),
    (
        ema_of_denoiser,
        (" ema", "ema ", "moving average", "averaged model", "shadow", "old model"),
        "25 EMA of the wrong model",
    ),
    (
        reinforce_with_cross_entropy,
        ("sign", "minus", "negat", "wrong direction", "ascent"),
        "29 RL loss with the wrong sign",
    ),
]
