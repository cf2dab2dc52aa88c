"""Faults of numbers: losses that do not fit, rates and scales that break, divisions by zero."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from .case import fault
from .healthy import autoencoder, breast_cancer, diabetes, digits_cnn, resnet18, row_reader


@fault(
    digits_cnn, "loss_is_sound", site=("softmax", "probabilit"), sees="the loss cannot fall below 1.46"
)
def softmax_before_cross_entropy(recipe):
    recipe.model.head.append(nn.Softmax(dim=1))
    return recipe


@fault(diabetes, "loss_is_sound", site=("broadcast", "shape"), sees="predictions collapse to the mean")
def column_against_row(recipe):
    model = recipe.model
    model.forward = lambda features: model.head(model.body(features))

    def squared_error(outputs, targets):
        return ((outputs - targets) ** 2).mean()

    return replace(recipe, loss=squared_error, shapes="b 10 -> b 1", metrics={})


@fault(
    diabetes,
    "loss_is_sound",
    site=("sign", "negative", "negat", "right answers", "wrong answers"),
    sees="the loss falls without end, and so does the model",
)
def loss_with_its_sign_flipped(recipe):
    mse = nn.MSELoss()
    return replace(recipe, loss=lambda outputs, targets: -mse(outputs, targets))


@fault(
    digits_cnn,
    "outputs_are_finite",
    site="DigitsCNN.forward, before `features`",
    sees="NaN from the first batch on",
)
def empty_columns_divided_by_their_norm(recipe):
    model = recipe.model

    def forward(images):
        images = images / images.norm(dim=2, keepdim=True)
        return model.head(model.features(images))

    model.forward = forward
    return recipe


@fault(
    diabetes,
    "training_is_stable",
    "outputs_are_finite",
    site="head.weight",
    sees="NaN after the first step",
)
def square_root_of_a_zero_weight_norm(recipe):
    head, mse = recipe.model.head, nn.MSELoss()
    nn.init.zeros_(head.weight)

    def penalised(outputs, targets):
        return mse(outputs, targets) + 1e-3 * head.weight.square().sum().sqrt()

    return replace(recipe, loss=penalised)


@fault(
    row_reader,
    "training_is_stable",
    "parameters_update",
    "loss_decreases",
    site=("learning rate", "learning_rate", "lr"),
    sees="the loss leaps to thousands",
)
def learning_rate_a_thousand_times_too_high(recipe):
    for group in recipe.optimizer.param_groups:
        group["lr"] *= 1000
    return recipe


@fault(
    autoencoder,
    "parameters_update",
    "loss_decreases",
    site=("learning rate", "learning_rate", "lr"),
    sees="a flat line",
)
def learning_rate_a_million_times_too_low(recipe):
    for group in recipe.optimizer.param_groups:
        group["lr"] *= 1e-6
    return recipe


@fault(breast_cancer, "initialization_is_sound", site="layers", sees="64 units that learn like one")
def weights_all_the_same(recipe):
    for parameter in recipe.model.parameters():
        nn.init.constant_(parameter, 0.05)
    return recipe


@fault(
    breast_cancer,
    "starts_uninformed",
    "initialization_is_sound",
    site=("initial", "weight", "logit", "scale", "layers"),
    sees="the first epochs undo the first loss",
)
def initial_weights_ten_times_too_large(recipe):
    with torch.no_grad():
        for parameter in recipe.model.parameters():
            parameter.mul_(10)
    return recipe


@fault(
    breast_cancer, "units_are_alive", site="layers.1", sees="the loss stops at the entropy of the labels"
)
def units_dead_from_the_start(recipe):
    nn.init.constant_(recipe.model.layers[0].bias, -100.0)
    return recipe


@fault(
    digits_cnn,
    "normalization_learns",
    site="features.1",
    sees="fine in training, at chance in evaluation",
)
def running_statistics_that_never_move(recipe):
    recipe.model.features[1].momentum = 0.0
    return recipe


@fault(
    resnet18,
    "normalization_learns",
    site="bn1",
    steps=20,
    sees="fine in training, at chance in evaluation",
)
def batch_norm_momentum_of_a_millionth(recipe):
    for module in recipe.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1e-6
    return recipe
