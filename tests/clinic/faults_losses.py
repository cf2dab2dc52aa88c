"""Faults of the loss: what it is given, what it is made for, and where it starts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from .case import fault
from .healthy import breast_cancer, diabetes, digits_cnn, text_classifier
from .healthy_images import small_resnet, unet, vit
from .healthy_pairs import contrast, contrastive, digit_graphs, distillation, two_digits, vae, view
from .healthy_rows import wine


@fault(
    vit,
    "loss_is_sound",
    site=("log_softmax", "log-prob", "logits", "nll"),
    sees="the loss falls below zero and without end",
)
def negative_log_likelihood_of_raw_scores(recipe):
    return replace(recipe, loss=nn.NLLLoss())


@fault(
    two_digits,
    "loss_is_sound",
    site=("sigmoid", "probabilit", "logits"),
    sees="the loss stays above 0.5 and probabilities never leave the middle",
)
def sigmoid_before_a_loss_of_logits(recipe):
    recipe.model.head.append(nn.Sigmoid())
    return recipe


@fault(
    breast_cancer,
    "loss_is_sound",
    "gradients_flow",
    site=("one class", "single class", "softmax", "1 class", "cross_entropy", "cross-entropy"),
    sees="the loss is 0 from the first step on",
)
def cross_entropy_over_a_single_score(recipe):
    def loss(outputs, targets):
        return F.cross_entropy(outputs.unsqueeze(1), targets.unsqueeze(1))

    return replace(recipe, loss=loss)


@fault(
    breast_cancer,
    "loss_is_sound",
    site=("-1", "−1", "range", "soft_margin"),
    sees="every tumour is called benign",
)
def margin_loss_on_labels_0_and_1(recipe):
    return replace(recipe, loss=nn.SoftMarginLoss())


@fault(
    distillation,
    "loss_is_sound",
    "outputs_are_finite",
    site=("kl_div", "kl ", "in the loss"),
    sees="the loss is NaN: the logarithm of a logarithm",
)
def teacher_and_student_swapped_in_the_divergence(recipe):
    def distil(model, batch):
        images, labels = batch
        logits, aim = model(images), model.teacher(images)
        soft = F.kl_div(
            F.softmax(logits / 2, dim=1), F.log_softmax(aim / 2, dim=1), reduction="batchmean"
        )
        return 4 * soft + F.cross_entropy(logits, labels), logits

    return replace(recipe, training_step=distil)


@fault(
    wine,
    "loss_is_sound",
    site=("sum", "batch size", "doubl", "twice"),
    sees="the learning rate must change with the batch size",
    finding="advice",
)
def loss_summed_over_the_batch(recipe):
    for group in recipe.optimizer.param_groups:
        group["lr"] /= 16
    return replace(recipe, loss=nn.CrossEntropyLoss(reduction="sum"))


@fault(
    digit_graphs,
    "loss_is_sound",
    "gradients_flow",
    site="loss",
    sees="the loss does not move at all",
)
def loss_made_a_number_and_a_tensor_again(recipe):
    def loss(outputs, targets):
        value = F.cross_entropy(outputs, targets).item()
        return torch.tensor(value, requires_grad=True)

    return replace(recipe, loss=loss)


@fault(
    unet,
    "loss_is_sound",
    "learns_from_its_inputs",
    "overfits_a_batch",
    site=("loss", "target", "reshape", "order", "position"),
    sees="masks are stripes: each pixel is scored against another one's label",
)
def scores_flattened_without_permuting(recipe):
    def loss(outputs, targets):
        return F.cross_entropy(outputs.reshape(-1, 2), targets.flatten())

    return replace(recipe, loss=loss)


@fault(
    small_resnet,
    "loss_is_sound",
    "data_is_sound",
    site=("out of bounds", "range", "10"),
    sees="an index error somewhere inside the loss",
)
def labels_counted_from_one(recipe):
    images, labels = recipe.train_data.dataset.tensors
    data = TensorDataset(images, labels + 1)
    return replace(recipe, train_data=DataLoader(data, batch_size=32, shuffle=True))


@fault(
    digits_cnn,
    "loss_is_sound",
    "data_is_sound",
    site=("ignore", "class 0", "0"),
    sees="a zero is never recognised",
    finding="advice",
)
def class_zero_ignored_like_padding(recipe):
    return replace(recipe, loss=nn.CrossEntropyLoss(ignore_index=0))


@fault(
    diabetes,
    "starts_uninformed",
    "data_is_sound",
    site=("target", "standardis", "scale", "bias", "head"),
    sees="the loss starts at 29,000 and takes hundreds of epochs to come down",
    finding="advice",
)
def targets_in_their_own_units(recipe):
    features, progression = recipe.train_data.dataset.tensors
    data = TensorDataset(features, 77 * progression + 152)
    return replace(recipe, train_data=DataLoader(data, batch_size=32, shuffle=True), val_data=None)


@fault(
    vit,
    "starts_uninformed",
    "initialization_is_sound",
    site=("head", "logits", "output", "scale"),
    sees="the first loss is 30 and the first epochs undo it",
)
def scores_scaled_up_by_fifty(recipe):
    head = recipe.model.head.forward
    recipe.model.head.forward = lambda x: 50 * head(x)
    return recipe


@fault(
    contrastive,
    "loss_decreases",
    "overfits_a_batch",
    "gradients_flow",
    "loss_is_sound",
    "parameters_update",
    site=("temperature", "scale", "bounded", "sharpness", "range", "small"),
    sees="the contrastive loss sticks just below the logarithm of the batch size",
    finding="either",
)
def temperature_divided_instead_of_multiplied(recipe):
    def inverted(model, batch):
        images, _ = batch
        one, other = model(view(images)), model(view(images))
        logits = one @ other.T / model.sharpness.exp()
        which = torch.arange(len(images), device=logits.device)
        return (F.cross_entropy(logits, which) + F.cross_entropy(logits.T, which)) / 2

    return replace(recipe, training_step=inverted)


@fault(
    contrastive,
    "loss_is_sound",
    "loss_decreases",
    "overfits_a_batch",
    site=("loss", "sign", "decreas", "negat"),
    sees="all images are mapped to one point",
)
def contrast_with_its_sign_flipped(recipe):
    return replace(recipe, training_step=lambda model, batch: -contrast(model, batch))


@fault(
    diabetes,
    "loss_is_sound",
    "overfits_a_batch",
    "units_are_alive",
    site=("relu", "negative", "range", "head"),
    sees="no prediction is ever below the mean",
)
def relu_after_the_last_layer(recipe):
    recipe.model.head = nn.Sequential(recipe.model.head, nn.ReLU())
    return recipe


@fault(
    text_classifier,
    "loss_is_sound",
    site=("softmax", "probabilit", "normalis", "logits"),
    sees="training is slow and the loss cannot come near zero",
)
def softmax_inside_the_classifier(recipe):
    recipe.model.head = nn.Sequential(recipe.model.head, nn.Softmax(dim=-1))
    return recipe


@fault(
    vae,
    "outputs_are_finite",
    "training_is_stable",
    site=("log", "encode", "log_variance", "draw", "VAE"),
    sees="the loss is infinite or NaN from the first step on",
)
def logarithm_of_a_relu(recipe):
    model = recipe.model

    def encode(images):
        hidden = model.encoder(images)
        return model.mean(hidden), model.log_variance(hidden).relu().log()

    model.encode = encode
    return recipe


@fault(
    text_classifier,
    "outputs_are_finite",
    "gradients_flow",
    "uses_its_inputs",
    site="layer",
    sees="attention looks at padding only; NaN, where a text has none, in older versions of torch",
)
def padding_mask_inverted(recipe):
    layer = recipe.model.layer.forward

    def inverted(hidden, src_key_padding_mask):
        return layer(hidden, src_key_padding_mask=~src_key_padding_mask)

    recipe.model.layer.forward = inverted
    return recipe


@fault(
    digit_graphs,
    "outputs_are_finite",
    site="convolutions.0",
    sees="NaN as soon as a graph holds an isolated or padded node",
)
def neighbours_divided_by_a_degree_of_zero(recipe):
    for convolution in recipe.model.convolutions:
        convolution.mean = lambda nodes, edges: edges @ nodes / edges.sum(2, keepdim=True)
    return recipe
