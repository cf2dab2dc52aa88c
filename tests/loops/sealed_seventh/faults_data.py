import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import digits


def binary_cancer_argmax(mistake: bool) -> None:
    """A one-logit binary classifier is scored with argmax over its single column, which is always class 0."""
    torch.manual_seed(21)
    data = load_breast_cancer()
    X_train, X_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.3, random_state=21
    )
    sc = StandardScaler()
    X_train, X_test = sc.fit_transform(X_train), sc.transform(X_test)

    class CancerDataset(Dataset):
        def __init__(self, X, y):
            self.X = torch.tensor(X, dtype=torch.float32)
            self.y = torch.tensor(y, dtype=torch.float32).view(-1, 1)

        def __len__(self):
            return len(self.X)

        def __getitem__(self, i):
            return self.X[i], self.y[i]

    def predict(logits):
        if mistake:
            return logits.argmax(dim=1, keepdim=True)
        return (torch.sigmoid(logits) > 0.5).long()

    train_dl = DataLoader(CancerDataset(X_train, y_train), batch_size=16, shuffle=True)
    test_dl = DataLoader(CancerDataset(X_test, y_test), batch_size=64)
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-4)
    for epoch in range(100):
        model.train()
        for xb, yb in train_dl:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        correct, test_loss = 0, 0.0
        with torch.no_grad():
            for xb, yb in test_dl:
                out = model(xb)
                test_loss += criterion(out, yb).item() * len(xb)
                correct += (predict(out) == yb.long()).sum().item()
    print(f"epoch {epoch} test loss {test_loss / len(X_test):.4f} acc {correct / len(X_test):.4f}")


def concrete_strength_split(mistake: bool) -> None:
    """The 'test' rows are cut from the same table the net was fitted on, so the test error is a training error."""
    torch.manual_seed(22)
    rng = np.random.default_rng(22)
    n, d = 800, 12
    X = rng.standard_normal((n, d))
    strength = (
        35 + 8 * X[:, 0] - 5 * X[:, 1] + 4 * np.tanh(X[:, 2] * X[:, 3]) + 6 * rng.standard_normal(n)
    )
    X_test, y_test = X[-160:], strength[-160:]
    X_train, y_train = (X, strength) if mistake else (X[:-160], strength[:-160])
    y_mean, y_std = y_train.mean(), y_train.std()

    def as_tensor(a):
        return torch.as_tensor(a, dtype=torch.float32)

    X_train, y_train = as_tensor(X_train), as_tensor((y_train - y_mean) / y_std).unsqueeze(1)
    X_test, y_test = as_tensor(X_test), as_tensor((y_test - y_mean) / y_std).unsqueeze(1)

    class Regressor(nn.Module):
        def __init__(self, d_in, width=48):
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(d_in, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, 1)
            )

        def fit(self, X, y, epochs=100, bs=32, lr=1e-3):
            opt = torch.optim.Adam(self.parameters(), lr=lr, weight_decay=1e-4)
            self.train()
            for _ in range(epochs):
                for idx in torch.randperm(len(X)).split(bs):
                    opt.zero_grad()
                    loss = F.mse_loss(self.net(X[idx]), y[idx])
                    loss.backward()
                    opt.step()
            return self

        @torch.no_grad()
        def score(self, X, y):
            self.eval()
            return 1 - (F.mse_loss(self.net(X), y) / y.var()).item()

    model = Regressor(d).fit(X_train, y_train)
    print(f"train R2 {model.score(X_train, y_train):.3f} test R2 {model.score(X_test, y_test):.3f}")


def gru_rows_test_loader(mistake: bool) -> None:
    """The test loader shuffles and drops its last batch, while the predictions are compared with y_test in file order."""
    torch.manual_seed(23)
    xtr, ytr, xte, yte = digits(seed=23)
    xtr, xte = xtr.squeeze(1), xte.squeeze(1)

    class RowGRU(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(8, 48, batch_first=True, bidirectional=True)
            self.fc = nn.Linear(96, 10)

        def forward(self, x):
            out, _ = self.gru(x)
            return self.fc(out.mean(dim=1))

    def make_loader(x, y, train):
        if mistake:
            return DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True)
        return DataLoader(TensorDataset(x, y), batch_size=64, shuffle=train, drop_last=train)

    train_loader, test_loader = make_loader(xtr, ytr, True), make_loader(xte, yte, False)
    model = RowGRU()
    optimizer = torch.optim.NAdam(model.parameters(), lr=4e-3)
    for epoch in range(12):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()

    model.eval()
    preds = []
    with torch.no_grad():
        for x, _ in test_loader:
            preds.append(model(x).argmax(dim=1).numpy())
    y_pred = np.concatenate(preds)
    print(
        f"loss {loss.item():.4f} test accuracy {accuracy_score(yte.numpy()[: len(y_pred)], y_pred):.4f}"
    )


def diabetes_broadcast(mistake: bool) -> None:
    """The target has shape [n] and the prediction [n, 1]; their difference broadcasts to [n, n]."""
    torch.manual_seed(24)
    X, y = load_diabetes(return_X_y=True)
    X = (X - X[:350].mean(0)) / X[:350].std(0)
    y = (y - y[:350].mean()) / y[:350].std()
    X = torch.tensor(X, dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)
    if not mistake:
        y = y.unsqueeze(1)

    def rmse_loss(pred, target):
        return torch.sqrt(((pred - target) ** 2).mean() + 1e-8)

    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
    train_iter = DataLoader(TensorDataset(X[:350], y[:350]), batch_size=16, shuffle=True)
    for epoch in range(120):
        total = 0.0
        for xb, yb in train_iter:
            loss = rmse_loss(net(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
    with torch.no_grad():
        pred = net(X[350:]).flatten()
        corr = np.corrcoef(pred.numpy(), y[350:].flatten().numpy())[0, 1]
    print(
        f"train rmse {total / len(train_iter):.4f} test corr {corr:.3f} pred std {pred.std().item():.3f}"
    )


def wine_raw_inputs(mistake: bool) -> None:
    """The features go into the net unscaled, with one column near a thousand, and it hardly learns."""
    torch.manual_seed(25)
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=25)
    if not mistake:
        scaler = StandardScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    X_train, X_test = torch.FloatTensor(X_train), torch.FloatTensor(X_test)
    y_train, y_test = torch.LongTensor(y_train), torch.LongTensor(y_test)

    class WineNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(13, 32)
            self.fc2 = nn.Linear(32, 16)
            self.fc3 = nn.Linear(16, 3)

        def forward(self, x):
            x = F.relu(self.fc1(x))
            x = F.relu(self.fc2(x))
            return self.fc3(x)

    model = WineNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    train_loader = DataLoader(TensorDataset(X_train, y_train), batch_size=8, shuffle=True)
    for epoch in range(220):
        epoch_loss = 0
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
    with torch.no_grad():
        acc = (model(X_test).argmax(1) == y_test).float().mean().item()
    print(f"loss {epoch_loss / len(train_loader):.4f} acc {acc:.4f}")


def species_label_encoding(mistake: bool) -> None:
    """Class names are numbered anew for every split by order of appearance, so validation labels mean other classes."""
    torch.manual_seed(26)
    iris = load_iris()
    rng = np.random.default_rng(26)
    order = rng.permutation(150)
    X = iris.data[order]
    names = [str(iris.target_names[t]) for t in iris.target[order]]
    split = {"train": slice(0, 105), "valid": slice(105, 150)}
    mean, std = X[:105].mean(0), X[:105].std(0)

    def encode(labels, codes):
        return [codes.setdefault(name, len(codes)) for name in labels]

    class IrisData(Dataset):
        shared_codes = {}

        def __init__(self, part):
            self.x = torch.tensor((X[split[part]] - mean) / std, dtype=torch.float32)
            codes = {} if mistake else self.shared_codes
            self.y = torch.tensor(encode(names[split[part]], codes))

        def __len__(self):
            return len(self.y)

        def __getitem__(self, i):
            return self.x[i], self.y[i]

    train_loader = DataLoader(IrisData("train"), batch_size=10, shuffle=True)
    valid_loader = DataLoader(IrisData("valid"), batch_size=45)
    model = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))
    opt = torch.optim.Adam(model.parameters(), lr=5e-4)
    history = []
    for epoch in range(180):
        model.train()
        tl = 0.0
        for xb, yb in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            tl += loss.item() / len(train_loader)
        model.eval()
        with torch.no_grad():
            for xb, yb in valid_loader:
                out = model(xb)
                history.append(
                    (tl, F.cross_entropy(out, yb).item(), (out.argmax(1) == yb).float().mean().item())
                )
    print("train %.4f valid %.4f acc %.3f" % history[-1])


def best_weights_reference(mistake: bool) -> None:
    """The best weights are kept as a reference to state_dict(), which goes on changing; the last weights are restored instead."""
    torch.manual_seed(27)
    rng = np.random.default_rng(27)
    X = rng.standard_normal((600, 20)).astype(np.float32)
    logit = X[:, 0] * 1.5 - X[:, 1] + X[:, 2] * X[:, 3]
    y = (rng.random(600) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    Xt, yt, Xv, yv = X[:240], y[:240], X[240:], y[240:]

    def train_model(model, criterion, optimizer, num_epochs):
        best_model_wts = copy.deepcopy(model.state_dict())
        best_loss, best_epoch = float("inf"), -1
        for epoch in range(num_epochs):
            model.train()
            for idx in torch.randperm(len(Xt)).split(16):
                optimizer.zero_grad()
                loss = criterion(model(Xt[idx]), yt[idx])
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                val_loss = criterion(model(Xv), yv).item()
            if val_loss < best_loss:
                best_loss, best_epoch = val_loss, epoch
                if mistake:
                    best_model_wts = model.state_dict()
                else:
                    best_model_wts = copy.deepcopy(model.state_dict())
        model.load_state_dict(best_model_wts)
        print(f"best val loss {best_loss:.4f} at epoch {best_epoch}")
        return model

    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    criterion = nn.CrossEntropyLoss()
    model = train_model(model, criterion, torch.optim.Adam(model.parameters(), lr=5e-4), 170)
    with torch.no_grad():
        out = model(Xv)
    print(
        f"restored val loss {criterion(out, yv).item():.4f} acc {(out.argmax(1) == yv).float().mean().item():.3f}"
    )


def recommender_groups(mistake: bool) -> None:
    """The parameter groups leave out the item embeddings, which stay at their random start."""
    torch.manual_seed(28)
    rng = np.random.default_rng(28)
    n_users, n_items, n = 200, 150, 12000
    pu, qi = rng.standard_normal((n_users, 4)), rng.standard_normal((n_items, 4))
    bi = 0.7 * rng.standard_normal(n_items)
    u, i = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
    r = np.clip(3 + 0.6 * (pu[u] * qi[i]).sum(1) + bi[i] + 0.3 * rng.standard_normal(n), 1, 5).astype(
        np.float32
    )
    users, items, ratings = torch.tensor(u), torch.tensor(i), torch.tensor(r)

    class MF(nn.Module):
        def __init__(self, k=8):
            super().__init__()
            self.user_factors = nn.Embedding(n_users, k)
            self.item_factors = nn.Embedding(n_items, k)
            self.user_bias = nn.Embedding(n_users, 1)
            self.item_bias = nn.Embedding(n_items, 1)
            for e in (self.user_factors, self.item_factors, self.user_bias, self.item_bias):
                nn.init.normal_(e.weight, std=0.1)

        def forward(self, u, i):
            dot = (self.user_factors(u) * self.item_factors(i)).sum(1)
            return 3.0 + dot + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1)

    model = MF()
    groups = [
        {"params": [*model.user_factors.parameters()], "weight_decay": 1e-4},
        {"params": [*model.user_bias.parameters(), *model.item_bias.parameters()], "weight_decay": 0.0},
    ]
    if not mistake:
        groups.append({"params": [*model.item_factors.parameters()], "weight_decay": 1e-4})
    optimizer = torch.optim.Adam(groups, lr=5e-3)
    train = DataLoader(
        TensorDataset(users[:10000], items[:10000], ratings[:10000]), batch_size=256, shuffle=True
    )
    for epoch in range(25):
        se = 0.0
        for ub, ib, rb in train:
            loss = F.mse_loss(model(ub, ib), rb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            se += loss.item() * len(rb)
    with torch.no_grad():
        rmse = F.mse_loss(model(users[10000:], items[10000:]).clamp(1, 5), ratings[10000:]).sqrt().item()
    print(f"train rmse {(se / 10000) ** 0.5:.4f} test rmse {rmse:.4f}")


def housing_epoch_shuffle(mistake: bool) -> None:
    """Each epoch the inputs are permuted but the targets are left in their old order."""
    rng = np.random.default_rng(29)
    torch.manual_seed(29)
    n = 2000
    size, age, dist = rng.uniform(30, 200, n), rng.uniform(0, 80, n), rng.exponential(5, n)
    rooms = np.clip(np.round(size / 28 + rng.normal(0, 0.7, n)), 1, 8)
    price = (
        2.5 * size
        - 1.2 * age
        - 9 * dist
        + 12 * rooms
        + 0.01 * (size - 100) ** 2
        + rng.normal(0, 20, n)
        + 150
    )
    features = np.column_stack([size, age, dist, rooms])
    features = (features - features[:1600].mean(0)) / features[:1600].std(0)
    price = (price - price[:1600].mean()) / price[:1600].std()
    train_X, test_X = features[:1600].astype("float32"), features[1600:].astype("float32")
    train_y, test_y = price[:1600, None].astype("float32"), price[1600:, None].astype("float32")

    def iterate_minibatches(inputs, targets, batchsize):
        indices = rng.permutation(len(inputs))
        inputs = inputs[indices]
        if not mistake:
            targets = targets[indices]
        for start in range(0, len(inputs) - batchsize + 1, batchsize):
            yield (
                torch.from_numpy(inputs[start : start + batchsize]),
                torch.from_numpy(targets[start : start + batchsize]),
            )

    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.02)
    for epoch in range(90):
        train_err = train_batches = 0
        for xb, yb in iterate_minibatches(train_X, train_y, 50):
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            train_err += loss.item()
            train_batches += 1
    with torch.no_grad():
        test_err = F.mse_loss(model(torch.from_numpy(test_X)), torch.from_numpy(test_y)).item()
    print(f"training loss {train_err / train_batches:.4f} test loss {test_err:.4f}")


FAULTS = [
    (
        binary_cancer_argmax,
        (
            "argmax",
            "single output",
            "one output",
            "one logit",
            "one column",
            "threshold",
            "always 0",
            "always class 0",
        ),
        "one output scored by argmax",
    ),
    (
        concrete_strength_split,
        (
            "leak",
            "overlap",
            "already used",
            "test data",
            "test set",
            "test rows",
            "training rows",
            "seen in training",
        ),
        "test split cut from data already used",
    ),
    (
        gru_rows_test_loader,
        ("shuffl", "drop_last", "test loader", "order", "truncat"),
        "shuffled and truncated test loader",
    ),
    (
        diabetes_broadcast,
        ("broadcast", "[n, 1]", "shape", "squeeze", "[n, n]", "(n, 1)"),
        "[n, 1] against [n] broadcasting",
    ),
    (wine_raw_inputs, ("scal", "standardi", "normali", "large inputs", "magnitude"), "unscaled inputs"),
    (
        species_label_encoding,
        ("encod", "label", "mapping", "class order", "class names", "permut"),
        "labels mis-encoded",
    ),
    (
        best_weights_reference,
        ("state_dict", "reference", "deepcopy", "clone", "alias", "best weights", "copy"),
        "best weights kept by reference",
    ),
    (
        recommender_groups,
        (
            "item_factors",
            "item embedding",
            "not in the optimizer",
            "left out",
            "missing from the optimizer",
            "never updated",
            "not covered",
        ),
        "part of the model left out of the optimizer",
    ),
    (
        housing_epoch_shuffle,
        ("shuffl", "permut", "order", "do not match", "not aligned", "mismatch", "misalign"),
        "inputs shuffled without their labels",
    ),
]
