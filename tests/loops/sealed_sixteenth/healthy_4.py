"""Reinforcement learning and learning from feedback, environments included."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


class _CartPoles:
    """Many cart-poles side by side with automatic reset; reports termination and time-out apart."""

    def __init__(self, n, limit=200, seed=0):
        self.n, self.limit = n, limit
        self.g = torch.Generator().manual_seed(seed)
        self.s = self._fresh(n)
        self.t = torch.zeros(n, dtype=torch.long)

    def _fresh(self, n):
        return torch.rand(n, 4, generator=self.g) * 0.1 - 0.05

    def step(self, action):
        x, v, th, w = self.s.unbind(1)
        force = torch.where(action == 1, 10.0, -10.0)
        sin, cos = th.sin(), th.cos()
        temp = (force + 0.05 * w**2 * sin) / 1.1
        acc_th = (9.8 * sin - cos * temp) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        acc = temp - 0.05 * acc_th * cos / 1.1
        final = torch.stack([x + 0.02 * v, v + 0.02 * acc, th + 0.02 * w, w + 0.02 * acc_th], 1)
        self.t += 1
        terminated = (final[:, 0].abs() > 2.4) | (final[:, 2].abs() > 12 * math.pi / 180)
        truncated = ~terminated & (self.t >= self.limit)
        done = terminated | truncated
        lengths = self.t[done].tolist()
        self.s = torch.where(done[:, None], self._fresh(self.n), final)
        self.t = torch.where(done, torch.zeros_like(self.t), self.t)
        return self.s, final, torch.ones(self.n), terminated, truncated, lengths


def _orthogonal(layer, gain):
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def ppo_cartpole():
    """PPO: a rollout reused for four epochs of minibatches, clipped ratios, annealed rate, stop on large divergence."""
    torch.manual_seed(0)
    n, horizon, iterations, gamma, lam = 16, 64, 16, 0.98, 0.95
    env = _CartPoles(n)

    def net(out, gain):
        return nn.Sequential(
            _orthogonal(nn.Linear(4, 64), 2**0.5),
            nn.Tanh(),
            _orthogonal(nn.Linear(64, 64), 2**0.5),
            nn.Tanh(),
            _orthogonal(nn.Linear(64, out), gain),
        )

    actor, critic = net(2, 0.01), net(1, 1.0)
    params = [*actor.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(params, lr=2e-3, eps=1e-5)
    obs = env.s
    for it in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - it / iterations)
        O, A, LP, R, V, NV, D, lengths = [], [], [], [], [], [], [], []
        with torch.no_grad():
            for _ in range(horizon):
                dist = torch.distributions.Categorical(logits=actor(obs))
                action = dist.sample()
                nxt, final, reward, terminated, truncated, finished = env.step(action)
                O.append(obs), A.append(action), LP.append(dist.log_prob(action)), R.append(reward)
                V.append(critic(obs).squeeze(1))
                NV.append(
                    critic(final).squeeze(1) * (~terminated).float()
                )  # a time-out still bootstraps
                D.append((terminated | truncated).float())
                lengths += finished
                obs = nxt
            advantage, acc = [None] * horizon, torch.zeros(n)
            for t in reversed(range(horizon)):
                delta = R[t] + gamma * NV[t] - V[t]
                acc = delta + gamma * lam * (1 - D[t]) * acc
                advantage[t] = acc
        obs_b, act_b, lp_b = torch.cat(O), torch.cat(A), torch.cat(LP)
        adv_b = torch.cat(advantage)
        ret_b = adv_b + torch.cat(V)
        stop = False
        for _ in range(4):
            for idx in torch.randperm(n * horizon).split(128):
                dist = torch.distributions.Categorical(logits=actor(obs_b[idx]))
                log_ratio = dist.log_prob(act_b[idx]) - lp_b[idx]
                ratio = log_ratio.exp()
                with torch.no_grad():
                    kl = ((ratio - 1) - log_ratio).mean()
                if kl > 0.05:
                    stop = True
                    break
                adv = adv_b[idx]
                adv = (adv - adv.mean()) / (adv.std() + 1e-8)
                policy = -torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv).mean()
                value = 0.5 * F.mse_loss(critic(obs_b[idx]).squeeze(1), ret_b[idx])
                loss = policy + 0.5 * value - 0.01 * dist.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(params, 0.5)
                optimizer.step()
            if stop:
                break
        if it % 3 == 0 or it == iterations - 1:
            print(
                f"iteration {it} finished episodes {len(lengths)} mean length {np.mean(lengths or [0]):.1f}"
            )
    env = _CartPoles(64, seed=9)
    total = torch.zeros(64)
    alive = torch.ones(64, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(200):
            obs, _, _, terminated, truncated, _ = env.step(actor(env.s).argmax(1))
            total += alive.float()
            alive &= ~(terminated | truncated)
    print("greedy length", total.mean().item())


# --------------------------------------------------------------------------------------------------------------
class _Catch:
    """A ball falls down eight rows; the paddle moves left, stays or moves right."""

    def __init__(self, n, seed):
        self.g = torch.Generator().manual_seed(seed)
        self.n = n
        self.ball = torch.randint(6, (n,), generator=self.g)
        self.row = torch.zeros(n, dtype=torch.long)
        self.paddle = torch.randint(6, (n,), generator=self.g)

    def observe(self):
        board = torch.zeros(self.n, 8, 6)
        i = torch.arange(self.n)
        board[i, self.row, self.ball] = 1
        board[i, 7, self.paddle] = 1
        return board.flatten(1)

    def step(self, action):
        self.paddle = (self.paddle + action - 1).clamp(0, 5)
        self.row = self.row + 1
        done = self.row == 7
        reward = torch.where(done, torch.where(self.paddle == self.ball, 1.0, -1.0), torch.tensor(0.0))
        final = self.observe()
        self.ball = torch.where(done, torch.randint(6, (self.n,), generator=self.g), self.ball)
        self.paddle = torch.where(done, torch.randint(6, (self.n,), generator=self.g), self.paddle)
        self.row = torch.where(done, torch.zeros_like(self.row), self.row)
        return self.observe(), final, reward, done


def double_dqn_replay():
    """Double DQN with a hard-copied target network, a ring-buffer replay, exploration that decays linearly."""
    torch.manual_seed(1)
    env = _Catch(16, seed=1)
    q = nn.Sequential(nn.Linear(48, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3))
    target = copy.deepcopy(q).requires_grad_(False)
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-3)
    capacity, filled, at = 8192, 0, 0
    S, S2 = torch.zeros(capacity, 48), torch.zeros(capacity, 48)
    A, R, D = torch.zeros(capacity, dtype=torch.long), torch.zeros(capacity), torch.zeros(capacity)
    obs, gamma, updates, recent = env.observe(), 0.97, 0, []
    for tick in range(640):
        epsilon = max(0.05, 1 - tick / 350)
        with torch.no_grad():
            greedy = q(obs).argmax(1)
        action = torch.where(torch.rand(16) < epsilon, torch.randint(3, (16,)), greedy)
        nxt, final, reward, done = env.step(action)
        where = (at + torch.arange(16)) % capacity
        S[where], A[where], R[where], S2[where], D[where] = obs, action, reward, final, done.float()
        at, filled = (at + 16) % capacity, min(filled + 16, capacity)
        obs = nxt
        recent += reward[done].tolist()
        if filled < 1000:
            continue
        i = torch.randint(filled, (256,))
        with torch.no_grad():
            best = q(S2[i]).argmax(1, keepdim=True)
            y = R[i] + gamma * (1 - D[i]) * target(S2[i]).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(q(S[i]).gather(1, A[i, None]).squeeze(1), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(q.parameters(), 10.0)
        optimizer.step()
        updates += 1
        if updates % 25 == 0:
            target.load_state_dict(q.state_dict())
        if updates % 115 == 0:
            print(
                f"update {updates} epsilon {epsilon:.2f} loss {loss.item():.4f} recent {np.mean(recent[-200:]):.2f}"
            )
    test, score, games = _Catch(64, seed=5), 0.0, 0
    with torch.no_grad():
        for _ in range(35):
            _, _, reward, done = test.step(q(test.observe()).argmax(1))
            score, games = score + reward[done].sum().item(), games + int(done.sum())
    print("greedy score", score / games)


# --------------------------------------------------------------------------------------------------------------
def td3_point_mass():
    """TD3: twin critics, delayed actor, smoothed targets, Polyak copies; episodes end by time-out only."""
    torch.manual_seed(2)
    n, gamma, tau = 24, 0.95, 0.02

    def mlp(i, o):
        return nn.Sequential(
            nn.Linear(i, 224), nn.ReLU(), nn.Linear(224, 224), nn.ReLU(), nn.Linear(224, o)
        )

    actor = nn.Sequential(mlp(4, 2), nn.Tanh())
    critics = nn.ModuleList([mlp(6, 1), mlp(6, 1)])
    actor_t, critics_t = (
        copy.deepcopy(actor).requires_grad_(False),
        copy.deepcopy(critics).requires_grad_(False),
    )
    opt_a = torch.optim.Adam(actor.parameters(), lr=1e-3)
    opt_c = torch.optim.Adam(critics.parameters(), lr=1e-3)

    def fresh(k):
        return torch.cat([torch.rand(k, 2) * 2 - 1, torch.zeros(k, 2)], 1)

    def dynamics(s, a):
        v = 0.9 * s[:, 2:] + 0.2 * a
        p = (s[:, :2] + 0.3 * v).clamp(-1.5, 1.5)
        return torch.cat([p, v], 1), -(p**2).sum(1) - 0.02 * (a**2).sum(1)

    def evaluate():
        g = torch.Generator().manual_seed(7)
        s = torch.cat([torch.rand(128, 2, generator=g) * 2 - 1, torch.zeros(128, 2)], 1)
        total = 0.0
        with torch.no_grad():
            for _ in range(25):
                s, r = dynamics(s, actor(s))
                total += r.mean().item()
        return total

    def polyak(target, source):
        with torch.no_grad():
            for t, s in zip(target.parameters(), source.parameters()):
                t.mul_(1 - tau).add_(s, alpha=tau)

    print("return before", evaluate())
    memory = []
    s, clock = fresh(n), 0
    for tick in range(440):
        with torch.no_grad():
            a = (
                torch.rand(n, 2) * 2 - 1
                if tick < 40
                else (actor(s) + 0.15 * torch.randn(n, 2)).clamp(-1, 1)
            )
        s2, r = dynamics(s, a)
        memory.append((s, a, r, s2))
        s, clock = s2, clock + 1
        if clock == 25:  # a time-out: the stored transition is not terminal
            s, clock = fresh(n), 0
        if tick < 40:
            continue
        picks = torch.randint(len(memory), (12,)).tolist()
        bs, ba, br, bs2 = (torch.cat(z) for z in zip(*(memory[k] for k in picks)))
        with torch.no_grad():
            noise = (0.2 * torch.randn_like(ba)).clamp(-0.4, 0.4)
            x2 = torch.cat([bs2, (actor_t(bs2) + noise).clamp(-1, 1)], 1)
            y = br[:, None] + gamma * torch.min(critics_t[0](x2), critics_t[1](x2))
        x = torch.cat([bs, ba], 1)
        loss_c = sum(F.mse_loss(c(x), y) for c in critics)
        opt_c.zero_grad()
        loss_c.backward()
        opt_c.step()
        if tick % 2 == 0:
            critics.requires_grad_(False)
            loss_a = -critics[0](torch.cat([bs, actor(bs)], 1)).mean()
            opt_a.zero_grad()
            loss_a.backward()
            opt_a.step()
            critics.requires_grad_(True)
            polyak(actor_t, actor)
            polyak(critics_t, critics)
        if tick % 100 == 39:
            print(f"tick {tick} critic {loss_c.item():.4f} return {evaluate():.2f}")


# --------------------------------------------------------------------------------------------------------------
def reinforce_pointer_tsp():
    """Policy gradient for short tours: a pointer decoder, several samples per instance, leave-one-out baseline."""
    torch.manual_seed(3)
    cities, samples, width = 8, 8, 64

    class Pointer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(2, width)
            layer = nn.TransformerEncoderLayer(
                width, 4, 128, dropout=0.0, batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.query = nn.Linear(2 * width, width)
            self.key = nn.Linear(width, width)

        def forward(self, xy, greedy=False):
            h = self.encoder(self.embed(xy))
            b = torch.arange(len(xy))
            keys = self.key(h)
            current = torch.zeros(len(xy), dtype=torch.long)
            visited = F.one_hot(current, cities).bool()
            tour, logp = [current], torch.zeros(len(xy))
            for _ in range(cities - 1):
                query = self.query(torch.cat([h[:, 0], h[b, current]], 1))
                score = 10 * torch.tanh((keys @ query[:, :, None]).squeeze(2) / width**0.5)
                logits = score.masked_fill(visited, float("-inf")).log_softmax(1)
                current = (
                    logits.argmax(1)
                    if greedy
                    else torch.multinomial(logits.exp().detach(), 1).squeeze(1)
                )
                logp = logp + logits[b, current]
                visited = visited | F.one_hot(current, cities).bool()
                tour.append(current)
            route = xy.gather(1, torch.stack(tour, 1)[:, :, None].expand(-1, -1, 2))
            length = (route - route.roll(1, 1)).norm(dim=2).sum(1)
            return length, logp

    model = Pointer()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-4)
    held = torch.rand(400, cities, 2, generator=torch.Generator().manual_seed(33))
    for step in range(150):
        model.train()
        xy = torch.rand(24, cities, 2).repeat_interleave(samples, 0)
        length, logp = model(xy)
        cost = length.detach().view(-1, samples)
        baseline = (cost.sum(1, keepdim=True) - cost) / (samples - 1)
        loss = ((cost - baseline) * logp.view(-1, samples)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 30 == 29:
            model.eval()
            with torch.no_grad():
                print(
                    f"step {step} sampled length {cost.mean():.3f} greedy, held-out {model(held, True)[0].mean():.3f}"
                )


# --------------------------------------------------------------------------------------------------------------
def logged_bandit_off_policy():
    """Counterfactual learning from logged propensities: clipped importance weights and a baseline, never the labels."""
    torch.manual_seed(4)
    data = load_digits()
    xtr, xte, ytr, yte = train_test_split(
        (data.data / 16).astype(np.float32),
        data.target,
        test_size=0.3,
        stratify=data.target,
        random_state=0,
    )
    xtr, xte = torch.from_numpy(xtr), torch.from_numpy(xte)
    ytr, yte = torch.from_numpy(ytr), torch.from_numpy(yte)
    # the logging policy: a weak linear scorer, softened
    logger = nn.Linear(64, 10)
    optimizer = torch.optim.SGD(logger.parameters(), lr=0.3)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(logger(xtr[:150]), ytr[:150]).backward()
        optimizer.step()
    with torch.no_grad():
        x = xtr.repeat(6, 1)
        probs = 0.9 * (0.7 * logger(x)).softmax(1) + 0.01
        action = torch.multinomial(probs, 1).squeeze(1)
        propensity = probs.gather(1, action[:, None]).squeeze(1)
        reward = (action == ytr.repeat(6)).float()
        print("reward of the logging policy", reward.mean().item())
    policy = nn.Sequential(
        nn.Linear(64, 384),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(384, 384),
        nn.ReLU(),
        nn.Linear(384, 10),
    )
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3, weight_decay=0.01)
    baseline = reward.mean()
    for step in range(400):
        policy.train()
        i = torch.randint(len(x), (512,))
        logp = policy(x[i]).log_softmax(1)
        weight = (logp.gather(1, action[i, None]).squeeze(1).exp() / propensity[i]).clamp(max=30)
        value = (weight * (reward[i] - baseline)).mean()
        entropy = -(logp.exp() * logp).sum(1).mean()
        loss = -value - 0.01 * entropy
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            policy.eval()
            with torch.no_grad():
                expected = policy(xte).softmax(1).gather(1, yte[:, None]).mean()
            print(
                f"step {step} estimate {value.item() + baseline.item():.3f} true expected reward {expected:.3f}"
            )


# --------------------------------------------------------------------------------------------------------------
class _TinyLM(nn.Module):
    def __init__(self, vocab, width=64, length=16):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, vocab)

    def forward(self, ids):
        L = ids.shape[1]
        mask = torch.ones(L, L, dtype=torch.bool).triu(1)
        h = self.tok(ids) + self.pos(torch.arange(L))
        return self.out(self.norm(self.body(h, mask=mask)))


def direct_preference_optimisation():
    """A small language model is fitted to strings, then tuned by DPO against a frozen copy of itself."""
    torch.manual_seed(5)
    vocab, length = 12, 16

    def corpus(n):  # random walks over ten symbols; 10 starts a string
        steps = torch.tensor([-1, 1])[torch.randint(2, (n, length - 1))]
        first = torch.randint(10, (n, 1))
        walk = (first + torch.cat([torch.zeros(n, 1, dtype=torch.long), steps[:, 1:].cumsum(1)], 1)) % 10
        return torch.cat([torch.full((n, 1), 10), walk], 1)

    def sequence_logp(model, ids):
        logp = model(ids[:, :-1]).log_softmax(-1)
        return logp.gather(2, ids[:, 1:, None]).squeeze(2).sum(1)

    @torch.no_grad()
    def generate(model, n):
        ids = torch.full((n, 1), 10)
        for _ in range(length - 1):
            nxt = torch.multinomial(model(ids)[:, -1].softmax(-1), 1)
            ids = torch.cat([ids, nxt], 1)
        return ids

    def score(ids):  # what the "annotator" likes: even symbols
        return (((ids[:, 1:] % 2) == 0) & (ids[:, 1:] < 5)).float().mean(1)

    model = _TinyLM(vocab)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(120):
        ids = corpus(48)
        loss = F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"language model loss {loss.item():.3f} score {score(generate(model, 400)).mean():.3f}")

    reference = copy.deepcopy(model).eval().requires_grad_(False)
    a, b = generate(reference, 800), generate(reference, 800)
    clear = score(a) != score(b)
    a, b = a[clear], b[clear]
    better = (score(a) > score(b))[:, None]
    chosen, rejected = torch.where(better, a, b), torch.where(better, b, a)
    with torch.no_grad():
        ref_c, ref_r = sequence_logp(reference, chosen), sequence_logp(reference, rejected)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, betas=(0.9, 0.95), weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 10))
    for epoch in range(3):
        for i in torch.randperm(len(chosen)).split(48):
            margin = (sequence_logp(model, chosen[i]) - ref_c[i]) - (
                sequence_logp(model, rejected[i]) - ref_r[i]
            )
            loss = -F.logsigmoid(0.1 * margin).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
        print(
            f"epoch {epoch} preference loss {loss.item():.3f} score {score(generate(model, 400)).mean():.3f}"
        )


HEALTHY = [
    ppo_cartpole,
    double_dqn_replay,
    td3_point_mass,
    reinforce_pointer_tsp,
    logged_bandit_off_policy,
    direct_preference_optimisation,
]
