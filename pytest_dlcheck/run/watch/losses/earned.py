"""What a loop itself calls earned: its variables named as rewards or returns. No judgement."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_dlcheck.run.frames import variables
from pytest_dlcheck.run.samples import is_plain
from pytest_dlcheck.run.watch.models.flows import frame_of_the_loop

EARNED = frozenset(
    {"rewards", "returns", "discounted_rewards", "discounted_returns", "rewards_to_go", "returns_to_go"}
)
"""Whole names: ``neg_returns`` is something else, and one player's ``reward`` is another's loss."""
FRAMES = 3
"""Callers in which they are looked for: a step is often a function, and a method of a class."""
LINE = 1 - 1e-7
"""Correlation of the same numbers in two units, of single precision, or less a mean."""
MARGIN = 0.2
"""By how much less that must be in the other order, where one falls as the other rises; chosen."""
LARGEST = 1 << 20


def earned(weights: Tensor) -> tuple[str, float]:
    """The variable whose numbers these are, and whether they rise (1) or fall (-1) with it.

    Args:
        weights: one for each action, of shape ``[n]`` and type float64, on the host.
    """
    for name, value in _variables():
        numbers = _numbers(value, len(weights))
        if numbers is not None and float(numbers.std()) > 0 and (way := _way(weights, numbers)):
            return name, way
    return "", 0.0


def _way(weights: Tensor, numbers: Tensor) -> float:
    """Whether weights lie on a line over these numbers, and which way; 0 where they do not.

    Returns fall from step to step, so that in the order of the episode and in the other they follow each
    other and oppose each other: that they fall with each other is certain of others only.
    """
    both = torch.stack([weights, numbers, numbers.flip(0)])
    one, other = torch.corrcoef(both)[0, 1:].tolist()
    if one >= LINE:
        return 1.0
    return -1.0 if one <= -LINE and abs(other) <= 1 - MARGIN else 0.0


def _variables() -> Iterator[tuple[str, Any]]:
    """Of the loop and its callers."""
    frame = frame_of_the_loop()
    for _ in range(FRAMES):
        if frame is None:
            return
        yield from ((name, value) for name, value in variables(frame).items() if name in EARNED)
        frame = frame.f_back


def _numbers(value: Any, count: int) -> Tensor | None:
    """As many numbers as there are weights."""
    if type(value) in {Tensor, torch.nn.Parameter}:
        fits = is_plain(value) and value.numel() == count <= LARGEST and not value.is_complex()
        return value.detach().flatten().double().cpu() if fits else None
    if type(value) is np.ndarray:
        fits = value.size == count and value.dtype.kind in "fiu"
        return torch.from_numpy(value.astype(np.float64).reshape(-1)) if fits else None
    if type(value) in {list, tuple} and len(value) == count <= LARGEST:
        known = all(isinstance(each, Real) for each in value)
        return torch.tensor([float(each) for each in value], dtype=torch.float64) if known else None
    return None
