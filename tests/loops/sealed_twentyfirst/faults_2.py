import random
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from .common import WordVocab, opinion_sentences, seasonal_series, seed_all

# ---------------------------------------------------------------- classifier with validation every few steps


@dataclass
class ClassifierOutput:
    loss: torch.Tensor
    logits: torch.Tensor


class BagClassifier(nn.Module):
    def __init__(self, vocab_size, dim=48, p=0.4):
        super().__init__()
        self.emb = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.conv = nn.Conv1d(dim, 48, 3, padding=1)
        self.bn = nn.BatchNorm1d(48)
        self.drop = nn.Dropout(p)
        self.out = nn.Linear(48, 2)

    def forward(self, input_ids, attention_mask, labels):
        h = self.emb(input_ids).transpose(1, 2)
        h = F.relu(self.bn(self.conv(h)))
        h = h.masked_fill(attention_mask.unsqueeze(1) == 0, 0.0).amax(-1)
        logits = self.out(self.drop(h))
        return ClassifierOutput(F.cross_entropy(logits, labels), logits)


def sentiment_collate(vocab):
    def collate(rows):
        ids = pad_sequence([torch.tensor(vocab.encode(s)) for s, _ in rows], batch_first=True)
        return {
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            "labels": torch.tensor([y for _, y in rows]),
        }

    return collate


def split_sentences(n, n_train, seed, noise=0.0):
    rows = opinion_sentences(n, seed=seed)
    train, rest = rows[:n_train], rows[n_train:]
    known = {s for s, _ in train}
    rest = [r for r in rest if r[0] not in known]
    if noise:
        rng = random.Random(seed + 1)
        train = [(s, 1 - y if rng.random() < noise else y) for s, y in train]
    return train, rest


def periodic_validation(mistake):
    seed_all(4)
    train_rows, val_rows = split_sentences(1300, 800, seed=9, noise=0.05)
    vocab = WordVocab([s for s, _ in train_rows])
    collate = sentiment_collate(vocab)
    train_loader = DataLoader(train_rows, batch_size=20, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(val_rows, batch_size=64, collate_fn=collate)
    model = BagClassifier(len(vocab))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def evaluate():
        model.eval()
        hits = 0
        with torch.no_grad():
            for batch in val_loader:
                hits += int((model(**batch).logits.argmax(-1) == batch["labels"]).sum())
        if not mistake:
            model.train()
        return hits / len(val_rows)

    model.train()
    step, in_train, losses, scores = 0, 0, [], []
    for epoch in range(6):
        for batch in train_loader:
            optimizer.zero_grad()
            out = model(**batch)
            out.loss.backward()
            optimizer.step()
            losses.append(out.loss.item())
            in_train += int(model.training)
            step += 1
            if step % 25 == 0:
                scores.append(evaluate())
    scores.append(evaluate())
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "val": scores[-1],
        "share_in_train_mode": in_train / step,
    }


# ---------------------------------------------------------------- question/answer retrieval


def answer_retrieval(mistake):
    seed_all(14)
    rng = random.Random(14)
    things = [
        f"{a} {b}"
        for a in "red blue green black white old new".split()
        for b in "lamp chair radio table phone clock mirror carpet".split()
    ]
    rng.shuffle(things)
    ask = ["where is the {}", "who has the {}", "how much costs the {}", "when comes the {}"]
    tell = [
        "the {} stands in the hall",
        "anna keeps the {}",
        "for the {} we pay ten",
        "we get the {} on monday",
    ]
    pairs = [(q.format(t), a.format(t)) for t in things for q, a in zip(ask, tell)]
    rng.shuffle(pairs)
    train, test = pairs[:180], pairs[180:]
    vocab = WordVocab([w for p in train for w in p])

    def ids(texts):
        return pad_sequence([torch.tensor(vocab.encode(t)) for t in texts], batch_first=True)

    class TextEncoder(nn.Module):
        def __init__(self, n, dim=8):
            super().__init__()
            self.emb = nn.Embedding(n, dim, padding_idx=0)
            self.mix = nn.Sequential(nn.Linear(dim, 32), nn.Tanh(), nn.Linear(32, dim))

        def forward(self, x):
            mask = (x != 0).float().unsqueeze(-1)
            return self.mix((self.emb(x) * mask).sum(1) / mask.sum(1))

    encoder = TextEncoder(len(vocab))
    query_head, answer_head = nn.Linear(8, 16), nn.Linear(8, 16)
    params = [*encoder.parameters(), *query_head.parameters(), *answer_head.parameters()]
    optimizer = torch.optim.Adam(params, lr=3e-3)
    embed = torch.no_grad()(encoder.forward) if mistake else encoder.forward
    before = encoder.emb.weight.detach().clone()

    def similarity(questions, answers):
        q = F.normalize(query_head(embed(ids(questions))), dim=-1)
        a = F.normalize(answer_head(embed(ids(answers))), dim=-1)
        return q @ a.T / 0.1

    losses = []
    for epoch in range(40):
        rng.shuffle(train)
        for i in range(0, len(train), 30):
            q, a = zip(*train[i : i + 30])
            sim = similarity(q, a)
            target = torch.arange(len(q))
            loss = (F.cross_entropy(sim, target) + F.cross_entropy(sim.T, target)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        q, a = zip(*test)
        top1 = (similarity(q, a).argmax(1) == torch.arange(len(q))).float().mean().item()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-6:])),
        "top1": top1,
        "encoder_moved": (encoder.emb.weight - before).abs().sum().item(),
    }


# ---------------------------------------------------------------- get_batch from a stream of characters


def get_batch_lm(mistake):
    seed_all(1337)
    text = "\n".join(s for s, _ in opinion_sentences(900, seed=40))
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    split = int(0.9 * len(data))
    streams = {"train": data[:split], "val": data[split:]}
    block, size = 24, 32
    generator = torch.Generator().manual_seed(1337)

    def get_batch(which):
        source = streams[which]
        if mistake:
            generator.manual_seed(1337)
        ix = torch.randint(len(source) - block - 1, (size,), generator=generator)
        x = torch.stack([source[i : i + block] for i in ix])
        y = torch.stack([source[i + 1 : i + block + 1] for i in ix])
        return x, y

    class Block(nn.Module):
        def __init__(self, d, heads):
            super().__init__()
            self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
            self.att = nn.MultiheadAttention(d, heads, batch_first=True)
            self.ff = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
            self.register_buffer("mask", torch.triu(torch.ones(block, block, dtype=torch.bool), 1))

        def forward(self, x):
            h = self.ln1(x)
            x = x + self.att(h, h, h, attn_mask=self.mask, need_weights=False)[0]
            return x + self.ff(self.ln2(x))

    class TinyGPT(nn.Module):
        def __init__(self, d=48):
            super().__init__()
            self.tok, self.pos = nn.Embedding(len(chars), d), nn.Embedding(block, d)
            self.blocks = nn.Sequential(Block(d, 4), Block(d, 4))
            self.head = nn.Linear(d, len(chars))

        def forward(self, idx, targets=None):
            x = self.blocks(self.tok(idx) + self.pos.weight)
            logits = self.head(x)
            return logits, None if targets is None else F.cross_entropy(
                logits.flatten(0, 1), targets.flatten()
            )

    model = TinyGPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses, sums = [], set()
    for it in range(300):
        xb, yb = get_batch("train")
        sums.add(int((xb * torch.arange(block)).sum()))
        _, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    val = streams["val"]
    n = (len(val) - 1) // block
    with torch.no_grad():
        _, vloss = model(val[: n * block].view(n, block), val[1 : n * block + 1].view(n, block))
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "val": vloss.item(),
        "different_batches": len(sums),
    }


# ---------------------------------------------------------------- streamed sensor log


class SensorLog(IterableDataset):
    def __init__(self, x, y, chunk):
        self.x, self.y, self.chunk = x, y, chunk

    def __iter__(self):
        for i in range(0, len(self.x) - self.chunk + 1, self.chunk):
            yield {"readings": self.x[i : i + self.chunk], "level": self.y[i : i + self.chunk]}


def sensor_stream(mistake):
    seed_all(6)
    g = torch.Generator().manual_seed(6)
    x = torch.randn(4000, 10, 3, generator=g)
    y = (x[:, :, 0] * x[:, :, 1]).mean(1) * 2 + x[:, -1, 2]
    log = SensorLog(x[:3200], y[:3200], 32)
    loader = DataLoader(log, batch_size=None)

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.step_net = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 32))
            self.rnn = nn.GRU(32, 32, batch_first=True)
            self.out = nn.Linear(32, 1)

        def forward(self, readings):
            return self.out(self.rnn(self.step_net(readings))[0][:, -1]).squeeze(-1)

    model = Head()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    it = iter(loader)
    losses, firsts = [], set()
    for step in range(500):
        try:
            batch = next(iter(loader)) if mistake else next(it)
        except StopIteration:
            it = iter(loader)
            batch = next(it)
        firsts.add(batch["level"][0].item())
        loss = F.mse_loss(model(batch["readings"]), batch["level"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        err = F.mse_loss(model(x[3200:]), y[3200:]).item()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-50:])),
        "test": err,
        "var": y[3200:].var().item(),
        "different_batches": len(firsts),
    }


# ---------------------------------------------------------------- static buffers


class StaticInputs:
    def __init__(self, example):
        self.slots = {k: v.clone() for k, v in example.items()}

    def load(self, batch, *names):
        for name in names or self.slots:
            self.slots[name].copy_(batch[name])


def static_buffers(mistake):
    seed_all(8)
    g = torch.Generator().manual_seed(8)
    length, n_sym = 12, 8
    seqs = torch.randint(1, n_sym, (2400, length), generator=g)
    counts = F.one_hot(seqs, n_sym).sum(1)
    labels = counts[:, 1:].argmax(1)
    train = TensorDataset(seqs[:2000], labels[:2000])
    loader = DataLoader(
        train,
        batch_size=50,
        shuffle=True,
        collate_fn=lambda rows: {
            "input_ids": torch.stack([r[0] for r in rows]),
            "labels": torch.stack([r[1] for r in rows]),
        },
    )

    class MostFrequent(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(n_sym, 24)
            self.body = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, n_sym - 1))

        def forward(self, input_ids):
            return self.body(self.emb(input_ids).sum(1))

    model = MostFrequent()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    static = StaticInputs(next(iter(loader)))
    losses, agree = [], []
    for epoch in range(10):
        for batch in loader:
            if mistake:
                static.load(batch, "input_ids")
            else:
                static.load(batch)
            agree.append((static.slots["labels"] == batch["labels"]).float().mean().item())
            optimizer.zero_grad()
            loss = F.cross_entropy(model(static.slots["input_ids"]), static.slots["labels"])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if mistake:
                static.load(batch, "labels")
    model.eval()
    with torch.no_grad():
        acc = (model(seqs[2000:]).argmax(1) == labels[2000:]).float().mean().item()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "acc": acc,
        "labels_in_place": float(np.mean(agree)),
    }


# ---------------------------------------------------------------- meters


@dataclass
class Meter:
    total: float = 0.0
    count: int = 0

    def update(self, value, n=1):
        self.total = self.total + value * n
        self.count += n

    @property
    def average(self):
        return float(self.total) / max(self.count, 1)


@dataclass
class Meters:
    loss: Meter = field(default_factory=Meter)
    accuracy: Meter = field(default_factory=Meter)


def metered_tagger(mistake):
    seed_all(19)
    rng = random.Random(19)

    # tag the brackets of a string: which depth has each position (0..3)
    def sample():
        depth, text, tags = 0, [], []
        for _ in range(16):
            c = rng.choice("((abc))")
            if c == "(" and depth == 3 or c == ")" and depth == 0:
                c = "d"
            if c == "(":
                depth += 1
            text.append("()abcd".index(c))
            tags.append(depth)
            if c == ")":
                depth -= 1
        return text, tags

    rows = [sample() for _ in range(1000)]
    ids = torch.tensor([r[0] for r in rows])
    tags = torch.tensor([r[1] for r in rows])
    loader = DataLoader(TensorDataset(ids[:800], tags[:800]), batch_size=20, shuffle=True)

    emb, rnn, out = nn.Embedding(6, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 4)
    net = nn.ModuleList([emb, rnn, out])
    optimizer = torch.optim.Adamax(net.parameters(), lr=8e-3)

    def tag(x):
        return out(rnn(emb(x))[0])

    averages, graph = [], 0
    for epoch in range(10):
        meters = Meters()
        for x, y in loader:
            logits = tag(x)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meters.loss.update(loss if mistake else loss.item(), len(x))
            meters.accuracy.update((logits.argmax(-1) == y).float().mean().item(), len(x))
        graph += int(torch.is_tensor(meters.loss.total) and meters.loss.total.requires_grad)
        averages.append((meters.loss.average, meters.accuracy.average))
    with torch.no_grad():
        acc = (tag(ids[800:]).argmax(-1) == tags[800:]).float().mean().item()
    return {"first": averages[0][0], "last": averages[-1][0], "acc": acc, "epochs_with_graph": graph}


# ---------------------------------------------------------------- events


def event_loop_training(mistake):
    seed_all(23)
    series = torch.stack([seasonal_series(900, seed=s, noise=0.05) for s in (1, 2)], -1)
    series[:, 1] = series[:, 1].roll(5)
    cut = 700
    mean, std = series[:cut].mean(0), series[:cut].std(0)
    z = (series - mean) / std

    def windows(part, n=30):
        return [SimpleNamespace(past=part[i : i + n], target=part[i + n]) for i in range(len(part) - n)]

    train, test = windows(z[:cut]), windows(z[cut:])
    handlers = {"batch": [], "epoch": []}

    def on(event):
        def register(fn):
            handlers[event].append(fn)
            return fn

        return register

    class Forecast(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(2, 32, batch_first=True)
            self.out = nn.Linear(32, 2)

        def forward(self, past):
            return self.out(self.rnn(past)[0][:, -1])

    model = Forecast()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.3)
    epochs, losses, rates = 10, [], []

    @on("epoch")
    def remember_rate():
        rates.append(optimizer.param_groups[0]["lr"])

    @on("batch" if mistake else "epoch")
    def decay():
        scheduler.step()

    for epoch in range(epochs):
        model.train()
        random.shuffle(train)
        for i in range(0, len(train), 32):
            rows = train[i : i + 32]
            past = torch.stack([r.past for r in rows])
            target = torch.stack([r.target for r in rows])
            optimizer.zero_grad()
            loss = F.mse_loss(model(past), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            for fn in handlers["batch"]:
                fn()
        for fn in handlers["epoch"]:
            fn()
    model.eval()
    with torch.no_grad():
        err = F.mse_loss(
            model(torch.stack([r.past for r in test])), torch.stack([r.target for r in test])
        ).item()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "test": err,
        "lr_end": rates[-1],
        "lr_epoch_1": rates[0],
    }


# ---------------------------------------------------------------- warm-up and milestones


def warmup_copy_task(mistake):
    seed_all(29)
    g = torch.Generator().manual_seed(29)
    src = torch.randint(2, 12, (1500, 8), generator=g)
    tgt = src.flip(1)
    bos = torch.ones(len(src), 1, dtype=torch.long)
    data = [
        dict(src=s, dec_in=d, labels=t) for s, d, t in zip(src, torch.cat([bos, tgt[:, :-1]], 1), tgt)
    ]
    train_loader = DataLoader(data[:1200], batch_size=40, shuffle=True)
    val_loader = DataLoader(data[1200:], batch_size=100)

    class Reverser(nn.Module):
        def __init__(self, n=12, d=32):
            super().__init__()
            self.emb = nn.Embedding(n, d)
            self.pos = nn.Parameter(0.1 * torch.randn(8, d))
            self.core = nn.Transformer(d, 4, 1, 1, 64, dropout=0.0, batch_first=True)
            self.out = nn.Linear(d, n)

        def forward(self, src, dec_in):
            mask = nn.Transformer.generate_square_subsequent_mask(dec_in.shape[1])
            return self.out(
                self.core(self.emb(src) + self.pos, self.emb(dec_in) + self.pos, tgt_mask=mask)
            )

    model = Reverser()
    optimizer = torch.optim.RAdam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[9, 11], gamma=0.2)
    losses, rates = [], []
    for epoch in range(12):
        if mistake:
            scheduler.step()
        model.train()
        rates.append(scheduler.get_last_lr()[0])
        for batch in train_loader:
            logits = model(batch["src"], batch["dec_in"])
            loss = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if not mistake:
            scheduler.step()
    model.eval()
    with torch.no_grad():
        acc = np.mean(
            [
                (model(b["src"], b["dec_in"]).argmax(-1) == b["labels"]).float().mean().item()
                for b in val_loader
            ]
        )
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "acc": float(acc),
        "epochs_at_full_rate": sum(r == rates[0] for r in rates),
    }


FAULTS = [
    (
        periodic_validation,
        (
            "eval mode",
            "eval()",
            "stuck in eval",
            "train()",
            "train mode",
            "training mode",
            "not switched back",
            "dropout is off",
            "evaluation mode",
        ),
        "9 stuck in eval after validation",
    ),
    (
        answer_retrieval,
        (
            "no_grad",
            "detach",
            "no gradient",
            "never receive",
            "without gradient",
            "not trained",
            "gradient does not reach",
            "no grad",
            "cut off",
        ),
        "10 a part trained under no_grad (or detached)",
    ),
    (
        get_batch_lm,
        (
            "same batch",
            "identical batch",
            "one batch",
            "repeats",
            "same data",
            "batch again",
            "never changes",
            "same examples",
            "generator",
            "seed",
        ),
        "11 the same batch again and again",
    ),
    (
        sensor_stream,
        (
            "iterator",
            "next(iter",
            "first batch",
            "same batch",
            "restarted",
            "one batch",
            "same data",
            "identical batch",
        ),
        "12 iterator restarted each step",
    ),
    (
        static_buffers,
        (
            "previous batch",
            "labels of the",
            "batch before",
            "misaligned",
            "shifted",
            "late",
            "do not belong",
            "one step behind",
            "stale",
            "another batch",
        ),
        "13 labels of the previous batch",
    ),
    (
        metered_tagger,
        ("graph", "item()", "detach", "keeps the history", "memory", "accumulates the loss"),
        "14 loss accumulated with its graph",
    ),
    (
        event_loop_training,
        (
            "per batch",
            "every batch",
            "each batch",
            "instead of per epoch",
            "each step",
            "decays too fast",
            "learning rate",
        ),
        "15 scheduler per batch instead of per epoch",
    ),
    (
        warmup_copy_task,
        (
            "before the optimizer",
            "before optimizer",
            "scheduler.step",
            "scheduler steps",
            "skips the first",
        ),
        "16 scheduler before the optimizer",
    ),
]
