"""Is a weight still as its initialisation drew it? A trained one has lost the draw's exact shape."""

from __future__ import annotations

import math
from math import sqrt

import torch
from torch import Tensor, nn

_FEWEST = 256
"""Elements below which a uniform draw cannot be told, and"""
_FEWEST_NORMAL = 2_000
"""below which a normal one cannot: its standard deviation is then known to 5 % (3 standard errors)."""
_SMALL = (0.01, 0.02)
"""Standard deviations of draws so small that a few steps of any training leave them behind; a table of
such tells itself from 256 elements on."""
_LOOKED_AT = 100_000
"""Elements looked at, evenly spread: they tell a standard deviation to 0.7 %."""
_UNIFORM = 1 / sqrt(3)
"""Standard deviation over largest magnitude of a uniform draw; below 0.4 for a bell."""
_STANDARD_ERRORS = 3.0
_SLACK = 0.2
"""Beyond what chance gives a table of draws (ratio): its largest singular value, and its kurtosis."""
_NORMAL_KURTOSIS = (2.2, 3.4)
"""From truncated to sampled normal; trained weights have heavier tails."""


def is_untrained(parameter: Tensor) -> bool | None:
    """Whether it looks like a fresh draw of a usual initialisation; None where it cannot be told.

    Args:
        parameter: any shape; vectors (biases, scales) cannot be told.
    """
    if nn.parameter.is_lazy(parameter):
        return None
    flat = parameter.detach().flatten()
    return is_fresh_draw(flat[:: flat.numel() // _LOOKED_AT + 1], parameter.shape)


def is_fresh_draw(values: Tensor, shape: torch.Size) -> bool | None:
    """The same of some of a parameter's numbers, as they were at some time.

    Args:
        values: evenly spread over it, shape ``[n]``.
        shape: the parameter's.
    """
    if len(shape) < 2 or values.numel() < _FEWEST:  # noqa: PLR2004  a vector
        return None
    weights = values.to("cpu", torch.float64)
    spread, largest = float(weights.std()), float(weights.abs().max())
    if largest == 0:
        return None
    error = _STANDARD_ERRORS / sqrt(2 * weights.numel())
    if abs(spread / largest - _UNIFORM) <= error * _UNIFORM:
        return True
    if weights.numel() < _FEWEST_NORMAL:
        return True if _is_small_table(weights, spread, error, shape) else None
    kurtosis = float(((weights - weights.mean()) / spread).pow(4).mean())
    bell = _NORMAL_KURTOSIS[0] <= kurtosis <= _NORMAL_KURTOSIS[1]
    return bell and any(abs(spread / usual - 1) <= error for usual in _usual(shape))


def _is_small_table(values: Tensor, spread: float, error: float, shape: torch.Size) -> bool:
    """Whether it is a whole table of independent draws, as small as embeddings are begun with."""
    if len(shape) != 2 or values.numel() != shape.numel():  # noqa: PLR2004  a table
        return False
    is_usual = any(abs(spread / usual - 1) <= error for usual in _SMALL)
    return is_usual and is_random_table(values.reshape(shape))


def _usual(shape: torch.Size) -> list[float]:
    field = shape[2:].numel()
    into, out = shape[1] * field, shape[0] * field
    fans = [1 / into, 2 / into, 1 / out, 2 / out, 2 / (into + out)]
    return [1.0, 0.02, 0.01, *map(sqrt, fans)]


def is_random_table(table: Tensor) -> bool:
    """Whether rows look like independent normal draws: no direction holds more than chance gives it.

    What was trained, or computed, has directions that say more than others, and values far out.

    Args:
        table: floating, of shape ``[rows, features]``.
    """
    if table.dim() != 2 or min(table.shape) < 2 or table.numel() < _FEWEST:  # noqa: PLR2004  no table
        return False
    values = table.detach().to("cpu", torch.float64)[: max(2, _LOOKED_AT // table.size(1))]
    values = values[values.abs().sum(1) > 0]  # the row of padding is zero
    count, width = values.shape
    if count < 2:  # noqa: PLR2004  as above
        return False
    spread = float(values.std())
    if not 0 < spread < math.inf:
        return False
    kurtosis = float((values / spread).pow(4).mean())
    error = _STANDARD_ERRORS * sqrt(24 / values.numel())
    strongest = float(torch.linalg.matrix_norm(values / spread, 2)) / sqrt(count)
    by_chance = 1 + sqrt(width / count)
    return abs(kurtosis - 3) <= max(error, _SLACK) and strongest <= (1 + _SLACK) * by_chance
