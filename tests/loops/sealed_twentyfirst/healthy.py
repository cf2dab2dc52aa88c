import copy
import math
import random
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

from .common import WordVocab, digit_images, opinion_sentences, seasonal_series, seed_all

# ---------------------------------------------------------------- 1 accumulation with remainder


@dataclass
class Output:
    loss: torch.Tensor
    logits: torch.Tensor


class TinyClassifier(nn.Module):
    def __init__(self, n, dim=32, p=0.1):
        super().__init__()
        self.emb = nn.Embedding(n, dim, padding_idx=0)
        self.rnn = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(p)
        self.out = nn.Linear(2 * dim, 2)

    def forward(self, input_ids, attention_mask, labels=None):
        h = self.rnn(self.emb(input_ids))[0] * attention_mask.unsqueeze(-1)
        logits = self.out(self.drop(h.sum(1) / attention_mask.sum(1, keepdim=True)))
        return Output(None if labels is None else F.cross_entropy(logits, labels), logits)


def opinions(n, n_train, seed):
    rows = list(dict(opinion_sentences(n, seed=seed)).items())
    random.Random(seed).shuffle(rows)
    vocab = WordVocab([s for s, _ in rows[:n_train]])

    def collate(items):
        ids = pad_sequence([torch.tensor(vocab.encode(s)) for s, _ in items], batch_first=True)
        return {
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            "labels": torch.tensor([y for _, y in items]),
        }

    return rows[:n_train], rows[n_train:], vocab, collate


def accuracy_of(model, loader):
    was = model.training
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for b in loader:
            hits += int((model(**b).logits.argmax(-1) == b["labels"]).sum())
            n += len(b["labels"])
    model.train(was)
    return hits / n


def accumulating_trainer():
    seed_all(201)
    train, test, vocab, collate = opinions(1000, 500, 201)

    class Trainer:
        def __init__(self, model, accumulate=4):
            self.model, self.accumulate = model, accumulate
            self.optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3)
            self.log = []

        def compute_loss(self, batch):
            return self.model(**batch).loss

        def train(self, loader, epochs):
            for _ in range(epochs):
                self.model.train()
                batches = list(loader)
                for start in range(0, len(batches), self.accumulate):
                    group = batches[start : start + self.accumulate]
                    size = sum(len(b["labels"]) for b in group)
                    self.optimizer.zero_grad()
                    whole = 0.0
                    for b in group:
                        loss = self.compute_loss(b) * len(b["labels"]) / size
                        loss.backward()
                        whole += loss.item()
                    nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                    self.optimizer.step()
                    self.log.append(whole)

    trainer = Trainer(TinyClassifier(len(vocab)))
    trainer.train(DataLoader(train, batch_size=9, shuffle=True, collate_fn=collate), 10)
    acc = accuracy_of(trainer.model, DataLoader(test, batch_size=64, collate_fn=collate))
    return {"first": trainer.log[0], "last": float(np.mean(trainer.log[-10:])), "acc": acc}


# ---------------------------------------------------------------- 2 GAN with spectral norm


def spectral_gan():
    seed_all(202)
    centres = torch.tensor(
        [[2 * math.cos(a), 2 * math.sin(a)] for a in np.linspace(0, 2 * np.pi, 6)[:-1]],
        dtype=torch.float32,
    )

    def real(n):
        return centres[torch.randint(5, (n,))] + 0.08 * torch.randn(n, 2)

    sn = spectral_norm
    g = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    d = nn.Sequential(
        sn(nn.Linear(2, 96)),
        nn.LeakyReLU(0.1),
        sn(nn.Linear(96, 96)),
        nn.LeakyReLU(0.1),
        sn(nn.Linear(96, 1)),
    )
    g_opt = torch.optim.Adam(g.parameters(), lr=1e-3, betas=(0.5, 0.9))
    d_opt = torch.optim.Adam(d.parameters(), lr=4e-3, betas=(0.5, 0.9))
    with torch.no_grad():
        start = torch.cdist(g(torch.randn(500, 8)), centres).min(1).values.mean().item()
    for step in range(1200):
        x = real(96)
        d_loss = F.relu(1 - d(x)).mean() + F.relu(1 + d(g(torch.randn(96, 8)).detach())).mean()
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()
        g_loss = -d(g(torch.randn(96, 8))).mean()
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
    with torch.no_grad():
        made = g(torch.randn(1000, 8))
    return {
        "dist_start": start,
        "dist_end": torch.cdist(made, centres).min(1).values.mean().item(),
        "cover": torch.cdist(real(500), made).min(1).values.mean().item(),
    }


# ---------------------------------------------------------------- 3 SAM


def sam_forecast():
    seed_all(203)
    s = seasonal_series(1200, seed=11)
    s = (s - s[:900].mean()) / s[:900].std()
    rows = lambda part: part.unfold(0, 37, 1)
    train, test = rows(s[:900]), rows(s[900:])
    net = nn.Sequential(nn.Linear(36, 48), nn.ReLU(), nn.Linear(48, 1))
    base = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9)
    losses = []

    def closure(w):
        base.zero_grad()
        loss = F.mse_loss(net(w[:, :36]), w[:, 36:])
        loss.backward()
        return loss

    for epoch in range(10):
        for idx in torch.randperm(len(train)).split(32):
            losses.append(closure(train[idx]).item())
            norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
            moves = []
            with torch.no_grad():
                for p in net.parameters():
                    e = 0.03 * p.grad / (norm + 1e-12)
                    p.add_(e)
                    moves.append(e)
            closure(train[idx])
            with torch.no_grad():
                for p, e in zip(net.parameters(), moves):
                    p.sub_(e)
            base.step()
    with torch.no_grad():
        return {
            "first": losses[0],
            "last": float(np.mean(losses[-20:])),
            "test": F.mse_loss(net(test[:, :36]), test[:, 36:]).item(),
        }


# ---------------------------------------------------------------- 4 SWA


def swa_digits():
    seed_all(204)
    x, y, xt, yt = digit_images(1100, 400, seed=5)
    loader = DataLoader(TensorDataset(x.flatten(1), y), batch_size=50, shuffle=True)
    net = nn.Sequential(
        nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 8)
    averaged, swa_schedule = AveragedModel(net), SWALR(optimizer, swa_lr=0.03, anneal_epochs=2)
    losses = []
    for epoch in range(14):
        net.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch >= 8:
            averaged.update_parameters(net)
            swa_schedule.step()
        else:
            schedule.step()
    update_bn(loader, averaged)
    averaged.eval()
    with torch.no_grad():
        acc = (averaged(xt.flatten(1)).argmax(1) == yt).float().mean().item()
    return {"first": losses[0], "last": float(np.mean(losses[-20:])), "acc": acc}


# ---------------------------------------------------------------- 5 mean teacher on few labels


def mean_teacher():
    seed_all(205)
    train, test, vocab, collate = opinions(1100, 550, 205)
    labelled, unlabelled = train[:150], train[150:]
    student = TinyClassifier(len(vocab), p=0.2)
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    optimizer = torch.optim.Adam(student.parameters(), lr=4e-3)
    un_loader = DataLoader(unlabelled, batch_size=32, shuffle=True, collate_fn=collate)
    lab_loader = DataLoader(labelled, batch_size=16, shuffle=True, collate_fn=collate)
    losses, step = [], 0
    for epoch in range(20):
        student.train()
        un = iter(un_loader)
        for batch in lab_loader:
            free = next(un)
            step += 1
            out = student(**batch)
            with torch.no_grad():
                belief = teacher(free["input_ids"], free["attention_mask"]).logits.softmax(-1)
            own = student(free["input_ids"], free["attention_mask"]).logits.softmax(-1)
            loss = out.loss + min(1.0, step / 100) * F.mse_loss(own, belief)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for t, s in zip(teacher.parameters(), student.parameters()):
                    t.lerp_(s, 0.05)
            losses.append(out.loss.item())
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-10:])),
        "acc_teacher": accuracy_of(teacher, DataLoader(test, batch_size=64, collate_fn=collate)),
    }


# ---------------------------------------------------------------- 6 MAML on sine waves

Task = namedtuple("Task", "support query")


def maml_waves():
    seed_all(206)

    def task():
        amp, phase = 0.5 + 1.5 * random.random(), math.pi * random.random()
        x = torch.rand(20, 1) * 6 - 3
        y = amp * torch.sin(x + phase)
        return Task((x[:10], y[:10]), (x[10:], y[10:]))

    net = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    meta = torch.optim.Adam(net.parameters(), lr=2e-3)

    def adapted_loss(t, inner_lr=0.05, train=True):
        fast = OrderedDict(net.named_parameters())
        for _ in range(2):
            loss = F.mse_loss(functional_call(net, fast, (t.support[0],)), t.support[1])
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=train)
            fast = OrderedDict((k, p - inner_lr * g) for (k, p), g in zip(fast.items(), grads))
        return F.mse_loss(functional_call(net, fast, (t.query[0],)), t.query[1])

    losses = []
    for it in range(250):
        loss = torch.stack([adapted_loss(task()) for _ in range(4)]).mean()
        meta.zero_grad()
        loss.backward()
        meta.step()
        losses.append(loss.item())
    test = float(np.mean([adapted_loss(task(), train=False).item() for _ in range(50)]))
    return {"first": float(np.mean(losses[:10])), "last": float(np.mean(losses[-30:])), "test": test}


# ---------------------------------------------------------------- 7 LBFGS


def lbfgs_ratings():
    seed_all(207)
    x = torch.randn(400, 6)
    y = torch.sin(x[:, 0]) + 0.5 * x[:, 1] * x[:, 2] + 0.05 * torch.randn(400)
    net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(net(x[:300]).squeeze(1), y[:300]) + 1e-3 * sum(
            p.pow(2).sum() for p in net.parameters()
        )
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(30)]
    with torch.no_grad():
        return {
            "first": losses[0],
            "last": losses[-1],
            "test": F.mse_loss(net(x[300:]).squeeze(1), y[300:]).item(),
            "var": y[300:].var().item(),
        }


# ---------------------------------------------------------------- 8 freezing, then thawing


def thawing_language_model():
    seed_all(208)
    text = " . ".join(s for s, _ in opinion_sentences(700, seed=208)).split()
    vocab = {w: i for i, w in enumerate(sorted(set(text)))}
    ids = torch.tensor([vocab[w] for w in text])
    n = int(0.85 * len(ids))
    cut = lambda part: part[: len(part) // 13 * 13].view(-1, 13)
    train, val = cut(ids[:n]), cut(ids[n:])
    emb, rnn, head = (
        nn.Embedding(len(vocab), 32),
        nn.GRU(32, 48, batch_first=True),
        nn.Linear(48, len(vocab)),
    )
    model = nn.Sequential(OrderedDict(emb=emb, rnn=rnn))
    optimizer = torch.optim.Adam([{"params": head.parameters(), "lr": 5e-3}])
    emb.requires_grad_(False)
    rnn.requires_grad_(False)

    def loss_on(w):
        return F.cross_entropy(head(rnn(emb(w[:, :-1]))[0]).flatten(0, 1), w[:, 1:].flatten())

    losses = []
    for epoch in range(10):
        if epoch == 2:
            rnn.requires_grad_(True)
            optimizer.add_param_group({"params": rnn.parameters(), "lr": 4e-3})
        if epoch == 4:
            emb.requires_grad_(True)
            optimizer.add_param_group({"params": emb.parameters(), "lr": 4e-3})
        for idx in torch.randperm(len(train)).split(16):
            loss = loss_on(train[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        return {"first": losses[0], "last": float(np.mean(losses[-20:])), "val": loss_on(val).item()}


# ---------------------------------------------------------------- 9 actor-critic in a corridor


def corridor_actor_critic():
    seed_all(209)
    n = 7
    net = nn.Sequential(nn.Embedding(n, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    returns = []
    for episode in range(250):
        s, logs, values, rewards = n // 2, [], [], []
        for t in range(20):
            out = net(torch.tensor(s))
            dist = torch.distributions.Categorical(logits=out[:2])
            a = dist.sample()
            logs.append(dist.log_prob(a))
            values.append(out[2])
            s += 1 if a.item() == 1 else -1
            s = max(s, 0)
            rewards.append(1.0 if s == n - 1 else -0.05)
            if s == n - 1:
                break
        g, gs = 0.0, []
        for r in reversed(rewards):
            g = r + 0.97 * g
            gs.insert(0, g)
        gs, values = torch.tensor(gs), torch.stack(values)
        adv = gs - values.detach()
        loss = -(torch.stack(logs) * adv).mean() + 0.5 * F.mse_loss(values, gs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        returns.append(sum(rewards))
    return {"return_first": float(np.mean(returns[:20])), "return_last": float(np.mean(returns[-30:]))}


# ---------------------------------------------------------------- 10 VAE with KL warm-up


def warm_vae():
    seed_all(210)
    x, _, xt, _ = digit_images(1200, 400, seed=3)
    x, xt = x.flatten(1), xt.flatten(1)
    enc, dec = (
        nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16)),
        nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 64)),
    )
    optimizer = torch.optim.Adam([*enc.parameters(), *dec.parameters()], lr=2e-3)

    def terms(b):
        mu, logvar = enc(b).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        rec = F.binary_cross_entropy_with_logits(dec(z), b, reduction="none").sum(1).mean()
        return rec, -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()

    log = []
    for epoch in range(20):
        beta = min(1.0, epoch / 10)
        for idx in torch.randperm(len(x)).split(60):
            rec, kl = terms(x[idx])
            optimizer.zero_grad()
            (rec + beta * kl).backward()
            optimizer.step()
            log.append((rec.item(), kl.item()))
    with torch.no_grad():
        rec, kl = terms(xt)
    return {
        "rec_first": log[0][0],
        "rec_last": log[-1][0],
        "kl_last": log[-1][1],
        "test_bound": (rec + kl).item(),
    }


# ---------------------------------------------------------------- 11 distillation


def distilled_sentiment():
    seed_all(211)
    train, test, vocab, collate = opinions(1000, 500, 211)
    loader = DataLoader(train, batch_size=25, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(test, batch_size=64, collate_fn=collate)

    def fit(model, loss_of, epochs, lr):
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        out = []
        for _ in range(epochs):
            model.train()
            for b in loader:
                loss = loss_of(model, b)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                out.append(loss.item())
        return out

    big, small = TinyClassifier(len(vocab), 48), TinyClassifier(len(vocab), 12, p=0.0)
    fit(big, lambda m, b: m(**b).loss, 8, 5e-3)
    big.eval().requires_grad_(False)

    def soft(m, b, T=2.0):
        out = m(**b)
        with torch.no_grad():
            t = big(**b).logits
        return 0.5 * out.loss + 0.5 * T * T * F.kl_div(
            F.log_softmax(out.logits / T, -1), F.softmax(t / T, -1), reduction="batchmean"
        )

    log = fit(small, soft, 12, 8e-3)
    return {
        "first": log[0],
        "last": float(np.mean(log[-10:])),
        "teacher": accuracy_of(big, test_loader),
        "student": accuracy_of(small, test_loader),
    }


# ---------------------------------------------------------------- 12 federated averaging


def federated():
    seed_all(212)
    x, y, xt, yt = digit_images(1200, 400, seed=8)
    x, xt = x.flatten(1), xt.flatten(1)
    order = torch.argsort(y + 4 * torch.rand(len(y)))
    clients = [(x[i], y[i]) for i in order.chunk(4)]
    server = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))

    def test():
        with torch.no_grad():
            out = server(xt)
            return F.cross_entropy(out, yt).item(), (out.argmax(1) == yt).float().mean().item()

    first = test()
    for round_ in range(12):
        states, sizes = [], []
        for cx, cy in clients:
            local = copy.deepcopy(server)
            optimizer = torch.optim.SGD(local.parameters(), lr=0.1)
            for _ in range(3):
                for idx in torch.randperm(len(cx)).split(30):
                    optimizer.zero_grad()
                    F.cross_entropy(local(cx[idx]), cy[idx]).backward()
                    optimizer.step()
            states.append(local.state_dict())
            sizes.append(len(cx))
        server.load_state_dict(
            {k: sum(n * s[k] for n, s in zip(sizes, states)) / sum(sizes) for k in states[0]}
        )
    last = test()
    return {"first": first[0], "last": last[0], "acc": last[1]}


# ---------------------------------------------------------------- 13 k-fold on a graph


def graph_folds():
    seed_all(213)
    n, k = 180, 3
    group = torch.randint(k, (n,))
    same = group[:, None] == group[None]
    a = (torch.rand(n, n) < torch.where(same, 0.10, 0.01)).float().triu(1)
    a = a + a.T + torch.eye(n)
    norm = a / a.sum(1, keepdim=True)
    feats = torch.randn(n, 8) + 0.7 * F.one_hot(group, 8)
    folds = torch.randperm(n).chunk(5)
    scores, firsts, lasts = [], [], []
    for f, held in enumerate(folds):
        known = torch.cat([x for j, x in enumerate(folds) if j != f])
        l1, l2, drop = nn.Linear(8, 24), nn.Linear(24, k), nn.Dropout(0.3)
        parts = nn.ModuleList([l1, l2, drop])
        optimizer = torch.optim.Adam(parts.parameters(), lr=1e-2, weight_decay=1e-3)

        def forward():
            return norm @ l2(drop(F.relu(norm @ l1(feats))))

        for epoch in range(80):
            parts.train()
            loss = F.cross_entropy(forward()[known], group[known])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if epoch == 0:
                firsts.append(loss.item())
        lasts.append(loss.item())
        parts.eval()
        with torch.no_grad():
            scores.append((forward()[held].argmax(1) == group[held]).float().mean().item())
    return {
        "first": float(np.mean(firsts)),
        "last": float(np.mean(lasts)),
        "acc": float(np.mean(scores)),
    }


# ---------------------------------------------------------------- 14 diffusion of short series


def series_diffusion():
    seed_all(214)
    T, length = 40, 16
    grid = torch.linspace(0, 2 * math.pi, length)

    def sample_data(n):
        return torch.sin(grid + 2 * math.pi * torch.rand(n, 1))

    data, held = sample_data(1500), sample_data(300)
    bars = torch.cumprod(1 - torch.linspace(1e-3, 0.2, T), 0)
    net = nn.Sequential(
        nn.Linear(length + 1, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, length)
    )
    ema = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=15 * 30)

    def loss_of(model, x):
        t = torch.randint(T, (len(x),))
        e = torch.randn_like(x)
        noisy = bars[t].sqrt()[:, None] * x + (1 - bars[t]).sqrt()[:, None] * e
        return F.mse_loss(model(torch.cat([noisy, t[:, None] / T], 1)), e)

    losses = []
    for epoch in range(15):
        for idx in torch.randperm(1500).split(50):
            loss = loss_of(net, data[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for p, q in zip(ema.parameters(), net.parameters()):
                    p.lerp_(q, 0.02)
            losses.append(loss.item())
    with torch.no_grad():
        val = float(np.mean([loss_of(ema, held).item() for _ in range(10)]))
    return {"first": losses[0], "last": float(np.mean(losses[-30:])), "val_ema": val}


HEALTHY = [
    accumulating_trainer,
    spectral_gan,
    sam_forecast,
    swa_digits,
    mean_teacher,
    maml_waves,
    lbfgs_ratings,
    thawing_language_model,
    corridor_actor_critic,
    warm_vae,
    distilled_sentiment,
    federated,
    graph_folds,
    series_diffusion,
]
