"""How sure of one place attention is in the first pass, however it is written; what is told of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_dlcheck.faults.contract.attention import advice_on_attention
from pytest_dlcheck.run.calls.threads import followed
from pytest_dlcheck.run.passes.soundings import Sounding

WIDTH = 32


class Attending(nn.Module):
    def __init__(self, weigh):
        super().__init__()
        self.weigh, self.mix = weigh, nn.Linear(WIDTH, 3 * WIDTH)
        self.table = nn.Parameter(torch.randn(12, WIDTH))

    def forward(self, x):
        return self.weigh(self, *self.mix(x).chunk(3, -1))


def by_hand(factor, mask=None):
    def weigh(_, q, k, v):
        scores = q @ k.transpose(1, 2) * factor
        return (scores if mask is None else scores + mask).softmax(-1) @ v

    return weigh


def by_einsum(factor):
    def weigh(_, q, k, v):
        q, k, v = (t.unflatten(-1, (2, -1)) for t in (q, k, v))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / factor
        return torch.einsum("bhqk,bkhd->bqhd", F.softmax(scores, dim=-1), v)

    return weigh


def fused(scale, **options):
    return lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, scale=scale, **options)


def looked_up(model, q, _, v):
    return (q * 99 @ model.table.T).softmax(-1) @ v[:, :12]


def gated(_, q, k, v):
    return (99 * q).softmax(-1) * k + v


def drawn(_, q, k, v):
    noise = -torch.rand(len(q), q.size(1), k.size(1)).log().neg().log()
    return ((noise / 0.001).softmax(-1) @ v) + q + k


def sure(weigh):
    rows = [row.number("sure") for row in sounded(weigh) if row.get("sure") is not None]
    return max(rows, default=-1)


def sounded(weigh):
    torch.manual_seed(0)
    model = Attending(weigh)
    found = Sounding(0)
    with followed(model, found):
        found.begin_batch(4)
        model(3 * torch.randn(4, 16, WIDTH))
    return found.signal()


CAUSAL = torch.full((16, 16), -1e9).triu(1)
ROOT = WIDTH**0.5


@pytest.mark.parametrize(
    "weigh",
    [
        by_hand(ROOT),
        by_hand(ROOT, CAUSAL),
        by_einsum(1 / ROOT),
        fused(ROOT),
        fused(ROOT, is_causal=True),
        fused(ROOT, attn_mask=CAUSAL),
    ],
)
def test_scores_that_are_multiplied_by_the_root_of_their_width_saturate(weigh):
    assert sure(weigh) > 0.8


@pytest.mark.parametrize(
    "weigh",
    [
        by_hand(1 / ROOT),
        by_hand(1 / ROOT, CAUSAL),
        by_einsum(ROOT),
        fused(None),
        fused(None, is_causal=True),
        fused(None, attn_mask=CAUSAL == 0),
    ],
)
def test_scaled_scores_do_not(weigh):
    assert 0 <= sure(weigh) < 0.1


def test_a_window_that_shows_one_place_alone_is_not_counted():
    assert sure(by_hand(ROOT, torch.full((16, 16), -torch.inf).fill_diagonal_(0))) == -1


@pytest.mark.parametrize("weigh", [looked_up, gated, drawn])
def test_what_is_no_attention_may_be_as_sure_as_it_likes(weigh):
    assert sure(weigh) == -1


@pytest.mark.parametrize("factor", [ROOT, 1 / ROOT])
def test_what_is_saturated_is_advice(factor):
    lines = list(advice_on_attention(sounded(by_hand(factor))))
    assert [line.startswith("the attention of model is saturated") for line in lines] == (
        [True] if factor > 1 else []
    )
