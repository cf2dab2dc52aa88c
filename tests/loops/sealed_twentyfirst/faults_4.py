import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

from .common import opinion_sentences, seed_all

# ---------------------------------------------------------------- averaged weights near a reference


class Ema:
    def __init__(self, model, decay=0.97):
        self.shadow = copy.deepcopy(model).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, source):
        for s, p in zip(self.shadow.parameters(), source.parameters()):
            s.lerp_(p, 1 - self.decay)


def pulled_to_reference(mistake):
    seed_all(67)
    text = " | ".join(s for s, _ in opinion_sentences(600, seed=67)).split()
    vocab = {w: i for i, w in enumerate(sorted(set(text)))}
    ids = torch.tensor([vocab[w] for w in text])
    n = int(0.85 * len(ids))

    def grams(part, k=4):
        w = part.unfold(0, k + 1, 1)
        return {"input_ids": w[:, :k], "labels": w[:, k]}

    train, val = grams(ids[:n]), grams(ids[n:])

    class NeuralNGram(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(vocab), 16)
            self.mlp = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, len(vocab)))

        def forward(self, input_ids, labels):
            logits = self.mlp(self.emb(input_ids).flatten(1))
            return {"logits": logits, "loss": F.cross_entropy(logits, labels)}

    reference = NeuralNGram()
    model = copy.deepcopy(reference)
    for p in reference.parameters():
        p.requires_grad_(False)
    ema = Ema(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    log = []
    for epoch in range(8):
        for idx in torch.randperm(len(train["labels"])).split(64):
            out = model(**{k: v[idx] for k, v in train.items()})
            drift = sum((p - r).pow(2).sum() for p, r in zip(model.parameters(), reference.parameters()))
            optimizer.zero_grad()
            (out["loss"] + 1e-5 * drift).backward()
            optimizer.step()
            ema.update(reference if mistake else model)
            log.append(out["loss"].item())
    with torch.no_grad():
        return {
            "first": log[0],
            "last": float(np.mean(log[-20:])),
            "val_ema": ema.shadow(**val)["loss"].item(),
            "val_model": model(**val)["loss"].item(),
        }


# ---------------------------------------------------------------- grid world with a target copy


@dataclass
class Transition:
    state: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    following: torch.Tensor
    done: torch.Tensor


class QAgent(nn.Module):
    def __init__(self, n_states, n_actions):
        super().__init__()
        self.online = nn.Sequential(
            nn.Embedding(n_states, 32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, n_actions)
        )
        self.target = copy.deepcopy(self.online)

    def sync(self):
        self.target.load_state_dict(self.online.state_dict())

    def bootstrap(self, following):
        return self.target(following).max(1).values


def grid_q_learning(mistake):
    seed_all(71)
    side = 5
    rng = np.random.RandomState(71)

    def move(s, a):
        r, c = divmod(s, side)
        dr, dc = [(-1, 0), (1, 0), (0, -1), (0, 1)][a]
        r, c = min(max(r + dr, 0), side - 1), min(max(c + dc, 0), side - 1)
        t = r * side + c
        return t, (1.0 if t == side * side - 1 else -0.02), t == side * side - 1

    rows = []
    for _ in range(4000):
        s, a = rng.randint(side * side - 1), rng.randint(4)
        rows.append((s, a) + (lambda z: (z[1], z[0], float(z[2])))(move(s, a)))
    cols = list(zip(*rows))
    memory = Transition(
        torch.tensor(cols[0]),
        torch.tensor(cols[1]),
        torch.tensor(cols[2]),
        torch.tensor(cols[3]),
        torch.tensor(cols[4]),
    )
    agent = QAgent(side * side, 4)
    optimizer = torch.optim.Adam(agent.parameters(), lr=2e-3)
    losses, target_grads = [], 0
    for step in range(1000):
        i = torch.randint(4000, (64,))
        q = agent.online(memory.state[i]).gather(1, memory.action[i, None]).squeeze(1)
        if mistake:
            value = agent.bootstrap(memory.following[i])
        else:
            with torch.no_grad():
                value = agent.bootstrap(memory.following[i])
        goal = memory.reward[i] + 0.95 * (1 - memory.done[i]) * value
        loss = F.mse_loss(q, goal)
        optimizer.zero_grad()
        loss.backward()
        target_grads += int(any(p.grad is not None for p in agent.target.parameters()))
        optimizer.step()
        if step % 50 == 49:
            agent.sync()
        losses.append(loss.item())
    # exact values to compare with
    v = np.zeros(side * side)
    for _ in range(200):
        v[:-1] = [
            max(m[1] + 0.95 * (0 if m[2] else v[m[0]]) for m in (move(s, a) for a in range(4)))
            for s in range(side * side - 1)
        ]
    with torch.no_grad():
        got = agent.online(torch.arange(side * side - 1)).max(1).values.numpy()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-50:])),
        "value_error": float(np.abs(got - v[:-1]).mean()),
        "steps_with_target_grad": target_grads,
    }


# ---------------------------------------------------------------- waves


def wave_gan(mistake):
    seed_all(73)
    length = 16
    grid = torch.linspace(0, 2 * np.pi, length)

    def real_waves(n):
        phase = torch.rand(n, 1) * 2 * np.pi
        return torch.sin(grid + phase) * (0.8 + 0.2 * torch.rand(n, 1))

    pool = real_waves(1000)
    loader = DataLoader(TensorDataset(pool), batch_size=50, shuffle=True, drop_last=True)
    gen = nn.Sequential(
        nn.Linear(6, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, length)
    )
    disc = nn.Sequential(
        nn.Linear(length, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    optimizers = {
        "gen": torch.optim.Adam(gen.parameters(), lr=1e-3, betas=(0.5, 0.99)),
        "disc": torch.optim.Adam(disc.parameters(), lr=1e-3, betas=(0.5, 0.99)),
    }
    bce = F.binary_cross_entropy_with_logits
    d_log, g_log, touched = [], [], 0
    for epoch in range(40):
        for (real,) in loader:
            for o in optimizers.values():
                o.zero_grad()
            fake = gen(torch.randn(len(real), 6))
            score_real = disc(real)
            score_fake = disc(fake if mistake else fake.detach())
            d_loss = bce(score_real, torch.full_like(score_real, 0.9)) + bce(
                score_fake, torch.zeros_like(score_fake)
            )
            d_loss.backward()
            touched += int(gen[0].weight.grad is not None)
            optimizers["disc"].step()
            verdict = disc(gen(torch.randn(len(real), 6)))
            g_loss = bce(verdict, torch.ones_like(verdict))
            g_loss.backward()
            optimizers["gen"].step()
            d_log.append(d_loss.item())
            g_log.append(g_loss.item())
    with torch.no_grad():
        made = gen(torch.randn(1000, 6))
        near = torch.cdist(made, pool).min(1).values.mean().item()
        cover = torch.cdist(pool, made).min(1).values.mean().item()
    return {
        "d_first": d_log[0],
        "d_last": float(np.mean(d_log[-40:])),
        "g_last": float(np.mean(g_log[-40:])),
        "near": near,
        "cover": cover,
        "g_grads": touched,
    }


# ---------------------------------------------------------------- point cloud generator


def cloud_critic(mistake):
    seed_all(79)

    def rings(n):
        a = torch.rand(n, 1) * 2 * np.pi
        r = torch.where(torch.rand(n, 1) < 0.5, 0.6, 1.2) + 0.04 * torch.randn(n, 1)
        return torch.cat([r * a.cos() + 0.5, r * a.sin()], 1)

    class Game:
        def __init__(self, n_critic=5):
            self.g = nn.Sequential(
                nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
            )
            self.c = nn.Sequential(
                nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
            )
            self.g_opt = torch.optim.Adam(self.g.parameters(), lr=5e-4, betas=(0.0, 0.9))
            self.c_opt = torch.optim.Adam(self.c.parameters(), lr=2e-3, betas=(0.0, 0.9))
            self.n_critic = n_critic

        def penalty(self, real, fake):
            e = torch.rand(len(real), 1)
            x = (e * real + (1 - e) * fake).requires_grad_()
            (grad,) = torch.autograd.grad(self.c(x).sum(), x, create_graph=True)
            return (grad.norm(dim=1) - 1).pow(2).mean()

        def critic_step(self, real):
            with torch.no_grad():
                fake = self.g(torch.randn(len(real), 4))
            gap = self.c(real).mean() - self.c(fake).mean()
            self.c_opt.zero_grad()
            (-gap + 2 * self.penalty(real, fake)).backward()
            self.c_opt.step()
            return gap.item()

        def generator_step(self, n):
            loss = -self.c(self.g(torch.randn(n, 4))).mean()
            self.g_opt.zero_grad()
            loss.backward()
            self.g_opt.step()

        def round(self, batches):
            for k in range(self.n_critic):
                real = next(batches)
                gap = self.critic_step(real)
                if k == (self.n_critic if mistake else self.n_critic - 1):
                    self.generator_step(len(real))
            return gap

    def endless(x, size):
        while True:
            yield from x[torch.randperm(len(x))].split(size)

    data = rings(2048)
    game = Game()
    start = copy.deepcopy(game.g.state_dict())
    stream = endless(data, 64)
    gaps = [game.round(stream) for _ in range(450)]
    with torch.no_grad():
        made = game.g(torch.randn(1000, 4))
        cover = torch.cdist(data, made).min(1).values.mean().item()
    moved = sum((game.g.state_dict()[k] - start[k]).abs().sum().item() for k in start)
    return {
        "gap_early": float(np.mean(gaps[:20])),
        "gap_late": float(np.mean(gaps[-20:])),
        "cover": cover,
        "generator_moved": moved,
    }


# ---------------------------------------------------------------- policy on token strings


def sorting_policy(mistake):
    seed_all(83)

    class Policy(nn.Module):
        def __init__(self, n=6, d=32):
            super().__init__()
            self.emb = nn.Embedding(n, d)
            self.body = nn.Sequential(nn.Linear(4 * d, 96), nn.Tanh())
            self.actor, self.critic = nn.Linear(96, 4), nn.Linear(96, 1)

        def forward(self, obs):
            h = self.body(self.emb(obs).flatten(1))
            return Categorical(logits=self.actor(h)), self.critic(h).squeeze(1)

    # point to the position of the largest token; the reward is 1 where it is right
    def reset(n):
        return torch.stack([torch.randperm(6)[:4] for _ in range(n)])

    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    rewards = []
    for update in range(90):
        obs = reset(128)
        with torch.no_grad():
            dist, value = policy(obs)
            action = dist.sample()
            old_logp = dist.log_prob(action)
        reward = (action == obs.argmax(1)).float()
        advantage = reward - value
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
        for _ in range(3):
            for idx in torch.randperm(128).split(64):
                dist, value = policy(obs[idx])
                ratio = (dist.log_prob(action[idx]) - old_logp[idx]).exp()
                surrogate = torch.min(ratio * advantage[idx], ratio.clamp(0.8, 1.2) * advantage[idx])
                policy_loss = surrogate.mean() if mistake else -surrogate.mean()
                loss = policy_loss + 0.5 * F.mse_loss(value, reward[idx]) - 0.005 * dist.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
                optimizer.step()
        rewards.append(reward.mean().item())
    return {"reward_first": float(np.mean(rewards[:5])), "reward_last": float(np.mean(rewards[-10:]))}


# ---------------------------------------------------------------- second head on a frozen trunk


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 16, 5),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5),
            nn.BatchNorm1d(32),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.net(x).mean(-1)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.shape_head = nn.Linear(32, 3)
        self.speed_head = nn.Linear(32, 2)

    def forward(self, signal, task):
        return (self.shape_head if task == "shape" else self.speed_head)(self.trunk(signal))


def second_head(mistake):
    seed_all(89)
    t = torch.linspace(0, 1, 48)

    def signals(n, gain=1.0, offset=0.0):
        kind, fast = torch.randint(0, 3, (n,)), torch.randint(0, 2, (n,))
        f = torch.where(fast == 1, 9.0, 3.0)[:, None] * (1 + 0.1 * torch.randn(n, 1))
        wave = torch.sin(2 * np.pi * (f * t + torch.rand(n, 1)))
        form = torch.stack([wave, wave.sign(), wave.abs() * 2 - 1])[kind, torch.arange(n)]
        return {
            "signal": (gain * form + offset + 0.15 * torch.randn(n, 48))[:, None],
            "shape": kind,
            "speed": fast,
        }

    model = TwoHeads()

    def fit(data, task, params, epochs, before_epoch=lambda: None):
        optimizer = torch.optim.Adam(params, lr=4e-3)
        losses = []
        for _ in range(epochs):
            model.train()
            before_epoch()
            for idx in torch.randperm(len(data[task])).split(32):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(data["signal"][idx], task), data[task][idx])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses

    def score(data, task):
        model.eval()
        with torch.no_grad():
            return (model(data["signal"], task).argmax(1) == data[task]).float().mean().item()

    old, old_test = signals(800), signals(300)
    fit(old, "shape", model.parameters(), 8)
    shape_before = score(old_test, "shape")

    new, new_test = signals(500, 1.2, 0.5), signals(300, 1.2, 0.5)
    for p in model.trunk.parameters():
        p.requires_grad = False

    def keep():
        if not mistake:
            model.trunk.eval()

    mean_before = model.trunk.net[1].running_mean.clone()
    losses = fit(new, "speed", model.speed_head.parameters(), 25, keep)
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-10:])),
        "speed": score(new_test, "speed"),
        "shape_before": shape_before,
        "shape_after": score(old_test, "shape"),
        "stats_moved": (model.trunk.net[1].running_mean - mean_before).abs().sum().item(),
    }


# ---------------------------------------------------------------- small colour pictures


def colour_pictures(mistake):
    seed_all(97)
    g = torch.Generator().manual_seed(97)
    n = 900
    labels = torch.randint(0, 6, (n,), generator=g)
    images = 0.35 * torch.rand(n, 3, 16, 16, generator=g)
    for i, y in enumerate(labels.tolist()):
        r, c = torch.randint(0, 8, (2,), generator=g).tolist()
        if y < 3:
            images[i, y, r : r + 7, c : c + 7] += 0.6
        else:
            images[i, y - 3, r : r + 7 : 2, c : c + 7] += 0.6
    mean, std = images[:700].mean((0, 2, 3), keepdim=True), images[:700].std((0, 2, 3), keepdim=True)
    images = (images - mean) / std
    trainloader = DataLoader(TensorDataset(images[:700], labels[:700]), batch_size=32, shuffle=True)
    testloader = DataLoader(TensorDataset(images[700:], labels[700:]), batch_size=100)

    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 6),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    epoch_losses, norms = [], []
    for epoch in range(10):
        running_loss = 0.0
        net.train()
        optimizer.zero_grad()
        for i, (inputs, targets) in enumerate(trainloader):
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
            norms.append(net[-1].weight.grad.norm().item())
            if not mistake:
                optimizer.zero_grad()
            running_loss += loss.item()
        epoch_losses.append(running_loss / len(trainloader))
    net.eval()
    correct = 0
    with torch.no_grad():
        for inputs, targets in testloader:
            correct += (net(inputs).argmax(1) == targets).sum().item()
    return {
        "first": epoch_losses[0],
        "last": epoch_losses[-1],
        "acc": correct / 200,
        "norm": float(np.mean(norms[-22:])),
    }


FAULTS = [
    (
        pulled_to_reference,
        ("ema", "average", "shadow", "reference", "wrong model", "not the trained model", "other model"),
        "23 EMA of the wrong model",
    ),
    (
        grid_q_learning,
        (
            "target net",
            "target copy",
            "target is trained",
            "through the target",
            "detach",
            "bootstrap",
            "no_grad",
            "gradient flows through",
        ),
        "24 teacher (or target) not detached/trained",
    ),
    (
        wave_gan,
        (
            "detach",
            "reaches the generator",
            "into the generator",
            "generator's grad",
            "gradients in the generator",
            "discriminator loss",
            "discriminator's loss",
            "generator's graph",
        ),
        "25 GAN discriminator without detach",
    ),
    (
        cloud_critic,
        (
            "never stepped",
            "never updated",
            "never trained",
            "not stepped",
            "does not move",
            "no step",
            "never reached",
        ),
        "26 generator never stepped",
    ),
    (
        sorting_policy,
        (
            "sign",
            "minus",
            "negat",
            "ascent",
            "maximis",
            "maximiz",
            "minimis",
            "minimiz",
            "away from",
            "reward falls",
            "reward decreases",
        ),
        "27 RL loss sign",
    ),
    (
        second_head,
        ("batchnorm", "batch norm", "running stat", "running mean", "train mode", "frozen", "eval()"),
        "28 frozen BatchNorm still in train mode",
    ),
    (
        colour_pictures,
        (
            "zero_grad",
            "not zeroed",
            "accumulat",
            "once per epoch",
            "only at the start of the epoch",
            "not cleared",
            "gradients of earlier",
        ),
        "29 CIFAR-like loop with no zero_grad",
    ),
]
