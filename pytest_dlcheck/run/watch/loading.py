"""Counts how data loaders are read: how often begun anew, how far."""

from __future__ import annotations

import weakref


class Loading:
    """The reading of all loaders.

    Attributes:
        batches: batches read.
        passes: iterators that gave at least one batch.
        longest: batches that the longest of them has.
    """

    def __init__(self) -> None:
        self.batches = self.passes = self.longest = 0
        self._last: weakref.ref[object] | None = None

    def read(self, iterator: object) -> None:
        """A loader's iterator has given a batch."""
        self.batches += 1
        if self._last is None or self._last() is not iterator:
            self._last = weakref.ref(iterator)
            self.passes += 1
            try:
                self.longest = max(self.longest, len(iterator))  # type: ignore[arg-type]
            except TypeError:  # an iterable data set has no length
                return
