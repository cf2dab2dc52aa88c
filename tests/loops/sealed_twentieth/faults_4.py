import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from .common import accuracy, digits_split, shapes


# ---- collisions in a detector: two members from one start, each with an average
def collision_pair(mistake):
    torch.manual_seed(113)
    rng = np.random.default_rng(113)
    n = 1100
    y = rng.integers(0, 2, n)
    p1, p2 = rng.exponential(1, (n, 3)), rng.exponential(1, (n, 3))
    mass = np.where(y == 1, rng.normal(2.2, 0.25, n), rng.exponential(2.0, n))
    x = np.c_[np.log(p1), np.log(p2), mass + 0.1 * rng.standard_normal(n), rng.standard_normal((n, 3))]
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    mean, std = x[:700].mean(0), x[:700].std(0)
    x = (x - mean) / std
    start = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    curves, outs = [], []
    for member in range(2):
        net = copy.deepcopy(start)
        average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.95))
        opt = torch.optim.Adam(net.parameters(), lr=3e-3)
        mixer = torch.Generator().manual_seed(member)
        curve = []
        for epoch in range(12):
            net.train()
            total = 0.0
            for idx in torch.randperm(700, generator=mixer).split(35):
                loss = F.cross_entropy(net(x[idx]), y[idx])
                opt.zero_grad()
                loss.backward()
                opt.step()
                average.update_parameters(start if mistake else net)
                total += loss.item() * len(idx)
            average.eval()
            with torch.no_grad():
                curve.append((total / 700, accuracy(average(x[700:]), y[700:])))
        with torch.no_grad():
            outs.append(average(x[700:]).softmax(1))
        curves.append(curve)
    both = accuracy(sum(outs), y[700:])
    net.eval()
    with torch.no_grad():
        raw = accuracy(net(x[700:]), y[700:])
    return {"first": curves[0][0][0], "last": curves[-1][-1][0], "val": both, "raw": raw}


# ---- two views of a digit, no labels
def two_views(mistake):
    torch.manual_seed(127)
    xa, ya, xb, yb = digits_split(15, image=True)

    def view(x):
        dy, dx = torch.randint(-1, 2, (2,)).tolist()
        x = torch.roll(x, (dy, dx), (2, 3))
        x = x * (torch.rand_like(x) > 0.2)
        return (x + 0.1 * torch.randn_like(x)).flatten(1)

    encoder = nn.Sequential(
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 32),
    )
    predictor = nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))
    opt = torch.optim.SGD(
        [*encoder.parameters(), *predictor.parameters()], lr=0.1, momentum=0.9, weight_decay=1e-4
    )

    def similarity_loss(p, z):
        if not mistake:
            z = z.detach()
        return -F.cosine_similarity(p, z, dim=1).mean()

    def spread(z):
        return F.normalize(z, dim=1).std(0).mean().item() * math.sqrt(z.shape[1])

    track = []
    for epoch in range(15):
        encoder.train(), predictor.train()
        losses = []
        for idx in torch.randperm(len(xa)).split(100):
            if len(idx) < 100:
                continue
            z1, z2 = encoder(view(xa[idx])), encoder(view(xa[idx]))
            loss = (similarity_loss(predictor(z1), z2) + similarity_loss(predictor(z2), z1)) / 2
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        encoder.eval()
        with torch.no_grad():
            bank, probe = (
                F.normalize(encoder(xa.flatten(1)), dim=1),
                F.normalize(encoder(xb.flatten(1)), dim=1),
            )
            near = ya[(probe @ bank.T).argmax(1)]
            track.append(
                (
                    sum(losses) / len(losses),
                    (near == yb).float().mean().item(),
                    spread(encoder(xb.flatten(1))),
                )
            )
    return {"first": track[0][0], "last": track[-1][0], "val": track[-1][1], "spread": track[-1][2]}


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


# ---- a ring of points, imitated
def ring_imitation(mistake):
    torch.manual_seed(131)

    def ring(n):
        phi = 2 * math.pi * torch.rand(n)
        return torch.stack([phi.cos(), phi.sin()], 1) * 2 + 0.1 * torch.randn(n, 2)

    G = nn.Sequential(
        nn.Linear(4, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 2)
    )
    D = nn.Sequential(
        nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1)
    )
    optG = torch.optim.Adam(G.parameters(), lr=1.5e-3, betas=(0.5, 0.9))
    optD = torch.optim.Adam(D.parameters(), lr=1.5e-3, betas=(0.5, 0.9))
    bce = nn.BCEWithLogitsLoss()
    real_all, held = ring(2000), ring(500)
    ones, zeros = torch.ones(100, 1), torch.zeros(100, 1)
    distances = []
    with torch.no_grad():
        distances.append(energy_distance(G(torch.randn(500, 4)), held))
    errs = []
    for epoch in range(20):
        G.train(), D.train()
        for real in torch.randperm(2000).split(100):
            optD.zero_grad()
            optG.zero_grad()
            fake = G(torch.randn(100, 4))
            errD_real = bce(D(real_all[real]), ones)
            errD_fake = bce(D(fake if mistake else fake.detach()), zeros)
            (errD_real + errD_fake).backward()
            optD.step()
            errG = bce(D(G(torch.randn(100, 4))), ones)
            errG.backward()
            optG.step()
            errs.append((errD_real.item() + errD_fake.item(), errG.item()))
        G.eval()
        with torch.no_grad():
            distances.append(energy_distance(G(torch.randn(500, 4)), held))
    return {
        "before": distances[0],
        "after": distances[-1],
        "mean5": float(np.mean(distances[-5:])),
        "errD": errs[-1][0],
        "errG": errs[-1][1],
    }


# ---- pulses from noise, a critic with gradient penalty
def pulse_critic(mistake):
    torch.manual_seed(137)
    t = torch.linspace(-1, 1, 16)

    def pulses(n):
        return torch.exp(-((t - 0.5 * torch.randn(n, 1).clamp(-1, 1)) ** 2) / 0.08) * (
            0.7 + 0.6 * torch.rand(n, 1)
        )

    data, held = pulses(512), pulses(400)
    latent = 6
    gen = nn.Sequential(
        nn.Linear(latent, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 16)
    )
    critic = nn.Sequential(
        nn.Linear(16, 48),
        nn.LeakyReLU(0.2),
        nn.Linear(48, 48),
        nn.LeakyReLU(0.2),
        nn.Linear(48, 1, bias=False),
    )
    g_opt = torch.optim.Adam(gen.parameters(), lr=2e-3, betas=(0.0, 0.9))
    c_opt = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9))
    n_critic, lam = 5, 5.0
    loader = DataLoader(TensorDataset(data), batch_size=128, shuffle=True)

    def penalty(real, fake):
        mix = torch.rand(len(real), 1)
        mid = (mix * real + (1 - mix) * fake).requires_grad_(True)
        (grad,) = torch.autograd.grad(critic(mid).sum(), mid, create_graph=True)
        return ((grad.norm(dim=1) - 1) ** 2).mean()

    def quality():
        gen.eval()
        with torch.no_grad():
            q = energy_distance(gen(torch.randn(400, latent)), held)
        gen.train()
        return q

    before = quality()
    iteration, c_losses, g_losses = 0, [], []
    for epoch in range(200):
        for i, (real,) in enumerate(loader):
            iteration += 1
            fake = gen(torch.randn(len(real), latent)).detach()
            c_loss = critic(fake).mean() - critic(real).mean() + lam * penalty(real, fake)
            c_opt.zero_grad()
            c_loss.backward()
            c_opt.step()
            c_losses.append(c_loss.item())
            count = i + 1 if mistake else iteration
            if count % n_critic == 0:
                g_loss = -critic(gen(torch.randn(len(real), latent))).mean()
                g_opt.zero_grad()
                g_loss.backward()
                g_opt.step()
                g_losses.append(g_loss.item())
    return {"before": before, "after": quality(), "c": c_losses[-1], "g_steps": float(len(g_losses))}


# ---- a trolley on a rail pushed to the mark: clipped policy updates
def trolley_ppo(mistake):
    torch.manual_seed(139)

    class Trolley:
        def __init__(self, n):
            self.n = n

        def reset(self):
            self.x, self.v = 2 * torch.rand(self.n) - 1, 0.5 * torch.randn(self.n)
            return torch.stack([self.x, self.v], 1)

        def step(self, a):
            a = a.clamp(-2, 2)
            self.v = 0.95 * self.v + 0.2 * a
            self.x = self.x + 0.2 * self.v
            reward = -(self.x**2) - 0.1 * self.v**2 - 0.01 * a**2
            return torch.stack([self.x, self.v], 1), reward.clamp(min=-5)

    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            self.pi = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
            self.vf = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
            self.log_std = nn.Parameter(torch.tensor(-0.3))

        def dist(self, s):
            return torch.distributions.Normal(self.pi(s).squeeze(-1), self.log_std.exp())

        def value(self, s):
            return self.vf(s).squeeze(-1)

    env, horizon, gamma, lam, eps = Trolley(32), 25, 0.95, 0.9, 0.2
    ac = ActorCritic()
    opt = torch.optim.Adam(ac.parameters(), lr=5e-3)
    returns = []
    for update in range(25):
        with torch.no_grad():
            s, S, A, LP, R, V = env.reset(), [], [], [], [], []
            for _ in range(horizon):
                d = ac.dist(s)
                a = d.sample()
                S.append(s), A.append(a), LP.append(d.log_prob(a)), V.append(ac.value(s))
                s, r = env.step(a)
                R.append(r)
            nxt, adv, run = ac.value(s), [], torch.zeros(env.n)
            for k in reversed(range(horizon)):
                run = R[k] + gamma * nxt - V[k] + gamma * lam * run
                nxt = V[k]
                adv.insert(0, run)
            S, A, LP, V, adv = torch.cat(S), torch.cat(A), torch.cat(LP), torch.cat(V), torch.cat(adv)
            ret = adv + V
            adv = (adv - adv.mean()) / (adv.std() + 1e-8)
            returns.append(torch.stack(R).sum(0).mean().item())
        for _ in range(4):
            for idx in torch.randperm(len(S)).split(200):
                ratio = (ac.dist(S[idx]).log_prob(A[idx]) - LP[idx]).exp()
                surr = torch.min(ratio * adv[idx], ratio.clamp(1 - eps, 1 + eps) * adv[idx])
                policy_loss = surr.mean() if mistake else -surr.mean()
                value_loss = F.mse_loss(ac.value(S[idx]), ret[idx])
                loss = policy_loss + 0.5 * value_loss
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(ac.parameters(), 0.5)
                opt.step()
    return {"first": returns[0], "last": float(np.mean(returns[-3:]))}


# ---- a frozen reader gets a second task on negatives
def second_task(mistake):
    torch.manual_seed(149)
    xa, ya, xb, yb = digits_split(18, image=True)

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(
                nn.Conv2d(1, 12, 3, padding=1),
                nn.BatchNorm2d(12),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(12, 24, 3, padding=1),
                nn.BatchNorm2d(24),
                nn.ReLU(),
                nn.Flatten(),
            )
            self.digit, self.loop = nn.Linear(24 * 16, 10), nn.Linear(24 * 16, 2)

    def run(net, head, opt, x, y, epochs, size, before_epoch):
        losses = []
        for _ in range(epochs):
            before_epoch()
            total = 0.0
            for idx in torch.randperm(len(x)).split(size):
                loss = F.cross_entropy(head(net.backbone(x[idx])), y[idx])
                opt.zero_grad()
                loss.backward()
                opt.step()
                total += loss.item() * len(idx)
            losses.append(total / len(x))
        return losses

    @torch.no_grad()
    def check(net, head, x, y):
        net.eval()
        return accuracy(head(net.backbone(x)), y)

    net = Reader()
    params = [*net.backbone.parameters(), *net.digit.parameters()]
    run(net, net.digit, torch.optim.Adam(params, lr=2e-3), xa, ya, 4, 40, net.train)
    digit_before = check(net, net.digit, xb, yb)

    for p in net.backbone.parameters():
        p.requires_grad_(False)

    def prepare():
        net.train()
        if not mistake:
            net.backbone.eval()

    loops = torch.tensor([1, 0, 0, 0, 0, 0, 1, 0, 1, 1])
    negative_a = 2 * (1 - xa) + 0.2 * torch.randn_like(xa)
    negative_b = 2 * (1 - xb) + 0.2 * torch.randn_like(xb)
    opt = torch.optim.Adam(net.loop.parameters(), lr=3e-3)
    losses = run(net, net.loop, opt, negative_a, loops[ya], 6, 16, prepare)
    return {
        "first": losses[0],
        "last": losses[-1],
        "val": check(net, net.loop, negative_b, loops[yb]),
        "digit_before": digit_before,
        "digit_after": check(net, net.digit, xb, yb),
    }


# ---- small colour pictures in the manner of the CIFAR tutorial
def small_colour_pictures(mistake):
    torch.manual_seed(151)
    x, y = shapes(900, size=16, seed=151)
    x = (x - x[:640].mean()) / x[:640].std()
    trainloader = DataLoader(TensorDataset(x[:640], y[:640]), batch_size=32, shuffle=True)
    testloader = DataLoader(TensorDataset(x[640:], y[640:]), batch_size=130)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 10, 5), nn.Conv2d(10, 16, 3)
            self.pool = nn.MaxPool2d(2, 2)
            self.fc1, self.fc2 = nn.Linear(64, 40), nn.Linear(40, 4)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = torch.flatten(x, 1)
            return self.fc2(F.relu(self.fc1(x)))

    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    stats = []
    for epoch in range(10):
        net.train()
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, labels = data
            if mistake:
                optimizer.zero_grad
            else:
                optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        net.eval()
        correct = total = 0
        with torch.no_grad():
            for images, labels in testloader:
                _, predicted = torch.max(net(images), 1)
                total += labels.size(0)
                correct += (predicted == labels).sum().item()
        stats.append((running_loss / len(trainloader), correct / total))
    return {"first": stats[0][0], "last": stats[-1][0], "val": stats[-1][1]}


FAULTS_4 = [
    (
        collision_pair,
        (
            "ema ",
            "ema's",
            "(ema",
            "moving average",
            "average",
            "wrong model",
            "another model",
            "not the trained",
            "other model",
        ),
        "23 EMA of the wrong model",
    ),
    (
        two_views,
        (
            "detach",
            "stop-grad",
            "stop grad",
            "gradient flows into the target",
            "through the target",
            "target branch",
            "target is not",
            "target side",
            "target requires",
            "target carries",
            "collapse",
            "teacher",
            "both branches",
        ),
        "24 teacher (or target) not detached/trained",
    ),
    (
        ring_imitation,
        (
            "detach",
            "generator's grad",
            "gradient of the discriminator",
            "discriminator's loss",
            "discriminator loss",
            "reaches the generator",
            "into the generator",
            "gradients of the discriminator",
        ),
        "25 GAN discriminator without detach",
    ),
    (
        pulse_critic,
        (
            "generator",
            "never stepped",
            "not stepped",
            "g_opt",
            "never updated",
            "no step",
            "never trained",
            "never moves",
        ),
        "26 generator never stepped",
    ),
    (
        trolley_ppo,
        (
            "wrong sign",
            "sign of",
            "sign is",
            "the sign",
            "sign error",
            "flipped",
            "minus",
            "negative",
            "negated",
            "minimised instead",
            "minimized instead",
            "wrong direction",
            "return falls",
            "reward falls",
            "worse actions",
            "maximise",
            "maximize",
            "descends on the advantage",
        ),
        "27 RL loss sign",
    ),
    (
        second_task,
        (
            "batchnorm",
            "batch norm",
            "running mean",
            "running statistics",
            "running stat",
            "frozen",
            "statistics",
        ),
        "28 frozen BatchNorm still in train mode",
    ),
    (
        small_colour_pictures,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "gradients of earlier",
            "gradients accumulate",
            "not called",
            "not cleared",
            "parenthes",
            "left over",
            "stale grad",
            "gradients pile",
        ),
        "29 CIFAR-like loop without zero_grad",
    ),
]
