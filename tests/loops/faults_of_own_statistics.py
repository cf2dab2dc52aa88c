"""Validation data that are standardised by statistics of their own, and what looks like it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

from .data import digits
from .faults import fault
from .healthy import Net, mlp


def _fit(model, train, x_val, *, epochs=4):
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        model.train()
        for x, y in DataLoader(TensorDataset(*train), 32, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x in x_val.split(50):
                model(x)


def _tumours(of_its_own):
    rows, kinds = load_breast_cancer(return_X_y=True)
    order = torch.randperm(len(rows)).numpy()
    known, later = rows[order[:400]], rows[order[400:]]
    scaler = StandardScaler().fit(known)
    others = StandardScaler().fit(later) if of_its_own else scaler
    x, x_val = (
        torch.tensor(part, dtype=torch.float32)
        for part in (scaler.transform(known), others.transform(later))
    )
    _fit(mlp(30, 32, 2), (x, torch.tensor(kinds[order[:400]])), x_val)


def tumours_by_one_scaler():
    _tumours(of_its_own=False)


@fault(tumours_by_one_scaler, "inputs_keep_their_scale", words=("statistics of their own",), advice=True)
def tumours_by_a_scaler_each():
    """It may be meant: of one subject of several, each of which has its own."""
    _tumours(of_its_own=True)


def _pictures(of_its_own):
    images, labels = digits()
    known, later = images[:800], images[800:]
    of = later if of_its_own else known
    _fit(Net(), ((known - known.mean()) / known.std(), labels[:800]), (later - of.mean()) / of.std())


def pictures_by_one_mean():
    _pictures(of_its_own=False)


@fault(pictures_by_one_mean, "inputs_keep_their_scale", words=("statistics of their own",), advice=True)
def pictures_by_a_mean_each():
    _pictures(of_its_own=True)


def pictures_each_by_itself():
    """So are those that are trained on."""
    images, labels = digits()
    flat = images.flatten(1)
    flat = (flat - flat.mean(1, keepdim=True)) / flat.std(1, correction=0, keepdim=True)
    images = flat.reshape(images.shape)
    _fit(Net(), (images[:800], labels[:800]), images[800:])


def all_signs():
    """Every pattern of signs, whose columns are standardised as they are; most are trained on."""
    signs = 2.0 * (torch.arange(256)[:, None] >> torch.arange(8) & 1) - 1
    odd = (signs.prod(1) < 0).long()
    is_held = ((signs[:, :5] > 0).sum(1) - 2.5).abs() < 1
    x_val = signs[is_held]
    _fit(mlp(8, 32, 2), (signs[~is_held], odd[~is_held]), x_val)


def standardised_before_the_split():
    rows, kinds = load_breast_cancer(return_X_y=True)
    rows = torch.tensor(StandardScaler().fit_transform(rows), dtype=torch.float32)
    _fit(mlp(30, 32, 2), (rows[:400], torch.tensor(kinds[:400])), rows[400:])


QUIET = [pictures_each_by_itself, all_signs, standardised_before_the_split]
