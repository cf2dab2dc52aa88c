"""Healthy loops of less usual designs: self-supervision, policy gradients, flat weight averaging, meta-learning."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

from .common import VecCartPole, corpus, digit_split, seed_all


# ---------------------------------------------------------------- BYOL
def conv_encoder(out=64):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, out),
    )


def mlp_head(i, hidden, o):
    return nn.Sequential(nn.Linear(i, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, o))


def augment(x):
    shifts = torch.randint(-1, 2, (2,)).tolist()
    x = torch.roll(x, shifts, dims=(2, 3))
    x = x * torch.empty(len(x), 1, 1, 1).uniform_(0.7, 1.3)
    return x + 0.08 * torch.randn_like(x)


class BYOL(nn.Module):
    def __init__(self, tau=0.98):
        super().__init__()
        self.online = nn.Sequential(conv_encoder(), mlp_head(64, 128, 32))
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.predictor = mlp_head(32, 64, 32)
        self.tau = tau

    @torch.no_grad()
    def update_target(self):
        for o, t in zip(self.online.parameters(), self.target.parameters()):
            t.lerp_(o, 1 - self.tau)

    def forward(self, v1, v2):
        p1, p2 = self.predictor(self.online(v1)), self.predictor(self.online(v2))
        with torch.no_grad():
            t1, t2 = self.target(v1), self.target(v2)
        return (2 - F.cosine_similarity(p1, t2, dim=-1) - F.cosine_similarity(p2, t1, dim=-1)).mean()


def byol_digits() -> None:
    """Bootstrap your own latent: online net and predictor follow a slowly moving target without gradients."""
    seed_all(50)
    xtr, ytr, xte, yte = digit_split(seed=50)
    learner = BYOL()
    opt = torch.optim.AdamW(
        [p for p in learner.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-4
    )
    loader = DataLoader(TensorDataset(xtr), batch_size=128, shuffle=True, drop_last=True)
    learner.train()
    for epoch in range(11):
        losses = []
        for (x,) in loader:
            loss = learner(augment(x), augment(x))
            opt.zero_grad()
            loss.backward()
            opt.step()
            learner.update_target()
            losses.append(loss.item())
        if epoch % 5 == 0:
            print(f"byol epoch {epoch} loss {np.mean(losses):.3f}")
    encoder = learner.online[0].eval()
    with torch.no_grad():
        ftr, fte = encoder(xtr), encoder(xte)
    probe = nn.Sequential(nn.BatchNorm1d(64, affine=False), nn.Linear(64, 10))
    popt = torch.optim.Adam(probe.parameters(), lr=1e-2)
    probe.train()
    for _ in range(100):
        loss = F.cross_entropy(probe(ftr), ytr)
        popt.zero_grad()
        loss.backward()
        popt.step()
    probe.eval()
    with torch.no_grad():
        print(
            f"linear probe loss {loss.item():.3f} acc {(probe(fte).argmax(1) == yte).float().mean().item():.3f}"
        )


# ---------------------------------------------------------------- PPO
class Agent(nn.Module):
    def __init__(self):
        super().__init__()

        def layer(i, o, gain=math.sqrt(2)):
            lin = nn.Linear(i, o)
            nn.init.orthogonal_(lin.weight, gain)
            nn.init.zeros_(lin.bias)
            return lin

        self.critic = nn.Sequential(layer(4, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
        self.actor = nn.Sequential(layer(4, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 2, 0.01))

    def act(self, obs, action=None):
        dist = torch.distributions.Categorical(logits=self.actor(obs))
        if action is None:
            action = dist.sample()
        return action, dist.log_prob(action), dist.entropy(), self.critic(obs).squeeze(-1)


def ppo_cartpole() -> None:
    """Clipped PPO in the shape of CleanRL: annealed rate, GAE, several epochs of minibatches over each rollout."""
    seed_all(51)
    n_envs, n_steps, n_updates = 8, 64, 22
    env = VecCartPole(n_envs, seed=51)
    agent = Agent()
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-3, eps=1e-5)
    lengths = []
    for update in range(n_updates):
        optimizer.param_groups[0]["lr"] = 2.5e-3 * (1 - update / n_updates)
        obs_b, act_b, logp_b, val_b, rew_b, nextval_b, done_b = [], [], [], [], [], [], []
        for _ in range(n_steps):
            obs = env.obs()
            with torch.no_grad():
                action, logp, _, value = agent.act(obs)
                nxt, reward, fell, done, finished = env.step(action.numpy())
                next_value = agent.critic(nxt).squeeze(-1) * (~fell)
            for store, item in zip(
                (obs_b, act_b, logp_b, val_b, rew_b, nextval_b, done_b),
                (obs, action, logp, value, reward, next_value, done.float()),
            ):
                store.append(item)
            lengths.extend(finished.tolist())
        obs, act, logp_old, val, rew, nv, done = (
            torch.stack(v) for v in (obs_b, act_b, logp_b, val_b, rew_b, nextval_b, done_b)
        )
        adv, last = torch.zeros_like(rew), torch.zeros(n_envs)
        for t in reversed(range(n_steps)):
            delta = rew[t] + 0.99 * nv[t] - val[t]
            last = delta + 0.99 * 0.95 * (1 - done[t]) * last
            adv[t] = last
        ret = adv + val
        flat = [v.flatten(0, 1) for v in (obs, act, logp_old, adv, ret, val)]
        for _ in range(4):
            for idx in torch.randperm(n_envs * n_steps).split(128):
                o, a, lp_old, ad, rt, v_old = (f[idx] for f in flat)
                _, lp, ent, v = agent.act(o, a)
                ratio = (lp - lp_old).exp()
                ad = (ad - ad.mean()) / (ad.std() + 1e-8)
                pg = torch.max(-ad * ratio, -ad * ratio.clamp(0.8, 1.2)).mean()
                v_clip = v_old + (v - v_old).clamp(-10, 10)
                v_loss = 0.5 * torch.max((v - rt) ** 2, (v_clip - rt) ** 2).mean()
                loss = pg - 0.01 * ent.mean() + 0.5 * v_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        if update % 7 == 0:
            print(f"update {update} v_loss {v_loss.item():.2f} episode {np.mean(lengths[-30:]):.1f}")
    print(f"last episodes {np.mean(lengths[-20:]):.1f}")


# ---------------------------------------------------------------- SAC
class PointMass:
    """n points on a line with a speed, to be pushed to the origin."""

    def __init__(self, n, limit=40):
        self.n, self.limit = n, limit
        self.s, self.t = self.fresh(n), torch.randint(0, limit, (n,))

    @staticmethod
    def fresh(n):
        return torch.rand(n, 2) * 2 - 1

    def step(self, a):
        v = (self.s[:, 1] + 0.2 * a[:, 0]).clamp(-1, 1)
        x = (self.s[:, 0] + 0.2 * v).clamp(-2, 2)
        nxt = torch.stack([x, v], 1)
        reward = -(x**2) - 0.1 * v**2 - 0.01 * a[:, 0] ** 2
        self.t += 1
        over = self.t >= self.limit
        self.s = torch.where(over.unsqueeze(1), self.fresh(self.n), nxt)
        self.t[over] = 0
        return nxt, reward


class GaussianActor(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.mean, self.log_std = nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, s):
        h = self.body(s)
        std = self.log_std(h).clamp(-5, 2).exp()
        dist = torch.distributions.Normal(self.mean(h), std)
        u = dist.rsample()
        a = torch.tanh(u)
        logp = (dist.log_prob(u) - torch.log(1 - a.pow(2) + 1e-6)).sum(1)
        return a, logp, torch.tanh(self.mean(h))


def critic_net():
    return nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def sac_point_mass() -> None:
    """Soft actor-critic: twin critics with Polyak targets, reparametrised actor, temperature learned by its own optimizer."""
    seed_all(52)
    env = PointMass(8)
    actor, q1, q2 = GaussianActor(), critic_net(), critic_net()
    q1_t, q2_t = copy.deepcopy(q1), copy.deepcopy(q2)
    for p in list(q1_t.parameters()) + list(q2_t.parameters()):
        p.requires_grad = False
    log_alpha = torch.full((1,), -1.0, requires_grad=True)
    q_params = list(q1.parameters()) + list(q2.parameters())
    q_opt = torch.optim.Adam(q_params, lr=2e-3)
    pi_opt = torch.optim.Adam(actor.parameters(), lr=1e-3)
    a_opt = torch.optim.Adam([log_alpha], lr=2e-3)
    S, A, R, S2 = torch.zeros(8000, 2), torch.zeros(8000, 1), torch.zeros(8000), torch.zeros(8000, 2)
    ptr = 0
    for step in range(800):
        s = env.s.clone()
        with torch.no_grad():
            a = torch.rand(8, 1) * 2 - 1 if step < 50 else actor(s)[0]
        s2, r = env.step(a)
        S[ptr : ptr + 8], A[ptr : ptr + 8], R[ptr : ptr + 8], S2[ptr : ptr + 8] = s, a, r, s2
        ptr += 8
        if step < 50:
            continue
        i = torch.randint(0, ptr, (128,))
        with torch.no_grad():
            a2, lp2, _ = actor(S2[i])
            sa2 = torch.cat([S2[i], a2], 1)
            v2 = torch.min(q1_t(sa2), q2_t(sa2)).squeeze(1) - log_alpha.exp() * lp2
            target = R[i] + 0.95 * v2
        sa = torch.cat([S[i], A[i]], 1)
        q_loss = F.mse_loss(q1(sa).squeeze(1), target) + F.mse_loss(q2(sa).squeeze(1), target)
        q_opt.zero_grad()
        q_loss.backward()
        q_opt.step()

        for p in q_params:
            p.requires_grad = False
        pi, lp, _ = actor(S[i])
        sp = torch.cat([S[i], pi], 1)
        pi_loss = (log_alpha.exp().detach() * lp - torch.min(q1(sp), q2(sp)).squeeze(1)).mean()
        pi_opt.zero_grad()
        pi_loss.backward()
        pi_opt.step()
        for p in q_params:
            p.requires_grad = True

        alpha_loss = -(log_alpha * (lp.detach() - 1.0)).mean()
        a_opt.zero_grad()
        alpha_loss.backward()
        a_opt.step()
        with torch.no_grad():
            for net, tgt in ((q1, q1_t), (q2, q2_t)):
                for p, t in zip(net.parameters(), tgt.parameters()):
                    t.mul_(0.98).add_(0.02 * p)
        if step in (60, 300, 799):
            test = PointMass(64)
            test.t.zero_()
            total = 0.0
            with torch.no_grad():
                for _ in range(30):
                    total += test.step(actor(test.s)[2])[1].mean().item()
            print(
                f"step {step} q {q_loss.item():.3f} alpha {log_alpha.exp().item():.3f} return {total:.2f}"
            )


# ---------------------------------------------------------------- Mixup, then SWA
def mixup_swa_cnn() -> None:
    """Mixup with two-sided loss, a cosine phase, then stochastic weight averaging with BN statistics renewed."""
    seed_all(53)
    xtr, ytr, xte, yte = digit_split(n_test=600, seed=53)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True, drop_last=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(512, 10),
    )
    swa_model = AveragedModel(model)
    epochs, swa_start = 16, 10
    optimizer = torch.optim.SGD(model.parameters(), lr=0.08, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=swa_start, eta_min=0.02)
    swa_scheduler = SWALR(optimizer, swa_lr=0.03, anneal_epochs=2)
    beta = torch.distributions.Beta(0.4, 0.4)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for x, y in loader:
            lam = beta.sample().item()
            index = torch.randperm(len(x))
            mixed = lam * x + (1 - lam) * x[index]
            out = model(mixed)
            loss = lam * F.cross_entropy(out, y) + (1 - lam) * F.cross_entropy(out, y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch >= swa_start:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
        print(
            f"epoch {epoch} mixup loss {total / len(loader):.3f} lr {optimizer.param_groups[0]['lr']:.4f}"
        )
    update_bn(loader, swa_model)
    swa_model.eval()
    with torch.no_grad():
        print(f"swa acc {(swa_model(xte).argmax(1) == yte).float().mean().item():.3f}")


# ---------------------------------------------------------------- nanoGPT-like, accumulation, bfloat16
class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.heads = heads

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (
            z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.ln1(x)).split(c, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.mlp(self.ln2(x))


class MiniGPT(nn.Module):
    def __init__(self, vocab, dim=48, block=32):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, dim), nn.Embedding(block, dim)
        self.blocks = nn.Sequential(Block(dim, 4), Block(dim, 4))
        self.ln = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        self.apply(
            lambda m: (
                nn.init.normal_(m.weight, std=0.02) if isinstance(m, (nn.Linear, nn.Embedding)) else None
            )
        )
        self.head.weight = self.wte.weight

    def forward(self, idx, targets):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        logits = self.head(self.ln(self.blocks(x)))
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def gpt_accumulation_bf16() -> None:
    """A small GPT with tied weights: bfloat16 autocast, gradients of 3 micro-batches averaged, warm-up and cosine by hand."""
    seed_all(54)
    text = corpus()
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    pieces = data.split(500)
    valid = torch.cat(pieces[5::10])
    train = torch.cat([p for i, p in enumerate(pieces) if i % 10 != 5])
    block, micro, accum, max_iters = 32, 12, 3, 160

    def get_batch(source):
        i = torch.randint(len(source) - block - 1, (micro,))
        return torch.stack([source[k : k + block] for k in i]), torch.stack(
            [source[k + 1 : k + block + 1] for k in i]
        )

    model = MiniGPT(len(chars))
    decay = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=8e-3,
        betas=(0.9, 0.95),
    )
    x, y = get_batch(train)
    for it in range(max_iters):
        lr = 8e-3 * min((it + 1) / 20, 0.1 + 0.45 * (1 + math.cos(math.pi * it / max_iters)))
        for group in optimizer.param_groups:
            group["lr"] = lr
        for micro_step in range(accum):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(x, y) / accum
            x, y = get_batch(train)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if it % 50 == 0 or it == max_iters - 1:
            model.eval()
            with torch.no_grad():
                vl = np.mean([model(*get_batch(valid)).item() for _ in range(8)])
            model.train()
            print(f"iter {it} train {loss.item() * accum:.3f} valid {vl:.3f} lr {lr:.2e}")


# ---------------------------------------------------------------- MAML
def sine_task(k):
    amp, phase = torch.empty(1).uniform_(0.5, 3.0), torch.empty(1).uniform_(0, math.pi)

    def sample():
        x = torch.empty(k, 1).uniform_(-4, 4)
        return x, amp * torch.sin(x + phase)

    return sample


def adapt(model, params, x, y, steps, lr, create_graph):
    for _ in range(steps):
        loss = F.mse_loss(functional_call(model, params, (x,)), y)
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=create_graph)
        params = {n: p - lr * g for (n, p), g in zip(params.items(), grads)}
    return params


def maml_sine() -> None:
    """Second-order MAML on sine waves: fast weights by autograd.grad, the meta step through the inner steps."""
    seed_all(55)
    model = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    meta_opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    running = []
    for it in range(300):
        meta_opt.zero_grad()
        meta_loss = 0.0
        for _ in range(4):
            sample = sine_task(10)
            (xs, ys), (xq, yq) = sample(), sample()
            fast = adapt(model, dict(model.named_parameters()), xs, ys, 2, 0.03, create_graph=True)
            meta_loss = meta_loss + F.mse_loss(functional_call(model, fast, (xq,)), yq)
        meta_loss = meta_loss / 4
        meta_loss.backward()
        meta_opt.step()
        running.append(meta_loss.item())
        if (it + 1) % 100 == 0:
            before, after = [], []
            for _ in range(20):
                sample = sine_task(10)
                (xs, ys), (xq, yq) = sample(), sample()
                base = {n: p.detach().requires_grad_() for n, p in model.named_parameters()}
                fast = adapt(model, base, xs, ys, 5, 0.03, create_graph=False)
                with torch.no_grad():
                    before.append(F.mse_loss(model(xq), yq).item())
                    after.append(F.mse_loss(functional_call(model, fast, (xq,)), yq).item())
            print(
                f"it {it + 1} meta {np.mean(running[-100:]):.3f} test {np.mean(before):.2f} -> {np.mean(after):.2f}"
            )


HEALTHY = [byol_digits, ppo_cartpole, sac_point_mass, mixup_swa_cnn, gpt_accumulation_bf16, maml_sine]
