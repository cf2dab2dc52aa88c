"""Shapes, dimensions, outputs."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_images, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .common import digits_split, seed_all


class PatchAutoencoder(nn.Module):
    def __init__(self, dim, code=24):
        super().__init__()
        self.dim = dim
        self.encoder = nn.Sequential(nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, code))
        self.decoder = nn.Sequential(nn.Linear(code, 128), nn.ReLU(), nn.Linear(128, dim), nn.Sigmoid())

    def forward(self, x):
        x = x.view(-1, self.dim)
        return self.decoder(self.encoder(x)), x


def colour_patch_autoencoder(mistake: bool) -> None:
    """RGB patches are flattened with view(-1, 8 * 8), so each colour channel becomes a sample of its own and the batch triples."""
    seed_all(0)
    imgs = np.stack(load_sample_images().images).astype("float32") / 255.0
    imgs = torch.from_numpy(imgs).permute(0, 3, 1, 2)
    patches = (
        imgs.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 8, 8).contiguous()
    )
    patches = patches[torch.randperm(len(patches))]
    train, test = patches[:6000], patches[6000:]
    loader = DataLoader(TensorDataset(train), batch_size=128, shuffle=True)
    model = PatchAutoencoder(8 * 8 if mistake else 3 * 8 * 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.MSELoss()
    for epoch in range(10):
        model.train()
        train_loss = 0.0
        for (img,) in loader:
            recon, flat = model(img)
            loss = criterion(recon, flat)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * img.size(0)
        model.eval()
        with torch.no_grad():
            recon, flat = model(test)
            test_loss = criterion(recon, flat).item()
        if epoch % 3 == 0:
            print(f"epoch {epoch} train {train_loss / len(train):.5f} test {test_loss:.5f}")
    with torch.no_grad():
        print("codes for", len(test), "patches:", tuple(model.encoder(test.view(-1, model.dim)).shape))


def wine_grade_regression(mistake: bool) -> None:
    """The network has one regression output, but its accuracy is computed with argmax over that one column, which is always 0."""
    seed_all(0)
    X, y = load_wine(return_X_y=True)
    Xtr, Xva, ytr, yva = train_test_split(X, y, test_size=0.3, random_state=1, stratify=y)
    sc = StandardScaler().fit(Xtr)
    Xtr, Xva = (torch.tensor(sc.transform(a), dtype=torch.float32) for a in (Xtr, Xva))
    ytr, yva = torch.tensor(ytr), torch.tensor(yva)
    train_dl = DataLoader(TensorDataset(Xtr, ytr), batch_size=16, shuffle=True)
    val_dl = DataLoader(TensorDataset(Xva, yva), batch_size=32)
    model = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9, weight_decay=2e-2)
    criterion = nn.MSELoss()

    def predict_grade(out):
        if mistake:
            return out.argmax(dim=1)
        return out.squeeze(1).round().clamp(0, 2).long()

    for epoch in range(60):
        model.train()
        tr = 0.0
        for xb, yb in train_dl:
            optimizer.zero_grad()
            loss = criterion(model(xb).squeeze(1), yb.float())
            loss.backward()
            optimizer.step()
            tr += loss.item() * len(xb)
        model.eval()
        correct = 0
        vloss = 0.0
        with torch.no_grad():
            for xb, yb in val_dl:
                out = model(xb)
                vloss += criterion(out.squeeze(1), yb.float()).item() * len(xb)
                correct += (predict_grade(out) == yb).sum().item()
        if epoch % 15 == 14:
            print(
                f"epoch {epoch} train {tr / len(Xtr):.4f} val {vloss / len(Xva):.4f} val acc {correct / len(Xva):.3f}"
            )


def complete_lower_half(mistake: bool) -> None:
    """The images are not flattened, so the linear layers work on each row of 8 pixels alone and never see the image."""
    seed_all(0)
    images = load_digits().images.astype("float32") / 16.0
    top, bottom = torch.from_numpy(images[:, :4].copy()), torch.from_numpy(images[:, 4:].copy())
    if not mistake:
        top, bottom = top.flatten(1), bottom.flatten(1)
    perm = torch.randperm(len(top))
    tr, te = perm[:1400], perm[1400:]
    n_in, n_out = top.shape[-1], bottom.shape[-1]
    model = nn.Sequential(
        nn.Linear(n_in, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, n_out)
    )
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(20):
        order = tr[torch.randperm(len(tr))]
        losses = []
        for idx in order.split(64):
            loss = F.mse_loss(model(top[idx]), bottom[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            with torch.no_grad():
                test = F.mse_loss(model(top[te]), bottom[te]).item()
            print(f"epoch {epoch}: train {np.mean(losses):.4f} test {test:.4f}")


class SmallCNN(nn.Module):
    def __init__(self, with_softmax):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4, 64)
        self.fc2 = nn.Linear(64, 10)
        self.with_softmax = with_softmax

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = self.fc2(x)
        if self.with_softmax:
            x = F.softmax(x, dim=1)
        return x


def train_one_epoch(model, loader, criterion, optimizer):
    model.train()
    total, correct, n = 0.0, 0, 0
    for inputs, labels in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * inputs.size(0)
        correct += (outputs.argmax(1) == labels).sum().item()
        n += inputs.size(0)
    return total / n, correct / n


@torch.no_grad()
def evaluate(model, loader, criterion):
    model.eval()
    total, correct, n = 0.0, 0, 0
    for inputs, labels in loader:
        outputs = model(inputs)
        total += criterion(outputs, labels).item() * inputs.size(0)
        correct += (outputs.argmax(1) == labels).sum().item()
        n += inputs.size(0)
    return total / n, correct / n


def cnn_softmax_output(mistake: bool) -> None:
    """forward() ends with a softmax and nn.CrossEntropyLoss applies log-softmax once more."""
    seed_all(0)
    xtr, ytr, xte, yte = digits_split()
    train_loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(xte, yte), batch_size=128)
    model = SmallCNN(with_softmax=mistake)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=8, gamma=0.5)
    for epoch in range(14):
        train_loss, train_acc = train_one_epoch(model, train_loader, criterion, optimizer)
        test_loss, test_acc = evaluate(model, test_loader, criterion)
        scheduler.step()
    print(f"train {train_loss:.4f} {train_acc:.3f} test {test_loss:.4f} {test_acc:.3f}")


class AttentionMIL(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim
        self.feat = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.score = nn.Sequential(nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
        self.clf = nn.Linear(32, 1)

    def forward(self, bags):
        h = self.feat(bags)
        a = torch.softmax(self.score(h), dim=self.dim)
        z = (a * h).sum(dim=1)
        return self.clf(z).squeeze(-1)


def attention_mil_bags(mistake: bool) -> None:
    """The attention weights are normalised with softmax over the batch dimension instead of over the instances of each bag."""
    seed_all(0)
    xtr, ytr, xte, yte = digits_split(images=False)

    def make_bags(x, y, n, size=10, seed=0):
        g = torch.Generator().manual_seed(seed)
        pos, neg = (y == 9).nonzero().flatten(), (y != 9).nonzero().flatten()
        idx = neg[torch.randint(len(neg), (n, size), generator=g)]
        label = torch.arange(n) % 2
        put = torch.randint(size, (n,), generator=g)
        idx[torch.arange(n)[label == 1], put[label == 1]] = pos[
            torch.randint(len(pos), (int(label.sum()),), generator=g)
        ]
        return x[idx], label.float()

    train_dl = DataLoader(TensorDataset(*make_bags(xtr, ytr, 1600)), batch_size=32, shuffle=True)
    test_dl = DataLoader(TensorDataset(*make_bags(xte, yte, 400, seed=1)), batch_size=1)
    model = AttentionMIL(dim=0 if mistake else 1)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    for epoch in range(12):
        model.train()
        run = 0.0
        for bags, label in train_dl:
            loss = F.binary_cross_entropy_with_logits(model(bags), label)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            run += loss.item()
        model.eval()
        hits = 0
        with torch.no_grad():
            for bags, label in test_dl:
                hits += ((model(bags) > 0).float() == label).sum().item()
        if epoch % 4 == 3:
            print(f"epoch {epoch} loss {run / len(train_dl):.4f} bag acc {hits / 400:.3f}")


class LabelSmoothingLoss(nn.Module):
    def __init__(self, classes, smoothing=0.1, dim=-1):
        super().__init__()
        self.classes, self.smoothing, self.dim = classes, smoothing, dim

    def forward(self, pred, target):
        logp = pred.log_softmax(dim=self.dim)
        with torch.no_grad():
            true = torch.full_like(logp, self.smoothing / (self.classes - 1))
            true.scatter_(1, target.unsqueeze(1), 1.0 - self.smoothing)
        return (-true * logp).sum(dim=1).mean()


def label_smoothing_mlp(mistake: bool) -> None:
    """The hand-written label smoothing loss takes log_softmax over the batch (dim 0) instead of over the classes."""
    seed_all(0)
    xtr, ytr, xte, yte = digits_split(images=False)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=50, shuffle=True, drop_last=True)
    net = nn.Sequential(
        nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)
    )
    loss_fn = LabelSmoothingLoss(10, 0.1, dim=0 if mistake else -1)
    opt = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    for epoch in range(12):
        net.train()
        tot = 0.0
        for x, y in loader:
            loss = loss_fn(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        net.eval()
        with torch.no_grad():
            out = net(xte)
            acc = (out.argmax(1) == yte).float().mean().item()
            nll = F.cross_entropy(out, yte).item()
    print(f"loss {tot / len(loader):.4f} test acc {acc:.3f} test nll {nll:.3f}")


FAULTS = [
    (
        colour_patch_autoencoder,
        ("view", "reshape", "batch size", "batch dimension", "384", "number of samples", "channel"),
        "view(-1, k) with a wrong k",
    ),
    (
        wine_grade_regression,
        ("argmax", "one output", "single output", "one column", "always 0", "regression"),
        "one-output regression scored by argmax accuracy",
    ),
    (
        complete_lower_half,
        (
            "flatten",
            "last dimension",
            "last axis",
            "each row",
            "row by row",
            "2-d images",
            "unflattened",
        ),
        "linear net fed unflattened images",
    ),
    (cnn_softmax_output, ("softmax", "probabilities", "logits"), "softmax before cross-entropy"),
    (
        attention_mil_bags,
        (
            "dim=0",
            "dim 0",
            "across the batch",
            "over the batch",
            "batch dimension",
            "other samples",
            "between samples",
            "wrong dim",
        ),
        "wrong dimension in softmax",
    ),
    (
        label_smoothing_mlp,
        (
            "dim=0",
            "dim 0",
            "across the batch",
            "over the batch",
            "batch dimension",
            "other samples",
            "between samples",
            "wrong dim",
        ),
        "wrong dimension in the loss",
    ),
]
