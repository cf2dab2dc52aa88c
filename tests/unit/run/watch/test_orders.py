"""Targets in another order than their inputs are told from those that outputs were reordered with."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.run.watch.losses.orders import pairing

X, Y = torch.rand(12, 5), torch.tensor([0, 1, 2, 3, 3, 2, 1, 1, 0, 2, 2, 3])
ORDER = Y.argsort()


def paired(out, target, *, called=X, aligned=None):
    loss = F.cross_entropy(out, target)
    return pairing(loss.grad_fn, [[X, Y]], [called], [target], aligned=aligned)


@pytest.mark.parametrize("change", [lambda y: y.roll(1), lambda y: y[ORDER], lambda y: y.flip(0)])
def test_targets_in_another_order_are_found(change):
    assert paired(nn.Linear(5, 4)(X), change(Y)).permuted is not None


def test_a_set_of_targets_has_one_number_whatever_its_order():
    out = nn.Linear(5, 4)(X)
    assert paired(out, Y.roll(1)).permuted == paired(out, Y[ORDER]).permuted


@pytest.mark.parametrize(
    ("out", "target"),
    [
        (lambda model: model(X)[ORDER], Y[ORDER]),
        (lambda model: model(X).flip(0), Y.flip(0)),
        (lambda model: torch.cat([model(X)[6:], model(X)[:6]]), Y.roll(6)),
        (lambda model: model(X), Y),
        (lambda model: model(X), Y.clamp(max=2)),
    ],
    ids=["indexed", "flipped", "parts exchanged", "as given", "changed"],
)
def test_targets_that_belong_to_their_outputs_are_none(out, target):
    assert paired(out(nn.Linear(5, 4)), target).permuted is None


def test_inputs_that_are_reordered_too_are_none():
    assert paired(nn.Linear(5, 4)(X[ORDER]), Y[ORDER], called=X[ORDER]).permuted is None


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("further", [False, True])
def test_classes_that_a_generator_is_given_are_no_tokens(column, further):
    classes = torch.randint(0, 9, (20,))
    asked = classes.unsqueeze(1) if column else classes
    noise = torch.randn(20, 9)
    out = nn.Embedding(9, 9)(asked).reshape(20, 9) * noise
    called = {"inputs": [noise], "further": [asked]} if further else {"inputs": [asked]}
    loss = F.cross_entropy(out, classes)
    assert not pairing(loss.grad_fn, [], targets=[classes], aligned=None, **called).copied
    twice = pairing(loss.grad_fn, [], [asked, noise], [classes, classes], aligned=None)
    assert not twice.copied


def test_tokens_are_found_beside_what_a_model_is_called_on_first():
    text, memory = torch.randint(0, 9, (4, 8)), torch.randn(4, 8, 9)
    loss = F.cross_entropy((nn.Embedding(9, 9)(text) + memory).flatten(0, 1), text.flatten())
    assert pairing(loss.grad_fn, [], [memory], [text.flatten()], further=[text], aligned=None).copied


def test_words_in_a_row_are_those_that_a_decoder_is_to_say():
    words = list(torch.randint(0, 9, (5, 20)))
    loss = F.cross_entropy(nn.Embedding(9, 9)(words[0]), words[0])

    def of(called, targets):
        return pairing(loss.grad_fn, [], called, targets, aligned=None).copied

    assert of(words, words)
    assert not of(words[:-1], words[1:])


def test_tokens_are_told_from_those_that_follow():
    text = torch.randint(0, 9, (4, 8))
    out = nn.Embedding(9, 9)(text).flatten(0, 1)
    loss = F.cross_entropy(out, text.flatten())

    def of(target):
        return pairing(loss.grad_fn, [], [text], [target], aligned=None).copied

    assert of(text.flatten())
    assert not of(text.roll(-1, 1).flatten())
    assert not of(text.float())
