"""Text, sequences, time series and audio-like signals."""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset


def _text():
    """Descriptions of scikit-learn's data sets as characters; the last tenth of every document is held out."""
    documents = [
        f().DESCR.lower() for f in (load_iris, load_wine, load_digits, load_diabetes, load_breast_cancer)
    ]
    chars = sorted(set("".join(documents)))
    index = {c: i for i, c in enumerate(chars)}

    def encode(parts):
        return torch.tensor([index[c] for c in "".join(parts)])

    train = encode(d[: len(d) * 9 // 10] for d in documents)
    held = encode(d[len(d) * 9 // 10 :] for d in documents)
    return train, held, len(chars)


# --------------------------------------------------------------------------------------------------------------
class _Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = (
            nn.Linear(width, 3 * width, bias=False),
            nn.Linear(width, width, bias=False),
        )
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h):
        n, t, w = h.shape
        q, k, v = (
            z.view(n, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.n1(h)).chunk(3, -1)
        )
        a = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        h = h + F.dropout(self.proj(a.transpose(1, 2).reshape(n, t, w)), self.dropout, self.training)
        return h + F.dropout(self.down(F.gelu(self.up(self.n2(h)))), self.dropout, self.training)


class _GPT(nn.Module):
    def __init__(self, vocab, width=80, depth=2, heads=4, context=64, dropout=0.1):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)
        self.apply(self._init)
        for block in self.blocks:
            for layer in (block.proj, block.down):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * depth))
        self.head.weight = self.tok.weight

    @staticmethod
    def _init(m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
        if isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)

    def forward(self, ids):
        h = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


def character_gpt_tied():
    """A small GPT with tied embeddings, two decay groups, warm-up and cosine set by hand each step."""
    torch.manual_seed(0)
    train, held, vocab = _text()
    context, steps, warmup, peak = 64, 240, 20, 4e-3
    model = _GPT(vocab, context=context)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
        lr=peak,
        betas=(0.9, 0.95),
    )
    windows = held[: (len(held) - 1) // context * context + 1].unfold(0, context + 1, context)
    for step in range(steps):
        lr = (
            peak * (step + 1) / warmup
            if step < warmup
            else 0.1 * peak + 0.45 * peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        )
        for group in optimizer.param_groups:
            group["lr"] = lr
        model.train()
        start = torch.randint(len(train) - context, (20,))
        ids = torch.stack([train[s : s + context + 1] for s in start.tolist()])
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 60 == 59:
            model.eval()
            with torch.no_grad():
                v = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
            print(
                f"step {step} lr {lr:.1e} loss {loss.item():.3f} held-out {v.item():.3f} (uniform {math.log(vocab):.2f})"
            )


def truncated_backprop_lstm():
    """Stateful LSTM over parallel contiguous streams; the state is carried and detached, batches are never shuffled."""
    torch.manual_seed(1)
    train, held, vocab = _text()
    rows, chunk = 16, 40
    train = train[: len(train) // rows * rows].view(rows, -1)
    held = held.view(1, -1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.lstm = nn.Embedding(vocab, 48), nn.LSTM(48, 256, batch_first=True)
            self.drop, self.out = nn.Dropout(0.1), nn.Linear(256, vocab)

        def forward(self, ids, state):
            h, state = self.lstm(self.embed(ids), state)
            return self.out(self.drop(h)), state

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.88)
    for epoch in range(10):
        model.train()
        state, losses = None, []
        for at in range(0, train.shape[1] - 1, chunk):
            x, y = train[:, at : at + chunk], train[:, at + 1 : at + 1 + chunk]
            x = x[:, : y.shape[1]]
            if state is not None:
                state = tuple(s.detach() for s in state)
            logits, state = model(x, state)
            loss = F.cross_entropy(logits.transpose(1, 2), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        model.eval()
        with torch.no_grad():
            logits, _ = model(held[:, :-1], None)
            v = F.cross_entropy(logits.transpose(1, 2), held[:, 1:])
        print(f"epoch {epoch} loss {np.mean(losses):.3f} held-out {v.item():.3f}")


# --------------------------------------------------------------------------------------------------------------
def seq2seq_scheduled_sampling():
    """Sorting strings of digits: packed encoder, attention decoder, teacher forcing that gives way to its own output."""
    torch.manual_seed(2)
    PAD, BOS, EOS = 10, 11, 12

    class Model(nn.Module):
        def __init__(self, width=96):
            super().__init__()
            self.embed = nn.Embedding(13, width, padding_idx=PAD)
            self.encoder = nn.GRU(width, width, batch_first=True, bidirectional=True)
            self.bridge, self.memory = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
            self.cell, self.out = nn.GRUCell(2 * width, width), nn.Linear(2 * width, 13)

        def forward(self, src, lengths, target=None, forcing=1.0, limit=9):
            packed = pack_padded_sequence(
                self.embed(src), lengths, batch_first=True, enforce_sorted=False
            )
            states, last = self.encoder(packed)
            states, _ = pad_packed_sequence(states, batch_first=True, total_length=src.shape[1])
            memory = self.memory(states)
            blank = src == PAD
            h = torch.tanh(self.bridge(torch.cat([last[0], last[1]], 1)))
            token = torch.full((len(src),), BOS)
            context, outputs = torch.zeros_like(h), []
            for t in range(target.shape[1] if target is not None else limit):
                h = self.cell(torch.cat([self.embed(token), context], 1), h)
                score = (memory @ h[:, :, None]).squeeze(2).masked_fill(blank, float("-inf"))
                context = (score.softmax(1)[:, None] @ memory).squeeze(1)
                logits = self.out(torch.cat([h, context], 1))
                outputs.append(logits)
                token = logits.argmax(1)
                if target is not None:
                    token = torch.where(torch.rand(len(src)) < forcing, target[:, t], token)
            return torch.stack(outputs, 1)

    def batch(n, g=None):
        lengths = torch.randint(3, 9, (n,), generator=g)
        src, tgt = torch.full((n, 8), PAD), torch.full((n, 9), PAD)
        for i, k in enumerate(lengths.tolist()):
            s = torch.randint(10, (k,), generator=g)
            src[i, :k], tgt[i, :k], tgt[i, k] = s, s.sort().values, EOS
        return src, lengths, tgt

    held = batch(300, torch.Generator().manual_seed(99))
    model = Model()
    steps = 260
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=steps)
    for step in range(steps):
        model.train()
        src, lengths, tgt = batch(96)
        forcing = max(0.5, 1 - step / 300)
        logits = model(src, lengths, tgt, forcing)
        loss = F.cross_entropy(logits.transpose(1, 2), tgt, ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 65 == 64:
            model.eval()
            with torch.no_grad():
                out = model(held[0], held[1]).argmax(2)
            real = held[2] != PAD
            exact = ((out == held[2]) | ~real).all(1).float().mean()
            print(f"step {step} forcing {forcing:.2f} loss {loss.item():.3f} exact {exact:.3f}")


# --------------------------------------------------------------------------------------------------------------
def ctc_digit_lines():
    """Lines of handwritten digits with gaps, read column by column; CTC with per-line input and target lengths."""
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    data = load_digits()
    images = torch.from_numpy((data.images / 16).astype(np.float32))
    labels = data.target
    split = rng.permutation(len(labels))
    train_ids, held_ids = split[:1400], split[1400:]

    def batch(n, ids):
        lines, targets = [], []
        for _ in range(n):
            pick = rng.choice(ids, rng.integers(2, 6))
            parts = []
            for k in pick:
                parts += [torch.zeros(8, int(rng.integers(0, 4))), images[k]]
            lines.append(torch.cat(parts, 1).t())
            targets.append(torch.from_numpy(labels[pick]) + 1)
        lengths = torch.tensor([len(x) for x in lines])
        x = pad_sequence(lines, batch_first=True)
        return (
            x + 0.03 * torch.randn_like(x),
            lengths,
            torch.cat(targets),
            torch.tensor([len(t) for t in targets]),
        )

    class Reader(nn.Module):
        def __init__(self, width=96):
            super().__init__()
            self.conv = nn.Sequential(
                nn.Conv1d(8, width, 5, padding=2),
                nn.ReLU(),
                nn.Conv1d(width, width, 5, stride=2, padding=2),
                nn.ReLU(),
            )
            self.rnn = nn.GRU(width, 64, batch_first=True, bidirectional=True)
            self.out = nn.Linear(128, 11)

        def forward(self, x, lengths):
            h = self.conv(x.transpose(1, 2)).transpose(1, 2)
            lengths = (lengths + 1) // 2
            packed = pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False)
            h, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=h.shape[1])
            return self.out(h).log_softmax(2), lengths

    model = Reader()
    criterion = nn.CTCLoss(blank=0, zero_infinity=True)
    steps = 340
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
    held = batch(200, held_ids)
    for step in range(steps):
        model.train()
        x, lengths, target, target_lengths = batch(24, train_ids)
        logp, frames = model(x, lengths)
        loss = criterion(logp.transpose(0, 1), target, frames, target_lengths)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        scheduler.step()
        if step % 68 == 67:
            model.eval()
            with torch.no_grad():
                logp, frames = model(held[0], held[1])
            exact = 0
            for row, k, truth in zip(logp.argmax(2), frames.tolist(), held[2].split(held[3].tolist())):
                read = torch.unique_consecutive(row[:k])
                read = read[read != 0]
                exact += int(len(read) == len(truth) and bool((read == truth).all()))
            print(f"step {step} loss {loss.item():.3f} lines read exactly {exact / len(frames):.3f}")


# --------------------------------------------------------------------------------------------------------------
def load_forecast_quantiles():
    """Hourly load: split in time, scaled by the past only, a direct 24-hour quantile forecast, plateau schedule."""
    torch.manual_seed(4)
    rng = np.random.default_rng(4)
    hours = np.arange(24 * 7 * 40)
    noise = np.zeros(len(hours))
    for t in range(1, len(hours)):
        noise[t] = 0.9 * noise[t - 1] + 0.6 * rng.standard_normal()
    weekend = (hours // 24) % 7 >= 5
    series = (
        50
        + 0.001 * hours
        + 10 * np.sin(2 * np.pi * hours / 24)
        + 4 * np.sin(4 * np.pi * hours / 24 + 1)
        - 6 * weekend
        + noise
    )
    calendar = np.stack([np.sin(2 * np.pi * hours / 24), np.cos(2 * np.pi * hours / 24), weekend], 1)
    past, ahead = 72, 24
    a, b = int(0.7 * len(hours)), int(0.85 * len(hours))
    mean, std = series[:a].mean(), series[:a].std()
    y = torch.from_numpy(((series - mean) / std).astype(np.float32))
    c = torch.from_numpy(calendar.astype(np.float32))

    def windows(lo, hi, stride):
        starts = range(lo, hi - past - ahead + 1, stride)
        x = torch.stack([torch.cat([y[s : s + past, None], c[s : s + past]], 1) for s in starts])
        future = torch.stack([c[s + past : s + past + ahead].flatten() for s in starts])
        target = torch.stack([y[s + past : s + past + ahead] for s in starts])
        return x, future, target

    train = windows(0, a, 3)
    valid, test = windows(a - past, b, 6), windows(b - past, len(hours), 6)
    quantiles = torch.tensor([0.1, 0.5, 0.9])

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(4, 64, batch_first=True)
            self.head = nn.Sequential(
                nn.Linear(64 + 3 * ahead, 128), nn.ReLU(), nn.Linear(128, ahead * 3)
            )

        def forward(self, x, future):
            _, h = self.rnn(x)
            return x[:, -1:, :1] + self.head(torch.cat([h[0], future], 1)).view(-1, ahead, 3)

    def pinball(pred, target):
        e = target[..., None] - pred
        return torch.maximum(quantiles * e, (quantiles - 1) * e).mean()

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=1)
    loader = DataLoader(TensorDataset(*train), batch_size=64, shuffle=True)
    best, best_state = float("inf"), None
    for epoch in range(10):
        model.train()
        for x, future, target in loader:
            optimizer.zero_grad()
            pinball(model(x, future), target).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            v = pinball(model(*valid[:2]), valid[2]).item()
        scheduler.step(v)
        if v < best:
            best, best_state = v, copy.deepcopy(model.state_dict())
        print(f"epoch {epoch} validation pinball {v:.4f} lr {optimizer.param_groups[0]['lr']:.1e}")
    model.load_state_dict(best_state)
    model.eval()
    with torch.no_grad():
        p = model(*test[:2])
    inside = ((test[2] >= p[..., 0]) & (test[2] <= p[..., 2])).float().mean()
    print(f"test pinball {pinball(p, test[2]):.4f} interval coverage {inside:.3f}")


# --------------------------------------------------------------------------------------------------------------
def spectrogram_chirps():
    """Tones, chirps and bursts: log spectrogram computed inside the model, SpecAugment in training, bfloat16 autocast."""
    torch.manual_seed(5)
    g = torch.Generator().manual_seed(5)

    def make(n):
        t = torch.linspace(0, 1, 2048)
        y = torch.randint(5, (n,), generator=g)
        f0 = 80 + 200 * torch.rand(n, 1, generator=g)
        f1 = f0 + 150 + 150 * torch.rand(n, 1, generator=g)
        phase = 2 * math.pi * torch.rand(n, 1, generator=g)
        centre = 0.2 + 0.6 * torch.rand(n, 1, generator=g)
        waves = torch.stack(
            [
                torch.sin(2 * math.pi * f0 * t + phase),
                torch.sin(2 * math.pi * (f0 * t + (f1 - f0) * t**2 / 2) + phase),
                torch.sin(2 * math.pi * (f1 * t - (f1 - f0) * t**2 / 2) + phase),
                torch.sin(2 * math.pi * f0 * t + phase) * torch.exp(-(((t - centre) / 0.05) ** 2)),
                0.5 * torch.sin(2 * math.pi * f0 * t + phase)
                + 0.5 * torch.sin(2 * math.pi * 2.5 * f0 * t),
            ],
            1,
        )
        x = waves[torch.arange(n), y]
        return x + 0.5 * torch.randn(x.shape, generator=g), y

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("window", torch.hann_window(128))
            self.norm = nn.BatchNorm2d(1)
            self.convs = nn.Sequential(
                nn.Conv2d(1, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(32, 48, 3, 2, 1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(192, 5),
            )

        def forward(self, x):
            spec = torch.stft(x, 128, 64, window=self.window, return_complex=True).abs()
            spec = self.norm(torch.log1p(spec)[:, None])
            if self.training:
                n, _, bins, frames = spec.shape
                f = torch.randint(bins - 4, (n, 1, 1, 1)), torch.arange(bins)[None, None, :, None]
                s = torch.randint(frames - 3, (n, 1, 1, 1)), torch.arange(frames)
                hide = ((f[1] >= f[0]) & (f[1] < f[0] + 4)) | ((s[1] >= s[0]) & (s[1] < s[0] + 3))
                spec = spec.masked_fill(hide, 0.0)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = self.convs(spec)
            return logits.float()

    train, held = make(1600), make(400)
    model = Net()
    loader = DataLoader(TensorDataset(*train), batch_size=64, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    for epoch in range(9):
        model.train()
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            acc = (model(held[0]).argmax(1) == held[1]).float().mean()
        print(f"epoch {epoch} loss {loss.item():.3f} accuracy {acc:.3f}")


HEALTHY = [
    character_gpt_tied,
    truncated_backprop_lstm,
    seq2seq_scheduled_sampling,
    ctc_digit_lines,
    load_forecast_quantiles,
    spectrogram_chirps,
]
