"""Hears which samples are read for a batch, in this process, before and after.

Wrapped, because a loader has no hooks: the method that every loader reads its map-style data set with. A
worker's is left alone: what it edits is a copy that nobody else sees.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import get_worker_info
from torch.utils.data._utils.fetch import _MapDatasetFetcher

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    original: Callable[[Any, Any], Any] = _MapDatasetFetcher.fetch

    @functools.wraps(original)
    def fetching(self: Any, possibly_batched_index: Any) -> Any:
        if get_worker_info() is not None:
            return original(self, possibly_batched_index)
        listener.samples_are_wanted(self, possibly_batched_index)
        batch = original(self, possibly_batched_index)
        listener.samples_are_fetched(self, possibly_batched_index, batch)
        return batch

    with replaced(_MapDatasetFetcher, "fetch", fetching):
        yield
