"""Randomness in eval mode is found and named; sampling on purpose is advice."""

from __future__ import annotations

import random

import numpy as np
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
        self.own = torch.Generator().manual_seed(1)
        self.numpy, self.python = np.random.default_rng(1), random.Random(1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, h):
        self.seen += self.training
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


def written(body, h, kept):
    out = h.clone()
    out[kept] = h[kept] + body.layer(h)[kept]
    return out


FAULTS = {
    "F.dropout": lambda body, h: F.dropout(h, 0.3),
    "a mask by hand": lambda body, h: h * (torch.rand_like(h) > 0.3).float() / 0.7,
    "masked_fill": lambda body, h: h.masked_fill(torch.rand_like(h) < 0.3, 0.0),
    "attention": lambda body, h: F.scaled_dot_product_attention(
        h[None], h[None], h[None], dropout_p=0.3
    )[0],
    "paths by sample": lambda body, h: h + body.layer(h) * torch.bernoulli(torch.full((len(h), 1), 0.5)),
    "layers skipped": skip_at_random,
    "noise": lambda body, h: h + 0.1 * torch.randn_like(h),
    "noise of that shape": lambda body, h: torch.randn(h.shape).mul(0.1) + h,
    "a path that is rarely dropped": lambda body, h: (
        h + body.layer(h) * (torch.rand(len(h), 1) > 0.05).float() / 0.95
    ),
}
FAULTS |= {
    "one mask for the batch": lambda body, h: (
        h + body.layer(h) * torch.empty(1, 1).bernoulli_(0.8) / 0.8
    ),
    "a path chosen by where": lambda body, h: torch.where(
        torch.rand(len(h), 1) < 0.3, h, h + body.layer(h)
    ),
    "rows written by a mask": lambda body, h: written(body, h, torch.rand(len(h)) < 0.7),
    "multiplied noise": lambda body, h: h * (1 + 0.2 * torch.randn_like(h)),
    "a generator of its own": lambda body, h: (
        h if torch.rand((), generator=body.own) < 0.1 else h + body.layer(h)
    ),
}
OUTSIDE = {
    "python": lambda body, h: h if random.random() < 0.05 else h + body.layer(h),
    "numpy's generator": lambda body, h: h if body.numpy.random() < 0.1 else h + body.layer(h),
    "python's generator": lambda body, h: h if body.python.random() < 0.1 else h + body.layer(h),
    "operations only": lambda body, h: h if random.random() < 0.1 else h + torch.tanh(2 * h),
}
SAMPLING = {
    "a predicted size": lambda body, h: h + body.layer(h).exp() * torch.randn_like(h),
    "a learned size": lambda body, h: h + body.layer.bias.mean() * torch.randn_like(h),
    "rounding at random": lambda body, h: torch.floor(16 * body.layer(h) + torch.rand_like(h)) / 16,
    "signs": lambda body, h: body.layer(h * (2 * torch.randint(0, 2, h.shape) - 1)),
    "noise that is compared": lambda body, h: (h > torch.rand_like(h)).float() + h,
    "codes drawn": lambda body, h: h + F.one_hot(torch.multinomial(h.softmax(1), 1)[:, 0], 16),
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


@pytest.mark.parametrize("fault", ["F.dropout", "a mask by hand", "layers skipped", "noise"])
def test_what_is_random_in_training_only_passes(verdict_on, fault):
    def guarded(body, h):
        return FAULTS[fault](body, h) if body.training else h

    verdict = verdict_on(classifier(lambda: Body(guarded)))
    assert verdict.outcome == "passed"
    assert not verdict.advice


@pytest.mark.parametrize("way", OUTSIDE)
def test_coins_tossed_outside_of_torch_are_found(verdict_on, way):
    verdict = verdict_on(classifier(lambda: Body(OUTSIDE[way])))
    assert verdict.failed
    assert verdict.sites == ("body",)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_what_is_dropped_only_once_it_is_trained_is_found(verdict_on, rate):
    def ramp(body, h):
        share = min(rate, float(body.seen) / 50)
        return h + body.layer(h) * (torch.rand(len(h), 1) >= share)

    def build():
        data, model = (torch.randn(64, 20), torch.randint(0, 3, (64,))), Net(Body(ramp))
        optimizer = torch.optim.Adam(model.parameters())
        return Recipe(model=model, train_data=data, loss=nn.CrossEntropyLoss(), optimizer=optimizer)

    verdict = verdict_on(build)
    assert verdict.failed is (rate > 0)
    assert ("after a training" in verdict.because) is (rate > 0)


def test_a_drop_is_found_behind_a_scale_that_starts_tiny(verdict_on):
    def skipping(body, h):
        return h if torch.rand(()) < 0.1 else h + body.layer(h)

    def body():
        made = Body(skipping)
        nn.init.constant_(made.layer.weight, 1e-6)
        nn.init.zeros_(made.layer.bias)
        return made

    assert verdict_on(classifier(body)).failed


def test_layers_skipped_are_found_behind_a_branch_that_starts_at_zero(verdict_on):
    def skipping(body, h):
        return h if torch.rand(()) < 0.3 else h + body.layer(h)

    def body():
        made = Body(skipping)
        nn.init.zeros_(made.layer.weight)
        nn.init.zeros_(made.layer.bias)
        return made

    verdict = verdict_on(classifier(body))
    assert verdict.failed
    assert "stochastic depth" in verdict.cause


def test_a_dropout_kept_in_train_mode_is_named(verdict_on):
    verdict = verdict_on(classifier(StuckDropout))
    assert verdict.sites == ("body.drop",)
    assert "train mode" in verdict.cause


@pytest.mark.parametrize("way", SAMPLING)
def test_sampling_is_advice(verdict_on, way):
    verdict = verdict_on(classifier(lambda: Body(SAMPLING[way])))
    assert verdict.outcome == "passed"
    assert "draws random numbers in eval mode" in verdict.advice[0]


def test_noise_is_advice_where_the_inputs_are_to_be_restored(verdict_on):
    def build():
        data = torch.randn(32, 16)
        model = Body(lambda body, h: body.layer(h + 0.1 * torch.randn_like(h)))
        return Recipe(model=model, train_data=(data, data), loss=nn.MSELoss())

    assert verdict_on(build).outcome == "passed"


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
