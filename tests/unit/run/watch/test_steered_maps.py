"""Where losses steer outputs beside zeros and ones is read from the gradient of these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.watch.guard import Guard
from pytest_dlcheck.run.watch.models.steered_maps import SteeredMaps

MASKS = (torch.arange(64).reshape(4, 1, 4, 4) % 3 == 0).float()


def row(loss, given=(MASKS,)):
    """What is told of a few losses of outputs."""
    torch.manual_seed(0)
    model, found = nn.Conv2d(1, 1, 3, padding=1), SteeredMaps(Guard())
    for _ in range(3):
        scores = model(torch.randn(4, 1, 4, 4))
        value = loss(scores, MASKS)
        found.look(model, Near.of_loss(value.grad_fn), given)
        value.backward()
    return found.row()


def overlap(scores, masks):
    chances, masks = scores.sigmoid().flatten(1), masks.flatten(1)
    return 2 * (chances * masks).sum() / (chances.sum() + masks.sum())


@pytest.mark.parametrize("sign", [1, -1])
def test_an_overlap_moves_all_of_them(sign):
    found = row(lambda scores, masks: sign * overlap(scores, masks))
    assert found.integer("ones") == 3 * 22
    assert found.integer("zeros") == 3 * 42
    assert found.integer("ones_away") == (3 * 22 if sign == 1 else 0)
    assert found.integer("zeros_away") == (3 * 42 if sign == 1 else 0)


def test_targets_that_are_known_are_taken():
    found = row(lambda scores, masks: -F.mse_loss(scores.sigmoid().squeeze(1), masks.squeeze(1)))
    assert found.integer("ones_away") == found.integer("ones") == 3 * 22


def test_false_positives_are_no_targets():
    def tversky(scores, masks):
        chances = scores.sigmoid()
        false, missed, right = (1 - masks) * chances, masks * (1 - chances), masks * chances
        return 1 - right.sum() / (right.sum() + 0.7 * false.sum() + 0.3 * missed.sum())

    def errors(scores, masks):
        return (scores.sigmoid() * (1 - masks) + (1 - scores.sigmoid()) * masks).mean()

    assert row(tversky).integer("ones_away") == 0
    assert row(errors).integer("looks") == 0
    assert row(tversky, given=()).integer("looks") == 0


def test_a_mask_that_leaves_places_out_moves_no_zeros():
    found = row(lambda scores, masks: (scores.sigmoid() * masks).sum())
    assert found.integer("zeros") == 0


def test_what_is_no_chance_may_be_low_for_ones():
    """A loss of pairs, one where they are alike, keeps these near each other."""

    def of_pairs(scores, masks):
        far = scores.exp()
        return (masks * far.square() + (1 - masks) * (1 - far).relu().square()).mean()

    assert row(of_pairs).integer("looks") == 0


def test_other_targets_are_none():
    found = row(lambda scores, masks: (scores.sigmoid() * (masks + 1)).mean())
    assert found.integer("looks") == 0
    assert found.number("ordered_last") == 0.5
