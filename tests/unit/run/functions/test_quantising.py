"""What is rounded, told from what only has zeros, signs or repeats."""

import pytest
import torch

from pytest_dlcheck.run.functions.quantising import quantises

MANY = torch.randn(64, 40, generator=torch.Generator().manual_seed(0)).double()
FEW = MANY.flatten()[:48]


def fake(bits, *, per_row=False):
    def rounded(values):
        most = 2 ** (bits - 1) - 1
        largest = values.abs().amax(1, keepdim=True) if per_row else values.abs().max()
        scale = largest / most + 1e-8
        return (values / scale).round().clamp(-most, most) * scale

    return rounded


def codes(values):
    book = torch.linspace(-2, 2, 7).double().pow(3)
    return book[(values.unsqueeze(-1) - book).abs().argmin(-1)]


def with_zero_point(values):
    scale = (values.max() - values.min()) / 255
    return ((values / scale).round() - 3) * scale


def signs(values):
    return values.sign() * values.abs().mean()


@pytest.mark.parametrize("function", [fake(3), fake(8), fake(4, per_row=True), codes, signs])
def test_rounded(function):
    assert quantises(MANY, function(MANY))


@pytest.mark.parametrize("function", [fake(8), with_zero_point])
def test_few_numbers_on_a_fine_grid(function):
    assert quantises(FEW, function(FEW))


@pytest.mark.parametrize(
    "function",
    [
        torch.relu,
        torch.sigmoid,
        torch.clone,
        lambda x: 2 * x,
        lambda x: x.clamp(-1, 1),
        lambda x: torch.where(x.abs() > 1.5, x, 0.0),
        lambda x: x.softmax(-1),
        lambda x: x.sum().reshape(1),
        lambda x: x.repeat_interleave(4),
        lambda x: 2 * x.flatten().cummax(0).values.view_as(x),
        lambda x: x.mean().expand(x.shape),
        lambda x: (10 * x).clamp(-1, 1),
        lambda x: x.clamp(-0.1, 0.1),
    ],
)
@pytest.mark.parametrize("values", [MANY, FEW])
def test_not_rounded(function, values):
    assert not quantises(values, function(values))


def test_whole_numbers_are_not_rounded_by_what_keeps_them():
    whole = MANY.mul(100).round()
    assert not quantises(whole, 2 * whole)
