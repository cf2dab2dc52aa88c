import copy
import math
import random
from collections import deque, namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits, make_moons
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward", "terminated"))


# ------------------------------------------------------------------ DQN
class GridWorld:
    """5x5 with pits; start anywhere, goal in the corner."""

    size, goal, pits = 5, (4, 4), {(1, 1), (2, 3), (3, 1)}

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def _obs(self):
        o = np.zeros((self.size, self.size), dtype=np.float32)
        o[self.pos] = 1.0
        return o.ravel()

    def reset(self):
        free = [
            (i, j) for i in range(5) for j in range(5) if (i, j) not in self.pits and (i, j) != self.goal
        ]
        self.pos, self.t = self.rng.choice(free), 0
        return self._obs()

    def step(self, a):
        d = ((0, 1), (1, 0), (0, -1), (-1, 0))[a]
        self.pos = (min(4, max(0, self.pos[0] + d[0])), min(4, max(0, self.pos[1] + d[1])))
        self.t += 1
        if self.pos == self.goal:
            return self._obs(), 1.0, True, False
        if self.pos in self.pits:
            return self._obs(), -1.0, True, False
        return self._obs(), -0.02, False, self.t >= 30


class ReplayMemory:
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, n):
        return random.sample(self.memory, n)

    def __len__(self):
        return len(self.memory)


def dqn_gridworld():
    random.seed(0)
    torch.manual_seed(0)
    env = GridWorld(1)
    make = lambda: nn.Sequential(
        nn.Linear(25, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4)
    )
    policy_net, target_net = make(), make()
    target_net.load_state_dict(policy_net.state_dict())
    optimizer = torch.optim.AdamW(policy_net.parameters(), lr=2e-3, amsgrad=True)
    memory = ReplayMemory(4000)
    gamma, batch_size, learn_start, updates, steps = 0.95, 128, 600, 0, 0

    def rollout(eps, n=40):
        e, tot = GridWorld(77), 0.0
        for _ in range(n):
            s = e.reset()
            while True:
                with torch.no_grad():
                    a = (
                        random.randrange(4)
                        if random.random() < eps
                        else policy_net(torch.from_numpy(s)).argmax().item()
                    )
                s, r, term, trunc = e.step(a)
                tot += r
                if term or trunc:
                    break
        return tot / n

    baseline = rollout(1.0)
    state = env.reset()
    while updates < 240:
        eps = 0.1 + 0.9 * math.exp(-steps / 700)
        if random.random() > eps:
            with torch.no_grad():
                action = policy_net(torch.from_numpy(state)).argmax().item()
        else:
            action = random.randrange(4)
        nxt, reward, term, trunc = env.step(action)
        memory.push(state, action, nxt, reward, float(term))
        state = env.reset() if (term or trunc) else nxt
        steps += 1
        if len(memory) < learn_start or steps % 8:
            continue
        b = Transition(*zip(*memory.sample(batch_size)))
        s, ns = torch.from_numpy(np.stack(b.state)), torch.from_numpy(np.stack(b.next_state))
        a, r, d = torch.tensor(b.action), torch.tensor(b.reward), torch.tensor(b.terminated)
        q = policy_net(s).gather(1, a.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            best = policy_net(ns).argmax(1, keepdim=True)
            target = r + gamma * (1 - d) * target_net(ns).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
        optimizer.step()
        updates += 1
        if updates % 10 == 0:
            target_net.load_state_dict(policy_net.state_dict())
        if updates % 60 == 0:
            print(updates, f"loss {loss.item():.4f} eps {eps:.2f} greedy return {rollout(0.0):.3f}")
    return "higher", rollout(0.0), baseline


# ------------------------------------------------------------------ PPO
class VecCartPole:
    def __init__(self, n, seed):
        self.n, self.rng = n, np.random.default_rng(seed)
        self.s = self.rng.uniform(-0.05, 0.05, (n, 4))
        self.len = np.zeros(n, dtype=int)
        self.finished = deque(maxlen=40)

    def obs(self):
        return torch.tensor(self.s, dtype=torch.float32)

    def step(self, a):
        x, xd, th, thd = self.s.T
        f = np.where(a == 1, 10.0, -10.0)
        c, s = np.cos(th), np.sin(th)
        tmp = (f + 0.05 * thd**2 * s) / 1.1
        tha = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c * c / 1.1))
        xa = tmp - 0.05 * tha * c / 1.1
        self.s = np.stack([x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha], 1)
        self.len += 1
        done = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 0.2095)
        for i in np.flatnonzero(done):
            self.finished.append(self.len[i])
            self.s[i] = self.rng.uniform(-0.05, 0.05, 4)
            self.len[i] = 0
        return np.ones(self.n, dtype=np.float32), done.astype(np.float32)


def layer_init(layer, std=math.sqrt(2)):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, 0.0)
    return layer


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(
            layer_init(nn.Linear(4, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 1), std=1.0),
        )
        self.actor = nn.Sequential(
            layer_init(nn.Linear(4, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 2), std=0.01),
        )

    def get_value(self, x):
        return self.critic(x).flatten()

    def get_action_and_value(self, x, action=None):
        probs = torch.distributions.Categorical(logits=self.actor(x))
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x).flatten()


def ppo_cartpole():
    torch.manual_seed(1)
    np.random.seed(1)
    N, T, iters, epochs, mbs = 16, 64, 15, 4, 4
    envs, agent = VecCartPole(N, 0), Agent()
    optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-3, eps=1e-5)
    gamma, lam, clip = 0.98, 0.9, 0.2
    for it in range(iters):
        optimizer.param_groups[0]["lr"] = (1 - it / iters) * 2.5e-3
        obs, act = torch.zeros(T, N, 4), torch.zeros(T, N, dtype=torch.long)
        logp, rew, don, val = (torch.zeros(T, N) for _ in range(4))
        for t in range(T):
            obs[t] = envs.obs()
            with torch.no_grad():
                act[t], logp[t], _, val[t] = agent.get_action_and_value(obs[t])
            r, d = envs.step(act[t].numpy())
            rew[t], don[t] = torch.from_numpy(r), torch.from_numpy(d)
        with torch.no_grad():
            nextv = agent.get_value(envs.obs())
            adv, last = torch.zeros_like(rew), 0
            for t in reversed(range(T)):
                nv = nextv if t == T - 1 else val[t + 1]
                delta = rew[t] + gamma * nv * (1 - don[t]) - val[t]
                adv[t] = last = delta + gamma * lam * (1 - don[t]) * last
            ret = adv + val
        b_obs, b_act, b_logp, b_adv, b_ret = (
            obs.reshape(-1, 4),
            act.reshape(-1),
            logp.reshape(-1),
            adv.reshape(-1),
            ret.reshape(-1),
        )
        inds = np.arange(N * T)
        for _ in range(epochs):
            np.random.shuffle(inds)
            for mb in np.array_split(inds, mbs):
                _, newlp, ent, newv = agent.get_action_and_value(b_obs[mb], b_act[mb])
                ratio = (newlp - b_logp[mb]).exp()
                a = b_adv[mb]
                a = (a - a.mean()) / (a.std() + 1e-8)
                pg = torch.max(-a * ratio, -a * torch.clamp(ratio, 1 - clip, 1 + clip)).mean()
                vl = 0.5 * ((newv - b_ret[mb]) ** 2).mean()
                loss = pg - 0.01 * ent.mean() + 0.5 * vl
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        mean_len = float(np.mean(envs.finished))
        print(f"iter {it} episode length {mean_len:.1f} v {vl.item():.2f} ent {ent.mean().item():.3f}")
    return "higher", mean_len, 22.0


# ------------------------------------------------------------------ WGAN-GP
def wgan_gp_ring():
    torch.manual_seed(6)
    gen_rng = torch.Generator().manual_seed(0)

    def real_batch(n):
        k = torch.randint(0, 8, (n,), generator=gen_rng) * (2 * math.pi / 8)
        c = torch.stack([k.cos(), k.sin()], 1) * 1.5
        return c + 0.08 * torch.randn(n, 2, generator=gen_rng)

    G = nn.Sequential(nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2))
    D = nn.Sequential(
        nn.Linear(2, 256), nn.LeakyReLU(0.2), nn.Linear(256, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1)
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.0, 0.9))
    one = torch.tensor(1.0)
    mone = one * -1

    def penalty(real, fake):
        alpha = torch.rand(real.size(0), 1)
        inter = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        out = D(inter)
        grads = torch.autograd.grad(
            out,
            inter,
            grad_outputs=torch.ones_like(out),
            create_graph=True,
            retain_graph=True,
            only_inputs=True,
        )[0]
        return ((grads.norm(2, dim=1) - 1) ** 2).mean() * 2.0

    def energy_distance():
        with torch.no_grad():
            a, b = real_batch(500), G(torch.randn(500, 2))
            return (
                2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()
            ).item()

    first = energy_distance()
    for it in range(60):
        for p in D.parameters():
            p.requires_grad = True
        for _ in range(3):
            D.zero_grad()
            real = real_batch(256)
            d_real = D(real).mean()
            d_real.backward(mone)
            with torch.no_grad():
                fake = G(torch.randn(256, 2))
            d_fake = D(fake).mean()
            d_fake.backward(one)
            gp = penalty(real.data, fake.data)
            gp.backward()
            w_dist = d_real - d_fake
            opt_d.step()
        for p in D.parameters():
            p.requires_grad = False  # to avoid computation
        G.zero_grad()
        g = D(G(torch.randn(256, 2))).mean()
        g.backward(mone)
        opt_g.step()
        if it % 12 == 0:
            print(f"{it} W {w_dist.item():.3f} gp {gp.item():.3f} ED {energy_distance():.4f}")
    return "lower", energy_distance(), first


# ------------------------------------------------------------------ DDPM
class TimeResBlock(nn.Module):
    def __init__(self, ch, tdim):
        super().__init__()
        self.n1, self.n2 = nn.GroupNorm(4, ch), nn.GroupNorm(4, ch)
        self.c1, self.c2 = nn.Conv2d(ch, ch, 3, padding=1), nn.Conv2d(ch, ch, 3, padding=1)
        self.t = nn.Linear(tdim, ch)

    def forward(self, x, t):
        h = self.c1(F.silu(self.n1(x))) + self.t(t)[:, :, None, None]
        return x + self.c2(F.silu(self.n2(h)))


class EpsNet(nn.Module):
    def __init__(self, ch=24, tdim=32):
        super().__init__()
        self.register_buffer(
            "freqs", torch.exp(-math.log(1000.0) * torch.arange(tdim // 2) / (tdim // 2))
        )
        self.temb = nn.Sequential(nn.Linear(tdim, 64), nn.SiLU(), nn.Linear(64, tdim))
        self.inp = nn.Conv2d(1, ch, 3, padding=1)
        self.b1, self.down = TimeResBlock(ch, tdim), nn.Conv2d(ch, ch, 3, stride=2, padding=1)
        self.b2, self.up = TimeResBlock(ch, tdim), nn.ConvTranspose2d(ch, ch, 2, stride=2)
        self.b3, self.out = TimeResBlock(ch, tdim), nn.Conv2d(ch, 1, 3, padding=1)

    def forward(self, x, t):
        a = t[:, None].float() * self.freqs[None]
        e = self.temb(torch.cat([a.sin(), a.cos()], 1))
        h1 = self.b1(self.inp(x), e)
        h2 = self.b2(self.down(h1), e)
        return self.out(F.silu(self.b3(self.up(h2) + h1, e)))


def ddpm_digits():
    torch.manual_seed(10)
    imgs = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    perm = torch.randperm(len(imgs), generator=torch.Generator().manual_seed(1))
    train, held = imgs[perm[:1500]], imgs[perm[1500:]]
    T = 100
    betas = torch.linspace(1e-3, 0.08, T)
    abar = torch.cumprod(1 - betas, 0)
    model = EpsNet()
    ema = copy.deepcopy(model)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0)

    def q_sample(x0, t, eps):
        return abar[t].sqrt().view(-1, 1, 1, 1) * x0 + (1 - abar[t]).sqrt().view(-1, 1, 1, 1) * eps

    step, run = 0, None
    for epoch in range(7):
        for idx in torch.randperm(len(train)).split(64):
            x0 = train[idx]
            t = torch.randint(0, T, (len(x0),))
            eps = torch.randn_like(x0)
            loss = (model(q_sample(x0, t, eps), t) - eps).pow(2).mean()
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            step += 1
            with torch.no_grad():
                d = min(0.98, (1 + step) / (10 + step))
                for pe, p in zip(ema.parameters(), model.parameters()):
                    pe.lerp_(p, 1 - d)
            run = loss.item() if run is None else 0.95 * run + 0.05 * loss.item()
        print(f"epoch {epoch} loss {run:.4f}")
    ema.eval()
    with torch.no_grad():
        t = torch.arange(len(held)) % T
        eps = torch.randn_like(held)
        val = (ema(q_sample(held, t, eps), t) - eps).pow(2).mean().item()
        x = torch.randn(16, 1, 8, 8)
        for i in reversed(range(T)):
            tt = torch.full((16,), i)
            e = ema(x, tt)
            x = (x - betas[i] / (1 - abar[i]).sqrt() * e) / (1 - betas[i]).sqrt()
            if i:
                x = x + betas[i].sqrt() * torch.randn_like(x)
        print("sample range", x.min().item(), x.max().item())
    return "lower", val, 1.0


# ------------------------------------------------------------------ flow
class AffineCoupling(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)
        self.s = nn.Sequential(
            nn.Linear(2, 64),
            nn.LeakyReLU(),
            nn.Linear(64, 64),
            nn.LeakyReLU(),
            nn.Linear(64, 2),
            nn.Tanh(),
        )
        self.t = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(), nn.Linear(64, 64), nn.LeakyReLU(), nn.Linear(64, 2)
        )

    def forward(self, x):
        xm = self.mask * x
        s, t = self.s(xm) * (1 - self.mask), self.t(xm) * (1 - self.mask)
        return xm + (1 - self.mask) * ((x - t) * torch.exp(-s)), -s.sum(1)


class RealNVP(nn.Module):
    def __init__(self, n):
        super().__init__()
        masks = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * n)
        self.couplings = nn.ModuleList(AffineCoupling(m) for m in masks)
        self.loc = nn.Parameter(torch.zeros(2))
        self.log_scale = nn.Parameter(torch.zeros(2))

    def log_prob(self, x):
        ld = torch.zeros(x.size(0))
        z = x
        for c in reversed(self.couplings):
            z, d = c(z)
            ld = ld + d
        z = (z - self.loc) * torch.exp(-self.log_scale)
        return ld - self.log_scale.sum() - 0.5 * z.pow(2).sum(1) - math.log(2 * math.pi)


def realnvp_moons_maximize():
    torch.manual_seed(0)
    X, _ = make_moons(3000, noise=0.05, random_state=3)
    X = torch.tensor(X, dtype=torch.float32)
    train, val = X[:2400], X[2400:]
    mu, sd = train.mean(0), train.std(0)
    train, val = (train - mu) / sd, (val - mu) / sd
    cov = torch.cov(val.T)
    gauss = -0.5 * torch.logdet(2 * math.pi * math.e * cov).item()
    flow = RealNVP(4)
    opt = torch.optim.Adam(flow.parameters(), lr=2e-3, maximize=True)
    for step in range(220):
        x = train[torch.randint(len(train), (256,))]
        ll = flow.log_prob(x).mean()
        opt.zero_grad()
        ll.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        opt.step()
        if step % 40 == 0:
            flow.eval()
            with torch.no_grad():
                print(step, "train ll", ll.item(), "val ll", flow.log_prob(val).mean().item())
            flow.train()
    with torch.no_grad():
        return "higher", flow.log_prob(val).mean().item(), gauss


# ------------------------------------------------------------------ MLM
class TinyBert(nn.Module):
    def __init__(self, vocab, d=64, max_len=24):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d, padding_idx=0), nn.Embedding(max_len, d)
        layer = nn.TransformerEncoderLayer(
            d, 4, 128, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.enc = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.LayerNorm(d), nn.Linear(d, vocab))

    def forward(self, ids):
        h = self.tok(ids) * math.sqrt(self.tok.embedding_dim) + self.pos(torch.arange(ids.size(1)))
        return self.head(self.enc(h, src_key_padding_mask=ids.eq(0)))


class MlmCollator:
    def __init__(self, vocab, mask_id, seed=None):
        self.vocab, self.mask_id = vocab, mask_id
        self.g = None if seed is None else torch.Generator().manual_seed(seed)

    def __call__(self, seqs):
        ids = pad_sequence(seqs, batch_first=True, padding_value=0)
        labels = ids.clone()
        prob = torch.full(ids.shape, 0.2).masked_fill(ids.eq(0), 0.0)
        chosen = torch.bernoulli(prob, generator=self.g).bool()
        labels[~chosen] = -100
        r = torch.rand(ids.shape, generator=self.g)
        ids[chosen & (r < 0.8)] = self.mask_id
        rnd = chosen & (r >= 0.8) & (r < 0.9)
        ids[rnd] = torch.randint(2, self.vocab, (int(rnd.sum()),), generator=self.g)
        return ids, labels


class Chains(Dataset):
    """sentences from four topics; within a topic a word nearly fixes its neighbours"""

    def __init__(self, n, seed, without=()):
        rng = np.random.default_rng(seed)
        known = {tuple(s.tolist()) for s in without}
        rules = np.random.default_rng(99)
        nxt = np.stack([rules.permutation(12) for _ in range(4)])
        self.data = []
        while len(self.data) < n:
            t, w, out = rng.integers(4), rng.integers(12), []
            for _ in range(rng.integers(10, 24)):
                out.append(2 + 12 * t + w)
                w = nxt[t, w] if rng.random() < 0.85 else rng.integers(12)
            if tuple(out) not in known:
                self.data.append(torch.tensor(out))

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i]


def masked_language_model():
    torch.manual_seed(14)
    vocab = 2 + 48
    sentences = Chains(1600, 1)
    train = DataLoader(sentences, batch_size=32, shuffle=True, collate_fn=MlmCollator(vocab, 1))
    valid = DataLoader(
        Chains(200, 2, without=sentences.data), batch_size=50, collate_fn=MlmCollator(vocab, 1, seed=5)
    )
    valid = list(valid)
    model = TinyBert(vocab)
    opt = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    total = 4 * len(train)
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: (s + 1) / 20 if s < 20 else max(0.05, (total - s) / (total - 20))
    )
    crit = nn.CrossEntropyLoss(ignore_index=-100)
    for epoch in range(4):
        model.train()
        for ids, labels in train:
            loss = crit(model(ids).transpose(1, 2), labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()
            opt.zero_grad()
        model.eval()
        s, n = 0.0, 0
        with torch.no_grad():
            for ids, labels in valid:
                k = (labels != -100).sum().item()
                s += crit(model(ids).transpose(1, 2), labels).item() * k
                n += k
        print(f"epoch {epoch} val mlm loss {s / n:.3f}")
    return "lower", s / n, math.log(48)


# ------------------------------------------------------------------ seq2seq
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
SRC = {c: i + 1 for i, c in enumerate(sorted(set("".join(MONTHS) + "0123456789 ")))}
TGT = {c: i + 1 for i, c in enumerate("^$0123456789-")}


def _dates(n, seed):
    rng = random.Random(seed)
    out = set()
    while len(out) < n:
        d, m, y = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1980, 2019)
        src = rng.choice([f"{d} {MONTHS[m - 1]} {y}", f"{MONTHS[m - 1]} {d} {y}"])
        out.add((src, f"^{m:02d}-{d:02d}$"))
    return sorted(out)


class EncoderRNN(nn.Module):
    def __init__(self, vocab, h):
        super().__init__()
        self.embedding = nn.Embedding(vocab, h, padding_idx=0)
        self.gru = nn.GRU(h, h, batch_first=True)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.embedding(x), lengths, batch_first=True, enforce_sorted=False)
        out, h = self.gru(packed)
        return pad_packed_sequence(out, batch_first=True)[0], h


class AttnDecoderRNN(nn.Module):
    def __init__(self, vocab, h):
        super().__init__()
        self.embedding = nn.Embedding(vocab, h, padding_idx=0)
        self.Wa, self.Ua, self.Va = nn.Linear(h, h), nn.Linear(h, h), nn.Linear(h, 1)
        self.gru = nn.GRU(2 * h, h, batch_first=True)
        self.out = nn.Linear(h, vocab)

    def step(self, tok, hidden, enc, mask):
        e = self.embedding(tok).unsqueeze(1)
        scores = self.Va(torch.tanh(self.Wa(hidden.transpose(0, 1)) + self.Ua(enc))).squeeze(-1)
        w = torch.softmax(scores.masked_fill(~mask, -1e9), -1)
        ctx = torch.bmm(w.unsqueeze(1), enc)
        o, hidden = self.gru(torch.cat([e, ctx], 2), hidden)
        return self.out(o.squeeze(1)), hidden


def seq2seq_dates():
    random.seed(31)
    torch.manual_seed(31)
    pairs = _dates(2200, 4)
    random.shuffle(pairs)
    enc_pair = lambda p: (torch.tensor([SRC[c] for c in p[0]]), torch.tensor([TGT[c] for c in p[1]]))
    train, test = [enc_pair(p) for p in pairs[:1900]], [enc_pair(p) for p in pairs[1900:]]
    encoder, decoder = EncoderRNN(len(SRC) + 1, 80), AttnDecoderRNN(len(TGT) + 1, 80)
    e_opt = torch.optim.Adam(encoder.parameters(), lr=4e-3)
    d_opt = torch.optim.Adam(decoder.parameters(), lr=4e-3)
    criterion = nn.NLLLoss()

    def run(batch, ratio):
        src = pad_sequence([b[0] for b in batch], batch_first=True)
        lens = torch.tensor([len(b[0]) for b in batch])
        tgt = torch.stack([b[1] for b in batch])
        enc, h = encoder(src, lens)
        mask = src[:, : enc.size(1)] != 0
        tok, loss = tgt[:, 0], 0
        forced = random.random() < ratio
        for t in range(1, tgt.size(1)):
            logits, h = decoder.step(tok, h, enc, mask)
            loss = loss + criterion(F.log_softmax(logits, dim=-1), tgt[:, t])
            tok = tgt[:, t] if forced else logits.topk(1)[1].squeeze(-1).detach()
        return loss / (tgt.size(1) - 1)

    for epoch in range(5):
        encoder.train()
        decoder.train()
        random.shuffle(train)
        tot = 0
        for i in range(0, len(train), 80):
            e_opt.zero_grad()
            d_opt.zero_grad()
            loss = run(train[i : i + 80], 0.7)
            loss.backward()
            e_opt.step()
            d_opt.step()
            tot += loss.item()
        encoder.eval()
        decoder.eval()
        with torch.no_grad():
            vl = run(test, 0.0).item()
        print(f"epoch {epoch}: train {tot / (len(train) / 80):.3f} test (free running) {vl:.3f}")
    return "lower", vl, math.log(10) * 4 / 6


# ------------------------------------------------------------------ CTC
class Utterances(IterableDataset):
    def __init__(self, n, seed, dim=12):
        self.n, self.seed = n, seed
        self.protos = torch.randn(8, dim, generator=torch.Generator().manual_seed(0))
        self.epoch = 0

    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed + 1000 * self.epoch)
        self.epoch += 1
        for _ in range(self.n):
            L = torch.randint(3, 8, (1,), generator=g).item()
            label = torch.randint(1, 8, (L,), generator=g)
            frames = []
            for c in label.tolist():
                frames += [self.protos[0]] * torch.randint(1, 3, (1,), generator=g).item()
                frames += [self.protos[c]] * torch.randint(2, 5, (1,), generator=g).item()
            frames.append(self.protos[0])
            x = torch.stack(frames)
            yield x + 0.6 * torch.randn(x.shape, generator=g), label


def _ctc_collate(batch):
    batch.sort(key=lambda b: -len(b[0]))
    xs, ys = zip(*batch)
    return (
        pad_sequence(xs),
        torch.tensor([len(x) for x in xs]),
        torch.cat(ys),
        torch.tensor([len(y) for y in ys]),
    )


def ctc_recogniser():
    torch.manual_seed(17)
    train = DataLoader(Utterances(640, 1), batch_size=32, collate_fn=_ctc_collate)
    valid = list(DataLoader(Utterances(96, 777777), batch_size=32, collate_fn=_ctc_collate))

    class Acoustic(nn.Module):
        def __init__(self):
            super().__init__()
            self.pre = nn.Linear(12, 48)
            self.rnn = nn.GRU(48, 48, bidirectional=True)
            self.fc = nn.Linear(96, 8)

        def forward(self, x, n):
            h, _ = self.rnn(pack_padded_sequence(torch.relu(self.pre(x)), n))
            h, _ = pad_packed_sequence(h)
            return self.fc(h).log_softmax(-1)

    net = Acoustic()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    ctc = nn.CTCLoss(blank=0)

    def edit(a, b):
        d = list(range(len(b) + 1))
        for i, ca in enumerate(a, 1):
            p, d[0] = d[0], i
            for j, cb in enumerate(b, 1):
                p, d[j] = d[j], min(d[j] + 1, d[j - 1] + 1, p + (ca != cb))
        return d[-1]

    for epoch in range(7):
        net.train()
        tl = []
        for x, n, y, m in train:
            opt.zero_grad()
            loss = ctc(net(x, n), y, n, m)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            tl.append(loss.item())
        net.eval()
        err = tot = 0
        with torch.no_grad():
            for x, n, y, m in valid:
                best = net(x, n).argmax(-1).t()
                off = 0
                for row, k, l in zip(best, n.tolist(), m.tolist()):
                    hyp = [c for c in torch.unique_consecutive(row[:k]).tolist() if c]
                    err += edit(hyp, y[off : off + l].tolist())
                    tot += l
                    off += l
        print(f"{epoch} loss {np.mean(tl):.3f} LER {err / tot:.3f}")
    return "lower", err / tot, 1.0


# ------------------------------------------------------------------ CRF
class LinearChainCRF(nn.Module):
    def __init__(self, vocab, tags, dim=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.conv = nn.Conv1d(dim, dim, 3, padding=1)
        self.emit = nn.Linear(dim, tags)
        self.trans = nn.Parameter(torch.zeros(tags, tags))
        self.start = nn.Parameter(torch.zeros(tags))

    def emissions(self, x, mask):
        e = self.emb(x) * mask.unsqueeze(-1)
        h = torch.relu(self.conv(e.transpose(1, 2)).transpose(1, 2))
        return self.emit(h)

    def forward(self, x, tags, mask):
        """negative log-likelihood per token"""
        em = self.emissions(x, mask)
        alpha = self.start + em[:, 0]
        score = self.start[tags[:, 0]] + em[:, 0].gather(1, tags[:, :1]).squeeze(1)
        for t in range(1, x.size(1)):
            m = mask[:, t]
            nxt = torch.logsumexp(alpha.unsqueeze(2) + self.trans, dim=1) + em[:, t]
            alpha = torch.where(m.unsqueeze(1), nxt, alpha)
            s = self.trans[tags[:, t - 1], tags[:, t]] + em[:, t].gather(1, tags[:, t : t + 1]).squeeze(
                1
            )
            score = score + s * m
        return (torch.logsumexp(alpha, 1) - score).sum() / mask.sum()

    @torch.no_grad()
    def viterbi(self, x, mask):
        em = self.emissions(x, mask)
        v, back = self.start + em[:, 0], []
        eye = torch.arange(em.size(-1)).expand(x.size(0), -1)
        for t in range(1, x.size(1)):
            best, arg = (v.unsqueeze(2) + self.trans).max(1)
            m = mask[:, t].unsqueeze(1)
            v, arg = torch.where(m, best + em[:, t], v), torch.where(m, arg, eye)
            back.append(arg)
        path = [v.argmax(1)]
        for b in reversed(back):
            path.append(b.gather(1, path[-1].unsqueeze(1)).squeeze(1))
        return torch.stack(path[::-1], 1)


def crf_tagger():
    torch.manual_seed(19)
    rules = np.random.default_rng(7)
    K, V = 5, 40
    A = rules.dirichlet(np.full(K, 0.4), K)
    B = rules.dirichlet(np.full(V, 0.25), K)

    def corpus(n, seed):
        rng, out = np.random.default_rng(seed), []
        for _ in range(n):
            z, xs, zs = rng.integers(K), [], []
            for _ in range(rng.integers(6, 15)):
                xs.append(rng.choice(V, p=B[z]))
                zs.append(z)
                z = rng.choice(K, p=A[z])
            out.append((torch.tensor(xs), torch.tensor(zs)))
        return out

    train, test = corpus(900, 1), corpus(150, 2)

    def collate(b):
        x, z = pad_sequence([i[0] for i in b], True), pad_sequence([i[1] for i in b], True)
        mask = pad_sequence([torch.ones(len(i[0]), dtype=torch.bool) for i in b], True)
        return x, z, mask

    loader = DataLoader(train, batch_size=32, shuffle=True, collate_fn=collate)
    model = LinearChainCRF(V, K)
    opt = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    for epoch in range(6):
        for x, z, mask in loader:
            model.zero_grad()
            nll = model(x, z, mask)
            nll.backward()
            opt.step()
        x, z, mask = collate(test)
        with torch.no_grad():
            test_nll = model(x, z, mask).item()
        acc = (model.viterbi(x, mask)[mask] == z[mask]).float().mean().item()
        print(f"epoch {epoch} nll {nll.item():.3f} test {test_nll:.3f} acc {acc:.3f}")
    return "lower", test_nll, math.log(K)


LOOPS = [
    dqn_gridworld,
    ppo_cartpole,
    wgan_gp_ring,
    ddpm_digits,
    realnvp_moons_maximize,
    masked_language_model,
    seq2seq_dates,
    ctc_recogniser,
    crf_tagger,
]
