"""A few batches held fixed: passed before the first step, and once after the last for all who look."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

import torch
from torch import Tensor

from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import copied

BATCHES = 4
"""Batches held fixed: an evaluation of them costs about 2 % of 100 steps."""


class Look(Protocol):
    """Who looks on while the batches pass after the last step."""

    def looking(self) -> AbstractContextManager[None]:
        """Opens what listens; begins anew each time."""

    def coming(self, batch: Any) -> None:
        """A batch is about to pass."""


class FixedBatches:
    """The first batches of the stream, which the training sees too.

    They pass in the modes that the training has left, with the same draws each time, so that only the
    weights differ; everything is put back.
    """

    def __init__(self, rig: Rig) -> None:
        self.batches = [copied(batch) for batch in rig.look_ahead(BATCHES)]
        self._rig = rig
        self._looks: list[Look] = []
        self._end: dict[Look | None, list[Tensor] | Exception] = {}

    @classmethod
    def of(cls, rig: Rig) -> FixedBatches:
        """Those of a trial; to be asked for before its first step."""
        found: FixedBatches = rig.once("fixed batches", lambda: cls(rig))
        return found

    def look(self, look: Look) -> None:
        """Have someone look on, too, when they pass after the last step."""
        self._looks.append(look)

    def losses(self, looks: Sequence[Look] = ()) -> list[Tensor]:
        """Let them pass now.

        Returns:
            The loss of each, of shape ``[]``; none where several objectives are trained.
        """
        with ExitStack() as stack:
            stack.enter_context(self._rig.undisturbed())
            for look in looks:
                stack.enter_context(look.looking())
            return [loss for batch in self.batches for loss in self._losses(batch, looks)]

    def losses_at_the_end(self, look: Look | None = None) -> list[Tensor]:
        """Let them pass after the last step: once for all, or for each where one of them fails.

        Args:
            look: who asks; None for whoever wants the losses alone, whom no failure of others reaches.
        """
        if not self._end:
            together = self._tried(self._looks)
            failed = isinstance(together, Exception) and self._looks
            for one in (None, *self._looks):
                self._end[one] = self._tried([one] if one else []) if failed else together
        found = self._end[look]
        if isinstance(found, Exception):
            raise found
        return found

    def _tried(self, looks: Sequence[Look]) -> list[Tensor] | Exception:
        try:
            return self.losses(looks)
        except Exception as error:  # noqa: BLE001  the user's step may refuse to be run once more
            return error

    def _losses(self, held: Any, looks: Sequence[Look]) -> list[Tensor]:
        for look in looks:
            look.coming(held)
        batch = copied(held)
        try:
            with torch.no_grad():
                return self._passed(batch)
        except RuntimeError:  # a step that differentiates by itself, such as a gradient penalty
            with torch.enable_grad():
                return self._passed(batch)

    def _passed(self, batch: Any) -> list[Tensor]:
        rig = self._rig
        with rig.autocast():
            if not rig.objective.is_generator:
                return [rig.objective.loss(batch)[0].detach()]
            for _ in rig.objective.objectives(batch):
                pass
        return []
