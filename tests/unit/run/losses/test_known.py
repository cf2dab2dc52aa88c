"""What is known of losses is what a search, and asking them, would find."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.run.losses.attainable import PRECISE, _at, _least
from pytest_dlcheck.run.losses.known import best_answers, by_samples
from pytest_dlcheck.run.passes.evaluation import _gains

SAMPLES, CLASSES = 8, 4
GROUPS = {
    "each by itself": torch.arange(SAMPLES),
    "some alike": torch.tensor([0, 0, 0, 1, 2, 2, 3, 4]),
    "one for all": torch.zeros(SAMPLES, dtype=torch.long),
}


def labels(*shape):
    return torch.randint(0, CLASSES, (SAMPLES, *shape))


def numbers(*shape):
    return torch.randn(SAMPLES, *shape)


KNOWN = {
    "classes": lambda: (nn.CrossEntropyLoss(), numbers(CLASSES), labels()),
    "a function": lambda: (F.cross_entropy, numbers(CLASSES), labels()),
    "summed": lambda: (nn.CrossEntropyLoss(reduction="sum"), numbers(CLASSES), labels()),
    "smoothed": lambda: (nn.CrossEntropyLoss(label_smoothing=0.2), numbers(CLASSES), labels()),
    "classes of places": lambda: (nn.CrossEntropyLoss(), numbers(CLASSES, 3), labels(3)),
    "shares": lambda: (nn.CrossEntropyLoss(), numbers(CLASSES), numbers(CLASSES).softmax(1)),
    "several": lambda: (nn.CrossEntropyLoss(), numbers(CLASSES), (numbers(CLASSES) > 0).float()),
    "yes or no": lambda: (nn.BCEWithLogitsLoss(), numbers(), (numbers() > 0).float()),
    "in part": lambda: (nn.BCEWithLogitsLoss(), numbers(2), torch.rand(SAMPLES, 2)),
    "numbers": lambda: (nn.MSELoss(), numbers(3), numbers(3)),
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_a_search_finds_nothing_better(make, groups):
    torch.manual_seed(0)
    loss, outputs, targets = make()
    answers = best_answers(loss, outputs, targets)
    assert answers is not None
    ask = lambda given: loss(given, targets)  # noqa: E731
    known, found = _at(ask, answers(groups)), _least(ask, outputs, groups)
    first = float(ask(outputs))
    assert known is not None
    assert known.value <= found.value + 1e-6 * first
    assert known.value == pytest.approx(found.value, abs=2 * PRECISE * first)


def hooked():
    loss = nn.MSELoss()
    loss.register_forward_hook(lambda _module, _given, value: value.mean() + 1)
    return loss


def replaced():
    loss = nn.MSELoss()
    loss.forward = lambda outputs, targets: (outputs - targets).abs().mean()
    return loss


UNKNOWN = {
    "hooked": lambda: (hooked(), numbers(3), numbers(3)),
    "replaced": lambda: (replaced(), numbers(3), numbers(3)),
    "weighed": lambda: (nn.CrossEntropyLoss(weight=torch.rand(CLASSES)), numbers(CLASSES), labels()),
    "left out": lambda: (nn.CrossEntropyLoss(), numbers(CLASSES), labels().sub(1).mul(100)),
    "a class left out": lambda: (nn.CrossEntropyLoss(ignore_index=0), numbers(CLASSES), labels()),
    "below zero": lambda: (nn.CrossEntropyLoss(), numbers(CLASSES), numbers(CLASSES)),
    "broadcast": lambda: (nn.MSELoss(), numbers(1), numbers()),
    "beyond one": lambda: (nn.BCEWithLogitsLoss(), numbers(), 3 * numbers()),
    "yes counts more": lambda: (
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0)),
        numbers(),
        (numbers() > 0).float(),
    ),
    "another loss": lambda: (nn.L1Loss(), numbers(), numbers()),
    "one's own": lambda: (lambda a, b: (a - b).square().mean(), numbers(), numbers()),
    "several outputs": lambda: (nn.MSELoss(), (numbers(), numbers()), numbers()),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_is_searched_for(make):
    assert best_answers(*make()) is None


def test_a_loss_that_refuses_is_searched_for():
    def refuse(_):
        raise RuntimeError

    assert _at(refuse, numbers()) is None
    assert _at(lambda given: given.sum() * torch.nan, numbers()) is None


@pytest.mark.parametrize("make", KNOWN.values(), ids=KNOWN)
def test_gains_are_those_of_a_loss_that_is_asked_chunk_by_chunk(make):
    torch.manual_seed(0)
    loss, outputs, targets = make()
    asked = _gains(loss, outputs, targets, 3)
    assert _gains(loss, outputs, targets, 3, loss) == pytest.approx(asked, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_what_may_be_no_mean_is_asked(make):
    assert by_samples(*make()) is None


def test_a_sum_is_no_mean():
    assert by_samples(nn.MSELoss(reduction="sum"), numbers(), numbers()) is None


def test_one_that_gives_no_loss_for_each_sample_is_asked(monkeypatch):
    mean = F.mse_loss
    monkeypatch.setattr(F, "mse_loss", lambda outputs, targets, **_: mean(outputs, targets))
    assert by_samples(nn.MSELoss(), numbers(3), numbers(3)) is None


def test_very_many_classes_have_no_share_together():
    many, loss = 100_000, nn.CrossEntropyLoss()
    outputs, targets = torch.randn(2, many), torch.randint(many, (2,))
    answers = best_answers(loss, outputs, targets)
    assert answers is not None
    assert float(loss(answers(torch.arange(2)), targets)) < 1e-6
