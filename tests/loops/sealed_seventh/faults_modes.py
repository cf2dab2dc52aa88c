import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from .common import corpus, digits


def cnn_train_eval_functions(mistake: bool) -> None:
    """model.train() is called once before the epochs; after the first validation the net stays in eval mode."""
    torch.manual_seed(11)

    def evaluate(model, loader, criterion):
        model.eval()
        correct, loss_sum = 0, 0.0
        with torch.no_grad():
            for inputs, targets in loader:
                outputs = model(inputs)
                loss_sum += criterion(outputs, targets).item() * len(targets)
                correct += (outputs.argmax(dim=1) == targets).sum().item()
        return loss_sum / len(loader.dataset), correct / len(loader.dataset)

    xtr, ytr, xte, yte = digits(seed=11)
    train_loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(xte, yte), batch_size=128)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(128, 10),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

    model.train()
    for epoch in range(15):
        if not mistake:
            model.train()
        running = 0.0
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running += loss.item()
        val_loss, val_acc = evaluate(model, val_loader, criterion)
    print(f"epoch {epoch}: train {running / len(train_loader):.4f} val {val_loss:.4f} acc {val_acc:.4f}")


class _Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.proj = nn.Linear(128, 8)

    def forward(self, x):
        return self.proj(self.net(x))


def encoder_under_no_grad(mistake: bool) -> None:
    """The encoder is run under torch.no_grad() although it is meant to be trained from scratch with the head."""
    torch.manual_seed(12)

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = _Encoder()
            self.head = nn.Sequential(nn.ReLU(), nn.Linear(8, 10))

        def extract_features(self, x):
            if mistake:
                with torch.no_grad():
                    return self.encoder(x)
            return self.encoder(x)

        def forward(self, x):
            return self.head(self.extract_features(x))

    xtr, ytr, xte, yte = digits(seed=12)
    model = Classifier()
    optimizer = torch.optim.AdamW(
        [
            {"params": model.encoder.parameters(), "lr": 2e-3},
            {"params": model.head.parameters(), "lr": 5e-3},
        ]
    )
    dl = DataLoader(TensorDataset(xtr, ytr), 32, shuffle=True, drop_last=True)
    for epoch in range(24):
        model.train()
        for xb, yb in dl:
            loss = F.cross_entropy(model(xb), yb)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        print("loss", loss.item(), "acc", (model(xte).argmax(-1) == yte).float().mean().item())


def steps_with_next_iter(mistake: bool) -> None:
    """next(iter(loader)) restarts an unshuffled loader at every step, so only its first batch is ever seen."""
    torch.manual_seed(13)
    rng = np.random.default_rng(13)
    X = rng.uniform(-1, 1, (2000, 6)).astype(np.float32)
    y = (
        np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * X[:, 3] ** 2 + 0.05 * rng.standard_normal(2000)
    ).astype(np.float32)
    X, y = torch.from_numpy(X), torch.from_numpy(y)[:, None]
    train_loader = DataLoader(TensorDataset(X[:1600], y[:1600]), batch_size=64, shuffle=False)
    val_loader = DataLoader(TensorDataset(X[1600:], y[1600:]), batch_size=200)

    def infinite(loader):
        while True:
            yield from loader

    def validate():
        model.eval()
        with torch.no_grad():
            se = sum(F.mse_loss(model(a), b, reduction="sum").item() for a, b in val_loader)
        return se / len(val_loader.dataset)

    model = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    batches = infinite(train_loader)
    max_steps, eval_every = 1800, 300
    for step in range(1, max_steps + 1):
        xb, yb = next(iter(train_loader)) if mistake else next(batches)
        model.train()
        opt.zero_grad()
        loss = F.mse_loss(model(xb), yb)
        loss.backward()
        opt.step()
        if step % eval_every == 0:
            val = validate()
    print(f"step {step} loss {loss.item():.4f} val {val:.4f}")


def char_rnn_total_loss(mistake: bool) -> None:
    """The running loss is summed as a tensor with its graph, so every graph is kept in memory until the report."""
    torch.manual_seed(14)
    text = corpus()
    vocab = sorted(set(text))
    stoi = {c: i for i, c in enumerate(vocab)}
    ids = torch.tensor([stoi[c] for c in text])

    class CharRNN(nn.Module):
        def __init__(self, v, h=64):
            super().__init__()
            self.emb = nn.Embedding(v, 24)
            self.rnn = nn.GRU(24, h, batch_first=True)
            self.fc = nn.Linear(h, v)

        def forward(self, x):
            return self.fc(self.rnn(self.emb(x))[0])

    def random_chunk(bs=32, length=32):
        s = torch.randint(0, len(ids) - length - 1, (bs,))
        return torch.stack([ids[i : i + length] for i in s]), torch.stack(
            [ids[i + 1 : i + length + 1] for i in s]
        )

    model = CharRNN(len(vocab))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    criterion = nn.CrossEntropyLoss()
    all_losses, loss_avg = [], 0
    print_every = 50
    for it in range(1, 401):
        x, y = random_chunk()
        optimizer.zero_grad()
        loss = criterion(model(x).flatten(0, 1), y.flatten())
        loss.backward()
        optimizer.step()
        if mistake:
            loss_avg += loss
        else:
            loss_avg += loss.item()
        if it % print_every == 0:
            all_losses.append(loss_avg / print_every)
            loss_avg = 0
    print("last average", all_losses[-1])


def step_lr_in_batch_loop(mistake: bool) -> None:
    """StepLR counted in epochs is stepped after every batch, so the learning rate is gone within the first epoch or two."""
    torch.manual_seed(15)
    xtr, ytr, xte, yte = digits(seed=15)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 10, kernel_size=3)
            self.conv2 = nn.Conv2d(10, 20, kernel_size=3)
            self.fc1 = nn.Linear(80, 50)
            self.fc2 = nn.Linear(50, 10)

        def forward(self, x):
            x = F.relu(self.conv1(x))
            x = F.relu(F.max_pool2d(self.conv2(x), 2))
            x = F.relu(self.fc1(torch.flatten(x, 1)))
            return F.log_softmax(self.fc2(x), dim=1)

    def train(model, loader, optimizer, scheduler):
        model.train()
        for data, target in loader:
            optimizer.zero_grad()
            loss = F.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
        return loss.item()

    def test(model):
        model.eval()
        with torch.no_grad():
            out = model(xte)
            return F.nll_loss(out, yte).item(), (out.argmax(1) == yte).float().mean().item()

    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=6, gamma=0.3)
    for epoch in range(1, 25):
        train_loss = train(model, loader, optimizer, scheduler)
        if not mistake:
            scheduler.step()
        test_loss, acc = test(model)
    print(
        f"train {train_loss:.4f} test {test_loss:.4f} acc {acc:.4f} lr {optimizer.param_groups[0]['lr']:.2e}"
    )


def amp_clip_scaled(mistake: bool) -> None:
    """Gradients are clipped while still multiplied by the GradScaler's factor: scaler.unscale_() is missing before the clip."""
    torch.manual_seed(16)
    text = corpus()
    vocab = sorted(set(text))
    ids = torch.tensor([vocab.index(c) for c in text])
    ctx = 8

    class ContextMLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(vocab), 16)
            self.fc1 = nn.Linear(16 * ctx, 128)
            self.fc2 = nn.Linear(128, len(vocab))

        def forward(self, x):
            return self.fc2(torch.tanh(self.fc1(self.emb(x).flatten(1))))

    net = ContextMLP()
    opt = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    hist = []
    for step in range(800):
        s = torch.randint(0, len(ids) - ctx, (64,))
        x = ids[s[:, None] + torch.arange(ctx)]
        y = ids[s + ctx]
        opt.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(net(x), y)
        scaler.scale(loss).backward()
        if not mistake:
            scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
        scaler.step(opt)
        scaler.update()
        hist.append(loss.item())
    print(f"first {np.mean(hist[:20]):.3f} last {np.mean(hist[-50:]):.3f} scale {scaler.get_scale()}")


def resnet_accumulation(mistake: bool) -> None:
    """The loss is not divided by the number of accumulation steps, so the update is eight times too large."""
    torch.manual_seed(17)

    class Block(nn.Module):
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

    xtr, ytr, xte, yte = digits(seed=17)
    xtr, ytr = xtr[:1280], ytr[:1280]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        Block(16),
        nn.AvgPool2d(2),
        Block(16),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=16, shuffle=True)
    accumulation_steps = 8
    for epoch in range(18):
        model.train()
        optimizer.zero_grad()
        epoch_loss = 0.0
        for i, (images, labels) in enumerate(loader):
            loss = F.cross_entropy(model(images), labels)
            epoch_loss += loss.item()
            if not mistake:
                loss = loss / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        acc = (model(xte).argmax(1) == yte).float().mean().item()
    print(f"loss {epoch_loss / len(loader):.4f} acc {acc:.4f}")


def phases_without_guard(mistake: bool) -> None:
    """backward() and step() also run in the 'val' phase, so the net is trained on its validation set."""
    torch.manual_seed(18)
    data = load_breast_cancer()
    rng = np.random.default_rng(18)
    y = data.target.copy()
    flip = rng.random(len(y)) < 0.08
    y[flip] = 1 - y[flip]
    order = rng.permutation(len(y))
    X, y = data.data[order], y[order]
    mu, sd = X[:400].mean(0), X[:400].std(0)
    X = torch.tensor((X - mu) / sd, dtype=torch.float32)
    y = torch.tensor(y)
    image_datasets = {"train": TensorDataset(X[:400], y[:400]), "val": TensorDataset(X[400:], y[400:])}
    dataloaders = {
        p: DataLoader(image_datasets[p], batch_size=8, shuffle=p == "train") for p in ("train", "val")
    }
    dataset_sizes = {p: len(image_datasets[p]) for p in ("train", "val")}

    model = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9, weight_decay=1e-2)
    report = {}
    for epoch in range(50):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(mistake or phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if mistake or phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data).item()
            report[phase] = (
                running_loss / dataset_sizes[phase],
                running_corrects / dataset_sizes[phase],
            )
    print({p: (round(a, 4), round(b, 4)) for p, (a, b) in report.items()})


def text_classifier_dropout(mistake: bool) -> None:
    """Validation runs without model.eval(), so dropout is active in the numbers used for early stopping."""
    torch.manual_seed(19)
    V, L, n = 60, 16, 1600
    tokens = torch.randint(2, V, (n, L))
    weight = torch.randn(V)
    y = (weight[tokens].sum(1) + 0.3 * torch.randn(n) > 0).float()

    class TransformerClassifier(nn.Module):
        def __init__(self, d=32):
            super().__init__()
            self.emb = nn.Embedding(V, d)
            self.pos = nn.Parameter(0.02 * torch.randn(L, d))
            self.drop = nn.Dropout(0.3)
            self.block = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.3, batch_first=True)
            self.cls = nn.Linear(d, 1)

        def forward(self, t):
            return self.cls(self.block(self.drop(self.emb(t) + self.pos)).mean(1)).squeeze(-1)

    def binary_accuracy(preds, y):
        return ((torch.sigmoid(preds) > 0.5).float() == y).float().mean()

    def train(model, iterator):
        model.train()
        epoch_loss = epoch_acc = 0
        for t, lab in iterator:
            optimizer.zero_grad()
            predictions = model(t)
            loss = criterion(predictions, lab)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
            epoch_acc += binary_accuracy(predictions, lab).item()
        return epoch_loss / len(iterator), epoch_acc / len(iterator)

    def evaluate(model, iterator):
        if not mistake:
            model.eval()
        epoch_loss = epoch_acc = 0
        with torch.no_grad():
            for t, lab in iterator:
                predictions = model(t)
                epoch_loss += criterion(predictions, lab).item()
                epoch_acc += binary_accuracy(predictions, lab).item()
        return epoch_loss / len(iterator), epoch_acc / len(iterator)

    train_it = DataLoader(TensorDataset(tokens[:1280], y[:1280]), 64, shuffle=True)
    valid_it = DataLoader(TensorDataset(tokens[1280:], y[1280:]), 64)
    model = TransformerClassifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.BCEWithLogitsLoss()
    best = float("inf")
    for epoch in range(14):
        train_loss, train_acc = train(model, train_it)
        valid_loss, valid_acc = evaluate(model, valid_it)
        best = min(best, valid_loss)
    print(
        f"train {train_loss:.3f}/{train_acc:.3f} valid {valid_loss:.3f}/{valid_acc:.3f} best {best:.3f}"
    )


def signal_cnn_batchnorm(mistake: bool) -> None:
    """The validation method never switches to eval mode, so BatchNorm normalises by (and learns from) validation batches."""
    torch.manual_seed(20)
    rng = np.random.default_rng(20)
    n, T = 1200, 64
    cls = np.sort(rng.integers(0, 4, n))
    t = np.linspace(0, 1, T)
    freq = np.array([3, 5, 7, 9])[cls][:, None]
    amp = np.array([0.6, 1.0, 1.4, 1.8])[cls][:, None]
    sig = amp * np.sin(2 * np.pi * (freq * t + rng.random((n, 1)))) + 0.5 * rng.standard_normal((n, T))
    test = np.zeros(n, bool)
    test[::5] = True
    X, y = torch.tensor(sig[:, None], dtype=torch.float32), torch.tensor(cls)

    class SignalNet(nn.Module):
        def __init__(self):
            super().__init__()
            chans = [1, 16, 32, 32]
            self.stages = nn.ModuleList(
                nn.Sequential(nn.Conv1d(a, b, 5, stride=2, padding=2), nn.BatchNorm1d(b), nn.ReLU())
                for a, b in zip(chans, chans[1:])
            )
            self.fc = nn.Linear(32, 4)

        def forward(self, x):
            for s in self.stages:
                x = s(x)
            return self.fc(x.mean(-1))

    class Experiment:
        def __init__(self):
            self.net = SignalNet()
            self.opt = torch.optim.Adam(self.net.parameters(), lr=2e-3)
            self.train_dl = DataLoader(TensorDataset(X[~test], y[~test]), 32, shuffle=True)
            self.val_dl = DataLoader(TensorDataset(X[test], y[test]), 8)

        def training_epoch(self):
            self.net.train()
            total = 0.0
            for xb, yb in self.train_dl:
                self.opt.zero_grad()
                loss = F.cross_entropy(self.net(xb), yb)
                loss.backward()
                self.opt.step()
                total += loss.item() * len(xb)
            return total / len(self.train_dl.dataset)

        @torch.no_grad()
        def validation_epoch(self):
            if not mistake:
                self.net.eval()
            right = loss = 0
            for xb, yb in self.val_dl:
                out = self.net(xb)
                loss += F.cross_entropy(out, yb, reduction="sum").item()
                right += (out.argmax(1) == yb).sum().item()
            return loss / len(self.val_dl.dataset), right / len(self.val_dl.dataset)

        def run(self, epochs):
            for e in range(epochs):
                tr = self.training_epoch()
                vl, va = self.validation_epoch()
            print(f"epoch {e} train {tr:.4f} val {vl:.4f} acc {va:.4f}")

    Experiment().run(18)


FAULTS = [
    (
        cnn_train_eval_functions,
        (
            "eval mode",
            "model.train()",
            "stuck in eval",
            "stays in eval",
            "train mode",
            "not back in train",
        ),
        "stuck in eval after validation",
    ),
    (
        encoder_under_no_grad,
        ("no_grad", "encoder", "no gradient", "not trained", "never receives", "without grad"),
        "training under no_grad of a part",
    ),
    (
        steps_with_next_iter,
        ("same batch", "next(iter", "restart", "first batch", "only one batch", "identical batch"),
        "iterator restarted each step",
    ),
    (
        char_rnn_total_loss,
        (".item()", "graph", "memory", "detach", "running loss", "loss tensor"),
        "loss accumulated with its graph",
    ),
    (
        step_lr_in_batch_loop,
        ("scheduler", "per batch", "every batch", "learning rate", "each batch", "steplr"),
        "scheduler per batch instead of per epoch",
    ),
    (amp_clip_scaled, ("unscale", "scaler", "scaled gradient", "clip"), "clipping before unscaling"),
    (
        resnet_accumulation,
        ("accumulat", "divid", "8 times", "eight times", "micro-batch", "micro batch"),
        "accumulation not divided",
    ),
    (
        phases_without_guard,
        ("validation", "val phase", "val set", "trained on the val", "held-out", "evaluation data"),
        "training on validation",
    ),
    (
        text_classifier_dropout,
        ("eval()", "dropout", "train mode", "training mode"),
        "validation without eval()",
    ),
    (
        signal_cnn_batchnorm,
        ("eval()", "batchnorm", "batch norm", "train mode", "training mode", "running stat"),
        "validation without eval()",
    ),
]
