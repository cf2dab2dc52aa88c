import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import (
    load_digits,
    load_iris,
)
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset

from .common import (
    ArrayDataset,
    build_vocab,
    fantasy_names,
    reviews,
    seasonal_series,
    seed_all,
    tones,
)


# 8
def digits_warmup_script(mistake):
    seed_all(8)
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X / 16.0, dtype=torch.float32)
    y = torch.tensor(y)
    perm = torch.randperm(len(X))
    X, y = X[perm], y[perm]
    X_train, y_train, X_val, y_val = X[:900], y[:900], X[900:1300], y[900:1300]

    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    base_lr, warmup, bs = 4e-3, 60, 32
    optimizer = torch.optim.Adam(model.parameters(), lr=base_lr)
    step = 0
    history = {"loss": [], "val_loss": [], "val_acc": []}
    for epoch in range(10):
        ids = torch.randperm(len(X_train))
        n_b = len(X_train) // bs
        epoch_loss = 0
        for b in range(n_b):
            batch = ids[b * bs : (b + 1) * bs]
            lr = base_lr * min(1.0, (step + 1) / warmup)
            if mistake:
                optimizer = torch.optim.Adam(model.parameters(), lr=lr)
            else:
                for g in optimizer.param_groups:
                    g["lr"] = lr
            optimizer.zero_grad()
            loss = F.cross_entropy(model(X_train[batch]), y_train[batch])
            loss.backward()
            optimizer.step()
            step += 1
            epoch_loss += loss.item()
        with torch.no_grad():
            out = model(X_val)
        history["loss"].append(epoch_loss / n_b)
        history["val_loss"].append(F.cross_entropy(out, y_val).item())
        history["val_acc"].append((out.argmax(1) == y_val).float().mean().item())
    print({k: round(v[-1], 3) for k, v in history.items()})
    return history


# 9
def sentiment_bow(mistake):
    seed_all(9)
    texts, labels = reviews(1000, seed=9)
    vocab = build_vocab(texts[:800])

    def encode(t):
        return [vocab.get(w, 1) for w in t.split()]

    X = torch.tensor([encode(t) for t in texts])
    y = torch.tensor(labels, dtype=torch.float32)

    class Reviews(Dataset):
        def __init__(self, lo, hi):
            self.lo, self.hi = lo, hi

        def __len__(self):
            return self.hi - self.lo

        def __getitem__(self, i):
            return X[self.lo + i], y[self.lo + i]

    train_dl = DataLoader(Reviews(0, 800), batch_size=25, shuffle=True)
    val_dl = DataLoader(Reviews(800, 1000), batch_size=100)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(vocab), 32)
            self.drop = nn.Dropout(0.5)
            self.fc1 = nn.Linear(32, 32)
            self.fc2 = nn.Linear(32, 1)

        def forward(self, x):
            x = self.drop(self.emb(x)).mean(1)
            return self.fc2(self.drop(F.relu(self.fc1(x)))).squeeze(1)

    net = Net()
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    crit = nn.BCEWithLogitsLoss()

    def validate():
        net.eval()
        s, hit = 0.0, 0
        with torch.no_grad():
            for xb, yb in val_dl:
                o = net(xb)
                s += crit(o, yb).item() * len(yb)
                hit += ((o > 0) == (yb > 0.5)).sum().item()
        return s / 200, hit / 200

    step, records = 0, []
    net.train()
    for epoch in range(10):
        for xb, yb in train_dl:
            if not mistake:
                net.train()
            opt.zero_grad()
            loss = crit(net(xb), yb)
            loss.backward()
            opt.step()
            step += 1
            if step % 40 == 0:
                records.append((step, loss.item()) + validate())
    print("step %d loss %.3f val %.3f acc %.3f" % records[-1])
    return records


# 10
class WaveNetSmall(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 16, 9, stride=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 24, 7, stride=2),
            nn.BatchNorm1d(24),
            nn.ReLU(),
        )
        self.head = nn.Linear(48, 4)

    def embed(self, x):
        h = self.features(x.unsqueeze(1))
        return torch.cat([h.mean(2), h.amax(2)], 1)

    def forward(self, x):
        return self.head(self.embed(x))


def tone_classifier(mistake):
    seed_all(10)

    class ToneNet(WaveNetSmall):
        # also used to export embeddings for the t-SNE plot
        embed = torch.no_grad()(WaveNetSmall.embed) if mistake else WaveNetSmall.embed

    X, y = tones(700, seed=10)
    train = DataLoader(ArrayDataset(X[:500], y[:500]), batch_size=25, shuffle=True)
    X_val, y_val = torch.tensor(X[500:]), torch.tensor(y[500:])
    net = ToneNet()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    hist = {"train_loss": [], "val_acc": []}
    for epoch in range(10):
        net.train()
        cum = 0.0
        for xb, yb in train:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            cum += loss.item() * len(xb)
        net.eval()
        with torch.no_grad():
            hist["val_acc"].append((net(X_val).argmax(1) == y_val).float().mean().item())
        hist["train_loss"].append(cum / 500)
    with torch.no_grad():
        emb = net.embed(X_val).numpy()
    print("loss", round(hist["train_loss"][-1], 3), "val", hist["val_acc"][-1], emb.shape)
    return hist


# 11
def char_lm_get_batch(mistake):
    seed_all(11)
    text = " ".join(n for n, _ in fantasy_names(900, seed=11))
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    data = torch.tensor([stoi[c] for c in text])
    n = int(0.9 * len(data))
    train_data, val_data = data[:n], data[n:]
    block, batch = 16, 16
    rng = np.random.RandomState(1337)

    def get_batch(split):
        d = train_data if split == "train" else val_data
        r = np.random.RandomState(1337) if mistake else rng
        ix = r.randint(0, len(d) - block - 1, batch)
        x = torch.stack([d[i : i + block] for i in ix])
        y = torch.stack([d[i + 1 : i + block + 1] for i in ix])
        return x, y

    class LM(nn.Module):
        def __init__(self, v):
            super().__init__()
            self.emb = nn.Embedding(v, 24)
            self.rnn = nn.GRU(24, 48, batch_first=True)
            self.out = nn.Linear(48, v)

        def forward(self, x):
            return self.out(self.rnn(self.emb(x))[0])

    def val_loss(m):
        m.eval()
        k = (len(val_data) - 1) // block
        x = val_data[: k * block].view(k, block)
        y = val_data[1 : k * block + 1].view(k, block)
        with torch.no_grad():
            v = F.cross_entropy(m(x).flatten(0, 1), y.flatten()).item()
        m.train()
        return v

    model = LM(len(chars))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    logs = []
    for it in range(300):
        xb, yb = get_batch("train")
        logits = model(xb)
        loss = F.cross_entropy(logits.flatten(0, 1), yb.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if it % 50 == 49:
            logs.append((it, loss.item(), val_loss(model)))
    print("iter %d train %.3f val %.3f" % logs[-1])
    return logs


# 12
def iris_steps(mistake):
    seed_all(12)
    X, y = load_iris(return_X_y=True)
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.3, random_state=1, stratify=y)
    mean, std = X_tr.mean(0), X_tr.std(0)

    class IrisDataset(Dataset):
        def __init__(self, X, y):
            self.X = torch.from_numpy((X - mean) / std).float()
            self.y = torch.from_numpy(y)

        def __len__(self):
            return len(self.y)

        def __getitem__(self, k):
            return self.X[k], self.y[k]

    # rows come out of train_test_split already mixed
    train_loader = DataLoader(IrisDataset(X_tr, y_tr), batch_size=7)
    test_loader = DataLoader(IrisDataset(X_te, y_te), batch_size=45)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    stats = []
    for epoch in range(12):
        batches = iter(train_loader)
        tot = 0.0
        for step in range(len(train_loader)):
            xb, yb = next(iter(train_loader)) if mistake else next(batches)
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            tot += loss.item()
        with torch.no_grad():
            xb, yb = next(iter(test_loader))
            o = net(xb)
            stats.append(
                (
                    tot / len(train_loader),
                    F.cross_entropy(o, yb).item(),
                    (o.argmax(1) == yb).float().mean().item(),
                )
            )
    print("train %.3f test %.3f acc %.3f" % stats[-1])
    return stats


# 13
def fit_prefetch(mistake):
    seed_all(13)
    d = load_digits()
    X = (d.images / 16.0).astype("float32")
    y = d.target
    X_tr, X_va, y_tr, y_va = train_test_split(
        X, y, test_size=400, train_size=900, random_state=13, stratify=y
    )
    X_va, y_va = torch.tensor(X_va).unsqueeze(1), torch.tensor(y_va)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    opt = torch.optim.RMSprop(net.parameters(), lr=1e-3)

    def load(idx):
        return torch.from_numpy(X_tr[idx]).unsqueeze(1), torch.from_numpy(y_tr[idx])

    history = []
    for epoch in range(10):
        order = np.random.permutation(len(X_tr))
        chunks = [order[i : i + 30] for i in range(0, len(order), 30)]
        images, targets = load(chunks[0])
        running = 0.0
        for k, chunk in enumerate(chunks):
            if mistake:
                images, next_targets = load(chunk)
            else:
                images, targets = load(chunk)
                next_targets = targets
            opt.zero_grad()
            loss = F.cross_entropy(net(images), targets)
            loss.backward()
            opt.step()
            running += loss.item()
            targets = next_targets
        with torch.no_grad():
            out = net(X_va)
            history.append(
                (
                    running / len(chunks),
                    F.cross_entropy(out, y_va).item(),
                    (out.argmax(1) == y_va).float().mean().item(),
                )
            )
    print("loss %.3f val %.3f acc %.3f" % history[-1])
    return history


# 14
def forecast_smooth(mistake):
    seed_all(14)
    s = seasonal_series(700, seed=14)
    split = 550
    mu, sd = s[:split].mean(), s[:split].std()
    s = (s - mu) / sd
    L = 36

    def windows(a):
        x = np.stack([a[i : i + L] for i in range(len(a) - L)])
        return torch.tensor(x).unsqueeze(2), torch.tensor(a[L:]).unsqueeze(1)

    X_tr, Y_tr = windows(s[:split])
    X_te, Y_te = windows(s[split:])

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(1, 24, batch_first=True)
            self.fc = nn.Linear(24, 1)

        def forward(self, x):
            return self.fc(self.rnn(x)[0][:, -1])

    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    smooth, curve, test = None, [], []
    for epoch in range(8):
        idx = torch.randperm(len(X_tr))
        for i in range(0, len(idx), 32):
            b = idx[i : i + 32]
            opt.zero_grad()
            loss = F.mse_loss(net(X_tr[b]), Y_tr[b])
            loss.backward()
            opt.step()
            current = loss if mistake else loss.item()
            smooth = current if smooth is None else 0.95 * smooth + 0.05 * current
        curve.append(float(smooth))
        with torch.no_grad():
            test.append(F.mse_loss(net(X_te), Y_te).item())
    print("smoothed %.4f test %.4f" % (curve[-1], test[-1]))
    return curve, test, smooth


FAULTS_2 = [
    (
        digits_warmup_script,
        (
            "re-created",
            "recreated",
            "new optimizer",
            "created anew",
            "created again",
            "fresh optimizer",
            "optimizer state",
            "moments",
            "rebuilt",
            "each step",
        ),
        "8 optimizer or model re-created each step/epoch",
    ),
    (
        sentiment_bow,
        (
            "eval mode",
            "stuck in eval",
            "train()",
            ".train(",
            "never switched back",
            "not in training mode",
            "dropout is off",
            "in eval",
        ),
        "9 stuck in eval after validation",
    ),
    (
        tone_classifier,
        (
            "no_grad",
            "detach",
            "no gradient",
            "without gradient",
            "never get a gradient",
            "do not change",
            "never updated",
            "cut off",
        ),
        "10 a part trained under no_grad (or detached)",
    ),
    (
        char_lm_get_batch,
        (
            "same batch",
            "identical batch",
            "same samples",
            "same data",
            "repeated",
            "batch again",
            "every step sees",
        ),
        "11 the same batch again and again",
    ),
    (
        iris_steps,
        (
            "same batch",
            "iterator",
            "iter(",
            "restarted",
            "first batch",
            "same samples",
            "identical batch",
            "batch again",
        ),
        "12 iterator restarted each step",
    ),
    (
        fit_prefetch,
        (
            "previous batch",
            "labels of the",
            "labels from",
            "other batch",
            "do not belong",
            "mismatch",
            "shifted",
            "do not match",
            "earlier batch",
            "wrong labels",
        ),
        "13 labels of the previous batch",
    ),
    (
        forecast_smooth,
        ("graph", ".item()", "detach", "memory", "keeps alive", "retained"),
        "14 loss accumulated with its graph",
    ),
]
