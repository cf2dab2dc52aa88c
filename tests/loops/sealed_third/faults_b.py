"""Loops as people write them: each function is one training, right or with one mistake."""

import copy
import math
import re

import numpy as np
import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split


def description_text():
    parts = [
        datasets.load_iris().DESCR,
        datasets.load_wine().DESCR,
        datasets.load_diabetes().DESCR,
        datasets.load_digits().DESCR,
        datasets.load_breast_cancer().DESCR,
        datasets.load_linnerud().DESCR,
    ]
    return re.sub(r"[ \t]+", " ", "\n".join(parts).lower())


def encode(text):
    chars = sorted(set(text))
    table = {c: i for i, c in enumerate(chars)}
    return torch.tensor([table[c] for c in text]), len(chars)


# ---------------------------------------------------------------- character model, GRU


class CharWindows(Dataset):
    def __init__(self, codes, block, shift):
        self.codes, self.block, self.shift = codes, block, shift

    def __len__(self):
        return (len(self.codes) - self.block - 1) // self.block

    def __getitem__(self, k):
        i = k * self.block
        x = self.codes[i : i + self.block]
        y = self.codes[i + self.shift : i + self.shift + self.block]
        return x, y


class CharGRU(nn.Module):
    def __init__(self, vocab, emb=32, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, emb)
        self.rnn = nn.GRU(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x):
        h, _ = self.rnn(self.emb(x))
        return self.out(h)


def descr_char_gru(*, mistake: bool) -> None:
    codes, vocab = encode(description_text())
    shift = 0 if mistake else 1
    cut = int(0.9 * len(codes))
    train_dl = DataLoader(CharWindows(codes[:cut], 32, shift), batch_size=16, shuffle=True)
    valid_dl = DataLoader(CharWindows(codes[cut:], 32, shift), batch_size=32)
    model = CharGRU(vocab)
    opt = optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(4):
        model.train()
        for x, y in train_dl:
            logits = model(x)
            loss = F.cross_entropy(logits.reshape(-1, vocab), y.reshape(-1))
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            val = [
                F.cross_entropy(model(x).reshape(-1, vocab), y.reshape(-1)).item() for x, y in valid_dl
            ]
        perplexity = math.exp(sum(val) / len(val))


# ---------------------------------------------------------------- character model, attention


class Block(nn.Module):
    def __init__(self, dim, heads, causal):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.heads, self.causal = heads, causal

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.causal:
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            a = F.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class MiniGPT(nn.Module):
    def __init__(self, vocab, block_size, dim=48, depth=2, causal=True):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, dim), nn.Embedding(block_size, dim)
        self.blocks = nn.Sequential(*[Block(dim, 4, causal) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab)

    def forward(self, idx, targets=None):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
        logits = self.head(self.norm(self.blocks(x)))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


def descr_minigpt(*, mistake: bool) -> None:
    data, vocab = encode(description_text())
    n = int(0.9 * len(data))
    splits = {"train": data[:n], "val": data[n:]}
    block_size, batch_size = 32, 16

    def get_batch(split):
        d = splits[split]
        ix = torch.randint(len(d) - block_size - 1, (batch_size,))
        x = torch.stack([d[i : i + block_size] for i in ix])
        y = torch.stack([d[i + 1 : i + 1 + block_size] for i in ix])
        return x, y

    model = MiniGPT(vocab, block_size, causal=not mistake)
    optimizer = optim.AdamW(model.parameters(), lr=4e-3)
    losses = []
    for it in range(200):
        if it % 40 == 0 or it == 199:
            model.eval()
            with torch.no_grad():
                losses.append(torch.stack([model(*get_batch("val"))[1] for _ in range(4)]).mean().item())
            model.train()
        xb, yb = get_batch("train")
        _, loss = model(xb, yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


# ---------------------------------------------------------------- tagging with padding


def residue_batch(samples, wrong_mask):
    tokens = pad_sequence([s for s, _ in samples], batch_first=True, padding_value=0)
    tags = pad_sequence([t for _, t in samples], batch_first=True, padding_value=0)
    mask = tokens >= 0 if wrong_mask else tokens > 0
    return tokens, tags, mask


class ResidueTagger(nn.Module):
    def __init__(self, vocab=21, tags=4):
        super().__init__()
        self.emb = nn.Embedding(vocab, 24, padding_idx=0)
        self.conv = nn.Conv1d(24, 48, 5, padding=2)
        self.out = nn.Linear(48, tags)

    def forward(self, tokens):
        h = self.emb(tokens).transpose(1, 2)
        return self.out(F.relu(self.conv(h)).transpose(1, 2))


def residue_tagger(*, mistake: bool) -> None:
    # tag of a residue: 0 loop, 1..3 according to it and its left and right neighbours
    samples = []
    for _ in range(600):
        length = (
            int(torch.randint(4, 13, (1,))) if torch.rand(1) < 0.85 else int(torch.randint(50, 70, (1,)))
        )
        seq = torch.randint(1, 21, (length,))
        around = F.pad(seq, (1, 1))
        tag = ((around[:-2] > 10).long() + (around[2:] > 10).long()) * (seq > 5).long() + (
            seq > 15
        ).long()
        noisy = torch.rand(length) < 0.3
        tag = torch.where(noisy, torch.randint(0, 4, (length,)), tag)
        samples.append((seq, tag))

    def collate(s):
        return residue_batch(s, wrong_mask=mistake)

    train_dl = DataLoader(samples[:480], batch_size=16, shuffle=True, collate_fn=collate)
    val_dl = DataLoader(samples[480:], batch_size=30, collate_fn=collate)
    model = ResidueTagger()
    opt = optim.Adam(model.parameters(), lr=4e-3)

    for epoch in range(6):
        model.train()
        for tokens, tags, mask in train_dl:
            logits = model(tokens)
            per_token = F.cross_entropy(logits.transpose(1, 2), tags, reduction="none")
            loss = (per_token * mask).sum() / mask.sum()
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        right = count = 0
        with torch.no_grad():
            for tokens, tags, mask in val_dl:
                right += ((model(tokens).argmax(-1) == tags) & mask).sum().item()
                count += mask.sum().item()
        val_acc = right / count


# ---------------------------------------------------------------- load forecast


def load_forecaster(*, mistake: bool) -> None:
    hours = torch.arange(1500).float()
    load = (
        torch.sin(hours * 2 * math.pi / 24)
        + 0.4 * torch.sin(hours * 2 * math.pi / 168)
        + 0.3 * torch.randn(1500)
    )
    mean, std = load[:1200].mean(), load[:1200].std()
    load = (load - mean) / std
    window = 24

    def make(series):
        xs, ys = [], []
        for i in range(len(series) - window):
            xs.append(series[i : i + window])
            ys.append(series[i + window - 1] if mistake else series[i + window])
        return TensorDataset(torch.stack(xs), torch.stack(ys).unsqueeze(1))

    train_loader = DataLoader(make(load[:1200]), batch_size=64, shuffle=True)
    val_loader = DataLoader(make(load[1200:]), batch_size=128)
    model = nn.Sequential(nn.Linear(window, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.MSELoss()
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_mse = np.mean([criterion(model(x), y).item() for x, y in val_loader]).item()


# ---------------------------------------------------------------- digits read row by row


class RowLSTM(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.lstm = nn.LSTM(8, 64, batch_first=batch_first)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1, :])


def digits_row_lstm(*, mistake: bool) -> None:
    x, y = datasets.load_digits(return_X_y=True)
    full = TensorDataset(torch.tensor(x / 8 - 1).float().view(-1, 8, 8), torch.tensor(y))
    train_set, test_set = random_split(full, [1400, len(full) - 1400])
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=50)
    model = RowLSTM(batch_first=not mistake)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(6):
        model.train()
        for seq, label in train_loader:
            loss = criterion(model(seq), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(s).argmax(1) == l).sum().item() for s, l in test_loader)
        acc = hits / len(test_set)


# ---------------------------------------------------------------- seq2seq


class Seq2Seq(nn.Module):
    def __init__(self, vocab, dim=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, 32)
        self.encoder = nn.GRU(32, dim, batch_first=True)
        self.decoder = nn.GRU(32, dim, batch_first=True)
        self.out = nn.Linear(dim, vocab)

    def forward(self, src, dec_in):
        _, h = self.encoder(self.emb(src))
        y, _ = self.decoder(self.emb(dec_in), h)
        return self.out(y)

    @torch.no_grad()
    def greedy(self, src, bos, steps):
        _, h = self.encoder(self.emb(src))
        tok = torch.full((len(src), 1), bos)
        words = []
        for _ in range(steps):
            y, h = self.decoder(self.emb(tok), h)
            tok = self.out(y).argmax(-1)
            words.append(tok)
        return torch.cat(words, 1)


def reversal_seq2seq(*, mistake: bool) -> None:
    bos, length = 8, 5
    src = torch.randint(0, 8, (2200, length))
    tgt = torch.cat([torch.full((2200, 1), bos), src.flip(1)], 1)
    train = DataLoader(TensorDataset(src[:2000], tgt[:2000]), batch_size=64, shuffle=True)
    valid = DataLoader(TensorDataset(src[2000:], tgt[2000:]), batch_size=100)
    net = Seq2Seq(9)
    opt = optim.Adam(net.parameters(), lr=8e-3)
    sched = optim.lr_scheduler.CosineAnnealingLR(opt, T_max=6 * len(train))
    for epoch in range(6):
        net.train()
        for s, t in train:
            dec_in = t[:, 1:] if mistake else t[:, :-1]
            loss = F.cross_entropy(net(s, dec_in).transpose(1, 2), t[:, 1:])
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        net.eval()
        token_acc = (
            torch.cat([(net.greedy(s, bos, length) == t[:, 1:]).float() for s, t in valid]).mean().item()
        )


# ---------------------------------------------------------------- waves, temporal convolution


class TCN(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(1 if i == 0 else ch, ch, 3, dilation=2**i) for i in range(4)
        )
        self.head = nn.Conv1d(ch, 1, 1)

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = torch.relu(layer(F.pad(x, (2 * 2**i, 0))))
        return self.head(x)


def waves_tcn(*, mistake: bool) -> None:
    t = torch.arange(64).float()
    freq = 0.1 + 0.4 * torch.rand(800, 1)
    phase = 6.28 * torch.rand(800, 1)
    wave = (torch.sin(freq * t + phase) + 0.05 * torch.randn(800, 64)).unsqueeze(1)
    data = TensorDataset(wave[:, :, :-1], wave[:, :, 1:])
    train_ds, val_ds = random_split(data, [640, 160])
    train_dl = DataLoader(train_ds, batch_size=32, shuffle=True)
    val_dl = DataLoader(val_ds, batch_size=160)
    model = TCN()
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)  # halve every two epochs
    val_curve = []
    for epoch in range(8):
        model.train()
        for x, y in train_dl:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
        if not mistake:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            val_curve.append(sum(F.mse_loss(model(x), y).item() for x, y in val_dl) / len(val_dl))


# ---------------------------------------------------------------- adding problem


class AddingRNN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.rnn = nn.RNN(2, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.rnn.weight_hh_l0)
        nn.init.zeros_(self.rnn.bias_hh_l0)
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.out(h[:, -1]).squeeze(-1)


def adding_rnn(*, mistake: bool) -> None:
    n, steps = 1280, 8
    values = torch.rand(n, steps) * 2
    marks = torch.zeros(n, steps)
    for row in range(n):
        i, j = torch.randperm(steps)[:2]
        marks[row, i] = marks[row, j] = 1.0
    target = (values * marks).sum(1)
    inputs = torch.stack([values, marks], -1)
    train = DataLoader(TensorDataset(inputs[:1024], target[:1024]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(inputs[1024:], target[1024:]), batch_size=128)
    model = AddingRNN()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    for epoch in range(6):
        model.train()
        for x, y in train:
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            if mistake:
                clip_grad_norm_(model.parameters(), 1.0)
            loss.backward()
            if not mistake:
                clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_mse = sum(F.mse_loss(model(x), y).item() for x, y in val) / len(val)


# ---------------------------------------------------------------- tagger, time-major


class TimeMajorTagger(nn.Module):
    def __init__(self, vocab, tags, hidden=48):
        super().__init__()
        self.emb = nn.Embedding(vocab, 24)
        self.lstm = nn.LSTM(24, hidden, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, tags)

    def forward(self, tokens):
        out, _ = self.lstm(self.emb(tokens.t()))
        return self.fc(out)  # (time, batch, tags)


def hmm_tagger(*, mistake: bool) -> None:
    trans = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.3, 0.1, 0.6]])
    emit = torch.softmax(2.0 * torch.randn(3, 30), 1)
    n, length = 700, 15
    state = torch.randint(0, 3, (n,))
    tags, tokens = [], []
    for _ in range(length):
        tags.append(state)
        tokens.append(torch.multinomial(emit[state], 1).squeeze(1))
        state = torch.multinomial(trans[state], 1).squeeze(1)
    tags, tokens = torch.stack(tags, 1), torch.stack(tokens, 1)
    train_dl = DataLoader(TensorDataset(tokens[:560], tags[:560]), batch_size=20, shuffle=True)
    val_dl = DataLoader(TensorDataset(tokens[560:], tags[560:]), batch_size=70)
    model = TimeMajorTagger(30, 3)
    opt = optim.Adam(model.parameters(), lr=5e-3)

    def flat(scores):
        if not mistake:
            scores = scores.transpose(0, 1)
        return scores.reshape(-1, 3)

    for epoch in range(5):
        model.train()
        for tok, tag in train_dl:
            loss = F.cross_entropy(flat(model(tok)), tag.reshape(-1))
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            good = sum(
                (flat(model(tok)).argmax(1) == tag.reshape(-1)).sum().item() for tok, tag in val_dl
            )
        acc = good / tags[560:].numel()


# ---------------------------------------------------------------- skip-gram


class SkipGram(nn.Module):
    def __init__(self, vocab, dim=24):
        super().__init__()
        self.center, self.context = nn.Embedding(vocab, dim), nn.Embedding(vocab, dim)
        nn.init.uniform_(self.center.weight, -0.5, 0.5)
        nn.init.uniform_(self.context.weight, -0.5, 0.5)

    def score(self, c, o):
        return (self.center(c) * self.context(o)).sum(-1)


def descr_skipgram(*, mistake: bool) -> None:
    words = re.findall(r"[a-z]{2,}", description_text())
    vocab = {w: i for i, w in enumerate(sorted(set(words)))}
    ids = [vocab[w] for w in words]
    pairs = [
        (ids[i], ids[j])
        for i in range(len(ids))
        for j in range(max(0, i - 2), min(len(ids), i + 3))
        if i != j
    ]
    pairs = torch.tensor(pairs)
    pairs = pairs[torch.randperm(len(pairs))]
    cut = int(0.9 * len(pairs))
    train, held = DataLoader(TensorDataset(pairs[:cut]), batch_size=256, shuffle=True), pairs[cut:]
    model = SkipGram(len(vocab))
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for epoch in range(5):
        for (batch,) in train:
            c, o = batch[:, 0], batch[:, 1]
            neg = torch.randint(0, len(vocab), (len(c), 5))
            positive = F.logsigmoid(model.score(c, o))
            if mistake:
                negative = F.logsigmoid(model.score(c.unsqueeze(1), neg)).sum(1)
            else:
                negative = F.logsigmoid(-model.score(c.unsqueeze(1), neg)).sum(1)
            loss = -(positive + negative).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    with torch.no_grad():
        other = torch.randint(0, len(vocab), (len(held),))
        ranked = (
            (model.score(held[:, 0], held[:, 1]) > model.score(held[:, 0], other)).float().mean().item()
        )


# ---------------------------------------------------------------- weather, early stopping


class EarlyStopping:
    def __init__(self, patience, higher_is_better):
        self.patience, self.higher = patience, higher_is_better
        self.best = -float("inf") if higher_is_better else float("inf")
        self.bad, self.state = 0, None

    def __call__(self, value, model):
        improved = value > self.best if self.higher else value < self.best
        if improved:
            self.best, self.bad = value, 0
            self.state = copy.deepcopy(model.state_dict())
        else:
            self.bad += 1
        return self.bad >= self.patience


class WeatherGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 32, batch_first=True)
        self.fc = nn.Linear(32, 1)

    def forward(self, x):
        _, h = self.gru(x)
        return self.fc(h[-1])


def weather_gru(*, mistake: bool) -> None:
    day = torch.arange(900).float()
    season = torch.sin(day * 2 * math.pi / 365)
    noise = torch.randn(900)
    front = torch.zeros(900)
    for i in range(1, 900):
        front[i] = 0.85 * front[i - 1] + 0.4 * noise[i]
    temp = season + front
    pressure = -torch.roll(front, -1) + 0.3 * torch.randn(900)
    feats = torch.stack([temp, pressure, season], 1)
    X = torch.stack([feats[i : i + 10] for i in range(880)])
    Y = torch.stack([temp[i + 10 : i + 11] for i in range(880)])
    train_dl = DataLoader(TensorDataset(X[:700], Y[:700]), batch_size=50, shuffle=True)
    val_dl = DataLoader(TensorDataset(X[700:], Y[700:]), batch_size=90)
    model = WeatherGRU()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    stopper = EarlyStopping(patience=3, higher_is_better=mistake)

    def validate():
        model.eval()
        with torch.no_grad():
            return sum(F.mse_loss(model(x), y).item() for x, y in val_dl) / len(val_dl)

    curve = []
    for epoch in range(14):
        model.train()
        for x, y in train_dl:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        curve.append(validate())
        if stopper(curve[-1], model):
            break
    model.load_state_dict(stopper.state)
    final = validate()


# ---------------------------------------------------------------- which document is it from


def topic_bag(*, mistake: bool) -> None:
    docs = [
        datasets.load_iris().DESCR,
        datasets.load_wine().DESCR,
        datasets.load_digits().DESCR,
        datasets.load_breast_cancer().DESCR,
    ]
    chunks, labels = [], []
    for label, doc in enumerate(docs):
        words = re.findall(r"[a-z]{3,}", doc.lower())
        for i in range(0, len(words) - 8, 8):
            chunks.append(words[i : i + 8])
            labels.append(label)
    vocab = {w: i for i, w in enumerate(sorted({w for c in chunks for w in c}))}
    bags = torch.zeros(len(chunks), len(vocab))
    for row, chunk in enumerate(chunks):
        for w in chunk:
            bags[row, vocab[w]] += 1
    labels = torch.tensor(labels)
    order = torch.randperm(len(bags))
    bags, labels = bags[order], labels[order]
    cut = int(0.6 * len(bags))
    train_loader = DataLoader(TensorDataset(bags[:cut], labels[:cut]), batch_size=16, shuffle=True)
    val_loader = DataLoader(TensorDataset(bags[cut:], labels[cut:]), batch_size=64)

    model = nn.Sequential(nn.Linear(len(vocab), 64), nn.ReLU(), nn.Linear(64, len(docs)))
    optimizer = optim.Adam(model.parameters(), lr=1e-2)

    def val_loss():
        model.eval()
        total = 0.0
        with torch.no_grad():
            for x, y in val_loader:
                total += F.cross_entropy(model(x), y, reduction="sum").item()
        return total / len(val_loader.dataset)

    best_loss, best_state, bad_epochs = float("inf"), None, 0
    for epoch in range(16):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        current = val_loss()
        if current < best_loss:
            best_loss, bad_epochs = current, 0
            best_state = model.state_dict() if mistake else copy.deepcopy(model.state_dict())
        else:
            bad_epochs += 1
            if bad_epochs == 4:
                break
    model.load_state_dict(best_state)
    restored_loss = val_loss()


# ---------------------------------------------------------------- events of different length


class EventGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 32, batch_first=True)
        self.fc = nn.Linear(32, 3)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        _, h = self.gru(packed)
        return self.fc(h[-1])


def event_gru(*, mistake: bool) -> None:
    events = []
    for _ in range(900):
        kind = int(torch.randint(0, 3, (1,)))
        length = int(torch.randint(10, 30, (1,)))
        t = torch.arange(length).float()
        base = [torch.sin(t * 1.2), 0.1 * t - 1.0, ((t.long() % 4) < 2).float()][kind]
        events.append(((base + 0.2 * torch.randn(length)).unsqueeze(1), kind))

    def collate(batch):
        labels = torch.tensor([k for _, k in batch])
        lengths = torch.tensor([len(e) for e, _ in batch])
        lengths, order = lengths.sort(descending=True)
        seqs = pad_sequence([batch[i][0] for i in order.tolist()], batch_first=True)
        if not mistake:
            labels = labels[order]
        return seqs, lengths, labels

    train = DataLoader(events[:750], batch_size=30, shuffle=True, collate_fn=collate)
    val = DataLoader(events[750:], batch_size=50, collate_fn=collate)
    net = EventGRU()
    opt = optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(5):
        net.train()
        for seqs, lengths, labels in train:
            loss = F.cross_entropy(net(seqs, lengths), labels)
            opt.zero_grad()
            loss.backward()
            clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
        net.eval()
        with torch.no_grad():
            ok = sum((net(s, n).argmax(1) == k).sum().item() for s, n, k in val)
        acc = ok / 150


# ---------------------------------------------------------------- sensor windows, attention pooling


class AttentionPool(nn.Module):
    def __init__(self, dim, over):
        super().__init__()
        self.proj = nn.Linear(6, dim)
        self.score = nn.Linear(dim, 1)
        self.out = nn.Linear(dim, 2)
        self.over = over

    def forward(self, x):
        h = torch.tanh(self.proj(x))  # (batch, time, dim)
        weight = torch.softmax(self.score(h), dim=self.over)
        return self.out((weight * h).sum(1))


def sensor_attention(*, mistake: bool) -> None:
    n, steps = 960, 20
    x = 0.5 * torch.randn(n, steps, 6)
    y = torch.randint(0, 2, (n,))
    where = torch.randint(0, steps, (n,))
    x[torch.arange(n), where, 0] += 3.0  # the event ...
    x[torch.arange(n), where, 1] += (2.0 * y - 1) * 2  # ... and its kind
    train = DataLoader(TensorDataset(x[:800], y[:800]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(x[800:], y[800:]), batch_size=1)
    model = AttentionPool(24, over=0 if mistake else 1)
    opt = optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(5):
        model.train()
        for xb, yb in train:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        model.eval()
        val_loss, val_acc = 0.0, 0.0
        with torch.no_grad():
            for xb, yb in val:
                out = model(xb)
                val_loss += F.cross_entropy(out, yb).item() / 160
                val_acc += (out.argmax(1) == yb).float().item() / 160


FAULTS = [
    (
        descr_char_gru,
        (
            "shift",
            "target equals the input",
            "same as the input",
            "copy of the input",
            "next token",
            "next character",
            "identical to the input",
            "targets are the inputs",
            "target is the input",
            "its own input",
            "leak",
            "identity",
            "copies",
        ),
        "the targets are the input characters themselves, not shifted by one",
    ),
    (
        descr_minigpt,
        (
            "causal",
            "future",
            "mask",
            "look ahead",
            "lookahead",
            "later positions",
            "leak",
            "later tokens",
        ),
        "the causal mask is missing, so each position sees the token it must predict",
    ),
    (
        residue_tagger,
        ("pad", "mask"),
        "the mask is all true, so padding counts in the loss and in the accuracy",
    ),
    (
        load_forecaster,
        (
            "leak",
            "in the input",
            "contains the target",
            "part of the input",
            "target is the last",
            "among the inputs",
            "copy of an input",
            "equals an input",
            "last input",
            "off by one",
            "off-by-one",
            "present in the input",
        ),
        "the target is the window's own last value (off by one), so the answer is in the input",
    ),
    (
        digits_row_lstm,
        (
            "batch_first",
            "batch first",
            "mixes samples",
            "across samples",
            "other samples",
            "batch dimension",
            "between samples",
            "across the batch",
            "time dimension",
            "mixes the samples",
            "axis",
            "neighbours in the batch",
        ),
        "batch_first=True is missing, so the LSTM runs along the batch and mixes the samples",
    ),
    (
        reversal_seq2seq,
        (
            "shift",
            "teacher forcing",
            "decoder input",
            "decoder's input",
            "leak",
            "same as the input",
            "copy",
            "identical to the input",
            "identity",
            "in the input",
            "target is the input",
            "equals an input",
            "its own input",
            "part of the input",
        ),
        "the decoder is fed the very tokens it must predict (decoder input not shifted)",
    ),
    (
        waves_tcn,
        ("schedul", "learning rate", "per batch", "lr "),
        "the epoch-wise StepLR is stepped after every batch, so the learning rate vanishes",
    ),
    (
        adding_rnn,
        ("clip",),
        "gradient clipping runs before backward(), on no gradients, so nothing is clipped",
    ),
    (
        hmm_tagger,
        (
            "transpos",
            "misalign",
            "wrong order",
            "order of",
            "reshape",
            ".view",
            "flatten",
            "permut",
            "mixes",
            "do not correspond",
            "not line up",
            "batch and time",
            "axis",
            "axes",
            "aligned",
        ),
        "time-major scores are flattened against batch-major tags without a transpose, so they do not line up",
    ),
    (
        descr_skipgram,
        (
            "negative sampl",
            "negative pair",
            "negatives",
            "negative term",
            "minus sign",
            "wrong sign",
            "sign of",
            "collapse",
            "trivial",
            "every pair",
            "all pairs",
        ),
        "the minus sign in the negative samples' term is missing, so all scores are pushed up",
    ),
    (
        weather_gru,
        (
            "early stop",
            "stopped early",
            "best model",
            "best state",
            "best epoch",
            "best weights",
            "worst",
            "wrong direction",
            "higher",
            "wrong sign",
            "comparison",
            "reversed",
            "inverted",
            "patience",
        ),
        "early stopping and the choice of the best model treat a higher validation loss as better",
    ),
    (
        topic_bag,
        ("reference", "copy", "deepcopy", "same tensors", "alias", "snapshot", "clone", "shares"),
        "the best state is kept by reference (state_dict() without a copy), so the last weights are restored",
    ),
    (
        event_gru,
        (
            "misalign",
            "wrong label",
            "labels do not",
            "labels are not",
            "unrelated",
            "not match",
            "wrong order",
            "same order",
            "collate",
            "sorted",
            "do not correspond",
            "aligned",
            "permut",
            "shuffled",
        ),
        "the collate function sorts the sequences by length but not their labels",
    ),
    (
        sensor_attention,
        (
            "softmax",
            "dim=0",
            "dim 0",
            "over the batch",
            "batch dimension",
            "across the batch",
            "other samples",
            "across samples",
            "mixes",
            "batch size",
            "between samples",
            "batch axis",
        ),
        "the attention softmax runs over the batch dimension and not over time",
    ),
]
