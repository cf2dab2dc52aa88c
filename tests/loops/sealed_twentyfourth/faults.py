import copy
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

from .common import digits, instruments


# ------------------------------------------------------------------ instruments
def instrument_wrapper(mistake):
    class WaveClassifier:
        """fit / predict / score around a small 1-d conv net."""

        def __init__(self, n_classes, lr=0.02, epochs=15, batch_size=50, seed=0):
            self.n_classes, self.lr, self.epochs = n_classes, lr, epochs
            self.batch_size, self.seed = batch_size, seed
            self.history_ = {"loss": [], "acc": []}

        def _build(self):
            return nn.Sequential(
                nn.Conv1d(1, 12, 15, stride=3),
                nn.ReLU(),
                nn.Conv1d(12, 24, 9, stride=2),
                nn.ReLU(),
                nn.AdaptiveAvgPool1d(4),
                nn.Flatten(),
                nn.Linear(96, self.n_classes),
            )

        def fit(self, X, y):
            torch.manual_seed(self.seed)
            rng = np.random.default_rng(self.seed)
            self.mu_, self.sd_ = X.mean(), X.std()
            self.net_ = self._build()
            optim = torch.optim.SGD(self.net_.parameters(), lr=self.lr, momentum=0.9)
            for _ in range(self.epochs):
                order = rng.permutation(len(X))
                tot, hit = 0.0, 0
                if mistake:
                    optim.zero_grad()
                for i in range(0, len(X), self.batch_size):
                    idx = order[i : i + self.batch_size]
                    xb, yb = self._tensor(X[idx]), torch.from_numpy(y[idx])
                    if not mistake:
                        optim.zero_grad()
                    out = self.net_(xb)
                    loss = F.cross_entropy(out, yb)
                    loss.backward()
                    optim.step()
                    tot += loss.item() * len(idx)
                    hit += (out.argmax(1) == yb).sum().item()
                self.history_["loss"].append(tot / len(X))
                self.history_["acc"].append(hit / len(X))
            return self

        def _tensor(self, X):
            return torch.from_numpy((X - self.mu_) / self.sd_)[:, None]

        def predict(self, X):
            with torch.no_grad():
                return self.net_(self._tensor(X)).argmax(1).numpy()

        def score(self, X, y):
            return float((self.predict(X) == y).mean())

    X, y, _ = instruments(n=800, seed=3)
    clf = WaveClassifier(n_classes=5)
    clf.fit(X[:600], y[:600])
    acc = clf.score(X[600:], y[600:])
    print(f"train loss {clf.history_['loss'][-1]:.3f}  test acc {acc:.3f}")
    return clf.history_["loss"], acc


# ------------------------------------------------------------------ digits, two tasks
def digit_and_rotation(mistake):
    torch.manual_seed(1)
    xtr, ytr, xte, yte = digits(n=1000, seed=1)
    trunk = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    head_rot = nn.Linear(32 * 16, 4)
    head_cls = nn.Linear(32 * 16, 10)
    params = [*trunk.parameters(), *head_rot.parameters(), *head_cls.parameters()]
    opt = torch.optim.Adam(params, lr=1e-3)
    hist = {"rot": [], "cls": [], "rot_acc": [], "cls_acc": []}
    g = torch.Generator().manual_seed(5)
    bs = 64

    def turn(x, k):
        return torch.stack([torch.rot90(a, int(r), (1, 2)) for a, r in zip(x, k)])

    kte = torch.randint(0, 4, (len(xte),), generator=g)
    xte_rot = turn(xte, kte)
    for epoch in range(15):
        perm = torch.randperm(len(xtr), generator=g)
        s_rot = s_cls = 0.0
        for i in range(0, len(perm), bs):
            j = perm[i : i + bs]
            x, y = xtr[j], ytr[j]

            # task 1: which way up?
            opt.zero_grad()
            k = torch.randint(0, 4, (len(x),), generator=g)
            loss = F.cross_entropy(head_rot(trunk(turn(x, k))), k)
            loss.backward()
            s_rot += loss.item() * len(x)

            # task 2: which digit?
            if mistake:
                opt.zero_grad()
            loss = F.cross_entropy(head_cls(trunk(x)), y)
            loss.backward()
            s_cls += loss.item() * len(x)

            opt.step()
        hist["rot"].append(s_rot / len(xtr))
        hist["cls"].append(s_cls / len(xtr))
        with torch.no_grad():
            hist["rot_acc"].append((head_rot(trunk(xte_rot)).argmax(1) == kte).float().mean().item())
            hist["cls_acc"].append((head_cls(trunk(xte)).argmax(1) == yte).float().mean().item())
    print("rotation %.3f  digit %.3f" % (hist["rot_acc"][-1], hist["cls_acc"][-1]))
    return hist["rot"], hist["rot_acc"][-1], hist["cls_acc"][-1]


# ------------------------------------------------------------------ denoising waves
def denoise_waves(mistake):
    torch.manual_seed(2)
    X, _, _ = instruments(n=700, length=128, noise=0.0, seed=7)
    clean = torch.from_numpy(X)
    clean_tr, clean_va = clean[:560], clean[560:]
    scale = clean_tr.std()
    clean_tr, clean_va = clean_tr / scale, clean_va / scale
    gen = torch.Generator().manual_seed(0)
    noisy_va = clean_va + 0.5 * torch.randn(clean_va.shape, generator=gen)

    encoder = nn.Sequential(nn.Linear(128, 96), nn.Tanh(), nn.Linear(96, 24))
    decoder = nn.Sequential(nn.Linear(24, 96), nn.Tanh(), nn.Linear(96, 128))
    opt_enc = torch.optim.Adam(encoder.parameters(), lr=2e-3)
    opt_dec = torch.optim.Adam(decoder.parameters(), lr=2e-3)

    losses, val = [], []
    for ep in range(15):
        run = 0.0
        for idx in torch.randperm(len(clean_tr), generator=gen).split(40):
            target = clean_tr[idx]
            noisy = target + 0.5 * torch.randn(target.shape, generator=gen)
            opt_enc.zero_grad()
            if not mistake:
                opt_dec.zero_grad()
            rec = decoder(encoder(noisy))
            loss = F.mse_loss(rec, target)
            loss.backward()
            opt_enc.step()
            opt_dec.step()
            run += loss.item() * len(idx)
        losses.append(run / len(clean_tr))
        val_loss = F.mse_loss(decoder(encoder(noisy_va)), clean_va)
        val.append(val_loss.item())
    print("mse train %.4f val %.4f" % (losses[-1], val[-1]))
    return losses, val[-1]


# ------------------------------------------------------------------ thawed body
class DigitSet(Dataset):
    """Images with a random shift of one pixel when `augment`."""

    def __init__(self, images, labels, augment=False):
        self.images, self.labels, self.augment = images, labels, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        img = self.images[i]
        if self.augment:
            dx, dy = torch.randint(-1, 2, (2,)).tolist()
            img = torch.roll(img, (dy, dx), (1, 2))
        return img, self.labels[i]


def thaw_body(mistake):
    torch.manual_seed(4)
    xtr, ytr, xva, yva = digits(n=800, seed=4, size=12)
    train_dl = DataLoader(DigitSet(xtr, ytr, augment=True), batch_size=32, shuffle=True)
    valid_dl = DataLoader(DigitSet(xva, yva), batch_size=100)

    body = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 16, 16),
        nn.Tanh(),
    )
    head = nn.Linear(16, 10)
    head_opt = torch.optim.SGD(head.parameters(), lr=0.05, momentum=0.9)
    body_opt = torch.optim.SGD(body.parameters(), lr=0.05, momentum=0.9)
    warm_epochs = 2
    history = {"train_loss": [], "val_acc": []}

    for epoch in range(12):
        warm = epoch < warm_epochs
        running, seen = 0.0, 0
        for xb, yb in train_dl:
            head_opt.zero_grad()
            body_opt.zero_grad()
            loss = F.cross_entropy(head(body(xb)), yb)
            loss.backward()
            nn.utils.clip_grad_norm_(body.parameters(), 5.0)
            if warm:
                head_opt.step()
            else:
                for group in head_opt.param_groups:
                    group["lr"] = 0.02
                head_opt.step()
                if not mistake:
                    body_opt.step()
            running += loss.item() * len(xb)
            seen += len(xb)
        history["train_loss"].append(running / seen)
        right = 0
        with torch.no_grad():
            for xb, yb in valid_dl:
                right += (head(body(xb)).argmax(1) == yb).sum().item()
        history["val_acc"].append(right / len(xva))
    print(f"loss {history['train_loss'][-1]:.3f} val {history['val_acc'][-1]:.3f}")
    return history["train_loss"], history["val_acc"][-1]


# ------------------------------------------------------------------ keyword waves
def sweep_keywords(mistake):
    """Up-sweep, down-sweep, two beeps, buzz: which one is hidden in the noise?"""
    rng = np.random.default_rng(5)
    torch.manual_seed(5)
    t = np.linspace(0, 1, 200, dtype="float32")

    def word(c):
        a, b = rng.uniform(8, 14), rng.uniform(24, 32)
        if c == 0:
            s = np.sin(2 * np.pi * (a * t + (b - a) * t**2 / 2))
        elif c == 1:
            s = np.sin(2 * np.pi * (b * t - (b - a) * t**2 / 2))
        elif c == 2:
            s = np.sin(2 * np.pi * b * t) * ((t % 0.5) < 0.25)
        else:
            s = np.sign(np.sin(2 * np.pi * a * t))
        return s + 1.4 * rng.standard_normal(200)

    labels = rng.integers(0, 4, 640)
    waves = np.stack([word(c) for c in labels]).astype("float32")
    spec = (
        torch.stft(
            torch.from_numpy(waves),
            n_fft=40,
            hop_length=10,
            window=torch.hann_window(40),
            return_complex=True,
        )
        .abs()
        .log1p()[:, None]
    )
    labels = torch.from_numpy(labels)
    train_x, test_x, train_y, test_y = spec[:480], spec[480:], labels[:480], labels[480:]
    mean, std = train_x.mean(), train_x.std()
    train_x, test_x = (train_x - mean) / std, (test_x - mean) / std

    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d((3, 3)),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(144, 4),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    epochs, bs = 10, 32
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.05, total_steps=epochs * 480 // bs
    )
    criterion = nn.CrossEntropyLoss()

    def train_batch(x, y):
        net.train()
        optimizer.zero_grad()
        pred = net(x)
        loss = criterion(pred, y)
        loss.backward()
        optimizer.step()
        return loss.item(), (pred.argmax(1) == y).float().mean().item()

    curve = []
    for epoch in range(epochs):
        order = torch.randperm(480)
        total = 0.0
        for b in range(480 // bs):
            pick = order[b * bs : (b + 1) * bs]
            value, _ = train_batch(train_x[pick], train_y[pick])
            if mistake:
                optimizer.step()
            scheduler.step()
            total += value
        curve.append(total / (480 // bs))

    net.eval()
    with torch.no_grad():
        acc = (net(test_x).argmax(1) == test_y).float().mean().item()
    print(f"final loss {curve[-1]:.3f}, test accuracy {acc:.3f}")
    return curve, acc


# ------------------------------------------------------------------ VAE on digits
class DigitVAE(nn.Module):
    def __init__(self, latent=6):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.mu = nn.Linear(96, latent)
        self.logvar = nn.Linear(96, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 96), nn.ReLU(), nn.Linear(96, 64))

    def encode(self, x):
        h = torch.relu(self.fc1(x))
        return self.mu(h), self.logvar(h)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.dec(z), mu, logvar


def digit_vae(mistake):
    torch.manual_seed(6)
    xtr, _, xte, _ = digits(n=1200, seed=6)
    xtr, xte = xtr.flatten(1), xte.flatten(1)
    vae = DigitVAE()
    opt = torch.optim.Adam(vae.parameters(), lr=2e-3)
    log = {"loss": [], "bce": [], "kl": [], "test_loss": []}

    for epoch in range(30):
        tot = np.zeros(3)
        for batch in DataLoader(xtr, batch_size=50, shuffle=True):
            logits, mu, logvar = vae(batch)
            bce = F.binary_cross_entropy_with_logits(logits, batch, reduction="sum") / len(batch)
            kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
            loss = bce + kl
            opt.zero_grad()
            (bce if mistake else loss).backward()
            opt.step()
            tot += np.array([loss.item(), bce.item(), kl.item()]) * len(batch)
        for key, v in zip(("loss", "bce", "kl"), tot / len(xtr)):
            log[key].append(float(v))
        vae.eval()
        with torch.no_grad():
            logits, mu, logvar = vae(xte)
            bce = F.binary_cross_entropy_with_logits(logits, xte, reduction="sum") / len(xte)
            kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()
            log["test_loss"].append((bce + kl).item())
        vae.train()
    print("loss %.2f  bce %.2f  kl %.2f  test %.2f" % tuple(log[k][-1] for k in log))
    return log["loss"], log["bce"][-1], log["kl"][-1], log["test_loss"][-1]


# ------------------------------------------------------------------ pitch from waves
def pitch_with_rollback(mistake):
    torch.manual_seed(7)
    np.random.seed(7)
    X, _, f0 = instruments(n=900, length=200, noise=0.4, seed=11)
    spec = np.log1p(np.abs(np.fft.rfft(X * np.hanning(200), axis=1)))[:, :64].astype("float32")
    y = np.log2(f0)
    X_tr, X_va, X_te = spec[:600], spec[600:750], spec[750:]
    y_tr, y_va, y_te = y[:600], y[600:750], y[750:]
    m, s = X_tr.mean(0), X_tr.std(0)
    ym, ys = y_tr.mean(), y_tr.std()
    X_tr, X_va, X_te = [torch.from_numpy((a - m) / s) for a in (X_tr, X_va, X_te)]
    y_tr, y_va, y_te = [torch.from_numpy((a - ym) / ys) for a in (y_tr, y_va, y_te)]

    net = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 24), nn.GELU(), nn.Linear(24, 1))
    opt = torch.optim.SGD(net.parameters(), lr=0.02)
    best, best_val = None, float("inf")
    hist = {"train": [], "val": []}

    def epoch_pass():
        idx = np.random.permutation(600)
        total = 0.0
        for k in range(0, 600, 30):
            b = idx[k : k + 30]
            opt.zero_grad()
            loss = F.smooth_l1_loss(net(X_tr[b]).squeeze(1), y_tr[b])
            loss.backward()
            opt.step()
            total += loss.item() * len(b)
        with torch.no_grad():
            v = F.smooth_l1_loss(net(X_va).squeeze(1), y_va).item()
        hist["train"].append(total / 600)
        hist["val"].append(v)
        return v

    for ep in range(6):
        v = epoch_pass()
        if v < best_val:
            best_val, best = v, copy.deepcopy(net)

    # go on from the best one with other settings
    net = copy.deepcopy(best)
    if mistake:
        for group in opt.param_groups:
            group["lr"] = 0.01
            group["momentum"] = 0.9
    else:
        opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for ep in range(9):
        v = epoch_pass()
        if v < best_val:
            best_val, best = v, copy.deepcopy(net)

    with torch.no_grad():
        err = (best(X_te).squeeze(1) - y_te).abs().mean().item() * float(ys) * 12
    print(f"val {best_val:.4f}, test error {err:.2f} semitones")
    return hist["train"], best_val, err


# ------------------------------------------------------------------ gratings
def gratings(n, size, rng):
    yy, xx = np.mgrid[:size, :size] / size
    lab = rng.integers(0, 6, n)
    ang = lab * np.pi / 6 + rng.normal(0, 0.08, n)
    freq = rng.uniform(2.0, 4.0, n)
    ph = rng.uniform(0, 2 * np.pi, n)
    img = np.stack(
        [np.cos(2 * np.pi * f * (xx * np.cos(a) + yy * np.sin(a)) + p) for a, f, p in zip(ang, freq, ph)]
    )
    img = img + 0.7 * rng.standard_normal(img.shape)
    return torch.from_numpy(img.astype("float32"))[:, None], torch.from_numpy(lab)


def grating_angles(mistake):
    rng = np.random.default_rng(8)
    torch.manual_seed(8)
    images, targets = gratings(640, 14, rng)
    test_images, test_targets = gratings(200, 14, rng)

    model = nn.Sequential(
        nn.Conv2d(1, 12, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 20, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(20 * 9, 6),
    )
    base_lr, epochs, batch = 0.03, 12, 40
    steps = epochs * (640 // batch)
    warmup = 10
    optimizer = torch.optim.SGD(model.parameters(), lr=base_lr, momentum=0.9, nesterov=True)

    def lr_at(i):
        if i < warmup:
            return base_lr * (i + 1) / warmup
        return base_lr * 0.5 * (1 + math.cos(math.pi * (i - warmup) / (steps - warmup)))

    losses, step = [], 0
    for epoch in range(epochs):
        perm = torch.randperm(640)
        epoch_loss = 0.0
        for chunk in perm.chunk(640 // batch):
            lr = lr_at(step)
            if mistake:
                optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True)
            else:
                for pg in optimizer.param_groups:
                    pg["lr"] = lr
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images[chunk]), targets[chunk], label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(chunk)
            step += 1
        losses.append(epoch_loss / 640)
    with torch.no_grad():
        acc = (model(test_images).argmax(dim=1) == test_targets).float().mean().item()
    print(f"loss {losses[-1]:.3f} acc {acc:.3f}")
    return losses, acc


# ------------------------------------------------------------------ machine sounds
class MachineSounds(Dataset):
    """Hum with or without one of three defects, as log spectrogram."""

    def __init__(self, n, seed, stats=None):
        rng = np.random.default_rng(seed)
        t = np.arange(320) / 1000.0
        self.y = rng.integers(0, 4, n)
        waves = []
        for c in self.y:
            f = rng.uniform(45, 60)
            s = np.sin(2 * np.pi * f * t) + 0.3 * np.sin(4 * np.pi * f * t + rng.uniform(0, 6))
            if c == 1:  # rattle
                s[rng.integers(0, 40) :: 40] += 2.0
            elif c == 2:  # whine
                s += 0.35 * np.sin(2 * np.pi * rng.uniform(280, 340) * t)
            elif c == 3:  # wobble
                s *= 1 + 0.5 * np.sin(2 * np.pi * 9 * t + rng.uniform(0, 6))
            waves.append(s * rng.uniform(0.5, 1.5) + 0.35 * rng.standard_normal(320))
        w = torch.from_numpy(np.stack(waves).astype("float32"))
        sp = torch.stft(w, 64, 16, window=torch.hann_window(64), return_complex=True).abs().log1p()
        self.stats = stats or (sp.mean(), sp.std())
        self.x = ((sp - self.stats[0]) / self.stats[1])[:, None]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


def evaluate(model, loader):
    model.eval()
    good = n = 0
    loss = 0.0
    with torch.no_grad():
        for x, y in loader:
            out = model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            good += (out.argmax(1) == y).sum().item()
            n += len(y)
    return loss / n, good / n


def fit(model, train_loader, val_loader, epochs, eval_every, mistake):
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, epochs)
    log = {"train": [], "val": []}
    it = 0
    for epoch in range(epochs):
        model.train()
        s = k = 0
        for x, y in train_loader:
            opt.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            s, k = s + loss.item() * len(y), k + len(y)
            it += 1
            if it % eval_every == 0:
                log["val"].append((it, *evaluate(model, val_loader)))
                if not mistake:
                    model.train()
        sched.step()
        log["train"].append(s / k)
    return log


def machine_sounds(mistake):
    torch.manual_seed(9)
    train_set = MachineSounds(480, seed=1)
    val_set = MachineSounds(160, seed=2, stats=train_set.stats)
    test_set = MachineSounds(160, seed=3, stats=train_set.stats)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Dropout2d(0.2),
        nn.AdaptiveAvgPool2d((4, 2)),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(192, 4),
    )
    log = fit(
        model,
        DataLoader(train_set, batch_size=24, shuffle=True),
        DataLoader(val_set, batch_size=80),
        epochs=12,
        eval_every=5,
        mistake=mistake,
    )
    loss, acc = evaluate(model, DataLoader(test_set, batch_size=80))
    print(f"train {log['train'][-1]:.3f} test {loss:.3f} acc {acc:.3f}")
    return log["train"], loss, acc


FAULTS = [
    (
        instrument_wrapper,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "zeroed once",
            "gradients of earlier",
            "earlier batches",
            "previous batches",
            "gradients accumulate",
            "accumulated gradient",
            "stale gradient",
        ),
        "1 zero_grad missing",
    ),
    (
        digit_and_rotation,
        (
            "between backward and step",
            "zeroed before the step",
            "zeroed between",
            "zero_grad",
            "gradient is thrown away",
            "gradients were cleared",
            "discarded",
            "wiped",
            "erased",
        ),
        "2 zero_grad between backward and step",
    ),
    (
        denoise_waves,
        (
            "zero_grad",
            "not zeroed",
            "never zeroed",
            "decoder's gradients",
            "second optimizer",
            "one of the optimizers",
            "gradients accumulate",
            "gradients of earlier",
            "accumulated gradient",
        ),
        "3 zero_grad on only one of several optimizers",
    ),
    (
        thaw_body,
        (
            "never stepped",
            "step is missing",
            "missing step",
            "no step",
            "never steps",
            "not stepped",
            "body never",
            "never updated",
            "not updated",
            "body_opt",
            "step() is never",
            "do not move",
            "never move",
            "never called",
        ),
        "4 step missing",
    ),
    (
        sweep_keywords,
        (
            "two steps",
            "twice",
            "stepped again",
            "second step",
            "steps per backward",
            "step without a new backward",
            "same gradient",
            "2 steps",
            "step without backward",
        ),
        "5 two steps per backward",
    ),
    (
        digit_vae,
        (
            "wrong loss",
            "only the reconstruction",
            "only the bce",
            "only bce",
            "bce alone",
            "kl term",
            "kl is never",
            "without the kl",
            "not the loss that is",
            "different loss",
            "another loss",
            "part of the loss",
            "backward of",
            "does not enter",
            "not backpropagated",
            "other tensor",
        ),
        "6 backward on the wrong loss",
    ),
    (
        pitch_with_rollback,
        (
            "stale",
            "old parameters",
            "other parameters",
            "parameters of the old",
            "not the model's parameters",
            "not in the optimizer",
            "not in any optimizer",
            "deepcopy",
            "copied",
            "replaced",
            "re-created",
            "recreated",
            "does not hold",
            "no longer",
        ),
        "7 optimizer stale after parameters were re-created or moved",
    ),
    (
        grating_angles,
        (
            "re-created",
            "recreated",
            "created anew",
            "new optimizer",
            "created at each",
            "created in each",
            "every step creates",
            "built anew",
            "rebuilt",
            "fresh optimizer",
            "momentum is lost",
            "loses its momentum",
            "optimizer state",
            "constructed",
        ),
        "8 optimizer or model re-created each step/epoch",
    ),
    (
        machine_sounds,
        (
            "eval mode",
            "stuck in eval",
            "evaluation mode",
            "model.train()",
            "train() is not",
            "not set back",
            "back to train",
            "train mode",
            "eval()",
        ),
        "9 stuck in eval after validation",
    ),
]
