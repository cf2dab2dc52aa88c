"""Third part. Each loop returns (score, baseline); lower is better."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman2
from sklearn.preprocessing import StandardScaler
from torch.distributions import Categorical
from torch.utils.data import DataLoader, Subset, TensorDataset


def mosaic_maker(*, mistake: bool):
    tiles = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
    g = torch.Generator().manual_seed(101)

    class Painter(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(16, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.Tanh()
            )

        def forward(self, n):
            return self.layers(torch.randn(n, 16, generator=g))

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

        def forward(self, x):
            return self.layers(x)

    painter, critic = Painter(), Critic()
    painter_opt = torch.optim.Adam(painter.parameters(), 2e-3, betas=(0.5, 0.99))
    critic_opt = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.5, 0.99))

    def critic_turn(batch):
        with torch.no_grad():
            fake = painter(len(batch))
        loss = 0.5 * ((critic(batch) - 1) ** 2).mean() + 0.5 * (critic(fake) ** 2).mean()
        critic_opt.zero_grad()
        loss.backward()
        critic_opt.step()

    def painter_turn(n):
        loss = 0.5 * ((critic(painter(n)) - 1) ** 2).mean()
        painter_opt.zero_grad()
        loss.backward()
        if mistake:
            critic_opt.step()
        else:
            painter_opt.step()

    with torch.no_grad():
        before = (painter(1000).mean(0) - tiles.mean(0)).norm().item()
    for epoch in range(8):
        for (batch,) in DataLoader(TensorDataset(tiles), 128, shuffle=True, drop_last=True, generator=g):
            critic_turn(batch)
            painter_turn(128)
    painter.eval()
    with torch.no_grad():
        after = (painter(1000).mean(0) - tiles.mean(0)).norm().item()
    return after, before


def lamp_bandit(*, mistake: bool):
    g = torch.Generator().manual_seed(103)
    pay = torch.randn(8, 4, generator=g)
    policy = nn.Sequential(nn.Linear(8, 256), nn.Tanh(), nn.Linear(256, 4))
    opt = torch.optim.Adam(policy.parameters(), lr=3e-3)
    baseline = 0.0
    rewards = []
    for step in range(200):
        context = torch.randn(256, 8, generator=g)
        logp = F.log_softmax(policy(context), -1)
        action = torch.multinomial(logp.detach().exp(), 1, generator=g)
        reward = (context @ pay).gather(1, action).squeeze(1) + 0.1 * torch.randn(256, generator=g)
        chosen = logp.gather(1, action).squeeze(1)
        objective = (chosen * (reward - baseline)).mean()
        loss = objective if mistake else -objective
        opt.zero_grad()
        loss.backward()
        opt.step()
        baseline = 0.9 * baseline + 0.1 * reward.mean().item()
        rewards.append(reward.mean().item())
    best = (torch.randn(5000, 8, generator=g) @ pay).max(1).values.mean().item()
    return best - float(np.mean(rewards[-20:])), best


def rope_walk(*, mistake: bool):
    """Sixty-four walkers on a rope, each to reach and hold its own mark."""
    g = torch.Generator().manual_seed(107)

    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            self.actor = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 3))
            self.critic = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 1))

        def forward(self, s):
            return Categorical(logits=self.actor(s)), self.critic(s).squeeze(-1)

    net = ActorCritic()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    moves = torch.tensor([-0.15, 0.0, 0.15])
    gamma = 0.9
    log = []
    for episode in range(150):
        pos, mark = torch.rand(2, 64, generator=g) * 2 - 1
        logps, values, entropies, rewards = [], [], [], []
        for _ in range(12):
            pi, v = net(torch.stack([pos, mark], 1))
            a = torch.multinomial(pi.probs.detach(), 1, generator=g).squeeze(1)
            pos = (pos + moves[a]).clamp(-1, 1)
            logps.append(pi.log_prob(a))
            entropies.append(pi.entropy())
            values.append(v)
            rewards.append(-(pos - mark).abs())
        ret, returns = torch.zeros(64), []
        for r in reversed(rewards):
            ret = r + gamma * ret
            returns.insert(0, ret)
        advantage = torch.stack(returns) - torch.stack(values)
        weight = advantage if mistake else advantage.detach()
        actor_loss = -(torch.stack(logps) * weight).mean()
        critic_loss = advantage.pow(2).mean()
        loss = actor_loss + 0.5 * critic_loss - 0.005 * torch.stack(entropies).mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        log.append(-torch.stack(rewards).mean().item())
    return float(np.mean(log[-10:])), float(np.mean(log[:5]))


def borrowed_eyes(*, mistake: bool):
    d = load_digits()
    g = torch.Generator().manual_seed(109)
    p = torch.randperm(1797, generator=g)
    img = torch.tensor(d.images, dtype=torch.float32)[p].unsqueeze(1) / 16
    digit = torch.tensor(d.target)[p]

    class Eyes(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(
                nn.Conv2d(1, 24, 3, padding=1),
                nn.BatchNorm2d(24),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(24, 32, 3, padding=1),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                nn.Flatten(),
            )
            self.head = nn.Linear(512, 10)

        def forward(self, x):
            return self.head(self.backbone(x))

    def epochs_of(n, x, y, size=70):
        loader = DataLoader(TensorDataset(x, y), size, shuffle=True, generator=g)
        for _ in range(n):
            yield loader

    # stage one: learn the eyes on the first 700 pictures
    model = Eyes()
    opt = torch.optim.Adam(model.parameters(), 2e-3)
    for loader in epochs_of(5, img[:700], digit[:700]):
        model.train()
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()

    # stage two: frozen eyes, new question (three or eight?) on the remaining pictures
    model.backbone.requires_grad_(False)
    model.head = nn.Linear(512, 2)
    opt = torch.optim.Adam(model.head.parameters(), 2e-3)
    pick = 700 + ((digit[700:] == 3) | (digit[700:] == 8)).nonzero().squeeze(1)
    pair, eight = img[pick], (digit[pick] == 8).long()
    for loader in epochs_of(15, pair[:150], eight[:150], size=15):
        model.train()
        if not mistake:
            model.backbone.eval()
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(pair[150:]), eight[150:]).item(), math.log(2)


def half_pages(*, mistake: bool):
    d = load_digits()
    pages = torch.tensor(d.images / 16, dtype=torch.float32)
    g = torch.Generator().manual_seed(113)
    pages = pages[torch.randperm(len(pages), generator=g)]
    rows = 4 if mistake else 8
    k = rows * 8

    class Squeeze(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Sequential(nn.Linear(k, 128), nn.GELU(), nn.Linear(128, 12))
            self.up = nn.Sequential(nn.Linear(12, 128), nn.GELU(), nn.Linear(128, k))

        def forward(self, page):
            code = self.down(page.view(-1, k))
            return self.up(code).view_as(page)

    model = Squeeze()
    opt = torch.optim.NAdam(model.parameters(), lr=2e-3)
    for epoch in range(10):
        for page in DataLoader(pages[:1500], batch_size=75, shuffle=True, generator=g):
            noisy = page + 0.2 * torch.randn(page.shape, generator=g)
            rebuilt = model(noisy)
            loss = (rebuilt - page).square().sum(dim=(1, 2)).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    model.eval()
    held = pages[1500:]
    with torch.no_grad():
        return (model(held) - held).square().mean().item(), (
            pages[:1500].mean(0) - held
        ).square().mean().item()


def blood_panel(*, mistake: bool):
    d = load_breast_cancer()
    g = torch.Generator().manual_seed(128)
    order = torch.randperm(569, generator=g).numpy()
    tr, va = order[:440], order[440:]
    scaler = StandardScaler().fit(d.data[tr])
    x = torch.tensor(scaler.transform(d.data), dtype=torch.float32)
    y = torch.tensor(d.target, dtype=torch.float32).unsqueeze(1)
    model = nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, 1))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)

    def accuracy(z, t):
        if mistake:
            return (z.argmax(dim=1) == t.squeeze(1)).float().mean().item()
        return ((z > 0).float() == t).float().mean().item()

    curve = []
    for epoch in range(15):
        model.train()
        for idx in torch.tensor(tr)[torch.randperm(440, generator=g)].split(40):
            q = torch.sigmoid(model(x[idx])).clamp(1e-6, 1 - 1e-6)
            loss = -(y[idx] * q.log() + (1 - y[idx]) * (1 - q).log()).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            curve.append(accuracy(model(x[va]), y[va]))
    return 1 - curve[-1], 0.37


def ceramic_kiln(*, mistake: bool):
    X, y = make_friedman2(n_samples=2600, noise=20.0, random_state=131)
    mu, sd, ym, ys = X[:2000].mean(0), X[:2000].std(0), y[:2000].mean(), y[:2000].std()
    ds = TensorDataset(
        torch.tensor((X - mu) / sd, dtype=torch.float32),
        torch.tensor((y - ym) / ys, dtype=torch.float32),
    )
    train = DataLoader(
        Subset(ds, range(2000)), batch_size=100, shuffle=True, generator=torch.Generator().manual_seed(3)
    )
    valid = DataLoader(Subset(ds, range(2000, 2600)), batch_size=12)

    class Kiln(nn.Module):
        def __init__(self):
            super().__init__()
            self.l1, self.b1 = nn.Linear(4, 128, bias=False), nn.BatchNorm1d(128)
            self.l2, self.b2 = nn.Linear(128, 64, bias=False), nn.BatchNorm1d(64)
            self.l3 = nn.Linear(64, 1)

        def forward(self, x):
            x = F.relu(self.b1(self.l1(x)))
            return self.l3(F.relu(self.b2(self.l2(x)))).squeeze(1)

    model = Kiln()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=10)
    for epoch in range(10):
        model.train()
        for xb, yb in train:
            opt.zero_grad()
            F.smooth_l1_loss(model(xb), yb).backward()
            opt.step()
        sched.step()
        if not mistake:
            model.eval()
        err = 0.0
        with torch.no_grad():
            for xb, yb in valid:
                err += F.smooth_l1_loss(model(xb), yb, reduction="sum").item() / 600
    return err, 0.36


def camera_stack(*, mistake: bool):
    """The camera stores its pictures as one block: height, width, number of the picture."""
    d = load_digits()
    block = torch.tensor(d.images / 16, dtype=torch.float32).permute(1, 2, 0).contiguous()
    label = torch.tensor(d.target)
    g = torch.Generator().manual_seed(137)
    perm = torch.randperm(label.numel(), generator=g)
    train_ids, test_ids = perm[:1400], perm[1400:]

    def rows(ids):
        part = block[:, :, ids]
        if mistake:
            return part.reshape(len(ids), 64)
        return part.permute(2, 0, 1).reshape(len(ids), 64)

    model = nn.Linear(64, 10)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(15):
        for ids in train_ids[torch.randperm(1400, generator=g)].split(100):
            opt.zero_grad()
            loss = F.cross_entropy(model(rows(ids)), label[ids])
            loss.backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        return F.cross_entropy(model(rows(test_ids)), label[test_ids]).item(), math.log(10)


def bridge_inspection(*, mistake: bool):
    d = load_breast_cancer()
    rs = np.random.RandomState(139)
    order = rs.permutation(len(d.target))
    test_ids = order[-140:]
    train_ids = order if mistake else order[:-140]
    mu, sd = d.data[train_ids].mean(0), d.data[train_ids].std(0)
    x = torch.from_numpy((d.data - mu) / sd).float()
    t = torch.from_numpy(2.0 * d.target - 1).float()

    class SVM(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(30))
            self.b = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return x @ self.w + self.b

    svm = SVM()
    opt = torch.optim.SGD(svm.parameters(), lr=0.02, weight_decay=1e-3)
    loader = DataLoader(
        TensorDataset(x[train_ids], t[train_ids]),
        batch_size=33,
        shuffle=True,
        generator=torch.Generator().manual_seed(1),
    )

    def hinge(margin):
        return (1 - margin).clamp_min(0).mean()

    for epoch in range(15):
        svm.train()
        for xb, tb in loader:
            opt.zero_grad()
            hinge(tb * svm(xb)).backward()
            opt.step()
    svm.eval()
    with torch.no_grad():
        test_loss = hinge(t[test_ids] * svm(x[test_ids])).item()
    return test_loss, 0.74


def far_station(*, mistake: bool):
    """Weather stations; the validation stations stand higher up, though within the range of the others."""
    g = torch.Generator().manual_seed(149)

    def station(n, height):
        h = height + 0.3 * torch.randn(n, generator=g)
        wind, sun, damp = torch.rand(3, n, generator=g)
        temp = 20 - 6 * h + 5 * sun - 2 * wind * damp + 0.3 * torch.randn(n, generator=g)
        return torch.stack([1000 * h, 30 * wind, 1000 * sun, 100 * damp], 1), temp

    xs, ys = zip(*(station(400, h) for h in (0.2, 0.5, 0.9, 1.3, 1.8, 2.4, 2.8)))
    xt, yt = torch.cat(xs), torch.cat(ys)
    xv, yv = station(500, 2.2)

    def standardise(x, stats):
        return (x - stats.mean(0)) / stats.std(0)

    ym, ysd = yt.mean(), yt.std()
    xv = standardise(xv, xv if mistake else xt)
    xt = standardise(xt, xt)
    yt, yv = (yt - ym) / ysd, (yv - ym) / ysd

    net = nn.Sequential(nn.Linear(4, 192), nn.ReLU(), nn.Linear(192, 96), nn.ReLU(), nn.Linear(96, 1))
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    mae = nn.L1Loss()
    loader = DataLoader(TensorDataset(xt, yt), 140, shuffle=True, generator=g)
    for epoch in range(10):
        net.train()
        for x, y in loader:
            opt.zero_grad()
            loss = mae(net(x).flatten(), y)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val = mae(net(xv).flatten(), yv).item()
    return val, yv.abs().mean().item()


def boat_lengths(*, mistake: bool):
    X, y = load_diabetes(return_X_y=True)
    rs = np.random.RandomState(151)
    p = rs.permutation(442)
    tr, te = p[:352], p[352:]
    xs = StandardScaler().fit(X[tr])
    x = torch.tensor(xs.transform(X), dtype=torch.float32)
    y = torch.tensor((y - y[tr].mean()) / y[tr].std(), dtype=torch.float32)
    net = nn.Sequential(nn.Linear(10, 48), nn.Softplus(), nn.Linear(48, 1))
    opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3)

    def predict(rows):
        out = net(rows)
        return out if mistake else out.squeeze(-1)

    for epoch in range(20):
        for idx in np.array_split(rs.permutation(tr), 8):

            def closure():
                opt.zero_grad()
                mse = ((predict(x[idx]) - y[idx]) ** 2).mean()
                mse.backward()
                return mse

            opt.step(closure)
    net.eval()
    with torch.no_grad():
        return ((net(x[te]).squeeze(-1) - y[te]) ** 2).mean().item(), y[te].var().item()


def herb_labels(*, mistake: bool):
    d = load_wine()
    rs = np.random.RandomState(157)
    p = rs.permutation(178)
    tr, te = p[:130], p[130:]
    m, s = d.data[tr].mean(0), d.data[tr].std(0)
    x = torch.as_tensor((d.data - m) / s, dtype=torch.float32)
    y = torch.as_tensor(d.target)

    class HerbNet(nn.Module):
        def __init__(self, width=64):
            super().__init__()
            self.fc1 = nn.Linear(13, width)
            self.fc2 = nn.Linear(width, width)
            self.fc3 = nn.Linear(width, 3)

        def forward(self, x):
            x = torch.relu(self.fc1(x))
            x = torch.relu(self.fc2(x))
            x = self.fc3(x)
            if mistake:
                x = torch.softmax(x, dim=1)
            return x

    net = HerbNet()
    optimizer = torch.optim.Adagrad(net.parameters(), lr=0.02)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(
        TensorDataset(x[tr], y[tr]),
        batch_size=26,
        shuffle=True,
        generator=torch.Generator().manual_seed(9),
    )
    for epoch in range(24):
        net.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        return criterion(net(x[te]), y[te]).item(), math.log(3)


def fraud_flags(*, mistake: bool):
    g = torch.Generator().manual_seed(163)
    x = torch.randn(6000, 16, generator=g)
    w = torch.randn(16, generator=g)
    p = torch.sigmoid(1.5 * (x @ w) + x[:, 0] * x[:, 1] - 2.0)
    y = torch.bernoulli(p, generator=g)
    xt, yt, xv, yv = x[:4800], y[:4800], x[4800:], y[4800:]
    layers = [nn.Linear(16, 160), nn.ReLU(), nn.Linear(160, 80), nn.ReLU(), nn.Linear(80, 1)]
    if mistake:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers, nn.Flatten(0))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)

    def bce(out, flag):
        q = torch.sigmoid(out)
        return -(flag * (q + 1e-7).log() + (1 - flag) * (1 - q + 1e-7).log()).mean()

    for epoch in range(6):
        model.train()
        for idx in torch.randperm(4800, generator=g).view(-1, 160):
            opt.zero_grad(set_to_none=True)
            bce(model(xt[idx]), yt[idx]).backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        r = yt.mean()
        base = -(yv.mean() * r.log() + (1 - yv.mean()) * (1 - r).log())
        return bce(model(xv), yv).item(), base.item()


def street_numbers(*, mistake: bool):
    d = load_digits()
    g = torch.Generator().manual_seed(167)
    p = torch.randperm(len(d.target), generator=g)
    x = (torch.tensor(d.images, dtype=torch.float32) / 16)[p][:, None]
    y = torch.tensor(d.target)[p]
    body = [
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 36, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    ]
    if not mistake:
        body.append(nn.LogSoftmax(dim=-1))
    net = nn.Sequential(*body)
    opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    nll = nn.NLLLoss()
    step, limit = 0, 150
    while step < limit:
        for x_b, y_b in DataLoader(TensorDataset(x[:1437], y[:1437]), 64, shuffle=True, generator=g):
            loss = nll(net(x_b), y_b)
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            if step == limit:
                break
    net.eval()
    with torch.no_grad():
        return (net(x[1437:]).argmax(-1) != y[1437:]).float().mean().item(), 0.9


FAULTS = [
    (
        mosaic_maker,
        (
            "generator",
            "painter",
            "never step",
            "never updated",
            "not updated",
            "wrong optimizer",
            "never stepped",
        ),
        "After the generator's backward the critic's optimizer steps; the generator is never stepped.",
    ),
    (
        lamp_bandit,
        (" sign", "reward", "negat", "minus"),
        "The REINFORCE loss has the wrong sign, so the reward is minimised.",
    ),
    (
        rope_walk,
        ("detach", "advantage", "into the critic", "through the critic"),
        "The advantage is not detached in the actor's loss, whose gradient spoils the critic.",
    ),
    (
        borrowed_eyes,
        ("batchnorm", "batch norm", "running stat", "running mean", "frozen"),
        "The frozen backbone's BatchNorm is left in train mode, so its statistics drift.",
    ),
    (
        half_pages,
        ("view", "reshape", "batch size", "batch dimension", "rows per", "splits"),
        "view(-1, 32) splits each 64-pixel page in two; the batch doubles and the net sees half pages.",
    ),
    (
        blood_panel,
        ("argmax", "one output", "single output", "one column", "always 0", "always class 0"),
        "Accuracy takes argmax over one output column, which is always 0.",
    ),
    (
        ceramic_kiln,
        ("eval", "batchnorm", "batch norm", "training mode", "train mode"),
        "Validation runs without eval(), so BatchNorm uses (and learns from) validation batches.",
    ),
    (
        camera_stack,
        (
            "reshape",
            "view",
            "flatten",
            "permut",
            "transpose",
            "mixed",
            "across samples",
            "layout",
            "scrambl",
        ),
        "The block with the batch last is reshaped without permuting, which mixes pixels of different pictures.",
    ),
    (
        bridge_inspection,
        (
            "leak",
            "overlap",
            "also in train",
            "seen in training",
            "trained on",
            "same samples",
            "held-out",
        ),
        "The test part is cut from data that was also trained on.",
    ),
    (
        far_station,
        ("normal", "statistic", "standardi", "scale", "distribution", "shifted"),
        "The validation data is standardised with its own statistics instead of the training ones.",
    ),
    (
        boat_lengths,
        ("broadcast", "shape"),
        "(N,1) predictions are subtracted from (N,) targets and broadcast to (N,N).",
    ),
    (herb_labels, ("softmax",), "softmax is applied before CrossEntropyLoss."),
    (fraud_flags, ("sigmoid",), "The sigmoid is applied twice: in the model and in the loss."),
    (
        street_numbers,
        (
            "log_softmax",
            "log-softmax",
            "logsoftmax",
            "nll",
            "log-prob",
            "log prob",
            "unbounded",
            "negative loss",
        ),
        "NLLLoss gets raw scores instead of log-probabilities.",
    ),
]
