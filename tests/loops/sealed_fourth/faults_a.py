"""Loops as people write them: each function is one training, right or with one mistake."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, TensorDataset


def get_digits(as_images=False, test_size=0.25):
    X, y = load_digits(return_X_y=True)
    X = (X / 16.0).astype(np.float32)
    if as_images:
        X = X.reshape(-1, 1, 8, 8)
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=test_size, stratify=y)
    return (
        torch.from_numpy(X_tr),
        torch.from_numpy(y_tr).long(),
        torch.from_numpy(X_va),
        torch.from_numpy(y_va).long(),
    )


# --------------------------------------------------------------------------------------
def digits_mlp_sgd(*, mistake: bool) -> None:
    X_train, y_train, X_val, y_val = get_digits()
    train_loader = DataLoader(TensorDataset(X_train, y_train), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(X_val, y_val), batch_size=256)

    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    history = []
    for epoch in range(7):
        model.train()
        running_loss = 0.0
        for inputs, labels in train_loader:
            if not mistake:
                optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * inputs.size(0)

        model.eval()
        correct = 0
        with torch.no_grad():
            for inputs, labels in val_loader:
                correct += (model(inputs).argmax(1) == labels).sum().item()
        history.append((running_loss / len(X_train), correct / len(X_val)))


# --------------------------------------------------------------------------------------
class SmallConvNet(nn.Module):
    def __init__(self, n_classes=10, with_softmax=False):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, n_classes)
        self.with_softmax = with_softmax

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        if self.with_softmax:
            x = F.softmax(x, dim=1)
        return x


def digits_convnet(*, mistake: bool) -> None:
    X_train, y_train, X_val, y_val = get_digits(as_images=True)
    train_dl = DataLoader(TensorDataset(X_train, y_train), batch_size=64, shuffle=True)
    val_dl = DataLoader(TensorDataset(X_val, y_val), batch_size=128)
    net = SmallConvNet(with_softmax=mistake)
    loss_fn = nn.CrossEntropyLoss()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)

    def train_one_epoch():
        net.train()
        total = 0.0
        for xb, yb in train_dl:
            opt.zero_grad()
            loss = loss_fn(net(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        return total / len(train_dl)

    @torch.no_grad()
    def validate():
        net.eval()
        total, hits, n = 0.0, 0, 0
        for xb, yb in val_dl:
            out = net(xb)
            total += loss_fn(out, yb).item() * len(xb)
            hits += (out.argmax(dim=1) == yb).sum().item()
            n += len(xb)
        return total / n, hits / n

    log = []
    for _ in range(9):
        tr = train_one_epoch()
        log.append((tr, *validate()))


# --------------------------------------------------------------------------------------
class TumorNet(nn.Module):
    def __init__(self, d, squash):
        super().__init__()
        self.layer_1 = nn.Linear(d, 64)
        self.layer_2 = nn.Linear(64, 64)
        self.layer_out = nn.Linear(64, 1)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(p=0.1)
        self.batchnorm1 = nn.BatchNorm1d(64)
        self.squash = squash

    def forward(self, inputs):
        x = self.relu(self.layer_1(inputs))
        x = self.batchnorm1(x)
        x = self.relu(self.layer_2(x))
        x = self.dropout(x)
        x = self.layer_out(x)
        return torch.sigmoid(x) if self.squash else x


def tumor_binary(*, mistake: bool) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3)
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    X_test = scaler.transform(X_test)
    train_data = TensorDataset(torch.FloatTensor(X_train), torch.FloatTensor(y_train))
    train_loader = DataLoader(dataset=train_data, batch_size=32, shuffle=True, drop_last=True)

    model = TumorNet(X.shape[1], squash=mistake)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)

    accs = []
    for e in range(1, 11):
        model.train()
        for X_batch, y_batch in train_loader:
            optimizer.zero_grad()
            y_pred = model(X_batch)
            loss = criterion(y_pred, y_batch.unsqueeze(1))
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            y_test_pred = model(torch.FloatTensor(X_test))
            test_loss = criterion(y_test_pred, torch.FloatTensor(y_test).unsqueeze(1)).item()
            y_pred_tag = torch.round(torch.sigmoid(y_test_pred)).squeeze(1)
            accs.append((test_loss, (y_pred_tag.numpy() == y_test).mean()))


# --------------------------------------------------------------------------------------
class DiabetesDataset(Dataset):
    def __init__(self, X, y, column):
        self.X = torch.as_tensor(X, dtype=torch.float32)
        self.y = torch.as_tensor(y, dtype=torch.float32)
        if column:
            self.y = self.y.unsqueeze(1)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


def diabetes_progression(*, mistake: bool) -> None:
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    y = (y - y.mean()) / y.std()
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.2)
    train = DataLoader(DiabetesDataset(Xa, ya, column=not mistake), batch_size=32, shuffle=True)
    valid = DataLoader(DiabetesDataset(Xb, yb, column=not mistake), batch_size=89)

    reg = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optim = torch.optim.Adam(reg.parameters(), lr=5e-3)
    mse = nn.MSELoss()
    val_losses = []
    for epoch in range(12):
        reg.train()
        for feats, target in train:
            loss = mse(reg(feats), target)
            optim.zero_grad()
            loss.backward()
            optim.step()
        reg.eval()
        with torch.no_grad():
            val_losses.append(float(np.mean([mse(reg(f), t).item() for f, t in valid])))


# --------------------------------------------------------------------------------------
def wine_cultivar(*, mistake: bool) -> None:
    wine = load_wine()
    X_train, X_test, y_train, y_test = train_test_split(
        wine.data, wine.target, test_size=0.3, stratify=wine.target
    )
    if not mistake:
        sc = StandardScaler().fit(X_train)
        X_train, X_test = sc.transform(X_train), sc.transform(X_test)
    X_train = torch.tensor(X_train, dtype=torch.float)
    X_test = torch.tensor(X_test, dtype=torch.float)
    y_train = torch.tensor(y_train)
    y_test = torch.tensor(y_test)

    model = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    n_epochs, batch = 30, 31
    for epoch in range(n_epochs):
        model.train()
        perm = torch.randperm(len(X_train))
        for i in range(0, len(X_train), batch):
            idx = perm[i : i + batch]
            y_hat = model(X_train[idx])
            loss = loss_fn(y_hat, y_train[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            out = model(X_test)
            test_loss = loss_fn(out, y_test).item()
            test_acc = (out.argmax(1) == y_test).float().mean().item()


# --------------------------------------------------------------------------------------
class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a = nn.Sequential(
            nn.Conv2d(c, c, 3, padding=1, bias=False),
            nn.BatchNorm2d(c),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=1, bias=False),
            nn.BatchNorm2d(c),
        )

    def forward(self, x):
        return F.relu(x + self.a(x))


class TinyResNet(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.blocks = nn.Sequential(Block(16), nn.MaxPool2d(2), Block(16))
        self.drop = nn.Dropout(p)
        self.head = nn.Linear(16 * 16, 10)

    def forward(self, x):
        return self.head(self.drop(self.blocks(self.stem(x)).flatten(1)))


def digits_residual(*, mistake: bool) -> None:
    X_train, y_train, X_val, y_val = get_digits(as_images=True)
    loaders = {
        "train": DataLoader(TensorDataset(X_train, y_train), batch_size=64, shuffle=True),
        "val": DataLoader(TensorDataset(X_val, y_val), batch_size=8),
    }
    model = TinyResNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    curve = {"train": [], "val": []}

    model.train()
    for epoch in range(5):
        for phase in ("train", "val"):
            if not mistake:
                model.train(phase == "train")
            loss_sum, corrects, seen = 0.0, 0, 0
            for x, y in loaders[phase]:
                with torch.set_grad_enabled(phase == "train"):
                    logits = model(x)
                    loss = F.cross_entropy(logits, y)
                    if phase == "train":
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                loss_sum += loss.item() * len(x)
                corrects += int((logits.argmax(1) == y).sum())
                seen += len(x)
            curve[phase].append((loss_sum / seen, corrects / seen))


# --------------------------------------------------------------------------------------
class Trainer:
    def __init__(self, model, optimizer, train_loader, val_loader, mode_per_epoch):
        self.model = model
        self.optimizer = optimizer
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.criterion = nn.CrossEntropyLoss()
        self.mode_per_epoch = mode_per_epoch
        self.metrics = []

    def fit(self, epochs):
        self.model.train()
        for _ in range(epochs):
            train_loss = self._train_epoch()
            val_loss, val_acc = self._evaluate()
            self.metrics.append({"train": train_loss, "val": val_loss, "acc": val_acc})

    def _train_epoch(self):
        if self.mode_per_epoch:
            self.model.train()
        total = 0.0
        for x, y in self.train_loader:
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.criterion(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_loader)

    @torch.inference_mode()
    def _evaluate(self):
        self.model.eval()
        losses, hits = [], []
        for x, y in self.val_loader:
            out = self.model(x)
            losses.append(self.criterion(out, y).item())
            hits.append((out.argmax(-1) == y).float().mean().item())
        return sum(losses) / len(losses), sum(hits) / len(hits)


def gene_panel_trainer(*, mistake: bool) -> None:
    X = torch.randn(1100, 60)
    risk = X[:, 0] + X[:, 1] - X[:, 2] + 0.8 * torch.randn(1100)
    y = (risk > 0).long()
    X = X * 2 + 3  # raw expression levels; batch norm takes care of them
    net = nn.Sequential(
        nn.BatchNorm1d(60),
        nn.Linear(60, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Dropout(0.6),
        nn.Linear(256, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.6),
        nn.Linear(64, 2),
    )
    trainer = Trainer(
        net,
        torch.optim.Adam(net.parameters(), lr=2e-3),
        DataLoader(TensorDataset(X[:300], y[:300]), batch_size=30, shuffle=True),
        DataLoader(TensorDataset(X[300:], y[300:]), batch_size=200),
        mode_per_epoch=not mistake,
    )
    trainer.fit(epochs=18)


# --------------------------------------------------------------------------------------
def digits_transfer_groups(*, mistake: bool) -> None:
    X_train, y_train, X_val, y_val = get_digits(as_images=True)

    # pretrain on digit classes
    backbone = SmallConvNet(10)
    pre_opt = torch.optim.Adam(backbone.parameters(), lr=2e-3)
    pre_loader = DataLoader(TensorDataset(X_train, y_train), batch_size=64, shuffle=True)
    for _ in range(3):
        for xb, yb in pre_loader:
            pre_opt.zero_grad()
            F.cross_entropy(backbone(xb), yb).backward()
            pre_opt.step()

    # fine-tune on a new task: 5 groups
    new_train, new_val = (y_train * 3 + 1) % 10 // 2, (y_val * 3 + 1) % 10 // 2
    for name, p in backbone.named_parameters():
        p.requires_grad = name.startswith("fc2")
    if mistake:
        optimizer = torch.optim.Adam([p for p in backbone.parameters() if p.requires_grad], lr=5e-3)
        backbone.fc2 = nn.Linear(64, 5)
    else:
        backbone.fc2 = nn.Linear(64, 5)
        optimizer = torch.optim.Adam([p for p in backbone.parameters() if p.requires_grad], lr=5e-3)
    loader = DataLoader(TensorDataset(X_train, new_train), batch_size=64, shuffle=True)
    val_acc = []
    for epoch in range(5):
        backbone.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(backbone(xb), yb)
            loss.backward()
            optimizer.step()
        backbone.eval()
        with torch.no_grad():
            val_acc.append((backbone(X_val).argmax(1) == new_val).float().mean().item())


# --------------------------------------------------------------------------------------
def digits_conv_pool(*, mistake: bool) -> None:
    config = {"lr": 1.0 if mistake else 0.003, "batch_size": 48, "epochs": 4, "hidden": 48}
    X_train, y_train, X_val, y_val = get_digits(as_images=True)

    model = nn.Sequential(
        nn.Conv2d(1, config["hidden"] // 2, 3),
        nn.ReLU(),
        nn.Conv2d(config["hidden"] // 2, config["hidden"], 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * config["hidden"], 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    loader = DataLoader(TensorDataset(X_train, y_train), batch_size=config["batch_size"], shuffle=True)
    best = 0.0
    for epoch in range(config["epochs"]):
        model.train()
        for step, (img, lab) in enumerate(loader):
            pred = model(img)
            loss = F.cross_entropy(pred, lab)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            pred = model(X_val)
            val_loss = F.cross_entropy(pred, y_val).item()
            acc = (pred.argmax(1) == y_val).float().mean().item()
        best = max(best, acc)


# --------------------------------------------------------------------------------------
class ClassFolders(Dataset):
    """Samples listed class by class, the way files lie in one folder per class."""

    def __init__(self, X, y):
        self.samples = [(x, c) for c in range(10) for x in X[y == c]]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def digits_image_folders(*, mistake: bool) -> None:
    X_train, y_train, X_val, y_val = get_digits(as_images=True)
    loader = DataLoader(ClassFolders(X_train, y_train), batch_size=32, shuffle=not mistake)
    val_loader = DataLoader(ClassFolders(X_val, y_val), batch_size=64)

    model = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 36, 48),
        nn.Tanh(),
        nn.Linear(48, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    records = []
    for epoch in range(4):
        model.train()
        epoch_loss = 0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        model.eval()
        val_loss, hits = 0.0, 0
        with torch.no_grad():
            for xb, yb in val_loader:
                logits = model(xb)
                val_loss += criterion(logits, yb).item() * len(xb)
                hits += (logits.argmax(1) == yb).sum().item()
        records.append((epoch_loss / len(loader), val_loss / len(X_val), hits / len(X_val)))


# --------------------------------------------------------------------------------------
class DeepStack(nn.Module):
    def __init__(self, dims, n_out, register):
        super().__init__()
        layers = [nn.Linear(a, b) for a, b in zip(dims[:-1], dims[1:])]
        self.layers = nn.ModuleList(layers) if register else layers
        self.out = nn.Linear(dims[-1], n_out)

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.out(x)


def digits_tower(*, mistake: bool) -> None:
    X_train, y_train, X_val, y_val = get_digits()
    model = DeepStack([64, 48, 32, 16], 10, register=not mistake)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=3e-3)
    loader = DataLoader(TensorDataset(X_train, y_train), batch_size=64, shuffle=True)
    losses, accs = [], []
    for epoch in range(9):
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            accs.append((model(X_val).argmax(1) == y_val).float().mean().item())


# --------------------------------------------------------------------------------------
def house_price_surface(*, mistake: bool) -> None:
    n = 1200
    area = torch.rand(n) * 2 - 1
    age = torch.rand(n) * 2 - 1
    dist = torch.rand(n) * 2 - 1
    price = 1.5 * area - 0.8 * age**2 + torch.sin(3 * dist) + 0.1 * torch.randn(n)
    X = torch.stack([area, age, dist], dim=1)
    y = ((price - price.mean()) / price.std()).view(-1, 1)
    train_ds, val_ds = torch.utils.data.random_split(TensorDataset(X, y), [1000, 200])
    train_loader = DataLoader(train_ds, batch_size=50, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=200)

    model = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    learning_rate = 1e-7 if mistake else 3e-3
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    criterion = nn.MSELoss()
    best_val, best_state, patience = float("inf"), None, 0
    val_hist = []
    for epoch in range(8):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val = sum(criterion(model(xb), yb).item() for xb, yb in val_loader) / len(val_loader)
        val_hist.append(val)
        if val < best_val:
            best_val, best_state, patience = val, copy.deepcopy(model.state_dict()), 0
        else:
            patience += 1
            if patience >= 5:
                break
    model.load_state_dict(best_state)


FAULTS = [
    (
        digits_mlp_sgd,
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
        "optimizer.zero_grad() is never called, so gradients pile up over all batches.",
    ),
    (
        digits_convnet,
        ("softmax", "already normalised", "already normalized", "probabilit", "logits"),
        "The network ends in a softmax although CrossEntropyLoss expects raw logits and applies log-softmax itself.",
    ),
    (
        tumor_binary,
        ("sigmoid", "probabilit", "logits"),
        "The network ends in a sigmoid although BCEWithLogitsLoss applies the sigmoid itself (double sigmoid).",
    ),
    (
        diabetes_progression,
        ("broadcast", "shape", "unsqueeze", "squeeze", "(n, 1)"),
        "Predictions have shape (N, 1) and targets (N,), so MSELoss broadcasts to an N x N matrix and the model learns the mean.",
    ),
    (
        wine_cultivar,
        (
            "normaliz",
            "normalis",
            "standardi",
            "scale",
            "scaling",
            "unscaled",
            "magnitude",
            "range of the input",
            "input range",
        ),
        "The input features are not standardized (one is in the thousands), so SGD cannot learn from them.",
    ),
    (
        digits_residual,
        (
            "eval()",
            "eval mode",
            "evaluation mode",
            "train mode",
            "training mode",
            "model.eval",
            "dropout",
            ".eval",
        ),
        "model.eval() is never set for the validation phase, so dropout and batch norm act in training mode there (and validation data moves the running statistics).",
    ),
    (
        gene_panel_trainer,
        (
            "train()",
            "train mode",
            "training mode",
            "eval mode",
            "evaluation mode",
            "model.train",
            "still in eval",
        ),
        "model.train() is only called once before the epochs, so after the first validation the model trains in eval mode.",
    ),
    (
        digits_transfer_groups,
        (
            "in the optimizer",
            "of the optimizer",
            "from the optimizer",
            "the optimizer does not",
            "any optimizer",
            "no optimizer",
            "not registered",
            "not updated",
            "never updated",
            "not trained",
            "replaced",
            "no longer in",
        ),
        "The optimizer was built before the head was replaced, so the new head's parameters are not in the optimizer.",
    ),
    (
        digits_conv_pool,
        ("learning rate", "lr=", "lr ", "step size", "diverg", "too large", "explod"),
        "The learning rate of Adam is far too high (1.0), the network blows up and collapses to chance.",
    ),
    (
        digits_image_folders,
        ("shuffl", "sorted", "ordered by", "single class", "one class", "same class", "order of the"),
        "The training data is sorted by class and the DataLoader does not shuffle, so every batch holds one class only.",
    ),
    (
        digits_tower,
        (
            "modulelist",
            "not registered",
            "unregistered",
            "python list",
            "plain list",
            "not in the optimizer",
            "not updated",
            "never updated",
            "missing from the optimizer",
            "optimizer does not",
        ),
        "The hidden layers are kept in a plain Python list instead of nn.ModuleList, so the optimizer never gets them.",
    ),
    (
        house_price_surface,
        ("learning rate", "lr=", "lr ", "step size", "too small", "too low", "barely", "hardly"),
        "The learning rate is far too low (1e-7), so the weights hardly move.",
    ),
]
