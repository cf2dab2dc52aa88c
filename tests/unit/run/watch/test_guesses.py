"""What a loss says beside guessing is read from its graph, where there is such a thing."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from pytest_dlcheck.run.losses.graphs.guessing import Guesses, entropy, guess_of, luck, measure
from pytest_dlcheck.run.losses.graphs.near import Near

LABELS = torch.arange(32) % 4
YES = (torch.arange(32.0) % 2).view(-1, 1)


def scores(classes=4, spread=1.0):
    torch.manual_seed(0)
    return (spread * torch.randn(32, classes)).requires_grad_()


def guess(loss):
    found = guess_of(Near.of_loss(loss.grad_fn), loss)
    measure([found] if found else [])
    return found


def test_scores_and_labels_are_read():
    found = guess(F.cross_entropy(scores(), LABELS))
    assert 0.3 < found.apart < 3
    assert found.differ
    assert found.whole
    assert dict(found.labels) == {0: 8, 1: 8, 2: 8, 3: 8}


def test_the_same_for_all_samples_is_no_spread():
    assert guess(F.cross_entropy(scores(spread=0.0), LABELS)).apart == 0


def test_labels_to_be_ignored_are_not_counted():
    labels = LABELS.where(LABELS > 0, -100)
    found = guess(F.cross_entropy(scores(), labels))
    assert dict(found.labels) == {1: 8, 2: 8, 3: 8}
    assert found.count == 24
    assert found.whole


def test_yes_and_no_are_two_labels():
    found = guess(F.binary_cross_entropy_with_logits(scores(1), YES))
    assert dict(found.labels) == {0: 16, 1: 16}
    assert found.whole


def test_pixels_are_labels():
    images = torch.randn(8, 3, 4, 4, requires_grad=True)
    found = guess(F.cross_entropy(images, torch.randint(0, 3, (8, 4, 4))))
    assert found.count == 128


def test_a_sample_by_itself_tells_nothing():
    assert guess(F.cross_entropy(scores()[0], LABELS[0])) is None


@pytest.mark.parametrize(
    "loss",
    [
        lambda: F.cross_entropy(scores(), LABELS) + scores().square().mean(),
        lambda: F.cross_entropy(scores(), LABELS, label_smoothing=0.1),
        lambda: F.cross_entropy(scores(), LABELS) / 4,
        lambda: F.cross_entropy(scores(), LABELS, reduction="sum"),
        lambda: F.cross_entropy(scores(), LABELS, weight=torch.arange(1.0, 5.0)),
    ],
    ids=["a further term", "smoothed", "a part of a batch", "a sum", "weighed classes"],
)
def test_what_is_more_than_the_mean_is_not_held_against_guessing(loss):
    assert not guess(loss()).whole


@pytest.mark.parametrize(
    "loss",
    [
        lambda: F.cross_entropy(scores(), LABELS) + F.cross_entropy(scores(2), LABELS % 2),
        lambda: F.cross_entropy(scores(32), torch.arange(32)),
        lambda: F.cross_entropy(scores(64), 32 + torch.arange(32)),
        lambda: torch.mean(F.cross_entropy(scores(), LABELS, reduction="none") * torch.randn(32)),
        lambda: F.mse_loss(scores(), torch.zeros(32, 4)),
    ],
    ids=["several", "partners", "partners elsewhere", "policy", "regression"],
)
def test_others_say_nothing_of_guessing(loss):
    assert guess(loss()) is None


def test_a_focal_loss_is_one_of_classes():
    each = F.cross_entropy(scores(), LABELS, reduction="none")
    assert guess(((1 - torch.exp(-each)) ** 2 * each).mean()) is not None


def row(*spreads, labels=LABELS):
    found = Guesses()
    for step, spread in enumerate(spreads):
        found.add(guess(F.cross_entropy(scores(spread=spread), labels)), step)
    return found.row()


def test_since_when_outputs_are_the_same_is_told():
    told = row(*[1.0] * 4, *[0.0] * 6)
    assert (told.integer("same"), told.integer("same_since")) == (6, 4)
    assert told.number("apart_before") > 0.3
    assert told.number("entropy") == pytest.approx(math.log(4))


def test_outputs_that_come_apart_again_are_not_the_same():
    assert row(*[0.0] * 6, *[1.0] * 4).integer("same") == 0


def test_one_label_for_all_says_nothing():
    assert row(*[0.0] * 10, labels=torch.zeros(32, dtype=torch.long)) is None


def test_what_rare_labels_cost_varies_by_luck():
    even, rare = Counter({0: 8, 1: 8}), Counter({0: 15, 1: 1})
    assert (entropy(even), luck(even)) == pytest.approx((math.log(2), 0))
    assert luck(rare) == pytest.approx(math.log(15) * math.sqrt(15) / 16)
