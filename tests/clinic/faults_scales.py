"""Faults of scale: initial weights, activations, normalisation, and backwards written by hand."""

from __future__ import annotations

from dataclasses import replace

import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .case import become, fault
from .healthy import diabetes, row_reader
from .healthy_images import SmallResNet, augmented_cnn, small_resnet, unet
from .healthy_rows import DeepMLP, Swish, SwishMLP, deep_mlp, swish_mlp, wine


@fault(
    wine,
    "initialization_is_sound",
    "gradients_flow",
    site="layers",
    sees="the loss stops at the entropy of the labels",
)
def hidden_layers_start_at_zero(recipe):
    for layer in (recipe.model.layers[0], recipe.model.layers[2]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return recipe


@fault(
    row_reader,
    "initialization_is_sound",
    site="lstm",
    sees="an LSTM of 64 units that learns like one of a single unit",
)
def recurrent_weights_all_the_same(recipe):
    for parameter in recipe.model.lstm.parameters():
        nn.init.constant_(parameter, 0.05)
    return recipe


@fault(
    augmented_cnn,
    "initialization_is_sound",
    site="features.0.0",
    sees="eight filters that stay one filter",
)
def filters_all_the_same(recipe):
    nn.init.constant_(recipe.model.features[0][0].weight, 0.1)
    nn.init.constant_(recipe.model.features[2][0].weight, 0.1)
    return recipe


@fault(
    deep_mlp,
    "initialization_is_sound",
    "gradients_flow",
    site="hidden",
    sees="the loss does not leave ln 2",
)
def deep_weights_too_small(recipe):
    for layer in recipe.model.hidden:
        nn.init.normal_(layer.weight, std=0.01)
    return recipe


@fault(
    deep_mlp,
    "initialization_is_sound",
    "starts_uninformed",
    "training_is_stable",
    site=("hidden", "initial", "weights"),
    sees="the first loss is astronomical",
)
def deep_weights_of_unit_variance(recipe):
    for layer in recipe.model.hidden:
        nn.init.normal_(layer.weight)
    return recipe


@fault(
    deep_mlp,
    "gradients_flow",
    "initialization_is_sound",
    "units_are_alive",
    site=("hidden", "sigmoid", "vanish"),
    sees="eight sigmoids deep, the first layers do not learn",
)
def sigmoid_for_relu_in_a_deep_network(recipe):
    class Sigmoids(DeepMLP):
        def activation(self, x):
            return x.sigmoid()

    become(recipe.model, Sigmoids)
    return recipe


@fault(
    diabetes,
    "units_are_alive",
    "data_is_sound",
    site=("body.1", "body", "input", "features", "data"),
    sees="the tanh layer is a row of switches that never move",
)
def tanh_saturated_by_raw_features(recipe):
    features, _ = load_diabetes(return_X_y=True, scaled=False)
    raw = torch.tensor(features[: len(recipe.train_data.dataset)], dtype=torch.float32)
    data = TensorDataset(raw, recipe.train_data.dataset.tensors[1])
    return replace(recipe, train_data=DataLoader(data, batch_size=32, shuffle=True), val_data=None)


@fault(
    unet,
    "units_are_alive",
    site=("bottom.2", "bottom"),
    sees="the deep half of the U-Net is silent, and nothing wakes it",
)
def normalisation_shift_far_below_zero(recipe):
    nn.init.constant_(recipe.model.bottom[1].bias, -20.0)
    return recipe


@fault(
    deep_mlp,
    "units_are_alive",
    "gradients_flow",
    site=("hidden.2", "activations", "hidden"),
    sees="the loss sticks at the label frequencies although nothing is NaN",
)
def one_hidden_layer_dead_of_its_bias(recipe):
    nn.init.constant_(recipe.model.hidden[2].bias, -50.0)
    return recipe


@fault(
    small_resnet,
    "normalization_learns",
    site=("stem.1", "blocks.0.bn1", "bn1"),
    sees="training is fine, and evaluation is at chance or needs no statistics at all",
    finding="either",
)
def batch_norm_kept_in_eval_mode(recipe):
    class EvalNorm(SmallResNet):
        def train(self, mode=True):  # noqa: FBT002  nn.Module's own signature
            super().train(mode)
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
            return self

    become(recipe.model, EvalNorm)
    recipe.model.train()
    return recipe


@fault(
    unet,
    "normalization_learns",
    site=("momentum", "down.1", "bottom.1", "merge.1"),
    sees="validation is at chance for hundreds of epochs",
)
def momentum_taken_for_its_complement(recipe):
    for module in recipe.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1e-4
    return recipe


@fault(
    unet,
    "normalization_learns",
    site=("batch", "down.1", "one sample"),
    sees="training and evaluation disagree",
    finding="either",
)
def batch_norm_on_batches_of_one(recipe):
    data = recipe.train_data.dataset
    return replace(recipe, train_data=DataLoader(data, batch_size=1, shuffle=True))


@fault(
    swish_mlp,
    "backward_is_correct",
    site=("Swish", "Forgetful"),
    sees="it trains, a little worse than with the built-in",
)
def backward_forgets_a_term(recipe):
    class Forgetful(Swish):
        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return gradient * x.sigmoid()

    class Model(SwishMLP):
        swish = Forgetful

    become(recipe.model, Model)
    return recipe


@fault(
    swish_mlp,
    "backward_is_correct",
    site=("Swish", "Flipped"),
    sees="one sign in a backward written by hand: training is slow and odd",
)
def backward_with_a_wrong_sign(recipe):
    class Flipped(Swish):
        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            gate = x.sigmoid()
            return gradient * (gate - x * gate * (1 - gate))

    class Model(SwishMLP):
        swish = Flipped

    become(recipe.model, Model)
    return recipe


@fault(
    swish_mlp,
    "backward_is_correct",
    site=("Swish", "Doubled"),
    sees="the same model needs half the learning rate when it uses the custom function",
)
def backward_counts_twice(recipe):
    class Doubled(Swish):
        @staticmethod
        def backward(ctx, gradient):
            return 2 * Swish.backward(ctx, gradient)

    class Model(SwishMLP):
        swish = Doubled

    become(recipe.model, Model)
    return recipe
