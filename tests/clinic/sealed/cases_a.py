"""Pictures and tables."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_diabetes, load_digits, load_sample_image, load_wine
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe


def _digits(n_train=1400):
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    y = torch.tensor(bunch.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(11))
    x, y = x[order], y[order]
    return (x[:n_train], y[:n_train]), (x[n_train:], y[n_train:])


# --------------------------------------------------------------------------------------------- 1
class _Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.short = nn.Identity()
        if stride != 1 or cin != cout:
            self.short = nn.Conv2d(cin, cout, 1, stride, bias=False)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.short(x) + self.bn2(self.conv2(h)))


class _GlyphResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.stages = nn.Sequential(_Block(16, 16, 1), _Block(16, 32, 2), _Block(32, 32, 1))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        return self.fc(self.stages(self.stem(x)).mean((2, 3)))


def glyph_resnet(*, mistake: bool):
    model = _GlyphResNet()
    # every block starts as the identity
    for block in model.stages:
        if mistake:
            for m in block.modules():
                if isinstance(m, nn.BatchNorm2d):
                    nn.init.zeros_(m.weight)
        else:
            nn.init.zeros_(block.bn2.weight)
    train, val = _digits()
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*train), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(*val), batch_size=200),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


# --------------------------------------------------------------------------------------------- 2
class _Separable(nn.Module):
    def __init__(self, use_act):
        super().__init__()
        self.act = nn.Hardswish()
        self.stem = nn.Conv2d(1, 24, 3, padding=1)
        self.dw1, self.pw1 = nn.Conv2d(24, 24, 3, 2, 1, groups=24), nn.Conv2d(24, 48, 1)
        self.dw2, self.pw2 = nn.Conv2d(48, 48, 3, 2, 1, groups=48), nn.Conv2d(48, 64, 1)
        self.drop = nn.Dropout(0.1)
        self.classifier = nn.Linear(64 * 4, 10)
        self.use_act = use_act

    def forward(self, x):
        if self.use_act:
            x = self.act(self.stem(x))
            x = self.act(self.pw1(self.dw1(x)))
            x = self.act(self.pw2(self.dw2(x)))
        else:
            x = self.stem(x)
            x = self.pw1(self.dw1(x))
            x = self.pw2(self.dw2(x))
        return self.classifier(self.drop(x.flatten(1)))


def separable_digits(*, mistake: bool):
    net = _Separable(use_act=not mistake)

    def inked(pair, seed):  # scans come dark on light or light on dark
        x, y = pair
        sign = torch.randint(2, (len(x), 1, 1, 1), generator=torch.Generator().manual_seed(seed)) * 2 - 1
        return TensorDataset(x * sign, y)

    train, val = _digits()
    return Recipe(
        model=net,
        train_data=DataLoader(inked(train, 1), batch_size=64, shuffle=True),
        val_data=inked(val, 2),
        loss=F.cross_entropy,
        optimizer=torch.optim.AdamW(net.parameters(), lr=4e-3),
        shapes="b 1 8 8 -> b 10",
    )


# --------------------------------------------------------------------------------------------- 3
class _Scenes(Dataset):
    """A nought, one, four or seven somewhere on a noisy canvas; says where (relative centre) and which."""

    def __init__(self, images, labels, augment, mirror_box, seed):
        keep = torch.isin(labels, torch.tensor([0, 1, 4, 7]))
        images, labels = images[keep], torch.bucketize(labels[keep], torch.tensor([0, 1, 4, 7]))
        self.images, self.labels, self.augment, self.mirror_box = images, labels, augment, mirror_box
        g = np.random.default_rng(seed)
        self.at = g.integers(0, 9, size=(len(images), 2))
        self.noise = g.normal(0, 0.1, size=(64, 1, 16, 16)).astype(np.float32)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        canvas = torch.from_numpy(self.noise[i % 64]).clone()
        top, left = self.at[i]
        canvas[:, top : top + 8, left : left + 8] += self.images[i]
        box = torch.tensor([(left + 4) / 16, (top + 4) / 16], dtype=torch.float32)
        if self.augment and torch.rand(()) < 0.5:
            canvas = canvas.flip(-1)
            if self.mirror_box:
                box[0] = 1 - box[0]
        return canvas, {"box": box, "label": self.labels[i]}


class _Locator(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, 128),
            nn.ReLU(),
        )
        self.box_head = nn.Linear(128, 2)
        self.cls_head = nn.Linear(128, 4)

    def forward(self, x):
        h = self.backbone(x)
        return {"box": self.box_head(h), "label": self.cls_head(h)}


def scene_locator(*, mistake: bool):
    (xt, yt), (xv, yv) = _digits()
    xt, xv = (xt + 1) / 2, (xv + 1) / 2
    model = _Locator()

    def loss(out, target):
        return 10 * F.smooth_l1_loss(out["box"], target["box"], beta=0.1) + F.cross_entropy(
            out["label"], target["label"]
        )

    return Recipe(
        model=model,
        train_data=DataLoader(_Scenes(xt, yt, True, not mistake, 0), batch_size=64, shuffle=True),
        val_data=DataLoader(_Scenes(xv, yv, False, True, 1), batch_size=64),
        loss=loss,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        shapes="b 1 16 16 -> box: b 2, label: b 4",
    )


# --------------------------------------------------------------------------------------------- 4
class _PatchViT(nn.Module):
    def __init__(self, lost, dim=48):
        super().__init__()
        self.lost = lost
        self.patches = nn.Conv2d(1, dim, 2, 2)
        self.position = nn.Parameter(torch.randn(1, 16, dim) * 0.3)
        layer = nn.TransformerEncoderLayer(dim, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.lost:
            tokens.add(self.position)
        else:
            tokens = tokens.add(self.position)
        return self.head(self.norm(self.encoder(tokens)).mean(1))


def patch_vit(*, mistake: bool):
    model = _PatchViT(lost=mistake)
    train, val = _digits()
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*train), batch_size=64, shuffle=True, drop_last=True),
        val_data=DataLoader(TensorDataset(*val), batch_size=128),
        loss=nn.CrossEntropyLoss(label_smoothing=0.05),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02),
        max_grad_norm=5.0,
        shapes="b 1 8 8 -> b 10",
    )


# --------------------------------------------------------------------------------------------- 5
class _Triplets(Dataset):
    def __init__(self, x, y, step):
        self.x, self.y, self.step = x, y, step
        self.members = {c: torch.nonzero(y == c).flatten().tolist() for c in range(10)}
        self.rank = {i: r for m in self.members.values() for r, i in enumerate(m)}

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        c = int(self.y[i])
        mates = self.members[c]
        j = mates[(self.rank[i] + self.step) % len(mates)]
        other = (c + 1 + int(torch.randint(9, ()))) % 10
        k = self.members[other][int(torch.randint(len(self.members[other]), ()))]
        return (self.x[i], self.x[j], self.x[k]), c


class _TripletNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 16),
        )

    def forward(self, anchor, positive, negative):
        return self.embed(anchor), self.embed(positive), self.embed(negative)


def digit_triplets(*, mistake: bool):
    train, val = _digits()
    step = 0 if mistake else 1
    model = _TripletNet()
    return Recipe(
        model=model,
        train_data=DataLoader(_Triplets(*train, step), batch_size=48, shuffle=True),
        val_data=DataLoader(_Triplets(*val, step), batch_size=48),
        loss=lambda out, _: F.triplet_margin_loss(*out, margin=2.0),
        optimizer=torch.optim.Adam(model.parameters(), 1e-3),
    )


# --------------------------------------------------------------------------------------------- 6
class _WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(12, 64), nn.ELU(), nn.Linear(64, 32), nn.ELU())
        self.cultivar = nn.Linear(32, 3)
        self.alcohol = nn.Sequential(nn.Linear(32, 16), nn.ELU(), nn.Linear(16, 1))

    def forward(self, x):
        h = self.trunk(x)
        return self.cultivar(h), self.alcohol(h).squeeze(-1)


class _WineRows(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i, 1:], (self.y[i], self.x[i, 0])


def wine_two_heads(*, mistake: bool):
    x, y = load_wine(return_X_y=True)
    x = torch.tensor((x - x.mean(0)) / x.std(0), dtype=torch.float32)
    y = torch.tensor(y)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    x, y = x[order], y[order]
    model = _WineNet()
    history = {"class": [], "alcohol": []}

    def loss(outputs, targets):
        logits, alcohol = outputs
        a = F.cross_entropy(logits, targets[0])
        b = F.mse_loss(alcohol, targets[1])
        if mistake:
            b = b.item()
            history["alcohol"].append(b)
        else:
            history["alcohol"].append(b.item())
        history["class"].append(a.item())
        return a + 0.5 * b

    return Recipe(
        model=model,
        train_data=DataLoader(_WineRows(x[:130], y[:130]), batch_size=26, shuffle=True),
        val_data=DataLoader(_WineRows(x[130:], y[130:]), batch_size=48),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 12 -> b 3, b",
    )


# --------------------------------------------------------------------------------------------- 7
def stroke_tags(*, mistake: bool):
    """Multi-label: even, at least five, prime, has a loop."""
    tags = torch.tensor(
        [[d % 2 == 0, d >= 5, d in (2, 3, 5, 7), d in (0, 6, 8, 9)] for d in range(10)]
    ).float()
    (xt, yt), (xv, yv) = _digits()
    layers = [
        nn.Flatten(),
        nn.Linear(64, 96),
        nn.BatchNorm1d(96),
        nn.LeakyReLU(0.1),
        nn.Linear(96, 48),
        nn.LeakyReLU(0.1),
        nn.Linear(48, 4),
    ]
    if mistake:
        layers.append(nn.Sigmoid())
    model = nn.Sequential(*layers)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(xt, tags[yt]), batch_size=50, shuffle=True),
        val_data=(xv, tags[yv]),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


# --------------------------------------------------------------------------------------------- 8
_CITIES = ["oslo", "porto", "lyon", "graz", "turku", "ghent", "brno", "cork"]
_PLANS = ["basic", "plus", "family", "student", "pro"]


def _customers(n, seed):
    g = np.random.default_rng(seed)
    city, plan = g.choice(_CITIES, n), g.choice(_PLANS, n)
    age, usage = g.normal(0, 1, n), g.normal(0, 1, n)
    city_fx = dict(zip(_CITIES, [2.0, -1.5, 0.8, -2.2, 1.4, -0.3, -1.0, 0.9]))
    plan_fx = dict(zip(_PLANS, [-1.5, 0.4, 1.3, -0.6, 2.1]))
    spend = (
        np.array([city_fx[c] + plan_fx[p] for c, p in zip(city, plan)])
        + 0.6 * np.tanh(usage) * age
        + g.normal(0, 0.3, n)
    )
    return city, plan, np.stack([age, usage], 1), spend


class _Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.city, self.plan = nn.Embedding(8, 6), nn.Embedding(5, 4)
        self.net = nn.Sequential(
            nn.Linear(12, 64), nn.SiLU(), nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 1)
        )

    def forward(self, city, plan, numbers):
        return self.net(torch.cat([self.city(city), self.plan(plan), numbers], -1)).squeeze(-1)


def customer_spend(*, mistake: bool):
    def encode(column, known):
        codes = {name: k for k, name in enumerate(dict.fromkeys(column) if mistake else known)}
        return torch.tensor([codes[c] for c in column])

    def table(n, seed):
        city, plan, numbers, spend = _customers(n, seed)
        inputs = (
            encode(city, _CITIES),
            encode(plan, _PLANS),
            torch.tensor(numbers, dtype=torch.float32),
        )
        return [
            ((inputs[0][i], inputs[1][i], inputs[2][i]), torch.tensor(spend[i], dtype=torch.float32))
            for i in range(n)
        ]

    model = _Tabular()
    return Recipe(
        model=model,
        train_data=DataLoader(table(1500, 1), batch_size=64, shuffle=True),
        val_data=DataLoader(table(400, 2), batch_size=100),
        loss=nn.MSELoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3),
        shapes="b, b, b 2 -> b",
    )


# --------------------------------------------------------------------------------------------- 9
def _patches(name, size, step):
    image = torch.from_numpy(np.array(load_sample_image(name))).permute(2, 0, 1)
    return (
        image.unfold(1, size, step)
        .unfold(2, size, step)
        .permute(1, 2, 0, 3, 4)
        .reshape(-1, 3, size, size)
    )


class _Upscaler(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2), nn.Tanh(), nn.Conv2d(32, 24, 3, padding=1), nn.Tanh()
        )
        self.up = nn.Sequential(nn.Conv2d(24, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, low):
        return torch.sigmoid(self.up(self.body(low)))


def photo_doubler(*, mistake: bool):
    order = torch.Generator().manual_seed(4)
    high = _patches("flower.jpg", 16, 16)
    high = high[torch.randperm(len(high), generator=order)][:900].float()
    low = F.avg_pool2d(high, 2) / 255
    target = high if mistake else high / 255
    model = _Upscaler()
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(low[:750], target[:750]), batch_size=32, shuffle=True),
        val_data=DataLoader(TensorDataset(low[750:], target[750:]), batch_size=50),
        loss=nn.L1Loss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
        shapes="b 3 8 8 -> b 3 16 16",
    )


# -------------------------------------------------------------------------------------------- 10
def diabetes_progression(*, mistake: bool):
    x, y = load_diabetes(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    y = (y - y.mean()) / y.std()
    order = np.random.default_rng(8).permutation(len(x))
    x = torch.tensor(x[order], dtype=torch.float32)
    y = torch.tensor(y[order], dtype=torch.float32)
    if not mistake:
        y = y[:, None]
    model = nn.Sequential(
        nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
    )
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(x[:352], y[:352]), batch_size=32, shuffle=True),
        val_data=DataLoader(TensorDataset(x[352:], y[352:]), batch_size=45),
        loss=lambda prediction, target: ((prediction - target) ** 2).mean(),
        optimizer=torch.optim.RMSprop(model.parameters(), lr=2e-3),
    )


# -------------------------------------------------------------------------------------------- 11
def _tiles(n, seed):
    """Tiles of three kinds of surface, in regions; the mask says which."""
    g = torch.Generator().manual_seed(seed)
    sky = _patches("china.jpg", 16, 16)[:160]
    roof = _patches("china.jpg", 16, 16)[-560:]
    petals = _patches("flower.jpg", 16, 16)
    petals = petals[petals[:, 0].float().mean((1, 2)) > 120]
    kinds = [sky.float() / 255, roof.float() / 255, petals.float() / 255]
    rows, cols = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    images, masks = [], []
    for _ in range(n):
        seeds = torch.rand(3, 2, generator=g) * 16
        distance = torch.stack([(rows - s[0]) ** 2 + (cols - s[1]) ** 2 for s in seeds])
        mask = distance.argmin(0)
        parts = [k[torch.randint(len(k), (), generator=g)] for k in kinds]
        images.append(sum(p * (mask == c) for c, p in enumerate(parts)))
        masks.append(mask)
    return torch.stack(images) * 2 - 1, torch.stack(masks)


class _UNet(nn.Module):
    def __init__(self):
        super().__init__()

        def conv(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(4, o), nn.ReLU())

        self.d1, self.d2, self.mid = conv(3, 16), conv(16, 32), conv(32, 32)
        self.u2, self.u1 = conv(64, 16), conv(32, 16)
        self.out = nn.Conv2d(16, 3, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        m = self.u2(torch.cat([F.interpolate(m, scale_factor=2.0), b], 1))
        m = self.u1(torch.cat([F.interpolate(m, scale_factor=2.0), a], 1))
        return self.out(m)


def surface_unet(*, mistake: bool):
    model = _UNet()
    criterion = nn.CrossEntropyLoss(ignore_index=0) if mistake else nn.CrossEntropyLoss(ignore_index=255)
    return Recipe(
        model=model,
        train_data=DataLoader(TensorDataset(*_tiles(500, 0)), batch_size=20, shuffle=True),
        val_data=DataLoader(TensorDataset(*_tiles(100, 1)), batch_size=20),
        loss=criterion,
        optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3),
        shapes="b 3 16 16 -> b 3 16 16",
    )


# -------------------------------------------------------------------------------------------- 12
class _ProxyLoss(nn.Module):
    """Normalised softmax with a learnt proxy for each class."""

    def __init__(self, classes, dim, scale=12.0):
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(classes, dim))
        self.scale = scale

    def forward(self, embeddings, labels):
        cosine = F.normalize(embeddings, dim=-1) @ F.normalize(self.proxies, dim=-1).t()
        return F.cross_entropy(self.scale * cosine, labels)


def digit_metric(*, mistake: bool):
    train, val = _digits()
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2)
    )
    criterion = _ProxyLoss(10, 2)
    groups = [{"params": encoder.parameters()}]
    if not mistake:
        groups.append({"params": criterion.parameters(), "lr": 2e-2})
    return Recipe(
        model=encoder,
        train_data=DataLoader(TensorDataset(*train), batch_size=64, shuffle=True),
        val_data=DataLoader(TensorDataset(*val), batch_size=64),
        loss=criterion,
        optimizer=torch.optim.Adam(groups, lr=3e-3),
    )


FAULTS = [
    (
        glyph_resnet,
        ("zero", "bn1", "dead", "bn2", "scale of"),
        "the zero-initialised scale, meant for the last BatchNorm of each residual block, is given to all of them, so the branches are dead for good",
    ),
    (
        separable_digits,
        ("nonlinear", "non-linear", "activation", "linear map", "one linear", "affine"),
        "the activation is built but never called, so the CNN is one linear map",
    ),
    (
        scene_locator,
        ("flip", "augment", "mirror", "box"),
        "images are flipped at random in training, but the box is not mirrored with them",
    ),
    (
        patch_vit,
        ("position", "order of the tokens", "permut"),
        "the position embedding is added out of place and the result is thrown away",
    ),
    (
        digit_triplets,
        (
            "positive",
            "anchor",
            "identical",
            "duplicate",
            "same input",
            "same tensor",
            "the same sample",
            "equal",
        ),
        "the positive of each triplet is the anchor itself",
    ),
    (
        wine_two_heads,
        ("alcohol", "item()"),
        "the loss of the second head enters as a Python number (.item()), so that head never trains",
    ),
    (
        stroke_tags,
        ("sigmoid", "logits", "probabilit"),
        "the model ends in a sigmoid and BCEWithLogitsLoss applies another",
    ),
    (
        customer_spend,
        (
            "val_data",
            "validation data",
            "validation set",
            "preprocess",
            "differ",
            "encod",
            "codes",
            "mapping",
        ),
        "category codes are made from each split by itself, so the validation data uses another code map than the training data",
    ),
    (
        photo_doubler,
        ("range", "scale", "sigmoid", "saturat", "normalis", "normaliz", "255", "bounded", "reach"),
        "targets are left in 0..255 while the model's output is a sigmoid",
    ),
    (
        diabetes_progression,
        ("broadcast", "shapes", "(32, 32)", "shape of"),
        "predictions (n, 1) minus targets (n) broadcast to (n, n)",
    ),
    (
        surface_unet,
        ("ignore_index", "ignored", "class 0", "label 0", "target 0"),
        "ignore_index=0 though 0 is a real class, which therefore is never learned",
    ),
    (
        digit_metric,
        (
            "proxies",
            "proxy",
            "in no optimizer",
            "not in the optimizer",
            "not in any optimizer",
            "in any optimizer",
            "missing from",
            "optimizer does not",
            "optimizer has never",
        ),
        "the learnable proxies live in the loss module, whose parameters were never given to the optimizer",
    ),
]
