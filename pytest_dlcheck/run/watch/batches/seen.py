"""What is remembered of a batch that was trained on or evaluated, and how two such heaps overlap."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.tree import first_tensor
from pytest_dlcheck.run.watch.batches.prints import rounded, row_prints
from pytest_dlcheck.run.watch.batches.sizes import size_of

FEW = 16
"""Samples (count) of a pass from which on it says anything by itself."""


@dataclass(frozen=True)
class Seen:
    """One batch.

    Attributes:
        prints: a number of each sample.
        step: of the optimizer.
        stream: the pass over a loader that it came from.
        training: whether the model was in train mode.
        phase: of evaluations in a row.
        era: of the parameters.
        asks_gradient: whether the inputs themselves ask for one.
        size: how large its numbers are; None where that was not measured.
        numbers: the prints, read.
    """

    prints: Tensor
    step: int
    stream: int
    training: bool
    phase: int = 0
    era: int = 0
    asks_gradient: bool = False
    size: Tensor | None = field(default=None, compare=False)
    numbers: list[float] = field(default_factory=list, compare=False)

    def values(self) -> list[float]:
        """The prints as numbers."""
        if not self.numbers:
            self.numbers.extend(rounded(self.prints))
        return self.numbers

    @staticmethod
    def read(found: Sequence[Seen]) -> None:
        """Read what is on one device at once, instead of waiting for one after the other."""
        lengths = [len(seen.prints) for seen in found]
        if len({(seen.prints.device, seen.prints.dtype) for seen in found}) == 1:
            values = iter(rounded(torch.cat([seen.prints for seen in found])))
            for seen, length in zip(found, lengths, strict=True):
                seen.numbers[:] = islice(values, length)


def seen_of(
    arguments: Any, step: int, stream: int, *, training: bool, era: int, size: bool, phase: int = 0
) -> Seen | None:
    """What a call is given; None where samples cannot be told apart."""
    found = first_tensor(arguments)
    prints = row_prints(found) if found is not None else None
    if found is None or prints is None:
        return None
    asks_gradient = found.is_leaf and found.requires_grad
    measured = size_of(found) if size else None
    return Seen(prints, step, stream, training, phase, era, asks_gradient, measured)


def overlap(trained: dict[float, int], evaluated: list[Seen]) -> dict[str, int | float | None]:
    """How much of what is evaluated was trained on before; steps by sample, and what was evaluated."""
    late = [seen for seen in evaluated if 2 * seen.step >= max(s.step for s in evaluated)]
    streams: dict[tuple[int, int], list[float]] = defaultdict(list)
    hits: dict[tuple[int, int], int] = defaultdict(int)
    for seen in late:
        values, key = seen.values(), (seen.stream, seen.step)
        streams[key] += values
        hits[key] += sum(trained.get(v, seen.step) < seen.step for v in values)
    told = {value for seen in evaluated for value in seen.values()}
    count = sum(map(len, streams.values()))
    shares = [hits[key] / len(values) for key, values in streams.items() if len(values) >= FEW]
    return {
        "trained": len(trained),
        "trained_and_evaluated": sum(value in told for value in trained),
        "evaluated": count,
        "evaluated_distinct": sum(len(set(values)) for values in streams.values()),
        "evaluated_after_training": sum(hits.values()),
        "cleanest": min(shares, default=None),
        "dirtiest": max(shares, default=None),
    }


def sizes_of(found: Sequence[Seen]) -> list[Tensor]:
    """How large the numbers of those were that were measured."""
    return [seen.size for seen in found if seen.size is not None]
