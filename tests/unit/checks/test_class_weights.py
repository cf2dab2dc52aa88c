"""Class weights that are frequencies, in recipes and in loops; those that oppose them are sound."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from pytest_dlcheck import watch
from pytest_dlcheck.recipe import Recipe
from pytest_dlcheck.run.losses.class_weights import counts_of, of_classes, together

from .conftest import examination

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(640, 8, generator=GENERATOR)
RARE = (INPUTS[:, 0] > 1.3).long()
THREE = RARE + (INPUTS[:, 1] > 1.5).long() * (1 - RARE) * 2
COUNTS = torch.bincount(THREE).float()
POSITIVE = float(RARE.float().mean())
CAUSE, CHECK = "frequencies", "loss_is_sound"

FAULTY = {
    "shares": (3, THREE, nn.CrossEntropyLoss(weight=COUNTS / COUNTS.sum())),
    "counts": (3, THREE, nn.CrossEntropyLoss(weight=COUNTS)),
    "turned over": (1, RARE.float(), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(POSITIVE))),
}
SOUND = {
    "inverse": (3, THREE, nn.CrossEntropyLoss(weight=COUNTS.sum() / COUNTS)),
    "even": (3, THREE, nn.CrossEntropyLoss(weight=torch.ones(3))),
    "none": (3, THREE, nn.CrossEntropyLoss()),
    "by hand": (3, THREE, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 4.0]))),
    "balanced": (1, RARE.float(), nn.BCEWithLogitsLoss(pos_weight=torch.tensor(1 / POSITIVE - 1))),
}


def batches(targets, shape):
    return [(x, y.view(shape)) for x, y in zip(INPUTS.split(64), targets.split(64), strict=True)]


def recipe_of(outputs, targets, loss):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, outputs))
    shape = (-1,) if outputs > 1 else (-1, 1)
    return Recipe(
        model=model,
        train_data=batches(targets, shape),
        loss=loss,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
    )


def verdict_of(factory):
    return examination(factory, (CHECK,)).judge(CHECK, factory)


def watched(outputs, targets, loss):
    recipe = recipe_of(outputs, targets, loss)
    optimizer = torch.optim.Adam(recipe.model.parameters(), lr=1e-2)
    with watch("weights") as run:
        for _ in range(4):
            for x, y in recipe.train_data:
                optimizer.zero_grad()
                loss(recipe.model(x), y).backward()
                optimizer.step()
    return next(verdict for verdict in run.verdicts if verdict.check == CHECK)


@pytest.mark.parametrize("name", FAULTY)
def test_frequencies_are_found(name):
    for verdict in (verdict_of(lambda: recipe_of(*FAULTY[name])), watched(*FAULTY[name])):
        assert verdict.failed
        assert CAUSE in verdict.cause


def test_frequencies_in_one_batch_are_advice():
    outputs, targets, loss = FAULTY["shares"]
    few = [(INPUTS[:128], targets[:128])]
    verdict = verdict_of(lambda: replace(recipe_of(outputs, targets, loss), train_data=few))
    assert not verdict.failed
    assert any(CAUSE in advice for advice in verdict.advice)


def test_weights_that_restore_what_a_sampler_made_even_are_sound():
    outputs, targets, loss = FAULTY["shares"]
    even = WeightedRandomSampler((COUNTS.sum() / COUNTS)[targets], 640)
    loader = DataLoader(TensorDataset(INPUTS, targets), 128, sampler=even)
    verdict = verdict_of(lambda: replace(recipe_of(outputs, targets, loss), train_data=loader))
    assert not verdict.failed
    assert not any(CAUSE in advice for advice in verdict.advice)


def focal(outputs, targets):
    weight = torch.tensor([1 - POSITIVE, POSITIVE])
    each = F.cross_entropy(outputs, targets, weight=weight, reduction="none")
    return ((1 - torch.exp(-F.cross_entropy(outputs, targets, reduction="none"))) ** 2 * each).mean()


def test_weights_of_each_sample_that_may_be_weighed_further_are_no_fault():
    assert not verdict_of(lambda: recipe_of(2, RARE, focal)).failed
    verdict = watched(2, RARE, focal)
    assert not verdict.failed
    assert any(CAUSE in advice for advice in verdict.advice)


@pytest.mark.parametrize("name", SOUND)
def test_other_weights_are_sound(name):
    for verdict in (verdict_of(lambda: recipe_of(*SOUND[name])), watched(*SOUND[name])):
        assert not verdict.failed
        assert not any(CAUSE in advice for advice in verdict.advice)


@pytest.mark.parametrize("targets", [16, 640])
def test_a_few_targets_tell_nothing(targets):
    found = of_classes("cross_entropy", COUNTS, counts_of(THREE[:targets], 3))
    assert (found.row() is None) is (targets < 32)


def test_weights_of_several_batches_are_held_against_all_their_targets():
    parts = [of_classes("cross_entropy", COUNTS, counts_of(y, 3)) for y in THREE.split(64)]
    assert not any(part.row() and part.row().flag("sure") for part in parts)
    (found,) = together(parts)
    assert found.row().flag("sure")
    assert found.row().integer("targets") == 640


def test_padding_is_no_class():
    assert counts_of(torch.tensor([0, 1, 1, -100, 7]), 3).tolist() == [1, 2, 0]
    assert counts_of(torch.tensor([0, 1, 1, -100, 7]), 3, 1).tolist() == [1, 0, 0]


def test_weights_of_classes_that_are_absent_tell_nothing():
    assert of_classes("cross_entropy", 1 / torch.tensor([9.0, 3.0, 0.0]), COUNTS) is None


def overlap(out, mask):
    probable = torch.sigmoid(out)
    both = 2 * (probable * mask).sum((1, 2)) + 1
    return (both / (probable.sum((1, 2)) + mask.sum((1, 2)) + 1)).mean()


def determination(out, y):
    return 1 - F.mse_loss(out, y) / y.var(correction=0)


def correlation(out, y):
    return torch.corrcoef(torch.stack([out.flatten(), y.flatten()]))[0, 1]


def scored(make, x, y, loss):
    def recipe():
        model = make()
        return Recipe(
            model=model,
            train_data=list(zip(x.split(64), y.split(64), strict=True)),
            loss=loss,
            optimizer=torch.optim.Adam(model.parameters(), lr=1e-2),
        )

    return verdict_of(recipe)


QUANTITY = INPUTS[:, :1] * 2 + INPUTS[:, 1:2]


def test_a_score_in_the_place_of_a_loss_is_flipped():
    verdict = scored(lambda: nn.Linear(8, 1), INPUTS, QUANTITY, determination)
    assert verdict.failed
    assert "sign" in verdict.cause


@pytest.mark.parametrize("score", [determination, correlation])
def test_one_less_a_score_is_sound(score):
    sound = scored(lambda: nn.Linear(8, 1), INPUTS, QUANTITY, lambda out, y: 1 - score(out, y))
    assert not sound.failed


def test_a_score_of_masks_is_advice_as_outputs_may_be_distances():
    maps, masks = INPUTS.view(640, 2, 4), (INPUTS.view(640, 2, 4) > 0.5).float()
    verdict = scored(lambda: nn.Linear(4, 4), maps, masks, overlap)
    assert not verdict.failed
    assert any("score" in advice for advice in verdict.advice)
    sound = scored(lambda: nn.Linear(4, 4), maps, masks, lambda out, mask: 1 - overlap(out, mask))
    assert not any("score" in advice for advice in sound.advice)
