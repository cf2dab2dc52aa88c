"""Hears the batches that data loaders give.

Wrapped, because a loader has no hooks: the class's ``__next__``, so that every loader's own iterator,
its type and its workers stay as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data.dataloader import _BaseDataLoaderIter

from pytest_dlcheck.run.watch.listener import Listener
from pytest_dlcheck.run.watch.replacing import replaced


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Listen."""
    original = _BaseDataLoaderIter.__next__

    @functools.wraps(original)
    def following(self: Any) -> Any:
        try:
            batch = original(self)
        except StopIteration:
            listener.loader_ends(self)
            raise
        listener.batch_is_read(self, batch)
        return batch

    with replaced(_BaseDataLoaderIter, "__next__", following):
        yield
