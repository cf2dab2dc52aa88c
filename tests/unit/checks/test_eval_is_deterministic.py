"""Randomness in eval mode is found and named; sampling on purpose is advice."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.recipe import Recipe


class Net(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.first, self.body, self.head = nn.Linear(20, 16), body, nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.body(torch.relu(self.first(x))))


class Body(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change
        self.layer = nn.Linear(16, 16)

    def forward(self, h):
        return self.change(self, h)


class StuckDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def train(self, *mode):
        super().train(*mode)
        self.drop.train()
        return self

    def forward(self, h):
        return self.drop(h)


class Carrying(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = torch.zeros(())

    def forward(self, h):
        self.hidden = 0.5 * self.hidden + h.detach().mean()
        return h + self.hidden


def skip_at_random(body, h):
    for _ in range(6):
        if torch.rand(()) < 0.5:
            h = h + body.layer(h)
    return h


FAULTS = {
    "F.dropout": lambda body, h: F.dropout(h, 0.3),
    "a mask by hand": lambda body, h: h * (torch.rand_like(h) > 0.3).float() / 0.7,
    "masked_fill": lambda body, h: h.masked_fill(torch.rand_like(h) < 0.3, 0.0),
    "attention": lambda body, h: F.scaled_dot_product_attention(
        h[None], h[None], h[None], dropout_p=0.3
    )[0],
    "paths by sample": lambda body, h: h + body.layer(h) * torch.bernoulli(torch.full((len(h), 1), 0.5)),
    "layers skipped": skip_at_random,
}


def classifier(body):
    def build():
        data = torch.randn(32, 20), torch.randint(0, 3, (32,))
        return Recipe(model=Net(body()), train_data=data, loss=nn.CrossEntropyLoss())

    return build


@pytest.mark.parametrize("fault", FAULTS)
def test_what_stays_random_is_found_and_named(verdict_on, fault):
    verdict = verdict_on(classifier(lambda: Body(FAULTS[fault])))
    assert verdict.failed
    assert verdict.sites == ("body",)
    assert "test_eval_is_deterministic.py:" in verdict.cause


@pytest.mark.parametrize("fault", ["F.dropout", "a mask by hand", "layers skipped"])
def test_what_is_random_in_training_only_passes(verdict_on, fault):
    def guarded(body, h):
        return FAULTS[fault](body, h) if body.training else h

    verdict = verdict_on(classifier(lambda: Body(guarded)))
    assert verdict.outcome == "passed"
    assert not verdict.advice


def test_a_dropout_kept_in_train_mode_is_named(verdict_on):
    verdict = verdict_on(classifier(StuckDropout))
    assert verdict.sites == ("body.drop",)
    assert "train mode" in verdict.cause


def test_sampling_is_advice(verdict_on):
    verdict = verdict_on(classifier(lambda: Body(lambda body, h: h + torch.randn_like(h))))
    assert verdict.outcome == "passed"
    assert "randn_like" in verdict.advice[0]


def test_masked_tokens_are_advice(verdict_on):
    def mask_tokens(body, h):
        tokens = h.reshape(len(h), 8, 2)
        return (tokens * (torch.rand(len(h), 8, 1) > 0.5)).flatten(1)

    verdict = verdict_on(classifier(lambda: Body(mask_tokens)))
    assert verdict.outcome == "passed"
    assert verdict.advice


def test_state_carried_from_call_to_call_is_advice(verdict_on):
    verdict = verdict_on(classifier(Carrying))
    assert verdict.outcome == "passed"
    assert "body carries hidden" in verdict.advice[0]
