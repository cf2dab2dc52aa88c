"""How far the pass over a loader is that batches come from, and which of them are remembered."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_dlcheck.run.sampling import Schedule

FIRST = 8
"""Of a few passes their first batches are remembered, of the passes in"""
LATER = Schedule(8, 4)
"""which are counted by themselves for trainings and for evaluations."""
SAMPLES = Schedule(32, 4)
"""Batches that are remembered of every pass over a loader, and steps at which they are in any case."""


@dataclass
class Reading:
    """How far the pass is that batches come from.

    Attributes:
        stream: number of the pass.
        position: of the batch in it.
        passes: how many were begun.
        next: the next position that is due.
    """

    stream: int = -1
    position: int = 0
    passes: int = 0
    next: int = 0

    def is_due(self, stream: int) -> bool:
        """Whether this pass's next batch is one to remember."""
        if stream != self.stream:
            self.stream, self.position, self.next = stream, -1, 0
            self.passes += 1
        self.position += 1
        if self.position < self.next:
            return False
        self.next = SAMPLES.following(self.position + 1)
        return self.position in SAMPLES

    def is_due_later(self) -> bool:
        """Whether it is one of the first of a pass that is remembered when there is no more room."""
        return self.position < FIRST and self.passes in LATER
