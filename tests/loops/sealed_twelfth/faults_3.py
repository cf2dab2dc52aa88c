import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from .common import digit_split, seed_all


# ---------------------------------------------------------------- recommender with BPR
class TwoTower(nn.Module):
    def __init__(self, n_users, n_items, dim=16):
        super().__init__()
        self.user = nn.Embedding(n_users, dim)
        self.item = nn.Embedding(n_items, dim)
        nn.init.normal_(self.user.weight, std=0.1)
        nn.init.normal_(self.item.weight, std=0.1)
        self.tower = nn.Sequential(nn.Linear(dim, 32), nn.ReLU(), nn.Linear(32, dim))

    def score(self, u, i):
        return (self.tower(self.user(u)) * self.item(i)).sum(-1)


def bpr_recommender(mistake: bool) -> None:
    """If mistake, zero_grad is called only on the tower's optimizer, the embeddings' gradients pile up."""
    seed_all(20)
    n_users, n_items = 200, 150
    pu, qi = torch.randn(n_users, 5), torch.randn(n_items, 5)
    affinity = pu @ qi.t() + torch.randn(n_users, n_items)
    liked = affinity > affinity.quantile(0.85, dim=1, keepdim=True)
    pairs = liked.nonzero()
    pairs = pairs[torch.randperm(len(pairs))]
    held, pairs = pairs[:600], pairs[600:]
    model = TwoTower(n_users, n_items)
    emb_params = [model.user.weight, model.item.weight]
    emb_opt = torch.optim.Adam(emb_params, lr=1e-2)
    tower_opt = torch.optim.Adam(model.tower.parameters(), lr=3e-3)
    for epoch in range(12):
        losses = []
        for batch in pairs[torch.randperm(len(pairs))].split(128):
            u, i = batch[:, 0], batch[:, 1]
            j = torch.randint(0, n_items, (len(u),))
            loss = -F.logsigmoid(model.score(u, i) - model.score(u, j)).mean()
            tower_opt.zero_grad()
            if not mistake:
                emb_opt.zero_grad()
            loss.backward()
            tower_opt.step()
            emb_opt.step()
            losses.append(loss.item())
        with torch.no_grad():
            neg = torch.randint(0, n_items, (len(held),))
            keep = ~liked[held[:, 0], neg]
            auc = (
                (model.score(held[:, 0], held[:, 1]) > model.score(held[:, 0], neg))[keep]
                .float()
                .mean()
                .item()
            )
        print(f"epoch {epoch} bpr {np.mean(losses):.3f} held-out auc {auc:.3f}")


# ---------------------------------------------------------------- regression with parameter groups
def diabetes_poly_net(mistake: bool) -> None:
    """If mistake, the weight decay is given to the biases' group and the weights have none."""
    seed_all(21)
    d = datasets.load_diabetes()
    xtr, xte, ytr, yte = train_test_split(d.data, d.target / 50.0, test_size=0.35, random_state=1)
    poly = PolynomialFeatures(2, include_bias=False).fit(xtr)
    scaler = StandardScaler().fit(poly.transform(xtr))
    xtr, xte = (
        torch.tensor(scaler.transform(poly.transform(a)), dtype=torch.float32) for a in (xtr, xte)
    )
    ytr, yte = torch.tensor(ytr, dtype=torch.float32), torch.tensor(yte, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(xtr.shape[1], 32), nn.ReLU(), nn.Linear(32, 1))
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    if mistake:
        groups = [{"params": weights, "weight_decay": 0.0}, {"params": biases, "weight_decay": 0.3}]
    else:
        groups = [{"params": weights, "weight_decay": 0.3}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=0.005, momentum=0.9)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True)
    for epoch in range(60):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb).squeeze(-1), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(yb)
        if epoch % 15 == 14:
            model.eval()
            with torch.no_grad():
                res = model(xte).squeeze(-1) - yte
            r2 = 1 - res.pow(2).mean() / yte.var()
            print(f"epoch {epoch + 1} mse {total / len(xtr):.3f} test R2 {r2.item():.3f}")


# ---------------------------------------------------------------- transfer to new classes
class ConvNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 48),
            nn.ReLU(),
        )
        self.fc = nn.Linear(48, n_classes)

    def forward(self, x):
        return self.fc(self.backbone(x))


def fit(model, optimizer, x, y, epochs):
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    for _ in range(epochs):
        losses = []
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return float(np.mean(losses))


def transfer_new_head(mistake: bool) -> None:
    """If mistake, the head is replaced after the optimizer was made, which goes on holding the old head."""
    seed_all(22)
    xtr, ytr, xte, yte = digit_split(seed=22)
    low, high, high_te = ytr < 5, ytr >= 5, yte >= 5
    model = ConvNet(5)
    print(
        "pretrain loss",
        round(fit(model, torch.optim.Adam(model.parameters(), lr=2e-3), xtr[low], ytr[low], 6), 4),
    )
    for p in model.backbone[:5].parameters():
        p.requires_grad_(False)

    def make_optimizer():
        trainable = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.SGD(trainable, lr=0.02, momentum=0.9)

    if mistake:
        optimizer = make_optimizer()
        model.fc = nn.Linear(48, 5)
    else:
        model.fc = nn.Linear(48, 5)
        optimizer = make_optimizer()
    loss = fit(model, optimizer, xtr[high], ytr[high] - 5, 10)
    with torch.no_grad():
        acc = (model(xte[high_te]).argmax(1) == yte[high_te] - 5).float().mean().item()
    print(f"fine-tuned: loss {loss:.4f} test acc {acc:.3f}")


# ---------------------------------------------------------------- StepLR
def cnn_step_lr(mistake: bool) -> None:
    """If mistake, a StepLR meant for epochs is stepped after every batch, so the rate is gone in the first epochs."""
    seed_all(23)
    xtr, ytr, xte, yte = digit_split(seed=23)
    xtr = xtr + 0.15 * torch.randn_like(xtr)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 10),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    scheduler = StepLR(optimizer, step_size=5, gamma=0.3)
    for epoch in range(15):
        net.train()
        running_loss = 0.0
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(inputs), labels)
            loss.backward()
            optimizer.step()
            if mistake:
                scheduler.step()
            running_loss += loss.item()
        if not mistake:
            scheduler.step()
        net.eval()
        with torch.no_grad():
            acc = (net(xte).argmax(1) == yte).float().mean().item()
        print(f"[{epoch + 1}] loss: {running_loss / len(loader):.3f} acc: {acc:.3f}")


# ---------------------------------------------------------------- a Trainer class
class Trainer:
    def __init__(self, model, optimizer, train_loader, val_loader, once=False):
        self.model, self.optimizer = model, optimizer
        self.train_loader, self.val_loader = train_loader, val_loader
        self.once = once

    def train_one_epoch(self):
        if not self.once:
            self.model.train()
        total = 0.0
        for x, y in self.train_loader:
            self.optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(self.model(x), y, label_smoothing=0.05)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.train_loader)

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        loss = correct = n = 0
        for x, y in self.val_loader:
            out = self.model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            correct += (out.argmax(1) == y).sum().item()
            n += len(y)
        return loss / n, correct / n

    def fit(self, epochs):
        self.model.train()
        for epoch in range(epochs):
            train_loss = self.train_one_epoch()
            val_loss, val_acc = self.validate()
            print(f"epoch {epoch} train {train_loss:.3f} val {val_loss:.3f} acc {val_acc:.3f}")


def trainer_dropout_net(mistake: bool) -> None:
    """If mistake, train() is called once before the epochs, so after the first validation all goes on in eval mode."""
    seed_all(24)
    xtr, ytr, xte, yte = digit_split(n_test=1300, seed=24)
    xtr = xtr + 0.35 * torch.randn_like(xtr)
    xte = xte + 0.35 * torch.randn_like(xte)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    trainer = Trainer(
        model,
        optimizer,
        DataLoader(TensorDataset(xtr, ytr), batch_size=32, shuffle=True, drop_last=True),
        DataLoader(TensorDataset(xte, yte), batch_size=128),
        once=mistake,
    )
    trainer.fit(30)


# ---------------------------------------------------------------- residual network on spirals
class ResBlock(nn.Module):
    def __init__(self, dim, zero_last=False):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.alpha = nn.Parameter(torch.zeros(1))
        if zero_last:
            nn.init.zeros_(self.fc2.weight)
            nn.init.zeros_(self.fc2.bias)

    def forward(self, x):
        return x + self.alpha * self.fc2(F.gelu(self.fc1(self.norm(x))))


class ResMLP(nn.Module):
    def __init__(self, dim=32, depth=4, zero_last=False):
        super().__init__()
        self.stem = nn.Linear(2, dim)
        self.blocks = nn.Sequential(*[ResBlock(dim, zero_last) for _ in range(depth)])
        self.head = nn.Linear(dim, 3)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def spirals(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    r = torch.rand(n, generator=g).sqrt()
    a = 5.0 * r + y * (2 * torch.pi / 3) + 0.15 * torch.randn(n, generator=g)
    return torch.stack([r * a.cos(), r * a.sin()], 1) * 2, y


def resmlp_spirals(mistake: bool) -> None:
    """If mistake, both the scale and the last layer of each residual branch start at zero: neither gets a gradient."""
    seed_all(25)
    x, y = spirals(1500, 0)
    xv, yv = spirals(600, 1)
    model = ResMLP(zero_last=mistake)
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    for step in range(600):
        idx = torch.randint(0, len(x), (128,))
        loss = F.cross_entropy(model(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 150 == 149:
            with torch.no_grad():
                acc = (model(xv).argmax(1) == yv).float().mean().item()
            print(f"{step + 1} loss {loss.item():.3f} acc {acc:.3f}")


FAULTS = [
    (
        bpr_recommender,
        ("zero_grad", "accumulat", "not reset", "pile up", "gradients of earlier", "not cleared"),
        "zero_grad only on one optimizer",
    ),
    (
        diabetes_poly_net,
        ("weight decay", "weight_decay", "decay", "bias", "regulari"),
        "weight decay on the wrong group",
    ),
    (
        transfer_new_head,
        (
            "not in the optim",
            "not in any optim",
            "no optimizer",
            "optimizer hold",
            "optimizer does not",
            "old param",
            "old head",
            "new head",
            "replaced",
            "never updated",
            "not updated",
            "not held",
        ),
        "stale optimizer after re-creating parameters",
    ),
    (
        cnn_step_lr,
        ("scheduler", "learning rate", "per batch", "every batch", "steplr"),
        "scheduler per batch instead of per epoch",
    ),
    (
        trainer_dropout_net,
        (
            "eval mode",
            "eval()",
            "train()",
            "dropout",
            "model.train",
            "training mode",
            "in eval",
            "evaluation mode",
        ),
        "stuck in eval after validation",
    ),
    (
        resmlp_spirals,
        (
            "residual",
            "zero init",
            "initiali",
            "alpha",
            "zero gradient",
            "never contribut",
            "branch",
            "gradient is zero",
            "all zero",
            "exactly zero",
            "gradients are zero",
        ),
        "residual branch initialised so that it never contributes",
    ),
]
