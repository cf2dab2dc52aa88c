"""Which data sets are trained on by the weights of a sampler, and by nothing else. No judgement."""

from __future__ import annotations

from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.trace import Row

SOURCES = 8
"""Data sets that are told apart."""


class Weighting:
    """How one optimizer's training draws its samples."""

    def __init__(self) -> None:
        self._found: dict[int, Row | None] = {}

    def add(self, loading: Loading) -> None:
        """A model is trained on a batch of this pass; another way to draw its samples reaches them."""
        known = self._found.get(loading.source)
        if known is not None and not loading.weighted:
            self._found[loading.source] = None
        elif loading.source not in self._found and len(self._found) < SOURCES:
            self._found[loading.source] = Row(loading.weighted) if loading.weighted else None

    def rows(self) -> tuple[Row, ...]:
        """Of the data set that the fewest samples are drawn of."""
        found = [row for row in self._found.values() if row is not None]
        return tuple(sorted(found, key=lambda row: row.integer("weighted"))[:1])
