"""A bounded look at the user's data: some samples of it, never all, and without leaving a trace."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from pytest_dlcheck.run.data.epoch import ORDERED, PAIRS, WINDOW, Order, evenly, order_of, spread
from pytest_dlcheck.run.data.own_draws import kept
from pytest_dlcheck.run.errors import CannotTellError
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.stream import as_loader
from pytest_dlcheck.run.tensors.tree import batch_size, is_plain, tensors, to_device
from pytest_dlcheck.run.world.seeding import same_draws

SAMPLES = 1_024
"""Samples looked at, at most,"""
ROWS = 16_384
"""the same of tensors, which need not be read one by one,"""
SECONDS = 0.2
"""seconds spent on reading them, as far as single samples allow, and"""
ELEMENTS = 1 << 22
"""numbers held at a time: 16 MiB of float32."""
STREAMED = 8
"""Batches read of data that can only be read from its beginning."""
_OTHER = 7_919
"""The seed for validation data: what is made up when it is read must not be made up alike."""
_APART = 1 << 32
"""Between the positions of two batches: they are no neighbours."""


@dataclass(frozen=True)
class Chunk:
    """Some samples, collated as the loader does, on the CPU.

    Attributes:
        batch: in the user's own form.
        indices: the samples' places in the data set; for batches, running numbers.
        positions: the samples' places in an epoch's order, one each; neighbours are one apart.
        windows: the batch of the epoch that each is in, small ones taken together.
    """

    batch: Any
    indices: Sequence[int]
    positions: Sequence[int]
    windows: Sequence[int]


@dataclass(frozen=True)
class Look:
    """What was looked at.

    Attributes:
        chunks: the samples.
        total: how many samples there are, or None where nobody knows.
        limited: why only the first batch was looked at; empty where more was.
    """

    chunks: tuple[Chunk, ...]
    total: int | None = None
    limited: str = ""

    @property
    def samples(self) -> int:
        """How many samples were looked at."""
        return sum(len(chunk.indices) for chunk in self.chunks)

    @property
    def whole(self) -> bool:
        """Whether that was all there is."""
        return self.total is not None and self.samples >= self.total


def look(rig: Rig) -> Look:
    """Samples of the training data; read once a trial, whoever asks."""
    return _once(rig, "train_data", lambda: looked(rig, rig.stream.loader))


def look_at_val(rig: Rig) -> Look:
    """Samples of the validation data, which there must be; read once a trial."""
    loader = as_loader(rig.recipe.val_data, "val_data")
    return _once(rig, "val_data", lambda: looked(rig, loader, SECONDS / 2, seed=_OTHER))


def _once(rig: Rig, name: str, read: Callable[[], Look]) -> Look:
    if name not in rig.stream.looks:
        rig.stream.looks[name] = read()
    found: Look = rig.stream.looks[name]
    return found


def looked(rig: Rig, loader: Any, seconds: float = SECONDS, seed: int | None = None) -> Look:
    """Samples of a loader's data, spread over it; errors of the user's data set are raised.

    Args:
        rig: the recipe.
        loader: its data.
        seconds: that it may take.
        seed: for what is drawn meanwhile, by generators of the data set's own, too; by default as in
            the trial.
    """
    if isinstance(loader, Iterator) or _reads_once(loader):
        return _first_only(rig, loader, "the data can be read only once")
    with same_draws(rig.seed if seed is None else seed), kept(*parts_of(loader), reseed=seed):
        dim = rig.recipe.batch_dim or 0
        if is_map_style(loader):
            return _of_samples(loader, seconds)
        if isinstance(loader, Sequence):
            return _of_batches(loader, dim, seconds)
        if getattr(loader, "num_workers", 0):
            return _first_only(rig, loader, "the data is read by workers, from its beginning only")
        return _of_stream(loader, dim, seconds)


def parts_of(loader: Any) -> list[Any]:
    """What may hold generators of its own."""
    if not isinstance(loader, DataLoader):
        return [loader]
    names = ("dataset", "sampler", "batch_sampler", "collate_fn", "generator")
    return [getattr(loader, name, None) for name in names]


def is_map_style(loader: Any) -> bool:
    """Whether single samples can be read and collated as the loader itself would."""
    return (
        isinstance(loader, DataLoader)
        and type(loader).__iter__ is DataLoader.__iter__
        and not isinstance(loader.dataset, IterableDataset)
        and loader.batch_sampler is not None
        and hasattr(loader.dataset, "__len__")
    )


# -- map-style data sets ------------------------------------------------------------------------


def _of_samples(loader: DataLoader[Any], seconds: float) -> Look:
    order = order_of(loader)
    size = len(loader.dataset)  # type: ignore[arg-type]
    total = size if size > ORDERED else len(set(order.indices))
    tables = table(loader.dataset) if loader.collate_fn is default_collate else None
    if tables is not None:
        return Look((_of_table(tables, order),), total)
    return Look(tuple(_read(loader, order, seconds)), total)


def _of_table(parts: tuple[list[Tensor], list[Sequence[int]]], order: Order) -> Chunk:
    columns, subsets = parts
    each = max(1, sum(t.numel() // max(1, len(t)) for t in columns))
    wanted = list(spread(order, min(ROWS, max(4 * PAIRS, ELEMENTS // each))))
    indices = rows = [order.indices[position] for position, _ in wanted]
    for taken in subsets:
        rows = [int(taken[row]) for row in rows]
    where = torch.tensor(rows, dtype=torch.long)
    batch = to_device([t[where.to(t.device)] for t in columns], torch.device("cpu"))
    return Chunk(batch, indices, *_apart(wanted))


def _apart(wanted: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [position for position, _ in wanted], [window for _, window in wanted]


def table(dataset: Any) -> tuple[list[Tensor], list[Sequence[int]]] | None:
    """The tensors of a :class:`TensorDataset`, and the subsets that are taken of it, outermost first."""
    subsets: list[Sequence[int]] = []
    while type(dataset) is Subset:
        subsets.append(dataset.indices)
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not all(map(is_plain, dataset.tensors)):
        return None
    return [t.detach() for t in dataset.tensors], subsets


def _read(loader: DataLoader[Any], order: Order, seconds: float) -> Iterator[Chunk]:
    first = len(order.window(0)) if order.starts else 1
    size = min(loader.batch_size or first, 128)
    wanted = list(spread(order, SAMPLES))
    began, elements = perf_counter(), 0
    read: list[Any] = []
    for count, (position, _) in enumerate(wanted, start=1):
        read.append(loader.dataset[order.indices[position]])
        late = count > 1 and perf_counter() - began > seconds
        if len(read) >= size or late or count == len(wanted):
            batch = to_device(loader.collate_fn(read), torch.device("cpu"))
            elements += sum(t.numel() for t in tensors(batch))
            positions, windows = _apart(wanted[count - len(read) : count])
            yield Chunk(batch, [order.indices[p] for p in positions], positions, windows)
            read = []
            if late or elements > ELEMENTS:
                return


# -- batches ------------------------------------------------------------------------------------


def _of_batches(batches: Sequence[Any], dim: int, seconds: float) -> Look:
    together = ceil(WINDOW / max(1, batch_size(batches[0], dim) or 1)) if batches else 1
    runs = evenly(ceil(len(batches) / together), SAMPLES // WINDOW)
    random.Random(0).shuffle(runs)
    places = [r * together + i for r in runs for i in range(together) if r * together + i < len(batches)]
    places = list({id(batches[place]): place for place in reversed(places)}.values())[::-1]  # each once
    chunks = tuple(_whole(((p, batches[p]) for p in places), dim, seconds, together))
    whole = len(chunks) == len(places) and len(runs) * together >= len(batches)
    return Look(chunks, sum(len(chunk.indices) for chunk in chunks) if whole else None)


def _of_stream(loader: Iterable[Any], dim: int, seconds: float) -> Look:
    batches = enumerate(islice(iter(loader), STREAMED))
    return Look(tuple(_whole(batches, dim, seconds)))


def _whole(
    batches: Iterable[tuple[int, Any]], dim: int, seconds: float, together: int = 1
) -> Iterator[Chunk]:
    began, elements, samples = perf_counter(), 0, 0
    for number, given in batches:
        batch = to_device(given, torch.device("cpu"))
        size = batch_size(batch, dim) or 0
        first = number * _APART
        positions = range(first, first + size)
        yield Chunk(batch, range(samples, samples + size), positions, [number // together] * size)
        samples += size
        elements += sum(t.numel() for t in tensors(batch))
        if elements > ELEMENTS or samples > SAMPLES or perf_counter() - began > seconds:
            return


def _reads_once(loader: Any) -> bool:
    source = loader.dataset if isinstance(loader, DataLoader) else loader
    if isinstance(source, Sequence) or not hasattr(source, "__iter__"):
        return False
    if isinstance(loader, DataLoader) and not isinstance(source, IterableDataset):
        return False
    return iter(source) is iter(source)


def _first_only(rig: Rig, loader: Any, why: str) -> Look:
    """The batch that is at hand, of the training data; of other data there is none."""
    if loader is not rig.stream.loader:
        raise CannotTellError(why)
    batch = to_device(rig.batch, torch.device("cpu"))
    size = batch_size(batch, rig.recipe.batch_dim or 0) or 0
    return Look((Chunk(batch, range(size), range(size), [0] * size),), None, why)
