"""Healthy loops of less usual designs: structured loss, adversaries, diffusion, teachers, replay, federation."""

import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.utils.prune as prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset

from .common import GridWorld, digit_split, seed_all


# ---------------------------------------------------------------- BiLSTM-CRF
class CRF(nn.Module):
    def __init__(self, n_tags):
        super().__init__()
        self.start, self.end = (
            nn.Parameter(torch.randn(n_tags) * 0.1),
            nn.Parameter(torch.randn(n_tags) * 0.1),
        )
        self.trans = nn.Parameter(torch.randn(n_tags, n_tags) * 0.1)

    def score(self, em, tags, mask):
        s = self.start[tags[:, 0]] + em[:, 0].gather(1, tags[:, :1]).squeeze(1)
        for t in range(1, em.size(1)):
            step = self.trans[tags[:, t - 1], tags[:, t]] + em[:, t].gather(
                1, tags[:, t : t + 1]
            ).squeeze(1)
            s = s + step * mask[:, t]
        last = tags.gather(1, (mask.sum(1).long() - 1).unsqueeze(1)).squeeze(1)
        return s + self.end[last]

    def log_z(self, em, mask):
        alpha = self.start + em[:, 0]
        for t in range(1, em.size(1)):
            nxt = torch.logsumexp(alpha.unsqueeze(2) + self.trans + em[:, t].unsqueeze(1), dim=1)
            alpha = torch.where(mask[:, t].bool().unsqueeze(1), nxt, alpha)
        return torch.logsumexp(alpha + self.end, dim=1)

    @torch.no_grad()
    def decode(self, em, length):
        best, back = self.start + em[0], []
        for t in range(1, length):
            s, idx = (best.unsqueeze(1) + self.trans).max(0)
            best = s + em[t]
            back.append(idx)
        path = [int((best + self.end).argmax())]
        for idx in reversed(back):
            path.append(int(idx[path[-1]]))
        return path[::-1]


class BiLSTMCRF(nn.Module):
    def __init__(self, vocab, n_tags=3):
        super().__init__()
        self.emb = nn.Embedding(vocab, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, n_tags)
        self.crf = CRF(n_tags)

    def emissions(self, x, lengths):
        packed = pack_padded_sequence(self.emb(x), lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=x.size(1))
        return self.fc(h)

    def loss(self, x, tags, lengths):
        mask = (torch.arange(x.size(1)) < lengths.unsqueeze(1)).float()
        em = self.emissions(x, lengths)
        return (self.crf.log_z(em, mask) - self.crf.score(em, tags, mask)).mean()


def entity_sentences(n, rng):
    """Names are opened by a title word (1-3) and go on until a lower-case word; the same words occur outside too."""
    data = []
    for _ in range(n):
        words, tags = [], []
        while len(words) < rng.integers(6, 16):
            if rng.random() < 0.25:
                k = rng.integers(1, 4)
                words += [rng.integers(1, 4)] + list(rng.integers(20, 30, k))
                tags += [0] + [1] + [2] * (k - 1)
                words.append(rng.integers(4, 20))
                tags.append(0)
            else:
                words.append(rng.integers(4, 30))
                tags.append(0)
        data.append((torch.tensor(np.array(words)), torch.tensor(tags)))
    return data


def bilstm_crf_tagger() -> None:
    """A BiLSTM with a hand-written CRF: negative log likelihood by the forward algorithm, Viterbi for the scores."""
    seed_all(60)
    rng = np.random.default_rng(60)
    train, test = entity_sentences(700, rng), entity_sentences(80, rng)
    model = BiLSTMCRF(30)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.85)
    for epoch in range(7):
        model.train()
        total = 0.0
        order = rng.permutation(len(train))
        for k in range(0, len(order), 32):
            batch = [train[i] for i in order[k : k + 32]]
            lengths = torch.tensor([len(w) for w, _ in batch])
            x = pad_sequence([w for w, _ in batch], batch_first=True)
            tags = pad_sequence([t for _, t in batch], batch_first=True)
            model.zero_grad()
            loss = model.loss(x, tags, lengths)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item() * len(batch)
        scheduler.step()
        model.eval()
        hit = n = 0
        with torch.no_grad():
            for w, t in test:
                em = model.emissions(w.unsqueeze(0), torch.tensor([len(w)]))[0]
                hit += sum(a == b for a, b in zip(model.crf.decode(em, len(w)), t.tolist()))
                n += len(w)
        print(f"epoch {epoch} nll {total / len(train):.3f} token acc {hit / n:.3f}")


# ---------------------------------------------------------------- WGAN-GP
def gradient_penalty(critic, real, fake):
    eps = torch.rand(len(real), 1)
    mix = (eps * real + (1 - eps) * fake).requires_grad_(True)
    (grad,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def wgan_gp_ring() -> None:
    """Wasserstein GAN with gradient penalty on a ring of eight Gaussians: five critic steps to one generator step."""
    seed_all(61)

    def real_batch(n):
        a = torch.randint(0, 8, (n,)) * (2 * math.pi / 8)
        return torch.stack([a.cos(), a.sin()], 1) * 2 + 0.05 * torch.randn(n, 2)

    gen = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    critic = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = torch.optim.Adam(gen.parameters(), lr=1e-3, betas=(0.5, 0.9))
    opt_c = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))
    for it in range(600):
        for p in critic.parameters():
            p.requires_grad_(True)
        for _ in range(5):
            real = real_batch(128)
            with torch.no_grad():
                fake = gen(torch.randn(128, 8))
            c_loss = (
                critic(fake).mean() - critic(real).mean() + 5.0 * gradient_penalty(critic, real, fake)
            )
            opt_c.zero_grad()
            c_loss.backward()
            opt_c.step()
        for p in critic.parameters():
            p.requires_grad_(False)
        g_loss = -critic(gen(torch.randn(128, 8))).mean()
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
        if it in (0, 99, 599):
            with torch.no_grad():
                s = gen(torch.randn(1000, 8))
            a = torch.arange(8) * (2 * math.pi / 8)
            d, m = torch.cdist(s, torch.stack([a.cos(), a.sin()], 1) * 2).min(1)
            print(
                f"it {it} critic {c_loss.item():.3f} gen {g_loss.item():.3f} modes {m[d < 0.3].unique().numel()} "
                f"mean distance {d.mean().item():.3f}"
            )


# ---------------------------------------------------------------- DDPM
class Denoiser(nn.Module):
    def __init__(self, dim=128):
        super().__init__()
        self.register_buffer("freqs", torch.exp(torch.linspace(0, 4, 16)))
        self.inp = nn.Linear(64 + 32, dim)
        self.mid = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
            for _ in range(3)
        )
        self.out = nn.Linear(dim, 64)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x, t):
        a = t.unsqueeze(1) * self.freqs
        h = self.inp(torch.cat([x, a.sin(), a.cos()], 1))
        for m in self.mid:
            h = h + m(h)
        return self.out(h)


def ddpm_digits() -> None:
    """Diffusion on digits: predicts the noise at random times, output layer starts at zero, an EMA model draws the samples."""
    seed_all(62)
    xtr, _, xte, _ = digit_split(seed=62)
    xtr, xte = xtr.flatten(1) * 2 - 1, xte.flatten(1) * 2 - 1
    T = 60
    betas = torch.linspace(1e-3, 0.12, T)
    abar = torch.cumprod(1 - betas, 0)
    model = Denoiser()
    ema = copy.deepcopy(model).requires_grad_(False)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 50))

    def denoise_loss(net, x):
        t = torch.randint(0, T, (len(x),))
        noise = torch.randn_like(x)
        a = abar[t].unsqueeze(1)
        return F.mse_loss(net(a.sqrt() * x + (1 - a).sqrt() * noise, t / T), noise)

    step = 0
    for epoch in range(24):
        losses = []
        for (x,) in DataLoader(TensorDataset(xtr), batch_size=64, shuffle=True):
            loss = denoise_loss(model, x)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            warm.step()
            step += 1
            decay = min(0.99, (1 + step) / (10 + step))
            with torch.no_grad():
                for e, p in zip(ema.parameters(), model.parameters()):
                    e.lerp_(p, 1 - decay)
            losses.append(loss.item())
        if epoch % 6 == 5:
            with torch.no_grad():
                print(
                    f"epoch {epoch} loss {np.mean(losses):.4f} test (ema) "
                    f"{np.mean([denoise_loss(ema, xte).item() for _ in range(5)]):.4f}"
                )
    with torch.no_grad():
        x = torch.randn(64, 64)
        for t in reversed(range(T)):
            eps = ema(x, torch.full((64,), t / T))
            x = (x - betas[t] / (1 - abar[t]).sqrt() * eps) / (1 - betas[t]).sqrt()
            if t:
                x = x + betas[t].sqrt() * torch.randn_like(x)
        print(
            f"samples: distance to nearest real {torch.cdist(x, xtr).min(1).values.mean().item():.2f} "
            f"(real to real {torch.cdist(xte[:64], xtr).min(1).values.mean().item():.2f})"
        )


# ---------------------------------------------------------------- mean teacher
def student_net():
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(768, 10),
    )


def mean_teacher_digits() -> None:
    """Semi-supervised mean teacher: few labels, consistency with an EMA teacher distilled at a temperature, ramped up."""
    seed_all(63)
    xtr, ytr, xte, yte = digit_split(seed=63)
    labelled, unlabelled = TensorDataset(xtr[:100], ytr[:100]), TensorDataset(xtr[100:])
    student = student_net()
    teacher = copy.deepcopy(student)
    for p in teacher.parameters():
        p.detach_()
    optimizer = torch.optim.SGD(
        student.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    sup_loader = DataLoader(labelled, batch_size=25, shuffle=True, drop_last=True)
    sup_iter, step = iter(sup_loader), 0
    total_steps = 12 * math.ceil(len(unlabelled) / 64)

    def noisy(x):
        return x + 0.15 * torch.randn_like(x)

    for epoch in range(12):
        student.train()
        teacher.train()
        sup_sum = cons_sum = n = 0
        for (xu,) in DataLoader(unlabelled, batch_size=64, shuffle=True):
            try:
                xl, yl = next(sup_iter)
            except StopIteration:
                sup_iter = iter(sup_loader)
                xl, yl = next(sup_iter)
            x = torch.cat([xl, xu])
            out = student(noisy(x))
            with torch.no_grad():
                soft = (teacher(noisy(x)) / 2.0).softmax(1)
            sup = F.cross_entropy(out[: len(xl)], yl)
            cons = F.kl_div((out / 2.0).log_softmax(1), soft, reduction="batchmean") * 4.0
            weight = math.exp(-5 * (1 - min(1.0, step / (0.5 * total_steps))) ** 2)
            loss = sup + weight * cons
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            alpha = min(1 - 1 / (step + 1), 0.97)
            with torch.no_grad():
                for tp, sp in zip(teacher.parameters(), student.parameters()):
                    tp.mul_(alpha).add_(sp, alpha=1 - alpha)
            sup_sum, cons_sum, n = sup_sum + sup.item(), cons_sum + cons.item(), n + 1
        teacher.eval()
        with torch.no_grad():
            acc = (teacher(xte).argmax(1) == yte).float().mean().item()
        print(f"epoch {epoch} sup {sup_sum / n:.3f} cons {cons_sum / n:.3f} teacher acc {acc:.3f}")


# ---------------------------------------------------------------- prioritized replay
class PrioritizedReplay:
    def __init__(self, size, dim, alpha=0.6):
        self.s, self.s2 = torch.zeros(size, dim), torch.zeros(size, dim)
        self.a, self.r, self.d = (
            torch.zeros(size, dtype=torch.long),
            torch.zeros(size),
            torch.zeros(size),
        )
        self.p = torch.zeros(size)
        self.size, self.alpha, self.ptr, self.n = size, alpha, 0, 0

    def add(self, s, a, r, s2, d):
        i = self.ptr
        self.s[i], self.a[i], self.r[i], self.s2[i], self.d[i] = s, a, r, s2, float(d)
        self.p[i] = self.p[: self.n].max() if self.n else 1.0
        self.ptr, self.n = (i + 1) % self.size, min(self.n + 1, self.size)

    def sample(self, k, beta):
        prob = self.p[: self.n] ** self.alpha
        prob = prob / prob.sum()
        i = torch.multinomial(prob, k, replacement=True)
        w = (self.n * prob[i]) ** -beta
        return i, w / w.max(), self.s[i], self.a[i], self.r[i], self.s2[i], self.d[i]

    def update(self, i, td):
        self.p[i] = td.abs() + 1e-3


class Dueling(nn.Module):
    def __init__(self, n_in, n_actions=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU())
        self.value, self.adv = nn.Linear(64, 1), nn.Linear(64, n_actions)

    def forward(self, s):
        h = self.body(s)
        a = self.adv(h)
        return self.value(h) + a - a.mean(-1, keepdim=True)


def prioritized_double_dqn() -> None:
    """Double dueling DQN with prioritized replay: importance weights, priorities from TD errors, soft target updates."""
    seed_all(64)
    rng = np.random.default_rng(64)
    env = GridWorld(seed=64, limit=50)
    online, target = Dueling(env.n_states), Dueling(env.n_states)
    target.load_state_dict(online.state_dict())
    target.eval()
    optimizer = torch.optim.Adam(online.parameters(), lr=2e-3)
    memory = PrioritizedReplay(4000, env.n_states)
    s, n_steps = env.reset(), 4000
    for step in range(n_steps):
        with torch.no_grad():
            greedy = online(s).argmax().item()
        a = int(rng.integers(4)) if rng.random() < max(0.2, 1 - step / 3000) else greedy
        s2, r, done, over = env.step(a)
        memory.add(s, a, r, s2, done)
        s = env.reset() if done or over else s2
        if step < 300 or step % 4:
            continue
        i, w, bs, ba, br, bs2, bd = memory.sample(64, beta=0.4 + 0.6 * step / n_steps)
        with torch.no_grad():
            best = online(bs2).argmax(1, keepdim=True)
            y = br + 0.95 * (1 - bd) * target(bs2).gather(1, best).squeeze(1)
        td = online(bs).gather(1, ba.unsqueeze(1)).squeeze(1) - y
        loss = (w * F.huber_loss(td, torch.zeros_like(td), reduction="none")).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(online.parameters(), 10.0)
        optimizer.step()
        memory.update(i, td.detach())
        with torch.no_grad():
            for t, p in zip(target.parameters(), online.parameters()):
                t.lerp_(p, 0.04)
        if step % 1000 == 0 or step == n_steps - 4:
            print(f"step {step} loss {loss.item():.5f} success {greedy_success(env, online):.2f}")
            s = env.reset()


@torch.no_grad()
def greedy_success(env, net):
    solved = 0
    for cell in env.cells():
        s, done, over = env.reset(cell), False, False
        while not (done or over):
            s, _, done, over = env.step(net(s).argmax().item())
        solved += done
    return solved / len(env.cells())


# ---------------------------------------------------------------- federated averaging, then pruning
def local_train(global_model, x, y, epochs=2, lr=0.08):
    model = copy.deepcopy(global_model)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.5)
    losses = []
    for _ in range(epochs):
        for idx in torch.randperm(len(x)).split(32):
            loss = F.cross_entropy(model(x[idx]), y[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return model.state_dict(), len(x), float(np.mean(losses))


def fedavg_then_prune() -> None:
    """Federated averaging over clients with few classes each; the averaged net is then pruned by size and fine-tuned."""
    seed_all(65)
    xtr, ytr, xte, yte = digit_split(seed=65)
    order = torch.argsort(ytr + torch.rand(len(ytr)) * 4)
    clients = [(xtr[i], ytr[i]) for i in order.chunk(8)]
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10)
    )

    def accuracy():
        net.eval()
        with torch.no_grad():
            return (net(xte).argmax(1) == yte).float().mean().item()

    for rnd in range(14):
        chosen = np.random.choice(8, 5, replace=False)
        results = [local_train(net, *clients[c]) for c in chosen]
        total = sum(n for _, n, _ in results)
        net.load_state_dict({k: sum(sd[k] * (n / total) for sd, n, _ in results) for k in results[0][0]})
        if rnd % 4 == 1:
            print(
                f"round {rnd} client loss {np.mean([r[2] for r in results]):.3f} global acc {accuracy():.3f}"
            )

    linears = [m for m in net if isinstance(m, nn.Linear)]
    for amount in (0.5, 0.5):
        prune.global_unstructured([(m, "weight") for m in linears], prune.L1Unstructured, amount=amount)
        before = accuracy()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(4):
            net.train()
            for xb, yb in DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(net(xb), yb)
                loss.backward()
                optimizer.step()
        zeros = sum((m.weight == 0).sum().item() for m in linears) / sum(
            m.weight.numel() for m in linears
        )
        print(f"pruned to {1 - zeros:.2f}: acc {before:.3f} -> {accuracy():.3f} loss {loss.item():.3f}")
    for m in linears:
        prune.remove(m, "weight")
    print(f"final acc {accuracy():.3f}")


HEALTHY = [
    bilstm_crf_tagger,
    wgan_gp_ring,
    ddpm_digits,
    mean_teacher_digits,
    prioritized_double_dqn,
    fedavg_then_prune,
]
