"""Samplers whose weights leave out most samples, beside those that mean it or leave out none."""

from __future__ import annotations

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from .data import digits
from .faults import fault, train_classifier


def few_of_some():
    """Digits, of which the odd ones are rare."""
    images, labels = (part[:1000] for part in digits())
    keep = (labels % 2 == 0) | (torch.arange(1000) % 5 == 0)
    return TensorDataset(images[keep], labels[keep])


def drawn_by(made, size=32):
    data = few_of_some()
    labels = data.tensors[1]
    weights = 1 / torch.bincount(labels, minlength=10)
    train_classifier(train=DataLoader(data, size, sampler=made(weights, labels)), epochs=4)


def weight_per_sample():
    drawn_by(lambda weights, labels: WeightedRandomSampler(weights[labels], len(labels)))


@fault(weight_per_sample, "batches_are_fresh", words=("a weight for each sample",))
def weight_per_class():
    drawn_by(lambda weights, labels: WeightedRandomSampler(weights, len(labels)))


@fault(weight_per_sample, "batches_are_fresh", words=("a weight for each sample",))
def weight_per_class_in_batches_of_a_sampler():
    drawn_by(
        lambda weights, labels: BatchSampler(
            WeightedRandomSampler(weights, len(labels)), 16, drop_last=True
        ),
        None,
    )


@fault(weight_per_sample, "batches_are_fresh", words=("can never be drawn",), advice=True)
def few_labelled_ones():
    drawn_by(lambda _, labels: WeightedRandomSampler((torch.arange(len(labels)) < 40).double(), 400))


# -- healthy neighbours ---------------------------------------------------------------------------


def each_at_most_once():
    drawn_by(lambda weights, labels: WeightedRandomSampler(weights[labels], 300, replacement=False))


def a_part_of_the_samples():
    drawn_by(lambda _, labels: SubsetRandomSampler(range(len(labels) // 2)))


def all_samples_too():
    data = few_of_some()
    some = WeightedRandomSampler(1 / torch.arange(1, 41), 200)
    plain, weighted = DataLoader(data, 32, shuffle=True), DataLoader(data, 32, sampler=some)

    class Both:
        def __iter__(self):
            yield from weighted
            yield from plain

        def __len__(self):
            return len(plain) + len(weighted)

    train_classifier(train=Both())


QUIET = [each_at_most_once, a_part_of_the_samples, all_samples_too]
"""None of them may raise an alarm."""
