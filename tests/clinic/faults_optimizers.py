"""Faults of what is trained: parameters that an optimizer misses, gradients that do not arrive."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from .case import become, fault
from .healthy import autoencoder, char_lm, gan, text_classifier
from .healthy_images import SmallResNet, small_resnet
from .healthy_pairs import contrastive, digit_graphs, distillation, vae
from .healthy_rows import space_tagger


@fault(
    gan,
    "optimizer_covers_model",
    site="discriminator",
    sees="the discriminator is pushed to and fro and never gets good",
)
def generators_optimizer_holds_the_discriminator_too(recipe):
    both, _ = recipe.optimizer
    both.add_param_group({"params": list(recipe.model.discriminator.parameters())})
    return recipe


@fault(
    vae,
    "optimizer_covers_model",
    site="decoder",
    sees="reconstructions stay blurred: only the encoder learns",
)
def decoder_missing_from_the_optimizer(recipe):
    model = recipe.model
    half = [*model.encoder.parameters(), *model.mean.parameters(), *model.log_variance.parameters()]
    return replace(recipe, optimizer=torch.optim.Adam(half, lr=3e-3))


@fault(
    contrastive,
    "optimizer_covers_model",
    site="sharpness",
    sees="the temperature in the log is a straight line",
)
def temperature_missing_from_the_optimizer(recipe):
    rest = [p for name, p in recipe.model.named_parameters() if name != "sharpness"]
    return replace(recipe, optimizer=torch.optim.Adam(rest, lr=2e-3))


@fault(
    small_resnet,
    "optimizer_covers_model",
    site=("stem.1", "blocks.0.bn1", "bn1"),
    sees="normalisations keep a weight of 1 and a bias of 0",
)
def normalisations_filtered_out_of_the_optimizer(recipe):
    kept = [p for p in recipe.model.parameters() if p.ndim > 1]
    return replace(recipe, optimizer=torch.optim.SGD(kept, lr=0.05, momentum=0.9))


@fault(
    contrastive,
    "optimizer_covers_model",
    site="projector",
    sees="the new projector is as random at the end as at the beginning",
)
def projector_replaced_after_the_optimizer_was_built(recipe):
    recipe.model.projector = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32))
    return recipe


@fault(
    distillation,
    "frozen_stay_frozen",
    site="teacher",
    sees="teacher and student agree better and better, and both get worse",
)
def teacher_trained_along(recipe):
    recipe.model.teacher.requires_grad_(requires_grad=True)
    return replace(recipe, optimizer=torch.optim.AdamW(recipe.model.parameters(), lr=3e-3))


@fault(
    text_classifier,
    "frozen_stay_frozen",
    site="words",
    sees="pretrained embeddings shrink although their gradient is zero",
)
def embedding_frozen_by_a_zero_gradient_still_decays(recipe):
    recipe.model.words.weight.register_hook(torch.zeros_like)
    optimizer = torch.optim.AdamW(recipe.model.parameters(), lr=3e-3, weight_decay=0.1)
    return replace(recipe, optimizer=optimizer, frozen=["words.*"])


@fault(
    autoencoder,
    "gradients_flow",
    site="encoder",
    sees="the decoder learns a mean digit, the code says nothing",
)
def code_rounded_without_straight_through(recipe):
    model = recipe.model
    model.forward = lambda images: model.decoder((4 * model.encoder(images)).round() / 4)
    return recipe


@fault(
    digit_graphs,
    "gradients_flow",
    site="convolutions",
    sees="only the head learns",
)
def features_through_numpy(recipe):
    model = recipe.model

    def through(module, inputs):
        return (torch.from_numpy(inputs[0].detach().numpy()),)

    model.head.register_forward_pre_hook(through)
    return recipe


@fault(
    space_tagger,
    "gradients_flow",
    site=("gru", "characters"),
    sees="tags improve a little and stop: the recurrent layer is as it was at the start",
)
def hidden_states_taken_by_data(recipe):
    model = recipe.model
    model.forward = lambda text: model.head(model.gru(model.characters(text))[0].data).transpose(1, 2)
    return recipe


@fault(
    small_resnet,
    "gradients_flow",
    site="stem",
    sees="the first layer's filters are random for ever",
)
def stem_called_in_inference_mode(recipe):
    class Frozen(SmallResNet):
        def forward(self, images):
            with torch.no_grad():
                features = self.stem(images)
            return self.head(self.blocks(features).mean((2, 3)))

    become(recipe.model, Frozen)
    return recipe


@fault(
    char_lm,
    "optimizer_covers_model",
    site="blocks.1",
    sees="the last block stays as it was initialised",
)
def last_block_added_after_the_optimizer_was_built(recipe):
    last = type(recipe.model.blocks[1])(64, 4)
    recipe.model.blocks[1] = last
    return recipe


@fault(
    distillation,
    "gradients_flow",
    "optimizer_covers_model",
    site="student",
    sees="the loss stays where it is: it is the teacher's own",
)
def teachers_scores_given_to_the_loss(recipe):
    def distil(model, batch):
        images, labels = batch
        logits, aim = model.teacher(images), model.teacher(images)
        soft = F.kl_div(
            F.log_softmax(logits / 2, dim=1), F.softmax(aim / 2, dim=1), reduction="batchmean"
        )
        return 4 * soft + F.cross_entropy(logits, labels) + 0 * model(images).sum(), logits

    return replace(recipe, training_step=distil)
