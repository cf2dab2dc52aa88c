"""What is remembered of a batch that was trained on or evaluated, and how two such heaps overlap."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.tree import first_tensor, is_plain, tensors
from pytest_dlcheck.run.watch.batches.own_scale import moments_of
from pytest_dlcheck.run.watch.batches.prints import Prints, read
from pytest_dlcheck.run.watch.batches.sizes import BATCHES as MEASURED
from pytest_dlcheck.run.watch.batches.sizes import numbers_of
from pytest_dlcheck.run.watch.batches.windows import BATCHES as WINDOWS
from pytest_dlcheck.run.watch.batches.windows import windows_of

FEW = 16
"""Samples (count) of a pass from which on it says anything by itself."""
CODES = 8
"""Whole numbers of a sample up to which they may be its categories, which many samples share; chosen."""
_NOTHING = {
    "trained_and_evaluated": 0,
    "evaluated": 0,
    "evaluated_distinct": 0,
    "evaluated_after_training": 0,
    "cleanest": None,
    "dirtiest": None,
    "repeated": 0.0,
}
"""What overlaps where nothing is evaluated."""


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
        sized: a copy of what its size is told by; None where it is not asked for.
        rows: samples of the whole batch, of which only the first have prints; 0 where not known.
        part: what the loop calls the data that it is of, where that says for what they are.
        is_kept: whether the very same tensor was evaluated at an earlier step: the loop keeps it.
        are_words: whether samples are whole numbers, of which short ones may well be equal.
        windows: a copy of samples that may be windows of one series; None where it is not asked for.
        moments: sums by which statistics of its own are told; None where they are not asked for.
    """

    prints: Prints
    step: int
    stream: int
    training: bool
    phase: int = 0
    era: int = 0
    asks_gradient: bool = False
    sized: Tensor | None = field(default=None, compare=False)
    rows: int = 0
    part: str = ""
    is_kept: bool = False
    are_words: bool = False
    windows: Tensor | None = field(default=None, compare=False)
    moments: Tensor | None = field(default=None, compare=False)

    @property
    def measured(self) -> Tensor | None:
        """Some of its numbers, by which its size is told; None where that is not asked for."""
        return None if self.sized is None else numbers_of(self.sized, self.sized)

    def values(self) -> list[float]:
        """The prints as numbers."""
        return self.prints.numbers

    @staticmethod
    def read(found: Sequence[Seen]) -> None:
        """Read what is on one device at once, instead of waiting for one after the other."""
        read(seen.prints for seen in found)


def seen_of(
    arguments: Any,
    step: int,
    stream: int,
    *,
    training: bool,
    era: int,
    earlier: int = sys.maxsize,
    phase: int = 0,
    copy: Tensor | None = None,
) -> Seen | None:
    """What a call is given; None where samples cannot be told apart.

    Args:
        arguments: what it is given.
        step: of the optimizer.
        stream: the pass over a loader that it came from.
        training: whether the model is in train mode.
        era: of the parameters.
        earlier: how many of its kind are remembered: of the first ones, more is.
        phase: of evaluations in a row.
        copy: of the first tensor, if there is one that nobody writes to.
    """
    found = first_tensor(arguments)
    if found is None:
        return None
    if (telling := _with_others(found, arguments)) is not None:
        prints = Prints.of_a_copy(telling)
    else:
        prints = Prints.of(found) if copy is None else Prints.of_a_copy(copy)
    if prints is None:
        return None
    asks_gradient = found.is_leaf and found.requires_grad
    return Seen(
        prints,
        step,
        stream,
        training,
        phase,
        era,
        asks_gradient,
        sized=(numbers_of(found) if copy is None else copy) if earlier < MEASURED else None,
        rows=len(found),
        are_words=not found.is_floating_point(),
        windows=windows_of(found) if earlier < WINDOWS else None,
        moments=moments_of(found if copy is None else copy, earlier, training=training),
    )


def _with_others(first: Tensor, arguments: Any) -> Tensor | None:
    """All that is given of each sample, where the first tensor holds but categories; None elsewhere."""
    if first.is_floating_point() or first.dim() == 0 or not 0 < first.numel() <= CODES * len(first):
        return None
    shape = first.shape[:1]
    given = [
        t for t in tensors(arguments) if is_plain(t) and t.shape[:1] == shape and not t.is_complex()
    ]
    if len(given) == 1 or len({each.device for each in given}) != 1:
        return None
    return torch.cat([each.detach().reshape(len(first), -1).double() for each in given], 1)


def overlap(trained: Sequence[Seen], evaluated: Sequence[Seen]) -> dict[str, int | float | None]:
    """How much of what is evaluated was trained on before."""
    if not evaluated:
        known: set[float] = set().union(*(seen.values() for seen in trained))
        return {"trained": len(known), **_NOTHING}
    last = max(seen.step for seen in evaluated)
    late = [seen for seen in evaluated if 2 * seen.step >= last]
    began: dict[float, int] = {}
    for seen in reversed(trained):
        began |= dict.fromkeys(seen.values(), seen.step)  # the first step stays
    streams: dict[tuple[int, int], list[float]] = defaultdict(list)
    hits: dict[tuple[int, int], int] = defaultdict(int)
    for seen in late:
        values, key = seen.values(), (seen.stream, seen.step)
        streams[key] += values
        hits[key] += sum(began.get(v, seen.step) < seen.step for v in values)
    count = sum(map(len, streams.values()))
    shares = [hits[key] / len(values) for key, values in streams.items() if len(values) >= FEW]
    return {
        "trained": len(began),
        "trained_and_evaluated": among(began, evaluated),
        "evaluated": count,
        "evaluated_distinct": sum(len(set(values)) for values in streams.values()),
        "evaluated_after_training": sum(hits.values()),
        "cleanest": min(shares, default=None),
        "dirtiest": max(shares, default=None),
        "repeated": _repeated(trained),
    }


def _repeated(trained: Sequence[Seen]) -> float:
    """The share of samples, of whole numbers, that are equal to another one of their pass over the data.

    Held-out samples are equal to one of those as often, in data that hold such. Of batches that are cut
    by hand the first are one pass: as many samples as there are different ones at all, or fewer.
    """
    passes: dict[int, Counter[float]] = defaultdict(Counter)
    words = sorted((seen for seen in trained if seen.are_words), key=lambda seen: seen.step)
    distinct = len({value for seen in words if seen.stream <= 0 for value in seen.values()})
    for seen in words:
        values, known = seen.values(), passes[max(0, seen.stream)]
        if seen.stream > 0 or known.total() + len(values) <= distinct:
            known.update(values)
    counts = max(passes.values(), key=Counter.total, default=Counter[float]())
    return sum(n for n in counts.values() if n > 1) / max(1, counts.total())


def among(trained: Collection[float], evaluated: Sequence[Seen]) -> int:
    """How many samples that are trained on are evaluated, those included of which there are no prints.

    Args:
        trained: the samples, by their numbers.
        evaluated: batches, of which the first samples stand for all.
    """
    stands_for: dict[float, float] = {}
    for seen in evaluated:
        values = seen.values()
        weight = max(1.0, seen.rows / max(1, len(values)))
        stands_for |= {v: max(weight, stands_for.get(v, 1.0)) for v in values}
    return min(len(trained), round(sum(stands_for.get(value, 0.0) for value in trained)))


def measured(found: Sequence[Seen]) -> list[Tensor]:
    """Numbers of those whose sizes are asked for."""
    return [numbers for seen in found if (numbers := seen.measured) is not None]
