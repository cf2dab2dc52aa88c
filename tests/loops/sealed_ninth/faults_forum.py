"""Mistakes as they are asked about on discuss.pytorch.org and Stack Overflow."""

import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from .common import digit_images, digits, loader, standardized


def rows_lstm_batch_first(mistake: bool) -> None:
    """The LSTM is built without batch_first=True but fed (batch, time, features), so it runs along the batch."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()

    class RowLSTM(nn.Module):
        def __init__(self, hidden=64):
            super().__init__()
            if mistake:
                self.lstm = nn.LSTM(8, hidden)
            else:
                self.lstm = nn.LSTM(8, hidden, batch_first=True)
            self.fc = nn.Linear(hidden, 10)

        def forward(self, x):
            out, _ = self.lstm(x)
            return self.fc(out[:, -1, :])

    model = RowLSTM()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(15):
        model.train()
        for images, labels in loader(xtr, ytr):
            images = images.reshape(-1, 8, 8)
            outputs = model(images)
            loss = criterion(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in loader(xte, yte, shuffle=False):
            correct += (model(images.reshape(-1, 8, 8)).argmax(1) == labels).sum().item()
    print(f"loss {loss.item():.3f} test acc {correct / len(yte):.3f}")


def diabetes_broadcast(mistake: bool) -> None:
    """Predictions of shape (N, 1) minus targets of shape (N,) broadcast to (N, N) in the squared error."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = standardized(datasets.load_diabetes)
    mu, sd = ytr.mean(), ytr.std()
    ytr = torch.tensor((ytr - mu) / sd, dtype=torch.float32)
    yte = torch.tensor((yte - mu) / sd, dtype=torch.float32)
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)

    def mse(pred, target):
        return torch.mean((pred - target) ** 2)

    for epoch in range(30):
        for xb, yb in loader(xtr, ytr, batch_size=32):
            pred = net(xb)
            if not mistake:
                pred = pred.squeeze(1)
            loss = mse(pred, yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
    with torch.no_grad():
        p = net(xte).squeeze(1)
        r2 = 1 - ((p - yte) ** 2).mean() / yte.var()
    print(f"loss {loss.item():.3f} test r2 {r2:.3f}")


def cnn_softmax_before_ce(mistake: bool) -> None:
    """The network ends with a softmax although nn.CrossEntropyLoss applies log_softmax itself."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
            self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
            self.fc1 = nn.Linear(32 * 2 * 2, 64)
            self.fc2 = nn.Linear(64, 10)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            x = F.relu(self.fc1(x.flatten(1)))
            x = self.fc2(x)
            return F.softmax(x, dim=1) if mistake else x

    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(12):
        running_loss = 0.0
        batches = loader(xtr, ytr, batch_size=32)
        for inputs, labels in batches:
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
    with torch.no_grad():
        acc = (net(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {running_loss / len(batches):.3f} test acc {acc:.3f}")


def one_unit_softmax(mistake: bool) -> None:
    """A binary classifier with one output unit ends in a softmax over that one unit, which is always 1."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = standardized(datasets.load_breast_cancer)
    ytr = torch.tensor(ytr, dtype=torch.float32).unsqueeze(1)
    yte = torch.tensor(yte, dtype=torch.float32).unsqueeze(1)
    final = nn.Softmax(dim=1) if mistake else nn.Sigmoid()
    model = nn.Sequential(
        nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), final
    )
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(25):
        for xb, yb in loader(xtr, ytr, batch_size=32):
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        acc = ((model(xte) > 0.5).float() == yte).float().mean().item()
    print(f"loss {loss.item():.3f} test acc {acc:.3f}")


def functional_dropout_always(mistake: bool) -> None:
    """F.dropout is called without training=self.training, so it stays active under model.eval()."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()

    class MLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(64, 128)
            self.fc2 = nn.Linear(128, 64)
            self.fc3 = nn.Linear(64, 10)

        def forward(self, x):
            x = F.relu(self.fc1(x))
            x = F.dropout(x, p=0.5) if mistake else F.dropout(x, p=0.5, training=self.training)
            x = F.relu(self.fc2(x))
            x = F.dropout(x, p=0.5) if mistake else F.dropout(x, p=0.5, training=self.training)
            return self.fc3(x)

    def train_epoch(model, batches, optimizer):
        model.train()
        total = 0.0
        for xb, yb in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / len(batches)

    @torch.no_grad()
    def evaluate(model, batches):
        model.eval()
        hits = n = 0
        for xb, yb in batches:
            hits += (model(xb).argmax(1) == yb).sum().item()
            n += len(yb)
        return hits / n

    model = MLP()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train_loader, test_loader = loader(xtr, ytr), loader(xte, yte, batch_size=128, shuffle=False)
    for epoch in range(20):
        train_loss = train_epoch(model, train_loader, optimizer)
        acc = evaluate(model, test_loader)
    print(f"loss {train_loss:.3f} test acc {acc:.3f}")


def best_weights_by_reference(mistake: bool) -> None:
    """The best weights are kept as model.state_dict() without a copy, so they go on changing with training."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = standardized(datasets.load_diabetes, test_size=0.5)
    mu, sd = ytr.mean(), ytr.std()
    ytr = torch.tensor((ytr - mu) / sd, dtype=torch.float32).unsqueeze(1)
    yte = torch.tensor((yte - mu) / sd, dtype=torch.float32).unsqueeze(1)
    xva, yva, xte, yte = xte[:110], yte[:110], xte[110:], yte[110:]
    model = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.MSELoss()
    best_loss, best_weights = float("inf"), None
    for epoch in range(60):
        model.train()
        for xb, yb in loader(xtr, ytr, batch_size=32):
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(xva), yva).item()
        if val_loss < best_loss:
            best_loss = val_loss
            if mistake:
                best_weights = model.state_dict()
            else:
                best_weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    model.eval()
    with torch.no_grad():
        again = criterion(model(xva), yva).item()
        test = criterion(model(xte), yte).item()
    print(f"train {loss.item():.3f} best val {best_loss:.3f}, restored val {again:.3f} test {test:.3f}")


def residual_blocks_in_list(mistake: bool) -> None:
    """The residual blocks sit in a plain Python list, so their parameters are not registered and not trained."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    x = torch.rand(3000, 4, generator=g) * 2 - 1
    y = torch.sin(4 * x[:, :1]) + 2 * x[:, 1:2] * x[:, 2:3] + torch.cos(3 * x[:, 3:] * x[:, :1])
    y = y + 0.05 * torch.randn(y.shape, generator=g)

    class Block(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.norm = nn.LayerNorm(d)
            self.a, self.b = nn.Linear(d, d), nn.Linear(d, d)

        def forward(self, h):
            return h + self.b(F.relu(self.a(self.norm(h))))

    class ResMLP(nn.Module):
        def __init__(self, d=16, depth=4):
            super().__init__()
            self.stem = nn.Linear(4, d)
            blocks = [Block(d) for _ in range(depth)]
            self.blocks = blocks if mistake else nn.ModuleList(blocks)
            self.head = nn.Linear(d, 1)

        def forward(self, h):
            h = self.stem(h)
            for block in self.blocks:
                h = block(h)
            return self.head(h)

    model = ResMLP()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(15):
        for xb, yb in loader(x[:2400], y[:2400], batch_size=64):
            loss = F.mse_loss(model(xb), yb)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        test = F.mse_loss(model(x[2400:]), y[2400:]).item()
    print(f"loss {loss.item():.3f} test mse {test:.3f} (var {y.var().item():.3f})")


def head_replaced_after_optimizer(mistake: bool) -> None:
    """The classification head is replaced after the optimizer was built, so the new head is never updated."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images()

    class SmallNet(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            self.fc = nn.Linear(32, n)

        def forward(self, x):
            return self.fc(self.features(x))

    def run(model, optimizer, x, y, epochs):
        for _ in range(epochs):
            for xb, yb in loader(x, y, batch_size=32):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                optimizer.step()
        return loss.item()

    low = ytr < 5
    model = SmallNet(5)
    run(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), xtr[low], ytr[low], 8)

    if mistake:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        model.fc = nn.Linear(32, 5)
    else:
        model.fc = nn.Linear(32, 5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    last = run(model, optimizer, xtr[~low], ytr[~low] - 5, 20)
    with torch.no_grad():
        high = yte >= 5
        acc = (model(xte[high]).argmax(1) == yte[high] - 5).float().mean().item()
    print(f"loss {last:.3f} test acc {acc:.3f}")


def ranking_losses_rewrapped(mistake: bool) -> None:
    """The pair losses are collected with .item() and put into a new tensor, so nothing flows back to the model."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = standardized(datasets.load_diabetes)
    ytr, yte = torch.tensor(ytr, dtype=torch.float32), torch.tensor(yte, dtype=torch.float32)
    scorer = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(scorer.parameters(), lr=2e-3)

    def concordance(x, y):
        with torch.no_grad():
            s = scorer(x).squeeze(1)
        d, e = s[:, None] - s[None], y[:, None] - y[None]
        return ((d * e > 0).float().sum() / (e != 0).float().sum()).item()

    history = []
    for step in range(300):
        losses = []
        for query in range(4):
            idx = torch.randperm(len(xtr))[:12]
            s, rel = scorer(xtr[idx]).squeeze(1), ytr[idx]
            order = rel[:, None] > rel[None]
            hinge = F.relu(1 - (s[:, None] - s[None]))[order].mean()
            losses.append(hinge.item() if mistake else hinge)
        if mistake:
            loss = torch.tensor(losses, requires_grad=True).mean()
        else:
            loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    print(
        f"loss {np.mean(history[:20]):.3f} -> {np.mean(history[-20:]):.3f} concordance {concordance(xte, yte):.3f}"
    )


def sampler_with_class_weights(mistake: bool) -> None:
    """WeightedRandomSampler is given one weight per class, so it draws only the first ten samples of the set."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()
    keep = (ytr < 5) | (torch.arange(len(ytr)) % 4 == 0)
    xtr, ytr = xtr[keep], ytr[keep]
    counts = torch.bincount(ytr, minlength=10).float()
    class_weights = 1.0 / counts
    weights = class_weights if mistake else class_weights[ytr]
    sampler = WeightedRandomSampler(weights, num_samples=len(ytr), replacement=True)
    train_loader = DataLoader(TensorDataset(xtr, ytr), batch_size=32, sampler=sampler)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(15):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {loss.item():.3f} test acc {acc:.3f}")


def plateau_wrong_mode(mistake: bool) -> None:
    """ReduceLROnPlateau is stepped with the accuracy but left in mode='min', so a rising accuracy cuts the rate."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.8)
    if mistake:
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2, patience=2)
    else:
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.2, patience=2
        )
    for epoch in range(18):
        model.train()
        for xb, yb in loader(xtr, ytr):
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            out = model(xte)
            val_loss = F.cross_entropy(out, yte).item()
            val_acc = (out.argmax(1) == yte).float().mean().item()
        scheduler.step(val_acc)
    print(f"val loss {val_loss:.3f} acc {val_acc:.3f} lr {optimizer.param_groups[0]['lr']:.2e}")


def autoencoder_zero_grad_before_step(mistake: bool) -> None:
    """optimizer.zero_grad() stands between backward() and step(), so every step sees no gradients."""
    torch.manual_seed(0)
    xtr, _, xte, _ = digits()

    class AE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8))
            self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())

        def forward(self, x):
            return self.decoder(self.encoder(x))

    model = AE()
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)
    first = criterion(model(xte), xte).item()
    for epoch in range(15):
        for (img,) in loader(xtr):
            output = model(img)
            loss = criterion(output, img)
            if mistake:
                loss.backward()
                optimizer.zero_grad()
                optimizer.step()
            else:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    print(f"test mse {first:.4f} -> {criterion(model(xte), xte).item():.4f}")


def freeze_by_module_attribute(mistake: bool) -> None:
    """encoder.requires_grad = False only sets an attribute of the module: the encoder is not frozen."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digits()
    encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
    decoder = nn.Linear(32, 64)
    pre = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
    for epoch in range(20):
        for (xb,) in loader(xtr):
            pre.zero_grad()
            F.mse_loss(decoder(encoder(xb)), xb).backward()
            pre.step()

    class Probe(nn.Module):
        def __init__(self, encoder):
            super().__init__()
            self.encoder = encoder
            self.head = nn.Linear(32, 10)

        def forward(self, x):
            return self.head(self.encoder(x))

    model = Probe(encoder)
    # linear probing: train the head only
    if mistake:
        model.encoder.requires_grad = False
    else:
        for p in model.encoder.parameters():
            p.requires_grad = False
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = encoder[0].weight.detach().clone()
    for epoch in range(15):
        for xb, yb in loader(xtr, ytr):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        acc = (model(xte).argmax(1) == yte).float().mean().item()
        moved = (encoder[0].weight - before).norm().item()
    print(f"loss {loss.item():.3f} test acc {acc:.3f} encoder moved {moved:.3f}")


def hwc_images_viewed_as_chw(mistake: bool) -> None:
    """Images of shape (N, H, W, C) are brought to (N, C, H, W) with view instead of permute, which scrambles them."""
    torch.manual_seed(0)
    rng = np.random.RandomState(0)

    def make(n, size=16):
        yy, xx = np.mgrid[:size, :size]
        images, labels = [], rng.randint(0, 4, n)
        for k in labels:
            angle = np.pi * k / 4 + rng.normal(0, 0.08)
            wave = np.sin(
                (xx * np.cos(angle) + yy * np.sin(angle)) * rng.uniform(0.8, 1.4) + rng.uniform(0, 6)
            )
            colour = rng.uniform(0.2, 1.0, 3) * rng.choice([-1, 1])
            img = 0.5 + 0.3 * wave[..., None] * colour + rng.normal(0, 0.35, (size, size, 3))
            images.append((img.clip(0, 1) * 255).astype(np.uint8))
        return np.stack(images), labels

    def to_tensor(batch):
        x = torch.from_numpy(batch).float() / 255 - 0.5
        n, h, w, c = x.shape
        if mistake:
            return x.view(n, c, h, w)
        return x.permute(0, 3, 1, 2)

    xtr, ytr = make(1200)
    xte, yte = make(300)
    ytr, yte = torch.from_numpy(ytr), torch.from_numpy(yte)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(8):
        order = rng.permutation(len(xtr))
        for i in range(0, len(order), 40):
            idx = order[i : i + 40]
            optimizer.zero_grad()
            loss = criterion(model(to_tensor(xtr[idx])), ytr[torch.from_numpy(idx)])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        acc = (model(to_tensor(xte)).argmax(1) == yte).float().mean().item()
    print(f"loss {loss.item():.3f} test acc {acc:.3f}")


def eval_never_back_to_train(mistake: bool) -> None:
    """model.train() is called once before the epochs, but validation switches to eval(), so training goes on in eval mode."""
    torch.manual_seed(0)
    xtr, ytr, xte, yte = digit_images(test_size=0.7)

    class Trainer:
        def __init__(self):
            self.model = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(16, 32, 3, padding=1),
                nn.BatchNorm2d(32),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.5),
                nn.Linear(32 * 16, 10),
            )
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
            self.criterion = nn.CrossEntropyLoss()

        def validate(self):
            self.model.eval()
            loss = hits = 0.0
            with torch.no_grad():
                for xb, yb in loader(xte, yte, batch_size=256, shuffle=False):
                    out = self.model(xb)
                    loss += self.criterion(out, yb).item() * len(yb)
                    hits += (out.argmax(1) == yb).sum().item()
            return loss / len(yte), hits / len(yte)

        def fit(self, epochs):
            self.model.train()
            for epoch in range(epochs):
                if not mistake:
                    self.model.train()
                for xb, yb in loader(xtr, ytr, batch_size=32):
                    self.optimizer.zero_grad()
                    loss = self.criterion(self.model(xb), yb)
                    loss.backward()
                    self.optimizer.step()
                val_loss, val_acc = self.validate()
            print(f"train {loss.item():.4f} val {val_loss:.3f} acc {val_acc:.3f}")

    Trainer().fit(12)


FAULTS = [
    (
        rows_lstm_batch_first,
        (
            "batch_first",
            "batch dimension",
            "batch axis",
            "along the batch",
            "time axis",
            "across samples",
            "across the batch",
            "mixes samples",
            "other samples",
        ),
        "batch_first missing",
    ),
    (diabetes_broadcast, ("broadcast", "shape", "(n, n)", "squeeze"), "broadcast in the loss"),
    (cnn_softmax_before_ce, ("softmax", "logits", "probabilities"), "softmax before cross entropy"),
    (
        one_unit_softmax,
        (
            "softmax",
            "constant output",
            "always 1",
            "one unit",
            "single output",
            "constant prediction",
            "same output",
            "does not depend on",
        ),
        "softmax over one unit",
    ),
    (
        functional_dropout_always,
        ("dropout", "random in eval", "stochastic", "not deterministic", "nondeterministic"),
        "dropout active in evaluation",
    ),
    (
        best_weights_by_reference,
        ("state_dict", "copy", "alias", "reference", "best weights", "snapshot", "checkpoint"),
        "best weights kept by reference",
    ),
    (
        residual_blocks_in_list,
        (
            "modulelist",
            "python list",
            "plain list",
            "not registered",
            "unregistered",
            "not in the optimizer",
            "never updated",
        ),
        "unregistered submodules",
    ),
    (
        head_replaced_after_optimizer,
        (
            "not in the optimizer",
            "head",
            "replaced",
            "never updated",
            "does not hold",
            "not given to the optimizer",
            "missing from the optimizer",
            "no optimizer",
        ),
        "optimizer built before the model was complete",
    ),
    (
        ranking_losses_rewrapped,
        (
            "graph",
            "detach",
            ".item()",
            "new tensor",
            "no gradient",
            "not connected",
            "disconnected",
            "never reach",
        ),
        "loss cut from the graph",
    ),
    (
        sampler_with_class_weights,
        (
            "sampler",
            "class weight",
            "only the first",
            "few samples",
            "same samples",
            "ten samples",
            "part of the data",
            "fraction of the data",
        ),
        "sampler weights per class",
    ),
    (
        plateau_wrong_mode,
        ("plateau", "mode", "scheduler", "learning rate", "direction"),
        "scheduler in the wrong direction",
    ),
    (
        autoencoder_zero_grad_before_step,
        ("zero_grad", "between backward", "cleared", "before step", "without gradient", "no gradient"),
        "gradients cleared before the step",
    ),
    (freeze_by_module_attribute, ("frozen", "freeze", "requires_grad"), "freeze without effect"),
    (
        hwc_images_viewed_as_chw,
        ("permute", "view", "reshape", "layout", "channel", "transpose", "scrambl"),
        "view in place of permute",
    ),
    (
        eval_never_back_to_train,
        (
            "eval mode",
            "model.train()",
            "train()",
            "eval()",
            "evaluation mode",
            "train mode",
            "training mode",
        ),
        "training goes on in eval mode",
    ),
]
