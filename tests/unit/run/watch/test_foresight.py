"""Attention that shows the next word is told from attention that hides it, or that works on others."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.run.losses.graphs.foresight import foresees, is_looked_up

N, T, V, D = 3, 7, 11, 8
AHEAD = torch.ones(T, T).triu(1).bool()
BIAS = torch.zeros(T, T).masked_fill(AHEAD, -math.inf)
OPEN = torch.zeros(T, T)


@pytest.fixture
def text():
    return torch.arange(N * (T + 1)).reshape(N, T + 1) * 5 % V


@pytest.fixture
def embedding():
    return nn.Embedding(V, D)


def written_out(query, key, bias):
    return (query @ key.transpose(1, 2) / 3 + bias).softmax(-1) @ key


def filled(query, key, bias):
    scores = torch.einsum("btd,bsd->bts", query, key)
    return scores.masked_fill(bias < 0, -1e9).softmax(-1) @ key


def fused(query, key, bias):
    return F.scaled_dot_product_attention(query, key, key, attn_mask=bias)


def of_flags(query, key, bias):
    return F.scaled_dot_product_attention(query, key, key, attn_mask=bias == 0)


def by_module(query, key, bias):
    torch.manual_seed(0)
    return nn.MultiheadAttention(D, 2, batch_first=True)(query, key, key, attn_mask=bias)[0]


def asked(words, outputs, embedding, targets):
    logits = outputs @ embedding.weight.t()
    loss = F.cross_entropy(logits[:, : targets.shape[1]].reshape(-1, V), targets.reshape(-1))
    return foresees(loss.grad_fn, [words], [targets.reshape(-1)])


@pytest.mark.parametrize("attend", [written_out, filled, fused, of_flags, by_module])
def test_a_mask_is_seen_and_its_absence(attend, text, embedding):
    words, targets = text[:, :-1], text[:, 1:]
    z = embedding(words)
    assert asked(words, attend(z, z, OPEN), embedding, targets)
    assert not asked(words, attend(z, z, BIAS), embedding, targets)


def test_a_mask_that_lets_one_word_too_many_through_hides_nothing(text, embedding):
    words, targets = text[:, :-1], text[:, 1:]
    z = embedding(words)
    late = torch.zeros(T, T).masked_fill(torch.ones(T, T).triu(2).bool(), -math.inf)
    assert asked(words, fused(z, z, late), embedding, targets)


def test_targets_that_the_model_shifts_itself(text, embedding):
    words = text[:, :T]
    z = embedding(words)
    assert asked(words, fused(z, z, OPEN), embedding, words[:, 1:])
    assert not asked(words, fused(z, z, BIAS), embedding, words[:, 1:])


def test_one_word_for_each_sample_is_looked_up_or_not(embedding):
    words = torch.tensor([3, 1, 4])
    loss = embedding(words).sum()
    assert is_looked_up(loss.grad_fn, words)
    assert not is_looked_up(loss.grad_fn, words + 1)


def test_words_in_their_own_places_may_see_all(text, embedding):
    words = text[:, :T]
    z = embedding(words)
    assert not asked(words, fused(z, z, OPEN), embedding, words)


def test_attention_to_what_was_read_is_no_foresight(text, embedding):
    words, targets = text[:, :-1], text[:, 1:]
    z, memory = embedding(words), embedding(torch.randint(V, (N, T)))
    assert not asked(words, written_out(z, memory, OPEN), embedding, targets)
    decoded = fused(fused(z, z, BIAS), memory, OPEN)
    assert not asked(words, decoded, embedding, targets)


def test_an_encoder_whose_words_are_decoded_again_may_see_all(text, embedding):
    words = text[:, :T]
    read = fused(embedding(words), embedding(words), OPEN).mean(1, keepdim=True)
    assert not asked(words, embedding(words[:, :-1]) + read, embedding, words[:, 1:])
