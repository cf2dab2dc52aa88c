import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from . import common


class BNNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def _validate(model, loader, criterion):
    model.eval()
    loss = correct = n = 0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += criterion(out, y).item() * len(y)
            correct += (out.argmax(1) == y).sum().item()
            n += len(y)
    return loss / n, correct / n


def digits_batchnorm_script(mistake: bool) -> None:
    """model.train() stands before the epoch loop only, so after the first validation training goes on in eval mode."""
    torch.manual_seed(10)
    train_set, val_set = common.digit_sets(images=True)
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=256)
    model = BNNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)

    model.train()
    for epoch in range(10):
        if not mistake:
            model.train()
        train_loss = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
        val_loss, val_acc = _validate(model, val_loader, criterion)
        print(f"{epoch} train {train_loss / len(train_loader):.4f} val {val_loss:.4f} acc {val_acc:.3f}")


class TopicLSTM(nn.Module):
    def __init__(self, vocab=300, classes=4):
        super().__init__()
        self.emb = nn.Embedding(vocab, 32, padding_idx=0)
        self.drop = nn.Dropout(0.5)
        self.lstm = nn.LSTM(32, 48, batch_first=True)
        self.fc = nn.Linear(48, classes)

    def forward(self, x):
        h, _ = self.lstm(self.drop(self.emb(x)))
        return self.fc(self.drop(h.mean(1)))


class StepTrainer:
    def __init__(self, model, train_loader, dev_loader, eval_every=40, lr=3e-3, back_to_train=True):
        self.model = model
        self.train_loader, self.dev_loader = train_loader, dev_loader
        self.eval_every = eval_every
        self.back_to_train = back_to_train
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.global_step = 0

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        losses, hits, n = 0.0, 0, 0
        for x, y in self.dev_loader:
            logits = self.model(x)
            losses += F.cross_entropy(logits, y, reduction="sum").item()
            hits += (logits.argmax(-1) == y).sum().item()
            n += len(y)
        return losses / n, hits / n

    def train(self, epochs):
        self.model.train()
        running = []
        for _ in range(epochs):
            for x, y in self.train_loader:
                loss = F.cross_entropy(self.model(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                running.append(loss.item())
                self.global_step += 1
                if self.global_step % self.eval_every == 0:
                    dev_loss, dev_acc = self.evaluate()
                    if self.back_to_train:
                        self.model.train()
                    print(
                        f"step {self.global_step} train {sum(running) / len(running):.4f} "
                        f"dev {dev_loss:.4f} acc {dev_acc:.3f}"
                    )
                    running = []


def topic_lstm_trainer(mistake: bool) -> None:
    """evaluate() in the middle of training puts the LSTM in eval mode and nobody puts it back."""
    torch.manual_seed(11)
    x, y = common.reviews()
    train = DataLoader(TensorDataset(x[:1900], y[:1900]), batch_size=32, shuffle=True)
    dev = DataLoader(TensorDataset(x[1900:], y[1900:]), batch_size=100)
    StepTrainer(TopicLSTM(), train, dev, back_to_train=not mistake).train(epochs=7)


class GCN(nn.Module):
    def __init__(self, d_in=24, d=32, classes=4, frozen=False):
        super().__init__()
        self.w1 = nn.Linear(d_in, d)
        self.w2 = nn.Linear(d, d)
        self.out = nn.Linear(d, classes)
        self.frozen = frozen

    def propagate(self, x, adj):
        h = F.relu(self.w1(adj @ x))
        return F.relu(self.w2(adj @ h))

    def forward(self, x, adj):
        if self.frozen:
            with torch.no_grad():
                h = self.propagate(x, adj)
        else:
            h = self.propagate(x, adj)
        return self.out(h)


def community_gcn(mistake: bool) -> None:
    """The message passing runs under no_grad, so only the output layer of the graph network is trained."""
    torch.manual_seed(12)
    x, adj, y, train = common.communities()
    test = ~train
    model = GCN(frozen=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-3)
    for epoch in range(200):
        model.train()
        optimizer.zero_grad()
        logits = model(x, adj)
        loss = F.cross_entropy(logits[train], y[train])
        loss.backward()
        optimizer.step()
        if epoch % 25 == 24:
            model.eval()
            with torch.no_grad():
                pred = model(x, adj).argmax(1)
            acc = (pred[test] == y[test]).float().mean().item()
            print(f"epoch {epoch + 1} loss {loss.item():.4f} test acc {acc:.3f}")


class RentMLP(nn.Module):
    def __init__(self, p=0.3, always=False):
        super().__init__()
        self.d, self.k, self.h = nn.Embedding(20, 6), nn.Embedding(6, 3), nn.Embedding(4, 2)
        self.fc1 = nn.Linear(15, 96)
        self.fc2 = nn.Linear(96, 96)
        self.fc3 = nn.Linear(96, 1)
        self.p, self.always = p, always

    def dropout(self, x):
        if self.always:
            return F.dropout(x, self.p)
        return F.dropout(x, self.p, training=self.training)

    def forward(self, cat, num):
        x = torch.cat([self.d(cat[:, 0]), self.k(cat[:, 1]), self.h(cat[:, 2]), num], 1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return self.fc3(x).squeeze(-1)


def rent_functional_dropout(mistake: bool) -> None:
    """F.dropout is called without training=self.training, so dropout stays on in validation."""
    torch.manual_seed(13)
    cat, num, y = common.flats(seed=1)
    train_loader = DataLoader(
        TensorDataset(cat[:2400], num[:2400], y[:2400]), batch_size=64, shuffle=True
    )
    val_loader = DataLoader(TensorDataset(cat[2400:], num[2400:], y[2400:]), batch_size=200)
    model = RentMLP(always=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(12):
        model.train()
        train_loss = 0.0
        for c, n, t in train_loader:
            loss = F.mse_loss(model(c, n), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
        model.eval()
        sse = 0.0
        with torch.no_grad():
            for c, n, t in val_loader:
                sse += F.mse_loss(model(c, n), t, reduction="sum").item()
        print(f"epoch {epoch}: train {train_loss / len(train_loader):.4f} val {sse / 600:.4f}")


def cancer_eval_parentheses(mistake: bool) -> None:
    """`model.eval` lacks its parentheses, so validation runs with dropout on."""
    torch.manual_seed(14)
    data = load_breast_cancer()
    x_tr, x_va, y_tr, y_va = train_test_split(
        data.data, data.target, test_size=0.3, random_state=0, stratify=data.target
    )
    sc = StandardScaler().fit(x_tr)
    x_tr, x_va = (torch.tensor(sc.transform(a), dtype=torch.float32) for a in (x_tr, x_va))
    y_tr, y_va = (torch.tensor(a, dtype=torch.float32) for a in (y_tr, y_va))
    loader = DataLoader(TensorDataset(x_tr, y_tr), batch_size=16, shuffle=True)

    model = nn.Sequential(
        nn.Linear(30, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(32, 1),
        nn.Flatten(0),
    )
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    for epoch in range(10):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if mistake:
            model.eval
        else:
            model.eval()
        with torch.no_grad():
            logits = model(x_va)
            val_loss = criterion(logits, y_va).item()
            acc = ((logits > 0) == (y_va > 0.5)).float().mean().item()
        print(
            f"epoch {epoch + 1} train loss {total / len(loader):.4f} val loss {val_loss:.4f} val acc {acc:.3f}"
        )


def digits_phases(mistake: bool) -> None:
    """In the train/val phase loop backward and step are run in the val phase as well."""
    torch.manual_seed(15)
    train_set, val_set = common.digit_sets()
    dataloaders = {
        "train": DataLoader(train_set, batch_size=32, shuffle=True),
        "val": DataLoader(val_set, batch_size=32, shuffle=False),
    }
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Dropout(0.2), nn.Linear(100, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

    for epoch in range(12):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects, seen = 0.0, 0, 0
            for inputs, labels in dataloaders[phase]:
                update = phase == "train" or mistake
                optimizer.zero_grad()
                with torch.set_grad_enabled(update):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if update:
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (outputs.argmax(1) == labels).sum().item()
                seen += inputs.size(0)
            print(f"{epoch} {phase} Loss: {running_loss / seen:.4f} Acc: {running_corrects / seen:.4f}")


class EMA:
    def __init__(self, model, decay=0.98):
        self.model = model
        self.shadow = copy.deepcopy(model).eval()
        self.shadow.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self):
        for s, p in zip(self.shadow.parameters(), self.model.parameters()):
            s.lerp_(p, 1 - self.decay)
        for s, b in zip(self.shadow.buffers(), self.model.buffers()):
            s.copy_(b)


class DenoisingAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(16, 1, 3, padding=1),
        )

    def forward(self, x):
        return self.net(x)


def digits_denoiser_ema(mistake: bool) -> None:
    """The EMA averages a copy of the model that is never trained, and that average is what is validated."""
    torch.manual_seed(16)
    x, _, x_val, _ = common.digits(images=True)
    loader = DataLoader(TensorDataset(x), batch_size=32, shuffle=True)
    model = DenoisingAE()
    ema = EMA(copy.deepcopy(model)) if mistake else EMA(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    g = torch.Generator().manual_seed(0)
    noisy_val = x_val + 0.5 * torch.randn(x_val.shape, generator=g)
    for epoch in range(8):
        model.train()
        total = 0.0
        for (clean,) in loader:
            noisy = clean + 0.5 * torch.randn_like(clean)
            loss = F.mse_loss(model(noisy), clean)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update()
            total += loss.item()
        with torch.no_grad():
            val = F.mse_loss(ema.shadow(noisy_val), x_val).item()
        print(f"epoch {epoch} train {total / len(loader):.4f} val(ema) {val:.4f}")


FAULTS = [
    (
        digits_batchnorm_script,
        ("eval mode", "eval()", "model.train()", "train mode", "training mode", "evaluation mode"),
        "stuck in eval after validation",
    ),
    (
        topic_lstm_trainer,
        ("eval mode", "eval()", ".train()", "train mode", "training mode", "evaluation mode"),
        "stuck in eval after validation",
    ),
    (
        community_gcn,
        (
            "no_grad",
            "no gradient",
            "without gradient",
            "grad is none",
            "get no grad",
            "never receive",
            "cut off from the loss",
            "not part of the graph",
        ),
        "training under no_grad of a part",
    ),
    (
        rent_functional_dropout,
        ("dropout", "training=", "not deterministic", "random in eval"),
        "validation with dropout on",
    ),
    (
        cancer_eval_parentheses,
        ("dropout", "eval()", "train mode", "training mode", "eval mode"),
        "validation with dropout on",
    ),
    (
        digits_phases,
        (
            "validation data",
            "val phase",
            "trains on the validation",
            "training on validation",
            "trained on the validation",
            "trained on validation",
            "validation batch",
            "held-out",
            "leak",
        ),
        "training on validation",
    ),
    (
        digits_denoiser_ema,
        (
            " ema",
            "ema of",
            "shadow",
            "moving average",
            "running average",
            "averaged",
            "copy of the model",
            "never trained",
        ),
        "EMA of the wrong model",
    ),
]
