"""Backward passes that serve one optimizer's step and end up in another's as well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pytest_dlcheck.run.watch.steps.gradients import Gradients

KEPT = 64
"""Backward passes since a reset that are remembered."""
FEWEST = 64
"""Numbers that two directions must have: the cosine of two draws of as many is 0 to 1/8."""
COMPARED = 32
"""Backward passes whose direction is compared with what was there before: a game takes some to begin."""


class Reach:
    """Which backward passes have reached one optimizer's parameters since their reset.

    Args:
        gradients: of its parameters.
    """

    def __init__(self, gradients: Gradients) -> None:
        self._gradients = gradients
        self.pending: list[int] = []
        """Their numbers."""
        self.applied: frozenset[int] = frozenset()
        """The numbers of those that the last step applied."""
        self.stepped_at = -1
        """The number of the last backward before the last step."""
        self.tangled = self.wasted = 0
        """Steps that applied what another optimizer's step had applied before, and resets of such."""
        self._before: list[Tensor] = []
        self._angles: dict[int, Tensor] = {}
        """By the number of the backward that was held against what was there."""

    def backward_begins(self, others: Sequence[Reach], *, reset: bool) -> None:
        """Look what is there already."""
        if reset:
            self.wasted += any(self._used_by(other) for other in others)
            self.pending = []
        self._forget_shared(others)
        if len(self._angles) < COMPARED and any(self._used_by(other) for other in others):
            self._before = [torch.clone(g) for g in self._gradients.values()]

    def backward_ends(self, number: int) -> None:
        """It was reached."""
        self.pending = [*self.pending, number][-KEPT:]
        if not self._before:
            return
        before, self._before = self._before, []
        now = self._gradients.values()
        if len(before) == len(now) and sum(g.numel() for g in now) >= FEWEST:
            added = torch.cat([(b - a).flatten() for a, b in zip(before, now, strict=True)])
            old = torch.cat([a.flatten() for a in before])
            self._angles[number] = torch.cosine_similarity(old, added, dim=0)

    def steps(self, number: int, others: Sequence[Reach]) -> None:
        """Its optimizer steps.

        Args:
            number: of the last backward.
            others: the other optimizers'.
        """
        self._forget_shared(others)
        self.tangled += any(
            other.stepped_at < max(self.pending, default=-1) and self._used_by(other) for other in others
        )
        self.applied, self.pending = frozenset(self.pending), []
        self.stepped_at = number

    def opposed(self) -> int:
        """How many backward passes pointed against what was there; reads the device."""
        return sum(angle.item() < -0.5 for angle in self._angles.values())  # noqa: PLR2004  further than 120 degrees

    def compared(self) -> int:
        """How many were compared."""
        return len(self._angles)

    def close(self) -> None:
        """Let the gradients go."""
        self._gradients, self._before = Gradients([]), []

    def _forget_shared(self, others: Sequence[Reach]) -> None:
        """A backward that another steps on at once is no answer: a critic's, or that of another head."""
        last = next(reversed(self._angles), None)
        if last is not None and any(o.stepped_at == last and last in o.applied for o in others):
            del self._angles[last]

    def _used_by(self, other: Reach) -> bool:
        return any(number in other.applied for number in self.pending)
