"""In which order a loader's samplers give the samples, and where to look in it. No sample is read."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

WINDOW = 8
"""Samples at least that count as seen together, though the batches be smaller."""
PAIRS = 8
"""Pairs of neighbours that are read of a batch at first, all over it."""
ORDERED = 100_000
"""Samples up to which an epoch's order is asked of a sampler: a permutation of more costs time."""
DRAWN = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
"""Samplers that draw the order anew for every epoch."""
_DRAWN_MOST = 2_048
"""Samples of a larger set that is shuffled anyway."""


@dataclass(frozen=True)
class Order:
    """An epoch's order, or its beginning; of a large shuffled set, any.

    Attributes:
        indices: of the samples.
        starts: the positions at which windows begin.
    """

    indices: Sequence[int]
    starts: Sequence[int]

    def window(self, number: int) -> range:
        """The positions of a window."""
        last = number + 1 == len(self.starts)
        return range(self.starts[number], len(self.indices) if last else self.starts[number + 1])


def order_of(loader: DataLoader[Any]) -> Order:
    """What the loader's samplers give, without reading any sample."""
    size = len(loader.dataset)  # type: ignore[arg-type]
    sampler = loader.sampler
    if type(loader.batch_sampler) is not BatchSampler:
        return _of_batch_sampler(loader.batch_sampler or ())
    if type(sampler) is SequentialSampler:
        indices: Sequence[int] = range(size)
    elif type(sampler) in DRAWN and size > ORDERED:
        among = sampler.indices if isinstance(sampler, SubsetRandomSampler) else range(size)
        indices = random.Random(0).sample(among, min(len(among), _DRAWN_MOST))
    else:
        indices = list(islice((i for batch in loader.batch_sampler for i in batch), ORDERED))
    each = max(1, loader.batch_sampler.batch_size)
    return Order(indices, range(0, len(indices), each * ceil(WINDOW / each)))


def _of_batch_sampler(batches: Iterable[Sequence[int]]) -> Order:
    indices: list[int] = []
    starts: list[int] = []
    for batch in batches:
        starts.append(len(indices))
        indices += batch
        if len(indices) >= ORDERED:
            break
    return Order(indices, starts)


def spread(order: Order, most: int) -> Iterator[tuple[int, int]]:
    """Positions and their windows: pairs of neighbours all over the epoch, then what is between."""
    numbers: Sequence[int] = range(len(order.starts))
    whole = len(order.indices) <= most
    if not whole:
        numbers = evenly(len(order.starts), max(2, most // (2 * PAIRS)))
    numbers = random.Random(0).sample(numbers, len(numbers))
    for number in numbers:
        yield from ((position, number) for position in _pairs(order.window(number)))
    for number in numbers if whole else ():
        known = set(_pairs(order.window(number)))
        yield from ((position, number) for position in order.window(number) if position not in known)


def _pairs(window: range) -> Sequence[int]:
    if len(window) <= 2 * PAIRS:
        return window
    begins = [2 * place for place in evenly(len(window) // 2, PAIRS)]
    return [window[at] for begin in begins for at in (begin, begin + 1)]


def evenly(size: int, count: int) -> list[int]:
    """Up to ``count`` of so many, the first and the last among them."""
    count = min(size, count)
    return sorted({round(i * (size - 1) / max(1, count - 1)) for i in range(count)})
