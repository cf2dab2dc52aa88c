"""What loss_is_sound says of small recipes: what a loss is given, and which answers it likes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.verdict import Outcome


def recipe_of(model, inputs, targets, loss=None, **facts):
    return Recipe(
        model=model,
        train_data=[(inputs, targets)],
        loss=loss or nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        **facts,
    )


def head(width, *after):
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, width), *after)


def classes(count=10):
    return torch.arange(16) % count


def values(width=1):
    return torch.linspace(-1, 1, 16 * width).reshape(16, width)


@pytest.fixture
def verdict_for(verdict_on):
    """The verdict on a model, given random inputs, its targets and a loss."""

    def verdict_for(model, targets, loss=None, **facts):
        return verdict_on(lambda: recipe_of(model, torch.randn(16, 8), targets, loss, **facts))

    return verdict_for


BINARY = (values() > 0).float()
SOUND = {
    "logits": (lambda: head(10), classes(), None),
    "log-probabilities": (lambda: head(10, nn.LogSoftmax(1)), classes(), nn.NLLLoss()),
    "smoothed": (lambda: head(10), classes(), nn.CrossEntropyLoss(label_smoothing=0.1)),
    "divergence": (
        lambda: head(3, nn.LogSoftmax(1)),
        values(3).softmax(1),
        nn.KLDivLoss(reduction="batchmean"),
    ),
    "divergence of logarithms": (
        lambda: head(3, nn.LogSoftmax(1)),
        values(3).log_softmax(1),
        nn.KLDivLoss(reduction="batchmean", log_target=True),
    ),
    "soft targets": (lambda: head(3), values(3).softmax(1), None),
    "values": (lambda: head(1), values(), nn.MSELoss()),
    "squeezed": (lambda: head(1), values()[:, 0], lambda o, t: F.mse_loss(o.squeeze(1), t)),
    "by hand": (lambda: head(1), values()[:, 0], lambda o, t: ((o[:, 0] - t) ** 2).mean()),
    "binary": (lambda: head(1), BINARY, nn.BCEWithLogitsLoss()),
    "probabilities": (lambda: head(1, nn.Sigmoid()), BINARY, nn.BCELoss()),
    "distances": (lambda: head(4), classes(4), lambda o, t: F.cross_entropy(-o.abs(), t)),
    "distances of pairs": (
        lambda: head(1),
        BINARY,
        lambda d, same: (same * d**2 + (1 - same) * (2 - d).clamp_min(0) ** 2).mean(),
    ),
    "batch norm": (lambda: head(10, nn.BatchNorm1d(10)), classes(), None),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_losses_pass_without_advice(verdict_for, name):
    model, targets, loss = SOUND[name]
    verdict = verdict_for(model(), targets, loss)

    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.advice == ()


NO_REDUCTION = nn.CrossEntropyLoss(reduction="none")
FAULTS = {
    "softmax twice": (lambda: head(10, nn.Softmax(1)), classes(), None, "3", "applied twice"),
    "sigmoid": (lambda: head(10, nn.Sigmoid()), classes(), None, "3", "a sigmoid before"),
    "over the batch": (lambda: head(10, nn.Softmax(0)), classes(), None, "3", "softmax over axis 0"),
    "raw to nll": (lambda: head(10), classes(), nn.NLLLoss(), "2", "log_softmax is missing"),
    "no log": (lambda: head(10, nn.Softmax(1)), classes(), nn.NLLLoss(), "3", "log_softmax is meant"),
    "broadcast by hand": (
        lambda: head(1),
        values()[:, 0],
        lambda o, t: ((o - t) ** 2).mean(),
        "loss",
        "last axis",
    ),
    "flipped": (lambda: head(10), classes(), lambda o, t: -F.cross_entropy(o, t), "loss", "sign"),
    "flipped by hand": (lambda: head(1), values(), lambda o, t: -((o - t) ** 2).mean(), "loss", "sign"),
    "one class": (lambda: head(1), classes() * 0, None, "loss", "wrong loss for one output"),
    "sigmoid twice": (lambda: head(1, nn.Sigmoid()), BINARY, nn.BCEWithLogitsLoss(), "3", "a sigmoid"),
    "labels ±1": (lambda: head(1), 2 * BINARY - 1, nn.BCEWithLogitsLoss(), "data", "no probabilities"),
    "constant": (lambda: head(1, nn.Softmax(1)), BINARY, nn.BCELoss(), "3", "softmax for one output"),
    "detached": (
        lambda: head(10),
        classes(),
        lambda o, t: F.cross_entropy(o.detach(), t),
        "loss",
        "detached",
    ),
    "a float": (lambda: head(10), classes(), lambda o, t: F.cross_entropy(o, t).item(), "loss", "item"),
    "not reduced": (lambda: head(10), classes(), NO_REDUCTION, "loss", "not reduced"),
    "label range": (lambda: head(3), classes(), None, "data", "too few outputs"),
    "label dtype": (lambda: head(10), classes().float(), None, "data", "int64"),
    "logits to bce": (lambda: head(1), BINARY + 0.0, nn.BCELoss(), "output", "gives logits"),
    "column of labels": (lambda: head(10), classes()[:, None], None, "loss", "an axis too many"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found_and_named(verdict_for, name):
    model, targets, loss, site, cause = FAULTS[name]
    verdict = verdict_for(model(), targets, loss)

    assert verdict.failed, verdict
    assert verdict.sites[0] == site
    assert cause in verdict.cause


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_torchs_own_loss_that_broadcasts_is_found_inside_a_step(verdict_on):
    def step(model, batch):
        return F.mse_loss(model(batch[0]), batch[1])

    def recipe(targets):
        model = head(1)
        return lambda: Recipe(
            model=model,
            train_data=[(torch.randn(16, 8), targets)],
            training_step=step,
            optimizer=torch.optim.SGD(model.parameters()),
        )

    assert verdict_on(recipe(values())).outcome is Outcome.PASSED
    assert "broadcast" in verdict_on(recipe(values()[:, 0])).because


def test_a_sum_over_samples_is_advice(verdict_for):
    verdict = verdict_for(head(10), classes(), nn.CrossEntropyLoss(reduction="sum"))

    assert verdict.outcome is Outcome.PASSED
    assert "sum over samples" in verdict.advice[0]


def test_a_forward_that_raises_is_not_blamed_on_the_loss(verdict_for):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, x):
            return self.layer(x) + x

    assert verdict_for(Broken(), classes(4)).outcome is Outcome.ERRORED


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 8), nn.Linear(8, 9)

    def forward(self, tokens):
        return self.head(self.embed(tokens))


def flat_cross_entropy(outputs, targets):
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), flat_cross_entropy])
def test_classes_on_the_wrong_axis_are_found_where_sizes_agree_by_chance(verdict_on, loss):
    tokens = torch.randint(0, 9, (16, 9))
    verdict = verdict_on(lambda: recipe_of(Tagger(), tokens, tokens, loss))
    assert verdict.failed is (loss is not flat_cross_entropy)
    assert not verdict.failed or "wrong axis" in verdict.cause


ABSURD = {
    "all ignored": (lambda: head(4), classes(4) * 0 - 100, None, "data", "ignore_index"),
    "smoothed away": (
        lambda: head(4),
        classes(4),
        nn.CrossEntropyLoss(label_smoothing=0.9),
        "loss",
        "smoothing",
    ),
    "positives only": (
        lambda: head(1),
        BINARY,
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1e4)),
        "loss",
        "pos_weight",
    ),
    "out of reach": (lambda: head(1, nn.Sigmoid()), values() * 9, nn.MSELoss(), "3", "sigmoid"),
    "itself": (lambda: head(1), values(), lambda o, _: F.mse_loss(o, o.detach()), "loss", "place of"),
    "nothing": (lambda: head(4), classes(4), lambda o, t: 0 * F.cross_entropy(o, t), "loss", "by 0"),
    "numbers of classes": (
        lambda: head(4),
        classes(4)[:, None].float(),
        nn.MSELoss(),
        "loss",
        "class labels",
    ),
    "log targets": (
        lambda: head(4, nn.LogSoftmax(1)),
        values(4).log_softmax(1),
        nn.KLDivLoss(reduction="batchmean"),
        "loss",
        "log-probabilities",
    ),
    "targets for their logarithms": (
        lambda: head(4, nn.LogSoftmax(1)),
        values(4).softmax(1),
        nn.KLDivLoss(reduction="batchmean", log_target=True),
        "loss",
        "taken for logarithms",
    ),
    "probabilities for their logarithms": (
        lambda: head(4, nn.Softmax(1)),
        values(4).softmax(1),
        nn.KLDivLoss(reduction="batchmean"),
        "3",
        "log_softmax is meant",
    ),
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", ABSURD)
def test_what_no_targets_can_be_learned_from_is_found(verdict_for, name):
    make, targets, loss, site, cause = ABSURD[name]
    verdict = verdict_for(make(), targets, loss)
    assert verdict.failed
    assert verdict.sites[0] == site
    assert cause in verdict.cause


@pytest.mark.parametrize("squeezed", [True, False])
def test_a_difference_by_hand_that_broadcasts_is_found_inside_a_step(verdict_on, squeezed):
    def step(model, batch):
        outputs = model(batch[0])
        return ((outputs[:, 0] if squeezed else outputs) - batch[1]).square().mean()

    def build():
        return Recipe(
            model=head(1), train_data=[(torch.randn(16, 8), values()[:, 0])], training_step=step
        )

    assert verdict_on(build).failed is not squeezed


@pytest.mark.parametrize("maximize", [True, False])
def test_an_optimizer_that_climbs_a_loss_is_found(verdict_on, maximize):
    def build():
        model = head(4)
        return Recipe(
            model=model,
            train_data=[(torch.randn(16, 8), classes(4))],
            loss=nn.CrossEntropyLoss(),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1, maximize=maximize),
        )

    verdict = verdict_on(build)
    assert verdict.failed is maximize
    assert not maximize or verdict.sites == ("optimizer",)
