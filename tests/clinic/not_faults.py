"""No faults, or ones that only a long training shows: kept so that the table says so, none may fail."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

from .case import become, fault
from .healthy import autoencoder, breast_cancer, digits_cnn, row_reader
from .healthy_images import SmallResNet, augmented_cnn, small_resnet, vit
from .healthy_pairs import two_digits
from .healthy_rows import DeepMLP, deep_mlp, wine

invisible = partial(fault, site=(), finding="invisible")


@invisible(vit, sees="nothing: a second log-softmax changes nothing")
def redundant_log_softmax(recipe):
    recipe.model.head = nn.Sequential(recipe.model.head, nn.LogSoftmax(dim=1))
    return recipe


@invisible(small_resnet, sees="a little more overfitting after many epochs")
def no_weight_decay(recipe):
    for group in recipe.optimizer.param_groups:
        group["weight_decay"] = 0.0
    return recipe


@invisible(small_resnet, sees="slower, less accurate training of a network that is deep enough")
def normalisation_left_out(recipe):
    class Bare(SmallResNet):
        pass

    for module in recipe.model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    become(recipe.model, Bare)
    return replace(recipe, optimizer=torch.optim.SGD(recipe.model.parameters(), lr=0.02))


@invisible(breast_cancer, sees="rare jumps late in training, where gradients are nearly zero")
def adam_epsilon_of_1e_16(recipe):
    for group in recipe.optimizer.param_groups:
        group["eps"] = 1e-16
    return recipe


@invisible(digits_cnn, sees="some points of accuracy in the end")
def a_tenth_of_the_labels_wrong(recipe):
    images, labels = recipe.train_data.dataset.tensors
    labels = labels.clone()
    labels[::10] = (labels[::10] + 1) % 10
    data = TensorDataset(images, labels)
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True))


@invisible(digits_cnn, sees="a little less accuracy")
def a_third_of_the_data_removed(recipe):
    data = recipe.train_data.dataset
    data = Subset(data, range(len(data) * 2 // 3))
    return replace(recipe, train_data=DataLoader(data, batch_size=64, shuffle=True))


@invisible(digits_cnn, sees="a little more overfitting")
def no_dropout(recipe):
    recipe.model.head[1].p = 0.0
    return recipe


@invisible(wine, sees="hardly anything")
def tanh_for_relu(recipe):
    recipe.model.layers[1] = recipe.model.layers[3] = nn.Tanh()
    return recipe


@invisible(deep_mlp, sees="hardly anything at this depth")
def glorot_for_he(recipe):
    assert isinstance(recipe.model, DeepMLP)
    for layer in recipe.model.hidden:
        nn.init.xavier_uniform_(layer.weight)
    return recipe


@invisible(two_digits, sees="calibration is off, ranking is right")
def squared_error_of_probabilities(recipe):
    return replace(recipe, loss=lambda outputs, targets: F.mse_loss(outputs.sigmoid(), targets))


@invisible(autoencoder, sees="blurred digits: the code is small, as one may want it")
def code_of_four_numbers(recipe):
    model = recipe.model
    model.encoder[3], model.decoder[0] = nn.Linear(128, 4), nn.Linear(4, 128)
    return replace(recipe, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3))


@invisible(row_reader, sees="slower training")
def sgd_with_momentum_for_adam(recipe):
    optimizer = torch.optim.SGD(recipe.model.parameters(), lr=0.2, momentum=0.9)
    return replace(recipe, optimizer=optimizer)


@invisible(augmented_cnn, sees="nothing yet")
def no_augmentation(recipe):
    return replace(
        recipe, train_data=DataLoader(recipe.train_data.dataset.data, batch_size=64, shuffle=True)
    )
