"""Reinforcement and imitation learning with small environments written by hand."""

import copy
import math
import random
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical, Normal

from .common import seed_everything


class CartPole:
    """The classic cart and pole."""

    def __init__(self, seed=0, max_steps=200):
        self.rng = np.random.default_rng(seed)
        self.max_steps = max_steps

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, 4)
        self.t = 0
        return self.s.astype(np.float32)

    def step(self, a):
        x, xd, th, thd = self.s
        f = 10.0 if a == 1 else -10.0
        c, s = math.cos(th), math.sin(th)
        tmp = (f + 0.05 * thd * thd * s) / 1.1
        tha = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c * c / 1.1))
        xa = tmp - 0.05 * tha * c / 1.1
        self.s = np.array([x + 0.02 * xd, xd + 0.02 * xa, th + 0.02 * thd, thd + 0.02 * tha])
        self.t += 1
        terminated = bool(abs(self.s[0]) > 2.4 or abs(self.s[2]) > 0.2095)
        return self.s.astype(np.float32), 1.0, terminated, self.t >= self.max_steps


class GridWorld:
    """A 5x5 grid, start in a corner, goal in the other, a pit in the middle."""

    n_states, n_actions = 25, 4

    def reset(self):
        self.p, self.t = (0, 0), 0
        return 0

    def step(self, a):
        r, c = self.p
        dr, dc = [(-1, 0), (1, 0), (0, -1), (0, 1)][a]
        self.p = (min(4, max(0, r + dr)), min(4, max(0, c + dc)))
        self.t += 1
        done = self.p in ((4, 4), (2, 2))
        reward = 1.0 if self.p == (4, 4) else -1.0 if self.p == (2, 2) else -0.02
        return self.p[0] * 5 + self.p[1], reward, done, self.t >= 50


def double_dqn_cartpole() -> None:
    """Double DQN: replay, target network copied now and then, epsilon decay, no update before the buffer has filled."""
    seed_everything(0)
    random.seed(0)
    env = CartPole(0)
    q = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    q_target = copy.deepcopy(q)
    opt = torch.optim.Adam(q.parameters(), lr=1e-3)
    memory = deque(maxlen=20000)
    gamma, batch, eps, updates = 0.99, 64, 1.0, 0
    returns = []
    scale = torch.tensor([1.0, 1.0, 5.0, 1.0])
    s, ret = env.reset(), 0.0
    for t in range(6000):
        if random.random() < eps:
            a = random.randrange(2)
        else:
            with torch.no_grad():
                a = q(torch.from_numpy(s) * scale).argmax().item()
        s2, r, term, trunc = env.step(a)
        memory.append((s, a, r, s2, float(term)))
        ret += r
        s = s2
        if term or trunc:
            returns.append(ret)
            s, ret = env.reset(), 0.0
        eps = max(0.05, eps - 1 / 2500)
        if len(memory) < 500 or t % 2:
            continue
        sb, ab, rb, nb, db = zip(*random.sample(memory, batch))
        sb, nb = torch.from_numpy(np.stack(sb)) * scale, torch.from_numpy(np.stack(nb)) * scale
        ab, rb, db = torch.tensor(ab), torch.tensor(rb), torch.tensor(db)
        with torch.no_grad():
            best = q(nb).argmax(1, keepdim=True)
            target = rb + gamma * (1 - db) * q_target(nb).gather(1, best).squeeze(1)
        pred = q(sb).gather(1, ab[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(pred, target)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(q.parameters(), 10.0)
        opt.step()
        updates += 1
        if updates % 100 == 0:
            q_target.load_state_dict(q.state_dict())
    print(
        f"loss {loss.item():.3f} return first 20 {np.mean(returns[:20]):.1f} last 10 {np.mean(returns[-10:]):.1f}"
    )


def reinforce_with_baseline() -> None:
    """REINFORCE on the grid with a learned value baseline; one step per batch of episodes."""
    seed_everything(0)
    env = GridWorld()
    policy = nn.Sequential(nn.Embedding(25, 32), nn.Tanh(), nn.Linear(32, 4))
    value = nn.Embedding(25, 1)
    nn.init.zeros_(value.weight)
    opt = torch.optim.Adam(
        [{"params": policy.parameters(), "lr": 1e-2}, {"params": value.parameters(), "lr": 5e-2}]
    )
    history = []
    for it in range(120):
        logps, rets, states, ents, totals = [], [], [], [], []
        for _ in range(8):
            s, rewards = env.reset(), []
            while True:
                dist = Categorical(logits=policy(torch.tensor([s])))
                a = dist.sample()
                logps.append(dist.log_prob(a))
                ents.append(dist.entropy())
                states.append(s)
                s, r, done, trunc = env.step(a.item())
                rewards.append(r)
                if done or trunc:
                    break
            g, out = 0.0, []
            for r in reversed(rewards):
                g = r + 0.97 * g
                out.append(g)
            rets += out[::-1]
            totals.append(sum(rewards))
        returns = torch.tensor(rets)
        v = value(torch.tensor(states)).squeeze(1)
        adv = returns - v.detach()
        adv = (adv - adv.mean()) / (adv.std() + 1e-8)
        policy_loss = -(torch.cat(logps) * adv).mean() - 0.01 * torch.cat(ents).mean()
        value_loss = F.mse_loss(v, returns)
        opt.zero_grad()
        (policy_loss + value_loss).backward()
        opt.step()
        history.append(np.mean(totals))
    print(
        f"policy loss {policy_loss.item():.3f} value {value_loss.item():.4f} return {np.mean(history[:5]):.2f} -> {np.mean(history[-10:]):.2f}"
    )


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.pi = nn.Sequential(
            nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
        )
        self.v = nn.Sequential(
            nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)
        )
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.orthogonal_(m.weight, math.sqrt(2))
                nn.init.zeros_(m.bias)
        nn.init.orthogonal_(self.pi[-1].weight, 0.01)

    def forward(self, s):
        return Categorical(logits=self.pi(s)), self.v(s).squeeze(-1)


def ppo_cartpole() -> None:
    """PPO with GAE, clipped ratio, several epochs over each rollout, early stop by KL, truncation bootstrapped."""
    seed_everything(0)
    n_env, horizon = 8, 64
    envs = [CartPole(seed=i) for i in range(n_env)]
    net = ActorCritic()
    iters = 30
    opt = torch.optim.Adam(net.parameters(), lr=1e-3, eps=1e-5)
    sched = torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.1, total_iters=iters)
    obs = np.stack([e.reset() for e in envs])
    running, finished = np.zeros(n_env), []
    gamma, lam, clip = 0.99, 0.95, 0.2
    for it in range(iters):
        S, A, LP, V, R, NT = [], [], [], [], [], []
        for _ in range(horizon):
            st = torch.from_numpy(obs)
            with torch.no_grad():
                dist, v = net(st)
                a = dist.sample()
            rew, cont = np.zeros(n_env, np.float32), np.ones(n_env, np.float32)
            nxt = []
            for i, e in enumerate(envs):
                o, r, term, trunc = e.step(a[i].item())
                running[i] += r
                rew[i] = r
                if term or trunc:
                    if trunc and not term:
                        with torch.no_grad():
                            rew[i] += gamma * net(torch.from_numpy(o)[None])[1].item()
                    cont[i] = 0.0
                    finished.append(running[i])
                    running[i] = 0
                    o = e.reset()
                nxt.append(o)
            S.append(st)
            A.append(a)
            LP.append(dist.log_prob(a))
            V.append(v)
            R.append(torch.from_numpy(rew))
            NT.append(torch.from_numpy(cont))
            obs = np.stack(nxt)
        with torch.no_grad():
            last = net(torch.from_numpy(obs))[1]
        adv, gae = [None] * horizon, torch.zeros(n_env)
        for t in reversed(range(horizon)):
            nv = last if t == horizon - 1 else V[t + 1]
            delta = R[t] + gamma * nv * NT[t] - V[t]
            gae = delta + gamma * lam * NT[t] * gae
            adv[t] = gae
        S, A, LP, V, ADV = (torch.cat(z) for z in (S, A, LP, V, adv))
        RET = ADV + V
        for epoch in range(6):
            kl = 0.0
            for idx in torch.randperm(len(S)).split(128):
                dist, v = net(S[idx])
                logp = dist.log_prob(A[idx])
                ratio = (logp - LP[idx]).exp()
                a = ADV[idx]
                a = (a - a.mean()) / (a.std() + 1e-8)
                pg = -torch.min(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a).mean()
                vf = 0.5 * (v - RET[idx]).pow(2).mean()
                loss = pg + 0.5 * vf - 0.01 * dist.entropy().mean()
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 0.5)
                opt.step()
                kl += (LP[idx] - logp).mean().item()
            if kl / 4 > 0.03:
                break
        sched.step()
    print(
        f"pg {pg.item():.3f} vf {vf.item():.2f} return first 20 {np.mean(finished[:20]):.1f} last 20 {np.mean(finished[-20:]):.1f}"
    )


class PointMass:
    """Vectorised: push a point on a line to the origin."""

    def __init__(self, n, seed=0):
        self.g = torch.Generator().manual_seed(seed)
        self.n = n

    def reset(self):
        self.s = torch.rand(self.n, 2, generator=self.g) * 2 - 1
        return self.s.clone()

    def step(self, a):
        v = 0.9 * self.s[:, 1] + 0.3 * a.squeeze(1)
        x = self.s[:, 0] + 0.3 * v
        self.s = torch.stack([x, v], 1)
        return self.s.clone(), -(x**2 + 0.1 * v**2 + 0.05 * a.squeeze(1) ** 2)


class SquashedPolicy(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.mu, self.log_std = nn.Linear(64, 1), nn.Linear(64, 1)

    def forward(self, s):
        h = self.body(s)
        mu, log_std = self.mu(h), self.log_std(h).clamp(-5, 1)
        dist = Normal(mu, log_std.exp())
        u = dist.rsample()
        a = torch.tanh(u)
        logp = dist.log_prob(u) - 2 * (math.log(2) - u - F.softplus(-2 * u))
        return a, logp.squeeze(1), torch.tanh(mu)


def sac_two_critics_auto_temperature() -> None:
    """Soft actor-critic: three optimizers, twin critics with soft targets, learned temperature."""
    seed_everything(0)
    env, horizon = PointMass(4), 20
    eval_env = PointMass(64, seed=99)

    def critic():
        return nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    actor, q1, q2 = SquashedPolicy(), critic(), critic()
    t1, t2 = copy.deepcopy(q1), copy.deepcopy(q2)
    log_alpha = torch.tensor(-1.0, requires_grad=True)
    opt_a = torch.optim.Adam(actor.parameters(), lr=1e-3)
    opt_q = torch.optim.Adam([*q1.parameters(), *q2.parameters()], lr=1e-3)
    opt_t = torch.optim.Adam([log_alpha], lr=1e-3)
    gamma, tau, target_entropy = 0.95, 0.01, -1.0
    buf = {k: torch.zeros(8000, d) for k, d in (("s", 2), ("a", 1), ("r", 1), ("n", 2))}
    size = 0

    @torch.no_grad()
    def evaluate():
        s, total = eval_env.reset(), 0.0
        for _ in range(horizon):
            _, _, a = actor(s)
            s, r = eval_env.step(a)
            total += r.mean().item()
        return total

    first = evaluate()
    for episode in range(38):
        s = env.reset()
        for t in range(horizon):
            with torch.no_grad():
                a = torch.rand(4, 1) * 2 - 1 if episode < 3 else actor(s)[0]
            n, r = env.step(a)
            for k, v in (("s", s), ("a", a), ("r", r[:, None]), ("n", n)):
                buf[k][size : size + 4] = v
            size += 4
            s = n
            if episode < 3:
                continue
            idx = torch.randint(0, size, (128,))
            bs, ba, br, bn = (buf[k][idx] for k in "sarn")
            alpha = log_alpha.exp().detach()
            with torch.no_grad():
                na, nlp, _ = actor(bn)
                nq = torch.min(t1(torch.cat([bn, na], 1)), t2(torch.cat([bn, na], 1)))
                y = br + gamma * (nq - alpha * nlp[:, None])
            sa = torch.cat([bs, ba], 1)
            q_loss = F.mse_loss(q1(sa), y) + F.mse_loss(q2(sa), y)
            opt_q.zero_grad()
            q_loss.backward()
            opt_q.step()

            pa, lp, _ = actor(bs)
            sp = torch.cat([bs, pa], 1)
            a_loss = (alpha * lp[:, None] - torch.min(q1(sp), q2(sp))).mean()
            opt_a.zero_grad()
            a_loss.backward()
            opt_a.step()

            t_loss = -(log_alpha * (lp.detach() + target_entropy)).mean()
            opt_t.zero_grad()
            t_loss.backward()
            opt_t.step()
            with torch.no_grad():
                for tgt, src in ((t1, q1), (t2, q2)):
                    for pt, ps in zip(tgt.parameters(), src.parameters()):
                        pt.mul_(1 - tau).add_(tau * ps)
    print(
        f"q {q_loss.item():.4f} actor {a_loss.item():.3f} alpha {log_alpha.exp().item():.3f} return {first:.2f} -> {evaluate():.2f}"
    )


def dagger_imitation() -> None:
    """DAgger: the data set grows each round, so the loss goes up when new states arrive; a new optimizer each round."""
    seed_everything(0)
    env = CartPole(0)

    def expert(s):
        return int(0.3 * s[0] + 0.6 * s[1] + 10 * s[2] + 2 * s[3] > 0)

    policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
    scale = torch.tensor([1.0, 1.0, 5.0, 1.0])
    X, Y = [], []

    def rollout(act, collect=True):
        s, n = env.reset(), 0
        while True:
            if collect:
                X.append(s)
                Y.append(float(expert(s)))
            s, _, term, trunc = env.step(act(s))
            n += 1
            if term or trunc:
                return n

    @torch.no_grad()
    def student(s):
        return int(policy(torch.from_numpy(s) * scale).item() > 0)

    before = np.mean([rollout(student, collect=False) for _ in range(5)])
    rollout(expert)
    for rnd in range(8):
        xs, ys = torch.from_numpy(np.stack(X)) * scale, torch.tensor(Y).unsqueeze(1)
        opt = torch.optim.Adam(policy.parameters(), lr=5e-3)
        for epoch in range(15):
            for idx in torch.randperm(len(xs)).split(32):
                loss = F.binary_cross_entropy_with_logits(policy(xs[idx]), ys[idx])
                opt.zero_grad()
                loss.backward()
                opt.step()
        length = rollout(student)
        print(f"round {rnd} data {len(xs)} loss {loss.item():.3f} length {length}")
    print(
        f"mean length {before:.1f} -> {np.mean([rollout(student, collect=False) for _ in range(10)]):.1f}"
    )


HEALTHY = [
    double_dqn_cartpole,
    reinforce_with_baseline,
    ppo_cartpole,
    sac_two_critics_auto_temperature,
    dagger_imitation,
]
