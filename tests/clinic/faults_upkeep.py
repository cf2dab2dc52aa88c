"""Faults in what is shared, masked or kept: memory of weights, stored samples, columns, directions."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from .case import become, fault
from .healthy import char_lm, digits_cnn
from .healthy_pairs import vae
from .healthy_upkeep import CodedTable, PackedReader, coded_diabetes, packed_reader, reverser


class InPlace(Dataset):
    """Standardises the sample that it keeps."""

    def __init__(self, kept):
        self.images, self.labels = (part.clone() for part in kept.tensors)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        image -= 0.3
        image /= 0.4
        return image, self.labels[index]


@fault(
    digits_cnn,
    "workers_are_independent",
    site=("in place", "images"),
    sees="accuracy falls from epoch to epoch",
)
def samples_standardised_in_place(recipe):
    data = InPlace(recipe.train_data.dataset)
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True))


@fault(
    vae, "training_is_stable", site=("sign", "loss"), sees="a loss far below zero, and noise for samples"
)
def divergence_subtracted(recipe):
    def bound(model, batch):
        images, _ = batch
        restored, mean, log_variance = model(images)
        error = F.mse_loss(restored, images, reduction="sum") / len(images)
        surplus = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / len(images)
        return error - 0.1 * surplus, restored

    return replace(recipe, training_step=bound)


@fault(
    char_lm,
    "optimizer_covers_model",
    site=("head.weight", "tokens.weight", "memory"),
    sees="a tied model that trains worse than an untied one",
)
def head_tied_by_its_numbers(recipe):
    model = recipe.model
    model.head.weight = nn.Parameter(model.tokens.weight.data)
    return replace(recipe, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01))


@fault(
    char_lm,
    "causality",
    "batch_independence",
    site=("softmax", "normalise"),
    sees="a loss that is a little too good, and text that is not",
)
def scores_normalised_over_the_queries(recipe):
    def mix(query, key, value):
        future = torch.ones(query.size(2), query.size(2), dtype=torch.bool).triu(1)
        scores = query @ key.transpose(2, 3) / query.size(3) ** 0.5
        return scores.masked_fill(future, float("-inf")).softmax(-2) @ value

    for block in recipe.model.blocks:
        block.mix = mix
    return recipe


@fault(
    reverser,
    "causality",
    site=("shift", "copy", "data"),
    sees="a loss of zero within an epoch, and nothing but noise when it must write by itself",
)
def decoder_fed_what_it_is_to_say(recipe):
    return replace(recipe, forward=lambda model, batch: model(batch[0], batch[2]))


@fault(
    coded_diabetes,
    "uses_its_inputs",
    site=("coded", "input 0", "features"),
    sees="an error that stays where the forgotten column leaves it",
)
def column_looked_up_twice(recipe):
    class Twice(CodedTable):
        def forward(self, coded, numbers):
            first, second, third = self.tables
            found = [first(coded[:, 0]), second(coded[:, 1]), third(coded[:, 1])]
            return self.layers(torch.cat([*found, numbers], 1))[:, 0]

    become(recipe.model, Twice)
    return recipe


@fault(
    packed_reader,
    "batch_independence",
    site=("view", "reshape"),
    sees="accuracy that depends on the batch size",
)
def states_flattened_across_directions(recipe):
    class Flattened(PackedReader):
        def together(self, last):
            return last.view(last.size(1), -1)

    become(recipe.model, Flattened)
    return recipe
