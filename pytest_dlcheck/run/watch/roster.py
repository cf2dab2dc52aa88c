"""Whose step it is: the strand of an optimizer, known or begun, among all that are followed."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pytest_dlcheck.run.watch.scene import parameters_of, scene_of
from pytest_dlcheck.run.watch.steps.schedules import Schedules
from pytest_dlcheck.run.watch.strand import Strand

STRANDS = 16
"""Optimizers that are followed; a loop that makes a new model a step has thousands."""
UNCLAIMED = 64
"""Losses kept until the optimizer is known whose gradients they made."""


class Roster:
    """All strands.

    Attributes:
        strands: in the order in which they began.
    """

    def __init__(self) -> None:
        self.strands: list[Strand] = []
        self._unclaimed: list[Tensor | float] = []
        self._early: weakref.WeakKeyDictionary[torch.optim.Optimizer, Schedules] = (
            weakref.WeakKeyDictionary()
        )

    def known(self, optimizer: torch.optim.Optimizer) -> Strand | None:
        """The strand that this optimizer steps."""
        for strand in self.strands:
            if strand.owner() is optimizer:
                return strand
        return None

    def inherited(self, optimizer: torch.optim.Optimizer) -> Strand | None:
        """The strand of another optimizer that had these parameters, which is this one's from now on."""
        keys = {id(p) for p in parameters_of(optimizer)}
        for strand in self.strands:
            if strand.is_of_another_model(optimizer):
                continue
            if strand.scene is not None and strand.keys & keys:
                strand.taken_over(optimizer, keys)
                return strand
        return None

    @property
    def is_full(self) -> bool:
        """Whether no more are followed."""
        return len(self.strands) >= STRANDS

    def begin(
        self,
        optimizer: torch.optim.Optimizer,
        modules: Sequence[nn.Module],
        called: Sequence[nn.Module] = (),
    ) -> Strand:
        """A strand for an optimizer that steps for the first time.

        Args:
            optimizer: which.
            modules: among which its root is.
            called: modules that were called from outside of any other.
        """
        strand = Strand(scene_of(optimizer, modules, called), optimizer, self._unclaimed)
        strand.schedules = self._early.pop(optimizer, strand.schedules)
        self._unclaimed = []
        self.strands.append(strand)
        for each in self.strands:
            each.is_alone = len(self.strands) == 1
        return strand

    def remember(self, losses: Sequence[Tensor | float]) -> None:
        """Losses whose gradients no known strand has got."""
        self._unclaimed = [*self._unclaimed, *losses][-UNCLAIMED:]

    def schedules_for(self, optimizer: torch.optim.Optimizer) -> Schedules:
        """Its schedulers, also before its first step."""
        strand = self.known(optimizer)
        return self._early.setdefault(optimizer, Schedules()) if strand is None else strand.schedules

    def schedules_of(self, optimizer: torch.optim.Optimizer) -> tuple[Schedules, bool]:
        """Its schedulers, and whether gradients wait for its step; before its first step none do."""
        strand = self.known(optimizer)
        if strand is None:
            for each in self.strands:
                each.is_missed_by(optimizer)
            return self.schedules_for(optimizer), False
        return strand.schedules, bool(strand.gradients.backwards)
