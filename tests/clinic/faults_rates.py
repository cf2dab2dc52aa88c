"""Faults of how far a step goes: learning rates, their schedules, clipping, decay and precision."""

from __future__ import annotations

from dataclasses import replace

import torch

from .case import fault
from .healthy import digits_cnn
from .healthy_images import small_resnet, unet, vit
from .healthy_rows import char_lstm, deep_mlp, wine


def regroup(recipe, **options):
    """The recipe with other options in its optimizer."""
    for group in recipe.optimizer.param_groups:
        group.update(options)
    return recipe


@fault(
    vit,
    "training_is_stable",
    "parameters_update",
    "loss_decreases",
    site=("learning rate", "learning_rate", "lr"),
    sees="the loss jumps to 10 and stays near ln 10",
)
def learning_rate_of_a_transformer_two_hundred_times_too_high(recipe):
    return regroup(recipe, lr=0.4)


@fault(
    small_resnet,
    "training_is_stable",
    "parameters_update",
    "loss_decreases",
    site=("learning rate", "learning_rate", "lr"),
    sees="the loss explodes in the first steps",
)
def learning_rate_of_sgd_taken_for_percent(recipe):
    return regroup(recipe, lr=5.0)


@fault(
    unet,
    "parameters_update",
    "loss_decreases",
    site=("learning rate", "learning_rate", "lr"),
    sees="the loss is a flat line",
)
def learning_rate_ten_thousand_times_too_low(recipe):
    return regroup(recipe, lr=3e-7)


@fault(
    wine,
    "learning_rate_fits",
    site=("learning rate", "learning_rate", "lr"),
    sees="it trains, fifty times slower than it could",
    finding="either",
)
def learning_rate_a_hundred_times_too_low(recipe):
    return regroup(recipe, lr=5e-4)


@fault(
    char_lstm,
    "parameters_update",
    "loss_decreases",
    "overfits_a_batch",
    site=("eps", "learning rate", "learning_rate", "lr"),
    sees="Adam trains as slowly as if it were stopped",
)
def adam_epsilon_of_a_hundred(recipe):
    return regroup(recipe, eps=100.0)


@fault(
    small_resnet,
    "training_is_stable",
    "loss_decreases",
    "parameters_update",
    "overfits_a_batch",
    site="momentum",
    sees="the loss swings and grows",
)
def momentum_of_one(recipe):
    return regroup(recipe, momentum=1.0)


@fault(
    vit,
    "parameters_update",
    "loss_decreases",
    "overfits_a_batch",
    site=("weight decay", "weight_decay", "decay"),
    sees="weights go to zero and the loss to ln 10",
)
def weight_decay_in_place_of_the_learning_rate(recipe):
    return regroup(recipe, weight_decay=200.0)


@fault(
    wine,
    "loss_decreases",
    "loss_is_sound",
    "training_is_stable",
    "overfits_a_batch",
    site=("maximize", "ascen", "sign"),
    sees="the loss rises from step to step",
)
def optimizer_told_to_maximize(recipe):
    return regroup(recipe, maximize=True)


@fault(
    char_lstm,
    "loss_decreases",
    "parameters_update",
    "training_is_stable",
    site=("schedul", "learning rate", "learning_rate", "lr"),
    sees="the loss falls for ten steps and then not at all",
    finding="either",
)
def schedule_of_epochs_stepped_every_batch(recipe):
    schedule = torch.optim.lr_scheduler.StepLR(recipe.optimizer, step_size=3, gamma=0.1)
    return replace(recipe, scheduler=schedule)


@fault(
    small_resnet,
    "parameters_update",
    "loss_decreases",
    site=("clip", "max_grad_norm", "gradient norm"),
    sees="nothing moves, at any learning rate that looks sane",
)
def gradients_clipped_to_nothing(recipe):
    return replace(recipe, max_grad_norm=1e-6)


@fault(
    deep_mlp,
    "parameters_update",
    site=("bf16", "bfloat16", "round"),
    sees="half of the weights never change although all have gradients",
    finding="either",
    steps=100,
)
def weights_kept_in_bfloat16(recipe):
    recipe.model.to(torch.bfloat16)
    return replace(
        recipe,
        forward=lambda model, batch: model(batch[0].bfloat16()).float(),
        val_data=None,
    )


@fault(
    digits_cnn,
    "loss_decreases",
    "training_is_stable",
    "parameters_update",
    "overfits_a_batch",
    "gradients_flow",
    site=("dropout", "head.1"),
    sees="the loss hardly falls; validation is better than training",
    finding="either",
)
def dropout_of_ninety_nine_percent(recipe):
    recipe.model.head[1].p = 0.99
    return recipe
