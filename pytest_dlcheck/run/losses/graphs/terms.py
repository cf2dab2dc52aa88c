"""What the terms of a loss are beside each other: its graph is added up once. No judgement."""

from __future__ import annotations

from torch import Tensor

from pytest_dlcheck.run.losses.graphs.counts import counting
from pytest_dlcheck.run.losses.graphs.deviations import deviating
from pytest_dlcheck.run.losses.graphs.posteriors import outweighing
from pytest_dlcheck.run.losses.graphs.sums import BENT, OPENED, sums_in
from pytest_dlcheck.run.tensors.graph import kind_of
from pytest_dlcheck.trace import Row

_TELLING = OPENED | BENT | {"Pow"}
"""What a loss is that may have terms, or be one of which something is told: a square."""


def of_terms(loss: Tensor) -> list[Row]:
    """A row for each thing that is found.

    Args:
        loss: with its graph whole.
    """
    if kind_of(loss.grad_fn) not in _TELLING:
        return []
    sums = list(sums_in((loss.grad_fn, 0)))
    return [*outweighing(loss), *deviating(loss, sums), *counting(sums)]
