"""Where rows of numbers stand within a larger array: as its rows, or as windows of it. No judgement."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]

LARGEST = 1 << 22
"""Rows of an array (count) that are looked through at most: milliseconds for each that is sought."""
COLUMNS = 64
"""Numbers of a row that narrow down where it may stand."""
ALIKE = 16
"""Places (count) that are compared as a whole: where more are left, the row is one of many."""
_TWO = 2
_SMALL_FLOATS = frozenset({torch.float16, torch.bfloat16})


def on_the_host(numbers: Any) -> Numbers:
    """As an array, of a type that numpy has."""
    if isinstance(numbers, Tensor):
        found = numbers.detach()
        return (found.float() if found.dtype in _SMALL_FLOATS else found).cpu().numpy()
    return np.asarray(numbers)


def is_array(thing: Any) -> bool:
    """Whether it is a tensor or an array whose numbers lie in memory."""
    kind = type(thing)
    if kind is not Tensor:
        return issubclass(kind, np.ndarray) and thing.dtype.kind in "biuf"
    if thing.layout != torch.strided or thing.device.type not in {"cpu", "cuda"}:
        return False
    return not (thing.is_quantized or thing.is_nested or thing.is_complex())


def as_plain(thing: Any) -> Any:
    """A tensor of a kind that only names it, as an image, without that; others as they are."""
    kind = type(thing)
    if kind is Tensor or not issubclass(kind, Tensor):
        return thing
    if kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return thing
    with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001  public only by name
        return thing.as_subclass(Tensor)


class Lines:
    """The rows of an array, or, of one with shorter rows, all its windows of so many numbers.

    Args:
        numbers: the array.
        size: numbers of a line.
    """

    def __init__(self, numbers: Any, size: int) -> None:
        self._numbers, self._shape = numbers, tuple(numbers.shape[1:])
        row = math.prod(self._shape)
        self.rows = len(numbers) if numbers.ndim else 0
        """Of the array."""
        self.span = size // row if row and size % row == 0 else 0
        """Rows that a line takes; 0 where none can."""
        self.count = max(0, self.rows - self.span + 1) if self.span else 0
        self._step = row
        if self.span > 1:
            is_dense = (
                numbers.is_contiguous() if isinstance(numbers, Tensor) else numbers.flags.c_contiguous
            )
            self.count = self.count if is_dense else 0
            self._flat = numbers.reshape(-1) if is_dense else None

    def column(self, place: int) -> Any:
        """One number of each line."""
        if self.span > 1:
            return self._flat[place :: self._step][: self.count]  # type: ignore[index]
        return self._numbers[(slice(None), *map(int, np.unravel_index(place, self._shape)))]

    def line(self, number: int) -> Numbers:
        """One of them."""
        return on_the_host(self._numbers[number : number + self.span]).reshape(-1)


def places(wanted: Numbers, numbers: Any) -> tuple[Numbers, Lines] | None:
    """Where each row stands, -1 where in several places; None where one is nowhere.

    Args:
        wanted: rows, of shape ``[n, size]``.
        numbers: an array, for which :func:`is_array`.
    """
    lines = Lines(numbers, wanted.shape[1])
    if not len(wanted) <= lines.count <= LARGEST:
        return None
    different = [len(np.unique(wanted[:, place])) for place in _spread(wanted.shape[1])]
    telling = sorted(zip(different, _spread(wanted.shape[1]), strict=True), reverse=True)
    order = [place for _, place in telling]
    first = on_the_host(lines.column(order[0]))
    found = np.full(len(wanted), -1)
    for number, row in enumerate(wanted):
        standing = np.flatnonzero(_same(first, row[order[0]]))
        for place in order[1:]:
            if len(standing) <= 1:
                break
            standing = standing[_same(_taken(lines.column(place), standing), row[place])]
        if not len(standing):
            return None
        if len(standing) > ALIKE:
            continue
        exact = [at for at in standing.tolist() if _same(lines.line(at), row).all()]
        if not exact:
            return None
        if len(exact) == 1:
            found[number] = exact[0]
    return found, lines


def _spread(size: int) -> range:
    return range(0, size, max(1, size // COLUMNS))


def _taken(column: Any, standing: Numbers) -> Numbers:
    if isinstance(column, Tensor):
        return on_the_host(column[torch.from_numpy(standing).to(column.device)])
    return np.asarray(column[standing])


def _same(one: Numbers, other: Any) -> Any:
    """Equal, the one in the other's precision if both are real."""
    if one.dtype.kind == "f" and other.dtype.kind == "f":
        return one.astype(other.dtype) == other
    return one == other


def turned(numbers: Any) -> Any:
    """A table the other way round, as a data frame keeps it; None for what is no table."""
    if numbers.ndim != _TWO:
        return None
    return numbers.T
