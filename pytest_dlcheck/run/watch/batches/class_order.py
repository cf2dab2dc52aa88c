"""In which order a loader that does not shuffle gives the classes that are trained on. No judgement."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, SequentialSampler

from pytest_dlcheck.run.contents.agreement import agreement, next_to
from pytest_dlcheck.trace import Row

BATCHES = 64
"""Batches of a loader that are remembered: the first ones that are looked at."""
SAMPLES = 256
"""Samples of each: the first ones."""
FEWEST = 16
"""Labels below which nothing is told."""
SEVERAL = 2
"""Batches, and classes, that an order shows in."""
ALIKE = 0.1
"""Agreement beyond chance (ratio) from which on labels come in runs, as in ``batches_are_shuffled``.
Runs that come again, as of what somebody does in a day, may have to stay in their order."""


@dataclass(frozen=True)
class Labels:
    """The labels of a batch that a loss compares outputs with, in the order of the loader.

    Attributes:
        sampler: that the loader reads its indices from.
        reading: the pass over the loader, its iterator.
        values: shape ``[n]``.
    """

    sampler: Any
    reading: weakref.ref[object]
    values: Tensor


def labels_in_order(
    reading: weakref.ref[object] | None, batch: Sequence[Tensor], compared: Sequence[Tensor]
) -> Labels | None:
    """The classes of a batch that is read as the data set has it; None where there are none.

    Args:
        reading: the loader's iterator.
        batch: what it gave last.
        compared: the targets that a loss has kept.
    """
    sampler = getattr(reading() if reading else None, "_index_sampler", None)
    if (
        reading is None
        or type(sampler) is not BatchSampler
        or type(sampler.sampler) is not SequentialSampler
    ):
        return None
    for given in batch[1:]:
        whole = not given.is_floating_point() and not given.is_complex() and given.dtype != torch.bool
        if whole and given.dim() and given.numel() == len(given) and is_among(given, compared):
            return Labels(sampler, reading, given.detach().reshape(-1)[:SAMPLES].clone())
    return None


@dataclass
class _Loader:
    sampler: weakref.ref[Any]
    batches: list[Tensor] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    last: weakref.ref[object] | None = None


class ClassOrder:
    """The order of one optimizer's training data, per loader."""

    def __init__(self) -> None:
        self._loaders: list[_Loader] = []

    def add(self, labels: Labels) -> None:
        """A batch more."""
        loader = next((each for each in self._loaders if each.sampler() is labels.sampler), None)
        if loader is None:
            loader = _Loader(weakref.ref(labels.sampler))
            self._loaders.append(loader)
        if len(loader.batches) >= BATCHES:
            return
        is_new = loader.last is None or loader.last() is not labels.reading()
        loader.last = labels.reading
        loader.batches.append(labels.values)
        loader.passes.append((loader.passes or [-1])[-1] + is_new)

    def row(self) -> Row | None:
        """Of the loader that most is known of; None where classes come in runs that may be meant."""
        loader = max(self._loaders, key=lambda each: len(each.batches), default=None)
        if loader is None or len(loader.batches) < SEVERAL:
            return None
        sizes = torch.tensor([len(batch) for batch in loader.batches])
        values = torch.cat([batch.cpu() for batch in loader.batches])
        windows = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        if len(values) < FEWEST or len(torch.unique(values)) < SEVERAL:
            return None
        facts = agreement(values, windows)
        if not facts:
            return None
        facts |= next_to(values, windows[1:] == windows[:-1])
        known = {"source": "the loader", "label_kind": "classes", "sampler": SequentialSampler.__name__}
        row = Row(facts, **known, in_order=True, own_batches=False)
        passes = torch.repeat_interleave(torch.tensor(loader.passes), sizes)
        return row if _are_sorted(values, passes) or row.number("excess") < ALIKE else None


def _are_sorted(values: Tensor, passes: Tensor) -> bool:
    """Whether each class comes in one run in every pass."""
    for number in torch.unique(passes).tolist():
        of_pass = values[passes == number]
        runs = torch.unique_consecutive(of_pass)
        if len(runs) != len(torch.unique(of_pass)):
            return False
    return True


def is_among(given: Tensor, compared: Sequence[Tensor]) -> bool:
    """Whether these numbers are among the targets that losses have kept."""
    flat = given.detach().reshape(-1).cpu()
    alike = [kept for kept in compared if kept.numel() == len(flat)]
    return any(torch.equal(kept.detach().reshape(-1).cpu(), flat.to(kept.dtype)) for kept in alike)
