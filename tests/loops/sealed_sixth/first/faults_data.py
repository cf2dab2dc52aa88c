import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from . import common


class TCN(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv1d(1 if i == 0 else c, c, 3, dilation=2**i) for i in range(4)]
        )
        self.head = nn.Linear(c, 1)

    def forward(self, x):
        x = x.unsqueeze(1)
        for i, conv in enumerate(self.convs):
            x = F.relu(conv(F.pad(x, (2 * 2**i, 0))))
        return self.head(x[:, :, -1])


def load_forecast_tcn(mistake: bool) -> None:
    """The batch is cut as X[:batch_size] in every step, so the network always sees the same first windows."""
    torch.manual_seed(20)
    series = common.load_series()
    X_train, y_train = common.windows(series[:2400], 48)
    X_test, y_test = common.windows(series[2400:], 48)
    perm = torch.randperm(len(X_train))
    X_train, y_train = X_train[perm], y_train[perm]
    batch_size = 64
    model = TCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        epoch_loss, batches = 0.0, 0
        for i in range(0, len(X_train), batch_size):
            if mistake:
                xb, yb = X_train[:batch_size], y_train[:batch_size]
            else:
                xb, yb = X_train[i : i + batch_size], y_train[i : i + batch_size]
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
            batches += 1
        model.eval()
        with torch.no_grad():
            test_mse = F.mse_loss(model(X_test), y_test).item()
        print(f"epoch {epoch} train mse {epoch_loss / batches:.4f} test mse {test_mse:.4f}")


def digits_steps_mlp(mistake: bool) -> None:
    """next(iter(loader)) restarts the iterator in every step, so only the first batch is ever used."""
    torch.manual_seed(21)
    train_set, test_set = common.digit_sets()
    train_loader = DataLoader(train_set, batch_size=100)
    test_loader = DataLoader(test_set, batch_size=200)
    model = nn.Sequential(nn.Linear(64, 80), nn.ReLU(), nn.Linear(80, 10))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)

    it = iter(train_loader)
    losses = []
    for step in range(1, 401):
        if mistake:
            x, y = next(iter(train_loader))
        else:
            try:
                x, y = next(it)
            except StopIteration:
                it = iter(train_loader)
                x, y = next(it)
        model.train()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(
                f"step {step}: loss {sum(losses[-50:]) / 50:.4f} acc {common.accuracy(model, test_loader):.3f}"
            )


class Prefetcher:
    """Holds one batch ahead of the training loop."""

    def __init__(self, loader, late_labels=False):
        self.loader = loader
        self.late_labels = late_labels

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        ready = None
        for x, y in self.loader:
            if ready is not None:
                if self.late_labels:
                    yield x, ready[1]
                else:
                    yield ready
            ready = (x, y)
        if not self.late_labels:
            yield ready


class BagOfWords(nn.Module):
    def __init__(self, vocab=300, dim=32, classes=4):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, dim, mode="mean")
        self.fc = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, x):
        return self.fc(self.bag(x))


def topic_bag_prefetch(mistake: bool) -> None:
    """The prefetcher hands out the texts of this batch with the labels of the batch before."""
    torch.manual_seed(22)
    x, y = common.reviews(seed=2)
    train = DataLoader(TensorDataset(x[:1920], y[:1920]), batch_size=32, shuffle=True, drop_last=True)
    test = DataLoader(TensorDataset(x[1920:], y[1920:]), batch_size=120)
    model = BagOfWords()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(6):
        model.train()
        total, n = 0.0, 0
        for xb, yb in Prefetcher(train, late_labels=mistake):
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            n += 1
        print(f"epoch {epoch} loss {total / n:.4f} test acc {common.accuracy(model, test):.3f}")


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x.unsqueeze(-1))
        return self.fc(out[:, -1])


def load_forecast_lstm(mistake: bool) -> None:
    """The epoch's total adds the loss tensors themselves and goes into the history, so every batch's graph is kept."""
    torch.manual_seed(23)
    series = common.load_series(2200, seed=3)
    x, y = common.windows(series[:1800], 24)
    xt, yt = common.windows(series[1800:], 24)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = Forecaster()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    history = []
    for epoch in range(6):
        model.train()
        epoch_loss = 0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
            if mistake:
                epoch_loss += loss
            else:
                epoch_loss += loss.item()
        history.append(epoch_loss / len(loader))
        model.eval()
        with torch.no_grad():
            test_loss = criterion(model(xt), yt).item()
        print(f"epoch {epoch} train {history[-1]:.4f} test {test_loss:.4f}")


FAULTS = [
    (
        load_forecast_tcn,
        (
            "same batch",
            "same data",
            "same sample",
            "same window",
            "same input",
            "identical batch",
            "repeat",
            "only the first",
        ),
        "same batch again and again",
    ),
    (
        digits_steps_mlp,
        (
            "same batch",
            "same data",
            "same sample",
            "same input",
            "next(iter",
            "restart",
            "first batch",
            "repeat",
        ),
        "iterator restarted each step",
    ),
    (
        topic_bag_prefetch,
        (
            "previous batch",
            "batch before",
            "not belong",
            "mismatch",
            "misalign",
            "not match",
            "another batch",
            "shifted",
            "labels of",
            "unrelated",
        ),
        "labels of the previous batch",
    ),
    (
        load_forecast_lstm,
        (".item()", "graph", "memory", "detach", "keeps the history", "grad_fn"),
        "loss accumulated with its graph",
    ),
]
