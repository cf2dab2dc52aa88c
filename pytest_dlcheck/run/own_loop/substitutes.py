"""Data in the place of a recipe's own, in the same form. No loop is run here.

One small batch again and again, or targets with the inputs of other samples.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pytest_dlcheck.run.errors import NotApplicableError
from pytest_dlcheck.run.tensors.crossing import Crossing
from pytest_dlcheck.run.tensors.target_keys import ALL_KEYS
from pytest_dlcheck.run.tensors.tree import copied, tensors

_PAIR = 2


def one_batch(source: Any, batch: Any, count: int) -> Any:
    """Data of the source's form that hold nothing but the samples of one batch.

    A loader, or an iterable, gives the batch ``count`` times a pass; tensors and data sets stay as long
    as they are, and hold its samples in turn.

    Args:
        source: the recipe's ``train_data``.
        batch: the samples, as a batch.
        count: batches of a pass.

    Raises:
        NotApplicableError: samples cannot be told apart, and the source holds single ones.
    """
    if isinstance(source, DataLoader):
        return DataLoader(_Batches(batch, count), batch_size=None)
    if isinstance(source, tuple) and all(isinstance(part, Tensor) for part in source):
        return tuple(_in_turn(part, len(source[0])) for part in batch)
    if isinstance(source, Dataset):
        if isinstance(source, IterableDataset):
            raise NotApplicableError(
                "a streamed data set cannot be given as one batch: give a DataLoader"
            )
        return _Samples(source, len(tensors(batch)[0]))
    return _Batches(batch, count)


def others_inputs(source: Any, crossing: Crossing, seed: int) -> Any:
    """The source's data with each target beside the inputs of another sample: always of the same one.

    So the targets can be learned by heart as well as the right ones, and no better.

    Args:
        source: the recipe's ``train_data``.
        crossing: tells inputs and targets of a batch apart.
        seed: of the pairing; no global random number is drawn.

    Raises:
        NotApplicableError: they cannot be told apart.
    """
    if isinstance(source, tuple) and all(isinstance(part, Tensor) for part in source):
        if len(source) != _PAIR:
            raise NotApplicableError("inputs and targets of the tensors cannot be told apart")
        return source[0][_permutation(len(source[0]), seed)], source[1]
    if isinstance(source, DataLoader) and _has_samples(source.dataset):
        crossed = copy.copy(source)
        # Around the guard that keeps a loader from being changed: only the copy is.
        vars(crossed).update(dataset=_OthersInputs(source.dataset, seed), _iterator=None)
        return crossed
    if isinstance(source, Dataset):
        if not _has_samples(source):
            raise NotApplicableError("a streamed data set: its samples cannot be paired with each other")
        return _OthersInputs(source, seed)
    return _CrossedBatches(source, crossing)


class _Batches(Dataset[Any]):
    """One batch, so many times."""

    def __init__(self, batch: Any, count: int) -> None:
        self._batch, self._count = batch, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return copied(self._batch)


class _Samples(Dataset[Any]):
    """The first samples of a data set in turn, over its whole length."""

    def __init__(self, source: Dataset[Any], kept: int) -> None:
        self._length = len(source)  # type: ignore[arg-type]
        stride = max(1, self._length // kept)
        self._samples = [source[index * stride] for index in range(min(kept, self._length))]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return copied(self._samples[index % len(self._samples)])


class _OthersInputs(Dataset[Any]):
    """A data set whose samples have the inputs of others."""

    def __init__(self, source: Dataset[Any], seed: int) -> None:
        self._source = source
        self._other = _permutation(len(source), seed).tolist()  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # while it is being unpickled there is no source yet
            raise AttributeError(name)
        return getattr(self._source, name)

    def __len__(self) -> int:
        return len(self._other)

    def __getitem__(self, index: int) -> Any:
        return _crossed(self._source[index], self._source[self._other[index]])


class _CrossedBatches:
    """Batches whose inputs have moved on among their samples, by the batch's place in the pass."""

    def __init__(self, source: Iterable[Any], crossing: Crossing) -> None:
        self._source, self._crossing = source, crossing

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def __len__(self) -> int:
        return len(self._source)  # type: ignore[arg-type]  # as the source: a TypeError where it has none

    def __iter__(self) -> Iterator[Any]:
        for place, batch in enumerate(self._source):
            size = self._crossing.size(batch)
            yield self._crossing.crossed(batch, 1 + place % (size - 1)) if size > 1 else batch


def _crossed(mine: Any, other: Any) -> Any:
    """A sample with the inputs of another one."""
    if isinstance(mine, Mapping):
        own = {key: mine[key] for key in mine if key in _target_keys(mine)}
        return {**other, **own}
    if isinstance(mine, (tuple, list)) and len(mine) == _PAIR:
        return type(mine)((other[0], mine[1])) if not hasattr(mine, "_fields") else (other[0], mine[1])
    raise NotApplicableError("inputs and targets of a sample cannot be told apart")


def _target_keys(sample: Mapping[Any, Any]) -> set[Any]:
    found = sample.keys() & ALL_KEYS
    if not found:
        raise NotApplicableError("a sample names no targets: no pairs to break")
    return found


def _has_samples(source: Any) -> bool:
    return isinstance(source, Dataset) and hasattr(source, "__len__") and hasattr(source, "__getitem__")


def _in_turn(part: Tensor, length: int) -> Tensor:
    return part[torch.arange(length, device=part.device) % len(part)]


def _permutation(length: int, seed: int) -> Tensor:
    """A permutation in which nothing stays where it is: one cycle through all, in random order."""
    order = torch.randperm(length, generator=torch.Generator().manual_seed(seed))
    other = torch.empty_like(order)
    other[order] = order.roll(1)
    return other
