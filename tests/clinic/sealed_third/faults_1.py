"""Faults in what a model's forward and constructor do."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck import Recipe

from . import data

# -- a price regression whose ReLU is made but never called ----------------------------------------


class PriceNet(nn.Module):
    def __init__(self, features, hidden=64, *, call_relu=True):
        super().__init__()
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, 1)
        self.relu = nn.ReLU()
        self.call_relu = call_relu

    def forward(self, x):
        x = self.fc1(x)
        if self.call_relu:
            x = self.relu(x)
        x = self.fc2(x)
        if self.call_relu:
            x = self.relu(x)
        return self.fc3(x).squeeze(-1)


def price_regression(mistake: bool) -> Recipe:
    """The ReLU is created in the constructor but never called, so that the network is one linear map."""
    x, y, vx, vy = data.friedman()
    model = PriceNet(x.size(1), call_relu=not mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b 8 -> b",
    )


# -- a deep residual net without its residuals ------------------------------------------------------


class ResBlock(nn.Module):
    def __init__(self, channels, *, skip):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = skip

    def forward(self, x):
        identity = x
        out = self.conv2(F.relu(self.conv1(x)))
        if self.skip:
            out = out + identity
        return F.relu(out)


class DeepResNet(nn.Module):
    def __init__(self, channels=16, depth=12, *, skip=True):
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[ResBlock(channels, skip=skip) for _ in range(depth)])
        self.fc = nn.Linear(channels * 4, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.stem(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))


def deep_resnet_digits(mistake: bool) -> Recipe:
    """`out = out + identity` is forgotten in a net of 12 blocks without normalisation."""
    x, y, vx, vy = data.digits()
    model = DeepResNet(skip=not mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        shapes="b 1 8 8 -> b 10",
    )


# -- a vision transformer whose position embedding is added to nothing ------------------------------


class TinyViT(nn.Module):
    def __init__(self, dim=48, depth=2, heads=4, *, assign=True):
        super().__init__()
        self.patch_embed = nn.Conv2d(1, dim, kernel_size=2, stride=2)
        self.pos_embed = nn.Parameter(torch.randn(1, 16, dim) * 0.5)
        layer = nn.TransformerEncoderLayer(
            dim, heads, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)
        self.assign = assign

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        if self.assign:
            x = x + self.pos_embed
        else:
            x + self.pos_embed  # noqa: B018
        x = self.encoder(x)
        return self.head(self.norm(x.mean(1)))


def tiny_vit(mistake: bool) -> Recipe:
    """`x + self.pos_embed` is computed but not assigned, so that patches have no position."""
    x, y, vx, vy = data.digits()
    model = TinyViT(assign=not mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
        shapes="b 1 8 8 -> b 10",
    )


# -- an LSTM that reads along the batch -------------------------------------------------------------


class RowLSTM(nn.Module):
    """Reads an image row by row."""

    def __init__(self, hidden=64, **options):
        super().__init__()
        self.lstm = nn.LSTM(8, hidden, num_layers=1, **options)
        self.fc = nn.Linear(hidden, 10)

    def forward(self, x):
        out, _ = self.lstm(x.squeeze(1))
        return self.fc(out[:, -1])


def row_lstm(mistake: bool) -> Recipe:
    """`batch_first=True` is forgotten, so that the LSTM runs along the batch instead of the rows."""
    x, y, vx, vy = data.digits()
    model = RowLSTM() if mistake else RowLSTM(batch_first=True)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=128, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        shapes="b 1 8 8 -> b 10",
    )


# -- a recurrent cell whose state is made anew in each step -----------------------------------------


class WaveGRU(nn.Module):
    def __init__(self, hidden=32, *, reset=False):
        super().__init__()
        self.embed = nn.Linear(1, hidden)
        self.cell = nn.GRUCell(hidden, hidden)
        self.classifier = nn.Linear(hidden, 3)
        self.hidden, self.reset = hidden, reset

    def forward(self, x):
        h = x.new_zeros(x.size(0), self.hidden)
        for t in range(x.size(1)):
            if self.reset:
                h = x.new_zeros(x.size(0), self.hidden)
            h = self.cell(torch.tanh(self.embed(x[:, t])), h)
        return self.classifier(h)


def wave_gru(mistake: bool) -> Recipe:
    """The hidden state is initialised inside the loop over time, so that only the last step counts."""
    x, y, vx, vy = data.waves()
    model = WaveGRU(reset=mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=300, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        max_grad_norm=5.0,
        shapes="b t 1 -> b 3",
    )


# -- a probability of keeping given as a probability of dropping ------------------------------------


def dropout_mlp(mistake: bool) -> Recipe:
    """A `keep_prob` of 0.95, as in TensorFlow 1, is given to `nn.Dropout`, which drops 95 %."""
    keep_prob = 0.95
    p = keep_prob if mistake else 1 - keep_prob
    x, y, vx, vy = data.digits()
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 96),
        nn.ReLU(),
        nn.Dropout(p),
        nn.Linear(96, 96),
        nn.ReLU(),
        nn.Dropout(p),
        nn.Linear(96, 10),
    )
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
    )


# -- weights drawn from N(0, 1) ---------------------------------------------------------------------


class TanhNet(nn.Module):
    def __init__(self, features, classes, width=128, depth=5, *, std_one=False):
        super().__init__()
        sizes = [features, *[width] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.out = nn.Linear(width, classes)

        def init_weights(m):
            if isinstance(m, nn.Linear):
                if std_one:
                    nn.init.normal_(m.weight)
                else:
                    nn.init.xavier_normal_(m.weight)
                nn.init.zeros_(m.bias)

        self.apply(init_weights)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x)


def tanh_digits(mistake: bool) -> Recipe:
    """All weights are drawn from N(0, 1) whatever the width, so that every tanh is saturated."""
    x, y, vx, vy = data.digits()
    x, vx = x.flatten(1) - 0.3, vx.flatten(1) - 0.3
    model = TanhNet(64, 10, std_one=mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, y),
        val_data=data.loader(vx, vy, batch_size=256, shuffle=False),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        shapes="b 64 -> b 10",
    )


# -- binary codes without a straight-through estimator ----------------------------------------------


class HashingAutoencoder(nn.Module):
    """Semantic hashing: an image becomes 24 bits."""

    def __init__(self, bits=24, *, straight_through=True):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, bits))
        self.decoder = nn.Sequential(nn.Linear(bits, 128), nn.ReLU(), nn.Linear(128, 64))
        self.straight_through = straight_through

    def forward(self, images):
        probs = torch.sigmoid(self.encoder(images))
        code = (probs > 0.5).float()
        if self.straight_through:
            code = code + probs - probs.detach()
        return self.decoder(code).view_as(images)


def hashing_autoencoder(mistake: bool) -> Recipe:
    """The code is thresholded without a straight-through estimator: no gradient reaches the encoder."""
    x, _, vx, _ = data.digits()
    model = HashingAutoencoder(straight_through=not mistake)
    return Recipe(
        model=model,
        train_data=data.loader(x, x),
        val_data=data.loader(vx, vx, batch_size=256, shuffle=False),
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 1 8 8",
    )


FAULTS = [
    (price_regression, ("activation", "nonlinear", "non-linear", "linear map"), "missing activation"),
    (deep_resnet_digits, ("residual", "skip", "vanish", "signal", "shrink"), "residual forgotten"),
    (tiny_vit, ("pos_embed", "position", "unused parameter"), "positional encoding not added"),
    (
        row_lstm,
        ("batch_first", "along the batch", "neighbour", "other samples", "mixes samples"),
        "recurrence along the batch",
    ),
    (
        wave_gru,
        ("hidden", "recurr", "earlier", "influence", "last step"),
        "recurrent state reset in each step",
    ),
    (dropout_mlp, ("dropout", "keep_prob", "dropped"), "dropout rate wrong"),
    (tanh_digits, ("init", "saturat", "weights start"), "initialisation too large"),
    (
        hashing_autoencoder,
        ("straight", "threshold", "differentiable", "no gradient", "graph is cut", "argmax"),
        "step without a gradient",
    ),
]
