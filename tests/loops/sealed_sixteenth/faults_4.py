"""Kaggle-like loops on tables, pairs, ratings and graphs."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_diabetes, make_multilabel_classification
from sklearn.model_selection import KFold, train_test_split
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import AverageMeter, digit_images, seed_everything, shuffled


# --------------------------------------------------------------------------- 04
@dataclass
class RankConfig:
    batch_size: int = 8
    effective_batch_size: int = 32
    epochs: int = 20
    lr: float = 5e-3


class QueryDataset(Dataset):
    """Queries with 10 documents each; the relevance is a noisy non-linear function of the features."""

    def __init__(self, n_queries, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n_queries, 10, 12, generator=g)
        score = self.x[..., 0] + self.x[..., 1] * self.x[..., 2] - 0.7 * self.x[..., 3].abs()
        self.rel = score + 0.2 * torch.randn(score.shape, generator=g)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.rel[i]


def ranknet_loss(scores, rel):
    diff = scores.unsqueeze(2) - scores.unsqueeze(1)
    better = (rel.unsqueeze(2) > rel.unsqueeze(1)).float()
    return (F.softplus(-diff) * better).sum() / better.sum()


def pair_accuracy(scores, rel):
    agree = (
        (scores.unsqueeze(2) > scores.unsqueeze(1)) == (rel.unsqueeze(2) > rel.unsqueeze(1))
    ).float()
    off = ~torch.eye(scores.size(1), dtype=torch.bool)
    return agree[:, off].mean().item()


def ranknet_accumulation_config(mistake: bool) -> None:
    """accum_steps is set to the effective batch size (32) while an epoch has 25 batches, so the step in the loop is never reached."""
    seed_everything(0)
    cfg = RankConfig()
    accum_steps = cfg.effective_batch_size if mistake else cfg.effective_batch_size // cfg.batch_size
    train_loader = DataLoader(QueryDataset(200, seed=1), batch_size=cfg.batch_size, shuffle=True)
    val = QueryDataset(100, seed=2)
    model = nn.Sequential(
        nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(-2)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr)

    for epoch in range(cfg.epochs):
        model.train()
        optimizer.zero_grad()
        meter = AverageMeter()
        for step, (x, rel) in enumerate(train_loader):
            loss = ranknet_loss(model(x), rel)
            meter.update(loss.item(), len(x))
            (loss / accum_steps).backward()
            if (step + 1) % accum_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            acc = pair_accuracy(model(val.x), val.rel)
        print(f"epoch {epoch}: loss {meter.avg:.4f} val pair accuracy {acc:.3f}")


# --------------------------------------------------------------------------- 07
class TimmLikeNet(nn.Module):
    def __init__(self, num_classes=10, width=16):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.num_features = 2 * width * 16
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes):
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward(self, x):
        return self.fc(self.stem(x))


def create_optimizer(model, lr, backbone_scale=1.0, weight_decay=1e-2):
    return torch.optim.AdamW(
        [
            {"params": model.stem.parameters(), "lr": lr * backbone_scale},
            {"params": model.fc.parameters(), "lr": lr},
        ],
        lr=lr,
        weight_decay=weight_decay,
    )


def reset_classifier_regression(mistake: bool) -> None:
    """The optimizer is built before reset_classifier(1): the new regression head is in no optimizer and keeps its initial weights."""
    seed_everything(1)
    x, y = shuffled(*digit_images(8), seed=1)
    model = TimmLikeNet()
    pre = create_optimizer(model, 2e-3)
    for xb, yb in DataLoader(TensorDataset(x[:800], y[:800]), batch_size=32, shuffle=True):
        pre.zero_grad()
        F.cross_entropy(model(xb), yb).backward()
        pre.step()

    target = 100 * x.mean((1, 2, 3)) + 2.0 * y.float()
    target = (target - target.mean()) / target.std()
    train_loader = DataLoader(TensorDataset(x[800:1500], target[800:1500]), batch_size=32, shuffle=True)
    if mistake:
        optimizer = create_optimizer(model, lr=3e-3, backbone_scale=0.02)
        model.reset_classifier(1)
    else:
        model.reset_classifier(1)
        optimizer = create_optimizer(model, lr=3e-3, backbone_scale=0.02)

    for epoch in range(20):
        model.train()
        meter = AverageMeter()
        for xb, t in train_loader:
            loss = F.smooth_l1_loss(model(xb).squeeze(1), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(xb))
        model.eval()
        with torch.no_grad():
            mae = (model(x[1500:]).squeeze(1) - target[1500:]).abs().mean().item()
        print(f"epoch {epoch}: loss {meter.avg:.3f} val MAE {mae:.3f}")


# --------------------------------------------------------------------------- 09, 23
class CFG:
    seed = 42
    n_fold = 3
    epochs = 24
    lr = 1e-2
    batch_size = 32
    cat_cols = ["store", "weekday", "promo"]
    cat_dims = [12, 7, 2]
    num_cols = 4


def make_sales(n=900, seed=0):
    g = np.random.RandomState(seed)
    cats = np.stack([g.randint(0, d, n) for d in CFG.cat_dims], 1)
    nums = g.randn(n, CFG.num_cols).astype(np.float32)
    store, week = g.randn(12), np.array([0, 0, 0.2, 0.3, 0.8, 1.2, -0.5])
    y = (
        store[cats[:, 0]]
        + week[cats[:, 1]] * (1 + cats[:, 2])
        + 0.7 * nums[:, 0] * cats[:, 2]
        + 0.2 * g.randn(n)
    )
    return cats, nums, (10 + 3 * y).astype(np.float32)


class SalesDataset(Dataset):
    def __init__(self, cats, nums, y):
        self.cats, self.nums, self.y = torch.tensor(cats), torch.tensor(nums), torch.tensor(y)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return {"cat": self.cats[i], "num": self.nums[i], "target": self.y[i]}


class TabModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embs = nn.ModuleList(nn.Embedding(d, min(8, (d + 1) // 2 + 1)) for d in CFG.cat_dims)
        n = sum(e.embedding_dim for e in self.embs) + CFG.num_cols
        self.mlp = nn.Sequential(
            nn.Linear(n, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
        )

    def forward(self, batch):
        e = [emb(batch["cat"][:, i]) for i, emb in enumerate(self.embs)]
        return self.mlp(torch.cat(e + [batch["num"]], 1)).squeeze(1)


def train_fn(loader, model, optimizer, scheduler=None):
    model.train()
    meter = AverageMeter()
    for batch in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(batch), batch["target"])
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        meter.update(loss.item(), len(batch["target"]))
    return meter.avg


def valid_fn(loader, model):
    model.eval()
    preds, targets = [], []
    with torch.no_grad():
        for batch in loader:
            preds.append(model(batch))
            targets.append(batch["target"])
    preds, targets = torch.cat(preds), torch.cat(targets)
    return F.mse_loss(preds, targets).sqrt().item(), preds


def kfold_embeddings(mistake: bool) -> None:
    """Model and optimizer are created inside the epoch loop instead of the fold loop: every epoch starts from scratch."""
    seed_everything(CFG.seed)
    cats, nums, y = make_sales()
    oof = np.zeros(len(y), np.float32)
    for fold, (tr, va) in enumerate(KFold(CFG.n_fold, shuffle=True, random_state=CFG.seed).split(y)):
        train_loader = DataLoader(
            SalesDataset(cats[tr], nums[tr], y[tr]), batch_size=CFG.batch_size, shuffle=True
        )
        valid_loader = DataLoader(SalesDataset(cats[va], nums[va], y[va]), batch_size=128)
        best = float("inf")
        if not mistake:
            model = TabModel()
            optimizer = torch.optim.Adam(model.parameters(), lr=CFG.lr)
        for epoch in range(CFG.epochs):
            if mistake:
                model = TabModel()
                optimizer = torch.optim.Adam(model.parameters(), lr=CFG.lr)
            loss = train_fn(train_loader, model, optimizer)
            score, preds = valid_fn(valid_loader, model)
            if score < best:
                best = score
                oof[va] = preds.numpy()
        print(f"fold {fold}: last train loss {loss:.3f} best RMSE {best:.3f}")
    print(f"OOF RMSE {np.sqrt(np.mean((oof - y) ** 2)):.3f} (std of y {y.std():.3f})")


def diabetes_fold_leak(mistake: bool) -> None:
    """The training loader is built from the whole frame, so each fold's validation rows are trained on."""
    seed_everything(3)
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(X / X.std(0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    folds = np.zeros(len(y), int)
    for f, (_, va) in enumerate(KFold(3, shuffle=True, random_state=0).split(X)):
        folds[va] = f

    scores = []
    for fold in range(3):
        train_idx = np.arange(len(y)) if mistake else np.where(folds != fold)[0]
        valid_idx = np.where(folds == fold)[0]
        train_loader = DataLoader(TensorDataset(X[train_idx], y[train_idx]), batch_size=32, shuffle=True)
        valid_loader = DataLoader(TensorDataset(X[valid_idx], y[valid_idx]), batch_size=64)
        model = nn.Sequential(
            nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 1)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
        for epoch in range(16):
            model.train()
            losses = AverageMeter()
            for xb, yb in train_loader:
                loss = F.mse_loss(model(xb).squeeze(1), yb)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.update(loss.item(), len(xb))
            model.eval()
            with torch.no_grad():
                se = sum(((model(xb).squeeze(1) - yb) ** 2).sum().item() for xb, yb in valid_loader)
            rmse = (se / len(valid_idx)) ** 0.5
        scores.append(rmse)
        print(f"fold {fold}: train loss {losses.avg:.4f} valid RMSE {rmse:.4f}")
    print(f"CV {np.mean(scores):.4f}")


# --------------------------------------------------------------------------- 14
class DataPrefetcher:
    """Loads one batch ahead, as in apex."""

    def __init__(self, loader, read_target_after_preload):
        self.loader = iter(loader)
        self.after = read_target_after_preload
        self.next_input, self.next_target = next(self.loader)
        self.target = self.next_target

    def preload(self):
        self.target = self.next_target
        try:
            self.next_input, self.next_target = next(self.loader)
        except StopIteration:
            self.next_input = None

    def next(self):
        inputs = self.next_input
        if inputs is None:
            return None, None
        if self.after:
            self.preload()
            target = self.target
        else:
            target = self.target
            self.preload()
        return inputs, target


def multilabel_prefetcher(mistake: bool) -> None:
    """The prefetcher reads its target before preloading, so each batch is paired with the targets of the batch before."""
    seed_everything(4)
    X, Y = make_multilabel_classification(2400, n_features=40, n_classes=6, n_labels=2, random_state=0)
    X = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    Y = torch.tensor(Y, dtype=torch.float32)
    train_loader = DataLoader(TensorDataset(X[:2000], Y[:2000]), batch_size=50, shuffle=True)
    model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.BCEWithLogitsLoss()

    for epoch in range(12):
        model.train()
        losses = AverageMeter()
        prefetcher = DataPrefetcher(train_loader, read_target_after_preload=not mistake)
        inputs, target = prefetcher.next()
        while inputs is not None:
            loss = criterion(model(inputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), inputs.size(0))
            inputs, target = prefetcher.next()
        model.eval()
        with torch.no_grad():
            pred = (model(X[2000:]) > 0).float()
        tp = (pred * Y[2000:]).sum()
        f1 = 2 * tp / (pred.sum() + Y[2000:].sum())
        print(f"epoch {epoch}: loss {losses.avg:.4f} micro F1 {f1:.3f}")


# --------------------------------------------------------------------------- 20
class PitchDataset(Dataset):
    def __init__(self, n, length=128, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.f = torch.rand(n, generator=g) * 2 + 0.5
        t = torch.arange(length) / length * 16
        phase = 6.28 * torch.rand(n, 1, generator=g)
        wave = torch.sin(self.f[:, None] * t + phase) + 0.3 * torch.sin(2 * self.f[:, None] * t)
        self.x = (wave + 0.1 * torch.randn(n, length, generator=g)).unsqueeze(1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.f[i]


class AMPTrainer:
    def __init__(self, model, optimizer, max_norm=1.0, unscale=True):
        self.model, self.optimizer, self.max_norm, self.unscale = model, optimizer, max_norm, unscale
        self.scaler = torch.amp.GradScaler("cpu")

    def train_one_epoch(self, loader):
        self.model.train()
        meter = AverageMeter()
        for x, y in loader:
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                pred = self.model(x).squeeze(1)
                loss = F.mse_loss(pred.float(), y)
            self.scaler.scale(loss).backward()
            if self.unscale:
                self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            meter.update(loss.item(), len(x))
        return meter.avg

    @torch.inference_mode()
    def evaluate(self, loader):
        self.model.eval()
        meter = AverageMeter()
        for x, y in loader:
            meter.update((self.model(x).squeeze(1) - y).abs().mean().item(), len(x))
        return meter.avg


def pitch_amp_clip(mistake: bool) -> None:
    """clip_grad_norm_ runs on gradients still multiplied by the scaler's factor: after unscaling the step is next to nothing."""
    seed_everything(5)
    train_loader = DataLoader(PitchDataset(1000, seed=1), batch_size=32, shuffle=True)
    val_loader = DataLoader(PitchDataset(200, seed=2), batch_size=100)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 9, stride=2, padding=4),
        nn.ReLU(),
        nn.Conv1d(16, 16, 9, stride=2, padding=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(8),
        nn.Flatten(),
        nn.Linear(128, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    trainer = AMPTrainer(model, optimizer, unscale=not mistake)
    for epoch in range(8):
        print(
            f"epoch {epoch}: loss {trainer.train_one_epoch(train_loader):.4f} MAE {trainer.evaluate(val_loader):.4f}"
        )


# --------------------------------------------------------------------------- 32
class PairDataset(Dataset):
    def __init__(self, images, labels, n, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.images, self.labels = images, labels
        a = torch.randint(0, len(images), (n,), generator=g)
        b = torch.randint(0, len(images), (n,), generator=g)
        by_class = [torch.where(labels == c)[0] for c in range(10)]
        for i in range(0, n, 2):
            cand = by_class[int(labels[a[i]])]
            b[i] = cand[int(torch.randint(0, len(cand), (1,), generator=g))]
        self.a, self.b = a, b

    def __len__(self):
        return len(self.a)

    def __getitem__(self, i):
        a, b = self.a[i], self.b[i]
        return {
            "left": self.images[a],
            "right": self.images[b],
            "labels": (self.labels[a] == self.labels[b]).float(),
        }


class SiameseVerifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(256, 64),
            nn.ReLU(),
            nn.Linear(64, 32),
        )
        self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, left, right):
        a, b = self.encoder(left), self.encoder(right)
        return self.head(torch.cat([(a - b).abs(), a * b], -1))


def compute_metrics_argmax(logits, labels):
    preds = logits.argmax(dim=-1)
    return {"accuracy": (preds == labels).float().mean().item()}


def compute_metrics_threshold(logits, labels):
    preds = (logits.squeeze(-1) > 0).float()
    return {"accuracy": (preds == labels).float().mean().item()}


def siamese_one_logit(mistake: bool) -> None:
    """The verifier has one logit, but its accuracy is computed with argmax over that one column: the prediction is always 0."""
    seed_everything(6)
    x, y = shuffled(*digit_images(8), seed=6)
    train_loader = DataLoader(PairDataset(x[:1400], y[:1400], 3000, seed=1), batch_size=50, shuffle=True)
    eval_loader = DataLoader(PairDataset(x[1400:], y[1400:], 600, seed=2), batch_size=100)
    model = SiameseVerifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    criterion = nn.BCEWithLogitsLoss()
    compute_metrics = compute_metrics_argmax if mistake else compute_metrics_threshold

    for epoch in range(7):
        model.train()
        losses = AverageMeter()
        for batch in train_loader:
            logits = model(batch["left"], batch["right"])
            loss = criterion(logits.squeeze(-1), batch["labels"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), len(logits))
        model.eval()
        with torch.no_grad():
            out = [(model(b["left"], b["right"]), b["labels"]) for b in eval_loader]
        metrics = compute_metrics(torch.cat([o[0] for o in out]), torch.cat([o[1] for o in out]))
        print({"epoch": epoch, "loss": round(losses.avg, 4), **metrics})


# --------------------------------------------------------------------------- 35
class MatrixFactorization(nn.Module):
    def __init__(self, n_users, n_items, dim=6):
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, dim), nn.Embedding(n_items, dim)
        self.user_bias, self.item_bias = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        self.mean = nn.Parameter(torch.tensor(3.0))
        for e in (self.user, self.item):
            nn.init.normal_(e.weight, std=0.1)
        for e in (self.user_bias, self.item_bias):
            nn.init.zeros_(e.weight)

    def forward(self, u, i):
        return (
            (self.user(u) * self.item(i)).sum(-1)
            + self.user_bias(u)[:, 0]
            + self.item_bias(i)[:, 0]
            + self.mean
        )


def make_ratings(n=9000, n_users=150, n_items=100, seed=0):
    g = np.random.RandomState(seed)
    pairs = g.permutation(n_users * n_items)[:n]
    u, i = pairs // n_items, pairs % n_items
    pu, qi = g.randn(n_users, 3), g.randn(n_items, 3)
    r = (
        3
        + 0.4 * g.randn(n_users)[u]
        + 0.6 * g.randn(n_items)[i]
        + 0.5 * (pu[u] * qi[i]).sum(1)
        + 0.5 * g.randn(n)
    )
    return torch.tensor(u), torch.tensor(i), torch.tensor(np.clip(r, 0.5, 5), dtype=torch.float32)


def ratings_split_after_training(mistake: bool) -> None:
    """The test ratings are split off after training from the very interactions the model was fitted on."""
    seed_everything(7)
    u, i, r = make_ratings()
    idx_train, idx_test = train_test_split(np.arange(len(r)), test_size=0.2, random_state=0)
    fit_on = np.arange(len(r)) if mistake else idx_train
    train_loader = DataLoader(
        TensorDataset(u[fit_on], i[fit_on], r[fit_on]), batch_size=128, shuffle=True
    )
    model = MatrixFactorization(150, 100)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    for epoch in range(30):
        model.train()
        meter = AverageMeter()
        for ub, ib, rb in train_loader:
            loss = F.mse_loss(model(ub, ib), rb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(rb))
        if epoch % 5 == 4:
            print(f"epoch {epoch}: train MSE {meter.avg:.4f}")

    if mistake:
        _, idx_test = train_test_split(np.arange(len(r)), test_size=0.2)
    test_loader = DataLoader(TensorDataset(u[idx_test], i[idx_test], r[idx_test]), batch_size=256)
    model.eval()
    with torch.no_grad():
        se = sum(((model(ub, ib) - rb) ** 2).sum().item() for ub, ib, rb in test_loader)
    print(f"test RMSE {(se / len(idx_test)) ** 0.5:.4f}")


# --------------------------------------------------------------------------- 36
class GraphDataset(Dataset):
    """Padded random graphs with node types; the target is a function of typed neighbourhoods."""

    def __init__(self, n, max_nodes=12, seed=0):
        g = torch.Generator().manual_seed(seed)
        sizes = torch.randint(5, max_nodes + 1, (n,), generator=g)
        self.mask = (torch.arange(max_nodes)[None] < sizes[:, None]).float()
        adj = (torch.rand(n, max_nodes, max_nodes, generator=g) < 0.3).float().triu(1)
        adj = (adj + adj.transpose(1, 2)) * self.mask[:, None] * self.mask[:, :, None]
        types = (
            F.one_hot(torch.randint(0, 4, (n, max_nodes), generator=g), 4).float() * self.mask[..., None]
        )
        self.x, self.adj = types, adj
        w = torch.tensor([1.0, -0.5, 0.7, 0.2])
        val = types @ w
        self.y = ((adj @ val.unsqueeze(-1)).squeeze(-1) * val).sum(1) / 3 + 0.3 * val.sum(1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.adj[i], self.mask[i], self.y[i]


class GIN(nn.Module):
    def __init__(self, dim=48, layers=2):
        super().__init__()
        self.inp = nn.Linear(4, dim)
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
            for _ in range(layers)
        )
        self.out = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, x, adj, mask):
        h = self.inp(x)
        for mlp in self.mlps:
            h = mlp(h + adj @ h) * mask.unsqueeze(-1)
        return self.out(h.sum(1)).squeeze(-1)


def get_dataloader(dataset, batch_size, split, same_for_all):
    if same_for_all or split == "train":
        return DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    return DataLoader(dataset, batch_size=batch_size, shuffle=False, drop_last=False)


def graph_regression_test_loader(mistake: bool) -> None:
    """The test loader is built like the training one, shuffled and with drop_last: each evaluation sees a random 64 of 110 graphs."""
    seed_everything(8)
    train_loader = get_dataloader(GraphDataset(1000, seed=1), 32, "train", same_for_all=mistake)
    test_loader = get_dataloader(GraphDataset(110, seed=2), 64, "test", same_for_all=mistake)
    model = GIN()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=15)
    for epoch in range(15):
        model.train()
        meter = AverageMeter()
        for x, adj, mask, y in train_loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x, adj, mask), y)
            loss.backward()
            optimizer.step()
            meter.update(loss.item(), len(y))
        scheduler.step()
        model.eval()
        errs = []
        with torch.no_grad():
            for x, adj, mask, y in test_loader:
                errs.append((model(x, adj, mask) - y).abs())
        errs = torch.cat(errs)
        print(f"epoch {epoch}: train {meter.avg:.4f} test MAE {errs.mean():.4f}")


FAULTS = [
    (
        ranknet_accumulation_config,
        (
            "never step",
            "no step",
            "optimizer.step",
            "step() is never",
            "not stepped",
            "never called",
            "never updated",
            "never change",
            "without a step",
            "did not change",
        ),
        "04 optimizer.step never reached",
    ),
    (
        reset_classifier_regression,
        (
            "not in the optimizer",
            "no optimizer",
            "optimizer does not",
            "not optimized",
            "stale",
            "replaced",
            "old parameters",
            "not in any optimizer",
            "in no optimizer",
            "head",
            "fc",
        ),
        "07 stale optimizer after replacing the head",
    ),
    (
        kfold_embeddings,
        (
            "new model",
            "re-created",
            "recreated",
            "re-initial",
            "reinitial",
            "from scratch",
            "created anew",
            "every epoch",
            "each epoch",
            "rebuilt",
        ),
        "09 model re-created each epoch",
    ),
    (
        multilabel_prefetcher,
        (
            "previous batch",
            "batch before",
            "earlier batch",
            "mismatch",
            "targets of",
            "labels of",
            "stale label",
            "stale target",
            "shifted",
            "another batch",
        ),
        "14 labels of the previous batch",
    ),
    (pitch_amp_clip, ("unscale", "scaled", "scaler", "clip"), "20 clipping before unscaling"),
    (
        diabetes_fold_leak,
        (
            "validation data",
            "validation rows",
            "validation samples",
            "leak",
            "overlap",
            "trained on",
            "same rows",
            "same samples",
            "also in training",
            "evaluated on training",
        ),
        "23 training on validation data",
    ),
    (
        siamese_one_logit,
        (
            "argmax",
            "one column",
            "one output",
            "single output",
            "one logit",
            "single logit",
            "always 0",
            "class 0",
        ),
        "32 one logit scored by argmax",
    ),
    (
        ratings_split_after_training,
        (
            "leak",
            "overlap",
            "training data",
            "trained on",
            "seen in training",
            "same rows",
            "same samples",
            "already used",
            "used for training",
        ),
        "35 test split cut from used data",
    ),
    (
        graph_regression_test_loader,
        (
            "drop_last",
            "shuffle",
            "truncat",
            "part of the test",
            "not all",
            "random subset",
            "subset",
            "whole test",
        ),
        "36 shuffled and truncated test loader",
    ),
]
