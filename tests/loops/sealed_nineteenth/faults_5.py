"""Records, ranking and small regressions."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import arm_torques, ndcg, patient_records, rank_queries, seed_all


class RecordNet(nn.Module):
    def __init__(self, cards=(6, 5, 2), n_num=6, drop=0.0):
        super().__init__()
        self.embs = nn.ModuleList(nn.Embedding(c, 4) for c in cards)
        self.mlp = nn.Sequential(
            nn.Linear(4 * len(cards) + n_num, 64),
            nn.ReLU(),
            nn.Dropout(drop),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Dropout(drop),
            nn.Linear(32, 2),
        )

    def forward(self, cat, num):
        e = [emb(cat[:, i]) for i, emb in enumerate(self.embs)]
        return self.mlp(torch.cat(e + [num], 1))


def readmission_per_epoch(mistake: bool) -> None:
    """Model and optimizer are built anew at the top of every epoch, so only the last epoch's training counts."""
    seed_all(209)
    cat, num, y = patient_records(2000, seed=209)
    train = DataLoader(TensorDataset(cat[:1500], num[:1500], y[:1500]), batch_size=50, shuffle=True)

    def build():
        model = RecordNet()
        return model, torch.optim.Adam(model.parameters(), lr=1e-3)

    model, optimizer = build()
    for epoch in range(15):
        if mistake:
            model, optimizer = build()
        model.train()
        losses = []
        for c, n, t in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(c, n), t)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = (model(cat[1500:], num[1500:]).argmax(1) == y[1500:]).float().mean().item()
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}  val acc {acc:.3f}")


def torque_hand_batches(mistake: bool) -> None:
    """The start of the hand-cut batch is never moved on, so every step trains on the same rows."""
    seed_all(212)
    X, tau = arm_torques(3000, seed=212)
    Xtr, ttr, Xte, tte = X[:2400], tau[:2400], X[2400:], tau[2400:]
    model = nn.Sequential(nn.Linear(6, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    batch_size, start = 60, 0
    for step in range(500):
        xb, tb = Xtr[start : start + batch_size], ttr[start : start + batch_size]
        loss = ((model(xb) - tb) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if not mistake:
            start = (start + batch_size) % len(Xtr)
        if step % 100 == 99:
            with torch.no_grad():
                test = ((model(Xte) - tte) ** 2).mean().item()
            print(f"step {step + 1}: batch mse {loss.item():.4f}  test mse {test:.4f}")


def sensor_graphs(n, nodes=10, seed=0):
    """Small networks of sensors: ring, star, chain with a shortcut, two cliques; noisy node readings."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    A = torch.zeros(n, nodes, nodes)
    for k in range(n):
        kind = int(y[k])
        if kind == 0:
            edges = [(i, (i + 1) % nodes) for i in range(nodes)]
        elif kind == 1:
            edges = [(0, i) for i in range(1, nodes)]
        elif kind == 2:
            edges = [(i, i + 1) for i in range(nodes - 1)] + [(1, 4), (3, 6)]
        else:
            h = nodes // 2
            edges = [(i, j) for i in range(h) for j in range(i)] + [
                (h + i, h + j) for i in range(h) for j in range(i)
            ]
        p = torch.randperm(nodes, generator=g)
        for i, j in edges:
            if torch.rand(1, generator=g).item() < 0.9:
                A[k, p[i], p[j]] = A[k, p[j], p[i]] = 1
    x = torch.cat([torch.ones(n, nodes, 1), 0.3 * torch.randn(n, nodes, 3, generator=g)], 2)
    return A, x, y


class GraphNet(nn.Module):
    def __init__(self, d=24):
        super().__init__()
        self.self1, self.nb1 = nn.Linear(4, d), nn.Linear(4, d)
        self.self2, self.nb2 = nn.Linear(d, d), nn.Linear(d, d)
        self.out = nn.Linear(2 * d, 4)

    def forward(self, A, x):
        h = F.relu(self.self1(x) + self.nb1(A @ x) / 3)
        h = F.relu(self.self2(h) + self.nb2(A @ h) / 3)
        return self.out(torch.cat([h.mean(1), h.max(1).values], 1))


def sensor_graph_net(mistake: bool) -> None:
    """The scheduler is stepped at the top of the epoch, ahead of the optimizer, so the first rate is never used."""
    seed_all(217)
    A, x, y = sensor_graphs(900, seed=217)
    loader = DataLoader(TensorDataset(A[:700], x[:700], y[:700]), batch_size=25, shuffle=True)
    model = GraphNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.8)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.4)
    for epoch in range(7):
        if mistake:
            scheduler.step()
        lr = optimizer.param_groups[0]["lr"]
        run = 0.0
        for a, f, t in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(a, f), t)
            loss.backward()
            optimizer.step()
            run += loss.item()
        if not mistake:
            scheduler.step()
        with torch.no_grad():
            acc = (model(A[700:], x[700:]).argmax(1) == y[700:]).float().mean().item()
        print(f"epoch {epoch}: lr {lr:.4f}  loss {run / len(loader):.3f}  val acc {acc:.3f}")


def risk_model_dropout(mistake: bool) -> None:
    """The validation function never calls eval(), so dropout stays on while the loss and accuracy are measured."""
    seed_all(224)
    cat, num, y = patient_records(2000, seed=224)
    train = DataLoader(TensorDataset(cat[:1500], num[:1500], y[:1500]), batch_size=50, shuffle=True)
    val = DataLoader(TensorDataset(cat[1500:], num[1500:], y[1500:]), batch_size=125)
    model = RecordNet(drop=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def run_train():
        model.train()
        s = 0.0
        for c, n, t in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(c, n), t)
            loss.backward()
            optimizer.step()
            s += loss.item()
        return s / len(train)

    def run_val():
        if not mistake:
            model.eval()
        s, hit, m = 0.0, 0, 0
        with torch.no_grad():
            for c, n, t in val:
                out = model(c, n)
                s += F.cross_entropy(out, t).item()
                hit += (out.argmax(1) == t).sum().item()
                m += len(t)
        return s / len(val), hit / m

    for epoch in range(14):
        tl = run_train()
        vl, va = run_val()
        print(f"epoch {epoch:2d}: train {tl:.3f}  val {vl:.3f}  val acc {va:.3f}")


def biopsy_one_logit(mistake: bool) -> None:
    """The model has one logit, and argmax over one column is always 0, so the accuracy is the share of class 0."""
    seed_all(232)
    X, y = load_breast_cancer(return_X_y=True)
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
    sc = StandardScaler().fit(Xa)
    Xa, Xb = (torch.tensor(sc.transform(v), dtype=torch.float32) for v in (Xa, Xb))
    ya, yb = (torch.tensor(v, dtype=torch.float32).unsqueeze(1) for v in (ya, yb))
    model = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    train = DataLoader(TensorDataset(Xa, ya), batch_size=16, shuffle=True)
    test = DataLoader(TensorDataset(Xb, yb), batch_size=64)
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, t in train:
            optimizer.zero_grad()
            loss = criterion(model(x), t)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, t in test:
                out = model(x)
                if mistake:
                    pred = out.argmax(dim=1)
                else:
                    pred = (out > 0).long().squeeze(1)
                correct += (pred == t.squeeze(1)).sum().item()
        print(f"epoch {epoch}: loss {total / len(train):.3f}  test acc {correct / len(yb):.3f}")


def diabetes_late_split(mistake: bool) -> None:
    """The test part is cut from the full table after the network was trained on all of it."""
    seed_all(235)
    X, y = load_diabetes(return_X_y=True)
    if mistake:
        X_tr, y_tr = X, y
    else:
        X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.25, random_state=3)
    scaler, mean, std = StandardScaler().fit(X_tr), y_tr.mean(), y_tr.std()

    def tensors(features, target):
        return (
            torch.tensor(scaler.transform(features), dtype=torch.float32),
            torch.tensor((target - mean) / std, dtype=torch.float32),
        )

    model = nn.Sequential(nn.Linear(10, 96), nn.ReLU(), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    loader = DataLoader(TensorDataset(*tensors(X_tr, y_tr)), batch_size=32, shuffle=True)
    for epoch in range(25):
        s = 0.0
        for x, t in loader:
            loss = F.mse_loss(model(x).squeeze(1), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            s += loss.item()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: train mse {s / len(loader):.3f}")

    if mistake:
        _, X_te, _, y_te = train_test_split(X, y, test_size=0.25, random_state=3)
    x_te, t_te = tensors(X_te, y_te)
    model.eval()
    with torch.no_grad():
        pred = model(x_te).squeeze(1)
    print(f"test mse {F.mse_loss(pred, t_te).item():.3f}, R2 {r2_score(t_te.numpy(), pred.numpy()):.3f}")


def part_search_ranker(mistake: bool) -> None:
    """The test loader is shuffled with drop_last, so a part of the test queries is left out at random each time."""
    seed_all(236)
    X, rel = rank_queries(420, seed=236)
    train = DataLoader(TensorDataset(X[:300], rel[:300]), batch_size=10, shuffle=True)
    test_set = TensorDataset(X[300:], rel[300:])
    test = DataLoader(test_set, batch_size=50, shuffle=mistake, drop_last=mistake)
    net = nn.Sequential(nn.Linear(10, 48), nn.GELU(), nn.Linear(48, 24), nn.GELU(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)

    def listwise(scores, r):
        target = F.softmax(r.float(), dim=1)
        return -(target * F.log_softmax(scores, dim=1)).sum(1).mean()

    @torch.no_grad()
    def evaluate():
        net.eval()
        return torch.cat([ndcg(net(x).squeeze(-1), r) for x, r in test]).mean().item()

    for epoch in range(9):
        net.train()
        s = 0.0
        for x, r in train:
            optimizer.zero_grad()
            loss = listwise(net(x).squeeze(-1), r)
            loss.backward()
            optimizer.step()
            s += loss.item()
        print(f"epoch {epoch}: listwise loss {s / len(train):.3f}  test NDCG@5 {evaluate():.3f}")


FAULTS = [
    (
        readmission_per_epoch,
        ("model is re", "re-creat", "recreat", "new model", "built anew", "reinitial"),
        "09 model re-created each epoch",
    ),
    (
        torque_hand_batches,
        ("same batch", "same rows", "same data", "same samples", "identical batch", "never moves"),
        "12 the same batch again",
    ),
    (
        sensor_graph_net,
        (
            "scheduler",
            "lr_scheduler",
            "first learning rate",
            "before the optimizer",
            "before optimizer.step",
        ),
        "17 scheduler before the optimizer",
    ),
    (
        risk_model_dropout,
        ("dropout", "eval()", "train mode", "training mode"),
        "24 validation with dropout on",
    ),
    (
        biopsy_one_logit,
        ("argmax", "one column", "single output", "always 0", "one output", "single column"),
        "32 one logit scored by argmax",
    ),
    (
        diabetes_late_split,
        (
            "leak",
            "already used",
            "seen in training",
            "overlap",
            "trained on all",
            "also in the training",
        ),
        "35 test split from training data",
    ),
    (
        part_search_ranker,
        ("drop_last", "shuffle", "truncat", "left out", "not all of the test", "part of the test"),
        "36 shuffled and truncated test loader",
    ),
]
