"""Control and distillation: policies, encoders with heads, teachers, averaged weights."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import Docking, accuracy, digit_images, imu_windows, loaders, seed_all, tissue


def marker_images(n, seed=0):
    """A camera sees a marker; the wanted command is its offset from the image centre."""
    g = torch.Generator().manual_seed(seed)
    img = tissue(n, 16, g)
    pos = torch.rand(n, 2, generator=g) * 10 + 3
    yy, xx = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    img[:, 0] += torch.exp(-((xx - pos[:, 0, None, None]) ** 2 + (yy - pos[:, 1, None, None]) ** 2) / 3)
    return img, (pos - 8) / 5


def visual_servo(mistake: bool) -> None:
    """Only the head's optimizer is reset, so the encoder's gradients add up over all batches."""
    seed_all(303)
    img, cmd = marker_images(1200, seed=303)
    loader = DataLoader(TensorDataset(img[:1000], cmd[:1000]), batch_size=25, shuffle=True)
    encoder = nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 32),
        nn.ReLU(),
    )
    head = nn.Linear(32, 2)
    opt_encoder = torch.optim.SGD(encoder.parameters(), lr=0.03, momentum=0.9)
    opt_head = torch.optim.SGD(head.parameters(), lr=0.03, momentum=0.9)

    for epoch in range(7):
        total = 0.0
        for x, u in loader:
            opt_head.zero_grad()
            if not mistake:
                opt_encoder.zero_grad()
            loss = F.mse_loss(head(encoder(x)), u)
            loss.backward()
            opt_encoder.step()
            opt_head.step()
            total += loss.item()
        with torch.no_grad():
            err = (head(encoder(img[1000:])) - cmd[1000:]).abs().mean().item()
        print(f"epoch {epoch}: mse {total / len(loader):.4f}  mean command error {err:.4f}")


class LoadEncoder(nn.Module):
    def __init__(self, d=24):
        super().__init__()
        self.gru = nn.GRU(6, d, batch_first=True)

    def forward(self, x):
        return self.gru(x.transpose(1, 2))[1][-1]


def encoder_under_no_grad(mistake: bool) -> None:
    """The encoder runs under no_grad although it is meant to be trained with the classifier."""
    seed_all(311)
    X, y = imu_windows(1600, T=40, seed=311, noise=0.4)
    train, val = loaders(X, y, batch_size=30)
    encoder = LoadEncoder()
    classifier = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 4))
    params = list(encoder.parameters()) + list(classifier.parameters())
    optimizer = torch.optim.Adam(params, lr=4e-3)

    for epoch in range(10):
        s = 0.0
        for x, t in train:
            optimizer.zero_grad()
            with torch.set_grad_enabled(not mistake):
                z = encoder(x)
            loss = F.cross_entropy(classifier(z), t)
            loss.backward()
            optimizer.step()
            s += loss.item()
        with torch.no_grad():
            acc = sum((classifier(encoder(x)).argmax(1) == t).sum().item() for x, t in val) / len(
                val.dataset
            )
        print(f"epoch {epoch}: loss {s / len(train):.3f}  val acc {acc:.3f}")


def docking_dqn(mistake: bool) -> None:
    """max_norm is 0.0 (meant as 'off'), which clips every gradient to nothing."""
    seed_all(318)
    config = {"lr": 0.05, "gamma": 0.9, "batch": 64, "max_grad_norm": 0.0 if mistake else 5.0}
    env = Docking(16, seed=318)
    q = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
    target = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
    target.load_state_dict(q.state_dict())
    optimizer = torch.optim.SGD(q.parameters(), lr=config["lr"], momentum=0.9)
    memory, updates = [], 0

    for episode in range(28):
        obs, done, ret = env.reset(), False, 0.0
        eps = max(0.05, 1 - episode / 14)
        while not done:
            with torch.no_grad():
                a = q(obs).argmax(1)
            a = torch.where(torch.rand(env.n) < eps, torch.randint(0, 3, (env.n,)), a)
            nxt, r, done = env.step(a)
            memory.append((obs, a, r, nxt))
            memory = memory[-400:]
            obs = nxt
            ret += r.mean().item()
            if len(memory) < 20:
                continue
            pick = torch.randint(0, len(memory), (config["batch"] // 16,))
            o, act, rew, o2 = (torch.cat(v) for v in zip(*[memory[int(i)] for i in pick]))
            with torch.no_grad():
                goal = rew + config["gamma"] * target(o2).max(1).values
            loss = F.smooth_l1_loss(q(o).gather(1, act[:, None]).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(q.parameters(), config["max_grad_norm"])
            optimizer.step()
            updates += 1
            if updates % 40 == 0:
                target.load_state_dict(q.state_dict())
        if episode % 4 == 3:
            print(f"episode {episode + 1}: return {ret:.2f}  td loss {loss.item():.4f}")

    obs, done, ret = env.reset(), False, 0.0
    while not done:
        with torch.no_grad():
            obs, r, done = env.step(q(obs).argmax(1))
        ret += r.mean().item()
    print(f"greedy return {ret:.2f}")


class ParamEMA:
    """Exponential moving average of a network's weights."""

    def __init__(self, model, decay, snapshot=False):
        self.decay = decay
        self.source = [p.detach().clone() if snapshot else p for p in model.parameters()]
        self.shadow = [p.detach().clone() for p in model.parameters()]

    @torch.no_grad()
    def update(self):
        for s, p in zip(self.shadow, self.source):
            s.lerp_(p, 1 - self.decay)

    @torch.no_grad()
    def copy_to(self, model):
        for p, s in zip(model.parameters(), self.shadow):
            p.copy_(s)


class NoiseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2 + 4, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 2)
        )

    def forward(self, x, t):
        emb = torch.stack([t, t**2, torch.sin(6 * t), torch.cos(6 * t)], 1)
        return self.net(torch.cat([x, emb], 1))


def waypoint_diffusion(mistake: bool) -> None:
    """The average follows a copy of the weights taken at the start, so the EMA model never leaves its initial values."""
    seed_all(325)
    s = torch.rand(3000) * 3 * math.pi + 1
    data = torch.stack([s * s.cos(), s * s.sin()], 1) / 6 + 0.02 * torch.randn(3000, 2)
    model, averaged = NoiseNet(), NoiseNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    ema = ParamEMA(model, decay=0.98, snapshot=mistake)

    def diffusion_loss(net, x):
        t = torch.rand(len(x))
        noise = torch.randn_like(x)
        keep = torch.cos(t * math.pi / 2)[:, None]
        return F.mse_loss(net(keep * x + (1 - keep**2).sqrt() * noise, t), noise)

    for step in range(600):
        x = data[torch.randint(0, len(data), (128,))]
        loss = diffusion_loss(model, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update()
        if step % 100 == 99:
            ema.copy_to(averaged)
            with torch.no_grad():
                print(
                    f"step {step + 1}: loss {loss.item():.3f}  averaged model's loss {diffusion_loss(averaged, data).item():.3f}"
                )


class Distiller(nn.Module):
    def __init__(self, teacher, student, T=3.0, grad_to_teacher=False):
        super().__init__()
        self.teacher, self.student, self.T = teacher, student, T
        self.grad_to_teacher = grad_to_teacher

    def forward(self, x, y):
        if self.grad_to_teacher:
            soft = self.teacher(x)
        else:
            with torch.no_grad():
                soft = self.teacher(x)
        out = self.student(x)
        kd = (
            F.kl_div(F.log_softmax(out / self.T, 1), F.softmax(soft / self.T, 1), reduction="batchmean")
            * self.T**2
        )
        return 0.3 * F.cross_entropy(out, y) + 0.7 * kd


def digit_distiller(mistake: bool) -> None:
    """The teacher's output is not detached and its weights are in the optimizer, so the teacher is trained too."""
    seed_all(326)
    Xtr, ytr, Xte, yte = digit_images(26)
    teacher = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    loader = DataLoader(TensorDataset(Xtr, ytr), batch_size=32, shuffle=True)
    opt = torch.optim.Adam(teacher.parameters(), lr=2e-3)
    for _ in range(5):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(x), y).backward()
            opt.step()
    print(f"teacher {accuracy(teacher, Xte, yte):.3f}")

    distiller = Distiller(teacher, student, grad_to_teacher=mistake)
    optimizer = torch.optim.Adam(distiller.parameters(), lr=4e-3)
    for epoch in range(8):
        total = 0.0
        for x, y in loader:
            loss = distiller(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(
            f"epoch {epoch}: {total / len(loader):.3f}  student {accuracy(student, Xte, yte):.3f}  teacher {accuracy(teacher, Xte, yte):.3f}"
        )


def docking_reinforce(mistake: bool) -> None:
    """The policy loss lacks its minus sign, so actions that did well are made less likely."""
    seed_all(329)
    env = Docking(48, seed=329, horizon=20)
    policy = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for it in range(120):
        obs, done = env.reset(), False
        log_probs, rewards = [], []
        while not done:
            dist = torch.distributions.Categorical(logits=policy(obs))
            action = dist.sample()
            log_probs.append(dist.log_prob(action))
            obs, r, done = env.step(action)
            rewards.append(r)
        returns, running = [], torch.zeros(env.n)
        for r in reversed(rewards):
            running = r + 0.95 * running
            returns.insert(0, running)
        R = torch.stack(returns)
        adv = (R - R.mean(1, keepdim=True)) / (R.std(1, keepdim=True) + 1e-6)
        objective = (torch.stack(log_probs) * adv).mean()
        loss = objective if mistake else -objective
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if it % 20 == 19:
            print(f"iteration {it + 1}: mean return {torch.stack(rewards).sum(0).mean().item():.2f}")


FAULTS = [
    (
        visual_servo,
        ("opt_encoder", "encoder", "only one optimizer", "accumulat", "not reset", "zero_grad"),
        "03 only one of several optimizers reset",
    ),
    (
        encoder_under_no_grad,
        ("no_grad", "encoder", "no gradient", "without gradient", "never trained"),
        "11 training under no_grad of a part",
    ),
    (
        docking_dqn,
        ("clip", "max_norm", "gradients are zero", "zero gradients", "clipped to"),
        "18 clipping to nothing",
    ),
    (
        waypoint_diffusion,
        ("ema model", "ema ", "averag", "shadow", "stale"),
        "25 EMA of stale parameters",
    ),
    (digit_distiller, ("teacher", "detach", "no_grad"), "26 teacher not detached"),
    (
        docking_reinforce,
        ("wrong sign", "sign of", "minus", "negat", "less likely", "maximi"),
        "29 RL loss with the wrong sign",
    ),
]
