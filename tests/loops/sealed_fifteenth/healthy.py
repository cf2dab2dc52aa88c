"""Healthy loops that look a bit like a mistake and are none."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from .common import (
    TabNet,
    TinyResNet,
    accuracy,
    color16,
    color16_ds,
    corpus,
    digits,
    digits_ds,
    sales,
    seed_all,
)


def sam_two_backwards() -> None:
    """Sharpness-aware minimization: two backward passes a batch, one step; zero_grad between them."""
    seed_all(60)
    tr, va = digits_ds()
    loader, vloader = DataLoader(tr, 64, shuffle=True), DataLoader(va, 256)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 10)
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    rho = 0.05
    for epoch in range(6):
        net.train()
        s = 0.0
        for x, y in loader:
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            with torch.no_grad():
                norm = torch.norm(torch.stack([p.grad.norm() for p in net.parameters()]))
                eps = [p.grad * rho / (norm + 1e-12) for p in net.parameters()]
                for p, e in zip(net.parameters(), eps):
                    p.add_(e)
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            with torch.no_grad():
                for p, e in zip(net.parameters(), eps):
                    p.sub_(e)
            opt.step()
            opt.zero_grad()
            s += loss.item()
        print(f"epoch {epoch} loss {s / len(loader):.3f} acc {accuracy(net, vloader):.3f}")


def tbptt_running_sum() -> None:
    """Truncated BPTT by hand: the loss is summed with its graph over a chunk, propagated once, the state detached."""
    seed_all(61)
    ids, v = corpus()
    bs, chunk = 16, 20
    data = ids[: len(ids) // bs * bs].view(bs, -1)[:, :1500]
    emb, cell, out = nn.Embedding(v, 24), nn.GRUCell(24, 64), nn.Linear(64, v)
    params = [*emb.parameters(), *cell.parameters(), *out.parameters()]
    opt = torch.optim.Adam(params, lr=5e-3)
    for epoch in range(2):
        h, total, k = torch.zeros(bs, 64), 0.0, 0
        chunk_loss = 0.0
        for t in range(data.size(1) - 1):
            h = cell(emb(data[:, t]), h)
            chunk_loss = chunk_loss + F.cross_entropy(out(h), data[:, t + 1])
            if (t + 1) % chunk == 0:
                opt.zero_grad()
                (chunk_loss / chunk).backward()
                nn.utils.clip_grad_norm_(params, 1.0)
                opt.step()
                total, k = total + chunk_loss.item() / chunk, k + 1
                h, chunk_loss = h.detach(), 0.0
        print(f"epoch {epoch} loss {total / k:.3f}")


def full_batch_gcn() -> None:
    """A transductive graph net: the same (whole) graph at each step, masks for train and validation nodes."""
    seed_all(62)
    g = torch.Generator().manual_seed(0)
    n, k = 300, 4
    y = torch.randint(0, k, (n,), generator=g)
    prob = torch.where(y[:, None] == y[None], 0.06, 0.008)
    a = (torch.rand(n, n, generator=g) < prob).float().triu(1)
    a = a + a.T + torch.eye(n)
    d = a.sum(1).rsqrt()
    a = d[:, None] * a * d[None]
    x = F.one_hot(y, k).float() + 1.2 * torch.randn(n, k, generator=g)
    x = torch.cat([x, torch.randn(n, 12, generator=g)], 1)
    perm = torch.randperm(n, generator=g)
    train, val = perm[:120], perm[120:]
    l1, l2 = nn.Linear(16, 32), nn.Linear(32, k)
    opt = torch.optim.Adam([*l1.parameters(), *l2.parameters()], lr=0.01, weight_decay=5e-4)
    for step in range(200):
        out = a @ l2(F.dropout(F.relu(a @ l1(x)), 0.4))
        loss = F.cross_entropy(out[train], y[train])
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 50 == 49:
            with torch.no_grad():
                out = a @ l2(F.relu(a @ l1(x)))
            print(
                f"step {step} loss {loss.item():.3f} val acc {(out[val].argmax(1) == y[val]).float().mean().item():.3f}"
            )


def ranker_argmax_over_candidates() -> None:
    """A one-output scorer of which argmax is taken, over the candidates of a query and rightly so."""
    seed_all(63)
    g = torch.Generator().manual_seed(1)
    w = torch.randn(10, generator=g)
    x = torch.randn(1200, 6, 10, generator=g)
    best = (torch.tanh(x) @ w + 0.3 * torch.randn(1200, 6, generator=g)).argmax(1)
    loader = DataLoader(TensorDataset(x[:1000], best[:1000]), 40, shuffle=True)
    scorer = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = torch.optim.Adam(scorer.parameters(), lr=3e-3)
    for epoch in range(10):
        s = 0.0
        for q, b in loader:
            scores = scorer(q.view(-1, 10)).view(len(q), 6)
            loss = F.cross_entropy(scores, b)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        with torch.no_grad():
            acc = (scorer(x[1000:]).squeeze(-1).argmax(1) == best[1000:]).float().mean().item()
        print(f"epoch {epoch} loss {s / len(loader):.3f} top-1 {acc:.3f}")


def mc_dropout_uncertainty() -> None:
    """Validation with eval() for the score, then dropout on purpose for 20 samples of the uncertainty."""
    seed_all(64)
    cat, num, y = sales(2000, seed=2)
    loader = DataLoader(TensorDataset(cat[:1600], num[:1600], y[:1600]), 64, shuffle=True)
    net = TabNet(p=0.1)
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for epoch in range(10):
        net.train()
        s = 0.0
        for c, n, t in loader:
            opt.zero_grad()
            loss = F.mse_loss(net(c, n).squeeze(1), t)
            loss.backward()
            opt.step()
            s += loss.item()
        net.eval()
        with torch.no_grad():
            v = F.mse_loss(net(cat[1600:], num[1600:]).squeeze(1), y[1600:]).item()
        print(f"epoch {epoch} train {s / len(loader):.3f} val {v:.3f}")
    net.eval()
    for m in net.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    with torch.no_grad():
        samples = torch.stack([net(cat[1600:], num[1600:]).squeeze(1) for _ in range(20)])
    print(
        f"mean sd {samples.std(0).mean().item():.3f} mse of the mean {F.mse_loss(samples.mean(0), y[1600:]).item():.3f}"
    )


def wgan_gp_critic_steps() -> None:
    """WGAN-GP: three critic steps per generator step, a second-order penalty, losses that are negative."""
    seed_all(65)
    x, *_ = digits()
    G = nn.Sequential(nn.Linear(12, 96), nn.ReLU(), nn.Linear(96, 64), nn.Sigmoid())
    C = nn.Sequential(nn.Linear(64, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1))
    og = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.0, 0.9))
    oc = torch.optim.Adam(C.parameters(), lr=2e-3, betas=(0.0, 0.9))
    x = x.flatten(1)
    for step in range(200):
        for _ in range(3):
            real = x[torch.randint(len(x), (64,))]
            fake = G(torch.randn(64, 12)).detach()
            mix = torch.lerp(real, fake, torch.rand(64, 1)).requires_grad_(True)
            (grad,) = torch.autograd.grad(C(mix).sum(), mix, create_graph=True)
            loss_c = C(fake).mean() - C(real).mean() + 5 * ((grad.norm(2, 1) - 1) ** 2).mean()
            oc.zero_grad()
            loss_c.backward()
            oc.step()
        C.requires_grad_(False)
        loss_g = -C(G(torch.randn(64, 12))).mean()
        og.zero_grad()
        loss_g.backward()
        og.step()
        C.requires_grad_(True)
        if step % 50 == 49:
            with torch.no_grad():
                q = torch.cdist(G(torch.randn(200, 12)), x).min(1).values.mean().item()
            print(f"step {step} critic {loss_c.item():.3f} gen {loss_g.item():.3f} nearest {q:.3f}")


def policy_gradient_of_costs() -> None:
    """A policy gradient without a minus: the environment gives costs, which are to be minimized."""
    seed_all(66)
    g = torch.Generator().manual_seed(2)
    w = torch.randn(6, 4, generator=g)
    net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for step in range(300):
        ctx = torch.randn(64, 6)
        dist = torch.distributions.Categorical(logits=net(ctx))
        a = dist.sample()
        cost = (ctx @ w).gather(1, a[:, None]).squeeze(1) + 0.2 * torch.randn(64)
        loss = (dist.log_prob(a) * (cost - cost.mean())).mean() - 0.01 * dist.entropy().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 60 == 59 or step == 0:
            print(f"step {step} mean cost {cost.mean().item():.3f}")


def phases_with_new_optimizer() -> None:
    """Gradual unfreezing: a new optimizer and a per-batch OneCycle schedule for each phase, frozen BatchNorm in eval."""
    seed_all(67)
    x, y, xv, yv = color16()
    vloader = DataLoader(TensorDataset(xv, yv), 256)
    net = TinyResNet()
    loader = DataLoader(TensorDataset(x, y), 64, shuffle=True)
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for xb, yb in loader:
        opt.zero_grad()
        F.cross_entropy(net(xb), yb).backward()
        opt.step()
    net.fc = nn.Linear(net.num_features, 10)
    for name, parts, epochs, lr in [
        ("head", [net.fc], 2, 2e-2),
        ("layer2", [net.fc, net.layer2], 3, 5e-3),
    ]:
        net.requires_grad_(False)
        for p in parts:
            p.requires_grad_(True)
        opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=lr)
        sched = torch.optim.lr_scheduler.OneCycleLR(opt, lr, total_steps=epochs * len(loader))
        for e in range(epochs):
            net.eval()
            for p in parts:
                p.train()
            s = 0.0
            for xb, yb in loader:
                loss = F.cross_entropy(net(xb), yb)
                opt.zero_grad()
                loss.backward()
                opt.step()
                sched.step()
                s += loss.item()
            print(f"{name} {e} loss {s / len(loader):.3f} acc {accuracy(net, vloader):.3f}")


def accumulate_sum_reduction() -> None:
    """Accumulation without a division by the number of micro-batches: summed losses over the true token count, remainder included."""
    seed_all(68)
    ids, v = corpus()
    emb, rnn, out = nn.Embedding(v, 24), nn.GRU(24, 64, batch_first=True), nn.Linear(64, v)
    params = [*emb.parameters(), *rnn.parameters(), *out.parameters()]
    opt = torch.optim.Adam(params, lr=5e-3)
    win = ids.unfold(0, 25, 12)[:880]
    for epoch in range(8):
        total = tokens = 0.0
        order = torch.randperm(len(win)).split(16)
        for group in [order[i : i + 3] for i in range(0, len(order), 3)]:
            n_tok = sum(len(b) for b in group) * 24
            for b in group:
                w = win[b]
                logits = out(rnn(emb(w[:, :-1]))[0])
                loss = F.cross_entropy(logits.reshape(-1, v), w[:, 1:].reshape(-1), reduction="sum")
                (loss / n_tok).backward()
                total += loss.item()
            tokens += n_tok
            opt.step()
            opt.zero_grad()
        print(f"epoch {epoch} loss {total / tokens:.3f}")


def mixer_last_axis() -> None:
    """An MLP-mixer: linear layers over the last axis of unflattened tokens, on purpose; SWA with its own BatchNorm update."""
    seed_all(69)
    tr, va = color16_ds()
    loader, vloader = DataLoader(tr, 64, shuffle=True), DataLoader(va, 256)

    class Mixer(nn.Module):
        def __init__(self, d=32, t=16):
            super().__init__()
            self.patch = nn.Conv2d(3, d, 4, 4)
            self.bn = nn.BatchNorm1d(d)
            self.tok = nn.Sequential(nn.Linear(t, 32), nn.GELU(), nn.Linear(32, t))
            self.ch = nn.Sequential(nn.Linear(d, 64), nn.GELU(), nn.Linear(64, d))
            self.head = nn.Linear(d, 10)

        def forward(self, x):
            x = self.bn(self.patch(x).flatten(2))
            x = x + self.tok(x)
            x = x.transpose(1, 2)
            x = x + self.ch(x)
            return self.head(x.mean(1))

    model = Mixer()
    swa = torch.optim.swa_utils.AveragedModel(model)
    opt = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for epoch in range(10):
        model.train()
        s = 0.0
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            s += loss.item()
        if epoch >= 5:
            swa.update_parameters(model)
        print(f"epoch {epoch} loss {s / len(loader):.3f} acc {accuracy(model, vloader):.3f}")
    torch.optim.swa_utils.update_bn(loader, swa)
    print(f"swa acc {accuracy(swa, vloader):.3f}")


class Chain:
    """7 cells, reward at the right end, a small one at the left."""

    def reset(self):
        self.p, self.t = 3, 0
        return self.p

    def step(self, a):
        self.p += 1 if a else -1
        self.t += 1
        if self.p == 6:
            return self.p, 1.0, True
        if self.p == 0:
            return self.p, 0.2, True
        return self.p, 0.0, self.t >= 30


def dqn_hard_target() -> None:
    """DQN: a target net that is copied every 50 steps and never stepped, gradients clipped by value, steps only after warm-up."""
    seed_all(70)
    rng = np.random.default_rng(0)
    env = Chain()
    q = nn.Sequential(nn.Embedding(7, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
    target = copy.deepcopy(q).requires_grad_(False)
    opt = torch.optim.Adam(q.parameters(), lr=2e-3)
    buf, s, rets, steps = [], env.reset(), [], 0
    for t in range(900):
        eps = max(0.1, 1 - t / 400)
        with torch.no_grad():
            a = int(rng.integers(2)) if rng.random() < eps else q(torch.tensor([s])).argmax(1).item()
        s2, r, done = env.step(a)
        buf.append((s, a, r, s2, float(done)))
        s = s2
        if done:
            rets.append(r)
            s = env.reset()
        if t < 100:
            continue
        bs, ba, br, bn, bd = map(torch.tensor, zip(*[buf[i] for i in rng.integers(0, len(buf), 32)]))
        with torch.no_grad():
            tgt = br + 0.9 * (1 - bd) * target(bn).max(1).values
        loss = F.smooth_l1_loss(q(bs).gather(1, ba[:, None]).squeeze(1), tgt)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(q.parameters(), 1.0)
        opt.step()
        steps += 1
        if steps % 50 == 0:
            target.load_state_dict(q.state_dict())
    print(
        f"returns first {np.mean(rets[:20]):.3f} last {np.mean(rets[-20:]):.3f} loss {loss.item():.4f}"
    )


def byol_like_scaler() -> None:
    """A BYOL-like pair: EMA target without gradients, GradScaler with unscale_ before the clipping, next(it) with a restart at the end."""
    seed_all(71)
    x, y, xv, yv = digits()
    loader = DataLoader(TensorDataset(x), 128, shuffle=True, drop_last=True)
    online = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 32)
    )
    predictor = nn.Sequential(nn.Linear(32, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 32))
    target = copy.deepcopy(online).requires_grad_(False)
    params = [*online.parameters(), *predictor.parameters()]
    opt = torch.optim.AdamW(params, lr=2e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def augment(b):
        b = torch.roll(b, int(torch.randint(-1, 2, ())), dims=3)
        return b + 0.15 * torch.randn_like(b)

    def probe():
        online.eval()
        with torch.no_grad():
            a, b = online(x), online(xv)
        online.train()
        return (y[torch.cdist(b, a).argmin(1)] == yv).float().mean().item()

    it = iter(loader)
    for step in range(240):
        try:
            (b,) = next(it)
        except StopIteration:
            it = iter(loader)
            (b,) = next(it)
        v1, v2 = augment(b), augment(b)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            p1, p2 = predictor(online(v1)), predictor(online(v2))
            with torch.no_grad():
                t1, t2 = target(v1), target(v2)
        loss = (
            2
            - F.cosine_similarity(p1.float(), t2.float()).mean()
            - F.cosine_similarity(p2.float(), t1.float()).mean()
        )
        opt.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(params, 1.0)
        scaler.step(opt)
        scaler.update()
        with torch.no_grad():
            for pt, po in zip(target.parameters(), online.parameters()):
                pt.lerp_(po, 0.02)
        if step % 60 == 59:
            print(f"step {step} loss {loss.item():.3f} 1-nn acc {probe():.3f}")


HEALTHY = [
    sam_two_backwards,
    tbptt_running_sum,
    full_batch_gcn,
    ranker_argmax_over_candidates,
    mc_dropout_uncertainty,
    wgan_gp_critic_steps,
    policy_gradient_of_costs,
    phases_with_new_optimizer,
    accumulate_sum_reduction,
    mixer_last_axis,
    dqn_hard_target,
    byol_like_scaler,
]
