"""What a loop itself calls earned: its variables named as rewards or returns. No judgement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_dlcheck.run.frames import variables
from pytest_dlcheck.run.samples import is_plain
from pytest_dlcheck.run.watch.models.flows import frame_of_the_loop

EARNED = re.compile(r"(?:^|_)(?:rewards?|returns?|rtgs?|rewards_to_go)(?:_|$)")
COMPARED = re.compile(r"(?:^|_)(?:advantages?|advs?|gae)(?:_|$)")
"""What was earned beside what was expected, which may be taken off either way."""
FRAMES = 3
"""Callers in which they are looked for: a step is often a function, and a method of a class."""
SAME = 0.99
"""Correlation from which on numbers are a variable's, less a mean or in another unit; chosen."""
ALIKE = 0.3
"""Correlation from which on an advantage is known to rise, or fall, with what was earned; chosen."""
MARGIN = 0.2
"""By how much the correlation in the other order must be less; chosen."""
LINE = 1 - 1e-7
"""Correlation of the same numbers in two units, of single precision."""
LARGEST = 1 << 20


def earned(weights: Tensor) -> tuple[str, float]:
    """The variable whose numbers these are, and how they follow what was earned; empty and 0 if none.

    Args:
        weights: one for each action, of shape ``[n]`` and type float64, on the host.
    """
    found = {EARNED: _following(weights, EARNED), COMPARED: _following(weights, COMPARED)}
    same = {names: _strongest(pairs) for names, pairs in found.items()}
    if abs(same[EARNED][1]) >= SAME:
        return same[EARNED]
    signs = {follows > 0 for _, follows in found[EARNED] if abs(follows) >= ALIKE}
    if abs(same[COMPARED][1]) >= SAME and len(signs) == 1:
        return same[COMPARED][0], 1.0 if signs.pop() else -1.0
    return "", 0.0


def _following(weights: Tensor, names: re.Pattern[str]) -> list[tuple[str, float]]:
    """The correlation with each variable of as many numbers."""
    held = ((name, _numbers(value, len(weights))) for name, value in _variables(names))
    return [
        (name, _correlation(weights, numbers))
        for name, numbers in held
        if numbers is not None and float(numbers.std()) > 0
    ]


def _correlation(weights: Tensor, numbers: Tensor) -> float:
    """That of two rows of numbers; 0 where the one turned round would tell the opposite.

    Returns fall from step to step, so that in the order of the episode and in the other they follow each
    other and oppose each other. Only those that lie on a line, and rise together, are certain there.
    """
    both = torch.stack([weights, numbers, numbers.flip(0)])
    one, other = torch.corrcoef(both)[0, 1:].tolist()
    return one if one >= LINE or abs(other) <= abs(one) - MARGIN else 0.0


def _strongest(found: list[tuple[str, float]]) -> tuple[str, float]:
    return max(found, key=lambda pair: abs(pair[1]), default=("", 0.0))


def _variables(names: re.Pattern[str]) -> Iterator[tuple[str, Any]]:
    """Of the loop and its callers, and of the objects in them."""
    frame = frame_of_the_loop()
    for _ in range(FRAMES):
        if frame is None:
            return
        held = variables(frame)
        owned = (getattr(owner, "__dict__", None) for owner in held.values())
        for own in (held, *(each for each in owned if type(each) is dict)):
            yield from ((str(n), v) for n, v in list(own.items()) if names.search(str(n).lower()))
        frame = frame.f_back


def _numbers(value: Any, count: int) -> Tensor | None:
    """As many numbers as there are weights."""
    if isinstance(value, Tensor):
        fits = is_plain(value) and value.numel() == count <= LARGEST and not value.is_complex()
        return value.detach().flatten().double().cpu() if fits else None
    if isinstance(value, np.ndarray):
        fits = value.size == count and value.dtype.kind in "fiu"
        return torch.from_numpy(value.astype(np.float64).reshape(-1)) if fits else None
    if type(value) in {list, tuple} and len(value) == count <= LARGEST:
        known = all(isinstance(each, Real) for each in value)
        return torch.tensor([float(each) for each in value], dtype=torch.float64) if known else None
    return None
