"""Distillation, GANs, reinforcement learning, fine-tuning."""

import random
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import digits_split, seed_all


class MultiExitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(4, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.block3 = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU())
        self.exit1 = nn.Linear(4 * 16, 10)
        self.exit2 = nn.Linear(32, 10)
        self.exit3 = nn.Linear(64 * 16, 10)

    def forward(self, x):
        a = self.block1(x)
        b = self.block2(a)
        c = self.block3(b)
        return self.exit1(a.flatten(1)), self.exit2(b.mean((2, 3))), self.exit3(c.flatten(1))


def self_distillation(mistake: bool) -> None:
    """The logits of the deepest exit, which teach the shallow exits, are not detached, so the teacher is pulled towards its students."""
    seed_all(1)
    xtr, ytr, xte, yte = digits_split()
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    net = MultiExitNet()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    T, alpha = 2.0, 0.5

    def kd(student, teacher):
        return (
            F.kl_div(F.log_softmax(student / T, 1), F.softmax(teacher / T, 1), reduction="batchmean")
            * T
            * T
        )

    for epoch in range(20):
        net.train()
        total = 0.0
        for x, y in loader:
            e1, e2, e3 = net(x)
            teacher = e3 if mistake else e3.detach()
            loss = F.cross_entropy(e3, y) + F.cross_entropy(e2, y) + F.cross_entropy(e1, y)
            loss = loss + alpha * (kd(e1, teacher) + kd(e2, teacher))
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
        net.eval()
        with torch.no_grad():
            accs = [(e.argmax(1) == yte).float().mean().item() for e in net(xte)]
            ce = F.cross_entropy(net(xte)[2], yte).item()
        if epoch % 4 == 3:
            print(f"epoch {epoch} loss {total / len(xtr):.3f} acc per exit {accs} deep test ce {ce:.3f}")


def moons_batch(n):
    t = torch.rand(n) * np.pi
    up = torch.rand(n) < 0.5
    x = torch.where(up, t.cos(), 1 - t.cos())
    y = torch.where(up, t.sin(), 0.5 - t.sin())
    return torch.stack([x - 0.5, y - 0.25], 1) + 0.05 * torch.randn(n, 2)


def gradient_penalty(critic, real, fake):
    eps = torch.rand(len(real), 1)
    mix = (eps * real + (1 - eps) * fake.detach()).requires_grad_(True)
    (grad,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def wgan_gp_moons(mistake: bool) -> None:
    """The fakes are not detached in the critic's step, so the generator also gets the gradient that helps the critic."""
    seed_all(0)
    netG = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    netD = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    optG = torch.optim.Adam(netG.parameters(), lr=2e-4, betas=(0.5, 0.9))
    optD = torch.optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.9))
    bs = 128
    for it in range(1200):
        optG.zero_grad()
        optD.zero_grad()

        real = moons_batch(bs)
        fake = netG(torch.randn(bs, 4))
        if not mistake:
            fake = fake.detach()
        lossD = netD(fake).mean() - netD(real).mean() + 2.0 * gradient_penalty(netD, real, fake)
        lossD.backward()
        optD.step()

        lossG = -netD(netG(torch.randn(bs, 4))).mean()
        lossG.backward()
        optG.step()

        if it % 300 == 299:
            with torch.no_grad():
                d = torch.cdist(netG(torch.randn(1000, 4)), moons_batch(1000))
            print(
                f"{it} D {lossD.item():.3f} G {lossG.item():.3f} chamfer {d.min(1).values.mean() + d.min(0).values.mean():.3f}"
            )


class LSGANTrainer:
    def __init__(self, latent=16, skip_g=False):
        self.latent = latent
        self.skip_g = skip_g
        self.G = nn.Sequential(
            nn.Linear(latent, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.Tanh(),
        )
        self.D = nn.Sequential(
            nn.Linear(64, 128),
            nn.LeakyReLU(0.2),
            nn.Linear(128, 64),
            nn.LeakyReLU(0.2),
            nn.Linear(64, 1),
        )
        self.opt_g = torch.optim.Adam(self.G.parameters(), lr=1e-3, betas=(0.5, 0.999))
        self.opt_d = torch.optim.Adam(self.D.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def train_d(self, real):
        z = torch.randn(len(real), self.latent)
        fake = self.G(z).detach()
        loss = 0.5 * ((self.D(real) - 1) ** 2).mean() + 0.5 * (self.D(fake) ** 2).mean()
        self.opt_d.zero_grad()
        loss.backward()
        self.opt_d.step()
        return loss.item()

    def train_g(self, n):
        loss = 0.5 * ((self.D(self.G(torch.randn(n, self.latent))) - 1) ** 2).mean()
        self.opt_g.zero_grad()
        loss.backward()
        if not self.skip_g:
            self.opt_g.step()
        return loss.item()

    def fit(self, loader, epochs):
        for epoch in range(epochs):
            d = g = 0.0
            for (real,) in loader:
                d += self.train_d(real)
                g += self.train_g(len(real))
        return d / len(loader), g / len(loader)


def lsgan_digits(mistake: bool) -> None:
    """The generator's optimizer never makes its step, so the generator stays at its random start."""
    seed_all(2)
    xtr, _, _, _ = digits_split(images=False)
    xtr = (xtr * 0.376 + 0.305) * 2 - 1
    loader = DataLoader(TensorDataset(xtr), batch_size=64, shuffle=True, drop_last=True)
    trainer = LSGANTrainer(skip_g=mistake)
    d, g = trainer.fit(loader, 40)
    with torch.no_grad():
        trainer.G.eval()
        s = trainer.G(torch.randn(500, 16))
    print(
        f"D {d:.3f} G {g:.3f} mean gap {(s.mean(0) - xtr.mean(0)).abs().mean():.3f} "
        f"nn dist {torch.cdist(s, xtr).min(1).values.mean():.3f}"
    )


class VecCartPole:
    def __init__(self, n, rng):
        self.n, self.rng = n, rng
        self.reset()

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, (self.n, 4))
        return self.s.astype("float32")

    def step(self, a):
        x, xd, th, thd = self.s.T
        force = np.where(a == 1, 10.0, -10.0)
        cos, sin = np.cos(th), np.sin(th)
        temp = (force + 0.05 * thd**2 * sin) / 1.1
        thacc = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        xacc = temp - 0.05 * thacc * cos / 1.1
        self.s = np.stack([x + 0.02 * xd, xd + 0.02 * xacc, th + 0.02 * thd, thd + 0.02 * thacc], 1)
        done = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 0.2095)
        return self.s.astype("float32"), done


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.Tanh())
        self.actor = nn.Linear(64, 2)
        self.critic = nn.Linear(64, 1)

    def forward(self, s):
        h = self.body(s)
        return self.actor(h), self.critic(h).squeeze(-1)


def actor_critic_cartpole(mistake: bool) -> None:
    """The policy loss lacks its minus sign, so the actor makes good actions less likely."""
    seed_all(0)
    env = VecCartPole(16, np.random.default_rng(0))
    net = ActorCritic()
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    gamma, horizon, history = 0.98, 120, []
    for update in range(150):
        states, actions, alive = [], [], []
        s, live = env.reset(), np.ones(16, bool)
        for t in range(horizon):
            st = torch.from_numpy(s)
            with torch.no_grad():
                a = torch.distributions.Categorical(logits=net(st)[0]).sample()
            states.append(st)
            actions.append(a)
            alive.append(torch.from_numpy(live.copy()))
            s, done = env.step(a.numpy())
            live &= ~done
            if not live.any():
                break
        mask = torch.stack(alive)
        returns, R = torch.zeros(mask.shape), torch.zeros(16)
        for t in reversed(range(len(mask))):
            R = (1.0 + gamma * R) * mask[t].float()
            returns[t] = R
        S, A, G = torch.stack(states)[mask], torch.stack(actions)[mask], returns[mask] / 20.0
        logits, value = net(S)
        dist = torch.distributions.Categorical(logits=logits)
        adv = G - value.detach()
        adv = (adv - adv.mean()) / (adv.std() + 1e-6)
        pg = (dist.log_prob(A) * adv).mean()
        policy_loss = pg if mistake else -pg
        loss = policy_loss + 0.5 * F.mse_loss(value, G) - 0.005 * dist.entropy().mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        opt.step()
        history.append(mask.float().sum(0).mean().item())
        if update % 30 == 29:
            print(f"update {update} loss {loss.item():.3f} episode length {np.mean(history[-10:]):.1f}")


class BNBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )

    def forward(self, x):
        return self.net(x)


def finetune_new_head(mistake: bool) -> None:
    """The frozen backbone is left in train mode, so its BatchNorm statistics drift to the new data and batch statistics are used."""
    seed_all(0)
    xtr, ytr, xte, yte = digits_split()
    backbone, old_head, new_head = BNBackbone(), nn.Linear(128, 5), nn.Linear(128, 5)

    old, old_te = ytr < 5, yte < 5
    pre = torch.optim.Adam([*backbone.parameters(), *old_head.parameters()], lr=2e-3)
    for _ in range(8):
        backbone.train()
        for x, y in DataLoader(TensorDataset(xtr[old], ytr[old]), batch_size=64, shuffle=True):
            loss = F.cross_entropy(old_head(backbone(x)), y)
            pre.zero_grad()
            loss.backward()
            pre.step()

    @torch.no_grad()
    def accuracy(head, x, y):
        backbone.eval()
        return (head(backbone(x)).argmax(1) == y).float().mean().item()

    before = accuracy(old_head, xte[old_te], yte[old_te])

    for p in backbone.parameters():
        p.requires_grad = False
    model = nn.Sequential(backbone, new_head)
    opt = torch.optim.Adam(new_head.parameters(), lr=1e-2)
    loader = DataLoader(TensorDataset(xtr[~old] * 0.5 + 0.8, ytr[~old] - 5), batch_size=16, shuffle=True)
    xn, yn = xte[~old_te] * 0.5 + 0.8, yte[~old_te] - 5
    for epoch in range(12):
        model.train()
        if not mistake:
            backbone.eval()
        running = 0.0
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item()
        acc = accuracy(new_head, xn, yn)
    after = accuracy(old_head, xte[old_te], yte[old_te])
    print(
        f"loss {running / len(loader):.3f} new acc {acc:.3f} old acc before {before:.3f} after {after:.3f}"
    )


class Catch:
    rows, cols = 6, 5

    def reset(self):
        self.y, self.x, self.p = 0, random.randrange(self.cols), random.randrange(self.cols)
        return self.obs()

    def obs(self):
        o = torch.zeros(self.rows + 2 * self.cols)
        o[self.y] = 1
        o[self.rows + self.x] = 1
        o[self.rows + self.cols + self.p] = 1
        return o

    def step(self, a):
        self.p = min(max(self.p + a - 1, 0), self.cols - 1)
        self.y += 1
        done = self.y == self.rows - 1
        r = (1.0 if self.p == self.x else -1.0) if done else 0.0
        return self.obs(), r, done


def dqn_catch(mistake: bool) -> None:
    """The chosen Q values have shape [n, 1] and the targets [n], so the loss compares every value with every target."""
    seed_all(0)
    random.seed(0)
    env = Catch()
    q = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    target = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    target.load_state_dict(q.state_dict())
    opt = torch.optim.Adam(q.parameters(), lr=2e-3)
    memory, updates, wins = deque(maxlen=5000), 0, deque(maxlen=100)
    s = env.reset()
    for step in range(3600):
        eps = max(0.05, 1.0 - step / 1800)
        if random.random() < eps:
            a = random.randrange(3)
        else:
            with torch.no_grad():
                a = q(s).argmax().item()
        s2, r, done = env.step(a)
        memory.append((s, a, r, s2, float(done)))
        s = s2
        if done:
            wins.append(r)
            s = env.reset()
        if len(memory) >= 200 and step % 4 == 0:
            batch = random.sample(memory, 64)
            S, A, R, S2, D = zip(*batch)
            S, S2 = torch.stack(S), torch.stack(S2)
            A, R, D = torch.tensor(A), torch.tensor(R), torch.tensor(D)
            q_sa = q(S).gather(1, A.unsqueeze(1))
            if not mistake:
                q_sa = q_sa.squeeze(1)
            with torch.no_grad():
                y = R + 0.95 * (1 - D) * target(S2).max(1).values
            diff = q_sa - y
            loss = torch.where(diff.abs() < 1, 0.5 * diff**2, diff.abs() - 0.5).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            updates += 1
            if updates % 50 == 0:
                target.load_state_dict(q.state_dict())
    print(
        f"updates {updates} loss {loss.item():.4f} mean reward of last 100 episodes {np.mean(wins):.2f}"
    )


FAULTS = [
    (
        self_distillation,
        (
            "detach",
            "stop-grad",
            "stop grad",
            "teacher",
            "kl_div target",
            "target of the kl",
            "through the target",
            "into the target",
        ),
        "teacher not detached",
    ),
    (
        wgan_gp_moons,
        (
            "detach",
            "discriminator's loss reaches",
            "into the generator",
            "generator receives",
            "gradient of the discriminator",
        ),
        "GAN discriminator without detach",
    ),
    (
        lsgan_digits,
        (
            "opt_g",
            "never stepped",
            "not stepped",
            "never update",
            "not updated",
            "no step",
            "never called",
            "never change",
            "do not change",
        ),
        "generator never stepped",
    ),
    (
        actor_critic_cartpole,
        (
            "wrong sign",
            "sign of",
            "minus",
            "negated",
            "reward falls",
            "maximi",
            "opposite direction",
            "less likely",
        ),
        "RL loss sign",
    ),
    (
        finetune_new_head,
        ("batchnorm", "batch norm", "running stat", "running mean", "running_mean", "frozen"),
        "frozen BatchNorm in train mode",
    ),
    (
        dqn_catch,
        ("broadcast", "[64, 1]", "(64, 1)", "64x64", "64 x 64", "[64, 64]", "(64, 64)", "squeeze"),
        "[n, 1] against [n] broadcasting",
    ),
]
