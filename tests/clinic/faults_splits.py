"""Faults of what samples are drawn from: order, splits and workers."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from .case import fault
from .faults_samples import VALIDATION, training_on
from .healthy import digits_cnn
from .healthy_images import Jittered, augmented_cnn, small_resnet, vit
from .healthy_pairs import TwoInputs, two_digits
from .healthy_rows import char_lstm, deep_mlp, wine


@fault(
    wine,
    "batches_are_shuffled",
    site=("shuffle", "sorted", "order", "data"),
    sees="the loss saws up and down with the classes of the file",
)
def file_sorted_by_class_and_not_shuffled(recipe):
    features, labels = recipe.train_data.dataset.tensors
    order = labels.argsort()
    return training_on(recipe, features[order], labels[order], shuffle=False)


@fault(
    deep_mlp,
    "batches_are_shuffled",
    site=("shuffle", "order", "sorted", "data"),
    sees="each batch holds one class: the sampler groups what it should mix",
)
def batches_of_one_class_each(recipe):
    features, labels = recipe.train_data.dataset.tensors
    order = labels.argsort()
    batches = order.split(32)
    mixed = [batches[i] for i in torch.randperm(len(batches)).tolist()]
    loader = DataLoader(TensorDataset(features, labels), batch_sampler=[b.tolist() for b in mixed])
    return replace(recipe, train_data=loader)


@fault(
    augmented_cnn,
    "batches_are_shuffled",
    site=("epoch", "order", "shuffle"),
    sees="every epoch goes through the same batches in the same order",
    finding="either",
)
def same_order_in_every_epoch(recipe):
    images = recipe.train_data.dataset
    return replace(recipe, train_data=DataLoader(images, batch_size=64, num_workers=2))


@fault(
    wine,
    "splits_do_not_overlap",
    site=("validation", "val_data", "overlap", "data"),
    sees="validation is as good as training, and the next harvest a surprise",
)
def validated_on_the_training_set(recipe):
    return replace(recipe, val_data=recipe.train_data.dataset)


@fault(
    digits_cnn,
    "splits_do_not_overlap",
    site=("duplicate", "overlap", "validation", "data"),
    sees="validation holds augmented copies of what was trained on",
)
def split_after_augmentation(recipe):
    images, labels = recipe.train_data.dataset.tensors
    noise = torch.Generator().manual_seed(0)
    copies = images[:300] + 0.01 * torch.randn(images[:300].shape, generator=noise)
    return replace(recipe, val_data=TensorDataset(copies, labels[:300]))


@fault(
    two_digits,
    "splits_do_not_overlap",
    site=("validation", "overlap", "data", "duplicate"),
    sees="half of the validation pairs were trained on",
)
def some_training_pairs_in_validation(recipe):
    train, val = recipe.train_data.dataset, recipe.val_data.dataset
    assert isinstance(train, TwoInputs)
    data = ConcatDataset([Subset(train, range(len(val))), val])
    return replace(recipe, val_data=DataLoader(data, batch_size=256))


@fault(
    small_resnet,
    "generalizes",
    "data_is_sound",
    site=VALIDATION,
    sees="training at 99 %, validation at chance: only one of the two was divided by 16",
)
def validation_not_scaled_like_training(recipe):
    images, labels = recipe.val_data.dataset.tensors
    return replace(recipe, val_data=TensorDataset(16 * images, labels))


@fault(
    vit,
    "generalizes",
    "data_is_sound",
    site=VALIDATION,
    sees="validation is at chance: ink and paper are exchanged",
)
def validation_images_inverted(recipe):
    images, labels = recipe.val_data.dataset.tensors
    return replace(recipe, val_data=TensorDataset(1 - images, labels))


@fault(
    wine,
    "generalizes",
    site=VALIDATION,
    sees="validation below chance: the label encoder was fitted a second time",
)
def classes_numbered_anew_for_validation(recipe):
    features, labels = recipe.val_data.tensors
    return replace(recipe, val_data=TensorDataset(features, (labels + 1) % 3))


@fault(
    char_lstm,
    "generalizes",
    "data_is_sound",
    site=VALIDATION,
    sees="validation loss rises from the start: another alphabet",
)
def validation_text_encoded_with_another_alphabet(recipe):
    text, targets = recipe.val_data.dataset.tensors
    last = int(text.max())
    return replace(recipe, val_data=TensorDataset(last - text, last - targets))


class OwnNoise(Jittered):
    """Noise from a generator made once, of which each worker gets a copy."""

    def __init__(self, data):
        super().__init__(data)
        self.random = np.random.default_rng(0)

    def noise(self, shape):
        return torch.from_numpy(self.random.standard_normal(shape)).float()


def seeded_alike(worker):
    torch.manual_seed(0)


@fault(
    augmented_cnn,
    "workers_are_independent",
    site=("worker", "random", "augment"),
    sees="augmentation is half as varied as it looks, and the same in each epoch",
)
def generator_copied_to_every_worker(recipe):
    data = OwnNoise(recipe.train_data.dataset.data)
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True, num_workers=2))


@fault(
    augmented_cnn,
    "workers_are_independent",
    site=("worker", "seed", "random", "augment"),
    sees="all workers draw the same noise",
)
def workers_seeded_alike(recipe):
    data = recipe.train_data.dataset
    return replace(
        recipe,
        train_data=DataLoader(
            data, batch_size=64, shuffle=True, num_workers=2, worker_init_fn=seeded_alike
        ),
    )


@fault(
    small_resnet,
    "loader_keeps_up",
    site=("wait", "load", "data"),
    sees="the GPU idles: each sample is decoded anew, one after the other",
    finding="advice",
    steps=20,
)
def each_sample_decoded_slowly(recipe):
    class Slow(Jittered):
        def __getitem__(self, i):
            time.sleep(0.004)
            return self.data[i]

    data = Slow(recipe.train_data.dataset)
    return replace(recipe, train_data=DataLoader(data, batch_size=32, shuffle=True, drop_last=True))
