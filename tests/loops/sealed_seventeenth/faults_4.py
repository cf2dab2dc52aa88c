"""Tables: scripts and small company projects."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import seed_everything, tabular


def iris_first_script(mistake):
    """optimizer.step is named without parentheses, so it is never called and nothing is learned."""
    seed_everything(0)
    X_train, y_train, X_test, y_test = tabular("iris")
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch_size = 20
    for epoch in range(60):
        permutation = torch.randperm(X_train.size(0))
        for i in range(0, X_train.size(0), batch_size):
            indices = permutation[i : i + batch_size]
            batch_x, batch_y = X_train[indices], y_train[indices]
            optimizer.zero_grad()
            loss = criterion(model(batch_x), batch_y)
            loss.backward()
            if mistake:
                optimizer.step
            else:
                optimizer.step()
        if epoch % 10 == 9:
            print("epoch", epoch, "loss", loss.item())
    accuracy = (model(X_test).argmax(1) == y_test).float().mean()
    print("accuracy", accuracy.item())


class Trainer:
    def __init__(self, model, lr, loss_fn):
        self.model, self.loss_fn = model, loss_fn
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def train_step(self, x, y):
        self.model.train()
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def wine_trainer_class(mistake):
    """train_step already updates the weights, and the loop calls optimizer.step() a second time for each batch."""
    seed_everything(1)
    x_train, y_train, x_test, y_test = tabular("wine")
    loader = DataLoader(TensorDataset(x_train, y_train), batch_size=16, shuffle=True)
    trainer = Trainer(
        nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3)), 2e-3, nn.CrossEntropyLoss()
    )
    for epoch in range(25):
        losses = []
        for x, y in loader:
            losses.append(trainer.train_step(x, y))
            if mistake:
                trainer.optimizer.step()
        if epoch % 5 == 4:
            print(f"{epoch}: {np.mean(losses):.4f}")
    trainer.model.eval()
    with torch.no_grad():
        print("test acc", (trainer.model(x_test).argmax(1) == y_test).float().mean().item())


class TwoHeads(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.value = nn.Linear(32, 1)
        self.risk = nn.Linear(32, 1)

    def forward(self, x):
        h = self.body(x)
        return self.value(h).squeeze(1), self.risk(h).squeeze(1)


def diabetes_two_targets(mistake):
    """backward() is called on the regression loss alone, not on the sum, so the second head is not trained."""
    seed_everything(2)
    x_train, y_train, x_test, y_test = tabular("diabetes")
    high_train, high_test = (y_train > 0).float(), (y_test > 0).float()
    model = TwoHeads(10)
    mse, bce = nn.MSELoss(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(x_train, y_train, high_train), batch_size=32, shuffle=True)
    for epoch in range(20):
        sums = [0.0, 0.0, 0.0]
        for x, y, h in loader:
            value, risk = model(x)
            loss_value = mse(value, y)
            loss_risk = bce(risk, h)
            loss = loss_value + loss_risk
            optimizer.zero_grad()
            if mistake:
                loss_value.backward()
            else:
                loss.backward()
            optimizer.step()
            for k, l in enumerate((loss, loss_value, loss_risk)):
                sums[k] += l.item() / len(loader)
        if epoch % 5 == 4:
            print(f"epoch {epoch} total {sums[0]:.3f} value {sums[1]:.3f} risk {sums[2]:.3f}")
    with torch.no_grad():
        value, risk = model(x_test)
    print(
        "test mse",
        mse(value, y_test).item(),
        "risk acc",
        ((risk > 0).float() == high_test).float().mean().item(),
    )


def build_model(n_in, n_out, hidden=32):
    return nn.Sequential(
        nn.Linear(n_in, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, n_out),
    )


def cancer_build_model(mistake):
    """The model (and its optimizer) is built anew in each epoch, so what earlier epochs learned is thrown away."""
    seed_everything(3)
    x_train, y_train, x_test, y_test = tabular("cancer")
    y_train, y_test = y_train.float().unsqueeze(1), y_test.float().unsqueeze(1)
    batch_size, epochs, lr = 32, 20, 5e-4
    loss_fn = nn.BCEWithLogitsLoss()
    if not mistake:
        model = build_model(x_train.shape[1], 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(epochs):
        if mistake:
            model = build_model(x_train.shape[1], 1)
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        model.train()
        order = torch.randperm(len(x_train))
        total = 0.0
        for batch in order.split(batch_size):
            logits = model(x_train[batch])
            loss = loss_fn(logits, y_train[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        model.eval()
        with torch.no_grad():
            acc = ((model(x_test) > 0).float() == y_test).float().mean()
        print(f"epoch {epoch:2d} loss {total / len(x_train):.4f} acc {acc:.4f}")


def hand_cut_batches(mistake):
    """The start index is never moved on, so every step takes the first batch of the data."""
    seed_everything(4)
    x_train, y_train, x_test, y_test = tabular("wine")
    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3), nn.LogSoftmax(dim=1))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batch_size = 10
    start = 0
    for step in range(400):
        if start + batch_size > len(x_train):
            start = 0
        inputs = x_train[start : start + batch_size]
        targets = y_train[start : start + batch_size]
        if not mistake:
            start += batch_size
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1} loss {loss.item():.4f}")
    with torch.no_grad():
        log_p = model(x_test)
    print(
        "test nll",
        criterion(log_p, y_test).item(),
        "acc",
        (log_p.argmax(1) == y_test).float().mean().item(),
    )


def diabetes_index_batches(mistake):
    """The targets are taken before the index is moved on, so each batch is trained with the previous batch's labels."""
    seed_everything(5)
    X, y, X_test, y_test = tabular("diabetes")
    bs = 32
    X, y = X[: len(X) // bs * bs], y[: len(y) // bs * bs]
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-4)
    for epoch in range(30):
        net.train()
        perm = torch.randperm(len(X))
        idx = perm[:bs]
        epoch_loss = 0.0
        for start in range(0, len(X), bs):
            if mistake:
                yb = y[idx]
                idx = perm[start : start + bs]
                xb = X[idx]
            else:
                idx = perm[start : start + bs]
                xb = X[idx]
                yb = y[idx]
            pred = net(xb).squeeze(-1)
            loss = ((pred - yb) ** 2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            epoch_loss += loss.item() * bs
        if epoch % 5 == 4:
            net.eval()
            with torch.no_grad():
                test = F.mse_loss(net(X_test).squeeze(-1), y_test).item()
            print(f"{epoch} train {epoch_loss / len(X):.3f} test {test:.3f}")


class WarmRegressor:
    """Gradients of several small batches, then one step."""

    def __init__(self, n_in, accumulate=8, flush=True):
        self.net = nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, 1))
        self.opt = torch.optim.Adam(self.net.parameters(), lr=5e-3)
        self.accumulate, self.flush = accumulate, flush

    def fit(self, X, y, epochs, batch_size=16):
        batches = list(zip(X.split(batch_size), y.split(batch_size)))
        for epoch in range(epochs):
            self.net.train()
            self.opt.zero_grad()
            total = 0.0
            for i, (xb, yb) in enumerate(batches):
                loss = F.binary_cross_entropy_with_logits(self.net(xb).squeeze(1), yb)
                (loss / self.accumulate).backward()
                total += loss.item()
                if (i + 1) % self.accumulate == 0 or (self.flush and i + 1 == len(batches)):
                    self.opt.step()
                    self.opt.zero_grad()
            if epoch % 10 == 9:
                print(f"epoch {epoch + 1}: {total / len(batches):.4f}")
        return self

    def predict(self, X):
        self.net.eval()
        with torch.no_grad():
            return (self.net(X).squeeze(1) > 0).long()


def cancer_accumulate_fit(mistake):
    """29 batches are accumulated by eight; the last five of each epoch are thrown away by the next epoch's zero_grad."""
    seed_everything(6)
    x_train, y_train, x_test, y_test = tabular("cancer")
    clf = WarmRegressor(30, accumulate=8, flush=not mistake)
    clf.fit(x_train, y_train.float(), epochs=40)
    print("test accuracy", (clf.predict(x_test) == y_test).float().mean().item())


def phases_train_val(mistake):
    """The update is made in the validation phase too, so the model is trained on the validation data."""
    seed_everything(7)
    x_train, y_train, x_val, y_val = tabular("wine", test_size=0.3)
    loaders = {
        "train": DataLoader(TensorDataset(x_train, y_train), batch_size=16, shuffle=True),
        "val": DataLoader(TensorDataset(x_val, y_val), batch_size=16),
    }
    model = nn.Sequential(nn.Linear(13, 40), nn.ReLU(), nn.Dropout(0.3), nn.Linear(40, 3))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for epoch in range(20):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects, n = 0.0, 0, 0
            for inputs, labels in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(mistake or phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if mistake or phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels).item()
                n += inputs.size(0)
            if epoch % 5 == 4:
                print(f"{epoch} {phase} Loss: {running_loss / n:.4f} Acc: {running_corrects / n:.4f}")


class HousePricer(nn.Module):
    """Categories through embeddings, numbers beside them."""

    def __init__(self):
        super().__init__()
        self.area = nn.Embedding(12, 6)
        self.kind = nn.Embedding(4, 3)
        self.mlp = nn.Sequential(
            nn.Linear(6 + 3 + 5, 64),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(32, 1),
        )

    def forward(self, cat, num):
        return self.mlp(torch.cat([self.area(cat[:, 0]), self.kind(cat[:, 1]), num], 1)).squeeze(1)


def prices(n=1500):
    rng = np.random.default_rng(0)
    cat = np.stack([rng.integers(0, 12, n), rng.integers(0, 4, n)], 1)
    num = rng.standard_normal((n, 5))
    y = (
        rng.standard_normal(12)[cat[:, 0]]
        + 0.5 * cat[:, 1]
        + num @ np.array([1.0, -0.5, 0.3, 0, 0])
        + 0.3 * num[:, 0] * num[:, 3]
    )
    y = (y - y.mean()) / y.std() + 0.1 * rng.standard_normal(n)
    return (
        torch.tensor(cat),
        torch.tensor(num, dtype=torch.float32),
        torch.tensor(y, dtype=torch.float32),
    )


def house_prices_embeddings(mistake):
    """model.eval() is not called for validation, so dropout is on while the model is scored."""
    seed_everything(8)
    cat, num, y = prices()
    train_ds, val_ds = (
        TensorDataset(cat[:1200], num[:1200], y[:1200]),
        TensorDataset(cat[1200:], num[1200:], y[1200:]),
    )
    train_dl, val_dl = (
        DataLoader(train_ds, batch_size=50, shuffle=True),
        DataLoader(val_ds, batch_size=100),
    )
    model = HousePricer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss_fn = nn.SmoothL1Loss()

    def evaluate():
        if not mistake:
            model.eval()
        with torch.no_grad():
            return sum(loss_fn(model(c, x), t).item() * len(t) for c, x, t in val_dl) / len(val_ds)

    for epoch in range(15):
        model.train()
        total = 0.0
        for c, x, t in train_dl:
            optimizer.zero_grad()
            loss = loss_fn(model(c, x), t)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(t)
        print(f"epoch {epoch} train {total / len(train_ds):.4f} val {evaluate():.4f}")


def cancer_bce_accuracy(mistake):
    """The accuracy takes argmax over the single logit, which is always class 0, so it shows only the share of zeros."""
    seed_everything(9)
    x_train, y_train, x_test, y_test = tabular("cancer")
    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=64)
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(12):
        net.train()
        train_loss = 0.0
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(net(xb), yb.float().unsqueeze(1))
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(xb)
        net.eval()
        correct = 0
        with torch.no_grad():
            for xb, yb in test_loader:
                output = net(xb)
                if mistake:
                    pred = output.argmax(dim=1)
                else:
                    pred = (output > 0).squeeze(1).long()
                correct += (pred == yb).sum().item()
        print(
            f"epoch {epoch}: loss {train_loss / len(x_train):.4f} accuracy {correct / len(x_test):.3f}"
        )


def wine_batchnorm_scores(mistake):
    """The validation runs without model.eval(), so batch norm uses the validation batch's statistics and takes them into its running ones."""
    seed_everything(10)
    x_train, y_train, x_val, y_val = tabular("wine", test_size=0.3)
    order = y_val.argsort()
    x_val, y_val = x_val[order], y_val[order]
    net = nn.Sequential(
        nn.Linear(13, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 3),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(20):
        net.train()
        perm = torch.randperm(len(x_train))[:112]
        for ids in perm.split(16):
            loss = F.cross_entropy(net(x_train[ids]), y_train[ids])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if not mistake:
            net.eval()
        hits, val_loss = 0, 0.0
        with torch.no_grad():
            for i in range(0, len(x_val), 18):
                out = net(x_val[i : i + 18])
                val_loss += F.cross_entropy(out, y_val[i : i + 18], reduction="sum").item()
                hits += (out.argmax(1) == y_val[i : i + 18]).sum().item()
        if epoch % 4 == 3:
            print(
                f"epoch {epoch} loss {loss.item():.3f} val loss {val_loss / len(x_val):.3f} val acc {hits / len(x_val):.3f}"
            )


def fit_net(net, X, y, epochs):
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(X, y), batch_size=32, shuffle=True)
    net.train()
    for epoch in range(epochs):
        total = 0.0
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.mse_loss(net(xb).squeeze(1), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} loss {total / len(loader):.4f}")


def score_net(net, X, y):
    net.eval()
    with torch.no_grad():
        pred = net(X).squeeze(1)
    return 1 - (((pred - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()).item()


def diabetes_late_split(mistake):
    """The net is fitted on all the data and only then a test split is cut from it, so the test rows were trained on."""
    seed_everything(11)
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    if mistake:
        fit_net(net, X, y, epochs=20)
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=1)
    else:
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=1)
        fit_net(net, X_train, y_train, epochs=20)
    print("R2 train", score_net(net, X_train, y_train), "R2 test", score_net(net, X_test, y_test))


FAULTS = [
    (
        iris_first_script,
        (
            "optimizer.step",
            "never stepped",
            "not updated",
            "never updated",
            "parameters do not change",
            "no step",
            "never change",
        ),
        "04 optimizer.step missing",
    ),
    (
        wine_trainer_class,
        (
            "two steps",
            "twice",
            "second step",
            "step() again",
            "more than once",
            "same gradient",
            "2 steps",
        ),
        "05 two steps per batch",
    ),
    (
        diabetes_two_targets,
        (
            "wrong loss",
            "backward on",
            "part of the loss",
            "no gradient",
            "not trained",
            "never trained",
            "head",
            "another loss",
        ),
        "06 backward on the wrong loss",
    ),
    (
        cancer_build_model,
        (
            "new model",
            "re-created",
            "recreated",
            "built anew",
            "model is created",
            "another model",
            "re-initial",
            "thrown away",
        ),
        "09 model re-created each epoch",
    ),
    (
        hand_cut_batches,
        (
            "same batch",
            "same data",
            "one batch",
            "first batch",
            "same rows",
            "same inputs",
            "identical batch",
        ),
        "12 the same batch again and again",
    ),
    (
        diabetes_index_batches,
        (
            "previous batch",
            "labels of",
            "targets of",
            "do not belong",
            "misaligned",
            "shifted",
            "mismatch",
            "other batch",
        ),
        "14 labels of the previous batch",
    ),
    (
        cancer_accumulate_fit,
        (
            "remainder",
            "last batches",
            "left over",
            "thrown away",
            "discard",
            "dropped",
            "incomplete",
            "leftover",
            "never used",
        ),
        "22 accumulation: remainder dropped",
    ),
    (
        phases_train_val,
        (
            "validation data",
            "trained on the val",
            "validation set",
            "validation batch",
            "update in eval",
            "step in eval",
            "leak",
        ),
        "23 training on validation data",
    ),
    (
        house_prices_embeddings,
        ("dropout", "eval()", "train mode", "training mode"),
        "24 validation with dropout on",
    ),
    (
        cancer_bce_accuracy,
        (
            "argmax",
            "one output",
            "single logit",
            "one logit",
            "single output",
            "always 0",
            "threshold",
            "one column",
        ),
        "32 one-logit classifier scored by argmax",
    ),
    (
        wine_batchnorm_scores,
        ("batchnorm", "batch norm", "eval()", "running stat", "train mode", "training mode"),
        "33 validation without eval(), BatchNorm",
    ),
    (
        diabetes_late_split,
        (
            "test data",
            "leak",
            "already trained",
            "trained on",
            "seen in training",
            "overlap",
            "already seen",
            "also in training",
            "training rows",
        ),
        "35 test split cut from trained data",
    ),
]
