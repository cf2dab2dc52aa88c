"""The other processes of a torchrun: what this one tells them of its parameters, and hears of theirs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pytest_dlcheck.run.watch.meeting import Meeting
from pytest_dlcheck.run.watch.outside import DISCOVERY
from pytest_dlcheck.run.watch.ranks import Rank, compared, is_replicated
from pytest_dlcheck.run.watch.scene import census, parameters_of
from pytest_dlcheck.run.watch.strand import Strand


class Company:
    """What the processes of this machine leave for each other.

    Args:
        meeting: where they do; None outside of torchrun, where there is nothing to do.
    """

    def __init__(self, meeting: Meeting | None) -> None:
        self._meeting = meeting

    def begins(self, strand: Strand, optimizer: torch.optim.Optimizer) -> None:
        """A strand begins."""
        if self._meeting is not None:
            strand.rank = Rank(list(parameters_of(optimizer)))

    def step_ends(self, strand: Strand) -> None:
        """All modules are there by its third step: DistributedDataParallel too."""
        if self._meeting is not None and strand.step == DISCOVERY:
            strand.is_replicated = is_replicated(strand.keys, census()[0])

    def meet(self, strands: Sequence[Strand]) -> None:
        """Tell rank 0 what was seen, or be told."""
        meeting = self._meeting
        if meeting is None:
            return
        notes = [strand.rank.notes() if strand.rank else {} for strand in strands]
        if meeting.rank:
            meeting.leave(notes)
            return
        others = meeting.collect()
        for index, strand in enumerate(strands):
            theirs = [n[index] for n in others if isinstance(n, list) and len(n) == len(notes)]
            strand.ranks = compared(
                notes[index], theirs, replicated=strand.is_replicated, asked=meeting.size
            )
