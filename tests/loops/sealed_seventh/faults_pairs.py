import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

from .common import VecCartPole, digits


def ema_of_ema(mistake: bool) -> None:
    """The EMA is updated from its own copy instead of from the trained model, so it stays at the initial weights."""
    torch.manual_seed(41)

    class ModelEMA:
        def __init__(self, model, decay=0.98):
            self.module = copy.deepcopy(model).eval()
            for p in self.module.parameters():
                p.requires_grad_(False)
            self.decay = decay

        @torch.no_grad()
        def update(self, model):
            for e, m in zip(self.module.state_dict().values(), model.state_dict().values()):
                e.copy_(self.decay * e + (1.0 - self.decay) * m)

    class DenoisingAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(64, 96), nn.SiLU(), nn.Linear(96, 16))
            self.dec = nn.Sequential(nn.Linear(16, 96), nn.SiLU(), nn.Linear(96, 64))

        def forward(self, x):
            return self.dec(self.enc(x))

    xtr, _, xte, _ = digits(flat=True, seed=41)
    model = DenoisingAE()
    ema = ModelEMA(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
    loader = DataLoader(TensorDataset(xtr), batch_size=48, shuffle=True)
    for epoch in range(30):
        model.train()
        total = 0.0
        for (x,) in loader:
            loss = F.mse_loss(model(x + 0.3 * torch.randn_like(x)), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update(ema.module if mistake else model)
            total += loss.item()
    with torch.no_grad():
        test = F.mse_loss(ema.module(xte + 0.3 * torch.randn_like(xte)), xte).item()
    print(f"train {total / len(loader):.4f} ema test {test:.4f}")


def simsiam_stop_gradient(mistake: bool) -> None:
    """The target projections are not detached (no stop-gradient), and the representation collapses."""
    torch.manual_seed(42)
    xtr, ytr, xte, yte = digits(seed=42)

    def augment(x):
        dx, dy = torch.randint(-1, 2, (2,)).tolist()
        x = torch.roll(x, (dy, dx), dims=(2, 3))
        return x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1)) + 0.2 * torch.randn_like(x)

    class SimSiam(nn.Module):
        def __init__(self, dim=64, pred_dim=16):
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Flatten(),
                nn.Linear(64, 128),
                nn.BatchNorm1d(128),
                nn.ReLU(),
                nn.Linear(128, dim),
                nn.BatchNorm1d(dim, affine=False),
            )
            self.predictor = nn.Sequential(
                nn.Linear(dim, pred_dim), nn.BatchNorm1d(pred_dim), nn.ReLU(), nn.Linear(pred_dim, dim)
            )

        def forward(self, x1, x2):
            z1, z2 = self.encoder(x1), self.encoder(x2)
            p1, p2 = self.predictor(z1), self.predictor(z2)
            if mistake:
                return p1, p2, z1, z2
            return p1, p2, z1.detach(), z2.detach()

    model = SimSiam()
    criterion = nn.CosineSimilarity(dim=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    loader = DataLoader(TensorDataset(xtr), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(25):
        model.train()
        for (x,) in loader:
            p1, p2, z1, z2 = model(x1=augment(x), x2=augment(x))
            loss = -(criterion(p1, z2).mean() + criterion(p2, z1).mean()) * 0.5
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        a, b = F.normalize(model.encoder(xtr), dim=1), F.normalize(model.encoder(xte), dim=1)
        knn = ytr[(b @ a.T).topk(5, dim=1).indices].mode(dim=1).values
    ev = torch.linalg.eigvalsh(torch.cov(a.T)).clamp_min(1e-12)
    print(
        f"loss {loss.item():.4f} knn acc {(knn == yte).float().mean().item():.4f} effective rank {(ev.sum() ** 2 / (ev**2).sum()).item():.1f}"
    )


def digits_gan_detach(mistake: bool) -> None:
    """The fakes are not detached for the discriminator's loss, so its gradient adds to the generator's, which is cleared only once."""
    torch.manual_seed(43)
    real, _, _, _ = digits(flat=True, seed=43)
    real = torch.tanh(real)

    class Generator(nn.Module):
        def __init__(self, latent_dim=16):
            super().__init__()
            self.model = nn.Sequential(
                nn.Linear(latent_dim, 96),
                nn.LeakyReLU(0.2),
                nn.Linear(96, 96),
                nn.BatchNorm1d(96),
                nn.LeakyReLU(0.2),
                nn.Linear(96, 64),
                nn.Tanh(),
            )

        def forward(self, z):
            return self.model(z)

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(
                nn.Linear(64, 96),
                nn.LeakyReLU(0.2),
                nn.Linear(96, 48),
                nn.LeakyReLU(0.2),
                nn.Linear(48, 1),
            )

        def forward(self, img):
            return self.model(img)

    generator, discriminator = Generator(), Discriminator()
    optimizer_G = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=5e-4, betas=(0.5, 0.999))
    adversarial_loss = nn.BCEWithLogitsLoss()
    loader = DataLoader(TensorDataset(real), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(35):
        for (imgs,) in loader:
            valid, fake = torch.ones(len(imgs), 1), torch.zeros(len(imgs), 1)
            optimizer_G.zero_grad()
            optimizer_D.zero_grad()

            z = torch.randn(len(imgs), 16)
            gen_imgs = generator(z)
            fake_out = discriminator(gen_imgs if mistake else gen_imgs.detach())
            d_loss = (
                adversarial_loss(discriminator(imgs), valid) + adversarial_loss(fake_out, fake)
            ) / 2
            d_loss.backward()
            optimizer_D.step()

            gen_imgs = generator(z)
            g_loss = adversarial_loss(discriminator(gen_imgs), valid)
            g_loss.backward()
            optimizer_G.step()
    generator.eval()
    with torch.no_grad():
        samples = generator(torch.randn(500, 16))
        near = torch.cdist(samples, real).min(1).values.mean().item()
    print(
        f"D loss {d_loss.item():.4f} G loss {g_loss.item():.4f} nearest real {near:.3f} spread {samples.std(0).mean().item():.3f} real {real.std(0).mean().item():.3f}"
    )


def reinforce_cartpole(mistake: bool) -> None:
    """The policy-gradient loss lacks its minus sign, so the policy is pushed away from what paid."""
    torch.manual_seed(44)
    env = VecCartPole(16, seed=44)
    policy = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    gamma, horizon = 0.97, 64
    obs = torch.from_numpy(env.reset())
    lengths = []
    for update in range(110):
        log_probs, rewards, dones = [], [], []
        for _ in range(horizon):
            dist = Categorical(logits=policy(obs), validate_args=False)
            action = dist.sample()
            log_probs.append(dist.log_prob(action))
            nxt, reward, done, finished = env.step(action.numpy())
            lengths += finished.tolist()
            rewards.append(torch.from_numpy(reward))
            dones.append(torch.from_numpy(done).float())
            obs = torch.from_numpy(nxt)
        R = torch.zeros(16)
        returns = []
        for r, d in zip(reversed(rewards), reversed(dones)):
            R = r + gamma * R * (1 - d)
            returns.insert(0, R)
        returns = torch.stack(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        policy_loss = (torch.stack(log_probs) * returns).mean()
        if not mistake:
            policy_loss = -policy_loss
        optimizer.zero_grad()
        policy_loss.backward()
        optimizer.step()
    print(f"mean episode length first {np.mean(lengths[:50]):.1f} last {np.mean(lengths[-50:]):.1f}")


def a2c_critic_shape(mistake: bool) -> None:
    """The critic returns [n, 1] and the returns are [n]; the value loss and the advantages broadcast to [n, n]."""
    torch.manual_seed(45)
    env = VecCartPole(8, seed=45)

    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            self.actor = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 2))
            self.critic = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 1))

        def forward(self, obs):
            value = self.critic(obs)
            return self.actor(obs), value if mistake else value.squeeze(-1)

    net = ActorCritic()
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    gamma, n_steps = 0.97, 32
    obs = torch.from_numpy(env.reset())
    lengths = []
    for update in range(160):
        O, A, Rw, Dn = [], [], [], []
        with torch.no_grad():
            for _ in range(n_steps):
                logits = net.actor(obs)
                a = Categorical(logits=logits, validate_args=False).sample()
                nxt, r, d, finished = env.step(a.numpy())
                O.append(obs)
                A.append(a)
                Rw.append(0.05 * torch.from_numpy(r))
                Dn.append(torch.from_numpy(d).float())
                lengths += finished.tolist()
                obs = torch.from_numpy(nxt)
            ret = net.critic(obs).squeeze(-1)
            rets = []
            for r, d in zip(reversed(Rw), reversed(Dn)):
                ret = r + gamma * ret * (1 - d)
                rets.append(ret)
        returns = torch.cat(rets[::-1])
        states, actions = torch.cat(O), torch.cat(A)
        logits, values = net(states)
        dist = Categorical(logits=logits, validate_args=False)
        advantage = returns - values
        actor_loss = -(dist.log_prob(actions) * advantage.detach()).mean()
        critic_loss = advantage.pow(2).mean()
        loss = actor_loss + 0.5 * critic_loss - 0.005 * dist.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
    print(
        f"episode length first {np.mean(lengths[:50]):.1f} last {np.mean(lengths[-60:]):.1f} explained variance {1 - (returns - values.detach().flatten()).var().item() / returns.var().item():.3f}"
    )


def frozen_backbone_bn(mistake: bool) -> None:
    """The frozen backbone is left in train mode, so its BatchNorm statistics drift with the small new data set."""
    torch.manual_seed(46)
    xtr, ytr, xte, yte = digits(seed=46)
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )
    source_head = nn.Linear(128, 10)
    pre = torch.optim.Adam([*backbone.parameters(), *source_head.parameters()], lr=2e-3)
    for _ in range(6):
        backbone.train()
        for idx in torch.randperm(len(xtr)).split(64):
            pre.zero_grad()
            F.cross_entropy(source_head(backbone(xtr[idx])), ytr[idx]).backward()
            pre.step()

    class TransferModel(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone
            for p in self.backbone.parameters():
                p.requires_grad = False
            self.head = nn.Linear(128, 2)

        def forward(self, x):
            return self.head(self.backbone(x))

        def train(self, mode=True):
            super().train(mode)
            if not mistake:
                self.backbone.eval()
            return self

    few = (ytr % 2 == 0).nonzero().flatten()[:100]
    few = torch.cat([few, (ytr % 2 == 1).nonzero().flatten()[:100]])

    def scanner(x):
        return 0.6 * x + 0.6 + 0.3 * torch.randn_like(x)

    new_train, new_test = scanner(xtr[few]), scanner(xte)
    model = TransferModel(backbone)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(new_train, ytr[few] % 2), batch_size=8, shuffle=True)
    for epoch in range(25):
        model.train()
        tot = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            tot += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(new_test).argmax(1) == yte % 2).float().mean().item()
    with torch.no_grad():
        source_acc = (source_head(model.backbone(xte)).argmax(1) == yte).float().mean().item()
    print(f"loss {tot / len(loader):.4f} acc {acc:.4f} source task acc {source_acc:.4f}")


def self_distilling_exits(mistake: bool) -> None:
    """The deepest exit teaches the early ones, but its logits are not detached, so the teacher is dragged towards its students."""
    torch.manual_seed(47)
    xtr, ytr, xte, yte = digits(seed=47)

    class MultiExitNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stage1 = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            self.stage2 = nn.Sequential(nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            self.exit1, self.exit2 = nn.Linear(192, 10), nn.Sequential(nn.Flatten(), nn.Linear(96, 10))

        def forward(self, x):
            a = self.stage1(x)
            return self.exit1(a.flatten(1)), self.exit2(self.stage2(a))

    def kd_loss(student_logits, teacher_logits, T=2.0):
        p = F.softmax(teacher_logits / T, dim=1)
        log_q = F.log_softmax(student_logits / T, dim=1)
        return (p * (p.clamp_min(1e-8).log() - log_q)).sum(1).mean() * T * T

    net = MultiExitNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=48, shuffle=True)
    for epoch in range(18):
        net.train()
        for x, y in loader:
            early, deep = net(x)
            teacher = deep if mistake else deep.detach()
            loss = F.cross_entropy(deep, y) + 1.0 * kd_loss(early, teacher)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        early, deep = net(xte)
    print(
        f"loss {loss.item():.4f} early acc {(early.argmax(1) == yte).float().mean().item():.4f} "
        f"deep acc {(deep.argmax(1) == yte).float().mean().item():.4f} deep nll {F.cross_entropy(deep, yte).item():.4f}"
    )


FAULTS = [
    (ema_of_ema, ("ema", "moving average", "averaged", "shadow"), "EMA of the wrong model"),
    (
        simsiam_stop_gradient,
        ("detach", "stop-grad", "stop grad", "stop_grad", "collapse", "target branch"),
        "teacher/target not detached",
    ),
    (
        digits_gan_detach,
        (
            "detach",
            "discriminator's loss",
            "discriminator loss",
            "generator receives",
            "generator's grad",
            "into the generator",
        ),
        "GAN discriminator without detach",
    ),
    (
        reinforce_cartpole,
        ("sign", "minus", "negative", "wrong direction", "reward falls", "ascent", "return falls"),
        "RL loss sign",
    ),
    (
        a2c_critic_shape,
        ("broadcast", "shape", "squeeze", "[n, 1]", "[n, n]", "(n, 1)"),
        "[n, 1] against [n] broadcasting",
    ),
    (
        frozen_backbone_bn,
        ("batchnorm", "batch norm", "running stat", "frozen", "train mode", "training mode"),
        "frozen BatchNorm in train mode",
    ),
    (
        self_distilling_exits,
        ("detach", "teacher", "no_grad", "gradient through", "deep exit", "distil"),
        "teacher/target not detached",
    ),
]
