import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from .common import WordVocab, digit_images, opinion_sentences, seasonal_series, seed_all

# ---------------------------------------------------------------- filling gaps of two-channel windows


def gap_filler(mistake):
    seed_all(101)
    s = torch.stack(
        [seasonal_series(1500, seed=3, noise=0.12), seasonal_series(1500, seed=4, noise=0.12).roll(6)],
        -1,
    )
    cut = 1100
    s = (s - s[:cut].mean(0)) / s[:cut].std(0)
    steps, channels = 24, 2

    def windows(part, stride):
        return [{"values": part[i : i + steps]} for i in range(0, len(part) - steps + 1, stride)]

    train = DataLoader(windows(s[:cut], 2), batch_size=32, shuffle=True)
    test = DataLoader(windows(s[cut:], 4), batch_size=32)
    size = steps if mistake else steps * channels
    hole = torch.ones(steps, channels)
    hole[12:22] = 0.0

    net = nn.Sequential(
        nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, size)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)

    def filled_error(values):
        seen = (values * hole).view(-1, size)
        full = values.reshape(-1, size)
        missing = (1 - hole).expand_as(values).reshape(-1, size)
        return ((net(seen) - full) ** 2 * missing).sum() / missing.sum(), len(seen)

    losses, rows = [], []
    for epoch in range(25):
        for batch in train:
            loss, n = filled_error(batch["values"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            rows.append(n / len(batch["values"]))
    with torch.no_grad():
        err = float(np.mean([filled_error(b["values"])[0].item() for b in test]))
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-15:])),
        "test": err,
        "rows_per_window": rows[0],
    }


# ---------------------------------------------------------------- stars from words


@dataclass
class ReviewBatch:
    words: torch.Tensor
    stars: torch.Tensor


def star_regression(mistake):
    seed_all(103)
    rng = random.Random(103)
    worth = {
        "awful": -2,
        "poor": -1,
        "dull": -1,
        "fine": 1,
        "nice": 1,
        "superb": 2,
        "plot": 0,
        "cast": 0,
        "music": 0,
        "end": 0,
    }
    vocab = {w: i for i, w in enumerate(sorted(worth))}

    def review():
        words = [rng.choice(list(worth)) for _ in range(7)]
        return [vocab[w] for w in words], min(4, max(0, 2 + sum(worth[w] for w in words)))

    rows = [review() for _ in range(1200)]

    def pack(part):
        return ReviewBatch(torch.tensor([w for w, _ in part]), torch.tensor([s for _, s in part]))

    train, valid = rows[:1000], pack(rows[1000:])
    model = nn.Sequential(
        nn.EmbeddingBag(len(vocab), 16, mode="sum"), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses, accs = [], []
    for epoch in range(12):
        rng.shuffle(train)
        for i in range(0, len(train), 40):
            b = pack(train[i : i + 40])
            loss = F.mse_loss(model(b.words).squeeze(1), b.stars.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            out = model(valid.words)
            guess = out.argmax(dim=1) if mistake else out.squeeze(1).round().long()
            accs.append((guess == valid.stars).float().mean().item())
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "val_acc": accs[-1],
        "share_of_zero": (valid.stars == 0).float().mean().item(),
        "acc_values": len(set(accs)),
    }


# ---------------------------------------------------------------- point clouds


class PointNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.point = nn.Sequential(
            nn.Conv1d(3, 32, 1),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Conv1d(32, 64, 1),
            nn.BatchNorm1d(64),
            nn.ReLU(),
        )
        self.cls = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, classes))

    def forward(self, batch):
        return self.cls(self.point(batch["points"].transpose(1, 2)).amax(-1))


def point_clouds(mistake):
    seed_all(107)

    def clouds(n, points=40):
        kind = torch.randint(0, 4, (n,))
        p = torch.randn(n, points, 3)
        sphere = F.normalize(p, dim=-1)
        cube = p.clamp(-1, 1) / p.abs().amax(-1, keepdim=True).clamp(min=1e-3)
        disc = sphere * torch.tensor([1.0, 1.0, 0.1])
        stick = p * torch.tensor([0.1, 0.1, 0.8])
        x = torch.stack([sphere, cube, disc, stick])[kind, torch.arange(n)]
        return [{"points": a, "kind": k} for a, k in zip(x + 0.12 * torch.randn_like(x), kind)]

    train_loader = DataLoader(clouds(700), batch_size=32, shuffle=True, drop_last=True)
    val_loader = DataLoader(clouds(250), batch_size=10)
    model = PointNet(4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def train_epoch():
        model.train()
        out = []
        for batch in train_loader:
            loss = F.cross_entropy(model(batch), batch["kind"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            out.append(loss.item())
        return float(np.mean(out))

    @torch.no_grad()
    def validate():
        if not mistake:
            model.eval()
        total = hits = 0
        for batch in val_loader:
            logits = model(batch)
            total += F.cross_entropy(logits, batch["kind"], reduction="sum").item()
            hits += int((logits.argmax(1) == batch["kind"]).sum())
        return total / 250, hits / 250

    log = []
    for epoch in range(8):
        log.append((train_epoch(), *validate()))
    return {
        "first": log[0][0],
        "last": log[-1][0],
        "val": log[-1][1],
        "val_acc": log[-1][2],
        "batches_tracked": int(model.point[1].num_batches_tracked),
        "train_batches": 8 * len(train_loader),
    }


# ---------------------------------------------------------------- digits in several views


class ViewClassifier(nn.Module):
    """Averages the votes of all views of one example."""

    def __init__(self, classes=10, hidden=64):
        super().__init__()
        self.body = nn.Sequential(
            nn.LazyLinear(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )
        self.classes = classes

    def forward(self, images):
        votes = self.body(images)
        return votes.reshape(len(images), -1, self.classes).mean(1)


def digit_views(mistake):
    seed_all(109)
    x_train, y_train, x_test, y_test = digit_images(1000, 400, seed=2)
    mean, std = x_train.mean(), x_train.std()

    def prepare(x):
        x = (x - mean) / std
        return x if mistake else x.flatten(1)

    model = ViewClassifier()
    model(prepare(x_train[:2]))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for epoch in range(12):
        for idx in torch.randperm(len(x_train)).split(40):
            loss = F.cross_entropy(model(prepare(x_train[idx])), y_train[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        acc = (model(prepare(x_test)).argmax(1) == y_test).float().mean().item()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "acc": acc,
        "inputs_of_first_layer": model.body[0].in_features,
    }


# ---------------------------------------------------------------- knowledge triples


def triple_scores(mistake):
    seed_all(113)
    rng = np.random.RandomState(113)
    n_ent, n_rel, k = 24, 4, 2
    e, r = rng.randn(n_ent, k), rng.randn(n_rel, k)
    triples = [
        (h, q, t, float((e[h] * r[q] * e[t]).sum() + 0.3 * rng.randn() > 0))
        for h, q, t in zip(
            rng.randint(0, n_ent, 2400), rng.randint(0, n_rel, 2400), rng.randint(0, n_ent, 2400)
        )
    ]
    triples = list({t[:3]: t for t in triples}.values())

    def load(part, seed):
        rows = list(triples)
        random.Random(seed).shuffle(rows)
        n = int(0.8 * len(rows))
        return rows[:n] if part == "train" else rows[n:]

    seeds = {"train": 1, "test": 2 if mistake else 1}
    train, test = load("train", seeds["train"]), load("test", seeds["test"])

    class DistMult(nn.Module):
        def __init__(self, d=32):
            super().__init__()
            self.ent, self.rel = nn.Embedding(n_ent, d), nn.Embedding(n_rel, d)
            self.mlp = nn.Sequential(nn.Linear(4 * d, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, h, q, t):
            a, b, c = self.ent(h), self.rel(q), self.ent(t)
            return self.mlp(torch.cat([a, b, c, a * b * c], -1)).squeeze(-1)

    def columns(rows):
        h, q, t, y = zip(*rows)
        return torch.tensor(h), torch.tensor(q), torch.tensor(t), torch.tensor(y)

    model = DistMult()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for epoch in range(12):
        random.shuffle(train)
        for i in range(0, len(train), 64):
            h, q, t, y = columns(train[i : i + 64])
            loss = F.binary_cross_entropy_with_logits(model(h, q, t), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    h, q, t, y = columns(test)
    with torch.no_grad():
        acc = ((model(h, q, t) > 0).float() == y).float().mean().item()
    shared = len(set(train) & set(test)) / len(test)
    return {"first": losses[0], "last": float(np.mean(losses[-20:])), "test_acc": acc, "shared": shared}


# ---------------------------------------------------------------- two candidates, one winner


def best_of_two(mistake):
    seed_all(127)
    rows = list(dict(opinion_sentences(1200, seed=127)).items())
    rng = random.Random(127)
    rng.shuffle(rows)
    rows = [(s, 1 - y if rng.random() < 0.12 else y) for s, y in rows]
    train, valid = rows[:500], rows[500:]
    vocab = WordVocab([s for s, _ in train])

    def collate(items):
        ids = pad_sequence([torch.tensor(vocab.encode(s)) for s, _ in items], batch_first=True)
        return {"input_ids": ids, "labels": torch.tensor([y for _, y in items])}

    train_loader = DataLoader(train, batch_size=25, shuffle=True, collate_fn=collate)
    valid_loader = DataLoader(valid, batch_size=16, shuffle=mistake, collate_fn=collate)
    scored = []

    class Bow(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.bag = nn.Embedding(len(vocab), dim, padding_idx=0)
            self.out = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, 2))

        def forward(self, input_ids):
            return self.out(self.bag(input_ids).sum(1))

    def valid_accuracy(model, max_batches=None):
        model.eval()
        hits = n = 0
        with torch.no_grad():
            for i, batch in enumerate(valid_loader):
                if max_batches is not None and i >= max_batches:
                    break
                hits += int((model(batch["input_ids"]).argmax(1) == batch["labels"]).sum())
                n += len(batch["labels"])
        scored.append(n)
        return hits / n

    results, first, last = {}, None, None
    for dim in (8, 24):
        model = Bow(dim)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for epoch in range(30):
            model.train()
            for batch in train_loader:
                loss = F.cross_entropy(model(batch["input_ids"]), batch["labels"])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                first = first or loss.item()
                last = loss.item()
        results[dim] = valid_accuracy(model, 2 if mistake else None)
    again = valid_accuracy(model, 2 if mistake else None)
    return {
        "first": first,
        "last": last,
        "best_dim": max(results, key=results.get),
        **{f"acc_{k}": v for k, v in results.items()},
        "acc_24_again": again,
        "examples_scored": scored[0],
        "valid_size": len(valid),
    }


# ---------------------------------------------------------------- topics of documentation lines


def topic_lines(mistake):
    seed_all(131)
    loaders = {
        "wine": datasets.load_wine,
        "cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
        "digits": datasets.load_digits,
        "iris": datasets.load_iris,
    }
    rng = random.Random(131)
    rows = []
    for topic, load in loaders.items():
        words = [w for w in load().DESCR.lower().split() if w.isalpha()]
        blocks = [words[i : i + 20] for i in range(0, len(words), 20)]
        for j, block in enumerate(blocks):
            part = "val" if j % 4 == 3 else "train"
            for _ in range(8):
                start = rng.randrange(max(1, len(block) - 14))
                rows.append({"words": block[start : start + 14], "topic": topic, "part": part})
    rng.shuffle(rows)
    parts = {p: [r for r in rows if r["part"] == p] for p in ("train", "val")}
    frequent = [w for w, _ in Counter(w for r in parts["train"] for w in r["words"]).most_common(1200)]
    lookup = {w: i for i, w in enumerate(["<unk>"] + frequent)}
    topics = {t: i for i, t in enumerate(dict.fromkeys(r["topic"] for r in parts["train"]))}

    def encode(part):
        names = topics
        if mistake:
            names = {t: i for i, t in enumerate(dict.fromkeys(r["topic"] for r in part))}
        ids = pad_sequence(
            [torch.tensor([lookup.get(w, 0) for w in r["words"]]) for r in part], batch_first=True
        )
        return {"input_ids": ids, "labels": torch.tensor([names[r["topic"]] for r in part])}

    data = {p: encode(rs) for p, rs in parts.items()}
    model = nn.Sequential(nn.EmbeddingBag(len(lookup), 32), nn.Linear(32, len(topics)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for epoch in range(10):
        for idx in torch.randperm(len(data["train"]["labels"])).split(32):
            loss = F.cross_entropy(model(data["train"]["input_ids"][idx]), data["train"]["labels"][idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        logits = model(data["val"]["input_ids"])
        right = torch.tensor([topics[r["topic"]] for r in parts["val"]])
        return {
            "first": losses[0],
            "last": float(np.mean(losses[-20:])),
            "val_acc": (logits.argmax(1) == data["val"]["labels"]).float().mean().item(),
            "labels_agree": (right == data["val"]["labels"]).float().mean().item(),
        }


FAULTS = [
    (
        gap_filler,
        (
            "view",
            "reshape",
            "batch size",
            "twice as many",
            "rows",
            "splits",
            "split into two",
            "wrong shape",
            "two channels",
        ),
        "30 view(-1, k) with a wrong k",
    ),
    (
        star_regression,
        ("argmax", "one output", "single output", "always 0", "always zero", "one column"),
        "31 one-output regression scored by argmax accuracy",
    ),
    (
        point_clouds,
        ("eval()", "train mode", "training mode", "eval mode", "dropout", "batchnorm", "batch norm"),
        "32 validation without eval()",
    ),
    (
        digit_views,
        ("flatten", "rows", "last dimension", "8 features", "in_features", "each row"),
        "33 a net fed unflattened images",
    ),
    (
        triple_scores,
        (
            "overlap",
            "leak",
            "in the training",
            "different seed",
            "same examples",
            "also in train",
            "seen in training",
            "already used",
            "shared",
        ),
        "34 a test split cut from training data",
    ),
    (
        best_of_two,
        (
            "shuffl",
            "truncat",
            "first batches",
            "two batches",
            "2 batches",
            "subset",
            "part of the test",
            "part of the validation",
            "only 32",
            "break",
            "not the whole",
        ),
        "35 a shuffled and truncated test loader",
    ),
    (
        topic_lines,
        (
            "mapped differently",
            "mapping",
            "labels mean",
            "label ids",
            "labels differ",
            "order of appearance",
            "different order",
            "permut",
        ),
        "36 labels mapped differently in training and validation",
    ),
]
