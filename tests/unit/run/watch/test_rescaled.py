"""Samples that come again in another scale are told from others like them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from pytest_dlcheck.run.watch.batches.rescaled import rescaled

ROWS = torch.randn(400, 6, generator=torch.Generator().manual_seed(0)).exp()
KNOWN, ASKED = ROWS[:240], ROWS[160:320]


@dataclass
class Batch:
    """What is remembered of one."""

    measured: Tensor | None
    step: int = 0
    stream: int = 1
    era: int = 0
    phase: int = 0
    rows: int = 0


def told(known, *evaluated):
    row = rescaled([Batch(known)], list(evaluated), {})
    return row.integer("rescaled"), row.integer("rescaled_of")


def otherwise(rows):
    """In the scale of another part."""
    return (rows * 1.13 + 0.2).float()


@pytest.mark.parametrize("scale", [otherwise, lambda rows: rows / 0.8, lambda rows: rows])
def test_samples_in_another_scale_are_told(scale):
    count, asked = told(KNOWN, Batch(scale(ASKED), 9))
    assert 70 <= count <= 80
    assert asked == 160


def test_columns_that_say_little_change_nothing():
    kinds = torch.randint(3, (400, 1), generator=torch.Generator().manual_seed(1)).float()
    rows = torch.cat([ROWS, kinds, torch.ones(400, 1)], 1)
    known, asked = rows[:240], rows[160:320]
    assert told(known, Batch(otherwise(asked), 9))[0] >= 70


def windows(first, length=8):
    """Of a wave that rises."""
    at = torch.arange(first, first + 200.0)
    return ((0.2 * at).sin() + 0.01 * at).unfold(0, length, 1)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        (ROWS[:200], ROWS[200:]),
        (KNOWN, ASKED + 0.01 * torch.randn(160, 6, generator=torch.Generator().manual_seed(2))),
        (KNOWN[:, :3], ASKED[:, :3] * 1.1),
        ((KNOWN * 2).round(), (ASKED * 2).round() * 1.1),
        (windows(0.0), windows(62.831853)),
        (KNOWN, ASKED * 30),
        (KNOWN[:15], otherwise(KNOWN[:15])),
        (KNOWN, ASKED[:, :5]),
    ],
    ids=["others", "noise", "few columns", "counts", "windows", "far", "few", "of another size"],
)
def test_others_are_not(known, asked):
    assert told(known, Batch(asked.float(), 9))[0] == 0


def test_one_clean_evaluation_tells_that_the_other_is_no_validation():
    both = Batch(otherwise(KNOWN), 9, 2), Batch(otherwise(ROWS[240:]), 9, 3)
    assert told(KNOWN, *both) == (0, 0)


def test_what_is_trained_on_later_or_after_a_reset_is_not():
    assert told(KNOWN, Batch(otherwise(ASKED), 0))[0] == 0
    assert told(KNOWN, Batch(otherwise(ASKED), 9, era=1))[0] == 0
    assert told(None, Batch(otherwise(ASKED), 9))[0] == 0
