"""Faults of one forward: samples, times, modes or inputs that are not kept apart."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from .case import fault
from .healthy import breast_cancer, char_lm, digits_cnn, row_reader, text_classifier


@fault(
    char_lm,
    "causality",
    site="blocks.0",
    sees="the training loss is splendid and what is generated is noise",
)
def causal_mask_missing(recipe):
    for block in recipe.model.blocks:
        block.mix = F.scaled_dot_product_attention
    return recipe


@fault(
    char_lm,
    "causality",
    site=("shift", "seen", "has read", "itself", "position"),
    sees="the loss falls to zero: each character is asked for itself",
)
def targets_not_shifted(recipe):
    class Unshifted(torch.utils.data.Dataset):
        def __init__(self, windows):
            self.windows = windows

        def __len__(self):
            return len(self.windows)

        def __getitem__(self, i):
            codes, _ = self.windows[i]
            return codes, codes

    windows = Unshifted(recipe.train_data.dataset)
    return replace(recipe, train_data=DataLoader(windows, batch_size=32, shuffle=True))


@fault(
    char_lm, "causality", site="blocks.0", sees="it learns, badly: positions of a window are mixed up"
)
def heads_merged_without_transpose(recipe):
    def attend(block, x):
        B, T, C = x.shape  # noqa: N806
        heads = block.qkv(x).view(B, T, 3, block.heads, C // block.heads)
        return block.out(block.mix(*heads.permute(2, 0, 3, 1, 4)).reshape(B, T, C))

    for block in recipe.model.blocks:
        block.attend = attend.__get__(block)
    return recipe


@fault(row_reader, "batch_independence", site="lstm", sees="accuracy depends on the batch size")
def batch_first_mixed_up(recipe):
    recipe.model.lstm.batch_first = False
    return recipe


@fault(
    row_reader,
    "batch_independence",
    site=("lstm", "forward", "view", "RowReader"),
    sees="rows of different images end up in one sequence",
)
def view_for_transpose(recipe):
    model = recipe.model
    model.lstm.batch_first = False

    def forward(images):
        hidden, _ = model.lstm(images.view(8, -1, 8))
        return model.head(hidden[-1])

    model.forward = forward
    return recipe


@fault(
    digits_cnn,
    "batch_independence",
    site=("head", "forward", "DigitsCNN", "output", "features"),
    sees="single images get other scores than batches",
)
def scores_normalised_over_the_batch(recipe):
    model = recipe.model
    model.forward = lambda images: 10 * F.normalize(model.head(model.features(images)), dim=0)
    return recipe


@fault(digits_cnn, "eval_is_deterministic", site="head", sees="evaluation differs from call to call")
def dropout_always_on(recipe):
    class AlwaysOn(nn.Module):
        def forward(self, features):
            return F.dropout(features, 0.2)

    recipe.model.head[1] = AlwaysOn()
    return recipe


@fault(
    breast_cancer,
    "shape_contract",
    site=("batch", "b ", "sample"),
    sees="a single patient comes back without a batch axis",
)
def squeeze_takes_the_batch_too(recipe):
    model = recipe.model
    model.forward = lambda features: model.layers(features).squeeze()
    return recipe


@fault(
    digits_cnn,
    "shape_contract",
    site=("head.0", "batch", "b ", "sample"),
    sees="the last, smaller batch raises",
)
def batch_size_written_into_the_model(recipe):
    class Flatten64(nn.Module):
        def forward(self, features):
            return features.reshape(64, -1)

    recipe.model.head[0] = Flatten64()
    data = recipe.train_data.dataset
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True, drop_last=True))


@fault(
    text_classifier,
    "uses_its_inputs",
    site="attention_mask",
    sees="padding is averaged into what short sentences mean",
)
def attention_mask_ignored(recipe):
    model, forward = recipe.model, recipe.model.forward

    def unmasked(input_ids, attention_mask, labels=None):
        return forward(input_ids, torch.ones_like(attention_mask), labels)

    model.forward = unmasked
    return recipe


@fault(digits_cnn, "uses_its_inputs", site="input", sees="threes and eights are confused")
def half_of_the_image_cut_off(recipe):
    model = recipe.model

    def forward(images):
        return model.head(model.features(F.pad(images[..., :4], (0, 4))))

    model.forward = forward
    return recipe


@fault(
    breast_cancer,
    "nonlinearity_is_present",
    site=("layers", "linear", "activation"),
    sees="depth brings nothing",
)
def activations_forgotten(recipe):
    recipe.model.layers[1] = recipe.model.layers[3] = nn.Identity()
    return recipe
