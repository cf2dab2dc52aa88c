import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from .common import digit_images, digit_split, seed_all


# ---------------------------------------------------------------- transformer over image rows
class RowTransformer(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.proj = nn.Linear(8, dim)
        self.pos = nn.Parameter(torch.randn(8, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=0.1, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2)
        self.fc = nn.Linear(dim, 10)

    def forward(self, x):
        return self.fc(self.enc(self.proj(x.squeeze(1)) + self.pos).mean(1))


def row_transformer_plateau(mistake: bool) -> None:
    """If mistake, ReduceLROnPlateau in its min mode is stepped with the accuracy, and cuts the rate as it rises."""
    seed_all(40)
    xtr, ytr, xte, yte = digit_split(seed=40)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    model = RowTransformer()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.3, patience=2)
    for epoch in range(20):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            out = model(xte)
            val_loss = F.cross_entropy(out, yte).item()
            val_acc = (out.argmax(1) == yte).float().mean().item()
        scheduler.step(val_acc if mistake else val_loss)
        print(
            f"epoch {epoch} train {total / len(loader):.3f} val {val_loss:.3f} acc {val_acc:.3f} "
            f"lr {optimizer.param_groups[0]['lr']:.2e}"
        )


# ---------------------------------------------------------------- LSTM with a GradScaler
class RowLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 48, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(96, 10)

    def forward(self, x):
        h, _ = self.lstm(x.squeeze(1))
        return self.fc(h.mean(1))


def lstm_amp_clip(mistake: bool) -> None:
    """If mistake, the gradients are clipped before they are unscaled, so the steps come out thousands of times too small."""
    seed_all(41)
    xtr, ytr, xte, yte = digit_split(seed=41)
    loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
    model = RowLSTM()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14)
    for epoch in range(10):
        model.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(images), labels)
            scaler.scale(loss).backward()
            if not mistake:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = (model(xte).argmax(1) == yte).float().mean().item()
        print(f"epoch {epoch}: loss {total / len(loader):.3f} acc {acc:.3f}")


# ---------------------------------------------------------------- contrastive learning
class ContrastiveEncoder(nn.Module):
    def __init__(self, feat=512):
        super().__init__()
        self.feat = feat
        self.convs = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.projector = nn.Sequential(nn.Linear(feat, 64), nn.ReLU(), nn.Linear(64, 24))

    def forward(self, x):
        h = self.convs(x)
        h = h.view(-1, self.feat)
        return F.normalize(self.projector(h), dim=1)


def random_view(x):
    dx, dy = torch.randint(-1, 2, (2,)).tolist()
    x = torch.roll(x, (dx, dy), dims=(2, 3))
    keep = (torch.rand_like(x) > 0.2).float()
    return x * keep + 0.1 * torch.randn_like(x)


def info_nce(z1, z2, tau=0.2):
    logits = z1 @ z2.t() / tau
    target = torch.arange(z1.size(0))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def simclr_digits(mistake: bool) -> None:
    """If mistake, view(-1, 128) cuts each image's 512 features into four rows: four embeddings an image."""
    seed_all(42)
    x, y = digit_images()
    model = ContrastiveEncoder(feat=128 if mistake else 512)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(x), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(16):
        losses = []
        for (images,) in loader:
            loss = info_nce(model(random_view(images)), model(random_view(images)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: InfoNCE {np.mean(losses):.3f}")
    with torch.no_grad():
        z = model(x).reshape(len(x), -1)
        sim = z @ z.t()
        sim.fill_diagonal_(-9)
        print(
            f"nearest neighbour has the same digit: {(y[sim.argmax(1)] == y).float().mean().item():.3f}"
        )


# ---------------------------------------------------------------- multi-label strips
def digit_strips(x, y, n, seed):
    g = torch.Generator().manual_seed(seed)
    idx = torch.randint(0, len(x), (n, 3), generator=g)
    strips = torch.cat([x[idx[:, k]] for k in range(3)], dim=3)
    target = torch.zeros(n, 10)
    target.scatter_(1, y[idx], 1.0)
    return strips, target


class StripTagger(nn.Module):
    def __init__(self, final_sigmoid=False):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 4),
            nn.ReLU(),
        )
        self.fc = nn.Linear(64, 10)
        self.final_sigmoid = final_sigmoid

    def forward(self, x):
        h = self.body(x).amax((2, 3))
        out = self.fc(h)
        return torch.sigmoid(out) if self.final_sigmoid else out


def multilabel_strips(mistake: bool) -> None:
    """If mistake, the model's output already went through a sigmoid and BCEWithLogitsLoss applies another."""
    seed_all(43)
    xtr, ytr, xte, yte = digit_split(seed=43)
    x, t = digit_strips(xtr, ytr, 2000, 0)
    xv, tv = digit_strips(xte, yte, 400, 1)
    model = StripTagger(final_sigmoid=mistake)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(10):
        model.train()
        total = 0.0
        for xb, tb in DataLoader(TensorDataset(x, t), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            loss = criterion(model(xb), tb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        model.eval()
        with torch.no_grad():
            out = model(xv)
            pred = (out if mistake else out.sigmoid()) > 0.5
            tp = (pred & (tv > 0)).sum().item()
            f1 = 2 * tp / (pred.sum().item() + tv.sum().item())
        print(f"epoch {epoch} loss {total / len(x):.4f} micro-F1 {f1:.3f}")


# ---------------------------------------------------------------- temporal convolutions
class TCN(nn.Module):
    def __init__(self, channels=24):
        super().__init__()
        layers, c = [], 2
        for d in (1, 2, 4, 8):
            layers += [
                nn.ConstantPad1d((2 * d, 0), 0.0),
                nn.Conv1d(c, channels, 3, dilation=d),
                nn.ReLU(),
            ]
            c = channels
        self.net = nn.Sequential(*layers)
        self.out = nn.Conv1d(channels, 1, 1)

    def forward(self, x):
        return self.out(self.net(x))[:, 0, -1]


def tcn_energy(mistake: bool) -> None:
    """If mistake, the running loss adds up the loss tensors themselves, which keeps every batch's graph in memory."""
    seed_all(44)
    n = 3000
    t = torch.arange(n, dtype=torch.float32)
    temp = torch.sin(2 * torch.pi * t / 48) + 0.3 * torch.randn(n)
    load = torch.zeros(n)
    for i in range(2, n):
        load[i] = 0.6 * load[i - 1] - 0.3 * load[i - 2] + 0.8 * temp[i - 1] ** 2 + 0.1 * torch.randn(())
    load = load - load[:2400].mean()
    data = torch.stack([load, temp])
    win = data.unfold(1, 33, 1).permute(1, 0, 2)
    x, y = win[:, :, :-1], win[:, 0, -1]
    xtr, ytr, xva, yva = x[:2300], y[:2300], x[2400:], y[2400:]
    model = TCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    history = []
    for epoch in range(10):
        model.train()
        epoch_loss = 0
        loader = DataLoader(TensorDataset(xtr, ytr), batch_size=64, shuffle=True)
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(xb), yb)
            loss.backward()
            optimizer.step()
            if mistake:
                epoch_loss += loss
            else:
                epoch_loss += loss.item()
        history.append(epoch_loss / len(loader))
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(xva), yva).item()
        print(f"epoch {epoch} train {history[-1]:.4f} valid {val:.4f} (variance {yva.var().item():.4f})")


# ---------------------------------------------------------------- a memory task
class CellClassifier(nn.Module):
    def __init__(self, hidden=48, cut=False):
        super().__init__()
        self.emb = nn.Embedding(8, 16)
        self.cell = nn.GRUCell(16, hidden)
        self.fc = nn.Linear(hidden, 4)
        self.hidden, self.cut = hidden, cut

    def forward(self, tokens):
        h = torch.zeros(tokens.size(0), self.hidden)
        for t in range(tokens.size(1)):
            h = self.cell(self.emb(tokens[:, t]), h)
            if self.cut and t < tokens.size(1) - 1:
                h = h.detach()
        return self.fc(h)


def recall_batch(n, length=14):
    x = torch.randint(4, 8, (n, length))
    y = torch.randint(0, 4, (n,))
    pos = torch.randint(0, 4, (n,))
    x[torch.arange(n), pos] = y
    return x, y


def gru_cell_recall(mistake: bool) -> None:
    """If mistake, the hidden state is detached at every time step, so nothing is learned through time."""
    seed_all(45)
    model = CellClassifier(cut=mistake)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(500):
        x, y = recall_batch(64)
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            with torch.no_grad():
                x, y = recall_batch(500)
                acc = (model(x).argmax(1) == y).float().mean().item()
            print(f"step {step + 1}: loss {loss.item():.3f} acc {acc:.3f}")


FAULTS = [
    (
        row_transformer_plateau,
        ("scheduler", "plateau", "learning rate", "wrong metric", "min mode", "mode='min'"),
        "learning rate scheduler stepped with the wrong metric",
    ),
    (lstm_amp_clip, ("unscale", "scaled gradient", "clip", "scaler"), "clipping before unscaling"),
    (
        simclr_digits,
        ("view(", "view", "reshape", "batch size", "batch dimension", "flatten"),
        "view(-1, k) with a wrong k that silently changes the batch size",
    ),
    (multilabel_strips, ("sigmoid", "logit", "probabilit"), "sigmoid twice"),
    (tcn_energy, ("graph", "memory", "item(", "detach"), "loss accumulated with its graph"),
    (
        gru_cell_recall,
        ("detach", "through time", "cut off", "earlier time step", "truncat"),
        "detach in the middle",
    ),
]
