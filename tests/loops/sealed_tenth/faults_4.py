"""Splits, loaders, masks, labels and checkpoints."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from .common import digits, tabular

# --- a class with fit and score ----------------------------------------------------------------


class TorchMLPClassifier:
    def __init__(self, hidden=64, lr=2e-3, epochs=20, batch_size=32, seed=0):
        torch.manual_seed(seed)
        self.hidden, self.lr, self.epochs, self.batch_size = hidden, lr, epochs, batch_size

    def fit(self, x, y):
        self.classes = int(y.max()) + 1
        self.net = nn.Sequential(
            nn.Linear(x.shape[1], self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.classes),
        )
        optimizer = torch.optim.Adam(self.net.parameters(), lr=self.lr)
        loader = DataLoader(TensorDataset(x, y), batch_size=self.batch_size, shuffle=True)
        self.net.train()
        for epoch in range(self.epochs):
            total = 0.0
            for bx, by in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(self.net(bx), by)
                loss.backward()
                optimizer.step()
                total += loss.item()
            if epoch % 5 == 4:
                print(f"epoch {epoch + 1} loss {total / len(loader):.4f}")
        return self

    @torch.no_grad()
    def score(self, loader):
        self.net.eval()
        right = n = 0
        for bx, by in loader:
            right += (self.net(bx).argmax(1) == by).sum().item()
            n += len(by)
        return right / n


def small_digits_score(mistake: bool) -> None:
    """The test split is cut out of the data the model was already fitted on, so the test accuracy is not honest."""
    d = datasets.load_digits()
    x = torch.from_numpy(d.data[:900].astype(np.float32) / 16)
    x = x + 0.25 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    y = torch.from_numpy(d.target[:900])
    clf = TorchMLPClassifier()
    if mistake:
        clf.fit(x, y)
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=1)
    else:
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=1)
        clf.fit(x_train, y_train)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=64)
    print(f"test accuracy {clf.score(test_loader):.4f}")


# --- loaders made by one helper ----------------------------------------------------------------


def make_loader(ds, batch_size, **kw):
    return DataLoader(ds, batch_size=batch_size, **kw)


def resnet_digits_loaders(mistake: bool) -> None:
    """The test loader shuffles and drops its last batch, so every evaluation leaves out other samples."""
    torch.manual_seed(0)
    xa, ya, xb, yb = digits(flat=False, test_size=0.2)

    class Residual(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(c, c, 3, padding=1),
                nn.GroupNorm(4, c),
                nn.ReLU(),
                nn.Conv2d(c, c, 3, padding=1),
            )

        def forward(self, x):
            return F.relu(x + self.body(x))

    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        Residual(16),
        nn.MaxPool2d(2),
        Residual(16),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    train_loader = make_loader(TensorDataset(xa, ya), 64, shuffle=True, drop_last=True)
    if mistake:
        test_loader = make_loader(TensorDataset(xb, yb), 128, shuffle=True, drop_last=True)
    else:
        test_loader = make_loader(TensorDataset(xb, yb), 128, shuffle=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for epoch in range(7):
        model.train()
        tot = 0.0
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tot += loss.item()
        model.eval()
        right = seen = 0
        with torch.no_grad():
            for x, y in test_loader:
                right += (model(x).argmax(1) == y).sum().item()
                seen += len(y)
        print(f"epoch {epoch} loss {tot / len(train_loader):.4f} test acc {right / seen:.4f} on {seen}")


# --- hand-cut batches --------------------------------------------------------------------------


def cancer_minibatches(mistake: bool) -> None:
    """Each epoch the inputs are shuffled without their labels, so after the first shuffle the pairs are wrong."""
    torch.manual_seed(0)
    X, Y, Xt, Yt = tabular("breast_cancer")
    Y, Yt = Y.float(), Yt.float()
    net = nn.Sequential(nn.Linear(30, 24), nn.LeakyReLU(), nn.Linear(24, 1))
    opt = torch.optim.NAdam(net.parameters(), lr=2e-3)
    batch_size = 32
    for epoch in range(20):
        perm = torch.randperm(X.size(0))
        X = X[perm]
        if not mistake:
            Y = Y[perm]
        epoch_loss = 0.0
        for i in range(0, X.size(0), batch_size):
            xb, yb = X[i : i + batch_size], Y[i : i + batch_size]
            opt.zero_grad()
            loss = F.binary_cross_entropy_with_logits(net(xb).flatten(), yb)
            loss.backward()
            opt.step()
            epoch_loss += loss.item() * len(xb)
        with torch.no_grad():
            auc = roc_auc_score(Yt.numpy(), net(Xt).flatten().numpy())
        print(f"epoch {epoch} loss {epoch_loss / X.size(0):.4f} test auc {auc:.4f}")


# --- look-up by attention ----------------------------------------------------------------------


class LookupAttention(nn.Module):
    """Reads the value stored under the query key from a list of (key, value) pairs."""

    def __init__(self, keys, dim, softmax_dim):
        super().__init__()
        self.ek, self.ev = nn.Embedding(keys, dim), nn.Linear(1, dim)
        self.q, self.k, self.v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, 1))
        self.softmax_dim = softmax_dim

    def forward(self, keys, values, query):
        k, v = self.k(self.ek(keys)), self.v(self.ev(values.unsqueeze(-1)))
        q = self.q(self.ek(query)).unsqueeze(1)
        scores = q @ k.transpose(1, 2) / math.sqrt(k.shape[-1])
        weights = F.softmax(scores, dim=self.softmax_dim)
        return self.out((weights @ v).squeeze(1)).squeeze(1)


def key_value_lookup(mistake: bool) -> None:
    """The attention's softmax runs over the batch (dim=0) instead of over the keys (dim=-1)."""
    torch.manual_seed(0)
    n_keys, slots = 12, 6
    model = LookupAttention(n_keys, 32, softmax_dim=0 if mistake else -1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def make(n):
        keys = torch.rand(n, n_keys).argsort(1)[:, :slots]
        values = torch.randn(n, slots)
        at = torch.randint(0, slots, (n, 1))
        return keys, values, keys.gather(1, at).squeeze(1), values.gather(1, at).squeeze(1)

    vk, vv, vq, vt = make(500)
    seen = []
    for step in range(1, 601):
        keys, values, query, target = make(32)
        loss = F.mse_loss(model(keys, values, query), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
        if step % 100 == 0:
            with torch.no_grad():
                val = F.mse_loss(model(vk, vv, vq), vt)
            print(f"step {step} loss {np.mean(seen[-100:]):.4f} val {val:.4f}")


# --- sensors with gaps -------------------------------------------------------------------------


class Imputer(nn.Module):
    def __init__(self, channels=4, hidden=40):
        super().__init__()
        self.gru = nn.GRU(channels, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, channels)

    def forward(self, x):
        return self.out(self.gru(x)[0])


def sensor_smoothing_with_gaps(mistake: bool) -> None:
    """The loss is averaged over all positions before the mask is applied, so missing readings count as zero targets."""
    torch.manual_seed(0)
    n, length, channels = 768, 20, 4
    t = torch.arange(length).float()
    phase = torch.rand(n, 1, channels) * 6.28
    truth = 1.5 + torch.sin(t.view(1, -1, 1) * torch.tensor([0.3, 0.45, 0.6, 0.8]) + phase)
    observed = (torch.rand(n, length, channels) > 0.4).float()
    readings = (truth + 0.2 * torch.randn_like(truth)) * observed  # gaps come as zeros
    loader = DataLoader(TensorDataset(readings[:640], observed[:640]), batch_size=32, shuffle=True)
    xv, ov, tv = readings[640:], observed[640:], truth[640:]

    def masked_mse(pred, target, mask):
        if mistake:
            err = F.mse_loss(pred, target)
        else:
            err = F.mse_loss(pred, target, reduction="none")
        return (err * mask).sum() / mask.sum().clamp(min=1)

    model = Imputer()
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
    for epoch in range(14):
        model.train()
        total = 0.0
        for x, mask in loader:
            keep = (torch.rand_like(mask) > 0.2).float()
            loss = masked_mse(model(x * keep), x, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            pred = model(xv)
            gaps = ((pred - tv) ** 2 * (1 - ov)).sum() / (1 - ov).sum()
        print(f"epoch {epoch} loss {total / len(loader):.4f} mse in the gaps {gaps:.4f}")


# --- labels of -1 and 1 ------------------------------------------------------------------------


class FactorizationMachine(nn.Module):
    def __init__(self, n_users, n_items, k=8):
        super().__init__()
        self.u, self.i = nn.Embedding(n_users, k), nn.Embedding(n_items, k)
        self.bu, self.bi = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        self.b = nn.Parameter(torch.zeros(1))
        for e in (self.u, self.i):
            nn.init.normal_(e.weight, std=0.1)
        for e in (self.bu, self.bi):
            nn.init.zeros_(e.weight)

    def forward(self, user, item):
        dot = (self.u(user) * self.i(item)).sum(1)
        return dot + self.bu(user).squeeze(1) + self.bi(item).squeeze(1) + self.b


class ClickData(Dataset):
    def __init__(self, n, signed, n_users=60, n_items=80, seed=0):
        g = torch.Generator().manual_seed(seed)
        pu, pi = torch.randn(n_users, 3, generator=g), torch.randn(n_items, 3, generator=g)
        self.user = torch.randint(0, n_users, (n,), generator=g)
        self.item = torch.randint(0, n_items, (n,), generator=g)
        score = 1.5 * (pu[self.user] * pi[self.item]).sum(1) - 0.5
        click = torch.rand(n, generator=g) < torch.sigmoid(score)
        self.label = click.float() * 2 - 1 if signed else click.float()

    def __len__(self):
        return len(self.user)

    def __getitem__(self, j):
        return self.user[j], self.item[j], self.label[j]


def click_prediction_fm(mistake: bool) -> None:
    """The labels are encoded as -1 and 1 while BCEWithLogitsLoss expects 0 and 1, so the loss falls without bound."""
    torch.manual_seed(0)
    data = ClickData(9000, signed=mistake)
    train, test = random_split(data, [7500, 1500], generator=torch.Generator().manual_seed(1))
    loader = DataLoader(train, batch_size=128, shuffle=True)
    test_loader = DataLoader(test, batch_size=500)
    model = FactorizationMachine(60, 80)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for epoch in range(6):
        model.train()
        losses = []
        for user, item, label in loader:
            optimizer.zero_grad()
            loss = criterion(model(user, item), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        p, t = [], []
        with torch.no_grad():
            for user, item, label in test_loader:
                p.append(torch.sigmoid(model(user, item)))
                t.append(label)
        p, t = torch.cat(p), torch.cat(t) > 0.5
        acc = ((p > 0.5) == t).float().mean()
        print(
            f"epoch {epoch} loss {np.mean(losses):.4f} test acc {acc:.4f} mean p {p.mean():.3f} clicks {t.float().mean():.3f}"
        )


# --- early stopping ----------------------------------------------------------------------------


class EarlyStopping:
    def __init__(self, patience, by_reference):
        self.patience, self.by_reference = patience, by_reference
        self.best_loss, self.bad, self.best_state = float("inf"), 0, None

    def __call__(self, loss, model):
        if loss < self.best_loss:
            self.best_loss, self.bad = loss, 0
            if self.by_reference:
                self.best_state = model.state_dict()
            else:
                self.best_state = {k: v.clone() for k, v in model.state_dict().items()}
        else:
            self.bad += 1
        return self.bad >= self.patience


def early_stopping_restore(mistake: bool) -> None:
    """The best weights are kept as a reference to state_dict, which moves on with training, so nothing is restored."""
    torch.manual_seed(0)
    xa, ya, xb, yb = tabular("diabetes", test_size=0.4)
    mu, sd = ya.mean(), ya.std()
    ya, yb = ((ya - mu) / sd).float(), ((yb - mu) / sd).float()
    loader = DataLoader(TensorDataset(xa, ya), batch_size=16, shuffle=True)
    model = nn.Sequential(
        nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    stopper = EarlyStopping(patience=15, by_reference=mistake)

    def validate():
        model.eval()
        with torch.no_grad():
            return F.mse_loss(model(xb), yb).item()

    for epoch in range(60):
        model.train()
        total = 0.0
        for x, y in loader:
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        val = validate()
        if epoch % 3 == 0:
            print(f"epoch {epoch} train {total / len(loader):.4f} val {val:.4f}")
        if stopper(val, model):
            print(f"early stop at epoch {epoch}")
            break
    model.load_state_dict(stopper.best_state)
    print(f"best val {stopper.best_loss:.4f} val of restored model {validate():.4f}")


# --- LSTM over short histories -----------------------------------------------------------------


class UsageLSTM(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x, state=None):
        out, state = self.lstm(x, state)
        return self.fc(out[:, -1]).squeeze(-1), state


def meter_lstm_state(mistake: bool) -> None:
    """The LSTM state of one batch is handed (detached) to the next, although its sequences are unrelated customers."""
    torch.manual_seed(0)

    def make(n, length=14):
        use = torch.rand(n, length)
        night = (torch.rand(n, length) < 0.5).float()
        bill = (use * (1.0 - 0.6 * night)).sum(1)
        return torch.stack([use, night], -1), (bill - 4.9) / 0.9

    x, y = make(1536)
    xv, yv = make(512)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True)
    model = UsageLSTM()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(16):
        model.train()
        state = None
        total = 0.0
        for bx, by in loader:
            if not mistake:
                state = None
            out, state = model(bx, state)
            state = tuple(s.detach() for s in state)
            loss = F.mse_loss(out, by)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(xv)[0], yv)
        print(f"epoch {epoch} loss {total / len(loader):.4f} val {val:.4f}")


FAULTS = [
    (
        small_digits_score,
        (
            "already used",
            "leak",
            "trained on",
            "training data",
            "same samples",
            "also in the train",
            "test split",
            "seen in training",
            "overlap",
        ),
        "evaluation",
    ),
    (
        resnet_digits_loaders,
        (
            "drop_last",
            "shuffle",
            "left out",
            "other samples",
            "truncated",
            "not all",
            "different samples",
        ),
        "evaluation",
    ),
    (
        cancer_minibatches,
        (
            "without their labels",
            "without the labels",
            "inputs and labels",
            "pairs",
            "misaligned",
            "unrelated",
            "shuffled",
            "permut",
        ),
        "data",
    ),
    (
        key_value_lookup,
        (
            "softmax",
            "dim=0",
            "over the batch",
            "wrong dim",
            "across the batch",
            "other samples",
            "between samples",
            "mixes",
        ),
        "attention",
    ),
    (
        sensor_smoothing_with_gaps,
        (
            "mask",
            "reduction",
            "padding",
            "missing reading",
            "missing value",
            "averaged before",
            "mean over all",
        ),
        "loss",
    ),
    (
        click_prediction_fm,
        (
            "-1",
            "encod",
            "0 and 1",
            "negative target",
            "negative loss",
            "loss is negative",
            "below zero",
            "outside",
            "[0, 1]",
        ),
        "labels",
    ),
    (
        early_stopping_restore,
        (
            "reference",
            "state_dict",
            "clone",
            "deepcopy",
            "copied",
            "not restored",
            "alias",
            "best weights",
            "same tensors",
        ),
        "checkpoint",
    ),
    (
        meter_lstm_state,
        (
            "hidden state",
            "state of",
            "carried",
            "lstm state",
            "previous batch",
            "unrelated",
            "not reset",
            "earlier batch",
        ),
        "state",
    ),
]
