"""Backward passes that a pass over the data leaves at its end, and that make no step. No judgement."""

from __future__ import annotations

from collections import Counter
from types import CodeType

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.watch.batches.loading import Loading

SEVERAL = 2
"""Backward passes (count) from which on a row on batches that no loader gave tells something: one alone
may be a look at a batch."""
CALLERS = 4
"""Calls around a backward (count) by whose lines one is told from another."""


class Rests:
    """Rows of backward passes, each on a batch of its own, after the last step of a pass over a loader.

    A row on batches of another pass is none, as a look at one batch before an epoch is, and neither is
    one before other batches of its pass. Where no loader is read, rows must be of one length, and of
    backward passes in the lines of those that make steps.
    """

    def __init__(self) -> None:
        self._loading: Loading | None = None
        self._stepped = self._propagated = (-1, 0)
        """The pass that was read at the last step, and at the last backward; and batches until then."""
        self._lines: set[tuple[tuple[CodeType, int], ...]] = set()
        """Where backward was called since, and"""
        self._stepping: set[tuple[tuple[CodeType, int], ...]] = set()
        """where for a step."""
        self._of_loaders: Counter[int] = Counter()
        self._by_hand: Counter[int] = Counter()

    @property
    def rows(self) -> Counter[int]:
        """How many there were, by their length."""
        lengths = set(self._by_hand)
        is_one = len(lengths) == 1 and min(lengths) >= SEVERAL
        return self._of_loaders + self._by_hand if is_one else self._of_loaders

    def follow(self, loading: Loading) -> None:
        """Batches are counted by this."""
        self._loading = loading

    def steps(self) -> None:
        """The optimizer has stepped."""
        self._stepped = self._read()
        self._stepping |= self._lines
        self._lines = set()

    def is_propagated(self, backwards: int) -> None:
        """A backward has reached its parameters, the last of so many."""
        self._propagated = self._read()
        if backwards >= SEVERAL:
            self._lines.add(_lines())

    def drops(self, backwards: int) -> None:
        """Another backward begins, before which the gradients of so many were reset."""
        (stepped, before), (last, until), (now, batches) = self._stepped, self._propagated, self._read()
        if before == batches:
            self._by_hand[backwards] += backwards < SEVERAL or self._lines <= self._stepping
        else:
            self._of_loaders[backwards] += 0 < stepped == last < now and until - before >= backwards
        self._lines = set()

    def _read(self) -> tuple[int, int]:
        loading = self._loading
        return (-1, 0) if loading is None else (loading.passes, loading.batches)


def _lines() -> tuple[tuple[CodeType, int], ...]:
    found: list[tuple[CodeType, int]] = []
    frame = frame_of_the_loop()
    while frame is not None and len(found) < CALLERS:
        found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)
