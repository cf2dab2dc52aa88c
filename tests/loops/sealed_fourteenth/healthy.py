import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    CartPole,
    accuracy,
    citation_graph,
    digits,
    encode_corpus,
    hourly_load,
    waves,
    windows,
)


def full_graph_every_step():
    """Semi-supervised GCN: the whole graph goes in at each step, the loss is taken on the training nodes; the best state is kept."""
    torch.manual_seed(0)
    x, a, y, tr, va, te = citation_graph(n=900)
    w1, w2 = nn.Linear(x.shape[1], 24), nn.Linear(24, 5)
    net = nn.ModuleList([w1, w2])

    def forward():
        h = F.dropout(x, 0.5, training=net.training)
        h = F.dropout(F.relu(a @ w1(h)), 0.5, training=net.training)
        return a @ w2(h)

    opt = torch.optim.Adam(
        [{"params": w1.parameters(), "weight_decay": 5e-4}, {"params": w2.parameters()}], lr=1e-2
    )
    best, state = 0.0, None
    for epoch in range(300):
        net.train()
        opt.zero_grad()
        loss = F.cross_entropy(forward()[tr], y[tr])
        loss.backward()
        opt.step()
        net.eval()
        with torch.no_grad():
            acc = (forward()[va].argmax(1) == y[va]).float().mean().item()
        if acc > best:
            best, state = acc, copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    net.eval()
    with torch.no_grad():
        print(
            f"full graph: loss {loss.item():.3f} val {best:.3f} test {(forward()[te].argmax(1) == y[te]).float().mean().item():.3f}"
        )


def pairs_folded_into_the_batch():
    """Contrastive pairs (B, 2, 64) go through the encoder as (-1, 64) and are unfolded afterwards."""
    torch.manual_seed(1)
    x, y, xt, yt = digits()
    x, xt = x.flatten(1), xt.flatten(1)
    enc = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
    opt = torch.optim.Adam(enc.parameters(), lr=2e-3)
    by_class = [torch.nonzero(y == c).flatten() for c in range(10)]
    for step in range(1200):
        cls = torch.randint(10, (48,))
        pick = torch.stack([by_class[c][torch.randint(len(by_class[c]), (2,))] for c in cls])
        pairs = x[pick] + 0.05 * torch.randn(48, 2, 64)
        z = F.normalize(enc(pairs.view(-1, 64)), dim=1).view(48, 2, 16)
        sim = z[:, 0] @ z[:, 1].T / 0.2
        same = (cls[:, None] == cls[None]).float()
        loss = -(F.log_softmax(sim, 1) * same / same.sum(1, keepdim=True)).sum(1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 300 == 0:
            print(f"pairs: step {step} loss {loss.item():.3f}")
    with torch.no_grad():
        near = torch.cdist(F.normalize(enc(xt), dim=1), F.normalize(enc(x), dim=1)).argmin(1)
    print(f"pairs: nearest neighbour acc {(y[near] == yt).float().mean().item():.3f}")


def new_model_for_each_fold():
    """Five-fold cross-validation: model, optimizer and scaling are made anew for each fold."""
    torch.manual_seed(2)
    d = load_wine()
    X, Y = torch.tensor(d.data, dtype=torch.float32), torch.tensor(d.target)
    scores = []
    for tr, te in StratifiedKFold(5, shuffle=True, random_state=0).split(d.data, d.target):
        mu, sd = X[tr].mean(0), X[tr].std(0)
        model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
        opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
        loader = DataLoader(TensorDataset((X[tr] - mu) / sd, Y[tr]), batch_size=16, shuffle=True)
        for epoch in range(60):
            model.train()
            for xb, yb in loader:
                opt.zero_grad()
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                opt.step()
        scores.append(accuracy(model, (X[te] - mu) / sd, Y[te]))
    print("folds:", [round(s, 3) for s in scores])


def reinforce_by_gradient_ascent():
    """Adam with maximize=True: the objective log-probability times advantage carries no minus."""
    torch.manual_seed(3)
    env = CartPole(16, seed=3)
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    opt = torch.optim.Adam(policy.parameters(), lr=1e-2, maximize=True)
    for it in range(80):
        s, alive, S, A, M = env.reset(), torch.ones(16), [], [], []
        for t in range(100):
            with torch.no_grad():
                a = torch.distributions.Categorical(logits=policy(s)).sample()
            S.append(s)
            A.append(a)
            M.append(alive)
            _, _, fell, _ = env.step(a.numpy())
            alive = alive * (1 - fell)
            s = env.obs()
            if alive.sum() == 0:
                break
        mask, G, run = torch.stack(M), [], torch.zeros(16)
        for m in reversed(M):
            run = m + 0.97 * run
            G.append(run)
        G = torch.stack(G[::-1])
        mean = (G * mask).sum() / mask.sum()
        adv = (G - mean) / ((((G - mean) ** 2 * mask).sum() / mask.sum()).sqrt() + 1e-6) * mask
        logp = torch.distributions.Categorical(logits=policy(torch.stack(S))).log_prob(torch.stack(A))
        objective = (logp * adv).sum() / mask.sum()
        opt.zero_grad()
        objective.backward()
        opt.step()
        if it % 20 == 19:
            print(
                f"ascent: it {it} objective {objective.item():.3f} return {mask.sum(0).mean().item():.1f}"
            )


def sharpness_aware_rows():
    """SAM by hand: two passes over each batch, the first moves the weights uphill, they are put back before the one step."""
    torch.manual_seed(4)
    x, y, xt, yt = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rho = 0.05
    for epoch in range(45):
        for idx in torch.randperm(len(x)).split(64):
            xb, yb = x[idx], y[idx]
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            with torch.no_grad():
                norm = torch.sqrt(sum(p.grad.pow(2).sum() for p in model.parameters()))
                moves = [p.grad * rho / (norm + 1e-12) for p in model.parameters()]
                for p, m in zip(model.parameters(), moves):
                    p.add_(m)
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            with torch.no_grad():
                for p, m in zip(model.parameters(), moves):
                    p.sub_(m)
            opt.step()
        if epoch % 10 == 0:
            print(f"sam: epoch {epoch} loss {loss.item():.3f} test {accuracy(model, xt, yt):.3f}")


def double_dqn_late_learning():
    """Double DQN: acting long before learning, replayed samples, a softly updated target in no optimizer, one optimizer with a decaying rate."""
    torch.manual_seed(5)
    rng = np.random.default_rng(5)
    env = CartPole(8, seed=5)
    q = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    target = copy.deepcopy(q)
    opt = torch.optim.Adam(q.parameters(), lr=2e-3)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.9985)
    memory = [
        torch.zeros(16000, 4),
        torch.zeros(16000, dtype=torch.long),
        torch.zeros(16000),
        torch.zeros(16000, 4),
        torch.zeros(16000),
    ]
    filled, ages, finished, s = 0, torch.zeros(8), [], env.reset()
    for step in range(2000):
        with torch.no_grad():
            a = q(s).argmax(1)
        a = torch.where(torch.rand(8) < max(0.05, 1 - step / 900), torch.randint(2, (8,)), a)
        s2, r, fell, over = env.step(a.numpy())
        for store, value in zip(memory, (s, a, r, s2, fell)):
            store[filled : filled + 8] = value
        filled += 8
        ages += 1
        finished += ages[over].tolist()
        ages[over] = 0
        s = env.obs()
        if step < 300:
            continue
        idx = torch.from_numpy(rng.integers(filled, size=64))
        bs, ba, br, bs2, bf = (m[idx] for m in memory)
        with torch.no_grad():
            best = q(bs2).argmax(1, keepdim=True)
            goal = br + 0.98 * (1 - bf) * target(bs2).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(q(bs).gather(1, ba[:, None]).squeeze(1), goal)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_value_(q.parameters(), 100)
        opt.step()
        sched.step()
        with torch.no_grad():
            for t, p in zip(target.parameters(), q.parameters()):
                t.lerp_(p, 0.02)
        if step % 400 == 399:
            print(f"double dqn: step {step} td {loss.item():.3f} length {np.mean(finished[-30:]):.1f}")


def two_backwards_one_step():
    """Two tasks: each loss has its own backward, the gradients add up on purpose, then one step; the heads have another optimizer than the trunk."""
    torch.manual_seed(6)
    x, y = windows(hourly_load(1600), 24, 1)
    hour_is_day = ((torch.arange(len(x)) + 24) % 24 - 12).abs() < 6
    rnn = nn.GRU(2, 32, batch_first=True)
    heads = nn.ModuleDict({"load": nn.Linear(32, 1), "day": nn.Linear(32, 1)})
    model = nn.ModuleList([rnn, heads])
    opt_trunk = torch.optim.Adam(rnn.parameters(), lr=3e-3)
    opt_heads = torch.optim.Adam(heads.parameters(), lr=6e-3)
    for epoch in range(18):
        sums = np.zeros(2)
        for idx in torch.randperm(1200).split(48):
            model.zero_grad()
            h = rnn(x[idx])[0][:, -1]
            l1 = F.mse_loss(heads["load"](h), y[idx])
            l1.backward(retain_graph=True)
            l2 = F.binary_cross_entropy_with_logits(heads["day"](h).squeeze(1), hour_is_day[idx].float())
            l2.backward()
            opt_trunk.step()
            opt_heads.step()
            sums += [l1.item(), l2.item()]
        if epoch % 4 == 1:
            print("two tasks: epoch", epoch, (sums / 25).round(3))
    with torch.no_grad():
        h = rnn(x[1250:])[0][:, -1]
        acc = ((heads["day"](h).squeeze(1) > 0) == hour_is_day[1250:]).float().mean().item()
        print(f"two tasks: test mse {F.mse_loss(heads['load'](h), y[1250:]).item():.3f} acc {acc:.3f}")


def monte_carlo_dropout_forecast():
    """After the training the dropout layers alone are put back into training mode, for the spread of thirty forecasts; the error is measured in eval mode."""
    torch.manual_seed(7)
    x, y = windows(hourly_load(1800), 24, 1)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(48, 96),
        nn.BatchNorm1d(96),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(96, 48),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(48, 1),
    )
    loader = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=32, shuffle=True)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=4e-3, total_steps=32 * len(loader))
    for epoch in range(32):
        net.train()
        s = 0.0
        for xb, yb in loader:
            loss = F.mse_loss(net(xb), yb)
            loss.backward()
            opt.step()
            sched.step()
            opt.zero_grad()
            s += loss.item()
        if epoch % 5 == 0:
            print(f"mc dropout: epoch {epoch} mse {s / len(loader):.4f}")
    net.eval()
    with torch.no_grad():
        print(f"mc dropout: test mse {F.mse_loss(net(x[1450:]), y[1450:]).item():.4f}")
        for m in net.modules():
            if isinstance(m, nn.Dropout):
                m.train()
        draws = torch.stack([net(x[1450:]) for _ in range(30)])
    print(f"mc dropout: spread {draws.std(0).mean().item():.3f}")


def probe_then_unfreeze():
    """A linear probe on a frozen encoder in eval mode under no_grad, then the encoder is unfrozen and a new optimizer takes over both."""
    torch.manual_seed(8)
    xa, ya = waves(1000, seed=4)
    xb, yb = waves(700, kinds=("am", "burst", "tri"), seed=5)
    enc = nn.Sequential(
        nn.Conv1d(1, 16, 5, stride=2),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 32, 5, stride=2),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
    )
    old, new = nn.Linear(128, 4), nn.Linear(128, 3)

    def fit(head, x, y, opt, epochs, frozen=False):
        head.train()
        enc.train(not frozen)
        for _ in range(epochs):
            total = 0.0
            for idx in torch.randperm(len(x)).split(32):
                with torch.set_grad_enabled(not frozen):
                    h = enc(x[idx])
                loss = F.cross_entropy(head(h), y[idx])
                opt.zero_grad()
                loss.backward()
                opt.step()
                total += loss.item() * len(idx)
        enc.eval()
        with torch.no_grad():
            acc = (
                (head(enc(xb[500:])).argmax(1) == yb[500:]).float().mean().item()
                if head is new
                else float("nan")
            )
        print(f"probe: loss {total / len(x):.3f} acc {acc:.3f}")

    fit(old, xa, ya, torch.optim.Adam([*enc.parameters(), *old.parameters()], lr=2e-3), 6)
    fit(new, xb[:500], yb[:500], torch.optim.Adam(new.parameters(), lr=5e-3), 25, frozen=True)
    opt = torch.optim.Adam(
        [{"params": enc.parameters(), "lr": 3e-4}, {"params": new.parameters(), "lr": 2e-3}]
    )
    fit(new, xb[:500], yb[:500], opt, 20)


def truncated_bptt_with_accumulation():
    """Character LSTM whose state is carried over detached; loss divided, steps every two segments and at the end; the text is read in order and from its start in each epoch."""
    torch.manual_seed(9)
    data, chars = encode_corpus()
    V, B, T, accum = len(chars), 16, 24, 2
    data = data[: len(data) // B * B].view(B, -1)
    emb, rnn, out = nn.Embedding(V, 24), nn.LSTM(24, 64, batch_first=True), nn.Linear(64, V)
    model = nn.ModuleList([emb, rnn, out])
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    starts = list(range(0, data.shape[1] - T - 1, T))
    for epoch in range(22):
        state, running = None, torch.zeros(())
        for k, i in enumerate(starts):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                h, state = rnn(emb(data[:, i : i + T]), state)
                logits = out(h)
            state = tuple(v.detach() for v in state)
            loss = F.cross_entropy(logits.float().flatten(0, 1), data[:, i + 1 : i + T + 1].flatten())
            (loss / accum).backward()
            running += loss.detach()
            if (k + 1) % accum == 0 or k + 1 == len(starts):
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                opt.zero_grad()
        if epoch % 3 == 0:
            print(f"tbptt: epoch {epoch} loss {running.item() / len(starts):.3f}")


HEALTHY = [
    full_graph_every_step,
    pairs_folded_into_the_batch,
    new_model_for_each_fold,
    reinforce_by_gradient_ascent,
    sharpness_aware_rows,
    double_dqn_late_learning,
    two_backwards_one_step,
    monte_carlo_dropout_forecast,
    probe_then_unfreeze,
    truncated_bptt_with_accumulation,
]
