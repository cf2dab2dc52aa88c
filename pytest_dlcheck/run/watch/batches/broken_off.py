"""Evaluations that leave a shuffled loader before its end: other samples each time. No judgement."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

from pytest_dlcheck.run.code.lines import frame_of_the_loop
from pytest_dlcheck.run.watch.batches.loading import Loading
from pytest_dlcheck.run.watch.batches.names import held_out_name

SOURCES = 16
"""Data sets (count) that are told apart, the first ones."""


@dataclass
class _Source:
    """One data set that is evaluated so.

    Attributes:
        name: what the loop calls its loader; empty unless that is held out.
        of: its batches.
        read: those of the last pass that were evaluated.
        steps: of the optimizer before which passes were left.
        whole: passes that were not.
    """

    name: str
    of: int
    read: int = 0
    steps: set[int] = field(default_factory=set)
    whole: int = 0


class BrokenOff:
    """What one model is evaluated on so."""

    def __init__(self) -> None:
        self._found: dict[int, _Source] = {}
        self._trained: set[int] = set()
        self._last: tuple[weakref.ref[object], _Source, int, int] | None = None
        """The reading that is evaluated now, of what, up to which batch, before which step."""

    def trains(self, loading: Loading) -> None:
        """A pass is trained on."""
        self._settle()
        self._trained.add(loading.source)

    def evaluates(self, loading: Loading, step: int) -> None:
        """A loader's batch is evaluated, before some step."""
        reading = loading.reading
        if reading is None or not loading.is_shuffled or loading.length <= 1:
            self._settle()
            return
        if self._last is not None and self._last[0]() is reading:
            self._last = (*self._last[:2], loading.position, step)
            return
        self._settle()
        if (source := self._source(loading, reading)) is not None:
            self._last = weakref.ref(reading), source, loading.position, step

    def row(self) -> dict[str, int | str]:
        """What is called held out and never trained on, and left most often, in numbers."""
        self._settle()
        found = [s for key, s in self._found.items() if key not in self._trained and s.name]
        worst = max(found, key=lambda source: len(source.steps), default=_Source("", 0))
        return {
            "broken_off": 0 if worst.whole else len(worst.steps),
            "broken_off_name": worst.name,
            "broken_off_read": worst.read,
            "broken_off_of": worst.of,
        }

    def _settle(self) -> None:
        """Nothing more of this pass is evaluated."""
        last, self._last = self._last, None
        if last is None:
            return
        _, source, position, step = last
        if position < source.of:
            source.steps.add(step)
            source.read = position
        else:
            source.whole += 1

    def _source(self, loading: Loading, reading: object) -> _Source | None:
        found = self._found.get(loading.source)
        if found is None and len(self._found) < SOURCES:
            name = held_out_name(frame_of_the_loop(), getattr(reading, "_index_sampler", None))
            found = self._found[loading.source] = _Source(name, loading.length)
        return found
