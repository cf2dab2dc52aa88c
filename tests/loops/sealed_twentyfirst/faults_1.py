import copy
import random
from collections import namedtuple
from dataclasses import dataclass
from typing import Optional

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from .common import WordVocab, description_text, opinion_sentences, seasonal_series, seed_all

# ---------------------------------------------------------------- characters of the data set descriptions


@dataclass
class LMOutput:
    logits: torch.Tensor
    loss: Optional[torch.Tensor] = None


class CharGRU(nn.Module):
    def __init__(self, vocab_size, dim=32, hidden=64):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, dim)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocab_size)

    def forward(self, input_ids, labels=None):
        h, _ = self.rnn(self.embed(input_ids))
        logits = self.head(h)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return LMOutput(logits, loss)


def char_windows(mistake):
    seed_all(11)
    text = description_text("iris", "wine", "cancer")
    cut = int(0.85 * len(text))
    chars = ["<unk>"] + sorted(set(text[:cut]))
    lookup = {c: i for i, c in enumerate(chars)}
    ids = torch.tensor([lookup.get(c, 0) for c in text])
    train_ids, val_ids = ids[:cut], ids[cut:]
    width = 40

    def windows(stream, stride):
        starts = range(0, len(stream) - width - 1, stride)
        return [
            {"input_ids": stream[s : s + width], "labels": stream[s + 1 : s + width + 1]} for s in starts
        ]

    def collate(items):
        return {k: torch.stack([it[k] for it in items]) for k in items[0]}

    train_loader = DataLoader(windows(train_ids, 16), batch_size=32, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(windows(val_ids, width), batch_size=32, collate_fn=collate)

    model = CharGRU(len(chars))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    trace = []
    for epoch in range(7):
        model.train()
        for batch in train_loader:
            if mistake:
                optimizer.zero_grad
            else:
                optimizer.zero_grad()
            out = model(**batch)
            out.loss.backward()
            optimizer.step()
            trace.append((out.loss.item(), model.head.weight.grad.norm().item()))
    model.eval()
    with torch.no_grad():
        val = np.mean([model(**b).loss.item() for b in val_loader])
    return {
        "first": trace[0][0],
        "last": float(np.mean([t[0] for t in trace[-10:]])),
        "val": float(val),
        "grad_norm_end": trace[-1][1],
    }


# ---------------------------------------------------------------- masked words of library docs


class MaskedWords(nn.Module):
    def __init__(self, vocab_size, pad_id, dim=48, length=12):
        super().__init__()
        self.pad_id = pad_id
        self.tok = nn.Embedding(vocab_size, dim, padding_idx=pad_id)
        self.pos = nn.Parameter(0.02 * torch.randn(length, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 96, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        nn.init.normal_(self.tok.weight, std=0.05)

    def forward(self, input_ids, attention_mask, labels=None):
        x = self.tok(input_ids) + self.pos[: input_ids.shape[1]]
        x = self.norm(self.encoder(x, src_key_padding_mask=attention_mask == 0))
        logits = x @ self.tok.weight.T
        out = {"logits": logits}
        if labels is not None:
            out["loss"] = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        return out


class MaskingCollator:
    def __init__(self, pad_id, mask_id, rate=0.2, seed=0):
        self.pad_id, self.mask_id, self.rate = pad_id, mask_id, rate
        self.rng = torch.Generator().manual_seed(seed)

    def __call__(self, items):
        ids = pad_sequence([torch.tensor(i) for i in items], batch_first=True, padding_value=self.pad_id)
        attention = (ids != self.pad_id).long()
        chosen = (torch.rand(ids.shape, generator=self.rng) < self.rate) & attention.bool()
        chosen[:, 1] = True
        labels = torch.where(chosen, ids, torch.full_like(ids, -100))
        return {
            "input_ids": ids.masked_fill(chosen, self.mask_id),
            "attention_mask": attention,
            "labels": labels,
        }


def masked_sentences(mistake):
    seed_all(5)
    sentences = [s for s, _ in opinion_sentences(900, seed=3)]
    train_s, val_s = sentences[:700], [s for s in sentences[700:] if s not in set(sentences[:700])]
    vocab = WordVocab(train_s, specials=("[pad]", "[unk]", "[mask]"))
    collator = MaskingCollator(0, 2)
    train_loader = DataLoader(
        [vocab.encode(s) for s in train_s], batch_size=32, shuffle=True, collate_fn=collator
    )

    class Trainer:
        def __init__(self, model, max_norm=1.0):
            self.model = model
            self.max_norm = max_norm
            self.optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
            self.log = []

        def compute_loss(self, batch):
            return self.model(**batch)["loss"]

        def update(self):
            if mistake:
                self.optimizer.zero_grad()
                self.optimizer.step()
            else:
                self.optimizer.step()
                self.optimizer.zero_grad()

        def fit(self, loader, epochs):
            for _ in range(epochs):
                self.model.train()
                for batch in loader:
                    loss = self.compute_loss(batch)
                    loss.backward()
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
                    self.update()
                    self.log.append(loss.item())

        @torch.no_grad()
        def evaluate(self, data, seed=123):
            self.model.eval()
            loader = DataLoader(data, batch_size=64, collate_fn=MaskingCollator(0, 2, seed=seed))
            total, hits, count = 0.0, 0, 0
            for batch in loader:
                out = self.model(**batch)
                where = batch["labels"] != -100
                n = int(where.sum())
                total += out["loss"].item() * n
                hits += int((out["logits"].argmax(-1)[where] == batch["labels"][where]).sum())
                count += n
            return total / count, hits / count

    model = MaskedWords(len(vocab), 0)
    start = copy.deepcopy(model.state_dict())
    trainer = Trainer(model)
    trainer.fit(train_loader, 8)
    val_loss, val_acc = trainer.evaluate([vocab.encode(s) for s in val_s])
    moved = sum(float((model.state_dict()[k] - start[k]).abs().sum()) for k in start)
    return {
        "first": trainer.log[0],
        "last": float(np.mean(trainer.log[-10:])),
        "val": val_loss,
        "acc": val_acc,
        "moved": moved,
    }


# ---------------------------------------------------------------- recommender, embeddings and tower apart

Ratings = namedtuple("Ratings", "user item stars")


def rating_towers(mistake):
    seed_all(21)
    rng = np.random.RandomState(4)
    n_users, n_items, k = 120, 80, 4
    p, q = rng.randn(n_users, k), rng.randn(n_items, k)
    u, i = np.divmod(rng.permutation(n_users * n_items), n_items)
    stars = (p[u] * q[i]).sum(1) / 2 + 0.2 * rng.randn(len(u))
    table = Ratings(torch.tensor(u), torch.tensor(i), torch.tensor(stars, dtype=torch.float32))
    train = Ratings(*(c[:8000] for c in table))
    held = Ratings(*(c[8000:] for c in table))

    users, items = nn.Embedding(n_users, 16), nn.Embedding(n_items, 16)
    tower = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 1))

    def score(batch):
        a, b = users(batch.user), items(batch.item)
        return tower(torch.cat([a, b, a * b], -1)).squeeze(-1)

    opts = [
        torch.optim.SGD(list(users.parameters()) + list(items.parameters()), lr=4.0, momentum=0.8),
        torch.optim.Adam(tower.parameters(), lr=3e-3),
    ]
    losses, emb_norm = [], []
    for epoch in range(12):
        for chunk in torch.randperm(8000).split(128):
            batch = Ratings(*(c[chunk] for c in train))
            loss = F.mse_loss(score(batch), batch.stars)
            loss.backward()
            emb_norm.append(users.weight.grad.norm().item())
            for opt in opts:
                opt.step()
                if not mistake:
                    opt.zero_grad()
            if mistake:
                opt.zero_grad()
            losses.append(loss.item())
    with torch.no_grad():
        rmse = F.mse_loss(score(held), held.stars).sqrt().item()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-20:])),
        "held_rmse": rmse,
        "spread": held.stars.std().item(),
        "emb_grad": float(np.mean(emb_norm[-40:])),
    }


# ---------------------------------------------------------------- seq2seq: dates into ISO form

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()


class CharTokenizer:
    def __init__(self, alphabet):
        self.symbols = ["<pad>", "<s>", "</s>"] + sorted(alphabet)
        self.ids = {c: i for i, c in enumerate(self.symbols)}

    def __call__(self, texts, ends=False):
        rows = [[self.ids[c] for c in t] for t in texts]
        if ends:
            rows = [[1] + r + [2] for r in rows]
        return pad_sequence([torch.tensor(r) for r in rows], batch_first=True)


class Encoder(nn.Module):
    def __init__(self, n, dim=24, hidden=64):
        super().__init__()
        self.emb = nn.Embedding(n, dim, padding_idx=0)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)

    def forward(self, src):
        lengths = (src != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.emb(src), lengths, batch_first=True, enforce_sorted=False
        )
        _, h = self.rnn(packed)
        return h


class Decoder(nn.Module):
    def __init__(self, n, dim=24, hidden=64):
        super().__init__()
        self.emb = nn.Embedding(n, dim, padding_idx=0)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)
        self.out = nn.Linear(hidden, n)

    def forward(self, tokens, h):
        y, h = self.rnn(self.emb(tokens), h)
        return self.out(y), h


def date_translation(mistake):
    seed_all(2)
    rng = random.Random(8)
    pairs = []
    seen = set()
    while len(pairs) < 1500:
        d, m, y = rng.randint(1, 28), rng.randint(1, 12), rng.randint(0, 99)
        if (d, m, y) in seen:
            continue
        seen.add((d, m, y))
        written = rng.choice([f"{d:02d} {MONTHS[m - 1]} {y:02d}", f"{MONTHS[m - 1]} {d:02d} {y:02d}"])
        pairs.append((written, f"{y:02d}-{m:02d}-{d:02d}"))
    train, test = pairs[:1250], pairs[1250:]
    src_tok = CharTokenizer(set("".join(p[0] for p in train)))
    tgt_tok = CharTokenizer(set("".join(p[1] for p in train)))

    def make(part):
        return src_tok([p[0] for p in part]), tgt_tok([p[1] for p in part], ends=True)

    src, tgt = make(train)
    encoder, decoder = Encoder(len(src_tok.symbols)), Decoder(len(tgt_tok.symbols))
    encoder_before = encoder.rnn.weight_hh_l0.detach().clone()
    encoder_optimizer = torch.optim.Adam(encoder.parameters(), lr=8e-3)
    decoder_optimizer = torch.optim.Adam(decoder.parameters(), lr=8e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    history = []

    def train_batch(s, t):
        encoder_optimizer.zero_grad()
        decoder_optimizer.zero_grad()
        h = encoder(s)
        logits, _ = decoder(t[:, :-1], h)
        loss = criterion(logits.flatten(0, 1), t[:, 1:].flatten())
        loss.backward()
        decoder_optimizer.step()
        if not mistake:
            encoder_optimizer.step()
        return loss.item()

    for epoch in range(15):
        for idx in torch.randperm(len(src)).split(50):
            history.append(train_batch(src[idx], tgt[idx]))

    @torch.no_grad()
    def exact(part):
        s, t = make(part)
        h = encoder(s)
        token = torch.ones(len(s), 1, dtype=torch.long)
        made = []
        for _ in range(t.shape[1] - 1):
            logits, h = decoder(token, h)
            token = logits.argmax(-1)
            made.append(token)
        return (torch.cat(made, 1) == t[:, 1:]).all(1).float().mean().item()

    return {
        "first": history[0],
        "last": float(np.mean(history[-20:])),
        "exact": exact(test),
        "encoder_moved": (encoder.rnn.weight_hh_l0 - encoder_before).abs().sum().item(),
    }


# ---------------------------------------------------------------- forecasting with callbacks


class Callback:
    def on_backward_end(self, runner): ...
    def on_batch_end(self, runner): ...
    def on_epoch_end(self, runner): ...


class OptimizerCallback(Callback):
    def on_backward_end(self, runner):
        nn.utils.clip_grad_norm_(runner.model.parameters(), 5.0)

    def on_batch_end(self, runner):
        runner.optimizer.step()
        runner.updates += 1
        runner.optimizer.zero_grad()


class HistoryCallback(Callback):
    def __init__(self):
        self.losses = []

    def on_batch_end(self, runner):
        self.losses.append(runner.loss.item())


def hourly_forecast(mistake):
    seed_all(9)
    series = seasonal_series(1400, seed=1)
    n_train = 1100
    mu, sd = series[:n_train].mean(), series[:n_train].std()
    z = (series - mu) / sd

    def cut(part, past=36, ahead=6):
        return [
            {"past": part[i : i + past], "future": part[i + past : i + past + ahead]}
            for i in range(len(part) - past - ahead + 1)
        ]

    train_loader = DataLoader(cut(z[:n_train]), batch_size=32, shuffle=True)
    test_loader = DataLoader(cut(z[n_train:]), batch_size=64)

    class Runner:
        def __init__(self, model, optimizer, callbacks):
            self.model, self.optimizer, self.callbacks = model, optimizer, callbacks
            self.updates = self.backwards = 0

        def fire(self, event):
            for cb in self.callbacks:
                getattr(cb, event)(self)

        def training_step(self, batch):
            self.loss = F.smooth_l1_loss(self.model(batch["past"]), batch["future"])
            self.loss.backward()
            self.backwards += 1
            self.fire("on_backward_end")
            if mistake:
                self.optimizer.step()
                self.updates += 1

        def fit(self, loader, epochs):
            for _ in range(epochs):
                self.model.train()
                for batch in loader:
                    self.training_step(batch)
                    self.fire("on_batch_end")
                self.fire("on_epoch_end")

    model = nn.Sequential(nn.Linear(36, 64), nn.GELU(), nn.Linear(64, 6))
    history = HistoryCallback()
    runner = Runner(
        model, torch.optim.RMSprop(model.parameters(), lr=1e-3), [OptimizerCallback(), history]
    )
    runner.fit(train_loader, 12)
    model.eval()
    with torch.no_grad():
        err = (
            torch.cat([(model(b["past"]) - b["future"]).abs().flatten() for b in test_loader])
            .mean()
            .item()
        )
    return {
        "first": history.losses[0],
        "last": float(np.mean(history.losses[-20:])),
        "test_mae": err,
        "steps_per_backward": runner.updates / runner.backwards,
    }


# ---------------------------------------------------------------- tagger with several heads


class SentenceHeads(nn.Module):
    def __init__(self, vocab_size, dim=32, hidden=48):
        super().__init__()
        self.emb = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.rnn = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.heads = nn.ModuleDict(
            {
                "sentiment": nn.Linear(2 * hidden, 2),
                "negated": nn.Linear(2 * hidden, 2),
                "length": nn.Linear(2 * hidden, 1),
            }
        )

    def forward(self, input_ids):
        mask = (input_ids != 0).float().unsqueeze(-1)
        h, _ = self.rnn(self.emb(input_ids))
        pooled = (h * mask).sum(1) / mask.sum(1)
        return {k: head(pooled) for k, head in self.heads.items()}


def sentence_heads(mistake):
    seed_all(31)
    rows = opinion_sentences(1100, seed=6)
    train_rows = rows[:850]
    known = {s for s, _ in train_rows}
    test_rows = [r for r in rows[850:] if r[0] not in known]
    vocab = WordVocab([s for s, _ in train_rows])

    def collate(items):
        ids = pad_sequence([torch.tensor(vocab.encode(s)) for s, _ in items], batch_first=True)
        return {
            "input_ids": ids,
            "sentiment": torch.tensor([y for _, y in items]),
            "negated": torch.tensor([int("never" in s.split()) for s, _ in items]),
            "length": torch.tensor([[len(s.split()) / 10] for s, _ in items]),
        }

    train_loader = DataLoader(train_rows, batch_size=25, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(test_rows, batch_size=50, collate_fn=collate)
    criteria = {"sentiment": F.cross_entropy, "negated": F.cross_entropy, "length": F.mse_loss}
    weights = {"sentiment": 1.0, "negated": 0.5, "length": 1.0}
    model = SentenceHeads(len(vocab))
    optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3)
    seen = []
    for epoch in range(8):
        model.train()
        for batch in train_loader:
            optimizer.zero_grad()
            out = model(batch["input_ids"])
            total = 0.0
            for name, criterion in criteria.items():
                loss = weights[name] * criterion(out[name], batch[name])
                total = total + loss
            if mistake:
                loss.backward()
            else:
                total.backward()
            optimizer.step()
            seen.append(total.item())
    model.eval()
    right = {"sentiment": 0, "negated": 0}
    with torch.no_grad():
        for batch in test_loader:
            out = model(batch["input_ids"])
            for k in right:
                right[k] += int((out[k].argmax(-1) == batch[k]).sum())
    return {
        "first": seen[0],
        "last": float(np.mean(seen[-10:])),
        **{k: v / len(test_rows) for k, v in right.items()},
    }


# ---------------------------------------------------------------- a vocabulary which grows


class WordLM(nn.Module):
    def __init__(self, vocab_size, dim=40, hidden=64):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, dim)
        self.rnn = nn.GRU(dim, hidden, batch_first=True)
        self.lm_head = nn.Linear(hidden, vocab_size)

    def resize_token_embeddings(self, n):
        old, old_head = self.wte, self.lm_head
        k = old.num_embeddings
        self.wte = nn.Embedding(n, old.embedding_dim)
        self.lm_head = nn.Linear(old_head.in_features, n)
        with torch.no_grad():
            self.wte.weight[:k] = old.weight
            self.lm_head.weight[:k] = old_head.weight
            self.lm_head.bias[:k] = old_head.bias

    def forward(self, input_ids, labels=None):
        logits = self.lm_head(self.rnn(self.wte(input_ids))[0])
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return LMOutput(logits, loss)


def growing_vocabulary(mistake):
    seed_all(13)
    rng = random.Random(13)
    words = " . ".join(text for text, _ in opinion_sentences(500, seed=13)).split()
    digits = "zero one two three four five six seven eight nine".split()
    more = []
    for _ in range(700):
        a = rng.randint(0, 9)
        b = rng.randint(0, 9 - a)
        more += [digits[a], "plus", digits[b], "makes", digits[a + b], "."]
    base = ["<unk>"] + sorted(set(words))

    def blocks(tokens, lookup, width=16):
        ids = torch.tensor([lookup.get(w, 0) for w in tokens])
        n = (len(ids) - 1) // width
        return {
            "input_ids": ids[: n * width].view(n, width),
            "labels": ids[1 : n * width + 1].view(n, width),
        }

    def run(model, optimizer, data, epochs):
        out = []
        for _ in range(epochs):
            model.train()
            for idx in torch.randperm(len(data["input_ids"])).split(16):
                loss = model(**{k: v[idx] for k, v in data.items()}).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                out.append(loss.item())
        return out

    model = WordLM(len(base))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    run(model, optimizer, blocks(words, {w: i for i, w in enumerate(base)}), 5)

    cut = int(0.85 * len(more))
    vocab = base + sorted(set(more[:cut]) - set(base))
    model.resize_token_embeddings(len(vocab))
    if not mistake:
        optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    head_before = model.lm_head.weight.detach().clone()
    lookup = {w: i for i, w in enumerate(vocab)}
    losses = run(model, optimizer, blocks(more[:cut], lookup), 8)
    model.eval()
    with torch.no_grad():
        val = model(**blocks(more[cut:], lookup)).loss.item()
    return {
        "first": losses[0],
        "last": float(np.mean(losses[-10:])),
        "val": val,
        "head_moved": (model.lm_head.weight - head_before).abs().sum().item(),
    }


# ---------------------------------------------------------------- a Trainer with a lazy optimizer


def lazy_optimizer(mistake):
    seed_all(17)
    g = torch.Generator().manual_seed(3)
    seqs = torch.randint(1, 6, (1200, 14), generator=g)
    steps = torch.where(seqs % 2 == 1, seqs, -seqs)
    sums = steps.cumsum(1).float() / 5
    data = [{"input_ids": a, "labels": b} for a, b in zip(seqs, sums)]
    train_data, val_data = data[:1000], data[1000:]

    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(6, 16)
            self.rnn = nn.GRU(16, 40, batch_first=True)
            self.read = nn.Linear(40, 1)

        def forward(self, input_ids, labels=None):
            pred = self.read(self.rnn(self.emb(input_ids))[0]).squeeze(-1)
            return {"logits": pred, "loss": None if labels is None else F.mse_loss(pred, labels)}

    class Trainer:
        def __init__(self, model):
            self.model = model
            self._optimizer = None
            self.built = 0

        @property
        def optimizer(self):
            if mistake or self._optimizer is None:
                self._optimizer = torch.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.95)
                self.built += 1
            return self._optimizer

        def fit(self, loader, epochs):
            log = []
            for _ in range(epochs):
                self.model.train()
                for batch in loader:
                    loss = self.model(**batch)["loss"]
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
                    log.append(loss.item())
            return log

    trainer = Trainer(Counter())
    log = trainer.fit(DataLoader(train_data, batch_size=25, shuffle=True), 15)
    trainer.model.eval()
    with torch.no_grad():
        val = np.mean([trainer.model(**b)["loss"].item() for b in DataLoader(val_data, batch_size=50)])
    return {
        "first": log[0],
        "last": float(np.mean(log[-20:])),
        "val": float(val),
        "optimizers": trainer.built,
    }


FAULTS = [
    (
        char_windows,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "gradients accumulate",
            "accumulat",
            "not cleared",
            "gradients of earlier",
            "previous batches",
        ),
        "1 zero_grad missing",
    ),
    (
        masked_sentences,
        (
            "zero_grad",
            "zeroed before",
            "cleared before",
            "between backward",
            "wiped",
            "without gradients",
            "no gradient",
            "gradients are none",
        ),
        "2 zero_grad between backward and step",
    ),
    (
        rating_towers,
        (
            "zero_grad",
            "not zeroed",
            "accumulat",
            "one of the optimizers",
            "embedding",
            "gradients of earlier",
            "not cleared",
        ),
        "3 zero_grad on only one of several optimizers",
    ),
    (
        date_translation,
        (
            "never stepped",
            "no step",
            "step() is missing",
            "not stepped",
            "step missing",
            "not updated",
            "never updated",
            "without a step",
            "never calls step",
            "encoder",
        ),
        "4 step missing",
    ),
    (
        hourly_forecast,
        (
            "two steps",
            "twice",
            "stepped 2",
            "steps per backward",
            "second step",
            "step twice",
            "same gradients",
            "without a new backward",
            "2 steps",
        ),
        "5 two steps per backward",
    ),
    (
        sentence_heads,
        (
            "wrong loss",
            "backward on",
            "other loss",
            "only one of the losses",
            "not the total",
            "no gradient",
            "never receive",
            "part of the loss",
            "never get a gradient",
            "unused",
        ),
        "6 backward on the wrong loss",
    ),
    (
        growing_vocabulary,
        (
            "stale",
            "old parameters",
            "not in the optimizer",
            "not in any optimizer",
            "re-created",
            "recreated",
            "replaced",
            "no longer",
            "not the model's",
            "does not hold",
            "missing from the optimizer",
        ),
        "7 optimizer stale after parameters were re-created or moved",
    ),
    (
        lazy_optimizer,
        (
            "re-created",
            "recreated",
            "new optimizer",
            "each step",
            "every step",
            "state lost",
            "momentum",
            "optimizer is created",
            "created anew",
            "fresh optimizer",
        ),
        "8 optimizer or model re-created each step/epoch",
    ),
]
