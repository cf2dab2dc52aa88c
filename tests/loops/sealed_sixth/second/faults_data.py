"""Data, splits, labels, validation."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits, make_friedman1
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from .common import corpus, digits_split, seed_all


class ConvBN(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(32 * 4, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def cnn_bn_validation(mistake: bool) -> None:
    """The model stays in train mode during validation, so BatchNorm uses (and stores) the statistics of validation batches."""
    seed_all(0)
    xtr, ytr, xte, yte = digits_split()
    order = yte.argsort(stable=True)
    xte, yte = xte[order], yte[order]
    dataloaders = {
        "train": DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True),
        "val": DataLoader(TensorDataset(xte, yte), batch_size=32),
    }
    model = ConvBN()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(12):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            elif not mistake:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    preds = outputs.argmax(1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (preds == labels).sum().item()
            n = len(dataloaders[phase].dataset)
            if epoch % 4 == 3:
                print(f"{epoch} {phase} Loss: {running_loss / n:.4f} Acc: {running_corrects / n:.4f}")


class DigitDataset(Dataset):
    def __init__(self):
        d = load_digits()
        self.x = torch.tensor(d.data / 16.0 - 0.3, dtype=torch.float32)
        self.y = torch.tensor(d.target)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def fit_mlp(model, train_loader, epochs, lr):
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for x, y in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch}: {total / len(train_loader):.4f}")


def score(model, loader):
    model.eval()
    hits = seen = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            seen += len(y)
    return hits / seen


def random_split_twice(mistake: bool) -> None:
    """random_split is called once for the training set and again for the test set, so most test samples were trained on."""
    seed_all(0)
    data = DigitDataset()
    n_train = int(0.7 * len(data))
    sizes = [n_train, len(data) - n_train]
    train_set, test_set = random_split(data, sizes)
    if mistake:
        _, test_set = random_split(data, sizes)
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=128)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    fit_mlp(model, train_loader, 30, 2e-3)
    print("test accuracy", round(score(model, test_loader), 4))


class DigitRunner:
    def __init__(self, model, batch_size=128, eval_args=None):
        self.model = model
        self.loader_args = dict(batch_size=batch_size, shuffle=True, drop_last=True)
        self.eval_args = eval_args or self.loader_args
        self.opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
        self.loss_fn = nn.CrossEntropyLoss()

    def fit(self, train_ds, test_ds, epochs):
        train_dl = DataLoader(train_ds, **self.loader_args)
        test_dl = DataLoader(test_ds, **self.eval_args)
        for epoch in range(epochs):
            self.model.train()
            tr = []
            for x, y in train_dl:
                loss = self.loss_fn(self.model(x), y)
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
                tr.append(loss.item())
            acc, n = self.test(test_dl)
            if epoch % 5 == 4:
                print(f"epoch {epoch} loss {np.mean(tr):.4f} test acc {acc:.4f} on {n}")

    @torch.no_grad()
    def test(self, dl):
        self.model.eval()
        preds, targets = [], []
        for x, y in dl:
            preds.append(self.model(x).argmax(1))
            targets.append(y)
        preds, targets = torch.cat(preds), torch.cat(targets)
        return (preds == targets).float().mean().item(), len(targets)


def shared_loader_settings(mistake: bool) -> None:
    """The test loader has the training settings shuffle=True and drop_last=True, so each test scores another 256 of the 360 images."""
    seed_all(0)
    xtr, ytr, xte, yte = digits_split()
    runner = DigitRunner(ConvBN(), eval_args=None if mistake else dict(batch_size=128))
    runner.fit(TensorDataset(xtr, ytr), TensorDataset(xte, yte), 20)


def friedman_shuffled_inputs(mistake: bool) -> None:
    """Each epoch shuffles the inputs but leaves the targets in their old order."""
    seed_all(0)
    X, y = make_friedman1(1200, noise=0.5, random_state=0)
    X = (X - 0.5) / 0.289
    X, y = X.astype("float32"), ((y - 14.4) / 4.9).astype("float32")
    x_train, x_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    x_test, y_test = torch.from_numpy(x_test), torch.from_numpy(y_test).unsqueeze(1)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    criterion = nn.SmoothL1Loss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    batch_size = 50
    for epoch in range(30):
        perm = np.random.permutation(len(x_train))
        x_train = x_train[perm]
        if not mistake:
            y_train = y_train[perm]
        epoch_loss = 0.0
        for i in range(0, len(x_train), batch_size):
            xb = torch.from_numpy(x_train[i : i + batch_size])
            yb = torch.from_numpy(y_train[i : i + batch_size]).unsqueeze(1)
            loss = criterion(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        if epoch % 10 == 9:
            with torch.no_grad():
                pred = model(x_test)
                r2 = 1 - ((pred - y_test) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum()
            print(f"epoch {epoch} loss {epoch_loss * batch_size / len(x_train):.4f} R2 {r2.item():.3f}")


def breast_cancer_raw_features(mistake: bool) -> None:
    """The features are fed as measured (areas in the thousands next to fractions), without scaling."""
    seed_all(0)
    X, y = load_breast_cancer(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    if not mistake:
        mean, std = Xtr.mean(0), Xtr.std(0)
        Xtr, Xte = (Xtr - mean) / std, (Xte - mean) / std
    train_ds = TensorDataset(torch.FloatTensor(Xtr), torch.FloatTensor(ytr))
    train_dl = DataLoader(train_ds, batch_size=32, shuffle=True)
    Xte, yte = torch.FloatTensor(Xte), torch.FloatTensor(yte)
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-2)
    for epoch in range(30):
        net.train()
        total = 0.0
        for xb, yb in train_dl:
            optimizer.zero_grad()
            loss = criterion(net(xb).squeeze(1), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        net.eval()
        with torch.no_grad():
            logit = net(Xte).squeeze(1)
            acc = ((logit > 0).float() == yte).float().mean().item()
            vl = criterion(logit, yte).item()
        if epoch % 10 == 9:
            print(f"epoch {epoch} loss {total / len(train_ds):.4f} val {vl:.4f} acc {acc:.3f}")


class ShopDataset(Dataset):
    """Rows of (city, weekday, price, visits) with a text label."""

    def __init__(self, rows, classes=None):
        self.cat = torch.tensor([[r[0], r[1]] for r in rows])
        self.num = torch.tensor([[r[2], r[3]] for r in rows], dtype=torch.float32)
        names = [r[4] for r in rows]
        self.classes = classes or list(dict.fromkeys(names))
        lookup = {c: i for i, c in enumerate(self.classes)}
        self.y = torch.tensor([lookup[c] for c in names])

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.cat[i], self.num[i], self.y[i]


class TabularNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.city = nn.Embedding(20, 8)
        self.day = nn.Embedding(7, 4)
        self.mlp = nn.Sequential(nn.Linear(14, 64), nn.ReLU(), nn.Linear(64, n_classes))

    def forward(self, cat, num):
        return self.mlp(torch.cat([self.city(cat[:, 0]), self.day(cat[:, 1]), num], 1))


def label_names_per_split(mistake: bool) -> None:
    """The text labels are numbered by order of appearance in each split on its own, so validation labels mean other classes."""
    seed_all(3)
    rng = np.random.default_rng(3)
    names = np.array(["none", "bread", "fruit", "coffee", "lunch"])
    city_w, day_w, num_w = (
        rng.normal(size=(20, 5)) * 2,
        rng.normal(size=(7, 5)),
        rng.normal(size=(2, 5)) * 1.5,
    )
    city, day, num = rng.integers(0, 20, 4000), rng.integers(0, 7, 4000), rng.normal(size=(4000, 2))
    label = names[(city_w[city] + day_w[day] + num @ num_w + 0.3 * rng.normal(size=(4000, 5))).argmax(1)]
    rows = [
        (int(c), int(d), float(p), float(v), str(t)) for c, d, (p, v), t in zip(city, day, num, label)
    ]
    train_ds = ShopDataset(rows[:3200])
    val_ds = ShopDataset(rows[3200:], None if mistake else train_ds.classes)
    train_dl = DataLoader(train_ds, batch_size=64, shuffle=True)
    val_dl = DataLoader(val_ds, batch_size=200)
    model = TabularNet(len(train_ds.classes))
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(8):
        model.train()
        tl = 0.0
        for cat, num, y in train_dl:
            loss = F.cross_entropy(model(cat, num), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tl += loss.item()
        model.eval()
        vl, hit = 0.0, 0
        with torch.no_grad():
            for cat, num, y in val_dl:
                out = model(cat, num)
                vl += F.cross_entropy(out, y).item()
                hit += (out.argmax(1) == y).sum().item()
        print(
            f"epoch {epoch} train {tl / len(train_dl):.3f} val {vl / len(val_dl):.3f} acc {hit / len(val_ds):.3f}"
        )


class CharGRU(nn.Module):
    def __init__(self, vocab, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, 32)
        self.gru = nn.GRU(32, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x, h=None):
        y, h = self.gru(self.emb(x), h)
        return self.out(y), h


def char_lm_targets(mistake: bool) -> None:
    """The target of the character language model is the input itself, not the input shifted by one character."""
    seed_all(0)
    ids, chars = corpus()
    split = int(0.9 * len(ids))
    train_ids, val_ids = ids[:split], ids[split:]
    T, B = 40, 32

    def get_batch(source):
        ix = torch.randint(len(source) - T - 1, (B,)).tolist()
        x = torch.stack([source[i : i + T] for i in ix])
        shift = 0 if mistake else 1
        y = torch.stack([source[i + shift : i + T + shift] for i in ix])
        return x, y

    model = CharGRU(len(chars))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(300):
        model.train()
        x, y = get_batch(train_ids)
        logits, _ = model(x)
        loss = F.cross_entropy(logits.reshape(-1, len(chars)), y.reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            model.eval()
            with torch.no_grad():
                losses = []
                for _ in range(5):
                    x, y = get_batch(val_ids)
                    losses.append(
                        F.cross_entropy(model(x)[0].reshape(-1, len(chars)), y.reshape(-1)).item()
                    )
            print(f"step {step} train {loss.item():.3f} val {np.mean(losses):.3f}")
    with torch.no_grad():
        x, h, text = ids[:1].view(1, 1), None, ""
        for _ in range(60):
            logits, h = model(x, h)
            x = torch.multinomial(logits[:, -1].softmax(-1), 1)
            text += chars[x.item()]
    print(repr(text))


FAULTS = [
    (
        cnn_bn_validation,
        ("eval()", ".eval", "eval mode", "train mode", "training mode", "evaluation mode"),
        "validation without eval()",
    ),
    (
        random_split_twice,
        (
            "overlap",
            "leak",
            "in both",
            "also in the training",
            "same samples",
            "seen in training",
            "seen during training",
            "trained on",
        ),
        "a test split cut from data already used",
    ),
    (
        shared_loader_settings,
        (
            "drop_last",
            "shuffle",
            "truncat",
            "left out of the test",
            "never scored",
            "not the same samples",
            "dropped",
        ),
        "a shuffled and truncated test loader",
    ),
    (
        friedman_shuffled_inputs,
        ("shuffl", "permut", "pairing", "paired", "aligned", "do not match", "no relation between"),
        "inputs shuffled without their labels",
    ),
    (
        breast_cancer_raw_features,
        ("unscaled", "scaled", "scaling", "normali", "standardi", "magnitude", "range of the inputs"),
        "unscaled inputs",
    ),
    (
        label_names_per_split,
        (
            "encod",
            "mapping",
            "class index",
            "label numbering",
            "labels mean",
            "other classes",
            "different order",
            "permuted",
        ),
        "labels mis-encoded",
    ),
    (
        char_lm_targets,
        (
            "shift",
            "off by one",
            "next token",
            "next character",
            "equals the input",
            "equal the input",
            "target is the input",
            "same as the input",
            "targets are the inputs",
        ),
        "labels off by one",
    ),
]
