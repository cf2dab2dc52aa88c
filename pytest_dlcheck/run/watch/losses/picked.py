"""Numbers that a loop picks of all it has, as ``returns[idx]`` of a roll-out in mini-batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import is_plain

LARGEST = 1 << 20
"""Numbers (count) up to which they are looked at."""
_WHOLE = frozenset({torch.int64, torch.int32})


def indices(values: Iterable[Any], count: int) -> list[Tensor]:
    """Those of a loop's variables that may pick so many numbers: whole ones, each another.

    Args:
        values: of the variables.
        count: how many numbers are picked.

    Returns:
        Of each its numbers, shape ``[count]``, int64, on the host.
    """
    found = (_index(value, count) for value in values)
    return [each for each in found if each is not None and _are_apart(each)]


def picked(value: Any, by: Iterable[Tensor]) -> Tensor | None:
    """What the first index that reaches no further than a variable's numbers picks of them, as float64.

    Args:
        value: of a variable: a tensor or an array with one axis.
        by: as :func:`indices` gives them.
    """
    numbers = _row(value)
    if numbers is None:
        return None
    able = (each for each in by if len(each) < len(numbers) and int(each.max()) < len(numbers))
    index = next(able, None)
    return None if index is None else numbers[index]


def _index(value: Any, count: int) -> Tensor | None:
    if type(value) is Tensor:
        fits = value.dtype in _WHOLE and is_plain(value) and value.shape == (count,)
        return value.detach().cpu().long() if fits else None
    if type(value) is np.ndarray and value.shape == (count,) and value.dtype.kind in "iu":
        return torch.from_numpy(value.astype(np.int64))
    return None


def _are_apart(index: Tensor) -> bool:
    return len(index) > 1 and int(index.min()) >= 0 and len(set(index.tolist())) == len(index)


def _row(value: Any) -> Tensor | None:
    if type(value) is Tensor:
        fits = is_plain(value) and value.dim() == 1 and value.numel() <= LARGEST
        return value.detach().double().cpu() if fits and not value.is_complex() else None
    if type(value) is np.ndarray and value.ndim == 1 and value.dtype.kind in "fiu":
        return torch.from_numpy(value.astype(np.float64)) if value.size <= LARGEST else None
    return None
