"""Faults of what is trained: gradients that do not arrive, optimizers that hold the wrong things."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from .case import fault
from .healthy import autoencoder, breast_cancer, digits_cnn, example, gan, transfer


@fault(digits_cnn, "optimizer_covers_model", site="head", sees="the new head stays random")
def head_swapped_after_the_optimizer_was_built(recipe):
    recipe.model.head[2] = nn.Linear(512, 10)
    return recipe


@fault(
    digits_cnn,
    "optimizer_covers_model",
    site="head.2.bias",
    sees="hardly anything: one bias stays as it was",
)
def bias_missing_from_the_optimizer(recipe):
    kept = [p for name, p in recipe.model.named_parameters() if name != "head.2.bias"]
    return replace(recipe, optimizer=torch.optim.AdamW(kept, lr=3e-3))


@fault(breast_cancer, "optimizer_covers_model", site="layers", sees="the loss does not move")
def optimizer_of_a_stale_copy(recipe):
    stale = example("test_breast_cancer_mlp").TumourMLP(64)
    return replace(recipe, optimizer=torch.optim.Adam(stale.parameters(), lr=3e-3))


@fault(
    digits_cnn, "optimizer_covers_model", site="features", finding="advice", sees="only the head learns"
)
def features_frozen_by_mistake(recipe):
    recipe.model.features.requires_grad_(requires_grad=False)
    return recipe


@fault(
    digits_cnn,
    "optimizer_covers_model",
    "gradients_flow",
    site=("requires_grad", "trainable", "frozen"),
    sees="backward raises, or nothing moves",
)
def everything_frozen_by_mistake(recipe):
    recipe.model.requires_grad_(requires_grad=False)
    return recipe


@fault(
    autoencoder,
    "gradients_flow",
    site="encoder",
    sees="the code is random, the decoder does what it can",
)
def encoder_detached(recipe):
    model = recipe.model
    model.forward = lambda images: model.decoder(model.encoder(images).detach())
    return recipe


@fault(digits_cnn, "gradients_flow", site="features", sees="only the head learns")
def features_under_no_grad(recipe):
    model = recipe.model

    def forward(images):
        with torch.no_grad():
            features = model.features(images)
        return model.head(features)

    model.forward = forward
    return recipe


@fault(gan, "gradients_flow", site="generator", sees="noise for ever")
def generator_never_gets_a_gradient(recipe):
    generate, discriminate = recipe.optimizer
    loss, noise = example("test_gan").realness_loss, example("test_gan").NOISE

    def training_step(model, batch):
        images, _ = batch
        fakes = model(torch.randn(len(images), noise, device=images.device)).detach()
        real = loss(model.discriminator(images), real=True)
        yield discriminate, real + loss(model.discriminator(fakes), real=False)
        yield generate, loss(model.discriminator(fakes), real=True)

    return replace(recipe, training_step=training_step)


@fault(breast_cancer, "parameters_are_registered", site="hidden", sees="only the last layer learns")
def layers_in_a_plain_list(recipe):
    class ListMLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = [nn.Linear(30, 64), nn.Linear(64, 64)]
            self.head = nn.Linear(64, 1)

        def forward(self, features):
            for layer in self.hidden:
                features = F.relu(layer(features))
            return self.head(features).squeeze(-1)

    model = ListMLP()
    return replace(recipe, model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3))


@fault(
    transfer, "frozen_stay_frozen", site="backbone.layer4", steps=20, sees="pretrained features are lost"
)
def frozen_block_fine_tuned(recipe):
    recipe.model.backbone.layer4.requires_grad_(requires_grad=True)
    trainable = [p for p in recipe.model.parameters() if p.requires_grad]
    return replace(recipe, optimizer=torch.optim.Adam(trainable, lr=3e-3))


@fault(
    transfer,
    "frozen_stay_frozen",
    site="backbone.bn1",
    steps=20,
    finding="advice",
    sees="statistics of the pretraining drift away",
)
def frozen_backbone_left_in_train_mode(recipe):
    model = recipe.model
    model.train = lambda mode=True: nn.Module.train(model, mode)
    model.train()
    return recipe
