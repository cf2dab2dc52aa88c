"""Loops as people write them: each function is one training, right or with one mistake."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_image, make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


# --------------------------------------------------------------------------------------
def ring_gan(*, mistake: bool) -> None:
    def real_batch(n):
        a = torch.rand(n, 1) * 2 * torch.pi
        return torch.cat([2 + 0.5 * torch.cos(a), -1 + 0.5 * torch.sin(a)], 1) + 0.05 * torch.randn(n, 2)

    G = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    D = nn.Sequential(
        nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)
    )
    opt_g = optim.Adam(G.parameters(), lr=2e-3, betas=(0.0, 0.999))
    opt_d = optim.Adam(D.parameters(), lr=1e-2, betas=(0.0, 0.999))
    bce = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
    g_losses, d_losses, dist = [], [], []
    for it in range(100):
        # discriminator
        real = real_batch(64)
        fake = G(torch.randn(64, 4))
        opt_d.zero_grad()
        d_loss = bce(D(real), ones) + bce(D(fake.detach()), zeros)
        d_loss.backward()
        opt_d.step()
        # generator
        opt_g.zero_grad()
        if mistake:
            score = D(fake.detach())
        else:
            score = D(fake)
        g_loss = bce(score, ones)
        g_loss.backward()
        opt_g.step()
        g_losses.append(g_loss.item())
        d_losses.append(d_loss.item())
        if it % 20 == 19:
            with torch.no_grad():
                dist.append((G(torch.randn(500, 4)).mean(0) - torch.tensor([2.0, -1.0])).norm().item())


# --------------------------------------------------------------------------------------
class VAE(nn.Module):
    def __init__(self, latent=6):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.mu = nn.Linear(64, latent)
        self.logvar = nn.Linear(64, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x):
        h = self.body(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.dec(z), mu, logvar


def digits_vae(*, mistake: bool) -> None:
    X = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    X = X[torch.randperm(len(X))]
    train_loader = DataLoader(TensorDataset(X[:1500]), batch_size=75, shuffle=True)
    test = X[1500:]
    vae = VAE()
    optimizer = optim.Adam(vae.parameters(), lr=0.3 if mistake else 3e-3)

    def elbo(x):
        recon, mu, logvar = vae(x)
        bce = F.binary_cross_entropy_with_logits(recon, x, reduction="sum")
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return (bce + kld) / len(x)

    test_elbo = []
    for epoch in range(9):
        vae.train()
        for (x,) in train_loader:
            optimizer.zero_grad()
            loss = elbo(x)
            loss.backward()
            optimizer.step()
        vae.eval()
        with torch.no_grad():
            test_elbo.append(elbo(test).item())


# --------------------------------------------------------------------------------------
def corridor_policy_gradient(*, mistake: bool) -> None:
    """Walk along a corridor of 7 cells; the reward lies at the right end."""
    policy = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = optim.Adam(policy.parameters(), lr=2e-2)
    eye = torch.eye(7)
    returns = []
    for episode_batch in range(40):
        log_probs, rewards = [], []
        for _ in range(6):
            s, ep_logp, ep_r = 3, [], 0.0
            for t in range(8):
                pi = torch.distributions.Categorical(logits=policy(eye[s]))
                a = pi.sample()
                ep_logp.append(pi.log_prob(a))
                s = max(0, s - 1) if a.item() == 0 else min(6, s + 1)
                ep_r += 1.0 if s == 6 else -0.05
            log_probs.append(torch.stack(ep_logp).sum())
            rewards.append(ep_r)
        R = torch.tensor(rewards)
        advantage = (R - R.mean()) / (R.std() + 1e-6)
        if mistake:
            loss = (torch.stack(log_probs) * advantage).mean()
        else:
            loss = -(torch.stack(log_probs) * advantage).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        returns.append(R.mean().item())


# --------------------------------------------------------------------------------------
class DeepMLP(nn.Module):
    def __init__(self, width, depth, act):
        super().__init__()
        dims = [64] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims, dims[1:]))
        self.out = nn.Linear(width, 10)
        self.act = act

    def forward(self, x):
        for h in self.hidden:
            x = self.act(h(x))
        return self.out(x)


def digits_deep_mlp(*, mistake: bool) -> None:
    X, y = load_digits(return_X_y=True)
    X_train, X_val, y_train, y_val = train_test_split(X / 16, y, test_size=0.2)
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    ds = TensorDataset(to(X_train), torch.tensor(y_train))
    model = DeepMLP(48, 7, torch.sigmoid if mistake else torch.relu)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    loader = DataLoader(ds, batch_size=64, shuffle=True)
    logs = {"loss": [], "val_acc": []}
    for epoch in range(8):
        model.train()
        for x, t in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), t)
            loss.backward()
            optimizer.step()
        logs["loss"].append(loss.item())
        model.eval()
        with torch.no_grad():
            logs["val_acc"].append((model(to(X_val)).argmax(1).numpy() == y_val).mean())


# --------------------------------------------------------------------------------------
def rare_disease_screen(*, mistake: bool) -> None:
    X, y = make_classification(
        n_samples=500,
        n_features=30,
        n_informative=4,
        n_redundant=0,
        weights=[0.85],
        class_sep=0.6,
        flip_y=0.12,
    )
    X = X.astype(np.float32)

    def oversample(X, y):
        rare = np.flatnonzero(y == 1)
        extra = np.random.choice(rare, (y == 0).sum() - len(rare))
        return np.concatenate([X, X[extra]]), np.concatenate([y, y[extra]])

    if mistake:
        X, y = oversample(X, y)
        X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25)
    else:
        X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, stratify=y)
        X_train, y_train = oversample(X_train, y_train)

    loader = DataLoader(
        TensorDataset(torch.tensor(X_train), torch.tensor(y_train)), batch_size=50, shuffle=True
    )
    net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    opt = optim.Adam(net.parameters(), lr=3e-3)
    balanced_accuracy = []
    for epoch in range(12):
        net.train()
        for x, t in loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(x), t)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            pred = net(torch.tensor(X_val)).argmax(1).numpy()
        balanced_accuracy.append(np.mean([(pred[y_val == c] == c).mean() for c in (0, 1)]))


# --------------------------------------------------------------------------------------
def cancer_clinic(*, mistake: bool) -> None:
    data = load_breast_cancer()
    X_tr, X_te, y_tr, y_te = train_test_split(data.data, data.target, test_size=0.25)
    scaler = StandardScaler()
    X_tr = scaler.fit_transform(X_tr)
    if not mistake:
        X_te = scaler.transform(X_te)
    train_loader = DataLoader(
        TensorDataset(torch.tensor(X_tr).float(), torch.tensor(y_tr).float()),
        batch_size=32,
        shuffle=True,
    )
    test_loader = DataLoader(
        TensorDataset(torch.tensor(X_te).float(), torch.tensor(y_te).float()), batch_size=64
    )
    model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    summary = []
    for epoch in range(8):
        model.train()
        train_loss = 0.0
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
        model.eval()
        test_loss, hits = 0.0, 0
        with torch.no_grad():
            for xb, yb in test_loader:
                logit = model(xb)
                test_loss += criterion(logit, yb).item()
                hits += ((logit > 0).float() == yb).sum().item()
        summary.append((train_loss / len(train_loader), test_loss / len(test_loader), hits / len(y_te)))


# --------------------------------------------------------------------------------------
@dataclass
class Config:
    lr: float = 0.05
    epochs: int = 25
    batch: int = 25
    hidden: int = 128


def noisy_quadratic_classifier(*, mistake: bool) -> None:
    cfg = Config()
    n = 100
    X = torch.randn(2 * n, 20)
    y = ((X[:, 0] + X[:, 1] ** 2 - 0.8 + 0.9 * torch.randn(2 * n)) > 0).long()
    Xv = torch.randn(500, 20)
    yv = ((Xv[:, 0] + Xv[:, 1] ** 2 - 0.8 + 0.9 * torch.randn(500)) > 0).long()
    model = nn.Sequential(nn.Linear(20, cfg.hidden), nn.ReLU(), nn.Linear(cfg.hidden, 2))
    optimizer = optim.SGD(model.parameters(), lr=cfg.lr, momentum=0.9)
    loader = DataLoader(TensorDataset(X, y), batch_size=cfg.batch, shuffle=True)

    best_loss, best_weights = float("inf"), None
    for epoch in range(cfg.epochs):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = F.cross_entropy(model(Xv), yv).item()
        if val_loss < best_loss:
            best_loss = val_loss
            best_weights = model.state_dict() if mistake else copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    model.eval()
    with torch.no_grad():
        final_loss = F.cross_entropy(model(Xv), yv).item()


# --------------------------------------------------------------------------------------
class BinaryNet(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.fc1 = nn.Linear(30, 32)
        self.fc2 = nn.Linear(32, 16)
        self.fc3 = nn.Linear(16, 1)
        self.activation = activation

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.activation(self.fc3(x))


def tumor_probability(*, mistake: bool) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    X = torch.from_numpy(X).float()
    y = torch.from_numpy(y).float().reshape(-1, 1)
    order = torch.randperm(len(X))
    X, y = X[order], y[order]
    X_train, y_train, X_test, y_test = X[:450], y[:450], X[450:], y[450:]
    model = BinaryNet(nn.Softmax(dim=1) if mistake else nn.Sigmoid())
    criterion = nn.BCELoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    batch_size = 30
    for epoch in range(10):
        model.train()
        for i in range(0, 450, batch_size):
            out = model(X_train[i : i + batch_size])
            loss = criterion(out, y_train[i : i + batch_size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            p = model(X_test)
            val_loss = criterion(p, y_test).item()
            acc = ((p > 0.5).float() == y_test).float().mean().item()


# --------------------------------------------------------------------------------------
def photo_dot_colour(*, mistake: bool) -> None:
    """Patches of a photo in (H, W, C) with a small dot in red, green or blue somewhere."""
    photo = load_sample_image("china.jpg").astype(np.float32) / 255
    n = 1000
    rows, cols = (
        np.random.randint(0, photo.shape[0] - 12, n),
        np.random.randint(0, photo.shape[1] - 12, n),
    )
    patches = np.stack([photo[r : r + 12, c : c + 12] for r, c in zip(rows, cols)])
    labels = np.random.randint(0, 3, n)
    for patch, ch in zip(patches, labels):
        r, c = np.random.randint(0, 10, 2)
        patch[r : r + 3, c : c + 3, ch] += 0.3
    patches -= patches.mean()
    patches /= patches.std()

    images = torch.from_numpy(patches)
    if mistake:
        images = images.view(-1, 3, 12, 12)
    else:
        images = images.permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(labels)
    train_dl = DataLoader(TensorDataset(images[:800], labels[:800]), batch_size=40, shuffle=True)
    val_dl = DataLoader(TensorDataset(images[800:], labels[800:]), batch_size=100)

    cnn = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    opt = optim.Adam(cnn.parameters(), lr=5e-3)
    val_acc = []
    for epoch in range(8):
        cnn.train()
        for x, t in train_dl:
            loss = F.cross_entropy(cnn(x), t)
            opt.zero_grad()
            loss.backward()
            opt.step()
        cnn.eval()
        with torch.no_grad():
            val_acc.append(sum((cnn(x).argmax(1) == t).sum().item() for x, t in val_dl) / 200)


# --------------------------------------------------------------------------------------
class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, alpha=0.75, stable=True):
        super().__init__()
        self.gamma, self.alpha, self.stable = gamma, alpha, stable

    def forward(self, logits, target):
        p = torch.sigmoid(logits)
        if self.stable:
            log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
        else:
            log_p, log_q = torch.log(p), torch.log(1 - p)
        pos = self.alpha * (1 - p) ** self.gamma * log_p * target
        neg = (1 - self.alpha) * p**self.gamma * log_q * (1 - target)
        return -(pos + neg).mean()


def defect_detector_focal(*, mistake: bool) -> None:
    n = 1600
    X = torch.randn(n, 12)
    signal = X[:, 0] * 3 + X[:, 1] * X[:, 2] - 2.5
    y = (signal > 0).float()
    X = X * 3
    X[torch.rand(n) < 0.02] *= 40  # a few sensor spikes
    train, val = TensorDataset(X[:1300], y[:1300]), TensorDataset(X[1300:], y[1300:])
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    focal = FocalLoss(stable=not mistake)
    record = []
    for epoch in range(5):
        model.train()
        for xb, yb in DataLoader(train, batch_size=50, shuffle=True):
            optimizer.zero_grad()
            loss = focal(model(xb), yb)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            xv, yv = val.tensors
            out = model(xv)
            record.append((focal(out, yv).item(), ((out > 0) == (yv > 0.5)).float().mean().item()))


# --------------------------------------------------------------------------------------
def digits_two_phase_runner(*, mistake: bool) -> None:
    digits = load_digits()
    X = torch.tensor(digits.data / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)
    y = torch.where(torch.rand(len(y)) < 0.4, torch.randint(0, 10, y.shape), y)  # noisy annotators
    split = torch.randperm(len(X))
    parts = {"train": split[:500], "val": split[500:750]}
    model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = optim.Adam(model.parameters(), lr=6e-3)
    criterion = nn.CrossEntropyLoss()

    def run_train(loader):
        model.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            out = model(xb)
            loss = criterion(out, yb)
            loss.backward()
            optimizer.step()

    def run_val(loader):
        model.eval()
        total, hits, n = 0.0, 0, 0
        for xb, yb in loader:
            optimizer.zero_grad()
            out = model(xb)
            loss = criterion(out, yb)
            if mistake:
                loss.backward()
                optimizer.step()
            total += loss.item() * len(xb)
            hits += (out.argmax(1) == yb).sum().item()
            n += len(xb)
        return total / n, hits / n

    loaders = {
        k: DataLoader(TensorDataset(X[i], y[i]), batch_size=50, shuffle=(k == "train"))
        for k, i in parts.items()
    }
    scores = []
    for epoch in range(13):
        run_train(loaders["train"])
        scores.append(run_val(loaders["val"]))
    unseen = split[750:]
    with torch.no_grad():
        test_acc = (model(X[unseen]).argmax(1) == y[unseen]).float().mean().item()


# --------------------------------------------------------------------------------------
def digits_bn_cnn_arrays(*, mistake: bool) -> None:
    digits = load_digits()
    X = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(digits.target)
    X_train, y_train, X_test, y_test = X[:1400], y[:1400], X[1400:], y[1400:]
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(144, 10),
    )
    opt = optim.Adam(net.parameters(), lr=3e-3)
    losses, test_acc = [], []
    for epoch in range(6):
        net.train()
        order = torch.randperm(len(X_train))
        X_epoch = X_train[order]
        if mistake:
            y_epoch = y_train[torch.randperm(len(y_train))]
        else:
            y_epoch = y_train[order]
        for i in range(0, len(X_epoch), 64):
            opt.zero_grad()
            loss = F.cross_entropy(net(X_epoch[i : i + 64]), y_epoch[i : i + 64])
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            test_acc.append((net(X_test).argmax(1) == y_test).float().mean().item())


FAULTS = [
    (
        ring_gan,
        (
            "detach",
            "no gradient",
            "without gradient",
            "cut off",
            "disconnected",
            "graph",
            "gradients are none",
            "grad is none",
            "not updated",
            "never updated",
            "never changed",
            "did not change",
        ),
        "In the generator's step the fake batch is detached before the discriminator, so the generator gets no gradient.",
    ),
    (
        digits_vae,
        ("learning rate", "lr=", "lr ", "step size", "diverg", "explod", "too large"),
        "The learning rate of Adam is a hundred times too high (0.3), so the VAE diverges or collapses.",
    ),
    (
        corridor_policy_gradient,
        (
            "wrong sign",
            "minus sign",
            "sign of",
            "sign is",
            "the sign",
            "negat",
            "minus",
            "ascent",
            "descent",
            "minimiz",
            "minimis",
            "wrong direction",
            "opposite",
        ),
        "The minus sign of the policy gradient loss is missing, so the return is minimized.",
    ),
    (
        digits_deep_mlp,
        ("vanish", "sigmoid", "saturat"),
        "Seven hidden layers with sigmoid activations make the gradient vanish before it reaches the first layers.",
    ),
    (
        rare_disease_screen,
        (
            "leak",
            "duplicate",
            "overlap",
            "same samples",
            "same examples",
            "same rows",
            "in both",
            "contaminat",
            "seen in training",
            "also in the training",
            "training examples in",
            "training data in",
        ),
        "The rare class is oversampled before the split, so copies of the same rows are in training and validation.",
    ),
    (
        cancer_clinic,
        (
            "preprocess",
            "normaliz",
            "normalis",
            "standardi",
            "scale",
            "scaling",
            "unscaled",
            "distribution",
            "different range",
            "transform",
        ),
        "The validation data is not put through the scaler that the training data went through.",
    ),
    (
        noisy_quadratic_classifier,
        (
            "deepcopy",
            "deep copy",
            "copy",
            "alias",
            "reference",
            "same tensors",
            "share",
            "clone",
            "live weights",
        ),
        "The best state_dict is kept without a copy, so it follows the training and the 'best' weights restored are the last.",
    ),
    (
        tumor_probability,
        (
            "softmax",
            "always 1",
            "always one",
            "constant",
            "single output",
            "one output",
            "size 1",
            "single logit",
        ),
        "Softmax over a single output always gives 1, so the network cannot learn; it should be a sigmoid.",
    ),
    (
        photo_dot_colour,
        (
            "view",
            "permute",
            "reshape",
            "transpos",
            "channel",
            "scrambl",
            "layout",
            "nhwc",
            "hwc",
            "memory order",
        ),
        "Images in (N, H, W, C) are brought to (N, C, H, W) by view instead of permute, which scrambles the pixels.",
    ),
    (
        defect_detector_focal,
        (
            "nan",
            "log(0)",
            "log of zero",
            "log(1 - p)",
            "infinit",
            "non-finite",
            "nonfinite",
            "not finite",
            "numerical",
            "unstable",
        ),
        "The focal loss takes log of a sigmoid that saturates at 0 or 1, which gives NaN.",
    ),
    (
        digits_two_phase_runner,
        (
            "validation data",
            "validation set",
            "during validation",
            "during evaluation",
            "in validation",
            "in the validation",
            "in evaluation",
            "while evaluating",
            "while validating",
            "trained on",
            "training on",
            "trains on",
            "held-out",
            "leak",
        ),
        "The validation function, copied from the training one, still calls backward and optimizer.step, so the model is trained on the validation data.",
    ),
    (
        digits_bn_cnn_arrays,
        ("label", "pairing", "mismatch", "misalign", "permut", "shuffl", "correspond", "unrelated"),
        "Inputs and labels are shuffled with two different permutations, so the pairs are broken.",
    ),
]
