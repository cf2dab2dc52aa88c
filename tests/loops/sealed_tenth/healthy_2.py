"""Reinforcement learning, meta-learning, flow and energy models."""

import copy
import math
import random
from collections import deque, namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons
from torch.distributions import Categorical, Normal
from torch.func import functional_call, grad, vmap


class _VecCartPole:
    """CartPole-v1 dynamics for n poles at once, episodes cut at `limit`."""

    def __init__(self, n, seed=0, limit=200):
        self.n, self.limit, self.rng = n, limit, np.random.default_rng(seed)
        self.s = np.zeros((n, 4))
        self.t = np.zeros(n, dtype=int)

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, (self.n, 4))
        self.t[:] = 0
        return self.s.astype(np.float32)

    def step(self, a):
        x, xd, th, thd = self.s.T
        force = np.where(a == 1, 10.0, -10.0)
        cos, sin = np.cos(th), np.sin(th)
        tmp = (force + 0.05 * thd**2 * sin) / 1.1
        tha = (9.8 * sin - cos * tmp) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        xa = tmp - 0.05 * tha * cos / 1.1
        self.s = np.stack([x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha], 1)
        self.t += 1
        terminated = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 0.2095)
        truncated = (self.t >= self.limit) & ~terminated
        final = self.s.astype(np.float32).copy()
        lengths = self.t[terminated | truncated].copy()
        again = terminated | truncated
        self.s[again] = self.rng.uniform(-0.05, 0.05, (again.sum(), 4))
        self.t[again] = 0
        return (
            self.s.astype(np.float32),
            np.ones(self.n, np.float32),
            terminated,
            truncated,
            final,
            lengths,
        )


# ---------------------------------------------------------------- PPO
def ppo_cartpole():
    """Clipped PPO in the CleanRL manner: orthogonal init, GAE, annealed lr, minibatch epochs, KL stop."""
    torch.manual_seed(1)
    np.random.seed(1)
    n_env, n_steps, updates, epochs, mbs, gamma, lam, clip = 16, 64, 22, 4, 256, 0.99, 0.95, 0.2
    env = _VecCartPole(n_env, seed=1)

    def layer_init(layer, std=math.sqrt(2), bias=0.0):
        nn.init.orthogonal_(layer.weight, std)
        nn.init.constant_(layer.bias, bias)
        return layer

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.critic = nn.Sequential(
                layer_init(nn.Linear(4, 64)),
                nn.Tanh(),
                layer_init(nn.Linear(64, 64)),
                nn.Tanh(),
                layer_init(nn.Linear(64, 1), 1.0),
            )
            self.actor = nn.Sequential(
                layer_init(nn.Linear(4, 64)),
                nn.Tanh(),
                layer_init(nn.Linear(64, 64)),
                nn.Tanh(),
                layer_init(nn.Linear(64, 2), 0.01),
            )

        def get_value(self, x):
            return self.critic(x).squeeze(-1)

        def get_action_and_value(self, x, a=None):
            pi = Categorical(logits=self.actor(x))
            a = pi.sample() if a is None else a
            return a, pi.log_prob(a), pi.entropy(), self.get_value(x)

    agent = Agent()
    opt = torch.optim.Adam(agent.parameters(), lr=2.5e-3, eps=1e-5)
    nxt = torch.from_numpy(env.reset())
    lengths = []
    for update in range(updates):
        opt.param_groups[0]["lr"] = 2.5e-3 * (1 - update / updates)
        obs, act = torch.zeros(n_steps, n_env, 4), torch.zeros(n_steps, n_env, dtype=torch.long)
        logp, rew, val = (torch.zeros(n_steps, n_env) for _ in range(3))
        nxt_val, not_term, not_done = (torch.zeros(n_steps, n_env) for _ in range(3))
        for t in range(n_steps):
            obs[t] = nxt
            with torch.no_grad():
                act[t], logp[t], _, val[t] = agent.get_action_and_value(nxt)
            o, r, term, trunc, final, ls = env.step(act[t].numpy())
            with torch.no_grad():
                nxt_val[t] = agent.get_value(torch.from_numpy(final))
            rew[t] = torch.from_numpy(r)
            not_term[t] = torch.from_numpy(~term).float()
            not_done[t] = torch.from_numpy(~(term | trunc)).float()
            nxt = torch.from_numpy(o)
            lengths.extend(ls)
        adv, last = torch.zeros_like(rew), torch.zeros(n_env)
        for t in reversed(range(n_steps)):
            delta = rew[t] + gamma * nxt_val[t] * not_term[t] - val[t]
            last = delta + gamma * lam * not_done[t] * last
            adv[t] = last
        ret = adv + val
        b = [z.reshape(-1, *z.shape[2:]) for z in (obs, act, logp, adv, ret)]
        inds = np.arange(n_env * n_steps)
        for _ in range(epochs):
            np.random.shuffle(inds)
            for s in range(0, len(inds), mbs):
                o, a, lp, ad, rt = (z[inds[s : s + mbs]] for z in b)
                _, new, ent, v = agent.get_action_and_value(o, a)
                logratio = new - lp
                ratio = logratio.exp()
                with torch.no_grad():
                    approx_kl = ((ratio - 1) - logratio).mean()
                ad = (ad - ad.mean()) / (ad.std() + 1e-8)
                pg = torch.max(-ad * ratio, -ad * ratio.clamp(1 - clip, 1 + clip)).mean()
                loss = pg - 0.005 * ent.mean() + 0.5 * 0.5 * ((v - rt) ** 2).mean()
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                opt.step()
            if approx_kl > 0.03:
                break
    print(
        f"ppo_cartpole: episode length {np.mean(lengths[:50]):.0f} -> {np.mean(lengths[-50:]):.0f} (limit 200)"
    )
    return float(np.mean(lengths[-50:]))


# ---------------------------------------------------------------- double DQN
def double_dqn_catch():
    """Double dueling DQN on bsuite's Catch; replay memory, epsilon decay, soft target update, Huber loss."""
    torch.manual_seed(0)
    random.seed(0)
    rows, cols = 7, 5
    Transition = namedtuple("Transition", "state action reward next_state done")

    class Catch:
        def reset(self):
            self.ball, self.y, self.paddle = random.randrange(cols), 0, cols // 2
            return self.obs()

        def obs(self):
            g = torch.zeros(rows, cols)
            g[self.y, self.ball] = 1
            g[rows - 1, self.paddle] = 1
            return g.flatten()

        def step(self, a):
            self.paddle = min(max(self.paddle + a - 1, 0), cols - 1)
            self.y += 1
            done = self.y == rows - 1
            return self.obs(), (1.0 if self.paddle == self.ball else -1.0) if done else 0.0, done

    class Dueling(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(rows * cols, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
            )
            self.v, self.a = nn.Linear(64, 1), nn.Linear(64, 3)

        def forward(self, x):
            h = self.body(x)
            a = self.a(h)
            return self.v(h) + a - a.mean(1, keepdim=True)

    policy_net, target_net = Dueling(), Dueling()
    target_net.load_state_dict(policy_net.state_dict())
    target_net.eval()
    opt = torch.optim.AdamW(policy_net.parameters(), lr=2e-3, amsgrad=True)
    memory, env = deque([], maxlen=4000), Catch()
    returns, step = [], 0
    s = env.reset()
    while step < 1800:
        eps = 0.05 + 0.95 * math.exp(-step / 400)
        if random.random() < eps:
            a = random.randrange(3)
        else:
            with torch.no_grad():
                a = int(policy_net(s[None]).argmax(1))
        s2, r, done = env.step(a)
        memory.append(Transition(s, a, r, s2, done))
        s = env.reset() if done else s2
        if done:
            returns.append(r)
        step += 1
        if len(memory) < 200 or step % 4:
            continue
        batch = Transition(*zip(*random.sample(memory, 64)))
        st, ns = torch.stack(batch.state), torch.stack(batch.next_state)
        ac, rw = torch.tensor(batch.action)[:, None], torch.tensor(batch.reward)
        nd = 1.0 - torch.tensor(batch.done, dtype=torch.float32)
        q = policy_net(st).gather(1, ac).squeeze(1)
        with torch.no_grad():
            best = policy_net(ns).argmax(1, keepdim=True)
            target = rw + 0.97 * nd * target_net(ns).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(q, target)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(policy_net.parameters(), 100)
        opt.step()
        tgt, pol = target_net.state_dict(), policy_net.state_dict()
        for k in pol:
            tgt[k] = pol[k] * 0.05 + tgt[k] * 0.95
        target_net.load_state_dict(tgt)
    policy_net.eval()
    score = 0.0
    for _ in range(60):
        s, done = env.reset(), False
        while not done:
            with torch.no_grad():
                s, r, done = env.step(int(policy_net(s[None]).argmax(1)))
        score += r / 60
    print(f"double_dqn_catch: return {np.mean(returns[:40]):.2f} -> greedy {score:.2f}")
    return score


# ---------------------------------------------------------------- SAC
def sac_pointmass():
    """Soft actor-critic with twin critics, squashed Gaussian and learned temperature on a 1-D double integrator."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(3)
    n, horizon = 16, 40

    def reset(k):
        return torch.stack([torch.rand(k, generator=g) * 2 - 1, torch.zeros(k)], 1)

    def dynamics(s, a):
        a = a.squeeze(-1)
        v = (s[:, 1] + 0.2 * a) * 0.95
        x = (s[:, 0] + 0.2 * v).clamp(-2, 2)
        return torch.stack([x, v], 1), -(x**2) - 0.02 * a**2

    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
            self.mu, self.log_std = nn.Linear(48, 1), nn.Linear(48, 1)

        def forward(self, s):
            h = self.net(s)
            mu = self.mu(h)
            log_std = -5 + 0.5 * (2 + 5) * (torch.tanh(self.log_std(h)) + 1)
            dist = Normal(mu, log_std.exp())
            u = dist.rsample()
            a = torch.tanh(u)
            logp = (dist.log_prob(u) - torch.log(1 - a.pow(2) + 1e-6)).sum(-1)
            return a, logp, torch.tanh(mu)

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            mk = lambda: nn.Sequential(
                nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1)
            )
            self.q1, self.q2 = mk(), mk()

        def forward(self, s, a):
            x = torch.cat([s, a], -1)
            return self.q1(x).squeeze(-1), self.q2(x).squeeze(-1)

    actor, critic = Actor(), Critic()
    critic_t = copy.deepcopy(critic).requires_grad_(False)
    log_alpha = torch.zeros((), requires_grad=True)
    a_opt = torch.optim.Adam(actor.parameters(), lr=2e-3)
    c_opt = torch.optim.Adam(critic.parameters(), lr=2e-3)
    t_opt = torch.optim.Adam([log_alpha], lr=2e-2)
    target_entropy, gamma = -1.0, 0.95

    def evaluate():
        s, tot = torch.stack([torch.linspace(-1, 1, 21), torch.zeros(21)], 1), 0.0
        with torch.no_grad():
            for _ in range(horizon):
                s, r = dynamics(s, actor(s)[2])
                tot += float(r.mean())
        return tot

    before = evaluate()
    S, A, R, S2 = torch.zeros(20000, 2), torch.zeros(20000, 1), torch.zeros(20000), torch.zeros(20000, 2)
    size, s = 0, reset(n)
    for step in range(360):
        with torch.no_grad():
            a = actor(s)[0] if step > 20 else torch.rand(n, 1) * 2 - 1
        s2, r = dynamics(s, a)
        S[size : size + n], A[size : size + n], R[size : size + n], S2[size : size + n] = s, a, r, s2
        size += n
        s = reset(n) if (step + 1) % horizon == 0 else s2  # time limit only: always bootstrapped
        if step < 20:
            continue
        i = torch.randint(size, (128,))
        with torch.no_grad():
            na, nlp, _ = actor(S2[i])
            y = R[i] + gamma * (torch.min(*critic_t(S2[i], na)) - log_alpha.exp() * nlp)
        q1, q2 = critic(S[i], A[i])
        c_loss = F.mse_loss(q1, y) + F.mse_loss(q2, y)
        c_opt.zero_grad()
        c_loss.backward()
        c_opt.step()

        critic.requires_grad_(False)
        pa, lp, _ = actor(S[i])
        a_loss = (log_alpha.exp().detach() * lp - torch.min(*critic(S[i], pa))).mean()
        a_opt.zero_grad()
        a_loss.backward()
        a_opt.step()
        critic.requires_grad_(True)

        t_loss = -(log_alpha * (lp.detach() + target_entropy)).mean()
        t_opt.zero_grad()
        t_loss.backward()
        t_opt.step()
        with torch.no_grad():
            for p, pt in zip(critic.parameters(), critic_t.parameters()):
                pt.mul_(0.98).add_(p, alpha=0.02)
    after = evaluate()
    print(f"sac_pointmass: return {before:.2f} -> {after:.2f}, alpha {log_alpha.exp().item():.3f}")
    return after


# ---------------------------------------------------------------- REINFORCE
def reinforce_tsp():
    """Attention model for the travelling salesman, REINFORCE with a greedy rollout baseline (Kool et al.)."""
    torch.manual_seed(0)
    N, d = 7, 48

    class AttentionModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Linear(2, d)
            layer = nn.TransformerEncoderLayer(d, 4, 96, dropout=0.0, batch_first=True)
            self.enc = nn.TransformerEncoder(layer, 1)
            self.start = nn.Parameter(torch.randn(2 * d) * 0.1)
            self.ctx, self.key = nn.Linear(3 * d, d, bias=False), nn.Linear(d, d, bias=False)

        def forward(self, xy, greedy=False):
            B = xy.size(0)
            h = self.enc(self.emb(xy))
            graph, keys = h.mean(1), self.key(h)
            visited = torch.zeros(B, N, dtype=torch.bool)
            first_last, tour, logp = self.start.expand(B, -1), [], 0.0
            rows = torch.arange(B)
            for _ in range(N):
                q = self.ctx(torch.cat([graph, first_last], 1))
                u = 10 * torch.tanh((keys @ q.unsqueeze(-1)).squeeze(-1) / math.sqrt(d))
                lp = F.log_softmax(u.masked_fill(visited, float("-inf")), 1)
                a = lp.argmax(1) if greedy else torch.multinomial(lp.exp(), 1).squeeze(1)
                logp = logp + lp[rows, a]
                visited = visited.scatter(1, a[:, None], True)
                tour.append(a)
                first_last = torch.cat([h[rows, tour[0]], h[rows, a]], 1)
            return torch.stack(tour, 1), logp

    def length(xy, tour):
        p = xy.gather(1, tour.unsqueeze(-1).expand(-1, -1, 2))
        return (p - p.roll(-1, 1)).norm(dim=-1).sum(1)

    model = AttentionModel()
    baseline = copy.deepcopy(model).eval()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    val = torch.rand(400, N, 2)

    def greedy_cost(m):
        m.eval()
        with torch.no_grad():
            return float(length(val, m(val, greedy=True)[0]).mean())

    random_len = float(length(val, torch.stack([torch.randperm(N) for _ in range(400)])).mean())
    best = greedy_cost(baseline)
    for epoch in range(8):
        model.train()
        for _ in range(25):
            xy = torch.rand(128, N, 2)
            tour, logp = model(xy)
            with torch.no_grad():
                adv = length(xy, tour) - length(xy, baseline(xy, greedy=True)[0])
            loss = (adv * logp).mean()
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        cost = greedy_cost(model)
        if cost < best:
            best = cost
            baseline.load_state_dict(model.state_dict())
    print(f"reinforce_tsp: random tour {random_len:.2f}, learned {best:.2f}")
    return best


# ---------------------------------------------------------------- MAML
def maml_sine_functional():
    """Second-order MAML over a batch of sine tasks with functional_call, grad and vmap."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    params = {k: v for k, v in net.named_parameters()}
    opt = torch.optim.Adam(params.values(), lr=4e-3)
    inner_lr = 0.05

    def tasks(n, g):
        amp = 0.5 + 2.0 * torch.rand(n, 1, 1, generator=g)
        phase = math.pi * torch.rand(n, 1, 1, generator=g)
        x = torch.rand(n, 20, 1, generator=g) * 6 - 3
        y = amp * torch.sin(x + phase)
        return x[:, :10], y[:, :10], x[:, 10:], y[:, 10:]

    def loss_fn(p, x, y):
        return F.mse_loss(functional_call(net, p, (x,)), y)

    def adapted_loss(p, xs, ys, xq, yq, inner=2):
        for _ in range(inner):
            g = grad(loss_fn)(p, xs, ys)
            p = {k: p[k] - inner_lr * g[k] for k in p}
        return loss_fn(p, xq, yq)

    over_tasks = vmap(adapted_loss, in_dims=(None, 0, 0, 0, 0))
    g = torch.Generator().manual_seed(0)
    held = tasks(200, torch.Generator().manual_seed(99))

    def evaluate():
        with torch.no_grad():
            before = vmap(loss_fn, in_dims=(None, 0, 0))(params, held[2], held[3]).mean()
            return float(before), float(over_tasks(params, *held).mean())

    start = evaluate()
    for step in range(400):
        opt.zero_grad()
        loss = over_tasks(params, *tasks(25, g)).mean()
        loss.backward()
        opt.step()
    pre, post = evaluate()
    print(f"maml_sine_functional: adapted loss {start[1]:.2f} -> {post:.2f} (unadapted {pre:.2f})")
    return post


# ---------------------------------------------------------------- Reptile
def reptile_sine():
    """Reptile: a fresh inner SGD on a copy, then interpolation of the weights; no outer optimizer."""
    rng = np.random.RandomState(0)
    torch.manual_seed(0)
    x_all = np.linspace(-5, 5, 50)[:, None].astype(np.float32)
    inner_step, inner_epochs, outer_step0, n_outer, ntrain = 0.05, 1, 0.3, 700, 10

    def gen_task():
        phase, ampl = rng.uniform(0, math.pi), rng.uniform(0.5, 2)
        return lambda x: (np.sin(x + phase) * ampl).astype(np.float32)

    model = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))

    def train_on_batch(m, opt, x, y):
        opt.zero_grad()
        loss = (m(torch.from_numpy(x)) - torch.from_numpy(y)).pow(2).mean()
        loss.backward()
        opt.step()
        return loss.item()

    def few_shot(base, n=20, k=32):
        r = np.random.RandomState(7)
        out = []
        for _ in range(n):
            phase, ampl = r.uniform(0, math.pi), r.uniform(0.5, 2)
            y = (np.sin(x_all + phase) * ampl).astype(np.float32)
            pick = r.choice(50, ntrain, replace=False)
            m = copy.deepcopy(base)
            opt = torch.optim.SGD(m.parameters(), lr=inner_step)
            for _ in range(k):
                train_on_batch(m, opt, x_all[pick], y[pick])
            with torch.no_grad():
                out.append(float(F.mse_loss(m(torch.from_numpy(x_all)), torch.from_numpy(y))))
        return float(np.mean(out))

    before = few_shot(model)
    for it in range(n_outer):
        f = gen_task()
        y_all = f(x_all)
        fast = copy.deepcopy(model)
        opt = torch.optim.SGD(fast.parameters(), lr=inner_step)
        for _ in range(inner_epochs):
            inds = rng.permutation(50)
            for start in range(0, 50, ntrain):
                mb = inds[start : start + ntrain]
                train_on_batch(fast, opt, x_all[mb], y_all[mb])
        frac = outer_step0 * (1 - it / n_outer)
        with torch.no_grad():
            for p, q in zip(model.parameters(), fast.parameters()):
                p.add_(q - p, alpha=frac)
    after = few_shot(model)
    print(f"reptile_sine: few-shot error {before:.3f} -> {after:.3f}")
    return after


# ---------------------------------------------------------------- RealNVP
def realnvp_moons():
    """Affine coupling flow fitted by exact likelihood to two moons."""
    torch.manual_seed(0)
    x, _ = make_moons(3000, noise=0.06, random_state=0)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    train, test = x[:2400], x[2400:]

    class RealNVP(nn.Module):
        def __init__(self, masks, prior):
            super().__init__()
            self.prior = prior
            self.register_buffer("mask", masks)
            nets = lambda: nn.Sequential(
                nn.Linear(2, 48),
                nn.LeakyReLU(),
                nn.Linear(48, 48),
                nn.LeakyReLU(),
                nn.Linear(48, 2),
                nn.Tanh(),
            )
            nett = lambda: nn.Sequential(
                nn.Linear(2, 48), nn.LeakyReLU(), nn.Linear(48, 48), nn.LeakyReLU(), nn.Linear(48, 2)
            )
            self.s = nn.ModuleList(nets() for _ in masks)
            self.t = nn.ModuleList(nett() for _ in masks)

        def g(self, z):
            for i in range(len(self.t)):
                z_ = z * self.mask[i]
                s, t = self.s[i](z_) * (1 - self.mask[i]), self.t[i](z_) * (1 - self.mask[i])
                z = z_ + (1 - self.mask[i]) * (z * s.exp() + t)
            return z

        def f(self, x):
            log_det, z = x.new_zeros(x.shape[0]), x
            for i in reversed(range(len(self.t))):
                z_ = self.mask[i] * z
                s, t = self.s[i](z_) * (1 - self.mask[i]), self.t[i](z_) * (1 - self.mask[i])
                z = (1 - self.mask[i]) * (z - t) * (-s).exp() + z_
                log_det = log_det - s.sum(1)
            return z, log_det

        def log_prob(self, x):
            z, ld = self.f(x)
            return self.prior.log_prob(z) + ld

    masks = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3)
    flow = RealNVP(masks, torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    opt = torch.optim.Adam([p for p in flow.parameters() if p.requires_grad], lr=2e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=6e-3, total_steps=350)
    with torch.no_grad():
        start = -flow.log_prob(test).mean().item()
    for t in range(350):
        loss = -flow.log_prob(train[torch.randint(len(train), (200,))]).mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        opt.step()
        sched.step()
    with torch.no_grad():
        end = -flow.log_prob(test).mean().item()
        inv = (flow.g(flow.f(test)[0]) - test).abs().max().item()
    print(f"realnvp_moons: nll {start:.2f} -> {end:.2f} (Gaussian 2.7), inversion error {inv:.1e}")
    return end


# ---------------------------------------------------------------- energy-based model
def ebm_langevin_replay():
    """Energy-based model with persistent Langevin chains and a replay buffer (IGEBM)."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)

    def real(n):
        th = rng.uniform(0, 2 * np.pi, n)
        r = 1.5 + 0.08 * rng.standard_normal(n)
        return torch.tensor(np.stack([r * np.cos(th), r * np.sin(th)], 1), dtype=torch.float32)

    energy = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    opt = torch.optim.Adam(energy.parameters(), lr=3e-3, betas=(0.0, 0.999))
    sched = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.1, 200)
    buffer = torch.rand(2000, 2) * 5 - 2.5

    def langevin(x, steps, step_size=0.03, noise=0.1):
        for p in energy.parameters():
            p.requires_grad_(False)
        x = x.clone()
        for _ in range(steps):
            x.requires_grad_(True)
            g = torch.autograd.grad(energy(x).sum(), x)[0]
            x = (x.detach() - step_size * g.clamp(-10, 10) + noise * torch.randn_like(x)).clamp(-3, 3)
        for p in energy.parameters():
            p.requires_grad_(True)
        return x.detach()

    for it in range(200):
        idx = torch.randint(len(buffer), (128,))
        init = torch.where(torch.rand(128, 1) < 0.05, torch.rand(128, 2) * 5 - 2.5, buffer[idx])
        neg = langevin(init, 15)
        buffer[idx] = neg
        e_pos, e_neg = energy(real(128)), energy(neg)
        loss = (e_pos - e_neg).mean() + 0.02 * (e_pos**2 + e_neg**2).mean()
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(energy.parameters(), 1.0)
        opt.step()
        sched.step()
    samples = langevin(torch.rand(500, 2) * 5 - 2.5, 150)
    near = float(((samples.norm(dim=1) - 1.5).abs() < 0.45).float().mean())
    quadrants = (
        torch.bincount((samples[:, 0] > 0).long() * 2 + (samples[:, 1] > 0).long(), minlength=4) / 500
    )
    with torch.no_grad():
        e_on, e_off = energy(real(500)).mean().item(), energy(torch.rand(500, 2) * 5 - 2.5).mean().item()
    print(
        f"ebm_langevin_replay: on the ring {near:.2f}, quadrants {[round(float(q), 2) for q in quadrants]}, energy on {e_on:.2f} off {e_off:.2f}"
    )
    return near


HEALTHY = [
    ppo_cartpole,
    double_dqn_catch,
    sac_pointmass,
    reinforce_tsp,
    maml_sine_functional,
    reptile_sine,
    realnvp_moons,
    ebm_langevin_replay,
]
