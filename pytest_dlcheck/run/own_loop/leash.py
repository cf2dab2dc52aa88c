"""Watches a recipe's own loop and ends it: after its steps, in time, or at its goal. No judgement."""

from __future__ import annotations

import math
from time import perf_counter

import torch

from pytest_dlcheck.run.losses.attainable import NOTHING_KNOWN
from pytest_dlcheck.run.trials.loop import (
    FLUSH_EVERY,
    FLUSH_EVERY_UNTIL,
    TALK,
    Limits,
    Progress,
    progress_of,
)
from pytest_dlcheck.run.watch.ending import EnoughSeen
from pytest_dlcheck.run.watch.strand import Strand
from pytest_dlcheck.run.watch.telling import lost
from pytest_dlcheck.run.watch.watcher import Watcher
from pytest_dlcheck.trace import Ending


class Leash(Watcher):
    """A watcher that ends the loop.

    Not after the last step but where one more would begin, so that a loop which counts its steps itself
    comes to its own end: its last validation, its last epoch's scheduler.

    Args:
        limits: when it ends; the steps are those of the optimizer that steps most.
        progress: told ``(step, loss)`` now and then.
    """

    def __init__(self, limits: Limits, progress: Progress | None) -> None:
        super().__init__()
        self._limits, self._progress = limits, progress
        waits = limits.until is not None and limits.until.progress is not None
        self._every = FLUSH_EVERY_UNTIL if waits else FLUSH_EVERY
        self._told = perf_counter()
        self.at_each_step = self._stepped
        self.ending: Ending | None = None
        """How it was ended, where that was not for its steps."""

    @property
    def most_steps(self) -> int:
        """Steps of the optimizer that stepped most."""
        return max((strand.step for strand in self.strands), default=0)

    def _begins(self, optimizer: torch.optim.Optimizer) -> Strand | None:
        """End the loop where this step is one too many."""
        strand = super()._begins(optimizer)
        if strand is not None and strand.step >= self._limits.steps:
            raise EnoughSeen(self)
        return strand

    def _until(self, strand: Strand) -> int:
        return min(super()._until(strand), self._limits.steps)

    def _stepped(self, strand: Strand) -> None:
        """Look at the clock, and now and then at the loss."""
        now, deadline = perf_counter(), self._limits.deadline
        if strand.step % self._every == 0 or (self._progress and now - self._told > TALK):
            self._told = now
            self._look(strand)
        if deadline is not None and now > deadline:
            told = "its time limit was reached"
            self._end_with(Ending("timed_out", strand.step - 1, told, "between steps"))

    def _look(self, strand: Strand) -> None:
        self.wake()
        strand.observer.flush()
        losses = strand.losses.recent(self._every)
        if self._progress is not None and losses:
            self._progress(strand.step - 1, losses[-1])
        if not all(map(math.isfinite, losses)):
            self._end_with(None)  # the trace tells of it
        asked = None if self._limits.until is None else self._limits.until.progress
        if asked is None:
            return
        if progress_of(strand.losses.so_far().values, NOTHING_KNOWN) >= asked:
            self._end_with(None)

    def _is_lost(self) -> None:
        self._end_with(lost(self))

    def _end_with(self, ending: Ending | None) -> None:
        self.ending = ending
        raise EnoughSeen(self)
