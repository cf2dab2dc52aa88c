"""Faults of the data: order, scale, splits and labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from sklearn.datasets import load_breast_cancer
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from .case import fault
from .healthy import breast_cancer, digits_cnn


@fault(digits_cnn, "batches_are_shuffled", site="data")
def samples_sorted_by_label(recipe):
    data = recipe.train_data.dataset
    data = Subset(data, data.tensors[1].argsort().tolist())
    return replace(recipe, train_data=DataLoader(data, batch_size=64))


@fault(digits_cnn, "splits_do_not_overlap", site="data")
def validation_cut_from_training(recipe):
    half = Subset(recipe.train_data.dataset, range(200))
    data = ConcatDataset([half, recipe.val_data.dataset])
    return replace(recipe, val_data=DataLoader(data, batch_size=256))


@fault(breast_cancer, "data_is_sound", site="")
def features_not_scaled(recipe):
    features, labels = load_breast_cancer(return_X_y=True)
    raw = TensorDataset(
        torch.tensor(features, dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)
    )
    return replace(recipe, train_data=DataLoader(raw, batch_size=32, shuffle=True), val_data=None)


@fault(digits_cnn, "data_is_sound", site="")
def pixels_from_0_to_255(recipe):
    images, labels = recipe.train_data.dataset.tensors
    data = TensorDataset(images * 255, labels)
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True), val_data=None)


@fault(digits_cnn, "data_is_sound", site="")
def one_missing_value(recipe):
    images, labels = recipe.train_data.dataset.tensors
    images = images.clone()
    images[::50, 0, 3, 3] = float("nan")
    data = TensorDataset(images, labels)
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True))


@fault(digits_cnn, "generalizes", site="")
def validation_labels_of_other_images(recipe):
    images, labels = recipe.val_data.dataset.tensors
    return replace(recipe, val_data=(images, labels.roll(7)))
