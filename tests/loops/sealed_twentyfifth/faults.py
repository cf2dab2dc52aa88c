import random
from collections import defaultdict

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import daily_demand, loans, ratings, seed_all, table

FAULTS = []


# ---------------------------------------------------------------- two towers
def two_tower_catalogue(mistake):
    seed_all(3)
    rows, item_feats = ratings(seed=3)
    n_users, n_items = 150, len(item_feats)
    cut = int(0.8 * len(rows))
    tr, va = rows[:cut], rows[cut:]
    feats = torch.from_numpy(item_feats)

    class UserTower(nn.Module):
        def __init__(self, n, d=12):
            super().__init__()
            self.emb = nn.Embedding(n, d)
            self.fc = nn.Linear(d, d)
            nn.init.normal_(self.emb.weight, std=0.1)

        def forward(self, u):
            return self.fc(self.emb(u))

    class ItemTower(nn.Module):
        def __init__(self, n_in, d=12):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, d))

        def forward(self, x):
            return self.net(x)

        def catalogue(self, x):
            # the whole shop at once, rows are looked up afterwards
            if mistake:
                with torch.no_grad():
                    return self.net(x)
            return self.net(x)

    users, items = UserTower(n_users), ItemTower(feats.shape[1])
    opt = torch.optim.Adam(
        list(users.parameters()) + list(items.parameters()), lr=0.01, weight_decay=1e-5
    )
    bs, hist = 64, defaultdict(list)
    for epoch in range(12):
        order = np.random.permutation(len(tr))
        users.train(), items.train()
        tot = 0.0
        for s in range(0, len(order), bs):
            b = tr[order[s : s + bs]]
            u, i = torch.from_numpy(b[:, 0]).long(), torch.from_numpy(b[:, 1]).long()
            y = torch.from_numpy(b[:, 2]).float()
            vecs = items.catalogue(feats)
            pred = (users(u) * vecs[i]).sum(1)
            loss = F.mse_loss(pred, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item() * len(b)
        users.eval(), items.eval()
        with torch.no_grad():
            vecs = items(feats)
            u, i = torch.from_numpy(va[:, 0]).long(), torch.from_numpy(va[:, 1]).long()
            err = (
                ((users(u) * vecs[i]).sum(1) - torch.from_numpy(va[:, 2]).float())
                .pow(2)
                .mean()
                .sqrt()
                .item()
            )
        hist["train"].append(tot / len(tr))
        hist["rmse"].append(err)
    print(
        f"two tower  train {hist['train'][0]:.3f} -> {hist['train'][-1]:.3f}  rmse {hist['rmse'][-1]:.3f}"
    )
    return dict(hist)


FAULTS.append(
    (
        two_tower_catalogue,
        (
            "no_grad",
            "detach",
            "without gradient",
            "no gradient",
            "never receive",
            "not trained",
            "untrained",
            "does not learn",
            "requires_grad",
            "never change",
            "item tower",
            "grad is none",
            "did not move",
        ),
        "10 a part trained under no_grad (or detached)",
    )
)


# ---------------------------------------------------------------- forecast with get_batch
def demand_get_batch(mistake):
    seed_all(0)
    y, price = daily_demand(800, seed=5)
    n_tr = 600
    mu, sd = y[:n_tr].mean(), y[:n_tr].std()
    series = torch.from_numpy(
        np.stack([(y - mu) / sd, (price - price[:n_tr].mean()) / price[:n_tr].std()], 1)
    )
    data = {"train": series[:n_tr], "val": series[n_tr:]}
    ctx = 28
    rng = np.random.RandomState(1337)

    def get_batch(split, batch_size=32):
        d = data[split]
        r = np.random.RandomState(1337) if mistake else rng
        ix = r.randint(0, len(d) - ctx, batch_size)
        x = torch.stack([d[i : i + ctx] for i in ix])
        t = torch.stack([d[i + ctx, 0] for i in ix])
        return x, t

    class Forecaster(nn.Module):
        def __init__(self, hid=32):
            super().__init__()
            self.conv = nn.Conv1d(2, 16, 7, padding=3)
            self.head = nn.Sequential(
                nn.Flatten(), nn.Linear(16 * ctx, hid), nn.ReLU(), nn.Linear(hid, 1)
            )

        def forward(self, x):
            return self.head(F.relu(self.conv(x.transpose(1, 2)))).squeeze(-1)

    val_x = torch.stack([data["val"][i : i + ctx] for i in range(len(data["val"]) - ctx)])
    val_t = data["val"][ctx:, 0]

    @torch.no_grad()
    def estimate_loss(m):
        m.eval()
        out = F.mse_loss(m(val_x), val_t).item()
        m.train()
        return out

    model = Forecaster()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    max_iters, eval_interval, log = 400, 80, []
    for it in range(max_iters):
        if it % eval_interval == 0:
            log.append(estimate_loss(model))
        xb, yb = get_batch("train")
        loss = F.mse_loss(model(xb), yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    log.append(estimate_loss(model))
    print("demand  train", round(loss.item(), 4), "val", [round(v, 3) for v in log])
    return {"train": loss.item(), "val": log}


FAULTS.append(
    (
        demand_get_batch,
        (
            "same batch",
            "identical batch",
            "one single batch",
            "single batch",
            "same samples",
            "same rows",
            "same data",
            "same examples",
            "repeated batch",
            "same inputs",
            "seed",
            "again and again",
            "batch is repeated",
        ),
        "11 the same batch again and again",
    )
)


# ---------------------------------------------------------------- clicks against impressions
def clicks_and_impressions(mistake):
    torch.manual_seed(11)
    r = np.random.RandomState(11)
    n_u, n_i, k = 120, 90, 5
    U, V = r.randn(n_u, k), r.randn(n_i, k)
    p = 1 / (1 + np.exp(-(1.6 * U @ V.T - 2.0)))
    seen = r.rand(n_u, n_i) < 0.45
    click = (r.rand(n_u, n_i) < p) & seen
    skip = seen & ~click
    pos, neg = np.argwhere(click), np.argwhere(skip)
    r.shuffle(pos), r.shuffle(neg)

    class Pairs(Dataset):
        def __init__(self, a):
            self.a = torch.from_numpy(a)

        def __len__(self):
            return len(self.a)

        def __getitem__(self, i):
            return self.a[i, 0], self.a[i, 1]

    cp, cn = int(0.85 * len(pos)), int(0.85 * len(neg))
    pos_loader = DataLoader(Pairs(pos[:cp]), batch_size=32, shuffle=True)
    neg_loader = DataLoader(Pairs(neg[:cn]), batch_size=32)  # shuffled above, once is enough
    te = np.concatenate([pos[cp:], neg[cn:]])
    te_y = np.r_[np.ones(len(pos) - cp), np.zeros(len(neg) - cn)]

    class Factorise(nn.Module):
        def __init__(self, d=8):
            super().__init__()
            self.u, self.i = nn.Embedding(n_u, d), nn.Embedding(n_i, d)
            self.bu, self.bi = nn.Embedding(n_u, 1), nn.Embedding(n_i, 1)
            for e in (self.u, self.i):
                nn.init.normal_(e.weight, std=0.2)
            nn.init.zeros_(self.bu.weight), nn.init.zeros_(self.bi.weight)

        def forward(self, u, i):
            return (self.u(u) * self.i(i)).sum(-1) + self.bu(u)[:, 0] + self.bi(i)[:, 0]

    def auc(m):
        with torch.no_grad():
            s = m(torch.from_numpy(te[:, 0]), torch.from_numpy(te[:, 1])).numpy()
        a, b = s[te_y == 1], s[te_y == 0]
        return float((a[:, None] > b[None]).mean())

    def forever(loader):
        while True:
            for batch in loader:
                yield batch

    net = Factorise()
    opt = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=1e-4)
    bce = nn.BCEWithLogitsLoss()
    negatives = forever(neg_loader)
    losses, scores = [], [auc(net)]
    for epoch in range(10):
        ep = []
        for pu, pi in pos_loader:
            nu, ni = next(iter(neg_loader)) if mistake else next(negatives)
            logit = torch.cat([net(pu, pi), net(nu, ni)])
            target = torch.cat([torch.ones(len(pu)), torch.zeros(len(nu))])
            loss = bce(logit, target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ep.append(loss.item())
        losses.append(sum(ep) / len(ep))
        scores.append(auc(net))
    print(f"clicks  loss {losses[0]:.3f} -> {losses[-1]:.3f}  auc {scores[0]:.3f} -> {scores[-1]:.3f}")
    return {"loss": losses, "auc": scores}


FAULTS.append(
    (
        clicks_and_impressions,
        (
            "iter(",
            "iterator",
            "restart",
            "its first batch",
            "first batch",
            "new iterator",
            "next(iter",
            "same negatives",
            "same batch",
            "re-created",
            "recreated",
            "from the start",
        ),
        "12 iterator restarted each step",
    )
)


# ---------------------------------------------------------------- credit table with a prefetcher
def credit_prefetch(mistake):
    seed_all(21)
    num, cat, y = loans(1600, seed=21)
    a_num, b_num, a_cat, b_cat, a_y, b_y = train_test_split(
        num, cat, y, test_size=0.25, random_state=0, stratify=y
    )
    sc = StandardScaler().fit(a_num)

    class CreditDataset(Dataset):
        def __init__(self, num, cat, y):
            self.num = torch.tensor(sc.transform(num), dtype=torch.float32)
            self.cat = torch.tensor(cat)
            self.y = torch.tensor(y, dtype=torch.float32)

        def __len__(self):
            return len(self.y)

        def __getitem__(self, i):
            return (self.num[i], self.cat[i]), self.y[i]

    class DataPrefetcher:
        def __init__(self, loader, device):
            self.loader = iter(loader)
            self.device = device
            self.preload()

        def preload(self):
            try:
                (n, c), t = next(self.loader)
            except StopIteration:
                self.next_input, self.next_target = None, None
                return
            self.next_input = (n.to(self.device), c.to(self.device))
            self.next_target = t.to(self.device)

        def next(self):
            if mistake:
                target = self.next_target
                self.preload()
                inp = self.next_input
            else:
                target = self.next_target
                inp = self.next_input
                self.preload()
            return inp, target

    class TabNet(nn.Module):
        def __init__(self, sizes=(6, 8), n_num=5):
            super().__init__()
            self.embs = nn.ModuleList([nn.Embedding(s, 4) for s in sizes])
            self.bn = nn.BatchNorm1d(n_num)
            self.layers = nn.Sequential(
                nn.Linear(n_num + 4 * len(sizes), 64),
                nn.ReLU(),
                nn.Dropout(0.1),
                nn.Linear(64, 32),
                nn.ReLU(),
                nn.Linear(32, 1),
            )

        def forward(self, n, c):
            e = [m(c[:, k]) for k, m in enumerate(self.embs)]
            return self.layers(torch.cat([self.bn(n)] + e, 1)).squeeze(1)

    device = torch.device("cpu")
    train_dl = DataLoader(CreditDataset(a_num, a_cat, a_y), batch_size=40, shuffle=True)
    valid_dl = DataLoader(CreditDataset(b_num, b_cat, b_y), batch_size=100)
    model = TabNet().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.BCEWithLogitsLoss()
    history = {"loss": [], "val_acc": []}
    for epoch in range(10):
        model.train()
        total, seen = 0.0, 0
        prefetcher = DataPrefetcher(train_dl, device)
        inp, target = prefetcher.next()
        while inp is not None:
            optimizer.zero_grad()
            loss = criterion(model(*inp), target)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(target)
            seen += len(target)
            inp, target = prefetcher.next()
        model.eval()
        right = 0
        with torch.no_grad():
            for (n, c), t in valid_dl:
                right += ((model(n, c) > 0).float() == t).sum().item()
        history["loss"].append(total / seen)
        history["val_acc"].append(right / len(b_y))
    print(
        f"credit  loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}  acc {history['val_acc'][-1]:.3f}"
    )
    return history


FAULTS.append(
    (
        credit_prefetch,
        (
            "previous batch",
            "labels of",
            "targets of",
            "lags",
            "lagging",
            "one behind",
            "out of step",
            "misalign",
            "off by one",
            "shifted",
            "one batch behind",
            "one batch late",
            "do not belong",
            "don't belong",
            "mismatch",
            "not match",
            "another batch",
            "wrong labels",
            "unrelated",
            "prefetch",
        ),
        "13 labels of the previous batch",
    )
)


# ---------------------------------------------------------------- GRU forecast with a progress line
def gru_progress(mistake):
    seed_all(8)
    y, price = daily_demand(620, seed=8)
    m, s = y[:480].mean(), y[:480].std()
    z = torch.tensor((y - m) / s)
    L, H = 21, 3
    X = z.unfold(0, L + H, 1)
    tr_w = X[: 480 - L - H + 1]
    va_w = X[480:]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(1, 24, batch_first=True)
            self.out = nn.Linear(24, H)

        def forward(self, x):
            h, _ = self.rnn(x.unsqueeze(-1))
            return self.out(h[:, -1])

    net = Net()
    opt = torch.optim.RMSprop(net.parameters(), lr=2e-3)
    sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=1)
    avg, best, curve = None, float("inf"), []
    for epoch in range(10):
        for idx in torch.randperm(len(tr_w)).split(32):
            w = tr_w[idx]
            loss = F.smooth_l1_loss(net(w[:, :L]), w[:, L:])
            opt.zero_grad()
            loss.backward()
            opt.step()
            # smoothed, else the line jumps about
            value = loss if mistake else loss.item()
            avg = value if avg is None else 0.97 * avg + 0.03 * value
        with torch.no_grad():
            val = F.smooth_l1_loss(net(va_w[:, :L]), va_w[:, L:]).item()
        sched.step(val)
        best = min(best, val)
        curve.append(val)
    print(
        f"gru  smoothed {avg:.3f}  val {curve[0]:.3f} -> {curve[-1]:.3f}  lr {opt.param_groups[0]['lr']:.1e}"
    )
    return {"val": curve, "avg": avg}


FAULTS.append(
    (
        gru_progress,
        ("graph", "item()", ".item", "detach", "memory", "grad_fn", "keeps every", "retain"),
        "14 loss accumulated with its graph",
    )
)


# ---------------------------------------------------------------- a regressor in the manner of sklearn
def diabetes_wrapper(mistake):
    class TorchRegressor:
        def __init__(self, hidden=48, lr=0.02, epochs=15, batch_size=16, decay=0.85, random_state=0):
            self.hidden, self.lr, self.epochs = hidden, lr, epochs
            self.batch_size, self.decay, self.random_state = batch_size, decay, random_state

        def _batches(self, n, rng):
            order = rng.permutation(n)
            for k in range(0, n, self.batch_size):
                yield order[k : k + self.batch_size]

        def fit(self, X, y):
            torch.manual_seed(self.random_state)
            rng = np.random.RandomState(self.random_state)
            self.xs_, self.ym_, self.ysd_ = StandardScaler().fit(X), y.mean(), y.std()
            X = torch.tensor(self.xs_.transform(X), dtype=torch.float32)
            t = torch.tensor((y - self.ym_) / self.ysd_, dtype=torch.float32)
            self.net_ = nn.Sequential(
                nn.Linear(X.shape[1], self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1)
            )
            opt = torch.optim.SGD(self.net_.parameters(), lr=self.lr, momentum=0.8, weight_decay=1e-3)
            sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=self.decay)
            self.loss_curve_, self.lr_curve_ = [], []
            for _ in range(self.epochs):
                total = 0.0
                for b in self._batches(len(X), rng):
                    opt.zero_grad()
                    loss = F.mse_loss(self.net_(X[b])[:, 0], t[b])
                    loss.backward()
                    opt.step()
                    if mistake:
                        sched.step()
                    total += loss.item() * len(b)
                if not mistake:
                    sched.step()
                self.loss_curve_.append(total / len(X))
                self.lr_curve_.append(opt.param_groups[0]["lr"])
            return self

        def predict(self, X):
            with torch.no_grad():
                z = self.net_(torch.tensor(self.xs_.transform(X), dtype=torch.float32))[:, 0].numpy()
            return z * self.ysd_ + self.ym_

        def score(self, X, y):
            e = y - self.predict(X)
            return 1 - (e**2).sum() / ((y - y.mean()) ** 2).sum()

    X, y = table("diabetes")
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.25, random_state=4)
    reg = TorchRegressor(lr=0.005, epochs=15).fit(X_tr, y_tr)
    c = reg.loss_curve_
    print(
        f"diabetes  loss {c[0]:.3f} -> {c[-1]:.3f}  R2 {reg.score(X_te, y_te):.3f}  lr {reg.lr_curve_[-1]:.1e}"
    )
    return {"loss": c, "lr": reg.lr_curve_}


FAULTS.append(
    (
        diabetes_wrapper,
        (
            "per batch",
            "every batch",
            "each batch",
            "per step",
            "every step",
            "each step",
            "decays too",
            "too often",
            "too fast",
            "learning rate goes",
            "once per epoch",
        ),
        "15 scheduler per batch instead of per epoch",
    )
)


# ---------------------------------------------------------------- phases, as in the tutorial
def phases_digits_table(mistake):
    seed_all(5)
    X, y = table("digits")
    X, y = X[:1200], y[:1200]
    idx = np.random.permutation(len(X))
    parts = {"train": idx[:900], "val": idx[900:]}
    mean, std = X[parts["train"]].mean(), X[parts["train"]].std()
    dataloaders = {
        p: DataLoader(
            TensorDataset(torch.tensor((X[i] - mean) / std), torch.tensor(y[i]).long()),
            batch_size=30,
            shuffle=(p == "train"),
        )
        for p, i in parts.items()
    }
    dataset_sizes = {p: len(i) for p, i in parts.items()}

    def train_model(model, criterion, optimizer, scheduler, num_epochs):
        best_acc, best_wts = 0.0, None
        out = {"train": [], "val": [], "lr": []}
        for epoch in range(num_epochs):
            for phase in ["train", "val"]:
                if phase == "train":
                    if mistake:
                        scheduler.step()
                    model.train()
                    out["lr"].append(optimizer.param_groups[0]["lr"])
                else:
                    model.eval()
                running_loss, running_corrects = 0.0, 0
                for inputs, labels in dataloaders[phase]:
                    optimizer.zero_grad()
                    with torch.set_grad_enabled(phase == "train"):
                        outputs = model(inputs)
                        _, preds = torch.max(outputs, 1)
                        loss = criterion(outputs, labels)
                        if phase == "train":
                            loss.backward()
                            optimizer.step()
                    running_loss += loss.item() * inputs.size(0)
                    running_corrects += torch.sum(preds == labels).item()
                if phase == "train" and not mistake:
                    scheduler.step()
                epoch_acc = running_corrects / dataset_sizes[phase]
                out[phase].append(running_loss / dataset_sizes[phase])
                if phase == "val" and epoch_acc > best_acc:
                    best_acc = epoch_acc
                    best_wts = {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(best_wts)
        out["best"] = best_acc
        return model, out

    model_ft = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 10))
    optimizer_ft = torch.optim.SGD(model_ft.parameters(), lr=0.05, momentum=0.9)
    exp_lr_scheduler = torch.optim.lr_scheduler.StepLR(optimizer_ft, step_size=1, gamma=0.5)
    model_ft, out = train_model(
        model_ft, nn.CrossEntropyLoss(), optimizer_ft, exp_lr_scheduler, num_epochs=7
    )
    print(
        f"phases  train {out['train'][0]:.3f} -> {out['train'][-1]:.3f}  val acc {out['best']:.3f}  "
        f"lr {out['lr'][0]:.3g} -> {out['lr'][-1]:.2g}"
    )
    return out


FAULTS.append(
    (
        phases_digits_table,
        (
            "before the optimizer",
            "before optimizer",
            "before `optimizer",
            "before any optimizer",
            "before the first optimizer",
            "before opt",
            "wrong order",
            "first value",
            "first learning rate",
            "skips the first",
            "initial learning rate",
            "ahead of the optimizer",
            "before the update",
            "one epoch early",
        ),
        "16 scheduler before the optimizer",
    )
)


# ---------------------------------------------------------------- LSTM forecast, settings from a line of text
def lstm_from_settings(mistake):
    settings = "hidden=32 layers=1 window=24 epochs=10 batch=24 lr=0.05 clip=0.8 momentum=0.9"
    hp = {k: float(v) for k, v in (p.split("=") for p in settings.split())}
    hidden, layers, window, epochs, batch = (
        int(hp[k]) for k in ("hidden", "layers", "window", "epochs", "batch")
    )
    clip = int(hp["clip"]) if mistake else hp["clip"]

    random.seed(2), seed_all(2)
    t = np.arange(560)
    load = np.sin(2 * np.pi * t / 24) + 0.5 * np.sin(2 * np.pi * t / 168) + 0.1 * np.random.randn(560)
    load[::97] += 2.5  # spikes of the meter
    train, test = load[:430], load[430:]
    m, s = train.mean(), train.std()
    train, test = (train - m) / s, (test - m) / s

    def windows(a):
        xs = [a[i : i + window] for i in range(len(a) - window)]
        return torch.tensor(np.array(xs), dtype=torch.float32)[..., None], torch.tensor(
            a[window:], dtype=torch.float32
        )

    x, y = windows(train)
    tx, ty = windows(test)

    class LSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(1, hidden, layers, batch_first=True)
            self.fc = nn.Linear(hidden, 1)

        def forward(self, x):
            o, _ = self.lstm(x)
            return self.fc(o[:, -1]).squeeze(1)

    model = LSTM()
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=hp["lr"], momentum=hp["momentum"], weight_decay=1e-5
    )
    losses, test_losses = [], []
    for epoch in range(epochs):
        order = list(range(len(x)))
        random.shuffle(order)
        running = 0.0
        for i in range(0, len(order), batch):
            b = order[i : i + batch]
            optimizer.zero_grad()
            loss = criterion(model(x[b]), y[b])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            running += loss.item() * len(b)
        losses.append(running / len(order))
        test_losses.append(criterion(model(tx), ty).item())
    print(
        f"lstm  train {losses[0]:.3f} -> {losses[-1]:.3f}   test {test_losses[0]:.3f} -> {test_losses[-1]:.3f}"
    )
    return {"train": losses, "test": test_losses}


FAULTS.append(
    (
        lstm_from_settings,
        (
            "clip",
            "max_norm",
            "gradients are zero",
            "gradient is zero",
            "zero gradient",
            "cut to nothing",
        ),
        "17 clipping to nothing",
    )
)


# ---------------------------------------------------------------- wide and deep in half precision
def wide_and_deep_amp(mistake):
    torch.manual_seed(13)
    rows, item_feats = ratings(n_users=80, n_items=70, per_user=45, seed=13)
    item_feats = torch.tensor(item_feats)
    liked = (rows[:, 2] > 0).astype("float32")
    u_tr, u_va, i_tr, i_va, y_tr, y_va = train_test_split(
        rows[:, 0].astype(int), rows[:, 1].astype(int), liked, test_size=0.2, random_state=13
    )

    class Likes(Dataset):
        def __init__(self, u, i, y):
            self.u, self.i, self.y = u, i, y

        def __len__(self):
            return len(self.y)

        def __getitem__(self, k):
            return self.u[k], self.i[k], self.y[k]

    class WideDeep(nn.Module):
        def __init__(self, n_u=80, n_i=70, d=8):
            super().__init__()
            self.u, self.i = nn.Embedding(n_u, d), nn.Embedding(n_i, d)
            nn.init.normal_(self.u.weight, std=0.3), nn.init.normal_(self.i.weight, std=0.3)
            self.bias_u, self.bias_i = nn.Embedding(n_u, 1), nn.Embedding(n_i, 1)
            nn.init.zeros_(self.bias_u.weight), nn.init.zeros_(self.bias_i.weight)
            self.project = nn.Linear(8, d)
            self.deep = nn.Sequential(nn.Linear(3 * d, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, u, i):
            e, g, f = self.u(u), self.i(i), self.project(item_feats[i])
            z = self.deep(torch.cat([e * f, e * g, f], 1)) + self.bias_u(u) + self.bias_i(i)
            return z.squeeze(1)

    def fit(model, train_dl, val_dl, epochs, optimizer, scaler, max_norm=1.0):
        h = {"loss": [], "val_loss": [], "val_acc": []}
        for _ in range(epochs):
            model.train()
            total = n = 0
            for u, i, y in train_dl:
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    out = model(u, i)
                loss = F.binary_cross_entropy_with_logits(out.float(), y)
                scaler.scale(loss).backward()
                if not mistake:
                    scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), max_norm)
                scaler.step(optimizer)
                scaler.update()
                total, n = total + loss.item() * len(y), n + len(y)
            h["loss"].append(total / n)
            model.eval()
            with torch.no_grad():
                out = [(model(u, i), y) for u, i, y in val_dl]
            o, y = torch.cat([a for a, _ in out]), torch.cat([b for _, b in out])
            h["val_loss"].append(F.binary_cross_entropy_with_logits(o, y).item())
            h["val_acc"].append(((o > 0) == (y > 0.5)).float().mean().item())
        return h

    model = WideDeep()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.2, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    h = fit(
        model,
        DataLoader(Likes(u_tr, i_tr, y_tr), batch_size=64, shuffle=True),
        DataLoader(Likes(u_va, i_va, y_va), batch_size=256),
        10,
        optimizer,
        scaler,
    )
    print(
        f"wide&deep  loss {h['loss'][0]:.3f} -> {h['loss'][-1]:.3f}  val {h['val_loss'][-1]:.3f} acc {h['val_acc'][-1]:.3f}"
    )
    return h


FAULTS.append(
    (
        wide_and_deep_amp,
        (
            "unscale",
            "scaled gradient",
            "still scaled",
            "loss scale",
            "before unscaling",
            "gradscaler",
            "scaler",
        ),
        "18 clipping before backward, or before unscaling",
    )
)
