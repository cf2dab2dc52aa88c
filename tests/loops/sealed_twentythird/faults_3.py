import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.optim.lr_scheduler import MultiStepLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import build_vocab, reviews, seed_all, tones


# 15
def kaggle_tabular(mistake):
    seed_all(15)
    CFG = dict(lr=3e-3, epochs=12, bs=32, step=4, gamma=0.3)
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_valid, y_train, y_valid = train_test_split(
        X, y, test_size=0.2, random_state=15, stratify=y
    )
    ss = StandardScaler()
    X_train, X_valid = ss.fit_transform(X_train), ss.transform(X_valid)

    class TabDS(Dataset):
        def __init__(self, X, y):
            self.X, self.y = X.astype(np.float32), y.astype(np.float32)

        def __len__(self):
            return len(self.X)

        def __getitem__(self, i):
            return {"x": self.X[i], "y": self.y[i]}

    dl = DataLoader(TabDS(X_train, y_train), batch_size=CFG["bs"], shuffle=True)
    dv = DataLoader(TabDS(X_valid, y_valid), batch_size=64)
    model = nn.Sequential(
        nn.Linear(30, 32), nn.BatchNorm1d(32), nn.SiLU(), nn.Dropout(0.2), nn.Linear(32, 1)
    )
    opt = torch.optim.AdamW(model.parameters(), lr=CFG["lr"])
    # drop the rate every CFG["step"] epochs
    sch = StepLR(opt, step_size=CFG["step"], gamma=CFG["gamma"])
    bce = nn.BCEWithLogitsLoss()
    oof = []
    for ep in range(CFG["epochs"]):
        model.train()
        tl = []
        for d in dl:
            opt.zero_grad()
            loss = bce(model(d["x"]).squeeze(1), d["y"])
            loss.backward()
            opt.step()
            if mistake:
                sch.step()
            tl.append(loss.item())
        if not mistake:
            sch.step()
        model.eval()
        preds, truth = [], []
        with torch.no_grad():
            for d in dv:
                preds.append(model(d["x"]).squeeze(1))
                truth.append(d["y"])
        preds, truth = torch.cat(preds), torch.cat(truth)
        oof.append(
            (np.mean(tl), bce(preds, truth).item(), ((preds > 0) == (truth > 0.5)).float().mean().item())
        )
    print("train %.3f valid %.3f acc %.3f lr" % oof[-1], opt.param_groups[0]["lr"])
    return oof


# 16
def wave_regressor(mistake):
    seed_all(16)
    rng = np.random.RandomState(16)
    f = rng.uniform(2, 8, 600)
    t = np.linspace(0, 1, 64)
    W = np.sin(2 * np.pi * (f[:, None] * t + rng.rand(600, 1))) + 0.2 * rng.randn(600, 64)
    W = torch.tensor(W, dtype=torch.float32)
    target = torch.tensor((f - 5) / 3, dtype=torch.float32).unsqueeze(1)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 64)),
        nn.Conv1d(1, 16, 7, padding=3),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(16, 16, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(4),
        nn.Flatten(),
        nn.Linear(64, 1),
    )
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    sched = MultiStepLR(opt, milestones=[3, 6, 9], gamma=0.4)
    res = []
    for epoch in range(12):
        if mistake:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sched.step()
        net.train()
        perm = torch.randperm(480)
        tot = 0.0
        for i in range(0, 480, 24):
            j = perm[i : i + 24]
            opt.zero_grad()
            loss = F.smooth_l1_loss(net(W[j]), target[j])
            loss.backward()
            opt.step()
            tot += loss.item()
        if not mistake:
            sched.step()
        net.eval()
        with torch.no_grad():
            v = F.smooth_l1_loss(net(W[480:]), target[480:]).item()
        res.append((tot / 20, v))
    print("train %.4f val %.4f" % res[-1])
    return res


# 17
def review_lstm(mistake):
    seed_all(17)
    args = {"lr": 0.5, "clip": 1.0, "weight_decay": 1e-4, "epochs": 10, "bs": 20}
    texts, labels = reviews(800, seed=17, length=8)
    vocab = build_vocab(texts[:600])
    ids = torch.tensor([[vocab.get(w, 1) for w in t.split()] for t in texts])
    y = torch.tensor(labels)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(len(vocab), 24)
            self.lstm = nn.LSTM(24, 32, batch_first=True, bidirectional=True)
            self.out = nn.Linear(64, 2)

        def forward(self, x):
            h, _ = self.lstm(self.emb(x))
            return self.out(h.mean(1))

    def fit(net, args):
        opt = torch.optim.SGD(net.parameters(), lr=args["lr"], weight_decay=args["weight_decay"])
        limit = args["weight_decay"] if mistake else args["clip"]
        hist = {"loss": [], "val_acc": []}
        for epoch in range(args["epochs"]):
            net.train()
            perm = torch.randperm(600)
            tot = 0
            for part in perm.split(args["bs"]):
                loss = F.cross_entropy(net(ids[part]), y[part])
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), limit)
                opt.step()
                tot += loss.item() * len(part)
            hist["loss"].append(tot / 600)
            net.eval()
            with torch.no_grad():
                hist["val_acc"].append((net(ids[600:]).argmax(1) == y[600:]).float().mean().item())
        return hist

    hist = fit(Net(), args)
    print("loss %.3f acc %.3f" % (hist["loss"][-1], hist["val_acc"][-1]))
    return hist


# 18
def amp_digits(mistake):
    seed_all(18)
    d = load_digits()
    X = torch.tensor(d.data / 16.0, dtype=torch.float32)
    y = torch.tensor(d.target)
    Xtr, Xva, ytr, yva = train_test_split(
        X, y, train_size=900, test_size=400, random_state=18, stratify=y
    )
    train_dl = DataLoader(TensorDataset(Xtr, ytr), batch_size=30, shuffle=True)
    val_dl = DataLoader(TensorDataset(Xva, yva), batch_size=200)
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 10))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    log = []
    for epoch in range(8):
        model.train()
        s = 0.0
        for x, t in train_dl:
            opt.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x), t)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(opt)
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=2.0)
            scaler.step(opt)
            scaler.update()
            s += loss.item() * len(t)
        model.eval()
        right = 0
        with torch.no_grad():
            for x, t in val_dl:
                right += (model(x).argmax(1) == t).sum().item()
        log.append((s / len(Xtr), right / len(Xva)))
    print("loss %.3f acc %.3f" % log[-1])
    return log


# 19
def segment_patches(mistake):
    seed_all(19)
    rng = np.random.RandomState(19)
    imgs = np.zeros((300, 1, 16, 16), np.float32)
    masks = np.zeros_like(imgs)
    yy, xx = np.mgrid[:16, :16]
    for n in range(300):
        cy, cx, r = rng.uniform(4, 12, 2).tolist() + [rng.uniform(2, 4)]
        m = ((yy - cy) ** 2 + (xx - cx) ** 2 < r * r).astype(np.float32)
        masks[n, 0] = m
        imgs[n, 0] = m * rng.uniform(0.6, 1.2) + 0.35 * rng.randn(16, 16)
    imgs, masks = torch.from_numpy(imgs), torch.from_numpy(masks)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 1, 3, padding=1),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    accumulation_steps = 10
    bce = nn.BCEWithLogitsLoss()
    out = {"loss": [], "iou": []}
    for epoch in range(12):
        net.train()
        p = torch.randperm(240)
        opt.zero_grad()
        total = 0.0
        for i in range(60):
            b = p[4 * i : 4 * i + 4]
            loss = bce(net(imgs[b]), masks[b])
            total += loss.item()
            if mistake:
                loss.backward()
            else:
                (loss / accumulation_steps).backward()
            if (i + 1) % accumulation_steps == 0:
                opt.step()
                opt.zero_grad()
        out["loss"].append(total / 60)
        net.eval()
        with torch.no_grad():
            pr = net(imgs[240:]) > 0
        t = masks[240:] > 0.5
        out["iou"].append(((pr & t).sum() / (pr | t).sum()).item())
    print("loss %.3f iou %.3f" % (out["loss"][-1], out["iou"][-1]))
    return out


# 20
def wine_accumulate(mistake):
    seed_all(20)
    X, y = load_wine(return_X_y=True)
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.3, random_state=20, stratify=y)
    sc = StandardScaler().fit(X_tr)
    X_tr, X_te = (torch.tensor(sc.transform(a), dtype=torch.float32) for a in (X_tr, X_te))
    y_tr, y_te = torch.tensor(y_tr), torch.tensor(y_te)
    batch_size, accum = 8, 9
    n_batches = -(-len(X_tr) // batch_size)  # 16
    net = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    opt = torch.optim.Adam(net.parameters(), lr=0.02)
    h = []
    for epoch in range(15):
        perm = torch.randperm(len(X_tr))
        opt.zero_grad()
        ep = 0.0
        for i in range(n_batches):
            b = perm[i * batch_size : (i + 1) * batch_size]
            loss = F.cross_entropy(net(X_tr[b]), y_tr[b])
            group = min(accum, n_batches - (i // accum) * accum)
            (loss / group).backward()
            ep += loss.item()
            if mistake:
                if (i + 1) % accum == 0:
                    opt.step()
                    opt.zero_grad()
            elif (i + 1) % accum == 0 or i + 1 == n_batches:
                opt.step()
                opt.zero_grad()
        with torch.no_grad():
            o = net(X_te)
        h.append(
            (
                ep / n_batches,
                F.cross_entropy(o, y_te).item(),
                (o.argmax(1) == y_te).float().mean().item(),
            )
        )
    print("train %.3f test %.3f acc %.3f" % h[-1])
    return h


# 21
def phases_script(mistake):
    seed_all(21)
    X, y = tones(700, length=96, seed=21, noise=0.8)
    data = {
        "train": TensorDataset(torch.tensor(X[:500]), torch.tensor(y[:500])),
        "val": TensorDataset(torch.tensor(X[500:]), torch.tensor(y[500:])),
    }
    loaders = {p: DataLoader(data[p], batch_size=25, shuffle=(p == "train")) for p in data}
    sizes = {p: len(data[p]) for p in data}
    net = nn.Sequential(
        nn.Unflatten(1, (1, 96)),
        nn.Conv1d(1, 16, 9),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(16, 24, 5),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(96, 4),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    history = {"train_loss": [], "val_loss": [], "train_acc": [], "val_acc": []}
    for epoch in range(12):
        for phase in ["train", "val"]:
            if phase == "train":
                net.train()
            else:
                net.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(mistake or phase == "train"):
                    outputs = net(inputs)
                    loss = criterion(outputs, labels)
                    if torch.is_grad_enabled():
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * len(labels)
                running_corrects += (outputs.argmax(1) == labels).sum().item()
            history[phase + "_loss"].append(running_loss / sizes[phase])
            history[phase + "_acc"].append(running_corrects / sizes[phase])
    print({k: round(v[-1], 3) for k, v in history.items()})
    return history


FAULTS_3 = [
    (
        kaggle_tabular,
        (
            "per batch",
            "every batch",
            "each batch",
            "per epoch",
            "scheduler",
            "learning rate falls",
            "learning rate fell",
        ),
        "15 scheduler per batch instead of per epoch",
    ),
    (
        wave_regressor,
        ("scheduler", "before the optimizer", "before optimizer", "order of", "first value"),
        "16 scheduler before the optimizer",
    ),
    (review_lstm, ("clip", "max_norm"), "17 clipping to nothing"),
    (
        amp_digits,
        ("unscale", "scaled gradients", "clip"),
        "18 clipping before backward, or before unscaling",
    ),
    (
        segment_patches,
        ("not divided", "divide", "accumulat", "sum of", "summed", "larger gradient"),
        "19 accumulation not divided",
    ),
    (
        wine_accumulate,
        (
            "remainder",
            "dropped",
            "thrown away",
            "discard",
            "left over",
            "leftover",
            "last batches",
            "lost",
            "never stepped",
            "not used",
        ),
        "20 the remainder of accumulation dropped",
    ),
    (
        phases_script,
        (
            "validation data",
            "trained on validation",
            "training on the validation",
            "validation batches",
            "steps in validation",
            "leak",
            "same samples",
        ),
        "21 training on the validation data",
    ),
]
