"""Inputs are told again by a few of their values."""

from __future__ import annotations

import pytest
import torch

from pytest_dlcheck.run.watch.batches.few import VALUES, Few

SIZES = [(48, 1, 8, 8), (64, 1, 28, 28), (4, 3, 32, 32), (7,), (64,), (1, 128), (3, 5, 7), (4096, 1)]


@pytest.mark.parametrize("size", SIZES)
def test_values_are_of_every_part(size):
    few = Few.of(torch.arange(torch.Size(size).numel()).reshape(size))
    last, count = torch.Size(size).numel() - 1, len(few.values)
    assert min(VALUES, last + 1) / 2 <= count <= 2 * VALUES
    assert few.values[0] == 0
    assert last - few.values[-1] < 2 * (last + 1) / count


@pytest.mark.parametrize("size", SIZES[:3])
def test_images_that_are_empty_at_their_edges_are_told_apart(size):
    images = torch.zeros(2, *size)
    images[..., 2:-2, 2:-2] = torch.rand(2, *size)[..., 2:-2, 2:-2]
    one, other = map(Few.of, images)
    assert not one.is_as(other)
    assert one.is_as(Few.of(images[0].clone()))
