"""Scores are held against targets of another order, or features against themselves: read from graphs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.near import Near
from pytest_dlcheck.run.losses.graphs.opposite import among_the_inputs, is_its_own, turned

N, STEPS, KINDS = 6, 5, 3
TAGS = torch.arange(N * STEPS).reshape(N, STEPS) * 7 % KINDS


def nodes(loss):
    return Near.of_loss(loss.grad_fn)


def scores(*shape):
    return torch.randn(*shape, requires_grad=True) * 2


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: scores(STEPS, N, KINDS).reshape(-1, KINDS), "[5, 6, 3] beside [6, 5]"),
        (lambda: scores(STEPS, N, KINDS).log_softmax(-1).view(-1, KINDS), "[5, 6, 3] beside [6, 5]"),
        (lambda: scores(N, STEPS, KINDS).reshape(-1, KINDS), ""),
        (lambda: scores(STEPS, N, KINDS).transpose(0, 1).reshape(-1, KINDS), ""),
    ],
)
def test_time_major_scores_beside_batch_major_targets(made, words):
    loss = F.cross_entropy(made(), TAGS.reshape(-1))
    assert turned(nodes(loss), [torch.randn(N, STEPS), TAGS], []) == words


def test_targets_that_are_turned_too_are_in_order():
    loss = F.cross_entropy(scores(STEPS, N, KINDS).reshape(-1, KINDS), TAGS.T.reshape(-1))
    assert turned(nodes(loss), [TAGS], []) == ""


TEXT = torch.randint(50, (STEPS + 1, N), generator=torch.Generator().manual_seed(0))
"""Words, time first, with one more to come."""


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (TEXT[1:].reshape(-1), ""),
        (TEXT[1:].T.reshape(-1), "[5, 6, 50] beside [6, 5]"),
        (TEXT[:-1].T.reshape(-1), ""),
        (TEXT[1:].flip(0).reshape(-1), ""),
    ],
)
def test_next_words_laid_out_batch_major_beside_time_major_scores(targets, words):
    loss = F.cross_entropy(scores(STEPS, N, 50).reshape(-1, 50), targets)
    assert turned(nodes(loss), [], [torch.randn(N), TEXT[:-1]]) == words


def test_scores_that_a_model_turns_beside_next_words_as_they_were_given():
    windows = TEXT.T
    loss = F.cross_entropy(scores(STEPS, N, 50).reshape(-1, 50), windows[:, 1:].reshape(-1))
    assert turned(nodes(loss), [], [windows[:, :-1]]) == "[5, 6, 50] beside [6, 5]"


def test_windows_as_long_as_there_are_of_them_tell_no_axis():
    square = TEXT[:, :STEPS]
    loss = F.cross_entropy(scores(STEPS, STEPS, 50).reshape(-1, 50), square[1:].T.reshape(-1))
    assert turned(nodes(loss), [], [square[:-1]]) == ""


def likeness(one, other, targets=None):
    return F.cross_entropy(one @ other.T / 0.1, torch.arange(N) if targets is None else targets)


def test_one_view_compared_with_itself():
    one, other = F.normalize(scores(N, 8), dim=1), F.normalize(scores(N, 8), dim=1)
    assert is_its_own(nodes(likeness(one, one)))
    assert not is_its_own(nodes(likeness(one, other)))
    assert not is_its_own(nodes(likeness(one, one, torch.arange(N).flip(0))))


def test_likeness_within_both_views_with_the_diagonal_masked():
    both = torch.cat([scores(N, 8), scores(N, 8)])
    masked = (both @ both.T).masked_fill(torch.eye(2 * N).bool(), -1e9)
    partner = torch.cat([torch.arange(N) + N, torch.arange(N)])
    assert not is_its_own(nodes(F.cross_entropy(masked, partner)))
    assert not is_its_own(nodes(F.cross_entropy(masked[:N, :N], torch.arange(N))))


def test_targets_among_the_inputs():
    windows = torch.randn(16, 12, 2)
    assert among_the_inputs([windows], [windows[:, -1, 0]]) == "input[11, 0]"
    assert among_the_inputs([windows], [windows[:, -1, :1]]) == "input[11, 0]"
    assert among_the_inputs([windows], [windows[:, -1, 0] + 1e-3]) == ""
    assert among_the_inputs([windows], [windows.flatten()]) == ""
    assert among_the_inputs([windows], [windows[:, -4:, 0]]) == "input[8:12, 0]"
    assert among_the_inputs([windows], [windows[:, -4:, :1].flatten()]) == "input[8:12, 0]"
    assert among_the_inputs([windows], [windows[..., 0]]) == ""
    assert among_the_inputs([windows[:, :8]], [windows[:, 4:, 0]]) == ""
    assert among_the_inputs([windows.round()], [windows[:, -1, 0].round()]) == ""
