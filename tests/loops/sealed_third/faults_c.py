"""Loops as people write them: each function is one training, right or with one mistake."""

import io
import math
import random
from collections import OrderedDict, deque
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import KFold
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset, TensorDataset


def flat_digits():
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x))
    return torch.tensor(x / 16.0, dtype=torch.float32)[order], torch.tensor(y)[order]


def loaders(x, y, cut=1400, batch_size=64):
    train = DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=batch_size, shuffle=True)
    return train, DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=256)


def val_accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        good = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return good / len(loader.dataset)


# ============================================================ reinforcement learning


class TMaze:
    """A cue is shown at the first step, the agent picks a lane there, and is paid at the end of the corridor."""

    length = 4

    def reset(self):
        self.cue = random.randint(0, 3)
        self.t, self.lane = 0, None
        return self.obs()

    def obs(self):
        o = torch.zeros(4 + self.length + 1)
        if self.t == 0:
            o[self.cue] = 1
        o[4 + self.t] = 1
        return o

    def step(self, action):
        if self.t == 0:
            self.lane = action
        self.t += 1
        done = self.t == self.length
        reward = 1.0 if done and self.lane == self.cue else 0.0
        return self.obs(), reward, done


def tmaze_reinforce(*, mistake: bool) -> None:
    env = TMaze()
    policy = nn.Sequential(nn.Linear(9, 32), nn.Tanh(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-2)
    gamma, scores, baseline = 0.95, [], 0.0
    for update in range(70):
        loss = 0.0
        for episode in range(8):
            obs, done = env.reset(), False
            log_probs, rewards = [], []
            while not done:
                dist = torch.distributions.Categorical(logits=policy(obs))
                action = dist.sample()
                log_probs.append(dist.log_prob(action))
                obs, reward, done = env.step(action.item())
                rewards.append(reward)
            returns, g = [], 0.0
            for r in rewards if mistake else reversed(rewards):
                g = r + gamma * g
                returns.append(g)
            if not mistake:
                returns.reverse()
            returns = torch.tensor(returns) - baseline
            loss = loss - (torch.stack(log_probs) * returns).sum() / 8
            scores.append(float(sum(rewards)))
        baseline = 0.9 * baseline + 0.1 * sum(scores[-8:]) / 8
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    success = sum(scores[-160:]) / 160


class GridWorld:
    """3x3 grid, every step costs 1, the far corner ends the episode; the environment resets itself like a vector env."""

    def reset(self):
        self.pos, self.t = [random.randint(0, 2), random.randint(0, 2)], 0
        if self.pos == [2, 2]:
            self.pos = [0, 0]
        return self.obs()

    def obs(self):
        o = torch.zeros(9)
        o[self.pos[0] * 3 + self.pos[1]] = 1
        return o

    def step(self, a):
        move = [(0, 1), (0, -1), (1, 0), (-1, 0)][a]
        self.pos = [min(2, max(0, self.pos[0] + move[0])), min(2, max(0, self.pos[1] + move[1]))]
        self.t += 1
        done = self.pos == [2, 2]
        nxt = self.reset() if done else self.obs()
        return nxt, -1.0, done


def grid_dqn(*, mistake: bool) -> None:
    env = GridWorld()

    def make():
        return nn.Sequential(nn.Linear(9, 64), nn.ReLU(), nn.Linear(64, 4))

    q, target = make(), make()
    target.load_state_dict(q.state_dict())
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-2)
    memory, gamma = deque(maxlen=3000), 0.9
    obs = env.reset()
    q_means = []
    for step in range(1000):
        eps = max(0.1, 1 - step / 600)
        if random.random() < eps:
            a = random.randrange(4)
        else:
            with torch.no_grad():
                a = q(obs).argmax().item()
        nxt, r, done = env.step(a)
        memory.append((obs, a, r, nxt, float(done)))
        obs = nxt
        if step >= 200 and step % 4 == 0:
            batch = random.sample(memory, 64)
            s, acts, rs, s2, d = zip(*batch)
            s, s2 = torch.stack(s), torch.stack(s2)
            acts, rs, d = torch.tensor(acts), torch.tensor(rs), torch.tensor(d)
            with torch.no_grad():
                future = target(s2).max(1).values
                y = rs + gamma * future if mistake else rs + gamma * future * (1 - d)
            pred = q(s).gather(1, acts.unsqueeze(1)).squeeze(1)
            loss = F.smooth_l1_loss(pred, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            q_means.append(pred.mean().item())
        if step % 40 == 0:
            target.load_state_dict(q.state_dict())


# ============================================================ representation learning


def augment(x, drop=0.25, shift=1):
    img = x.view(-1, 8, 8)
    dx, dy = random.randint(-shift, shift), random.randint(-shift, shift)
    img = torch.roll(img, (dx, dy), (1, 2)).flatten(1)
    keep = (torch.rand_like(img) > drop).float()
    return img * keep + 0.1 * torch.randn_like(img)


def digits_simclr(*, mistake: bool) -> None:
    x, _y = flat_digits()
    loader = DataLoader(TensorDataset(x[:1400]), batch_size=100, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[1400:]), batch_size=100, drop_last=True)
    encoder = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32)
    )
    opt = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    tau = 0.2

    def info_nce(za, zb):
        logits = za @ zb.t() / tau
        return F.cross_entropy(logits, torch.arange(len(za)))

    for epoch in range(10):
        encoder.train()
        for (batch,) in loader:
            z1 = F.normalize(encoder(augment(batch, 0.3, shift=0)), dim=1)
            z2 = F.normalize(encoder(augment(batch, 0.3, shift=0)), dim=1)
            loss = info_nce(z1, z1) if mistake else info_nce(z1, z2)
            opt.zero_grad()
            loss.backward()
            opt.step()
        encoder.eval()
        top1 = []
        with torch.no_grad():
            for (batch,) in val_loader:
                a = F.normalize(encoder(augment(batch, 0.3, shift=0)), dim=1)
                b = F.normalize(encoder(augment(batch, 0.3, shift=0)), dim=1)
                top1.append(((a @ b.t()).argmax(1) == torch.arange(len(a))).float().mean().item())
        retrieval = sum(top1) / len(top1)


def digits_distill(*, mistake: bool) -> None:
    x, y = flat_digits()
    train, val = loaders(x, y)
    nets = nn.ModuleDict(
        {
            "teacher": nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)),
            "student": nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10)),
        }
    )
    teacher, student = nets["teacher"], nets["student"]
    opt = torch.optim.Adam(teacher.parameters(), lr=5e-3)
    for epoch in range(3):
        for xb, yb in train:
            opt.zero_grad()
            F.cross_entropy(teacher(xb), yb).backward()
            opt.step()

    if not mistake:
        teacher.requires_grad_(False)
    opt = torch.optim.Adam([p for p in nets.parameters() if p.requires_grad], lr=1e-2)
    T = 3.0
    for epoch in range(5):
        student.train()
        teacher.eval()
        for xb, _ in train:
            opt.zero_grad()
            loss = (
                T
                * T
                * F.kl_div(
                    F.log_softmax(student(xb) / T, 1),
                    F.softmax(teacher(xb) / T, 1),
                    reduction="batchmean",
                )
            )
            loss.backward()
            opt.step()
        student_acc = val_accuracy(student, val)
        teacher_acc = val_accuracy(teacher, val)


class SimSiam(nn.Module):
    def __init__(self, stop_grad):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(64, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 64),
        )
        self.predictor = nn.Sequential(
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 64)
        )
        self.stop_grad = stop_grad

    def forward(self, a, b):
        za, zb = self.encoder(a), self.encoder(b)
        pa, pb = self.predictor(za), self.predictor(zb)
        if self.stop_grad:
            za, zb = za.detach(), zb.detach()
        return -0.5 * (F.cosine_similarity(pa, zb).mean() + F.cosine_similarity(pb, za).mean())


def digits_simsiam(*, mistake: bool) -> None:
    x, y = flat_digits()
    loader = DataLoader(TensorDataset(x[:1400]), batch_size=100, shuffle=True)
    model = SimSiam(stop_grad=not mistake)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    for epoch in range(12):
        model.train()
        for (batch,) in loader:
            loss = model(augment(batch), augment(batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
    # linear probe on the frozen representation
    model.eval()
    with torch.no_grad():
        z = F.normalize(model.encoder(x), dim=1)
    spread = z.std(0).mean().item() * math.sqrt(64)
    probe = nn.Linear(64, 10)
    probe_opt = torch.optim.SGD(probe.parameters(), lr=1.0, momentum=0.9)
    for step in range(30):
        probe_loss = F.cross_entropy(probe(z[:1400]), y[:1400])
        probe_opt.zero_grad()
        probe_loss.backward()
        probe_opt.step()
    with torch.no_grad():
        probe_acc = (probe(z[1400:]).argmax(1) == y[1400:]).float().mean().item()


# ============================================================ graphs


class GCN(nn.Module):
    def __init__(self, d_in, hidden, classes):
        super().__init__()
        self.w1, self.w2 = nn.Linear(d_in, hidden), nn.Linear(hidden, classes)

    def forward(self, x, adj):
        h = F.dropout(F.relu(self.w1(adj @ x)), 0.3, self.training)
        return self.w2(adj @ h)


def community_gcn(*, mistake: bool) -> None:
    n, k = 400, 4
    label = torch.randint(0, k, (n,))
    same = (label[:, None] == label[None]).float()
    edges = (torch.rand(n, n) < 0.03 * same + 0.006 * (1 - same)).float().triu(1)
    adj = edges + edges.t() + torch.eye(n)
    deg = adj.sum(1).rsqrt()
    adj = deg[:, None] * adj * deg[None]
    x = torch.randn(n, 40)
    x[:, :k] += 0.9 * F.one_hot(label, k)
    order = torch.randperm(n)
    train_mask = torch.zeros(n, dtype=torch.bool)
    test_mask = torch.zeros(n, dtype=torch.bool)
    train_mask[order[:200]] = True
    test_mask[order[200:]] = True

    model = GCN(40, 32, k)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    history = []
    for epoch in range(80):
        model.train()
        out = model(x, adj)
        if mistake:
            loss = F.cross_entropy(out, label)
        else:
            loss = F.cross_entropy(out[train_mask], label[train_mask])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                pred = model(x, adj).argmax(1)
            history.append((pred[test_mask] == label[test_mask]).float().mean().item())


# ============================================================ several heads


class TwoTask(nn.Module):
    def __init__(self, as_list):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        heads = [nn.Linear(48, 10), nn.Linear(48, 2)]  # the digit; odd or even
        self.heads = heads if as_list else nn.ModuleList(heads)

    def forward(self, x):
        h = self.trunk(x)
        return [head(h) for head in self.heads]


def digits_two_tasks(*, mistake: bool) -> None:
    x, y = flat_digits()
    train, val = loaders(x, y)
    model = TwoTask(as_list=mistake)
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    for epoch in range(6):
        model.train()
        for xb, yb in train:
            digit, parity = model(xb)
            loss = F.cross_entropy(digit, yb) + 0.5 * F.cross_entropy(parity, yb % 2)
            opt.zero_grad()
            loss.backward()
            opt.step()

    # as it will be used: from the saved weights
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    served = TwoTask(as_list=mistake)
    served.load_state_dict(torch.load(file))
    served.eval()
    with torch.no_grad():
        acc = sum((served(xb)[0].argmax(1) == yb).sum().item() for xb, yb in val) / len(val.dataset)
        parity_acc = sum((served(xb)[1].argmax(1) == yb % 2).sum().item() for xb, yb in val) / len(
            val.dataset
        )


class StrokeSet(Dataset):
    """Multi-label targets of a digit: has a loop / is odd / is more than four."""

    def __init__(self, x, y, noise, in_place):
        self.x = x.clone()
        loop = ((y == 0) | (y == 6) | (y == 8) | (y == 9)).float()
        self.y = torch.stack([loop, (y % 2).float(), (y > 4).float()], 1)
        self.noise, self.in_place = noise, in_place

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        x = self.x[i]
        if self.noise:
            if self.in_place:
                x += self.noise * torch.randn(x.shape)
            else:
                x = x + self.noise * torch.randn(x.shape)
        return x, self.y[i]


def digits_strokes(*, mistake: bool) -> None:
    x, y = flat_digits()
    train = DataLoader(
        StrokeSet(x[:1300], y[:1300], 0.25, in_place=mistake), batch_size=65, shuffle=True
    )
    val = DataLoader(StrokeSet(x[1300:], y[1300:], 0.0, False), batch_size=128)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    crit = nn.BCEWithLogitsLoss()
    for epoch in range(10):
        net.train()
        for xb, yb in train:
            opt.zero_grad()
            loss = crit(net(xb), yb)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val_loss = sum(crit(net(xb), yb).item() for xb, yb in val) / len(val)
            exact = sum(((net(xb) > 0).float() == yb).all(1).sum().item() for xb, yb in val) / len(
                val.dataset
            )


# ============================================================ numerics


def digits_bf16(*, mistake: bool) -> None:
    x, y = flat_digits()
    train, val = loaders(x - 0.5, y, batch_size=32)
    net = nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 10))
    if mistake:
        net = net.bfloat16()
    opt = torch.optim.Adam(net.parameters(), lr=1.5e-4)
    for epoch in range(4):
        net.train()
        for xb, yb in train:
            opt.zero_grad()
            if mistake:
                loss = F.cross_entropy(net(xb.bfloat16()).float(), yb)
            else:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            hits = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in val)
        acc = hits / len(val.dataset)


# ============================================================ cross validation, resuming


def diabetes_kfold(*, mistake: bool) -> None:
    X, Y = load_diabetes(return_X_y=True)
    X = torch.tensor(X * len(X) ** 0.5, dtype=torch.float32)
    Y = torch.tensor((Y - 150.0) / 75.0, dtype=torch.float32).unsqueeze(1)

    def build():
        net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        return net, torch.optim.Adam(net.parameters(), lr=5e-3)

    fold_scores = []
    if mistake:
        net, opt = build()
    for train_idx, val_idx in KFold(n_splits=5, shuffle=True).split(X):
        if not mistake:
            net, opt = build()
        train = DataLoader(TensorDataset(X[train_idx], Y[train_idx]), batch_size=45, shuffle=True)
        val = DataLoader(TensorDataset(X[val_idx], Y[val_idx]), batch_size=100)
        for epoch in range(5):
            net.train()
            for xb, yb in train:
                loss = F.mse_loss(net(xb), yb)
                opt.zero_grad()
                loss.backward()
                opt.step()
        net.eval()
        with torch.no_grad():
            fold_scores.append(sum(F.mse_loss(net(xb), yb).item() for xb, yb in val) / len(val))
    cv_score = sum(fold_scores) / len(fold_scores)


class Wrapper(nn.Module):
    """stands in for DataParallel: the net lives under .module."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args):
        return self.module(*args)


def digits_resumed(*, mistake: bool) -> None:
    x, y = flat_digits()
    train, val = loaders(x, y)

    def make():
        return nn.Sequential(OrderedDict(fc1=nn.Linear(64, 64), act=nn.ReLU(), fc2=nn.Linear(64, 10)))

    def run(model, optimizer, epochs):
        for _ in range(epochs):
            model.train()
            for xb, yb in train:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                optimizer.step()
            accs.append(val_accuracy(model, val))

    accs = []
    model = Wrapper(make())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    run(model, optimizer, 4)
    store = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 4}, store)

    # next day
    store.seek(0)
    ckpt = torch.load(store)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    state = ckpt["model"]
    if not mistake:
        state = {k.removeprefix("module."): v for k, v in state.items()}
    model.load_state_dict(state, strict=False)
    optimizer.load_state_dict(ckpt["optimizer"])
    resumed_at = val_accuracy(model, val)
    run(model, optimizer, 2)


# ============================================================ own autograd function


class SwishFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, wrong):
        ctx.save_for_backward(x)
        ctx.wrong = wrong
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        local = s * (1 + x * (1 - s))
        if ctx.wrong:
            return local, None
        return grad_output * local, None


class SwishNet(nn.Module):
    def __init__(self, wrong):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 10)
        self.wrong = wrong

    def forward(self, x):
        x = SwishFn.apply(self.a(x), self.wrong)
        x = SwishFn.apply(self.b(x), self.wrong)
        return self.c(x)


def digits_swish(*, mistake: bool) -> None:
    x, y = flat_digits()
    train, val = loaders(x, y)
    model = SwishNet(wrong=mistake)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(6):
        model.train()
        for xb, yb in train:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        acc = val_accuracy(model, val)


# ============================================================ diffusion


class Denoiser(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.time = nn.Embedding(steps, 32)
        self.net = nn.Sequential(
            nn.Linear(64 + 32, 160), nn.SiLU(), nn.Linear(160, 160), nn.SiLU(), nn.Linear(160, 64)
        )

    def forward(self, x, t):
        return self.net(torch.cat([x, self.time(t)], 1))


@dataclass
class DiffusionConfig:
    steps: int = 50
    lr: float = 3e-3
    epochs: int = 8
    batch: int = 64


def digits_ddpm(*, mistake: bool) -> None:
    cfg = DiffusionConfig()
    x, y = flat_digits()
    train, val = loaders(x * 2 - 1, y, batch_size=cfg.batch)
    betas = torch.linspace(1e-3, 0.15, cfg.steps)
    abar = torch.cumprod(1 - betas, 0)
    model = Denoiser(cfg.steps)
    opt = torch.optim.Adam(model.parameters(), lr=cfg.lr)

    def loss_of(x0):
        t = torch.randint(0, cfg.steps, (len(x0),))
        noise = torch.randn_like(x0)
        a = abar[t].unsqueeze(1)
        xt = a.sqrt() * x0 + (1 - a).sqrt() * noise
        if mistake:
            return F.mse_loss(model(xt, t), torch.randn_like(x0))
        return F.mse_loss(model(xt, t), noise)

    for epoch in range(cfg.epochs):
        model.train()
        for x0, _ in train:
            opt.zero_grad()
            loss = loss_of(x0)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val_loss = sum(loss_of(x0).item() for x0, _ in val) / len(val)


# ============================================================ activation checkpointing


class DeepNet(nn.Module):
    def __init__(self, use_reentrant):
        super().__init__()
        dims = [64, 24, 16, 12, 10]
        layers = []
        for i, o in zip(dims[:-1], dims[1:]):
            layers += [nn.Linear(i, o), nn.Tanh()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(10, 10)
        self.use_reentrant = use_reentrant

    def forward(self, x):
        h = checkpoint(self.body, x, use_reentrant=self.use_reentrant) if self.training else self.body(x)
        return self.head(h)


def digits_checkpointed(*, mistake: bool) -> None:
    x, y = flat_digits()
    train, val = loaders(x * 2 - 1, y)
    model = DeepNet(use_reentrant=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=8 * len(train))
    for epoch in range(8):
        model.train()
        for xb, yb in train:
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        acc = val_accuracy(model, val)


FAULTS = [
    (
        tmaze_reinforce,
        (
            "returns",
            "reward",
            "past rewards",
            "discount",
            "credit",
            "reversed",
            "reward-to-go",
            "future rewards",
        ),
        "the returns sum the past rewards and not the future ones (the rewards are not walked in reverse)",
    ),
    (
        grid_dqn,
        (
            "terminal",
            "bootstrap",
            "episode end",
            "end of the episode",
            "ends of episodes",
            "done flag",
            "done mask",
            "- done",
            "dones",
        ),
        "the TD target bootstraps past the end of the episode: the (1 - done) factor is missing",
    ),
    (
        digits_simclr,
        (
            "itself",
            "same view",
            "identical",
            "self-similar",
            "diagonal",
            "positives",
            "positive pair",
            "pair",
            "second view",
            "unused",
            "z2",
            "with themselves",
        ),
        "InfoNCE compares the first view with itself, so the positive of each sample is the sample itself and the second view is unused",
    ),
    (
        digits_distill,
        ("teacher", "no_grad", "detach", "frozen"),
        "the teacher is not frozen (requires_grad_(False) is missing), so the distillation loss trains the teacher too",
    ),
    (
        digits_simsiam,
        (
            "collaps",
            "stop-grad",
            "stop grad",
            "stopgrad",
            "detach",
            "constant representation",
            "constant output",
            "same output",
        ),
        "the stop-gradient on the targets is missing, so the representation collapses",
    ),
    (
        community_gcn,
        (
            "train_mask",
            "mask",
            "leak",
            "test nodes",
            "test labels",
            "held-out",
            "held out",
            "same data",
            "seen in training",
        ),
        "the loss covers all nodes and not the training nodes only, so the test labels are trained on",
    ),
    (
        digits_two_tasks,
        (
            "modulelist",
            "module list",
            "not registered",
            "plain list",
            "python list",
            "not in the optimizer",
            "not in any optimizer",
            "unregistered",
            "not a submodule",
            "state_dict",
            "parameters()",
            "not held by",
            "missing from the optimizer",
            "outside the optimizer",
        ),
        "the heads sit in a plain Python list, so they are neither trained nor saved",
    ),
    (
        digits_strokes,
        (
            "in place",
            "in-place",
            "inplace",
            "noise accumul",
            "noise adds up",
            "data set changes",
            "dataset changes",
            "data change",
            "inputs change",
            "samples change",
            "overwrit",
            "modified",
            "modifies",
            "augment",
            "mutat",
        ),
        "the noise is added in place to the stored array, so it accumulates over the epochs",
    ),
    (
        digits_bf16,
        (
            "bfloat16",
            "bf16",
            "half precision",
            "low precision",
            "rounding",
            "rounded",
            "precision",
            "too small to change",
            "master weights",
            "float32",
        ),
        "the parameters themselves are bfloat16 (no float32 master weights), so small updates are rounded away",
    ),
    (
        diabetes_kfold,
        (
            "fold",
            "re-initial",
            "reinitial",
            "not reset",
            "leak",
            "already seen",
            "seen in training",
            "trained on",
            "overlap",
            "new model",
            "carried over",
            "same model",
            "fresh model",
        ),
        "the model is built once before the k-fold loop, so later folds validate on samples it was trained on",
    ),
    (
        digits_resumed,
        (
            "strict",
            "load_state_dict",
            "not loaded",
            "no key",
            "keys",
            "prefix",
            "restored",
            "checkpoint",
            "resum",
            "missing key",
        ),
        "the checkpoint has the 'module.' prefix and strict=False hides that nothing is loaded",
    ),
    (
        digits_swish,
        (
            "custom autograd",
            "autograd function",
            "autograd.function",
            "custom function",
            "custom backward",
            "own backward",
            "its backward",
            "backward formula",
            "backward of",
            "grad_output",
            "wrong gradient",
            "incorrect gradient",
            "gradients are wrong",
            "numerical gradient",
            "gradcheck",
            "gradient is wrong",
            "finite difference",
        ),
        "the custom function's backward does not multiply by grad_output",
    ),
    (
        digits_ddpm,
        (
            "noise",
            "unrelated",
            "random target",
            "independent of",
            "not related",
            "cannot be predicted",
            "unpredictable",
            "does not depend",
            "do not depend",
            "fresh",
            "redrawn",
        ),
        "the denoiser is trained to predict freshly drawn noise, not the noise that was added",
    ),
    (
        digits_checkpointed,
        (
            "checkpoint",
            "reentrant",
            "no gradient",
            "none of the inputs",
            "grad is none",
            "receives no",
            "never updated",
            "without gradient",
            "not trained",
            "do not change",
            "unchanged",
        ),
        "the reentrant activation checkpoint gets an input that needs no gradient, so the whole body receives none",
    ),
]
