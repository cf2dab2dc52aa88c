"""Forecasting, recommenders, graphs, tables."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import community_graph, load_series, pendulum, ratings, seed_all, windows


class GRUForecaster(nn.Module):
    def __init__(self, hidden=32, horizon=12):
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, horizon)

    def forward(self, x):
        return self.out(self.rnn(x.unsqueeze(-1))[0][:, -1])


class Forecaster(nn.Module):
    def __init__(self, past=48, horizon=12, hidden=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(past, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, horizon),
        )

    def forward(self, x):
        return self.net(x)


def mase(pred, y, past):
    naive = past[:, -24:-12]
    return ((pred - y).abs().mean() / (naive - y).abs().mean()).item()


class Experiment:
    def __init__(self, cfg):
        self.cfg = cfg
        torch.manual_seed(cfg["seed"])
        self.model = Forecaster(hidden=cfg["hidden"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=cfg["lr"])
        x, y = windows(load_series(cfg["days"]), stride=2)
        cut = int(0.8 * len(x))
        self.train_dl = DataLoader(
            TensorDataset(x[:cut], y[:cut]), batch_size=cfg["batch_size"], shuffle=True
        )
        self.xv, self.yv = x[cut:], y[cut:]

    def optimizer_step(self):
        self.optimizer.step()

    def train_epoch(self):
        self.model.train()
        total = 0.0
        for x, y in self.train_dl:
            self.optimizer.zero_grad()
            loss = F.l1_loss(self.model(x), y)
            loss.backward()
            self.optimizer_step()
            total += loss.item()
        return total / len(self.train_dl)

    def run(self):
        for epoch in range(self.cfg["epochs"]):
            loss = self.train_epoch()
            self.model.eval()
            with torch.no_grad():
                score = mase(self.model(self.xv), self.yv, self.xv)
            print(f"epoch {epoch} mae {loss:.3f} val mase {score:.3f}")


class ClippedExperiment(Experiment):
    def optimizer_step(self):
        nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg["clip"])
        super().optimizer_step()


class ClippedExperimentWithoutStep(Experiment):
    def optimizer_step(self):
        nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg["clip"])


def overridden_step(mistake: bool) -> None:
    """The subclass overrides optimizer_step() to clip and forgets super().optimizer_step(), so the optimizer never steps."""
    cfg = {"seed": 30, "hidden": 64, "lr": 1e-3, "days": 120, "batch_size": 32, "epochs": 8, "clip": 1.0}
    (ClippedExperimentWithoutStep if mistake else ClippedExperiment)(cfg).run()


def matrix_factorisation(mistake: bool) -> None:
    """The Adam optimizer is created anew for each batch, so its moments are lost at every step."""
    seed_all(31)
    users, items, r = ratings()
    mean = r[:6400].mean()
    emb = nn.ModuleDict(
        {
            "u": nn.Embedding(150, 8),
            "i": nn.Embedding(120, 8),
            "bu": nn.Embedding(150, 1),
            "bi": nn.Embedding(120, 1),
        }
    )
    for e in emb.values():
        nn.init.normal_(e.weight, std=0.05)

    def predict(u, i):
        return mean + (emb["u"](u) * emb["i"](i)).sum(1) + emb["bu"](u)[:, 0] + emb["bi"](i)[:, 0]

    def configure_optimizer():
        return torch.optim.Adam(emb.parameters(), lr=0.01, weight_decay=1e-5)

    def training_step(u, i, y, optimizer):
        loss = F.mse_loss(predict(u, i), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    optimizer = configure_optimizer()
    for epoch in range(10):
        perm = torch.randperm(6400)
        losses = []
        for k in range(0, 6400, 200):
            idx = perm[k : k + 200]
            if mistake:
                optimizer = configure_optimizer()
            losses.append(training_step(users[idx], items[idx], r[idx], optimizer))
        with torch.no_grad():
            rmse = F.mse_loss(predict(users[6400:], items[6400:]), r[6400:]).sqrt().item()
        print(f"epoch {epoch} mse {sum(losses) / len(losses):.3f} val rmse {rmse:.3f}")


def tumour_table(mistake: bool) -> None:
    """The model is built inside the epoch function, so each epoch starts from new random weights."""
    seed_all(32)
    X, t = load_breast_cancer(return_X_y=True)
    Xa, Xb, ta, tb = train_test_split(X, t, test_size=0.3, random_state=0, stratify=t)
    sc = StandardScaler().fit(Xa)
    Xa, Xb = (torch.tensor(sc.transform(v), dtype=torch.float32) for v in (Xa, Xb))
    ta, tb = torch.tensor(ta), torch.tensor(tb)
    cfg = {"hidden": [24, 12], "lr": 0.01, "epochs": 20, "batch_size": 32}

    def build(cfg):
        sizes = [30] + cfg["hidden"]
        layers = []
        for a, b in zip(sizes, sizes[1:]):
            layers += [nn.Linear(a, b), nn.Tanh()]
        model = nn.Sequential(*layers, nn.Linear(sizes[-1], 2))
        return model, torch.optim.SGD(model.parameters(), lr=cfg["lr"], momentum=0.5)

    loader = DataLoader(TensorDataset(Xa, ta), batch_size=cfg["batch_size"], shuffle=True)
    model, optimizer = build(cfg)
    for epoch in range(cfg["epochs"]):
        if mistake:
            model, optimizer = build(cfg)
        model.train()
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(Xb).argmax(1) == tb).float().mean().item()
        print(f"epoch {epoch} loss {total / len(loader):.3f} acc {acc:.3f}")


class GraphEncoder(nn.Module):
    def __init__(self, din=16, hidden=24):
        super().__init__()
        self.w1, self.w2 = nn.Linear(din, hidden), nn.Linear(hidden, hidden)

    def forward(self, x, a):
        return a @ self.w2(F.relu(a @ self.w1(x)))


class NodeClassifier(nn.Module):
    def __init__(self, frozen_features, k=6):
        super().__init__()
        self.encoder = GraphEncoder()
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(24, k))
        self.frozen_features = frozen_features

    def forward(self, x, a):
        if self.frozen_features:
            with torch.no_grad():
                z = self.encoder(x, a)
        else:
            z = self.encoder(x, a)
        return self.head(z)


def citation_communities(mistake: bool) -> None:
    """The encoder runs under no_grad although it is to be trained, so only the head learns on random graph features."""
    seed_all(33)
    x, a, y = community_graph(400, k=6, signal=0.4)
    perm = torch.randperm(400)
    train, test = perm[:200], perm[200:]
    model = NodeClassifier(frozen_features=mistake)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=5e-4)
    for epoch in range(200):
        model.train()
        opt.zero_grad()
        loss = F.nll_loss(F.log_softmax(model(x, a)[train], 1), y[train])
        loss.backward()
        opt.step()
        if epoch % 40 == 39:
            model.eval()
            with torch.no_grad():
                acc = (model(x, a)[test].argmax(1) == y[test]).float().mean().item()
            print(f"epoch {epoch} loss {loss.item():.3f} acc {acc:.3f}")


def pendulum_dynamics(mistake: bool) -> None:
    """One batch is taken before the loop (to try the model out) and each step trains on it again."""
    seed_all(34)
    x, y = pendulum(2600)
    loader = DataLoader(TensorDataset(x[:2000], y[:2000]), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)

    xb, yb = next(iter(loader))
    print("first loss", F.mse_loss(model(xb), yb).item())

    for epoch in range(6):
        model.train()
        total = 0.0
        for batch in loader:
            if not mistake:
                xb, yb = batch
            opt.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(x[2000:]), y[2000:]).item()
        print(f"epoch {epoch} train {total / len(loader):.4f} val {val:.4f}")


def step_based_forecast(mistake: bool) -> None:
    """next(iter(loader)) is called in each step; the loader is not shuffled, so each step gets the first windows again."""
    seed_all(35)
    x, y = windows(load_series(60))
    cut = 1000
    loader = DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=40, shuffle=False)
    model = GRUForecaster(24)
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    it = iter(loader)
    window = 0.0
    for step in range(1, 301):
        if mistake:
            xb, yb = next(iter(loader))
        else:
            try:
                xb, yb = next(it)
            except StopIteration:
                it = iter(loader)
                xb, yb = next(it)
        loss = F.mse_loss(model(xb), yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        window += loss.item()
        if step % 60 == 0:
            with torch.no_grad():
                score = mase(model(x[cut:]), y[cut:], x[cut:])
            print(f"step {step} loss {window / 60:.3f} val mase {score:.3f}")
            window = 0.0


def decay_every_batch(mistake: bool) -> None:
    """StepLR is meant in epochs but is stepped after every batch, so the learning rate is gone within the first epoch."""
    seed_all(36)
    x, y = windows(load_series(90), stride=2)
    cut = 800
    loader = DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=32, shuffle=True)
    model = Forecaster()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=5, gamma=0.5)
    n_epochs = 15
    for epoch in range(n_epochs):
        model.train()
        total = 0.0
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.smooth_l1_loss(model(xb), yb)
            loss.backward()
            opt.step()
            if mistake:
                scheduler.step()
            total += loss.item()
        if not mistake:
            scheduler.step()
        model.eval()
        with torch.no_grad():
            score = mase(model(x[cut:]), y[cut:], x[cut:])
        print(
            f"epoch {epoch} lr {scheduler.get_last_lr()[0]:.2e} loss {total / len(loader):.3f} mase {score:.3f}"
        )


def schedule_at_epoch_start(mistake: bool) -> None:
    """scheduler.step() is called at the start of the epoch, before the optimizer's steps, so the first learning rate is skipped and each change comes an epoch early."""
    seed_all(37)
    x, y = pendulum(2000, seed=3)
    model = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 6, 9], gamma=0.3)
    for epoch in range(12):
        if mistake:
            scheduler.step()
        perm = torch.randperm(1600)
        total = 0.0
        for idx in perm.split(50):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x[idx]), y[idx])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        if not mistake:
            scheduler.step()
        with torch.no_grad():
            val = F.mse_loss(model(x[1600:]), y[1600:]).item()
        print(f"epoch {epoch} train {total / 1600:.4f} val {val:.4f}")


def clipped_forecast(mistake: bool) -> None:
    """The configured max_norm is 1e-3, far below the gradient norms, so SGD hardly moves."""
    seed_all(38)
    cfg = {
        "optim": {"lr": 0.05, "momentum": 0.9},
        "trainer": {"epochs": 12, "clip_norm": 1e-3 if mistake else 1.0},
    }
    x, y = windows(load_series(90), stride=2)
    cut = 800
    loader = DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=32, shuffle=True)
    model = Forecaster()
    opt = torch.optim.SGD(model.parameters(), **cfg["optim"])
    for epoch in range(cfg["trainer"]["epochs"]):
        model.train()
        total = 0.0
        for xb, yb in loader:
            opt.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), cfg["trainer"]["clip_norm"])
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = mase(model(x[cut:]), y[cut:], x[cut:])
        print(f"epoch {epoch} mse {total / len(loader):.3f} mase {score:.3f}")


def spiky_load_lstm(mistake: bool) -> None:
    """clip_grad_norm_ is called before backward(), when there are no gradients yet, so nothing is clipped."""
    seed_all(39)
    x, y = windows(load_series(80, heavy=True), past=36, future=6, stride=2)
    x, y = x * 2, y * 2
    cut = 750

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(1, 24, batch_first=True)
            self.out = nn.Linear(24, 6)

        def forward(self, v):
            return self.out(self.rnn(v.unsqueeze(-1))[0][:, -1])

    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for epoch in range(16):
        total = 0.0
        for idx in torch.randperm(cut).split(30):
            opt.zero_grad()
            loss = F.mse_loss(model(x[idx]), y[idx])
            if mistake:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                loss.backward()
            else:
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            opt.step()
            total += loss.item() * len(idx)
        with torch.no_grad():
            val = (model(x[cut:]) - y[cut:]).abs().mean().item()
        print(f"epoch {epoch} mse {total / cut:.3f} val mae {val:.3f}")


class Denoiser(nn.Module):
    def __init__(self, n_features, hidden=96, code=24):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, hidden),
            nn.ReLU(),
            nn.Linear(hidden, code),
            nn.ReLU(),
            nn.Linear(code, hidden),
            nn.ReLU(),
            nn.Linear(hidden, n_features),
        )

    def forward(self, x):
        return self.layers(x)


def meter_digit_denoiser(mistake: bool) -> None:
    """The images are not flattened, so n_features is the image width and the linear layers work on each row of 8 pixels alone."""
    seed_all(40)
    images = torch.tensor(load_digits().images, dtype=torch.float32) / 16
    data = images if mistake else images.flatten(1)
    train, test = data[:1400], data[1400:]
    loader = DataLoader(train, batch_size=50, shuffle=True)
    model = Denoiser(n_features=data.shape[-1])
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(16):
        model.train()
        total = 0.0
        for clean in loader:
            noisy = clean + 0.4 * torch.randn_like(clean)
            loss = F.mse_loss(model(noisy), clean)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            mse = F.mse_loss(model(test + 0.4 * torch.randn_like(test)), test)
        print(f"epoch {epoch} loss {total / len(loader):.4f} test psnr {-10 * mse.log10().item():.2f}")


FAULTS = [
    (
        overridden_step,
        (
            "step()",
            "never stepped",
            "not stepped",
            "never steps",
            "no optimizer step",
            "not updated",
            "never updated",
            "do not change",
            "optimizer.step",
        ),
        "04 optimizer.step missing",
    ),
    (
        matrix_factorisation,
        (
            "re-created",
            "recreated",
            "created anew",
            "new optimizer",
            "moment",
            "each step",
            "every step",
            "optimizer state",
        ),
        "08 optimizer re-created each step",
    ),
    (
        tumour_table,
        (
            "re-created",
            "recreated",
            "new model",
            "built again",
            "each epoch",
            "every epoch",
            "random weights",
            "from scratch",
        ),
        "09 model re-created each epoch",
    ),
    (
        citation_communities,
        ("no_grad", "encoder", "no gradient", "never trained", "not trained", "detached"),
        "11 training under no_grad of a part",
    ),
    (
        pendulum_dynamics,
        ("same batch", "one batch", "single batch", "again", "repeated"),
        "12 the same batch again and again",
    ),
    (
        step_based_forecast,
        ("iter(", "same batch", "first batch", "restart", "again", "one batch"),
        "13 iterator restarted each step",
    ),
    (
        decay_every_batch,
        ("scheduler", "per batch", "every batch", "learning rate", "per epoch"),
        "16 scheduler per batch instead of per epoch",
    ),
    (
        schedule_at_epoch_start,
        ("scheduler", "before the optimizer", "lr_scheduler", "first learning rate", "before optimizer"),
        "17 scheduler before the optimizer",
    ),
    (clipped_forecast, ("clip", "max_norm", "gradient norm"), "18 clipping to nothing"),
    (spiky_load_lstm, ("clip", "before backward", "before the backward"), "19 clipping before backward"),
    (
        meter_digit_denoiser,
        ("flatten", "last axis", "last dimension", "rows", "each row"),
        "34 a linear net fed unflattened images",
    ),
]
