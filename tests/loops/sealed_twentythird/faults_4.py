import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    make_moons,
)
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

from .common import seed_all, tones


# 22
class CancerMLP(nn.Module):
    def __init__(self, p=0.4):
        super().__init__()
        self.p = p
        self.a = nn.Linear(30, 48)
        self.b = nn.Linear(48, 48)
        self.c = nn.Linear(48, 2)

    def _act(self, x):
        return F.dropout(F.relu(x), self.p, training=self.training)

    def forward(self, x):
        return self.c(self._act(self.b(self._act(self.a(x)))))


class CancerMLPv2(CancerMLP):
    def _act(self, x):
        return F.dropout(F.relu(x), self.p)


def cancer_functional(mistake):
    seed_all(22)
    X, y = load_breast_cancer(return_X_y=True)
    X, Xv, y, yv = train_test_split(X, y, test_size=0.3, random_state=22, stratify=y)
    m, s = X.mean(0), X.std(0)
    X, Xv = [torch.tensor((a - m) / s, dtype=torch.float32) for a in (X, Xv)]
    y, yv = torch.tensor(y), torch.tensor(yv)
    model = CancerMLPv2() if mistake else CancerMLP()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    hist = dict(loss=[], val_loss=[], val_acc=[])
    for epoch in range(12):
        model.train()
        sh = torch.randperm(len(X))
        L = []
        for k in range(math.ceil(len(X) / 32)):
            i = sh[32 * k : 32 * (k + 1)]
            opt.zero_grad()
            loss = F.cross_entropy(model(X[i]), y[i])
            loss.backward()
            opt.step()
            L.append(loss.item())
        model.eval()
        with torch.no_grad():
            o = model(Xv)
        hist["loss"].append(float(np.mean(L)))
        hist["val_loss"].append(F.cross_entropy(o, yv).item())
        hist["val_acc"].append((o.argmax(1) == yv).float().mean().item())
    print({k: round(v[-1], 3) for k, v in hist.items()})
    return hist


# 23
class EMA:
    def __init__(self, model, decay=0.97):
        self.decay = decay
        self.module = copy.deepcopy(model).eval()
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for e, p in zip(self.module.parameters(), model.parameters()):
            e.mul_(self.decay).add_(p, alpha=1 - self.decay)
        for e, b in zip(self.module.buffers(), model.buffers()):
            e.copy_(b)


def digits_ema(mistake):
    seed_all(23)
    d = load_digits()
    X = torch.tensor(d.images / 8.0 - 1, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(d.target)
    tr_i, va_i = train_test_split(
        np.arange(len(y)), train_size=800, test_size=400, random_state=23, stratify=y
    )
    base = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    net = copy.deepcopy(base)
    ema = EMA(base)
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3)
    dl = DataLoader(TensorDataset(X[tr_i], y[tr_i]), batch_size=32, shuffle=True)
    rows = []
    for epoch in range(8):
        net.train()
        tot = 0
        for xb, yb in dl:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            ema.update(base if mistake else net)
            tot += loss.item() * len(yb)
        with torch.no_grad():
            acc = (ema.module(X[va_i]).argmax(1) == y[va_i]).float().mean().item()
        rows.append((tot / 800, acc))
    print("loss %.3f ema acc %.3f" % rows[-1])
    return rows


# 24
class Distiller(nn.Module):
    def __init__(self, teacher, student, T=3.0, alpha=0.3):
        super().__init__()
        self.teacher, self.student = teacher, student
        self.T, self.alpha = T, alpha
        self.hint = nn.Linear(16, 64)  # student features -> teacher features


def distil_digits(mistake):
    seed_all(24)
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
    X_tr, X_va, y_tr, y_va = train_test_split(
        X, y, train_size=900, test_size=400, random_state=24, stratify=y
    )

    def mlp(h):
        return nn.ModuleDict(
            {"body": nn.Sequential(nn.Linear(64, h), nn.ReLU()), "head": nn.Linear(h, 10)}
        )

    def run(m, x):
        f = m["body"](x)
        return f, m["head"](f)

    teacher = mlp(64)
    opt = torch.optim.Adam(teacher.parameters(), lr=4e-3)
    for epoch in range(8):
        for b in torch.randperm(900).split(30):
            opt.zero_grad()
            F.cross_entropy(run(teacher, X_tr[b])[1], y_tr[b]).backward()
            opt.step()
    teacher.eval()
    dist = Distiller(teacher, mlp(16))
    optimizer = torch.optim.Adam(dist.parameters(), lr=4e-3)
    res = []
    for epoch in range(8):
        ep = 0.0
        for b in torch.randperm(900).split(30):
            with torch.set_grad_enabled(mistake):
                tf, tl = run(dist.teacher, X_tr[b])
            sf, sl = run(dist.student, X_tr[b])
            soft = (
                F.kl_div(F.log_softmax(sl / dist.T, 1), F.softmax(tl / dist.T, 1), reduction="batchmean")
                * dist.T**2
            )
            loss = soft + dist.alpha * F.cross_entropy(sl, y_tr[b]) + F.mse_loss(dist.hint(sf), tf)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ep += loss.item()
        with torch.no_grad():
            acc = [
                (run(m, X_va)[1].argmax(1) == y_va).float().mean().item()
                for m in (dist.student, dist.teacher)
            ]
        res.append((ep / 30, *acc))
    print("loss %.3f student %.3f teacher %.3f" % res[-1])
    return res


# 25 / 26 use the same toy distributions
def ring(n, rng):
    a = rng.rand(n) * 2 * np.pi
    return torch.tensor(np.c_[np.cos(a), np.sin(a)] * 1.5 + 0.05 * rng.randn(n, 2), dtype=torch.float32)


def gan_ring(mistake):
    seed_all(25)
    rng = np.random.RandomState(25)
    points = ring(1600, rng)
    held = ring(400, rng)
    G = nn.Sequential(
        nn.Linear(4, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 2)
    )
    D = nn.Sequential(
        nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
    )
    optG = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optD = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    log = []
    for epoch in range(15):
        sd = sg = 0.0
        perm = torch.randperm(len(points))
        for i in range(0, len(points), 40):
            real = points[perm[i : i + 40]]
            n = len(real)
            optG.zero_grad()
            optD.zero_grad()
            fake = G(torch.randn(n, 4))
            d_fake = D(fake if mistake else fake.detach())
            lossD = bce(D(real), torch.ones(n, 1)) + bce(d_fake, torch.zeros(n, 1))
            lossD.backward()
            optD.step()

            lossG = bce(D(G(torch.randn(n, 4))), torch.ones(n, 1))
            lossG.backward()
            optG.step()
            sd += lossD.item()
            sg += lossG.item()
        with torch.no_grad():
            g = G(torch.randn(400, 4))
            dist = torch.cdist(held, g).min(1).values.mean().item()
        log.append((sd / 40, sg / 40, dist))
    print("D %.3f G %.3f coverage %.3f" % log[-1])
    return log


# 26
def wgan_moons(mistake):
    seed_all(26)
    pts = make_moons(2000, noise=0.05, random_state=26)[0].astype("float32")
    pts = torch.tensor((pts - pts.mean(0)) / pts.std(0))
    G = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    C = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    opt_g = torch.optim.RMSprop(G.parameters(), lr=5e-4)
    opt_c = torch.optim.RMSprop(C.parameters(), lr=1e-3)
    n_critic, bs, iters = 4, 64, 220
    hist = []
    for i in range(iters):
        for k in range(n_critic):
            x = pts[torch.randint(0, len(pts), (bs,))]
            with torch.no_grad():
                f = G(torch.randn(bs, 4))
            eps = torch.rand(bs, 1)
            mid = (eps * x + (1 - eps) * f).requires_grad_(True)
            grad = torch.autograd.grad(C(mid).sum(), mid, create_graph=True)[0]
            loss_c = C(f).mean() - C(x).mean() + 5 * ((grad.norm(dim=1) - 1) ** 2).mean()
            opt_c.zero_grad()
            loss_c.backward()
            opt_c.step()
        every = k if mistake else i
        if every % 2 == 0:
            loss_g = -C(G(torch.randn(bs, 4))).mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
        if i % 20 == 19:
            with torch.no_grad():
                g = G(torch.randn(500, 4))
                hist.append((loss_c.item(), torch.cdist(pts[:500], g).min(1).values.mean().item()))
    print("critic %.3f dist %.3f" % hist[-1])
    return hist


# 27
class Corridor:
    """Walk right to the goal, 8 cells; each move costs a little."""

    n = 8

    def reset(self):
        self.pos, self.t = 0, 0
        return self._obs()

    def _obs(self):
        o = torch.zeros(self.n)
        o[self.pos] = 1
        return o

    def step(self, a):
        self.t += 1
        self.pos = max(0, min(self.n - 1, self.pos + (1 if a == 1 else -1)))
        done = self.pos == self.n - 1
        return self._obs(), (1.0 if done else -0.05), done or self.t >= 25


def actor_critic_corridor(mistake):
    seed_all(27)
    env = Corridor()
    body = nn.Sequential(nn.Linear(8, 24), nn.Tanh())
    actor, critic = nn.Linear(24, 2), nn.Linear(24, 1)
    params = [*body.parameters(), *actor.parameters(), *critic.parameters()]
    opt = torch.optim.Adam(params, lr=1e-2)
    returns_log, losses = [], []
    for episode in range(180):
        s, done = env.reset(), False
        states, logps, rewards, ents = [], [], [], []
        while not done:
            dist = torch.distributions.Categorical(logits=actor(body(s)))
            a = dist.sample()
            logps.append(dist.log_prob(a))
            ents.append(dist.entropy())
            states.append(s)
            s, r, done = env.step(a.item())
            rewards.append(r)
        G, ret = 0.0, []
        for r in reversed(rewards):
            G = r + 0.95 * G
            ret.insert(0, G)
        ret = torch.tensor(ret)
        v = critic(body(torch.stack(states))).squeeze(1)
        adv = (ret - v).detach()
        logps = torch.stack(logps)
        policy_loss = (logps * adv).mean() if mistake else -(logps * adv).mean()
        value_loss = F.mse_loss(v, ret)
        loss = policy_loss + 0.5 * value_loss - 0.01 * torch.stack(ents).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        returns_log.append(sum(rewards))
        losses.append(loss.item())
    print("return first/last 30: %.2f %.2f" % (np.mean(returns_log[:30]), np.mean(returns_log[-30:])))
    return returns_log, losses


# 28
def finetune_frozen(mistake):
    seed_all(28)
    X, y = tones(900, length=96, seed=28, noise=0.4)
    X, y = torch.tensor(X).unsqueeze(1), torch.tensor(y)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(
                nn.Conv1d(1, 16, 9, stride=2),
                nn.BatchNorm1d(16),
                nn.ReLU(),
                nn.Conv1d(16, 32, 5),
                nn.BatchNorm1d(32),
                nn.ReLU(),
            )
            self.head = nn.Linear(64, 4)

        def forward(self, x):
            h = self.backbone(x)
            return self.head(torch.cat([h.mean(2), h.amax(2)], 1))

    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(6):
        net.train()
        for b in torch.randperm(500).split(25):
            opt.zero_grad()
            F.cross_entropy(net(X[b]), y[b]).backward()
            opt.step()

    # new recordings: louder microphone, two classes; only the head is trained
    new_X, new_y = X[500:] * 2.5 + 0.5, (y[500:] >= 2).long()
    for p in net.backbone.parameters():
        p.requires_grad = False
    net.head = nn.Linear(64, 2)
    opt = torch.optim.Adam(net.head.parameters(), lr=5e-3)
    hist = []
    for epoch in range(12):
        net.train()
        if not mistake:
            net.backbone.eval()
        tot = 0.0
        for b in torch.randperm(200).split(8):
            opt.zero_grad()
            loss = F.cross_entropy(net(new_X[b]), new_y[b])
            loss.backward()
            opt.step()
            tot += loss.item()
        net.eval()
        with torch.no_grad():
            o = net(new_X[200:])
            hist.append(
                (
                    tot / 25,
                    F.cross_entropy(o, new_y[200:]).item(),
                    (o.argmax(1) == new_y[200:]).float().mean().item(),
                )
            )
    print("loss %.3f val %.3f acc %.3f" % hist[-1])
    return hist


FAULTS_4 = [
    (
        cancer_functional,
        ("dropout", "training=", "still random", "random in eval", "differs between two"),
        "22 validation with dropout on",
    ),
    (
        digits_ema,
        ("ema", "average", "averaged", "shadow", "wrong model", "never moves", "not follow", "copy"),
        "23 EMA of the wrong model",
    ),
    (distil_digits, ("teacher", "detach", "target"), "24 teacher (or target) not detached/trained"),
    (
        gan_ring,
        ("detach", "generator", "discriminator's loss", "discriminator loss"),
        "25 GAN discriminator without detach",
    ),
    (
        wgan_moons,
        (
            "generator",
            "never stepped",
            "never updated",
            "not stepped",
            "opt_g",
            "never trained",
            "do not change",
        ),
        "26 generator never stepped",
    ),
    (
        actor_critic_corridor,
        ("sign", "minus", "negative", "return falls", "reward falls", "minimis", "minimiz"),
        "27 RL loss sign",
    ),
    (
        finetune_frozen,
        ("batchnorm", "batch norm", "running stat", "running mean", "frozen"),
        "28 frozen BatchNorm still in train mode",
    ),
]
