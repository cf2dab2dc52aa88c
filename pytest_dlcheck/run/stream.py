"""The user's data as a stream of batches on the device, whatever form it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from pytest_dlcheck.recipe import RecipeError
from pytest_dlcheck.run.tensors.tree import to_device

BATCH_SIZE = 32
"""Samples a batch where the user gives a data set or tensors rather than a loader."""
_FORMS = "give a DataLoader, a Dataset, a tuple of tensors, or an iterable of batches"


class ExhaustedError(Exception):
    """A one-shot iterator has given all it had; not StopIteration, which a user's step may raise."""


class Stream:
    """Batches without end: when the data ends, it begins anew and the epoch is counted.

    Args:
        source: the user's data.
        name: the recipe's field, for messages.
        device: where batches go.

    Raises:
        RecipeError: the data has no form that is known, or is empty.
    """

    def __init__(self, source: Any, name: str, device: torch.device) -> None:
        self.name, self.device = name, device
        self.loader = as_loader(source, name)
        self.epoch = 0
        self.epoch_ended = False
        """Whether the batch last given was the last one of its epoch."""
        self.looks: dict[str, Any] = {}
        """What was looked at beside the stream, kept here by :mod:`pytest_dlcheck.run.data.samples`."""
        self._iterator: Iterator[Any] | None = None
        self._ahead: list[Any] = []

    @property
    def batches_per_epoch(self) -> int | None:
        """The loader's length, where it has one."""
        try:
            return len(self.loader)  # type: ignore[arg-type]
        except TypeError:
            return None

    def next(self) -> Any:
        """The next batch, on the device.

        Raises:
            ExhaustedError: a one-shot iterator has given all it had.
            RecipeError: the data is empty.
        """
        if self._iterator is None:
            self._iterator = iter(self.loader)
            self._ahead = self._read(1)
            if not self._ahead:
                if self.epoch:
                    raise ExhaustedError
                raise RecipeError(f"{self.name} is empty: it gave no batch{_why_empty(self.loader)}")
        batch = self._ahead.pop()
        self._ahead = self._read(1)
        self.epoch_ended = not self._ahead
        if self.epoch_ended:
            self.epoch += 1
            self._iterator = None
        return to_device(batch, self.device)

    def close(self) -> None:
        """Let the loader's workers go.

        Now, because a loader whose worker raised keeps itself alive until the garbage is collected,
        and a worker that was forked meanwhile holds on to its pipes: five seconds of waiting each.
        """
        if not getattr(self.loader, "persistent_workers", False):
            getattr(self._iterator, "_shutdown_workers", lambda: None)()
        self._iterator = None
        self._ahead = []

    def _read(self, count: int) -> list[Any]:
        assert self._iterator is not None
        return [batch for _, batch in zip(range(count), self._iterator, strict=False)]


def _why_empty(loader: Iterable[Any]) -> str:
    if isinstance(loader, Iterator):
        return "; an iterator can be read only once: build it inside the factory, or give a loader"
    if isinstance(loader, DataLoader) and loader.drop_last and isinstance(loader.dataset, Sized):
        return f", of {len(loader.dataset)} samples by {loader.batch_size} with drop_last=True"
    return ""


def as_loader(source: Any, name: str) -> Iterable[Any]:
    """An iterable of batches for any form of data.

    Raises:
        RecipeError: the data has no form that is known; says which are.
    """
    if isinstance(source, DataLoader):
        return source
    if isinstance(source, tuple) and source and all(isinstance(part, Tensor) for part in source):
        return _tensor_loader(source, name)
    if isinstance(source, Dataset):
        streaming = isinstance(source, IterableDataset)
        if not streaming and len(source) == 0:  # type: ignore[arg-type]
            raise RecipeError(f"{name} is empty: a data set of 0 samples")
        return DataLoader(source, batch_size=BATCH_SIZE, shuffle=not streaming)
    if isinstance(source, (Tensor, str, bytes, dict)) or not isinstance(source, Iterable):
        raise RecipeError(f"{name} is a {type(source).__name__}: {_FORMS}")
    return source


def _tensor_loader(parts: tuple[Tensor, ...], name: str) -> DataLoader[tuple[Tensor, ...]]:
    lengths = [len(part) if part.dim() else 0 for part in parts]
    if len(set(lengths)) > 1:
        raise RecipeError(f"{name}: the tensors hold {lengths} samples, not the same number")
    if lengths[0] == 0:
        raise RecipeError(f"{name} is empty: tensors of 0 samples")
    return DataLoader(TensorDataset(*parts), batch_size=BATCH_SIZE, shuffle=True)
