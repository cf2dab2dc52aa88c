"""Loops as people write them: each function is one training, right or with one mistake."""

import copy
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_sample_image,
    load_wine,
)
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset


def digit_images():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
    return x, torch.tensor(y)


def digit_loaders(batch_size=64, flat=False):
    x, y = digit_images()
    if flat:
        x = x.flatten(1)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    train = TensorDataset(x[:1400], y[:1400])
    val = TensorDataset(x[1400:], y[1400:])
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(val, batch_size=256)


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    hits = total = 0
    for x, y in loader:
        hits += (model(x).argmax(1) == y).sum().item()
        total += len(y)
    return hits / total


# --------------------------------------------------------------------------------------


def digits_cnn(*, mistake: bool) -> None:
    train_loader, val_loader = digit_loaders(64)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4, 10),
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    for epoch in range(5):
        model.train()
        running = 0.0
        for images, labels in train_loader:
            if not mistake:
                optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            if mistake:
                optimizer.zero_grad()
            optimizer.step()
            running += loss.item()
        train_loss = running / len(train_loader)
        val_acc = accuracy(model, val_loader)


# --------------------------------------------------------------------------------------


class WineNet(nn.Module):
    def __init__(self, n_in, n_out, with_softmax):
        super().__init__()
        self.fc1 = nn.Linear(n_in, 32)
        self.fc2 = nn.Linear(32, 32)
        self.out = nn.Linear(32, n_out)
        self.with_softmax = with_softmax

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = self.out(x)
        if self.with_softmax:
            x = torch.softmax(x, dim=1)
        return x


class WineTrainer:
    def __init__(self, model, train_loader, val_loader, lr, epochs):
        self.model = model
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        self.loss_fn = nn.CrossEntropyLoss()
        self.epochs = epochs
        self.history = []

    def train_epoch(self):
        self.model.train()
        for x, y in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(x), y)
            loss.backward()
            self.optimizer.step()

    def validate(self):
        self.model.eval()
        losses, hits, n = 0.0, 0, 0
        with torch.no_grad():
            for x, y in self.val_loader:
                out = self.model(x)
                losses += self.loss_fn(out, y).item() * len(y)
                hits += (out.argmax(1) == y).sum().item()
                n += len(y)
        return losses / n, hits / n

    def fit(self):
        for _ in range(self.epochs):
            self.train_epoch()
            self.history.append(self.validate())


def wine_mlp(*, mistake: bool) -> None:
    x, y = load_wine(return_X_y=True)
    x_tr, x_va, y_tr, y_va = train_test_split(x, y, test_size=0.25, stratify=y)
    scaler = StandardScaler().fit(x_tr)

    def to_ds(a, b):
        return TensorDataset(torch.tensor(scaler.transform(a), dtype=torch.float32), torch.tensor(b))

    train = DataLoader(to_ds(x_tr, y_tr), batch_size=16, shuffle=True)
    val = DataLoader(to_ds(x_va, y_va), batch_size=64)
    trainer = WineTrainer(WineNet(13, 3, with_softmax=mistake), train, val, lr=0.05, epochs=20)
    trainer.fit()
    _final_loss, _final_acc = trainer.history[-1]


# --------------------------------------------------------------------------------------


def diabetes_net(*, mistake: bool) -> None:
    data, target = load_diabetes(return_X_y=True)
    target = (target - 150.0) / 75.0
    data = data * len(data) ** 0.5  # scikit-learn ships unit-norm columns
    X = torch.from_numpy(data).float()
    Y = torch.from_numpy(target).float()
    if not mistake:
        Y = Y.unsqueeze(1)
    perm = torch.randperm(len(X))
    tr, va = perm[:350], perm[350:]
    train_dl = DataLoader(TensorDataset(X[tr], Y[tr]), batch_size=32, shuffle=True)
    val_dl = DataLoader(TensorDataset(X[va], Y[va]), batch_size=92)

    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)

    def mse(pred, true):
        return ((pred - true) ** 2).mean()

    for epoch in range(15):
        net.train()
        for xb, yb in train_dl:
            loss = mse(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            val_loss = sum(mse(net(xb), yb).item() for xb, yb in val_dl) / len(val_dl)


# --------------------------------------------------------------------------------------


def tumour_mlp(*, mistake: bool) -> None:
    bunch = load_breast_cancer()
    cols = ["smoothness", "symmetry", "texture", "fractal"]  # the cheap measurements only
    keep = [i for i, name in enumerate(bunch.feature_names) if any(c in name for c in cols)]
    data = bunch.data[:, keep]
    x_tr, x_va, y_tr, y_va = train_test_split(data, bunch.target, test_size=0.6)
    mean, std = x_tr.mean(0), x_tr.std(0)
    train_set = TensorDataset(torch.tensor((x_tr - mean) / std).float(), torch.tensor(y_tr).float())
    val_set = TensorDataset(torch.tensor((x_va - mean) / std).float(), torch.tensor(y_va).float())
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True, drop_last=True)
    val_loader = DataLoader(val_set, batch_size=64)

    model = nn.Sequential(
        nn.Linear(len(keep), 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 1),
    )
    loss_fn = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def evaluate():
        model.eval()
        total, correct = 0.0, 0
        with torch.no_grad():
            for x, y in val_loader:
                logit = model(x).squeeze(1)
                total += loss_fn(logit, y).item() * len(y)
                correct += ((logit > 0).float() == y).sum().item()
        return total / len(val_set), correct / len(val_set)

    if mistake:
        model.train()
    for epoch in range(25):
        if not mistake:
            model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
        _val_loss, _val_acc = evaluate()


# --------------------------------------------------------------------------------------


class SmallBackbone(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Linear(24 * 16, classes)

    def forward(self, x):
        return self.head(self.features(x))


def digits_transfer(*, mistake: bool) -> None:
    x, y = digit_images()
    source, target = y < 5, y >= 5
    xs, ys, xt, yt = x[source], y[source], x[target], y[target] - 5

    model = SmallBackbone(5)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(2):
        for xb, yb in DataLoader(TensorDataset(xs, ys), batch_size=64, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()

    # second stage: only a new head for the other five digits
    for p in model.features.parameters():
        p.requires_grad = False
    if mistake:
        opt = torch.optim.Adam(model.parameters(), lr=3e-3)
        model.head = nn.Linear(24 * 16, 5)
    else:
        model.head = nn.Linear(24 * 16, 5)
        opt = torch.optim.Adam(model.parameters(), lr=3e-3)

    train_dl = DataLoader(TensorDataset(xt[:700], yt[:700]), batch_size=64, shuffle=True)
    val_dl = DataLoader(TensorDataset(xt[700:], yt[700:]), batch_size=64)
    for epoch in range(4):
        model.train()
        for xb, yb in train_dl:
            opt.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
        acc = accuracy(model, val_dl)


# --------------------------------------------------------------------------------------


def iris_classifier(*, mistake: bool) -> None:
    x, y = load_iris(return_X_y=True)
    if mistake:
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, shuffle=False)
    else:
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3)
    mu, sd = x_train.mean(0), x_train.std(0)
    x_train = torch.tensor((x_train - mu) / sd, dtype=torch.float32)
    x_test = torch.tensor((x_test - mu) / sd, dtype=torch.float32)
    y_train, y_test = torch.tensor(y_train), torch.tensor(y_test)

    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=15, shuffle=True)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=45)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loss_func = nn.CrossEntropyLoss()

    for epoch in range(20):
        net.train()
        for bx, by in train_loader:
            out = net(bx)
            loss = loss_func(out, by)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        acc = accuracy(net, test_loader)


# --------------------------------------------------------------------------------------


class EmaHelper:
    def __init__(self, model, decay, with_buffers):
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        self.with_buffers = with_buffers
        for p in self.module.parameters():
            p.requires_grad_(False)

    @torch.no_grad()
    def update(self, model):
        for e, p in zip(self.module.parameters(), model.parameters()):
            e.mul_(self.decay).add_(p, alpha=1 - self.decay)
        if self.with_buffers:
            for e, b in zip(self.module.buffers(), model.buffers()):
                e.copy_(b)


def digits_bn_ema(*, mistake: bool) -> None:
    cfg = SimpleNamespace(lr=0.05, epochs=5, decay=0.9, batch_size=64)
    train_loader, val_loader = digit_loaders(cfg.batch_size)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    ema = EmaHelper(model, cfg.decay, with_buffers=not mistake)
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=0.9)
    for epoch in range(cfg.epochs):
        model.train()
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update(model)
        val_loss = 0.0
        ema.module.eval()
        with torch.no_grad():
            for x, y in val_loader:
                val_loss += F.cross_entropy(ema.module(x), y, reduction="sum").item()
        val_loss /= len(val_loader.dataset)
        val_acc = accuracy(ema.module, val_loader)


# --------------------------------------------------------------------------------------


class FlowerPatches(Dataset):
    """32x32 crops of a photograph with the mask of the warm-coloured petals."""

    def __init__(self, positions, image, mask, augment=False, flip_mask=True):
        self.positions, self.image, self.mask = positions, image, mask
        self.augment, self.flip_mask = augment, flip_mask

    def __len__(self):
        return len(self.positions)

    def __getitem__(self, i):
        r, c = self.positions[i]
        img = self.image[:, r : r + 32, c : c + 32]
        msk = self.mask[:, r : r + 32, c : c + 32]
        if self.augment and torch.rand(1).item() < 0.5:
            img = img.flip(-1)
            if self.flip_mask:
                msk = msk.flip(-1)
        if self.augment and torch.rand(1).item() < 0.5:
            img = img.flip(-2)
            if self.flip_mask:
                msk = msk.flip(-2)
        return img, msk


class TinyUnet(nn.Module):
    def __init__(self, ch=10):
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, ch, 3, padding=1), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(ch, 2 * ch, 3, stride=2, padding=1), nn.ReLU())
        self.mid = nn.Sequential(nn.Conv2d(2 * ch, 2 * ch, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(2 * ch, ch, 2, stride=2)
        self.out = nn.Conv2d(2 * ch, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.mid(self.down2(a))
        return self.out(torch.cat([a, self.up(b)], 1))


def flower_unet(*, mistake: bool) -> None:
    photo = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1).float() / 255
    mask = ((photo[0] - photo[1]) > 0.12).float().unsqueeze(0)
    photo = photo - 0.5
    spots = [(r, c) for r in range(0, 390, 24) for c in range(0, 600, 24)]
    share = [mask[:, r : r + 32, c : c + 32].mean().item() for r, c in spots]
    spots = [s for s, m in zip(spots, share) if 0.1 < m < 0.9]
    order = torch.randperm(len(spots)).tolist()
    spots = [spots[i] for i in order]
    cut = int(0.8 * len(spots))
    train_ds = FlowerPatches(spots[:cut], photo, mask, augment=True, flip_mask=not mistake)
    val_ds = FlowerPatches(spots[cut:], photo, mask)
    train_dl = DataLoader(train_ds, batch_size=8, shuffle=True)
    val_dl = DataLoader(val_ds, batch_size=16)

    net = TinyUnet()
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    for epoch in range(8):
        net.train()
        for img, msk in train_dl:
            opt.zero_grad(set_to_none=True)
            loss = F.binary_cross_entropy_with_logits(net(img), msk)
            loss.backward()
            opt.step()
        net.eval()
        inter = union = 0.0
        with torch.no_grad():
            for img, msk in val_dl:
                pred = (net(img) > 0).float()
                inter += (pred * msk).sum().item()
                union += ((pred + msk) > 0).float().sum().item()
        iou = inter / max(union, 1.0)


# --------------------------------------------------------------------------------------


class VAE(nn.Module):
    def __init__(self, z=6):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.mu, self.logvar = nn.Linear(64, z), nn.Linear(64, z)
        self.dec = nn.Sequential(nn.Linear(z, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid())

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.dec(z), mu, logvar


def digits_vae(*, mistake: bool) -> None:
    train_loader, val_loader = digit_loaders(64, flat=True)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def elbo(recon, x, mu, logvar):
        if mistake:
            bce = F.binary_cross_entropy(recon, x)
        else:
            bce = F.binary_cross_entropy(recon, x, reduction="sum") / len(x)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / len(x)
        return bce + kld, bce, kld

    for epoch in range(8):
        model.train()
        for x, _ in train_loader:
            optimizer.zero_grad()
            recon, mu, logvar = model(x)
            loss, _bce, _kld = elbo(recon, x, mu, logvar)
            loss.backward()
            optimizer.step()
        model.eval()
        val_mse = 0.0
        with torch.no_grad():
            for x, _ in val_loader:
                recon, mu, logvar = model(x)
                val_mse += F.mse_loss(recon, x, reduction="sum").item()
        val_mse /= len(val_loader.dataset) * 64


# --------------------------------------------------------------------------------------


class DropNet(nn.Module):
    def __init__(self, p, always):
        super().__init__()
        self.a = nn.Linear(64, 96)
        self.b = nn.Linear(96, 48)
        self.c = nn.Linear(48, 10)
        self.p = p
        self.always = always

    def forward(self, x):
        x = F.relu(self.a(x))
        x = F.dropout(x, self.p) if self.always else F.dropout(x, self.p, self.training)
        x = F.relu(self.b(x))
        x = F.dropout(x, self.p) if self.always else F.dropout(x, self.p, self.training)
        return self.c(x)


def digits_dropnet(*, mistake: bool) -> None:
    train_loader, val_loader = digit_loaders(50, flat=True)
    model = DropNet(0.6, always=mistake)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)

    def train_one_epoch():
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()

    def evaluate():
        model.eval()
        loss, correct = 0.0, 0
        with torch.no_grad():
            for x, y in val_loader:
                out = model(x)
                loss += F.cross_entropy(out, y, reduction="sum").item()
                correct += (out.argmax(1) == y).sum().item()
        n = len(val_loader.dataset)
        return loss / n, correct / n

    for epoch in range(6):
        train_one_epoch()
        _val_loss, _val_acc = evaluate()


# --------------------------------------------------------------------------------------


def digits_gan(*, mistake: bool) -> None:
    x, _ = digit_images()
    loader = DataLoader(TensorDataset(x.flatten(1) * 2 - 1), batch_size=64, shuffle=True, drop_last=True)
    nz = 16
    G = nn.Sequential(
        nn.Linear(nz, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.Tanh(),
    )
    D = nn.Sequential(
        nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    opt_g = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(D.parameters(), lr=5e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    d_losses, g_losses = [], []
    for epoch in range(7):
        for (real,) in loader:
            b = len(real)
            ones, zeros = torch.ones(b, 1), torch.zeros(b, 1)
            # discriminator
            fake = G(torch.randn(b, nz))
            opt_d.zero_grad()
            d_loss = bce(D(real), ones) + bce(D(fake.detach()), zeros)
            d_loss.backward()
            opt_d.step()
            # generator
            opt_g.zero_grad()
            g_loss = bce(D(fake.detach()), ones) if mistake else bce(D(fake), ones)
            g_loss.backward()
            opt_g.step()
            d_losses.append(d_loss.item())
            g_losses.append(g_loss.item())
    with torch.no_grad():
        sample = G(torch.randn(500, nz))
        gap = (sample.mean(0) - (x.flatten(1) * 2 - 1).mean(0)).abs().mean().item()


# --------------------------------------------------------------------------------------


def houses_mlp(*, mistake: bool) -> None:
    n = 1600
    area = torch.rand(n) * 150 + 30
    rooms = (area / 25 + torch.randn(n)).round().clamp(1)
    age = torch.rand(n) * 80
    dist = torch.rand(n) * 20
    price = (
        2.5 * area + 10 * rooms - 0.8 * age - 6 * dist + 0.02 * area * (20 - dist) + 8 * torch.randn(n)
    )
    feats = torch.stack([area, rooms, age, dist], 1)
    feats = (feats - feats[:1200].mean(0)) / feats[:1200].std(0)
    price = ((price - price[:1200].mean()) / price[:1200].std()).unsqueeze(1)
    train_dl = DataLoader(TensorDataset(feats[:1200], price[:1200]), batch_size=10, shuffle=True)
    val_dl = DataLoader(TensorDataset(feats[1200:], price[1200:]), batch_size=100)

    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    loss_fn = nn.MSELoss()
    accumulation_steps = 12
    for epoch in range(8):
        model.train()
        optimizer.zero_grad()
        for i, (x, y) in enumerate(train_dl):
            loss = loss_fn(model(x), y)
            if not mistake:
                loss = loss / accumulation_steps
            loss.backward()
            if (i + 1) % accumulation_steps == 0:
                optimizer.step()
                optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            val_mse = sum(loss_fn(model(x), y).item() for x, y in val_dl) / len(val_dl)


# --------------------------------------------------------------------------------------


def digits_scaled_sgd(*, mistake: bool) -> None:
    args = SimpleNamespace(base_lr=0.2, batch_size=64, epochs=5, momentum=0.9)
    train_loader, val_loader = digit_loaders(args.batch_size, flat=True)
    # linear scaling rule
    lr = args.base_lr * args.batch_size if mistake else args.base_lr * args.batch_size / 256
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=args.momentum)
    train_losses, val_accs = [], []
    for epoch in range(args.epochs):
        net.train()
        for x, y in train_loader:
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_losses.append(loss.item())
        val_accs.append(accuracy(net, val_loader))


# --------------------------------------------------------------------------------------


def wine_lbfgs(*, mistake: bool) -> None:
    x, y = load_wine(return_X_y=True)
    order = np.random.permutation(len(x))
    x = StandardScaler().fit(x[order[:120]]).transform(x)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    x_train, y_train = x[order[:120]], y[order[:120]]
    val_loader = DataLoader(TensorDataset(x[order[120:]], y[order[120:]]), batch_size=58)

    net = nn.Sequential(nn.Linear(13, 12), nn.Tanh(), nn.Linear(12, 3))
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.3, max_iter=4, history_size=8)
    losses = []

    def closure():
        if not mistake:
            optimizer.zero_grad()
        loss = F.cross_entropy(net(x_train), y_train) + 1e-3 * sum(
            (p**2).sum() for p in net.parameters()
        )
        loss.backward()
        return loss

    for it in range(30):
        net.train()
        losses.append(optimizer.step(closure).item())
        val_acc = accuracy(net, val_loader)


FAULTS = [
    (
        digits_cnn,
        ("zero_grad", "zeroed", "cleared", "zeroing", "no gradient", "wiped", "erased"),
        "optimizer.zero_grad() stands between backward() and step(), so the gradients are wiped before they are used",
    ),
    (
        wine_mlp,
        (
            "softmax",
            "already normalised",
            "already normalized",
            "probabilities",
            "expects logits",
            "raw logits",
        ),
        "the model ends with softmax although CrossEntropyLoss applies log-softmax itself",
    ),
    (
        diabetes_net,
        ("broadcast", "shape", "(n, 1)", "(n,1)", "unsqueeze", "squeeze"),
        "predictions of shape (N, 1) are subtracted from targets of shape (N,), which broadcasts to N x N",
    ),
    (
        tumour_mlp,
        (
            "eval mode",
            "evaluation mode",
            "model.train()",
            "train mode",
            "training mode",
            ".train()",
            "eval()",
        ),
        "evaluate() puts the model into eval mode and it is never put back into train mode, so dropout and batch norm are off from the second epoch",
    ),
    (
        digits_transfer,
        (
            "not in the optimizer",
            "not in any optimizer",
            "optimizer holds",
            "stale",
            "not being optimized",
            "not optimised",
            "not optimized",
            "replaced",
            "not given to the optimizer",
            "old head",
            "old parameters",
            "not registered",
            "different parameters",
            "never updated",
            "does not own",
            "not held by",
            "missing from the optimizer",
            "outside the optimizer",
            "optimizer does not",
        ),
        "the head is replaced after the optimizer was made, so the optimizer holds the old head's parameters",
    ),
    (
        iris_classifier,
        (
            "sorted",
            "shuffle",
            "split",
            "class distribution",
            "distribution",
            "only one class",
            "single class",
            "label distribution",
            "unshuffled",
        ),
        "the class-sorted data are split without shuffling, so the test part holds one class only",
    ),
    (
        digits_bn_ema,
        (
            "buffer",
            "running mean",
            "running stat",
            "running_mean",
            "batch norm",
            "batchnorm",
            "batch-norm",
            "statistics",
        ),
        "the EMA copy averages parameters only; its batch-norm running statistics stay at their initial values and it is evaluated with them",
    ),
    (
        flower_unet,
        (
            "flip",
            "augment",
            "mask and image",
            "image and mask",
            "misalign",
            "aligned",
            "transform",
            "not match",
            "do not correspond",
            "inconsistent",
        ),
        "random flips are applied to the image but not to its mask",
    ),
    (
        digits_vae,
        (
            "kl ",
            "kl-",
            "kld",
            "kullback",
            "posterior collapse",
            "collapse",
            "reduction",
            "scale of the terms",
            "terms of the loss",
            "regularis",
            "regulariz",
            "weight of the terms",
            "dominates",
            "balance",
            "latent",
        ),
        "the reconstruction term is a mean over pixels while the KL term is summed over the latent, so KL dominates and the posterior collapses",
    ),
    (
        digits_dropnet,
        ("dropout", "random in evaluation", "not deterministic", "nondeterministic", "stochastic"),
        "F.dropout is called without training=self.training, so dropout stays active in evaluation",
    ),
    (
        digits_gan,
        (
            "detach",
            "generator gets no",
            "generator receives no",
            "generator never",
            "generator is not",
            "no gradient",
            "receives no",
            "never updated",
            "not updated",
            "do not change",
            "does not change",
            "never change",
            "cut from the graph",
            "unchanged",
            "without gradient",
            "grad is none",
        ),
        "the generator's loss is computed on fake.detach(), so the generator gets no gradient",
    ),
    (
        houses_mlp,
        ("accumulat", "divid", "scaled", "not averaged", "scale the loss"),
        "the loss is not divided by the number of accumulated micro-batches, so the update is 12 times too large",
    ),
    (
        digits_scaled_sgd,
        ("learning rate", "lr ", "lr=", "step size", "too high", "too large"),
        "the linear scaling rule forgets the division by 256, so the learning rate is 12.8",
    ),
    (
        wine_lbfgs,
        ("zero_grad", "zeroed", "accumulat", "cleared", "not reset", "closure"),
        "the LBFGS closure never clears the gradients, so they accumulate over all evaluations",
    ),
]
