"""A model's input is known for what a loader gave, in whatever unit; another batch is not."""

import pytest
import torch

from pytest_dlcheck.run.watch.batches.units import holds

ROWS = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randint(256, (8, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SEQUENCES = torch.randn(8, 6, 3, generator=torch.Generator().manual_seed(0))
UNITS = torch.tensor([1.0, -2.0, 30.0])


@pytest.mark.parametrize(
    ("called", "given"),
    [
        (ROWS, ROWS),
        ((ROWS - ROWS.mean(0)) / ROWS.std(0), ROWS),
        (ROWS.bfloat16(), ROWS),
        (ROWS[:, 0] * 3 + 1, ROWS[:, 0]),
        (IMAGES / 255, IMAGES),
        ((IMAGES / 255).flatten(1), IMAGES),
        ((IMAGES - UNITS.view(3, 1, 1)) / UNITS.view(3, 1, 1), IMAGES),
        (SEQUENCES * UNITS + 4, SEQUENCES),
        (torch.cat([ROWS, torch.zeros(16, 1)], 1) * 2 + 0.1, torch.cat([ROWS, torch.zeros(16, 1)], 1)),
    ],
)
def test_numbers_in_another_unit_are_those_given(called, given):
    assert holds(called, given)


@pytest.mark.parametrize(
    ("called", "given"),
    [
        (ROWS.roll(1, 0), ROWS),
        (torch.cat([ROWS[:, :4], ROWS[:, 4:].roll(1, 0)], 1), ROWS),
        (ROWS + 0.1 * ROWS.roll(1, 0), ROWS),
        (ROWS[:2], ROWS[2:4]),
        (ROWS[:8], ROWS),
        (ROWS.t(), ROWS),
        (torch.ones(16, 5), torch.zeros(16, 5)),
        (ROWS.relu(), ROWS),
        (torch.full((16, 5), float("nan")), ROWS),
        (torch.tensor(1.0), torch.tensor(2.0)),
        (ROWS.to_sparse(), ROWS),
    ],
)
def test_other_numbers_are_not(called, given):
    assert not holds(called, given)
