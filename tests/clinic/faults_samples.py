"""Faults of samples: their scale, their labels, their number, and what augmentation does to them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.utils.data import DataLoader, TensorDataset

from .case import fault
from .healthy import breast_cancer, diabetes, digits_cnn
from .healthy_images import Jittered, small_resnet, super_resolution, unet, vit
from .healthy_rows import wine

LABELS = ("label", "target")
VALIDATION = ("validation", "val_data", "val ")


def training_on(recipe, *tensors, shuffle=True, **more):
    """The recipe with other training data in a loader like its own."""
    data = DataLoader(TensorDataset(*tensors), batch_size=recipe.train_data.batch_size, shuffle=shuffle)
    return replace(recipe, train_data=data, **more)


@fault(
    small_resnet,
    "data_is_sound",
    site=("scale", "small", "spread", "std", "standard deviation", "input"),
    sees="the first layers see nothing but zeros: 255 went in twice",
    finding="either",
)
def pixels_divided_by_255_twice(recipe):
    images, labels = recipe.train_data.dataset.tensors
    return training_on(recipe, images / 255 / 255, labels, val_data=None)


@fault(
    breast_cancer,
    "data_is_sound",
    site=(*LABELS, "class"),
    sees="the loss is zero after a few steps, everybody is well",
)
def only_one_class_left_after_filtering(recipe):
    features, labels = recipe.train_data.dataset.tensors
    return training_on(recipe, features[labels == 1], labels[labels == 1])


@fault(
    digits_cnn,
    "data_is_sound",
    site=("duplicate", "distinct", "same", "identical", "repeat"),
    sees="training accuracy is 100 % at once, validation at chance",
)
def a_few_samples_repeated(recipe):
    images, labels = recipe.train_data.dataset.tensors
    return training_on(recipe, images[:16].repeat(80, 1, 1, 1), labels[:16].repeat(80))


@fault(
    breast_cancer,
    "data_is_sound",
    site=("class", "imbalance", "rare", "frequen", "label"),
    sees="99 % accuracy, and not one tumour found",
    finding="advice",
)
def one_sick_patient_in_a_hundred(recipe):
    features, labels = recipe.train_data.dataset.tensors
    benign = (labels == 1).nonzero().flatten()
    kept = torch.cat([benign, (labels == 0).nonzero().flatten()[:3]])
    return training_on(recipe, features[kept], labels[kept])


@fault(
    diabetes,
    "data_is_sound",
    site=(*LABELS, "constant"),
    sees="the loss falls to zero in no time: an integer division made all targets 0",
)
def targets_lost_in_an_integer_division(recipe):
    features, progression = recipe.train_data.dataset.tensors
    return training_on(recipe, features, (77 * progression + 152) // 1000, val_data=None)


@fault(
    diabetes,
    "data_is_sound",
    "outputs_are_finite",
    site=(*LABELS, "inf", "finite"),
    sees="the loss is infinite in some batches: a logarithm met a zero",
)
def infinite_target(recipe):
    features, progression = recipe.train_data.dataset.tensors
    shifted = (progression - progression.min()).log()
    return training_on(recipe, features, shifted, val_data=None)


@fault(
    diabetes,
    "data_is_sound",
    "training_is_stable",
    "starts_uninformed",
    site=(*LABELS, "outlier", "loss"),
    sees="a typing error of six digits shakes the whole training",
    finding="either",
)
def typing_error_in_a_target(recipe):
    features, progression = recipe.train_data.dataset.tensors
    progression = progression.clone()
    progression[::40] = 1e6
    return training_on(recipe, features, progression, val_data=None)


@fault(
    wine,
    "data_is_sound",
    site=("column", "feature", "constant", "input"),
    sees="features that were lost in a merge are zero for everybody",
    finding="either",
)
def most_features_lost_in_a_merge(recipe):
    features, labels = recipe.train_data.dataset.tensors
    features = features.clone()
    features[:, 3:] = 0
    return training_on(recipe, features, labels)


@fault(
    small_resnet,
    "data_is_sound",
    "learns_from_its_inputs",
    "uses_its_inputs",
    site=("constant", "duplicate", "identical", "same", "distinct"),
    sees="the loss stays at ln 10: the data set returns its first image every time",
)
def always_the_first_image(recipe):
    images, labels = recipe.train_data.dataset.tensors
    return training_on(recipe, images[:1].repeat(len(images), 1, 1, 1), labels)


@fault(
    vit,
    "learns_from_its_inputs",
    "generalizes",
    site=LABELS,
    sees="training loss falls over many epochs, validation never",
    steps=200,
)
def images_shuffled_without_their_labels(recipe):
    images, labels = recipe.train_data.dataset.tensors
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    return training_on(recipe, images[order], labels)


@fault(
    wine,
    "learns_from_its_inputs",
    "generalizes",
    "data_is_sound",
    site=(*LABELS, "order", "sort"),
    sees="each column was sorted by itself; rows are bottles no longer",
)
def columns_sorted_apart(recipe):
    features, labels = recipe.train_data.dataset.tensors
    return training_on(recipe, features.sort(0).values, labels)


@fault(
    super_resolution,
    "learns_from_its_inputs",
    "overfits_a_batch",
    "generalizes",
    site=LABELS,
    sees="sharp images of something else: the two folders were listed in another order",
)
def low_and_high_resolution_of_different_crops(recipe):
    low, high = recipe.train_data.dataset.tensors
    order = torch.randperm(len(high), generator=torch.Generator().manual_seed(1))
    return training_on(recipe, low, high[order])


@fault(
    unet,
    "learns_from_its_inputs",
    "generalizes",
    "overfits_a_batch",
    "data_is_sound",
    site=(*LABELS, "mask"),
    sees="images were flipped for augmentation, their masks were not",
    finding="either",
)
def images_flipped_without_their_masks(recipe):
    images, masks = recipe.train_data.dataset.tensors
    flip = torch.rand(len(images), generator=torch.Generator().manual_seed(0)) < 0.5
    images = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
    return training_on(recipe, images, masks)


@fault(
    small_resnet,
    "data_is_sound",
    "learns_from_its_inputs",
    site=("constant", "duplicate", "identical", "same", "distinct", "information"),
    sees="an augmentation erases every image",
)
def augmentation_erases_the_image(recipe):
    class Erased(Jittered):
        def __getitem__(self, i):
            image, label = self.data[i]
            return torch.zeros_like(image), label

    data = Erased(recipe.train_data.dataset)
    return replace(recipe, train_data=DataLoader(data, batch_size=32, shuffle=True, drop_last=True))


@fault(
    breast_cancer,
    "data_is_sound",
    "starts_uninformed",
    site=("leak", "label", "target"),
    sees="perfect in the laboratory: the diagnosis is among the features",
    finding="advice",
)
def label_among_the_features(recipe):
    features, labels = recipe.train_data.dataset.tensors
    features = features.clone()
    features[:, 29] = labels
    return training_on(recipe, features, labels, val_data=None)
