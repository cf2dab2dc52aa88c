"""Which classes loaders give for training, and which for validation. Counts, no judgement.

The labels of the first passes over each loader are kept; later ones cost a comparison a batch.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor

from pytest_dlcheck.run.tensors.target_keys import named_targets
from pytest_dlcheck.run.tensors.tree import is_whole
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.trace import Row

PASSES = 2
"""Passes over a loader that are remembered, where the first is broken off; of all loaders"""
MOST = 64
"""so many, and"""
BATCHES = 4096
"""so many batches of each."""
FEWEST = 16
"""Labels (count) of a validation below which nothing is told."""
NAMED = 8
"""Classes that are named at most."""


@dataclass
class _Pass:
    """One pass over a loader.

    Attributes:
        reading: its iterator.
        of: the data set, and what samples it by.
        length: its batches; 0 where that is not known.
        begun: optimizer steps before it, or before it went on.
        labels: of each sample.
        batches: that it has given.
        is_known: whether all its batches have labels.
        trains: whether the optimizer stepped within it, or another one over its loader.
        is_evaluated: whether a model was called on such a one without gradients.
    """

    reading: weakref.ref[object]
    of: tuple[weakref.ref[Any], ...]
    length: int
    begun: int
    labels: list[int] = field(default_factory=list)
    batches: int = 0
    is_known: bool = True
    trains: bool = False
    is_evaluated: bool = False

    def add(self, batch: Any) -> None:
        """It has given a batch."""
        if self.is_known:
            labels = labels_of(batch)
            self.is_known = labels is not None and self.batches < BATCHES
            self.batches += 1
            if labels is not None:
                self.labels += labels.reshape(-1).tolist()

    @property
    def is_whole(self) -> bool:
        """Whether the labels of all its samples are known."""
        return self.is_known and self.batches == self.length

    def classes(self) -> Tensor:
        """One of each sample, shape ``[samples]``; negative ones stand for none."""
        labels = torch.tensor(self.labels, dtype=torch.int64)
        return labels[labels >= 0]


class NewClasses:
    """Hears which loader is read."""

    def __init__(self) -> None:
        self._passes: list[_Pass] = []
        self._current: _Pass | None = None
        """That which is read now, or another one over the same loader; and"""
        self.open: _Pass | None = None
        """that whose labels are to be remembered."""
        self._overlooked = False

    def pass_begins(self, reading: object, length: int, steps: int) -> None:
        """A loader is read, from its beginning on or again after another one.

        Args:
            reading: its iterator.
            length: its batches.
            steps: optimizer steps before.
        """
        self._stop(steps)
        found = next((each for each in self._passes if each.reading() is reading), None)
        if found is None:
            found = self._begin(reading, length, steps)
        if found is not None:
            found.begun = steps
            self.open = found if found.reading() is reading else None
        self._current = found

    def is_evaluated(self, loading: Loading | None) -> None:
        """A model was called without gradients; on a loader's last batch, where there is a loading."""
        if self._current is not None and loading is not None:
            self._current.is_evaluated = True

    def rows(self, steps: int) -> tuple[Row, ...]:
        """The validation with the largest share of labels that no training has; none where it is 0.

        Args:
            steps: optimizer steps that were taken.
        """
        self._stop(steps)
        trained = [each for each in self._passes if each.trains]
        whole = [each for each in trained if each.is_whole]
        is_covered = all(any(_are_of_one(each, other) for other in whole) for each in trained)
        if self._overlooked or not whole or not is_covered:
            return ()
        seen = torch.unique(torch.cat([each.classes() for each in whole]))
        others = [p for p in self._passes if p.is_evaluated and not p.trains and p.is_known and p.labels]
        rows = [row for each in others if (row := _told(each.classes(), seen)) is not None]
        return tuple(sorted(rows, key=lambda row: -row.number("share"))[:1])

    def _stop(self, steps: int) -> None:
        if self._current is not None:
            self._current.trains |= steps > self._current.begun
        self._current = self.open = None

    def _begin(self, reading: object, length: int, steps: int) -> _Pass | None:
        parts = (getattr(reading, "_dataset", None), getattr(reading, "_index_sampler", None))
        try:
            found = _Pass(weakref.ref(reading), tuple(map(weakref.ref, parts)), length, steps)
        except TypeError:  # of a kind that cannot be referred to
            self._overlooked = True
            return None
        alike = [each for each in self._passes if _are_of_one(found, each)]
        if len(alike) >= PASSES or any(each.is_whole for each in alike):
            return next((each for each in alike if each.is_whole), alike[-1])
        if len(self._passes) >= MOST:
            self._overlooked = True
            return None
        self._passes.append(found)
        return found


def _are_of_one(one: _Pass, other: _Pass) -> bool:
    """Whether both are over one loader's samples, as far as it still lives."""
    pairs = zip(one.of, other.of, strict=True)
    return one is other or all(a() is not None and a() is b() for a, b in pairs)


def labels_of(batch: Any) -> Tensor | None:
    """Whole numbers, one a sample, called labels, second, or the only such that are not first.

    None that a device must give.
    """
    if isinstance(batch, Mapping):
        named: Any = named_targets(batch)
        return named if _are_labels(named) else None
    others: Sequence[Any] = batch[1:] if type(batch) in {list, tuple} else ()
    if any(map(_are_labels, others[:1])):
        return cast("Tensor", others[0])
    found = [each for each in others if _are_labels(each)]
    return found[0] if len(found) == 1 else None


def _are_labels(found: object) -> TypeGuard[Tensor]:
    if type(found) is not Tensor or found.layout != torch.strided or found.is_nested:
        return False
    if not (found.is_cpu and found.dim()) or found.numel() != len(found):
        return False
    return is_whole(found)


def _told(classes: Tensor, seen: Tensor) -> Row | None:
    is_new = ~torch.isin(classes, seen)
    if len(classes) < FEWEST or not is_new.any():
        return None
    new = torch.unique(classes[is_new])
    return Row(
        labels=len(classes),
        new=int(is_new.sum()),
        share=float(is_new.double().mean()),
        new_classes=_named(new.tolist()),
        at_an_end=bool(new.min() > seen.max()) or bool(new.max() < seen.min()),
        trained_classes=_named(seen.tolist()),
    )


def _named(classes: Sequence[int]) -> str:
    more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    return ", ".join(map(str, classes[:NAMED])) + more
