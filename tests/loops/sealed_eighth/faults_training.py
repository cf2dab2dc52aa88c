from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import digits_datasets, digits_tensors, seed_everything


# ---------------------------------------------------------------------------------------------- running loss
class RowLSTM(nn.Module):
    """Reads the digits row by row."""

    def __init__(self, hidden=48, keep_prob=0.9):
        super().__init__()
        self.lstm = nn.LSTM(8, hidden, batch_first=True)
        self.drop = nn.Dropout(1 - keep_prob)
        self.out = nn.Linear(hidden, 10)

    def forward(self, x):
        r_out, _ = self.lstm(x.squeeze(1))
        return self.out(self.drop(r_out[:, -1]))


class History:
    def __init__(self):
        self.total_loss, self.steps = 0.0, 0

    def add(self, value):
        self.total_loss = self.total_loss + value
        self.steps += 1

    @property
    def mean(self):
        total = self.total_loss.item() if torch.is_tensor(self.total_loss) else self.total_loss
        return total / self.steps


def digits_row_lstm_history(mistake: bool) -> None:
    """The running loss sums the loss tensors themselves, so the graphs of all steps stay in memory."""
    seed_everything(0)
    train_ds, val_ds = digits_datasets()
    train_loader = DataLoader(train_ds, batch_size=32, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=64)
    rnn = RowLSTM()
    optimizer = torch.optim.Adam(rnn.parameters(), lr=4e-3)
    loss_func = nn.CrossEntropyLoss()
    history = History()
    for epoch in range(8):
        rnn.train()
        for step, (b_x, b_y) in enumerate(train_loader):
            output = rnn(b_x)
            loss = loss_func(output, b_y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if mistake:
                history.add(loss)
            else:
                history.add(loss.item())
        rnn.eval()
        with torch.no_grad():
            acc = sum((rnn(x).argmax(1) == y).sum().item() for x, y in val_loader) / len(val_ds)
        if epoch in (0, 7):
            print(epoch, "mean loss so far", history.mean, "acc", acc)


# ---------------------------------------------------------------------------------------------- new head
class Classifier(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.fc = nn.Linear(24, n_classes)

    def forward(self, x):
        return self.fc(self.features(x))


class FineTuner:
    def __init__(self, model, lr=3e-3):
        self.model, self.lr = model, lr
        self.make_optimizer()

    def make_optimizer(self):
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr)

    def replace_head(self, n_classes, new_optimizer):
        self.model.fc = nn.Linear(self.model.fc.in_features, n_classes)
        if new_optimizer:
            self.make_optimizer()

    def fit(self, train_ds, epochs):
        loader = DataLoader(train_ds, batch_size=32, shuffle=True, drop_last=True)
        means = []
        for _ in range(epochs):
            self.model.train()
            losses = []
            for x, y in loader:
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.item())
            means.append(np.mean(losses))
        return means

    @torch.no_grad()
    def accuracy(self, x, y):
        self.model.eval()
        return (self.model(x).argmax(1) == y).float().mean().item()


def digits_new_head(mistake: bool) -> None:
    """The head is replaced for the second task but the optimizer still holds the parameters of the old head."""
    seed_everything(1)
    xt, yt, xv, yv = digits_tensors()
    tuner = FineTuner(Classifier(2))
    tuner.fit(TensorDataset(xt, yt % 2), epochs=3)
    print("parity", tuner.accuracy(xv, yv % 2))
    tuner.replace_head(10, new_optimizer=not mistake)
    losses = tuner.fit(TensorDataset(xt, yt), epochs=6)
    print("digit", losses[0], losses[-1], tuner.accuracy(xv, yv))


# ---------------------------------------------------------------------------------------------- AMP
def amp_train_epoch(net, loader, opt, scaler, max_norm, unscale):
    net.train()
    total = 0.0
    for x, y in loader:
        opt.zero_grad(set_to_none=True)
        with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
            output = net(x)
            loss = F.cross_entropy(output, y)
        scaler.scale(loss).backward()
        if unscale:
            scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm)
        scaler.step(opt)
        scaler.update()
        total += loss.item()
    return total / len(loader)


def digits_amp_clipping(mistake: bool) -> None:
    """The gradients are clipped before scaler.unscale_, i.e. their norm is cut down while they are still multiplied by the scale."""
    seed_everything(2)
    train_ds, val_ds = digits_datasets()
    loader = DataLoader(train_ds, batch_size=32, shuffle=True)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 10)
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    for epoch in range(8):
        loss = amp_train_epoch(net, loader, opt, scaler, max_norm=1.0, unscale=not mistake)
        net.eval()
        with torch.no_grad():
            acc = (net(val_ds.tensors[0]).argmax(1) == val_ds.tensors[1]).float().mean().item()
        if epoch in (0, 7):
            print(epoch, loss, acc)


# ---------------------------------------------------------------------------------------------- accumulation
@dataclass
class TrainingArguments:
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 8
    learning_rate: float = 0.1
    num_train_epochs: int = 11
    max_steps: int = -1


class SimpleTrainer:
    """The core of the usual trainer: accumulation, steps, evaluation."""

    def __init__(self, model, args, train_dataset, eval_dataset, divide=True):
        self.model, self.args, self.divide = model, args, divide
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.log_history = []

    def compute_loss(self, inputs):
        x, y = inputs
        return F.binary_cross_entropy_with_logits(self.model(x).squeeze(-1), y)

    def training_step(self, inputs):
        self.model.train()
        loss = self.compute_loss(inputs)
        if self.divide:
            loss = loss / self.args.gradient_accumulation_steps
        loss.backward()
        return loss.detach()

    def train(self):
        a = self.args
        loader = DataLoader(
            self.train_dataset, batch_size=a.per_device_train_batch_size, shuffle=True, drop_last=True
        )
        optimizer = torch.optim.SGD(self.model.parameters(), lr=a.learning_rate, momentum=0.9)
        tr_loss = 0.0
        self.model.zero_grad()
        pending = 0
        for epoch in range(a.num_train_epochs):
            for inputs in loader:
                tr_loss += self.training_step(inputs).item()
                pending += 1
                if pending == a.gradient_accumulation_steps:
                    optimizer.step()
                    optimizer.zero_grad()
                    self.log_history.append(tr_loss)
                    tr_loss, pending = 0.0, 0
        return self.log_history

    def evaluate(self):
        self.model.eval()
        with torch.no_grad():
            x, y = self.eval_dataset.tensors
            logits = self.model(x).squeeze(-1)
        return {
            "eval_loss": F.binary_cross_entropy_with_logits(logits, y).item(),
            "eval_accuracy": ((logits > 0).float() == y).float().mean().item(),
        }


def cancer_accumulating_trainer(mistake: bool) -> None:
    """The loss is not divided by the number of accumulation steps, so each update is eight times as large."""
    seed_everything(3)
    X, y = load_breast_cancer(return_X_y=True)
    Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
    scaler = StandardScaler().fit(Xt)
    as_ds = lambda X, y: TensorDataset(
        torch.tensor(scaler.transform(X)).float(), torch.tensor(y).float()
    )  # noqa: E731
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    trainer = SimpleTrainer(model, TrainingArguments(), as_ds(Xt, yt), as_ds(Xv, yv), divide=not mistake)
    log = trainer.train()
    print(len(log), "steps", log[0], np.mean(log[-5:]), trainer.evaluate())


# ---------------------------------------------------------------------------------------------- graph nodes
class GCNConv(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.lin = nn.Linear(c_in, c_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(c_out))

    def forward(self, x, adj):
        return adj @ self.lin(x) + self.bias


class GCN(nn.Module):
    def __init__(self, c_in, hidden, n_classes):
        super().__init__()
        self.conv1, self.conv2 = GCNConv(c_in, hidden), GCNConv(hidden, n_classes)

    def forward(self, x, adj):
        x = F.dropout(x, 0.5, training=self.training)
        x = F.relu(self.conv1(x, adj))
        x = F.dropout(x, 0.5, training=self.training)
        return self.conv2(x, adj)


class CitationGraph:
    """A stochastic block model with bag-of-words features and the usual masks."""

    def __init__(self, n=600, n_classes=5, n_words=100, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, n_classes, (n,), generator=g)
        same = self.y[:, None] == self.y[None]
        prob = torch.where(same, 0.035, 0.004)
        edges = torch.triu(torch.rand(n, n, generator=g) < prob, 1).float()
        a = edges + edges.T + torch.eye(n)
        d = a.sum(1).rsqrt()
        self.adj = d[:, None] * a * d[None]
        topic = 0.02 + 0.08 * (torch.rand(n_classes, n_words, generator=g) < 0.2).float()
        x = (torch.rand(n, n_words, generator=g) < topic[self.y]).float()
        self.x = x / x.sum(1, keepdim=True).clamp(min=1)
        perm = torch.randperm(n, generator=g)
        self.train_mask, self.val_mask, self.test_mask = (
            torch.zeros(n, dtype=torch.bool) for _ in range(3)
        )
        self.train_mask[perm[:150]] = True
        self.val_mask[perm[150:300]] = True
        self.test_mask[perm[300:]] = True


def citation_gcn(mistake: bool) -> None:
    """The training loss is taken over all nodes, so the validation and test nodes are trained on."""
    seed_everything(4)
    data = CitationGraph()
    model = GCN(data.x.size(1), 32, 5)
    optimizer = torch.optim.Adam(
        [
            {"params": model.conv1.parameters(), "weight_decay": 5e-4},
            {"params": model.conv2.parameters(), "weight_decay": 0},
        ],
        lr=0.01,
    )

    def train():
        model.train()
        optimizer.zero_grad()
        out = model(data.x, data.adj)
        if mistake:
            loss = F.cross_entropy(out, data.y)
        else:
            loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def test():
        model.eval()
        pred = model(data.x, data.adj).argmax(-1)
        return [
            (pred[m] == data.y[m]).float().mean().item()
            for m in (data.train_mask, data.val_mask, data.test_mask)
        ]

    best_val = final_test = 0
    for epoch in range(1, 201):
        loss = train()
        train_acc, val_acc, test_acc = test()
        if val_acc > best_val:
            best_val, final_test = val_acc, test_acc
        if epoch in (1, 200):
            print(epoch, loss, train_acc, val_acc, test_acc)
    print("best val", best_val, "its test", final_test)


# ---------------------------------------------------------------------------------------------- prefetcher
class DataPrefetcher:
    """Loads the next batch while the present one is used."""

    def __init__(self, loader, mean, std, together=True):
        self.loader, self.mean, self.std, self.together = loader, mean, std, together
        self.target = None

    def __len__(self):
        return len(self.loader)

    def preload(self):
        try:
            self.next_input, self.next_target = next(self.it)
        except StopIteration:
            self.next_input = self.next_target = None
            return
        self.next_input = (self.next_input - self.mean) / self.std

    def next(self):
        if self.together:
            input, target = self.next_input, self.next_target
        else:
            input, target = self.next_input, self.target
            if target is None:
                target = self.next_target
            self.target = self.next_target
        self.preload()
        return input, target

    def __iter__(self):
        self.it = iter(self.loader)
        self.preload()
        input, target = self.next()
        while input is not None:
            yield input, target
            input, target = self.next()


def digits_prefetcher(mistake: bool) -> None:
    """From the second batch on the prefetcher hands out the images of a batch with the labels of the previous one."""
    seed_everything(5)
    xt, yt, xv, yv = digits_tensors()
    xt, xv = xt * 4 + 5, xv * 4 + 5
    mean, std = xt.mean(), xt.std()
    loader = DataLoader(TensorDataset(xt, yt), batch_size=32, shuffle=True, drop_last=True)
    prefetcher = DataPrefetcher(loader, mean, std, together=not mistake)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for input, target in prefetcher:
            loss = F.cross_entropy(model(input), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model((xv - mean) / std).argmax(1) == yv).float().mean().item()
        if epoch in (0, 7):
            print(epoch, total / len(prefetcher), acc)


FAULTS = [
    (
        digits_row_lstm_history,
        ("graph", "item()", "detach", "memory", "kept alive", "grad_fn"),
        "loss accumulated with its graph",
    ),
    (
        digits_new_head,
        ("not in the optimizer", "in no optimizer", "stale", "old head", "replaced", "left out"),
        "stale optimizer after re-creating parameters",
    ),
    (
        digits_amp_clipping,
        ("unscale", "scaler", "scaled", "clip", "loss scale"),
        "clipping before unscaling",
    ),
    (
        cancer_accumulating_trainer,
        ("accumul", "divid", "micro-batch", "several backward", "averaged"),
        "accumulation not divided",
    ),
    (
        citation_gcn,
        ("validation", "held-out", "held out", "test nodes", "mask", "leak"),
        "training on validation",
    ),
    (
        digits_prefetcher,
        (
            "previous batch",
            "batch older",
            "label",
            "unrelated",
            "shifted",
            "other batch",
            "do not belong",
        ),
        "labels of the previous batch",
    ),
]
