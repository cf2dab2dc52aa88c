"""What a data set holds in memory of the samples that are read: rows of arrays. Changes nothing."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

COLUMNS = 16
"""Numbers of a row that are looked at, evenly spread."""
SHORT = 8
"""Numbers of a row below which whole numbers are classes or counts; and arrays looked at in a list of
such that have a row for each sample each."""
DEEPEST = 3
"""Data sets, lists and dicts within one another that are looked into."""
MOST = 6
"""Arrays of a data set that are looked at: the first ones."""
INDICES = frozenset({"ids", "idx", "idxs", "index", "indexes", "indices"})
"""What data sets call the indices of their samples within an array."""


@dataclass(frozen=True)
class Holding:
    """An array with a row for each sample, or a list of such rows.

    Attributes:
        name: where it is kept, as ``Faces.images``.
        values: the array or the list.
        owner: lives as long as it.
        rows: of it, one for each sample that is read.
    """

    name: str
    values: Any
    owner: weakref.ref[Any]
    rows: tuple[int, ...]

    def look(self, places: Sequence[int]) -> Tensor | None:
        """Some numbers of some rows, float64 of shape ``[places, columns]``; None of unequal rows.

        Args:
            places: of samples among those that are read.
        """
        rows = [self.rows[place] for place in places]
        with torch.no_grad():
            if isinstance(self.values, list):
                parts = [self.values[row] for row in rows if row < len(self.values)]
                if len(parts) < len(rows) or not _are_rows(parts):
                    return None  # something else was put there
                found = torch.stack([_spread(_flat(part)) for part in parts])
            else:
                flat = _flat_rows(self.values)
                width = flat.shape[1]
                step = max(1, width // COLUMNS)
                columns = slice(0, min(width, step * COLUMNS), step)
                found = torch.as_tensor(flat[:, columns][rows])
        return found.detach().cpu().double().nan_to_num()

    def means(self, places: Sequence[int]) -> Tensor:
        """The mean of each of some rows, whole, shape ``[places]``."""
        rows = [self.rows[place] for place in places]
        with torch.no_grad():
            if isinstance(self.values, list):
                return torch.stack([_flat(self.values[row]).double().mean().cpu() for row in rows])
            return torch.as_tensor(_flat_rows(self.values)[rows]).double().mean(1).cpu()


def held(dataset: Any, indices: Sequence[int]) -> list[Holding]:
    """What a data set holds of the samples with these indices.

    Args:
        dataset: as torch reads it, by whole numbers.
        indices: not negative.
    """
    return list(islice(_within(dataset, tuple(indices), type(dataset).__name__, 0), MOST))


def numbers_of(value: Any) -> Tensor | None:
    """A plain tensor, or an array of numpy's as one with the same memory; None for anything else."""
    if isinstance(value, Tensor):
        plain = type(value) in _PLAIN and value.layout == torch.strided and not value.is_nested
        return (
            value if plain and not (value.is_meta or value.is_complex() or value.is_quantized) else None
        )
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray or value.dtype.kind not in "biuf":
        return None
    usable = value.flags.writeable and value.dtype.isnative and all(step >= 0 for step in value.strides)
    return torch.from_numpy(value) if usable and value.dtype.itemsize <= _LONGEST else None


_LONGEST = 8
"""Bytes of a number."""
_PLAIN = frozenset({Tensor, nn.Parameter})
"""Types whose operations run no code of the user's."""


def _within(node: Any, rows: tuple[int, ...], name: str, depth: int) -> Iterator[Holding]:
    """Data sets within data sets, and what these keep."""
    if type(node) is Subset:
        inner = _through(node.indices, rows)
        if inner is not None:
            yield from _within(node.dataset, inner, type(node.dataset).__name__, depth + 1)
        return
    parts = getattr(node, "__dict__", None)
    if type(parts) is not dict or depth > DEEPEST:
        return
    ways = [_through(value, rows) for key, value in parts.items() if key in INDICES]
    for own in (rows, *filter(None, ways)):
        for key, value in list(parts.items()):
            if isinstance(value, Dataset) and value is not node:
                yield from _within(value, own, type(value).__name__, depth + 1)
            elif key not in INDICES:
                yield from _kept(node, value, own, f"{name}.{key}", depth)


def _kept(dataset: Any, value: Any, rows: tuple[int, ...], name: str, depth: int) -> Iterator[Holding]:
    last = max(rows)
    if _is_long(value, last):
        yield Holding(name, value, weakref.ref(value), rows)
    elif type(value) is list and len(value) > max(last, SHORT):
        if _are_rows([value[row] for row in rows]):
            yield Holding(name, value, weakref.ref(dataset), rows)
    elif type(value) is dict and depth < DEEPEST:
        for key, part in list(value.items())[:SHORT]:
            yield from _kept(dataset, part, rows, f"{name}[{key!r}]", DEEPEST)
    elif type(value) in {list, tuple} and depth < DEEPEST:
        for place, part in enumerate(value[:SHORT]):
            yield from _kept(dataset, part, rows, f"{name}[{place}]", DEEPEST)


def _is_long(value: Any, last: int) -> bool:
    """Whether it is an array with such a row, of numbers that are no classes, viewed by rows."""
    numbers = numbers_of(value)
    if numbers is None or not numbers.dim() or len(numbers) <= last or not numbers.numel():
        return False
    measured = numbers.is_floating_point() or numbers.numel() // len(numbers) >= SHORT
    return measured and numbers.is_contiguous()


def _are_rows(parts: Sequence[Any]) -> bool:
    """Whether all are arrays of one shape, alone or the first of their tuples."""
    found = [numbers_of(_first(part)) for part in parts]
    if any(part is None for part in found):
        return False
    shapes = {(part.shape, part.dtype) for part in found if part is not None}
    first = found[0]
    return len(shapes) == 1 and first is not None and first.numel() >= SHORT


def _first(part: Any) -> Any:
    return part[0] if type(part) in {tuple, list} and part else part


def _flat(part: Any) -> Tensor:
    numbers = numbers_of(_first(part))
    return torch.empty(0) if numbers is None else numbers.detach().reshape(-1)


def _spread(flat: Tensor) -> Tensor:
    step = max(1, len(flat) // COLUMNS)
    return flat[: step * COLUMNS : step]


def _flat_rows(values: Any) -> Tensor:
    numbers = numbers_of(values)
    return torch.empty(0, 0) if numbers is None else numbers.detach().view(len(numbers), -1)


def _through(indices: Any, rows: Sequence[int]) -> tuple[int, ...] | None:
    """What a subset makes of indices."""
    if type(indices) not in {list, tuple, range} and numbers_of(indices) is None:
        return None
    try:
        found = tuple(int(indices[row]) for row in rows)
    except (TypeError, ValueError, IndexError, KeyError):
        return None
    return found if min(found) >= 0 else None
