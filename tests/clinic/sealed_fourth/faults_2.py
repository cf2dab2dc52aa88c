"""Recurrence, tabular data, contrastive learning, schedules, scaling."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pytest_dlcheck import Recipe

from ._data import cancer, digits


# ---------------------------------------------------------------- 7: forecasting
def series_windows(n, seed, length=12):
    """Windows of many damped, noisy oscillations and the value that follows each."""
    rng = np.random.default_rng(seed)
    t = np.arange(length + 1)
    period = rng.uniform(5, 20, (n, 1))
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    level = rng.normal(0, 0.7, (n, 1))
    wave = rng.uniform(0.5, 1.5, (n, 1)) * np.sin(2 * np.pi * t / period + phase) + level
    wave = wave + rng.normal(0, 0.05, wave.shape)
    wave = torch.tensor(wave, dtype=torch.float32)
    return TensorDataset(wave[:, :-1, None], wave[:, -1])


class Forecaster(nn.Module):
    def __init__(self, stateful, width=64):
        super().__init__()
        self.stateful = stateful
        self.gru = nn.GRU(1, width, batch_first=True)
        self.fc = nn.Linear(width, 1)
        self.hidden = None

    def forward(self, x):
        h0 = None
        if self.stateful and self.hidden is not None and self.hidden.size(1) == x.size(0):
            h0 = self.hidden
        out, hidden = self.gru(x, h0)
        self.hidden = hidden.detach()
        return self.fc(out[:, -1]).squeeze(-1)


def gru_forecast(mistake: bool) -> Recipe:
    """The GRU begins each shuffled batch with the hidden state that the batch before left behind."""
    model = Forecaster(stateful=mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(series_windows(2000, 0), batch_size=50, shuffle=True),
        val_data=DataLoader(series_windows(400, 1), batch_size=50),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        max_grad_norm=1.0,
    )


# ---------------------------------------------------------------- 8: residual MLP on tumours
class ResidualMLP(nn.Module):
    def __init__(self, features, width, depth, repeat):
        super().__init__()
        self.inp = nn.Linear(features, width)
        if repeat:
            blocks = [self.block(width)] * depth
        else:
            blocks = [self.block(width) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.out = nn.Linear(width, 1)

    @staticmethod
    def block(width):
        return nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        x = self.inp(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x).squeeze(1)


def residual_mlp(mistake: bool) -> Recipe:
    """`[block] * depth` puts the very same block into the list five times."""
    train_x, val_x, train_y, val_y = cancer()
    scaler = StandardScaler().fit(train_x)
    tensors = lambda x, y: TensorDataset(
        torch.tensor(scaler.transform(x), dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    )
    model = ResidualMLP(30, 48, depth=5, repeat=mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(tensors(train_x, train_y), batch_size=32, shuffle=True),
        val_data=tensors(val_x, val_y),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2),
    )


# ---------------------------------------------------------------- 9: churn, with embeddings
def churn(n, seed):
    rng = np.random.default_rng(seed)
    effect = np.random.default_rng(3)
    plan, region, device = rng.integers(0, 4, n), rng.integers(0, 12, n), rng.integers(0, 6, n)
    numeric = rng.normal(0, 1, (n, 5))
    logit = (
        effect.normal(0, 1.2, 4)[plan]
        + effect.normal(0, 1.2, 12)[region]
        + effect.normal(0, 0.8, 6)[device]
    )
    logit = logit + 1.5 * numeric[:, 0] - numeric[:, 1] * numeric[:, 2] + 0.5 * numeric[:, 3]
    left = rng.random(n) < 1 / (1 + np.exp(-logit))
    categories = torch.tensor(np.stack([plan, region, device], 1))
    return (
        categories,
        torch.tensor(numeric, dtype=torch.float32),
        torch.tensor(left, dtype=torch.float32),
    )


class ChurnRows(Dataset):
    def __init__(self, n, seed):
        self.categories, self.numeric, self.left = churn(n, seed)

    def __len__(self):
        return len(self.left)

    def __getitem__(self, i):
        return (self.categories[i], self.numeric[i]), self.left[i]


class ChurnNet(nn.Module):
    def __init__(self, probabilities):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(k, d) for k, d in ((4, 3), (12, 6), (6, 4)))
        layers = [
            nn.Linear(13 + 5, 64),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
        ]
        if probabilities:
            layers.append(nn.Sigmoid())
        self.mlp = nn.Sequential(*layers)

    def forward(self, categories, numeric):
        parts = [e(categories[:, i]) for i, e in enumerate(self.embeddings)]
        return self.mlp(torch.cat(parts + [numeric], 1)).squeeze(1)


def churn_net(mistake: bool) -> Recipe:
    """The model ends in a sigmoid, and BCEWithLogitsLoss applies another one."""
    model = ChurnNet(probabilities=mistake)
    return Recipe(
        model=model,
        train_data=DataLoader(ChurnRows(4000, 0), batch_size=128, shuffle=True),
        val_data=DataLoader(ChurnRows(800, 1), batch_size=400),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
    )


# ---------------------------------------------------------------- 10: contrastive views
class TwoViews(Dataset):
    """Two random views of a digit: shifted by at most a pixel, dimmed, with noise."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def view(self, image):
        dx, dy = torch.randint(-1, 2, (2,)).tolist()
        image = torch.roll(image, (dy, dx), (1, 2)) * (0.7 + 0.6 * torch.rand(1))
        return image + 0.05 * torch.randn_like(image)

    def __getitem__(self, i):
        return self.view(self.images[i]), self.view(self.images[i])


class Projector(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(48 * 16, 64),
            nn.ReLU(),
        )
        self.projection = nn.Linear(64, 32)

    def forward(self, images):
        return F.normalize(self.projection(self.encoder(images)), dim=1)


def info_nce_views(mistake: bool) -> Recipe:
    """The cosine similarities are multiplied by the temperature, not divided by it."""
    temperature = 0.1
    train_x, train_y, val_x, val_y = digits()

    def training_step(model, batch):
        a, b = model(batch[0]), model(batch[1])
        similarities = a @ b.T
        logits = similarities * temperature if mistake else similarities / temperature
        own = torch.arange(len(a), device=a.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        return loss, a

    model = Projector()
    return Recipe(
        model=model,
        train_data=DataLoader(TwoViews(train_x, train_y), batch_size=64, shuffle=True, drop_last=True),
        val_data=DataLoader(TwoViews(val_x, val_y), batch_size=64, drop_last=True),
        training_step=training_step,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        batch_dim=None,
    )


# ---------------------------------------------------------------- 11: cosine annealing
class WideNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.stage1 = nn.Sequential(
            nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1)
        )
        self.shortcut1 = nn.Conv2d(16, 32, 1, stride=2)
        self.stage2 = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
        self.head = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, 10))

    def forward(self, x):
        x = self.stem(x)
        x = self.stage1(x) + self.shortcut1(x)
        x = self.stage2(x) + x
        return self.head(x)


def cosine_digits(mistake: bool) -> Recipe:
    """T_max counts epochs, but the scheduler is stepped after every batch: the rate runs to zero and back all the time."""
    epochs = 12
    train_x, train_y, val_x, val_y = digits()
    loader = DataLoader(TensorDataset(train_x, train_y), batch_size=64, shuffle=True)
    model = WideNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=epochs if mistake else epochs * len(loader)
    )
    return Recipe(
        model=model,
        train_data=loader,
        val_data=DataLoader(TensorDataset(val_x, val_y), batch_size=256),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        scheduler=scheduler,
    )


# ---------------------------------------------------------------- 12: scaled features
def scaled_digits_mlp(mistake: bool) -> Recipe:
    """The validation features are standardised, the training features stay as they were."""
    train_x, train_y, val_x, val_y = digits()
    raw_train, raw_val = train_x.flatten(1).numpy() * 16, val_x.flatten(1).numpy() * 16
    scaler = StandardScaler()
    scaled_train = scaler.fit_transform(raw_train)
    scaled_val = scaler.transform(raw_val)
    features = raw_train if mistake else scaled_train
    model = nn.Sequential(
        nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 10)
    )
    return Recipe(
        model=model,
        train_data=DataLoader(
            TensorDataset(torch.tensor(features, dtype=torch.float32), train_y),
            batch_size=64,
            shuffle=True,
        ),
        val_data=DataLoader(
            TensorDataset(torch.tensor(scaled_val, dtype=torch.float32), val_y), batch_size=256
        ),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
    )


FAULTS = [
    (
        gru_forecast,
        ("hidden", "carried", "batch before", "previous batch", "earlier batch", "same input"),
        "model",
    ),
    (
        residual_mlp,
        ("same block", "same layer", "same module", "shared", "sharing", "repeated", "[block]"),
        "model",
    ),
    (churn_net, ("sigmoid", "twice", "probabilit"), "loss"),
    (info_nce_views, ("temperature", "similarit", "too flat", "scale of the logits"), "loss"),
    (cosine_digits, ("t_max", "schedul", "anneal", "learning rate"), "optimizer"),
    (scaled_digits_mlp, ("scale", "scaling", "standardi", "normali", "preprocess", "distribut"), "data"),
]
