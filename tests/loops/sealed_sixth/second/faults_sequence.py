"""Masks, padding, hidden state, checkpoints."""

import copy
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_friedman1
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, TensorDataset

from .common import corpus, seed_all


class Imputer(nn.Module):
    def __init__(self, sensors, hidden=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * sensors, hidden), nn.ReLU(), nn.Linear(hidden, sensors))

    def forward(self, x, hidden_mask):
        seen = (~hidden_mask).float()
        return self.net(torch.cat([x * seen, seen], 1))


def sensor_imputation(mistake: bool) -> None:
    """The masked squared error is averaged over all entries, not over the 4% that are hidden, so the loss is some 25 times too small."""
    seed_all(0)
    sensors = 24
    basis = torch.randn(4, sensors)
    x = torch.randn(3000, 4) @ basis / 2 + 0.1 * torch.randn(3000, sensors)
    x = (x - x[:2400].mean(0)) / x[:2400].std(0)
    loader = DataLoader(TensorDataset(x[:2400]), batch_size=64, shuffle=True)
    val = x[2400:]
    val_mask = torch.rand(val.shape) < 0.04
    model = Imputer(sensors)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

    def masked_mse(pred, target, mask):
        err = (pred - target) ** 2 * mask
        if mistake:
            return err.mean()
        return err.sum() / mask.sum().clamp(min=1)

    for epoch in range(15):
        model.train()
        total = 0.0
        for (xb,) in loader:
            mask = torch.rand(xb.shape) < 0.04
            loss = masked_mse(model(xb, mask), xb, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            out = model(val, val_mask)
            vloss = masked_mse(out, val, val_mask).item()
            rmse = (out - val)[val_mask].pow(2).mean().sqrt().item()
        if epoch % 5 == 4:
            print(
                f"epoch {epoch} loss {total / len(loader):.4f} val {vloss:.4f} rmse of hidden {rmse:.3f}"
            )


class CharTransformer(nn.Module):
    def __init__(self, vocab, d=64, T=32, causal=True):
        super().__init__()
        self.tok = nn.Embedding(vocab, d)
        self.pos = nn.Embedding(T, d)
        layer = nn.TransformerEncoderLayer(d, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, vocab)
        self.causal = causal

    def forward(self, idx):
        T = idx.shape[1]
        x = self.tok(idx) + self.pos(torch.arange(T))
        mask = nn.Transformer.generate_square_subsequent_mask(T) if self.causal else None
        return self.head(self.norm(self.blocks(x, mask=mask)))


def char_transformer(mistake: bool) -> None:
    """The language model's transformer runs without a causal mask, so every position sees the character that it must predict."""
    seed_all(0)
    ids, chars = corpus()
    n = int(0.9 * len(ids))
    T, B = 32, 24

    def get_batch(part):
        data = ids[:n] if part == "train" else ids[n:]
        ix = torch.randint(len(data) - T - 1, (B,)).tolist()
        return torch.stack([data[i : i + T] for i in ix]), torch.stack(
            [data[i + 1 : i + T + 1] for i in ix]
        )

    model = CharTransformer(len(chars), T=T, causal=not mistake)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    @torch.no_grad()
    def estimate_loss():
        model.eval()
        losses = []
        for _ in range(8):
            xb, yb = get_batch("val")
            losses.append(F.cross_entropy(model(xb).flatten(0, 1), yb.flatten()).item())
        model.train()
        return np.mean(losses)

    for it in range(400):
        xb, yb = get_batch("train")
        loss = F.cross_entropy(model(xb).flatten(0, 1), yb.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if it % 100 == 99:
            print(f"iter {it} train {loss.item():.3f} val {estimate_loss():.3f}")
    idx = ids[:8].view(1, -1)
    model.eval()
    with torch.no_grad():
        for _ in range(60):
            p = model(idx[:, -T:])[:, -1].softmax(-1)
            idx = torch.cat([idx, torch.multinomial(p, 1)], 1)
    print(repr("".join(chars[i] for i in idx[0].tolist())))


def make_sentences(n, rng):
    tags = {"DET": 1, "ADJ": 2, "NOUN": 3, "VERB": 4, "ADV": 5}
    words = {
        "DET": range(1, 6),
        "ADJ": range(6, 40),
        "NOUN": range(30, 90),
        "VERB": range(70, 120),
        "ADV": range(110, 140),
    }
    out = []
    for _ in range(n):
        seq = []
        for _ in range(1 if rng.random() < 0.85 else rng.randint(4, 9)):
            seq += ["DET"] + ["ADJ"] * rng.randint(0, 2) + ["NOUN", "VERB"] + ["ADV"] * rng.randint(0, 1)
        out.append(
            (torch.tensor([rng.choice(words[t]) for t in seq]), torch.tensor([tags[t] for t in seq]))
        )
    return out


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(140, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, 32, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(64, 6)

    def forward(self, x):
        return self.fc(self.lstm(self.emb(x))[0])


def pos_tagger(mistake: bool) -> None:
    """The cross-entropy has no ignore_index, so the padding (most of each batch) counts in the loss."""
    seed_all(0)
    rng = random.Random(0)
    train, test = make_sentences(2400, rng), make_sentences(400, rng)

    def collate(batch):
        xs, ys = zip(*batch)
        return pad_sequence(xs, batch_first=True), pad_sequence(ys, batch_first=True)

    train_dl = DataLoader(train, batch_size=32, shuffle=True, collate_fn=collate)
    test_dl = DataLoader(test, batch_size=64, collate_fn=collate)
    model = Tagger()
    criterion = nn.CrossEntropyLoss() if mistake else nn.CrossEntropyLoss(ignore_index=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(4):
        model.train()
        run = 0.0
        for x, y in train_dl:
            loss = criterion(model(x).view(-1, 6), y.view(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run += loss.item()
        model.eval()
        hit = total = 0
        with torch.no_grad():
            for x, y in test_dl:
                keep = y != 0
                hit += (model(x).argmax(-1) == y)[keep].sum().item()
                total += keep.sum().item()
        print(f"epoch {epoch} loss {run / len(train_dl):.4f} token acc {hit / total:.4f}")


class Odometer(nn.Module):
    def __init__(self, hidden=32, keep_state=False):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 2)
        self.hidden = None
        self.keep_state = keep_state

    def forward(self, x):
        out, h = self.gru(x, self.hidden)
        if self.keep_state:
            self.hidden = h.detach()
        return self.fc(out[:, -1])


def odometer_gru(mistake: bool) -> None:
    """The hidden state at the end of one batch starts the next batch, although its tracks are shuffled and unrelated."""
    seed_all(0)
    steps = torch.randn(2600, 8, 2) * 0.4
    goal = steps.sum(1)
    train_dl = DataLoader(TensorDataset(steps[:2048], goal[:2048]), batch_size=64, shuffle=True)
    test_dl = DataLoader(TensorDataset(steps[2048:2560], goal[2048:2560]), batch_size=64)
    model = Odometer(keep_state=mistake)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(15):
        model.train()
        losses = []
        for x, y in train_dl:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            test = np.mean([criterion(model(x), y).item() for x, y in test_dl])
        if epoch % 5 == 4:
            print(f"epoch {epoch} train {np.mean(losses):.4f} test {test:.4f}")


class EarlyStopping:
    def __init__(self, patience, by_reference):
        self.patience, self.by_reference = patience, by_reference
        self.best, self.best_epoch, self.bad, self.best_weights = float("inf"), -1, 0, None

    def step(self, value, model, epoch):
        if value < self.best:
            self.best, self.best_epoch, self.bad = value, epoch, 0
            self.best_weights = (
                model.state_dict() if self.by_reference else copy.deepcopy(model.state_dict())
            )
        else:
            self.bad += 1
        return self.bad >= self.patience


def early_stopping_regressor(mistake: bool) -> None:
    """The best weights are kept as model.state_dict() without a copy, so restoring them restores the last weights."""
    seed_all(0)
    X, y = make_friedman1(900, noise=1.0, random_state=1)
    X = torch.tensor((X - 0.5) / 0.289, dtype=torch.float32)
    y = torch.tensor((y - 14.4) / 5.0, dtype=torch.float32)
    train_dl = DataLoader(TensorDataset(X[:600], y[:600]), batch_size=20, shuffle=True)
    xv, yv = X[600:], y[600:]
    model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 1))
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    stopper = EarlyStopping(10, by_reference=mistake)

    def val_loss():
        model.eval()
        with torch.no_grad():
            return criterion(model(xv).squeeze(-1), yv).item()

    for epoch in range(80):
        model.train()
        tr = 0.0
        for xb, yb in train_dl:
            loss = criterion(model(xb).squeeze(-1), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tr += loss.item()
        v = val_loss()
        if stopper.step(v, model, epoch):
            break
    model.load_state_dict(stopper.best_weights)
    print(
        f"stopped at {epoch} train {tr / len(train_dl):.4f} last val {v:.4f} "
        f"best {stopper.best:.4f} at {stopper.best_epoch}, restored {val_loss():.4f}"
    )


FAULTS = [
    (
        sensor_imputation,
        ("mask", "masked", "denominator", "all entries", "number of hidden", "averaged over"),
        "wrong loss reduction across a mask",
    ),
    (
        char_transformer,
        (
            "causal",
            "future",
            "later position",
            "attn_mask",
            "looks ahead",
            "next token",
            "sees the character",
        ),
        "missing causal mask",
    ),
    (
        pos_tagger,
        ("padding", "pad ", "ignore_index", "padded", "pad token"),
        "padding counted in the loss",
    ),
    (
        odometer_gru,
        (
            "hidden state",
            "self.hidden",
            "state of the previous",
            "carried",
            "across batches",
            "previous batch",
            "state is kept",
        ),
        "hidden state carried across samples",
    ),
    (
        early_stopping_regressor,
        ("deepcopy", "copy", "by reference", "a reference", "same tensors", "alias", "clone"),
        "best weights kept by reference",
    ),
]
