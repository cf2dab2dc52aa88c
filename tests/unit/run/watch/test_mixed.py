"""Rows that mix positions are told from the graph, and those that do not are left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.mixed import what_is_mixed
from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.outputs import made_here
from pytest_dlcheck.run.losses.graphs.written import written

CLASSES = 3
MAPS, LABELS = torch.randn(4, 2, 6, 5), torch.randint(CLASSES, (4, 6, 5))
WORDS, TAGS = torch.randn(4, 7, 2), torch.randint(CLASSES, (4, 7))


def _by_hand(scores, labels):
    return (scores.logsumexp(1) - scores.gather(1, labels[:, None])[:, 0]).mean()


def _of_logarithms(scores, labels):
    return -(F.one_hot(labels, CLASSES) * scores.log_softmax(1)).sum(1).mean()


def _found(scores, labels, loss, batch):
    made_here(scores)
    value = loss(scores, labels)
    nodes = Near.of_loss(value.grad_fn)
    return what_is_mixed(nodes, written(value.grad_fn, [batch]), [batch])


@pytest.mark.parametrize("compare", [_by_hand, _of_logarithms, F.cross_entropy])
def test_a_reshape_of_maps_mixes(compare):
    scores = nn.Conv2d(2, CLASSES, 1)(MAPS)
    (row,) = _found(
        scores, LABELS, lambda s, y: compare(s.reshape(-1, CLASSES), y.reshape(-1)), [MAPS, LABELS]
    )
    assert row.integer("mixed") == CLASSES
    assert row.text("cut_from") == "(4, 3, 6, 5)"


@pytest.mark.parametrize("compare", [_by_hand, _of_logarithms, F.cross_entropy])
def test_maps_whose_classes_are_moved_last_are_left_alone(compare):
    scores = nn.Conv2d(2, CLASSES, 1)(MAPS)

    def loss(s, y):
        return compare(s.permute(0, 2, 3, 1).reshape(-1, CLASSES), y.reshape(-1))

    assert _found(scores, LABELS, loss, [MAPS, LABELS]) == []


@pytest.mark.parametrize("compare", [_by_hand, _of_logarithms, F.cross_entropy])
def test_a_score_per_word_is_left_alone(compare):
    scores = nn.Linear(2, CLASSES)(WORDS)
    loss = lambda s, y: compare(s.reshape(-1, CLASSES), y.reshape(-1))  # noqa: E731
    assert _found(scores, TAGS, loss, [WORDS, TAGS]) == []


def test_as_many_words_as_classes_are_left_alone():
    words, tags = WORDS[:, :CLASSES], TAGS[:, :CLASSES]
    scores = nn.Linear(2, CLASSES)(words)
    loss = lambda s, y: _by_hand(s.reshape(-1, CLASSES), y.reshape(-1))  # noqa: E731
    assert _found(scores, tags, loss, [words, tags]) == []
