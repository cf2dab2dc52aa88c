"""Counts how data loaders are read: how often begun anew, how far, and what they leave out."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.utils.data import RandomSampler, default_collate

from pytest_dlcheck.run.data.unindexed import ignores_its_numbers
from pytest_dlcheck.run.data.weighted import weighted_draws
from pytest_dlcheck.run.tensors.tree import tensors
from pytest_dlcheck.run.watch.batches.names import reads_by
from pytest_dlcheck.trace import Scalar


def shuffles(iterator: object) -> bool:
    """Whether a loader's iterator draws each sample once, in random order.

    A data set that ignores the numbers it is asked for goes on in its own order.
    """
    sampler = getattr(getattr(iterator, "_index_sampler", None), "sampler", None)
    if type(sampler) is not RandomSampler or sampler.replacement:
        return False
    return not ignores_its_numbers(getattr(iterator, "_dataset", None))


def reference_to(iterator: object) -> weakref.ref[object]:
    """To the data set that a loader's iterator reads; to its sampler where that is a list, or the like.

    Args:
        iterator: of a loader.
    """
    data = getattr(iterator, "_dataset", None)
    try:
        return weakref.ref(data)
    except TypeError:
        return weakref.ref(getattr(iterator, "_index_sampler", iterator))


def stacked_shape(reading: Any, batch: object) -> tuple[int, ...] | None:
    """The shape of a batch's first tensor where a loader stacked samples to it, one after another."""
    found = tensors(batch)[:1]
    stacks = getattr(reading, "_collate_fn", None) is default_collate
    return tuple(found[0].shape) if stacks and found else None


class Loading:
    """The reading of all loaders.

    Attributes:
        batches: batches read.
        passes: turns of iterators: one that gives a batch after another has given one begins its next.
        begun: iterators that gave at least one batch; two that are read side by side are two.
        ended: those of them that were read to their ends.
        length: batches of the pass that is read now, 0 where it is not known.
        source: which data set this pass is over, by its identity.
        is_shuffled: whether the pass that is read now draws its samples in random order.
        left_out: samples that this pass leaves out at its end, for want of a whole batch, of its
        samples: where it leaves out some.
        size: samples of this pass, 0 where that is not known.
        weighted: by which weights this pass draws its samples; empty where it does not.
        given_to: the modules that were called on one fresh batch of several before anything was known to
            train them.
    """

    def __init__(self) -> None:
        self.batches = self.passes = self.begun = self.ended = 0
        self.length = self.left_out = self.samples = self.size = self._longest = self._trained = 0
        self._before = 0
        """Batches that were read before this pass."""
        self.source = 0
        self.is_shuffled = False
        self.weighted: dict[str, Scalar] = {}
        self.given_to: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._last: weakref.ref[object] | None = None
        self._known: weakref.WeakSet[object] = weakref.WeakSet()

    def reads_on(self, iterator: object) -> bool:
        """Whether another batch of the pass that goes on was given; only then it is counted here."""
        is_same = self._last is not None and self._last() is iterator
        self.batches += is_same
        return is_same

    def read(self, iterator: object) -> bool:
        """A loader's iterator has given a batch; returns whether it was its first."""
        self.batches += 1
        is_first = self._last is None or self._last() is not iterator
        if is_first:
            self._last = weakref.ref(iterator)
            self.passes += 1
            self._before = self.batches - 1
            if iterator not in self._known:
                self._known.add(iterator)
                self.begun += 1
            self.source = id(getattr(iterator, "_dataset", None))
            self._look_at_the_order(iterator)
            try:
                self.length = len(iterator)  # type: ignore[arg-type]
            except TypeError:  # an iterable data set has no length
                self.length = 0
            self._longest = max(self._longest, self.length)
        return is_first

    def ends(self, iterator: object) -> None:
        """A loader's iterator has no more batches."""
        self.ended += iterator in self._known

    def is_read_by(self, value: object) -> bool:
        """Whether this is the loader that is read now."""
        iterator = self.reading
        return iterator is not None and reads_by(value, getattr(iterator, "_index_sampler", None))

    def backward_ends(self) -> None:
        """The pass that is read now is trained on."""
        self._trained = max(self._trained, self.length)

    def may_have_given(self, shape: Sequence[int]) -> bool:
        """Whether what has this shape may be a batch of what is read; not where it has more rows.

        A loop that reads one batch ahead evaluates other data while that waits. Where samples are not
        just stacked, or are each given as several rows, or along the second axis, it may be one.
        """
        batches = getattr(self.reading, "_index_sampler", None)
        size = getattr(batches, "batch_size", None)
        stacks = getattr(self.reading, "_collate_fn", None) is default_collate
        if not stacks or type(size) is not int or not shape or shape[0] <= size:
            return True
        sizes = {size, self.size % size} - {0}
        return any(shape[0] % each == 0 for each in sizes) or not sizes.isdisjoint(shape[1:2])

    @property
    def position(self) -> int:
        """Which batch of its pass was read last, counted from 1."""
        return self.batches - self._before

    @property
    def reading(self) -> object:
        """The iterator that was read last, while it lives."""
        return None if self._last is None else self._last()

    @property
    def longest(self) -> int:
        """Batches of the longest loader that is trained on; of any, where none seems to be."""
        return self._trained or self._longest

    def _look_at_the_order(self, iterator: object) -> None:
        batches = getattr(iterator, "_index_sampler", None)
        sampler, size = getattr(batches, "sampler", None), getattr(batches, "batch_size", None)
        self.is_shuffled = shuffles(iterator)
        self.weighted = weighted_draws(batches, getattr(iterator, "_dataset", None))
        drops = getattr(batches, "drop_last", False) is True and type(size) is int
        try:
            self.size = len(sampler)  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):
            self.size = 0
        self.samples = self.size if drops else 0
        self.left_out = self.samples % size if drops else 0  # type: ignore[operator]
