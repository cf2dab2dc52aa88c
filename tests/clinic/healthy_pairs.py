"""Healthy twins of several parts: two inputs, graphs, contrast, a teacher, a latent code."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from pytest_dlcheck import Recipe

from .case import twin
from .healthy import digits


class TwoInputs(Dataset):
    """Samples of two inputs and a target."""

    def __init__(self, first, second, targets):
        self.tensors = first, second, targets

    def __len__(self):
        return len(self.tensors[0])

    def __getitem__(self, i):
        first, second, targets = self.tensors
        return (first[i], second[i]), targets[i]


class TwoDigits(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, left, right):
        return self.head(torch.cat([self.features(left), self.features(right)], dim=1))


def couples(split):
    """Each digit beside another one, and which labels occur on the two."""
    images, labels = split.tensors
    other = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    present = F.one_hot(labels, 10) | F.one_hot(labels[other], 10)
    return TwoInputs(images, images[other], present.float())


@twin("two-branch CNN", "multi-label classification")
def two_digits() -> Recipe:
    model = TwoDigits()
    return Recipe(
        model=model,
        train_data=DataLoader(couples(digits().train), batch_size=64, shuffle=True),
        val_data=DataLoader(couples(digits().val), batch_size=256),
        loss=nn.BCEWithLogitsLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        shapes="b 1 8 8, b 1 8 8 -> b 10",
    )


class GraphConvolution(nn.Module):
    """The mean over the neighbours, the node itself among them, and a linear map."""

    def __init__(self, width_in, width_out):
        super().__init__()
        self.own = nn.Linear(width_in, width_out)
        self.neighbours = nn.Linear(width_in, width_out, bias=False)

    def forward(self, nodes, edges):
        return F.relu(self.own(nodes) + self.neighbours(self.mean(nodes, edges)))

    def mean(self, nodes, edges):
        return edges @ nodes / edges.sum(2, keepdim=True).clamp(min=1)


class GraphClassifier(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.convolutions = nn.ModuleList([GraphConvolution(3, width), GraphConvolution(width, width)])
        self.head = nn.Linear(2 * width, 10)

    def forward(self, nodes, edges):
        present = edges.diagonal(dim1=1, dim2=2).unsqueeze(2)
        for convolution in self.convolutions:
            nodes = convolution(nodes, edges) * present
        mean = nodes.sum(1) / present.sum(1)
        return self.head(torch.cat([mean, nodes.amax(1)], dim=1))


@cache
def graphs(part):
    """A node for each pixel with ink (its grey, row and column), an edge to each that touches it."""
    images, labels = digits()[part].tensors
    place = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij"), -1)
    place = place.view(64, 2).float()
    touching = (torch.cdist(place, place) < 1.5).float()
    grey = images.flatten(1)
    inked = (grey > 0.2).float()
    nodes = torch.cat([grey.unsqueeze(2), (place / 3.5 - 1).expand(len(grey), -1, -1)], dim=2)
    return TwoInputs(
        nodes * inked.unsqueeze(2), touching * inked.unsqueeze(1) * inked.unsqueeze(2), labels
    )


@twin("GNN", "graph classification")
def digit_graphs() -> Recipe:
    model = GraphClassifier()
    return Recipe(
        model=model,
        train_data=DataLoader(graphs(0), batch_size=32, shuffle=True),
        val_data=DataLoader(graphs(1), batch_size=128),
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=5e-3),
        shapes="b n 3, b n n -> b 10",
    )


class Contrastive(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
        self.projector = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
        self.sharpness = nn.Parameter(torch.tensor(2.0))

    def forward(self, images):
        return F.normalize(self.projector(self.encoder(images)), dim=1)


def view(images):
    """The images, shifted by up to a pixel and noisy."""
    shift = torch.randint(-1, 2, (2,)).tolist()
    return images.roll(shift, dims=(2, 3)) + 0.1 * torch.randn_like(images)


def contrast(model, batch):
    images, _ = batch
    one, other = model(view(images)), model(view(images))
    logits = one @ other.T * model.sharpness.exp()
    which = torch.arange(len(images), device=logits.device)
    return (F.cross_entropy(logits, which) + F.cross_entropy(logits.T, which)) / 2


@twin("siamese MLP", "contrastive learning")
def contrastive() -> Recipe:
    model = Contrastive()
    return Recipe(
        model=model,
        train_data=DataLoader(digits().train, batch_size=64, shuffle=True, drop_last=True),
        training_step=contrast,
        optimizer=torch.optim.Adam(model.parameters(), lr=2e-3),
        batch_dim=None,
    )


def digit_mlp(width):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


@cache
def teacher_weights():
    """Those of a wide network after two epochs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = digit_mlp(128)
        optimizer = torch.optim.Adam(teacher.parameters(), lr=5e-3)
        for _ in range(2):
            for images, labels in DataLoader(digits().train, batch_size=64, shuffle=True):
                optimizer.zero_grad()
                F.cross_entropy(teacher(images), labels).backward()
                optimizer.step()
    return teacher.state_dict()


class Distillation(nn.Module):
    def __init__(self):
        super().__init__()
        self.teacher = digit_mlp(128)
        self.teacher.load_state_dict(teacher_weights())
        self.teacher.requires_grad_(requires_grad=False)
        self.student = digit_mlp(32)

    def forward(self, images):
        return self.student(images)


def distil(model, batch):
    images, labels = batch
    logits, aim = model(images), model.teacher(images)
    soft = F.kl_div(F.log_softmax(logits / 2, dim=1), F.softmax(aim / 2, dim=1), reduction="batchmean")
    return 4 * soft + F.cross_entropy(logits, labels), logits


@twin("teacher and student MLP", "distillation")
def distillation() -> Recipe:
    model = Distillation()
    return Recipe(
        model=model,
        train_data=DataLoader(digits().train, batch_size=64, shuffle=True),
        val_data=DataLoader(digits().val, batch_size=256),
        training_step=distil,
        optimizer=torch.optim.AdamW(model.student.parameters(), lr=3e-3),
        shapes="b 1 8 8 -> b 10",
        frozen=["teacher.*"],
    )


class VAE(nn.Module):
    def __init__(self, code=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU())
        self.mean = nn.Linear(96, code)
        self.log_variance = nn.Linear(96, code)
        self.decoder = nn.Sequential(
            nn.Linear(code, 96), nn.ReLU(), nn.Linear(96, 64), nn.Unflatten(1, (1, 8, 8))
        )

    def encode(self, images):
        hidden = self.encoder(images)
        return self.mean(hidden), self.log_variance(hidden)

    def draw(self, mean, log_variance):
        if not self.training:
            return mean
        return mean + (log_variance / 2).exp() * torch.randn_like(mean)

    def forward(self, images):
        mean, log_variance = self.encode(images)
        return self.decoder(self.draw(mean, log_variance)), mean, log_variance


def evidence_bound(model, batch):
    images, _ = batch
    restored, mean, log_variance = model(images)
    error = F.mse_loss(restored, images, reduction="sum") / len(images)
    surplus = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / len(images)
    return error + 0.1 * surplus, restored


@twin("VAE", "generation")
def vae() -> Recipe:
    model = VAE()
    return Recipe(
        model=model,
        train_data=DataLoader(digits().train, batch_size=64, shuffle=True),
        val_data=DataLoader(digits().val, batch_size=256),
        training_step=evidence_bound,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    )
