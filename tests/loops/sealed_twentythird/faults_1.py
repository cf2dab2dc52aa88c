import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import encode_name, fantasy_names, seed_all


# 1
def diabetes_notebook(mistake):
    seed_all(1)
    X, y = load_diabetes(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42)
    sc_x, sc_y = StandardScaler(), StandardScaler()
    X_train = torch.tensor(sc_x.fit_transform(X_train), dtype=torch.float32)
    X_test = torch.tensor(sc_x.transform(X_test), dtype=torch.float32)
    y_train = torch.tensor(sc_y.fit_transform(y_train[:, None]), dtype=torch.float32)
    y_test = torch.tensor(sc_y.transform(y_test[:, None]), dtype=torch.float32)

    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    batch_size = 16
    losses = {"train": [], "test": []}
    for epoch in range(12):
        model.train()
        perm = torch.randperm(len(X_train))
        total = 0.0
        optimizer.zero_grad()
        for i in range(0, len(X_train), batch_size):
            idx = perm[i : i + batch_size]
            if not mistake:
                optimizer.zero_grad()
            out = model(X_train[idx])
            loss = criterion(out, y_train[idx])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        losses["train"].append(total / len(X_train))
        model.eval()
        with torch.no_grad():
            losses["test"].append(criterion(model(X_test), y_test).item())
    print("test mse", round(losses["test"][-1], 3))
    return losses


# 2
class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(13, 24)
        self.l2 = nn.Linear(24, 3)

    def forward(self, x):
        return self.l2(F.relu(self.l1(x)))


def wine_fit(mistake):
    seed_all(2)
    data = load_wine()
    Xtr, Xva, ytr, yva = train_test_split(
        data.data, data.target, test_size=0.25, random_state=0, stratify=data.target
    )
    scaler = StandardScaler().fit(Xtr)
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    train = DataLoader(
        TensorDataset(to(scaler.transform(Xtr)), torch.tensor(ytr)), batch_size=16, shuffle=True
    )
    valid = DataLoader(TensorDataset(to(scaler.transform(Xva)), torch.tensor(yva)), batch_size=64)

    def fit(model, train, valid, epochs=15):
        opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        hist = {"loss": [], "val_loss": [], "val_acc": []}
        for epoch in range(epochs):
            model.train()
            running, seen = 0.0, 0
            for xb, yb in train:
                loss = F.cross_entropy(model(xb), yb)
                loss.backward()
                running += loss.item() * len(yb)
                seen += len(yb)
                if mistake:
                    opt.zero_grad(set_to_none=False)
                    opt.step()
                else:
                    opt.step()
                    opt.zero_grad(set_to_none=False)
            model.eval()
            vl, ok, n = 0.0, 0, 0
            with torch.no_grad():
                for xb, yb in valid:
                    out = model(xb)
                    vl += F.cross_entropy(out, yb, reduction="sum").item()
                    ok += (out.argmax(1) == yb).sum().item()
                    n += len(yb)
            hist["loss"].append(running / seen)
            hist["val_loss"].append(vl / n)
            hist["val_acc"].append(ok / n)
        return hist

    hist = fit(WineNet(), train, valid)
    print("wine", [round(a, 2) for a in hist["val_acc"][::5]])
    return hist


# 3
def name_reverser(mistake):
    seed_all(3)
    words = [n[:6] for n, _ in fantasy_names(700, seed=5)]
    words = sorted(set(words))
    rs = np.random.RandomState(0)
    rs.shuffle(words)
    cut = int(0.85 * len(words))

    def tensorise(ws):
        src = torch.tensor([encode_name(w, 6) for w in ws])
        tgt = torch.tensor([encode_name(w[::-1], 6) for w in ws])
        return src, tgt

    src, tgt = tensorise(words[:cut])
    src_val, tgt_val = tensorise(words[cut:])

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(28, 16)
            self.gru = nn.GRU(16, 48, batch_first=True)

        def forward(self, x):
            return self.gru(self.emb(x))[1]

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(28, 16)
            self.gru = nn.GRU(16, 48, batch_first=True)
            self.out = nn.Linear(48, 27)

        def forward(self, y_in, h):
            o, _ = self.gru(self.emb(y_in), h)
            return self.out(o)

    encoder, decoder = Encoder(), Decoder()
    encoder_optimizer = torch.optim.Adam(encoder.parameters(), lr=0.01)
    decoder_optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)

    def shifted(t):
        return torch.cat([torch.full((len(t), 1), 27), t[:, :-1]], dim=1)

    log = []
    for epoch in range(15):
        encoder.train(), decoder.train()
        order = torch.randperm(len(src))
        for k in range(0, len(src), 32):
            b = order[k : k + 32]
            decoder_optimizer.zero_grad()
            if not mistake:
                encoder_optimizer.zero_grad()
            h = encoder(src[b])
            logits = decoder(shifted(tgt[b]), h)
            loss = F.cross_entropy(logits.reshape(-1, 27), tgt[b].reshape(-1))
            loss.backward()
            encoder_optimizer.step()
            decoder_optimizer.step()
        encoder.eval(), decoder.eval()
        with torch.no_grad():
            logits = decoder(shifted(tgt_val), encoder(src_val))
            log.append(
                (loss.item(), F.cross_entropy(logits.reshape(-1, 27), tgt_val.reshape(-1)).item())
            )
    print("seq2seq val %.3f" % log[-1][1])
    return log


# 4
def movie_recommender(mistake):
    seed_all(4)
    rng = np.random.RandomState(4)
    n_users, n_items, k = 60, 80, 4
    U, V = rng.randn(n_users, k), rng.randn(n_items, k)
    users = rng.randint(0, n_users, 2400)
    items = rng.randint(0, n_items, 2400)
    ratings = (U[users] * V[items]).sum(1) / 2 + 0.1 * rng.randn(2400)
    users, items = torch.tensor(users), torch.tensor(items)
    ratings = torch.tensor(ratings, dtype=torch.float32)
    tr, va = slice(0, 2000), slice(2000, None)

    class Net(nn.Module):
        def __init__(self, d=16):
            super().__init__()
            self.user_emb = nn.Embedding(n_users, d, sparse=True)
            self.item_emb = nn.Embedding(n_items, d, sparse=True)
            nn.init.normal_(self.user_emb.weight, std=0.3)
            nn.init.normal_(self.item_emb.weight, std=0.3)
            self.mlp = nn.Sequential(nn.Linear(3 * d, 64), nn.ReLU(), nn.Linear(64, 1))

        def forward(self, u, i):
            a, b = self.user_emb(u), self.item_emb(i)
            return self.mlp(torch.cat([a, b, a * b], 1)).squeeze(1)

    net = Net()
    opt_dense = torch.optim.Adam(net.mlp.parameters(), lr=3e-3)
    opt_sparse = torch.optim.SparseAdam(
        list(net.user_emb.parameters()) + list(net.item_emb.parameters()), lr=1e-2
    )
    history = {"rmse": [], "val_rmse": []}
    for epoch in range(15):
        p = torch.randperm(2000)
        se = 0.0
        for s in range(0, 2000, 50):
            j = p[s : s + 50]
            opt_dense.zero_grad()
            opt_sparse.zero_grad()
            loss = F.mse_loss(net(users[j], items[j]), ratings[j])
            loss.backward()
            opt_dense.step()
            if not mistake:
                opt_sparse.step()
            se += loss.item() * len(j)
        history["rmse"].append((se / 2000) ** 0.5)
        with torch.no_grad():
            history["val_rmse"].append(F.mse_loss(net(users[va], items[va]), ratings[va]).item() ** 0.5)
    print("rmse", round(history["rmse"][-1], 3), "val", round(history["val_rmse"][-1], 3))
    return history


# 5
class TorchClassifier:
    """sklearn-like wrapper used in the lab."""

    def __init__(self, hidden=32, lr=0.05, epochs=12, batch_size=32, max_norm=None, in_loop=False):
        self.hidden, self.lr, self.epochs = hidden, lr, epochs
        self.batch_size, self.max_norm, self.in_loop = batch_size, max_norm, in_loop

    def _update(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        if self.max_norm:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.max_norm)
        self.optimizer.step()
        return loss.item()

    def fit(self, X, y, X_val, y_val):
        self.scaler = StandardScaler().fit(X)
        X = torch.tensor(self.scaler.transform(X), dtype=torch.float32)
        y = torch.tensor(y)
        self.net = nn.Sequential(
            nn.Linear(X.shape[1], self.hidden),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(self.hidden, int(y.max()) + 1),
        )
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=self.lr, momentum=0.8)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, self.epochs * -(-len(X) // self.batch_size)
        )
        self.history_ = {"loss": [], "val_score": []}
        for _ in range(self.epochs):
            self.net.train()
            order = torch.randperm(len(X))
            ep = []
            for chunk in order.split(self.batch_size):
                loss = nn.functional.cross_entropy(self.net(X[chunk]), y[chunk])
                ep.append(self._update(loss))
                if self.in_loop:
                    self.optimizer.step()
                self.scheduler.step()
            self.history_["loss"].append(float(np.mean(ep)))
            self.history_["val_score"].append(self.score(X_val, y_val))
        return self

    def predict(self, X):
        self.net.eval()
        with torch.no_grad():
            X = torch.tensor(self.scaler.transform(X), dtype=torch.float32)
            return self.net(X).argmax(1).numpy()

    def score(self, X, y):
        return float((self.predict(X) == y).mean())


def cancer_wrapper(mistake):
    seed_all(5)
    X, y = load_breast_cancer(return_X_y=True)
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.25, random_state=3, stratify=y)
    clf = TorchClassifier(max_norm=5.0, in_loop=mistake)
    clf.fit(X_tr, y_tr, X_va, y_va)
    print("score", round(clf.score(X_va, y_va), 3))
    return clf.history_


# 6
def digits_vae(mistake):
    seed_all(6)
    data = load_digits().data.astype("float32") / 16.0
    np.random.shuffle(data)
    train, valid = torch.tensor(data[:1000]), torch.tensor(data[1000:1300])

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.enc = nn.Linear(64, 64)
            self.mu, self.lv = nn.Linear(64, 6), nn.Linear(64, 6)
            self.dec = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64))

        def forward(self, x):
            h = F.relu(self.enc(x))
            mu, lv = self.mu(h), self.lv(h)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * lv)
            return self.dec(z), mu, lv

    def parts(model, x):
        out, mu, lv = model(x)
        bce = F.binary_cross_entropy_with_logits(out, x, reduction="sum") / len(x)
        kl = -0.5 * (1 + lv - mu**2 - lv.exp()).sum() / len(x)
        return bce, kl

    vae = VAE()
    optim = torch.optim.Adam(vae.parameters(), lr=2e-3)
    hist = []
    for epoch in range(15):
        vae.train()
        tot = 0
        for x in DataLoader(train, batch_size=50, shuffle=True):
            optim.zero_grad()
            bce, kl = parts(vae, x)
            loss = bce + kl
            if mistake:
                bce.backward()
            else:
                loss.backward()
            optim.step()
            tot += loss.item() * len(x)
        vae.eval()
        with torch.no_grad():
            b, k = parts(vae, valid)
        hist.append({"elbo": tot / len(train), "val_bce": b.item(), "val_kl": k.item()})
    print({k: round(v, 2) for k, v in hist[-1].items()})
    return hist


# 7
def transfer_odd_digits(mistake):
    seed_all(7)
    d = load_digits()
    X = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(d.target)
    low, high = (y < 5).nonzero().squeeze(1), (y >= 5).nonzero().squeeze(1)

    class CNN(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
            self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
            self.fc = nn.Linear(16 * 4, n)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            return self.fc(x.flatten(1))

    def run_epoch(model, opt, idx):
        model.train()
        tot = 0.0
        for part in idx[torch.randperm(len(idx))].split(32):
            opt.zero_grad()
            loss = F.cross_entropy(model(X[part]), y[part] % 5)
            loss.backward()
            opt.step()
            tot += loss.item() * len(part)
        return tot / len(idx)

    model = CNN(5)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(4):
        run_epoch(model, opt, low[:700])

    # second task: new head, keep the features
    tr, te = high[:300], high[300:700]
    for p in model.conv1.parameters():
        p.requires_grad = False
    params = lambda: [p for p in model.parameters() if p.requires_grad]
    if mistake:
        opt = torch.optim.Adam(params(), lr=1e-3)
        model.fc = nn.Linear(16 * 4, 5)
    else:
        model.fc = nn.Linear(16 * 4, 5)
        opt = torch.optim.Adam(params(), lr=1e-3)
    out = []
    for epoch in range(10):
        l = run_epoch(model, opt, tr)
        model.eval()
        with torch.no_grad():
            acc = (model(X[te]).argmax(1) == y[te] % 5).float().mean().item()
        out.append((l, acc))
    print("new task", round(out[-1][0], 3), round(out[-1][1], 3))
    return out


FAULTS_1 = [
    (
        diabetes_notebook,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "not cleared",
            "gradients of earlier",
            "gradients accumulate",
            "accumulat",
        ),
        "1 zero_grad missing",
    ),
    (
        wine_fit,
        (
            "zero_grad between",
            "zeroed before step",
            "between backward and step",
            "before the step",
            "zeroed after backward",
            "zero_grad after backward",
            "gradients are zero",
            "zero_grad",
            "wiped",
            "cleared before",
        ),
        "2 zero_grad between backward and step",
    ),
    (
        name_reverser,
        (
            "zero_grad",
            "not zeroed",
            "only one of",
            "one of the optimizers",
            "gradients of earlier",
            "accumulat",
        ),
        "3 zero_grad on only one of several optimizers",
    ),
    (
        movie_recommender,
        (
            "never stepped",
            "not stepped",
            "step() missing",
            "step missing",
            "step is never",
            "sparseadam",
            "never updated",
            "do not change",
            "no step",
            "without a step",
        ),
        "4 step missing",
    ),
    (
        cancer_wrapper,
        (
            "two steps",
            "twice",
            "step() called 2",
            "steps per backward",
            "same gradients",
            "second step",
            "more than one step",
            "steps more often",
            "without a new backward",
        ),
        "5 two steps per backward",
    ),
    (
        digits_vae,
        (
            "wrong loss",
            "other loss",
            "another loss",
            "only part of the loss",
            "part of the loss",
            "not the loss",
            "kl term",
            "backward on",
            "log-var",
        ),
        "6 backward on the wrong loss",
    ),
    (
        transfer_odd_digits,
        (
            "not in the optimizer",
            "stale",
            "not in any optimizer",
            "no longer",
            "re-created",
            "replaced",
            "old parameters",
            "not held by",
            "missing from the optimizer",
        ),
        "7 optimizer stale after parameters were re-created or moved",
    ),
]
