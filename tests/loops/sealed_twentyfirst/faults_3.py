import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from .common import WordVocab, opinion_sentences, seasonal_series, seed_all

# ---------------------------------------------------------------- slot tagging with a config


@dataclass
class TaggerConfig:
    lr: float = 0.3
    momentum: float = 0.9
    clip: int = 2
    parts: int = 4
    epochs: int = 12
    batch_size: int = 32


def slot_tagger(mistake):
    seed_all(41)
    cfg = TaggerConfig()
    rng = random.Random(41)
    cities, days = (
        "rome paris oslo lima cairo delhi quito bonn".split(),
        "monday tuesday friday sunday today".split(),
    )
    names = "anna bob carl dora emil fay".split()

    def sample():
        words, tags = [], []
        for w, t in rng.choice(
            [
                [
                    ("book", 0),
                    ("from", 0),
                    (rng.choice(cities), 1),
                    ("to", 0),
                    (rng.choice(cities), 2),
                    ("on", 0),
                    (rng.choice(days), 3),
                ],
                [
                    ("send", 0),
                    (rng.choice(names), 4),
                    ("to", 0),
                    (rng.choice(cities), 2),
                    (rng.choice(days), 3),
                ],
                [
                    (rng.choice(names), 4),
                    ("leaves", 0),
                    (rng.choice(cities), 1),
                    ("for", 0),
                    (rng.choice(cities), 2),
                ],
            ]
        ):
            words.append(w)
            tags.append(t)
        return words, tags

    rows = [sample() for _ in range(1100)]
    train = rows[:900]
    known = {" ".join(w) for w, _ in train}
    test = [r for r in rows[900:] if " ".join(r[0]) not in known]
    vocab = WordVocab([" ".join(w) for w, _ in train])

    def collate(items):
        return {
            "input_ids": pad_sequence(
                [torch.tensor(vocab.encode(" ".join(w))) for w, _ in items], batch_first=True
            ),
            "labels": pad_sequence(
                [torch.tensor(t) for _, t in items], batch_first=True, padding_value=-100
            ),
        }

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(vocab), 24, padding_idx=0)
            self.rnn = nn.GRU(24, 24, batch_first=True, bidirectional=True)
            self.out = nn.Linear(48, 5)

        def forward(self, input_ids, labels):
            logits = self.out(self.rnn(self.emb(input_ids))[0])
            return {
                "logits": logits,
                "loss": F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100),
            }

    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=cfg.momentum)
    max_norm = cfg.clip // cfg.parts if mistake else cfg.clip / cfg.parts
    log = []
    for epoch in range(cfg.epochs):
        for batch in DataLoader(train, cfg.batch_size, shuffle=True, collate_fn=collate):
            optimizer.zero_grad()
            loss = model(**batch)["loss"]
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            log.append(loss.item())
    model.eval()
    with torch.no_grad():
        b = collate(test)
        where = b["labels"] >= 0
        acc = (model(**b)["logits"].argmax(-1) == b["labels"])[where].float().mean().item()
    grad = sum(p.grad.abs().sum().item() for p in model.parameters())
    return {"first": log[0], "last": float(np.mean(log[-20:])), "acc": acc, "grad_after_clip": grad}


# ---------------------------------------------------------------- scaled gradients


class Windows(Dataset):
    def __init__(self, series, past, ahead):
        self.series, self.past, self.ahead = series, past, ahead

    def __len__(self):
        return len(self.series) - self.past - self.ahead + 1

    def __getitem__(self, i):
        return {
            "x": self.series[i : i + self.past],
            "y": self.series[i + self.past : i + self.past + self.ahead],
        }


def scaled_forecaster(mistake):
    seed_all(43)
    series = seasonal_series(1300, seed=7, noise=0.08)
    cut = 1000
    series = (series - series[:cut].mean()) / series[:cut].std()
    train_loader = DataLoader(Windows(series[:cut], 48, 4), batch_size=32, shuffle=True)
    test_loader = DataLoader(Windows(series[cut:], 48, 4), batch_size=64)
    net = nn.Sequential(nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=4096.0, growth_interval=100)
    losses, lengths = [], []

    def fit_batch(batch):
        optimizer.zero_grad()
        loss = F.mse_loss(net(batch["x"]), batch["y"])
        scaler.scale(loss).backward()
        if mistake:
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.unscale_(optimizer)
        else:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        lengths.append(torch.cat([p.grad.flatten() for p in net.parameters()]).norm().item())
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    for epoch in range(10):
        net.train()
        losses += [fit_batch(b) for b in train_loader]
    net.eval()
    with torch.no_grad():
        err = float(np.mean([F.mse_loss(net(b["x"]), b["y"]).item() for b in test_loader]))
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "test": err,
        "grad_used": float(np.mean(lengths)),
    }


# ---------------------------------------------------------------- micro batches


class MicroBatch(NamedTuple):
    tokens: torch.Tensor
    value: torch.Tensor


def micro_batches(mistake):
    seed_all(47)
    rng = np.random.RandomState(47)

    # little sums: digits and signs as tokens, the value as target
    def expression():
        a, b, c = rng.randint(0, 10, 3)
        s, t = rng.randint(0, 2, 2)
        return [a, 10 + s, b, 10 + t, c], a + (b if s == 0 else -b) + (c if t == 0 else -c)

    rows = {}
    while len(rows) < 2000:
        e, v = expression()
        rows[tuple(e)] = v
    tokens = torch.tensor(list(rows))
    values = torch.tensor(list(rows.values()), dtype=torch.float32)
    values = (values - values[:1600].mean()) / values[:1600].std()

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(12, 12)
            self.body = nn.Sequential(nn.Linear(60, 64), nn.Tanh(), nn.Linear(64, 1))

        def forward(self, t):
            return self.body(self.emb(t).flatten(1)).squeeze(1)

    model = Reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.08, momentum=0.9)
    accumulate = 16
    losses = []
    for epoch in range(15):
        order = torch.randperm(1600)
        optimizer.zero_grad()
        for i, idx in enumerate(order.split(10), start=1):
            micro = MicroBatch(tokens[idx], values[idx])
            loss = F.smooth_l1_loss(model(micro.tokens), micro.value)
            if mistake:
                loss.backward()
            else:
                (loss / accumulate).backward()
            losses.append(loss.item())
            if i % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
    with torch.no_grad():
        err = F.mse_loss(model(tokens[1600:]), values[1600:]).item()
    return {"first": losses[0], "last": float(np.mean(losses[-40:])), "test": err}


# ---------------------------------------------------------------- buckets by length


def length_buckets(mistake):
    seed_all(53)
    rng = random.Random(53)

    # the last bracket's kind which is still open, 0 when none
    def sample():
        n = rng.randint(3, 24)
        stack, text = [], []
        for _ in range(n):
            if stack and rng.random() < 0.5:
                text.append(stack.pop() + 3)
            else:
                k = rng.randint(1, 3)
                stack.append(k)
                text.append(k)
        return text, (len(text) % 4 if len(text) > 18 else len(set(text)) % 4)

    train, test = [sample() for _ in range(1100)], [sample() for _ in range(400)]
    train.sort(key=lambda r: len(r[0]))

    def tensors(rows):
        ids = pad_sequence([torch.tensor(t) for t, _ in rows], batch_first=True)
        return {
            "input_ids": ids,
            "lengths": torch.tensor([len(t) for t, _ in rows]),
            "labels": torch.tensor([y for _, y in rows]),
        }

    batches = [tensors(train[i : i + 25]) for i in range(0, len(train), 25)]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(7, 24, padding_idx=0)
            self.body = nn.Sequential(nn.Linear(24 + 25, 64), nn.ReLU(), nn.Linear(64, 4))

        def forward(self, input_ids, lengths, labels=None):
            h = torch.cat([self.emb(input_ids).amax(1), F.one_hot(lengths, 25).float()], 1)
            return self.body(h)

    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    k = 16
    losses = []
    updates = 0
    for epoch in range(60):
        optimizer.zero_grad()
        for i, batch in enumerate(batches):
            group = min(k, len(batches) - i // k * k)
            loss = F.cross_entropy(model(**batch), batch["labels"])
            (loss / group).backward()
            losses.append(loss.item())
            due = (i + 1) % k == 0
            if not mistake:
                due = due or i + 1 == len(batches)
            if due:
                optimizer.step()
                optimizer.zero_grad()
                updates += 1
    b = tensors(test)
    with torch.no_grad():
        right = (model(**b).argmax(1) == b["labels"]).float()
    long = b["lengths"] > 18
    return {
        "first": float(np.mean(losses[: len(batches)])),
        "last": float(np.mean(losses[-len(batches) :])),
        "acc": right.mean().item(),
        "acc_long": right[long].mean().item(),
        "updates": updates,
    }


# ---------------------------------------------------------------- one function for both phases


def one_epoch_function(mistake):
    seed_all(59)
    rng = random.Random(59)
    rows = opinion_sentences(900, seed=59)
    unique = list(dict(rows).items())
    rng.shuffle(unique)
    unique = [(s, 1 - y if rng.random() < 0.15 else y) for s, y in unique]
    n = int(0.6 * len(unique))
    vocab = WordVocab([s for s, _ in unique[:n]] + ["the"])

    def collate(items):
        ids = pad_sequence([torch.tensor(vocab.encode(s)) for s, _ in items], batch_first=True)
        return dict(input_ids=ids, labels=torch.tensor([y for _, y in items]))

    train_loader = DataLoader(unique[:n], batch_size=32, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(unique[n:], batch_size=32, collate_fn=collate)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(vocab), 48, padding_idx=0)
            self.rnn = nn.GRU(48, 48, batch_first=True)
            self.out = nn.Linear(48, 2)

        def forward(self, ids):
            n = (ids != 0).sum(1) - 1
            h = self.rnn(self.emb(ids))[0]
            return self.out(h[torch.arange(len(ids)), n])

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    count = {"updates": 0}

    def run_epoch(loader, train=True):
        net.train(train)
        total = hits = seen = 0
        with torch.set_grad_enabled(train):
            for batch in loader:
                logits = net(batch["input_ids"])
                loss = F.cross_entropy(logits, batch["labels"])
                if train:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    count["updates"] += 1
                total += loss.item() * len(logits)
                hits += int((logits.argmax(1) == batch["labels"]).sum())
                seen += len(logits)
        return total / seen, hits / seen

    hist = []
    for epoch in range(12):
        tr = run_epoch(train_loader)
        va = run_epoch(val_loader) if mistake else run_epoch(val_loader, train=False)
        hist.append((tr, va))
    return {
        "first": hist[0][0][0],
        "last": hist[-1][0][0],
        "val": hist[-1][1][0],
        "val_acc": hist[-1][1][1],
        "updates": count["updates"],
        "train_batches": 12 * len(train_loader),
    }


# ---------------------------------------------------------------- functional dropout


class Interaction(NamedTuple):
    history: torch.Tensor
    target: torch.Tensor


def next_item(mistake):
    seed_all(61)
    rng = np.random.RandomState(61)
    n_items = 40
    follow = rng.permutation(n_items)
    sessions = []
    for _ in range(900):
        s = [rng.randint(n_items)]
        for _ in range(7):
            s.append(int(follow[s[-1]]) if rng.rand() < 0.8 else rng.randint(n_items))
        sessions.append(s)
    t = torch.tensor(sessions)
    train, valid = Interaction(t[:700, :-1], t[:700, 1:]), Interaction(t[700:, :-1], t[700:, 1:])

    class SessionNet(nn.Module):
        def __init__(self, dim=48, p=0.5):
            super().__init__()
            self.p = p
            self.item = nn.Embedding(n_items, dim)
            self.rnn = nn.GRU(dim, dim, batch_first=True)
            self.out = nn.Linear(dim, n_items)

        def forward(self, history):
            h = self.drop(self.item(history))
            return self.out(self.drop(self.rnn(h)[0]))

        def drop(self, h):
            if mistake:
                return F.dropout(h, self.p)
            return F.dropout(h, self.p, training=self.training)

    model = SessionNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses, scores = [], []
    for epoch in range(12):
        model.train()
        for idx in torch.randperm(700).split(35):
            loss = F.cross_entropy(model(train.history[idx]).flatten(0, 1), train.target[idx].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            a, b = model(valid.history), model(valid.history)
            scores.append((a.argmax(-1) == valid.target).float().mean().item())
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "val_acc": scores[-1],
        "two_calls_differ": (a - b).abs().max().item(),
    }


FAULTS = [
    (
        slot_tagger,
        ("max_norm", "clip", "integer division", "clipped to zero", "to nothing", "gradients are zero"),
        "17 clipping to nothing",
    ),
    (
        scaled_forecaster,
        ("before unscal", "unscale", "scaled gradient", "still scaled", "clip", "loss scale"),
        "18 clipping before backward, or before unscaling",
    ),
    (
        micro_batches,
        (
            "not divided",
            "divide",
            "accumulat",
            "sum of",
            "16 times",
            "not scaled",
            "not averaged",
            "too large",
        ),
        "19 accumulation not divided",
    ),
    (
        length_buckets,
        (
            "remainder",
            "left over",
            "leftover",
            "last batches",
            "incomplete",
            "dropped",
            "thrown away",
            "discarded",
            "without a step",
            "never applied",
        ),
        "20 the remainder of accumulation dropped",
    ),
    (
        one_epoch_function,
        (
            "validation data",
            "trained on the validation",
            "training on the validation",
            "val_loader",
            "leak",
            "validation batches",
            "during validation",
            "held-out",
        ),
        "21 training on the validation data",
    ),
    (
        next_item,
        (
            "dropout",
            "f.dropout",
            "random in eval",
            "not deterministic",
            "stochastic",
            "training=self.training",
        ),
        "22 validation with dropout on",
    ),
]
