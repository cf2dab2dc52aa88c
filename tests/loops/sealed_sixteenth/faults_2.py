"""Contrastive learning, metric learning, distillation and policy gradients."""

from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import AverageMeter, digit_images, seed_everything, shuffled

# --------------------------------------------------------------------------- 11
WORDS = {
    w: i
    for i, w in enumerate(
        "a photo of the digit drawing small scan zero one two three four five six seven eight nine".split()
    )
}
DIGITS = "zero one two three four five six seven eight nine".split()
TEMPLATES = ["a photo of the digit {}", "a small drawing of {}", "a scan of the {}", "digit {}"]


def tokenize(caption, length=6):
    ids = [WORDS[w] + 1 for w in caption.split()][:length]
    return torch.tensor(ids + [0] * (length - len(ids)))


class CaptionDataset(Dataset):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        t = TEMPLATES[int(torch.randint(len(TEMPLATES), (1,)))]
        return self.images[i], tokenize(t.format(DIGITS[int(self.labels[i])])), self.labels[i]


class ImageTower(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * 4, 32),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.net(x)


class TextTower(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.emb = nn.Embedding(len(WORDS) + 1, dim, padding_idx=0)
        self.fc = nn.Linear(dim, dim)

    def forward(self, tokens):
        return F.relu(self.fc(self.emb(tokens).sum(1)))


class MiniCLIP(nn.Module):
    def __init__(self, dim=32, probe_image_tower=False):
        super().__init__()
        self.visual, self.text = ImageTower(), TextTower()
        self.visual_proj, self.text_proj = nn.Linear(32, dim, bias=False), nn.Linear(48, dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.3))
        self.probe_image_tower = probe_image_tower

    def encode_image(self, images):
        if self.probe_image_tower:
            with torch.no_grad():
                h = self.visual(images)
        else:
            h = self.visual(images)
        return F.normalize(self.visual_proj(h), dim=-1)

    def encode_text(self, tokens):
        return F.normalize(self.text_proj(self.text(tokens)), dim=-1)

    def forward(self, images, tokens):
        return self.logit_scale.exp() * self.encode_image(images) @ self.encode_text(tokens).t()


def clip_two_towers(mistake: bool) -> None:
    """The image tower's forward runs under a leftover torch.no_grad(), so only the projections and the text tower learn."""
    seed_everything(0)
    x, y = shuffled(*digit_images(8), seed=0)
    loader = DataLoader(CaptionDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True, drop_last=True)
    model = MiniCLIP(probe_image_tower=mistake)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    prompts = torch.stack([tokenize(f"a photo of the digit {d}") for d in DIGITS])

    for epoch in range(10):
        model.train()
        meter = AverageMeter()
        for images, tokens, labels in loader:
            logits = model(images, tokens)
            same = (labels[:, None] == labels[None]).float()
            target = same / same.sum(1, keepdim=True)
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(images))
        model.eval()
        with torch.no_grad():
            zero_shot = model(x[1400:], prompts).argmax(1)
        print(
            f"epoch {epoch}: loss {meter.avg:.4f} zero-shot acc {(zero_shot == y[1400:]).float().mean():.3f}"
        )


# --------------------------------------------------------------------------- 15
class EmbeddingNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.PReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 64),
            nn.PReLU(),
            nn.Linear(64, dim),
        )

    def forward(self, x):
        return F.normalize(self.net(x), dim=-1)


def batch_hard_triplet(emb, labels, margin=0.3):
    dist = torch.cdist(emb, emb)
    same = labels[:, None] == labels[None]
    pos = (dist * same).max(1).values
    neg = dist.masked_fill(same, float("inf")).min(1).values
    return F.relu(pos - neg + margin).mean()


def recall_at_1(model, x, y):
    with torch.no_grad():
        e = model(x)
    d = torch.cdist(e, e)
    d.fill_diagonal_(float("inf"))
    return (y[d.argmin(1)] == y).float().mean().item()


def triplet_loss_meter(mistake: bool) -> None:
    """The meter is given the loss tensor instead of its value, so the running sum keeps the graphs of all batches of the run."""
    seed_everything(1)
    x, y = shuffled(*digit_images(8), seed=1)
    loader = DataLoader(TensorDataset(x[:1300], y[:1300]), batch_size=64, shuffle=True, drop_last=True)
    model = EmbeddingNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = AverageMeter("loss")
    for epoch in range(15):
        model.train()
        for images, labels in loader:
            loss = batch_hard_triplet(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if mistake:
                losses.update(loss, images.size(0))
            else:
                losses.update(loss.item(), images.size(0))
        model.eval()
        print(
            f"epoch {epoch}: loss {losses.val:.4f} ({losses.avg:.4f}) R@1 {recall_at_1(model, x[1300:], y[1300:]):.3f}"
        )


# --------------------------------------------------------------------------- 26
def mlp_encoder(width, out=24):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, out))


class FeatureDistiller(nn.Module):
    """A small student regresses the features of a larger, already trained teacher."""

    def __init__(self, teacher, student, freeze_teacher):
        super().__init__()
        self.teacher, self.student, self.freeze_teacher = teacher, student, freeze_teacher
        if freeze_teacher:
            self.teacher.requires_grad_(False)

    def forward(self, x):
        s = self.student(x)
        if self.freeze_teacher:
            with torch.no_grad():
                t = self.teacher(x)
        else:
            t = self.teacher(x)
        return F.mse_loss(s, t)


def feature_distillation(mistake: bool) -> None:
    """The teacher is neither detached nor frozen and sits in the optimizer: it moves towards the student and loses its features."""
    seed_everything(2)
    x, y = shuffled(*digit_images(8), seed=2)
    teacher, classifier = mlp_encoder(256), nn.Linear(24, 10)
    pre = torch.optim.Adam(chain(teacher.parameters(), classifier.parameters()), lr=2e-3)
    for _ in range(8):
        for xb, yb in DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True):
            pre.zero_grad()
            F.cross_entropy(classifier(teacher(xb)), yb).backward()
            pre.step()

    student = mlp_encoder(32)
    distiller = FeatureDistiller(teacher, student, freeze_teacher=not mistake)
    optimizer = torch.optim.AdamW((p for p in distiller.parameters() if p.requires_grad), lr=3e-3)
    loader = DataLoader(TensorDataset(x[:1400]), batch_size=64, shuffle=True)
    for epoch in range(20):
        distiller.train()
        meter = AverageMeter()
        for (xb,) in loader:
            loss = distiller(xb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(xb))
        if epoch % 4 == 3:
            distiller.eval()
            with torch.no_grad():
                acc = [
                    (classifier(m(x[1400:])).argmax(1) == y[1400:]).float().mean().item()
                    for m in (teacher, student)
                ]
            print(
                f"epoch {epoch}: feature loss {meter.avg:.4f} acc teacher {acc[0]:.3f} student {acc[1]:.3f}"
            )


# --------------------------------------------------------------------------- 29
class CatchEnv:
    """A ball falls down a grid; the paddle moves left, stays or moves right. Vectorised."""

    def __init__(self, n_envs, rows=7, cols=5):
        self.n, self.rows, self.cols = n_envs, rows, cols

    def reset(self):
        self.t = 0
        self.ball = torch.randint(0, self.cols, (self.n,))
        self.paddle = torch.full((self.n,), self.cols // 2)
        return self.observe()

    def observe(self):
        row = torch.full((self.n,), self.t / self.rows).unsqueeze(1)
        return torch.cat(
            [F.one_hot(self.ball, self.cols), F.one_hot(self.paddle, self.cols), row], 1
        ).float()

    def step(self, action):
        self.t += 1
        self.paddle = (self.paddle + action - 1).clamp(0, self.cols - 1)
        done = self.t == self.rows - 1
        reward = torch.where(self.ball == self.paddle, 1.0, -1.0) if done else torch.zeros(self.n)
        return self.observe(), reward, done


class ActorCritic(nn.Module):
    def __init__(self, obs, actions, hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs, hidden), nn.Tanh())
        self.pi, self.v = nn.Linear(hidden, actions), nn.Linear(hidden, 1)

    def forward(self, obs):
        h = self.body(obs)
        return torch.distributions.Categorical(logits=self.pi(h)), self.v(h).squeeze(-1)


@dataclass
class A2CConfig:
    n_envs: int = 32
    updates: int = 300
    gamma: float = 0.97
    lr: float = 3e-3
    vf_coef: float = 0.5
    ent_coef: float = 0.01


class A2CAgent:
    def __init__(self, cfg, sign=-1.0):
        self.cfg, self.sign = cfg, sign
        self.env = CatchEnv(cfg.n_envs)
        self.net = ActorCritic(2 * self.env.cols + 1, 3)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=cfg.lr)

    def rollout(self):
        obs, done = self.env.reset(), False
        logps, values, entropies, rewards = [], [], [], []
        while not done:
            dist, value = self.net(obs)
            action = dist.sample()
            obs, reward, done = self.env.step(action)
            logps.append(dist.log_prob(action))
            values.append(value)
            entropies.append(dist.entropy())
            rewards.append(reward)
        return torch.stack(logps), torch.stack(values), torch.stack(entropies), torch.stack(rewards)

    def update(self):
        logps, values, entropies, rewards = self.rollout()
        returns, R = torch.zeros_like(rewards), torch.zeros(self.cfg.n_envs)
        for t in reversed(range(len(rewards))):
            R = rewards[t] + self.cfg.gamma * R
            returns[t] = R
        advantage = (returns - values).detach()
        policy_loss = self.sign * (logps * advantage).mean()
        value_loss = F.mse_loss(values, returns)
        loss = policy_loss + self.cfg.vf_coef * value_loss - self.cfg.ent_coef * entropies.mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 0.5)
        self.optimizer.step()
        return rewards.sum(0).mean().item(), loss.item()

    def learn(self):
        returns = []
        for u in range(self.cfg.updates):
            ret, loss = self.update()
            returns.append(ret)
            if (u + 1) % 50 == 0:
                print(f"update {u + 1}: mean return {sum(returns[-50:]) / 50:.3f} loss {loss:.4f}")


def a2c_catch(mistake: bool) -> None:
    """The policy loss has the wrong sign: descending it makes the actions with a positive advantage less likely."""
    seed_everything(3)
    A2CAgent(A2CConfig(), sign=1.0 if mistake else -1.0).learn()


FAULTS = [
    (
        clip_two_towers,
        (
            "no_grad",
            "visual",
            "image tower",
            "no gradient",
            "never receive",
            "without gradient",
            "not trained",
            "never updated",
            "grad is none",
        ),
        "11 training under no_grad of a part",
    ),
    (
        triplet_loss_meter,
        ("graph", "item()", "detach", "memory", "history", "retain"),
        "15 loss accumulated with its graph",
    ),
    (
        feature_distillation,
        ("teacher", "detach", "target network", "not frozen", "frozen"),
        "26 teacher not detached",
    ),
    (
        a2c_catch,
        ("sign", "minus", "negat", "less likely", "reward falls", "return falls", "policy loss"),
        "29 RL loss with the wrong sign",
    ),
]
