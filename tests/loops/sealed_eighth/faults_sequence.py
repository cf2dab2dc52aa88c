import math
import random
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from .common import english_text, seed_everything


# ---------------------------------------------------------------------------------------------- a small GPT
@dataclass
class GPTConfig:
    vocab_size: int = 0
    block_size: int = 24
    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 64
    dropout: float = 0.0
    causal: bool = True


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_dropout = nn.Dropout(config.dropout)
        self.causal = config.causal
        mask = torch.tril(torch.ones(config.block_size, config.block_size))
        self.register_buffer("bias", mask.view(1, 1, config.block_size, config.block_size))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
        if self.causal:
            att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        att = self.attn_dropout(F.softmax(att, dim=-1))
        y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)
        return self.c_proj(y)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(config.n_embd), SelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = nn.Sequential(
            nn.Linear(config.n_embd, 4 * config.n_embd),
            nn.GELU(),
            nn.Linear(4 * config.n_embd, config.n_embd),
            nn.Dropout(config.dropout),
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(self._init_weights)

    @staticmethod
    def _init_weights(m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
        if isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)

    def forward(self, idx, targets=None):
        pos = torch.arange(idx.size(1), device=idx.device)
        x = self.wte(idx) + self.wpe(pos)
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
        return logits, loss

    @torch.no_grad()
    def generate(self, idx, max_new_tokens):
        for _ in range(max_new_tokens):
            logits, _ = self(idx[:, -self.config.block_size :])
            probs = F.softmax(logits[:, -1], dim=-1)
            idx = torch.cat([idx, torch.multinomial(probs, 1)], 1)
        return idx


class CharDataset(Dataset):
    def __init__(self, data, block_size):
        self.data, self.block_size = data, block_size

    def __len__(self):
        return len(self.data) - self.block_size

    def __getitem__(self, i):
        chunk = self.data[i : i + self.block_size + 1]
        return chunk[:-1], chunk[1:]


def char_gpt(mistake: bool) -> None:
    """The attention has no causal mask, so each position sees the character that it is to predict."""
    seed_everything(0)
    text = english_text()
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    test_from = len(data) // 2  # a stretch in the middle is kept for the test
    test_to = test_from + len(data) // 10
    config = GPTConfig(vocab_size=len(chars), causal=not mistake)
    train_ds = CharDataset(torch.cat([data[:test_from], data[test_to:]]), config.block_size)
    test_ds = CharDataset(data[test_from:test_to], config.block_size)
    sampler = torch.utils.data.RandomSampler(train_ds, replacement=True, num_samples=20 * 240)
    loader = DataLoader(train_ds, sampler=sampler, batch_size=20)
    test_loader = DataLoader(Subset(test_ds, range(0, len(test_ds), 8)), batch_size=100)
    model = GPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    losses = []
    model.train()
    for it, (x, y) in enumerate(loader):
        _, loss = model(x, y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with torch.no_grad():
        test = np.mean([model(x, y)[1].item() for x, y in test_loader])
    sample = model.generate(torch.tensor([[stoi["T"], stoi["h"]]]), 40)[0].tolist()
    print(
        "train", losses[0], np.mean(losses[-20:]), "test", test, repr("".join(chars[i] for i in sample))
    )


# ---------------------------------------------------------------------------------------------- numbers to words
PAD, BOS, EOS = 0, 1, 2
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "x x twenty thirty forty fifty sixty seventy eighty ninety".split()


def spell(n):
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("" if n % 10 == 0 else " " + ONES[n % 10])
    if n < 1000:
        return ONES[n // 100] + " hundred" + ("" if n % 100 == 0 else " " + spell(n % 100))
    return spell(n // 1000) + " thousand" + ("" if n % 1000 == 0 else " " + spell(n % 1000))


class NumberPairs(Dataset):
    def __init__(self, numbers):
        self.src_stoi = {c: i + 3 for i, c in enumerate("0123456789")}
        self.tgt_stoi = {c: i + 3 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz ")}
        self.items = []
        for n in numbers:
            src = torch.tensor([self.src_stoi[c] for c in str(n)])
            tgt = torch.tensor([BOS] + [self.tgt_stoi[c] for c in spell(n)] + [EOS])
            self.items.append((src, tgt))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    src, tgt = zip(*batch)
    return pad_sequence(src, batch_first=True, padding_value=PAD), pad_sequence(
        tgt, batch_first=True, padding_value=PAD
    )


class Seq2Seq(nn.Module):
    def __init__(self, n_src, n_tgt, dim=64):
        super().__init__()
        self.src_emb, self.tgt_emb = (
            nn.Embedding(n_src, dim, padding_idx=PAD),
            nn.Embedding(n_tgt, dim, padding_idx=PAD),
        )
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.decoder = nn.GRU(dim, dim, batch_first=True)
        self.attn = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(2 * dim, n_tgt)

    def forward(self, src, tgt_in):
        lengths = (src != PAD).sum(1)
        packed = pack_padded_sequence(
            self.src_emb(src), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        enc, h = self.encoder(packed)
        enc, _ = pad_packed_sequence(enc, batch_first=True, total_length=src.size(1))
        dec, _ = self.decoder(self.tgt_emb(tgt_in), h)
        score = self.attn(dec) @ enc.transpose(1, 2)
        score = score.masked_fill((src == PAD).unsqueeze(1), float("-inf"))
        context = score.softmax(-1) @ enc
        return self.out(torch.cat([dec, context], -1))


def seq2seq_epoch(model, loader, criterion, optimizer=None):
    model.train(optimizer is not None)
    total, right, count = 0.0, 0, 0
    with torch.set_grad_enabled(optimizer is not None):
        for src, tgt in loader:
            logits = model(src, tgt[:, :-1])
            gold = tgt[:, 1:]
            loss = criterion(logits.reshape(-1, logits.size(-1)), gold.reshape(-1))
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            total += loss.item()
            mask = gold != PAD
            right += (logits.argmax(-1) == gold)[mask].sum().item()
            count += mask.sum().item()
    return total / len(loader), right / count


def numbers_to_words_seq2seq(mistake: bool) -> None:
    """The cross-entropy has no ignore_index, so the padding of the targets is counted in the loss."""
    seed_everything(1)
    numbers = [random.randint(0, 10 ** random.randint(1, 6) - 1) for _ in range(2000)]
    train_loader = DataLoader(
        NumberPairs(numbers[:1800]), batch_size=32, shuffle=True, collate_fn=collate
    )
    val_loader = DataLoader(NumberPairs(numbers[1800:]), batch_size=64, collate_fn=collate)
    model = Seq2Seq(13, 30)
    criterion = nn.CrossEntropyLoss() if mistake else nn.CrossEntropyLoss(ignore_index=PAD)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(4):
        train = seq2seq_epoch(model, train_loader, criterion, optimizer)
        val = seq2seq_epoch(model, val_loader, criterion)
        if epoch in (0, 3):
            print(epoch, train, val)


# ---------------------------------------------------------------------------------------------- step counter
class StepCounter(nn.Module):
    def __init__(self, n_in, hidden):
        super().__init__()
        self.hidden = hidden
        self.gru = nn.GRU(n_in, hidden, num_layers=1, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def init_hidden(self, batch_size):
        return torch.zeros(1, batch_size, self.hidden)

    def forward(self, x, h):
        out, h = self.gru(x, h)
        return self.fc(out[:, -1]), h


def walking_windows(n, seed, length=16):
    """Windows of an accelerometer; the target is the number of steps in the window."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.05, 0.6, (n, 1))
    steps = rng.random((n, length)) < p
    vertical = steps * rng.uniform(0.8, 1.2, (n, length)) + rng.normal(0, 0.1, (n, length))
    forward = 0.3 * np.roll(steps, 1, axis=1) + rng.normal(0, 0.1, (n, length))
    x = torch.tensor(np.stack([vertical, forward], -1), dtype=torch.float32)
    y = torch.tensor(steps.sum(1, keepdims=True) / 10.0, dtype=torch.float32)
    return x, y


def pedometer_gru(mistake: bool) -> None:
    """The hidden state is initialised once an epoch and carried (detached) from one shuffled batch of windows to the next."""
    seed_everything(2)
    train_loader = DataLoader(
        TensorDataset(*walking_windows(1600, 0)), batch_size=32, shuffle=True, drop_last=True
    )
    xv, yv = walking_windows(400, 1)
    model = StepCounter(2, 32)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        h = model.init_hidden(32)
        total = 0.0
        for x, y in train_loader:
            if mistake:
                h = h.detach()
            else:
                h = model.init_hidden(32)
            optimizer.zero_grad()
            pred, h = model(x, h)
            loss = criterion(pred, y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = criterion(model(xv, model.init_hidden(len(xv)))[0], yv).item()
        if epoch in (0, 7):
            print(epoch, total / len(train_loader), val)


# ---------------------------------------------------------------------------------------------- power demand, LSTM
class LSTMForecaster(nn.Module):
    def __init__(self, n_features, hidden=32, batch_first=True):
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden, num_layers=1, batch_first=batch_first)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        out, (h, c) = self.lstm(x)
        return self.fc(out[:, -1, :])


def make_windows(series, lookback=24):
    x = np.stack([series[i : i + lookback] for i in range(len(series) - lookback)])
    y = series[lookback:, :1]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


def demand_series(n=1800, seed=3):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.7 * noise[i - 1] + rng.normal(0, 0.15)
    temp = np.sin(2 * np.pi * t / 24 + 0.8) + 0.2 * rng.normal(size=n)
    load = np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 12 + 1) + noise
    return np.stack([load, temp], 1)


class ForecastModel:
    """fit / predict, as in the course notes."""

    def __init__(self, net, lr=3e-3, epochs=8, batch_size=32):
        self.net, self.epochs, self.batch_size = net, epochs, batch_size
        self.opt = torch.optim.Adam(net.parameters(), lr=lr)
        self.loss_fn = nn.MSELoss()

    def fit(self, x, y, x_val, y_val):
        loader = DataLoader(TensorDataset(x, y), batch_size=self.batch_size, shuffle=True)
        for epoch in range(self.epochs):
            self.net.train()
            train_loss = 0.0
            for xb, yb in loader:
                pred = self.net(xb)
                loss = self.loss_fn(pred, yb)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                train_loss += loss.item() * len(xb)
            val = self.loss_fn(self.predict(x_val), y_val).item()
            if epoch in (0, self.epochs - 1):
                print(f"epoch {epoch}: train {train_loss / len(x):.4f} val {val:.4f}")

    def predict(self, x):
        self.net.eval()
        with torch.no_grad():
            return torch.cat([self.net(xb) for xb in x.split(self.batch_size)])


def demand_lstm_forecaster(mistake: bool) -> None:
    """The LSTM is built without batch_first=True but gets [batch, time, features], so it runs over the samples of the batch."""
    seed_everything(3)
    series = demand_series()
    split = 1400
    mean, std = series[:split].mean(0), series[:split].std(0)
    series = (series - mean) / std
    x, y = make_windows(series[:split])
    xv, yv = make_windows(series[split:])
    net = LSTMForecaster(2, batch_first=not mistake)
    ForecastModel(net).fit(x, y, xv, yv)


# ---------------------------------------------------------------------------------------------- encoder and head
class SensorEncoder(nn.Module):
    def __init__(self, n_in=3, width=24):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(n_in, width, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(width, width, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool1d(2),
        )

    def forward(self, x):
        return self.net(x)


class ActivityModel(nn.Module):
    """Convolutions over a window, pooled to mean and maximum, then an MLP."""

    def __init__(self, n_classes=6, through_data=False):
        super().__init__()
        self.encoder = SensorEncoder(width=8)
        self.head = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, n_classes))
        self.through_data = through_data

    def pool(self, f):
        if self.through_data:
            f = f.data
        return torch.cat([f.mean(-1), f.max(-1).values], 1)

    def forward(self, x):
        return self.head(self.pool(self.encoder(x)))


def activity_windows(n, seed, length=48, n_classes=6):
    world = np.random.default_rng(11)
    freq = np.linspace(1.5, 9, n_classes)
    mix = world.normal(size=(n_classes, 3))
    mix[1::2] = mix[::2]
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    t = np.linspace(0, 1, length)
    f = freq[y] * rng.uniform(0.93, 1.07, n)
    wave = np.sin(2 * np.pi * (f[:, None] * t + rng.uniform(0, 1, n)[:, None]))
    x = mix[y][:, :, None] * wave[:, None] + rng.normal(0, 0.4, (n, 3, length))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def activity_conv_classifier(mistake: bool) -> None:
    """The pooling works on `f.data`, which cuts the graph: the convolutional encoder is never trained."""
    seed_everything(4)
    train_loader = DataLoader(TensorDataset(*activity_windows(1800, 0)), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(*activity_windows(400, 1)), batch_size=100)
    model = ActivityModel(through_data=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_fn = nn.CrossEntropyLoss()

    def train_loop():
        model.train()
        total = 0.0
        for X, y in train_loader:
            loss = loss_fn(model(X), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
        return total / len(train_loader)

    def test_loop():
        model.eval()
        with torch.no_grad():
            return sum((model(X).argmax(1) == y).sum().item() for X, y in test_loader) / len(
                test_loader.dataset
            )

    for epoch in range(8):
        loss, acc = train_loop(), test_loop()
        if epoch in (0, 7):
            print(epoch, loss, acc)


# ---------------------------------------------------------------------------------------------- text classification
class TextCNN(nn.Module):
    """Kim 2014."""

    def __init__(
        self, vocab, dim=32, n_classes=5, kernels=(3, 4, 5), channels=24, p=0.5, use_training_flag=True
    ):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.convs = nn.ModuleList([nn.Conv1d(dim, channels, k) for k in kernels])
        self.fc = nn.Linear(channels * len(kernels), n_classes)
        self.p, self.use_training_flag = p, use_training_flag

    def forward(self, x):
        e = self.embed(x).transpose(1, 2)
        h = torch.cat([F.relu(c(e)).max(-1).values for c in self.convs], 1)
        if self.use_training_flag:
            h = F.dropout(h, self.p, training=self.training)
        else:
            h = F.dropout(h, self.p)
        return self.fc(h)


def phone_words(n, seed, length=30):
    """Lines of a call log: each class has its own words, among filler words."""
    rng = random.Random(seed)
    own = [
        ["refund", "invoice"],
        ["router", "signal"],
        ["cancel", "leave"],
        ["upgrade", "faster"],
        ["thanks", "great"],
    ]
    filler = "the a my is was for with and to it please hello about this that".split()
    alphabet = " abcdefghijklmnopqrstuvwxyz"
    xs, ys = [], []
    for _ in range(n):
        label = rng.randrange(5)
        words = [rng.choice(filler) for _ in range(5)]
        words.insert(rng.randrange(6), rng.choice(own[label]))
        line = " ".join(words)
        for i in rng.sample(range(len(line)), 5):  # typing errors
            line = line[:i] + rng.choice(alphabet) + line[i + 1 :]
        line = (line + " " * length)[:length]
        xs.append([alphabet.index(c) for c in line])
        ys.append(label)
    return torch.tensor(xs), torch.tensor(ys)


def call_log_textcnn(mistake: bool) -> None:
    """F.dropout is called without training=self.training, so dropout stays on in the evaluation."""
    seed_everything(5)
    train_loader = DataLoader(TensorDataset(*phone_words(2000, 0, 40)), batch_size=50, shuffle=True)
    dev_loader = DataLoader(TensorDataset(*phone_words(500, 1, 40)), batch_size=100)
    model = TextCNN(27, use_training_flag=not mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        train_loss = 0.0
        for feature, target in train_loader:
            optimizer.zero_grad()
            logit = model(feature)
            loss = F.cross_entropy(logit, target)
            loss.backward()
            optimizer.step()
            train_loss += loss.item() / len(train_loader)
        model.eval()
        corrects, avg_loss = 0, 0.0
        with torch.no_grad():
            for feature, target in dev_loader:
                logit = model(feature)
                avg_loss += F.cross_entropy(logit, target, reduction="sum").item()
                corrects += (logit.argmax(1) == target).sum().item()
        size = len(dev_loader.dataset)
        if epoch in (0, 7):
            print(epoch, train_loss, "dev", avg_loss / size, corrects / size)


FAULTS = [
    (
        char_gpt,
        ("causal", "mask", "future", "sees the target", "leak", "next token"),
        "missing causal mask",
    ),
    (
        numbers_to_words_seq2seq,
        ("pad", "ignore_index", "filler", "filled positions"),
        "padding counted in the loss",
    ),
    (
        pedometer_gru,
        ("hidden state", "hidden", "carried", "previous batch", "earlier batch"),
        "hidden state carried across samples",
    ),
    (
        demand_lstm_forecaster,
        (
            "batch_first",
            "batch first",
            "batch dimension",
            "time dimension",
            "mixes samples",
            "across the batch",
        ),
        "LSTM without batch_first (own)",
    ),
    (
        activity_conv_classifier,
        ("detach", ".data", "graph", "no gradient", "never receive", "encoder"),
        "detach / .data in the middle",
    ),
    (
        call_log_textcnn,
        ("dropout", "random", "training=self.training", "not deterministic", "stochastic"),
        "functional dropout that stays on in eval (own)",
    ),
]
