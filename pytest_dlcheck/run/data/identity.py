"""Which sample is which: files, rows of memory, indices, that two data sets have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset

MOST = 1_000_000
"""Samples of a data set that are told apart at most, and"""
ASKED = 4_096
"""samples that are looked for at most, evenly spread."""
_WRAPS = 4


def shared(train: Any, val: Any) -> tuple[str, int, list[tuple[int, int]]] | None:
    """The samples that two data sets have in common, by where they come from.

    Returns:
        What was compared (``"indices"``, ``"files"``, ``"rows of memory"``), of how many samples of
        ``val``, and pairs of (index in train, index in val); None where samples cannot be told apart
        that way.
    """
    ours, theirs = _pieces(train), _pieces(val)
    if ours is None or theirs is None:
        return None
    pairs: list[tuple[int, int]] = []
    asked, kind = 0, ""
    for base, taken, start in theirs:
        few = _evenly(taken)
        asked += len(few)
        for other, indices, begin in ours:
            if other is base:
                kind = "indices"
                known = _places(indices)
                pairs += [(begin + known(taken[at]), start + at) for at in few if known(taken[at]) >= 0]
    if not kind and len(ours) == len(theirs) == 1:
        return _across(ours[0], theirs[0])
    return (kind, asked, pairs) if kind else None


_Piece = tuple[Any, Sequence[int], int]
"""A data set, which samples of it are taken, and where they begin in the whole."""


def _pieces(dataset: Any) -> list[_Piece] | None:
    if not isinstance(dataset, Sized):
        return None
    if type(dataset) is ConcatDataset:
        found: list[_Piece] = []
        for part in dataset.datasets:
            inner = _pieces(part)
            if inner is None:
                return None
            begin = sum(len(taken) for _, taken, _ in found)
            found += [(base, taken, begin + start) for base, taken, start in inner]
        return found
    taken: Sequence[int] | None = None
    for _ in range(_WRAPS):
        inside = getattr(dataset, "dataset", None)
        if isinstance(dataset, Subset):
            if len(dataset.indices) > MOST:
                return None
            own = dataset.indices
            taken = own if taken is None else [int(own[i]) for i in taken]
        elif not isinstance(inside, Sized) or len(inside) != len(
            dataset
        ):  # a wrapper, as for transforms
            break
        dataset = inside
    return [(dataset, range(len(dataset)) if taken is None else taken, 0)]


def _evenly(taken: Sequence[int]) -> range:
    return range(0, len(taken), max(1, len(taken) // ASKED))


def _places(indices: Sequence[int]) -> Callable[[int], int]:
    """Where an index is among those that are taken; -1 where it is not."""
    if isinstance(indices, range) and indices == range(len(indices)):
        return lambda index: int(index) if 0 <= index < len(indices) else -1
    known = {int(index): at for at, index in enumerate(indices)}
    return lambda index: known.get(int(index), -1)


def _across(one: _Piece, other: _Piece) -> tuple[str, int, list[tuple[int, int]]] | None:
    """Between two data set objects: by files of the same names, or by rows of the same memory."""
    if max(len(one[1]), len(other[1])) > MOST:
        return None
    for kind, names in (("files", _files), ("rows of memory", _rows)):
        mine, theirs = names(one[0]), names(other[0])
        for attribute in mine.keys() & theirs.keys():
            known = {mine[attribute](index): at for at, index in enumerate(one[1])}
            few = _evenly(other[1])
            keys = [(theirs[attribute](other[1][at]), at) for at in few]
            return kind, len(few), [(known[key], at) for key, at in keys if key in known]
    return None


def _files(dataset: Any) -> dict[str, Any]:
    found = {}
    for name, value in _own(dataset):
        if isinstance(value, (list, tuple)) and len(value) == len(dataset) > 0:
            first = value[0][0] if isinstance(value[0], tuple) and value[0] else value[0]
            if isinstance(first, Path) or (isinstance(first, str) and Path(first).suffix):
                found[name] = lambda i, v=value: str(v[i][0] if isinstance(v[i], tuple) else v[i])
    return found


def _rows(dataset: Any) -> dict[str, Any]:
    """Addresses of rows, by attribute, the largest first; two arrays share them if they share memory."""
    arrays = [(name, v) for name, v in _own(dataset) if hasattr(v, "shape") and len(v.shape) > 1]
    found = {}
    for name, array in sorted(arrays, key=lambda pair: -_size(pair[1])):
        if len(array) != len(dataset):
            continue
        begin, step = _address(array)
        found[name] = lambda i, b=begin, s=step: b + i * s
        break
    return found


def _address(array: Any) -> tuple[int, int]:
    if isinstance(array, Tensor):
        return array.data_ptr(), array.stride(0) * array.element_size()
    interface = getattr(array, "__array_interface__", None)
    return (interface["data"][0], array.strides[0]) if interface else (id(array), 0)


def _size(array: Any) -> int:
    return int(torch.Size(array.shape).numel())


def _own(dataset: Any) -> list[tuple[str, Any]]:
    return list(vars(dataset).items()) if hasattr(dataset, "__dict__") else []
