"""Forwards without gradients in a row, between two backward passes: validations, teachers, roll-outs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_dlcheck.run.watch.batches.loading import Loading

MOST = 256
"""Phases that are remembered: the last ones."""


@dataclass(slots=True)
class Phase:
    """Forwards in a row without gradients.

    Attributes:
        event: when it began.
        steps: optimizer steps before it.
        calls: how many.
        in_train_mode: how many of them ran in train mode with modules that care.
        from_loader: how many were given a batch fresh from a DataLoader.
        reads: how many passes there were over each data set, by its identity.
        last_pass: the number of the last of them.
    """

    event: int
    steps: int
    calls: int = 0
    in_train_mode: int = 0
    from_loader: int = 0
    reads: dict[int, int] = field(default_factory=dict)
    last_pass: int = -1

    def read(self, loading: Loading) -> None:
        """A batch came from a loader."""
        self.from_loader += 1
        if loading.passes != self.last_pass:
            self.last_pass = loading.passes
            self.reads[loading.source] = self.reads.get(loading.source, 0) + 1


class Phases:
    """All of them, in order."""

    def __init__(self) -> None:
        self._open: Phase | None = None
        self._ended: deque[Phase] = deque(maxlen=MOST)

    def __iter__(self) -> Iterator[Phase]:
        return iter(self._ended)

    @property
    def are_open(self) -> bool:
        """Whether one goes on."""
        return self._open is not None

    def called(self, event: int, steps: int, *, in_train_mode: bool, loading: Loading | None) -> Phase:
        """A forward without gradients; returns the phase that it is a part of."""
        phase = self._open = self._open or Phase(event, steps)
        phase.calls += 1
        if loading is not None:
            phase.read(loading)
        phase.in_train_mode += in_train_mode
        return phase

    def end(self) -> None:
        """A backward begins, or the watch ends."""
        if self._open is not None:
            self._ended.append(self._open)
            self._open = None
