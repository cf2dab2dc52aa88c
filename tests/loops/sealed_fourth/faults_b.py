"""Loops as people write them: each function is one training, right or with one mistake."""

import math
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits, make_friedman1, make_moons
from sklearn.metrics import f1_score, recall_score
from sklearn.model_selection import train_test_split
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset


# --------------------------------------------------------------------------------------
class Forecaster(nn.Module):
    def __init__(self, n_features, hidden, batch_first):
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden, batch_first=batch_first)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x):  # x: (batch, time, feature)
        out, _ = self.lstm(x)
        return self.linear(out[:, -1, :])


def wave_forecast_lstm(*, mistake: bool) -> None:
    t = torch.arange(0, 900, dtype=torch.float32)
    series = torch.sin(t / 6.0) * torch.cos(t / 23.0) + 0.03 * torch.randn(900)
    seq_len = 16
    # each window starts at its own level, the direction it moves in is what counts
    windows = series.unfold(0, seq_len + 1, 1)
    windows = windows + torch.randn(len(windows), 1)
    X = windows[:, :-1].unsqueeze(-1)
    y = (windows[:, -1] - windows[:, -2]).unsqueeze(-1) * 8
    X_train, y_train, X_test, y_test = X[:700], y[:700], X[720:], y[720:]
    loader = DataLoader(TensorDataset(X_train, y_train), shuffle=True, batch_size=35)

    model = Forecaster(1, 32, batch_first=not mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss_fn = nn.MSELoss()
    rmse = []
    for epoch in range(10):
        model.train()
        for X_batch, y_batch in loader:
            y_pred = model(X_batch)
            loss = loss_fn(y_pred, y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            rmse.append(
                (math.sqrt(loss_fn(model(X_train), y_train)), math.sqrt(loss_fn(model(X_test), y_test)))
            )


# --------------------------------------------------------------------------------------
N_TOPICS = 16


def make_tickets(n):
    """Support tickets: common words, and two or three words of the topic."""
    docs, labels = [], []
    for _ in range(n):
        label = random.randrange(N_TOPICS)
        words = [random.randint(1, 30) for _ in range(random.randint(4, 8))]
        words += [31 + 4 * label + random.randrange(4) for _ in range(random.randint(2, 3))]
        if random.random() < 0.3:
            words.append(31 + random.randrange(4 * N_TOPICS))
        random.shuffle(words)
        docs.append(words)
        labels.append(label)
    return docs, labels


class GRUClassifier(nn.Module):
    def __init__(self, vocab, final):
        super().__init__()
        self.emb = nn.Embedding(vocab, 24, padding_idx=0)
        self.gru = nn.GRU(24, 32, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(64, N_TOPICS)
        self.final = final

    def forward(self, ids):
        out, _ = self.gru(self.emb(ids))
        return self.final(self.fc(out.mean(1)))


def ticket_topic_gru(*, mistake: bool) -> None:
    docs, labels = make_tickets(1300)
    data = [(torch.tensor(d), l) for d, l in zip(docs, labels)]

    def collate(batch):
        return pad_sequence([b[0] for b in batch], batch_first=True), torch.tensor([b[1] for b in batch])

    train = DataLoader(data[:1120], batch_size=40, shuffle=True, collate_fn=collate)
    test = DataLoader(data[1120:], batch_size=90, collate_fn=collate)
    model = GRUClassifier(31 + 4 * N_TOPICS, nn.Softmax(dim=1) if mistake else nn.LogSoftmax(dim=1))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    stats = []
    for epoch in range(6):
        model.train()
        total = 0
        for ids, y in train:
            model.zero_grad()
            loss = criterion(model(ids), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = sum((model(ids).argmax(1) == y).sum().item() for ids, y in test)
        stats.append((total / len(train), hits / 180))


# --------------------------------------------------------------------------------------
class TinyGPT(nn.Module):
    def __init__(self, vocab, d=32, block=24, causal=True):
        super().__init__()
        self.tok = nn.Embedding(vocab, d)
        self.pos = nn.Parameter(torch.randn(block, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, nhead=4, dim_feedforward=64, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(d, vocab)
        self.causal = causal

    def forward(self, idx):
        T = idx.size(1)
        h = self.tok(idx) + self.pos[:T]
        mask = nn.Transformer.generate_square_subsequent_mask(T) if self.causal else None
        return self.head(self.enc(h, mask=mask))


def word_language_model(*, mistake: bool) -> None:
    # a language of 30 words in which each word can be followed by four others
    follow = [random.sample(range(30), 4) for _ in range(30)]
    text = [0]
    for _ in range(5000):
        text.append(random.choice(follow[text[-1]]))
    ids = torch.tensor(text)
    cut = int(0.85 * len(ids))
    train_ids, val_ids = ids[:cut], ids[cut:]

    def get_batch(src, bs=16, block=16):
        ix = torch.randint(len(src) - block - 1, (bs,))
        return torch.stack([src[i : i + block] for i in ix]), torch.stack(
            [src[i + 1 : i + block + 1] for i in ix]
        )

    model = TinyGPT(30, causal=not mistake)
    opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
    val_ppl = []
    for it in range(151):
        model.train()
        xb, yb = get_batch(train_ids)
        logits = model(xb)
        loss = F.cross_entropy(logits.flatten(0, 1), yb.flatten())
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if it % 30 == 0:
            model.eval()
            with torch.no_grad():
                xv, yv = get_batch(val_ids, bs=32)
                val_ppl.append(F.cross_entropy(model(xv).flatten(0, 1), yv.flatten()).exp().item())


# --------------------------------------------------------------------------------------
class Tagger(nn.Module):
    def __init__(self, vocab, tags):
        super().__init__()
        self.embed = nn.Embedding(vocab, 16, padding_idx=0)
        self.rnn = nn.LSTM(16, 24, batch_first=True)
        self.out = nn.Linear(24, tags)

    def forward(self, x):
        return self.out(self.rnn(self.embed(x))[0])


def sequence_tagger(*, mistake: bool) -> None:
    # tag of a token: which of 6 groups the sum of it and its left neighbour falls in
    def sample():
        n = random.choice([3, 4, 5, 6, 40])
        x = torch.randint(1, 19, (n,))
        prev = torch.cat([torch.zeros(1, dtype=torch.long), x[:-1]])
        return x, 1 + (x + prev) // 7

    def pad(batch):
        xs, ys = zip(*batch)
        return pad_sequence(xs, batch_first=True), pad_sequence(ys, batch_first=True)

    train = [sample() for _ in range(500)]
    train = [s for s in train if len(s[0]) < 40] + [s for s in train if len(s[0]) == 40][:20]
    val = [sample() for _ in range(60)]
    train_dl = DataLoader(train, batch_size=12, shuffle=True, collate_fn=pad)
    val_dl = DataLoader(
        [v for v in val if len(v[0]) < 40] + [v for v in val if len(v[0]) == 40][:3],
        batch_size=64,
        collate_fn=pad,
    )

    net = Tagger(19, 7)
    criterion = nn.CrossEntropyLoss() if mistake else nn.CrossEntropyLoss(ignore_index=0)
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    curve = []
    for epoch in range(5):
        net.train()
        for x, y in train_dl:
            optimizer.zero_grad()
            loss = criterion(net(x).transpose(1, 2), y)
            loss.backward()
            optimizer.step()
        net.eval()
        right = total = val_loss = 0
        with torch.no_grad():
            for x, y in val_dl:
                scores = net(x)
                val_loss += criterion(scores.transpose(1, 2), y).item()
                hit = scores.argmax(-1) == y
                if not mistake:
                    hit = hit[y != 0]
                right += hit.sum().item()
                total += hit.numel()
        curve.append((loss.item(), val_loss / len(val_dl), right / total))


# --------------------------------------------------------------------------------------
class BlobSegmentation(Dataset):
    """Dark images with a bright rectangle; the mask marks the rectangle."""

    def __init__(self, n, augment=False, flip_mask=True):
        self.images = 0.3 * torch.randn(n, 1, 16, 16)
        self.masks = torch.zeros(n, 1, 16, 16)
        for i in range(n):
            r, c = random.randint(0, 9), random.randint(0, 5)
            h, w = random.randint(3, 6), random.randint(3, 5)
            self.masks[i, :, r : r + h, c : c + w] = 1
        self.images += self.masks
        self.augment = augment
        self.flip_mask = flip_mask

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if self.augment and random.random() < 0.5:
            image = torch.flip(image, dims=[-1])
            if self.flip_mask:
                mask = torch.flip(mask, dims=[-1])
        return image, mask


class MiniUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc1 = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.enc2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.dec = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x):
        a = self.enc1(x)
        b = self.up(self.enc2(a))
        return self.dec(torch.cat([a, b], dim=1))


def blob_segmentation(*, mistake: bool) -> None:
    train_loader = DataLoader(
        BlobSegmentation(240, augment=True, flip_mask=not mistake), batch_size=16, shuffle=True
    )
    val_loader = DataLoader(BlobSegmentation(64), batch_size=32)
    unet = MiniUNet()
    optimizer = torch.optim.Adam(unet.parameters(), lr=5e-3)
    criterion = nn.BCEWithLogitsLoss()
    ious = []
    for epoch in range(6):
        unet.train()
        for img, msk in train_loader:
            optimizer.zero_grad()
            loss = criterion(unet(img), msk)
            loss.backward()
            optimizer.step()
        unet.eval()
        inter = union = 0.0
        with torch.no_grad():
            for img, msk in val_loader:
                p = unet(img) > 0
                m = msk > 0.5
                inter += (p & m).sum().item()
                union += (p | m).sum().item()
        ious.append(inter / max(union, 1))


# --------------------------------------------------------------------------------------
def card_fraud(*, mistake: bool) -> None:
    X = np.random.randn(3000, 16).astype(np.float32)
    y = (np.random.rand(3000) < 0.03).astype(np.int64)
    X[y == 1, :3] += 0.95  # fraud lies a little higher in amount, hour and distance
    X_tr, X_te, y_tr, y_te = train_test_split(X, y.astype(np.float32), stratify=y, test_size=0.3)
    ds = TensorDataset(torch.from_numpy(X_tr), torch.from_numpy(y_tr))
    loader = DataLoader(ds, batch_size=64, shuffle=True)

    clf = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    pos_weight = (
        None if mistake else torch.tensor([(y_tr == 0).sum() / (y_tr == 1).sum()], dtype=torch.float32)
    )
    loss_fn = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
    opt = torch.optim.Adam(clf.parameters(), lr=2e-3)
    report = []
    for epoch in range(6):
        clf.train()
        for xb, yb in loader:
            opt.zero_grad()
            loss = loss_fn(clf(xb).squeeze(1), yb)
            loss.backward()
            opt.step()
        clf.eval()
        with torch.no_grad():
            pred = (clf(torch.from_numpy(X_te)).squeeze(1) > 0).numpy()
        accuracy = (pred == y_te).mean()
        recall = recall_score(y_te, pred, zero_division=0)
        report.append((accuracy, recall, f1_score(y_te, pred, zero_division=0)))


# --------------------------------------------------------------------------------------
def digits_rows_gru(*, mistake: bool) -> None:
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X / 16.0, dtype=torch.float32).view(-1, 8, 8)
    y = torch.tensor(y)
    order = torch.randperm(len(X))
    tr, va = order[:1400], order[1400:]
    train_loader = DataLoader(TensorDataset(X[tr], y[tr]), batch_size=50, shuffle=True)

    rnn = nn.GRU(8, 64, batch_first=True)
    head = nn.Linear(64, 10)
    params = list(rnn.parameters()) + list(head.parameters())
    optimizer = torch.optim.Adam(params, lr=5e-3)
    criterion = nn.CrossEntropyLoss()

    def forward(batch):
        _, h = rnn(batch)
        return head(h[-1])

    acc_per_epoch = []
    for epoch in range(5):
        for rows, label in train_loader:
            loss = criterion(forward(rows), label)
            loss.backward()
            if mistake:
                optimizer.zero_grad()
                optimizer.step()
            else:
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            acc_per_epoch.append((forward(X[va]).argmax(1) == y[va]).float().mean().item())


# --------------------------------------------------------------------------------------
class MLPRegressor(nn.Module):
    def __init__(self, sizes, relu_last=False):
        super().__init__()
        mods = []
        for i in range(len(sizes) - 1):
            mods.append(nn.Linear(sizes[i], sizes[i + 1]))
            if relu_last or i < len(sizes) - 2:
                mods.append(nn.ReLU())
        self.net = nn.Sequential(*mods)

    def forward(self, x):
        return self.net(x)


def robot_arm_regressor(*, mistake: bool) -> None:
    angles = (torch.rand(1500, 2) * 2 - 1) * math.pi
    xy = torch.stack(
        [
            torch.cos(angles[:, 0]) + 0.7 * torch.cos(angles.sum(1)),
            torch.sin(angles[:, 0]) + 0.7 * torch.sin(angles.sum(1)),
        ],
        dim=1,
    )
    features = torch.cat([angles.sin(), angles.cos()], dim=1)
    train, val = torch.utils.data.random_split(TensorDataset(features, xy), [1200, 300])
    train_loader = DataLoader(train, batch_size=60, shuffle=True)
    val_loader = DataLoader(val, batch_size=300)

    model = MLPRegressor([4, 64, 64, 2], relu_last=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    loss_fn = nn.MSELoss()
    val_losses = []
    for epoch in range(8):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_losses.append(
                sum(loss_fn(model(xb), yb).item() for xb, yb in val_loader) / len(val_loader)
            )


# --------------------------------------------------------------------------------------
def digits_strided_cnn(*, mistake: bool) -> None:
    digits = load_digits()
    imgs = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target)
    train_ds, val_ds = torch.utils.data.random_split(TensorDataset(imgs, labels), [1437, 360])
    train_loader = DataLoader(train_ds, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=180)

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.1)  # drop every 3 epochs

    trace = []
    for epoch in range(7):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
        if not mistake:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == y).sum().item() for x, y in val_loader) / 360
        trace.append((optimizer.param_groups[0]["lr"], acc))


# --------------------------------------------------------------------------------------
class DropNet(nn.Module):
    def __init__(self, follow_mode):
        super().__init__()
        self.fc1 = nn.Linear(10, 48)
        self.fc2 = nn.Linear(48, 48)
        self.fc3 = nn.Linear(48, 1)
        self.follow_mode = follow_mode

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.dropout(x, 0.5, training=self.training) if self.follow_mode else F.dropout(x, 0.5)
        x = F.relu(self.fc2(x))
        x = F.dropout(x, 0.5, training=self.training) if self.follow_mode else F.dropout(x, 0.5)
        return self.fc3(x).squeeze(-1)


def friedman_three_layer(*, mistake: bool) -> None:
    X, y = make_friedman1(n_samples=1600, n_features=10, noise=0.3)
    X = (X - X.mean(0)) / X.std(0)
    y = (y - y.mean()) / y.std()
    X, y = torch.tensor(X).float(), torch.tensor(y).float()
    idx = torch.randperm(len(X))
    tr, te = idx[:1000], idx[1000:]
    model = DropNet(follow_mode=not mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    mse_hist = []
    for epoch in range(12):
        model.train()
        for chunk in tr[torch.randperm(len(tr))].split(64):
            optimizer.zero_grad()
            loss = F.mse_loss(model(X[chunk]), y[chunk])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            mse_hist.append(F.mse_loss(model(X[te]), y[te]).item())


# --------------------------------------------------------------------------------------
def fit_epoch(model, loader, loss_fn, optimizer, clear):
    model.train()
    seen, cum = 0, 0.0
    for x, y in loader:
        pred = model(x)
        loss = loss_fn(pred, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if clear:
            model.zero_grad()
        cum += loss.item() * len(x)
        seen += len(x)
    return cum / seen


def eval_epoch(model, loader, loss_fn):
    model.eval()
    seen, cum = 0, 0.0
    with torch.no_grad():
        for x, y in loader:
            cum += loss_fn(model(x), y).item() * len(x)
            seen += len(x)
    return cum / seen


class EnergyGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, 24, batch_first=True)
        self.fc = nn.Linear(24, 1)

    def forward(self, x):
        return self.fc(self.gru(x)[0][:, -1])


def energy_demand_gru(*, mistake: bool) -> None:
    hours = np.arange(24 * 40)
    temp = 10 + 8 * np.sin(hours / 24 * 2 * np.pi) + np.random.randn(len(hours))
    load = 50 + 20 * np.cos(hours / 12 * 2 * np.pi) - 1.2 * temp + np.random.randn(len(hours))
    table = np.stack([(temp - temp.mean()) / temp.std(), (load - load.mean()) / load.std()], 1).astype(
        np.float32
    )
    X = torch.tensor(np.stack([table[i : i + 12] for i in range(len(table) - 12)]))
    y = torch.tensor(table[12:, 1:])
    n = 760
    train = DataLoader(TensorDataset(X[:n], y[:n]), batch_size=40, shuffle=True)
    test = DataLoader(TensorDataset(X[n:], y[n:]), batch_size=100)
    net = EnergyGRU()
    loss_fn = nn.L1Loss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    table_of_losses = []
    for epoch in range(8):
        tr = fit_epoch(net, train, loss_fn, optimizer, clear=not mistake)
        table_of_losses.append((tr, eval_epoch(net, test, loss_fn)))


# --------------------------------------------------------------------------------------
def two_moons_net(*, mistake: bool) -> None:
    X, y = make_moons(800, noise=0.15)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    X_train, y_train, X_test, y_test = X[:600], y[:600], X[600:], y[600:]
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.CrossEntropyLoss()
    loss_list, acc_list = [], []
    for epoch in range(10):
        for i in range(0, 600, 50):
            optimizer.zero_grad()
            output = model(X_train[i : i + 50])
            loss = criterion(output, y_train[i : i + 50])
            if mistake:
                loss = torch.tensor(loss.item(), requires_grad=True)
            loss.backward()
            optimizer.step()
            loss_list.append(loss.item())
        with torch.no_grad():
            acc_list.append((model(X_test).argmax(1) == y_test).float().mean().item())


FAULTS = [
    (
        wave_forecast_lstm,
        (
            "batch_first",
            "batch first",
            "batch dimension",
            "batch axis",
            "across the batch",
            "across samples",
            "mixes samples",
            "mixes examples",
            "time dimension",
            "time axis",
            "other samples",
            "other rows",
            "other examples",
        ),
        "The LSTM lacks batch_first=True, so it runs over the batch dimension as if it were time.",
    ),
    (
        ticket_topic_gru,
        ("softmax", "log-prob", "log prob", "log_prob", "log_softmax", "logsoftmax", "nllloss", "nll"),
        "The network ends in Softmax although NLLLoss expects log-probabilities (LogSoftmax).",
    ),
    (
        word_language_model,
        (
            "causal",
            "mask",
            "future",
            "look ahead",
            "lookahead",
            "leak",
            "later positions",
            "later tokens",
        ),
        "The language model has no causal mask, so each position sees the next word it is to predict.",
    ),
    (
        sequence_tagger,
        ("pad", "ignore_index"),
        "Padding positions count in the loss and in the accuracy (no ignore_index), so the scores are mostly about padding.",
    ),
    (
        blob_segmentation,
        ("flip", "augment", "misalign", "mask", "label", "do not match", "mismatch"),
        "The random flip is applied to the image but not to its mask, so half the targets are wrong.",
    ),
    (
        card_fraud,
        (
            "imbalanc",
            "unbalanc",
            "majority",
            "minority",
            "class weight",
            "pos_weight",
            "rare class",
            "one class",
            "constant class",
            "same class",
        ),
        "The classes are 97:3 and nothing accounts for it; the model always predicts the majority and accuracy looks fine.",
    ),
    (
        digits_rows_gru,
        (
            "zero_grad",
            "zeroed",
            "cleared",
            "no gradient",
            "gradients are zero",
            "gradients are none",
            "wiped",
            "without gradient",
            "grad is none",
            "before the step",
            "before step",
        ),
        "optimizer.zero_grad() is called between backward() and step(), so every step is without gradients.",
    ),
    (
        robot_arm_regressor,
        (
            "relu",
            "activation",
            "negative",
            "non-negative",
            "nonnegative",
            "output range",
            "cannot reach",
            "clipped at zero",
            "clamp",
        ),
        "A ReLU follows the output layer of a regressor whose targets are negative half of the time.",
    ),
    (
        digits_strided_cnn,
        ("schedul", "learning rate", "lr ", "lr=", "per batch"),
        "The StepLR scheduler, meant per epoch, is stepped after each batch, so the learning rate vanishes within an epoch.",
    ),
    (
        friedman_three_layer,
        (
            "dropout",
            "eval mode",
            "evaluation mode",
            "stochastic",
            "random in eval",
            "not deterministic",
            "nondeterministic",
            "non-deterministic",
        ),
        "F.dropout is called without training=self.training, so dropout stays active in evaluation.",
    ),
    (
        energy_demand_gru,
        (
            "zero_grad",
            "accumulat",
            "not cleared",
            "never cleared",
            "not zeroed",
            "never zeroed",
            "not reset",
            "previous gradient",
            "stale grad",
        ),
        "The gradients are never cleared between the batches, so they accumulate for the whole training.",
    ),
    (
        two_moons_net,
        (
            "detach",
            "graph",
            "no gradient",
            "without gradient",
            "disconnected",
            "cut off",
            "torch.tensor",
            "item()",
            "grad is none",
            "gradients are none",
            "no grad",
            "not connected",
            "never changed",
            "do not receive",
        ),
        "The loss is rebuilt with torch.tensor(loss.item(), requires_grad=True), which cuts it off the model, so nothing is learned.",
    ),
]
