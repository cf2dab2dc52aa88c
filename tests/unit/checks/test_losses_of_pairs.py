"""What loss_is_sound says of losses of pairs: does distance ever pay?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.policy import Policy
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.session import Examination, Subject
from pytest_dlcheck.verdict import Outcome


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 6))

    def forward(self, one, other):
        return self.encoder(one), self.encoder(other)


class Normalised(Siamese):
    def forward(self, one, other):
        return tuple(F.normalize(each, dim=1) for each in super().forward(one, other))


class Wide(Siamese):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 128))


class Distant(Siamese):
    def forward(self, one, other):
        return F.pairwise_distance(*super().forward(one, other))


class FromTheCentre(Siamese):
    def forward(self, one, other):
        return (self.encoder(one + other) - 1).norm(dim=1)


class Predicting(Siamese):
    def forward(self, one, other):
        with torch.no_grad():
            wanted = self.encoder(other)
        return self.encoder(one), wanted


SAME = torch.arange(16) % 2


def verdict(loss, model=Siamese, targets=SAME):
    def recipe():
        torch.manual_seed(0)
        network = model()
        return Recipe(
            model=network,
            train_data=[((torch.randn(16, 8), torch.randn(16, 8)), targets)],
            loss=loss,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        )

    subject = Subject("recipe", Policy(steps=20, device="cpu"), ("loss_is_sound",))
    return Examination(subject).judge("loss_is_sound", recipe)


def is_told(*given):
    found = verdict(*given)
    told = found.outcome is Outcome.FAILED and "no pair is ever pushed apart" in found.because
    assert told or found.outcome is Outcome.PASSED, found
    return told


def contrastive(hinge):
    def loss(outputs, same):
        distance = F.pairwise_distance(*outputs)
        return (same * distance**2 + (1 - same) * hinge(distance).relu() ** 2).mean()

    return loss


def cosines(hinge):
    def loss(outputs, same):
        likeness = F.cosine_similarity(*outputs)
        return torch.where(same.bool(), 1 - likeness, hinge(likeness).relu()).mean()

    return loss


def given_distances(hinge):
    def loss(distance, same):
        return (same * distance**2 + (1 - same) * hinge(distance).relu() ** 2).mean()

    return loss


def apart_by_sum(outputs, same):
    away = (outputs[0] - outputs[1]).abs().sum(1)
    return (same * away).sum() / same.sum() + ((1 - same) * (away - 1).relu()).sum() / (1 - same).sum()


def plus_for_minus(outputs, same):
    distance = F.pairwise_distance(*outputs)
    return (same * distance**2 + (1 - same) * (1 + distance) ** 2).mean()


@pytest.mark.parametrize(
    ("loss", "model"),
    [
        (contrastive(lambda distance: distance - 2), Siamese),
        (contrastive(lambda distance: distance - 0.5), Normalised),
        (given_distances(lambda distance: distance - 0.5), Distant),
        (cosines(lambda likeness: 0.3 - likeness), Siamese),
        (apart_by_sum, Siamese),
        (plus_for_minus, Siamese),
    ],
)
def test_losses_that_reward_no_distance_are_told(loss, model):
    assert is_told(loss, model)
    assert is_told(loss, model, SAME.float())


def cosine_embedding(outputs, same):
    return F.cosine_embedding_loss(*outputs, 2 * same - 1, margin=0.2)


def regressed(outputs, same):
    return F.mse_loss(F.cosine_similarity(*outputs), same.float())


def likely(outputs, same):
    return F.binary_cross_entropy_with_logits(1 - F.pairwise_distance(*outputs), same.float())


def among_the_batch(outputs, _):
    one, other = (F.normalize(each, dim=1) for each in outputs)
    return F.cross_entropy(one @ other.T / 0.1, torch.arange(len(one)))


def with_variance(outputs, same):
    apart = (1 - outputs[0].std(0)).relu().mean() + (1 - outputs[1].std(0)).relu().mean()
    return ((1 + same) * (outputs[0] - outputs[1]).square().sum(1)).mean() + apart


def supervised(outputs, classes):
    codes = F.normalize(torch.cat(outputs), dim=1)
    labels, itself = torch.cat([classes, classes]), torch.eye(len(codes))
    chances = (codes @ codes.T / 0.5 - 1e9 * itself).log_softmax(1)
    partners = (labels[:, None] == labels).float() - itself
    return -((partners * chances).sum(1) / partners.sum(1)).mean()


def of_the_nearest(outputs, same):
    away = torch.cdist(*outputs)
    own, nearest = away.diag(), (away + 1e3 * torch.eye(len(away))).min(1).values
    return ((1 + same) * own + (own - nearest + 0.5).relu()).mean()


@pytest.mark.parametrize("margin", [0.05, 1.0, 30.0])
def test_margins_of_any_size_are_not(margin):
    assert not is_told(contrastive(lambda distance: margin - distance))
    assert not is_told(contrastive(lambda distance: margin - distance), Wide)


def test_neither_are_they_where_the_model_gives_the_distance():
    assert not is_told(given_distances(lambda distance: 5 - distance), Distant)


@pytest.mark.parametrize(
    "loss",
    [
        contrastive(lambda distance: 1 - distance),
        cosines(lambda likeness: likeness - 0.3),
        cosine_embedding,
        regressed,
        likely,
        among_the_batch,
        with_variance,
        supervised,
        of_the_nearest,
    ],
)
def test_losses_that_push_apart_are_not(loss):
    assert not is_told(loss)
    assert not is_told(loss, Normalised)


def drawn(one, other):
    return (F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(1)


def each_to_the_other_detached(outputs, same):
    one, other = outputs
    away = drawn(one, other.detach()) + drawn(other, one.detach())
    return torch.where(same.bool(), away, (away - 0.5).relu()).mean()


def towards_a_target(outputs, same):
    away = drawn(*outputs)
    return torch.where(same.bool(), away, (away - 0.5).relu()).mean()


def weighed(outputs, same):
    return ((0.1 + same) * (outputs[0] - outputs[1]).square().sum(1)).mean()


def of_two_heads(outputs, classes):
    main, beside = outputs
    return F.cross_entropy(main, classes) + 0.3 * F.cross_entropy(beside, classes)


def taught(outputs, classes):
    scores, teacher = outputs
    return F.cross_entropy(scores, classes) + F.mse_loss(scores, teacher)


@pytest.mark.parametrize(
    ("loss", "model"),
    [
        (each_to_the_other_detached, Siamese),
        (towards_a_target, Predicting),
        (given_distances(lambda distance: distance - 0.5), FromTheCentre),
        (weighed, Siamese),
        (of_two_heads, Siamese),
        (taught, Siamese),
        (taught, Predicting),
    ],
)
def test_sides_that_stand_still_weights_and_classes_are_not(loss, model):
    assert not is_told(loss, model)
