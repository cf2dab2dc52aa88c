"""Faults in losses and optimizers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck import Recipe

from . import data

# -- a sum where the rate was chosen for a mean -----------------------------------------------------


class Windows(Dataset):
    def __init__(self, series, context=48, horizon=12):
        self.series, self.context, self.horizon = torch.from_numpy(series), context, horizon

    def __len__(self):
        return len(self.series) - self.context - self.horizon + 1

    def __getitem__(self, i):
        cut = i + self.context
        return self.series[i:cut], self.series[cut : cut + self.horizon]


def load_forecast(mistake: bool) -> Recipe:
    """The error is summed over batch and horizon, while the rate was chosen for a mean."""
    series = data.series()
    model = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12))
    return Recipe(
        model=model,
        train_data=DataLoader(Windows(series[:2400]), batch_size=64, shuffle=True),
        val_data=DataLoader(Windows(series[2400:]), batch_size=128),
        loss=nn.MSELoss(reduction="sum" if mistake else "mean"),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        shapes="b 48 -> b 12",
    )


# -- NLL of probabilities ---------------------------------------------------------------------------


class ConvNLL(nn.Module):
    def __init__(self, *, log=True):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4, 64)
        self.fc2 = nn.Linear(64, 10)
        self.log = log

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.fc2(F.relu(self.fc1(x.flatten(1))))
        return F.log_softmax(x, dim=1) if self.log else F.softmax(x, dim=1)


def digits_nll(mistake: bool) -> Recipe:
    """The model ends in softmax instead of log_softmax, and `NLLLoss` takes no logarithm itself."""
    x, y, vx, vy = data.digits()
    model = ConvNLL(log=not mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.NLLLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        shapes="b 1 8 8 -> b 10",
    )


# -- a siamese network whose margin works the wrong way ---------------------------------------------


class Siamese(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, dim))

    def forward(self, a, b):
        return self.encoder(a), self.encoder(b)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=2.0, *, swapped=False):
        super().__init__()
        self.margin, self.swapped = margin, swapped

    def forward(self, outputs, same):
        distance = F.pairwise_distance(*outputs)
        hinge = F.relu(distance - self.margin if self.swapped else self.margin - distance)
        return (same * distance**2 + (1 - same) * hinge**2).mean()


class Pairs(Dataset):
    """Each image with one of its own class or of another one, half and half."""

    def __init__(self, images, labels, seed):
        rng = np.random.default_rng(seed)
        labels = labels.numpy()
        partners = []
        for label in labels:
            pool = np.flatnonzero(labels == label if rng.random() < 0.5 else labels != label)
            partners.append(rng.choice(pool))
        self.images, self.partners = images, np.array(partners)
        self.same = torch.tensor(labels == labels[self.partners], dtype=torch.float32)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return (self.images[i], self.images[self.partners[i]]), self.same[i]


def siamese_digits(mistake: bool) -> Recipe:
    """The hinge is relu(distance - margin), which pulls other digits together too: all embeddings collapse."""
    x, y, vx, vy = data.digits()
    model = Siamese()
    return Recipe(
        model=model,
        train_data=DataLoader(Pairs(x, y, 0), batch_size=64, shuffle=True),
        val_data=DataLoader(Pairs(vx, vy, 1), batch_size=120),
        loss=ContrastiveLoss(swapped=mistake),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8, b 1 8 8 -> b 16, b 16",
    )


# -- a VAE whose latent is regularised to nothing ---------------------------------------------------


class VAE(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
        self.fc_mu, self.fc_logvar = nn.Linear(128, latent), nn.Linear(128, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x):
        h = self.enc(x.flatten(1))
        mu, logvar = self.fc_mu(h), self.fc_logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar) if self.training else mu
        return self.dec(z).view_as(x), mu, logvar


def digits_vae(mistake: bool) -> Recipe:
    """The reconstruction is a mean over batch and pixels, the KL a sum over both, and drowns it."""
    x, _, vx, _ = data.digits()
    model = VAE()

    def vae_loss(outputs, images):
        recon, mu, logvar = outputs
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        if mistake:
            return F.mse_loss(recon, images) + kld
        return (F.mse_loss(recon, images, reduction="sum") / 0.1 + kld) / len(images)

    return Recipe(
        model=model,
        train_data=data.loader(x, x),
        val_data=data.loader(vx, vx, batch_size=120, shuffle=False),
        loss=vae_loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b 1 8 8, b 8, b 8",
    )


# -- class weights the wrong way round --------------------------------------------------------------


def claims(n=3000, seed=0):
    """Insurance claims: most are fine, few are late, fewer are fraud; the classes overlap."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, n, p=[0.88, 0.08, 0.04])
    centre = np.zeros((3, 12))
    centre[1, :4], centre[2, 2:7] = 1.1, -1.2
    x = centre[y] + rng.standard_normal((n, 12))
    cut = int(0.8 * n)
    return data.f32(x[:cut]), data.i64(y[:cut]), data.f32(x[cut:]), data.i64(y[cut:])


def claims_mlp(mistake: bool) -> Recipe:
    """Class weights are the frequencies instead of their inverse, so that rare classes are never learned."""
    x, y, vx, vy = claims()
    counts = torch.bincount(y).float()
    weight = counts / counts.sum() if mistake else counts.sum() / (len(counts) * counts)
    model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 3))
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=200, shuffle=False),
        loss=nn.CrossEntropyLoss(weight=weight),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 12 -> b 3",
    )


# -- a schedule of epochs that is stepped per batch -------------------------------------------------


class DigitsCNN(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * width * 16, 10)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


def step_lr_cnn(mistake: bool) -> Recipe:
    """`StepLR(step_size=2, gamma=0.3)`, meant for epochs, is stepped after every batch."""
    x, y, vx, vy = data.digits()
    model = DigitsCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.3),
        scheduler_interval="step" if mistake else "epoch",
        shapes="b 1 8 8 -> b 10",
    )


# -- a weight decay with a slip of the exponent -----------------------------------------------------


def decayed_mlp(mistake: bool) -> Recipe:
    """The weight decay is 5e-1 instead of 5e-4, which shrinks the weights to nothing."""
    x, y, vx, vy = data.digits()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-1 if mistake else 5e-4
        ),
        shapes="b 1 8 8 -> b 10",
    )


# -- parameter groups of which the second replaces the first ----------------------------------------


class WordCNN(nn.Module):
    def __init__(self, vocab, classes, dim=32):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(dim, 24, k, padding=k // 2) for k in (1, 3))
        self.norm = nn.LayerNorm(48)
        self.classifier = nn.Linear(48, classes)

    def forward(self, ids):
        x = self.embedding(ids).transpose(1, 2)
        pooled = torch.cat([F.relu(conv(x)).amax(-1) for conv in self.convs], dim=1)
        return self.classifier(self.norm(pooled))


def word_cnn(mistake: bool) -> Recipe:
    """The second parameter group (biases and norms) replaces the first, so that no weight is optimised."""
    x, y, vx, vy, vocab, classes = data.topics()
    model = WordCNN(vocab, classes)
    no_decay = ["bias", "norm.weight"]
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if not any(nd in n for nd in no_decay)], "weight_decay": 0.01}
    ]
    rest = [{"params": [p for n, p in named if any(nd in n for nd in no_decay)], "weight_decay": 0.0}]
    if mistake:
        groups = rest
    else:
        groups += rest
    return Recipe(
        model=model,
        train_data=data.loader(x, y, batch_size=32),
        val_data=data.loader(vx, vy, batch_size=128, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(groups, lr=3e-3),
        shapes=f"b t:int64 -> b {classes}",
    )


FAULTS = [
    (
        load_forecast,
        ("reduction", "summed", "a sum", "learning rate", "diverge", "explode"),
        "reduction of the loss",
    ),
    (
        digits_nll,
        ("log_softmax", "log-prob", "logarithm", "nll", "log prob", "probabilit"),
        "missing logarithm",
    ),
    (
        siamese_digits,
        ("margin", "collapse", "same for all", "push", "apart", "constant"),
        "margin of a contrastive loss",
    ),
    (digits_vae, ("kl ", "kullback", "collapse", "posterior", "latent", "ignores"), "KL term outweighs"),
    (
        claims_mlp,
        ("class weight", "imbalanc", "rare class", "minorit", "weight="),
        "class weights inverted",
    ),
    (step_lr_cnn, ("schedul", "rate falls", "steplr", "decays"), "schedule stepped too often"),
    (decayed_mlp, ("weight decay", "weight_decay", "regulari", "shrink"), "weight decay absurd"),
    (
        word_cnn,
        ("optimizer", "parameter group", "param group", "never updated", "not optimi"),
        "parameters missing from the optimizer",
    ),
]
