"""Faults of the data: order, scale, splits and labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from sklearn.datasets import load_breast_cancer
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from .case import fault
from .healthy import breast_cancer, digits_cnn


@fault(
    digits_cnn,
    "batches_are_shuffled",
    site=("shuffle", "sort", "order", "data"),
    sees="the loss falls and jumps with each new class",
)
def samples_sorted_by_label(recipe):
    data = recipe.train_data.dataset
    data = Subset(data, data.tensors[1].argsort().tolist())
    return replace(recipe, train_data=DataLoader(data, batch_size=64))


@fault(
    digits_cnn,
    "splits_do_not_overlap",
    site=("validation", "overlap", "data", "duplicate"),
    sees="validation is too good to be true",
)
def validation_cut_from_training(recipe):
    half = Subset(recipe.train_data.dataset, range(200))
    data = ConcatDataset([half, recipe.val_data.dataset])
    return replace(recipe, val_data=DataLoader(data, batch_size=256))


@fault(
    breast_cancer,
    "data_is_sound",
    site=("scale", "feature", "input", "spread", "column"),
    sees="the loss jumps about: one feature is in the thousands",
)
def features_not_scaled(recipe):
    features, labels = load_breast_cancer(return_X_y=True)
    raw = TensorDataset(
        torch.tensor(features, dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)
    )
    return replace(recipe, train_data=DataLoader(raw, batch_size=32, shuffle=True), val_data=None)


@fault(
    digits_cnn,
    "data_is_sound",
    site=("scale", "255", "input", "range", "spread"),
    sees="the first steps are wild",
)
def pixels_from_0_to_255(recipe):
    images, labels = recipe.train_data.dataset.tensors
    data = TensorDataset(images * 255, labels)
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True), val_data=None)


@fault(
    digits_cnn,
    "data_is_sound",
    site=("nan", "input", "finite", "missing"),
    sees="the loss is NaN now and then",
)
def one_missing_value(recipe):
    images, labels = recipe.train_data.dataset.tensors
    images = images.clone()
    images[::50, 0, 3, 3] = float("nan")
    data = TensorDataset(images, labels)
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True))


@fault(
    digits_cnn,
    "generalizes",
    site=("validation", "val_data", "val "),
    sees="training at 99 %, validation at chance",
)
def validation_labels_of_other_images(recipe):
    images, labels = recipe.val_data.dataset.tensors
    return replace(recipe, val_data=(images, labels.roll(7)))
