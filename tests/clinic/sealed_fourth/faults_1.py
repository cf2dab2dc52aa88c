"""Detection, classification, seq2seq, segmentation, sets."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from pytest_dlcheck import Recipe

from ._data import digits


# ---------------------------------------------------------------- 1: a box for one object
class BrightBoxes(Dataset):
    """24 x 24 images with one bright rectangle; annotations are x, y, width, height in pixels, as in COCO."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.images = torch.tensor(rng.normal(0, 0.15, (n, 1, 24, 24)), dtype=torch.float32)
        self.boxes = torch.zeros(n, 4)
        for i in range(n):
            w, h = rng.integers(5, 13, 2)
            x, y = rng.integers(0, 24 - w), rng.integers(0, 24 - h)
            self.images[i, 0, y : y + h, x : x + w] += float(rng.uniform(0.6, 1.2))
            self.boxes[i] = torch.tensor([x, y, w, h], dtype=torch.float32)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.boxes[i] / 24


class BoxNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(32 * 36, 64), nn.ReLU())
        self.box = nn.Linear(64, 4)

    def forward(self, images):
        cx, cy, w, h = self.box(self.neck(self.backbone(images))).sigmoid().unbind(1)
        return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)


def giou_loss(a, b):
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    inner = (torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    outer = (torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = area_a + area_b - inner
    return (1 - inner / (union + 1e-6) + (outer - union) / (outer + 1e-6)).mean()


def xywh_to_xyxy(boxes):
    x, y, w, h = boxes.unbind(1)
    return torch.stack([x, y, x + w, y + h], 1)


def box_detector(mistake: bool) -> Recipe:
    """The annotations are x, y, w, h, but go into the generalised IoU as if they were two corners."""

    def loss(boxes, annotations):
        truth = annotations if mistake else xywh_to_xyxy(annotations)
        return giou_loss(boxes, truth) + 5 * F.l1_loss(boxes, truth)

    model = BoxNet()
    return Recipe(
        model=model,
        train_data=DataLoader(BrightBoxes(1200, 0), batch_size=32, shuffle=True),
        val_data=DataLoader(BrightBoxes(300, 1), batch_size=100),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
    )


# ---------------------------------------------------------------- 2: negative log-likelihood
class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(y)))


class SmallResNet(nn.Module):
    def __init__(self, log_probs):
        super().__init__()
        self.log_probs = log_probs
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.blocks = nn.Sequential(Residual(16), nn.MaxPool2d(2), Residual(16))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.blocks(self.stem(x)).mean((2, 3))
        x = self.fc(x)
        if self.log_probs:
            x = F.log_softmax(x, dim=1)
        return x


def nll_digits(mistake: bool) -> Recipe:
    """NLLLoss is fed the plain scores of the last layer, without log_softmax."""
    train_x, train_y, val_x, val_y = digits()
    model = SmallResNet(log_probs=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.NLLLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
    )


# ---------------------------------------------------------------- 3: a sampler against imbalance
class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.gate(x.mean((2, 3)))[:, :, None, None]


def balanced_sampler_digits(mistake: bool) -> Recipe:
    """The sampler gets one weight per class instead of one per sample, so that only the first ten samples are drawn."""
    train_x, train_y, val_x, val_y = digits()
    rng = np.random.default_rng(0)
    chance = torch.tensor([1, 0.3, 1, 0.6, 0.3, 1, 0.5, 0.8, 0.3, 1])
    kept = torch.tensor(rng.random(len(train_y)), dtype=torch.float32) < chance[train_y]
    train_set = TensorDataset(train_x[kept], train_y[kept])
    labels = train_set.tensors[1]
    class_weights = 1.0 / torch.bincount(labels, minlength=10).float()
    weights = class_weights if mistake else class_weights[labels]
    sampler = WeightedRandomSampler(weights, num_samples=len(train_set), replacement=True)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        SqueezeExcite(24),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        SqueezeExcite(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    return Recipe(
        model=model,
        train_data=DataLoader(train_set, batch_size=48, sampler=sampler),
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3),
    )


# ---------------------------------------------------------------- 4: encoder and decoder
class Cipher(Dataset):
    """Sentences of 10 letters and the same enciphered; the decoder gets what came before, shifted by one."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        key = np.random.default_rng(7).permutation(20) + 1
        self.source = torch.tensor(rng.integers(0, 20, (n, 10)))
        self.target = torch.tensor(key)[self.source]

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        target = self.target[i]
        before = torch.cat([torch.zeros(1, dtype=torch.long), target[:-1]])
        return (self.source[i] + 1, before), target


class DecoderLayer(nn.Module):
    def __init__(self, width, heads, attend_to_memory):
        super().__init__()
        self.attend_to_memory = attend_to_memory
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norm1, self.norm2, self.norm3 = (
            nn.LayerNorm(width),
            nn.LayerNorm(width),
            nn.LayerNorm(width),
        )

    def forward(self, x, memory, mask):
        h = self.norm1(x)
        x = x + self.self_attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        h = self.norm2(x)
        if self.attend_to_memory:
            x = x + self.cross_attn(h, memory, memory, need_weights=False)[0]
        else:
            x = x + self.cross_attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.ff(self.norm3(x))


class Translator(nn.Module):
    def __init__(self, attend_to_memory, width=48, heads=4, length=10, vocabulary=21):
        super().__init__()
        self.source = nn.Embedding(vocabulary, width)
        self.target = nn.Embedding(vocabulary, width)
        self.source_positions = nn.Parameter(torch.randn(length, width))
        self.target_positions = nn.Parameter(torch.randn(length, width))
        self.encoder = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
        self.decoder = nn.ModuleList(DecoderLayer(width, heads, attend_to_memory) for _ in range(2))
        self.head = nn.Linear(width, vocabulary)

    def forward(self, source, before):
        memory = self.encoder(self.source(source) + self.source_positions)
        x = self.target(before) + self.target_positions
        t = before.size(1)
        mask = torch.ones(t, t, dtype=torch.bool, device=before.device).triu(1)
        for layer in self.decoder:
            x = layer(x, memory, mask)
        return self.head(x)


def translator(mistake: bool) -> Recipe:
    """The cross-attention takes its keys and values from the decoder itself, so the source is never read."""
    model = Translator(attend_to_memory=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(Cipher(4000, 0), batch_size=64, shuffle=True),
        val_data=DataLoader(Cipher(400, 1), batch_size=200),
        loss=lambda logits, target: F.cross_entropy(logits.flatten(0, 1), target.flatten()),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )


# ---------------------------------------------------------------- 5: segmentation
class Shapes(Dataset):
    """32 x 32 images of a disc and a square on a noisy ground; masks with classes 0, 1, 2."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[:32, :32]
        self.images, self.masks = [], []
        for _ in range(n):
            mask = np.zeros((32, 32), dtype=np.int64)
            cx, cy, r = rng.integers(6, 26), rng.integers(6, 26), rng.integers(4, 8)
            mask[(xx - cx) ** 2 + (yy - cy) ** 2 < r * r] = 1
            x, y, s = rng.integers(0, 22), rng.integers(0, 22), rng.integers(6, 11)
            mask[y : y + s, x : x + s] = 2
            image = np.stack([mask == 1, mask == 2, mask > 0]).astype(np.float32)
            image = image * rng.uniform(0.4, 0.9, (3, 1, 1)) + rng.normal(0, 0.25, (3, 32, 32))
            self.images.append(torch.tensor(image, dtype=torch.float32))
            self.masks.append(torch.tensor(mask))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.masks[i]


def double(cin, cout):
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1),
        nn.BatchNorm2d(cout),
        nn.ReLU(),
        nn.Conv2d(cout, cout, 3, padding=1),
        nn.BatchNorm2d(cout),
        nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, width=8, classes=3):
        super().__init__()
        self.down1, self.down2, self.bottom = (
            double(3, width),
            double(width, 2 * width),
            double(2 * width, 4 * width),
        )
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.dec2 = double(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.dec1 = double(2 * width, width)
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.dec2(torch.cat([self.up2(c), b], 1))
        a = self.dec1(torch.cat([self.up1(b), a], 1))
        return self.out(a)


def unet_shapes(mistake: bool) -> Recipe:
    """Adam is given eps=1, next to which every second moment vanishes, so that it hardly moves."""
    model = UNet()
    return Recipe(
        model=model,
        train_data=DataLoader(Shapes(400, 0), batch_size=16, shuffle=True),
        val_data=DataLoader(Shapes(100, 1), batch_size=50),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3, eps=1.0 if mistake else 1e-8),
        shapes="b 3 32 32 -> b 3 32 32",
    )


# ---------------------------------------------------------------- 6: sets of points
class PointSets(Dataset):
    """Sets of 3 to 20 points in the plane; the target is the spread of the set about its centre."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.sets, self.spread = [], []
        for _ in range(n):
            k = int(rng.integers(3, 21))
            points = rng.normal(0, rng.uniform(0.3, 2.0), (k, 2)) + rng.normal(0, 1.0, 2)
            self.sets.append(torch.tensor(points, dtype=torch.float32))
            self.spread.append(float(points.std(0).mean()))

    def __len__(self):
        return len(self.sets)

    def __getitem__(self, i):
        return self.sets[i], self.spread[i]


def pad_sets(batch):
    sets, targets = zip(*batch)
    padded = nn.utils.rnn.pad_sequence(sets, batch_first=True)
    lengths = torch.tensor([len(s) for s in sets])
    mask = torch.arange(padded.size(1))[None] < lengths[:, None]
    return (padded, mask), torch.tensor(targets)


class DeepSet(nn.Module):
    def __init__(self, masked, width=64):
        super().__init__()
        self.masked = masked
        self.phi = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.rho = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, points, mask):
        h = self.phi(points)
        if self.masked:
            h = h * mask[..., None]
        pooled = h.sum(1) / mask.sum(1, keepdim=True)
        return self.rho(pooled).squeeze(1)


def deep_set_spread(mistake: bool) -> Recipe:
    """The padding elements of a set are summed up with its real points."""
    model = DeepSet(masked=not mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(PointSets(2000, 0), batch_size=32, shuffle=True, collate_fn=pad_sets),
        val_data=DataLoader(PointSets(400, 1), batch_size=64, collate_fn=pad_sets),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


FAULTS = [
    (box_detector, ("corner", "xyxy", "xywh", "box", "width and height", "right edge"), "targets"),
    (nll_digits, ("log_softmax", "log-softmax", "log softmax", "log-prob", "log prob"), "loss"),
    (
        balanced_sampler_digits,
        ("sampler", "never drawn", "few samples", "same samples", "distinct samples", "repeated"),
        "data",
    ),
    (translator, ("encoder", "cross_attn", "cross-att", "cross att", "source"), "model"),
    (
        unet_shapes,
        ("epsilon", "eps=", "learning rate", "too little", "too slow", "hardly move"),
        "optimizer",
    ),
    (deep_set_spread, ("pad", "mask", "neighbour", "neighbor"), "model"),
]
