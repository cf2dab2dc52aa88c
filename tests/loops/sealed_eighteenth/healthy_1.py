"""Correct loops that come near to common mistakes."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    ecg_beats,
    load_series,
    machine_sensors,
    patches,
    ratings,
    seed_all,
    words,
)
from .faults_2 import ActorCritic, Rooms, daily_profiles, discriminator, generator, profile_error
from .faults_3 import backbone
from .faults_4 import ecg_cnn


def critic_twice_per_generator() -> None:
    """A hinge GAN with two critic steps, each on fresh noise, for one generator step; fakes detached."""
    seed_all(60)
    real = daily_profiles(seed=3)
    loader = DataLoader(TensorDataset(real), batch_size=50, shuffle=True, drop_last=True)
    G, D = generator(), discriminator()
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for epoch in range(30):
        for (x,) in loader:
            for _ in range(2):
                fake = G(torch.randn(len(x), 8)).detach()
                loss_d = F.relu(1 - D(x)).mean() + F.relu(1 + D(fake)).mean()
                opt_d.zero_grad()
                loss_d.backward()
                opt_d.step()
            for p in D.parameters():
                p.requires_grad_(False)
            loss_g = -D(G(torch.randn(len(x), 8))).mean()
            opt_g.zero_grad()
            loss_g.backward()
            opt_g.step()
            for p in D.parameters():
                p.requires_grad_(True)
    with torch.no_grad():
        print("profile errors", profile_error(G(torch.randn(500, 8)), real))


def monte_carlo_dropout() -> None:
    """Validation in eval mode; afterwards dropout is switched on on purpose for the uncertainty of predictions."""
    seed_all(61)
    x, y = ecg_beats(1200, seed=8)
    train = DataLoader(TensorDataset(x[:900], y[:900]), batch_size=30, shuffle=True)
    model = ecg_cnn(p=0.3)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(10):
        model.train()
        for xb, yb in train:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc = (model(x[900:]).argmax(1) == y[900:]).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.3f} acc {acc:.3f}")
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    with torch.no_grad():
        draws = torch.stack([F.softmax(model(x[900:]), 1) for _ in range(20)])
    print("mean predictive std", draws.std(0).mean().item())


def linear_probe() -> None:
    """A frozen pretrained encoder in eval mode under no_grad; the optimizer has the head alone."""
    seed_all(62)
    x, y, _ = patches(1100, seed=6)
    encoder = backbone(12)
    pre = nn.Sequential(encoder, nn.Linear(96, 5))
    opt = torch.optim.Adam(pre.parameters(), lr=2e-3)
    for epoch in range(3):
        pre.train()
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(pre(xb), yb).backward()
            opt.step()

    x2, y2, _ = patches(800, seed=7)
    y2 = (y2 == 3).float()
    encoder.eval()
    encoder.requires_grad_(False)
    head = nn.Linear(96, 1)
    opt = torch.optim.Adam(head.parameters(), lr=1e-2)
    train = DataLoader(TensorDataset(x2[:500], y2[:500]), batch_size=25, shuffle=True)
    for epoch in range(8):
        head.train()
        total = 0.0
        for xb, yb in train:
            with torch.no_grad():
                z = encoder(xb)
            loss = F.binary_cross_entropy_with_logits(head(z).squeeze(1), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        head.eval()
        with torch.no_grad():
            pred = head(encoder(x2[500:])).squeeze(1) > 0
        print(
            f"epoch {epoch} loss {total / len(train):.3f} acc {(pred == (y2[500:] > 0)).float().mean().item():.3f}"
        )


def gradual_unfreezing() -> None:
    """Two phases; for the second the optimizer is built anew, once, over head and encoder."""
    seed_all(63)
    x, y = words(1200, seed=9)
    train = DataLoader(TensorDataset(x[:900], y[:900]), batch_size=30, shuffle=True)
    encoder = nn.GRU(20, 32, batch_first=True)
    head = nn.Linear(32, 6)

    def run_phase(opt, epochs):
        for epoch in range(epochs):
            total = 0.0
            for xb, yb in train:
                opt.zero_grad(set_to_none=True)
                loss = F.cross_entropy(head(encoder(xb)[1][0]), yb)
                loss.backward()
                opt.step()
                total += loss.item()
            with torch.no_grad():
                acc = (head(encoder(x[900:])[1][0]).argmax(1) == y[900:]).float().mean().item()
            print(f"epoch {epoch} loss {total / len(train):.3f} acc {acc:.3f}")

    encoder.requires_grad_(False)
    run_phase(torch.optim.Adam(head.parameters(), lr=5e-3), 2)
    encoder.requires_grad_(True)
    run_phase(
        torch.optim.Adam(
            [{"params": encoder.parameters(), "lr": 3e-3}, {"params": head.parameters(), "lr": 1e-3}]
        ),
        6,
    )


def one_cycle_with_amp_and_accumulation() -> None:
    """OneCycleLR per optimizer step (as it must), unscale_ before clipping, the remainder of the accumulation applied."""
    seed_all(64)
    x, y = words(1000, seed=10)
    train = DataLoader(TensorDataset(x[:700], y[:700]), batch_size=20, shuffle=True)  # 35 batches
    val = DataLoader(TensorDataset(x[700:], y[700:]), batch_size=100)
    model = nn.Sequential(nn.Flatten(), nn.Linear(640, 64), nn.ReLU(), nn.Linear(64, 6))
    accumulate, epochs = 3, 10
    steps = -(-len(train) // accumulate)
    opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=epochs * steps)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    rest = len(train) % accumulate
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for i, (xb, yb) in enumerate(train):
            group = rest if i >= len(train) - rest else accumulate
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(xb), yb)
            scaler.scale(loss / group).backward()
            total += loss.item()
            if (i + 1) % accumulate == 0 or i + 1 == len(train):
                scaler.unscale_(opt)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(opt)
                scaler.update()
                opt.zero_grad()
                sched.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in val)
        print(f"epoch {epoch} loss {total / len(train):.3f} acc {hits / 300:.3f}")


def folds_and_final_fit() -> None:
    """Cross-validation with a new model in each fold, then a final fit on all of train + validation; the test set is apart."""
    seed_all(65)
    x, y = ecg_beats(1000, seed=11)
    dev, test = torch.arange(800), torch.arange(800, 1000)

    def fit(idx, wd, epochs=10):
        model = ecg_cnn(p=0.1)
        opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=wd)
        loader = DataLoader(TensorDataset(x[idx], y[idx]), batch_size=40, shuffle=True)
        model.train()
        for _ in range(epochs):
            for xb, yb in loader:
                opt.zero_grad()
                F.cross_entropy(model(xb), yb).backward()
                opt.step()
        return model

    @torch.no_grad()
    def score(model, idx):
        model.eval()
        return (model(x[idx]).argmax(1) == y[idx]).float().mean().item()

    results = {}
    perm = dev[torch.randperm(len(dev))]
    for wd in (0.0, 0.05):
        accs = []
        for k in range(3):
            val = perm[k::3]
            train = perm[~torch.isin(perm, val)]
            accs.append(score(fit(train, wd), val))
        results[wd] = sum(accs) / len(accs)
    best = max(results, key=results.get)
    print(results, "test", score(fit(dev, best), test))


def truncated_bptt() -> None:
    """The losses of a chunk of 24 hours are summed with their graph, propagated once, and the hidden state is detached."""
    seed_all(66)
    series = torch.stack([load_series(40, seed=s) for s in range(16)], 1)  # hours, stations
    cell, out = nn.GRUCell(1, 24), nn.Linear(24, 1)
    params = [*cell.parameters(), *out.parameters()]
    opt = torch.optim.Adam(params, lr=5e-3)
    for epoch in range(5):
        h = torch.zeros(16, 24)
        total = 0.0
        chunk_loss, n = 0.0, 0
        for t in range(len(series) - 1):
            h = cell(series[t].unsqueeze(1), h)
            chunk_loss = chunk_loss + F.mse_loss(out(h).squeeze(1), series[t + 1])
            n += 1
            if n == 24:
                opt.zero_grad()
                (chunk_loss / n).backward()
                nn.utils.clip_grad_norm_(params, 1.0)
                opt.step()
                total += chunk_loss.item()
                h = h.detach()
                chunk_loss, n = 0.0, 0
        print(f"epoch {epoch} mse {total / len(series):.4f}")


def maximised_return() -> None:
    """REINFORCE with optimizer maximize=True: the objective has no minus sign and needs none."""
    seed_all(67)
    env, agent = Rooms(), ActorCritic()
    actor = torch.optim.Adam([*agent.body.parameters(), *agent.pi.parameters()], lr=5e-3, maximize=True)
    for it in range(120):
        s = env.reset()
        logp, rewards = [], []
        for t in range(16):
            dist, _ = agent(s)
            a = dist.sample()
            s, r = env.step(a)
            logp.append(dist.log_prob(a))
            rewards.append(r)
        g, returns = torch.zeros(env.n), []
        for r in reversed(rewards):
            g = r + 0.9 * g
            returns.insert(0, g)
        returns = torch.stack(returns)
        adv = (returns - returns.mean(1, keepdim=True)) / (returns.std(1, keepdim=True) + 1e-6)
        objective = (torch.stack(logp) * adv).mean()
        actor.zero_grad()
        objective.backward()
        actor.step()
        if it % 30 == 29:
            print(f"iteration {it} mean reward {torch.stack(rewards).mean().item():.3f}")


def time_distributed_layers() -> None:
    """Linear layers on (batch, time, channels) on purpose, loss over view(-1, 6) of outputs and targets; EMA weights for the report."""
    seed_all(68)
    x = machine_sensors(1500, seed=5).transpose(1, 2).contiguous()  # (n, 24, 6)
    model = nn.Sequential(
        nn.Linear(6, 32),
        nn.ReLU(),
        nn.Linear(32, 3),
        nn.ReLU(),
        nn.Linear(3, 32),
        nn.ReLU(),
        nn.Linear(32, 6),
    )
    ema = copy.deepcopy(model).requires_grad_(False)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(TensorDataset(x[:1200]), batch_size=40, shuffle=True)
    for epoch in range(10):
        total = 0.0
        for (xb,) in loader:
            noisy = xb + 0.3 * torch.randn_like(xb)
            loss = F.mse_loss(model(noisy).view(-1, 6), xb.view(-1, 6))
            opt.zero_grad()
            loss.backward()
            opt.step()
            with torch.no_grad():
                for e, p in zip(ema.parameters(), model.parameters()):
                    e.lerp_(p, 0.05)
            total += loss.item()
        print(
            f"epoch {epoch} mse {total / len(loader):.4f} ema test {F.mse_loss(ema(x[1200:]), x[1200:]).item():.4f}"
        )


def sparse_and_dense_optimizers() -> None:
    """A two-tower recommender with SparseAdam for the tables and Adam for the rest; both are reset and stepped, and each has its scheduler per epoch."""
    seed_all(69)
    u, i, r = ratings(n=6000, seed=4)
    users, items = nn.Embedding(150, 12, sparse=True), nn.Embedding(120, 12, sparse=True)
    for e in (users, items):
        nn.init.normal_(e.weight, std=0.1)
    net = nn.Sequential(nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 1))
    opts = [
        torch.optim.SparseAdam([users.weight, items.weight], lr=5e-3),
        torch.optim.Adam(net.parameters(), lr=2e-3),
    ]
    scheds = [torch.optim.lr_scheduler.ExponentialLR(o, 0.93) for o in opts]
    mean = r[:5000].mean()

    def predict(a, b):
        ua, ib = users(a), items(b)
        return mean + net(torch.cat([ua, ib, ua * ib], 1)).squeeze(1)

    for epoch in range(14):
        total = 0.0
        for idx in torch.randperm(5000).split(100):
            loss = F.mse_loss(predict(u[idx], i[idx]), r[idx])
            for o in opts:
                o.zero_grad()
            loss.backward()
            for o in opts:
                o.step()
            total += loss.item() * len(idx)
        for s in scheds:
            s.step()
        with torch.no_grad():
            rmse = F.mse_loss(predict(u[5000:], i[5000:]), r[5000:]).sqrt().item()
        print(
            f"epoch {epoch} mse {total / 5000:.3f} val rmse {rmse:.3f} (std {r[5000:].std().item():.3f})"
        )


HEALTHY = [
    critic_twice_per_generator,
    monte_carlo_dropout,
    linear_probe,
    gradual_unfreezing,
    one_cycle_with_amp_and_accumulation,
    folds_and_final_fit,
    truncated_bptt,
    maximised_return,
    time_distributed_layers,
    sparse_and_dense_optimizers,
]
