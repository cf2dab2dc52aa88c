"""Faults of what the model looks at: inputs, features and layers that do not count."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from .case import become, fault
from .healthy import char_lm
from .healthy_images import (
    ResidualBlock,
    SuperResolution,
    ViT,
    small_resnet,
    super_resolution,
    unet,
    vit,
)
from .healthy_pairs import GraphConvolution, TwoDigits, digit_graphs, two_digits
from .healthy_rows import DeepMLP, WineMLP, deep_mlp, wine


@fault(
    two_digits,
    "uses_its_inputs",
    site=("input 1", "inputs.1", "1 ", "right", "second"),
    sees="recall stays at a half: labels of the right image are never found",
)
def right_image_read_from_the_left(recipe):
    class OnlyLeft(TwoDigits):
        def forward(self, left, right):
            return self.head(torch.cat([self.features(left), self.features(left)], dim=1))

    become(recipe.model, OnlyLeft)
    return recipe


@fault(
    digit_graphs,
    "gradients_flow",
    "uses_its_inputs",
    site=("neighbours", "input 1", "edges"),
    sees="the graph network is no better than a bag of pixels",
    finding="either",
)
def edges_left_out_of_the_convolution(recipe):
    class Lonely(GraphConvolution):
        def forward(self, nodes, edges):
            return self.own(nodes).relu()

    for convolution in recipe.model.convolutions:
        become(convolution, Lonely)
    return recipe


@fault(
    wine,
    "uses_its_inputs",
    site="input",
    sees="five features could be anything; accuracy is a little lower",
)
def last_features_sliced_away(recipe):
    class Sliced(WineMLP):
        def forward(self, features):
            kept = nn.functional.pad(features[:, :8], (0, 5))
            return self.layers(kept)

    become(recipe.model, Sliced)
    return recipe


@fault(
    super_resolution,
    "uses_its_inputs",
    site=("channel", "input"),
    sees="restored photographs lose their colours",
)
def colour_taken_from_the_red_channel(recipe):
    class Grey(SuperResolution):
        def forward(self, images):
            return self.upscale(self.features(images[:, :1].expand(-1, 3, -1, -1)))

    become(recipe.model, Grey)
    return recipe


@fault(
    char_lm,
    "gradients_flow",
    "uses_its_inputs",
    site="positions",
    sees="a transformer that cannot count: order matters less than it should",
    finding="either",
)
def positions_never_added(recipe):
    model = recipe.model
    model.forward = lambda codes: model.head(model.norm(model.blocks(model.tokens(codes))))
    return recipe


@fault(
    unet,
    "uses_its_inputs",
    "gradients_flow",
    site=("bottom", "up"),
    sees="masks lack context: the deep half of the U-Net does nothing",
)
def coarse_half_overwritten(recipe):
    model = recipe.model

    def forward(images):
        fine = model.down(images)
        coarse = model.up(model.bottom(nn.functional.max_pool2d(fine, 2)))
        coarse = fine.repeat(1, 16 // fine.shape[1], 1, 1)
        return model.head(model.merge(torch.cat([fine, coarse], dim=1)))

    model.forward = forward
    return recipe


@fault(
    small_resnet,
    "gradients_flow",
    site=("blocks.0.shortcut", "blocks.2.shortcut"),
    sees="a residual network that trains like a plain one",
    finding="either",
)
def shortcut_never_added(recipe):
    class Plain(ResidualBlock):
        def forward(self, x):
            y = self.bn1(self.conv1(x)).relu()
            return self.bn2(self.conv2(y)).relu()

    for block in recipe.model.blocks:
        if isinstance(block, ResidualBlock):
            become(block, Plain)
    return recipe


@fault(
    digit_graphs,
    "parameters_are_registered",
    site=("convolutions", "plain"),
    sees="accuracy stays low: only the head is trained",
)
def convolutions_in_a_plain_dict(recipe):
    model = recipe.model
    plain = {"first": model.convolutions[0], "second": model.convolutions[1]}
    del model.convolutions
    model.plain = plain
    model.convolutions = plain.values()
    return replace(recipe, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3))


@fault(
    vit,
    "parameters_are_registered",
    site="positions",
    sees="positions are never learned and are not in the checkpoint",
)
def positions_as_a_plain_tensor(recipe):
    model = recipe.model
    positions = model.positions.detach().clone().requires_grad_()
    del model.positions
    model.positions = positions
    return replace(recipe, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3))


@fault(
    wine,
    "nonlinearity_is_present",
    site=("layers", "linear", "activation"),
    sees="depth brings nothing: the model is a logistic regression",
)
def activations_built_and_not_called(recipe):
    class Straight(WineMLP):
        def forward(self, features):
            first, _, second, _, head = self.layers
            return head(second(first(features)))

    become(recipe.model, Straight)
    return recipe


@fault(
    super_resolution,
    "nonlinearity_is_present",
    site=("features", "linear", "activation"),
    sees="it blurs like bicubic interpolation",
)
def convolutions_without_activation(recipe):
    recipe.model.features[1] = recipe.model.features[3] = nn.Identity()
    return recipe


@fault(
    deep_mlp,
    "nonlinearity_is_present",
    site=("hidden.3", "hidden.4"),
    sees="two layers do the work of one",
    finding="advice",
)
def one_activation_missing(recipe):
    class Gap(DeepMLP):
        def forward(self, features):
            for index, layer in enumerate(self.hidden):
                features = layer(features)
                if index != 3:
                    features = self.activation(features)
            return self.head(features)

    become(recipe.model, Gap)
    return recipe


@fault(
    vit,
    "uses_its_inputs",
    "gradients_flow",
    site=("input", "patches", "images"),
    sees="the loss stays at ln 10: the class token never looks at the image",
)
def class_token_read_before_the_blocks(recipe):
    class Blind(ViT):
        def forward(self, images):
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1)
            tokens = tokens + self.positions
            self.blocks(tokens)
            return self.head(self.norm(tokens)[:, 0])

    become(recipe.model, Blind)
    return recipe
