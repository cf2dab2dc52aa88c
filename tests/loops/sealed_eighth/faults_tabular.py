import copy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import seed_everything


# ---------------------------------------------------------------------------------------------- wine, sklearn-like
class NeuralNetClassifier:
    """A scikit-learn flavoured wrapper."""

    def __init__(self, hidden=32, lr=0.02, momentum=0.9, epochs=40, batch_size=16, reset_grads=True):
        self.hidden, self.lr, self.momentum = hidden, lr, momentum
        self.epochs, self.batch_size = epochs, batch_size
        self.reset_grads = reset_grads

    def _build(self, n_in, n_out):
        return nn.Sequential(
            nn.Linear(n_in, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, n_out),
        )

    def fit(self, X, y):
        X = torch.as_tensor(X, dtype=torch.float32)
        y = torch.as_tensor(y, dtype=torch.long)
        self.model_ = self._build(X.shape[1], int(y.max()) + 1)
        self.optimizer_ = torch.optim.SGD(self.model_.parameters(), lr=self.lr, momentum=self.momentum)
        self.loss_curve_ = []
        for epoch in range(self.epochs):
            self.model_.train()
            perm = torch.randperm(len(X))
            epoch_loss = 0.0
            for start in range(0, len(X), self.batch_size):
                idx = perm[start : start + self.batch_size]
                if self.reset_grads:
                    self.optimizer_.zero_grad()
                loss = F.cross_entropy(self.model_(X[idx]), y[idx])
                loss.backward()
                self.optimizer_.step()
                epoch_loss += loss.item() * len(idx)
            self.loss_curve_.append(epoch_loss / len(X))
        return self

    @torch.no_grad()
    def predict(self, X):
        self.model_.eval()
        return self.model_(torch.as_tensor(X, dtype=torch.float32)).argmax(1).numpy()

    def score(self, X, y):
        return float((self.predict(X) == y).mean())


def wine_sklearn_style_fit(mistake: bool) -> None:
    """The gradients are never zeroed in `fit`, so every step uses the sum of all the gradients since the start."""
    seed_everything(0)
    X, y = load_wine(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    clf = NeuralNetClassifier(reset_grads=not mistake)
    clf.fit(scaler.transform(X_train), y_train)
    print(
        "loss",
        clf.loss_curve_[0],
        clf.loss_curve_[-1],
        "acc",
        clf.score(scaler.transform(X_test), y_test),
    )


# ---------------------------------------------------------------------------------------------- diabetes, RMSE
class RMSELoss(nn.Module):
    def __init__(self, eps=1e-8):
        super().__init__()
        self.eps = eps

    def forward(self, pred, target):
        return torch.sqrt(((pred - target) ** 2).mean() + self.eps)


class DiabetesNet(nn.Module):
    def __init__(self, n_features, squeeze):
        super().__init__()
        self.fc1 = nn.Linear(n_features, 24)
        self.fc2 = nn.Linear(24, 12)
        self.out = nn.Linear(12, 1)
        self.squeeze = squeeze

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.out(x)
        return x.squeeze(1) if self.squeeze else x


def diabetes_rmse_regression(mistake: bool) -> None:
    """The network's output is [n, 1] and the target [n], so that the difference broadcasts to [n, n]."""
    seed_everything(1)
    X, y = load_diabetes(return_X_y=True)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=1)
    xs, ys = StandardScaler().fit(X_train), StandardScaler().fit(y_train[:, None])
    X_train, X_val = xs.transform(X_train), xs.transform(X_val)
    y_train, y_val = ys.transform(y_train[:, None])[:, 0], ys.transform(y_val[:, None])[:, 0]
    train_loader = DataLoader(
        TensorDataset(torch.tensor(X_train).float(), torch.tensor(y_train).float()),
        batch_size=32,
        shuffle=True,
    )
    X_val, y_val = torch.tensor(X_val).float(), torch.tensor(y_val).float()

    model = DiabetesNet(X.shape[1], squeeze=not mistake)
    criterion = RMSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-3)
    for epoch in range(25):
        model.train()
        total = 0.0
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item()
        train_loss = total / len(train_loader)
        if epoch == 0:
            print("first", train_loss)
        model.eval()
        with torch.no_grad():
            pred = model(X_val)
            val_loss = criterion(pred, y_val).item()
    r2 = 1 - ((pred.flatten() - y_val) ** 2).sum() / ((y_val - y_val.mean()) ** 2).sum()
    print("train", train_loss, "val", val_loss, "r2", r2.item())


# ---------------------------------------------------------------------------------------------- rentals, embeddings
@dataclass
class RentConfig:
    n_city: int = 60
    n_kind: int = 12
    epochs: int = 8
    batch_size: int = 64
    lr: float = 3e-3
    weight_decay: float = 1e-3


class RentTable(Dataset):
    """Monthly rents: the city and the kind of flat matter most."""

    def __init__(self, cfg, n, seed):
        world = np.random.default_rng(7)
        city_level = world.normal(0, 1.0, cfg.n_city)
        kind_level = world.normal(0, 0.6, cfg.n_kind)
        rng = np.random.default_rng(seed)
        self.cats = np.stack([rng.integers(0, cfg.n_city, n), rng.integers(0, cfg.n_kind, n)], 1)
        size, age, rooms = rng.normal(size=n), rng.normal(size=n), rng.normal(size=n)
        self.conts = np.stack([size, age, rooms], 1).astype(np.float32)
        rent = (
            city_level[self.cats[:, 0]]
            + kind_level[self.cats[:, 1]]
            + 0.5 * size
            - 0.2 * age * (size > 0)
        )
        self.y = (rent + rng.normal(0, 0.1, n)).astype(np.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.from_numpy(self.cats[i]), torch.from_numpy(self.conts[i]), torch.tensor(self.y[i])


class TabularModel(nn.Module):
    def __init__(self, emb_szs, n_cont, layers, p=0.05):
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(ni, nf) for ni, nf in emb_szs])
        for e in self.embeds:
            nn.init.normal_(e.weight, std=0.01)
        self.bn_cont = nn.BatchNorm1d(n_cont)
        sizes = [sum(nf for _, nf in emb_szs) + n_cont] + layers
        blocks = []
        for a, b in zip(sizes[:-1], sizes[1:]):
            blocks += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(p)]
        self.mlp = nn.Sequential(*blocks, nn.Linear(sizes[-1], 1))

    def forward(self, cats, conts):
        x = [e(cats[:, i]) for i, e in enumerate(self.embeds)]
        x = torch.cat(x + [self.bn_cont(conts)], 1)
        return self.mlp(x).squeeze(-1)


def build_rent_optimizer(model, cfg, with_embeddings):
    groups = [
        {"params": list(model.bn_cont.parameters()), "weight_decay": 0.0},
        {"params": list(model.mlp.parameters()), "weight_decay": cfg.weight_decay},
    ]
    if with_embeddings:
        groups.append({"params": list(model.embeds.parameters()), "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=cfg.lr)


def rent_entity_embeddings(mistake: bool) -> None:
    """The parameter groups of the optimizer leave out the embeddings, which stay as initialised."""
    seed_everything(2)
    cfg = RentConfig()
    train_dl = DataLoader(RentTable(cfg, 3000, 0), batch_size=cfg.batch_size, shuffle=True)
    valid_dl = DataLoader(RentTable(cfg, 600, 1), batch_size=256)
    model = TabularModel([(cfg.n_city, 16), (cfg.n_kind, 6)], 3, [64, 32])
    opt = build_rent_optimizer(model, cfg, with_embeddings=not mistake)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, total_steps=cfg.epochs * len(train_dl))
    for epoch in range(cfg.epochs):
        model.train()
        for cats, conts, y in train_dl:
            loss = F.mse_loss(model(cats, conts), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            sched.step()
        model.eval()
        losses, nums = [], []
        with torch.no_grad():
            for cats, conts, y in valid_dl:
                losses.append(F.mse_loss(model(cats, conts), y).item())
                nums.append(len(y))
        valid = np.average(losses, weights=nums)
        if epoch in (0, cfg.epochs - 1):
            print(epoch, "train", loss.item(), "valid", valid)


# ---------------------------------------------------------------------------------------------- breast cancer, k folds
class EarlyStopping:
    def __init__(self, patience=12, keep_copy=True):
        self.patience, self.keep_copy = patience, keep_copy
        self.best, self.best_state, self.counter = float("inf"), None, 0

    def step(self, val_loss, model):
        if val_loss < self.best:
            self.best, self.counter = val_loss, 0
            self.best_state = copy.deepcopy(model.state_dict()) if self.keep_copy else model.state_dict()
        else:
            self.counter += 1
        return self.counter >= self.patience


def run_fold(X, y, train_idx, valid_idx, keep_copy):
    scaler = StandardScaler().fit(X[train_idx])
    Xt = torch.tensor(scaler.transform(X[train_idx])).float()
    Xv = torch.tensor(scaler.transform(X[valid_idx])).float()
    yt, yv = torch.tensor(y[train_idx]).float(), torch.tensor(y[valid_idx]).float()
    loader = DataLoader(TensorDataset(Xt, yt), batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Linear(X.shape[1], 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss()
    stopper = EarlyStopping(patience=12, keep_copy=keep_copy)
    for epoch in range(60):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(xb).squeeze(1), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(Xv).squeeze(1), yv).item()
        if stopper.step(val_loss, model):
            break
    model.load_state_dict(stopper.best_state)
    model.eval()
    with torch.no_grad():
        logits = model(Xv).squeeze(1)
    return (
        epoch,
        stopper.best,
        criterion(logits, yv).item(),
        ((logits > 0).float() == yv).float().mean().item(),
    )


def cancer_kfold_early_stopping(mistake: bool) -> None:
    """Early stopping keeps model.state_dict() without a copy, so the "best" weights are those of the last epoch."""
    seed_everything(3)
    X, y = load_breast_cancer(return_X_y=True)
    for fold, (train_idx, valid_idx) in enumerate(KFold(3, shuffle=True, random_state=0).split(X)):
        print(fold, run_fold(X, y, train_idx, valid_idx, keep_copy=not mistake))


# ---------------------------------------------------------------------------------------------- breast cancer, scaling
class TableDataset(Dataset):
    def __init__(self, X, y):
        self.X = torch.as_tensor(np.asarray(X), dtype=torch.float32)
        self.y = torch.as_tensor(np.asarray(y), dtype=torch.float32)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


class BinaryTrainer:
    def __init__(self, model, train_ds, valid_ds, lr=5e-3, epochs=25, batch_size=32):
        self.model = model
        self.train_loader = DataLoader(train_ds, batch_size=batch_size, shuffle=True)
        self.valid_loader = DataLoader(valid_ds, batch_size=batch_size)
        self.criterion = nn.BCEWithLogitsLoss()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True)
        self.epochs = epochs
        self.history = {"loss": [], "val_loss": [], "val_acc": []}

    def train_one_epoch(self):
        self.model.train()
        total = 0.0
        for xb, yb in self.train_loader:
            logits = self.model(xb).view(-1)
            loss = self.criterion(logits, yb)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(yb)
        return total / len(self.train_loader.dataset)

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        total, right = 0.0, 0
        for xb, yb in self.valid_loader:
            logits = self.model(xb).view(-1)
            total += self.criterion(logits, yb).item() * len(yb)
            right += ((logits > 0) == (yb > 0.5)).sum().item()
        n = len(self.valid_loader.dataset)
        return total / n, right / n

    def fit(self):
        for _ in range(self.epochs):
            self.history["loss"].append(self.train_one_epoch())
            val_loss, val_acc = self.validate()
            self.history["val_loss"].append(val_loss)
            self.history["val_acc"].append(val_acc)
        return self.history


def cancer_trainer_scaled_split(mistake: bool) -> None:
    """The training table is standardised but the validation table is passed as raw values."""
    seed_everything(4)
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.25, stratify=y, random_state=0
    )
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    if not mistake:
        X_valid = scaler.transform(X_valid)
    model = nn.Sequential(nn.Linear(X.shape[1], 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))
    trainer = BinaryTrainer(model, TableDataset(X_train, y_train), TableDataset(X_valid, y_valid))
    h = trainer.fit()
    print("loss", h["loss"][0], h["loss"][-1], "val", h["val_loss"][-1], h["val_acc"][-1])


FAULTS = [
    (
        wine_sklearn_style_fit,
        ("zero_grad", "accumulat", "not reset", "never reset", "gradients of earlier", "cleared"),
        "zero_grad missing",
    ),
    (
        diabetes_rmse_regression,
        ("broadcast", "[n, 1]", "shape", "squeeze", "(n, 1)"),
        "[n, 1] against [n] broadcasting",
    ),
    (
        rent_entity_embeddings,
        (
            "not in the optimizer",
            "left out",
            "no optimizer",
            "not given to",
            "embed",
            "missing from the optimizer",
        ),
        "part of the model left out of the optimizer",
    ),
    (
        cancer_kfold_early_stopping,
        ("reference", "copy", "deepcopy", "clone", "best weights", "alias"),
        "best weights kept by reference",
    ),
    (
        cancer_trainer_scaled_split,
        ("scale", "scaling", "normalis", "normaliz", "standardi", "distribution"),
        "validation inputs not normalised like the training inputs (own)",
    ),
]
