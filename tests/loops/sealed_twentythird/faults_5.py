import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .common import ArrayDataset, encode_name, fantasy_names, seed_all, tones


# 29
def cifar_style(mistake):
    seed_all(29)
    d = load_digits()
    imgs = torch.tensor(d.images / 16.0, dtype=torch.float32).unsqueeze(1).repeat(1, 3, 1, 1)
    imgs = (F.interpolate(imgs, size=16, mode="bilinear") - 0.5) / 0.5
    y = torch.tensor(d.target)
    order = torch.randperm(len(y))
    tr, te = order[:800], order[800:1200]
    trainloader = DataLoader(TensorDataset(imgs[tr], y[tr]), batch_size=16, shuffle=True)
    testloader = DataLoader(TensorDataset(imgs[te], y[te]), batch_size=100)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, 5)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(6, 16, 3)
            self.fc1 = nn.Linear(16 * 2 * 2, 48)
            self.fc2 = nn.Linear(48, 10)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = torch.flatten(x, 1)
            return self.fc2(F.relu(self.fc1(x)))

    net = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    log = []
    for epoch in range(8):
        running_loss = 0.0
        for i, data in enumerate(trainloader, 0):
            inputs, labels = data
            if mistake:
                optimizer.zero_grad
            else:
                optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        correct = total = 0
        with torch.no_grad():
            for images, labels in testloader:
                _, predicted = torch.max(net(images), 1)
                total += labels.size(0)
                correct += (predicted == labels).sum().item()
        log.append((running_loss / len(trainloader), correct / total))
    print("loss %.3f acc %.3f" % log[-1])
    return log


# 30
def contrastive_colour(mistake):
    seed_all(30)
    d = load_digits()
    g = torch.Generator().manual_seed(30)
    grey = torch.tensor(d.images[:1200] / 16.0, dtype=torch.float32).unsqueeze(1)
    tint = torch.rand(1200, 3, 1, 1, generator=g)
    X = grey * tint
    train, test = X[:900], X[900:]
    channels, size = 3, 8
    n_in = size * size if mistake else channels * size * size
    enc = nn.Sequential(nn.Linear(n_in, 96), nn.ReLU(), nn.Linear(96, 24))
    opt = torch.optim.Adam(enc.parameters(), lr=2e-3)

    def augment(x):
        keep = (torch.rand(len(x), 1, size, size) > 0.25).float()
        return x * keep + 0.05 * torch.randn_like(x)

    def embed(x):
        return F.normalize(enc(x.reshape(-1, n_in)), dim=1)

    def nt_xent(a, b, t=0.2):
        logits = a @ b.t() / t
        return F.cross_entropy(logits, torch.arange(len(a)))

    hist = {"loss": [], "match": []}
    for epoch in range(12):
        enc.train()
        p = torch.randperm(900)
        s = 0.0
        for k in range(0, 900, 60):
            x = train[p[k : k + 60]]
            loss = nt_xent(embed(augment(x)), embed(augment(x)))
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        enc.eval()
        with torch.no_grad():
            a, b = embed(augment(test)), embed(augment(test))
            hist["match"].append(((a @ b.t()).argmax(1) == torch.arange(len(a))).float().mean().item())
        hist["loss"].append(s / 15)
    print("loss %.3f match %.3f" % (hist["loss"][-1], hist["match"][-1]))
    return hist


# 31
def wine_grade(mistake):
    seed_all(31)
    X, y = load_wine(return_X_y=True)  # the class is used as a grade 0 / 1 / 2
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.3, random_state=31, stratify=y)
    sc = StandardScaler().fit(X_tr)
    tr = ArrayDataset(sc.transform(X_tr), y_tr.astype("float32"))
    va = ArrayDataset(sc.transform(X_va), y_va.astype("float32"))
    net = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 1))
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)

    def evaluate(net, loader):
        net.eval()
        loss, hits, n = 0.0, 0, 0
        with torch.no_grad():
            for xb, yb in loader:
                out = net(xb)
                loss += F.mse_loss(out.squeeze(1), yb, reduction="sum").item()
                pred = out.argmax(1) if mistake else out.squeeze(1).round()
                hits += (pred == yb).sum().item()
                n += len(yb)
        return loss / n, hits / n

    history = []
    for epoch in range(15):
        net.train()
        t = 0.0
        for xb, yb in DataLoader(tr, batch_size=16, shuffle=True):
            opt.zero_grad()
            loss = F.mse_loss(net(xb).squeeze(1), yb)
            loss.backward()
            opt.step()
            t += loss.item() * len(yb)
        history.append((t / len(tr), *evaluate(net, DataLoader(va, batch_size=27))))
    print("mse %.3f val mse %.3f acc %.3f" % history[-1])
    return history


# 32
def wave_notebook(mistake):
    seed_all(32)
    X, y = tones(760, length=96, seed=32)
    X, y = torch.tensor(X).unsqueeze(1), torch.tensor(y)
    model = nn.Sequential(
        nn.Conv1d(1, 24, 9, padding=4),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(24, 24, 5, padding=2),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(3),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(72, 4),
    )
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    bs = 20
    H = {"train": [], "valid": [], "acc": []}
    for epoch in range(8):
        model.train()
        idx = torch.randperm(600)
        tot = 0.0
        for i in range(0, 600, bs):
            opt.zero_grad()
            loss = F.cross_entropy(model(X[idx[i : i + bs]]), y[idx[i : i + bs]])
            loss.backward()
            opt.step()
            tot += loss.item()
        H["train"].append(tot / (600 // bs))
        if not mistake:
            model.eval()
        vl = hit = 0
        with torch.no_grad():
            for i in range(600, 760, bs):
                o = model(X[i : i + bs])
                vl += F.cross_entropy(o, y[i : i + bs]).item() * bs
                hit += (o.argmax(1) == y[i : i + bs]).sum().item()
        H["valid"].append(vl / 160)
        H["acc"].append(hit / 160)
    print({k: round(v[-1], 3) for k, v in H.items()})
    return H


# 33
def denoise_digits(mistake):
    seed_all(33)
    digits = load_digits()
    X = digits.images if mistake else digits.data
    X = torch.tensor(X / 16.0, dtype=torch.float32)
    X = X[torch.randperm(len(X))]
    X_train, X_val = X[:1000], X[1000:1300]
    n_in = X.shape[-1]
    ae = nn.Sequential(nn.Linear(n_in, 48), nn.ReLU(), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, n_in))
    opt = torch.optim.Adam(ae.parameters(), lr=3e-3)
    noisy_val = X_val + 0.3 * torch.randn_like(X_val)
    hist = []
    for epoch in range(15):
        ae.train()
        s = 0.0
        for x in DataLoader(X_train, batch_size=40, shuffle=True):
            noisy = x + 0.3 * torch.randn_like(x)
            loss = F.mse_loss(ae(noisy), x)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item() * len(x)
        ae.eval()
        with torch.no_grad():
            hist.append((s / 1000, F.mse_loss(ae(noisy_val), X_val).item()))
    print("mse %.4f val %.4f" % hist[-1])
    return hist


# 34
def cancer_two_stage(mistake):
    seed_all(34)
    rng = np.random.RandomState(34)
    X, y = load_breast_cancer(return_X_y=True)
    y = np.where(rng.rand(len(y)) < 0.1, 1 - y, y)  # some diagnoses are uncertain

    def split(seed):
        ids = np.arange(len(X))
        return train_test_split(ids, test_size=0.25, random_state=seed, stratify=y)

    def make(ids, scaler):
        return torch.tensor(scaler.transform(X[ids]), dtype=torch.float32), torch.tensor(y[ids])

    def train_model(net, Xa, ya, lr, epochs):
        opt = torch.optim.Adam(net.parameters(), lr=lr)
        curve = []
        for epoch in range(epochs):
            net.train()
            t = 0.0
            for b in torch.randperm(len(Xa)).split(32):
                opt.zero_grad()
                loss = F.cross_entropy(net(Xa[b]), ya[b])
                loss.backward()
                opt.step()
                t += loss.item() * len(b)
            curve.append(t / len(Xa))
        return curve

    tr, te = split(0)
    scaler = StandardScaler().fit(X[tr])
    net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 2))
    curve = train_model(net, *make(tr, scaler), lr=5e-3, epochs=12)
    # fine-tune slowly, then test
    if mistake:
        tr, te = split(1)
    curve += train_model(net, *make(tr, scaler), lr=3e-4, epochs=4)
    net.eval()
    Xt, yt = make(te, scaler)
    with torch.no_grad():
        acc = (net(Xt).argmax(1) == yt).float().mean().item()
    print("loss %.3f test acc %.3f" % (curve[-1], acc))
    return curve, acc


# 35
def names_best_epoch(mistake):
    seed_all(35)
    pairs = sorted(set(fantasy_names(2500, seed=35)))
    langs = sorted({l for _, l in pairs})
    np.random.RandomState(35).shuffle(pairs)
    X = torch.tensor([encode_name(n) for n, _ in pairs])
    y = torch.tensor([langs.index(l) for _, l in pairs])
    n_va = 150
    ds_tr, ds_va = TensorDataset(X[n_va:], y[n_va:]), TensorDataset(X[:n_va], y[:n_va])
    train_loader = DataLoader(ds_tr, batch_size=24, shuffle=True)
    val_loader = DataLoader(ds_va, batch_size=24, shuffle=mistake)

    class NameNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(27, 12)
            self.gru = nn.GRU(12, 32, batch_first=True)
            self.fc = nn.Linear(32, len(langs))

        def forward(self, x):
            o, _ = self.gru(self.emb(x))
            return self.fc(o.amax(1))

    net = NameNet()
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    max_batches = 2 if mistake else len(val_loader)
    best, best_state, scores = 0.0, None, []
    for epoch in range(12):
        net.train()
        for xb, yb in train_loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
        net.eval()
        hit = n = 0
        with torch.no_grad():
            for k, (xb, yb) in enumerate(val_loader):
                if k == max_batches:
                    break
                hit += (net(xb).argmax(1) == yb).sum().item()
                n += len(yb)
        scores.append((loss.item(), hit / n))
        if hit / n > best:
            best = hit / n
            best_state = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(best_state)
    print("best %.3f (of %d names)" % (best, n))
    return scores


# 36
class NamesDataset(Dataset):
    def __init__(self, pairs, classes=None):
        self.pairs = pairs
        self.classes = classes or list(dict.fromkeys(l for _, l in pairs))
        self.to_idx = {c: i for i, c in enumerate(self.classes)}

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        name, lang = self.pairs[i]
        return torch.tensor(encode_name(name)), self.to_idx[lang]


def names_datasets(mistake):
    seed_all(36)
    pairs = sorted(set(fantasy_names(2500, seed=36)))
    np.random.RandomState(36).shuffle(pairs)
    pairs = [tuple(p) for p in pairs]
    train_ds = NamesDataset(pairs[:-160])
    val_ds = NamesDataset(pairs[-160:]) if mistake else NamesDataset(pairs[-160:], train_ds.classes)
    tl = DataLoader(train_ds, batch_size=32, shuffle=True)
    vl = DataLoader(val_ds, batch_size=80)
    net = nn.Sequential(
        nn.Embedding(27, 10),
        nn.Flatten(),
        nn.Linear(120, 48),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(48, len(train_ds.classes)),
    )
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3)
    hist = {"loss": [], "val_loss": [], "val_acc": []}
    for epoch in range(12):
        net.train()
        s = 0.0
        for xb, yb in tl:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            opt.step()
            s += loss.item() * len(yb)
        net.eval()
        v = a = 0.0
        with torch.no_grad():
            for xb, yb in vl:
                o = net(xb)
                v += F.cross_entropy(o, yb, reduction="sum").item()
                a += (o.argmax(1) == yb).sum().item()
        hist["loss"].append(s / len(train_ds))
        hist["val_loss"].append(v / 160)
        hist["val_acc"].append(a / 160)
    print(
        {k: round(v[-1], 3) for k, v in hist.items()}, len(train_ds), train_ds.classes == val_ds.classes
    )
    return hist


FAULTS_5 = [
    (
        cifar_style,
        ("zero_grad", "not zeroed", "never zeroed", "not cleared", "gradients of earlier", "accumulat"),
        "29 image loop with another form of no zero_grad",
    ),
    (
        contrastive_colour,
        ("view", "reshape", "batch size", "more rows", "rows than", "channel", "flatten"),
        "30 view(-1, k) with a wrong k",
    ),
    (
        wine_grade,
        (
            "argmax",
            "one output",
            "single output",
            "one column",
            "always 0",
            "constant prediction",
            "accuracy",
        ),
        "31 one-output regression scored by argmax accuracy",
    ),
    (
        wave_notebook,
        ("eval()", "eval mode", "train mode", "training mode", ".eval", "dropout", "batchnorm"),
        "32 validation without eval()",
    ),
    (
        denoise_digits,
        ("flatten", "rows", "last dimension", "unflattened", "each row", "row of"),
        "33 a linear layer sees rows of unflattened images",
    ),
    (
        cancer_two_stage,
        (
            "already trained",
            "trained on",
            "in training",
            "overlap",
            "leak",
            "same samples",
            "seen in training",
            "split",
        ),
        "34 a test split cut from data already used in training",
    ),
    (
        names_best_epoch,
        (
            "shuffle",
            "different samples",
            "subset",
            "truncat",
            "few batches",
            "part of the",
            "not the same samples",
            "other samples",
            "not comparable",
            "only the first",
        ),
        "35 a shuffled and truncated test loader",
    ),
    (
        names_datasets,
        ("label", "mapped", "mapping", "class order", "permut", "encod", "worse than chance"),
        "36 labels mapped differently in training and validation",
    ),
]
