"""Keeps torch.compile from warning of our own global hooks, which leave compiled code alone.

A filter of that warning's own words, and of no other: users who turn warnings into errors would see it
raised in their call of ``torch.compile``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_dlcheck.run.watch.listener import Listener

BEGINNING = r"Using `torch\.compile\(module\)` when there are global hooks on modules"


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Say nothing of it inside; filters that the user adds meanwhile stay."""
    del listener
    warnings.filterwarnings("ignore", message=BEGINNING, category=UserWarning)
    filters = warnings.filters
    added = filters[0]
    try:
        yield
    finally:
        if added in filters and isinstance(filters, list):
            filters.remove(added)
