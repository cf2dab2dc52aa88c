"""States, plateaus, experiments, masks, precision and noise."""

from argparse import Namespace
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset


def digits_tensors(n_train=1300):
    data = load_digits()
    x = torch.tensor(data.images / 16.0, dtype=torch.float32)
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(4))
    x, y = x[order], y[order]
    return x[:n_train], y[:n_train], x[n_train:], y[n_train:]


# --------------------------------------------------------------------------- 1
class GestureGRU(nn.Module):
    """Keeps its hidden state as an attribute."""

    def __init__(self, n_in, hidden, n_out):
        super().__init__()
        self.cell = nn.GRU(n_in, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, n_out)
        self.h = None

    def reset(self):
        self.h = None

    def forward(self, x):
        if self.h is not None and self.h.size(1) != x.size(0):
            self.h = None
        out, h = self.cell(x, self.h)
        self.h = h.detach()
        return self.readout(out[:, -1])


def gesture_set(n, rng):
    """Accumulated turns: the class is the net number of left and right strokes, in five bins."""
    strokes = rng.choice([-1.0, 0.0, 1.0], size=(n, 10), p=[0.3, 0.4, 0.3])
    label = np.clip(strokes.sum(1), -2, 2) + 2
    x = np.stack([strokes, rng.normal(size=strokes.shape)], -1) + 0.1 * rng.normal(size=(n, 10, 2))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(label, dtype=torch.long)


def gesture_gru(mistake: bool) -> None:
    """The hidden state of the previous batch is carried into unrelated samples because it is never reset."""
    torch.manual_seed(31)
    rng = np.random.default_rng(31)
    x, y = gesture_set(2400, rng)
    xt, yt = gesture_set(320, rng)
    model = GestureGRU(2, 24, 5)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(12):
        losses = []
        for idx in torch.randperm(len(x)).split(40):
            if not mistake:
                model.reset()
            loss = F.cross_entropy(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
    model.eval()
    hits = 0
    with torch.no_grad():
        for xb, yb in zip(xt.split(40), yt.split(40)):
            if not mistake:
                model.reset()
            hits += (model(xb).argmax(1) == yb).sum().item()
    print(f"loss {np.mean(losses):.4f} acc {hits / len(yt):.4f}")


# --------------------------------------------------------------------------- 2
@dataclass
class PlateauConfig:
    mode: str = "max"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-3


def plateau_on_accuracy(mistake: bool) -> None:
    """ReduceLROnPlateau in mode 'min' is stepped with the accuracy, so the learning rate falls while the accuracy rises."""
    torch.manual_seed(32)
    xtr, ytr, xte, yte = digits_tensors()
    cfg = PlateauConfig(mode="min" if mistake else "max", patience=3)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 10),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, **asdict(cfg))
    for epoch in range(20):
        net.train()
        for idx in torch.randperm(len(xtr)).split(50):
            loss = F.cross_entropy(net(xtr[idx]), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            logits = net(xte)
            val_acc = (logits.argmax(1) == yte).float().mean().item()
            val_loss = F.cross_entropy(logits, yte).item()
        sched.step(val_acc)
    print(f"val loss {val_loss:.4f} acc {val_acc:.4f} lr {opt.param_groups[0]['lr']:.1e}")


# --------------------------------------------------------------------------- 3
class Experiment:
    def __init__(self, args):
        self.args = args
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, args.code))
        self.decoder = nn.Sequential(
            nn.Linear(args.code, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid()
        )
        self.optimizer = torch.optim.Adam(self.trainable(), lr=args.lr)

    def trainable(self):
        if self.args.partial:
            return self.decoder.parameters()
        return [*self.encoder.parameters(), *self.decoder.parameters()]

    def run(self, x, x_val):
        for epoch in range(self.args.epochs):
            for xb in x[torch.randperm(len(x))].split(self.args.batch_size):
                self.optimizer.zero_grad()
                loss = F.binary_cross_entropy(self.decoder(self.encoder(xb)), xb)
                loss.backward()
                self.optimizer.step()
        with torch.no_grad():
            return loss.item(), F.mse_loss(self.decoder(self.encoder(x_val)), x_val).item()


def autoencoder_experiment(mistake: bool) -> None:
    """Only the decoder's parameters are given to the optimizer; the encoder stays random."""
    torch.manual_seed(33)
    xtr, _, xte, _ = digits_tensors()
    args = Namespace(code=8, lr=4e-3, epochs=30, batch_size=64, partial=mistake)
    loss, mse = Experiment(args).run(xtr.flatten(1), xte.flatten(1))
    print(f"loss {loss:.4f} val mse {mse:.4f}")


# --------------------------------------------------------------------------- 4
class CancerNet(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), last)

    def forward(self, x):
        return self.layers(x)


def single_output_cancer(mistake: bool) -> None:
    """Softmax is applied to a single output unit, which gives 1 for every sample; a sigmoid was needed."""
    torch.manual_seed(34)
    x, y = load_breast_cancer(return_X_y=True)
    xtr, xte, ytr, yte = train_test_split(x, y, test_size=0.25, random_state=34, stratify=y)
    mean, std = xtr.mean(0), xtr.std(0)
    xtr, xte = [torch.tensor((v - mean) / std, dtype=torch.float32) for v in (xtr, xte)]
    ytr, yte = [torch.tensor(v, dtype=torch.float32).unsqueeze(1) for v in (ytr, yte)]
    model = CancerNet(nn.Softmax(dim=1) if mistake else nn.Sigmoid())
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    n_epochs, batch = 30, 32
    for epoch in range(n_epochs):
        perm = torch.randperm(len(xtr))
        total = 0.0
        for i in range(0, len(xtr), batch):
            b = perm[i : i + batch]
            optimizer.zero_grad()
            loss = criterion(model(xtr[b]), ytr[b])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(b)
    with torch.no_grad():
        acc = ((model(xte) > 0.5).float() == yte).float().mean().item()
    print(f"loss {total / len(xtr):.4f} acc {acc:.4f}")


# --------------------------------------------------------------------------- 5
class CellImages(Dataset):
    def __init__(self, n, seed, transform=None):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:20, :20]
        self.images, self.masks = [], []
        for _ in range(n):
            mask = np.zeros((20, 20), dtype=bool)
            for _ in range(rng.integers(1, 4)):
                cy, cx, r = rng.uniform(2, 18), rng.uniform(2, 18), rng.uniform(2, 4)
                mask |= (yy - cy) ** 2 + (xx - cx) ** 2 < r * r
            img = mask * rng.uniform(0.4, 1.0) + 0.15 * rng.normal(size=mask.shape)
            self.images.append(torch.tensor(img[None], dtype=torch.float32))
            self.masks.append(torch.tensor(mask[None], dtype=torch.float32))
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        return image, mask


def flip_image(image, mask):
    if torch.rand(()) < 0.5:
        image = image.flip(-1)
    if torch.rand(()) < 0.5:
        image = image.flip(-2)
    return image, mask


def flip_both(image, mask):
    if torch.rand(()) < 0.5:
        image, mask = image.flip(-1), mask.flip(-1)
    if torch.rand(()) < 0.5:
        image, mask = image.flip(-2), mask.flip(-2)
    return image, mask


class SmallUNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        conv = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        self.down, self.mid, self.up = conv(1, c), conv(c, 2 * c), conv(3 * c, c)
        self.out = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.down(x)
        b = F.interpolate(self.mid(F.max_pool2d(a, 2)), scale_factor=2)
        return self.out(self.up(torch.cat([a, b], 1)))


def dice_loss(logits, target, eps=1.0):
    p = logits.sigmoid()
    inter = (p * target).sum((1, 2, 3))
    return 1 - ((2 * inter + eps) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + eps)).mean()


def cell_segmentation_flips(mistake: bool) -> None:
    """The random flips are applied to the image but not to its mask."""
    torch.manual_seed(35)
    train = DataLoader(
        CellImages(320, 1, flip_image if mistake else flip_both), batch_size=16, shuffle=True
    )
    test = DataLoader(CellImages(96, 2), batch_size=48)
    net = SmallUNet()
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(8):
        net.train()
        losses = []
        for image, mask in train:
            logits = net(image)
            loss = dice_loss(logits, mask) + F.binary_cross_entropy_with_logits(logits, mask)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    net.eval()
    inter = union = 0.0
    with torch.no_grad():
        for image, mask in test:
            p = net(image) > 0
            inter += (p & mask.bool()).sum().item()
            union += (p | mask.bool()).sum().item()
    print(f"loss {np.mean(losses):.4f} IoU {inter / union:.4f}")


# --------------------------------------------------------------------------- 6
class MixerBlock(nn.Module):
    def __init__(self, tokens, d):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.tok = nn.Sequential(nn.Linear(tokens, 16), nn.GELU(), nn.Linear(16, tokens))
        self.ch = nn.Sequential(nn.Linear(d, 64), nn.GELU(), nn.Linear(64, d))

    def forward(self, x):
        x = x + self.tok(self.n1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.ch(self.n2(x))


def make_mixer(d=32):
    return nn.Sequential(
        nn.Linear(8, d), MixerBlock(8, d), nn.LayerNorm(d), nn.Flatten(), nn.Linear(8 * d, 10)
    )


def mixer_low_precision(mistake: bool) -> None:
    """The weights themselves are cast to bfloat16, so the small updates are lost in rounding; autocast keeps float32 weights."""
    torch.manual_seed(36)
    xtr, ytr, xte, yte = digits_tensors()
    model = make_mixer()
    if mistake:
        model = model.to(torch.bfloat16)
    dtype = next(model.parameters()).dtype
    opt = torch.optim.AdamW(model.parameters(), lr=8e-5)
    first = None
    for epoch in range(18):
        model.train()
        for idx in torch.randperm(len(xtr)).split(32):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not mistake):
                loss = F.cross_entropy(model(xtr[idx].to(dtype)).float(), ytr[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
            first = first or loss.item()
    model.eval()
    with torch.no_grad():
        logits = model(xte.to(dtype)).float()
    print(
        f"loss {first:.3f} -> {F.cross_entropy(logits, yte):.3f} acc {(logits.argmax(1) == yte).float().mean():.4f}"
    )


# --------------------------------------------------------------------------- 7
class NoisyDigits(Dataset):
    def __init__(self, images, labels, std, copy):
        self.images, self.labels, self.std, self.copy = images, labels, std, copy

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = self.images[i]
        if self.copy:
            img = img.clone()
        img += self.std * torch.randn(img.shape)
        return img.unsqueeze(0), self.labels[i]


def noise_augmented_dataset(mistake: bool) -> None:
    """__getitem__ adds the noise in place to the stored images, so the data gets noisier with each epoch."""
    torch.manual_seed(37)
    xtr, ytr, xte, yte = digits_tensors(1000)
    loader = DataLoader(NoisyDigits(xtr, ytr, 0.4, copy=not mistake), batch_size=40, shuffle=True)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    opt = torch.optim.Adamax(model.parameters(), lr=3e-3)
    per_epoch = []
    for epoch in range(14):
        total = 0.0
        for images, labels in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            opt.step()
            total += loss.item() / len(loader)
        per_epoch.append(total)
    with torch.no_grad():
        acc = (model(xte[:, None]).argmax(1) == yte).float().mean().item()
    print(f"loss {per_epoch[0]:.3f} {min(per_epoch):.3f} {per_epoch[-1]:.3f} acc {acc:.4f}")


FAULTS = [
    (gesture_gru, ("hidden state", "hidden", "recurrent state", "carried", "initial state"), "state"),
    (
        plateau_on_accuracy,
        ("plateau", "mode='min'", "mode min", "mode 'min'", "mode='max'", "scheduler"),
        "scheduler",
    ),
    (
        autoencoder_experiment,
        (
            "not in the optimizer",
            "not in any optimizer",
            "left out",
            "encoder's param",
            "encoder is",
            "not passed",
            "never updated",
            "missing from the optimizer",
        ),
        "optimizer",
    ),
    (single_output_cancer, ("softmax", "sigmoid", "single output", "one output", "always 1"), "loss"),
    (
        cell_segmentation_flips,
        ("mask", "flip", "augment", "not transformed", "misalign", "same transform"),
        "data",
    ),
    (
        mixer_low_precision,
        ("bfloat16", "precision", "rounding", "rounded", "float32", "bf16"),
        "precision",
    ),
    (
        noise_augmented_dataset,
        ("in place", "in-place", "inplace", "clone", "noisier", "modifies the stored", "stored data"),
        "data",
    ),
]
