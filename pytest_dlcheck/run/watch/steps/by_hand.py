"""Parameters that a loop updates by hand, without an optimizer: are their gradients reset in between?"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from pytest_dlcheck.run.watch.steps.gradients import Gradients
from pytest_dlcheck.run.watch.steps.leaves import Leaves, leaves_of
from pytest_dlcheck.trace import Row

LOOKS = 64
"""Backward passes that are looked at."""
WITNESSES = 64
"""Leaves whose gradients are followed at most."""


class ByHand:
    """What backward reaches while no optimizer steps.

    Args:
        leaves: tells whether they have moved.
    """

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._gradients: Gradients | None = None
        self._looks = 0
        self.updates = self.kept = 0
        """Updates by hand, and how many of them the next backward added its gradients to."""
        self.clips = self.clips_of_none = 0
        """Clippings, and how many of them found no gradient where the next backward left one."""
        self._found_none: list[weakref.ref[Tensor]] = []

    def backward_begins(self, losses: Sequence[Tensor]) -> None:
        """Look whether the leaves have moved since the last one, and whether gradients were reset."""
        self._looks += 1
        if self._looks > LOOKS:
            return
        moved = self._leaves.of(losses)
        if self._gradients is None:
            found = cast("list[nn.Parameter]", leaves_of(losses))
            self._gradients = Gradients(found[:WITNESSES])
            return
        if not moved:
            self._gradients.backward_begins()
            return
        self.updates += 1
        self._gradients.was_reset = False
        self.kept += not self._gradients.backward_begins() and not self._gradients.are_absent()

    def backward_ends(self) -> None:
        """Remember the gradients that it has left."""
        if self._gradients is not None and self._looks <= LOOKS:
            self._gradients.backward_ends()
            clipped = [parameter() for parameter in self._found_none]
            self._found_none = []
            left = (p.grad for p in clipped if p is not None and p.grad is not None)
            self.clips_of_none += any(bool(gradient.any()) for gradient in left)

    def clipped(self, parameters: Sequence[Tensor], norm: Tensor) -> None:
        """The gradients of these were clipped, which had this norm."""
        if self._looks <= LOOKS:
            self.clips += 1
            empty = () if norm.item() else parameters[:WITNESSES]
            self._found_none = [weakref.ref(parameter) for parameter in empty]

    def close(self) -> None:
        """Let them go."""
        self._leaves.close()
        self._gradients = None

    def row(self) -> Row:
        """What was seen."""
        return Row(
            updated_by_hand=self._leaves.have_changed,
            hand_updates=self.updates,
            hand_kept=self.kept,
            hand_clips=self.clips,
            hand_clips_of_none=self.clips_of_none,
        )
